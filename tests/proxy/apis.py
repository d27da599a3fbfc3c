"""What the four APIs say, well and ill, in their own words.

The rule of this file: bodies and fields as the provider sends them; nothing in here
knows what gptload makes of them. `{key}` in a text is the key that was sent.

Sources: the providers' API references, "Errors", "Rate limits" and "Streaming".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

CHANNELS: Final = ("openai", "openai-response", "anthropic", "gemini")
MODEL: Final = "test-model"

ACCOUNT: Final = {
    "openai": "org-acme",
    "openai-response": "org-acme",
    "anthropic": "4f1d2c3b-0000-4000-8000-00000000acee",
    "gemini": "projects/123456789012",
}
PATH: Final = {
    "openai": b"/v1/chat/completions",
    "openai-response": b"/v1/responses",
    "anthropic": b"/v1/messages",
    "gemini": b"/v1beta/models/test-model:generateContent",
}
STREAM_PATH: Final = {
    **PATH,
    "gemini": b"/v1beta/models/test-model:streamGenerateContent?alt=sse",
}


def asks(channel: str, stream: bool) -> bytes:
    """A request's body."""
    said = [{"role": "user", "content": "Hello"}]
    body: dict[str, Any] = {"model": MODEL, "stream": stream}
    if channel == "openai":
        body["messages"] = said
    elif channel == "openai-response":
        body["input"] = "Hello"
    elif channel == "anthropic":
        body |= {"max_tokens": 100, "messages": said}
    else:
        body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    return json.dumps(body).encode()


@frozen
class Said:
    """An answer, whole.

    Attributes:
        body: without framing.
        fields: lines of its head, besides type and length.
    """

    status: int
    body: bytes
    fields: tuple[bytes, ...] = ()
    kind: bytes = b"application/json"


def event(value: Any, name: str = "") -> bytes:
    """An event of a stream."""
    text = value if isinstance(value, str) else json.dumps(value)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def _typed(value: dict[str, Any]) -> bytes:
    return event(value, value["type"])


# All is well.

_RESPONSE: Final = {"id": "resp_1", "object": "response", "status": "in_progress", "error": None}
_MESSAGE: Final = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
_CHUNK: Final = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": MODEL}


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return event({**_CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _candidate(text: str, finish: str | None = None) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {
        "candidates": [{"content": content, **({"finishReason": finish} if finish else {})}],
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 6},
    }


ANSWER: Final[Mapping[str, bytes]] = {
    channel: json.dumps(value).encode()
    for channel, value in {
        "openai": {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Good day"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
        },
        "openai-response": {
            **_RESPONSE,
            "status": "completed",
            "output": [
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "Good day"}],
                }
            ],
            "usage": {"input_tokens": 8, "output_tokens": 2, "total_tokens": 10},
        },
        "anthropic": {
            **_MESSAGE,
            "content": [{"type": "text", "text": "Good day"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 8, "output_tokens": 2},
        },
        "gemini": _candidate("Good day", "STOP"),
    }.items()
}

