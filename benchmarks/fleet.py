"""A night of a fleet: what of it is answered, and what becomes of its keys.

1,000 keys of 120 accounts behind three upstreams, 100,000 requests in eight hours. Of the
keys 30 % are dead or die, 20 % belong to accounts that are limited again and again and
say so in nine ways, two of which name no time. Gemini's accounts have daily quotas that
end at midnight, four hours in; some of OpenAI's run out of money for a while. One upstream
flaps all night, two of the three refuse our address for two minutes, and 2 % of the
requests are bad.

The world (`benchmarks.fleet_world`) judges; gptload (`benchmarks.fleet_plane`) and
GPT-Load's documented policy (`benchmarks.fleet_reference`) live through the same night,
each on a clock of its own that nobody waits for.

A request is good if nothing is wrong with it, and answered when its client has the whole
200. A dead key is *refused* when the API itself says that it is dead; what an upstream in
trouble answers shows nothing of a key, so it doesn't count as a try of it. A key is used
*while resting* when it had been told a time for this model that hasn't come, or is sent
against what the ledger holds of it. Waiting is what comes before the attempt that
succeeds.

Run by `make bench`, or alone: `python -m benchmarks.fleet`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.task import Clock

from benchmarks.fleet_plane import Gptload
from benchmarks.fleet_reference import Reference
from benchmarks.fleet_world import Call, Size, World, calls

SEED: Final = 4
WHOLE: Final = Size()
SMALL: Final = Size(keys=100, accounts=12, requests=10_000)

BLACKLIST_THRESHOLD: Final = 3  # of both, by default
DEFAULT_RETRIES: Final = 3  # of both
# What whoever knows that half of a fleet is dead or limited sets.
RETRIES: Final = 10
WAIT_FOR_KEY_S: Final = 30


class Policy(Protocol):
    """Whoever serves the night's calls."""

    @property
    def clock(self) -> Clock: ...

    def now(self) -> float: ...

    def serve(self, call: Call, ended: Callable[[bool, float], None]) -> None: ...


@frozen
class Score:
    """What one policy made of the night.

    Attributes:
        attempts, bad_attempts: of a good and of a bad request, on average.
        most_invalid: healthy keys that were held to be invalid, the most at any time.
        over_tried: dead keys that were refused more often than the threshold.
        most_refusals: of one dead key.
        resting_uses: requests that were sent with a resting key.
        lost: healthy keys that are invalid in the end.
        validations: requests that no client made.
        wait_p50_s, wait_p99_s: of answered good requests, before the attempt that succeeded.
        cpu_s: of this process, for the whole night.
    """

    title: str
    size: Size
    good: int
    answered: int
    attempts: float
    bad_attempts: float
    most_invalid: int
    over_tried: int
    most_refusals: int
    resting_uses: int
    lost: int
    validations: int
    wait_p50_s: float
    wait_p99_s: float
    cpu_s: float

    @property
    def share(self) -> float:
        """Of good requests, what was answered."""
        return self.answered / self.good


def live_through(
    title: str,
    make: Callable[[World], Policy],
    size: Size,
    seed: int,
    say: Callable[[str], None],
) -> Score:
    """One policy, one night.

    Args:
        say: hears every tenth of the way how far it is.
    """
    began = time.process_time()
    world = World(size, seed)

    def progress(count: int) -> None:
        say(f"{title}: {count:,} of {size.requests:,} requests")

    night = _Night(make(world), calls(size, seed), size.requests, progress)
    night.pass_by()
    notes = world.notes
    good, bad = size.requests - len(night.bad), len(night.bad)
    attempts = notes.attempts.total()
    bad_attempts = sum(notes.attempts[number] for number in night.bad)
    waits = sorted(night.waits)
    return Score(
        title,
        size,
        good,
        len(waits),
        (attempts - bad_attempts) / good,
        bad_attempts / max(1, bad),
        notes.most_invalid,
        sum(count > BLACKLIST_THRESHOLD for count in notes.refusals.values()),
        max(notes.refusals.values(), default=0),
        notes.resting,
        len(notes.invalid),
        notes.validations,
        _percentile(waits, 50),
        _percentile(waits, 99),
        time.process_time() - began,
    )


