"""APIs that speak OpenAI's language with accents of their own, by the upstream's host."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from gptload.core.outcome import Outcome, Scope
from gptload.core.verdict import Answer, judge, judge_inner
from gptload_providers.openai import provider as chat
from gptload_providers.openai_response import provider as responses
from tests.providers.bodies import answer
from tests.providers.bodies import openai as error

NOW = datetime.fromisoformat("2026-11-20T12:00:00Z").timestamp()
UP, REQ, REJ = Outcome.UPSTREAM_FAULT, Outcome.REQUEST_FAULT, Outcome.KEY_REJECTED
EXH, RL = Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED
KEY, KEY_MODEL, ACCOUNT, MODEL = (Scope.KEY, Scope.KEY_MODEL, Scope.ACCOUNT, Scope.ACCOUNT_MODEL)
EGRESS, UPSTREAM, UPSTREAM_MODEL = Scope.EGRESS, Scope.UPSTREAM, Scope.UPSTREAM_MODEL

OPENROUTER, DEEPSEEK, GROQ = "openrouter.ai", "api.deepseek.com", "api.groq.com"
MISTRAL, XAI, MOONSHOT = "api.mistral.ai", "api.x.ai", "api.moonshot.cn"
DASHSCOPE, SILICONFLOW = "dashscope.aliyuncs.com", "api.siliconflow.cn"
AZURE, VLLM, OLLAMA = "res.openai.azure.com", "10.0.0.5", "ollama.com"

DAY_END = 43_200  # from NOW to 00:00 UTC


def router(status: int, message: str, **metadata: Any) -> Answer:
    """An error of OpenRouter's."""
    body = {"code": status, "message": message} | ({"metadata": metadata} if metadata else {})
    return answer(status, {"error": body, "user_id": "user_2abc"})


def quoted(resets_s: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": "50",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(NOW + resets_s) * 1000),
    }


CAPACITY = "Service tier capacity exceeded for this model."
TPM = "Limit 6000, Used 5000, Requested 2000. Please try again in 8.5s."
TPD = (
    "Rate limit reached for model `llama-3.3-70b` in organization `org_01abc` on tokens per day "
    "(TPD): Limit 100000, Used 99000, Requested 2000. Please try again in 14m24s."
)
MOON = "Your account org-abc<ak-f0o> request reached "
QUOTA = "You exceeded your current quota, please check your plan and billing details."
NO_CREDITS = (
    "Your newly created team doesn't have any credits yet. You can purchase credits on "
    "https://console.x.ai/team/1f2e."
)
SPENT = "Your team 1f2e has either used all available credits or reached its monthly spending limit"
AZURE_401 = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
    "valid key for an active subscription and use a correct regional API endpoint."
)
AZURE_429 = (
    "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-02-01 "
    "have exceeded token rate limit of your current pricing tier. Please retry after {} seconds."
)

