"""Spans of ids: what goes in comes out, and nothing that only lies between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gptload.core.idspans import IdSpans, Span, above, packed, spans_of, unpacked

ids = st.sets(st.integers(1, 300), max_size=80)


def ids_in(spans: list[Span] | tuple[Span, ...]) -> set[int]:
    return {one for first, last in spans for one in range(first, last + 1)}


@given(ids)
def test_what_goes_in_comes_out(wanted: set[int]) -> None:
    spans = spans_of(wanted)
    assert ids_in(spans) == wanted
    assert unpacked(packed(spans)) == spans


@given(ids, st.integers(0, 310))
def test_what_is_above_an_id_is_cut_there(wanted: set[int], last: int) -> None:
    left = above(spans_of(wanted), last)
    assert ids_in(left) == {one for one in wanted if one > last}


@given(ids, st.integers(1, 20))
def test_what_is_too_much_is_counted_and_not_kept(wanted: set[int], limit: int) -> None:
    spans = IdSpans(limit)
    for one in sorted(wanted):
        spans.add(one)
    assert len(spans.spans) <= limit
    assert spans.count == len(ids_in(spans.spans))
    assert spans.count + spans.dropped == len(wanted)


def test_half_a_million_neighbours_are_a_word() -> None:
    """An outage fails every key: their ids must not fill the database."""
    spans = IdSpans(10)
    for one in range(1, 500_001):
        spans.add(one)
    assert packed(spans.spans) == "1-500000"


def test_a_copy_goes_its_own_way() -> None:
    spans = IdSpans(10)
    spans.add(1)
    other = spans.copy()
    other.add(2, 9)
    assert (spans.spans, spans.count) == ([(1, 1)], 1)
    assert (other.spans, other.count) == ([(1, 9)], 9)
