"""The grammar of `failover_status_codes`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.statuscodes import parse

CODES = st.frozensets(st.integers(100, 999), max_size=60)


@given(CODES)
def test_codes_are_read_in_any_order(codes: frozenset[int]) -> None:
    assert parse(",".join(map(str, codes))) == codes


@given(st.integers(100, 999), st.integers(100, 999))
def test_a_range_has_both_its_ends(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert parse(f"{low}-{high}") == frozenset(range(low, high + 1))


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("", frozenset()),
        (" , ,\n", frozenset()),
        ("429", {429}),
        (" 429 , 500 - 502 ", {429, 500, 501, 502}),
        ("500-502\n501-503", {500, 501, 502, 503}),
        ("999,100", {100, 999}),
    ],
)
def test_blanks_newlines_and_overlaps_are_fine(text: str, codes: frozenset[int]) -> None:
    assert parse(text) == codes


def test_the_references_default_is_everything_from_400_but_404() -> None:
    assert parse("400-403,405-999") == frozenset(range(400, 1000)) - {404}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("abc", "invalid status code"),
        ("4.5", "invalid status code"),
        ("-5", "invalid status code in range"),
        ("5-", "invalid status code in range"),
        ("500-abc", "invalid status code in range"),
        ("500-501-502", "invalid status code range"),
        ("502-500", "invalid status code range (start > end)"),
        ("99", "status code out of allowed range (100-999)"),
        ("500-1000", "status code out of allowed range (100-999)"),
        ("٤٢٩", "invalid status code"),
    ],
)
def test_a_fault_is_named_and_quoted(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="status code") as caught:
        parse(f"429,{text}")
    assert str(caught.value).startswith(words)
    assert f'"{text}"' in str(caught.value)
