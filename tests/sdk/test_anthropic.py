"""The official `anthropic` package through a group, as its users write it."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.parts.service import Service
from tests.sdk.conftest import Group, OpenGroup
from tests.upstream.answers import ARGUMENTS, MODELS, TEXT
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

HI: list[Any] = [{"role": "user", "content": "hi"}]
TOOLS: list[Any] = [
    {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]
MODEL = "claude-haiku-4-5"


def client_of(group: Group, api_key: str = "") -> Anthropic:
    return Anthropic(
        api_key=api_key or group.api_key, base_url=group.base_url, max_retries=0, timeout=20
    )


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_messages(open_group: OpenGroup, upstream: Upstream) -> None:
    """The SDK authenticates by Bearer; the pool's key goes on as x-api-key, alone."""
    group = open_group("anthropic")
    with client_of(group) as client:
        assert text_of(client.messages.create(model=MODEL, max_tokens=99, messages=HI)) == TEXT
    (seen,) = upstream.seen()
    assert seen.target == "/v1/messages"
    assert seen.credentials == [("x-api-key", seen.key)]
    assert seen.key in group.good


def test_messages_streamed(open_group: OpenGroup) -> None:
    with (
        client_of(open_group("anthropic")) as client,
        client.messages.stream(model=MODEL, max_tokens=99, messages=HI) as stream,
    ):
        assert "".join(stream.text_stream) == TEXT
        assert stream.get_final_message().usage.output_tokens == 12


def test_tool_calls(open_group: OpenGroup) -> None:
    with client_of(open_group("anthropic")) as client:
        said = client.messages.create(model=MODEL, max_tokens=99, messages=HI, tools=TOOLS)
        with client.messages.stream(model=MODEL, max_tokens=99, messages=HI, tools=TOOLS) as stream:
            streamed = stream.get_final_message()
    for message in (said, streamed):
        (call,) = message.content
        assert call.type == "tool_use"
        assert call.input == ARGUMENTS


def test_async_clients_at_once(open_group: OpenGroup, upstream: Upstream) -> None:
    group = open_group("anthropic")

    async def streamed(client: AsyncAnthropic) -> str:
        async with client.messages.stream(model=MODEL, max_tokens=99, messages=HI) as stream:
            return "".join([text async for text in stream.text_stream])

    async def unary(client: AsyncAnthropic) -> str:
        return text_of(await client.messages.create(model=MODEL, max_tokens=99, messages=HI))

    async def both() -> list[str]:
        async with AsyncAnthropic(
            api_key=group.api_key, base_url=group.base_url, max_retries=0, timeout=20
        ) as client:
            calls = [unary(client) for _ in range(8)] + [streamed(client) for _ in range(8)]
            return list(await asyncio.gather(*calls))

    assert asyncio.run(both()) == [TEXT] * 16
    used = upstream.keys_seen()
    assert [used.count(key) for key in group.good] == [8, 8]