CASES: list[tuple[str, Answer, Outcome, Scope, float | None]] = [
    (OPENROUTER, router(401, "No auth credentials found"), REJ, KEY, None),
    (OPENROUTER, router(402, "Insufficient credits.", limit_source="openrouter_credits"),
     EXH, ACCOUNT, 1800),
    (OPENROUTER, router(402, "Limit.", limit_source="openrouter_key_limit"), EXH, KEY, 1800),
    (OPENROUTER, router(403, "Key limit exceeded (total limit)."), EXH, KEY, 1800),
    (OPENROUTER, router(402, "This request requires more credits, or fewer max_tokens. You "
                             "requested up to 8192 tokens, but can only afford 900."),
     EXH, KEY, None),
    (OPENROUTER, router(402, "Busy.", error_type="in_flight_budget_exhausted"), RL, ACCOUNT, 5),
    (OPENROUTER, router(403, "Your chosen model requires moderation and your input was flagged.",
                        reasons=["violence"], provider_name="OpenAI"), REQ, KEY, None),
    (OPENROUTER, router(408, "Timed out"), UP, UPSTREAM, None),
    (OPENROUTER, router(429, "Rate limit exceeded: free-models-per-day. Add 10 credits",
                        limit_source="openrouter_free_tier_daily", headers=quoted(DAY_END)),
     EXH, MODEL, DAY_END),
    (OPENROUTER, router(429, "Rate limit exceeded: free-models-per-day"), EXH, MODEL, DAY_END),
    (OPENROUTER, router(429, "Rate limit exceeded: free-models-per-min.", headers=quoted(31)),
     RL, MODEL, 31),
    (OPENROUTER, router(429, "Provider returned error", provider_name="Chutes",
                        raw="deepseek/deepseek-r1:free is temporarily rate-limited upstream."),
     UP, UPSTREAM_MODEL, None),
    (OPENROUTER, router(502, "Provider returned error"), UP, UPSTREAM, None),
    (OPENROUTER, router(503, "No available model provider that meets your routing requirements"),
     UP, UPSTREAM_MODEL, None),
    (OPENROUTER, router(503, "Overloaded", error_type="provider_overloaded"),
     UP, UPSTREAM_MODEL, None),

    (DEEPSEEK, error(401, "Authentication Fails (no such user)", "authentication_error",
                     "invalid_request_error"), REJ, KEY, None),
    (DEEPSEEK, error(402, "Insufficient Balance", "unknown_error", "invalid_request_error"),
     EXH, ACCOUNT, 1800),
    (DEEPSEEK, error(422, "Failed to deserialize the JSON body", "invalid_request_error"),
     REQ, KEY, None),
    (DEEPSEEK, error(429, "Rate limit reached", "rate_limit_error"), RL, MODEL, 15),
    (DEEPSEEK, error(500, "Internal", "server_error"), UP, UPSTREAM, None),
    (DEEPSEEK, answer(503, b'\n\n\n{"error":{"message":"Service is too busy.",'
                           b'"type":"service_unavailable_error"}}'), UP, UPSTREAM_MODEL, None),

    (GROQ, error(401, "Invalid API Key", "invalid_request_error", "invalid_api_key"),
     REJ, KEY, None),
    (GROQ, error(400, "Organization has been restricted. Please reach out to support.",
                 "invalid_request_error", "organization_restricted"), REJ, ACCOUNT, None),
    (GROQ, error(429, f"Rate limit reached on tokens per minute (TPM): {TPM}", "tokens",
                 "rate_limit_exceeded", retry_after="9"), RL, MODEL, 9),
    (GROQ, error(429, f"Rate limit reached on tokens per minute (TPM): {TPM}", "tokens",
                 "rate_limit_exceeded"), RL, MODEL, 8.5),
    (GROQ, error(429, TPD, "tokens", "rate_limit_exceeded"), EXH, MODEL, 864),
    (GROQ, error(413, "Request too large for model `x` on tokens per minute (TPM): Limit 6000, "
                      "Requested 7500", "tokens", "rate_limit_exceeded"), REQ, KEY, None),
    (GROQ, error(424, "Failed to reach the tool server", "invalid_request_error"),
     REQ, KEY, None),
    (GROQ, error(498, "Flex tier capacity exceeded", "server_error", "capacity_exceeded"),
     UP, UPSTREAM_MODEL, None),

    (MISTRAL, answer(401, {"message": "Unauthorized", "request_id": "5a"}), REJ, KEY, None),
    (MISTRAL, answer(402, {"message": "Payment required"}), EXH, ACCOUNT, 1800),
    (MISTRAL, answer(429, {"object": "error", "message": "Rate limit exceeded", "param": None,
                           "type": "rate_limited", "code": "1300", "raw_status_code": 429}),
     RL, MODEL, 15),
    (MISTRAL, answer(429, {"message": "Requests rate limit exceeded"}), RL, MODEL, 15),
    (MISTRAL, answer(429, {"message": "You have reached your monthly token limit"}),
     EXH, MODEL, 3600),
    (MISTRAL, answer(429, {"object": "error", "message": CAPACITY,
                           "type": "service_tier_capacity_exceeded", "code": None}),
     UP, UPSTREAM_MODEL, None),

    (XAI, answer(400, {"code": "Client specified an invalid argument",
                       "error": "Incorrect API key provided: xa***9."}), REJ, KEY, None),
    (XAI, answer(401, {"code": "no-credentials", "error": "No API key"}), REJ, KEY, None),
    (XAI, answer(403, {"code": "The caller does not have permission", "error": NO_CREDITS}),
     EXH, ACCOUNT, 1800),
    (XAI, answer(429, {"code": "Some resource has been exhausted", "error": SPENT}),
     EXH, ACCOUNT, 1800),
    (XAI, answer(403, {"code": "The caller does not have permission",
                       "error": "Content violates usage guidelines. Failed check: SAFETY"}),
     REQ, KEY, None),
    (XAI, answer(429, {"code": "Some resource has been exhausted", "error": "Too many requests"}),
     RL, MODEL, 15),

    (MOONSHOT, error(401, "Invalid Authentication", "invalid_authentication_error"),
     REJ, KEY, None),
    (MOONSHOT, error(429, "Your account is suspended, please check your plan and billing",
                     "exceeded_current_quota_error"), EXH, ACCOUNT, 1800),
    (MOONSHOT, error(403, "Your account is not active", "exceeded_current_quota_error"),
     EXH, ACCOUNT, 1800),
    (MOONSHOT, error(429, MOON + "organization max RPM: 3, please try again after 1 seconds",
                     "rate_limit_reached_error"), RL, MODEL, 1),
    (MOONSHOT, error(429, MOON + "TPD rate limit, current:1505241, limit:1500000",
                     "rate_limit_reached_error"), EXH, MODEL, 3600),
    (MOONSHOT, error(429, "The engine is currently overloaded, please try again later",
                     "engine_overloaded_error"), UP, UPSTREAM_MODEL, None),
    (MOONSHOT, error(429, "The engine is currently overloaded", "rate_limit_error"),
     UP, UPSTREAM_MODEL, None),

    (DASHSCOPE, error(401, "Incorrect API key provided.", "invalid_request_error",
                      "invalid_api_key"), REJ, KEY, None),
    (DASHSCOPE, answer(401, {"code": "InvalidApiKey", "message": "Invalid API-key provided.",
                             "request_id": "fb53c4ec"}), REJ, KEY, None),
    (DASHSCOPE, error(400, "Access denied, please make sure your account is in good standing.",
                      "Arrearage", "Arrearage"), EXH, ACCOUNT, 1800),
    (DASHSCOPE, error(403, "The free tier of the model has been exhausted.",
                      "AllocationQuota.FreeTierOnly", "AllocationQuota.FreeTierOnly"),
     EXH, MODEL, 86_400),
    (DASHSCOPE, error(403, "Model access denied.", "AccessDenied", "AccessDenied"),
     EXH, MODEL, 86_400),
    (DASHSCOPE, error(429, QUOTA, "insufficient_quota", "insufficient_quota"), RL, MODEL, 60),
    (DASHSCOPE, error(429, "Requests rate limit exceeded", "limit_requests", "limit_requests"),
     RL, MODEL, 15),
    (DASHSCOPE, answer(429, {"code": "Throttling.AllocationQuota", "message": "Allocated quota "
                             "exceeded, please increase your quota limit."}), RL, MODEL, 15),
    (DASHSCOPE, answer(429, {"code": "Throttling.RateQuota", "message": "Requests limit"}),
     RL, MODEL, 15),
    (DASHSCOPE, error(400, "Input data may contain inappropriate content.",
                      "data_inspection_failed", "data_inspection_failed"), REQ, KEY, None),

    (SILICONFLOW, answer(401, b'"Invalid token"'), REJ, KEY, None),
    (SILICONFLOW, answer(401, b"Api key is invalid"), REJ, KEY, None),
    (SILICONFLOW, answer(400, {"code": 20012, "message": "Model does not exist.", "data": None}),
     REQ, KEY, None),
    (SILICONFLOW, answer(403, {"code": 30001, "message": "Sorry, your account balance is "
                               "insufficient", "data": None}), EXH, ACCOUNT, 1800),
    (SILICONFLOW, answer(403, {"code": 30011, "message": "Sorry, your paid balance is "
                               "insufficient", "data": None}), EXH, ACCOUNT, 1800),
    (SILICONFLOW, answer(403, {"code": 30003, "message": "Real-name verification is required",
                               "data": None}), EXH, ACCOUNT, 86_400),
    (SILICONFLOW, answer(429, {"message": "Request was rejected due to rate limiting. Details: "
                               "TPM limit reached.", "data": None}), RL, MODEL, 15),
    (SILICONFLOW, answer(429, {"message": "Request was rejected due to rate limiting. Details: "
                               "RPD limit reached.", "data": None}), EXH, MODEL, 3600),
    (SILICONFLOW, answer(503, {"code": 50505, "message": "Model service overloaded.",
                               "data": None}), UP, UPSTREAM, None),
    (SILICONFLOW, answer(504, b""), UP, UPSTREAM, None),

    (AZURE, answer(401, {"error": {"code": "401", "message": AZURE_401}}), REJ, KEY, None),
    (AZURE, answer(403, {"error": {"code": "403", "message": "Access denied due to Virtual "
                                   "Network/Firewall rules."}}), UP, EGRESS, None),
    (AZURE, answer(403, {"error": {"code": "403", "message": "Your resource has been temporarily "
                                   "blocked because we detected misuse."}}), REJ, ACCOUNT, None),
    (AZURE, answer(404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment "
                                   "for this resource does not exist."}}), REQ, KEY, None),
    (AZURE, answer(429, {"error": {"code": "429", "message": AZURE_429.format(6)}}),
     RL, MODEL, 6),
    (AZURE, answer(429, {"error": {"code": "429", "message": AZURE_429.format(86_400)}}),
     EXH, MODEL, 86_400),
    (AZURE, answer(429, {"error": {"code": "429", "message": AZURE_429.format(6)}},
                   retry_after_ms="2500", retry_after="3"), RL, MODEL, 2.5),
    (AZURE, answer(429, {"error": {"code": "429", "message": "The system is currently "
                                   "experiencing high demand and cannot process your request."}}),
     UP, UPSTREAM_MODEL, None),
    (AZURE, answer(429, {"error": {"code": "429", "message": "Your rate limit was temporarily "
                                   "adjusted."}}), RL, MODEL, 15),
    (AZURE, answer(400, {"error": {"message": "The response was filtered", "code":
                                   "content_filter", "status": 400, "innererror":
                                   {"code": "ResponsibleAIPolicyViolation"}}}), REQ, KEY, None),

    (VLLM, answer(401, {"error": "Unauthorized"}), REJ, KEY, None),
    (VLLM, answer(404, {"object": "error", "message": "The model `x` does not exist.",
                        "type": "NotFoundError", "param": None, "code": 404}), REQ, KEY, None),
    (VLLM, answer(400, {"object": "error", "message": "This model's maximum context length is "
                        "4096 tokens.", "type": "BadRequestError", "code": 400}),
     REQ, KEY, None),
    (VLLM, answer(500, {"object": "error", "message": "EngineDeadError", "code": 500}),
     UP, UPSTREAM, None),

    (OLLAMA, answer(401, {"error": "unauthorized"}), REJ, KEY, None),
    (OLLAMA, answer(402, {"error": "this model requires a subscription"}), EXH, ACCOUNT, 1800),
    (OLLAMA, answer(404, {"error": "model 'x' not found"}), REQ, KEY, None),
    (OLLAMA, answer(429, {"error": "you've reached your hourly usage limit"}), RL, MODEL, 15),
    (OLLAMA, answer(503, {"error": "server busy, please try again. maximum pending requests "
                          "exceeded"}), UP, UPSTREAM, None)
]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "given", "outcome", "scope", "rest_s"),
    CASES,
    ids=[f"{host}-{given.status}-{index}" for index, (host, given, *_) in enumerate(CASES)],
)
@pytest.mark.parametrize("provider", [chat, responses], ids=["chat", "responses"])
def test_an_error_means(
    provider: Any, host: str, given: Answer, outcome: Outcome, scope: Scope, rest_s: float | None
) -> None:
    got = judge(provider, given, NOW, host)
    assert (got.outcome, got.scope) == (outcome, scope)
    assert got.rest_until == (None if rest_s is None else pytest.approx(NOW + rest_s))


