"""What every API's errors mean: the common table, and the rules around it.

Each provider's own table has its cases in tests/providers.
"""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.errortable import COMMON
from gptload.core.outcome import BLAME, Outcome, Rule, Scope, Verdict
from gptload.core.resttime import LONGEST_S, MINIMUM_S
from gptload.core.verdict import Answer, judge, judge_inner, message_of, plain_body

NOW = datetime.fromisoformat("2026-11-20T12:00:00Z").timestamp()


@frozen
class Plain:
    """A provider with nothing of its own, unless given."""

    name: str = "plain"
    errors: tuple[Rule, ...] = ()


def verdict(status: int, body: Any = b"", **fields: str) -> Verdict:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return judge(Plain(), Answer(status, named, raw), NOW)


def said(status: int, message: str = "No.", **error: Any) -> Verdict:
    return verdict(status, {"error": {"message": message, **error}})


S = Scope
OK = Outcome.OK
UP, REQ, REJ = Outcome.UPSTREAM_FAULT, Outcome.REQUEST_FAULT, Outcome.KEY_REJECTED
EXH, RL = Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED


@pytest.mark.parametrize(
    ("status", "outcome", "scope"),
    [
        (200, OK, S.KEY), (204, OK, S.KEY), (302, OK, S.KEY), (304, OK, S.KEY),
        (400, REQ, S.KEY), (401, REJ, S.KEY), (402, EXH, S.ACCOUNT), (403, REJ, S.KEY),
        (404, REQ, S.KEY), (405, REQ, S.KEY), (406, REQ, S.KEY), (407, UP, S.EGRESS),
        (408, UP, S.UPSTREAM), (409, REQ, S.KEY), (410, REQ, S.KEY), (413, REQ, S.KEY),
        (415, REQ, S.KEY), (422, REQ, S.KEY), (425, UP, S.UPSTREAM), (429, RL, S.ACCOUNT_MODEL),
        (431, REQ, S.KEY), (451, REQ, S.KEY), (498, UP, S.UPSTREAM), (499, UP, S.UPSTREAM),
        (500, UP, S.UPSTREAM), (502, UP, S.UPSTREAM), (503, UP, S.UPSTREAM), (504, UP, S.UPSTREAM),
        (520, UP, S.UPSTREAM), (529, UP, S.UPSTREAM), (599, UP, S.UPSTREAM), (999, UP, S.UPSTREAM)
    ]
)  # fmt: skip
def test_where_the_body_says_nothing_the_status_decides(
    status: int, outcome: Outcome, scope: Scope
) -> None:
    got = said(status)
    assert (got.outcome, got.scope) == (outcome, scope)


def test_the_reason_names_the_table_and_the_line() -> None:
    assert said(401).reason == "common.status_401"
    assert said(401, code="invalid_api_key").reason == "common.invalid_key"
    assert said(200).reason == ""


