"""Overrides and redirects change the bytes that a rule names, and no other byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core import jsonscan
from gptload.core.errors import BadRequest
from gptload.core.jsonscan import members
from gptload.core.rewrite import override, redirect, target_of
from tests.core.test_peek import MEMBERS, NAMES, VALUES, objects

# Field case F59: what a decoder in the way would change.
EXACT = (
    '{ "seed": 1234567890123456, "big" :123456789012345678901234567890,'
    '"model":"alias","price":1.10,"exp":1E+2,"text":"a\\/b \\u00e9 é \\ud83d\\ude00 😀",\r\n'
    '"temperature" : 0.70 , "nested":{"temperature":1,"model":"alias"},"a":1,"a":2 } \n'
)


def test_an_override_and_an_alias_change_two_values_and_no_other_byte() -> None:
    sent = redirect(
        override(EXACT.encode(), {"temperature": 0.2}), {"alias": "gpt-4o"}, strict=False
    )
    assert sent.decode() == EXACT.replace(": 0.70 ,", ": 0.2 ,").replace(
        '"model":"alias","price"', '"model":"gpt-4o","price"'
    )


@pytest.mark.parametrize(
    ("body", "overrides", "sent"),
    [
        ('{"a":1}', {"a": 2}, '{"a":2}'),
        ('{"a":1}', {"b": 2}, '{"a":1,"b":2}'),
        ('{"a":1 }\n', {"b": [1, {"c": None}]}, '{"a":1 ,"b":[1,{"c":null}]}\n'),
        ("{}", {"b": True, "c": "x"}, '{"b":true,"c":"x"}'),
        (" { } ", {"b": None}, ' { "b":null} '),
        ('{"a":{"x":1},"b":[1,2]}', {"a": 1, "b": 2}, '{"a":1,"b":2}'),
        ('{"a":1,"b":2,"a":"x"}', {"a": 3}, '{"a":3,"b":2,"a":3}'),
        ('{"a":[[1],"]"],"a":[1]}', {"a": 3}, '{"a":3,"a":3}'),
        ('{"a":[[1],"]"],"b":0,"a":[1]}', {"b": 3}, '{"a":[[1],"]"],"b":3,"a":[1]}'),
        ('{"\\u0061":1}', {"a": 2}, '{"\\u0061":2}'),
        ('{"n":{"a":1}}', {"a": 2}, '{"n":{"a":1},"a":2}'),
        ('{"a":"}","b":"\\"}"}', {"b": 1, "c": 2}, '{"a":"}","b":1,"c":2}'),
        ('{"a":-1.5e3}', {"a": 10**30}, '{"a":' + "1" + "0" * 30 + "}"),
        ('{"a":"cut \\ud83d","b":1}', {"b": 2}, '{"a":"cut \\ud83d","b":2}'),
        ('{"a":1e999,"b":1}', {"b": 2}, '{"a":1e999,"b":2}'),
        ('{"a":1}', {}, '{"a":1}'),
    ],
)
def test_an_override_replaces_a_value_where_it_stands(
    body: str, overrides: dict[str, Any], sent: str
) -> None:
    assert override(body.encode(), overrides).decode() == sent


NOT_OBJECTS = [
    b"",
    b"null",
    b"[]",
    b'"a"',
    b"17",
    b'{"a":1',
    b'{"a":1}}',
    b'{"a":1,}',
    b"{'a':1}",
    b'{"a":NaN}',
    b'\xef\xbb\xbf{"a":1}',
    b"a=1&b=2",
    b"\x1f\x8b\x08\x00\x00",
    b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"\xff":1}',
]


@pytest.mark.parametrize("body", NOT_OBJECTS)
def test_what_is_not_an_object_passes_as_it_is(body: bytes) -> None:
    """`null` crashed the reference (D37)."""
    assert override(body, {"a": 2}) == body
    assert redirect(body, {"a": "b"}, strict=False) == body


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ('{"model":"alias"}', '{"model":"target"}'),
        ('{ "x":1, "model" :\t"alias" }', '{ "x":1, "model" :\t"target" }'),
        ('{"model":"ali\\u0061s"}', '{"model":"target"}'),
        ('{"mod\\u0065l":"alias"}', '{"mod\\u0065l":"target"}'),
        ('{"model":"通义"}', '{"model":"target"}'),
        ('{"model":"\\u901a\\u4e49"}', '{"model":"target"}'),
        ('{"model":"中文目标"}', '{"model":"\\u76ee\\u6807"}'),
        ('{"model":"Alias"}', '{"model":"Alias"}'),
        ('{"model":"alias "}', '{"model":"alias "}'),
        ('{"model":"first"}', '{"model":"alias"}'),
        ('{"model":["alias"]}', '{"model":["alias"]}'),
        ('{"n":{"model":"alias"}}', '{"n":{"model":"alias"}}'),
        ('{"model":"x","model":"alias"}', '{"model":"target","model":"target"}'),
        ('{"model":"alias","model":"x"}', '{"model":"alias","model":"x"}'),
    ],
)
def test_a_redirect_is_one_step_by_the_exact_name(body: str, sent: str) -> None:
    """However the name is spelled (F61), and never in a chain."""
    rules = {"alias": "target", "通义": "target", "中文目标": "目标", "first": "alias"}
    assert redirect(body.encode(), rules, strict=False).decode() == sent


def refusal(body: bytes, rules: Mapping[str, str]) -> str:
    with pytest.raises(BadRequest) as caught:
        redirect(body, rules, strict=True)
    return str(caught.value)


def test_strict_lets_through_only_what_the_rules_name() -> None:
    rules = {"a": "b", "same": "same"}
    assert redirect(b'{"model":"a"}', rules, strict=True) == b'{"model":"b"}'
    assert redirect(b'{ "model":"same"}', rules, strict=True) == b'{ "model":"same"}'
    assert refusal(b'{"model":"c"}', rules) == "model 'c' is not configured in redirect rules"
    assert refusal(b'{"model":"b"}', rules) == "model 'b' is not configured in redirect rules"


@pytest.mark.parametrize("body", [*NOT_OBJECTS, b"{}", b'{"model":7}', b'{"model":""}'])
def test_strict_refuses_what_it_cannot_read(body: bytes) -> None:
    """A whitelist that lets through what it can't read is none (D35)."""
    assert "names none that can be read" in refusal(body, {"a": "b"})


