"""What answers say of their tokens is kept with the record, and reaches the client as it came."""

from __future__ import annotations

import gzip
import json
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gptload.core.record import AttemptRecord
from gptload.core.usage import Usage, parse
from tests.core.test_usage import CHAT, GEMINI, MESSAGES, RESPONSES
from tests.fakes.scene import Scene, group
from tests.proxy.test_exchange import answer, body_of, post
from tests.proxy.test_streams import (
    CHANNELS,
    DONE,
    END,
    HANDSHAKE,
    PATHS,
    WORD,
    ask,
    data,
    each_channel,
    stream,
)

BODIES: dict[str, Any] = {
    "openai": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": 'the "usage": {"x":1}}'}}],
        "usage": CHAT,
        "service_tier": "default",
    },
    "openai-response": {
        "object": "response",
        "status": "completed",
        "error": None,
        "output": [],
        "usage": RESPONSES,
        "metadata": {},
    },
    "anthropic": {"type": "message", "content": [], "usage": MESSAGES},
    "gemini": {
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": GEMINI,
        "modelVersion": "g",
    },
}
UNARY_PATHS = PATHS | {"gemini": b"/proxy/g/v1beta/models/gemini-pro:generateContent"}
USAGES = {
    "openai": Usage(1117, 46, cached=1024, reasoning=20, audio_input=10, audio_output=3),
    "openai-response": Usage(328, 52, cached=100, cache_write=20, reasoning=32),
    "anthropic": Usage(1321, 305, cached=1000, cache_write=300, cache_write_hour=100),
    "gemini": Usage(48, 112, cached=30, reasoning=100, audio_input=7),
}
# Where each API's stream says it; Anthropic at both ends.
STREAMS = {
    "openai": [
        HANDSHAKE["openai"],
        WORD["openai"],
        data(
            {
                "object": "chat.completion.chunk",
                "choices": [{"finish_reason": "stop"}],
                "usage": None,
            }
        ),
        data(
            {"object": "chat.completion.chunk", "choices": [], "usage": CHAT, "obfuscation": "aQ"}
        ),
        DONE["openai"],
    ],
    "openai-response": [
        HANDSHAKE["openai-response"],
        WORD["openai-response"],
        data(
            {
                "type": "response.completed",
                "response": {
                    "id": "r",
                    "output": [{"text": "long " * 3000}],
                    "usage": RESPONSES,
                    "user": None,
                    "metadata": {},
                },
                "sequence_number": 9,
            },
            "response.completed",
        ),
    ],
    "anthropic": [
        data(
            {
                "type": "message_start",
                "message": {"id": "m", "content": [], "usage": MESSAGES | {"output_tokens": 1}},
            },
            "message_start",
        ),
        WORD["anthropic"],
        data(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 305},
            },
            "message_delta",
        ),
        DONE["anthropic"],
    ],
    "gemini": [
        data(
            {
                "candidates": [{"content": {"parts": [{"text": "Hi"}]}}],
                "usageMetadata": {"promptTokenCount": 40},
            }
        ),
        data(
            {"candidates": [{"finishReason": "STOP"}], "usageMetadata": GEMINI, "responseId": "r"}
        ),
    ],
}


def usage_of(record: AttemptRecord) -> Usage | None:
    return parse(record.usage)


def answered(channel: str, *parts: bytes) -> tuple[Scene, bytes]:
    """A call whose answer comes in these parts, and what its client heard."""
    scene = Scene(group(channel=channel))
    client = scene.client()
    client.says(post(b'{"model":"m"}', path=UNARY_PATHS[channel]))
    for part in parts:
        scene.upstreams[0].answers(part)
    return scene, client.heard()


@each_channel
@pytest.mark.parametrize("indent", [None, 2])
def test_a_whole_answers_usage_is_in_its_record(channel: str, indent: int | None) -> None:
    body = json.dumps(BODIES[channel], indent=indent).encode()
    scene, heard = answered(channel, answer(200, body))
    assert body_of(heard) == body
    assert [usage_of(record) for record in scene.records] == [USAGES[channel]]


each_of = st.sampled_from(CHANNELS)


