"""Translations: complete, with the same values, and harmless where there is none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core import texts

VALUE = re.compile(r"{(\w+)}")


@pytest.mark.parametrize("english", texts.MESSAGES)
def test_a_translation_has_the_values_of_the_text(english: str) -> None:
    for translated in texts.MESSAGES[english]:
        assert sorted(VALUE.findall(translated)) == sorted(VALUE.findall(english))
        assert translated.strip() == translated != ""


@pytest.mark.parametrize("english", texts.MESSAGES)
def test_each_text_is_found_with_values_in_it(english: str) -> None:
    filled = VALUE.sub(lambda found: f"<{found[1]}>", english)
    chinese = VALUE.sub(lambda found: f"<{found[1]}>", texts.MESSAGES[english][0])
    assert texts.message(filled, "zh") == chinese
    assert texts.message(filled, "en") == filled


@given(st.text(max_size=200))
def test_what_no_table_knows_stays_as_it_is(text: str) -> None:
    unknown = f"¤{text}"
    assert texts.message(unknown, "ja") == unknown


def test_braces_in_a_value_are_only_text() -> None:
    said = texts.message("Duplicate header: {0.__class__}", "zh")
    assert said.endswith("{0.__class__}")


@given(st.text(max_size=300))
def test_any_wish_is_a_language(wish: str) -> None:
    assert texts.preferred(wish) in ("en", "zh", "ja")


@pytest.mark.parametrize(
    ("wish", "language"),
    [
        ("ja;q=0.2, zh;q=0.8, en;q=0.5", "zh"),
        ("zh;q=0, ja;q=0.001", "ja"),
        ("zh-Hant-TW", "zh"),
        ("de, ja", "ja"),
        ("zh;q=broken, en;q=0.1", "en"),
    ],
)
def test_the_highest_wish_wins(wish: str, language: str) -> None:
    assert texts.preferred(wish) == language
