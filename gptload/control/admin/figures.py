"""Tallies for people: what can't be known is null and never 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from gptload.control.spending import KINDS, Spending
from gptload.control.statistics import Tally
from gptload.core.histogram import BUCKETS, bounds_of, mean_of_slowest, percentiles


@frozen
class Distribution:
    """One of the times that people ask about.

    Attributes:
        counts: a tally's histogram of it.
        per_ms: how many of the histogram's whole numbers are a millisecond.
    """

    counts: Callable[[Tally], Mapping[int, int]]
    per_ms: int = 1

    def percentiles(self, counts: Mapping[int, int]) -> dict[str, Any]:
        """Three of them and the mean of the slowest 5 %, in milliseconds; and of how many."""
        half, most, nearly_all = percentiles(counts, (0.5, 0.95, 0.99))
        return {
            "count": sum(counts.values()),
            "p50_ms": self._ms(half),
            "p95_ms": self._ms(most),
            "p99_ms": self._ms(nearly_all),
            "slowest_ms": self._ms(mean_of_slowest(counts, 0.05)),
        }

    def bounds(self) -> list[tuple[float | None, float | None]]:
        """Each bucket's least and greatest in milliseconds, both included."""
        bounds = (bounds_of(bucket) for bucket in range(BUCKETS))
        return [(self._ms(low), self._ms(high)) for low, high in bounds]

    def _ms(self, value: float | None) -> float | None:
        return value if value is None or self.per_ms == 1 else value / self.per_ms


DISTRIBUTIONS: Final[Mapping[str, Distribution]] = {
    "total": Distribution(lambda tally: tally.total_ms),
    "first_byte": Distribution(lambda tally: tally.first_byte_ms),
    "first_token": Distribution(lambda tally: tally.first_token_ms),
    "per_token": Distribution(lambda tally: tally.per_token_us, per_ms=1000),
}


def figures_json(tally: Tally, seconds: float) -> dict[str, Any]:
    """All that a tally says.

    Args:
        seconds: how long it is of.
    """
    outcomes: dict[str, int] = {}
    retried: dict[str, int] = {}
    for (final, outcome, _, _), count in tally.ends.items():
        counts = outcomes if final else retried
        counts[outcome] = counts.get(outcome, 0) + count
    times = {name: each.percentiles(each.counts(tally)) for name, each in DISTRIBUTIONS.items()}
    return {
        "requests": tally.requests,
        "succeeded": tally.succeeded,
        "failed": tally.requests - tally.succeeded,
        "success_rate": tally.succeeded / tally.requests if tally.requests else None,
        "requests_per_s": tally.requests / seconds if seconds > 0 else None,
        "attempts": tally.attempts,
        "retried": tally.attempts - tally.requests,
        "outcomes": outcomes,
        "retried_outcomes": retried,
        "latency": times.pop("total"),
        **times,
        **_spending_json(tally.spent),
    }


def _spending_json(spent: Spending) -> dict[str, Any]:
    """Tokens are null where no answer told of any, the cost where no price is known.

    `priced_share`: how much of the tokens the cost is of, from 0 to 1.
    """
    whole = spent.input + spent.output
    return {
        "tokens": {kind: getattr(spent, kind) for kind in KINDS} if spent.counted else None,
        "cost_nano_usd": spent.cost_nano if spent.priced else None,
        "attempts_with_usage": spent.counted,
        "attempts_priced": spent.priced,
        "priced_share": spent.priced_tokens / whole if whole else None,
    }