HANDSHAKE: Final = {
    "openai": _chunk({"role": "assistant", "content": ""}),
    "openai-response": _typed({"type": "response.created", "response": _RESPONSE}),
    "anthropic": _typed({"type": "message_start", "message": {**_MESSAGE, "content": []}})
    + _typed({"type": "ping"}),
    "gemini": event({"usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}}),
}
WORD: Final = {
    "openai": _chunk({"content": "Good"}),
    "openai-response": _typed({"type": "response.output_text.delta", "delta": "Good"}),
    "anthropic": _typed(
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Good"},
        }
    ),
    "gemini": event(_candidate("Good")),
}
END: Final = {
    "openai": _chunk({}, "stop") + event("[DONE]"),
    "openai-response": _typed(
        {"type": "response.completed", "response": {**_RESPONSE, "status": "completed"}}
    ),
    "anthropic": _typed({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    + _typed({"type": "message_stop"}),
    "gemini": event(_candidate(" day", "STOP")),
}
STREAM: Final = {channel: HANDSHAKE[channel] + WORD[channel] + END[channel] for channel in CHANNELS}


# Something is wrong.


def openai(
    status: int, code: str | None, kind: str, message: str, *fields: bytes, param: str | None = None
) -> Said:
    """An error of OpenAI's."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    body = json.dumps({"error": error}, indent=2).encode()
    return Said(status, body, (b"x-request-id: req_5f0c", *fields))


def anthropic(status: int, kind: str, message: str, *fields: bytes, **more: Any) -> Said:
    """An error of Anthropic's."""
    error = {"type": kind, "message": message, **more}
    body = {"type": "error", "error": error, "request_id": "req_011C"}
    return Said(status, json.dumps(body).encode(), (b"request-id: req_011C", *fields))


def gemini(status: int, name: str, message: str, *details: dict[str, Any]) -> Said:
    """An error of Google's."""
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    if not details:
        del error["details"]
    return Said(status, json.dumps({"error": error}, indent=2).encode())


def _of(openai: Said, anthropic: Said, gemini: Said) -> Mapping[str, Said]:
    return {
        "openai": openai,
        "openai-response": openai,
        "anthropic": anthropic,
        "gemini": gemini,
    }


def everywhere(said: Said) -> Mapping[str, Said]:
    """The same, whatever is asked: it comes from something before the API."""
    return dict.fromkeys(CHANNELS, said)


_REQUEST: Final = "invalid_request_error"
_GOOGLE: Final = "type.googleapis.com/google.rpc."
_PER_MINUTE: Final = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
_PER_DAY: Final = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


def _info(reason: str, **metadata: str) -> dict[str, Any]:
    return {
        "@type": f"{_GOOGLE}ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com", **metadata},
    }


def _quotas(values: Mapping[str, str]) -> dict[str, Any]:
    violations = [
        {"quotaId": name, "quotaValue": value, "quotaDimensions": {"model": MODEL}}
        for name, value in values.items()
    ]
    return {"@type": f"{_GOOGLE}QuotaFailure", "violations": violations}


def _retry(delay: str) -> dict[str, Any]:
    return {"@type": f"{_GOOGLE}RetryInfo", "retryDelay": delay}


DEAD: Final = _of(
    openai(
        401,
        "invalid_api_key",
        _REQUEST,
        "Incorrect API key provided: {key}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
    ),
    anthropic(401, "authentication_error", "invalid x-api-key"),
    gemini(
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        _info("API_KEY_INVALID"),
        {"@type": f"{_GOOGLE}DebugInfo", "detail": "[ORIGINAL ERROR] invalid key {key}"},
    ),
)
CLOSED: Final = _of(
    openai(
        401,
        "account_deactivated",
        _REQUEST,
        "The OpenAI account associated with this API key has been deactivated.",
    ),
    anthropic(400, _REQUEST, "This organization has been disabled."),
    gemini(
        403,
        "PERMISSION_DENIED",
        "Your API key was reported as leaked. Please use another API key.",
    ),
)
NO_ACCESS: Final = _of(
    openai(
        403,
        "model_not_found",
        _REQUEST,
        f"Project `proj_Zk3` does not have access to model `{MODEL}`",
    ),
    anthropic(
        403,
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    gemini(
        429,
        "RESOURCE_EXHAUSTED",
        f"You exceeded your current quota. * Quota exceeded for metric: limit: 0, model: {MODEL}",
        _quotas({_PER_MINUTE: "0"}),
        _retry("36s"),
    ),
)
LIMITED: Final = _of(
    openai(
        429,
        "rate_limit_exceeded",
        "requests",
        f"Rate limit reached for {MODEL} in organization org-acme on requests per min (RPM): "
        "Limit 500, Used 500, Requested 1. Please try again in 7s.",
        b"retry-after: 7",
        b"retry-after-ms: 7000",
        b"x-ratelimit-remaining-requests: 0",
        b"x-ratelimit-reset-requests: 1m0s",
    ),
    anthropic(
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50,000 input tokens per "
        "minute.",
        b"retry-after: 7",
        b"anthropic-ratelimit-input-tokens-remaining: 0",
    ),
    gemini(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. "
        "Please retry in 7s.",
        _quotas({_PER_MINUTE: "15"}),
        _retry("7s"),
    ),
)
BUSY_KEY: Final = _of(
    openai(429, "rate_limit_exceeded", "tokens", f"Rate limit reached for {MODEL}."),
    anthropic(
        429, "rate_limit_error", "Number of request tokens has exceeded your per-minute rate limit."
    ),
    gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
)
USED_UP: Final = _of(
    openai(
        429,
        "rate_limit_exceeded",
        "requests",
        f"Rate limit reached for {MODEL} in organization org-acme on requests per day (RPD): "
        "Limit 200, Used 200, Requested 1. Please try again in 7m12s.",
    ),
    anthropic(
        400,
        _REQUEST,
        "You have reached your specified API usage limits. You will regain access on 2027-02-01 "
        "at 00:00 UTC.",
    ),
    gemini(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. "
        "Please retry in 36.429760048s.",
        _quotas({_PER_DAY: "50", _PER_MINUTE: "15"}),
        _retry("36s"),
    ),
)
NO_CREDIT: Final = _of(
    openai(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    anthropic(
        400,
        _REQUEST,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
        "Billing to upgrade or purchase credits.",
    ),
    gemini(
        402,
        "RESOURCE_EXHAUSTED",
        "Your prepayment credits are depleted. Please go to AI Studio to manage your billing.",
    ),
)
MALFORMED: Final = _of(
    openai(
        400,
        "invalid_type",
        _REQUEST,
        "Invalid type for 'messages': expected an array of objects, but got a string instead.",
        param="messages",
    ),
    anthropic(400, _REQUEST, "messages: at least one message is required"),
    gemini(
        400,
        "INVALID_ARGUMENT",
        'Invalid JSON payload received. Unknown name "contentz": Cannot find field.',
        {"@type": f"{_GOOGLE}BadRequest", "fieldViolations": [{"description": "contentz"}]},
    ),
)
TOO_LONG: Final = _of(
    openai(
        400,
        "context_length_exceeded",
        _REQUEST,
        "This model's maximum context length is 128000 tokens. However, your messages resulted "
        "in 215032 tokens. Please reduce the length of the messages.",
        param="messages",
    ),
    anthropic(400, _REQUEST, "prompt is too long: 215032 tokens > 200000 maximum"),
    gemini(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200001) exceeds the maximum number of tokens allowed (1048576).",
    ),
)
NO_MODEL: Final = _of(
    openai(
        404,
        "model_not_found",
        _REQUEST,
        f"The model `{MODEL}` does not exist or you do not have access to it.",
    ),
    anthropic(404, "not_found_error", f"model: {MODEL}"),
    gemini(
        404,
        "NOT_FOUND",
        f"models/{MODEL} is not found for API version v1beta, or is not supported for "
        "generateContent.",
    ),
)
REFUSED: Final = _of(
    openai(
        400,
        "invalid_prompt",
        _REQUEST,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    ),
    anthropic(400, _REQUEST, "Output blocked by content filtering policy"),
    Said(
        200,
        json.dumps(
            {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}}
        ).encode(),
    ),
)
FAILED: Final = _of(
    openai(500, None, "server_error", "The server had an error while processing your request."),
    anthropic(500, "api_error", "Internal server error"),
    gemini(500, "INTERNAL", "An internal error has occurred. Please retry."),
)
UNAVAILABLE: Final = _of(
    openai(503, None, "server_error", "Service temporarily unavailable.", b"retry-after: 30"),
    anthropic(503, "api_error", "Service unavailable", b"retry-after: 30"),
    gemini(503, "UNAVAILABLE", "The service is currently unavailable."),
)
OVERLOADED: Final = _of(
    openai(
        503,
        "server_is_overloaded",
        "service_unavailable_error",
        "Our servers are currently overloaded. Please try again later.",
    ),
    anthropic(529, "overloaded_error", "Overloaded"),
    gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
)
BLOCK_PAGE: Final = everywhere(
    Said(
        403,
        b"<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title>"
        b"<h1>Sorry, you have been blocked</h1></html>",
        (b"server: cloudflare", b"cf-ray: 8f1c"),
        b"text/html; charset=UTF-8",
    )
)
PORTAL: Final = everywhere(
    Said(
        200,
        b"<!DOCTYPE html><html><title>Welcome</title><p>Please log in.</p></html>",
        kind=b"text/html",
    )
)
EMPTY_502: Final = everywhere(Said(502, b"", (b"server: nginx",)))
WRAPPED: Final[Mapping[str, Said]] = {
    channel: Said(
        502,
        json.dumps(
            {"error": {"message": said.body.decode(), "type": "upstream_error", "code": 502}}
        ).encode(),
    )
    for channel, said in DEAD.items()
}


# Something is wrong, and the status says 200.

OVERLOADED_200: Final[Mapping[str, Said]] = {
    "openai": Said(
        200,
        json.dumps(
            {"error": {"message": "Provider returned error", "code": 503}, "user_id": "user_2"}
        ).encode(),
    ),
    "openai-response": Said(
        200,
        json.dumps(
            {
                **_RESPONSE,
                "status": "failed",
                "error": {"code": "server_error", "message": "The model failed."},
            }
        ).encode(),
    ),
    "anthropic": Said(200, OVERLOADED["anthropic"].body),
    "gemini": Said(200, OVERLOADED["gemini"].body),
}
LIMITED_200: Final[Mapping[str, Said]] = {
    "openai": Said(
        200,
        json.dumps(
            {"error": {"message": "Rate limit exceeded", "code": 429}, "user_id": "user_2"}
        ).encode(),
    ),
    "openai-response": Said(
        200,
        json.dumps(
            {
                **_RESPONSE,
                "status": "failed",
                "error": {"code": "rate_limit_exceeded", "message": "Rate limit reached."},
            }
        ).encode(),
    ),
    "anthropic": Said(200, BUSY_KEY["anthropic"].body),
    "gemini": Said(200, LIMITED["gemini"].body),
}


def _as_event(channel: str, said: Said) -> bytes:
    """The same error as an event of a stream."""
    value = json.loads(said.body)
    if channel == "openai-response":
        return _typed({"type": "response.failed", "response": value})
    if channel == "anthropic":
        return _typed({"type": "error", "error": value["error"]})
    if channel == "gemini":  # bare, over several lines, without `data:`
        return said.body + b"\n\n"
    return event(value)


OVERLOADED_EVENT: Final = {
    channel: _as_event(channel, OVERLOADED_200[channel]) for channel in CHANNELS
}
LIMITED_EVENT: Final = {channel: _as_event(channel, LIMITED_200[channel]) for channel in CHANNELS}
