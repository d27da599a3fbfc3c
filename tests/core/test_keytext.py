"""A text full of keys → the keys."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis.strategies import characters, integers, lists, sampled_from, text

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


# Texts of any size, in pieces.


def cut(whole: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    return [whole[start:end] for start, end in zip(edges, edges[1:], strict=False)]


@given(
    lists(KEYS, min_size=1),
    sampled_from([" ", "\n", ",", ";", "\r\n", "\t, ;"]),
    lists(integers(0, 10_000)),
)
def test_a_text_in_pieces_holds_the_keys_of_the_whole_each_once(
    keys: list[str], gap: str, places: list[int]
) -> None:
    whole = gap.join(keys)
    reading = keytext.read(cut(whole, places))
    once = dict.fromkeys(keytext.split(whole))
    assert [key.decode() for key in reading.keys] == list(once)
    assert reading.found == len(keytext.split(whole))
    assert reading.repeated == reading.found - len(once)
    assert reading.bad == 0


@given(lists(KEYS), lists(integers(0, 10_000)), sampled_from([None, 1]))
def test_an_array_in_pieces_is_the_same_array(
    keys: list[str], places: list[int], indent: int | None
) -> None:
    reading = keytext.read(cut(f"\ufeff {json.dumps(keys, indent=indent)}\n", places))
    assert [key.decode() for key in reading.keys] == list(
        dict.fromkeys(keytext.split(json.dumps(keys)))
    )


@given(text(max_size=60), lists(integers(0, 60)))
def test_where_a_text_is_cut_changes_nothing(whole: str, places: list[int]) -> None:
    def told(pieces: list[str]) -> object:
        try:
            return keytext.read(pieces)
        except ValidationFailed as error:
            return error.message

    assert told(cut(whole, places)) == told([whole])


def test_lines_are_told_of_what_is_repeated_or_bad() -> None:
    reading = keytext.read(["\n a", "\nb a\n", "x" * 5000, "y\r\n\x01c\n\ud800\nd"])
    assert (reading.keys, list(reading.lines)) == ([b"a", b"b", b"d"], [2, 3, 7])
    assert (reading.found, reading.repeated, reading.repeated_lines) == (7, 1, [3])
    assert [(line.line, line.reason) for line in reading.bad_lines] == [
        (4, "longer than 4096 characters"),
        (5, "a blank or a control character inside"),
        (6, "half a surrogate pair is no character"),
    ]


def test_a_report_names_no_more_lines_than_a_person_reads() -> None:
    reading = keytext.read("a\n" for _ in range(1000))
    assert (reading.repeated, len(reading.repeated_lines)) == (999, keytext.REPORTED)


@pytest.mark.parametrize(
    ("mask", "ends"),
    [
        ("sk-p****wxyz", (b"sk-p", b"wxyz")),
        ("sk-p...wxyz", (b"sk-p", b"wxyz")),
        ("…wxyz", (b"", b"wxyz")),
        ("wxyz", (b"", b"wxyz")),
        ("sk-*", (b"sk-", b"")),
    ],
)
def test_a_mask_shows_a_key_s_ends(mask: str, ends: tuple[bytes, bytes]) -> None:
    assert keytext.ends(mask) == ends
