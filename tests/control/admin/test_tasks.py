"""`/api/tasks`, and what begins them: imports, deletions and tests of many keys."""

from __future__ import annotations

import gc
import json
import time
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

from gptload.control import keytasks
from gptload.control.db.queries import groups
from gptload.control.keytasks import STEP_KEYS
from gptload.core.keystate import State
from gptload.link.messages import KeyEvent, KeysAdded, KeysRemoved, Seen
from tests.control.admin.conftest import Admin, Answer, MakeAdmin

FORM = "----of-the-tests"


async def finished(admin: Admin) -> dict[str, Any]:
    """The last task as the reference's dashboard reads it, once it has ended."""
    for _ in range(1000):
        status: dict[str, Any] = await admin.api("GET", "/tasks/status")
        if not status["is_running"]:
            return status
        await deferLater(admin.reactor, 0.03)
    raise AssertionError("it still runs")


async def asked(admin: Admin, count: int) -> None:
    """Wait until so many probes wait for their answers."""
    for _ in range(200):
        if len(admin.upstreams.held or []) >= count:
            return
        await deferLater(admin.reactor, 0.01)
    raise AssertionError("nobody was asked")


async def begin(admin: Admin, what: str, group: int, text: str) -> Any:
    return await admin.api("POST", f"/keys/{what}-async", {"group_id": group, "keys_text": text})


def form(*fields: tuple[str, bytes, str]) -> bytes:
    """A form's body of (name, content, file name or nothing)."""
    parts = b""
    for name, content, file_name in fields:
        file = f'; filename="{file_name}"' if file_name else ""
        parts += f'--{FORM}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        parts += content + b"\r\n"
    return parts + f"--{FORM}--\r\n".encode()


async def send_form(admin: Admin, *fields: tuple[str, bytes, str]) -> Answer:
    kind = {"Content-Type": f"multipart/form-data; boundary={FORM}"}
    return await admin.call("POST", "/api/keys/add-async", raw=form(*fields), fields=kind)


async def test_without_a_task_the_status_is_the_references_empty_one(admin: Admin) -> None:
    assert await admin.api("GET", "/tasks/status") == {
        "task_type": "",
        "is_running": False,
        "processed": 0,
        "total": 0,
        "started_at": "0001-01-01T00:00:00Z",
    }
    assert (await admin.api("GET", "/tasks"))["items"] == []


