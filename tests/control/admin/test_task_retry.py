"""`/api/tasks/:id/retry`: just what failed or wasn't reached, and that once."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from gptload.control import keyactions, keycourse
from gptload.control.db.queries import tasks as queries
from gptload.control.keys import KeyCommands
from gptload.core.keystate import State
from tests.control.admin.conftest import Admin
from tests.control.admin.test_tasks import asked, begin, finished

BAD = (401, b'{"error": {"code": "invalid_api_key"}}')
GOOD = (200, b"{}")


async def ended(admin: Admin) -> dict[str, Any]:
    """The last task, once it has ended, as our own route shows it."""
    task: dict[str, Any] = await admin.api("GET", f"/tasks/{(await finished(admin))['id']}")
    return task


async def validate(admin: Admin, group: int, **choice: str) -> dict[str, Any]:
    await admin.api("POST", "/keys/validate-group", {"group_id": group, **choice})
    return await ended(admin)


def looked_at(admin: Admin) -> list[str]:
    """Keys that were asked about since the last look."""
    fields = [request.get(b"authorization") or b"" for _, _, request, _ in admin.upstreams.seen]
    admin.upstreams.seen.clear()
    return sorted(field.removeprefix(b"Bearer ").decode() for field in fields)


async def retry(admin: Admin, task: dict[str, Any], **said: str) -> Any:
    return await admin.api("POST", f"/tasks/{task['id']}/retry", said or None)


async def refused(admin: Admin, task: dict[str, Any], **said: str) -> Any:
    answer = await admin.call("POST", f"/api/tasks/{task['id']}/retry", said or None)
    answer.refused(409, "NOTHING_TO_RETRY")
    return answer.said


async def test_a_retry_tests_just_the_keys_that_failed(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, [f"sk-{number}" for number in range(9)])
    away = ("sk-2", "sk-3", "sk-7")
    for key in away:
        admin.upstreams.answers[key] = (503, b"{}")
    admin.upstreams.answers["sk-5"] = BAD
    first = await validate(admin, group)
    assert first["left"] == {"failed": 3, "unreached": 0, "rejected": 1, "unnamed": 0}
    assert (first["retry_of"], first["retried_by"]) == (None, None)
    assert len(looked_at(admin)) == 9

    admin.upstreams.answers["sk-2"] = GOOD
    begun = await retry(admin, first)
    assert (begun["kind"], begun["total"], begun["retry_of"]) == ("validate", 3, first["id"])
    second = await ended(admin)
    assert looked_at(admin) == sorted(away)
    assert second["result"]["valid_keys"] == 1
    assert second["left"]["failed"] == 2

    # There is one retry of each; what that left is retried there.
    first = await admin.api("GET", f"/tasks/{first['id']}")
    assert first["retried_by"] == second["id"]
    assert first["left"] == {"failed": 0, "unreached": 0, "rejected": 1, "unnamed": 0}
    said = await refused(admin, first)
    assert said["data"] == {"task_id": second["id"]}
    assert f"Task {second['id']}" in said["hint"]
    for key in away:
        admin.upstreams.answers[key] = GOOD
    await retry(admin, second)
    third = await ended(admin)
    assert looked_at(admin) == ["sk-3", "sk-7"]
    assert third["left"] == {"failed": 0, "unreached": 0, "rejected": 0, "unnamed": 0}
    await refused(admin, third)


async def test_rejected_keys_are_tested_again_when_asked_for(admin: Admin) -> None:
    """A bill is paid: they may be good by now. The task itself did all it was asked for."""
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    ids = await admin.key_ids()
    admin.upstreams.answers |= {"sk-a": BAD, "sk-c": BAD}
    first = await validate(admin, group)
    await refused(admin, first)
    looked_at(admin)

    admin.upstreams.answers["sk-a"] = GOOD
    for _ in range(2):  # as often as somebody likes
        begun = await retry(admin, first, which="rejected")
        assert (begun["total"], begun["retry_of"]) == (2, first["id"])
        second = await ended(admin)
        assert looked_at(admin) == ["sk-a", "sk-c"]
    assert second["left"]["rejected"] == 1
    assert (await admin.api("GET", f"/tasks/{first['id']}"))["retried_by"] is None
    assert admin.ledger.view(ids["sk-a"]).state is State.ACTIVE
    assert admin.ledger.view(ids["sk-c"]).state is State.INVALID
    answer = await admin.call("POST", f"/api/tasks/{first['id']}/retry", {"which": "all"})
    answer.refused(400, "INVALID_JSON")


async def test_a_cancelled_test_goes_on_with_the_rest(admin: Admin) -> None:
    group = await admin.group(config={"key_validation_concurrency": 2})
    await admin.add_keys(group, [f"sk-{number}" for number in range(9)])
    admin.upstreams.answers["sk-0"] = (503, b"{}")
    admin.upstreams.held = []
    task = await admin.api("POST", "/keys/validate-group", {"group_id": group})
    await asked(admin, 2)
    answer = await admin.call("POST", f"/api/tasks/{task['id']}/retry")
    answer.refused(409, "TASK_IN_PROGRESS")
    assert answer.said["data"] == {"task_id": task["id"]}
    await admin.api("POST", f"/tasks/{task['id']}/cancel")
    admin.upstreams.release()
    cut = await ended(admin)
    assert (cut["state"], cut["processed"]) == ("cancelled", 2)
    assert cut["left"] == {"failed": 1, "unreached": 7, "rejected": 0, "unnamed": 0}
    assert looked_at(admin) == ["sk-0", "sk-1"]

    await admin.add_keys(group, ["sk-late"])  # nobody meant that one
    begun = await retry(admin, cut)
    assert begun["total"] == 8
    done = await ended(admin)
    assert (done["state"], done["processed"]) == ("done", 8)
    assert looked_at(admin) == ["sk-0", *(f"sk-{number}" for number in range(2, 9))]


async def test_the_rest_of_a_filter_is_what_fits_it_now(admin: Admin) -> None:
    group = await admin.group(config={"key_validation_concurrency": 1})
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c", "sk-d"])
    ids = await admin.key_ids()
    await switch(admin, group, ids["sk-b"])
    admin.upstreams.held = []
    task = await admin.api("POST", "/keys/validate-group", {"group_id": group, "state": "active"})
    assert task["total"] == 3
    await asked(admin, 1)
    await admin.api("POST", f"/tasks/{task['id']}/cancel")
    admin.upstreams.release()
    cut = await ended(admin)
    assert cut["left"]["unreached"] == 2
    looked_at(admin)
    await admin.api("POST", "/keys/delete-multiple", {"group_id": group, "keys_text": "sk-c"})
    assert (await retry(admin, cut))["total"] == 1
    await finished(admin)
    assert looked_at(admin) == ["sk-d"]


async def switch(admin: Admin, group: int, key_id: int) -> None:
    said = {"group_id": group, "action": "disable", "ids": [key_id]}
    await admin.api("POST", "/keys/actions", said)


async def test_what_a_killed_process_left_is_known(admin: Admin) -> None:
    """Its row says so from its first moment on, before any second has passed."""
    group = await admin.group(config={"key_validation_concurrency": 1})
    await admin.add_keys(group, ["sk-a", "sk-b"])
    admin.upstreams.held = []
    await admin.api("POST", "/keys/validate-group", {"group_id": group})
    await asked(admin, 1)
    await admin.write(queries.interrupt_orphans, 4e9)
    cut = await ended(admin)
    admin.upstreams.release()
    await deferLater(admin.reactor, 0.05)
    assert (cut["state"], cut["left"]["unreached"]) == ("interrupted", 2)
    looked_at(admin)
    assert (await retry(admin, cut))["total"] == 2
    assert (await ended(admin))["state"] == "done"


class Held:
    """A step of a deed: the second one waits until a test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setattr(keyactions, "AT_ONCE", 2)
        monkeypatch.setattr(keyactions, "STEP_KEYS", 2)
        self.begun: Deferred[None] = Deferred()
        self.gate: Deferred[None] = Deferred()
        steps = 0
        do = getattr(KeyCommands, name)

        async def held(*args: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == 2:
                self.begun.callback(None)
                await self.gate
            return await do(*args)

        monkeypatch.setattr(KeyCommands, name, held)

    async def cancelled(self, admin: Admin, group: int, **said: Any) -> dict[str, Any]:
        """A deed for six keys, cut after the fourth."""
        await admin.add_keys(group, [f"sk-{number}" for number in range(6)])
        said |= {"group_id": group, "filter": {"state": "active"}}
        task = (await admin.api("POST", "/keys/actions", said))["task"]
        await self.begun
        await admin.api("POST", f"/tasks/{task['id']}/cancel")
        self.gate.callback(None)
        cut = await ended(admin)
        assert (cut["state"], cut["processed"]) == ("cancelled", 4)
        assert cut["left"]["unreached"] == 2
        return cut


async def test_a_deed_goes_on_with_the_rest(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, "weigh_some")
    group = await admin.group()
    cut = await held.cancelled(admin, group, action="weight", weight=7)
    assert {key["weight"] for key in await admin.keys(group)} == {1, 7}
    begun = await retry(admin, cut)
    assert (begun["kind"], begun["total"]) == ("weight", 2)
    assert (await ended(admin))["result"] == {"changed_count": 2}
    assert {key["weight"] for key in await admin.keys(group)} == {7}


async def test_a_deletion_that_goes_on_can_be_undone_like_any(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, "delete_some")
    group = await admin.group()
    await retry(admin, await held.cancelled(admin, group, action="delete"))
    last = await ended(admin)
    assert await admin.keys(group) == []
    await admin.api("POST", "/keys/undelete", {"batch": last["result"]["undo_batch"]})
    assert len(await admin.keys(group)) == 2


async def test_what_cannot_be_retried_says_what_to_do(admin: Admin) -> None:
    group = await admin.group()
    await begin(admin, "add", group, "sk-a\nsk-b")
    added = await ended(admin)
    assert added["left"] is None
    assert "Send it again" in (await refused(admin, added))["hint"]
    admin.upstreams.answers["sk-a"] = (503, b"{}")
    first = await validate(admin, group)
    await admin.api("POST", "/keys/delete-multiple", {"group_id": group, "keys_text": "sk-a"})
    assert "those keys are gone" in (await refused(admin, first))["hint"]
    (await admin.call("POST", "/api/tasks/4711/retry")).refused(404, "NOT_FOUND")
    (await admin.call("POST", "/api/tasks/x/retry")).refused(400, "BAD_REQUEST")


async def test_while_another_task_runs_a_retry_names_it(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b"])
    admin.upstreams.answers["sk-a"] = (503, b"{}")
    first = await validate(admin, group)
    admin.upstreams.held = []
    running = await admin.api("POST", "/keys/validate-group", {"group_id": group})
    answer = await admin.call("POST", f"/api/tasks/{first['id']}/retry")
    answer.refused(409, "TASK_IN_PROGRESS")
    assert answer.said["data"] == {"task_id": running["id"]}
    assert f"Task {running['id']} (validate)" in answer.said["hint"]
    await asked(admin, 1)
    admin.upstreams.release()
    await finished(admin)
    # It was refused, so it is still there to be retried.
    assert (await retry(admin, first))["total"] == 1
    await finished(admin)


async def test_what_nobody_can_name_is_counted(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keycourse, "KEPT", 2)
    group = await admin.group()
    keys = [f"sk-{number}" for number in range(10)]
    await admin.add_keys(group, keys)
    for key in keys[::2]:
        admin.upstreams.answers[key] = (503, b"{}")
    first = await validate(admin, group)
    assert first["left"] == {"failed": 2, "unreached": 0, "rejected": 0, "unnamed": 3}
    assert (await retry(admin, first))["total"] == 2
    await finished(admin)


async def test_a_retry_is_in_the_audit_log(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    admin.upstreams.answers["sk-a"] = (503, b"{}")
    first = await validate(admin, group)
    begun = await retry(admin, first)
    await finished(admin)
    entry = (await admin.api("GET", "/audit?subject=tasks"))["items"][0]
    assert (entry["route"], entry["subject_id"]) == ("/api/tasks/:id/retry", first["id"])
    assert entry["after"] == {"which": "failed", "task_id": begun["id"], "count": 1}
