"""Rules change what they name, and not one byte more."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptload.core.errors import BadRequest
from gptload.core.rewrite import override, redirect, target_of

LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10))
VALUE = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NAME = st.sampled_from(["model", "temperature", "messages", "ü", 'a"b', "x\\y"])
OBJECT = st.dictionaries(NAME, VALUE, max_size=5)


@settings(max_examples=300)
@given(body=OBJECT, overrides=OBJECT, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_an_override_is_an_update_of_the_object(
    body: dict, overrides: dict, ascii_only: bool, indent: int | None
) -> None:
    data = json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode()
    assert json.loads(override(data, overrides)) == {**body, **overrides}


@given(body=OBJECT)
def test_no_rule_no_change(body: dict) -> None:
    data = json.dumps(body, indent=1).encode()
    assert override(data, {}) == data
    assert redirect(data, {"never-asked-for": "x"}, strict=False) == data


def test_only_model_and_temperature_differ() -> None:
    """F59: seeds past 2^53 came out changed or as 1e+15 elsewhere."""
    body = (
        '{ "seed":9007199254740993, "big": 123456789012345678901234567890,"model" :"fast",'
        '"messages":[{"role":"user","content":"caf\\u00e9 😀 \\ud83d\\ude00", "model":"fast"}],'
        '"temperature": 0.70 , "temperature":1, "e":1E400}'
    ).encode()
    new = redirect(override(body, {"temperature": 0.1}), {"fast": "gpt-4o"}, strict=False)
    assert new == body.replace(b'"model" :"fast"', b'"model" :"gpt-4o"').replace(
        b'"temperature": 0.70 , "temperature":1', b'"temperature": 0.1 , "temperature":0.1'
    )


@pytest.mark.parametrize(
    "body", [b'{"model":"\xe5\xbf\xab"}', b'{"model":"\\u5feb"}', b'{"mod\\u0065l":"\\u5FEB"}']
)
def test_a_name_is_the_same_in_every_spelling(body: bytes) -> None:
    """F61: Chinese model names, in UTF-8 and escaped."""
    assert json.loads(redirect(body, {"快": "gpt-4o"}, strict=True)) == {"model": "gpt-4o"}


@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"", b"{", b"not json", b'{"a":1}x'])
def test_what_is_no_object_passes_as_it_is(body: bytes) -> None:
    assert override(body, {"a": 1}) == body
    assert redirect(body, {"a": "b"}, strict=False) == body


def test_redirects_take_one_step_and_exact_names() -> None:
    rules = {"a": "b", "b": "c"}
    assert redirect(b'{"model":"a"}', rules, strict=False) == b'{"model":"b"}'
    assert redirect(b'{"model":"A"}', rules, strict=False) == b'{"model":"A"}'
    assert redirect(b'{"model":1}', rules, strict=False) == b'{"model":1}'


def test_strict_mode_is_a_whitelist_without_a_way_around() -> None:
    """D35: what can't be read doesn't slip through; no rules at all forbid nothing."""
    rules = {"a": "a"}
    assert redirect(b'{"model":"a"}', rules, strict=True) == b'{"model":"a"}'
    for body in (b'{"model":"x"}', b"{}", b'{"model":1}', b"\x1f\x8b gzip", b"--form"):
        with pytest.raises(BadRequest):
            redirect(body, rules, strict=True)
    assert redirect(b'{"model":"x"}', {}, strict=True) == b'{"model":"x"}'
    with pytest.raises(BadRequest, match="model 'x' is not configured in redirect rules"):
        target_of("x", rules, strict=True)
