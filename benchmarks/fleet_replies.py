"""What AI APIs say, in their own words: successes and every kind of trouble of the fleet.

Bodies and fields are those of OpenAI's and Gemini's references and of public reports,
with invented ids; docs/providers.md names them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any, Final

from attrs import frozen

Fields = tuple[tuple[str, str], ...]


@frozen
class Reply:
    """One answer, or none.

    Attributes:
        status: 0 where the connection ends without an answer.
        reset: it ends by a reset; otherwise by a plain close.
    """

    status: int
    body: bytes = b""
    fields: Fields = ()
    content_type: str = "application/json"
    reset: bool = False

    def wire(self) -> bytes:
        """As HTTP/1.1."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.fields)
        framing, body = f"Content-Length: {len(self.body)}", self.body
        if self.content_type == "text/event-stream":
            framing, body = (
                "Transfer-Encoding: chunked",
                b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            )
        head = f"HTTP/1.1 {self.status} X\r\nContent-Type: {self.content_type}\r\n{framing}\r\n"
        return f"{head}{lines}\r\n".encode() + body


def _json(status: int, body: Any, *fields: tuple[str, str]) -> Reply:
    return Reply(status, json.dumps(body).encode(), fields)


def _openai(
    status: int, message: str, kind: str, code: str | None, *fields: tuple[str, str]
) -> Reply:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return _json(status, {"error": error}, *fields)


def _gemini(status: int, name: str, message: str, *details: Mapping[str, Any]) -> Reply:
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    return _json(status, {"error": error})


def _detail(kind: str, **values: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **values}


# Successes.

_EVENTS: Final = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
    b'{"content":"Hello"},"finish_reason":null}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
    b'{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
_COMPLETION: Final = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    }
).encode()
_CONTENT: Final = json.dumps(
    {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1, "totalTokenCount": 10},
    }
).encode()


def success(api: str, account: str, *, streams: bool) -> Reply:
    """What was asked for. OpenAI's says whose account it was, Gemini's doesn't."""
    if api == "gemini":
        return Reply(200, _CONTENT)
    fields = (("openai-organization", account), ("x-request-id", "req_1"))
    if streams:
        return Reply(200, _EVENTS, fields, "text/event-stream")
    return Reply(200, _COMPLETION, fields)


# The client's fault.


def bad_request(api: str, *, too_long: bool) -> Reply:
    """A request that no key could make right."""
    if api == "gemini":
        message = "Request contains an invalid argument."
        if too_long:
            message = (
                "The input token count (1200000) exceeds the maximum number of tokens allowed."
            )
        return _gemini(400, "INVALID_ARGUMENT", message)
    if too_long:
        message = (
            "This model's maximum context length is 128000 tokens. However, your messages resulted "
            "in 190000 tokens. Please reduce the length of the messages."
        )
        return _openai(400, message, "invalid_request_error", "context_length_exceeded")
    return _openai(
        400, "Invalid type for 'temperature': expected a number.", "invalid_request_error", None
    )


# The key's fault.


def dead(api: str, secret: str, *, with_account: bool) -> Reply:
    """The key is not one, any more.

    Args:
        with_account: its whole account was closed; Gemini: it was found on the web.
    """
    if api == "gemini":
        if with_account:
            message = "Your API key was reported as leaked. Please use another API key."
            return _gemini(403, "PERMISSION_DENIED", message)
        info = _detail("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")
        message = "API key not valid. Please pass a valid API key."
        return _gemini(400, "INVALID_ARGUMENT", message, info)
    if with_account:
        message = "The OpenAI account associated with this API key has been deactivated."
        return _openai(401, message, "invalid_request_error", "account_deactivated")
    shown = f"{secret[:8]}{'*' * 12}{secret[-4:]}"
    message = (
        f"Incorrect API key provided: {shown}. You can find your API key at "
        "https://platform.openai.com/account/api-keys."
    )
    return _openai(401, message, "invalid_request_error", "invalid_api_key")


# Limits. Each way of naming a time is a grammar of its own.

_RPM: Final = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
_RPD: Final = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
_METRIC: Final = "generativelanguage.googleapis.com/generate_content_free_tier_requests"


@frozen
class Limit:
    """What a limited answer is about.

    Attributes:
        now: epoch seconds.
        wait_s: until the account may ask for this model again.
    """

    account: str
    model: str
    now: float
    wait_s: float


def _limited(limit: Limit, hint: str, *fields: tuple[str, str]) -> Reply:
    message = (
        f"Rate limit reached for {limit.model} in organization {limit.account} on requests per "
        f"min (RPM): Limit 3, Used 3, Requested 1.{hint} Visit "
        "https://platform.openai.com/account/rate-limits to learn more."
    )
    return _openai(429, message, "requests", "rate_limit_exceeded", *fields)


def _seconds(limit: Limit) -> Reply:
    return _limited(limit, "", ("retry-after", str(math.ceil(limit.wait_s))))


