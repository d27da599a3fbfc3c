"""One deed for many keys of a group: those with these ids, or all that a filter means.

A few are done at once, and the answer says what came of it; more become a task. Nobody
acts on keys that they have not seen: a count that has moved is told, and nothing done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from attrs import frozen

from gptload.control.db.queries.keys import KeyFilter
from gptload.control.db.queries.tasks import TaskRow
from gptload.control.keys import KeyCommands, Undo, check_weight, checked_notes
from gptload.control.keytasks import STEP_KEYS, KeyTasks
from gptload.control.probes import Probes
from gptload.control.tasks import Run, Tasks
from gptload.core.errors import GptloadError, ValidationFailed
from gptload.core.keystate import Event

Action = Literal["test", "restore", "enable", "disable", "delete", "weight", "note"]

AT_ONCE: Final = 5000
TESTED_AT_ONCE: Final = 100
# Keys come and go while somebody looks at a list of them.
_MOVED: Final = 0.01

Step = Callable[[list[int]], Awaitable[int]]


class CountMoved(GptloadError):
    """There are more keys, or fewer, than the caller has seen.

    Attributes:
        count: how many there are.
    """

    status = 409
    code = "COUNT_MOVED"
    hint = "Nothing was done. Look at the keys again, or leave expected out."

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} keys match by now")
        self.count = count


@frozen
class Tested:
    """What a test of one key showed; `error` is empty for a good one."""

    key_id: int
    is_valid: bool
    error: str


@frozen
class Acted:
    """What came of it.

    Attributes:
        count: keys that are meant.
        changed: of those, how many it made a difference to; 0 while a task does it.
        task: the task that does it, if it is one.
        undo: of a deletion at once.
        results: of a test at once.
    """

    count: int
    changed: int = 0
    task: TaskRow | None = None
    undo: Undo | None = None
    results: tuple[Tested, ...] | None = None


class KeyActions:
    """Holds no state of its own."""

    def __init__(
        self, keys: KeyCommands, key_tasks: KeyTasks, tasks: Tasks, probes: Probes
    ) -> None:
        self._keys = keys
        self._key_tasks = key_tasks
        self._tasks = tasks
        self._probes = probes

    async def act(
        self,
        group_id: int,
        action: Action,
        wanted: KeyFilter,
        *,
        expected: int | None = None,
        weight: int | None = None,
        note: str | None = None,
    ) -> Acted:
        """Do it, or begin to.

        Args:
            expected: how many keys the caller believes to mean; None: never mind.

        Raises:
            NotFound, ValidationFailed, CountMoved, TaskInProgress: nothing was done.
        """
        batch = self._keys.new_batch()
        step = self._step(group_id, action, batch, weight, note)
        count = await self._keys.count(group_id, wanted)
        if expected is not None and abs(count - expected) > expected * _MOVED:
            raise CountMoved(count)
        if action == "test":
            return await self._test(group_id, wanted, count)
        if count > AT_ONCE:
            return Acted(
                count, task=await self._begin(group_id, action, wanted, count, step, batch)
            )
        changed = 0
        async for key_ids in self._keys.meant(group_id, wanted, STEP_KEYS):
            changed += await step(key_ids)
        undo = self._keys.undo_of(batch, changed) if action == "delete" else None
        return Acted(count, changed, undo=undo)

    def _step(
        self, group_id: int, action: Action, batch: str, weight: int | None, note: str | None
    ) -> Step:
        keys = self._keys
        if action == "weight":
            if weight is None:
                raise ValidationFailed("weight is required")
            check_weight(weight)
            return lambda ids: keys.weigh_some(group_id, ids, weight)
        if action == "note":
            if note is None:
                raise ValidationFailed("note is required")
            text = checked_notes(note)
            return lambda ids: keys.note_some(ids, text)
        if action == "delete":
            return lambda ids: keys.delete_some(group_id, ids, batch)
        if action == "restore":
            return lambda ids: keys.restore_some(group_id, ids)
        event = Event.SWITCHED_ON if action == "enable" else Event.SWITCHED_OFF
        return lambda ids: keys.switch_some(group_id, ids, event)

    async def _begin(
        self,
        group_id: int,
        action: Action,
        wanted: KeyFilter,
        count: int,
        step: Step,
        batch: str,
    ) -> TaskRow:
        async def work(run: Run) -> None:
            figure = "deleted_count" if action == "delete" else "changed_count"
            run.result = {figure: 0}
            if action == "delete":
                run.result["undo_batch"] = batch
            async for key_ids in self._keys.meant(group_id, wanted, STEP_KEYS):
                run.check()
                run.result[figure] += await step(key_ids)
                run.processed += len(key_ids)

        return await self._tasks.begin(action, group_id, count, work)

    async def _test(self, group_id: int, wanted: KeyFilter, count: int) -> Acted:
        if count > TESTED_AT_ONCE:
            return Acted(count, task=await self._key_tasks.validate(group_id, wanted))
        secrets: dict[str, int] = {}
        async for some in self._keys.opened(group_id, wanted):
            secrets |= {
                secret.decode("utf-8", "replace"): key_id for key_id, secret in some if secret
            }
        results = await self._probes.test(group_id, list(secrets))
        shown = tuple(Tested(secrets[each.key], each.is_valid, each.error) for each in results)
        return Acted(count, sum(each.is_valid for each in shown), results=shown)
