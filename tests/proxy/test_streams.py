"""Streams: retried until their first word is out, ended in their API's own form after it."""

from __future__ import annotations

import gzip
import json
from typing import Any

import brotli
import pytest
import zstandard

from gptload.core.keystate import State
from tests.fakes.scene import NOW, Client, Scene, group
from tests.proxy.test_exchange import answer, body_of, outcomes, post, status_of
from tests.proxy.test_failover import answer_all, busy

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
PATHS = {
    "openai": b"/proxy/g/v1/chat/completions",
    "openai-response": b"/proxy/g/v1/responses",
    "anthropic": b"/proxy/g/v1/messages",
    "gemini": b"/proxy/g/v1beta/models/gemini-pro:streamGenerateContent?alt=sse",
}


def data(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


HANDSHAKE = {
    "openai": data({"object": "chat.completion.chunk", "choices": [{"delta": {"role": "a"}}]}),
    "openai-response": data({"type": "response.created", "response": {"id": "r"}}),
    "anthropic": data({"type": "message_start", "message": {"id": "m"}}, "message_start"),
    "gemini": data({"usageMetadata": {"promptTokenCount": 1}}),
}
WORD = {
    "openai": data({"object": "chat.completion.chunk", "choices": [{"delta": {"content": "Hi"}}]}),
    "openai-response": data({"type": "response.output_text.delta", "delta": "Hi"}),
    "anthropic": data(
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}},
        "content_block_delta",
    ),
    "gemini": data({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}),
}
DONE = {
    "openai": b"data: [DONE]\n\n",
    "openai-response": data({"type": "response.completed", "response": {"id": "r"}}),
    "anthropic": data({"type": "message_stop"}, "message_stop"),
    "gemini": data({"candidates": [{"finishReason": "STOP"}]}),
}
OVERLOADED = {
    "openai": data({"error": {"message": "busy", "type": "server_error", "code": 503}}),
    "openai-response": data({"type": "error", "code": "server_error", "message": "busy"}, "error"),
    "anthropic": data(
        {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "error"
    ),
    "gemini": data({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}),
}
CHANNELS = sorted(PATHS)
each_channel = pytest.mark.parametrize("channel", CHANNELS)


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


def stream(*events: bytes) -> bytes:
    return HEAD + b"".join(map(chunk, events))


def ask(scene: Scene, channel: str) -> Client:
    client = scene.client()
    client.says(post(b'{"model":"m","stream":true}', path=PATHS[channel]))
    return client


def events_of(heard: bytes) -> bytes:
    """A chunked answer's text."""
    body, text = body_of(heard), b""
    while body:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        text += body[:count]
        body = body[count + 2 :]
    return text


@each_channel
def test_a_whole_stream_passes_byte_for_byte(channel: str) -> None:
    scene = Scene(group(channel=channel))
    client = ask(scene, channel)
    parts = (HANDSHAKE[channel], WORD[channel], WORD[channel], DONE[channel])
    scene.upstreams[0].answers(stream(*parts[:2]))
    heard = client.heard()
    assert events_of(heard) == parts[0] + parts[1]
    for part in parts[2:]:
        scene.upstreams[0].answers(chunk(part))
    scene.upstreams[0].answers(END)
    assert client.heard().endswith(END)
    assert outcomes(scene) == [("ok", 200, True)]


@each_channel
def test_a_handshake_is_held_for_a_moment_and_no_longer(channel: str) -> None:
    scene = Scene(group(channel=channel, settings={"stream_hold_milliseconds": 500}))
    client = ask(scene, channel)
    scene.upstreams[0].answers(stream(HANDSHAKE[channel]))
    scene.clock.advance(0.4)
    assert client.heard() == b""
    scene.clock.advance(0.2)
    assert events_of(client.heard()) == HANDSHAKE[channel]


@each_channel
def test_an_error_before_the_first_word_is_tried_again(channel: str) -> None:
    scene = Scene(group("http://one.example", "http://two.example", channel=channel))
    client = ask(scene, channel)
    scene.upstreams[0].answers(stream(HANDSHAKE[channel], OVERLOADED[channel]) + END)
    assert client.heard() == b""
    scene.upstreams[busy(scene)[0]].answers(stream(WORD[channel], DONE[channel]) + END)
    assert events_of(client.heard()) == WORD[channel] + DONE[channel]
    assert [(outcome, final) for outcome, _, final in outcomes(scene)] == [
        ("upstream_fault", False),
        ("ok", True),
    ]
    assert scene.upstreams[0].route != scene.upstreams[1].route


@each_channel
def test_a_stream_of_errors_everywhere_ends_with_the_last_one_as_it_came(channel: str) -> None:
    scene = Scene(group(channel=channel, settings={"max_retries": 1}))
    client = ask(scene, channel)
    failing = stream(HANDSHAKE[channel], OVERLOADED[channel]) + END
    scene.upstreams[0].answers(failing)
    scene.upstreams[busy(scene)[0]].answers(failing)
    heard = client.heard()
    assert events_of(heard) == HANDSHAKE[channel] + OVERLOADED[channel]
    assert [record.is_final for record in scene.records] == [False, True]


@each_channel
@pytest.mark.parametrize("broken", ["reset", "cut", "silent"])
def test_after_the_first_word_a_break_ends_with_an_error_event(channel: str, broken: str) -> None:
    scene = Scene(group(channel=channel, settings={"stream_idle_timeout": 5}))
    client = ask(scene, channel)
    upstream = scene.upstreams[0]
    upstream.answers(stream(HANDSHAKE[channel], WORD[channel]))
    if broken == "reset":
        upstream.closes(ConnectionResetError())
    elif broken == "cut":
        upstream.answers(END)
    else:
        scene.advance(8)
    heard = client.heard()
    text = events_of(heard)
    assert text.startswith(HANDSHAKE[channel] + WORD[channel]) and heard.endswith(END)
    last = text.removeprefix(HANDSHAKE[channel] + WORD[channel]).decode()
    assert "error" in json.loads(last.partition("data: ")[2]) or '"type":"error"' in last
    assert len(scene.upstreams) == 1 and scene.events == []
    assert outcomes(scene) == [("upstream_fault", 200, True)]


@each_channel
def test_a_break_in_the_middle_of_an_event_is_a_visible_break(channel: str) -> None:
    """Nothing that we could write there would be read as what it is."""
    scene = Scene(group(channel=channel))
    client = ask(scene, channel)
    half = WORD[channel][:-5]
    scene.upstreams[0].answers(stream(WORD[channel], half))
    scene.upstreams[0].closes(ConnectionResetError())
    heard = client.heard()
    assert not heard.endswith(END) and client.transport.disconnecting
    assert events_of(heard) == WORD[channel] + half
    assert outcomes(scene) == [("upstream_fault", 200, True)]


@each_channel
def test_an_event_that_lacks_only_its_blank_line_is_closed_before_ours(channel: str) -> None:
    scene = Scene(group(channel=channel))
    client = ask(scene, channel)
    scene.upstreams[0].answers(stream(WORD[channel], WORD[channel][:-1]))
    scene.upstreams[0].closes(ConnectionResetError())
    text = events_of(client.heard())
    assert text.startswith(2 * WORD[channel]) and b"broke off" in text


def test_a_compressed_stream_gets_no_event_of_ours() -> None:
    scene = Scene(group())
    client = ask(scene, "openai")
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n")
    scene.upstreams[0].answers(head + chunk(b"\x8b\x01\x80compressed"))
    scene.clock.advance(2)
    scene.upstreams[0].closes(ConnectionResetError())
    assert b"broke off" not in client.heard() and client.transport.disconnecting


def test_nothing_within_the_first_tokens_time_goes_elsewhere() -> None:
    scene = Scene(
        group("http://one.example", "http://two.example", settings={"first_token_timeout": 4})
    )
    client = ask(scene, "openai")
    scene.upstreams[0].answers(HEAD)
    scene.advance(3)
    assert client.heard() == b"" and len(scene.upstreams) == 1
    scene.advance(3)
    assert scene.upstreams[0].gone and len(scene.upstreams) == 2
    scene.upstreams[1].answers(stream(WORD["openai"], DONE["openai"]) + END)
    assert events_of(client.heard()) == WORD["openai"] + DONE["openai"]


def test_a_limit_inside_a_stream_rests_the_key_and_the_other_one_answers() -> None:
    limited = data({"error": {"code": 429, "message": "slow down", "metadata": {}}})
    scene = Scene(group(), keys=2)
    client = ask(scene, "openai")
    scene.upstreams[0].answers(stream(limited) + END)
    scene.upstreams[busy(scene)[0]].answers(stream(WORD["openai"], DONE["openai"]) + END)
    assert WORD["openai"] in events_of(client.heard())
    assert [record.outcome for record in scene.records] == ["rate_limited", "ok"]
    assert scene.records[0].rest_until is not None


def test_an_error_after_the_first_word_is_passed_on_and_counted() -> None:
    scene = Scene(group(channel="anthropic"), keys=2)
    client = ask(scene, "anthropic")
    limited = data({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}})
    scene.upstreams[0].answers(stream(WORD["anthropic"], limited) + END)
    heard = client.heard()
    assert events_of(heard) == WORD["anthropic"] + limited and heard.endswith(END)
    assert outcomes(scene) == [("rate_limited", 200, True)]
    assert scene.events[0].until is not None and scene.events[0].until > NOW


