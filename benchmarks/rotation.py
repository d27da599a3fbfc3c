"""What it costs to choose a key: `KeyPool.pick` beside `itertools.cycle`, the cheapest turn.

Run by `make bench`, or alone: `python -m benchmarks.rotation`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from statistics import median
from typing import Final

from gptload.core.keypool import KeyPool, PoolKey

SIZES: Final = (10, 1_000, 100_000)
_PICKS: Final = 20_000
_ROUNDS: Final = 7


def pool(size: int, weight: Callable[[int], int]) -> KeyPool:
    """A pool of active keys."""
    made = KeyPool()
    for number in range(size):
        made.add(PoolKey(number, b"sk-bench-%d" % number, weight(number)))
    return made


def ns_a_call(call: Callable[[], object]) -> float:
    """Nanoseconds of CPU for one of many calls."""
    turns = itertools.repeat(None, _PICKS)
    began = time.process_time_ns()
    for _ in turns:
        call()
    return (time.process_time_ns() - began) / _PICKS


def compare(picks: Callable[[], object], size: int) -> tuple[float, float]:
    """Median cost of a pick in nanoseconds, and its median ratio to the reference's."""
    cycle = itertools.cycle(range(size))
    reference = cycle.__next__
    rounds = [(ns_a_call(picks), ns_a_call(reference)) for _ in range(_ROUNDS)]
    return median(cost for cost, _ in rounds), median(cost / other for cost, other in rounds)


def main() -> None:
    """Print one line a case."""
    now = 1_000.0
    for title, weight in (("equal", lambda _: 1), ("unequal", lambda number: 1 + number % 7)):
        for size in SIZES:
            keys = pool(size, weight)
            cost, ratio = compare(lambda keys=keys: keys.pick(now), size)  # type: ignore[misc]
            print(
                f"KeyPool.pick, {size:,} keys of {title} weight: "
                f"{cost / 1000:.2f} µs, {ratio:.0f}x itertools.cycle"
            )
    size = SIZES[-1]
    for resting in (64, size * 9 // 10):
        keys = pool(size, lambda _: 1)
        for number in range(resting):
            keys.hold(number, now + 60.0, "a-model")
        cost, ratio = compare(lambda keys=keys: keys.pick(now, (), "a-model"), size)  # type: ignore[misc]
        print(
            f"KeyPool.pick, {size:,} keys of which {resting:,} rest for the model: "
            f"{cost / 1000:.2f} µs, {ratio:.0f}x itertools.cycle"
        )


if __name__ == "__main__":
    main()