@settings(max_examples=100)
@given(each_of, st.lists(st.integers(1, 5000), max_size=12), st.integers(0, 30_000))
def test_wherever_a_whole_answer_is_cut(channel: str, sizes: list[int], padding: int) -> None:
    body = json.dumps({"padding": "x" * padding} | BODIES[channel]).encode()
    scene, heard = answered(channel, *cut(answer(200, body), sizes))
    assert body_of(heard) == body
    assert [usage_of(record) for record in scene.records] == [USAGES[channel]]


@settings(max_examples=100)
@given(each_of, st.lists(st.integers(1, 400), max_size=40))
def test_wherever_a_stream_is_cut(channel: str, sizes: list[int]) -> None:
    scene = Scene(group(channel=channel))
    client = ask(scene, channel)
    for part in cut(stream(*STREAMS[channel]) + END, sizes):
        scene.upstreams[0].answers(part)
    heard = unchunked(body_of(client.heard()))
    assert heard == b"".join(STREAMS[channel])
    assert [usage_of(record) for record in scene.records] == [USAGES[channel]]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [part for part in (*parts, data) if part]


def unchunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
    return body


PACKERS = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress}


@each_channel
@pytest.mark.parametrize("coding", PACKERS)
def test_a_packed_answer_is_looked_into_and_passes_packed(channel: str, coding: str) -> None:
    body = PACKERS[coding](json.dumps({"text": "x" * 20_000} | BODIES[channel]).encode())
    whole = answer(200, body, b"Content-Encoding: " + coding.encode())
    scene, heard = answered(channel, whole[:150], whole[150:])
    assert body_of(heard) == body
    assert [usage_of(record) for record in scene.records] == [USAGES[channel]]


def test_a_long_packed_answer_passes_without_a_look() -> None:
    noise = "".join(chr(33 + (n * n * 7919) % 90) for n in range(60_000))
    body = zstandard.compress(json.dumps({"text": noise * 2} | BODIES["openai"]).encode(), 1)
    packed = body + b"\0" * (17_000 - len(body)) if len(body) < 17_000 else body
    scene, heard = answered("openai", answer(200, packed, b"Content-Encoding: zstd"))
    assert body_of(heard) == packed
    assert scene.records[0].usage == ""


@each_channel
def test_a_stream_that_breaks_keeps_what_it_has_said(channel: str) -> None:
    scene = Scene(group(channel=channel))
    ask(scene, channel)
    scene.upstreams[0].answers(stream(*STREAMS[channel][:2]))
    scene.upstreams[0].closes()
    (record,) = scene.records
    usage = usage_of(record)
    assert (usage is not None) == (channel in ("anthropic", "gemini"))


@pytest.mark.parametrize("channel", ["anthropic", "gemini"])
def test_a_client_that_leaves_has_used_what_it_has_heard(channel: str) -> None:
    scene = Scene(group(channel=channel))
    client = ask(scene, channel)
    scene.upstreams[0].answers(stream(*STREAMS[channel][:2]))
    client.leaves()
    (record,) = scene.records
    assert record.outcome == "client_gone"
    assert usage_of(record) is not None


def test_a_stream_in_one_piece_is_read_too() -> None:
    scene = Scene(group(channel="anthropic"))
    ask(scene, "anthropic")
    scene.upstreams[0].answers(stream(*STREAMS["anthropic"]) + END)
    assert usage_of(scene.records[0]) == USAGES["anthropic"]


def test_what_a_get_shows_was_counted_when_it_was_made() -> None:
    scene = Scene(group(channel="openai-response"))
    client = scene.client()
    client.says(
        b"GET /proxy/g/v1/responses/resp_1 HTTP/1.1\r\nHost: h\r\nx-api-key: sk-proxy\r\n\r\n"
    )
    scene.upstreams[0].answers(answer(200, BODIES["openai-response"]))
    assert [record.usage for record in scene.records] == [""]


def test_a_redirected_model_is_named_for_its_price() -> None:
    scene = Scene(group(model_redirects={"m": "gpt-4o"}))
    client = scene.client()
    client.says(post(b'{"model":"m"}'))
    scene.upstreams[0].answers(answer(200, BODIES["openai"]))
    (record,) = scene.records
    assert (record.model, record.upstream_model) == ("m", "gpt-4o")


def test_an_error_took_nothing() -> None:
    scene, _ = answered("openai", answer(400, {"error": {"message": "no"}, "usage": CHAT}))
    assert [record.usage for record in scene.records] == [""]
