"""Finding keys among many, switching them, and taking them out as a file."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gptload.control.admin.keys import EXPORTED
from gptload.control.db.queries import keys as queries
from gptload.control.keys import MASKED
from gptload.core.keystate import State
from gptload.core.vault import Vault
from gptload.link.messages import KeyEvent, KeyStateChanged, Seen
from tests.control.admin.conftest import Admin, MakeAdmin


async def values(admin: Admin, group: int, query: str) -> set[str]:
    return {key["key_value"] for key in await admin.keys(group, query)}


async def mixed(admin: Admin) -> int:
    """A group with a key in each state, named after it."""
    group = await admin.group()
    await admin.add_keys(group, ["sk-active", "sk-resting", "sk-invalid", "sk-disabled", "sk-woke"])
    ids = {key["key_value"]: key["id"] for key in await admin.keys(group)}
    now = time.time()

    def limit(key: str, until: float) -> None:
        event = KeyEvent(group, ids[key], Seen.LIMITED, now, until=until, reason="slow down")
        admin.ledger.fold(event)

    limit("sk-resting", now + 600)
    limit("sk-woke", now + 0.05)
    admin.ledger.fold(
        KeyEvent(group, ids["sk-invalid"], Seen.REJECTED, now, threshold=1, reason="bad key")
    )
    await admin.api("PUT", f"/keys/{ids['sk-disabled']}/state", {"state": "disabled"})
    time.sleep(0.06)
    return group


async def test_keys_are_found_by_state_and_by_reason(admin: Admin) -> None:
    group = await mixed(admin)
    for query, wanted in [
        ("&state=active", {"sk-active", "sk-woke"}),
        ("&state=resting", {"sk-resting"}),
        ("&state=invalid", {"sk-invalid"}),
        ("&state=disabled", {"sk-disabled"}),
        ("&status=active", {"sk-active", "sk-resting", "sk-woke"}),
        ("&reason=bad%20key", {"sk-invalid"}),
        ("&reason=slow%20down", {"sk-resting"}),
        ("&state=invalid&reason=slow%20down", set()),
    ]:
        assert await values(admin, group, query) == wanted, query
    answer = await admin.call("GET", f"/api/keys?group_id={group}&state=well")
    answer.refused(400, "VALIDATION_FAILED")


@pytest.mark.parametrize("encryption_key", ["", "a long encryption key of the tests"])
async def test_a_key_is_found_by_its_mask(make_admin: MakeAdmin, encryption_key: str) -> None:
    admin = await make_admin(encryption_key)
    group = await admin.group()
    await admin.add_keys(group, ["sk-first-0001", "sk-first-0002", "AIza-other-0001"])
    for mask, wanted in [
        ("sk-f****0001", {"sk-first-0001"}),
        ("sk-f...0002", {"sk-first-0002"}),
        ("%E2%80%A60001", {"sk-first-0001", "AIza-other-0001"}),
        ("0001", {"sk-first-0001", "AIza-other-0001"}),
        ("AIza*", {"AIza-other-0001"}),
        ("%25", set()),
    ]:
        assert await values(admin, group, f"&mask={mask}") == wanted, mask


async def test_a_mask_that_fits_too_many_is_refused(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, [f"sk-{number}" for number in range(MASKED + 1)])
    answer = await admin.call("GET", f"/api/keys?group_id={group}&mask=sk-*")
    assert "look like that" in answer.refused(400, "VALIDATION_FAILED")


async def test_a_whole_key_is_found_in_every_group_and_never_stands_in_an_address(
    admin: Admin,
) -> None:
    one, two = await admin.group("one"), await admin.group("two")
    await admin.add_keys(one, ["sk-a", "sk-b"])
    await admin.add_keys(two, ["sk-a"])
    found = await admin.api("POST", "/keys/lookup", {"key": " sk-a\n"})
    assert [(key["group_id"], key["key_value"]) for key in found] == [(one, "sk-a"), (two, "sk-a")]
    assert await admin.api("POST", "/keys/lookup", {"key": "sk-"}) == []
    (await admin.call("POST", "/api/keys/lookup", {"key": ""})).refused(400, "INVALID_JSON")


async def test_what_a_person_switches_off_stays_off_until_a_person_switches_it_on(
    admin: Admin,
) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    key_id = (await admin.key_ids())["sk-a"]
    admin.ledger.fold(KeyEvent(group, key_id, Seen.REJECTED, time.time(), threshold=3))
    admin.changes.clear()
    path = f"/keys/{key_id}/state"
    for _ in range(2):
        await admin.api("PUT", path, {"state": "disabled"})
    assert admin.changes == [KeyStateChanged(group, key_id, State.DISABLED, 1, None)]
    said: dict[str, Any] = {"group_id": group, "keys_text": "sk-a"}
    assert (await admin.api("POST", "/keys/test-multiple", said))["results"][0]["is_valid"]
    assert (await admin.api("POST", "/keys/restore-multiple", said))["restored_count"] == 0
    (key,) = await admin.keys(group)
    assert (key["status"], key["state"], key["reason"]) == ("disabled",) * 2 + ("switched_off",)

    await admin.api("PUT", path, {"state": "active"})
    (key,) = await admin.keys(group)
    assert (key["state"], key["failure_count"], key["reason"]) == ("active", 0, "")
    lines = (await admin.api("GET", f"/keys/{key_id}/timeline"))["items"]
    assert [(line["event"], line["cause"]) for line in lines[:2]] == [
        ("switched_on", "A person switched it on again."),
        ("switched_off", "A person switched it off."),
    ]


async def test_a_bad_switch_is_refused(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    path = f"/api/keys/{(await admin.key_ids())['sk-a']}/state"
    answer = await admin.call("PUT", path, {"state": "invalid"})
    assert answer.refused(400, "VALIDATION_FAILED") == "state must be 'active' or 'disabled'"
    (await admin.call("PUT", path, {})).refused(400, "INVALID_JSON")
    (await admin.call("PUT", "/api/keys/999/state", {"state": "active"})).refused(404, "NOT_FOUND")
    (await admin.call("PUT", "/api/keys/x/state", {"state": "active"})).refused(400, "BAD_REQUEST")


async def exported(admin: Admin, group: int, query: str = "") -> list[str]:
    answer = await admin.call("GET", f"/api/keys/export?group_id={group}{query}")
    assert answer.status == 200
    text: bytes = answer.said if isinstance(answer.said, bytes) else b""
    return text.decode().splitlines()


async def test_keys_are_exported_by_status_in_the_order_of_their_ids(admin: Admin) -> None:
    group = await mixed(admin)
    await admin.write(queries.add, Vault("another key", b"salt"), group, [b"sk-lost"], 0.0)
    every = ["sk-active", "sk-resting", "sk-invalid", "sk-disabled", "sk-woke"]
    assert await exported(admin, group) == every
    assert await exported(admin, group, "&status=all") == every
    assert await exported(admin, group, "&status=active") == ["sk-active", "sk-resting", "sk-woke"]
    assert await exported(admin, group, "&status=invalid") == ["sk-invalid"]
    answer = await admin.call("GET", f"/api/keys/export?group_id={group}&status=invalid")
    assert answer.fields["content-type"] == "text/plain; charset=utf-8"
    assert "keys-openai-invalid.txt" in answer.fields["content-disposition"]
    assert answer.fields["cache-control"] == "no-store"


async def test_an_export_of_many_pages_is_whole(admin: Admin) -> None:
    group = await admin.group()
    keys = [f"sk-{number}" for number in range(2 * EXPORTED + 1)]
    await admin.add_keys(group, keys)
    assert await exported(admin, group) == keys
    assert await exported(admin, group, "&status=invalid") == []


async def test_bad_exports_are_refused_before_a_byte_is_sent(admin: Admin) -> None:
    group = await admin.group()
    (await admin.call("GET", "/api/keys/export")).refused(400, "BAD_REQUEST")
    (await admin.call("GET", "/api/keys/export?group_id=99")).refused(404, "NOT_FOUND")
    answer = await admin.call("GET", f"/api/keys/export?group_id={group}&status=dead")
    assert answer.refused(400, "VALIDATION_FAILED") == "Invalid status filter"
