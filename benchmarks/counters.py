"""What counting costs an attempt: `python -m benchmarks.counters`."""

from __future__ import annotations

from timeit import repeat

from gptload.core.histogram import Histogram
from gptload.proxy.counters import Counters
from tests.parts.records import make_record

CALLS = 200_000


def nanoseconds(name: str, call: object, argument: object) -> str:
    """A line for people: the fastest of some rounds, with the price of an empty call."""
    fastest = min(
        repeat("call(argument)", globals={"call": call, "argument": argument}, number=CALLS)
    )
    return f"{name:<24}{fastest / CALLS * 1e9:6.0f} ns"


if __name__ == "__main__":
    print(nanoseconds("nothing", lambda record: None, None))
    print(nanoseconds("Histogram.add", Histogram().add, 2345))
    print(nanoseconds("Counters.count", Counters().count, [make_record(total_ms=2345)]))
