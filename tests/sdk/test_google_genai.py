"""The official `google-genai` package through a group, as its users write it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from google import genai
from google.genai import errors, types

from tests.parts.service import Service
from tests.sdk.conftest import Group, OpenGroup
from tests.upstream.answers import ARGUMENTS, MODELS, TEXT, VECTOR
from tests.upstream.control import Upstream
from tests.upstream.script import Step

MODEL = "gemini-2.5-flash"
TOOLS = types.GenerateContentConfig(
    tools=[
        types.Tool(
            function_declarations=[
                types.FunctionDeclaration(
                    name="weather",
                    parameters_json_schema={
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                    },
                )
            ]
        )
    ]
)


def client_of(group: Group, api_key: str = "", base_url: str = "") -> genai.Client:
    return genai.Client(
        api_key=api_key or group.api_key,
        http_options=types.HttpOptions(base_url=base_url or group.base_url, timeout=20_000),
    )


def test_generate_content(open_group: OpenGroup, upstream: Upstream) -> None:
    group = open_group("gemini")
    client = client_of(group)
    assert client.models.generate_content(model=MODEL, contents="hi").text == TEXT
    (seen,) = upstream.seen()
    assert seen.target.endswith(f"/models/{MODEL}:generateContent")
    assert seen.credentials == [("x-goog-api-key", seen.key)]
    assert seen.key in group.good


def test_generate_content_streamed(open_group: OpenGroup) -> None:
    client = client_of(open_group("gemini"))  # it closes when it is collected, streams and all
    stream = client.models.generate_content_stream(model=MODEL, contents="hi")
    assert "".join(chunk.text or "" for chunk in stream) == TEXT


def test_tool_calls(open_group: OpenGroup) -> None:
    client = client_of(open_group("gemini"))
    said = client.models.generate_content(model=MODEL, contents="hi", config=TOOLS)
    assert [call.args for call in said.function_calls or ()] == [ARGUMENTS]
    chunks = client.models.generate_content_stream(model=MODEL, contents="hi", config=TOOLS)
    calls = [call for chunk in chunks for call in chunk.function_calls or ()]
    assert [call.args for call in calls] == [ARGUMENTS]


def test_async_clients_at_once(open_group: OpenGroup, upstream: Upstream) -> None:
    group = open_group("gemini")

    async def unary(client: genai.Client) -> str | None:
        said = await client.aio.models.generate_content(model=MODEL, contents="hi")
        return said.text

    async def streamed(client: genai.Client) -> str:
        stream = await client.aio.models.generate_content_stream(model=MODEL, contents="hi")
        return "".join([chunk.text or "" async for chunk in stream])

    async def both() -> list[str | None]:
        client = client_of(group)
        calls = [unary(client) for _ in range(8)] + [streamed(client) for _ in range(8)]
        answers = list(await asyncio.gather(*calls))
        await client.aio.aclose()
        return answers

    assert asyncio.run(both()) == [TEXT] * 16
    used = upstream.keys_seen()
    assert [used.count(key) for key in group.good] == [8, 8]


def test_an_image_of_ten_megabytes(open_group: OpenGroup, upstream: Upstream) -> None:
    group = open_group("gemini")
    image = types.Part.from_bytes(data=random.Random(5).randbytes(10 << 20), mime_type="image/png")
    direct = client_of(group, group.good[0], upstream.url)
    direct.models.generate_content(model=MODEL, contents=["What is this?", image])
    client = client_of(group)
    said = client.models.generate_content(model=MODEL, contents=["What is this?", image])
    assert said.text == TEXT
    straight, proxied = upstream.seen()
    assert proxied.body_length > 13 << 20
    assert proxied.body_sha256 == straight.body_sha256


def test_embeddings_counting_and_model_list(open_group: OpenGroup) -> None:
    client = client_of(open_group("gemini"))
    said = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert [tuple(item.values or ()) for item in said.embeddings or ()] == [VECTOR, VECTOR]
    assert client.models.count_tokens(model=MODEL, contents="hi").total_tokens == 14
    names = tuple(str(model.name).removeprefix("models/") for model in client.models.list())
    assert names == MODELS["gemini"]


def test_the_client_never_notices_sick_keys(
    open_group: OpenGroup, sick_keys_were_met_and_set_aside: Callable[[Group], None]
) -> None:
    """A dead Gemini key answers 400, not 401."""
    group = open_group("gemini", sick=True)
    client = client_of(group)
    for _ in range(6):
        assert client.models.generate_content(model=MODEL, contents="hi").text == TEXT
        stream = client.models.generate_content_stream(model=MODEL, contents="hi")
        assert "".join(chunk.text or "" for chunk in stream) == TEXT
    sick_keys_were_met_and_set_aside(group)


def test_refusals_arrive_as_the_sdks_own_errors(
    service: Service, upstream: Upstream, open_group: OpenGroup, name: str
) -> None:
    group = open_group("gemini")

    def refused(client: genai.Client) -> errors.APIError:
        """The error of one call. The argument keeps the client open."""
        with pytest.raises(errors.APIError) as raised:
            client.models.generate_content(model=MODEL, contents="hi")
        return raised.value

    wrong = refused(client_of(group, "sk-wrong"))
    assert isinstance(wrong, errors.ClientError)
    assert (wrong.code, wrong.status) == (401, "UNAUTHENTICATED")
    elsewhere = refused(client_of(group, base_url=service.proxy_url("no-such-group")))
    assert elsewhere.code == 404

    client = client_of(group)
    upstream.script(others="bad_request")
    bad = refused(client)
    assert (bad.code, bad.status) == (400, "INVALID_ARGUMENT")
    assert "contents is not specified" in str(bad.message)
    assert len(upstream.seen()) == 1

    upstream.script(others=Step(error="rate_limited", retry_after=60))
    limited = refused(client)
    assert (limited.code, limited.status) == (429, "RESOURCE_EXHAUSTED")

    service.create_group(f"{name}-empty", "gemini", upstream.url)
    none = refused(client_of(group, base_url=service.proxy_url(f"{name}-empty")))
    assert isinstance(none, errors.ServerError)
    assert (none.code, none.status) == (503, "UNAVAILABLE")
