"""Who may serve now."""

from __future__ import annotations

from collections.abc import Container
from heapq import heappop, heappush
from typing import Final

from attrs import define, field

from gptload.core.balance import Rotation
from gptload.core.keystate import State

# Rests that end are noticed so many a pick: when half a million keys wake at midnight,
# none of the picks that follow may pay for all of them.
_WAKES_A_PICK: Final = 64


@define(eq=False)
class PoolKey:
    """A pool key as data planes need it. Its pool alone changes it.

    Attributes:
        secret: the key itself, in plain bytes: it goes into a field or a query.
        strikes: rejections in a row so far, as the ledger last said.
        until: epoch seconds of a rest's end, for RESTING.
        rests: epoch seconds by model: rests that are about one model alone.
        account: the provider's id of its account; "" as long as nobody has seen it.
    """

    id: int
    secret: bytes = field(repr=False)
    weight: int = 1
    state: State = State.ACTIVE
    strikes: int = 0
    until: float | None = None
    rests: dict[str, float] = field(factory=dict)
    account: str = ""


class KeyPool:
    """The keys of one group, as one data plane sees them.

    Only keys that may serve are in the rotation. A key that rests is out of it until
    its alarm; alarms are looked at when somebody asks for a key, so nothing ticks
    while nobody does.
    """

    def __init__(self) -> None:
        self._keys: dict[int, PoolKey] = {}
        self._turns: Rotation[int] = Rotation()
        # (epoch seconds, key id); one that no longer fits its key's `until` is stale.
        self._alarms: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def count(self, state: State) -> int:
        """How many keys are in that state."""
        return sum(key.state is state for key in self._keys.values())

    def add(self, key: PoolKey) -> None:
        """Take a key up, in the state that it brings; one of the same id is replaced."""
        before = self._keys.get(key.id)
        if before is not None and before.weight != key.weight:
            self._turns.remove(key.id)
        self._keys[key.id] = key
        self._place(key)

    def remove(self, key_id: int) -> None:
        """The key is gone: it is never picked again."""
        if self._keys.pop(key_id, None) is not None:
            self._turns.remove(key_id)

    def change(self, key_id: int, state: State, strikes: int, until: float | None) -> None:
        """What the ledger says, and so it is: this may end or shorten a rest."""
        key = self._keys.get(key_id)
        if key is None:
            return  # deleted meanwhile
        key.state, key.strikes, key.until = state, strikes, until
        self._place(key)

    def hold(self, key_id: int, until: float) -> None:
        """Pass a key over until then, before the ledger has spoken. Never shortens a rest."""
        key = self._keys.get(key_id)
        if key is None or key.state not in (State.ACTIVE, State.RESTING):
            return
        if key.state is State.RESTING and (key.until is None or key.until >= until):
            return
        key.state, key.until = State.RESTING, until
        self._place(key)

    def pick(self, now: float, tried: Container[int] = ()) -> PoolKey | None:
        """The key whose turn it is; None when nobody may serve.

        Args:
            now: epoch seconds: rests end by it.
            tried: ids that this exchange must not use again. They keep their turn.
        """
        # Hot: once an attempt.
        alarms = self._alarms
        while True:
            due = _WAKES_A_PICK
            while alarms and alarms[0][0] <= now and due:
                self._wake(*heappop(alarms))
                due -= 1
            key_id = self._turns.pick(tried)
            if key_id is not None:
                return self._keys[key_id]
            if due:
                return None

    def wakes_at(self) -> float | None:
        """Epoch seconds at which the first resting key comes back; None when none rests."""
        alarms = self._alarms
        while alarms and not self._fits(*alarms[0]):
            heappop(alarms)
        return alarms[0][0] if alarms else None

    def _place(self, key: PoolKey) -> None:
        if key.state is State.ACTIVE:
            if key.id not in self._turns:
                self._turns.add(key.id, key.weight)
            return
        self._turns.remove(key.id)
        if key.state is State.RESTING and key.until is not None:
            heappush(self._alarms, (key.until, key.id))

    def _fits(self, until: float, key_id: int) -> bool:
        key = self._keys.get(key_id)
        return key is not None and key.state is State.RESTING and key.until == until

    def _wake(self, until: float, key_id: int) -> None:
        if self._fits(until, key_id):
            key = self._keys[key_id]
            key.state, key.until = State.ACTIVE, None
            self._place(key)
