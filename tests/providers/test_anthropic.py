"""Anthropic: what its errors mean, its two kinds of keys, its lists."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from attrs import evolve

from gptload.core.outcome import Outcome, Scope
from gptload.core.verdict import Answer, judge, judge_inner
from gptload.provider import OutgoingRequest
from gptload_providers.anthropic import provider
from tests.providers.bodies import CLOUDFLARE_PAGE, answer
from tests.providers.bodies import anthropic as error

NOW = datetime.fromisoformat("2026-11-20T12:00:00Z").timestamp()
UP, REQ, REJ = Outcome.UPSTREAM_FAULT, Outcome.REQUEST_FAULT, Outcome.KEY_REJECTED
EXH, RL = Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED
KEY, KEY_MODEL, ACCOUNT, MODEL = (Scope.KEY, Scope.KEY_MODEL, Scope.ACCOUNT, Scope.ACCOUNT_MODEL)
UPSTREAM, EGRESS = Scope.UPSTREAM, Scope.EGRESS

INVALID, AUTH, LIMIT = ("invalid_request_error", "authentication_error", "rate_limit_error")
CREDIT = (
    "Your credit balance is too low to access the Anthropic API. "
    "Please go to Plans & Billing to upgrade or purchase credits."
)
CAP = "You have reached your specified API usage limits. You will regain access on {} UTC."
WORKSPACE = "You have reached your specified workspace API usage limits."
RATE = "This request would exceed your organization's rate limit of 50 requests per minute."
RESET, LATER = str(int(NOW) + 7200), str(int(NOW) + 90_000)


def plan(**windows: str) -> Answer:
    """A subscription's limit: `h5` is the five hours' status, `d7_oi_reset` a model's end."""
    given = error(429, LIMIT, "This would exceed your account's rate limit.", retry_after="30")
    names = {"h5": "5h", "d7": "7d", "d7_oi": "7d_oi"}
    fields = [(b"anthropic-ratelimit-unified-status", b"rejected")]
    for name, value in windows.items():
        window = names[name.removesuffix("_reset")]
        part = "reset" if name.endswith("_reset") else "status"
        fields.append((f"anthropic-ratelimit-unified-{window}-{part}".encode(), value.encode()))
    return evolve(given, fields=(*given.fields, *fields))


