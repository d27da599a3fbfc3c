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
from gptload.core.verdict import Answer, judge, message_of, plain_body

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
    ("E2", said(403, code="unsupported_country_region_territory"), UP, S.EGRESS, None),
    ("E2", said(400, "User location is not supported for the API use."), UP, S.EGRESS, None),
    ("E3", said(401, code="ip_not_authorized"), UP, S.EGRESS, None),
    ("E3", said(403, details=[{"reason": "API_KEY_IP_ADDRESS_BLOCKED"}]), UP, S.EGRESS, None),
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
    # The request.
    ("R1", said(400, code="context_length_exceeded"), REQ, S.KEY, None),
    ("R1", said(403, code="content_policy_violation"), REQ, S.KEY, None),
    ("R1", said(400, "prompt is too long: 210000 tokens > 200000 maximum"), REQ, S.KEY, None),
    ("R3", said(429, "Request too large for gpt-x: Limit 10, Requested 20"), REQ, S.KEY, None),
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
    ("K5", said(401, "Missing scopes: model.request"), EXH, S.KEY_MODEL, None),
    # Money.
    ("X1", said(402), EXH, S.ACCOUNT, 1800),
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
    # Limits.
    ("L1", said(429, code="slow_down"), RL, S.ACCOUNT_MODEL, 60),
    ("L2", said(429, "Too many requests"), RL, S.ACCOUNT_MODEL, 15),
    ("L3", verdict(503, {"message": "Rate limit"}, retry_after="9"), RL, S.ACCOUNT_MODEL, 9),
    # The bare status.
    ("F2", said(403, code="model_not_found"), EXH, S.KEY_MODEL, None),
    ("F2", said(403, "Project does not have access to model gpt-x"), EXH, S.KEY_MODEL, None)
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


@pytest.mark.parametrize("coding", [b"br", b"zstd"])
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
    if got.rest_until is not None:
        assert BLAME[got.outcome].rest
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