CASES: list[tuple[str, Verdict, Outcome, Scope, float | None]] = [
    # Our own fault.
    ("G1", said(401, code="mismatched_organization"), UP, S.UPSTREAM, None),
    ("G1", said(403, details=[{"reason": "USER_PROJECT_DENIED"}]), UP, S.UPSTREAM, None),
    ("G2", said(401, "CORS requests are not allowed for this …"), UP, S.UPSTREAM, None),
    ("G3", said(400, "Multiple authentication credentials received."), UP, S.UPSTREAM, None),
    ("G3", said(401, details=[{"reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED"}]), UP, S.UPSTREAM, None),
    ("G4", said(401, "OAuth authentication is currently not supported."), UP, S.UPSTREAM, None),
    # The way out.
    ("E1", verdict(403, b"<html>no</html>"), UP, S.EGRESS, None),
    ("E1", verdict(429, b"<html>no</html>"), UP, S.EGRESS, None),
    ("E1", verdict(503, b"<html>no</html>"), UP, S.EGRESS, None),
    ("E1", verdict(403, b"error code: 1020"), UP, S.EGRESS, None),
    ("E1", verdict(403, b"", server="cloudflare"), UP, S.EGRESS, None),
    ("E1", verdict(403, b"blocked", cf_mitigated="challenge"), UP, S.EGRESS, None),
    ("E1", verdict(503, b"", server="cloudflare"), UP, S.EGRESS, None),
    ("E1", verdict(429, b"<html>no</html>", retry_after="30"), UP, S.EGRESS, 30),
    ("E1", verdict(502, b"<html>automated queries</html>"), UP, S.EGRESS, None),
    ("E4", verdict(407, b"Proxy Authentication Required"), UP, S.EGRESS, None),
    ("E5", verdict(500, b"<html>oops</html>"), UP, S.UPSTREAM, None),
    ("E5", verdict(502, b""), UP, S.UPSTREAM, None),
    ("E5", verdict(404, b""), REQ, S.KEY, None),
    ("E2", said(403, code="unsupported_country_region_territory"), UP, S.EGRESS, None),
    ("E2", said(400, "User location is not supported for the API use."), UP, S.EGRESS, None),
    ("E3", said(401, code="ip_not_authorized"), UP, S.EGRESS, None),
    ("E3", said(403, details=[{"reason": "API_KEY_IP_ADDRESS_BLOCKED"}]), UP, S.EGRESS, None),
    ("E3", said(403, "Access denied due to Virtual Network/Firewall rules."), UP, S.EGRESS, None),
    ("E3", said(403, "Your IP address 1.2.3.4 is not allowed here"), UP, S.EGRESS, None),
    ("E5", verdict(401, b"<html>sign in</html>"), UP, S.UPSTREAM, None),
    ("E5", verdict(401, b""), UP, S.UPSTREAM, None),
    ("E5", verdict(403, b""), UP, S.UPSTREAM, None),
    ("E5", verdict(404, b"<html>Not Found</html>"), REQ, S.KEY, None),
    ("E5", verdict(429, b""), RL, S.ACCOUNT_MODEL, 15),
    ("E5", verdict(401, b'"Invalid token"'), REJ, S.KEY, None),
    ("E5", verdict(401, b"Unauthorized"), REJ, S.KEY, None),
    # Affinity.
    ("A1", said(400, code="previous_response_not_found"), REQ, S.AFFINITY, None),
    ("A1", said(400, code="invalid_encrypted_content"), REQ, S.AFFINITY, None),
    ("A2", said(403, "You do not have permission to access the File x or it may not exist."),
     REQ, S.AFFINITY, None),
    ("A2", said(404, "No such File object: file-abc"), REQ, S.AFFINITY, None),
    ("A2", said(404, "Response with id 'resp_1' not found."), REQ, S.AFFINITY, None),
    ("A2", said(404, "No batch found with id 'batch_1': it does not exist"), REQ, S.AFFINITY, None),
    ("A2", said(404, "Container with id 'cntr_1' not found."), REQ, S.AFFINITY, None),
    ("A2", said(404, "CachedContent not found (or permission denied)"), REQ, S.AFFINITY, None),
    # The request.
    ("R1", said(400, code="content_filter"), REQ, S.KEY, None),
    ("R1", said(400, code="cyber_policy"), REQ, S.KEY, None),
    ("R1", said(400, code="moderation_blocked"), REQ, S.KEY, None),
    ("R1", said(400, code="data_inspection_failed"), REQ, S.KEY, None),
    ("R1", said(400, code="invalid_prompt"), REQ, S.KEY, None),
    ("R1", said(403, "Content violates usage guidelines. Team: t"), REQ, S.KEY, None),
    ("R2", said(413), REQ, S.KEY, None),
    ("R1", said(400, code="context_length_exceeded"), REQ, S.KEY, None),
    ("R1", said(403, code="content_policy_violation"), REQ, S.KEY, None),
    ("R1", said(400, "prompt is too long: 210000 tokens > 200000 maximum"), REQ, S.KEY, None),
    ("R3", said(429, "Request too large for gpt-x: Limit 10, Requested 20"), REQ, S.KEY, None),
    ("R3", said(429, "Rate limit reached (TPM): Limit 30000, Used 0, Requested 41000."),
     REQ, S.KEY, None),
    ("R4", said(413, code="rate_limit_exceeded"), REQ, S.KEY, None),
    # The key.
    ("K1", said(403, details=[{"reason": "CONSUMER_SUSPENDED"}]), REJ, S.ACCOUNT, None),
    ("K1", said(403, details=[{"reason": "API_KEY_SERVICE_BLOCKED"}]), REJ, S.KEY, None),
    ("K2", said(400, code="InvalidApiKey"), REJ, S.KEY, None),
    ("K2", said(401, type="invalid_authentication_error"), REJ, S.KEY, None),
    ("K3", verdict(400, {"code": "Client specified an invalid argument",
                         "error": "Incorrect API key provided: xa***yz."}), REJ, S.KEY, None),
    ("K4", said(403, "Your API key was reported as leaked."), REJ, S.KEY, None),
    ("K4", said(403, "This API key has been revoked"), REJ, S.ACCOUNT, None),
    ("K4", said(400, code="organization_restricted"), REJ, S.ACCOUNT, None),
    ("K5", said(401, "Missing scopes: model.request"), EXH, S.KEY_MODEL, 86_400),
    # Money.
    ("X1", said(402), EXH, S.ACCOUNT, 1800),
    ("X1", said(402, "You requested 8192 tokens, but can only afford 900"), EXH, S.KEY, None),
    ("X1", said(402, "This needs more credits, or fewer max_tokens."), EXH, S.KEY, None),
    ("X1", said(402, code="weight_exceeds_budget"), EXH, S.KEY, None),
    ("X1", said(402, metadata={"error_type": "in_flight_budget_exhausted"}), RL, S.ACCOUNT, 5),
    ("X1", said(402, metadata={"limit_source": "openrouter_key_limit"}), EXH, S.KEY, 1800),
    ("X1", said(402, metadata={"limit_source": "openrouter_credits"}), EXH, S.ACCOUNT, 1800),
    ("X1", said(403, "Key limit exceeded (total limit)."), EXH, S.KEY, 1800),
    ("X2", said(429, code="credit_balance_exhausted"), EXH, S.ACCOUNT, 1800),
    ("X2", said(400, code="billing_hard_limit_reached"), EXH, S.ACCOUNT, 1800),
    ("X2", said(429, code="billing_not_active"), EXH, S.ACCOUNT, 1800),
    ("X2", said(403, type="billing_error"), EXH, S.ACCOUNT, 1800),
    ("X2", said(429, code="organization_usage_limit_exceeded"), EXH, S.ACCOUNT, 907_200),
    ("X3", said(400, code="Arrearage"), EXH, S.ACCOUNT, 1800),
    ("X3", said(403, "Your newly created team doesn't have any credits yet."),
     EXH, S.ACCOUNT, 1800),
    ("X4", said(400, "You have reached your specified API usage limits."),
     EXH, S.ACCOUNT, 907_200),
    ("X5", said(429, details={"error_code": "enforced_spend_limit_reached"}),
     EXH, S.ACCOUNT, 907_200),
    ("X7", said(429, details=[{"violations": [{"quotaId": "RequestsPerDayX"}]}]),
     EXH, S.ACCOUNT_MODEL, 72_000),
    ("X8", said(429, details=[{"violations": [{"quotaId": "X", "quotaValue": "0"}]}]),
     EXH, S.ACCOUNT_MODEL, 86_400),
    ("X8", said(429, "Quota exceeded, limit: 0"), EXH, S.ACCOUNT_MODEL, 86_400),
    ("X12", said(403, details=[{"reason": "BILLING_DISABLED"}]), EXH, S.ACCOUNT, 1800),
    ("X12", said(400, "Enable billing.", type="FAILED_PRECONDITION"), EXH, S.ACCOUNT, 1800),
    ("X2", said(429, code="insufficient_quota"), EXH, S.ACCOUNT, 1800),
    ("X2", said(429, type="exceeded_current_quota_error"), EXH, S.ACCOUNT, 1800),
    ("X2", said(429, code="project_spend_limit_exceeded"), EXH, S.ACCOUNT, 907_200),
    ("X3", said(403, "Sorry, your account balance is insufficient"), EXH, S.ACCOUNT, 1800),
    ("X6", said(429, code="usage_limit_reached", resets_in_seconds=7200), EXH, S.ACCOUNT, 7200),
    ("X9", said(429, "Rate limit exceeded: free-models-per-day"), EXH, S.ACCOUNT_MODEL, 43_200),
    ("X10", said(429, "Limit on tokens per day (TPD): Limit 500000. Please try again in 7m12s."),
     EXH, S.ACCOUNT_MODEL, 432),
    ("X10", said(429, "You reached your monthly limit"), EXH, S.ACCOUNT_MODEL, 3600),
    ("X11", said(403, code="AllocationQuota.FreeTierOnly"), EXH, S.ACCOUNT_MODEL, 86_400),
    # The upstream.
    ("U1", said(429, type="engine_overloaded_error"), UP, S.UPSTREAM_MODEL, None),
    ("U1", said(429, "Service tier capacity exceeded for this model."), UP, S.UPSTREAM_MODEL, None),
    ("U1", said(429, "x is temporarily rate-limited upstream"), UP, S.UPSTREAM_MODEL, None),
    ("U1", said(429, "Busy.", code="server_is_overloaded"), UP, S.UPSTREAM_MODEL, None),
    ("U1", said(503, type="service_unavailable_error"), UP, S.UPSTREAM_MODEL, None),
    ("U1", said(429, details=[{"reason": "MODEL_CAPACITY_EXHAUSTED"}]),
     UP, S.UPSTREAM_MODEL, None),
    ("U1", verdict(429, {"message": "The engine is currently overloaded"}, retry_after="17"),
     UP, S.UPSTREAM_MODEL, 17),
    ("U2", said(498), UP, S.UPSTREAM, None),
    ("U2", verdict(521, b"error code: 521"), UP, S.UPSTREAM, None),
    # Limits.
    ("L1", said(429, code="slow_down"), RL, S.ACCOUNT_MODEL, 60),
    ("L2", said(429, "Too many requests"), RL, S.ACCOUNT_MODEL, 15),
    ("L3", verdict(503, {"message": "Rate limit"}, retry_after="9"), RL, S.ACCOUNT_MODEL, 9),
    # The bare status.
    ("F2", said(403, code="model_not_found"), EXH, S.ACCOUNT_MODEL, 86_400),
    ("F2", said(403, "Project does not have access to model gpt-x"), EXH, S.ACCOUNT_MODEL, 86_400),
    ("F3", said(403, "Forbidden"), REJ, S.KEY, None),
    ("F3", said(403, "Your project has been denied access."), EXH, S.KEY, 3600),
    ("F5", said(409), REQ, S.KEY, None),
    ("F6", said(425), UP, S.UPSTREAM, None),
    ("F7", said(503), UP, S.UPSTREAM, None)
]  # fmt: skip


