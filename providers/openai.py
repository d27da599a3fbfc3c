"""OpenAI's API, and the many that speak it.

Source: OpenAI's OpenAPI document, "Error codes" and "Rate limits".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from attrs import field, frozen
from zope.interface import implementer

from gptload.core.modellist import add_entries, listed_model, with_listed_model
from gptload.core.resttime import DAY_S, HOUR_S, MINUTE_S
from gptload.provider import (
    IProvider,
    Outcome,
    OutgoingRequest,
    Probe,
    Resources,
    Rest,
    Rule,
    Scope,
    error_event,
    has_ended,
    sign_of,
)
from gptload_providers._kept import OPENAI

REJECTED, EXHAUSTED, LIMITED = (Outcome.KEY_REJECTED, Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED)
ACCOUNT, MODEL = Scope.ACCOUNT, Scope.ACCOUNT_MODEL
MONTHLY = (
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
)
PER_DAY = ("requests per day", "tokens per day", "(rpd)", "(tpd)")

ERRORS: Final = (
    # OpenAI's word for an empty account is DashScope's for a busy minute.
    Rule(
        LIMITED,
        "rate_limit",
        MODEL,
        code="insufficient_quota",
        host=("dashscope", "aliyuncs"),
        default_s=MINUTE_S,
    ),
    Rule(REJECTED, "invalid_api_key", code="invalid_api_key"),
    Rule(REJECTED, "no_organization", code="no_organization"),
    Rule(REJECTED, "account_deactivated", ACCOUNT, code="account_deactivated"),
    # Restricted to some endpoints or models, a key is still good for the others. Access
    # is given by project: another key of the same organization may have it.
    Rule(
        EXHAUSTED,
        "scopes",
        Scope.KEY_MODEL,
        status=(401, 403),
        words="missing scopes",
        default_s=DAY_S,
    ),
    Rule(EXHAUSTED, "model", Scope.KEY_MODEL, status=403, code="model_not_found", default_s=DAY_S),
    # Sent as the client's mistake, but it's the account that may spend no more.
    Rule(EXHAUSTED, "billing_hard_limit", ACCOUNT, code="billing_hard_limit_reached"),
    Rule(EXHAUSTED, "billing_hard_limit", ACCOUNT, status=400, words="billing hard limit has been"),
    # `code` before `type`: new codes keep the type `insufficient_quota`.
    Rule(EXHAUSTED, "spend_limit", ACCOUNT, code=MONTHLY, rest=Rest.MONTH_END),
    Rule(EXHAUSTED, "billing_not_active", ACCOUNT, code="billing_not_active", default_s=DAY_S),
    Rule(EXHAUSTED, "insufficient_quota", ACCOUNT, code="insufficient_quota"),
    Rule(EXHAUSTED, "daily_limit", MODEL, status=429, words=PER_DAY, default_s=HOUR_S),
    Rule(LIMITED, "slow_down", MODEL, code="slow_down", default_s=MINUTE_S),
)


@implementer(IProvider)
@frozen
class OpenAI:
    """One of OpenAI's ways to ask a model.

    Attributes:
        question: the smallest request, without its model.
        error_event_name: a stream's events have names; this is an error's.
    """

    name: str
    default_validation_path: str
    question: Mapping[str, object]
    error_event_name: bytes = b""
    default_upstream: str = field(default="https://api.openai.com", init=False)
    default_test_model: str = field(default="gpt-4.1-nano", init=False)
    errors: tuple[Rule, ...] = field(default=ERRORS, init=False)
    resources: Resources = field(default=OPENAI, init=False)

    def sign(self, request: OutgoingRequest, key: bytes) -> None:
        request.set(b"Authorization", b"Bearer " + key)

    def model_in_path(self, path: bytes) -> str:
        return listed_model(path)

    def redirect_path(self, path: bytes, model: str) -> bytes:
        return with_listed_model(path, model)

    def streams_by_path(self, path: bytes) -> bool:
        return False

    def probe(self, model: str, path: str) -> Probe:
        body = orjson.dumps({"model": model, **self.question})
        return Probe(b"POST", path.encode("utf-8"), body)

    def add_models(self, answer: dict[str, Any], names: Iterable[str], only: bool) -> None:
        made = {"object": "model", "created": 0, "owned_by": "system"}
        add_entries(answer, "data", "id", [{"id": name, **made} for name in names], only)

    def error_body(self, status: int, code: str, message: str) -> dict[str, Any]:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    stream_sign, stream_ended = staticmethod(sign_of), staticmethod(has_ended)

    def stream_error(self, status: int, code: str, message: str) -> bytes:
        # Chats know `error`, some of their clients only as the first member; responses,
        # which go through any of the two channels, know the others.
        flat = {"type": "error", "code": code, "message": message, "param": None}
        body = {**self.error_body(status, code, message), **flat, "sequence_number": 0}
        return error_event(body, self.error_event_name)


provider = OpenAI(
    "openai", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}
)
