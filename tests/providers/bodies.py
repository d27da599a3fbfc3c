"""Errors as the APIs send them: bodies and fields from public reports, with invented ids."""

from __future__ import annotations

import json
from typing import Any

from gptload.core.verdict import Answer


def answer(status: int, body: Any = b"", **fields: str) -> Answer:
    """An answer with a JSON body, or with these bytes; `retry_after` is `retry-after`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = tuple(
        (name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()
    )
    return Answer(status, named, raw)


def openai(status: int, message: str, kind: str, code: str | None = None, **fields: str) -> Answer:
    """An error of OpenAI's."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return answer(status, {"error": error}, **fields)


def anthropic(status: int, kind: str, message: str, details: Any = None, **fields: str) -> Answer:
    """An error of Anthropic's."""
    error = {"type": kind, "message": message} | ({"details": details} if details else {})
    return answer(status, {"type": "error", "error": error, "request_id": "req_011C"}, **fields)


def google(status: int, name: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """The JSON of one of Google's errors."""
    return {"error": {"code": status, "message": message, "status": name, "details": list(details)}}


def gemini(status: int, name: str, message: str, *details: dict[str, Any]) -> Answer:
    """An error of Gemini's native API."""
    return answer(status, google(status, name, message, *details))


def info(reason: str, **metadata: str) -> dict[str, Any]:
    """A `google.rpc.ErrorInfo`."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com", **metadata},
    }


def quota(*ids: str, value: str = "50") -> dict[str, Any]:
    """A `google.rpc.QuotaFailure` about these quotas."""
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaDimensions": {"location": "global", "model": "gemini-2.5-pro"},
        "quotaValue": value,
    }
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [violation | {"quotaId": quota_id} for quota_id in ids],
    }


def retry(delay: str) -> dict[str, Any]:
    """A `google.rpc.RetryInfo`."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
QUOTA_TEXT = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. "
    "* Quota exceeded for metric: generativelanguage.googleapis.com/"
    "generate_content_free_tier_requests, limit: 50\nPlease retry in 36.429760048s."
)

CLOUDFLARE_PAGE = (
    b'<!DOCTYPE html>\n<html lang="en-US"><head><title>Attention Required! | Cloudflare</title>'
    b"</head><body><h1>Sorry, you have been blocked</h1><p>You are unable to access "
    b"api.example.com</p><p>Cloudflare Ray ID: 9f1c2b3a4d5e6f70</p></body></html>"
)
GOOGLE_BLOCK_PAGE = (
    b"<html><head><title>Sorry...</title></head><body>We're sorry... but your computer or network "
    b"may be sending automated queries. To protect our users, we can't process your request "
    b"right now.</body></html>"
)