@pytest.mark.parametrize(
    ("got", "outcome", "scope", "rest_s"),
    [case[1:] for case in CASES],
    ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)],
)
def test_the_common_table(
    got: Verdict, outcome: Outcome, scope: Scope, rest_s: float | None
) -> None:
    assert (got.outcome, got.scope) == (outcome, scope)
    assert got.rest_until == (None if rest_s is None else NOW + rest_s)


def test_what_a_client_wrote_into_a_404_says_nothing_about_the_account() -> None:
    assert said(404, "The model `insufficient balance` does not exist").outcome is REQ


def test_gemini_behind_another_channel_is_not_taken_for_an_empty_account() -> None:
    """Its words for a used-up minute are others' words for a used-up account."""
    violations = [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaValue": "15"}]
    details = [{"violations": violations}, {"retryDelay": "34s"}]
    error = {"code": 429, "message": "You exceeded your current quota", "details": details}
    got = verdict(429, [{"error": error}])
    assert (got.outcome, got.rest_until) == (RL, NOW + 34)


def test_a_gateways_500_around_another_error_is_judged_by_the_inner_one() -> None:
    assert said(502, "invalid token", code=401).outcome is REJ
    assert said(500, "slow", code=429).outcome is RL
    assert said(400, "x", code=500).outcome is REQ  # only a 5xx is doubted


def test_an_error_in_a_string_is_judged_like_the_error() -> None:
    inner = json.dumps({"error": {"message": "Your credit balance is too low", "code": 400}})
    assert said(500, inner).outcome is EXH


def test_a_limit_longer_than_an_hour_is_an_exhausted_quota() -> None:
    """Azure says `retry after 86400 seconds` where others say "quota"."""
    day = said(429, "Please retry after 86400 seconds.")
    assert (day.outcome, day.rest_until) == (EXH, NOW + 86_400)
    hour = said(429, "Please retry after 3600 seconds.")
    assert (hour.outcome, hour.rest_until) == (RL, NOW + 3600)
    weeks = verdict(429, {"error": {"message": "Slow"}}, retry_after="1500000")
    assert (weeks.outcome, weeks.rest_until) == (EXH, NOW + 1_500_000)


def test_of_repeated_fields_the_first_counts() -> None:
    fields = [(b"retry-after", b"7"), (b"retry-after", b"70")]
    assert judge(Plain(), Answer(429, fields, b"{}"), NOW).rest_until == NOW + 7


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip", b"compress"])
def test_a_body_that_cannot_be_unpacked_is_judged_by_its_status(coding: bytes) -> None:
    fields = [(b"content-encoding", coding), (b"server", b"cloudflare")]
    assert judge(Plain(), Answer(401, fields, b"\x1b\x00\x04"), NOW).outcome is REJ
    assert judge(Plain(), Answer(429, fields, b"\x1b\x00\x04"), NOW).outcome is RL


def test_the_providers_own_table_comes_first() -> None:
    teapot = Rule(EXH, "teapot", status=418, words="short", and_words="stout", default_s=60)
    provider = Plain("kettle", (teapot,))
    body = json.dumps({"message": "I'm short and STOUT"}).encode()
    got = judge(provider, Answer(418, [], body), NOW)
    assert got == Verdict(EXH, S.KEY, NOW + 60, "kettle.teapot")
    assert judge(provider, Answer(418, [], b"I'm short"), NOW).reason == "common.status_418"


def test_a_rule_can_be_about_one_host() -> None:
    provider = Plain("x", (Rule(RL, "busy", status=402, host="example.com"),))
    assert judge(provider, Answer(402, [], b"{}"), NOW, "api.example.com").outcome is RL
    assert judge(provider, Answer(402, [], b"{}"), NOW, "api.example.org").outcome is EXH


# Errors inside a success.


def inner(body: Any, **fields: str) -> Verdict:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return judge_inner(Plain(), Answer(200, named, raw), NOW)


FAILED = {"id": "resp_1", "object": "response", "status": "failed"}
FREE = {
    "limit_source": "openrouter_free_tier_daily",
    "headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Reset": str(int(NOW + 3600) * 1000)},
}


