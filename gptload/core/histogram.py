"""Durations by size: how many fell into each of a fixed set of buckets.

The rule of this file: the buckets never change. That is why histograms of any two
minutes, groups or processes can be added, and a percentile of the sum is as exact as
one of its parts.

**Buckets.** Whole milliseconds. Each of 0 to 15 has a bucket of its own; from there on
each doubling is cut into 8 of equal width: 16–17, 18–19, … 30–31, 32–35, 36–39, … So no
bucket is wider than an eighth of its lower bound. 160 buckets reach up to 2^22 - 1 ms,
70 minutes; what is longer counts as that. Whoever has to tell shorter times apart counts
another unit in the same buckets, and says so.

Source: the log-linear buckets of Gil Tene's HdrHistogram, with 3 bits of precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

_BITS: Final = 3  # a doubling has 2**_BITS buckets
_PER_DOUBLING: Final = 1 << _BITS
_EXACT: Final = 2 * _PER_DOUBLING  # below it a bucket holds one value
LONGEST_MS: Final = (1 << 22) - 1
# What a percentile may be off by, as a part of the exact one. Below 16 ms it is exact.
ERROR: Final = 1 / _PER_DOUBLING


def bucket_of(duration_ms: int) -> int:
    """Number of the bucket that counts this duration; below 0 counts as 0."""
    if duration_ms < _EXACT:
        return max(duration_ms, 0)
    duration_ms = min(duration_ms, LONGEST_MS)
    shift = duration_ms.bit_length() - _BITS - 1
    return shift * _PER_DOUBLING + (duration_ms >> shift)


BUCKETS: Final = bucket_of(LONGEST_MS) + 1


def bounds_of(bucket: int) -> tuple[int, int]:
    """The least and the greatest duration of a bucket, in milliseconds."""
    if bucket < _EXACT:
        return bucket, bucket
    shift = bucket // _PER_DOUBLING - 1
    lower = (bucket - shift * _PER_DOUBLING) << shift
    return lower, lower + (1 << shift) - 1


def percentiles(counts: Mapping[int, int], parts: Sequence[float]) -> list[float | None]:
    """As `Histogram.percentile`, of numbers by bucket.

    Args:
        parts: in ascending order.
    """
    total = sum(counts.values())
    if not total:
        return [None] * len(parts)
    found: list[float | None] = []
    ranks = [max(1, ceil(part * total)) for part in parts]
    before = 0
    for bucket in sorted(counts):
        count = counts[bucket]
        while len(found) < len(ranks) and before + count >= ranks[len(found)]:
            lower, upper = bounds_of(bucket)
            found.append(lower + (upper - lower) * (ranks[len(found)] - before - 0.5) / count)
        before += count
    return found


def mean_of_slowest(counts: Mapping[int, int], part: float) -> float | None:
    """The mean of the slowest part of what was counted: how bad the bad ones are.

    Args:
        counts: numbers by bucket.
        part: such as 0.05: those above the 95th percentile, and one of them at least.

    Returns:
        Whole numbers' unit, each taken for its bucket's middle; None when there is nothing.
    """
    total = sum(counts.values())
    if not total:
        return None
    wanted = left = max(1, total - ceil((1 - part) * total))
    whole = 0.0
    for bucket in sorted(counts, reverse=True):
        taken = min(left, counts[bucket])
        lower, upper = bounds_of(bucket)
        whole += taken * (lower + upper) / 2
        left -= taken
        if not left:
            break
    return whole / wanted


class Histogram:
    """How many durations fell into each bucket, and their sum.

    Attributes:
        counts: by bucket.
        sum_ms: of all durations, as they were given.
    """

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sum_ms = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.counts == other.counts and self.sum_ms == other.sum_ms

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def count(self) -> int:
        """How many durations there are."""
        return sum(self.counts)

    def add(self, duration_ms: int) -> None:
        """Count a duration, in milliseconds."""
        # Hot: twice an attempt, so `bucket_of` is written out here; see
        # benchmarks/counters.py.
        self.sum_ms += duration_ms
        if 16 <= duration_ms < 4194304:
            shift = duration_ms.bit_length() - 4
            self.counts[(shift << 3) + (duration_ms >> shift)] += 1
        else:
            self.counts[bucket_of(duration_ms)] += 1

    def merge(self, other: Histogram) -> None:
        """Take in what another one has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum_ms += other.sum_ms

    def percentile(self, part: float) -> float | None:
        """The duration that `part` of all don't exceed, by nearest rank.

        Args:
            part: from 0 to 1; 0.5 is the median, 0 the least.

        Returns:
            Milliseconds; None when there are no durations. Within its bucket the rank
            says how far: so it is exact below 16 ms, and off by less than an eighth of
            the exact one (`ERROR`) up to `LONGEST_MS`.
        """
        rank = max(1, ceil(part * self.count))
        before = 0
        for bucket, count in enumerate(self.counts):
            if before + count >= rank:
                lower, upper = bounds_of(bucket)
                return lower + (upper - lower) * (rank - before - 0.5) / count
            before += count
        return None

    def by_doubling(self) -> list[tuple[int, int]]:
        """(milliseconds, how many durations are shorter), for each power of two from 8 on."""
        told = []
        shorter = 0
        for bucket, count in enumerate(self.counts):
            if bucket and bucket % _PER_DOUBLING == 0:
                told.append((bounds_of(bucket)[0], shorter))
            shorter += count
        return told
