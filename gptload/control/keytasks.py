"""What is done to so many keys that nobody waits for it: import, deletion, tests.

Each goes on in small steps, so that requests, other people's changes and the pools get
their turn between two of them, and each tells line by line what it didn't do.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Sequence
from typing import Any, Final

from attrs import asdict
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from gptload.control.db.queries.keys import KeyFilter
from gptload.control.db.queries.tasks import TaskRow, in_progress
from gptload.control.keycourse import Course
from gptload.control.keys import KeyCommands, check_weight, checked_notes
from gptload.control.probes import Probes
from gptload.control.tasks import Run, Tasks
from gptload.core.errors import NotFound, ValidationFailed
from gptload.core.idspans import IdSpans, packed, spans_of, unpacked
from gptload.core.keytext import REPORTED, Reading
from gptload.core.outcome import Outcome
from gptload.core.snapshot import Group

# Keys of one transaction: others who write wait for a tenth of a second at most.
STEP_KEYS: Final = 1000
# New keys whose objects a collection of garbage looks through in a few milliseconds.
SETTLED_KEYS: Final = 20_000
# Spans of ids that an import keeps: keys that others add in between end one, so it is
# one as a rule, and no more than one question to the database takes.
ADDED_SPANS: Final = 200
# Different reasons why keys aren't proven good that a result tells apart.
_REASONS: Final = 20
# What a course calls the figures of a test.
_FOUND: Final = {"valid_keys": "good", "invalid_keys": "rejected", "unproven_keys": "failed"}
_UNREADABLE: Final = "The key can't be decrypted"


class KeyTasks:
    """Starts tasks about keys of a group."""

    log = Logger()

    def __init__(self, tasks: Tasks, keys: KeyCommands, probes: Probes) -> None:
        self._tasks = tasks
        self._keys = keys
        self._probes = probes

    async def add(
        self, group_id: int, reading: Reading, *, notes: str = "", weight: int | None = None
    ) -> TaskRow:
        """Begin to add what the group doesn't have yet; each step's keys serve at once.

        Args:
            notes, weight: of each key that is new; empty or None: as keys usually have them.

        Raises:
            NotFound, TaskInProgress: there is no such group; a task of it runs.
            ValidationFailed: no key may have such a note or weight.
        """
        text = checked_notes(notes)
        if weight is not None:
            check_weight(weight)

        async def work(run: Run) -> None:
            counts = _begin(run, reading, "added_count", "known")
            added = IdSpans(ADDED_SPANS)
            for start in range(0, len(reading.keys), STEP_KEYS):
                run.check()
                piece = reading.keys[start : start + STEP_KEYS]
                keys = await self._keys.add_some(group_id, piece)
                ids = [key.id for key in keys]
                if text and ids:
                    await self._keys.note_some(ids, text)
                if weight is not None and ids:
                    await self._keys.weigh_some(group_id, ids, weight)
                for span in spans_of(ids):
                    added.add(*span)
                counts["added_ids"] = None if added.dropped else packed(added.spans)
                fresh = {key.secret for key in keys}
                counts["added_count"] += len(fresh)
                if (start + STEP_KEYS) % SETTLED_KEYS == 0:
                    _settle()
                _pass_over(run, reading, start, piece, fresh, "known")

        return await self._tasks.begin("import", group_id, reading.found, work)

    async def remove(self, group_id: int, reading: Reading) -> TaskRow:
        """Begin to delete those keys that the group has.

        Raises:
            NotFound, TaskInProgress: there is no such group; a task of it runs.
        """
        batch = self._keys.new_batch()

        async def work(run: Run) -> None:
            counts = _begin(run, reading, "deleted_count", "unknown")
            counts["undo_batch"] = batch
            for start in range(0, len(reading.keys), STEP_KEYS):
                run.check()
                piece = reading.keys[start : start + STEP_KEYS]
                gone = await self._keys.remove_some(group_id, piece, batch)
                counts["deleted_count"] += len(gone)
                _pass_over(run, reading, start, piece, gone, "unknown")

        return await self._tasks.begin("delete", group_id, reading.found, work)

    async def added_by(self, task_id: int, group_id: int) -> KeyFilter:
        """The keys that an import added to a group.

        Raises:
            NotFound, TaskInProgress: there is no such task, or it isn't over.
            ValidationFailed: it is none of that kind, or one that doesn't know them.
        """
        task = await self._tasks.one(task_id)
        if task.state == "running":
            raise in_progress(task)
        if task.kind != "import" or task.group_id != group_id:
            raise ValidationFailed(f"task {task_id} is no import of this group")
        ids = (task.result or {}).get("added_ids")
        if ids is None:
            raise ValidationFailed(
                "Which keys this import added isn't known", hint="Name them by their ids."
            )
        return KeyFilter(spans=unpacked(ids))

    async def validate(self, group_id: int, wanted: KeyFilter) -> TaskRow:
        """Begin to test all such keys of a group, as many at once as it allows.

        Raises:
            NotFound, TaskInProgress: there is no such group; a task of it runs.
            ValidationFailed: it can't test keys, or has none of these.
        """
        course = Course.of(wanted, await self._keys.last_id(group_id))
        return await self.validate_along(group_id, course)

    async def validate_along(
        self, group_id: int, course: Course, retried: int | None = None
    ) -> TaskRow:
        """As `validate`, of the keys of a course.

        Args:
            retried: the task that this one is the retry of.

        Raises:
            NotFound, TaskInProgress, ValidationFailed: as there.
            NothingToRetry: that task has a retry.
        """
        try:
            group = self._probes.group(group_id)
        except NotFound:
            raise NotFound("Group not found") from None
        total = await self._keys.count_all(group_id, course.parts())
        if not total:
            raise ValidationFailed(f"no keys to validate in group {group.name}")

        async def work(run: Run) -> None:
            run.result = {
                "total_keys": total,
                "valid_keys": 0,
                "invalid_keys": 0,
                "unproven_keys": 0,
                "reasons": {},
            }
            for part in course.parts():
                async for page in self._keys.opened(group_id, part):
                    run.check()
                    course.begin_page([key_id for key_id, _ in page])
                    await self._check(run, self._probes.group(group_id), course, page)
            course.end()

        return await self._tasks.begin("validate", group_id, total, work, course.left, retried)

    async def _check(
        self, run: Run, group: Group, course: Course, page: Sequence[tuple[int, bytes | None]]
    ) -> None:
        waiting = iter(page)

        async def work() -> None:
            for key_id, secret in waiting:  # shared: each worker takes the next one
                if run.stopped:
                    return
                kind, error = "invalid_keys", _UNREADABLE
                if secret is not None:
                    kind, error = await self._tested(group, key_id, secret)
                run.result[kind] += 1
                course.met(key_id, _FOUND[kind])
                reasons = run.result["reasons"]
                if error and (error in reasons or len(reasons) < _REASONS):
                    reasons[error] = reasons.get(error, 0) + 1
                run.processed += 1

        count = min(group.settings.key_validation_concurrency, len(page))
        workers = [Deferred.fromCoroutine(work()) for _ in range(count)]
        await gatherResults(workers, consumeErrors=True)
        run.check()

    async def _tested(self, group: Group, key_id: int, secret: bytes) -> tuple[str, str]:
        """Which figure of the result the key belongs to, and why it isn't proven good."""
        try:
            verdict, error = await self._probes.check(group, key_id, secret)
        except Exception:  # a plugin's: the other keys still want their result
            self.log.failure("A test of key {key_id} failed", key_id=key_id)
            return "unproven_keys", "not proven: the channel's plugin failed; see the log"
        if not error:
            return "valid_keys", ""
        is_rejected = verdict is not None and verdict.outcome is Outcome.KEY_REJECTED
        return "invalid_keys" if is_rejected else "unproven_keys", error