@pytest.mark.parametrize(
    ("got", "outcome", "scope", "rest_s"),
    [
        # The status inside decides.
        (inner({"error": {"code": 429, "message": "Slow"}}), RL, S.ACCOUNT_MODEL, 15),
        (inner([{"error": {"code": 401, "message": "x"}}]), REJ, S.KEY, None),
        (inner({"error": {"code": 400, "message": "x"}}), REQ, S.KEY, None),
        (inner({"error": {"code": 502, "message": "x"}}), UP, S.UPSTREAM, None),
        (inner({"error": {"code": 429, "message": "x", "metadata": FREE}}),
         EXH, S.ACCOUNT_MODEL, 3600),
        (inner({"choices": [{"finish_reason": "error"}], "error": {"code": 402, "message": "x"}}),
         EXH, S.ACCOUNT, 1800),
        # Or the one that its name stands for.
        (inner(FAILED | {"error": {"code": "rate_limit_exceeded", "message": "x"}}),
         RL, S.ACCOUNT_MODEL, 15),
        (inner({"type": "response.failed", "response": FAILED | {
            "error": {"code": "rate_limit_exceeded", "message": "Try again in 7s."}}}),
         RL, S.ACCOUNT_MODEL, 7),
        (inner({"type": "error", "code": "server_error", "message": "x"}), UP, S.UPSTREAM, None),
        (inner(FAILED | {"error": {"code": "vector_store_timeout", "message": "x"}}),
         UP, S.UPSTREAM, None),
        (inner(FAILED | {"error": {"code": "invalid_prompt", "message": "x"}}), REQ, S.KEY, None),
        (inner(FAILED | {"error": {"code": "bio_policy", "message": "x"}}), REQ, S.KEY, None),
        (inner(FAILED | {"error": {"code": "invalid_image_url", "message": "x"}}),
         REQ, S.KEY, None),
        (inner(FAILED | {"error": {"code": "data_residency_mismatch", "message": "x"}}),
         REQ, S.KEY, None),
        (inner({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
         UP, S.UPSTREAM_MODEL, None),
        (inner({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}),
         RL, S.ACCOUNT_MODEL, 15),
        (inner({"type": "error", "error": {"type": "invalid_request_error",
                                           "message": "Your credit balance is too low"}}),
         EXH, S.ACCOUNT, 1800),
        (inner({"error": {"message": "No.", "code": "model_not_found"}}), REQ, S.KEY, None),
        # Without any, the words do.
        (inner({"error": "Incorrect API key provided"}), REJ, S.KEY, None),
        (inner({"error": "insufficient balance"}), EXH, S.ACCOUNT, 1800),
        (inner({"error": {"message": "Too many requests"}}), RL, S.ACCOUNT_MODEL, 15),
        (inner({"object": "error", "message": "maximum context length is 8192"}),
         REQ, S.KEY, None),
        # Else it's the upstream's.
        (inner({"error": {"message": "x"}}), UP, S.UPSTREAM, None),
        (inner({"error": "CUDA out of memory"}), UP, S.UPSTREAM, None),
        (inner(b""), UP, S.UPSTREAM, None),
        (inner(b"", server="cloudflare"), UP, S.UPSTREAM, None),  # many an API is behind it
        (inner(b"<html>Sign in to the hotel</html>"), UP, S.EGRESS, None),
        (inner(b"data: gibberish"), UP, S.UPSTREAM, None)
    ]
)  # fmt: skip
def test_an_error_inside_a_success_is_judged_by_what_it_says(
    got: Verdict, outcome: Outcome, scope: Scope, rest_s: float | None
) -> None:
    assert (got.outcome, got.scope) == (outcome, scope)
    assert got.rest_until == (None if rest_s is None else NOW + rest_s)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(1004, REJ), (1008, EXH), (1002, RL), (1027, REQ), (1013, UP)],
)
def test_minimax_numbers_its_errors(code: int, outcome: Outcome) -> None:
    body = json.dumps({"base_resp": {"status_code": code, "status_msg": "x"}}).encode()
    assert judge_inner(Plain(), Answer(200, (), body), NOW, "api.minimax.io").outcome is outcome
    assert judge_inner(Plain(), Answer(200, (), body), NOW, "api.example").outcome is UP