def test_strict_cannot_be_passed_by_naming_the_model_twice() -> None:
    """Whichever of the two the upstream reads, it is one that the rules allow."""
    rules = {"allowed": "allowed"}
    sent = redirect(b'{"model":"secret","model":"allowed"}', rules, strict=True)
    assert sent == b'{"model":"allowed","model":"allowed"}'
    assert "'secret'" in refusal(b'{"model":"allowed","model":"secret"}', rules)


@pytest.mark.parametrize("body", [b"", b"null", b'{"model":"any"}'])
def test_strict_without_rules_forbids_nothing(body: bytes) -> None:
    assert redirect(body, {}, strict=True) == body
    assert target_of("any", {}, strict=True) == "any"


def test_a_refusal_does_not_repeat_a_name_of_any_length() -> None:
    assert len(refusal(b'{"model":"%b"}' % (b"m" * 100_000), {"a": "b"})) < 300


def test_an_object_of_absurdly_many_members_is_not_walked_over() -> None:
    body = b"{" + b",".join(b'"%d":1' % n for n in range(jsonscan.MEMBERS_LIMIT + 1)) + b"}"
    assert override(body, {"0": 2}) == body
    repeated = b"{" + b",".join([b'"a":1'] * (jsonscan.MEMBERS_LIMIT + 1)) + b"}"
    assert override(repeated, {"a": 2}) == repeated


RULES = st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=4)


def pairs(body: bytes) -> list[tuple[str, Any]]:
    """Top-level members, repeated ones too, as the standard library reads them."""
    return json.loads(body, object_pairs_hook=list)  # type: ignore[no-any-return]


@given(body=objects(), overrides=RULES)
def test_the_new_object_is_the_old_one_updated(body: bytes, overrides: dict[str, Any]) -> None:
    assert json.loads(override(body, overrides)) == json.loads(body) | overrides


@given(body=objects(), overrides=RULES)
def test_all_bytes_but_the_named_values_stay(body: bytes, overrides: dict[str, Any]) -> None:
    """Cut the named values out of both: what is left must be the same bytes."""
    sent = override(body, overrides)
    old, new = members(body), members(sent)
    assert old is not None
    assert new is not None
    assert [member.name for member in new[: len(old)]] == [member.name for member in old]
    assert {member.name for member in new[len(old) :]} == set(overrides) - dict(pairs(body)).keys()

    old_place = new_place = 0
    for before, after in zip(old, new, strict=False):
        assert sent[new_place : after.start] == body[old_place : before.start]
        if before.name not in overrides:
            assert sent[after.start : after.end] == body[before.start : before.end]
        old_place, new_place = before.end, after.end
    blanks, brace, rest = body[old_place:].rpartition(b"}")
    assert sent[new_place:].startswith(blanks)
    assert sent.endswith(brace + rest)


@given(members=MEMBERS, as_ascii=st.booleans(), source=NAMES, target=st.text(max_size=8))
def test_a_redirect_changes_the_model_alone(
    members: list[tuple[str, Any]], as_ascii: bool, source: str, target: str
) -> None:
    members = [*members, ("model", source)]
    spelled = (
        f"{json.dumps(name, ensure_ascii=as_ascii)}:{json.dumps(value, ensure_ascii=as_ascii)}"
        for name, value in members
    )
    body = f"{{{','.join(spelled)}}}"
    sent = redirect(body.encode(), {source: target}, strict=True)
    assert json.loads(sent) == json.loads(body) | {"model": target}


@given(body=objects())
def test_each_member_is_found_where_it_stands(body: bytes) -> None:
    found = members(body)
    assert found is not None
    values = [(member.name, json.loads(body[member.start : member.end])) for member in found]
    # Nested objects become lists of pairs on one side only, so compare what's on top.
    assert [name for name, _ in values] == [name for name, _ in pairs(body)]
    assert dict(values) == json.loads(body)


@given(data=st.binary(max_size=100) | st.text('{}[]":,\\model 1a', max_size=60).map(str.encode))
def test_no_bytes_make_it_raise_or_grow_from_nothing(data: bytes) -> None:
    sent = override(data, {"model": "b"})
    assert sent == data or "model" in {member.name for member in members(sent) or ()}
    redirect(data, {"a": "b"}, strict=False)
