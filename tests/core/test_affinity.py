"""Session affinity: which requests belong together, and the bound on what a key gets by it."""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core import settings
from gptload.core.affinity import (
    SESSIONS_LIMIT,
    SHARE,
    UNUSED_S,
    WINDOW_S,
    Affinity,
    Rule,
    parse,
    session_of,
)
from gptload.core.errors import ValidationFailed
from gptload.core.headers import Field, learn

PREFIX = Rule("prefix")


def field(name: bytes, value: bytes) -> Field:
    known = learn(name)
    assert known is not None
    return known, name + b": " + value


def by_prefix(body: dict[str, Any]) -> bytes | None:
    return session_of(PREFIX, (), json.dumps(body).encode())


# The setting.


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", None),
        ("  ", None),
        ("prefix", Rule("prefix")),
        (" header: X-Session-Id ", Rule("header", "x-session-id")),
        ("body:prompt_cache_key", Rule("body", "prompt_cache_key")),
        ("body:metadata.user_id", Rule("body", "metadata.user_id")),
    ],
)
def test_the_setting_names_what_tells_sessions_apart(text: str, rule: Rule | None) -> None:
    assert parse(text) == rule
    assert settings.check("session_affinity", text, for_group=True) == text.strip()


@pytest.mark.parametrize(
    "text", ["on", "prefix:x", "header", "header:", "header:a b", "header:ä", "body:", "body:a..b"]
)
def test_another_text_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        settings.check("session_affinity", text, for_group=False)
    assert caught.value.message.startswith(
        f"invalid value for session_affinity ({json.dumps(text, ensure_ascii=False)})"
    )
    assert "header:x-session-id" in caught.value.hint


# Whom a request belongs to.


def chat(*messages: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


HELLO = [{"text": "hello"}]
CONVERSATIONS = {
    "openai": (
        chat(("system", "be brief"), ("user", "hello")),
        chat(("system", "be brief"), ("user", "hello"), ("assistant", "hi"), ("user", "why?")),
    ),
    "developer": (
        chat(("developer", "be brief"), ("user", [{"type": "text", "text": "hello"}])),
        chat(("developer", "be brief"), ("user", "hello"), ("assistant", None), ("tool", "4")),
    ),
    "responses": (
        {"instructions": "be brief", "input": "hello"},
        {
            "instructions": "be brief",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
                {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "…"}]},
                {"type": "function_call_output", "output": "4"},
            ],
        },
    ),
    "anthropic": (
        {
            "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "e"}}],
            **chat(("user", [{"type": "text", "text": "hello", "cache_control": {"type": "e"}}])),
        },
        {"system": "be brief", **chat(("user", "hello"), ("assistant", "hi"), ("user", "why?"))},
    ),
    "gemini": (
        {"systemInstruction": {"parts": [{"text": "be brief"}]}, "contents": [{"parts": HELLO}]},
        {
            "system_instruction": {"role": "user", "parts": [{"text": "be brief"}]},
            "contents": [{"role": "user", "parts": HELLO}, {"role": "model", "parts": HELLO}],
        },
    ),
}


@pytest.mark.parametrize("form", CONVERSATIONS)
def test_the_turns_of_a_conversation_are_one_session_however_they_are_written(form: str) -> None:
    first, later = CONVERSATIONS[form]
    session = by_prefix(first)
    assert session is not None and len(session) == 16
    assert by_prefix({"model": "m", "stream": True, **later}) == session


@pytest.mark.parametrize("form", CONVERSATIONS)
def test_another_system_or_first_user_message_is_another_session(form: str) -> None:
    text = json.dumps(CONVERSATIONS[form][0])
    bodies = (text, text.replace("hello", "bye"), text.replace("be brief", "be long"))
    assert len({session_of(PREFIX, (), body.encode()) for body in bodies}) == 3


def test_two_texts_are_not_the_one_that_they_make_together() -> None:
    one = by_prefix(chat(("system", "a"), ("user", "b")))
    assert one != by_prefix(chat(("system", 'a"\n"b'), ("user", "")))
    assert one != by_prefix(chat(("user", ["a", "b"])))
    assert by_prefix(chat(("user", ["a", "b"]))) != by_prefix(chat(("user", "ab")))