# What else a verdict tells.


def test_a_limit_is_named_when_the_answer_says_until_when() -> None:
    assert verdict(429, b"{}", retry_after="9").named
    assert not verdict(429, b"{}").named
    assert said(429, code="project_spend_limit_exceeded").named  # its month's end
    assert not said(402).named


@pytest.mark.parametrize(
    ("got", "account"),
    [
        (verdict(429, b"{}", openai_organization="acme-ai"), "acme-ai"),
        (verdict(500, b"{}", openai_organization="acme-ai"), "acme-ai"),
        (verdict(401, b"{}", anthropic_organization_id="0b0e3c5d-1"), "0b0e3c5d-1"),
        (verdict(429, b"{}", openai_organization="a b"), None),
        (verdict(429, b"{}", openai_organization="x" * 129), None),
        (verdict(429, b"{}", openai_organization=""), None),
        (said(429, details=[{"metadata": {"consumer": "projects/4711"}}]), "projects/4711"),
        (said(429, "Quota exceeded for consumer 'project_number:4711'."), "projects/4711"),
        (said(429, "Rate limit reached for gpt-x in organization org-aB12 on requests"),
         "org-aB12"),
        (said(429, "Limit for organization org-evil in organization org-aB12 on"), "org-aB12"),
        (said(404, "The model `organization org-evil` does not exist"), None),
        (said(401, "Incorrect API key"), None),
    ],
)  # fmt: skip
def test_the_account_is_told_where_the_answer_names_it(got: Verdict, account: str | None) -> None:
    assert got.account == account


