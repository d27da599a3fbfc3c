"""Tallies add up whatever the order; ranges and points cover their time exactly once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.control.spending import Spending
from gptload.control.statistics import (
    DAY,
    EVERYTHING,
    HOUR,
    MINUTE,
    MOST_POINTS,
    POINT_STEPS,
    Tally,
    axis,
    coarser,
    fold,
    of_group,
    of_key,
    of_model,
    of_pair,
    of_upstream,
    read_tally,
    spans,
)
from gptload.core.histogram import ERROR, bucket_of, percentiles
from gptload.core.record import AttemptRecord
from tests.parts.records import make_record

NOW = 1_800_000_000.0
AT = 1_800_000_000

SPENT = Spending(input=9, output=101, counted=1).summary()
records = st.builds(
    make_record,
    at=st.floats(NOW - 3 * DAY, NOW),
    group_id=st.integers(0, 3),
    parent_group_id=st.sampled_from([0, 9]),
    key_id=st.integers(0, 4),
    model=st.sampled_from(["", "gpt-5", "GPT-5", "模型"]),
    outcome=st.sampled_from(["ok", "rate_limited", "upstream_fault"]),
    status_code=st.sampled_from([200, 429, 503]),
    total_ms=st.integers(0, 10**7),
    first_byte_ms=st.one_of(st.none(), st.integers(0, 10**6)),
    first_token_ms=st.one_of(st.none(), st.integers(0, 10**6)),
    duration_ms=st.integers(0, 10**7),
    usage=st.sampled_from(["", Spending(output=1, counted=1).summary(), SPENT]),
    is_final=st.booleans(),
)


def add(record: AttemptRecord) -> Tally:
    return fold([record])[int(record.at) // MINUTE * MINUTE, EVERYTHING]


def test_a_record_is_counted_for_everybody_whom_it_concerns() -> None:
    record = make_record(
        at=AT + 61.5, group_id=1, parent_group_id=9, key_id=7, model="m", is_final=True
    )
    found = fold([record, record._replace(is_final=False, outcome="rate_limited")])
    upstream = of_upstream(1, "https://api.example")
    everybody = [EVERYTHING, of_group(1), of_group(9), of_model("m"), of_pair(1, "m")]
    everybody += [of_pair(9, "m"), of_key(7), upstream]
    assert set(found) == {(AT + 60, subject) for subject in everybody}
    for tally in found.values():
        assert (tally.requests, tally.succeeded, tally.attempts) == (1, 1, 2)


def test_a_client_waits_for_all_attempts_and_a_key_answers_for_its_own() -> None:
    record = make_record(duration_ms=3, total_ms=9, first_byte_ms=2, key_id=7)
    found = fold([record._replace(is_final=False, duration_ms=6), record])
    at = AT
    assert found[at, EVERYTHING].total_ms == {9: 1}
    assert found[at, of_key(7)].total_ms == {6: 1, 3: 1}


def test_streams_tell_two_times_more() -> None:
    record = make_record(first_byte_ms=80, first_token_ms=200, duration_ms=755, usage=SPENT)
    tally = add(record)
    assert tally.first_byte_ms == {bucket_of(80): 1}
    assert tally.first_token_ms == {bucket_of(200): 1}
    assert tally.per_token_us == {bucket_of(5550): 1}  # 555 ms for 100 tokens after the first
    tally.add(add(record._replace(duration_ms=855)))  # 5.55 and 6.55 ms are told apart
    assert sorted(tally.per_token_us) == [bucket_of(5550), bucket_of(6550)]


@pytest.mark.parametrize(
    "changes",
    [
        {"first_token_ms": None},  # no stream
        {"usage": ""},  # it doesn't say
        {"usage": Spending(output=1, counted=1).summary()},  # none after the first
        {"outcome": "upstream_fault"},  # it broke off: how many came isn't known
        {"outcome": "client_gone"},
        {"duration_ms": 200},  # all in one piece
        {"is_final": False},
    ],
)
def test_what_has_no_time_per_token_counts_for_none(changes: dict[str, object]) -> None:
    record = make_record(first_token_ms=200, duration_ms=755, usage=SPENT)
    assert add(record).per_token_us
    assert add(record._replace(**changes)).per_token_us == {}


def test_rows_of_the_versions_before_are_read_and_added_to() -> None:
    """They know nothing of first tokens, and the first ones nothing of tokens."""
    ends, spent = [[1, "ok", 200, "", 2]], Spending(output=7, counted=1)
    for older in ([ends, [9, 2], [4, 2]], [ends, [9, 2], [4, 2], spent.numbers()]):
        tally = read_tally(2, 2, 2, json.dumps(older))
        assert (tally.first_token_ms, tally.per_token_us) == ({}, {})
        assert json.loads(tally.detail()) == older
        tally.add(add(make_record(first_token_ms=200, duration_ms=755, usage=SPENT)))
        both = read_tally(3, 3, 3, tally.detail())
        assert both == tally
        assert sum(both.first_token_ms.values()) == 1
        assert sum(both.total_ms.values()) == 3


def test_a_row_of_streams_that_tell_no_tokens_has_its_first_tokens_in_their_place() -> None:
    tally = add(make_record(first_token_ms=200))
    assert not tally.spent.counted
    assert read_tally(1, 1, 1, tally.detail()) == tally


@given(st.lists(records, max_size=30), st.integers(0, 30))
def test_what_is_counted_in_parts_adds_up_to_the_whole(some: list[AttemptRecord], cut: int) -> None:
    whole = fold(some)
    parts: dict[object, Tally] = {}
    for part in (some[:cut], some[cut:]):
        for place, tally in fold(part).items():
            parts.setdefault(place, Tally()).add(tally)
    assert parts == whole


@given(st.lists(records, max_size=30))
def test_a_row_gives_back_the_tally_that_it_was_made_of(some: list[AttemptRecord]) -> None:
    for tally in fold(some).values():
        row = (tally.requests, tally.succeeded, tally.attempts, tally.detail())
        assert read_tally(*row) == tally
        twice, added = read_tally(*row), read_tally(*row)
        twice.add(tally)
        added.take(*row)
        assert added == twice


@given(st.lists(records, min_size=1, max_size=60))
def test_days_hold_what_their_minutes_hold(some: list[AttemptRecord]) -> None:
    minutes = fold(some)
    for step in (HOUR, DAY):
        long = coarser(minutes, step)
        for (at, subject), tally in long.items():
            short = [
                one
                for (begin, who), one in minutes.items()
                if who == subject and begin // step * step == at
            ]
            assert tally.attempts == sum(one.attempts for one in short)
    everything = sum(t.requests for (_, who), t in minutes.items() if who == EVERYTHING)
    assert everything == sum(record.is_final for record in some)


@given(st.lists(records, min_size=1, max_size=80), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_of_merged_minutes_are_those_of_all_durations(
    some: list[AttemptRecord], part: float
) -> None:
    whole = Tally()
    for (_, subject), tally in fold(some).items():
        if subject == EVERYTHING:
            whole.add(tally)
    durations = sorted(record.total_ms for record in some if record.is_final)
    (found,) = percentiles(whole.total_ms, [part])
    if not durations:
        assert found is None
        return
    rank = max(1, -(-len(durations) * round(part * 100) // 100))
    exact = min(durations[rank - 1], 2**22 - 1)
    assert found is not None
    assert abs(found - exact) <= exact * ERROR + 0.5


def test_ends_without_number_are_told_apart_only_so_far_and_none_is_lost() -> None:
    tally = Tally()
    for number in range(500):
        tally.count(make_record(outcome="rate_limited", reason=f"reason {number}"), 1)
    assert len(tally.ends) <= 101
    assert sum(tally.ends.values()) == tally.attempts == 500


@given(
    age=st.floats(0, 400 * DAY),
    length=st.floats(1, 400 * DAY),
)
def test_spans_cover_a_range_once_without_a_gap(age: float, length: float) -> None:
    since = NOW - age
    until = since + length
    found = spans(since, until, NOW)
    assert found[0].since <= since
    assert found[-1].until >= until
    for one, following in zip(found, found[1:], strict=False):
        assert one.until == following.since
    for one in found:
        assert one.since < one.until
        assert one.since % one.step == one.until % one.step == 0
    assert len([one for one in found if one.step == MINUTE]) <= 2


def test_the_last_day_is_read_as_hours_with_minutes_at_its_ends() -> None:
    found = spans(NOW - DAY - 90, NOW, NOW)
    assert [(one.step, one.until - one.since) for one in found] == [
        (MINUTE, 120),
        (HOUR, DAY),
    ]


ZONES = ["UTC", "Asia/Tokyo", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin"]


@given(
    age=st.floats(0, 400 * DAY),
    length=st.floats(60, 400 * DAY),
    zone=st.sampled_from(ZONES),
    step=st.sampled_from([0, 7, *POINT_STEPS]),
)
def test_the_points_of_an_axis_follow_each_other_and_hold_every_row(
    age: float, length: float, zone: str, step: int
) -> None:
    since = NOW - age
    until = since + length
    line = axis(since, until, NOW, UTC if zone == "UTC" else ZoneInfo(zone), step)
    assert line.since <= since < until <= line.until
    assert len(line.points) <= max(MOST_POINTS, length / DAY) + 3
    assert list(line.points) == sorted(set(line.points))
    for number in (0, len(line.points) // 2, -1):
        at = line.points[number]
        assert line.place(at) == at


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Europe/Berlin", "America/New_York"])
def test_days_begin_at_midnight_of_the_zone(zone: str) -> None:
    line = axis(NOW - 60 * DAY, NOW, NOW, ZoneInfo(zone), DAY)
    for at in line.points:
        assert datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%H:%M") == "00:00"
    assert line.source == HOUR
    assert line.label(line.points[0]).endswith(("+09:00", "+01:00", "+02:00", "-05:00", "-04:00"))


def test_a_spring_day_has_23_hours() -> None:
    begin = datetime(2027, 3, 27, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    line = axis(begin, begin + 3 * DAY, begin + 3 * DAY, ZoneInfo("Europe/Berlin"), DAY)
    lengths = [b - a for a, b in zip(line.points, line.points[1:], strict=False)]
    assert lengths[:2] == [DAY, 23 * HOUR]


def test_a_zone_of_half_hours_is_read_by_the_minute_as_long_as_there_are_any() -> None:
    assert axis(NOW - DAY, NOW, NOW, ZoneInfo("Asia/Kolkata"), HOUR).source == MINUTE
    assert axis(NOW - 9 * DAY, NOW, NOW, ZoneInfo("Asia/Kolkata"), HOUR).source == HOUR
