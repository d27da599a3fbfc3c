"""What this data plane has done since its start, in plain numbers.

Bounded: groups are those that exist or did, and models beyond a bound count as `other`,
because clients choose their names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from gptload.core.histogram import Histogram
from gptload.core.record import AttemptRecord
from gptload.proxy.trace import NAMES

MODELS: Final = 200
OTHER: Final = "other"


class GroupCounts:
    """One group's numbers.

    Attributes:
        attempts: by outcome.
        requests: by the outcome of the attempt whose answer the client got.
        total: from the client's request to the end of its answer.
        first_byte: from an attempt's begin to the first byte of its response.
        first_token: from there to the first content, of streams.
    """

    __slots__ = ("attempts", "first_byte", "first_token", "requests", "total")

    def __init__(self) -> None:
        self.attempts = dict.fromkeys(NAMES, 0)
        self.requests = dict.fromkeys(NAMES, 0)
        self.total = Histogram()
        self.first_byte = Histogram()
        self.first_token = Histogram()


class Counters:
    """All groups' numbers.

    Attributes:
        groups: by id; 0 is what was refused before a group was found.
        models: attempts by outcome, by model; `other` for all models past the bound, ""
            for what named none.
    """

    def __init__(self) -> None:
        self.groups: dict[int, GroupCounts] = {}
        self.models: dict[str, dict[str, int]] = {}

    def count(self, records: Iterable[AttemptRecord]) -> None:
        """More attempts, or requests that never became one."""
        # Hot: once a reactor turn; benchmarks/counters.py prices a record.
        for record in records:
            outcome = record.outcome
            group = self.groups.get(record.group_id)
            if group is None:
                group = self.groups[record.group_id] = GroupCounts()
            group.attempts[outcome] += 1
            model = self.models.get(record.model)
            if model is None:
                model = self._model(record.model)
            model[outcome] += 1
            first_byte_ms = record.first_byte_ms
            if first_byte_ms is not None:
                group.first_byte.add(first_byte_ms)
            first_token_ms = record.first_token_ms
            if first_token_ms is not None:
                group.first_token.add(first_token_ms)
            if record.is_final:
                group.requests[outcome] += 1
                group.total.add(record.total_ms)

    def _model(self, name: str) -> dict[str, int]:
        if len(self.models) >= MODELS:
            name = OTHER
        return self.models.setdefault(name, dict.fromkeys(NAMES, 0))

    def keep(self, group_ids: Collection[int]) -> None:
        """Forget groups that are gone; an id never comes back."""
        for gone in self.groups.keys() - {0, *group_ids}:
            del self.groups[gone]