def test_the_field_names_the_account_before_the_message() -> None:
    """Two names for one account would be two accounts."""
    body = {"error": {"message": "Limit in organization org-aB12 on requests"}}
    assert verdict(429, body, openai_organization="acme-ai").account == "acme-ai"


ONE_CAUSE: list[tuple[int, list[str]]] = [
    (401, ["Incorrect API key provided: sk-a****wxyz. You can find your API key at https://a.b/c.",
           "Incorrect API key provided: sk-PROJ***Q12. You can find your API key at https://a.b/c.",
           "Incorrect API key provided: sk-nodigits. You can find your API key at https://a.b/c.",
           "Incorrect API key provided: AbCdEfGhIjKl. You can find your API key at https://a.b/c."]),
    (401, ["Invalid token 'abc' (request id: 20261120120000123)",
           "Invalid token 'def ghi' (request id: 20261120120001999)"]),
    (403, ['Access of "key one" denied for 5f1e2d3c4b5a69788796a5b4c3d2e1f0',
           'Access of "key two" denied for 0f1e2d3c4b5a69788796a5b4c3d2e1f9']),
    (429, ["Too many requests, 17 in flight", "Too many requests, 4 in flight"]),
    (403, ["Your project has been denied access (7)", "Your project has been denied access (9)"])
]  # fmt: skip


