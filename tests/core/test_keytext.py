"""A text full of keys → the keys."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis.strategies import characters, lists, sampled_from, text

from gptload.core import keytext
from gptload.core.errors import ValidationFailed

KEYS = text(
    characters(codec="utf-8", exclude_categories=("Z", "C"), exclude_characters=",;"),
    min_size=1,
    max_size=20,
).filter(lambda key: not key.startswith("["))


@given(
    keys=lists(KEYS, min_size=1), gaps=lists(sampled_from([" ", "\n", "\r\n", ",", ";\t", " , "]))
)
def test_whatever_separates_them_keys_come_out_unchanged(keys: list[str], gaps: list[str]) -> None:
    joined = keys[0]
    for number, key in enumerate(keys[1:]):
        joined += (gaps[number % len(gaps)] if gaps else "\n") + key
    assert keytext.split(joined) == keys


@given(keys=lists(KEYS, min_size=1))
def test_a_json_array_is_read_as_one(keys: list[str]) -> None:
    assert keytext.split(f" {json.dumps(keys)}\n") == keys


@pytest.mark.parametrize("key", ["sk|a", "sk+a", "sk/a==", "{'a':1}", "sk-é漢", "'--"])
def test_f01_no_character_of_a_key_is_special(key: str) -> None:
    assert keytext.split(f"{key}\n{key}") == [key, key]


@pytest.mark.parametrize(
    ("given_text", "keys"),
    [
        ("", []),
        (" ,;\n", []),
        ("[]", []),
        ('["", " a "]', ["a"]),
        ("\ufeffsk-a\u200b\nsk-b", ["sk-a", "sk-b"]),
        ("sk-a\u00a0sk-b\u3000sk-c", ["sk-a", "sk-b", "sk-c"]),
    ],
)
def test_edges(given_text: str, keys: list[str]) -> None:
    assert keytext.split(given_text) == keys


@pytest.mark.parametrize(
    "bad",
    [
        '["a", null]',
        '["a", ["b"]]',
        '["a"',
        "[a]",
        "[" * 100_000,
        '["a b"]',
        '["a\\u0000"]',
        "a\x01b",
        "k" * 4097,
    ],
)
def test_d65_fragments_never_become_keys(bad: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        keytext.split(bad)
    assert bad not in refused.value.message
