"""How each API says that something is wrong, in its own words.

Source: the providers' error references; real bodies, with invented ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.upstream.requests import Request


@dataclass(frozen=True)
class Refusal:
    """An error's status, its JSON, and the fields that come with it."""

    status: int
    body: Any
    fields: tuple[tuple[str, str], ...] = ()


def dialect_of(request: Request) -> str:
    """`openai`, `anthropic` or `gemini`, by path and by what the client says."""
    path = request.path
    if "/messages" in path or request.get("anthropic-version"):
        return "anthropic"
    if "/openai/" in path:
        return "openai"
    if "/v1beta" in path or ":" in path.rpartition("/")[2]:
        return "gemini"
    if request.get("x-goog-api-key") or "key" in request.query:
        return "gemini"
    return "openai"


def refusal(request: Request, name: str, retry_after: str | float | None) -> Refusal:
    """The named error in the dialect of the request."""
    return ERRORS[dialect_of(request)](name, request, retry_after)


def names() -> list[str]:
    """Errors that every dialect knows."""
    return sorted(_OPENAI)


def _masked(key: str) -> str:
    return f"{key[:4]}{'*' * max(len(key) - 8, 4)}{key[-4:]}"


# name: status, type, code, message
_OPENAI: dict[str, tuple[int, str, str | None, str]] = {
    "invalid_api_key": (
        401,
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided: {masked}.",
    ),
    "account_deactivated": (
        401,
        "invalid_request_error",
        "account_deactivated",
        "The OpenAI account associated with this API key has been deactivated.",
    ),
    "insufficient_quota": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "rate_limited": (
        429,
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for gpt-4.1-mini in organization org-x on requests per min (RPM).",
    ),
    "overloaded": (
        503,
        "service_unavailable_error",
        "server_is_overloaded",
        "The server is overloaded. Please try again later.",
    ),
    "server_error": (
        500,
        "server_error",
        None,
        "The server had an error while processing your request.",
    ),
    "bad_request": (
        400,
        "invalid_request_error",
        None,
        "Invalid type for 'temperature': expected a decimal, but got a string instead.",
    ),
    "model_not_found": (
        404,
        "invalid_request_error",
        "model_not_found",
        "The model `gpt-9` does not exist or you do not have access to it.",
    ),
    "permission_denied": (
        403,
        "invalid_request_error",
        "model_not_found",
        "Project `proj_x` does not have access to model `gpt-4.1`.",
    ),
    "two_credentials": (400, "invalid_request_error", None, "More than one credential was sent."),
    # No provider should, some do: the whole key in the text.
    "quotes_key": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key: {key}"),
}


def _openai(name: str, request: Request, retry_after: str | float | None) -> Refusal:
    status, kind, code, message = _OPENAI[name]
    message = message.format(key=request.key, masked=_masked(request.key))
    return Refusal(
        status,
        {"error": {"message": message, "type": kind, "param": None, "code": code}},
        (("x-request-id", f"req_{request.number:08x}"),),
    )


_ANTHROPIC: dict[str, tuple[int, str, str]] = {
    "invalid_api_key": (401, "authentication_error", "invalid x-api-key"),
    "account_deactivated": (
        400,
        "invalid_request_error",
        "This organization has been disabled.",
    ),
    "insufficient_quota": (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API.",
    ),
    "rate_limited": (
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute.",
    ),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "server_error": (500, "api_error", "Internal server error"),
    "bad_request": (400, "invalid_request_error", "max_tokens: Field required"),
    "model_not_found": (404, "not_found_error", "model: claude-9"),
    "permission_denied": (
        403,
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    "two_credentials": (400, "invalid_request_error", "More than one credential was sent."),
    "quotes_key": (401, "authentication_error", "invalid x-api-key: {key}"),
}


def _anthropic(name: str, request: Request, retry_after: str | float | None) -> Refusal:
    status, kind, message = _ANTHROPIC[name]
    request_id = f"req_{request.number:08x}"
    error = {"type": kind, "message": message.format(key=request.key)}
    return Refusal(
        status,
        {"type": "error", "error": error, "request_id": request_id},
        (("request-id", request_id),),
    )


_GEMINI: dict[str, tuple[int, str, str]] = {
    "invalid_api_key": (
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
    ),
    "account_deactivated": (
        403,
        "PERMISSION_DENIED",
        "Permission denied: Consumer has been suspended.",
    ),
    "insufficient_quota": (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "rate_limited": (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "overloaded": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "server_error": (500, "INTERNAL", "An internal error has occurred."),
    "bad_request": (400, "INVALID_ARGUMENT", "* contents is not specified"),
    "model_not_found": (
        404,
        "NOT_FOUND",
        "models/gemini-9 is not found for API version v1beta.",
    ),
    "permission_denied": (403, "PERMISSION_DENIED", "The caller does not have permission"),
    "two_credentials": (
        400,
        "INVALID_ARGUMENT",
        "Multiple authentication credentials received. Please pass only one.",
    ),
    "quotes_key": (400, "INVALID_ARGUMENT", "API key not valid: {key}"),
}
_REASONS = {
    "invalid_api_key": "API_KEY_INVALID",
    "quotes_key": "API_KEY_INVALID",
    "account_deactivated": "CONSUMER_SUSPENDED",
}
_QUOTAS = {
    "insufficient_quota": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "rate_limited": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
}


def _gemini(name: str, request: Request, retry_after: str | float | None) -> Refusal:
    status, canonical, message = _GEMINI[name]
    details: list[dict[str, Any]] = []
    if reason := _REASONS.get(name):
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason,
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
        )
    if quota := _QUOTAS.get(name):
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                    {
                        "quotaMetric": "generativelanguage.googleapis.com/"
                        "generate_content_free_tier_requests",
                        "quotaId": quota,
                        "quotaDimensions": {"model": "gemini-2.5-flash", "location": "global"},
                        "quotaValue": "10",
                    }
                ],
            }
        )
    if isinstance(retry_after, int | float):
        details.append(
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{retry_after}s"}
        )
    error: dict[str, Any] = {
        "code": status,
        "message": message.format(key=request.key),
        "status": canonical,
    }
    if details:
        error["details"] = details
    body: Any = {"error": error}
    if "streamGenerateContent" in request.path and request.query.get("alt") != "sse":
        body = [body]  # as the API does for its JSON array streams
    return Refusal(status, body)


ERRORS: dict[str, Callable[[str, Request, str | float | None], Refusal]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
}


def as_bytes(body: Any) -> bytes:
    """JSON as the APIs print it."""
    return json.dumps(body, ensure_ascii=False, indent=2).encode()