@pytest.mark.parametrize(("status", "messages"), ONE_CAUSE)
def test_answers_of_one_cause_have_one_signature(status: int, messages: list[str]) -> None:
    signatures = {said(status, message, code="c").signature for message in messages}
    assert len(signatures) == 1
    assert signatures != {""}


def test_a_signature_tells_causes_apart_and_names_its_rule() -> None:
    assert said(401, "Invalid token").signature == "common.status_401 invalid token"
    assert said(401, "No", code="invalid_api_key").signature == (
        "common.invalid_key invalid_api_key no"
    )
    assert said(401, "User not found").signature != said(401, "Invalid token").signature
    assert len(said(401, "no such key here " * 100).signature) == 200


@pytest.mark.parametrize(
    "got",
    [
        said(500), said(404), said(400), said(402), said(200),
        verdict(403, b"<html>"),
        verdict(429, b"{}", retry_after="5"),  # with its time
        said(429, "Please try again in 20s."),
        said(429, "Rate limit reached in organization org-x on requests per min"),
        said(429, "This would exceed your organization's rate limit"),
        said(429, "Too many", details=[{"violations": [{"quotaId": "PerMinuteX"}]}]),
        said(429, "Too many", details=[{"metadata": {"consumer": "projects/1"}}]),
        said(403, code="model_not_found"),
        said(403, "Key limit exceeded", metadata={"limit_source": "openrouter_key_limit"})
    ]
)  # fmt: skip
def test_what_is_surely_about_one_account_or_nobodys_key_has_no_signature(got: Verdict) -> None:
    assert got.signature == ""


