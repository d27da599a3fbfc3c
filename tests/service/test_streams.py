"""Streams over keys and upstreams that fail: retried until the first word, honest after it."""

from __future__ import annotations

import json
import time

import pytest

from tests.parts.calls import STREAMS, chat
from tests.parts.raw import Reply
from tests.parts.service import Service
from tests.service.conftest import Group, OpenGroup
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

CHANNELS = ("openai", "anthropic", "gemini")
SSE = "text/event-stream"

# What comes before any word, and an error in the place of the first one.
HANDSHAKES = {
    "openai": b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
    b'"finish_reason":null}]}\n\n',
    "anthropic": b'event: message_start\ndata: {"type":"message_start","message":{"id":"m",'
    b'"type":"message","role":"assistant","content":[],"model":"m","usage":{}}}\n\n',
    "gemini": b'data: {"usageMetadata":{"promptTokenCount":9}}\r\n\r\n',
}
OVERLOADED = {
    "openai": b'data: {"error":{"message":"The server is overloaded.","type":"server_error",'
    b'"code":"server_is_overloaded"}}\n\n',
    "anthropic": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
    b'"message":"Overloaded"}}\n\n',
    "gemini": b'data: {"error":{"code":503,"message":"The model is overloaded.",'
    b'"status":"UNAVAILABLE"}}\r\n\r\n',
}
LIMITED = {
    "openai": b'data: {"error":{"message":"Rate limit reached. Please try again in 1h.",'
    b'"type":"requests","code":"rate_limit_exceeded"}}\n\n',
    "anthropic": b'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error",'
    b'"message":"This request would exceed your rate limit."}}\n\n',
    "gemini": b'data: {"error":{"code":429,"message":"Resource has been exhausted.",'
    b'"status":"RESOURCE_EXHAUSTED"}}\r\n\r\n',
}
LAST = {"openai": b"[DONE]", "anthropic": b"message_stop", "gemini": b'"finishReason":"STOP"'}
FIRST = {"openai": b'"role"', "anthropic": b"event: message_start", "gemini": b'"text":"Hello"'}


def stream(body: bytes, **more: object) -> Step:
    """A whole stream of these bytes."""
    return Step.of({"body": body, "content_type": SSE, **more})


def assert_one_clean_stream(channel: str, reply: Reply) -> None:
    assert (reply.status, reply.get("content-type")) == (200, f"{SSE}; charset=utf-8")
    assert reply.body.count(FIRST[channel]) == 1
    assert LAST[channel] in reply.body
    assert b'"error"' not in reply.body
    assert "🌍".encode() in reply.body


def assert_nobody_is_blamed(service: Service, group: Group) -> None:
    for key in service.keys(group.id):
        assert (key["state"], key["failure_count"], key["model_rests"]) == ("active", 0, {})


