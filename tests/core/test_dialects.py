"""What an event of each API is: no content yet, content, an error, an end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.dialects import Sign, error_event, has_ended, inner_error, sign_of
from gptload.core.errorbody import read_error
from gptload.core.sse import Event, EventReader

HANDSHAKE, CONTENT, ERROR, END = Sign.HANDSHAKE, Sign.CONTENT, Sign.ERROR, Sign.END


def event(value: Any, name: str = "") -> Event:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Event(name.encode(), data)


def chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


def candidate(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    said |= {"finishReason": finish} if finish else {}
    return {"candidates": [said], "usageMetadata": {"promptTokenCount": 4}, **more}


def named(value: dict[str, Any]) -> Event:
    return event(value, value["type"])


USAGE = {"object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 3}}
LIMITED = {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}
OPENED_TEXT = {"type": "content_block_start", "content_block": {"type": "text", "text": ""}}
THOUGHT = {"type": "thinking", "thinking": "", "signature": ""}

SIGNS = [
    # OpenAI's chats and their likes
    (event(chunk({"role": "assistant", "content": "", "refusal": None})), HANDSHAKE),
    (event(chunk({})), HANDSHAKE),
    (event(chunk({"content": ""}, "")), HANDSHAKE),
    (event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}), HANDSHAKE),
    (event({**chunk({"role": "assistant"}), "obfuscation": "xyz"}), HANDSHAKE),
    (event(USAGE), HANDSHAKE),
    (event(chunk({"content": "Hi"})), CONTENT),
    (event(chunk({"content": " "})), CONTENT),
    (event(chunk({"reasoning_content": "hm"})), CONTENT),
    (event(chunk({"reasoning": "hm", "reasoning_details": []})), CONTENT),
    (event(chunk({"tool_calls": [{"index": 0}]})), CONTENT),
    (event(chunk({"refusal": "No."})), CONTENT),
    (event(chunk({"content": "half \ud83d"})), CONTENT),
    (event(chunk({}, "stop")), CONTENT),
    (event(chunk({}, "content_filter")), CONTENT),
    (event(chunk({"content": ""}, "error")), ERROR),
    (event({"choices": [{"text": "", "finish_reason": None}]}), HANDSHAKE),
    (event({"choices": [{"text": "Hi", "finish_reason": None}]}), CONTENT),
    (event({"choices": [{"message": {"content": "Hi"}}]}), CONTENT),
    (event({"choices": None}), HANDSHAKE),
    (event({"error": LIMITED}), ERROR),
    (event({"error": LIMITED, "choices": [{"delta": {"content": ""}}]}), ERROR),
    (event(chunk({"content": "Hi"}, error=None)), CONTENT),
    (event({"object": "error", "message": "busy", "code": 503}), ERROR),
    (event({"code": "x", "error": "Incorrect API key provided"}), ERROR),
    (event({"choices": None, "base_resp": {"status_code": 1002}}), ERROR),
    (event(chunk({"content": "Hi"}, base_resp={"status_code": 0})), CONTENT),
    (event(b"[DONE]"), END),
    (event(b" [DONE] "), END),
    # Responses
    (named({"type": "response.created", "response": {"error": None}}), HANDSHAKE),
    (event({"type": "response.in_progress"}), HANDSHAKE),
    (named({"type": "response.output_item.added", "item": {"type": "message"}}), HANDSHAKE),
    (named({"type": "response.output_text.delta", "delta": "Hi"}), CONTENT),
    (named({"type": "response.reasoning_summary_text.delta", "delta": "h"}), CONTENT),
    (named({"type": "response.function_call_arguments.delta", "delta": "{"}), CONTENT),
    (named({"type": "response.completed", "response": {"output": []}}), CONTENT),
    (named({"type": "response.incomplete"}), CONTENT),
    (named({"type": "response.failed", "response": {"error": LIMITED}}), ERROR),
    (named({"type": "error", "code": "server_error", "message": "x"}), ERROR),
    (event({"object": "response", "status": "failed", "error": LIMITED}), ERROR),
    # Anthropic
    (named({"type": "message_start", "message": {"content": []}}), HANDSHAKE),
    (named({"type": "ping"}), HANDSHAKE),
    (event(b"{}", "ping"), HANDSHAKE),
    (event(b"", "ping"), HANDSHAKE),
    (named(OPENED_TEXT), HANDSHAKE),
    (named({"type": "content_block_start", "content_block": THOUGHT}), HANDSHAKE),
    (named({"type": "content_block_start", "content_block": {"type": "tool_use"}}), CONTENT),
    (named({"type": "content_block_delta", "delta": {"type": "x", "text": ""}}), HANDSHAKE),
    (named({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "H"}}), CONTENT),
    (named({"type": "content_block_delta", "delta": {"thinking": "hm"}}), CONTENT),
    (named({"type": "content_block_stop", "index": 0}), HANDSHAKE),
    (named({"type": "message_delta", "delta": {"stop_reason": "refusal"}}), CONTENT),
    (named({"type": "message_stop"}), END),
    (named({"type": "error", "error": {"type": "overloaded_error"}}), ERROR),
    (event(b"Internal Server Error", "error"), ERROR),
    # Gemini
    (event({"usageMetadata": {"promptTokenCount": 4}}), HANDSHAKE),
    (event(candidate()), HANDSHAKE),
    (event(candidate({"text": ""})), HANDSHAKE),
    (event(candidate({"text": "", "thoughtSignature": "abc"})), HANDSHAKE),
    (event(candidate({"text": "Hi"})), CONTENT),
    (event(candidate({"text": "hm", "thought": True})), CONTENT),
    (event(candidate({"functionCall": {"name": "f"}})), CONTENT),
    (event(candidate(finish="STOP")), CONTENT),
    (event(candidate(finish="SAFETY")), CONTENT),
    (event({"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {}}), CONTENT),
    (event({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}), ERROR),
    (event(b'{\n  "error": {\n    "code": 429,\n    "mess'), ERROR),
    (event({"event_type": "interaction.created"}), HANDSHAKE),
    (event({"event_type": "step.delta", "delta": {"text": "Hi"}}), CONTENT),
    (event({"event_type": "error", "error": {"code": "not_found"}}), ERROR),
    # Ollama
    (event({"message": {"role": "assistant", "content": ""}, "done": False}), HANDSHAKE),
    (event({"message": {"role": "assistant", "thinking": "hm"}, "done": False}), CONTENT),
    (event({"response": "Hi", "done": False}), CONTENT),
    (event({"response": "", "done": True, "done_reason": "load"}), CONTENT),
    (event({"error": "model runner has stopped"}), ERROR),
    # Images and speech; strangers
    (event({"type": "image_generation.partial_image", "b64_json": "iVB"}), CONTENT),
    (event({"type": "transcript.text.delta", "delta": "Hi"}), CONTENT),
    (event({"object": "thread.run"}, "thread.run.created"), CONTENT),
    (event({"anything": 1}), CONTENT),
    (event({}), CONTENT),
    (event(b"plain text"), CONTENT),
    (event(b"null"), CONTENT),
    (event(b'{"choices": [{"del'), CONTENT),
    (event(b""), HANDSHAKE),
]  # fmt: skip


@pytest.mark.parametrize(("given", "sign"), SIGNS)
def test_an_event_is(given: Event, sign: Sign) -> None:
    assert sign_of(given) is sign


@pytest.mark.parametrize(
    ("events", "ended"),
    [
        ([event(chunk({"content": "Hi"}))], False),
        ([event(chunk({"content": "Hi"})), event(b"[DONE]")], True),
        ([event(chunk({}, "stop"))], True),
        ([event(chunk({}, "stop")), event(USAGE)], True),
        ([event(chunk({}, "stop")), event(chunk({"content": "2nd choice"}))], False),
        ([event(USAGE)], True),
        ([named({"type": "response.output_text.done"})], False),
        ([named({"type": "response.completed"})], True),
        ([named({"type": "response.failed"})], True),
        ([named({"type": "response.incomplete"})], True),
        ([named({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})], False),
        ([named({"type": "message_stop"})], True),
        ([named({"type": "message_stop"}), named({"type": "ping"})], True),
        ([named({"type": "content_block_stop"}), named({"type": "ping"})], False),
        ([named({"type": "error", "error": {"type": "api_error"}})], True),
        ([event(candidate({"text": "Hi"}))], False),
        ([event(candidate({"text": "Hi"}, finish="STOP"))], True),
        ([event(candidate(finish="MAX_TOKENS")), event({"usageMetadata": {}})], True),
        ([event({"promptFeedback": {"blockReason": "SAFETY"}})], True),
        ([event({"event_type": "step.stop"})], False),
        ([event({"event_type": "interaction.completed"})], True),
        ([event({"response": "Hi", "done": False})], False),
        ([event({"response": "", "done": True})], True),
        ([event({"type": "transcript.text.delta"})], False),
        ([event({"type": "transcript.text.done"})], True),
        ([event({"type": "image_generation.completed"})], True),
        ([event(b'{"choices": [{"index": 0, "del')], False),
        ([event(b'{"choices": [{"logprob": -Infinity}]}')], True),
        ([event({"a_stranger": 1})], True),
        ([event({"object": "thread.message.delta"}, "thread.message.delta")], True),
        ([event(b"some text")], True),
        ([], True),
    ],
)
def test_a_stream_with_this_end_has_ended(events: list[Event], ended: bool) -> None:
    assert has_ended(events) is ended


CHAT = {"id": "c", "object": "chat.completion", "choices": [{"message": {"content": "error"}}]}


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day"}},
        {"error": "model not found"},
        {"id": "x", "choices": [], "error": {"code": 502}},
        {"object": "error", "message": "busy", "type": "server_error", "code": None},
        {"type": "error", "error": {"type": "overloaded_error"}},
        {"id": "x", "choices": None, "base_resp": {"status_code": 1008, "status_msg": "no"}},
        {"id": "r", "object": "response", "status": "failed", "error": LIMITED},
        {"object": "response", "status": "failed", "error": None},
    ],
)
@pytest.mark.parametrize("before", [b"", b"\n\n\n  "])
def test_an_answer_is_really_an_error(body: dict[str, Any], before: bytes) -> None:
    text = before + json.dumps(body, indent=1).encode()
    assert inner_error(text) == text


@pytest.mark.parametrize(
    "body",
    [
        CHAT,
        {**CHAT, "error": None},
        {**CHAT, "error": {}},
        {**CHAT, "error": ""},
        {**CHAT, "base_resp": {"status_code": 0, "status_msg": "success"}},
        {"candidates": [{"content": {"parts": [{"text": '"error"'}]}}], "error": None},
        {"type": "message", "content": [{"text": "", "error": {"code": 1}}]},
        {"object": "response", "status": "completed", "error": None},
        {"object": "batch", "status": "failed", "errors": {"data": [{"code": "x"}]}},
        ["error"],
        "error",
    ],
)
def test_an_answer_is_no_error(body: Any) -> None:
    assert inner_error(json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    "body", [b"", b'{"error": ', b'"error"', b'{"error":' + b"[" * 99_999, b'\xff"error"']
)
def test_what_cannot_be_read_is_no_error(body: bytes) -> None:
    assert inner_error(body) is None


def test_a_long_answer_is_not_searched_for_an_error() -> None:
    assert inner_error(b'{"data": "' + b"x" * 5000 + b'", "error": {"code": 1}}') is None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (named({"type": "response.failed", "response": {"error": LIMITED}}), "rate_limit_exceeded"),
        (event({"error": LIMITED}), "rate_limit_exceeded"),
        (named({"type": "error", "code": "server_error", "message": "x"}), "server_error"),
        (named({"type": "error", "error": {"type": "overloaded_error"}}), "overloaded_error"),
        (event({"base_resp": {"status_code": 1008}}), "1008"),
    ],
)
def test_an_error_event_can_be_judged_like_an_error_body(given: Event, code: str) -> None:
    assert sign_of(given) is ERROR
    assert code in read_error({}, given.data).codes


def test_an_error_event_is_written_as_it_is_read() -> None:
    for name in (b"", b"error"):
        written = error_event({"error": {"message": "a\nb"}}, name)
        assert EventReader(1000).feed(written) == [Event(name, b'{"error":{"message":"a\\nb"}}')]


MEMBERS = st.sampled_from(
    "type event_type error object status choices delta finish_reason text message candidates "
    "content parts finishReason promptFeedback blockReason usageMetadata done response "
    "content_block base_resp status_code".split()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=10,
)


@given(value=JSON, name=st.sampled_from([b"", b"ping", b"message_start", b"\xff"]))
def test_no_event_makes_it_raise(value: Any, name: bytes) -> None:
    data = json.dumps(value).encode()
    for given_event in (Event(name, data), Event(name, data[:-1])):
        sign_of(given_event)
        has_ended([given_event])
    inner_error(b'{"error": %b}' % data)
    inner_error(data)
