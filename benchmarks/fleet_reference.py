"""GPT-Load's documented policy, played against the same world.

From the behaviour that its documentation and version 1.4.9 show: one rotation without
weights or rests; any status from 400 up but 404 is a failure of the key, and so is a
connection that fails; failures only add up; at the threshold the key is out; retries
follow at once, whoever was to blame; a job tests invalid keys once an hour. It is a
simulation of the policy, without its transport: no time of its own is charged.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from twisted.internet.task import Clock

from benchmarks.fleet_replies import Reply
from benchmarks.fleet_world import HOSTS, MODELS, PROBE, START, Call, Key, World

# Its defaults.
BLACKLIST_THRESHOLD: Final = 3
VALIDATION_INTERVAL_S: Final = 3600.0
VALIDATION_CONCURRENCY: Final = 10
VALIDATION_TICK_S: Final = 300.0

# Texts that it knows not to be the key's fault.
_UNCOUNTED: Final = (b"resource has been exhausted", b"please reduce the length of the messages")


class _Pool:
    """The keys of one group."""

    def __init__(self, keys: list[Key]) -> None:
        self.active = deque(keys)
        self.invalid: dict[int, Key] = {}
        self.failures: Counter[int] = Counter()
        self.validated_at: float | None = None
        self.is_validating = False
        self._turn = 0

    def rotate(self) -> Key | None:
        if not self.active:
            return None
        self.active.rotate(1)
        return self.active[0]

    def next_host(self) -> str:
        self._turn = (self._turn + 1) % len(HOSTS)
        return HOSTS[self._turn]


class Reference:
    """Sends calls as GPT-Load would.

    Args:
        max_retries: its setting of that name.

    Attributes:
        clock: moved by whoever runs the night; it begins with it.
    """

    def __init__(self, world: World, max_retries: int) -> None:
        self._max_retries = max_retries
        self.clock = Clock()
        self._world = world
        self._pools = {
            api: _Pool([key for key in world.keys.values() if key.account.api == api])
            for api in MODELS
        }
        self._validate()

    def now(self) -> float:
        """Epoch seconds."""
        return START + self.clock.seconds()

    def serve(self, call: Call, ended: Callable[[bool, float], None]) -> None:
        """Have a call answered.

        Args:
            ended: hears whether by a success, and when the last attempt began.
        """
        self._attempt(call, ended, 0)

    def _attempt(self, call: Call, ended: Callable[[bool, float], None], made: int) -> None:
        pool = self._pools[call.api]
        key = pool.rotate()
        if key is None:
            ended(False, self.now())
            return
        began = self.now()
        after_s, reply = self._world.attempt(call, key, pool.next_host(), began)

        def answered() -> None:
            if reply.reset:
                ended(False, began)  # taken for a client that went away: 200, and no body
            elif not _has_failed(reply):
                ended(reply.status < 400, began)
            else:
                self._failed(pool, key, reply)
                if made < self._max_retries:
                    self._attempt(call, ended, made + 1)
                else:
                    ended(False, began)

        self.clock.callLater(after_s, answered)

    def _failed(self, pool: _Pool, key: Key, reply: Reply) -> None:
        text = reply.body.lower()
        if key.id in pool.invalid or any(words in text for words in _UNCOUNTED):
            return
        pool.failures[key.id] += 1
        if pool.failures[key.id] >= BLACKLIST_THRESHOLD:
            pool.active.remove(key)
            pool.invalid[key.id] = key
            self._world.held_invalid(key.id, self.now())

    # The job that tests invalid keys.

    def _validate(self) -> None:
        for api, pool in self._pools.items():
            due = pool.validated_at is None or (
                self.now() >= pool.validated_at + VALIDATION_INTERVAL_S
            )
            if due and not pool.is_validating:
                pool.is_validating = True
                waiting = deque(pool.invalid.values())
                workers = [VALIDATION_CONCURRENCY]
                for _ in range(VALIDATION_CONCURRENCY):
                    self._test_next(api, pool, waiting, workers)
        self.clock.callLater(VALIDATION_TICK_S, self._validate)

    def _test_next(self, api: str, pool: _Pool, waiting: deque[Key], workers: list[int]) -> None:
        if not waiting:
            workers[0] -= 1
            if not workers[0]:
                pool.validated_at = self.now()
                pool.is_validating = False
            return
        key = waiting.popleft()
        call = Call(PROBE, self.now(), api, MODELS[api][0])
        after_s, reply = self._world.attempt(call, key, pool.next_host(), self.now())

        def tested() -> None:
            if reply.status == 200 and pool.invalid.pop(key.id, None) is not None:
                pool.failures[key.id] = 0
                pool.active.appendleft(key)
                self._world.held_valid(key.id)
            self._test_next(api, pool, waiting, workers)

        self.clock.callLater(after_s, tested)


def _has_failed(reply: Reply) -> bool:
    return not reply.status or (reply.status >= 400 and reply.status != 404)
