"""Deleting keys, and taking that back."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from gptload.control.db.queries import keys as queries
from gptload.control.db.tables import key_changes, removed_keys
from gptload.control.keys import UNDO_S
from gptload.core.keystate import State
from gptload.core.vault import Vault
from gptload.link.messages import KeyEvent, KeysAdded, KeysRemoved, Seen
from tests.control.admin.conftest import Admin, MakeAdmin


async def deletes(admin: Admin, group: int, text: str) -> Any:
    said = {"group_id": group, "keys_text": text}
    return (await admin.api("POST", "/keys/delete-multiple", said))["undo"]


async def undeletes(admin: Admin, batch: str) -> Any:
    return await admin.api("POST", "/keys/undelete", {"batch": batch})


@pytest.mark.parametrize("encryption_key", ["", "a long encryption key of the tests"])
async def test_a_deleted_key_comes_back_as_it_was(
    make_admin: MakeAdmin, encryption_key: str
) -> None:
    admin = await make_admin(encryption_key)
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    ids = {key["key_value"]: key["id"] for key in await admin.keys(group)}
    now = time.time()
    admin.ledger.fold(
        KeyEvent(group, ids["sk-a"], Seen.REJECTED, now, threshold=1, reason="openai.bad")
    )
    admin.ledger.fold(
        KeyEvent(group, ids["sk-b"], Seen.LIMITED, now, until=now + 600, account="org-b")
    )
    await admin.api("PUT", f"/keys/{ids['sk-b']}/weight", {"weight": 7})
    await admin.api("PUT", f"/keys/{ids['sk-b']}/notes", {"notes": "of team b"})
    before = await admin.keys(group)
    undo = await deletes(admin, group, "sk-a sk-b")
    assert [key["key_value"] for key in await admin.keys(group)] == ["sk-c"]
    assert KeysRemoved(group, (ids["sk-a"], ids["sk-b"])) in admin.changes

    admin.changes.clear()
    assert await undeletes(admin, undo["batch"]) == {"returned_count": 2, "ignored_count": 0}
    assert await admin.keys(group) == before
    (change,) = admin.changes
    assert isinstance(change, KeysAdded)
    assert [(key.secret, key.state, key.weight) for key in change.keys] == [
        (b"sk-a", State.INVALID, 1),
        (b"sk-b", State.RESTING, 7),
    ]
    assert admin.ledger.view(ids["sk-a"]).reason == "openai.bad"
    lines = await admin.api("GET", f"/keys/{ids['sk-a']}/timeline")
    assert [line["event"] for line in lines["items"]] == ["struck_out"]
    gone = await admin.call("POST", "/api/keys/undelete", {"batch": undo["batch"]})
    assert "no such deletion" in gone.refused(404, "NOT_FOUND")


@pytest.mark.parametrize(("route", "count"), [("clear-all", 2), ("clear-all-invalid", 1)])
async def test_clearing_can_be_undone(admin: Admin, route: str, count: int) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b"])
    key_id = (await admin.key_ids())["sk-a"]
    admin.ledger.fold(KeyEvent(group, key_id, Seen.REJECTED, time.time(), threshold=1))
    undo = (await admin.api("POST", f"/keys/{route}", {"group_id": group}))["undo"]
    (batch,) = await admin.api("GET", f"/keys/deleted?group_id={group}")
    assert (batch["batch"], batch["count"]) == (undo["batch"], count)
    assert (await undeletes(admin, batch["batch"]))["returned_count"] == count
    assert len(await admin.keys(group)) == 2
    assert await admin.api("GET", f"/keys/deleted?group_id={group}") == []


async def test_a_deletion_that_met_no_key_has_nothing_to_undo(admin: Admin) -> None:
    group = await admin.group()
    assert await deletes(admin, group, "sk-unknown") is None


async def test_what_was_added_anew_does_not_come_back_twice(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b"])
    undo = await deletes(admin, group, "sk-a sk-b")
    await admin.add_keys(group, ["sk-b"])
    assert await undeletes(admin, undo["batch"]) == {"returned_count": 1, "ignored_count": 1}
    assert sorted(key["key_value"] for key in await admin.keys(group)) == ["sk-a", "sk-b"]


async def test_a_key_that_cannot_be_decrypted_comes_back_and_never_serves(admin: Admin) -> None:
    group = await admin.group()
    await admin.write(queries.add, Vault("another key", b"salt"), group, [b"sk-lost"], 0.0)
    answer = await admin.api("POST", "/keys/clear-all", {"group_id": group})
    admin.changes.clear()
    assert (await undeletes(admin, answer["undo"]["batch"]))["returned_count"] == 1
    assert len(await admin.keys(group)) == 1
    assert admin.changes == []


async def test_after_ten_minutes_a_deletion_is_final(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    key_id = (await admin.key_ids())["sk-a"]
    admin.ledger.fold(KeyEvent(group, key_id, Seen.REJECTED, time.time(), threshold=1))
    undo = await deletes(admin, group, "sk-a")
    old = time.time() - UNDO_S - 1
    await admin.write(lambda c: c.execute(update(removed_keys).values(removed_at=old)).rowcount)
    assert await admin.api("GET", f"/keys/deleted?group_id={group}") == []
    refused = await admin.call("POST", "/api/keys/undelete", {"batch": undo["batch"]})
    refused.refused(404, "NOT_FOUND")
    assert await admin.write(queries.forget_removed, old, 10) == 0
    assert await admin.write(queries.forget_removed, old + 1, 10) == 1

    def left(connection: Connection) -> list[int]:
        tables = (removed_keys, key_changes)
        return [
            connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables
        ]

    assert await admin.database.read(left) == [0, 0]


async def test_a_deletion_goes_with_its_group(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    undo = await deletes(admin, group, "sk-a")
    await admin.api("DELETE", f"/groups/{group}")
    refused = await admin.call("POST", "/api/keys/undelete", {"batch": undo["batch"]})
    refused.refused(404, "NOT_FOUND")


async def test_bad_questions_about_deletions(admin: Admin) -> None:
    (await admin.call("GET", "/api/keys/deleted")).refused(400, "BAD_REQUEST")
    (await admin.call("GET", "/api/keys/deleted?group_id=99")).refused(404, "NOT_FOUND")
    (await admin.call("POST", "/api/keys/undelete", {})).refused(400, "INVALID_JSON")
