"""Google's Gemini API, with its OpenAI-compatible paths.

Source: Gemini API reference, "Troubleshooting", "Rate limits"; google.rpc.ErrorInfo.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import orjson
from zope.interface import implementer

from gptload.core.errorbody import NO_QUOTA
from gptload.core.modellist import add_entries
from gptload.core.resttime import DAY_S, MINUTE_S
from gptload.provider import (
    IProvider,
    Outcome,
    OutgoingRequest,
    Probe,
    Rest,
    Rule,
    Scope,
    error_event,
    has_ended,
    sign_of,
)
from gptload_providers._kept import GEMINI
from gptload_providers.openai import provider as openai

EXHAUSTED, LIMITED = Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED
UPSTREAM, ACCOUNT, MODEL = Outcome.UPSTREAM_FAULT, Scope.ACCOUNT, Scope.ACCOUNT_MODEL
NO_CAPACITY, FIXED = "no capacity available", Rest.DEFAULT

# What makes a key bad is in the common rules, by the reasons of `ErrorInfo`.
ERRORS: Final = (
    Rule(Outcome.KEY_REJECTED, "api_key_invalid", code="API_KEY_INVALID"),  # sent as 400
    Rule(EXHAUSTED, "billing_disabled", ACCOUNT, code="BILLING_DISABLED", default_s=DAY_S),
    # On 429. The order matters: several quotas may be violated at once, and a used-up
    # day comes with the short delay of a minute.
    Rule(UPSTREAM, "no_capacity", Scope.UPSTREAM_MODEL, code="MODEL_CAPACITY_EXHAUSTED"),
    Rule(UPSTREAM, "no_capacity", Scope.UPSTREAM_MODEL, status=429, words=NO_CAPACITY),
    Rule(EXHAUSTED, "daily_quota", MODEL, quota="PerDay", rest=Rest.PACIFIC_MIDNIGHT),
    Rule(EXHAUSTED, "not_in_tier", MODEL, code=NO_QUOTA, rest=FIXED, default_s=DAY_S),
    Rule(
        EXHAUSTED, "not_in_tier", MODEL, status=429, words="limit: 0", rest=FIXED, default_s=DAY_S
    ),
    Rule(LIMITED, "spend_rate", ACCOUNT, status=429, words="spend limit", default_s=10 * MINUTE_S),
    Rule(LIMITED, "minute_quota", MODEL, status=429, quota="PerMinute", default_s=MINUTE_S),
    Rule(LIMITED, "no_details", MODEL, status=429, words="has been exhausted", default_s=5.0),
    Rule(LIMITED, "rate_limit", MODEL, status=429, code="RESOURCE_EXHAUSTED"),
)

_MODEL = re.compile(rb"(/(?:models|tunedModels)(?:/|%2[Ff]))((?:(?!%3[Aa])[^/:])+)")
_STREAMS = re.compile(rb"(?::|%3[Aa])streamGenerateContent$")
_STATUS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
           429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 504: "DEADLINE_EXCEEDED"}  # fmt: skip


@implementer(IProvider)
class Gemini:
    name = "gemini"
    default_upstream = "https://generativelanguage.googleapis.com"
    default_test_model = "gemini-2.0-flash-lite"
    default_validation_path = ""
    errors = ERRORS
    resources = GEMINI

    def sign(self, request: OutgoingRequest, key: bytes) -> None:
        # Exactly one of the two: a plain key as Bearer is refused on native paths.
        if b"/openai/" in request.target.partition(b"?")[0]:
            request.set(b"Authorization", b"Bearer " + key)
        else:
            request.set(b"x-goog-api-key", key)

    def model_in_path(self, path: bytes) -> str:
        found = _MODEL.search(path)
        return unquote_to_bytes(found[2]).decode("utf-8", "replace") if found else ""

    def redirect_path(self, path: bytes, model: str) -> bytes:
        return _MODEL.sub(lambda found: found[1] + _segment(model), path, count=1)

    def streams_by_path(self, path: bytes) -> bool:
        return _STREAMS.search(path) is not None

    def probe(self, model: str, path: str) -> Probe:
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        target = b"/v1beta/models/%b:generateContent" % _segment(model)
        return Probe(b"POST", target, orjson.dumps(body))

    def add_models(self, answer: dict[str, Any], names: Iterable[str], only: bool) -> None:
        if not isinstance(answer.get("models"), list):
            openai.add_models(answer, names, only)  # from an OpenAI-compatible path
            return
        made = {"supportedGenerationMethods": ["generateContent"]}
        entries = [{"name": f"models/{name}", "displayName": name, **made} for name in names]
        add_entries(answer, "models", "name", entries, only)
        if only:
            answer.pop("nextPageToken", None)

    def error_body(self, status: int, code: str, message: str) -> dict[str, Any]:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code}
        name = _STATUS.get(status, "UNAVAILABLE" if status > 500 else "INVALID_ARGUMENT")
        return {"error": {"code": status, "message": message, "status": name, "details": [info]}}

    stream_sign, stream_ended = staticmethod(sign_of), staticmethod(has_ended)

    def stream_error(self, status: int, code: str, message: str) -> bytes:
        return error_event(self.error_body(status, code, message))


def _segment(model: str) -> bytes:
    return quote(model.removeprefix("models/"), safe="").encode("ascii")


provider = Gemini()
