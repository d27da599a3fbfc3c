"""What the channels say of streams, held against the official SDKs.

The SDKs read what they would get from the proxy, out of a transport of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from gptload.core.errorbody import read_error
from gptload.core.sse import EventReader
from gptload.core.stream import Opened, Opening, Tail
from gptload.provider import Sign
from gptload_providers.anthropic import provider as anthropic_channel
from gptload_providers.gemini import provider as gemini_channel
from gptload_providers.openai import provider as openai_channel
from gptload_providers.openai_response import provider as response_channel
from tests.upstream.answers import answer
from tests.upstream.kept import Kept
from tests.upstream.requests import Request

CHANNELS: list[Any] = [anthropic_channel, gemini_channel, openai_channel, response_channel]
MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]
CHAT, RESPONSES, MESSAGE = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GENERATE = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
GENERATE_ARRAY = GENERATE.partition("?")[0]
GEMINI_CHAT = "/v1beta/openai/chat/completions"


def stream_of(target: str, **said: Any) -> list[bytes]:
    """A whole stream, in the parts in which the API of this path sends it."""
    request = Request(1, 1, 1, False, "POST", target, "HTTP/1.1", [], 0.0)
    request.body += json.dumps({"model": "m", "stream": True, **said}).encode()
    return list(answer(request, 5, Kept()).parts)


def http_client(parts: list[bytes]) -> httpx2.Client:
    """Answers every request with this stream."""
    fields = {"content-type": "text/event-stream"}
    return httpx2.Client(
        transport=httpx2.MockTransport(
            lambda request: httpx2.Response(200, headers=fields, stream=_Parts(parts))
        )
    )


class _Parts(httpx2.SyncByteStream):
    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Any:
        return iter(self._parts)


def read_chat(parts: list[bytes]) -> None:
    client = openai.OpenAI(api_key="x", http_client=http_client(parts), max_retries=0)
    for _ in client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
        pass


def read_response(parts: list[bytes]) -> None:
    client = openai.OpenAI(api_key="x", http_client=http_client(parts), max_retries=0)
    for _ in client.responses.create(model="m", input="hi", stream=True):
        pass


def read_message(parts: list[bytes]) -> None:
    client = anthropic.Anthropic(api_key="x", http_client=http_client(parts), max_retries=0)
    for _ in client.messages.create(model="m", messages=MESSAGES, max_tokens=9, stream=True):
        pass


def read_candidates(parts: list[bytes]) -> None:
    options = types.HttpOptions(base_url="http://x.test", httpx_client=http_client(parts))
    client = genai.Client(api_key="x", http_options=options)
    for _ in client.models.generate_content_stream(model="m", contents="hi"):
        pass


Read = Callable[[list[bytes]], None]
DIALECTS = [
    (openai_channel, CHAT, read_chat, openai.APIError),
    (openai_channel, RESPONSES, read_response, openai.APIError),
    (response_channel, RESPONSES, read_response, openai.APIError),
    (anthropic_channel, MESSAGE, read_message, anthropic.APIStatusError),
    (gemini_channel, GENERATE, read_candidates, genai_errors.ServerError),
    (gemini_channel, GEMINI_CHAT, read_chat, openai.APIError),
]


@pytest.mark.parametrize(("channel", "target", "read", "error"), DIALECTS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_sdk_raises_its_own_error_for_a_stream_that_ends_with_ours(
    channel: Any, target: str, read: Read, error: type[Exception], count: int
) -> None:
    parts = stream_of(target)
    read(parts)  # all is well with the whole of it
    last = channel.stream_error(502, "BAD_GATEWAY", "The upstream broke off.")
    with pytest.raises(error, match="The upstream broke off"):
        read([*parts[:count], last])


@pytest.mark.parametrize(("channel", "target", "read", "error"), DIALECTS)
def test_the_sdk_raises_its_own_error_behind_an_event_that_lacked_its_end(
    channel: Any, target: str, read: Read, error: type[Exception]
) -> None:
    for lacking in (1, 2):
        parts = [part.replace(b"\r\n", b"\n") for part in stream_of(target)[:3]]
        parts[-1] = parts[-1][:-lacking]
        tail = Tail()
        for part in parts:
            tail.seen(part)
        end = tail.to_boundary()
        assert end is not None
        with pytest.raises(error, match="The upstream broke off"):
            read([*parts, end + channel.stream_error(502, "X", "The upstream broke off.")])


@pytest.mark.parametrize("channel", CHANNELS)
def test_our_own_error_event_is_one_and_says_what_happened(channel: Any) -> None:
    written = channel.stream_error(504, "GATEWAY_TIMEOUT", "Too slow.\nReally.")
    (event,) = EventReader(4096).feed(written)
    assert channel.stream_sign(event) is Sign.ERROR
    assert channel.stream_ended([event])
    body = read_error({}, event.data)
    assert body.text == "Too slow.\nReally."
    assert "GATEWAY_TIMEOUT" in body.codes


@pytest.mark.parametrize(
    ("channel", "start"),
    [
        (openai_channel, b'data: {"error":{'),  # go-openai looks for it just so
        (response_channel, b'event: error\ndata: {"error":{'),
        (anthropic_channel, b'event: error\ndata: {"type":"error","error":{'),
        (gemini_channel, b'data: {"error":{"code":502,'),  # so does google-genai
    ],
)
def test_an_error_event_begins_as_clients_expect_it(channel: Any, start: bytes) -> None:
    assert channel.stream_error(502, "BAD_GATEWAY", "x").startswith(start)


STREAMS = [
    (openai_channel, CHAT, {}),
    (openai_channel, CHAT, {"stream_options": {"include_usage": True}}),
    (openai_channel, CHAT, {"tools": [{"function": {"name": "weather"}}]}),
    (openai_channel, RESPONSES, {}),
    (response_channel, RESPONSES, {"tools": [{"name": "weather"}]}),
    (anthropic_channel, MESSAGE, {}),
    (anthropic_channel, MESSAGE, {"tools": [{"name": "weather"}]}),
    (gemini_channel, GENERATE, {}),
    (gemini_channel, GENERATE_ARRAY, {}),
    (gemini_channel, GEMINI_CHAT, {}),
]


@pytest.mark.parametrize(("channel", "target", "said"), STREAMS)
def test_a_streams_first_word_and_its_end_are_known(
    channel: Any, target: str, said: dict[str, Any]
) -> None:
    parts = stream_of(target, **said)
    opening, tail = Opening(channel.stream_sign), Tail()
    answers = []
    for part in parts:
        answers.append(opening.feed(part))
        if answers[-1] is not Opened.WAIT:
            break
    assert answers[-1] is Opened.CONTENT
    assert len(answers) < len(parts)  # long before the end
    half = len(parts) // 2
    for part in parts[:half]:
        tail.seen(part)
    assert not channel.stream_ended(tail.last_events())
    for part in parts[half:]:
        tail.seen(part)
    assert channel.stream_ended(tail.last_events())


@pytest.mark.parametrize(
    ("target", "held"), [(CHAT, 1), (RESPONSES, 4), (MESSAGE, 3), (GENERATE, 0)]
)
def test_handshakes_are_held_back(target: str, held: int) -> None:
    parts = stream_of(target)
    opening = Opening(openai_channel.stream_sign)
    assert [opening.feed(part) for part in parts[:held]] == [Opened.WAIT] * held
    assert opening.feed(parts[held]) is Opened.CONTENT
