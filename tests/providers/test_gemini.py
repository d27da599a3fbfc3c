"""Gemini: what its errors mean, where its key goes, the model in its paths, its lists."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

from gptload.core.outcome import Outcome, Scope
from gptload.core.verdict import Answer, judge, judge_inner
from gptload.provider import OutgoingRequest
from gptload_providers.gemini import provider
from tests.providers.bodies import (
    GOOGLE_BLOCK_PAGE,
    PER_DAY,
    PER_MINUTE,
    QUOTA_TEXT,
    answer,
    google,
    info,
    quota,
    retry,
)
from tests.providers.bodies import gemini as error


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


NOW = at("2026-11-20T12:00:00Z")
TO_MIDNIGHT = at("2026-11-21T08:00:00Z") - NOW
UP, REQ, REJ = Outcome.UPSTREAM_FAULT, Outcome.REQUEST_FAULT, Outcome.KEY_REJECTED
EXH, RL = Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED
KEY, ACCOUNT, MODEL = Scope.KEY, Scope.ACCOUNT, Scope.ACCOUNT_MODEL
UPSTREAM, UPSTREAM_MODEL, EGRESS = Scope.UPSTREAM, Scope.UPSTREAM_MODEL, Scope.EGRESS

INVALID, DENIED, EXHAUSTED = ("INVALID_ARGUMENT", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED")
NOT_VALID = "API key not valid. Please pass a valid API key."
BAD_KEY = google(400, INVALID, NOT_VALID, info("API_KEY_INVALID"))
DAILY = google(429, EXHAUSTED, QUOTA_TEXT, quota(PER_MINUTE, PER_DAY), retry("36s"))
NO_TIER = QUOTA_TEXT.replace("limit: 50", "limit: 0")
FILE = "You do not have permission to access the File abc123 or it may not exist."

CASES: list[tuple[Answer, Outcome, Scope, float | None, str]] = [
    # 400: F44, a dead key that looks like a bad request
    (answer(400, BAD_KEY), REJ, KEY, None, "gemini.api_key_invalid"),
    (answer(400, [BAD_KEY]), REJ, KEY, None, "gemini.api_key_invalid"),
    (error(400, INVALID, "API key expired. Please renew the API key."),
     REJ, KEY, None, "common.invalid_key"),
    (error(400, INVALID, "Multiple authentication credentials received. Please pass only one."),
     UP, UPSTREAM, None, "common.two_credentials"),
    (error(400, INVALID, "Invalid value at 'contents'"), REQ, KEY, None, "common.status_400"),
    (error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
     UP, EGRESS, None, "common.country"),
    (error(400, "FAILED_PRECONDITION", "Free tier is not available here. Please enable billing."),
     EXH, ACCOUNT, 1800, "common.no_billing"),
    # 401, 402, 403
    (error(401, "UNAUTHENTICATED", "Invalid credentials.", info("ACCESS_TOKEN_TYPE_UNSUPPORTED")),
     UP, UPSTREAM, None, "common.misplaced_credential"),
    (error(402, EXHAUSTED, "Your prepayment credits are depleted."),
     EXH, ACCOUNT, 1800, "common.payment_required"),
    (error(403, DENIED, "It is disabled. Enable it.", info("SERVICE_DISABLED")),
     REJ, ACCOUNT, None, "common.account_closed"),
    (error(403, DENIED, "Blocked.", info("API_KEY_SERVICE_BLOCKED")),
     REJ, KEY, None, "common.restricted_key"),
    (error(403, DENIED, "Referer <empty>.", info("API_KEY_HTTP_REFERRER_BLOCKED")),
     REJ, KEY, None, "common.restricted_key"),
    (error(403, DENIED, "Suspended.", info("CONSUMER_SUSPENDED")),
     REJ, ACCOUNT, None, "common.account_closed"),
    (error(403, DENIED, "Billing.", info("BILLING_DISABLED")),
     EXH, ACCOUNT, 86_400, "gemini.billing_disabled"),
    (error(403, DENIED, "IP.", info("API_KEY_IP_ADDRESS_BLOCKED")),
     UP, EGRESS, None, "common.address_not_allowed"),
    (error(403, DENIED, "Project.", info("USER_PROJECT_DENIED")),
     UP, UPSTREAM, None, "common.foreign_project"),
    (error(403, DENIED, "Your API key was reported as leaked. Please use another API key."),
     REJ, KEY, None, "common.leaked_key"),
    (error(403, DENIED, FILE), REQ, Scope.AFFINITY, None, "common.other_keys_file"),
    (error(403, DENIED, "Your project has been denied access. Please contact support."),
     EXH, KEY, 3600, "common.project_denied"),
    (error(403, DENIED, "The caller does not have permission"),
     REJ, KEY, None, "common.status_403"),
    (error(403, DENIED, "Invalid.", info("CONSUMER_INVALID", consumer="projects/1")),
     REJ, ACCOUNT, None, "common.account_closed"),
    (error(403, DENIED, "App.", info("API_KEY_ANDROID_APP_BLOCKED")),
     REJ, KEY, None, "common.restricted_key"),
    (error(403, DENIED, "App.", info("API_KEY_IOS_APP_BLOCKED")),
     REJ, KEY, None, "common.restricted_key"),
    (error(401, "UNAUTHENTICATED", "No credentials.", info("CREDENTIALS_MISSING")),
     UP, UPSTREAM, None, "common.misplaced_credential"),
    (answer(404, b""), REQ, KEY, None, "common.page_for_an_answer"),  # an AQ. key by ?key=
    (answer(403, GOOGLE_BLOCK_PAGE), UP, EGRESS, None, "common.block_page"),
    (error(404, "NOT_FOUND", "models/x is not found for API version v1beta"),
     REQ, KEY, None, "common.status_404"),
    # 429
    (answer(429, DAILY), EXH, MODEL, TO_MIDNIGHT, "gemini.daily_quota"),
    (answer(429, [DAILY]), EXH, MODEL, TO_MIDNIGHT, "gemini.daily_quota"),
    (error(429, EXHAUSTED, QUOTA_TEXT, quota(PER_MINUTE), retry("34s")),
     RL, MODEL, 34, "gemini.minute_quota"),
    (error(429, EXHAUSTED, QUOTA_TEXT, quota(PER_MINUTE), retry("45.837906927s")),
     RL, MODEL, 45.837906927, "gemini.minute_quota"),
    (error(429, EXHAUSTED, "Quota exceeded.", quota(PER_MINUTE)),
     RL, MODEL, 60, "gemini.minute_quota"),
    (error(429, EXHAUSTED, "Quota.", info("RATE_LIMIT_EXCEEDED", quota_limit="RequestsPerMinute")),
     RL, MODEL, 60, "gemini.minute_quota"),
    (error(429, EXHAUSTED, QUOTA_TEXT), RL, MODEL, 36.429760048, "gemini.rate_limit"),
    (error(429, EXHAUSTED, "Quota exceeded."), RL, MODEL, 15, "gemini.rate_limit"),
    (error(429, EXHAUSTED, "Resource has been exhausted (e.g. check quota)."),
     RL, MODEL, 5, "gemini.no_details"),
    (error(429, EXHAUSTED, NO_TIER, retry("36s")), EXH, MODEL, 86_400, "gemini.not_in_tier"),
    (error(429, EXHAUSTED, "Quota.", quota(PER_MINUTE, value="0"), retry("36s")),
     EXH, MODEL, 86_400, "gemini.not_in_tier"),
    (error(429, EXHAUSTED, "Your project exceeded its spend limit."),
     RL, ACCOUNT, 600, "gemini.spend_rate"),
    (error(429, EXHAUSTED, "No capacity available for model gemini-x", info("rateLimitExceeded")),
     UP, UPSTREAM_MODEL, None, "gemini.no_capacity"),
    (error(429, EXHAUSTED, "Busy.", info("MODEL_CAPACITY_EXHAUSTED")),
     UP, UPSTREAM_MODEL, None, "gemini.no_capacity"),
    # The upstream's own
    (error(499, "CANCELLED", "The operation was cancelled."),
     UP, UPSTREAM, None, "common.status_499"),
    (error(500, "UNKNOWN", "x"), UP, UPSTREAM, None, "common.status_500"),
    (error(503, "UNAVAILABLE", "This model is currently experiencing high demand.", retry("21s")),
     UP, UPSTREAM_MODEL, 21, "common.overloaded"),
    (error(500, "INTERNAL", "An internal error has occurred."),
     UP, UPSTREAM, None, "common.status_500"),
    (error(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
     UP, UPSTREAM_MODEL, None, "common.overloaded"),
    (error(504, "DEADLINE_EXCEEDED", "x"), UP, UPSTREAM, None, "common.status_504")
]  # fmt: skip


@pytest.mark.parametrize(("given", "outcome", "scope", "rest_s", "reason"), CASES)
def test_an_error_means(
    given: Answer, outcome: Outcome, scope: Scope, rest_s: float | None, reason: str
) -> None:
    got = judge(provider, given, NOW)
    assert (got.outcome, got.scope, got.reason) == (outcome, scope, reason)
    assert got.rest_until == (None if rest_s is None else pytest.approx(NOW + rest_s))


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        ("2026-10-31T20:00:00Z", "2026-11-01T07:00:00Z"),
        ("2026-11-01T20:00:00Z", "2026-11-02T08:00:00Z"),  # the clocks went back in between
        ("2026-03-07T20:00:00Z", "2026-03-08T08:00:00Z"),
        ("2026-03-08T20:00:00Z", "2026-03-09T07:00:00Z"),
    ],
)
def test_a_used_up_day_ends_at_midnight_in_california(now: str, midnight: str) -> None:
    assert judge(provider, answer(429, DAILY), at(now)).rest_until == at(midnight)


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.compress),
    ],
)
def test_an_error_is_seen_through_every_coding(
    coding: str, pack: Callable[[bytes], bytes], array: bool
) -> None:
    """F30: compressed error bodies."""
    for error_body, outcome in ((BAD_KEY, REJ), (DAILY, EXH)):
        plain = json.dumps([error_body] if array else error_body).encode()
        status = error_body["error"]["code"]
        given = Answer(status, [(b"content-encoding", coding.encode())], pack(plain))
        assert judge(provider, given, NOW).outcome is outcome


def test_an_error_in_a_stream_means_the_same() -> None:
    assert judge_inner(provider, answer(200, DAILY), NOW).reason == "gemini.daily_quota"
    assert judge_inner(provider, answer(200, [BAD_KEY]), NOW).outcome is REJ
    bare = google(503, "UNAVAILABLE", "The model is overloaded.")
    assert judge_inner(provider, answer(200, bare), NOW).scope is UPSTREAM_MODEL
    interaction = {"event_type": "error", "error": {"code": "not_found", "message": "x"}}
    assert judge_inner(provider, answer(200, interaction), NOW).outcome is REQ


def test_a_limit_tells_its_project_and_that_it_is_one() -> None:
    details = info("RATE_LIMIT_EXCEEDED", quota_limit="RequestsPerMinute", consumer="projects/4711")
    got = judge(provider, error(429, EXHAUSTED, "Quota exceeded.", details), NOW)
    assert (got.account, got.signature) == ("projects/4711", "")
    # Capacity, a busy address, or a quota: who knows. Keys of many projects will tell.
    unclear = error(429, EXHAUSTED, "Resource has been exhausted (e.g. check quota).")
    assert judge(provider, unclear, NOW).signature.startswith("gemini.no_details")


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (b"/v1beta/models/gemini-x:generateContent?alt=sse", b"x-goog-api-key: AIza-pool"),
        (b"/v1beta/models?next=/openai/", b"x-goog-api-key: AIza-pool"),
        (b"/v1beta/openai/chat/completions", b"Authorization: Bearer AIza-pool"),
    ],
)
def test_the_key_goes_where_the_path_wants_it_and_nowhere_else(target: bytes, field: bytes) -> None:
    request = OutgoingRequest(b"POST", target, [])
    provider.sign(request, b"AIza-pool")
    assert [line for _, line in request.fields] == [field]
    assert request.target == target


@pytest.mark.parametrize(
    ("path", "model", "redirected", "streams"),
    [
        (b"/v1beta/models/gemini-x:generateContent", "gemini-x",
         b"/v1beta/models/new-y:generateContent", False),
        (b"/v1beta/models/gemini-x:streamGenerateContent", "gemini-x",
         b"/v1beta/models/new-y:streamGenerateContent", True),
        (b"/v1beta/models/gemini-x%3AstreamGenerateContent", "gemini-x",
         b"/v1beta/models/new-y%3AstreamGenerateContent", True),
        (b"/v1beta/models%2Fgemini-x:generateContent", "gemini-x",
         b"/v1beta/models%2Fnew-y:generateContent", False),
        (b"/v1beta/models/gem%20ini%2Fx:countTokens", "gem ini/x",
         b"/v1beta/models/new-y:countTokens", False),
        (b"/v1beta/tunedModels/mine-1:generateContent", "mine-1",
         b"/v1beta/tunedModels/new-y:generateContent", False),
        (b"/v1beta/models/gemini-x", "gemini-x", b"/v1beta/models/new-y", False),
        (b"/v1beta/models/gemini-x/operations/1", "gemini-x",
         b"/v1beta/models/new-y/operations/1", False),
        (b"/v1beta/openai/models/gemini-x", "gemini-x", b"/v1beta/openai/models/new-y", False)
    ]
)  # fmt: skip
def test_the_path_names_model_and_stream(
    path: bytes, model: str, redirected: bytes, streams: bool
) -> None:
    assert provider.model_in_path(path) == model
    assert provider.redirect_path(path, "models/new-y") == redirected
    assert provider.redirect_path(path, "new-y") == redirected
    assert provider.streams_by_path(path) is streams


@pytest.mark.parametrize(
    "path",
    [b"/v1beta/models", b"/v1beta/models/", b"/v1beta/files/x", b"/v1beta/openai/chat/completions"],
)
def test_other_paths_name_no_model(path: bytes) -> None:
    assert provider.model_in_path(path) == ""
    assert not provider.streams_by_path(path)


def test_the_probe_is_a_small_generation() -> None:
    probe = provider.probe("gemini-2.0-flash-lite", provider.default_validation_path)
    path = b"/v1beta/models/gemini-2.0-flash-lite:generateContent"
    assert (probe.method, probe.path) == (b"POST", path)
    assert json.loads(probe.body) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def listed(*names: str) -> dict[str, Any]:
    return {"models": [{"name": f"models/{name}"} for name in names], "nextPageToken": "more"}


def test_models_are_added_behind_the_upstreams_in_order_and_once() -> None:
    models = listed("gemini-a", "gemini-b")
    provider.add_models(models, ["zeta", "gemini-b"], False)
    assert [entry["name"] for entry in models["models"]] == [
        "models/gemini-a",
        "models/gemini-b",
        "models/zeta",
    ]
    assert models["models"][2] == {
        "name": "models/zeta",
        "displayName": "zeta",
        "supportedGenerationMethods": ["generateContent"],
    }
    assert models["nextPageToken"] == "more"


def test_in_strict_mode_the_list_is_one_whole_page() -> None:
    models = listed("gemini-a")
    provider.add_models(models, ["zeta"], True)
    assert [entry["name"] for entry in models["models"]] == ["models/zeta"]
    assert "nextPageToken" not in models


def test_the_openai_paths_list_is_in_openais_form() -> None:
    models = {"object": "list", "data": [{"id": "models/gemini-a", "object": "model"}]}
    provider.add_models(models, ["zeta"], False)
    assert [entry["id"] for entry in models["data"]] == ["models/gemini-a", "zeta"]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (404, "NOT_FOUND"),
        (413, "INVALID_ARGUMENT"),
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_our_own_errors_are_in_googles_form(status: int, name: str) -> None:
    error = provider.error_body(status, "SOME_CODE", "What happened")["error"]
    assert (error["code"], error["status"], error["message"]) == (status, name, "What happened")
    assert error["details"][0]["reason"] == "SOME_CODE"
