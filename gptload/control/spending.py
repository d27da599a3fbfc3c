"""What attempts took in tokens and money, as numbers that add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson
from attrs import astuple, define

from gptload.control.prices import cost_of
from gptload.core.record import AttemptRecord
from gptload.core.usage import Usage, parse

KINDS: Final = ("input", "output", "cached", "cache_write", "reasoning", "audio")
"""Cached and written ones are of the input, reasoning is of the output."""

_BEGIN: Final = "["  # of a summary; what an answer said begins with a brace


@define
class Spending:
    """Sums over attempts whose answers say what they took.

    Attributes:
        input, output, cached, cache_write, reasoning, audio: tokens, see `Usage`.
        counted: attempts that are in these sums.
        cost_nano: nano-dollars of those with a price.
        priced: how many have one.
        priced_tokens: input and output of those.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    audio: int = 0
    counted: int = 0
    cost_nano: int = 0
    priced: int = 0
    priced_tokens: int = 0

    def add(self, other: Spending) -> None:
        """Everything that the other one holds too."""
        self.input += other.input
        self.output += other.output
        self.cached += other.cached
        self.cache_write += other.cache_write
        self.reasoning += other.reasoning
        self.audio += other.audio
        self.counted += other.counted
        self.cost_nano += other.cost_nano
        self.priced += other.priced
        self.priced_tokens += other.priced_tokens

    def numbers(self) -> list[int]:
        """For `read_spending`; none where there is nothing to tell."""
        return list(astuple(self)) if self.counted else []

    def summary(self) -> str:
        """The same as text, in the place of a record's `usage`."""
        return orjson.dumps(self.numbers()).decode()


def read_spending(numbers: Sequence[int]) -> Spending:
    """What `Spending.numbers` tells."""
    return Spending(*numbers)


@define
class Bill:
    """One attempt's tokens, and its cost in nano-dollars; None is not known."""

    usage: Usage
    cost_nano: int | None

    def spending(self) -> Spending:
        """The same as sums over one attempt."""
        usage, cost = self.usage, self.cost_nano
        put_in, out = usage.input or 0, usage.output or 0
        return Spending(
            put_in,
            out,
            usage.cached or 0,
            usage.cache_write or 0,
            usage.reasoning or 0,
            usage.audio or 0,
            1,
            cost or 0,
            int(cost is not None),
            put_in + out if cost is not None else 0,
        )


def bill(record: AttemptRecord) -> Bill | None:
    """What an attempt took; None if its answer doesn't say."""
    usage = parse(record.usage)
    if usage is None:
        return None
    model = record.upstream_model or record.model
    return Bill(usage, cost_of(usage, model, record.upstream, record.at))


def spent_by(record: AttemptRecord) -> Spending | None:
    """What the record of a roll-up tells, whose usage is a summary."""
    if not record.usage.startswith(_BEGIN):
        return None
    numbers = orjson.loads(record.usage)
    return read_spending(numbers) if numbers else None