def test_a_live_stream_is_cut_only_where_the_group_says_so() -> None:
    scene = Scene(group(settings={"stream_timeout": 10, "request_timeout": 2}))
    client = ask(scene, "openai")
    scene.upstreams[0].answers(HEAD)
    for _ in range(9):
        scene.upstreams[0].answers(chunk(WORD["openai"]))
        scene.advance(1)
    assert events_of(client.heard()) == 9 * WORD["openai"]
    scene.upstreams[0].answers(chunk(WORD["openai"]))
    scene.advance(3)
    assert b"error" in client.heard() and scene.upstreams[0].gone


def test_an_upstream_is_not_silent_while_its_client_is_slow() -> None:
    scene = Scene(group(settings={"stream_idle_timeout": 3}))
    client = ask(scene, "openai")
    scene.upstreams[0].answers(stream(WORD["openai"]))
    client.connection.pauseProducing()
    scene.advance(20)
    assert not scene.upstreams[0].gone
    client.connection.resumeProducing()
    scene.upstreams[0].answers(chunk(DONE["openai"]) + END)
    assert outcomes(scene) == [("ok", 200, True)]


# Errors that call themselves 200.


@pytest.mark.parametrize("parts", [1, 3])
def test_an_error_in_a_whole_200_is_tried_again(parts: int) -> None:
    scene = Scene(group(), keys=2)
    client = scene.client()
    client.says(post())
    error = answer(200, {"error": {"code": 401, "message": "no auth"}, "user_id": "u"})
    size = len(error) // parts + 1
    for start in range(0, len(error), size):
        scene.upstreams[0].answers(error[start : start + size])
    assert client.heard() == b""
    fine = answer(200, {"error": None, "choices": []})
    scene.upstreams[busy(scene)[0]].answers(fine)
    assert client.heard() == fine.replace(b" X\r\n", b" X\r\n")
    assert [record.outcome for record in scene.records] == ["key_rejected", "ok"]


