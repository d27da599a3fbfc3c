"""One deed for many keys of a group: those with these ids, or all that a filter means.

A few are done at once, and the answer says what came of it; more become a task. Nobody
acts on keys that they have not seen: a count that has moved is told, and nothing done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, cast

from attrs import frozen

from gptload.control.db.queries.keys import KeyFilter
from gptload.control.db.queries.tasks import TaskRow, in_progress
from gptload.control.keycourse import Course
from gptload.control.keys import KeyCommands, Undo, check_weight, checked_notes
from gptload.control.keytasks import STEP_KEYS, KeyTasks
from gptload.control.probes import Probes
from gptload.control.tasks import Run, Tasks
from gptload.core.errors import GptloadError, NothingToRetry, ValidationFailed
from gptload.core.keystate import Event

Action = Literal["test", "restore", "enable", "disable", "delete", "weight", "note"]

Which = Literal["failed", "rejected"]

AT_ONCE: Final = 5000
TESTED_AT_ONCE: Final = 100
# Keys come and go while somebody looks at a list of them.
_MOVED: Final = 0.01

Step = Callable[[list[int]], Awaitable[int]]


class CountMoved(GptloadError):
    """There are more keys, or fewer, than the caller has seen; `data` says how many."""

    status = 409
    code = "COUNT_MOVED"
    hint = "Nothing was done. Look at the keys again, or leave expected out."

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} keys match by now", data={"count": count})


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
            more = {"weight": weight, "note": note}
            course = Course.of(wanted, await self._keys.last_id(group_id), more)
            return Acted(count, task=await self._begin(group_id, action, course, step, batch))
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
        course: Course,
        step: Step,
        batch: str,
        retried: int | None = None,
    ) -> TaskRow:
        count = await self._keys.count_all(group_id, course.parts())

        async def work(run: Run) -> None:
            figure = "deleted_count" if action == "delete" else "changed_count"
            run.result = {figure: 0}
            if action == "delete":
                run.result["undo_batch"] = batch
            for part in course.parts():
                async for key_ids in self._keys.meant(group_id, part, STEP_KEYS):
                    run.check()
                    course.begin_page(key_ids)
                    run.result[figure] += await step(key_ids)
                    course.met_all()
                    run.processed += len(key_ids)
            course.end()

        return await self._tasks.begin(action, group_id, count, work, course.left, retried)

    async def retry(self, task_id: int, which: Which = "failed") -> TaskRow:
        """Begin once more what a task failed at or didn't come to, and nothing else.

        Args:
            which: `rejected`: of a test, the keys that were found to be bad instead.

        Raises:
            NotFound, TaskInProgress, ValidationFailed: nothing was begun, as with a
                task that is new.
            NothingToRetry: nothing is left of it, or nobody knows what.
        """
        task = await self._tasks.one(task_id)
        if task.state == "running":
            raise in_progress(task)
        left = task.remainder
        if left is None:
            raise NothingToRetry(
                "This task can't be retried",
                hint="The text of its keys isn't kept. Send it again: what is done already is "
                "passed over."
                if task.kind in ("import", "delete")
                else "What is left of it isn't known. Begin it anew.",
            )
        is_rejected = which == "rejected"
        course = (Course.rejected if is_rejected else Course.again)(task.id, left)
        # A test of bad keys is no retry: the task did what it was asked for.
        retried = None if is_rejected else task.id
        if not await self._keys.count_all(task.group_id, course.parts()):
            raise NothingToRetry(
                "Nothing of this task is left to be retried",
                hint="No key of it failed or was left out, or those keys are gone.",
            )
        if task.kind == "validate":
            return await self._key_tasks.validate_along(task.group_id, course, retried)
        action, more, batch = cast(Action, task.kind), left["more"], self._keys.new_batch()
        step = self._step(task.group_id, action, batch, more.get("weight"), more.get("note"))
        return await self._begin(task.group_id, action, course, step, batch, retried)

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
