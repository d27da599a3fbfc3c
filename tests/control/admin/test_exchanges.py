"""One client request with the attempts that it took."""

from __future__ import annotations

from tests.control.admin.conftest import Admin
from tests.parts.records import make_record


def _write(admin: Admin) -> None:
    admin.write_journal(
        make_record(id="a1", exchange_id="e1", at=10.0, is_final=False, outcome="rate_limited"),
        make_record(id="b1", exchange_id="e2", at=10.5),
        make_record(id="a2", exchange_id="e1", at=11.0),
    )


async def test_the_attempts_of_a_request_in_their_order(admin: Admin) -> None:
    _write(admin)
    shown = await admin.api("GET", "/logs/requests/e1")
    assert shown["exchange_id"] == "e1"
    assert [(each["id"], each["outcome"]) for each in shown["attempts"]] == [
        ("a1", "rate_limited"),
        ("a2", "ok"),
    ]
    for nobody in ("e3", "x" * 60, "%00"):
        (await admin.call("GET", f"/api/logs/requests/{nobody}")).refused(404, "NOT_FOUND")


async def test_what_ended_a_request_without_an_attempt_comes_last(admin: Admin) -> None:
    """Keys that ran out are told of with the request's begin."""
    tries = [make_record(id=f"a{n}", exchange_id="e1", at=10.0 + n, is_final=False) for n in (0, 1)]
    ending = make_record(id="end", exchange_id="e1", at=10.0, key_id=0, outcome="rate_limited")
    admin.write_journal(*tries, ending)
    shown = (await admin.api("GET", "/logs/requests/e1"))["attempts"]
    assert [each["id"] for each in shown] == ["a0", "a1", "end"]
    (row,) = (await admin.api("GET", "/logs?request_type=final&attempts=true"))["items"]
    assert [each["id"] for each in row["attempts"]] == ["a0", "a1", "end"]


async def test_a_list_of_requests_says_how_each_got_there(admin: Admin) -> None:
    _write(admin)
    for more in ("", "&cursor="):
        path = f"/logs?request_type=final&attempts=true{more}"
        rows = (await admin.api("GET", path))["items"]
        assert {row["id"]: [each["id"] for each in row["attempts"]] for row in rows} == {
            "a2": ["a1", "a2"],
            "b1": ["b1"],
        }
        assert set(rows[0]["attempts"][0]) == {
            "id",
            "key_id",
            "outcome",
            "status_code",
            "duration_ms",
        }
    assert "attempts" not in (await admin.api("GET", "/logs"))["items"][0]


async def test_rows_of_one_key_are_found_by_its_id(admin: Admin) -> None:
    """A browser has no whole key to ask by."""
    group = await admin.group()
    await admin.add_keys(group, ["sk-one", "sk-two"])
    ids = {item["key_value"]: item["id"] for item in await admin.keys(group)}
    admin.write_journal(
        *(make_record(id=name, group_id=group, key_id=key_id) for name, key_id in ids.items())
    )
    rows = (await admin.api("GET", f"/logs?key_id={ids['sk-two']}"))["items"]
    assert [row["id"] for row in rows] == ["sk-two"]
    answer = await admin.call("GET", f"/api/logs/export?key_id={ids['sk-one']}")
    assert b"sk-one" in answer.said
    assert b"sk-two" not in answer.said
    (await admin.call("GET", "/api/logs?key_id=999")).refused(404, "NOT_FOUND")
