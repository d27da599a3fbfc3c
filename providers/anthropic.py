"""Anthropic's Messages API, with API keys and with the OAuth tokens of subscriptions.

Source: Anthropic's API reference, "Errors", "Rate limits" and "Versioning".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson
from zope.interface import implementer

from gptload.core.modellist import add_entries, listed_model, with_listed_model
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
from gptload_providers._kept import ANTHROPIC

REJECTED, EXHAUSTED, UPSTREAM = Outcome.KEY_REJECTED, Outcome.KEY_EXHAUSTED, Outcome.UPSTREAM_FAULT
ACCOUNT, MONTH = Scope.ACCOUNT, Rest.MONTH_END
USAGE_LIMITS = ("reached your specified api usage limits", "specified workspace api usage limits")
NO_OAUTH_YET = "oauth authentication is currently not supported"
REJECTED_WINDOW = (b"anthropic-ratelimit-unified-status", b"rejected")
FIVE_HOURS = (b"anthropic-ratelimit-unified-5h-status", b"rejected")
SEVEN_DAYS = (b"anthropic-ratelimit-unified-7d-status", b"rejected")
MODELS_DAYS = (b"anthropic-ratelimit-unified-7d_oi-status", b"rejected")
NO_OVERAGE = (b"anthropic-ratelimit-unified-overage-disabled-reason", b"")
TOO_STEEP = ("acceleration limit", "usage increase rate")

ERRORS: Final = (
    # Sent as the client's mistake, but it's the account that is empty or closed.
    Rule(EXHAUSTED, "credit_balance", ACCOUNT, status=400, words="credit balance is too low"),
    Rule(EXHAUSTED, "usage_limits", ACCOUNT, status=400, words=USAGE_LIMITS, rest=MONTH),
    Rule(EXHAUSTED, "extra_usage", ACCOUNT, status=400, words="out of extra usage"),
    Rule(REJECTED, "disabled", ACCOUNT, status=400, words="organization has been disabled"),
    # Called `authentication_error` too, but a field of ours is wrong, not the key.
    Rule(UPSTREAM, "origin_passed_on", status=401, words="cors requests are not allowed"),
    Rule(UPSTREAM, "oauth_beta_missing", status=401, words=NO_OAUTH_YET),
    Rule(REJECTED, "authentication_error", code="authentication_error"),
    Rule(UPSTREAM, "region", Scope.EGRESS, status=403, words="request not allowed"),
    Rule(REJECTED, "oauth_not_allowed", status=403, words="oauth", and_words="not allowed for"),
    # Without this model or endpoint, a key is still good for the others.
    Rule(EXHAUSTED, "permission", Scope.KEY_MODEL, code="permission_error", default_s=DAY_S),
    Rule(EXHAUSTED, "billing_error", ACCOUNT, code="billing_error"),
    Rule(EXHAUSTED, "spend_limit", ACCOUNT, code="enforced_spend_limit_reached", rest=MONTH),
    # Of a plan's windows one is about a model: it counts where none of the account does.
    Rule(EXHAUSTED, "plan_window", ACCOUNT, status=429, header=FIVE_HOURS),
    Rule(EXHAUSTED, "plan_window", ACCOUNT, status=429, header=SEVEN_DAYS),
    Rule(EXHAUSTED, "model_window", Scope.ACCOUNT_MODEL, status=429, header=MODELS_DAYS),
    Rule(EXHAUSTED, "plan_window", ACCOUNT, status=429, header=REJECTED_WINDOW),
    # Extra usage is what fast mode is paid with; without it the plan still serves.
    Rule(EXHAUSTED, "fast", status=429, header=NO_OVERAGE, words="fast mode", rest=Rest.NONE),
    Rule(Outcome.RATE_LIMITED, "acceleration", ACCOUNT, words=TOO_STEEP, default_s=MINUTE_S),
    Rule(UPSTREAM, "overloaded_error", Scope.UPSTREAM_MODEL, code="overloaded_error"),
    Rule(Outcome.RATE_LIMITED, "rate_limit_error", Scope.ACCOUNT_MODEL, code="rate_limit_error"),
)

_TYPES = {401: "authentication_error", 404: "not_found_error", 413: "request_too_large"}
_BETA, _OAUTH = b"anthropic-beta", b"oauth-2025-04-20"


@implementer(IProvider)
class Anthropic:
    name = "anthropic"
    default_upstream = "https://api.anthropic.com"
    default_test_model = "claude-3-haiku-20240307"
    default_validation_path = "/v1/messages"
    errors = ERRORS
    resources = ANTHROPIC

    def sign(self, request: OutgoingRequest, key: bytes) -> None:
        if request.get(b"anthropic-version") is None:
            request.set(b"anthropic-version", b"2023-06-01")
        lines = [line.partition(b":")[2] for name, line in request.fields if name == _BETA]
        betas = [beta.strip() for beta in b",".join(lines).split(b",") if beta.strip()]
        if key.startswith(b"sk-ant-oat"):
            request.set(b"Authorization", b"Bearer " + key)
            if _OAUTH not in betas:
                request.set(_BETA, b",".join([*betas, _OAUTH]))
            return
        request.set(b"x-api-key", key)
        if _OAUTH in betas:  # the client's own credential was a token; an API key refuses it
            request.remove(_BETA)
            if others := [beta for beta in betas if beta != _OAUTH]:
                request.set(_BETA, b",".join(others))

    def model_in_path(self, path: bytes) -> str:
        return listed_model(path)

    def redirect_path(self, path: bytes, model: str) -> bytes:
        return with_listed_model(path, model)

    def streams_by_path(self, path: bytes) -> bool:
        return False

    def probe(self, model: str, path: str) -> Probe:
        messages = [{"role": "user", "content": "hi"}]
        body = orjson.dumps({"model": model, "max_tokens": 100, "messages": messages})
        return Probe(b"POST", path.encode("utf-8"), body)

    def add_models(self, answer: dict[str, Any], names: Iterable[str], only: bool) -> None:
        made = {"type": "model", "created_at": "1970-01-01T00:00:00Z"}
        entries = [{"id": name, "display_name": name, **made} for name in names]
        add_entries(answer, "data", "id", entries, only)
        if only:  # one page with all
            first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
            answer.update(has_more=False, first_id=first, last_id=last)

    def error_body(self, status: int, code: str, message: str) -> dict[str, Any]:
        kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": message, "code": code}}

    stream_sign, stream_ended = staticmethod(sign_of), staticmethod(has_ended)

    def stream_error(self, status: int, code: str, message: str) -> bytes:
        return error_event(self.error_body(status, code, message), b"error")


provider = Anthropic()
