"""Token counts: found in whatever an answer ends with, and read by their API's meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.record import decode, encode
from gptload.core.usage import KEPT_BYTES, SEARCHED_BYTES, Usage, joined, parse, said_in
from tests.parts.records import make_record

# As the APIs' references and SDKs show them.
CHAT = {
    "prompt_tokens": 1117,
    "completion_tokens": 46,
    "total_tokens": 1163,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 10},
    "completion_tokens_details": {
        "reasoning_tokens": 20,
        "audio_tokens": 3,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
RESPONSES = {
    "input_tokens": 328,
    "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 20},
    "output_tokens": 52,
    "output_tokens_details": {"reasoning_tokens": 32},
    "total_tokens": 380,
}
MESSAGES = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 1000,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 305,
    "service_tier": "standard",
}
GEMINI = {
    "promptTokenCount": 40,
    "candidatesTokenCount": 12,
    "totalTokenCount": 160,
    "cachedContentTokenCount": 30,
    "toolUsePromptTokenCount": 8,
    "thoughtsTokenCount": 100,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 33},
        {"modality": "AUDIO", "tokenCount": 7},
    ],
    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 12}],
}


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        (CHAT, Usage(1117, 46, cached=1024, reasoning=20, audio_input=10, audio_output=3)),
        (RESPONSES, Usage(328, 52, cached=100, cache_write=20, reasoning=32)),
        (MESSAGES, Usage(1321, 305, cached=1000, cache_write=300, cache_write_hour=100)),
        (GEMINI, Usage(48, 112, cached=30, reasoning=100, audio_input=7)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
        ({"input_tokens": 9, "output_tokens": 12}, Usage(9, 12)),
        ({"promptTokenCount": 9}, Usage(9)),
        (
            {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 31},
            Usage(9, 22, reasoning=20),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4},
            Usage(9, 2, cached=4),
        ),
        (
            {"total_input_tokens": 7, "total_output_tokens": 20, "total_thought_tokens": 22},
            Usage(7, 42, reasoning=22),
        ),
    ],
    ids=[
        "chat",
        "responses",
        "messages",
        "gemini",
        "embeddings",
        "messages without a cache",
        "gemini's first chunk",
        "thoughts in the total only",
        "deepseek",
        "interactions",
    ],
)
def test_each_apis_words_mean_what_they_mean_there(said: Any, usage: Usage) -> None:
    assert parse(json.dumps(said)) == usage


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{",
        "null",
        "{}",
        '{"type": "duration", "seconds": 9}',
        '{"prompt_tokens": null, "completion_tokens": "9"}',
        '{"input_tokens": -1, "output_tokens": true}',
        '{"input_tokens": 1e3, "output_tokens": 99999999999999999999999}',
    ],
)
def test_what_names_no_tokens_is_not_known(said: str) -> None:
    assert parse(said) is None


def test_what_comes_later_takes_the_place_of_what_it_names() -> None:
    first = b'{"input_tokens":25,"cache_read_input_tokens":4,"output_tokens":1}'
    last = b'{"output_tokens":15,"input_tokens":null}'
    assert parse(joined(first, last).decode()) == Usage(29, 15, cached=4)
    assert joined(b"", last) == joined(last, last) == last
    assert joined(first, b"") == first
    assert joined(first, b"x" * KEPT_BYTES) == b"x" * KEPT_BYTES


BODIES = [
    {"choices": [{"message": {"content": 'say "usage": {"a":1}}'}}], "usage": CHAT, "tier": None},
    {"output": [], "tools": [{"usage": {"input_tokens": 1}}], "usage": RESPONSES, "metadata": {}},
    {"content": [{"type": "text", "text": "usage"}], "usage": MESSAGES},
    {"candidates": [{"finishReason": "STOP"}], "usageMetadata": GEMINI, "modelVersion": "g"},
    {"type": "response.completed", "response": {"usage": RESPONSES, "metadata": {"usage": "x"}}},
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("padding", [0, 3 * SEARCHED_BYTES])
def test_the_usage_of_a_body_is_found_as_it_is_written(
    body: dict[str, Any], indent: int | None, padding: int
) -> None:
    text = json.dumps({"padding": "}" * padding, **body}, indent=indent).encode()
    inner = body.get("response", body)
    said = said_in(text[-SEARCHED_BYTES:])
    assert json.loads(said) == inner.get("usage") or inner.get("usageMetadata")
    assert said in text


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": '"usage":{"prompt_tokens":9}}'}}]},
        {"content": [{"type": "tool_use", "input": {"usage": {"input_tokens": 9}}}]},
        {
            "candidates": [
                {"content": {"parts": [{"functionCall": {"args": {"usageMetadata": GEMINI}}}]}}
            ]
        },
        {"metadata": {"a": "usage"}, "usage": None},
        {"usage": 7},
        {"usage": {"text": "x" * KEPT_BYTES}},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_the_models_own_words_are_no_usage(body: Any, indent: int | None) -> None:
    assert said_in(json.dumps(body, indent=indent).encode()) == b""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just('"usage":{"x":1}}'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=3), st.booleans())
def test_whatever_comes_before_it_the_usage_at_the_end_is_found(
    body: dict[str, Any], is_indented: bool
) -> None:
    body = {name: value for name, value in body.items() if not name.startswith("usage")}
    text = json.dumps(body | {"usage": CHAT}, indent=2 if is_indented else None)
    assert json.loads(said_in(text.encode())) == CHAT


@given(st.binary(max_size=300) | st.text(alphabet='{}"usage:\\ \n,1', max_size=300).map(str.encode))
def test_no_bytes_break_the_search(data: bytes) -> None:
    said = said_in(data)
    assert said in data
    parse(said.decode("utf-8", "replace"))


@given(json_values)
def test_no_json_breaks_the_reading(value: Any) -> None:
    for name in ("usage", "prompt_tokens", "promptTokenCount", "input_tokens"):
        parse(json.dumps({name: value, "cache_creation": value, "completion_tokens": value}))


counts = st.none() | st.integers(0, 2**31 - 1)


@given(counts, counts, counts, counts)
def test_parts_are_never_more_than_their_whole(
    put_in: int | None, out: int | None, cached: int | None, write: int | None
) -> None:
    said = {
        "input_tokens": put_in,
        "output_tokens": out,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": write,
    }
    usage = parse(json.dumps(said))
    if usage is not None and usage.input is not None:
        assert usage.input >= (usage.cached or 0) + (usage.cache_write or 0)


@pytest.mark.parametrize("known", [1, 3], ids=["no first token", "no usage either"])
def test_a_record_of_a_version_before_is_read_without_what_it_lacks(known: int) -> None:
    record = make_record()
    line = json.dumps(list(record)[:-known]).encode() + b"\n"
    assert list(decode(line)) == [record]
    told = record._replace(
        usage='{"prompt_tokens":1}', upstream_model="gpt-5-mini", first_token_ms=90
    )
    assert list(decode(encode([told]))) == [told]
