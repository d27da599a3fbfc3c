"""Refusals that may be their keys' fault or the request's: another key must tell first."""

from __future__ import annotations

from gptload.core.outcome import Outcome, Verdict
from gptload.proxy.blame import Ended, charge, is_unclear
from gptload.proxy.plane import Plane
from gptload.proxy.search import Search


class Doubts:
    """One exchange's, and whom they are held against in the end.

    Args:
        model: what the request asks for; "" when it names none.
        exchange_id: what the events about keys name.
    """

    __slots__ = ("_exchange_id", "_held", "_model", "_plane")

    def __init__(self, plane: Plane, model: str, exchange_id: str) -> None:
        self._plane = plane
        self._model = model
        self._exchange_id = exchange_id
        self._held: list[tuple[Ended, Verdict]] = []

    def judge(self, attempt: Ended, verdict: Verdict, search: Search) -> Verdict:
        """Charge what is clear, and keep the rest.

        Args:
            search: knows whether an upstream is left that might say something else.

        Returns:
            The verdict; another one when it has shown that the request is to blame.
        """
        if not is_unclear(verdict):
            self.believe(alone=True)
            charge(self._plane, attempt, verdict, self._model, self._exchange_id)
            return verdict
        alike = any(known.signature == verdict.signature for _, known in self._held)
        if alike and not search.has_other_way(attempt.choice):
            # Two keys, and the same words wherever we ask: it's what is asked for.
            self._held.clear()
            attempt.choice.destination.way.answered(
                self._model, self._plane.seconds(), attempt.generation
            )
            return Verdict(Outcome.REQUEST_FAULT, reason=verdict.reason, account=verdict.account)
        self._held.append((attempt, verdict))
        return verdict

    def believe(self, *, alone: bool) -> None:
        """Hold them against their keys.

        Args:
            alone: only one that no other key's has confirmed: several may be the request's.
        """
        held, self._held = self._held, []
        if not (alone and len(held) > 1):
            for attempt, verdict in held:
                charge(self._plane, attempt, verdict, self._model, self._exchange_id)
