"""`GET /api/status`: what fails says so, and the answer needs nobody."""

from __future__ import annotations

import time

from gptload.control.status import PlaneView
from gptload.core.breaker import State
from gptload.core.errors import DatabaseUnavailable
from gptload.link.messages import BreakerMoved
from tests.control.admin.conftest import Admin
from tests.parts.records import make_record

AT = 1_800_000_000.0


async def test_all_that_a_node_knows_of_itself_is_told(admin: Admin) -> None:
    status = admin.status
    status.started_at = AT
    status.look = lambda: PlaneView(3, 5, 2, 1000, 7, 5000)
    status.loop_delay.note(0.5)
    status.loop_delay.note(0.012)
    status.job("ledger").succeeded(AT, AT + 1)
    status.job("records").failed(AT + 5, DatabaseUnavailable("The database is locked"))
    admin.breakers.moved(BreakerMoved("1 https://a", State.OPEN, AT, AT + 5, "openai.status_500"))
    admin.breakers.moved(BreakerMoved("1 https://b", State.CLOSED, AT, None, ""))
    admin.write_journal(make_record())
    size = sum(path.stat().st_size for path in admin.journal.iterdir())
    assert await admin.api("GET", "/status") == {
        "version": "1.2.3",
        "started_at": "2027-01-15T08:00:00Z",
        "database": {
            "state": "away",
            "since": "2027-01-15T08:00:05Z",
            "reason": "The database is locked",
        },
        "journal": {
            "waiting_bytes": size + 1000,
            "segments": 1,
            "dropped": 7,
            "limit_bytes": 5000,
        },
        "jobs": [
            {
                "name": "ledger",
                "state": "ok",
                "last_success_at": "2027-01-15T08:00:00Z",
                "last_failure_at": None,
                "last_failure": "",
                "failures": 0,
                "failing_since": None,
                "next_run_at": "2027-01-15T08:00:01Z",
            },
            {
                "name": "records",
                "state": "failing",
                "last_success_at": None,
                "last_failure_at": "2027-01-15T08:00:05Z",
                "last_failure": "The database is locked",
                "failures": 1,
                "failing_since": "2027-01-15T08:00:05Z",
                "next_run_at": None,
            },
        ],
        "breakers_open": ["1 https://a"],
        "exchanges_under_way": 3,
        "connections": {"open": 5, "idle": 2},
        "event_loop": {"delay_ms": 12.0, "worst_ms": 500.0},
    }


async def test_the_one_node_that_there_is_tells_of_itself(admin: Admin) -> None:
    admin.status.started_at = time.time() - 90
    admin.status.job("ledger").succeeded(AT, AT + 1)
    (node,) = await admin.api("GET", "/nodes")
    status = await admin.api("GET", "/status")
    meta = await admin.api("GET", "/meta")
    assert (node["name"], node["role"]) == (meta["node"], meta["role"]) != ("", "")
    assert node["database"] == status.pop("database") | {"kind": meta["database"]["kind"]}
    assert {name: node[name] for name in status} == status
    assert 90 <= node["uptime_s"] < 100
    before = node["settings_version"]
    await admin.api("PUT", "/settings", {"max_retries": 7})
    (node,) = await admin.api("GET", "/nodes")
    assert node["settings_version"] > before


async def test_it_answers_while_the_database_does_not(admin: Admin) -> None:
    await admin.database.stop()
    assert (await admin.api("GET", "/status"))["database"]["state"] == "ok"  # nobody missed it yet


async def test_a_journal_that_the_database_has_is_no_backlog(admin: Admin) -> None:
    admin.write_journal(make_record())
    await admin.records.drain()
    journal = (await admin.api("GET", "/status"))["journal"]
    assert journal["waiting_bytes"] == 0


async def test_a_stranger_is_told_nothing(admin: Admin) -> None:
    answer = await admin.call("GET", "/api/status", key=None)
    answer.refused(401, "UNAUTHORIZED")