def _settle() -> None:
    """Let collections pass over what was made: half a million keys would hold them up.

    A key is no garbage as long as its pool has it, and when it goes it's no part of a
    cycle, so nobody has to look for it.
    """
    gc.collect(1)
    gc.freeze()


def _begin(run: Run, reading: Reading, done: str, passed_over: str) -> dict[str, Any]:
    """Take over what the reading itself says; the run's result."""
    ignored = reading.found - len(reading.keys)
    run.processed = ignored
    run.result = {
        done: 0,
        "ignored_count": ignored,
        f"{passed_over}_count": 0,
        f"{passed_over}_lines": [],
        "repeated_count": reading.repeated,
        "repeated_lines": reading.repeated_lines,
        "bad_count": reading.bad,
        "bad_lines": [asdict(line) for line in reading.bad_lines],
    }
    return run.result


def _pass_over(
    run: Run,
    reading: Reading,
    start: int,
    piece: Sequence[bytes],
    done: Collection[bytes],
    passed_over: str,
) -> None:
    """Count a step's keys, and report the lines of those with which nothing was done."""
    count = len(piece) - len(done)
    lines = run.result[f"{passed_over}_lines"]
    if count and len(lines) < REPORTED:
        found = [reading.lines[start + n] for n, key in enumerate(piece) if key not in done]
        lines += found[: REPORTED - len(lines)]
    run.result[f"{passed_over}_count"] += count
    run.result["ignored_count"] += count
    run.processed += len(piece)
