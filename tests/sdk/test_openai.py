"""The official `openai` package through a group, as its users write it."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.parts.service import Service
from tests.sdk.conftest import Group, OpenGroup
from tests.upstream.answers import ARGUMENTS, MODELS, TEXT, VECTOR
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

HI: list[Any] = [{"role": "user", "content": "hi"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
]
RESPONSE_TOOLS: list[Any] = [
    {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}
]
MODEL = "gpt-4.1-mini"


def client_of(group: Group, api_key: str = "") -> OpenAI:
    return OpenAI(
        api_key=api_key or group.api_key,
        base_url=f"{group.base_url}/v1",
        max_retries=0,  # else the SDK's own retries blur what ours did
        timeout=20,
    )


def async_client_of(group: Group) -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=group.api_key, base_url=f"{group.base_url}/v1", max_retries=0, timeout=20
    )


def test_chat(open_group: OpenGroup, upstream: Upstream) -> None:
    group = open_group("openai")
    with client_of(group) as client:
        said = client.chat.completions.create(model=MODEL, messages=HI)
    assert said.choices[0].message.content == TEXT
    (seen,) = upstream.seen()
    assert seen.target == "/v1/chat/completions"
    assert seen.credentials == [("authorization", seen.key)]
    assert seen.key in group.good


def test_chat_streamed(open_group: OpenGroup) -> None:
    with client_of(open_group("openai")) as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 21


def test_tool_calls(open_group: OpenGroup) -> None:
    with client_of(open_group("openai")) as client:
        said = client.chat.completions.create(model=MODEL, messages=HI, tools=CHAT_TOOLS)
        assert said.choices[0].message.tool_calls
        call = said.choices[0].message.tool_calls[0]
        assert call.type == "function"
        assert json.loads(call.function.arguments) == ARGUMENTS

        stream = client.chat.completions.create(
            model=MODEL, messages=HI, tools=CHAT_TOOLS, stream=True
        )
        arguments = ""
        for chunk in stream:
            for piece in chunk.choices[0].delta.tool_calls or ():
                assert piece.function is not None
                arguments += piece.function.arguments or ""
    assert json.loads(arguments) == ARGUMENTS


def test_async_clients_at_once(open_group: OpenGroup, upstream: Upstream) -> None:
    """Unary and streamed calls side by side on one client share the pool evenly."""
    group = open_group("openai")

    async def unary(client: AsyncOpenAI) -> str | None:
        said = await client.chat.completions.create(model=MODEL, messages=HI)
        return said.choices[0].message.content

    async def streamed(client: AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(model=MODEL, messages=HI, stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in stream])

    async def both() -> list[str | None]:
        async with async_client_of(group) as client:
            calls = [unary(client) for _ in range(8)] + [streamed(client) for _ in range(8)]
            return list(await asyncio.gather(*calls))

    assert asyncio.run(both()) == [TEXT] * 16
    used = upstream.keys_seen()
    assert [used.count(key) for key in group.good] == [8, 8]


def test_an_image_of_ten_megabytes(open_group: OpenGroup, upstream: Upstream) -> None:
    """The body is larger than what we keep, and arrives byte for byte."""
    group = open_group("openai")
    image = base64.b64encode(random.Random(1).randbytes(10 << 20)).decode()
    messages: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
            ],
        }
    ]
    with OpenAI(api_key=group.good[0], base_url=f"{upstream.url}/v1", max_retries=0) as direct:
        direct.chat.completions.create(model=MODEL, messages=messages)
    with client_of(group) as client:
        said = client.chat.completions.create(model=MODEL, messages=messages)
    assert said.choices[0].message.content == TEXT
    straight, proxied = upstream.seen()
    assert proxied.body_length > 13 << 20
    assert proxied.body_sha256 == straight.body_sha256


def test_embeddings(open_group: OpenGroup) -> None:
    """The SDK asks for base64 by default, and floats on request."""
    with client_of(open_group("openai")) as client:
        said = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        floats = client.embeddings.create(
            model="text-embedding-3-small", input="a", encoding_format="float"
        )
    assert [tuple(item.embedding) for item in said.data] == [VECTOR, VECTOR]
    assert tuple(floats.data[0].embedding) == VECTOR


def test_file_upload(open_group: OpenGroup, upstream: Upstream) -> None:
    content = random.Random(2).randbytes(300_000)
    with client_of(open_group("openai")) as client:
        file = client.files.create(file=("naïve.bin", content), purpose="user_data")
    assert file.bytes == len(content)
    (seen,) = upstream.seen()
    assert content in seen.body
    assert (seen.get("content-type") or "").startswith("multipart/form-data; boundary=")


def test_model_list(open_group: OpenGroup) -> None:
    with client_of(open_group("openai")) as client:
        assert tuple(model.id for model in client.models.list()) == MODELS["openai"]


def test_responses(open_group: OpenGroup) -> None:
    with client_of(open_group("openai-response")) as client:
        assert client.responses.create(model=MODEL, input="hi").output_text == TEXT

        events = list(client.responses.create(model=MODEL, input="hi", stream=True))
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert text == TEXT
        assert events[-1].type == "response.completed"

        said = client.responses.create(model=MODEL, input="hi", tools=RESPONSE_TOOLS)
        (call,) = said.output
        assert call.type == "function_call"
        assert json.loads(call.arguments) == ARGUMENTS


def test_the_client_never_notices_sick_keys(
    open_group: OpenGroup, sick_keys_were_met_and_set_aside: Callable[[Group], None]
) -> None:
    group = open_group("openai", sick=True)
    with client_of(group) as client:
        for _ in range(6):
            said = client.chat.completions.create(model=MODEL, messages=HI)
            assert said.choices[0].message.content == TEXT
            stream = client.chat.completions.create(model=MODEL, messages=HI, stream=True)
            assert "".join(c.choices[0].delta.content or "" for c in stream) == TEXT
    sick_keys_were_met_and_set_aside(group)


def test_refusals_arrive_as_the_sdks_own_errors(
    service: Service, upstream: Upstream, open_group: OpenGroup, name: str
) -> None:
    group = open_group("openai")
    with client_of(group, "sk-wrong") as client, pytest.raises(openai.AuthenticationError) as wrong:
        client.chat.completions.create(model=MODEL, messages=HI)
    assert "sk-wrong" not in str(wrong.value)
    with client_of(group) as client:
        elsewhere = client.with_options(base_url=service.proxy_url("no-such-group") + "/v1")
        with pytest.raises(openai.NotFoundError, match="no-such-group"):
            elsewhere.chat.completions.create(model=MODEL, messages=HI)

        upstream.script(others="bad_request")
        with pytest.raises(openai.BadRequestError, match="Invalid type for 'temperature'"):
            client.chat.completions.create(model=MODEL, messages=HI)
        assert len(upstream.seen()) == 1

        upstream.script(others="model_not_found")
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model=MODEL, messages=HI)
        assert missing.value.code == "model_not_found"

        upstream.script(others=Step(error="rate_limited", retry_after=60))
        with pytest.raises(openai.RateLimitError) as limited:
            client.chat.completions.create(model=MODEL, messages=HI)
        assert limited.value.code == "rate_limit_exceeded"
        with pytest.raises(openai.APIStatusError) as resting:
            client.chat.completions.create(model=MODEL, messages=HI)
        assert 1 <= int(resting.value.response.headers["retry-after"]) <= 60

    empty = service.create_group(f"{name}-empty", "openai", upstream.url)
    assert not service.keys(empty)
    with client_of(group) as client:
        keyless = client.with_options(base_url=service.proxy_url(f"{name}-empty") + "/v1")
        with pytest.raises(openai.InternalServerError) as none:
            keyless.chat.completions.create(model=MODEL, messages=HI)
    assert none.value.status_code == 503


def test_a_file_is_asked_of_the_key_that_has_it(open_group: OpenGroup, upstream: Upstream) -> None:
    """Another account answers that there is no such file; the SDK never hears that."""
    group = open_group("openai", keys=3)
    with client_of(group) as client:
        files = [client.files.create(file=("a", b"abc"), purpose="batch") for _ in range(3)]
        owners = upstream.keys_seen()
        assert set(owners) == set(group.good)
        for file, owner in reversed(list(zip(files, owners, strict=True))):
            assert client.files.retrieve(file.id).id == file.id
            assert client.files.content(file.id).read() == b"abc"
            batch = client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            assert client.batches.cancel(batch.id).status == "cancelling"
            assert client.files.delete(file.id).deleted
            assert upstream.keys_seen()[-5:] == [owner] * 5


def test_a_conversation_of_responses_stays_with_its_key(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("openai-response", keys=3)
    with client_of(group) as client:
        heads = [client.responses.create(model=MODEL, input="hi").id for _ in range(3)]
        owners = upstream.keys_seen()
        for head, owner in reversed(list(zip(heads, owners, strict=True))):
            said = client.responses.create(model=MODEL, input="more", previous_response_id=head)
            events = list(
                client.responses.create(
                    model=MODEL, input="more", previous_response_id=said.id, stream=True
                )
            )
            assert events[-1].type == "response.completed"
            last = client.responses.create(
                model=MODEL, input="more", previous_response_id=events[-1].response.id
            )
            assert last.output_text == TEXT
            assert upstream.keys_seen()[-3:] == [owner] * 3


def test_an_error_before_the_first_word_is_never_seen(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("openai")
    error = b'data: {"error":{"message":"The server is overloaded.","type":"server_error"}}\n\n'
    upstream.script(Rule(Step(body=error, content_type="text/event-stream"), times=1))
    with client_of(group) as client:
        stream = client.chat.completions.create(model=MODEL, messages=HI, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in stream) == TEXT
    assert len(set(upstream.keys_seen())) == 2


def test_a_break_after_the_first_word_is_the_sdks_own_error(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("openai")
    said = ""
    with client_of(group) as client:
        upstream.script(pace=Step(fault="reset_in_body", fault_after=3))
        stream = client.chat.completions.create(model=MODEL, messages=HI, stream=True)
        with pytest.raises(openai.APIError, match="broke off"):  # noqa: PT012
            for chunk in stream:
                said += chunk.choices[0].delta.content or ""
        assert said == "Hello wörld"
        assert len(upstream.seen()) == 1

        said = ""
        upstream.script(pace=Step(fault="reset_in_body", fault_after=6))
        events = client.responses.create(model=MODEL, input="hi", stream=True)
        with pytest.raises(openai.APIError, match="broke off"):  # noqa: PT012
            for event in events:
                said += event.delta if event.type == "response.output_text.delta" else ""
        assert said == "Hello wörld"
        assert len(upstream.seen()) == 1


def test_all_keys_resting_is_a_rate_limit_with_its_time(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    """The SDK's own retry waits as long as we say, and gets its answer."""
    group = open_group("openai")
    upstream.script(Rule(Step(status=429, retry_after=1), times=2))
    with client_of(group) as client:
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model=MODEL, messages=HI)
        with pytest.raises(openai.RateLimitError, match=r"comes back at 20.* UTC, in \d+ s"):
            client.chat.completions.create(model=MODEL, messages=HI)
        assert len(upstream.seen()) == 2
        patient = client.with_options(max_retries=1)
        said = patient.chat.completions.create(model=MODEL, messages=HI)
    assert said.choices[0].message.content == TEXT