CASES: list[tuple[Answer, Outcome, Scope, float | None, str]] = [
    (error(400, INVALID, "messages: at least one message is required"),
     REQ, KEY, None, "common.status_400"),
    (error(400, INVALID, "prompt is too long: 210000 tokens > 200000"),
     REQ, KEY, None, "common.prompt_too_long"),
    (error(400, INVALID, CREDIT), EXH, ACCOUNT, 1800, "anthropic.credit_balance"),
    (error(400, INVALID, CAP.format("2026-12-01 at 00:00")),
     EXH, ACCOUNT, 907_200, "anthropic.usage_limits"),
    (error(400, INVALID, CAP.format("2026-11-22 at 06:30")),
     EXH, ACCOUNT, 153_000, "anthropic.usage_limits"),
    (error(400, INVALID, WORKSPACE), EXH, ACCOUNT, 907_200, "anthropic.usage_limits"),
    (error(400, INVALID, "You're out of extra usage."),
     EXH, ACCOUNT, 1800, "anthropic.extra_usage"),
    (error(400, INVALID, "This organization has been disabled."),
     REJ, ACCOUNT, None, "anthropic.disabled"),
    (error(401, AUTH, "invalid x-api-key"), REJ, KEY, None, "anthropic.authentication_error"),
    (error(401, AUTH, "OAuth token has expired."),
     REJ, KEY, None, "anthropic.authentication_error"),
    (error(401, AUTH, "CORS requests are not allowed for this Organization because …"),
     UP, UPSTREAM, None, "anthropic.origin_passed_on"),
    (error(401, AUTH, "OAuth authentication is currently not supported."),
     UP, UPSTREAM, None, "anthropic.oauth_beta_missing"),
    (error(402, "billing_error", "Payment issue."), EXH, ACCOUNT, 1800, "anthropic.billing_error"),
    (error(403, "permission_error", "Your API key does not have permission to use this model."),
     EXH, KEY_MODEL, 86_400, "anthropic.permission"),
    (error(403, "permission_error", "OAuth authentication is not allowed for this organization."),
     REJ, KEY, None, "anthropic.oauth_not_allowed"),
    (answer(403, {"error": {"type": "forbidden", "message": "Request not allowed"}}),
     UP, EGRESS, None, "anthropic.region"),
    (answer(403, CLOUDFLARE_PAGE), UP, EGRESS, None, "common.block_page"),
    (error(404, "not_found_error", "model: claude-9"), REQ, KEY, None, "common.status_404"),
    (error(409, "conflict_error", "x"), REQ, KEY, None, "common.status_409"),
    (error(413, "request_too_large", "Request exceeds the maximum size"),
     REQ, KEY, None, "common.status_413"),
    (error(429, LIMIT, RATE, retry_after="41"), RL, MODEL, 41, "anthropic.rate_limit_error"),
    (error(429, LIMIT, RATE), RL, MODEL, 15, "anthropic.rate_limit_error"),
    (error(429, LIMIT, RATE, anthropic_ratelimit_requests_remaining="0",
           anthropic_ratelimit_requests_reset="2026-11-20T12:00:50Z",
           anthropic_ratelimit_tokens_remaining="8000",
           anthropic_ratelimit_tokens_reset="2026-11-20T12:09:00Z"),
     RL, MODEL, 50, "anthropic.rate_limit_error"),
    (error(429, LIMIT, "Spend limit.", {"error_code": "enforced_spend_limit_reached"}),
     EXH, ACCOUNT, 907_200, "anthropic.spend_limit"),
    (error(429, LIMIT, "This request would exceed your account's rate limit.", retry_after="30",
           anthropic_ratelimit_unified_status="rejected",
           anthropic_ratelimit_unified_5h_status="rejected",
           anthropic_ratelimit_unified_5h_reset=RESET),
     EXH, ACCOUNT, 7200, "anthropic.plan_window"),
    (plan(h5="allowed", d7_oi="rejected", d7_oi_reset=RESET),
     EXH, MODEL, 7200, "anthropic.model_window"),
    (plan(h5="rejected", h5_reset=RESET, d7_oi="rejected", d7_oi_reset=LATER),
     EXH, ACCOUNT, 7200, "anthropic.plan_window"),
    (plan(d7="rejected", d7_reset=LATER), EXH, ACCOUNT, 90_000, "anthropic.plan_window"),
    (error(429, LIMIT, "Extra usage is required for fast mode.",
           anthropic_ratelimit_unified_status="allowed",
           anthropic_ratelimit_unified_overage_disabled_reason="out_of_credits"),
     EXH, KEY, None, "anthropic.fast"),
    (error(429, LIMIT, "This request would exceed your organization's maximum usage increase rate "
           "for input tokens per minute."), RL, ACCOUNT, 60, "anthropic.acceleration"),
    (error(503, "api_error", "Unavailable"), UP, UPSTREAM, None, "common.status_503"),
    (error(404, "not_found_error", "File not found: file_011CNha8iCJcU1wXNR6q4V8w"),
     REQ, Scope.AFFINITY, None, "common.other_keys_resource"),
    (error(403, "oauth_org_not_allowed", "No."), REJ, KEY, None, "common.restricted_key"),
    (error(500, "api_error", "Internal server error"), UP, UPSTREAM, None, "common.status_500"),
    (error(504, "timeout_error", "x"), UP, UPSTREAM, None, "common.status_504"),
    (error(529, "overloaded_error", "Overloaded"),
     UP, Scope.UPSTREAM_MODEL, None, "anthropic.overloaded_error"),
    (answer(529, b""), UP, UPSTREAM, None, "common.status_529")
]  # fmt: skip


@pytest.mark.parametrize(("given", "outcome", "scope", "rest_s", "reason"), CASES)
def test_an_error_means(
    given: Answer, outcome: Outcome, scope: Scope, rest_s: float | None, reason: str
) -> None:
    got = judge(provider, given, NOW)
    assert (got.outcome, got.scope, got.reason) == (outcome, scope, reason)
    assert got.rest_until == (None if rest_s is None else NOW + rest_s)


@pytest.mark.parametrize(
    ("kind", "outcome", "scope"),
    [
        ("overloaded_error", UP, Scope.UPSTREAM_MODEL),
        ("api_error", UP, UPSTREAM),
        ("rate_limit_error", RL, MODEL),
        ("authentication_error", REJ, KEY),
        ("invalid_request_error", REQ, KEY),
        ("permission_error", EXH, KEY_MODEL),
    ],
)
def test_an_error_event_in_a_stream_means_the_same(
    kind: str, outcome: Outcome, scope: Scope
) -> None:
    event = answer(200, {"type": "error", "error": {"type": kind, "message": "x"}})
    got = judge_inner(provider, event, NOW)
    assert (got.outcome, got.scope) == (outcome, scope)


