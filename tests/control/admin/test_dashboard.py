"""`/api/dashboard`: how all is going, on one page."""

from __future__ import annotations

import json
import time
from datetime import datetime

from sqlalchemy import Connection, insert

from gptload.control.db.tables import rollups
from gptload.link.messages import KeyEvent, Seen
from tests.control.admin.conftest import AUTH_KEY, Admin, MakeAdmin
from tests.parts.records import make_record

HOUR = 3600


async def count_hour(admin: Admin, at: float, good: int, bad: int, *groups: int) -> None:
    """An hour as records leave it behind: for each group, and once for all."""
    hour = int(at // HOUR * HOUR)
    row = {
        "step": HOUR,
        "at": hour,
        "requests": good + bad,
        "succeeded": good,
        "attempts": good + bad,
        "detail": "[[],[],[]]",
    }
    subjects = [("all", "", 0), *(("group", str(group), group) for group in groups)]
    rows = [
        row | {"kind": kind, "subject": subject, "group_id": group}
        for kind, subject, group in subjects
    ]

    def write(connection: Connection) -> None:
        connection.execute(insert(rollups), rows)

    await admin.write(write)


async def test_nothing_has_happened(admin: Admin) -> None:
    stats = await admin.api("GET", "/dashboard/stats")
    nothing = {"value": 0.0, "trend": 0.0}
    assert stats["key_count"] == nothing | {"trend_is_growth": False}
    for card in ("rpm", "request_count", "error_rate"):
        assert stats[card] == nothing | {"trend_is_growth": True}


async def test_cards(admin: Admin) -> None:
    group = await admin.group()
    parent = await admin.aggregate("all", group)
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    dead = (await admin.key_ids())["sk-a"]
    admin.ledger.fold(KeyEvent(group, dead, Seen.REJECTED, time.time(), threshold=1))
    now = time.time()
    records = [make_record(at=now - 60, group_id=0) for _ in range(15)]
    records += [make_record(at=now - 60, group_id=0, is_final=False)]
    records += [make_record(at=now - 900, group_id=0) for _ in range(10)]
    admin.write_journal(*records)
    await count_hour(admin, now - 2 * HOUR, 90, 10, group, parent)
    await count_hour(admin, now - 30 * HOUR, 40, 10, group)
    stats = await admin.api("GET", "/dashboard/stats")
    assert stats["key_count"] == {
        "value": 2.0,
        "sub_value": 1,
        "sub_value_tip": "Invalid Keys",
        "trend": 0.0,
        "trend_is_growth": False,
    }
    assert stats["rpm"] == {"value": 1.5, "trend": 50.0, "trend_is_growth": True}
    assert stats["request_count"] == {"value": 100.0, "trend": 100.0, "trend_is_growth": True}
    assert stats["error_rate"] == {"value": 10.0, "trend": -10.0, "trend_is_growth": True}


async def test_trends_without_a_past(admin: Admin) -> None:
    group = await admin.group()
    await count_hour(admin, time.time(), 3, 1, group)
    stats = await admin.api("GET", "/dashboard/stats")
    assert stats["request_count"] == {"value": 4.0, "trend": 100.0, "trend_is_growth": True}
    assert stats["error_rate"] == {"value": 25.0, "trend": 25.0, "trend_is_growth": False}


async def test_warnings_name_what_is_weak_and_never_show_it(admin: Admin) -> None:
    await admin.api("PUT", "/settings", {"proxy_keys": "sk-short,Rk7-Wq2.Zt9_Lm4-Xv8.Hd3_Nb6-Jc1x"})
    await admin.group("one", proxy_keys="Rk7-Wq2.Zt9_Lm4-Xv8.Hd3_Nb6-Jc2x,hunter2")
    warnings = (await admin.api("GET", "/dashboard/stats"))["security_warnings"]
    kinds = [warning["type"] for warning in warnings]
    assert kinds[0] == "AUTH_KEY"  # it holds the word "admin"
    assert "ENCRYPTION_KEY" in kinds
    assert kinds[kinds.index("ENCRYPTION_KEY") + 1 :] == [
        "Global Proxy Key #1",
        "Group Proxy Key [one] #2",
    ]
    for warning in warnings:
        assert set(warning) == {"type", "message", "severity", "suggestion"}
        assert warning["severity"] in ("high", "medium")
        assert warning["suggestion"]
    said = json.dumps(warnings)
    for secret in ("sk-short", "hunter2", AUTH_KEY):
        assert secret not in said


async def test_no_warning_is_an_empty_list(make_admin: MakeAdmin) -> None:
    """D63: a list is never null."""
    admin = await make_admin("Rk7-Wq2.Zt9_Lm4-Xv8.Hd3_Nb6-Jc3x")
    await admin.api("PUT", "/settings", {"proxy_keys": "Rk7-Wq2.Zt9_Lm4-Xv8.Hd3_Nb6-Jc1x"})
    warnings = (await admin.api("GET", "/dashboard/stats"))["security_warnings"]
    assert isinstance(warnings, list)
    assert [w for w in warnings if w["type"] != "AUTH_KEY"] == []


async def test_the_chart_has_a_point_an_hour(admin: Admin) -> None:
    group = await admin.group("one")
    parent = await admin.aggregate("all", group)
    now = time.time()
    await count_hour(admin, now, 5, 1, group, parent)
    await count_hour(admin, now - 23 * HOUR, 7, 0, group, parent)
    await count_hour(admin, now - 24 * HOUR, 100, 100, group, parent)
    chart = await admin.api("GET", "/dashboard/chart")
    times = [datetime.fromisoformat(label).timestamp() for label in chart["labels"]]
    assert times[-1] == now // HOUR * HOUR
    assert [b - a for a, b in zip(times, times[1:], strict=False)] == [HOUR] * 23
    success, failed = chart["datasets"]
    assert (success["label"], failed["label"]) == ("Success", "Failed")
    assert success["color"] == "rgba(10, 200, 110, 1)"
    assert success["data"] == [7, *[0] * 22, 5]
    assert failed["data"] == [*[0] * 23, 1]
    for one in (group, parent):
        chart = await admin.api("GET", f"/dashboard/chart?groupId={one}")
        assert chart["datasets"][0]["data"][-1] == 5
    answer = await admin.call("GET", "/api/dashboard/chart?groupId=x")
    answer.refused(400, "BAD_REQUEST")