def test_a_long_answer_that_mentions_errors_passes_whole() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    long = answer(200, {"error": None, "text": "x" * 200_000})
    for start in range(0, len(long), 30_000):
        scene.upstreams[0].answers(long[start : start + 30_000])
    assert body_of(client.heard()) == body_of(long)
    assert outcomes(scene) == [("ok", 200, True)]


def test_an_answer_that_breaks_while_it_is_kept_back_is_tried_again() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(answer(200, {"error": None, "text": "x" * 500})[:-100])
    scene.upstreams[0].closes(ConnectionResetError())
    assert client.heard() == b"" and len(scene.upstreams) == 2
    assert scene.state(100) is State.ACTIVE
    scene.upstreams[1].answers(answer(200, {"ok": 1}))
    assert status_of(client.heard()) == 200


# Keys that an upstream quotes.

QUOTED = {"error": {"message": "Incorrect API key provided: sk-pool-1-0", "code": "x"}}


@pytest.mark.parametrize("where", ["opening", "later", "unary", "field"])
def test_a_pool_key_in_an_error_reaches_nobody(where: str) -> None:
    scene = Scene(group(settings={"max_retries": 0}), keys=1)
    if where in ("opening", "later"):
        client = ask(scene, "openai")
        before = (WORD["openai"],) if where == "later" else ()
        scene.upstreams[0].answers(stream(*before, data(QUOTED)) + END)
    else:
        client = scene.client()
        client.says(post())
        field = b"WWW-Authenticate: Bearer token=sk-pool-1-0"
        status = 200 if where == "unary" else 401
        scene.upstreams[0].answers(answer(status, QUOTED, *([field] if where == "field" else [])))
    heard = client.heard()
    assert b"Incorrect API key" in heard and b"sk-pool-1-0" not in heard
    assert all(b"sk-pool-1-0" not in repr(record).encode() for record in scene.records)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_packed_error_in_a_200_is_tried_again(coding: str) -> None:
    error = json.dumps({"error": {"code": 429, "message": "slow down"}}).encode()
    packed = {
        "gzip": gzip.compress,
        "br": brotli.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }[coding](error)
    scene = Scene(group(), keys=2)
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(answer(200, packed, b"Content-Encoding: " + coding.encode()))
    answer_all(scene, answer(200, {"ok": 1}))
    assert body_of(client.heard()) == b'{"ok": 1}'
    assert [record.outcome for record in scene.records] == ["rate_limited", "ok"]


