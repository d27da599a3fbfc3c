"""Histograms: every duration is in one bucket, sums are exact, percentiles nearly."""

from __future__ import annotations

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from gptload.core.histogram import (
    BUCKETS,
    ERROR,
    LONGEST_MS,
    Histogram,
    bounds_of,
    bucket_of,
    mean_of_slowest,
    percentiles,
)

durations = st.integers(0, LONGEST_MS)
some = st.lists(durations | st.integers(0, 300), max_size=60)
parts = st.floats(0, 1)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def merged(*histograms: Histogram) -> Histogram:
    total = Histogram()
    for one in histograms:
        total.merge(one)
    return total


def exact(values: list[int], part: float) -> int:
    return sorted(values)[max(1, ceil(part * len(values))) - 1]


def test_buckets_follow_each_other_without_gap_or_overlap() -> None:
    following = 0
    for bucket in range(BUCKETS):
        lower, upper = bounds_of(bucket)
        assert lower == following
        assert upper - lower < max(1, lower * ERROR)
        following = upper + 1
    assert following == LONGEST_MS + 1


@given(durations)
def test_a_duration_lies_in_its_bucket(duration: int) -> None:
    lower, upper = bounds_of(bucket_of(duration))
    assert lower <= duration <= upper
    assert of([duration]).counts[bucket_of(duration)] == 1


@given(st.integers(max_value=-1), st.integers(min_value=LONGEST_MS))
def test_what_is_out_of_range_counts_as_the_nearest_that_is_not(below: int, above: int) -> None:
    histogram = of([below, above])
    assert histogram.counts[0] == histogram.counts[-1] == 1
    assert histogram.sum_ms == below + above


@given(st.lists(some, min_size=1, max_size=6), parts)
def test_percentiles_of_a_sum_are_those_of_all_durations_within_the_bound(
    groups: list[list[int]], part: float
) -> None:
    everything = [value for group in groups for value in group]
    found = merged(*map(of, groups)).percentile(part)
    if not everything:
        assert found is None
        return
    wanted = exact(everything, part)
    assert found is not None
    if wanted < 16:
        assert found == wanted
    else:
        assert abs(found - wanted) < wanted * ERROR


@given(some, st.lists(parts, max_size=4).map(sorted))
def test_percentiles_of_numbers_by_bucket_are_those_of_the_histogram(
    values: list[int], wanted: list[float]
) -> None:
    full = of(values)
    counts = {bucket: count for bucket, count in enumerate(full.counts) if count}
    assert percentiles(counts, wanted) == [full.percentile(part) for part in wanted]


@given(some, some, some)
def test_merging_has_no_order(first: list[int], second: list[int], third: list[int]) -> None:
    a, b, c = of(first), of(second), of(third)
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c)) == of(first + second + third)
    assert merged(a, Histogram()) == a


@given(some)
def test_what_is_told_by_doubling_adds_up(values: list[int]) -> None:
    told = of(values).by_doubling()
    assert [bound for bound, _ in told] == [2**power for power in range(3, 22)]
    for bound, shorter in told:
        assert shorter == sum(value < bound for value in values)
    assert of(values).count == len(values)


def test_a_histogram_equals_nothing_else() -> None:
    assert Histogram() != 0


@given(some, st.sampled_from([0.01, 0.05, 0.5]))
def test_the_mean_of_the_slowest_is_nearly_that_of_the_exact_ones(
    values: list[int], part: float
) -> None:
    counts = dict(enumerate(of(values).counts))
    if not values:
        assert mean_of_slowest(counts, part) is None
        return
    slowest = sorted(values)[-max(1, len(values) - ceil((1 - part) * len(values))) :]
    mean = sum(slowest) / len(slowest)
    found = mean_of_slowest(counts, part)
    assert found is not None
    assert abs(found - mean) <= mean * ERROR
