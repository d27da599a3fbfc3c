"""`/api/logs`: what happened, attempt by attempt."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from twisted.internet.defer import Deferred

from gptload.control.admin.replies import time_text
from gptload.control.db.queries import logs as queries
from gptload.proxy.trace import NAMES
from tests.control.admin.conftest import Admin
from tests.parts.records import make_record

AT = 1_800_000_000.25  # 2027-01-15T08:00:00.25Z


async def logs(admin: Admin, **query: Any) -> list[dict[str, Any]]:
    return list((await admin.api("GET", f"/logs?{urlencode(query)}"))["items"])


async def found(admin: Admin, query: str) -> set[str]:
    return {log["id"] for log in (await admin.api("GET", f"/logs?{query}"))["items"]}


async def test_a_row_as_the_api_shows_it(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    key_id = (await admin.key_ids())["sk-a"]
    admin.write_journal(
        make_record(
            id="one",
            exchange_id="both",
            at=AT,
            group_id=group,
            key_id=key_id,
            parent_group_id=9,
            parent_group_name="all",
            model="通义千问",
            is_final=False,
            is_stream=True,
            outcome="key_rejected",
            reason="openai.invalid",
            status_code=401,
            scope="account+model",
            rest_until=AT + 60,
            account="org-1",
            signature="openai.invalid C",
            error="no <b>",
            first_byte_ms=None,
            first_token_ms=95,
            connect_ms=31,
            request_body='{"a": 1}',
        )
    )
    assert await logs(admin) == [
        {
            "id": "one",
            "timestamp": "2027-01-15T08:00:00.25Z",
            "group_id": group,
            "group_name": "openai",
            "parent_group_id": 9,
            "parent_group_name": "all",
            "key_value": "sk-a",
            "key_hash": admin.vault.hash(b"sk-a"),
            "model": "通义千问",
            "is_success": False,
            "source_ip": "203.0.113.7",
            "status_code": 401,
            "request_path": "/v1/chat/completions",
            "duration_ms": 120,
            "error_message": "no <b>",
            "user_agent": "tests",
            "request_type": "retry",
            "upstream_addr": "https://api.example/v1/chat/completions",
            "is_stream": True,
            "request_body": '{"a": 1}',
            "exchange_id": "both",
            "key_id": key_id,
            "connect_ms": 31,
            "first_byte_ms": None,
            "first_token_ms": 95,
            "total_ms": 130,
            "outcome": "key_rejected",
            "reason": "openai.invalid",
            "method": "POST",
            "scope": "account+model",
            "rest_until": "2027-01-15T08:01:00.25Z",
            "account": "org-1",
            "signature": "openai.invalid C",
            "input_tokens": None,
            "output_tokens": None,
            "cached_tokens": None,
            "cache_write_tokens": None,
            "reasoning_tokens": None,
            "audio_tokens": None,
            "cost_nano_usd": None,
        }
    ]


async def test_pages_hold_every_row_once_the_newest_first(admin: Admin) -> None:
    # Many at one moment: the order must still be one.
    admin.write_journal(
        *(make_record(id=f"{number:02}", at=AT + number // 5) for number in range(23))
    )
    for size in (1, 4, 15, 100):
        seen: list[str] = []
        for number in range(1, 30):
            page = await admin.api("GET", f"/logs?page={number}&page_size={size}")
            assert page["pagination"]["total_items"] == 23
            assert page["pagination"]["total_pages"] == -(-23 // size)
            seen += [log["id"] for log in page["items"]]
            if not page["items"]:
                break
        assert seen == [f"{number:02}" for number in reversed(range(23))]


async def fill(admin: Admin) -> None:
    """Three rows that differ in everything that can be asked for."""
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b"])
    ids = await admin.key_ids()
    admin.write_journal(
        make_record(id="a", at=AT, model="GPT-4.1", group_name="alpha", key_id=ids["sk-a"]),
        make_record(
            id="b",
            at=AT + 3600,
            model="100%_real",
            group_name="beta",
            parent_group_name="all_of_them",
            key_id=ids["sk-b"],
            status_code=429,
            outcome="rate_limited",
            error="Too many requests: 100%",
            is_final=False,
            source_ip="2001:db8::1",
        ),
        make_record(id="c", at=AT + 7200, model="通义-é", group_name="gamma", key_id=0),
    )


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", "abc"),
        ("model=gpt-4", "a"),
        ("model=%25", "b"),
        ("model=_", "b"),
        ("model=%5C", ""),
        (f"model={quote('通义')}", "c"),
        ("group_name=a", "abc"),
        ("group_name=alpha", "a"),
        ("parent_group_name=all_of", "b"),
        ("parent_group_name=all-of", ""),
        ("error_contains=100%25", "b"),
        ("error_contains=too%20many", "b"),
        ("key_value=sk-a", "a"),
        ("key_value=sk-", ""),
        ("is_success=false", "b"),
        ("is_success=T", "ac"),
        ("is_success=1&group_name=gamma", "c"),
        ("is_success=maybe", "abc"),
        ("request_type=retry", "b"),
        ("request_type=final", "ac"),
        ("request_type=nothing", ""),
        ("source_ip=2001:db8::1", "b"),
        ("source_ip=2001", ""),
        ("status_code=429", "b"),
        ("status_code=4", ""),
        ("status_code=x", "abc"),
        (f"status_code={'9' * 30}", "abc"),
        ("model=x'%20OR%20'1'='1", ""),
        ("source_ip=';%20DROP%20TABLE%20request_logs;--", ""),
        ("model=%00", ""),
        ("model=%FF", ""),
        ("unknown=1", "abc"),
    ],
)
async def test_filters(admin: Admin, query: str, wanted: str) -> None:
    await fill(admin)
    assert await found(admin, query) == set(wanted)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        # D53, F27: the same moment in four zones, both ends included.
        ("start_time=2027-01-15T09:00:00.25Z", "bc"),
        ("start_time=2027-01-15T17:00:00.25%2B08:00", "bc"),
        ("start_time=2027-01-15T17:00:00.25+08:00", "bc"),  # a plus that nobody escaped
        ("start_time=2027-01-15T04:00:00.25-05:00", "bc"),
        ("start_time=2027-01-15T14:30:00.250000000%2B05:30", "bc"),
        ("start_time=2027-01-15t09:00:00.25z", "bc"),
        ("end_time=2027-01-15T09:00:00.25Z", "ab"),
        ("end_time=2027-01-15T09:00:00.249Z", "a"),
        ("start_time=2027-01-15T08:30:00Z&end_time=2027-01-15T09:30:00Z", "b"),
        # No RFC 3339 time is no question.
        ("start_time=2027-01-15", "abc"),
        ("start_time=2027-01-15T09:00:00", "abc"),
        ("start_time=2027-13-45T09:00:00Z", "abc"),
        ("start_time=tomorrow", "abc"),
        ("end_time=1", "abc"),
    ],
)
async def test_times(admin: Admin, query: str, wanted: str) -> None:
    await fill(admin)
    assert await found(admin, query) == set(wanted)


async def test_the_log_is_narrowed_by_what_the_reference_has_no_filter_for(admin: Admin) -> None:
    await fill(admin)
    all_of_them = await admin.aggregate("all_of_them")
    admin.write_journal(
        make_record(
            id="d",
            at=AT + 9000,
            exchange_id="an exchange",
            outcome="upstream_fault",
            status_code=503,
            upstream="https://100%.example/v1/chat",
            total_ms=2500,
            is_stream=True,
        )
    )
    for asked, wanted in [
        ("outcome=ok", "ac"),
        ("outcome=rate_limited", "b"),
        ("outcome=rate_limited,%20upstream_fault", "bd"),
        ("outcome=ok,upstream_fault&group_name=alpha", "a"),
        ("outcome=", "abcd"),
        ("outcome=" + ",".join(NAMES), "abcd"),
        ("status_code=429,500-599", "bd"),
        ("status_code=429,x", "abcd"),
        ("upstream=100%25.EX", "d"),
        ("upstream=_", ""),
        ("slower_than=2499", "d"),
        ("slower_than=2500", ""),
        ("slower_than=soon", "abcd"),
        ("is_stream=true", "d"),
        ("exchange_id=an%20exchange", "d"),
        ("request_id=an%20exchange&outcome=ok", ""),
        (f"group={all_of_them}", "b"),
        (f"not=group:{all_of_them}", "acd"),
        ("not=status_code:429", "acd"),
        ("not=status_code:429&not=status_code:500-599", "ac"),
        ("not=status_code:429,500-599&not=group_name:alpha", "c"),
        ("not=outcome:ok", "bd"),
        ("not=outcome:upstream_fault&is_success=false", "b"),
        ("not=upstream:100%25.EX", "abc"),
        ("not=error_contains:too+many", "acd"),
        ("not=status_code:soon", "abcd"),
        ("not=model:", "abcd"),
    ]:
        assert await found(admin, asked) == set(wanted), asked
        lines = await admin.call("GET", f"/api/logs/export.jsonl?{asked}")
        text = lines.said if isinstance(lines.said, bytes) else json.dumps(lines.said).encode()
        ids = [json.loads(line)["id"] for line in text.splitlines()]
        assert (sorted(ids), lines.status) == (sorted(wanted), 200), asked
    answer = await admin.call("GET", "/api/logs?outcome=ok,bad")
    assert "rate_limited" in answer.refused(400, "VALIDATION_FAILED")
    (await admin.call("GET", "/api/logs?not=colour:red")).refused(400, "VALIDATION_FAILED")
    many = "&".join(["not=model:m"] * 21)
    (await admin.call("GET", f"/api/logs?{many}")).refused(400, "VALIDATION_FAILED")
    (await admin.call("GET", "/api/logs?group=x")).refused(400, "BAD_REQUEST")
    (await admin.call("GET", "/api/logs?group=999")).refused(404, "NOT_FOUND")


async def test_what_the_log_can_be_narrowed_to_is_counted(admin: Admin) -> None:
    nothing = await admin.api("GET", "/logs/facets")
    assert nothing == {name: [] for name in nothing}
    now = time.time()
    a, b = "https://a.example/v1/chat", "https://b.example/v1/chat"
    good = {"group_name": "alpha", "model": "m", "upstream": a}
    bad = {"outcome": "rate_limited", "status_code": 429, "upstream": b, "group_id": 2}
    admin.write_journal(
        *(make_record(at=now - number * 86_400, **good) for number in range(3)),
        make_record(at=now, model="n", group_name="beta", parent_group_name="both", **bad),
        make_record(at=now, model="", group_name="", upstream=""),
    )
    assert await admin.api("GET", "/logs/facets") == {
        "groups": [{"name": "alpha", "count": 3}, {"name": "beta", "count": 1}],
        "parent_groups": [{"name": "both", "count": 1}],
        "models": [{"name": "m", "count": 3}, {"name": "n", "count": 1}],
        "status_codes": [{"code": 200, "count": 4}, {"code": 429, "count": 1}],
        "outcomes": [{"name": "ok", "count": 4}, {"name": "rate_limited", "count": 1}],
        "upstreams": [
            {"name": "https://a.example", "count": 3},
            {"name": "https://b.example", "count": 1},
        ],
    }


async def test_a_filter_that_no_column_could_hold_is_refused(admin: Admin) -> None:
    answer = await admin.call("GET", f"/api/logs?model={'x' * 1001}")
    assert answer.refused(400, "VALIDATION_FAILED") == "model is longer than 1000 characters"


async def test_a_stuck_journal_does_not_hide_the_rest(admin: Admin) -> None:
    admin.write_journal(make_record(id="a"))
    assert await found(admin, "") == {"a"}
    admin.records.blocked = Deferred()
    assert await found(admin, "") == {"a"}
    admin.records.blocked.callback(None)


async def test_a_cursor_reads_every_row_once_while_new_ones_come_in(admin: Admin) -> None:
    # Many at one moment: the order must still be one.
    admin.write_journal(*(make_record(id=f"{n:02}", at=AT + n // 5) for n in range(23)))
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await admin.api("GET", f"/logs?page_size=4&cursor={cursor}")
        seen += [log["id"] for log in page["items"]]
        cursor = page["next_cursor"]
        admin.write_journal(make_record(at=AT + 100))
    assert seen == [f"{number:02}" for number in reversed(range(23))]
    assert page["pagination"]["total_is_exact"] is True
    assert page["pagination"]["total_items"] == 28


async def test_newer_rows_follow_each_other_while_new_ones_come_in(admin: Admin) -> None:
    admin.write_journal(*(make_record(id=f"{n:02}", at=AT + n // 5) for n in range(23)))
    first = await admin.api("GET", "/logs?page_size=9&cursor=")
    second = await admin.api("GET", f"/logs?page_size=9&cursor={first['next_cursor']}")
    admin.write_journal(*(make_record(id=f"{n:02}", at=AT + n // 5) for n in range(23, 40)))
    seen: list[str] = []
    cursor = second["prev_cursor"]
    while cursor is not None:
        page = await admin.api("GET", f"/logs?page_size=4&cursor={cursor}")
        seen = [log["id"] for log in page["items"]] + seen
        cursor = page["prev_cursor"]
    assert seen == [f"{number:02}" for number in reversed(range(14, 40))]
    back = await admin.api("GET", f"/logs?page_size=4&cursor={page['next_cursor']}")
    assert back["items"][0]["id"] == f"{int(page['items'][-1]['id']) - 1:02}"


async def test_rows_are_counted_exactly_when_asked(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "COUNTED", 5)
    admin.write_journal(*(make_record(at=AT + n, model=f"m-{n % 2}") for n in range(30)))
    for filters, total in (("", 30), ("&model=m-1", 15), (f"&start_time={time_text(AT + 20)}", 10)):
        page = await admin.api("GET", f"/logs?cursor=&page_size=2{filters}")
        counted = await admin.api("GET", f"/logs/count?{filters[1:]}")
        assert counted == {"total_items": total, "total_is_exact": True}
        assert page["pagination"]["total_items"] <= total
    page = await admin.api("GET", f"/logs?cursor=&page_size=2&start_time={time_text(AT)}")
    assert page["pagination"]["total_items"] == 5
    assert page["pagination"]["total_is_exact"] is False


async def test_a_cursor_goes_with_every_filter(admin: Admin) -> None:
    await fill(admin)
    page = await admin.api("GET", "/logs?cursor=&page_size=1&group_name=a")
    following = page["next_cursor"]
    rest = await admin.api("GET", f"/logs?cursor={following}&page_size=9&group_name=a")
    assert [log["id"] for log in page["items"] + rest["items"]] == ["c", "b", "a"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "WzEsMl0", "W10", "bnVsbA", "%00", "9" * 900])
async def test_a_cursor_of_somebody_elses_is_refused(admin: Admin, cursor: str) -> None:
    answer = await admin.call("GET", f"/api/logs?cursor={cursor}")
    answer.refused(400, "BAD_REQUEST")


async def test_a_part_of_a_name_finds_all_names_that_hold_it(admin: Admin) -> None:
    admin.write_journal(
        *(make_record(id=f"{n:03}", at=AT + n, model=f"m-{n % 60}") for n in range(240))
    )
    for part, wanted in (("m-5", 4 * 11), ("m-", 240), ("M-59", 4), ("n", 0)):
        first = await admin.api("GET", f"/logs?model={part}&page_size=7")
        assert first["pagination"]["total_items"] == wanted
        seen: list[str] = []
        for number in range(1, 40):
            page = await admin.api("GET", f"/logs?model={part}&page_size=7&page={number}")
            seen += [log["id"] for log in page["items"]]
        assert len(set(seen)) == len(seen) == wanted
        assert seen == sorted(seen, reverse=True)