# --- Before the first word


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("after_handshake", [False, True], ids=["first", "after a handshake"])
def test_an_error_before_the_first_word_is_another_keys_turn(
    service: Service,
    upstream: Upstream,
    open_group: OpenGroup,
    channel: str,
    after_handshake: bool,
) -> None:
    group = open_group(channel, keys=2)
    begins = HANDSHAKES[channel] if after_handshake else b""
    upstream.script(Rule(stream(begins + OVERLOADED[channel]), times=1))
    assert_one_clean_stream(channel, service.ask(STREAMS[channel](group.name)))
    assert len(set(upstream.keys_seen())) == 2
    assert_nobody_is_blamed(service, group)
    last, first = service.wait_logs(2, group_name=group.name)
    assert (first["outcome"], first["is_success"]) == ("upstream_fault", False)
    assert (last["outcome"], last["is_success"]) == ("ok", True)
    assert first["exchange_id"] == last["exchange_id"]


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_limit_inside_a_200_rests_its_key(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    group = open_group(channel, keys=2)
    limited = group.keys[0]
    upstream.script(Rule(stream(LIMITED[channel]), key=limited))
    for _ in range(6):
        assert_one_clean_stream(channel, service.ask(STREAMS[channel](group.name)))
    assert upstream.keys_seen().count(limited) == 1
    seen = service.key(group.id, limited)
    assert seen["rest_until"] or seen["model_rests"]
    assert seen["failure_count"] == 0


@pytest.mark.parametrize("channel", CHANNELS)
def test_when_every_key_says_so_the_error_is_the_clients_as_it_came(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    group = open_group(channel, keys=2, config={"max_retries": 1})
    upstream.script(others=stream(OVERLOADED[channel]))
    reply = service.ask(STREAMS[channel](group.name))
    assert (reply.status, reply.body) == (200, OVERLOADED[channel])
    assert len(upstream.seen()) == 2
    assert not any(log["is_success"] for log in service.wait_logs(2, group_name=group.name))
    assert_nobody_is_blamed(service, group)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("empty", ["nothing", "handshake"])
def test_f34_an_empty_stream_is_no_answer(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str, empty: str
) -> None:
    group = open_group(channel, keys=2, config={"max_retries": 1})
    step = stream(HANDSHAKES[channel] if empty == "handshake" else b"", framing="chunked")
    upstream.script(Rule(step, key=group.keys[0]))
    for _ in range(2):
        assert_one_clean_stream(channel, service.ask(STREAMS[channel](group.name)))
    upstream.script(others=step)
    assert service.ask(STREAMS[channel](group.name)).status >= 500
    assert_nobody_is_blamed(service, group)
    logs = service.wait_logs(4, group_name=group.name)
    assert [log["is_success"] for log in logs[:2]] == [False, False]
    assert {log["reason"] for log in logs[:2]} == {"empty"}


def test_f34_an_end_marker_alone_is_no_answer(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=2)
    upstream.script(Rule(stream(b"data: [DONE]\n\n"), times=1))
    assert_one_clean_stream("openai", service.ask(chat(group.name, stream=True)))


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("fault", ["reset_in_body", "close_in_body"])
def test_a_break_before_the_first_word_is_another_keys_turn(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str, fault: str
) -> None:
    group = open_group(channel, keys=2)
    broken = stream(HANDSHAKES[channel] * 2, fault=fault, fault_after=len(HANDSHAKES[channel]))
    upstream.script(Rule(broken, times=1))
    assert_one_clean_stream(channel, service.ask(STREAMS[channel](group.name)))
    assert_nobody_is_blamed(service, group)


@pytest.mark.parametrize("sent", [0, 1], ids=["head", "handshake"])
def test_who_says_no_word_within_first_token_timeout_is_replaced(
    service: Service, upstream: Upstream, open_group: OpenGroup, sent: int
) -> None:
    config = {"first_token_timeout": 1, "stream_hold_milliseconds": 3000}
    group = open_group("anthropic", keys=2, config=config)
    upstream.script(Rule(Step(fault="stall_in_body", fault_after=sent), times=1))
    began = time.monotonic()
    assert_one_clean_stream("anthropic", service.ask(STREAMS["anthropic"](group.name)))
    assert 0.9 < time.monotonic() - began < 3
    assert upstream.wait_ended()[0].ended == "peer_gone"
    assert_nobody_is_blamed(service, group)


def test_a_handshake_is_held_no_longer_than_the_group_allows(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """The client sees the head, and what was held, long before the first word."""
    group = open_group(config={"stream_hold_milliseconds": 300})
    upstream.script(pace=Step(events=1, interval_ms=1200))
    with service.raw() as client:
        began = time.monotonic()
        client.send(chat(group.name, stream=True))
        client.head()
        assert 0.2 < time.monotonic() - began < 1.1


# --- After it


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("fault", ["reset_in_body", "close_in_body"])
def test_f37_after_the_first_word_nothing_is_retried_and_the_break_is_said(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str, fault: str
) -> None:
    group = open_group(channel, keys=2)
    upstream.script(pace=Step.of({"fault": fault, "fault_after": 5, "events": 9}))
    reply = service.ask(STREAMS[channel](group.name))
    assert reply.body.count(FIRST[channel]) == 1
    assert LAST[channel] not in reply.body
    last = reply.body.replace(b"\r\n", b"\n").rstrip(b"\n").rpartition(b"data: ")[2]
    assert json.loads(last)["error"]["message"]
    assert len(upstream.seen()) == 1
    (log,) = service.wait_logs(1, group_name=group.name)
    assert (log["is_success"], log["outcome"]) == (False, "upstream_fault")
    assert log["is_stream"]
    assert_nobody_is_blamed(service, group)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_stream_that_falls_silent_ends_with_an_error_event(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    group = open_group(channel, keys=2, config={"stream_idle_timeout": 1})
    upstream.script(pace=Step(fault="stall_in_body", fault_after=5, events=9))
    began = time.monotonic()
    reply = service.ask(STREAMS[channel](group.name))
    assert 0.9 < time.monotonic() - began < 4
    last = reply.body.replace(b"\r\n", b"\n").rstrip(b"\n").rpartition(b"data: ")[2]
    assert json.loads(last)["error"]["message"]
    assert upstream.wait_ended()[0].ended == "peer_gone"
    assert_nobody_is_blamed(service, group)


def test_a_stream_that_keeps_talking_is_never_idle(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"stream_idle_timeout": 1, "request_timeout": 1})
    upstream.script(pace=Step(events=5, interval_ms=350))
    assert_one_clean_stream("openai", service.ask(chat(group.name, stream=True)))


def test_a_whole_streams_life_ends_where_the_group_says_so(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"stream_timeout": 1})
    upstream.script(pace=Step(events=40, interval_ms=100))
    began = time.monotonic()
    reply = service.ask(chat(group.name, stream=True))
    assert 0.9 < time.monotonic() - began < 3
    assert LAST["openai"] not in reply.body
    assert b'"error"' in reply.body


def test_a_stream_without_an_end_is_recorded_as_failed(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Framed well, cut all the same: Anthropic ends with message_stop or not at all."""
    group = open_group("anthropic", keys=2)
    word = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    word += b'{"type":"text_delta","text":"Hello"}}\n\n'
    upstream.script(others=stream(HANDSHAKES["anthropic"] + word, framing="chunked"))
    reply = service.ask(STREAMS["anthropic"](group.name))
    assert word in reply.body
    assert b"event: error" in reply.body
    (log,) = service.wait_logs(1, group_name=group.name)
    assert not log["is_success"]
    assert log["error_message"]


def test_an_error_late_in_a_stream_passes_and_is_recorded(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group("anthropic", keys=2)
    word = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    word += b'{"type":"text_delta","text":"Hello"}}\n\n'
    body = HANDSHAKES["anthropic"] + word + OVERLOADED["anthropic"]
    upstream.script(others=stream(body, framing="chunked"))
    assert service.ask(STREAMS["anthropic"](group.name)).body == body
    (log,) = service.wait_logs(1, group_name=group.name)
    assert (log["outcome"], log["error_message"]) == ("upstream_fault", "Overloaded")
