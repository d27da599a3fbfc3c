"""Long work that somebody asked for: it goes on when they leave, and says how far it is.

A task is a row in the database with one owner. The owner's lease is kept alive while
the work goes on; when the process is killed the lease runs out, and the row says
*interrupted*, with what was done until then. What kinds of tasks there are is not
decided here: whoever has long work brings it along.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from copy import deepcopy
from typing import Any, Final, ParamSpec, TypeVar

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from gptload.control.db.database import Database
from gptload.control.db.queries import tasks as queries
from gptload.control.db.queries.tasks import TaskRow
from gptload.control.loop import Loop
from gptload.control.status import Job
from gptload.control.waiting import whole
from gptload.core.errors import DatabaseUnavailable, GptloadError

P = ParamSpec("P")
T = TypeVar("T")

BEAT_S: Final = 1.0
# Longer than a database may be locked, short enough for who waits after a restart.
LEASE_S: Final = 15.0
# A step that takes longer than that at a stop is broken off: a test of a key may wait.
STOP_S: Final = 3.0
# The reference's dashboard reads the last task's figures for so long.
SHOWN_S: Final = 3600.0
_SWEEP_BEATS: Final = 10


Left = Callable[[], dict[str, Any] | None]


class Stopped(Exception):
    """The task is to end here: raised by `Run.check` between two steps of the work."""


@define(eq=False)
class Run:
    """A task under way, as its work and its runner see it.

    Attributes:
        result: figures of what is done; they are told while the task runs, too.
        left: what it failed at or hasn't come to yet, as JSON; None where a retry could
            not know that.
        stopped: why it is to end, as the state that it then has; empty as long as it
            goes on.
        work: what is done; it can be broken off.
        ended: fires when the end is written.
    """

    row: TaskRow
    left: Left
    processed: int = 0
    result: dict[str, Any] = field(factory=dict)
    stopped: str = ""
    work: Deferred[None] = field(factory=Deferred)
    ended: Deferred[None] = field(factory=Deferred)

    def check(self) -> None:
        """
        Raises:
            Stopped: the work is to end; let it pass.
        """
        if self.stopped:
            raise Stopped

    def shown(self) -> TaskRow:
        """The row as it would be written now."""
        result = deepcopy(self.result)
        return evolve(self.row, processed=self.processed, result=result, remainder=self.left())


Work = Callable[[Run], Coroutine[Any, Any, None]]

_ERRORS: Final = {
    "cancelled": "cancelled by a person",
    "interrupted": "the service was stopped before it ended",
}


class Tasks(Service):
    """Runs tasks, one a group at a time, and knows those that ended."""

    log = Logger()

    def __init__(
        self, reactor: Any, database: Database, owner: str, job: Job | None = None
    ) -> None:
        """
        Args:
            reactor: provides IReactorTime, IReactorFromThreads and `getThreadPool`.
            owner: of the tasks that run here; no other process, and no earlier life of
                this one, has that name.
        """
        self._clock = self._reactor = reactor
        self._database = database
        self._owner = owner
        self._runs: dict[int, Run] = {}
        self._beats = 0
        # One at a time: what is prepared may hold a hundred megabytes.
        self._thread = ThreadPool(0, 1, name="tasks")
        self._job = Job() if job is None else job
        self._loop = Loop(reactor, self._beat, self._job)

    def startService(self) -> None:
        """Look after leases, ours and those of owners that are gone."""
        Service.startService(self)
        self._thread.start()
        self._loop.start(BEAT_S)

    def stopService(self) -> Deferred[None]:
        """Let each task end its step, and write that it was interrupted."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        runs = list(self._runs.values())
        for run in runs:
            run.stopped = run.stopped or "interrupted"
        late = self._clock.callLater(STOP_S, self._break_off)
        await DeferredList([run.ended for run in runs])
        if late.active():
            late.cancel()
        await self._loop.stop()
        # Joining blocks, so it may not happen on the reactor's thread.
        pool = self._reactor.getThreadPool()
        await deferToThreadPool(self._reactor, pool, self._thread.stop)

    def _break_off(self) -> None:
        for run in list(self._runs.values()):
            run.work.cancel()

    async def prepare(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what a task needs before it can begin in a thread, and wait for it.

        Raises:
            DatabaseUnavailable: nothing is begun any more.
        """
        if not self.running:
            raise _stopping()
        result: T = await deferToThreadPool(self._reactor, self._thread, work, *args, **kwargs)
        return result

    @whole
    async def begin(
        self,
        kind: str,
        group_id: int,
        total: int,
        work: Work,
        left: Left = lambda: None,
        retried: int | None = None,
    ) -> TaskRow:
        """Start a task; it goes on after this returns.

        Args:
            kind: one word for people, e.g. `import`; at most 32 characters.
            total: how many steps there are, as `Run.processed` counts them.
            work: called with the run. It calls `Run.check` between steps, and raises
                what a person has to hear about.
            left: see `Run`.
            retried: the task that this one is the retry of.

        Returns:
            The task as it begins.

        Raises:
            NotFound, TaskInProgress: there is no such group; a task of it runs.
            NothingToRetry: that task has a retry.
        """
        if not self.running:
            raise _stopping()
        row = await self._database.write(
            queries.begin,
            kind,
            group_id,
            total,
            owner=self._owner,
            now=self._clock.seconds(),
            lease_s=LEASE_S,
            remainder=left(),
            retried=retried,
        )
        run = self._runs[row.id] = Run(row, left)
        run.work = Deferred.fromCoroutine(self._run(run, work))
        run.work.addErrback(
            lambda failure: self.log.failure("Task {id} ended badly", failure, id=row.id)
        )
        return row

    async def _run(self, run: Run, work: Work) -> None:
        state, error = "done", ""
        try:
            run.check()
            await work(run)
        except (Stopped, CancelledError):
            state = run.stopped or "interrupted"
            error = _ERRORS[state]
        except GptloadError as fault:
            state, error = "failed", fault.message
        except Exception:
            self.log.failure("Task {id} ({kind}) failed", id=run.row.id, kind=run.row.kind)
            state, error = "failed", "An unexpected error occurred; the log names the cause"
        try:
            await self._database.write(
                queries.end,
                run.row.id,
                state,
                owner=self._owner,
                processed=run.processed,
                result=run.result,
                remainder=run.left(),
                error=error,
                now=self._clock.seconds(),
            )
        except DatabaseUnavailable as fault:  # its lease runs out, and it says `interrupted`
            self.log.error(
                "The end of task {id} ({state}) can't be written: {reason}",
                id=run.row.id,
                state=state,
                reason=fault.message,
            )
        finally:
            del self._runs[run.row.id]
            run.ended.callback(None)

    @whole
    async def cancel(self, task_id: int) -> TaskRow:
        """Ask a task to end after its step, wherever it runs; what is done stays.

        Raises:
            NotFound: there is no such task.
        """
        row = await self._database.write(queries.ask_to_end, task_id)
        run = self._runs.get(task_id)
        if run is None:
            return row
        run.row = row
        run.stopped = run.stopped or "cancelled"
        return run.shown()

    async def page(self, *, state: str = "", offset: int, limit: int) -> tuple[list[TaskRow], int]:
        """Tasks in a state, or in any, the last started first, and how many there are."""
        rows, total = await self._database.read(
            queries.page, state=state, offset=offset, limit=limit
        )
        return [self._fresh(row) for row in rows], total

    async def sign(self, task_id: int, source_ip: str) -> None:
        """Note who asked for a task. It goes on without that, if nobody can write it down."""
        try:
            await self._database.write(queries.sign, task_id, source_ip)
        except DatabaseUnavailable as fault:
            self.log.error("Who asked for task {id}: {reason}", id=task_id, reason=fault.message)
        run = self._runs.get(task_id)
        if run is not None:
            run.row = evolve(run.row, source_ip=source_ip[:64])

    async def one(self, task_id: int) -> TaskRow:
        """
        Raises:
            NotFound: there is no such task.
        """
        return self._fresh(await self._database.read(queries.one_task, task_id))

    def under_way(self) -> list[TaskRow]:
        """The tasks that run here, without their figures."""
        return [evolve(run.row, processed=run.processed) for run in self._runs.values()]

    async def latest(self) -> TaskRow | None:
        """The task that runs; without one the last that ended within the last hour."""
        row = await self._database.read(queries.latest, self._clock.seconds() - SHOWN_S)
        return None if row is None else self._fresh(row)

    def _fresh(self, row: TaskRow) -> TaskRow:
        run = self._runs.get(row.id)
        return row if run is None or row.state != "running" else run.shown()

    async def _beat(self) -> None:
        try:
            for run in list(self._runs.values()):
                await self._renew(run)
            if self._beats % _SWEEP_BEATS == 0:
                await self._database.write(_sweep, self._clock.seconds())
            self._beats += 1
            self._job.succeeded(self._clock.seconds())
        except DatabaseUnavailable as error:
            # The leases last a while; the next beat comes in a second.
            self._job.failed(self._clock.seconds(), error)
        except Exception as error:  # a LoopingCall ends with its first unhandled error
            self._job.failed(self._clock.seconds(), error)
            self.log.failure("The leases of tasks can't be renewed")

    async def _renew(self, run: Run) -> None:
        found = await self._database.write(
            queries.renew,
            run.row.id,
            owner=self._owner,
            processed=run.processed,
            result=deepcopy(run.result),  # the work goes on meanwhile
            remainder=run.left(),
            now=self._clock.seconds(),
            lease_s=LEASE_S,
        )
        if found != "running" and run.row.id in self._runs:  # else it has ended meanwhile
            run.stopped = run.stopped or found


def _stopping() -> DatabaseUnavailable:
    return DatabaseUnavailable("The service is stopping", hint="Try again when it runs.")


def _sweep(connection: Any, now: float) -> None:
    queries.interrupt_orphans(connection, now)
    queries.drop_old(connection)
