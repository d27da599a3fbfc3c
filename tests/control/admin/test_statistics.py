"""`/api/stats`: any range, any part, compared with the time before."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from gptload.control.db.queries import timeline
from gptload.core.histogram import bucket_of
from gptload.core.keyevents import Change, Happened, KeyView
from gptload.core.keystate import State
from tests.control.admin.conftest import Admin
from tests.parts.records import make_record

HOUR = 3600


async def ask(admin: Admin, what: str, **query: Any) -> Any:
    asked = {name.rstrip("_"): value for name, value in query.items()}
    return await admin.api("GET", f"/stats/{what}?{urlencode(asked)}")


async def fill(admin: Admin) -> float:
    """Two groups, two models, a retry, a day with more failures before; when it was."""
    group, other = await admin.group("one"), await admin.group("two")
    parent = await admin.aggregate("all", group)
    await admin.add_keys(group, ["sk-a-long-key-of-the-tests"])
    (key,) = (await admin.key_ids()).values()
    now = time.time() - 120
    limited = {"outcome": "rate_limited", "status_code": 429, "reason": "openai.rate_limit"}
    first = {"group_id": group, "group_name": "one", "parent_group_id": parent, "key_id": key}
    second = {"group_id": other, "group_name": "two", "key_id": 0, "model": "gemini"}
    records = [
        *(make_record(at=now, total_ms=100 * (n + 1), **first) for n in range(8)),
        *(make_record(at=now, is_final=False, **first, **limited) for _ in range(3)),
        *(make_record(at=now - 2 * HOUR, total_ms=5000, **second) for _ in range(2)),
        *(make_record(at=now - 2 * HOUR, **second, **limited) for _ in range(2)),
        *(make_record(at=now - 30 * HOUR, **first, **limited) for _ in range(4)),
    ]
    admin.write_journal(*records)
    return now


async def test_a_summary_beside_the_time_before(admin: Admin) -> None:
    await fill(admin)
    summary = await ask(admin, "summary")
    now = summary["current"]
    assert (now["requests"], now["succeeded"], now["failed"]) == (12, 10, 2)
    assert (now["attempts"], now["retried"]) == (15, 3)
    assert now["success_rate"] == pytest.approx(10 / 12)
    assert now["outcomes"] == {"ok": 10, "rate_limited": 2}
    assert now["retried_outcomes"] == {"rate_limited": 3}
    assert now["latency"]["count"] == 12
    assert now["latency"]["p50_ms"] == pytest.approx(400, rel=0.125)
    assert now["latency"]["p99_ms"] == pytest.approx(5000, rel=0.125)
    before = summary["previous"]
    assert (before["requests"], before["succeeded"]) == (4, 0)
    assert before["to"] == pytest.approx(summary["from"], abs=61_000)


async def test_nothing_is_unknown_and_not_zero(admin: Admin) -> None:
    summary = await ask(admin, "summary", cmp="off")
    assert summary["previous"] is None
    now = summary["current"]
    assert now["requests"] == 0
    assert now["success_rate"] is None
    for kind in ("latency", "first_byte", "first_token", "per_token"):
        assert now[kind] == {
            "count": 0,
            "p50_ms": None,
            "p95_ms": None,
            "p99_ms": None,
            "slowest_ms": None,
        }


async def test_parts_are_told_apart(admin: Admin) -> None:
    await fill(admin)
    groups = {group["name"]: group["id"] for group in await admin.api("GET", "/groups")}

    async def requests(**query: Any) -> int:
        return int((await ask(admin, "summary", **query))["current"]["requests"])

    assert await requests(group=groups["one"]) == 8
    assert await requests(group=groups["all"]) == 8
    assert await requests(model="gemini") == 4
    assert await requests(model="gemini", group=groups["two"]) == 4
    assert await requests(model="gemini", group=groups["one"]) == 0
    (key,) = (await admin.key_ids()).values()
    assert await requests(key=key) == 8


async def test_a_range_that_runs_is_compared_with_as_much_as_has_passed(admin: Admin) -> None:
    """Acceptance 17: half of today is never held against the whole of yesterday."""
    now = time.time()
    begin, end = round((now - HOUR) * 1000), round((now + 3 * HOUR) * 1000)
    summary = await ask(admin, "summary", from_=begin, to=end, cmp="day")
    before = summary["previous"]
    assert before["to"] - before["from"] == pytest.approx(HOUR * 1000, abs=121_000)
    assert before["from"] == (begin // 60_000 * 60_000) - 24 * HOUR * 1000


async def test_the_points_of_a_series_add_up_to_the_summary(admin: Admin) -> None:
    await fill(admin)
    series = await ask(admin, "series", tz="Asia/Tokyo")
    assert series["step_s"] == 300
    assert sum(point["requests"] for point in series["points"]) == 12
    times = [point["at"] for point in series["points"]]
    assert [b - a for a, b in zip(times, times[1:], strict=False)] == [300] * (len(times) - 1)
    labels = [point["label"] for point in series["points"]]
    assert all(label.endswith("+09:00") for label in labels)
    assert datetime.fromisoformat(labels[0]).timestamp() == times[0]
    assert series["running_from"] in times
    assert series["previous"]["step_s"] == 300
    hourly = await ask(admin, "series", step=HOUR, cmp="off")
    assert sum(point["requests"] for point in hourly["points"]) == 12
    assert hourly["previous"] is None


async def test_the_columns_of_the_grid_add_up_to_the_requests(admin: Admin) -> None:
    await fill(admin)
    grid = await ask(admin, "latency", step=HOUR)
    cells = [count for column in grid["columns"] for _, count in column["counts"]]
    assert sum(cells) == grid["whole"]["count"] == 12
    low, high = grid["bounds_ms"][grid["whole"]["counts"][0][0]]
    assert low <= 100 <= high
    first_byte = await ask(admin, "latency", kind="first_byte")
    assert first_byte["whole"]["counts"] == [[bucket_of(80), 12]]


async def streams(admin: Admin) -> None:
    """Four of 101 output tokens, the first after 100 to 400 ms; and a call that is none."""
    now = time.time() - 120
    said = '{"prompt_tokens":9,"completion_tokens":101}'
    admin.write_journal(
        make_record(at=now),
        *(
            make_record(at=now, first_token_ms=first, duration_ms=first + each, usage=said)
            for first, each in ((100, 500), (200, 600), (300, 700), (400, 30))
        ),
    )


async def test_the_times_of_streams_are_of_streams_only(admin: Admin) -> None:
    await streams(admin)
    figures = (await ask(admin, "summary"))["current"]
    assert [figures[kind]["count"] for kind in ("latency", "first_byte")] == [5, 5]
    assert [figures[kind]["count"] for kind in ("first_token", "per_token")] == [4, 4]
    assert figures["first_token"]["p50_ms"] == pytest.approx(200, rel=0.125)
    assert figures["first_token"]["p99_ms"] == pytest.approx(400, rel=0.125)
    assert figures["per_token"]["p50_ms"] == pytest.approx(5, rel=0.125)
    assert figures["per_token"]["p99_ms"] == pytest.approx(7, rel=0.125)
    (point,) = [p for p in (await ask(admin, "series"))["points"] if p["requests"]]
    (item,) = (await ask(admin, "top"))["group"]["items"]
    for kind in ("first_token", "per_token"):
        assert point[kind] == item[kind] == figures[kind]


async def test_the_grids_of_streams_hold_each_in_its_unit(admin: Admin) -> None:
    await streams(admin)
    for kind, wanted in (("first_token", (100, 200, 300, 400)), ("per_token", (0.3, 5, 6, 7))):
        grid = await ask(admin, "latency", kind=kind)
        assert grid["kind"] == kind
        whole = grid["whole"]
        assert [count for _, count in whole["counts"]] == [1, 1, 1, 1]
        for (bucket, _), exact in zip(whole["counts"], wanted, strict=True):
            low, high = grid["bounds_ms"][bucket]
            assert low <= exact <= high
            assert high - low <= exact / 8
        low, high = grid["bounds_ms"][whole["counts"][-1][0]]
        assert low <= whole["p99_ms"] <= high


async def test_a_kind_that_is_none_is_refused_with_those_that_there_are(admin: Admin) -> None:
    answer = await admin.call("GET", "/api/stats/latency?kind=last_byte")
    assert answer.status == 400
    assert answer.said["message"] == "kind is total, first_byte, first_token or per_token"


async def test_errors_by_class_with_requests_and_attempts(admin: Admin) -> None:
    await fill(admin)
    assert (await ask(admin, "errors"))["items"] == [
        {
            "outcome": "rate_limited",
            "status_code": 429,
            "reason": "openai.rate_limit",
            "requests": 2,
            "attempts": 5,
            "attempts_before": 4,
        }
    ]


async def test_top_lists(admin: Admin) -> None:
    await fill(admin)
    found = await ask(admin, "top", by="group,model,key,upstream")
    groups = [(item["name"], item["group_type"]) for item in found["group"]["items"]]
    assert groups == [("one", "standard"), ("all", "aggregate"), ("two", "standard")]
    assert [item["name"] for item in found["model"]["items"]] == ["gpt-5", "gemini"]
    (key,) = found["key"]["items"]
    assert key["name"] and "of-the" not in key["name"]
    assert (key["requests"], key["attempts"], key["requests_before"]) == (8, 11, 4)
    assert {item["name"] for item in found["upstream"]["items"]} == {"https://api.example"}
    assert found["group"]["total"] == 3
    failing = await ask(admin, "top", by="group", sort="failures", limit=1)
    assert [item["name"] for item in failing["group"]["items"]] == ["one"]
    one = found["group"]["items"][0]["id"]
    within = await ask(admin, "top", by="model,key", group=one)
    assert [item["name"] for item in within["model"]["items"]] == ["gpt-5"]


async def test_the_busiest_have_a_course_where_it_is_asked_for(admin: Admin) -> None:
    await fill(admin)
    plain = await ask(admin, "top", by="group")
    assert "course_p95_ms" not in plain["group"]["items"][0]
    found = await ask(admin, "top", by="group,key", course="total")
    for kind in ("group", "key"):
        first = found[kind]["items"][0]
        assert 1 < len(first["course_p95_ms"]) <= 31
        known = [ms for ms in first["course_p95_ms"] if ms is not None]
        assert known and max(known) <= first["latency"]["slowest_ms"] * 1.125
    answer = await admin.call("GET", "/api/stats/top?course=last_byte")
    assert answer.status == 400
    assert answer.said["message"] == "course is total, first_byte, first_token or per_token"


@pytest.mark.parametrize(
    ("what", "query"),
    [
        ("summary", "from=soon"),
        ("summary", "from=2000&to=1000"),
        ("summary", "to=99999999999999"),
        ("summary", "cmp=never"),
        ("summary", "group=x"),
        ("summary", "key=1&model=m"),
        ("series", "tz=../../etc/passwd"),
        ("series", "tz=Mars/Olympus"),
        ("latency", "kind=last_byte"),
        ("top", "by=client"),
        ("top", "sort=name"),
        ("top", "key=1"),
        ("waves", "model=gpt-5"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    admin: Admin, what: str, query: str
) -> None:
    answer = await admin.call("GET", f"/api/stats/{what}?{query}")
    answer.refused(400, "VALIDATION_FAILED")


async def test_times_may_be_rfc_3339(admin: Admin) -> None:
    now = await fill(admin)
    begin = datetime.fromtimestamp(now - 60).astimezone().isoformat()
    assert (await ask(admin, "summary", from_=begin))["current"]["requests"] == 8


async def test_what_keys_went_through_is_told_in_waves_with_the_last_first(admin: Admin) -> None:
    one, two = await admin.group("one"), await admin.group("two")
    parent = await admin.aggregate("all", one)
    now = time.time() - 600
    rest = KeyView(State.RESTING, until=now + 3600)
    rests = [
        Change(one, key, now + key, Happened.RESTED, rest, reason="openai.quota", status=429)
        for key in range(1, 4)
    ]
    out = Change(two, 9, now + 60, Happened.STRUCK_OUT, KeyView(State.INVALID), reason="openai.no")
    old = Change(one, 1, now - 30 * HOUR, Happened.RESTORED, KeyView())
    await admin.write(timeline.add, [old, *rests, out])
    found = (await ask(admin, "waves"))["items"]
    assert [(wave["group_name"], wave["event"], wave["keys"]) for wave in found] == [
        ("two", "struck_out", 1),
        ("one", "rested", 3),
    ]
    assert found[0]["key_id"] == 9 and found[0]["until"] is None
    assert found[1] | {"since": "", "at": "", "until": ""} == {
        "group_id": one,
        "group_name": "one",
        "event": "rested",
        "reason": "openai.quota",
        "status_code": 429,
        "since": "",
        "at": "",
        "until": "",
        "keys": 3,
        "key_id": None,
    }
    ends = [datetime.fromisoformat(found[1][name]).timestamp() for name in ("since", "at", "until")]
    assert ends == pytest.approx([now + 1, now + 3, now + 3600], abs=0.01)

    async def groups(**query: Any) -> list[str]:
        return [wave["group_name"] for wave in (await ask(admin, "waves", **query))["items"]]

    assert await groups(limit=1) == ["two"]
    assert await groups(group=one) == await groups(group=parent) == ["one"]
    assert await groups(from_=int((now - 40 * HOUR) * 1000), to=int(now * 1000)) == ["one"]
