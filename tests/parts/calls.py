"""The bytes of the calls that clients make, for tests that look at bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.parts.raw import request
from tests.parts.service import AUTH_KEY

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
JSON_FIELDS: tuple[tuple[str, str], ...] = (
    ("Authorization", f"Bearer {AUTH_KEY}"),
    ("Content-Type", "application/json"),
)
Fields = Iterable[tuple[str, str | bytes]]


def chat_body(**more: Any) -> bytes:
    """A chat call's JSON."""
    return json.dumps({"model": "gpt-4.1-mini", "messages": HI, **more}).encode()


def chat(group: str, body: bytes | None = None, fields: Fields = (), **more: Any) -> bytes:
    """An OpenAI chat call. `more` goes into the JSON, e.g. `stream=True`."""
    said = chat_body(**more) if body is None else body
    return request("POST", f"/proxy/{group}/v1/chat/completions", [*JSON_FIELDS, *fields], said)


def messages(group: str, fields: Fields = (), target: str = "/v1/messages", **more: Any) -> bytes:
    """An Anthropic messages call."""
    said = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": HI, **more}
    body = json.dumps(said).encode()
    return request("POST", f"/proxy/{group}{target}", [*JSON_FIELDS, *fields], body)


def generate(
    group: str,
    method: str = "generateContent",
    fields: Fields = (),
    model: str = "gemini-2.5-flash",
    **more: Any,
) -> bytes:
    """A Gemini call. `more` goes into the JSON."""
    said = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **more}
    body = json.dumps(said).encode()
    target = f"/proxy/{group}/v1beta/models/{model}:{method}"
    return request("POST", target, [*JSON_FIELDS, *fields], body)


def get(group: str, target: str = "/v1/models", fields: Fields = ()) -> bytes:
    """A call without a body."""
    return request("GET", f"/proxy/{group}{target}", [JSON_FIELDS[0], *fields])


# The plainest call of each channel.
CALLS: Mapping[str, Callable[[str], bytes]] = {
    "openai": chat,
    "anthropic": messages,
    "gemini": generate,
}
# And its stream.
STREAMS: Mapping[str, Callable[[str], bytes]] = {
    "openai": lambda group: chat(group, stream=True),
    "anthropic": lambda group: messages(group, stream=True),
    "gemini": lambda group: generate(group, "streamGenerateContent?alt=sse"),
}


def call(
    group: str, method: str, target: str, said: Any = None, fields: Fields = (), host: str = ""
) -> bytes:
    """Any other call, with a JSON body or none."""
    body = None if said is None else json.dumps(said).encode()
    head = [*JSON_FIELDS, *fields]
    return request(method, f"/proxy/{group}{target}", head, body, host=host or "localhost")
