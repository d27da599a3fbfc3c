"""`/api/keys`: what a person does to keys."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from gptload.control.db.queries import keys as queries
from gptload.control.db.tables import api_keys, key_changes, request_logs
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.outcome import Scope
from gptload.core.vault import Vault
from gptload.link.messages import KeyEvent, KeysAdded, KeysRemoved, KeyStateChanged, Seen
from tests.control.admin.conftest import Admin, MakeAdmin, cancel
from tests.parts.records import make_record

COMMANDS = ["add", "delete", "restore", "test"]
ODD_KEYS = ["sk-a|b", "sk+c+d", "sk/e/f==", "鑰匙-é", 'sk-"quoted"', "sk-%_\\"]


def added_to(admin: Admin, group: int) -> list[PoolKey]:
    return [
        key
        for change in admin.changes
        if isinstance(change, KeysAdded) and change.group_id == group
        for key in change.keys
    ]


async def command(admin: Admin, what: str, group: int, text: str) -> Any:
    said = {"group_id": group, "keys_text": text}
    return await admin.api("POST", f"/keys/{what}-multiple", said)


async def test_keys_are_kept_byte_for_byte_and_serve_at_once(admin: Admin) -> None:
    """F01: `|`, `+`, `/` and `=` are part of many keys."""
    group = await admin.group()
    data = await command(admin, "add", group, "\r\n".join(ODD_KEYS))
    assert data == {"added_count": 6, "ignored_count": 0, "total_in_group": 6}
    assert {key["key_value"] for key in await admin.keys(group)} == set(ODD_KEYS)
    assert [key.secret.decode() for key in added_to(admin, group)] == ODD_KEYS
    for key in ODD_KEYS:
        assert (await command(admin, "delete", group, json.dumps([key])))["deleted_count"] == 1


async def test_what_is_there_already_is_ignored(admin: Admin) -> None:
    group, other = await admin.group("one"), await admin.group("two")
    await admin.add_keys(group, ["sk-a"])
    data = await command(admin, "add", group, '["sk-a", " sk-b ", "sk-b", "", "sk-c"]')
    assert data == {"added_count": 2, "ignored_count": 2, "total_in_group": 3}
    assert (await admin.add_keys(other, ["sk-a"]))["added_count"] == 1  # another group's


async def test_a_key_as_the_api_shows_it(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    (key,) = await admin.keys(group)
    assert key == {
        "id": (await admin.key_ids())["sk-a"],
        "key_value": "sk-a",
        "key_hash": admin.vault.hash(b"sk-a"),
        "group_id": group,
        "status": "active",
        "notes": "",
        "request_count": 0,
        "failure_count": 0,
        "last_used_at": None,
        "created_at": key["created_at"],
        "updated_at": key["updated_at"],
        "state": "active",
        "kind": "active",
        "rest_until": None,
        "model_rests": {},
        "account": "",
        "weight": 1,
        "reason": "",
    }


async def test_the_list_is_fresh(admin: Admin) -> None:
    """What the ledger and the journal know is in the answer, written already or not."""
    group = await admin.group()
    await admin.add_keys(group, ["sk-dead", "sk-rests", "sk-used"])
    ids = await admin.key_ids()
    now = time.time()
    admin.ledger.fold(
        KeyEvent(group, ids["sk-dead"], Seen.REJECTED, now, threshold=1, reason="common.status_401")
    )
    admin.ledger.fold(
        KeyEvent(group, ids["sk-rests"], Seen.LIMITED, now, until=now + 60, reason="slow")
    )
    admin.write_journal(make_record(at=1767323045.25, group_id=group, key_id=ids["sk-used"]))
    shown = {key["key_value"]: key for key in await admin.keys(group)}
    dead, rests, used = shown["sk-dead"], shown["sk-rests"], shown["sk-used"]
    assert (dead["status"], dead["state"], dead["failure_count"]) == ("invalid", "invalid", 1)
    assert dead["reason"] == "common.status_401"
    assert (rests["status"], rests["state"], rests["reason"]) == ("active", "resting", "slow")
    assert rests["rest_until"].endswith("Z")
    assert (used["request_count"], used["last_used_at"]) == (1, "2026-01-02T03:04:05.25Z")
    assert [key["key_value"] for key in await admin.keys(group)][0] == "sk-used"
    for status, wanted in [("active", {"sk-rests", "sk-used"}), ("invalid", {"sk-dead"})]:
        found = await admin.keys(group, f"&status={status}")
        assert {key["key_value"] for key in found} == wanted


async def test_a_disabled_key_is_told_apart(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b"])

    def switch_off(connection: Connection) -> None:
        changed = update(api_keys).where(api_keys.c.key_value == "sk-a")
        connection.execute(changed.values(status="disabled"))

    await admin.write(switch_off)
    (key,) = await admin.keys(group, "&status=disabled")
    assert (key["key_value"], key["status"], key["state"]) == ("sk-a", "disabled", "disabled")


async def test_pages_hold_every_key_once(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, [f"sk-{number:02}" for number in range(23)])
    for size in (1, 7, 15, 23, 1000):
        seen: list[str] = []
        number = 1
        while True:
            page = await admin.api("GET", f"/keys?group_id={group}&page={number}&page_size={size}")
            assert page["pagination"] == {
                "page": number,
                "page_size": size,
                "total_items": 23,
                "total_pages": -(-23 // size),
            }
            if not page["items"]:
                break
            seen += [key["key_value"] for key in page["items"]]
            number += 1
        assert seen == [f"sk-{number:02}" for number in reversed(range(23))]


@pytest.mark.parametrize(
    ("asked", "page", "size"),
    [
        ("", 1, 15),
        ("&page=0&page_size=0", 1, 15),
        ("&page=-3&page_size=-1", 1, 15),
        ("&page=x&page_size=1e3", 1, 15),
        ("&page=2&page_size=1001", 2, 1000),
        (f"&page={9 * 10**18}", 10**12, 15),
        (f"&page={'9' * 40}&page_size={'9' * 40}", 1, 15),
        ("&page=%D9%A2", 1, 15),
    ],
)
async def test_odd_pages(admin: Admin, asked: str, page: int, size: int) -> None:
    group = await admin.group()
    found = await admin.api("GET", f"/keys?group_id={group}{asked}")
    assert found["items"] == []
    assert found["pagination"] == {
        "page": page,
        "page_size": size,
        "total_items": 0,
        "total_pages": 0,
    }


@pytest.mark.parametrize("encryption_key", ["", "a long encryption key of the tests"])
async def test_a_key_is_found_by_its_whole_value(
    make_admin: MakeAdmin, encryption_key: str
) -> None:
    admin = await make_admin(encryption_key)
    group = await admin.group()
    await admin.add_keys(group, ["sk-one", "sk-one-more", "sk+%"])
    for asked, wanted in [
        ("sk-one", ["sk-one"]),
        ("sk-on", []),
        ("sk%2B%25", ["sk+%"]),
        ("%25", []),
        ("'%20OR%20'1'='1", []),
    ]:
        found = await admin.keys(group, f"&key_value={asked}")
        assert [key["key_value"] for key in found] == wanted


async def test_a_key_from_before_encryption_is_the_same_key(
    make_admin: MakeAdmin,
) -> None:
    admin = await make_admin("a long encryption key of the tests")
    group = await admin.group()
    await admin.write(queries.add, Vault(None, b""), group, [b"sk-old"], 0.0)
    assert (await admin.add_keys(group, ["sk-old"]))["ignored_count"] == 1
    assert [key["key_value"] for key in await admin.keys(group, "&key_value=sk-old")] == ["sk-old"]
    assert (await command(admin, "delete", group, "sk-old"))["deleted_count"] == 1


async def test_a_key_that_cannot_be_decrypted_says_so(admin: Admin) -> None:
    group = await admin.group()
    await admin.write(queries.add, Vault("another key", b"salt"), group, [b"sk-lost"], 0.0)
    (key,) = await admin.keys(group)
    assert key["key_value"] == "failed-to-decrypt"
    assert "sk-lost" not in json.dumps(key)


@pytest.mark.parametrize(
    ("asked", "status", "code", "message"),
    [
        ("", 400, "BAD_REQUEST", "group_id query parameter is required"),
        ("?group_id=", 400, "BAD_REQUEST", "group_id query parameter is required"),
        ("?group_id=one", 400, "BAD_REQUEST", "Invalid group_id format"),
        ("?group_id=0", 400, "BAD_REQUEST", "Invalid group_id format"),
        ("?group_id=-1", 400, "BAD_REQUEST", "Invalid group_id format"),
        (f"?group_id={'9' * 30}", 400, "BAD_REQUEST", "Invalid group_id format"),
        ("?group_id=1%3BDROP%20TABLE%20groups", 400, "BAD_REQUEST", "Invalid group_id format"),
        ("?group_id=4711", 404, "NOT_FOUND", "Resource not found"),
        ("?group_id=1&status=dead", 400, "VALIDATION_FAILED", "Invalid status filter"),
    ],
)
async def test_bad_questions(
    admin: Admin, asked: str, status: int, code: str, message: str
) -> None:
    assert (await admin.call("GET", f"/api/keys{asked}")).refused(status, code) == message


@pytest.mark.parametrize("what", COMMANDS)
async def test_a_command_needs_a_group_and_keys(admin: Admin, what: str) -> None:
    group = await admin.group()
    path = f"/api/keys/{what}-multiple"

    async def refused(said: Any, status: int, code: str) -> str:
        return (await admin.call("POST", path, said)).refused(status, code)

    assert await refused({}, 400, "INVALID_JSON") == "group_id is required; keys_text is required"
    bad = {"group_id": "one", "keys_text": "a"}
    assert (await refused(bad, 400, "INVALID_JSON")).startswith("group_id: ")
    bad = {"group_id": 0, "keys_text": "a"}
    assert (await refused(bad, 400, "INVALID_JSON")).startswith("group_id: ")
    bad = {"group_id": 10**25, "keys_text": "a"}
    assert (await refused(bad, 400, "INVALID_JSON")).startswith("group_id: ")
    bad = {"group_id": group, "keys_text": ""}
    assert (await refused(bad, 400, "INVALID_JSON")).startswith("keys_text: ")
    bad = {"group_id": group, "keys_text": 7}
    assert (await refused(bad, 400, "INVALID_JSON")).startswith("keys_text: ")
    bad = {"group_id": 4711, "keys_text": " "}
    assert await refused(bad, 404, "NOT_FOUND") == "Resource not found"
    for text, message in [
        ("  \n ", "Keys text cannot be empty"),
        (" , ;; ", "no valid keys found in the input text"),
        ("[]", "no valid keys found in the input text"),
        ('["a", 1]', "keys_text is a JSON array whose element 2 is no string"),
        ('["a", "b"', "keys_text begins like a JSON array, but is not valid JSON"),
        ("a\n" * 5001, "batch size exceeds the limit of 5000 keys, got 5001"),
        ('["a\\r\\nX: b"]', "key 1 has a blank or a control character inside"),
    ]:
        bad = {"group_id": group, "keys_text": text}
        assert await refused(bad, 400, "VALIDATION_FAILED") == message
    assert await admin.keys(group) == []


async def test_five_thousand_keys_at_once(admin: Admin) -> None:
    group = await admin.group()
    keys = [f"sk-{number:05}" for number in range(5000)]
    text = ",".join(keys)
    assert (await command(admin, "add", group, text))["added_count"] == 5000
    assert (await command(admin, "add", group, text))["ignored_count"] == 5000
    data = await command(admin, "delete", group, text)
    del data["undo"]
    assert data == {"deleted_count": 5000, "ignored_count": 0, "total_in_group": 0}


async def test_a_deleted_key_is_never_used_again_and_its_logs_keep_it(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b"])
    gone = (await admin.key_ids())["sk-a"]
    admin.write_journal(make_record(group_id=group, key_id=gone))
    data = await command(admin, "delete", group, "sk-a sk-unknown sk-a")
    assert set(data.pop("undo")) == {"batch", "until"}
    assert data == {"deleted_count": 1, "ignored_count": 2, "total_in_group": 1}
    assert KeysRemoved(group, (gone,)) in admin.changes
    (log,) = (await admin.api("GET", "/logs?key_value=sk-a"))["items"]
    assert log["key_value"] == "sk-a"


async def test_a_journal_that_is_stuck_does_not_hold_up_the_answer(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    admin.records.refuses = True
    assert len(await admin.keys(group)) == 1
    admin.records.refuses = False
    admin.records.blocked = Deferred()
    began = time.monotonic()
    assert (await command(admin, "delete", group, "sk-a"))["deleted_count"] == 1
    assert time.monotonic() - began < 5
    admin.records.blocked.callback(None)


async def make_invalid(admin: Admin, group: int, *keys: str) -> None:
    ids = await admin.key_ids()
    for key in keys:
        admin.ledger.fold(KeyEvent(group, ids[key], Seen.REJECTED, time.time(), threshold=1))


async def test_restore_makes_invalid_and_resting_keys_good(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-dead", "sk-rests", "sk-well"])
    ids = await admin.key_ids()
    await make_invalid(admin, group, "sk-dead")
    now = time.time()
    admin.ledger.fold(KeyEvent(group, ids["sk-rests"], Seen.EXHAUSTED, now, until=now + 1e6))
    admin.changes.clear()
    data = await command(admin, "restore", group, "sk-dead sk-rests sk-well sk-unknown")
    assert data == {"restored_count": 2, "ignored_count": 2, "total_in_group": 3}
    assert admin.changes == [
        KeyStateChanged(group, ids["sk-dead"], State.ACTIVE, 0, None),
        KeyStateChanged(group, ids["sk-rests"], State.ACTIVE, 0, None),
    ]
    shown = await admin.keys(group)
    assert {(key["state"], key["failure_count"]) for key in shown} == {("active", 0)}


async def test_all_invalid_keys_are_restored(admin: Admin) -> None:
    group, other = await admin.group("one"), await admin.group("two")
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    await admin.add_keys(other, ["sk-d"])
    await make_invalid(admin, group, "sk-a", "sk-b")
    await make_invalid(admin, other, "sk-d")
    answer = await admin.call("POST", "/api/keys/restore-all-invalid", {"group_id": group})
    assert answer.said == {"code": 0, "message": "2 keys restored"}
    assert await admin.keys(group, "&status=invalid") == []
    assert len(await admin.keys(other, "&status=invalid")) == 1


async def test_all_invalid_keys_are_cleared(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    await make_invalid(admin, group, "sk-a", "sk-c")
    answer = await admin.call("POST", "/api/keys/clear-all-invalid", {"group_id": group})
    assert (answer.status, answer.said["message"]) == (200, "2 invalid keys cleared")
    assert [key["key_value"] for key in await admin.keys(group)] == ["sk-b"]


@pytest.mark.sqlite_only  # on the others the tasks have their forty thousand
@pytest.mark.limit(60)
async def test_f03_forty_thousand_keys_come_and_go(admin: Admin) -> None:
    """F03: one statement takes only so many values."""
    group, other = await admin.group("one"), await admin.group("two")
    await admin.add_keys(other, ["sk-other"])

    def fill(connection: Connection, status: str) -> None:
        row = {"group_id": group, "status": status, "created_at": 0.0, "updated_at": 0.0}
        connection.execute(
            api_keys.insert(),
            [row | {"key_value": f"sk-{n}", "key_hash": f"hash-{n}"} for n in range(40_000)],
        )

    for route, status, words in [
        ("clear-all", "active", "keys cleared"),
        ("clear-all-invalid", "invalid", "invalid keys cleared"),
    ]:
        await admin.write(fill, status)
        answer = await admin.call("POST", f"/api/keys/{route}", {"group_id": group})
        assert answer.said["message"] == f"40000 {words}"
        assert await admin.keys(group) == []
    removed = [len(c.key_ids) for c in admin.changes if isinstance(c, KeysRemoved)]
    assert sum(removed) == 80_000
    assert (await admin.add_keys(group, ["sk-new"]))["total_in_group"] == 1
    assert len(await admin.keys(other)) == 1


@pytest.mark.parametrize("route", ["restore-all-invalid", "clear-all-invalid", "clear-all"])
async def test_what_is_done_to_all_needs_a_group(admin: Admin, route: str) -> None:
    path = f"/api/keys/{route}"
    assert (await admin.call("POST", path, {})).refused(400, "INVALID_JSON")
    assert (await admin.call("POST", path, {"group_id": 0})).refused(400, "INVALID_JSON")
    assert (await admin.call("POST", path, {"group_id": True})).refused(400, "INVALID_JSON")
    assert (await admin.call("POST", path, {"group_id": 99})).refused(404, "NOT_FOUND")


async def test_notes(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    path = f"/api/keys/{(await admin.key_ids())['sk-a']}/notes"
    assert (await admin.call("PUT", path, {"notes": "  <b>漢字</b> 🚀 "})).status == 200
    assert (await admin.keys(group))[0]["notes"] == "<b>漢字</b> 🚀"
    assert (await admin.call("PUT", path, {"notes": "漢" * 255})).status == 200
    answer = await admin.call("PUT", path, {"notes": "x" * 256})
    message = "notes length must be <= 255 characters"
    assert answer.refused(400, "VALIDATION_FAILED") == message
    (await admin.call("PUT", path, {"notes": None})).refused(400, "INVALID_JSON")
    (await admin.call("PUT", "/api/keys/999/notes", {"notes": ""})).refused(404, "NOT_FOUND")
    for bad in ("abc", "0", "9" * 30):
        answer = await admin.call("PUT", f"/api/keys/{bad}/notes", {"notes": ""})
        assert answer.refused(400, "BAD_REQUEST") == "invalid key ID format"


async def test_a_weight_is_kept_and_in_force_at_once(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    key_id = (await admin.key_ids())["sk-a"]
    now = time.time()
    admin.ledger.fold(KeyEvent(group, key_id, Seen.LIMITED, now, until=now + 60, account="org-a"))
    admin.changes.clear()
    path = f"/api/keys/{key_id}/weight"
    assert (await admin.call("PUT", path, {"weight": 1_000_000})).status == 200
    (change,) = admin.changes
    assert isinstance(change, KeysAdded) and change.group_id == group
    (key,) = change.keys
    assert (key.id, key.secret, key.weight) == (key_id, b"sk-a", 1_000_000)
    assert (key.state, key.until, key.account) == (State.RESTING, now + 60, "org-a")
    assert (await admin.keys(group))[0]["weight"] == 1_000_000

    for bad in (0, -1, 1_000_001):
        answer = await admin.call("PUT", path, {"weight": bad})
        message = f"weight must be between 1 and 1000000, got {bad}"
        assert answer.refused(400, "VALIDATION_FAILED") == message
    for odd in (None, "2", 1.5, True):
        answer = await admin.call("PUT", path, {"weight": odd})
        assert answer.refused(400, "INVALID_JSON").startswith("weight: ")
    (await admin.call("PUT", "/api/keys/999/weight", {"weight": 1})).refused(404, "NOT_FOUND")
    answer = await admin.call("PUT", "/api/keys/x/weight", {"weight": 1})
    assert answer.refused(400, "BAD_REQUEST") == "invalid key ID format"
    assert len(admin.changes) == 1


async def test_a_key_that_cannot_be_decrypted_has_a_weight_and_never_serves(admin: Admin) -> None:
    group = await admin.group()
    await admin.write(queries.add, Vault("another key", b"salt"), group, [b"sk-lost"], 0.0)
    (key,) = await admin.keys(group)
    await admin.api("PUT", f"/keys/{key['id']}/weight", {"weight": 7})
    assert (await admin.keys(group))[0]["weight"] == 7
    assert added_to(admin, group) == []


async def test_rests_of_models_and_the_account_are_shown(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    key_id = (await admin.key_ids())["sk-a"]
    for model, until in (("gpt-5", time.time() + 3600), ("over", time.time() + 0.05)):
        admin.ledger.fold(
            KeyEvent(
                group,
                key_id,
                Seen.LIMITED,
                time.time(),
                until=until,
                scope=Scope.ACCOUNT_MODEL,
                model=model,
                account="org-a",
            )
        )
    time.sleep(0.06)
    (key,) = await admin.keys(group)
    assert (key["state"], key["rest_until"], key["account"]) == ("active", None, "org-a")
    assert list(key["model_rests"]) == ["gpt-5"]
    assert key["model_rests"]["gpt-5"].endswith("Z")
    assert (await command(admin, "restore", group, "sk-a"))["restored_count"] == 1
    assert (await admin.keys(group))[0]["model_rests"] == {}


async def test_a_keys_timeline_tells_what_happened_and_why(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    ids = await admin.key_ids()
    key_id, at = ids["sk-a"], 1_800_000_000.25
    seen: dict[str, Any] = {
        "reason": "openai.bad",
        "status": 401,
        "exchange_id": "one",
        "threshold": 2,
    }
    for _ in range(2):
        admin.ledger.fold(KeyEvent(group, key_id, Seen.REJECTED, at, **seen))
    admin.ledger.fold(
        KeyEvent(group, ids["sk-b"], Seen.LIMITED, at, until=at + 60, account="org-a")
    )
    admin.ledger.fold(KeyEvent(group, ids["sk-c"], Seen.LIMITED, at, until=at + 60, named=False))
    await command(admin, "restore", group, "sk-a")
    path = f"/keys/{key_id}/timeline"
    listed = await admin.api("GET", path)
    assert listed["pagination"] == {
        "page": 1,
        "page_size": 15,
        "total_items": 3,
        "total_pages": 1,
    }
    restored, struck_out, struck = listed["items"]
    assert struck == {
        "at": "2027-01-15T08:00:00.25Z",
        "event": "struck",
        "state": "active",
        "strikes": 1,
        "until": None,
        "model": "",
        "account": "",
        "reason": "openai.bad",
        "status_code": 401,
        "exchange_id": "one",
        "named": None,
        "cause": "The upstream rejected it (status 401 openai.bad): 1 rejection so far.",
    }
    assert struck_out["cause"] == (
        "The upstream rejected it (status 401 openai.bad): invalid after 2 rejections in a row."
    )
    assert (restored["event"], restored["cause"]) == ("restored", "A person restored it.")
    page = await admin.api("GET", f"{path}?page=2&page_size=2")
    assert [line["event"] for line in page["items"]] == ["struck"]
    rested, named = (await admin.api("GET", f"/keys/{ids['sk-b']}/timeline"))["items"]
    rests = "The upstream had enough of it: it rests until 2027-01-15T08:01:00.25Z"
    assert (rested["named"], rested["cause"]) == (True, f"{rests}, as the answer said.")
    (ours,) = (await admin.api("GET", f"/keys/{ids['sk-c']}/timeline"))["items"]
    assert (ours["named"], ours["cause"]) == (False, f"{rests}, by our own back-off.")
    assert named["cause"] == "The upstream named its account. Its account is org-a."
    for bad, status, code in [("999", 404, "NOT_FOUND"), ("x", 400, "BAD_REQUEST")]:
        (await admin.call("GET", f"/api/keys/{bad}/timeline")).refused(status, code)


@pytest.mark.parametrize("how", ["key", "group"])
async def test_a_timeline_goes_with_its_key(admin: Admin, how: str) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    await make_invalid(admin, group, "sk-a")
    await admin.ledger.flush()
    await make_invalid(admin, group, "sk-a")
    if how == "key":
        await command(admin, "delete", group, "sk-a")
        await admin.write(queries.forget_removed, time.time() + 1, 10)
    else:
        await admin.api("DELETE", f"/groups/{group}")
    await admin.ledger.flush()

    def count(connection: Connection) -> int:
        return len(connection.execute(select(key_changes)).all())

    assert await admin.database.read(count) == 0


async def test_a_change_ends_whole_when_the_client_hangs_up(admin: Admin, reactor: Any) -> None:
    """Stored but unpublished would be worse than an answer that nobody hears."""
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    admin.records.blocked = Deferred()  # the deletion has begun, and waits
    call = admin.send("POST", "/api/keys/clear-all", {"group_id": group})
    await deferLater(reactor, 0.2)
    await cancel(call)
    await deferLater(reactor, 0.1)
    admin.records.blocked.callback(None)
    admin.records.blocked = None
    for _ in range(100):
        if any(isinstance(change, KeysRemoved) for change in admin.changes):
            break
        await deferLater(reactor, 0.02)
    assert await admin.keys(group) == []
    assert any(isinstance(change, KeysRemoved) for change in admin.changes)


async def test_secrets_are_sealed_at_rest(make_admin: MakeAdmin) -> None:
    admin = await make_admin("a long encryption key of the tests")
    group = await admin.group()
    await admin.add_keys(group, ["sk-plain-to-see"])
    (key_id,) = (await admin.key_ids()).values()
    admin.write_journal(make_record(group_id=group, key_id=key_id))
    (log,) = (await admin.api("GET", "/logs"))["items"]
    assert log["key_value"] == "sk-plain-to-see"

    def stored(connection: Connection) -> str:
        rows = [
            *connection.execute(select(api_keys)).all(),
            *connection.execute(select(request_logs)).all(),
        ]
        return repr(rows)

    assert "sk-plain-to-see" not in await admin.database.read(stored)