def test_a_picture_tells_sessions_apart_and_its_cache_mark_does_not() -> None:
    def asked(**part: Any) -> bytes | None:
        return by_prefix(chat(("user", [{"type": "image", **part}, {"text": "what is it?"}])))

    assert asked(source="one") != asked(source="other")
    assert asked(source="one", cache_control={"type": "ephemeral"}) == asked(source="one")


def test_half_an_emoji_is_no_obstacle() -> None:
    body = rb'{"messages": [{"role": "user", "content": "cut \ud83d"}]}'
    assert session_of(PREFIX, (), body) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"messages": 1}',
        b'{"messages": [1, null, [], {}, {"role": {}}]}',
        b'{"messages": [{"role": "assistant", "content": "x"}], "system": "", "input": []}',
        b'{"contents": [{"role": "model", "parts": [{"text": "x"}]}]}',
        b'{"messages": [{"role": "user", "content": 1e999}]}',
        b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"system": ' + b'{"parts":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"messages": [{"role": "user", "content": "cut',
        b"\xff\xfe\x00",
    ],
)
def test_where_there_is_nothing_to_go_by_there_is_no_session(body: bytes) -> None:
    assert session_of(PREFIX, (), body) is None
    assert session_of(Rule("body", "messages.x.y"), (), body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "messages input system instructions contents parts content role text".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(value=JSON, cut=st.integers(0, 400))
def test_no_body_raises(value: Any, cut: int) -> None:
    body = json.dumps(value).encode()
    for rule in (PREFIX, Rule("body", "system.text")):
        for part in (body, body[:cut]):
            session = session_of(rule, (), part)
            assert session is None or len(session) == 16


@given(body=st.binary(max_size=60))
def test_no_bytes_raise(body: bytes) -> None:
    assert session_of(PREFIX, (), body) is None
    assert session_of(Rule("body", "user"), (), body) is None


def test_a_header_field_names_the_session() -> None:
    rule = Rule("header", "x-session-id")
    one = session_of(rule, [field(b"Accept", b"*/*"), field(b"X-Session-Id", b"one")], b"")
    assert one is not None and len(one) == 16
    assert one == session_of(rule, [field(b"x-session-id", b" one ")], b"{}")
    assert one != session_of(rule, [field(b"x-session-id", b"two")], b"")
    assert session_of(rule, [field(b"x-session-id", b"")], b"") is None
    assert session_of(rule, [], b"") is None


def test_a_body_field_names_the_session() -> None:
    rule = Rule("body", "metadata.user_id")
    one = session_of(rule, (), b'{"metadata": {"user_id": "one"}}')
    assert one is not None
    assert one == session_of(rule, (), b'{"n": 1e999, "metadata" : { "user_id":"one" } }')
    assert one != session_of(rule, (), b'{"metadata": {"user_id": "two"}}')
    assert session_of(Rule("body", "user"), (), b'{"user": 7}') is not None
    for nothing in (b"{}", b'{"metadata": {"user_id": ""}}', b'{"metadata": "x"}'):
        assert session_of(rule, (), nothing) is None
    assert session_of(rule, (), b'{"metadata": {"user_id": null}}') is None


# Which key it prefers.

ONE, TWO = b"1" * 16, b"2" * 16


def test_a_session_prefers_the_key_that_served_it_last() -> None:
    affinity = Affinity()
    assert affinity.prefers(ONE, 0.0) is None
    affinity.served(ONE, 7, 0.0, 10)
    assert affinity.prefers(ONE, WINDOW_S) == 7
    assert affinity.prefers(TWO, WINDOW_S) is None
    affinity.served(ONE, 8, WINDOW_S, 10)
    assert affinity.prefers(ONE, 2 * WINDOW_S) == 8


def test_a_key_that_has_had_its_share_and_a_quarter_is_not_preferred() -> None:
    affinity = Affinity()
    for number in range(100):
        affinity.served(None, number % 10, 0.0, 10)  # ten each
    affinity.served(ONE, 3, 0.0, 10)
    assert affinity.prefers(ONE, 0.0) == 3  # its twelfth, of 102 in all
    affinity.served(ONE, 3, 0.0, 10)
    assert affinity.prefers(ONE, 0.0) is None
    assert affinity.prefers(ONE, WINDOW_S) == 3


def test_a_session_too_much_for_one_key_keeps_to_the_few_that_know_it() -> None:
    affinity = Affinity()
    for key_id in (1, 2, 3):
        affinity.served(ONE, key_id, 0.0, 100)
    for key_id, next_best in ((3, 2), (2, 1)):
        for _ in range(4):
            affinity.served(TWO, key_id, WINDOW_S, 100)
        assert affinity.prefers(ONE, WINDOW_S) == next_best


def test_a_few_requests_are_no_load_worth_sharing() -> None:
    affinity = Affinity()
    for _ in range(4):
        affinity.served(ONE, 1, 0.0, 100)
    assert affinity.prefers(ONE, 0.0) is None
    assert affinity.prefers(ONE, WINDOW_S) == 1


def test_a_conversation_in_a_quiet_group_stays_with_its_key() -> None:
    affinity = Affinity()
    affinity.served(ONE, 500, 0.0, 1000)
    for turn in range(1, 50):
        now = turn * WINDOW_S
        assert affinity.prefers(ONE, now) == 500
        affinity.served(ONE, 500, now, 1000)


def test_the_only_key_that_serves_is_always_preferred() -> None:
    affinity = Affinity()
    for _ in range(100):
        affinity.served(ONE, 1, 0.0, 1)
        assert affinity.prefers(ONE, 0.0) == 1


def test_an_unused_session_is_forgotten_after_an_hour() -> None:
    affinity = Affinity()
    affinity.served(ONE, 7, 0.0, 10)
    assert affinity.prefers(ONE, UNUSED_S) == 7
    assert affinity.prefers(ONE, UNUSED_S + 1) is None
    affinity.served(TWO, 7, UNUSED_S + 1, 10)
    assert len(affinity) == 1


def test_of_too_many_sessions_those_used_least_lately_are_forgotten() -> None:
    affinity = Affinity()
    affinity.served(ONE, 1, 0.0, 1)
    affinity.served(TWO, 2, 0.0, 1)
    for number in range(SESSIONS_LIMIT):
        affinity.served(b"%16d" % number, 3, 1.0, 1)
        affinity.served(ONE, 1, 1.0, 1)
    assert len(affinity) == SESSIONS_LIMIT
    assert affinity.prefers(ONE, 1.0) == 1 and affinity.prefers(TWO, 1.0) is None


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", b"c", b"d", None]),
        st.sampled_from([0.0, 0.1, 1.0, 4.0, 11.0]),
        st.integers(1, 8),
    ),
    max_size=300,
)


