"""OpenAI, chat and Responses: what its errors mean, its key, its paths, its lists."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from gptload.core.outcome import Outcome, Scope
from gptload.core.verdict import Answer, judge
from gptload.provider import OutgoingRequest, Probe
from gptload_providers.openai import provider as chat
from gptload_providers.openai_response import provider as responses
from tests.providers.bodies import CLOUDFLARE_PAGE, answer
from tests.providers.bodies import openai as error

NOW = datetime.fromisoformat("2026-11-20T12:00:00Z").timestamp()
UP, REQ, REJ = Outcome.UPSTREAM_FAULT, Outcome.REQUEST_FAULT, Outcome.KEY_REJECTED
EXH, RL = Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED
KEY, KEY_MODEL, ACCOUNT, MODEL = (Scope.KEY, Scope.KEY_MODEL, Scope.ACCOUNT, Scope.ACCOUNT_MODEL)
EGRESS, UPSTREAM = Scope.EGRESS, Scope.UPSTREAM

INVALID = "invalid_request_error"
RATE = "Rate limit reached for gpt-4.1 in organization org-x on requests per min (RPM): Limit 3."
DAY = "Rate limit reached for gpt-4.1 in organization org-x on requests per day (RPD): Limit 200."
BIG = "Request too large for gpt-4.1 on tokens per min (TPM): Limit 30000, Requested 41000."
QUOTA = "You exceeded your current quota, please check your plan and billing details."
FULL = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "6m0s"}
LEFT = {"x_ratelimit_remaining_tokens": "900", "x_ratelimit_reset_tokens": "1s"}

CASES: list[tuple[Answer, Outcome, Scope, float | None, str]] = [
    # 400
    (error(400, "Invalid type for 'temperature'.", INVALID), REQ, KEY, None, "common.status_400"),
    (error(400, "The maximum context length is 8192 tokens.", INVALID, "context_length_exceeded"),
     REQ, KEY, None, "common.prompt_too_long"),
    (error(400, "Your request was rejected.", INVALID, "content_policy_violation"),
     REQ, KEY, None, "common.content_refused"),
    (error(400, "Billing hard limit has been reached", INVALID, "billing_hard_limit_reached"),
     EXH, ACCOUNT, 1800, "openai.billing_hard_limit"),
    (error(400, "Your request was flagged.", INVALID, "cyber_policy"),
     REQ, KEY, None, "common.content_refused"),
    (error(400, "service_tier is not allowed for this account.", INVALID),
     REQ, KEY, None, "common.status_400"),
    (error(400, "Billing hard limit has been reached", INVALID),
     EXH, ACCOUNT, 1800, "openai.billing_hard_limit"),
    (error(400, "The encrypted content is not ours.", INVALID, "invalid_encrypted_content"),
     REQ, Scope.AFFINITY, None, "common.other_keys_state"),
    # 401
    (error(401, "Incorrect API key provided: sk-a****wxyz.", INVALID, "invalid_api_key"),
     REJ, KEY, None, "openai.invalid_api_key"),
    (error(401, "The account has been deactivated.", INVALID, "account_deactivated"),
     REJ, ACCOUNT, None, "openai.account_deactivated"),
    (error(401, "You must be a member of an organization.", INVALID, "no_organization"),
     REJ, KEY, None, "openai.no_organization"),
    (error(401, "OpenAI-Organization header should match.", INVALID, "mismatched_organization"),
     UP, UPSTREAM, None, "common.foreign_organization"),
    (error(401, "You have insufficient permissions. Missing scopes: api.model.read.", INVALID),
     EXH, KEY_MODEL, 86_400, "openai.scopes"),
    (error(401, "Your IP is not authorized.", INVALID, "ip_not_authorized"),
     UP, EGRESS, None, "common.address_not_allowed"),
    # 403, 404
    (error(403, "Country, region, or territory not supported", "request_forbidden",
           "unsupported_country_region_territory"), UP, EGRESS, None, "common.country"),
    (error(403, "Project `p` does not have access to model `gpt-4.1`.", INVALID, "model_not_found"),
     EXH, KEY_MODEL, 86_400, "openai.model"),
    (error(404, "The model `gpt-9` does not exist or …", INVALID, "model_not_found"),
     REQ, KEY, None, "common.unknown_model"),
    (error(404, "No such File object: file-abc123", INVALID),
     REQ, Scope.AFFINITY, None, "common.other_keys_resource"),
    (error(408, "Timed out.", "timeout"), UP, UPSTREAM, None, "common.status_408"),
    (error(409, "Try again.", INVALID), REQ, KEY, None, "common.status_409"),
    (error(422, "Unprocessable.", INVALID), REQ, KEY, None, "common.status_422"),
    (answer(403, CLOUDFLARE_PAGE, content_type="text/html", server="cloudflare"),
     UP, EGRESS, None, "common.block_page"),
    (error(413, "Maximum content size limit (26214400) exceeded", "server_error"),
     REQ, KEY, None, "common.status_413"),
    # 429: the same status for six things
    (error(429, RATE, "requests", "rate_limit_exceeded"), RL, MODEL, 15, "common.rate_limit"),
    (error(429, RATE + " Please try again in 20s.", "requests", "rate_limit_exceeded"),
     RL, MODEL, 20, "common.rate_limit"),
    (error(429, RATE, "requests", "rate_limit_exceeded", retry_after="20", **FULL),
     RL, MODEL, 20, "common.rate_limit"),
    (error(429, RATE, "requests", "rate_limit_exceeded", **FULL, **LEFT),
     RL, MODEL, 360, "common.rate_limit"),
    (error(429, RATE, "requests", "rate_limit_exceeded", retry_after_ms="1500", retry_after="2"),
     RL, MODEL, 1.5, "common.rate_limit"),
    (error(429, DAY + " Please try again in 7m12s.", "requests", "rate_limit_exceeded"),
     EXH, MODEL, 432, "openai.daily_limit"),
    (error(429, BIG, "tokens", "rate_limit_exceeded"), REQ, KEY, None, "common.request_too_large"),
    (error(429, "Slow down.", "rate_limit_error", "slow_down"), RL, MODEL, 60, "openai.slow_down"),
    (error(429, QUOTA, "insufficient_quota", "insufficient_quota"),
     EXH, ACCOUNT, 1800, "openai.insufficient_quota"),
    (error(429, "No credit.", "insufficient_quota", "credit_balance_exhausted"),
     EXH, ACCOUNT, 1800, "openai.insufficient_quota"),
    (error(429, "Cap.", "insufficient_quota", "project_spend_limit_exceeded", retry_after="30"),
     EXH, ACCOUNT, 907_200, "openai.spend_limit"),
    (error(429, "Cap.", "insufficient_quota", "organization_spend_limit_exceeded"),
     EXH, ACCOUNT, 907_200, "openai.spend_limit"),
    (answer(429, {"error": {"type": "usage_limit_reached", "message": "The usage limit has been "
                            "reached", "resets_in_seconds": 5400}}),
     EXH, ACCOUNT, 5400, "common.plan_window"),  # Codex
    (error(429, "Cap.", "insufficient_quota", "organization_usage_limit_exceeded"),
     EXH, ACCOUNT, 907_200, "openai.spend_limit"),
    (error(429, "Your account is not active.", "billing_not_active", "billing_not_active"),
     EXH, ACCOUNT, 86_400, "openai.billing_not_active"),
    # F41: 18 days; no rate limit lasts so long.
    (error(429, RATE, "requests", "rate_limit_exceeded", retry_after="1555200"),
     EXH, MODEL, 1_555_200, "common.rate_limit"),
    # 5xx
    (error(500, "The server had an error.", "server_error"),
     UP, UPSTREAM, None, "common.status_500"),
    (error(503, "Busy.", "service_unavailable_error", "server_is_overloaded", retry_after="30"),
     UP, Scope.UPSTREAM_MODEL, 30, "common.overloaded"),
    (answer(502, b"<html>Bad Gateway</html>"), UP, UPSTREAM, None, "common.status_502"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "outcome", "scope", "rest_s", "reason"), CASES)
def test_an_error_means(
    given: Answer, outcome: Outcome, scope: Scope, rest_s: float | None, reason: str
) -> None:
    got = judge(chat, given, NOW)
    assert (got.outcome, got.scope, got.reason) == (outcome, scope, reason)
    assert got.rest_until == (None if rest_s is None else pytest.approx(NOW + rest_s))


def test_responses_errors_mean_the_same_under_its_own_name() -> None:
    given = error(429, QUOTA, "insufficient_quota", "insufficient_quota")
    assert judge(responses, given, NOW).reason == "openai-response.insufficient_quota"
    lost = error(400, "Previous response not found.", INVALID, "previous_response_not_found")
    assert judge(responses, lost, NOW).scope is Scope.AFFINITY


@pytest.mark.parametrize("provider", [chat, responses])
def test_the_key_is_the_bearer(provider: Any) -> None:
    request = OutgoingRequest(b"POST", b"/v1/chat/completions", [(b"accept", b"Accept: */*")])
    provider.sign(request, b"sk-pool")
    assert request.fields == [
        (b"accept", b"Accept: */*"),
        (b"authorization", b"Authorization: Bearer sk-pool"),
    ]


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (b"/v1/models/gpt-4.1", "gpt-4.1"),
        (b"/v1/models/ft:gpt-4.1:org::id", "ft:gpt-4.1:org::id"),
        (b"/v1/models/a%2Fb%20c", "a/b c"),
        (b"/v1/models", ""),
        (b"/v1/models/", ""),
        (b"/v1/chat/completions", ""),
        (b"/v1/models/a/endpoints", ""),
    ],
)
def test_a_path_may_name_a_model(path: bytes, model: str) -> None:
    assert chat.model_in_path(path) == model
    assert not chat.streams_by_path(path)


def test_a_model_in_a_path_is_replaced() -> None:
    assert chat.redirect_path(b"/v1/models/gpt-4.1", "ft:x/y é") == b"/v1/models/ft:x%2Fy%20%C3%A9"


def test_the_probes_are_the_smallest_requests() -> None:
    messages = [{"role": "user", "content": "hi"}]
    probe: Probe = chat.probe("gpt-4.1-nano", chat.default_validation_path)
    assert (probe.method, probe.path) == (b"POST", b"/v1/chat/completions")
    assert json.loads(probe.body) == {"model": "gpt-4.1-nano", "messages": messages}
    probe = responses.probe("gpt-4.1-nano", "/v2/responses?beta=true")
    assert (probe.method, probe.path) == (b"POST", b"/v2/responses?beta=true")
    assert json.loads(probe.body) == {"model": "gpt-4.1-nano", "input": "hi"}


def listed(*names: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


def test_models_are_added_behind_the_upstreams_in_order_and_once() -> None:
    models = listed("gpt-a", "gpt-b")
    chat.add_models(models, ["zeta", "gpt-b", "alpha"], False)
    assert [entry["id"] for entry in models["data"]] == ["gpt-a", "gpt-b", "zeta", "alpha"]
    assert models["data"][2] == {
        "id": "zeta",
        "object": "model",
        "created": 0,
        "owned_by": "system",
    }


def test_in_strict_mode_only_the_redirects_are_listed() -> None:
    models = listed("gpt-a", "gpt-b")
    chat.add_models(models, ["zeta", "gpt-b"], True)
    assert [entry["id"] for entry in models["data"]] == ["zeta", "gpt-b"]


@pytest.mark.parametrize("models", [{}, {"data": None}, {"error": {"message": "x"}}])
def test_what_is_no_list_stays_as_it_is(models: dict[str, Any]) -> None:
    before = json.dumps(models)
    chat.add_models(models, ["zeta"], False)
    assert json.dumps(models) == before


def test_our_own_errors_are_in_openais_form() -> None:
    body = chat.error_body(503, "NO_KEYS_AVAILABLE", "No active key")
    assert body == {
        "error": {
            "message": "No active key",
            "type": "server_error",
            "param": None,
            "code": "NO_KEYS_AVAILABLE",
        }
    }
    assert chat.error_body(400, "BAD_REQUEST", "x")["error"]["type"] == "invalid_request_error"