async def test_an_import_tells_line_by_line_what_it_did_not_add(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-known"])
    text = f"sk-a\nsk-b, sk-a\n\nsk-known\n{'x' * 4097}\r\nsk-c"
    status = await begin(admin, "add", group, text)
    started = status.pop("started_at")
    assert status == {
        "task_type": "KEY_IMPORT",
        "is_running": True,
        "group_name": "openai",
        "processed": 0,
        "total": 6,
        "id": status["id"],
        "state": "running",
    }
    done = await finished(admin)
    assert done["duration_seconds"] >= 0
    assert (done["started_at"], done["processed"], done["total"]) == (started, 6, 6)
    assert done["result"] == {
        "added_count": 3,
        "ignored_count": 3,
        "known_count": 1,
        "known_lines": [4],
        "repeated_count": 1,
        "repeated_lines": [2],
        "bad_count": 1,
        "bad_lines": [{"line": 5, "reason": "longer than 4096 characters"}],
        "added_ids": "2-4",
    }
    keys = {key["key_value"] for key in await admin.keys(group)}
    assert keys == {"sk-a", "sk-b", "sk-c", "sk-known"}
    (task,) = (await admin.api("GET", "/tasks"))["items"]
    assert task == await admin.api("GET", f"/tasks/{task['id']}")
    assert (task["kind"], task["state"], task["group_id"]) == ("import", "done", group)
    assert task["result"] == done["result"]


async def test_a_deletion_tells_what_it_did_not_find_and_can_be_undone(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    assert (await begin(admin, "delete", group, "sk-a\nsk-unknown\nsk-b"))["total"] == 3
    done = await finished(admin)
    assert done["task_type"] == "KEY_DELETE"
    result = done["result"]
    assert (result["deleted_count"], result["ignored_count"]) == (2, 1)
    assert (result["unknown_count"], result["unknown_lines"]) == (1, [2])
    assert [key["key_value"] for key in await admin.keys(group)] == ["sk-c"]
    await admin.api("POST", "/keys/undelete", {"batch": result["undo_batch"]})
    assert len(await admin.keys(group)) == 3


async def test_a_file_is_imported_like_a_text(admin: Admin) -> None:
    group = await admin.group()
    number = str(group).encode()
    answer = await send_form(
        admin, ("file", "\ufeffsk-a\r\nsk-é\r\n".encode(), "Keys.TXT"), ("group_id", number, "")
    )
    assert answer.data["total"] == 2
    assert (await finished(admin))["result"]["added_count"] == 2
    assert {key["key_value"] for key in await admin.keys(group)} == {"sk-a", "sk-é"}
    for fields, code, message in [
        ([("group_id", number, "")], "BAD_REQUEST", "File is required"),
        (
            [("group_id", number, ""), ("file", b"a", "a.csv")],
            "VALIDATION_FAILED",
            "Only .txt files are supported",
        ),
        ([("file", b"a", "a.txt")], "BAD_REQUEST", "Invalid group_id format"),
        (
            [("group_id", number, ""), ("file", b" \n", "a.txt")],
            "VALIDATION_FAILED",
            "Keys text cannot be empty",
        ),
        (
            [("group_id", number, ""), ("file", b"\xff\xfea\x00", "a.txt")],
            "VALIDATION_FAILED",
            "The file is not UTF-8",
        ),
    ]:
        assert (await send_form(admin, *fields)).refused(400, code) == message
    kind = {"Content-Type": f"multipart/form-data; boundary={FORM}"}
    for raw in (b"", b"nothing of the kind", form(("file", b"a", "a.txt"))[:-20]):
        answer = await admin.call("POST", "/api/keys/add-async", raw=raw, fields=kind)
        assert answer.refused(400, "BAD_REQUEST") == "The form can't be read"


@pytest.mark.parametrize("what", ["add", "delete"])
async def test_a_bad_beginning_is_refused_and_begins_nothing(admin: Admin, what: str) -> None:
    group = await admin.group()
    path = f"/api/keys/{what}-async"

    async def refused(said: Any, status: int, code: str) -> str:
        return (await admin.call("POST", path, said)).refused(status, code)

    assert await refused({}, 400, "INVALID_JSON") == "group_id is required; keys_text is required"
    assert "keys_text" in await refused({"group_id": group, "keys_text": ""}, 400, "INVALID_JSON")
    assert "keys_text" in await refused({"group_id": group, "keys_text": 7}, 400, "INVALID_JSON")
    await refused({"group_id": 4711, "keys_text": " "}, 404, "NOT_FOUND")
    for text, message in [
        (" \n", "Keys text cannot be empty"),
        (" ,;\n", "no valid keys found in the input text"),
        ("[]", "no valid keys found in the input text"),
        ('["a", 1]', "keys_text is a JSON array whose element 2 is no string"),
        ('["a"', "keys_text begins like a JSON array, but is not valid JSON"),
    ]:
        said = {"group_id": group, "keys_text": text}
        assert await refused(said, 400, "VALIDATION_FAILED") == message
    for raw in (b"", b'{"keys_text": "a', b'{"keys_text": "\\q", "group_id": 1}', b'{"a": "\xff"}'):
        (await admin.call("POST", path, raw=raw)).refused(400, "INVALID_JSON")
    assert (await admin.api("GET", "/tasks"))["items"] == []


async def test_what_an_import_adds_has_its_note_and_weight_and_is_taken_out_again(
    admin: Admin,
) -> None:
    """Just that: neither what was there before, nor what came by another way."""
    group = await admin.group()
    await admin.add_keys(group, ["sk-known"])
    said = {"group_id": group, "keys_text": "sk-a sk-b sk-known", "notes": "May", "weight": 3}
    await admin.api("POST", "/keys/add-async", said)
    task = await finished(admin)
    await admin.add_keys(group, ["sk-later"])
    keys = {key["key_value"]: key for key in await admin.keys(group)}
    for value, of in (("sk-a", ("May", 3)), ("sk-known", ("", 1)), ("sk-later", ("", 1))):
        assert (keys[value]["notes"], keys[value]["weight"]) == of
    meant = {"group_id": group, "action": "delete", "filter": {"task": task["id"]}}
    refused = await admin.call("POST", "/api/keys/actions", {**meant, "expected": 3})
    refused.refused(409, "COUNT_MOVED")
    done = await admin.api("POST", "/keys/actions", {**meant, "expected": 2})
    assert done["changed"] == 2
    left = {key["key_value"] for key in await admin.keys(group)}
    assert left == {"sk-known", "sk-later"}
    await admin.api("POST", "/keys/undelete", {"batch": done["undo"]["batch"]})
    assert {"sk-a", "sk-b"} <= {key["key_value"] for key in await admin.keys(group)}


async def test_an_import_by_a_form_takes_a_note_and_a_weight(admin: Admin) -> None:
    group = await admin.group()
    fields = [("group_id", str(group).encode(), ""), ("notes", "Mai – β".encode(), "")]
    file = ("file", b"sk-a", "keys.txt")
    answer = await send_form(admin, *fields, ("weight", b"many", ""), file)
    assert answer.refused(400, "VALIDATION_FAILED") == "weight must be a whole number"
    answer = await send_form(admin, *fields, ("weight", b"1000000000000", ""), file)
    answer.refused(400, "VALIDATION_FAILED")
    answer = await send_form(admin, *fields, ("weight", b"7", ""), file)
    assert answer.status == 200
    await finished(admin)
    (key,) = await admin.keys(group)
    assert (key["notes"], key["weight"]) == ("Mai – β", 7)


async def test_only_an_import_of_the_group_that_is_over_says_what_it_added(admin: Admin) -> None:
    group, other = await admin.group("one"), await admin.group("two")
    await begin(admin, "add", group, "sk-a")
    task = await finished(admin)

    async def refused(of: int, status: int, code: str, **words: Any) -> str:
        meant = {"task": task["id"], **words}
        said = {"group_id": of, "action": "delete", "filter": meant}
        return (await admin.call("POST", "/api/keys/actions", said)).refused(status, code)

    number = task["id"]
    assert await refused(other, 400, "VALIDATION_FAILED") == (
        f"task {number} is no import of this group"
    )
    words = await refused(group, 400, "VALIDATION_FAILED", state="active")
    assert words == "task is asked for without other words"
    await refused(group, 404, "NOT_FOUND", task=4711)
    assert len(await admin.keys(group)) == 1


async def test_an_import_that_was_interleaved_too_often_does_not_guess_what_it_added(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keytasks, "ADDED_SPANS", 0)
    group = await admin.group()
    await begin(admin, "add", group, "sk-a")
    task = await finished(admin)
    assert task["result"]["added_ids"] is None
    said = {"group_id": group, "action": "delete", "filter": {"task": task["id"]}}
    answer = await admin.call("POST", "/api/keys/actions", said)
    message = answer.refused(400, "VALIDATION_FAILED")
    assert message == "Which keys this import added isn't known"
    assert len(await admin.keys(group)) == 1


async def test_a_second_task_of_a_group_is_refused_with_the_references_words(
    admin: Admin,
) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    admin.upstreams.held = []
    await admin.api("POST", "/keys/validate-group", {"group_id": group})
    said = {"group_id": group, "keys_text": "sk-b"}
    answer = await admin.call("POST", "/api/keys/add-async", said)
    message = answer.refused(409, "TASK_IN_PROGRESS")
    assert message == "a task is already running, please wait"
    assert "cancel" in answer.said["hint"]
    await asked(admin, 1)
    admin.upstreams.release()
    await finished(admin)
    assert (await begin(admin, "add", group, "sk-b"))["is_running"]
    await finished(admin)


async def test_validation_tests_all_matching_keys_and_keeps_troubles_and_verdicts_apart(
    admin: Admin,
) -> None:
    group = await admin.group(config={"key_validation_concurrency": 3})
    keys = [f"sk-{number}" for number in range(10)]
    await admin.add_keys(group, [*keys, "sk-dead", "sk-away"])
    ids = await admin.key_ids()
    admin.ledger.fold(KeyEvent(group, ids["sk-0"], Seen.REJECTED, time.time(), threshold=1))
    admin.upstreams.answers["sk-dead"] = (401, b'{"error": {"code": "invalid_api_key"}}')
    admin.upstreams.break_off("sk-away")
    admin.upstreams.held = []
    status = await admin.api("POST", "/keys/validate-group", {"group_id": group})
    assert (status["task_type"], status["total"]) == ("KEY_VALIDATION", 12)
    await asked(admin, 3)
    admin.upstreams.release()
    result = (await finished(admin))["result"]
    reasons = result.pop("reasons")
    assert result == {"total_keys": 12, "valid_keys": 10, "invalid_keys": 1, "unproven_keys": 1}
    assert sorted(reasons.values()) == [1, 1]
    assert admin.upstreams.most_at_once == 3
    assert admin.ledger.view(ids["sk-0"]).state is State.ACTIVE
    assert admin.ledger.view(ids["sk-dead"]).state is State.INVALID
    assert admin.ledger.view(ids["sk-away"]).state is State.ACTIVE

    for choice, total in [({"status": "invalid"}, 1), ({"state": "active"}, 11)]:
        begun = await admin.api("POST", "/keys/validate-group", {"group_id": group, **choice})
        assert begun["total"] == total
        await finished(admin)


async def test_a_validation_can_be_cancelled(admin: Admin) -> None:
    group = await admin.group(config={"key_validation_concurrency": 1})
    await admin.add_keys(group, [f"sk-{number}" for number in range(9)])
    admin.upstreams.held = []
    task = await admin.api("POST", "/keys/validate-group", {"group_id": group})
    await asked(admin, 1)
    assert (await admin.api("POST", f"/tasks/{task['id']}/cancel"))["is_cancelling"]
    admin.upstreams.release()
    done = await finished(admin)
    assert (done["state"], done["error"]) == ("cancelled", "cancelled by a person")
    assert done["processed"] < 9
    assert len(admin.upstreams.seen) < 9
    (await admin.call("POST", "/api/tasks/4711/cancel")).refused(404, "NOT_FOUND")
    (await admin.call("POST", "/api/tasks/x/cancel")).refused(400, "BAD_REQUEST")
    (await admin.call("GET", "/api/tasks/4711")).refused(404, "NOT_FOUND")


async def test_bad_validations_are_refused(admin: Admin) -> None:
    group = await admin.group()
    aggregate = await admin.aggregate("all", group)
    path = "/api/keys/validate-group"
    answer = await admin.call("POST", path, {"group_id": 99})
    assert answer.refused(404, "NOT_FOUND") == "Group not found"
    answer = await admin.call("POST", path, {"group_id": group, "status": "dead"})
    assert answer.refused(400, "VALIDATION_FAILED") == "Invalid status value"
    # D58: it was a 409.
    answer = await admin.call("POST", path, {"group_id": group})
    assert answer.refused(400, "VALIDATION_FAILED") == "no keys to validate in group openai"
    (await admin.call("POST", path, {"group_id": aggregate})).refused(400, "VALIDATION_FAILED")


async def test_a_task_whose_group_goes_says_so(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, [f"sk-{number}" for number in range(2)])
    admin.upstreams.held = []
    await admin.api("POST", "/keys/validate-group", {"group_id": group})
    await asked(admin, 2)
    said = "\n".join(f"sk-{number}" for number in range(2 * STEP_KEYS))
    other = await admin.group("other")
    admin.records.blocked = Deferred()
    await begin(admin, "delete", other, said)  # its first step has begun, and waits
    await admin.write(groups.remove, other)
    admin.records.blocked.callback(None)
    admin.records.blocked = None
    (deletion,) = [t for t in (await admin.api("GET", "/tasks"))["items"] if t["kind"] == "delete"]
    for _ in range(100):
        deletion = await admin.api("GET", f"/tasks/{deletion['id']}")
        if deletion["state"] != "running":
            break
        await deferLater(admin.reactor, 0.02)
    assert (deletion["state"], deletion["error"]) == ("failed", "Resource not found")
    admin.upstreams.release()
    await finished(admin)


@pytest.mark.limit(120)
async def test_f03_forty_thousand_keys_come_go_and_come_again_while_others_are_served(
    make_admin: MakeAdmin,
) -> None:
    """F03: totals 40,000 / 0 / 40,000 / 0, and the new key serves."""
    admin = await make_admin("a long encryption key of the tests")
    group = await admin.group()
    text = "\n".join(f"sk-{number:048}" for number in range(40_000))
    waits: list[float] = []
    expected = [time.monotonic()]

    def beat() -> None:
        waits.append(time.monotonic() - expected[0])
        expected[0] = time.monotonic() + 0.005

    async def total() -> int:
        listed = await admin.api("GET", f"/keys?group_id={group}&page_size=1")
        return int(listed["pagination"]["total_items"])

    await begin(admin, "add", group, text)
    gc.collect()
    watch = LoopingCall(beat)
    watch.start(0.005)
    seen = await total()  # others are served all the while
    assert seen < 40_000
    done = await finished(admin)
    watch.stop()
    assert done["result"]["added_count"] == 40_000
    assert await total() == 40_000
    # The tests share the thread with the site and with a busy machine: a generous bound
    # that a step on the reactor's thread would still break.
    assert sorted(waits)[len(waits) * 95 // 100] < 0.1
    added = [len(change.keys) for change in admin.changes if isinstance(change, KeysAdded)]
    assert (sum(added), max(added) <= STEP_KEYS) == (40_000, True)

    answer = await admin.call("POST", "/api/keys/clear-all", {"group_id": group})
    assert answer.said["message"] == "40000 keys cleared"
    assert await total() == 0
    await begin(admin, "add", group, text)
    assert (await finished(admin))["result"]["added_count"] == 40_000
    await begin(admin, "delete", group, text)
    assert (await finished(admin))["result"]["deleted_count"] == 40_000
    assert await total() == 0
    removed = [len(c.key_ids) for c in admin.changes if isinstance(c, KeysRemoved)]
    assert sum(removed) == 80_000
    assert (await admin.add_keys(group, ["sk-new"]))["total_in_group"] == 1
    change = admin.changes[-1]
    assert isinstance(change, KeysAdded)
    assert change.keys[0].secret == b"sk-new"


async def test_a_body_is_read_alike_in_whatever_order_its_members_stand(admin: Admin) -> None:
    group = await admin.group()
    odd = 'sk-"\\\n\t/é漢🚀'
    for raw, count in [
        (json.dumps({"keys_text": odd, "group_id": group}).encode(), 2),
        (json.dumps({"group_id": group, "keys_text": odd}, ensure_ascii=False).encode(), 2),
        (f'{{"x": "keys_text", "keys_text" : "a b", "group_id": {group}}}'.encode(), 2),
        (f'{{"x": {{"keys_text": "no"}}, "keys_text": "c", "group_id": {group}}}'.encode(), 1),
        (f'{{"keys_text": "no", "keys_text": "d e f", "group_id": {group}}}'.encode(), 3),
    ]:
        answer = await admin.call("POST", "/api/keys/add-async", raw=raw)
        assert answer.data["total"] == count
        await finished(admin)
    keys = {key["key_value"] for key in await admin.keys(group)}
    assert keys == {'sk-"\\', "/é漢🚀", "a", "b", "c", "d", "e", "f"}


async def test_the_list_says_who_asked_and_can_be_of_one_state(admin: Admin) -> None:
    group = await admin.group()
    begun = await begin(admin, "add", group, "sk-of-a-list-1\nsk-of-a-list-2")
    await finished(admin)
    (task,) = (await admin.api("GET", "/tasks"))["items"]
    assert (task["id"], task["source_ip"], task["state"]) == (begun["id"], "unknown", "done")
    assert [one["id"] for one in (await admin.api("GET", "/tasks?state=done"))["items"]] == [
        task["id"]
    ]
    none = await admin.api("GET", "/tasks?state=interrupted")
    assert (none["items"], none["pagination"]["total_items"]) == ([], 0)
    refused = await admin.call("GET", "/api/tasks?state=ready")
    assert "state is one of running, done" in refused.refused(400, "VALIDATION_FAILED")