class _Night:
    """Brings the calls to a policy, each at its time, and waits for the last answer."""

    def __init__(
        self, policy: Policy, coming: Iterator[Call], count: int, progress: Callable[[int], None]
    ) -> None:
        self.bad: set[int] = set()
        self.waits: list[float] = []  # of good calls that were answered
        self._policy = policy
        self._coming = coming
        self._left = count
        self._count = count
        self._progress = progress

    def pass_by(self) -> None:
        clock = self._policy.clock
        self._expect()
        while self._left:
            # To the next event and no further: in a longer step all that happens would
            # happen at its end.
            clock.advance(clock.getDelayedCalls()[0].getTime() - clock.seconds())

    def _expect(self) -> None:
        call = next(self._coming, None)
        if call is not None:
            self._policy.clock.callLater(max(0.0, call.at - self._policy.now()), self._come, call)

    def _come(self, call: Call) -> None:
        if call.number and not call.number % max(1, self._count // 10):
            self._progress(call.number)
        if call.fault:
            self.bad.add(call.number)

        def ended(is_success: bool, last_began: float) -> None:
            self._left -= 1
            if is_success and not call.fault:
                self.waits.append(last_began - call.at)

        self._policy.serve(call, ended)
        self._expect()


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


POLICIES: Final[Mapping[str, Callable[[World], Policy]]] = {
    "gptload": lambda world: Gptload(
        world, {"max_retries": RETRIES, "max_wait_for_key": WAIT_FOR_KEY_S}
    ),
    "gptload, defaults": lambda world: Gptload(world, {}),
    "GPT-Load": lambda world: Reference(world, RETRIES),
    "GPT-Load, defaults": lambda world: Reference(world, DEFAULT_RETRIES),
}
"""By title; the targets are about the first one."""


def measure(say: Callable[[str], None], size: Size = WHOLE, seed: int = SEED) -> list[Score]:
    """The night of each policy."""
    return [live_through(title, make, size, seed, say) for title, make in POLICIES.items()]


@frozen
class Row:
    """A line of the table.

    Attributes:
        figure: one policy's, as text.
        target: in words; empty for a figure that has none.
        is_reached: whether a policy reaches it.
    """

    title: str
    figure: Callable[[Score], str]
    target: str = ""
    is_reached: Callable[[Score], bool] | None = None


ROWS: Final = (
    Row(
        "good requests answered",
        lambda one: f"{100 * one.share:.3f} % ({one.answered:,} of {one.good:,})",
        "at least 99.99 %",
        lambda one: one.share >= 0.9999,
    ),
    Row(
        "healthy keys invalid at any time, at most",
        lambda one: f"{one.most_invalid:,}",
        "0",
        lambda one: not one.most_invalid,
    ),
    Row("healthy keys lost in the end", lambda one: f"{one.lost:,}", "0", lambda one: not one.lost),
    Row(
        f"dead keys refused more than {BLACKLIST_THRESHOLD} times",
        lambda one: f"{one.over_tried:,} (at most {one.most_refusals:,})",
        "0",
        lambda one: not one.over_tried,
    ),
    Row(
        "uses of a key while it rests",
        lambda one: f"{one.resting_uses:,}",
        "0",
        lambda one: not one.resting_uses,
    ),
    Row("attempts a good request", lambda one: f"{one.attempts:.2f}"),
    Row("attempts a bad request", lambda one: f"{one.bad_attempts:.2f}"),
    Row("validations in the background", lambda one: f"{one.validations:,}"),
    Row("added waiting p50", lambda one: f"{one.wait_p50_s:.2f} s"),
    Row("added waiting p99", lambda one: f"{one.wait_p99_s:.2f} s"),
)


def story(size: Size) -> str:
    """What the table is about."""
    return (
        f"{size.keys:,} keys of {size.accounts} accounts behind three upstreams, "
        f"{size.requests:,} requests in eight hours on a fake clock, half of them before midnight "
        "in Los Angeles, when Gemini's days begin. 30 % of the keys are dead or die, 20 % belong "
        "to accounts that are limited again and again and say so in nine ways, two of which name "
        "no time; one upstream flaps all night, two of three refuse our address for two minutes, "
        "and 2 % of the requests are bad. gptload is the real data plane with the real folding of "
        "key states; GPT-Load is its documented policy, simulated in the same world. Both with "
        f"`max_retries` {RETRIES} (gptload also with `max_wait_for_key` {WAIT_FOR_KEY_S}), and "
        "both with their defaults. Attempts count until an answer or the end, so an empty pool "
        "makes them fewer; waiting is that of answered requests, before the attempt that "
        "succeeded."
    )


def main() -> None:
    """Print the table."""
    scores = measure(lambda text: print(text, file=sys.stderr, flush=True))
    width = max(len(row.title) for row in ROWS)
    print(" " * width, f"{'target':>17}", *(f"{one.title:>29}" for one in scores))
    for row in ROWS:
        figures = (f"{row.figure(one):>29}" for one in scores)
        print(f"{row.title:{width}} {row.target:>17}", *figures)
    print(f"{'CPU':{width}} {'':17}", *(f"{one.cpu_s:>27.1f} s" for one in scores))


if __name__ == "__main__":
    main()
