"""The official `google-genai` package through a group, as its users write it."""

from __future__ import annotations

import asyncio
import io
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from google import genai
from google.genai import errors, types

from tests.parts.service import Service
from tests.sdk.conftest import Group, OpenGroup
from tests.upstream.answers import ARGUMENTS, MODELS, TEXT, VECTOR
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

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


class InTurn(io.BytesIO):
    """A file that can be read once it's its turn: an upload that has begun waits for that."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.turn = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        assert self.turn.wait(10)
        return super().read(size)


def test_f53_uploads_end_with_the_key_that_began_them(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    """Three begun over three keys and finished in reverse order, each by its own URL."""
    group = open_group("gemini", keys=3)
    client = client_of(group)
    files = [InTurn(b"content-%d" % number) for number in range(3)]
    config = types.UploadFileConfig(mime_type="text/plain")
    with ThreadPoolExecutor(3) as threads:
        uploads = []
        for number, file in enumerate(files):
            uploads.append(threads.submit(client.files.upload, file=file, config=config))
            upstream.wait_seen(number + 1)
        began = upstream.keys_seen()
        assert set(began) == set(group.good)
        for number, file in reversed(list(enumerate(files))):
            file.turn.set()
            uploads[number].result(10)
    finished = upstream.seen()[3:]
    assert [seen.body for seen in finished] == [b"content-2", b"content-1", b"content-0"]
    assert [seen.key for seen in finished] == began[::-1]
    for upload, owner in zip(uploads, began, strict=True):
        made = upload.result()
        assert made.size_bytes == 9
        assert client.files.get(name=str(made.name)).uri == made.uri
        said = client.models.generate_content(model=MODEL, contents=["What is it?", made])
        assert said.text == TEXT
        client.files.delete(name=str(made.name))
        assert upstream.keys_seen()[-3:] == [owner] * 3


def test_cached_content_stays_with_its_key(open_group: OpenGroup, upstream: Upstream) -> None:
    group = open_group("gemini", keys=3)
    client = client_of(group)
    caches = [client.caches.create(model=MODEL) for _ in range(3)]
    owners = upstream.keys_seen()
    assert set(owners) == set(group.good)
    for cache, owner in reversed(list(zip(caches, owners, strict=True))):
        assert client.caches.get(name=str(cache.name)).name == cache.name
        config = types.GenerateContentConfig(cached_content=cache.name)
        said = client.models.generate_content(model=MODEL, contents="hi", config=config)
        assert said.text == TEXT
        stream = client.models.generate_content_stream(model=MODEL, contents="hi", config=config)
        assert "".join(chunk.text or "" for chunk in stream) == TEXT
        client.caches.delete(name=str(cache.name))
        assert upstream.keys_seen()[-4:] == [owner] * 4


def test_an_error_before_the_first_word_is_never_seen(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("gemini")
    error = b'data: {"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}\r\n\r\n'
    upstream.script(Rule(Step(body=error, content_type="text/event-stream"), times=1))
    client = client_of(group)
    stream = client.models.generate_content_stream(model=MODEL, contents="hi")
    assert "".join(chunk.text or "" for chunk in stream) == TEXT
    assert len(set(upstream.keys_seen())) == 2


def test_a_break_after_the_first_word_is_the_sdks_own_error(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("gemini")
    upstream.script(pace=Step(fault="reset_in_body", fault_after=2))
    client = client_of(group)
    said = ""
    with pytest.raises(errors.APIError, match="broke off"):  # noqa: PT012
        for chunk in client.models.generate_content_stream(model=MODEL, contents="hi"):
            said += chunk.text or ""
    assert said == "Hello wörld"
    assert len(upstream.seen()) == 1


def test_all_keys_resting_is_a_rate_limit_with_its_time(
    open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("gemini")
    client = client_of(group)
    upstream.script(Rule(Step(status=429, retry_after=60), times=2))
    for words in ("scripted 429", "comes back at 20"):
        with pytest.raises(errors.ClientError, match=words) as raised:
            client.models.generate_content(model=MODEL, contents="hi")
        assert raised.value.code == 429