@given(requests=REQUESTS)
def test_no_key_gets_more_by_preference_than_its_share_and_a_quarter(
    requests: list[tuple[bytes | None, float, int]],
) -> None:
    """Over any sequence, whoever is loud and however many keys come and go."""
    affinity = Affinity()
    now = 0.0
    told = 1
    window: deque[tuple[float, int]] = deque()
    for number, (session, passed, serving) in enumerate(requests):
        now += passed
        while window and window[0][0] <= now - WINDOW_S:
            window.popleft()
        key_id = affinity.prefers(session, now) if session is not None else None
        preferred = key_id is not None
        if key_id is None:
            key_id = number % serving
        affinity.served(session, key_id, now, serving)
        window.append((now, key_id))
        load = Counter(key for _, key in window)[key_id]
        if preferred:
            assert load <= max(4.0, SHARE * len(window) / told)
        told = serving


def test_one_loud_session_among_many_leaves_every_key_near_its_share() -> None:
    affinity = Affinity()
    picks: Counter[int] = Counter()
    turn = 0
    for number in range(10_000):
        session = ONE if number % 2 else b"%16d" % (number % 400)
        key_id = affinity.prefers(session, number / 100)
        if key_id is None:
            key_id, turn = turn, (turn + 1) % 20
        picks[key_id] += 1
        affinity.served(session, key_id, number / 100, 20)
    assert max(picks.values()) <= 1.5 * 10_000 / 20
    assert len(picks) == 20