def signed(key: bytes, *fields: tuple[bytes, bytes]) -> list[bytes]:
    request = OutgoingRequest(b"POST", b"/v1/messages", list(fields))
    provider.sign(request, key)
    return sorted(line for _, line in request.fields)


def beta(value: bytes) -> tuple[bytes, bytes]:
    return (b"anthropic-beta", b"anthropic-beta: " + value)


def test_an_api_key_goes_into_its_own_field() -> None:
    assert signed(b"sk-ant-api03-x") == [
        b"anthropic-version: 2023-06-01",
        b"x-api-key: sk-ant-api03-x",
    ]


def test_the_clients_version_and_betas_stay() -> None:
    version = (b"anthropic-version", b"Anthropic-Version: 2024-01-01")
    fields = signed(b"sk-ant-api03-x", version, beta(b"a, b"), beta(b"new-one"))
    assert fields == [
        b"Anthropic-Version: 2024-01-01",
        b"anthropic-beta: a, b",
        b"anthropic-beta: new-one",
        b"x-api-key: sk-ant-api03-x",
    ]


def test_a_subscriptions_token_is_a_bearer_with_its_beta() -> None:
    assert signed(b"sk-ant-oat01-x") == [
        b"Authorization: Bearer sk-ant-oat01-x",
        b"anthropic-beta: oauth-2025-04-20",
        b"anthropic-version: 2023-06-01",
    ]


def test_the_tokens_beta_joins_the_clients() -> None:
    fields = signed(b"sk-ant-oat01-x", beta(b"a, b"), beta(b"c"))
    assert b"anthropic-beta: a,b,c,oauth-2025-04-20" in fields
    assert b"anthropic-beta: oauth-2025-04-20,a" in signed(
        b"sk-ant-oat01-x", beta(b"oauth-2025-04-20,a")
    )


def test_the_tokens_beta_goes_when_the_pools_key_is_none() -> None:
    assert b"anthropic-beta: a,b" in signed(
        b"sk-ant-api03-x", beta(b"a,oauth-2025-04-20"), beta(b"b")
    )
    alone = signed(b"sk-ant-api03-x", beta(b"oauth-2025-04-20"))
    assert not any(line.startswith(b"anthropic-beta") for line in alone)


def test_only_the_path_of_a_single_model_names_one() -> None:
    assert provider.model_in_path(b"/v1/models/claude-3-haiku") == "claude-3-haiku"
    assert provider.model_in_path(b"/v1/messages") == ""
    assert provider.redirect_path(b"/v1/models/a", "claude-b") == b"/v1/models/claude-b"
    assert not provider.streams_by_path(b"/v1/messages")


def test_the_probe_is_a_small_message() -> None:
    probe = provider.probe("claude-3-haiku-20240307", provider.default_validation_path)
    assert (probe.method, probe.path) == (b"POST", b"/v1/messages")
    assert json.loads(probe.body) == {
        "model": "claude-3-haiku-20240307",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    }


def listed(*names: str) -> dict[str, Any]:
    data = [{"type": "model", "id": name, "display_name": name.title()} for name in names]
    return {"data": data, "has_more": True, "first_id": names[0], "last_id": names[-1]}


def test_added_models_look_like_anthropics() -> None:
    models = listed("claude-a", "claude-b")
    provider.add_models(models, ["zeta", "claude-b"], False)
    assert [entry["id"] for entry in models["data"]] == ["claude-a", "claude-b", "zeta"]
    assert models["data"][2] == {
        "type": "model",
        "id": "zeta",
        "display_name": "zeta",
        "created_at": "1970-01-01T00:00:00Z",
    }
    assert models["has_more"] is True  # the upstream's pages go on


@pytest.mark.parametrize(("names", "first", "last"), [(["z", "a"], "z", "a"), ([], None, None)])
def test_in_strict_mode_the_list_is_one_whole_page(
    names: list[str], first: str | None, last: str | None
) -> None:
    models = listed("claude-a")
    provider.add_models(models, names, True)
    assert [entry["id"] for entry in models["data"]] == names
    assert (models["has_more"], models["first_id"], models["last_id"]) == (False, first, last)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (503, "api_error"),
    ],
)
def test_our_own_errors_are_in_anthropics_form(status: int, kind: str) -> None:
    body = provider.error_body(status, "SOME_CODE", "What happened")
    expected = {"type": kind, "message": "What happened", "code": "SOME_CODE"}
    assert body == {"type": "error", "error": expected}