def _milliseconds(limit: Limit) -> Reply:
    ms = str(math.ceil(limit.wait_s * 1000))
    rounded_up = str(math.ceil(limit.wait_s) + 1)
    return _limited(limit, "", ("retry-after-ms", ms), ("retry-after", rounded_up))


def _date(limit: Limit) -> Reply:
    return _limited(
        limit,
        "",
        ("date", formatdate(math.floor(limit.now), usegmt=True)),
        ("retry-after", formatdate(math.ceil(limit.now + limit.wait_s), usegmt=True)),
    )


def _counters(limit: Limit) -> Reply:
    minutes, seconds = divmod(math.ceil(limit.wait_s * 1000) / 1000, 60)
    reset = f"{minutes:.0f}m{seconds:.3f}s" if minutes else f"{seconds:.3f}s"
    return _limited(
        limit,
        "",
        ("x-ratelimit-limit-requests", "3"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", reset),
        # Not what stopped us: its reset must not be taken.
        ("x-ratelimit-limit-tokens", "40000"),
        ("x-ratelimit-remaining-tokens", "39000"),
        ("x-ratelimit-reset-tokens", "6ms"),
    )


def _prose(limit: Limit) -> Reply:
    return _limited(limit, f" Please try again in {math.ceil(limit.wait_s * 100) / 100:.2f}s.")


def _silent(limit: Limit) -> Reply:
    return _limited(limit, "")


def _quota(quota_id: str, model: str) -> dict[str, Any]:
    return {
        "quotaMetric": _METRIC,
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": "10",
    }


def _delay(limit: Limit) -> Reply:
    return _gemini(
        429,
        "RESOURCE_EXHAUSTED",
        f"You exceeded your current quota. * Quota exceeded for metric: {_METRIC}, limit: 10",
        _detail("QuotaFailure", violations=[_quota(_RPM, limit.model)]),
        _detail("RetryInfo", retryDelay=f"{limit.wait_s + 1e-6:.9f}s"),
    )


def _consumer(limit: Limit) -> Reply:
    metadata = {
        "quota_limit": "GenerateContentRequestsPerMinutePerProject",
        "consumer": limit.account,
        "quotaResetDelay": f"{limit.wait_s + 0.001:.3f}s",
    }
    info = _detail(
        "ErrorInfo", reason="RATE_LIMIT_EXCEEDED", domain="googleapis.com", metadata=metadata
    )
    message = "Quota exceeded for quota metric 'Generate Content API requests per minute'."
    return _gemini(429, "RESOURCE_EXHAUSTED", message, info)


def _vague(limit: Limit) -> Reply:
    return _gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")


GRAMMARS: Final[Mapping[str, tuple[Callable[[Limit], Reply], ...]]] = {
    "openai": (_seconds, _milliseconds, _date, _counters, _prose, _silent),
    "gemini": (_delay, _consumer, _vague),
}
"""By API: the ways in which it says that an account is limited."""

UNNAMED: Final = frozenset([_silent, _vague])
"""Those that name no time."""


def day_used_up(limit: Limit) -> Reply:
    """Gemini's daily quota. The delay beside it is that of a minute, and must not be taken."""
    violations = [_quota(_RPD, limit.model), _quota(_RPM, limit.model)]
    return _gemini(
        429,
        "RESOURCE_EXHAUSTED",
        f"You exceeded your current quota. * Quota exceeded for metric: {_METRIC}, limit: 50\n"
        "Please retry in 36.429760048s.",
        _detail("QuotaFailure", violations=violations),
        _detail("RetryInfo", retryDelay="36s"),
    )


def no_credit() -> Reply:
    """OpenAI's account has nothing left to spend."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return _openai(429, message, "insufficient_quota", "insufficient_quota")


# The upstream's fault, and the way's.

_PAGE: Final = (
    b'<!DOCTYPE html>\n<html lang="en-US"><head><title>Attention Required! | Cloudflare</title>'
    b"</head><body><h1>Sorry, you have been blocked</h1><p>You are unable to access "
    b"api.example</p></body></html>"
)


def blocked(*, with_page: bool) -> Reply:
    """The edge takes our address for a robot's: a page, or JSON that doesn't say why."""
    if with_page:
        return Reply(403, _PAGE, (("server", "cloudflare"),), "text/html; charset=UTF-8")
    return _json(403, {"error": {"type": "forbidden", "message": "Request not allowed"}})


def _overloaded(api: str) -> Reply:
    if api == "gemini":
        message = "The model is overloaded. Please try again later."
        return _gemini(503, "UNAVAILABLE", message)
    message = "The server is currently overloaded with other requests."
    return _openai(503, message, "server_error", None)


def _bad_gateway(api: str) -> Reply:
    page = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
    return Reply(502, page, (), "text/html")


FAULTS: Final[tuple[Callable[[str], Reply], ...]] = (
    _overloaded,
    _bad_gateway,
    lambda api: Reply(0),
    lambda api: Reply(0, reset=True),
)
"""How an upstream that is down answers."""
