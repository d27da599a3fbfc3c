"""How it goes right now, from counters in memory: a frame a second for whoever looks.

The data plane tells of each record as it is made; nothing here waits for the journal or
the database, so the figures move while those are away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gptload.control.breakers import Breakers
from gptload.control.db.queries.tasks import TaskRow
from gptload.control.loop import Loop
from gptload.core.breaker import State
from gptload.core.errors import GptloadError
from gptload.core.histogram import Histogram
from gptload.core.record import AttemptRecord
from gptload.core.usage import parse
from gptload.link.messages import KeysAdded, KeysRemoved, KeyStateChanged

TICK_S: Final = 1.0
WINDOW_S: Final = 10.0
"""Rates and percentiles are of about so long."""

MOST_LISTENERS: Final = 100
MOST_KEYS: Final = 500
"""Keys of one group that are told of in one tick; more are not."""

TAILED: Final = 50
"""Attempts of one tick that are told; the others are counted."""

# Of one second, for percentiles; more are counted, and not looked at.
_MOST_DURATIONS: Final = 20_000
# Of one second, for tokens; they are read while somebody looks. More make an estimate.
_MOST_USAGES: Final = 1000


class TooManyListeners(GptloadError):
    """More live streams than anybody needs."""

    status = 503
    code = "TOO_MANY_LISTENERS"
    hint = "Close some dashboards, or ask /api/stats/summary every few seconds."


@frozen
class Tail:
    """Attempts that ended in one tick, the oldest first.

    Attributes:
        skipped: how many more there were.
    """

    records: tuple[AttemptRecord, ...]
    skipped: int


@frozen
class MovedKeys:
    """What happened to keys of a group in one tick.

    Attributes:
        states: the last state of each key that has a new one; no more than `MOST_KEYS`.
        is_all: whether that is all; else look at the group again.
    """

    group_id: int
    states: tuple[KeyStateChanged, ...]
    is_all: bool


News = Callable[[str, Any], None]
"""Takes a topic and what is new: `tasks` and the rows that run, `keys` and a `MovedKeys`,
`logs` and a `Tail`."""


@define
class _Listener:
    """Whoever listens.

    Attributes:
        tasks: as they were last told.
    """

    told: Callable[[dict[str, Any]], None]
    topics: frozenset[str]
    news: News | None
    ended: Deferred[None]
    tasks: tuple[TaskRow, ...] | None = None


@frozen
class _Second:
    """What ended in one tick.

    Attributes:
        began: monotonic seconds.
        tokens: put in and out; None while nobody looked.
    """

    began: float
    requests: int
    succeeded: int
    retried: int
    durations: Histogram
    tokens: int | None


@define
class _Moved:
    """As `MovedKeys`, while the tick goes on."""

    states: dict[int, KeyStateChanged] = field(factory=dict)
    is_all: bool = True


class Live(Service):
    """Counts by the second, and tells its listeners after each."""

    def __init__(
        self,
        clock: IReactorTime,
        ticks: Callable[[], float],
        breakers: Breakers,
        version: str,
        under_way: Callable[[], int],
        tasks: Callable[[], Sequence[TaskRow]] = lambda: (),
    ) -> None:
        """
        Args:
            ticks: monotonic seconds.
            under_way: how many exchanges there are at this moment.
            tasks: long work that runs.
        """
        self._under_way = under_way
        self._tasks = tasks
        self._clock = clock
        self._ticks = ticks
        self._breakers = breakers
        self._version = version
        self._node_began = self._began = ticks()
        self._seconds: deque[_Second] = deque(maxlen=round(WINDOW_S / TICK_S))
        self._durations: list[int] = []
        self._usages: list[str] = []
        self._told_usages = 0
        self._requests = self._succeeded = self._retried = 0
        self._listeners: list[_Listener] = []
        self._tailed = False  # whether anybody wants to hear of single attempts
        self._tail: list[AttemptRecord] = []
        self._tail_skipped = 0
        self._watched: frozenset[int] = frozenset()  # groups whose keys somebody looks at
        self._moved: dict[int, _Moved] = {}
        self._loop = Loop(clock, self._tick)

    def startService(self) -> None:
        """Begin to count by the second."""
        Service.startService(self)
        self._loop.start(TICK_S)

    def stopService(self) -> Deferred[bool]:
        """Count no more."""
        Service.stopService(self)
        self.release()
        return Deferred.fromCoroutine(self._loop.stop())

    def noted(self, records: Iterable[AttemptRecord]) -> None:
        """Attempts have ended."""
        # Hot: once a reactor turn. Nothing but counting; the histogram is made in the tick.
        if self._tailed:
            records = list(records)
            room = TAILED - len(self._tail)
            self._tail += records[:room]
            self._tail_skipped += max(0, len(records) - room)
        for record in records:
            if record.usage:
                self._told_usages += 1
                if len(self._usages) < _MOST_USAGES:
                    self._usages.append(record.usage)
            if not record.is_final:
                self._retried += 1
                continue
            self._requests += 1
            if record.outcome == "ok":
                self._succeeded += 1
            if len(self._durations) < _MOST_DURATIONS:
                self._durations.append(record.total_ms)

    def key_changed(self, change: object) -> None:
        """The ledger tells all pools of a change; so it tells here."""
        if isinstance(change, KeyStateChanged):
            if change.group_id not in self._watched:
                return
            moved = self._moved.setdefault(change.group_id, _Moved())
            if change.key_id in moved.states or len(moved.states) < MOST_KEYS:
                moved.states[change.key_id] = change
            else:
                moved.is_all = False
        elif isinstance(change, KeysAdded | KeysRemoved) and change.group_id in self._watched:
            self._moved.setdefault(change.group_id, _Moved()).is_all = False

    def listen(
        self,
        told: Callable[[dict[str, Any]], None],
        topics: Collection[str] = (),
        news: News | None = None,
    ) -> Deferred[None]:
        """Tell somebody of each second from now on, and at once of the last ones.

        Args:
            told: called with each frame.
            topics: what else to tell: `tasks`, `logs`, `keys:7` for those of group 7.
            news: called with that.

        Returns:
            Fires when there will be no more; to cancel it is to stop listening.

        Raises:
            TooManyListeners: so many listen already.
        """
        if len(self._listeners) >= MOST_LISTENERS:
            raise TooManyListeners(
                f"{MOST_LISTENERS} live streams are open already", retry_after_s=30.0
            )

        def forget(_: object) -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)
                self._look_around()

        listener = _Listener(told, frozenset(topics), news, Deferred(forget))
        self._listeners.append(listener)
        self._look_around()
        told(self.frame())
        self._tell_tasks(listener)
        return listener.ended

    def _look_around(self) -> None:
        """Note what anybody wants to hear of: nothing else is collected."""
        topics = {topic for listener in self._listeners for topic in listener.topics}
        self._tailed = "logs" in topics
        self._watched = frozenset(
            int(topic.removeprefix("keys:")) for topic in topics if topic.startswith("keys:")
        )

    def _tell_tasks(self, listener: _Listener) -> None:
        if listener.news is None or "tasks" not in listener.topics:
            return
        running = tuple(self._tasks())
        if running != listener.tasks:
            listener.tasks = running
            listener.news("tasks", running)

    def release(self) -> None:
        """Let all listeners go: their streams would hold up the end of the service."""
        listeners, self._listeners = self._listeners, []
        self._look_around()
        for listener in listeners:
            listener.ended.callback(None)

    async def _tick(self) -> None:
        durations = Histogram()
        for duration in self._durations:
            durations.add(duration)
        second = _Second(
            self._began,
            self._requests,
            self._succeeded,
            self._retried,
            durations,
            self._tokens() if self._listeners else None,
        )
        self._seconds.append(second)
        self._durations = []
        self._usages = []
        self._told_usages = 0
        self._requests = self._succeeded = self._retried = 0
        self._began = self._ticks()
        tail, self._tail = Tail(tuple(self._tail), self._tail_skipped), []
        self._tail_skipped = 0
        moved, self._moved = self._moved, {}
        if not self._listeners:
            return
        frame = self.frame()
        for listener in list(self._listeners):
            listener.told(frame)
            self._tell_tasks(listener)
            if listener.news is None:
                continue
            if tail.records and "logs" in listener.topics:
                listener.news("logs", tail)
            for group_id, keys in moved.items():
                if f"keys:{group_id}" in listener.topics:
                    states = tuple(keys.states.values())
                    listener.news("keys", MovedKeys(group_id, states, keys.is_all))

    def _tokens(self) -> int:
        """Of this tick's attempts; what is too many to be read counts as what was read."""
        total = 0
        for said in self._usages:
            usage = parse(said)
            if usage is not None:
                total += (usage.input or 0) + (usage.output or 0)
        return round(total * self._told_usages / len(self._usages)) if self._usages else 0

    def frame(self) -> dict[str, Any]:
        """The last seconds and this moment, small enough to be sent every second."""
        whole = Histogram()
        for second in self._seconds:
            whole.merge(second.durations)
        requests = sum(second.requests for second in self._seconds)
        succeeded = sum(second.succeeded for second in self._seconds)
        # By the time that has passed, not by the number of ticks: one of them may come late.
        passed = self._began - self._seconds[0].began if self._seconds else 0.0
        opened = sum(moved.state is State.OPEN for moved in self._breakers.listed())
        return {
            "at": round(self._clock.seconds() * 1000),
            "window_s": round(passed, 3),
            "requests": requests,
            "requests_per_s": round(requests / passed, 2) if passed > 0 else 0.0,
            "tokens_per_s": self._tokens_per_s(),
            "success_rate": succeeded / requests if requests else None,
            "retried": sum(second.retried for second in self._seconds),
            "p50_ms": whole.percentile(0.5),
            "p95_ms": whole.percentile(0.95),
            "under_way": self._under_way(),
            "breakers_open": opened,
            "task": _task(self._tasks()),
            "node": {
                "state": "running" if self.running else "stopping",
                "version": self._version,
                "uptime_s": round(self._ticks() - self._node_began, 1),
            },
        }

    def _tokens_per_s(self) -> float | None:
        """Over the seconds in which somebody looked; None before the first of them."""
        begins = [second.began for second in self._seconds]
        total, passed = 0, 0.0
        for second, end in zip(self._seconds, [*begins, self._began][1:], strict=True):
            if second.tokens is not None:
                total += second.tokens
                passed += end - second.began
        return round(total / passed, 2) if passed > 0 else None


def _task(running: Sequence[TaskRow]) -> dict[str, Any] | None:
    """The first of the tasks that run, and how many there are."""
    if not running:
        return None
    first = running[0]
    return {
        "id": first.id,
        "kind": first.kind,
        "group_name": first.group_name,
        "processed": first.processed,
        "total": first.total,
        "running": len(running),
    }
