"""`/api/upstreams`: which ways to upstreams are in trouble."""

from __future__ import annotations

from gptload.core.breaker import State
from gptload.link.messages import BreakerMoved
from tests.control.admin.conftest import Admin

AT = 1_800_000_000.25


async def test_only_what_ever_moved_is_listed(admin: Admin) -> None:
    assert await admin.api("GET", "/upstreams") == []
    admin.breakers.moved(BreakerMoved("https://a", State.OPEN, AT, AT + 5, "correlated"))
    admin.breakers.moved(BreakerMoved("https://b", State.CLOSED, AT, None, "x"))
    assert await admin.api("GET", "/upstreams") == [
        {
            "way": "https://a",
            "state": "open",
            "changed_at": "2027-01-15T08:00:00.25Z",
            "retry_at": "2027-01-15T08:00:05.25Z",
            "reason": "correlated",
        },
        {
            "way": "https://b",
            "state": "closed",
            "changed_at": "2027-01-15T08:00:00.25Z",
            "retry_at": None,
            "reason": "x",
        },
    ]


async def test_it_needs_the_key(admin: Admin) -> None:
    answer = await admin.call("GET", "/api/upstreams", key=None)
    assert answer.status == 401
