"""`POST /api/groups/:id/copy`: all of a group, or an error."""

from __future__ import annotations

import pytest

from gptload.core.keystate import State
from gptload.link.messages import KeyEvent, KeysAdded, Seen
from tests.control.admin.conftest import Admin


async def strike_out(admin: Admin, group: int, key_id: int) -> None:
    admin.ledger.fold(KeyEvent(group, key_id, Seen.REJECTED, 1.0, threshold=1))
    await admin.ledger.flush()


async def test_a_copy_has_everything_but_the_history(admin: Admin) -> None:
    """D57: the reference loses notes and states, and says that all went well."""
    group = await admin.group(display_name="First", proxy_keys="sk-own", config={"max_retries": 1})
    await admin.add_keys(group, ["sk-a", "sk-b"])
    ids = await admin.key_ids()
    await admin.api("PUT", f"/keys/{ids['sk-a']}/notes", {"notes": "mine"})
    await strike_out(admin, group, ids["sk-b"])

    copied = (await admin.api("POST", f"/groups/{group}/copy", {}))["group"]

    assert (copied["name"], copied["display_name"]) == ("openai_copy", "First Copy")
    assert (copied["proxy_keys"], copied["config"]) == ("sk-own", {"max_retries": 1})
    keys = {key["key_value"]: key for key in await admin.keys(copied["id"])}
    assert keys["sk-a"]["notes"] == "mine"
    assert keys["sk-b"]["status"] == "invalid"
    assert copied["id"] in admin.snapshots.current.by_id


async def test_the_pool_knows_a_copys_keys_when_the_call_returns(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b"])
    await strike_out(admin, group, (await admin.key_ids())["sk-b"])
    admin.changes.clear()
    copied = (await admin.api("POST", f"/groups/{group}/copy", {"copy_keys": "all"}))["group"]
    (added,) = [change for change in admin.changes if isinstance(change, KeysAdded)]
    assert added.group_id == copied["id"]
    assert {key.secret: key.state for key in added.keys} == {
        b"sk-a": State.ACTIVE,
        b"sk-b": State.INVALID,
    }


@pytest.mark.parametrize(("which", "expected"), [("none", set()), ("valid_only", {"sk-a"})])
async def test_fewer_keys_on_demand(admin: Admin, which: str, expected: set[str]) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b"])
    await strike_out(admin, group, (await admin.key_ids())["sk-b"])
    copied = (await admin.api("POST", f"/groups/{group}/copy", {"copy_keys": which}))["group"]
    assert {key["key_value"] for key in await admin.keys(copied["id"])} == expected


async def test_an_aggregate_is_copied_with_its_members(admin: Admin) -> None:
    member = await admin.group()
    group = await admin.aggregate("all", member)
    copied = (await admin.api("POST", f"/groups/{group}/copy", {}))["group"]
    listed = await admin.api("GET", f"/groups/{copied['id']}/sub-groups")
    assert [(item["group"]["id"], item["weight"]) for item in listed] == [(member, 1)]


async def test_names_are_free_and_never_too_long(admin: Admin) -> None:
    group = await admin.group("a" * 100)
    names = [
        (await admin.api("POST", f"/groups/{group}/copy", {}))["group"]["name"] for _ in range(2)
    ]
    assert names == ["a" * 95 + "_copy", "a" * 93 + "_copy_2"]


async def test_what_can_not_be_copied(admin: Admin) -> None:
    group = await admin.group()
    answer = await admin.call("POST", f"/api/groups/{group}/copy", {"copy_keys": "some"})
    words = "Invalid copy_keys value. Must be 'none', 'valid_only', or 'all'"
    assert answer.refused(400, "VALIDATION_FAILED") == words
    (await admin.call("POST", "/api/groups/99/copy", {})).refused(404, "NOT_FOUND")
    (await admin.call("POST", f"/api/groups/{group}/copy", raw=b"")).refused(400, "INVALID_JSON")