@given(
    st.from_regex(r"sk-[A-Za-z0-9_-]{8,60}", fullmatch=True),
    st.from_regex(r"sk-[A-Za-z0-9_-]{8,60}", fullmatch=True),
)
def test_no_key_makes_a_signature_its_own(one: str, other: str) -> None:
    text = "Incorrect API key provided: {}. Look at your keys."
    first, second = (said(401, text.format(key)).signature for key in (one, other))
    assert first == second
    assert one.lower() not in first


STATUSES = st.integers(400, 599)
BODIES = st.binary(max_size=80) | st.sampled_from([b"", b"<html>", b"{}", b'{"error":"x"}'])
FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b"retry-after", b"server", b"content-type", b"content-encoding"]),
        st.sampled_from([b"5", b"cloudflare", b"text/html", b"gzip", b"99999999999"]),
    ),
    max_size=3,
)


@given(STATUSES, FIELDS, BODIES)
def test_every_error_has_a_verdict_and_a_rest_only_where_it_rests(
    status: int, fields: list[tuple[bytes, bytes]], body: bytes
) -> None:
    got = judge(Plain(), Answer(status, fields, body), NOW)
    assert got.outcome is not OK
    assert got.reason.startswith("common.")
    assert len(got.signature) <= 200
    if got.rest_until is not None:
        assert BLAME[got.outcome].rest or (got.outcome is UP and got.named)
        assert NOW + MINIMUM_S <= got.rest_until <= NOW + LONGEST_S


@given(
    STATUSES,
    FIELDS,
    st.sampled_from([b"", b"  \n", b"<html>api key revoked</html>", b"<p>Invalid API key"]),
)
def test_a_page_or_an_empty_body_never_rejects_a_key(
    status: int, fields: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """It comes from something between us and the API, for every key alike."""
    careless = Plain("careless", (Rule(REJ, "any"),))
    fields = [field for field in fields if field[0] != b"content-encoding"]
    assert judge(careless, Answer(status, fields, body), NOW).outcome is not REJ


def test_every_line_that_blames_somebody_says_why() -> None:
    assert all(rule.reason or rule.status or rule == COMMON[-1] for rule in COMMON)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": {"message": " Incorrect API key "}}', "Incorrect API key"),
        (b'[{"error": {"message": "wrapped"}}]', "wrapped"),
        (b'{"error_msg": "first"}', "first"),
        (b'{"error": "text"}', "text"),
        (b'{"message": "top"}', "top"),
        (b"plain", "plain"),
        (b"", ""),
        (b"x" * 5000, "x" * 2048),
    ],
)
def test_the_message_for_the_log_is_what_a_person_would_read(body: bytes, text: str) -> None:
    assert message_of(Answer(400, [], body)) == text


def test_the_message_of_a_compressed_error_is_readable() -> None:
    packed = gzip.compress(b'{"error": {"message": "API key not valid"}}')
    assert message_of(Answer(400, [(b"content-encoding", b"gzip")], packed)) == "API key not valid"


def test_a_plain_body_is_the_unpacked_one_or_what_came() -> None:
    packed = gzip.compress(b"plain")
    assert plain_body(Answer(400, [(b"content-encoding", b"gzip")], packed)) == b"plain"
    assert plain_body(Answer(400, [(b"content-encoding", b"br")], b"\x1b")) == b"\x1b"
    assert plain_body(Answer(400, [], b"as it is")) == b"as it is"