def test_blanks_before_an_error_dont_let_it_through() -> None:
    scene = Scene(group(), keys=2)
    client = scene.client()
    client.says(post())
    whole = answer(200, b"\n\n  \n" + json.dumps(QUOTED).encode())
    place = whole.index(b"\r\n\r\n") + 5
    scene.upstreams[0].answers(whole[:place])
    scene.upstreams[0].answers(whole[place:])
    assert client.heard() == b""
    answer_all(scene, answer(200, {"ok": 1}))
    assert body_of(client.heard()) == b'{"ok": 1}'


def test_a_long_error_that_was_not_read_to_its_end_is_not_given_as_whole() -> None:
    scene = Scene(group(settings={"max_retries": 1}), keys=1)
    client = scene.client()
    client.says(post())
    long = answer(500, {"error": "x" * 100_000})
    for start in range(0, len(long), 30_000):
        scene.upstreams[0].answers(long[start : start + 30_000])
        if scene.upstreams[0].gone:
            break
    scene.upstreams[-1].closes(ConnectionResetError())
    assert status_of(client.heard()) == 502


def first_token(scene: Scene) -> int | None:
    """Of the last attempt, milliseconds."""
    record = scene.records[-1]
    first = record.first_token_ms
    if first is not None:
        assert record.first_byte_ms is not None
        assert record.first_byte_ms <= first <= record.duration_ms
    return first


@each_channel
@pytest.mark.parametrize("hold_ms", [0, 500, 60_000])
def test_the_first_token_is_when_the_first_content_came(channel: str, hold_ms: int) -> None:
    """Whether it is what lets the stream go, or the stream had to be let go before."""
    scene = Scene(group(channel=channel, settings={"stream_hold_milliseconds": hold_ms}))
    client = ask(scene, channel)
    scene.clock.advance(0.25)
    scene.upstreams[0].answers(stream(HANDSHAKE[channel]))
    scene.clock.advance(1.5)
    scene.upstreams[0].answers(chunk(HANDSHAKE[channel]))
    scene.clock.advance(1.25)
    scene.upstreams[0].answers(chunk(WORD[channel][:9]))
    scene.clock.advance(1.0)
    scene.upstreams[0].answers(chunk(WORD[channel][9:]))
    scene.clock.advance(2.0)
    scene.upstreams[0].answers(chunk(WORD[channel]) + chunk(DONE[channel]) + END)
    said = HANDSHAKE[channel] * 2 + WORD[channel] * 2 + DONE[channel]
    assert events_of(client.heard()) == said
    assert first_token(scene) == 4000
    assert scene.records[-1].duration_ms == 6000


@each_channel
def test_a_stream_that_comes_in_one_piece_has_its_first_token_then(channel: str) -> None:
    scene = Scene(group(channel=channel))
    ask(scene, channel)
    scene.clock.advance(0.75)
    parts = (HANDSHAKE[channel], WORD[channel], DONE[channel])
    scene.upstreams[0].answers(stream(*parts) + END)
    assert first_token(scene) == 750


def test_each_attempt_has_a_first_token_of_its_own() -> None:
    scene = Scene(group(settings={"max_retries": 1}))
    ask(scene, "openai")
    scene.clock.advance(0.5)
    scene.upstreams[0].answers(stream(HANDSHAKE["openai"], OVERLOADED["openai"]) + END)
    scene.clock.advance(0.25)
    last = scene.upstreams[busy(scene)[0]]
    last.answers(stream(WORD["openai"], DONE["openai"]) + END)
    assert [record.first_token_ms for record in scene.records] == [None, 250]


def test_what_breaks_after_its_first_word_has_had_one() -> None:
    scene = Scene(group())
    ask(scene, "openai")
    scene.clock.advance(0.5)
    scene.upstreams[0].answers(stream(WORD["openai"]))
    scene.clock.advance(0.5)
    scene.upstreams[0].closes(ConnectionResetError())
    assert scene.records[-1].outcome == "upstream_fault"
    assert first_token(scene) == 500


@pytest.mark.parametrize("hold_ms", [0, 60_000])
def test_a_stream_that_nobody_can_read_has_no_first_token(hold_ms: int) -> None:
    """Its first bytes may be a handshake: better none than a wrong one."""
    scene = Scene(group(settings={"stream_hold_milliseconds": hold_ms}))
    ask(scene, "openai")
    packed = gzip.compress(HANDSHAKE["openai"] + WORD["openai"] + DONE["openai"])
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    scene.upstreams[0].answers(head + chunk(packed) + END)
    assert scene.records[-1].outcome == "ok"
    assert first_token(scene) is None


def test_an_answer_that_is_no_stream_has_no_first_token() -> None:
    scene = Scene(group())
    scene.client().says(post(b'{"model":"m"}'))
    scene.upstreams[0].answers(answer(200, {"choices": [{"message": {"content": "Hi"}}]}))
    assert scene.records[-1].outcome == "ok"
    assert first_token(scene) is None
