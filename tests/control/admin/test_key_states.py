"""How many keys are in which state or of which kind, and finding and sorting them by it."""

from __future__ import annotations

import time
from collections import Counter
from urllib.parse import quote

from gptload.core.keykinds import KINDS
from gptload.core.outcome import Scope
from gptload.link.messages import KeyEvent, Seen
from tests.control.admin.conftest import Admin, MakeAdmin
from tests.parts.records import make_record


async def test_the_states_of_all_groups_are_counted_at_once(make_admin: MakeAdmin) -> None:
    admin = await make_admin()
    first, empty, second = [await admin.group(name) for name in ("first", "empty", "second")]
    await admin.add_keys(first, ["sk-a", "sk-b", "sk-c"])
    await admin.add_keys(second, ["sk-d"])
    ids = {key["key_value"]: key["id"] for key in await admin.keys(first)}
    now = time.time()
    admin.ledger.fold(KeyEvent(first, ids["sk-a"], Seen.REJECTED, now, threshold=1, reason="bad"))
    admin.ledger.fold(KeyEvent(first, ids["sk-b"], Seen.LIMITED, now, until=now + 600))
    await admin.ledger.flush()

    found = await admin.api("GET", "/keys/states")

    none = {"active": 0, "resting": 0, "invalid": 0, "disabled": 0}
    no_kinds = dict.fromkeys(KINDS, 0)
    assert found == [
        {
            **{"group_id": first, **none, "active": 1, "resting": 1, "invalid": 1},
            "kinds": no_kinds | {"active": 1, "cooling": 1, "invalid": 1},
        },
        {"group_id": second, **none, "active": 1, "kinds": no_kinds | {"active": 1}},
    ]
    assert empty not in {counts["group_id"] for counts in found}


async def _kinds(admin: Admin) -> tuple[int, dict[str, int]]:
    """A group with a key of each kind, named after it."""
    group = await admin.group()
    await admin.add_keys(group, [f"sk-{kind}" for kind in [*KINDS, "long", "model", "woke"]])
    ids = {key["key_value"]: key["id"] for key in await admin.keys(group)}
    now = time.time()

    def seen(kind: str, what: Seen, reason: str, until: float | None, threshold: int = 0) -> None:
        event = KeyEvent(
            group, ids[f"sk-{kind}"], what, now, until=until, reason=reason, threshold=threshold
        )
        admin.ledger.fold(event)

    seen("suspect", Seen.REJECTED, "openai.bad", None, threshold=3)
    seen("invalid", Seen.REJECTED, "openai.bad", None, threshold=1)
    seen("cooling", Seen.LIMITED, "openai.slow_down", now + 600)
    seen("exhausted", Seen.EXHAUSTED, "openai.insufficient_quota", now + 600)
    for key, until in [("model", now + 60), ("woke", now + 0.01)]:
        admin.ledger.fold(
            KeyEvent(
                group,
                ids[f"sk-{key}"],
                Seen.LIMITED,
                now,
                until=until,
                reason="openai.slow_down",
                scope=Scope.KEY_MODEL,
                model='gpt-"4.1"',
            )
        )
    seen("long", Seen.LIMITED, "openai.slow_down", now + 2 * 3600)
    await admin.api("PUT", f"/keys/{ids['sk-disabled']}/state", {"state": "disabled"})
    return group, ids


async def test_a_key_is_told_and_found_in_six_words(admin: Admin) -> None:
    group, _ = await _kinds(admin)
    wanted = {f"sk-{kind}": kind for kind in KINDS} | {
        "sk-long": "exhausted",
        "sk-model": "cooling",
        "sk-woke": "active",
    }
    time.sleep(0.02)
    assert {key["key_value"]: key["kind"] for key in await admin.keys(group)} == wanted
    counts = Counter(wanted.values())
    assert (await admin.api("GET", f"/keys/facets?group_id={group}"))["kinds"] == counts
    (of_all,) = await admin.api("GET", "/keys/states")
    assert of_all["kinds"] == counts
    for kind in KINDS:
        found = await admin.keys(group, f"&kind={kind}")
        assert {key["key_value"] for key in found} == {
            name for name, its in wanted.items() if its == kind
        }
    answer = await admin.call("GET", f"/api/keys?group_id={group}&kind=ill")
    answer.refused(400, "VALIDATION_FAILED")