def test_a_balance_that_is_gone_is_no_matter_of_a_minute_anywhere_else() -> None:
    given = error(429, QUOTA, "insufficient_quota", "insufficient_quota")
    assert judge(chat, given, NOW, DASHSCOPE).outcome is RL
    assert judge(chat, given, NOW, "api.openai.com").outcome is EXH


def test_openrouters_day_is_seen_inside_a_success() -> None:
    """Its errors may come in a 200, whole or as the last chunk of a stream."""
    inner = {
        "code": 429,
        "message": "Rate limit exceeded",
        "metadata": {"limit_source": "openrouter_free_tier_daily", "headers": quoted(7200)},
    }
    chunk = {"id": "gen-1", "choices": [{"finish_reason": "error", "delta": {}}], "error": inner}
    for body in ({"error": inner}, chunk):
        got = judge_inner(chat, answer(200, body), NOW, OPENROUTER)
        assert (got.outcome, got.scope, got.rest_until) == (EXH, MODEL, NOW + 7200)
        assert got.named


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ({"object": "error", "message": "CUDA error", "type": "InternalServerError"}, UP),
        ({"error": {"message": "Server overloaded", "type": "server_error"}}, UP),
        ({"error": {"message": "Limit", "type": "tokens", "code": "rate_limit_exceeded"}}, RL),
        ({"error": {"message": QUOTA, "code": "insufficient_quota"}}, EXH),
        ({"error": {"message": "No", "code": "invalid_api_key"}}, REJ),
        ({"error": {"message": "No", "type": "invalid_request_error"}}, REQ),
        ({"error": "llama runner process has terminated"}, UP),
    ],
)
def test_an_error_in_a_stream_means(event: dict[str, Any], outcome: Outcome) -> None:
    assert judge_inner(chat, answer(200, event), NOW, VLLM).outcome is outcome
