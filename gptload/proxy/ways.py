"""How well each upstream is, as one egress reaches it for one group.

The rule of this file: it never refuses anybody. A way that is not well asks for others
to be preferred; whoever has no other goes there all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Final
from urllib.parse import urlsplit

from attrs import evolve

from gptload.core.breaker import Breaker, State
from gptload.core.outcome import Outcome, Scope, Verdict
from gptload.link.messages import BreakerMoved

# Models of one way that have a breaker of their own; faults of more count for the way.
_MODELS_LIMIT: Final = 64


class Way:
    """One upstream, one egress, one group.

    Attributes:
        name: as messages, records and the API spell it; without any password.
        breaker: of the whole way.
        models: breakers of models that alone are not well.
        suspected: many keys failed alike here; until it is well again no verdict of
            here that could be the way's trouble is held against a key.
    """

    __slots__ = ("_moved", "breaker", "models", "name", "suspected")

    def __init__(self, name: str, moved: Callable[[BreakerMoved], None]) -> None:
        self.name = name
        self.breaker = Breaker()
        self.models: dict[str, Breaker] = {}
        self.suspected = False
        self._moved = moved

    def rehearsed(self) -> Way:
        """Another one that is as well as this one is, and of whose moves nobody hears."""
        copy = Way(self.name, lambda moved: None)
        copy.breaker, copy.models = deepcopy(self.breaker), deepcopy(self.models)
        copy.suspected = self.suspected
        return copy

    def prefers_others(self, model: str, now: float) -> bool:
        """Whether an attempt should go elsewhere if it can."""
        if self.models and (own := self.models.get(model)) is not None:
            state = own.state
            shuns = own.prefers_others(now)
            self._tell_if(own.state is not state, own, model, now)
            if shuns:
                return True
        breaker = self.breaker
        if breaker.state is State.CLOSED:
            return False
        state = breaker.state
        shuns = breaker.prefers_others(now)
        self._tell_if(breaker.state is not state, breaker, "", now)
        return shuns

    def trying(self, model: str, now: float) -> int:
        """An attempt goes here.

        Returns:
            The generation; it comes back with the attempt's result.
        """
        # Hot: once an attempt.
        breaker = self.breaker
        if breaker.state is not State.CLOSED:
            breaker.trying(now)
        if not self.models or (own := self.models.get(model)) is None:
            return breaker.generation
        own.trying(now)
        return breaker.generation + own.generation

    def succeeded(self, key_id: int, model: str, now: float, generation: int) -> None:
        """An attempt got a good answer."""
        # Hot: once a request.
        breaker = self.breaker
        if self.suspected:
            # One good answer ends a suspicion: a way that refuses all refuses this too.
            self.suspected = False
            if breaker.close(now):
                self._tell(breaker, "", now)
        if self.models and model in self.models:
            self._each(lambda one, known: one.succeeded(key_id, now, known), model, now, generation)
        elif breaker.succeeded(key_id, now, generation):
            self._tell(breaker, "", now)

    def answered(self, model: str, now: float, generation: int) -> None:
        """An attempt got an answer that is no fault of the upstream's."""
        self._each(lambda one, known: one.answered(now, known), model, now, generation)

    def _each(
        self, tell: Callable[[Breaker, int], bool], model: str, now: float, generation: int
    ) -> None:
        breaker, own = self.breaker, self.models.get(model)
        fresh = generation == breaker.generation + (own.generation if own else 0)
        if own is not None and tell(own, own.generation if fresh else -1):
            self._tell(own, model, now)
            if own.state is State.CLOSED:
                del self.models[model]
        if tell(breaker, breaker.generation if fresh else -1):
            self._tell(breaker, "", now)

    def failed(self, verdict: Verdict, model: str, now: float, generation: int) -> None:
        """An attempt ended with a fault of the upstream."""
        wait_s = None if verdict.rest_until is None else verdict.rest_until - now
        own = self.models.get(model)
        fresh = generation == self.breaker.generation + (own.generation if own else 0)
        breaker, about = self.breaker, ""
        if verdict.scope is Scope.UPSTREAM_MODEL and model:
            if own is None and len(self.models) >= _MODELS_LIMIT:
                self.models = {
                    name: one for name, one in self.models.items() if one.state is not State.CLOSED
                }
            if own is None and len(self.models) < _MODELS_LIMIT:
                own = self.models[model] = Breaker()
            if own is not None:
                breaker, about = own, model
        if breaker.failed(now, breaker.generation if fresh else -1, verdict.reason, wait_s):
            self._tell(breaker, about, now)

    def suspect(self, now: float, reason: str, *, sure: bool) -> None:
        """The ledger found that many keys fail alike here.

        Args:
            sure: open the breaker at once. Otherwise the faults that follow count as usual.
        """
        self.suspected = True
        if sure and self.breaker.trip(now, reason):
            self._tell(self.breaker, "", now)

    def forgotten(self) -> None:
        """No group uses it any more: nobody must be told for ever that it isn't well."""
        if self.breaker.state is not State.CLOSED:
            at = self.breaker.changed_at or 0.0
            self._moved(BreakerMoved(self.name, State.CLOSED, at, None, ""))

    def judged(self, verdict: Verdict) -> Verdict:
        """The verdict as it counts here: what may be the way's trouble is, while it's suspected."""
        if not (self.suspected and verdict.signature):
            return verdict
        return evolve(verdict, outcome=Outcome.UPSTREAM_FAULT, scope=Scope.EGRESS, rest_until=None)

    def _tell_if(self, moved: bool, breaker: Breaker, model: str, now: float) -> None:
        if moved:
            self._tell(breaker, model, now)

    def _tell(self, breaker: Breaker, model: str, now: float) -> None:
        if breaker is self.breaker and breaker.state is State.CLOSED:
            self.suspected = False
        name = f"{self.name} model {model}" if model else self.name
        self._moved(BreakerMoved(name, breaker.state, now, breaker.retry_at, breaker.reason))


def name_of(group_id: int, url: str, proxy: str) -> str:
    """A way's name: group, base URL without its query, and the outbound proxy's address."""
    shown = url.partition("?")[0].rstrip("/")
    if not proxy:
        return f"{group_id} {shown}"
    parts = urlsplit(proxy)
    return f"{group_id} {shown} via {parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(
        ":"
    )