def test_an_image_of_ten_megabytes(open_group: OpenGroup, upstream: Upstream) -> None:
    group = open_group("anthropic")
    image = base64.b64encode(random.Random(3).randbytes(10 << 20)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": image}
    messages: list[Any] = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    with Anthropic(api_key=group.good[0], base_url=upstream.url, max_retries=0) as direct:
        direct.messages.create(model=MODEL, max_tokens=99, messages=messages)
    with client_of(group) as client:
        said = client.messages.create(model=MODEL, max_tokens=99, messages=messages)
    assert text_of(said) == TEXT
    straight, proxied = upstream.seen()
    assert proxied.body_length > 13 << 20
    assert proxied.body_sha256 == straight.body_sha256


def test_counting_and_model_list(open_group: OpenGroup) -> None:
    with client_of(open_group("anthropic")) as client:
        assert client.messages.count_tokens(model=MODEL, messages=HI).input_tokens == 14
        assert tuple(model.id for model in client.models.list()) == MODELS["anthropic"]


def test_file_upload(open_group: OpenGroup, upstream: Upstream) -> None:
    content = random.Random(4).randbytes(200_000)
    with client_of(open_group("anthropic")) as client:
        file = client.beta.files.upload(file=("naïve.bin", content, "application/octet-stream"))
    assert file.size_bytes == len(content)
    (seen,) = upstream.seen()
    assert content in seen.body


def test_the_client_never_notices_sick_keys(
    open_group: OpenGroup, sick_keys_were_met_and_set_aside: Callable[[Group], None]
) -> None:
    group = open_group("anthropic", sick=True)
    with client_of(group) as client:
        for _ in range(6):
            said = client.messages.create(model=MODEL, max_tokens=99, messages=HI)
            assert text_of(said) == TEXT
            with client.messages.stream(model=MODEL, max_tokens=99, messages=HI) as stream:
                assert "".join(stream.text_stream) == TEXT
    sick_keys_were_met_and_set_aside(group)


def test_refusals_arrive_as_the_sdks_own_errors(
    service: Service, upstream: Upstream, open_group: OpenGroup, name: str
) -> None:
    group = open_group("anthropic")

    def call(client: Anthropic) -> anthropic.types.Message:
        return client.messages.create(model=MODEL, max_tokens=99, messages=HI)

    with client_of(group, "sk-wrong") as client, pytest.raises(anthropic.AuthenticationError):
        call(client)
    with client_of(group) as client:
        with pytest.raises(anthropic.NotFoundError, match="no-such-group"):
            call(client.with_options(base_url=service.proxy_url("no-such-group")))

        upstream.script(others="bad_request")
        with pytest.raises(anthropic.BadRequestError, match="max_tokens: Field required"):
            call(client)
        assert len(upstream.seen()) == 1

        upstream.script(others=Step(error="rate_limited", retry_after=60))
        with pytest.raises(anthropic.RateLimitError):
            call(client)
        with pytest.raises(anthropic.APIStatusError) as resting:
            call(client)
        assert 1 <= int(resting.value.response.headers["retry-after"]) <= 60

        service.create_group(f"{name}-empty", "anthropic", upstream.url)
        with pytest.raises(anthropic.InternalServerError) as none:
            call(client.with_options(base_url=service.proxy_url(f"{name}-empty")))
    assert none.value.status_code == 503


def test_a_batch_of_messages_stays_with_its_key(open_group: OpenGroup, upstream: Upstream) -> None:
    group = open_group("anthropic", keys=3)
    asked: Any = [{"custom_id": "1", "params": {"model": MODEL, "max_tokens": 9, "messages": HI}}]
    with client_of(group) as client:
        batches = [client.messages.batches.create(requests=asked) for _ in range(3)]
        files = [client.beta.files.upload(file=("a", b"abc", "text/plain")) for _ in range(3)]
        owners = upstream.keys_seen()
        assert set(owners) == set(group.good)
        for batch, owner in reversed(list(zip(batches, owners[:3], strict=True))):
            assert client.messages.batches.retrieve(batch.id).id == batch.id
            assert client.messages.batches.cancel(batch.id).processing_status == "canceling"
            assert upstream.keys_seen()[-2:] == [owner] * 2
        for file, owner in reversed(list(zip(files, owners[3:], strict=True))):
            assert client.beta.files.retrieve_metadata(file.id).id == file.id
            assert client.beta.files.delete(file.id).id == file.id
            assert upstream.keys_seen()[-2:] == [owner] * 2


def test_an_error_before_the_first_word_is_never_seen(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    """Not even after message_start, which the client gets once."""
    group = open_group("anthropic")
    begun = b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    upstream.script(Rule(Step(body=begun + error, content_type="text/event-stream"), times=1))
    with (
        client_of(group) as client,
        client.messages.stream(model=MODEL, max_tokens=99, messages=HI) as stream,
    ):
        assert "".join(stream.text_stream) == TEXT
    assert len(set(upstream.keys_seen())) == 2


def test_a_break_after_the_first_word_is_the_sdks_own_error(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("anthropic")
    upstream.script(pace=Step(fault="reset_in_body", fault_after=5))
    said = ""
    with client_of(group) as client:
        events = client.messages.create(model=MODEL, max_tokens=99, messages=HI, stream=True)
        with pytest.raises(anthropic.APIStatusError, match="broke off"):  # noqa: PT012
            for event in events:
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    said += event.delta.text
    assert said == "Hello wörld"
    assert len(upstream.seen()) == 1


def test_all_keys_resting_is_a_rate_limit_with_its_time(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("anthropic")
    upstream.script(Rule(Step(status=429, retry_after=1), times=2))
    with client_of(group) as client:
        for words in ("scripted 429", r"comes back at 20.* UTC, in \d+ s"):
            with pytest.raises(anthropic.RateLimitError, match=words):
                client.messages.create(model=MODEL, max_tokens=99, messages=HI)
        patient = client.with_options(max_retries=1)
        assert text_of(patient.messages.create(model=MODEL, max_tokens=99, messages=HI)) == TEXT