async def test_reasons_of_keys_that_are_not_active_are_counted(admin: Admin) -> None:
    group, _ = await _kinds(admin)
    found = (await admin.api("GET", f"/keys/facets?group_id={group}"))["reasons"]
    assert found == [
        {"reason": "openai.slow_down", "count": 2},
        {"reason": "openai.bad", "count": 1},
        {"reason": "openai.insufficient_quota", "count": 1},
        {"reason": "switched_off", "count": 1},
    ]
    await admin.api("POST", "/keys/clear-all", {"group_id": group})
    empty = await admin.api("GET", f"/keys/facets?group_id={group}")
    assert (set(empty["kinds"].values()), empty["reasons"]) == ({0}, [])
    (await admin.call("GET", "/api/keys/facets?group_id=999")).refused(404, "NOT_FOUND")


async def test_keys_are_acted_on_by_kind_and_by_a_part_of_their_note(admin: Admin) -> None:
    group, ids = await _kinds(admin)
    await admin.api("PUT", f"/keys/{ids['sk-cooling']}/notes", {"notes": "Team 100%_b"})
    for part, count in [("team", 1), ("0%_", 1), ("0__", 0), ("b", 1), ("", 9)]:
        assert len(await admin.keys(group, f"&notes={quote(part)}")) == count, part
    said = {"group_id": group, "action": "restore", "filter": {"kind": "exhausted"}}
    assert (await admin.api("POST", "/keys/actions", said))["changed"] == 2
    said = {"group_id": group, "action": "disable", "filter": {"notes": "team"}, "expected": 1}
    assert (await admin.api("POST", "/keys/actions", said))["changed"] == 1
    said = {"group_id": group, "action": "delete", "filter": {"kind": "ill"}}
    (await admin.call("POST", "/api/keys/actions", said)).refused(400, "VALIDATION_FAILED")


async def test_keys_that_were_not_used_for_long_are_found_and_acted_on(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-never", "sk-old", "sk-new"])
    ids = {key["key_value"]: key["id"] for key in await admin.keys(group)}
    for name, at in [("sk-old", 1_760_000_000.0), ("sk-new", 1_770_000_000.0)]:
        admin.write_journal(make_record(at=at, group_id=group, key_id=ids[name]))

    async def found(before: str) -> set[str]:
        keys = await admin.keys(group, f"&last_used_before={quote(before)}")
        return {key["key_value"] for key in keys}

    assert await found("1765000000000") == {"sk-never", "sk-old"}
    assert await found("2025-12-06T05:46:40Z") == {"sk-never", "sk-old"}
    assert await found("1760000000000") == {"sk-never"}
    said = {"group_id": group, "action": "disable", "filter": {"last_used_before": "1765000000000"}}
    assert (await admin.api("POST", "/keys/actions", said))["changed"] == 2
    for wrong in ("yesterday", "-1", "99999999999999"):
        path = f"/api/keys?group_id={group}&last_used_before={wrong}"
        (await admin.call("GET", path)).refused(400, "VALIDATION_FAILED")


async def test_a_list_of_keys_has_the_order_that_is_asked_for(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    ids = {key["key_value"]: key["id"] for key in await admin.keys(group)}
    await admin.api("PUT", f"/keys/{ids['sk-b']}/weight", {"weight": 5})
    await admin.api("PUT", f"/keys/{ids['sk-b']}/state", {"state": "disabled"})
    for sort, wanted in [
        ("id", "abc"),
        ("-id", "cba"),
        ("-weight", "bca"),
        ("weight", "cab"),
        ("-used", "cba"),
        ("rest", "cba"),
        ("created", "cba"),  # all in one moment: the newest id first
        ("status", "cab"),
        ("-status", "bca"),
    ]:
        found = [key["key_value"][-1] for key in await admin.keys(group, f"&sort={sort}")]
        assert found == list(wanted), sort
    alone = await admin.keys(group, f"&id={ids['sk-c']}")
    assert [key["key_value"] for key in alone] == ["sk-c"]
    answer = await admin.call("GET", f"/api/keys?group_id={group}&sort=key_value")
    answer.refused(400, "VALIDATION_FAILED")
