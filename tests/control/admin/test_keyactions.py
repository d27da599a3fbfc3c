"""One deed for many keys: by their ids, or by what fits."""

from __future__ import annotations

import pytest

from gptload.control import keyactions
from tests.control.admin.conftest import Admin

KEYS = ("sk-one", "sk-two", "sk-three")


async def _keys(admin: Admin) -> tuple[int, dict[str, int]]:
    group = await admin.group()
    await admin.add_keys(group, KEYS)
    return group, {item["key_value"]: item["id"] for item in await admin.keys(group)}


async def _states(admin: Admin, group: int) -> dict[str, str]:
    return {item["key_value"]: item["state"] for item in await admin.keys(group)}


async def test_keys_are_switched_weighed_and_noted_by_their_ids(admin: Admin) -> None:
    group, ids = await _keys(admin)
    two = [ids["sk-one"], ids["sk-two"]]
    for action, more in (("disable", {}), ("weight", {"weight": 7}), ("note", {"note": " mine "})):
        said = {"group_id": group, "action": action, "ids": two, **more}
        done = await admin.api("POST", "/keys/actions", said)
        assert done == {"count": 2, "changed": 2, "task": None, "undo": None, "results": None}
    found = {item["key_value"]: item for item in await admin.keys(group)}
    assert {name: found[name]["state"] for name in KEYS} == {
        "sk-one": "disabled",
        "sk-two": "disabled",
        "sk-three": "active",
    }
    assert [found[name]["weight"] for name in KEYS] == [7, 7, 1]
    assert [found[name]["notes"] for name in KEYS] == ["mine", "mine", ""]
    said = {"group_id": group, "action": "enable", "filter": {"state": "disabled"}}
    assert (await admin.api("POST", "/keys/actions", said))["changed"] == 2
    assert set((await _states(admin, group)).values()) == {"active"}


async def test_a_deletion_by_filter_is_undone(admin: Admin) -> None:
    group, ids = await _keys(admin)
    await admin.api("PUT", f"/keys/{ids['sk-one']}/state", {"state": "disabled"})
    said = {"group_id": group, "action": "delete", "filter": {"state": "active"}, "expected": 2}
    done = await admin.api("POST", "/keys/actions", said)
    assert (done["count"], done["changed"]) == (2, 2)
    assert await _states(admin, group) == {"sk-one": "disabled"}
    await admin.api("POST", "/keys/undelete", {"batch": done["undo"]["batch"]})
    assert set(await _states(admin, group)) == set(KEYS)


async def test_nothing_is_done_to_more_keys_than_were_seen(admin: Admin) -> None:
    group, _ = await _keys(admin)
    said = {"group_id": group, "action": "delete", "filter": {}, "expected": 2}
    answer = await admin.call("POST", "/api/keys/actions", said)
    answer.refused(409, "COUNT_MOVED")
    assert answer.said["data"] == {"count": 3}
    assert len(await admin.keys(group)) == 3


async def test_a_test_says_what_each_showed_and_a_restore_mends_it(admin: Admin) -> None:
    group, ids = await _keys(admin)
    admin.upstreams.answers["sk-two"] = (401, b'{"error": {"code": "invalid_api_key"}}')
    said = {"group_id": group, "action": "test", "ids": list(ids.values())}
    done = await admin.api("POST", "/keys/actions", said)
    shown = {
        result["id"]: (result["is_valid"], bool(result["error"])) for result in done["results"]
    }
    assert shown == {
        ids["sk-one"]: (True, False),
        ids["sk-two"]: (False, True),
        ids["sk-three"]: (True, False),
    }
    assert (await admin.api("GET", f"/keys?group_id={group}"))["states"] == {
        "active": 2,
        "resting": 0,
        "invalid": 1,
        "disabled": 0,
    }
    said = {"group_id": group, "action": "restore", "filter": {"status": "invalid"}}
    assert (await admin.api("POST", "/keys/actions", said))["changed"] == 1
    assert set((await _states(admin, group)).values()) == {"active"}


async def test_many_keys_are_a_task(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyactions, "AT_ONCE", 2)
    monkeypatch.setattr(keyactions, "TESTED_AT_ONCE", 2)
    group, _ = await _keys(admin)
    for action, figure in (("test", "valid_keys"), ("disable", "changed_count")):
        said = {"group_id": group, "action": action, "filter": {}}
        task = (await admin.api("POST", "/keys/actions", said))["task"]
        while task["state"] == "running":
            task = await admin.api("GET", f"/tasks/{task['id']}")
        assert (task["state"], task["result"][figure]) == ("done", 3)
    assert set((await _states(admin, group)).values()) == {"disabled"}


@pytest.mark.parametrize(
    "said",
    [
        {"action": "delete"},
        {"action": "delete", "ids": [1], "filter": {}},
        {"action": "delete", "filter": {"state": "tired"}},
        {"action": "weight", "ids": [1]},
        {"action": "weight", "ids": [1], "weight": 0},
        {"action": "note", "ids": [1]},
        {"action": "note", "ids": [1], "note": "x" * 256},
    ],
)
async def test_a_deed_that_makes_no_sense_is_refused(admin: Admin, said: object) -> None:
    group, _ = await _keys(admin)
    assert isinstance(said, dict)
    answer = await admin.call("POST", "/api/keys/actions", {"group_id": group, **said})
    answer.refused(400, "VALIDATION_FAILED")
    answer = await admin.call("POST", "/api/keys/actions", {"group_id": 99, "action": "x"})
    answer.refused(400, "INVALID_JSON")


async def test_keys_of_another_group_are_not_meant(admin: Admin) -> None:
    group, ids = await _keys(admin)
    other = await admin.group("other")
    said = {"group_id": other, "action": "delete", "ids": list(ids.values())}
    assert (await admin.api("POST", "/keys/actions", said))["count"] == 0
    assert len(await admin.keys(group)) == 3
    said = {"group_id": 999, "action": "delete", "ids": [1]}
    (await admin.call("POST", "/api/keys/actions", said)).refused(404, "NOT_FOUND")


async def test_a_preview_says_which_keys_are_new_and_adds_none(admin: Admin) -> None:
    group, _ = await _keys(admin)
    said = {"group_id": group, "keys_text": "sk-two sk-four sk-five"}
    shown = await admin.api("POST", "/keys/preview", said)
    assert shown == {"found": 3, "known": 1, "new": 2}
    assert len(await admin.keys(group)) == 3
    log = await admin.api("GET", "/audit?route_contains=preview")
    assert log["items"] == []
