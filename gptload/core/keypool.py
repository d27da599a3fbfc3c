"""Who may serve now."""

from __future__ import annotations

from collections.abc import Container, Iterable
from heapq import heappop, heappush
from typing import Final

from attrs import define, field

from gptload.core.balance import Either, Rotation
from gptload.core.blocks import BITS, Blocks
from gptload.core.keystate import State

# Rests that end are noticed so many a pick: when half a million keys wake at midnight,
# none of the picks that follow may pay for all of them.
_WAKES_A_PICK: Final = 64
# As long as so few keys rest for a model, they are skipped when their turn comes.
_FEW: Final = 64
# A model for which more of them rest gets a rotation of its own. The keys join it so
# many a pick or rest; all at once would hold up every stream for a tenth of a second.
_JOIN_A_CALL: Final = 128
# Each costs up to 160 bytes a key. For a further model many are skipped, which costs
# time now and then, but no key its work for other models.
_ROTATIONS: Final = 16
# A key that is limited for more models at once is limited. Names of models come from
# clients: without a bound one of them could fill the memory with rests.
_MODELS_A_KEY: Final = 32
# A search for the first key that comes back looks at so many that don't.
_LOOKED_AT: Final = 256


@define(eq=False)
class PoolKey:
    """A pool key as data planes need it. Its pool alone changes it.

    Attributes:
        secret: the key itself, in plain bytes: it goes into a field or a query.
        strikes: rejections in a row so far, as the ledger last said.
        until: epoch seconds of a rest's end, for RESTING.
        rests: epoch seconds by model: rests that are about one model alone.
        account: the provider's id of its account; "" as long as nobody has seen it.
        proven: it has had a good answer, as far as this data plane has seen.
    """

    id: int
    secret: bytes = field(repr=False)
    weight: int = 1
    state: State = State.ACTIVE
    strikes: int = 0
    until: float | None = None
    rests: dict[str, float] = field(factory=dict)
    account: str = ""
    proven: bool = False


_Alarm = tuple[float, int]
"""Epoch seconds and a key's id; one that no longer fits the key's rest is stale."""


class _Model:
    """One model, and who rests for it.

    Attributes:
        resting: ids of keys that rest for it, in whatever state they are otherwise.
        alarms: the ends of these rests.
        call: when its first alarm rings, as the pool knows it.
        turns: who may serve it, once many rest; until then the pool's turns are used.
        joining: ids of keys that have yet to join `turns`, the last one first.
    """

    __slots__ = ("alarms", "call", "joining", "resting", "turns")

    def __init__(self) -> None:
        self.resting: set[int] = set()
        self.alarms: list[_Alarm] = []
        self.call = float("inf")
        self.turns: Rotation[int] | None = None
        self.joining: list[int] = []


class KeyPool:
    """The keys of one group, as one data plane sees them.

    Only keys that may serve are in the rotation. A key that rests is out of it until
    its alarm; alarms are looked at when somebody asks for a key, so nothing ticks
    while nobody does. A key that rests for one model alone stays in the rotation, and
    requests for that model pass it over.
    """

    def __init__(self) -> None:
        self._keys: Blocks[int, PoolKey] = Blocks()
        self._turns: Rotation[int] = Rotation()
        self._alarms: list[_Alarm] = []
        # Models for which at least one key rests, and those of them with many.
        self._models: dict[str, _Model] = {}
        self._crowded: dict[str, _Model] = {}
        # (epoch seconds, model): when a model's first alarm rings. Stale if not its `call`.
        self._calls: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key_id: int) -> PoolKey | None:
        """A key in whatever state; None when there is none of that id."""
        return self._keys.get(key_id)

    def count(self, state: State) -> int:
        """How many keys are in that state."""
        return sum(key.state is state for key in self._keys.values())

    def serving(self) -> int:
        """How many keys take turns, rests for one model aside."""
        return len(self._turns)

    # What others say of keys.

    def add(self, key: PoolKey) -> None:
        """Take a key up, in the state that it brings; one of the same id is replaced."""
        before = self._keys.get(key.id)
        if before is not None:
            if before.weight != key.weight:
                self._take_out(key.id)
            for model in before.rests:
                self._forget(key.id, model)
        self._keys[key.id] = key
        self._place(key)
        rests, key.rests = key.rests, {}
        for model, until in rests.items():
            self._rest_for(key, model, until)

    def remove(self, key_id: int) -> None:
        """The key is gone: it is never picked again."""
        key = self._keys.pop(key_id)
        if key is not None:
            self._take_out(key_id)
            for model in key.rests:
                self._forget(key_id, model)

    def change(
        self,
        key_id: int,
        state: State,
        strikes: int,
        until: float | None,
        rests: Iterable[tuple[str, float]] = (),
        account: str | None = None,
    ) -> None:
        """What the ledger says, and so it is: this may end or shorten a rest.

        Args:
            rests: (model, epoch seconds) of all its rests that are about one model.
            account: the provider's id of its account; None leaves it as it is.
        """
        key = self._keys.get(key_id)
        if key is None:
            return  # deleted meanwhile
        was = key.state, key.until
        key.state, key.strikes, key.until = state, strikes, until
        if account is not None:
            key.account = account
        if was != (state, until):  # mostly it confirms a `hold`, whose alarm is set
            self._place(key)
        told = dict(rests)
        for model in key.rests.keys() - told.keys():
            self._end(key, model)
        for model, end in told.items():
            if key.rests.get(model) != end:
                self._rest_for(key, model, end)

    def hold(self, key_id: int, until: float, model: str = "") -> None:
        """Pass a key over until then, before the ledger has spoken. Never shortens a rest.

        Args:
            model: for requests of this model only; "" for all.
        """
        key = self._keys.get(key_id)
        if key is None or key.state not in (State.ACTIVE, State.RESTING):
            return
        if not model:
            self._rest(key, until)
        elif model not in key.rests or key.rests[model] < until:
            self._rest_for(key, model, until)

    # What a request asks.

    def pick(self, now: float, tried: Container[int] = (), model: str = "") -> PoolKey | None:
        """The key whose turn it is; None when nobody may serve.

        Args:
            now: epoch seconds: rests end by it.
            tried: ids that this exchange must not use again. They keep their turn.
            model: what the request asks for; "" when that is unknown.
        """
        # Hot: once an attempt.
        alarms, calls = self._alarms, self._calls
        while True:
            due = _WAKES_A_PICK
            while alarms and alarms[0][0] <= now and due:
                self._wake(*heappop(alarms))
                due -= 1
            while calls and calls[0][0] <= now and due:
                due = self._answer(*heappop(calls), now, due)
            asked = self._models.get(model)
            key_id = self._turns.pick(tried) if asked is None else self._pick_for(asked, tried)
            if key_id is not None:
                return self._keys.blocks[key_id >> BITS][key_id]
            if due:
                return None

    def peek(self, now: float, tried: Container[int] = (), model: str = "") -> PoolKey | None:
        """The key that `pick` would give now. It keeps its turn.

        Rests that are over end by it, as they would by the next pick.

        Args:
            now, tried, model: as for `pick`.
        """
        alarms, calls = self._alarms, self._calls
        while True:
            due = _WAKES_A_PICK
            while alarms and alarms[0][0] <= now and due:
                self._wake(*heappop(alarms))
                due -= 1
            while calls and calls[0][0] <= now and due:
                due = self._answer(*heappop(calls), now, due)
            asked = self._models.get(model)
            if asked is None:
                key_id = self._turns.peek(tried)
            elif asked.turns is None or asked.joining:
                key_id = self._turns.peek(Either(tried, asked.resting))
            else:
                key_id = asked.turns.peek(tried)
            if key_id is not None:
                return self._keys[key_id]
            if due:
                return None

    def resting_for(self, model: str) -> int:
        """How many keys rest for that model alone."""
        asked = self._models.get(model)
        return 0 if asked is None else len(asked.resting)

    def take(self, key_id: int, now: float, model: str = "") -> PoolKey | None:
        """This very key, whoever's turn it is; None when it may not serve now.

        It counts as its turn: those of its weight go first afterwards.
        """
        key = self._keys.get(key_id)
        if key is None:
            return None
        if key.state is State.RESTING and key.until is not None and key.until <= now:
            self._wake(key.until, key_id)
        if key.state is not State.ACTIVE:
            return None
        if model in key.rests:
            if key.rests[model] > now:
                return None
            self._end(key, model)
        crowded = self._crowded.get(model)
        turns = crowded.turns if crowded is not None else None
        (self._turns if turns is None else turns).yield_turn(key_id)
        return key

    def wakes_at(self, model: str = "") -> float | None:
        """When the first key that rests, wholly or for that model, may serve it again.

        Returns:
            Epoch seconds; None when none rests. It is never too late. It may be too
            early where hundreds of keys end one of two rests long before the other.
        """
        alarms = self._alarms
        while alarms and self._back(*alarms[0]) is None:
            heappop(alarms)
        if model not in self._models:
            return alarms[0][0] if alarms else None
        both = self._first_back(alarms, model), self._first_back(self._models[model].alarms, model)
        return min((time for time in both if time is not None), default=None)

    # Rests of a key itself.

    def _rest(self, key: PoolKey, until: float) -> None:
        if key.state is State.RESTING and (key.until is None or key.until >= until):
            return
        key.state, key.until = State.RESTING, until
        self._place(key)

    def _place(self, key: PoolKey) -> None:
        if key.state is State.ACTIVE:
            if key.id not in self._turns:
                self._turns.add(key.id, key.weight)
                for model in self._crowded.values():
                    if model.turns is not None and key.id not in model.resting:
                        model.turns.add(key.id, key.weight)
            return
        self._take_out(key.id)
        if key.state is State.RESTING and key.until is not None:
            heappush(self._alarms, (key.until, key.id))

    def _take_out(self, key_id: int) -> None:
        self._turns.remove(key_id)
        for model in self._crowded.values():
            if model.turns is not None:
                model.turns.remove(key_id)

    def _wake(self, until: float, key_id: int) -> None:
        key = self._keys.get(key_id)
        if key is not None and key.state is State.RESTING and key.until == until:
            key.state, key.until = State.ACTIVE, None
            self._place(key)

    # Rests for one model.

    def _rest_for(self, key: PoolKey, name: str, until: float) -> None:
        if name not in key.rests and len(key.rests) >= _MODELS_A_KEY:
            # Whole until the first of these rests ends: then there is room for the last.
            soonest = min(key.rests, key=key.rests.__getitem__)
            if key.state in (State.ACTIVE, State.RESTING):
                self._rest(key, min(until, key.rests[soonest]))
            if until <= key.rests[soonest]:
                return
            self._end(key, soonest)
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = _Model()
        key.rests[name] = until
        model.resting.add(key.id)
        heappush(model.alarms, (until, key.id))
        if until < model.call:
            model.call = until
            heappush(self._calls, (until, name))
        if model.turns is not None:
            model.turns.remove(key.id)
            self._join(model, model.turns)
        elif len(model.resting) > _FEW and len(self._crowded) < _ROTATIONS:
            self._crowded[name] = model
            model.turns = Rotation()
            model.joining = list(self._turns)
            model.joining.reverse()

    def _end(self, key: PoolKey, name: str) -> None:
        del key.rests[name]
        self._forget(key.id, name)

    def _forget(self, key_id: int, name: str) -> None:
        """The key's rest for the model is over, or the key is."""
        self._turns.forgo(key_id)  # who rested gets no more than the others
        model = self._models[name]
        model.resting.discard(key_id)
        if not model.resting:
            del self._models[name]
            self._crowded.pop(name, None)
        elif model.turns is not None and key_id in self._turns:
            model.turns.add(key_id, self._keys[key_id].weight)

    def _pick_for(self, model: _Model, tried: Container[int]) -> int | None:
        if model.turns is not None:
            if not model.joining:
                return model.turns.pick(tried)
            self._join(model, model.turns)
        return self._turns.pick(Either(tried, model.resting) if tried else model.resting)

    def _join(self, model: _Model, turns: Rotation[int]) -> None:
        coming = model.joining[: -_JOIN_A_CALL - 1 : -1]
        del model.joining[-_JOIN_A_CALL:]
        for key_id in coming:
            if key_id in self._turns and key_id not in turns and key_id not in model.resting:
                turns.add(key_id, self._keys[key_id].weight)

    def _answer(self, call: float, name: str, now: float, due: int) -> int:
        """End rests of a model that are over, `due` at most; how many more may be."""
        model = self._models.get(name)
        if model is None or model.call != call:
            return due
        alarms = model.alarms
        while alarms and alarms[0][0] <= now and due:
            until, key_id = heappop(alarms)
            key = self._keys.get(key_id)
            if key is not None and key.rests.get(name) == until:
                self._end(key, name)
            due -= 1
        if alarms:
            model.call = alarms[0][0]
            heappush(self._calls, (model.call, name))
        return due

    # When they end.

    def _back(self, until: float, key_id: int, model: str = "") -> float | None:
        """When the key of an alarm may serve the model; None when the alarm is stale."""
        key = self._keys.get(key_id)
        if key is None or key.state not in (State.ACTIVE, State.RESTING):
            return None
        rest = key.rests.get(model, 0.0)
        whole = 0.0 if key.state is State.ACTIVE else key.until
        if whole is None or until not in (rest, whole):
            return None
        return max(rest, whole)

    def _first_back(self, alarms: list[_Alarm], model: str) -> float | None:
        """The earliest `_back` of a heap of alarms.

        It goes down the heap from its root, earliest alarm first, and stops where no
        alarm can be earlier than what it has found.
        """
        first: float | None = None
        ahead = [(alarms[0], 0)] if alarms else []
        for _ in range(_LOOKED_AT):
            if not ahead:
                return first
            (until, key_id), place = heappop(ahead)
            if first is not None and until >= first:
                return first
            back = self._back(until, key_id, model)
            if back is not None and (first is None or back < first):
                first = back
            for below in (2 * place + 1, 2 * place + 2):
                if below < len(alarms):
                    heappush(ahead, (alarms[below], below))
        unseen = [entry[0][0] for entry in ahead[:1]]
        return min(unseen if first is None else [*unseen, first], default=None)
