"""What errors mean at any API, where its own table has no line for them.

The rule of this file: order is meaning. An error that isn't the key's fault is known
before the lines that blame a key; what the body says comes before the bare status.
"""

from __future__ import annotations

from typing import Final

from gptload.core.errorbody import NO_QUOTA
from gptload.core.outcome import Kind, Outcome, Rest, Rule, Scope
from gptload.core.resttime import DAY_S, HOUR_S, MINUTE_S

UPSTREAM: Final = Outcome.UPSTREAM_FAULT
REQUEST: Final = Outcome.REQUEST_FAULT
REJECTED: Final = Outcome.KEY_REJECTED
EXHAUSTED: Final = Outcome.KEY_EXHAUSTED
LIMITED: Final = Outcome.RATE_LIMITED

NOT_THE_API: Final = (Kind.HTML, Kind.EMPTY)
"""Bodies of something between us and the API. They say nothing about a key."""

COMMON: Final[tuple[Rule, ...]] = (
    # Our own fault: something of the client's got past us, or is missing.
    Rule(UPSTREAM, "foreign_organization", code="mismatched_organization"),
    Rule(UPSTREAM, "foreign_project", code="USER_PROJECT_DENIED"),
    Rule(UPSTREAM, "origin_passed_on", status=401, words="cors requests are not allowed"),
    Rule(UPSTREAM, "two_credentials", status=400, words="multiple authentication credentials"),
    Rule(UPSTREAM, "misplaced_credential", code="ACCESS_TOKEN_TYPE_UNSUPPORTED"),
    Rule(
        UPSTREAM,
        "oauth_beta_missing",
        status=401,
        words="oauth authentication is currently not supported",
    ),
    # The way out: address, country or something on the path, whatever the key.
    Rule(UPSTREAM, "block_page", Scope.EGRESS, header=(b"cf-mitigated", b"")),
    Rule(UPSTREAM, "block_page", Scope.EGRESS, status=(403, 429, 503), kind=(Kind.HTML,)),
    Rule(
        UPSTREAM,
        "block_page",
        Scope.EGRESS,
        status=(403, 429, 503),
        kind=(Kind.TEXT, Kind.EMPTY),
        header=(b"server", b"cloudflare"),
    ),
    Rule(
        UPSTREAM,
        "block_page",
        Scope.EGRESS,
        words=("automated queries", "sorry, you have been blocked", "error code: 10"),
    ),
    Rule(UPSTREAM, "country", Scope.EGRESS, code="unsupported_country_region_territory"),
    Rule(
        UPSTREAM,
        "country",
        Scope.EGRESS,
        words=("user location is not supported", "country, region, or territory not supported"),
    ),
    Rule(
        UPSTREAM,
        "address_not_allowed",
        Scope.EGRESS,
        code=("ip_not_authorized", "API_KEY_IP_ADDRESS_BLOCKED"),
    ),
    Rule(UPSTREAM, "address_not_allowed", Scope.EGRESS, words="ip is not authorized"),
    Rule(
        UPSTREAM,
        "address_not_allowed",
        Scope.EGRESS,
        status=(401, 403),
        words="ip address",
        and_words=("not allowed", "blocked"),
    ),
    Rule(UPSTREAM, "outbound_proxy", Scope.EGRESS, status=407),
    Rule(UPSTREAM, "page_for_an_answer", status=(401, 403), kind=NOT_THE_API),
    # What is asked for lives with another key.
    Rule(
        REQUEST,
        "other_keys_state",
        Scope.AFFINITY,
        code=("invalid_encrypted_content", "previous_response_not_found"),
    ),
    Rule(
        REQUEST,
        "other_keys_file",
        Scope.AFFINITY,
        status=403,
        words=("file", "cached content", "cachedcontent"),
        and_words="may not exist",
    ),
    # The request itself. Asking with more keys only endangers them.
    Rule(
        REQUEST,
        "content_refused",
        code=(
            "content_policy_violation",
            "content_filter",
            "cyber_policy",
            "moderation_blocked",
            "data_inspection_failed",
            "invalid_prompt",
        ),
    ),
    Rule(REQUEST, "prompt_too_long", code="context_length_exceeded"),
    Rule(
        REQUEST,
        "prompt_too_long",
        status=(400, 413, 422),
        words=("prompt is too long", "maximum context length", "reduce the length of the messages"),
    ),
    Rule(REQUEST, status=(405, 411, 413, 415, 422, 431)),
    # Too large for the whole limit: no rest makes it fit.
    Rule(REQUEST, "request_too_large", status=429, words="request too large for"),
    # The key.
    Rule(
        REJECTED,
        "invalid_key",
        code=("API_KEY_INVALID", "ACCESS_TOKEN_EXPIRED", "invalid_api_key", "InvalidApiKey"),
    ),
    Rule(
        REJECTED,
        "restricted_key",
        code=(
            "API_KEY_SERVICE_BLOCKED",
            "API_KEY_HTTP_REFERRER_BLOCKED",
            "API_KEY_ANDROID_APP_BLOCKED",
            "API_KEY_IOS_APP_BLOCKED",
            "no_organization",
            "oauth_org_not_allowed",
        ),
    ),
    Rule(
        REJECTED,
        "account_closed",
        Scope.ACCOUNT,
        code=("CONSUMER_SUSPENDED", "CONSUMER_INVALID", "SERVICE_DISABLED", "account_deactivated"),
    ),
    Rule(REJECTED, "invalid_key", code=("authentication_error", "invalid_authentication_error")),
    Rule(
        REJECTED,
        "invalid_key",
        status=400,
        words=("incorrect api key", "api key not valid", "api key expired"),
    ),
    Rule(REJECTED, "leaked_key", status=403, words="reported as leaked"),
    Rule(
        REJECTED,
        "revoked_key",
        Scope.ACCOUNT,
        status=403,
        words="api key",
        and_words=("revoked", "disabled", "suspended"),
    ),
    Rule(
        REJECTED,
        "account_closed",
        Scope.ACCOUNT,
        status=400,
        words=("organization has been disabled", "organization has been restricted"),
    ),
    Rule(
        EXHAUSTED,
        "missing_scopes",
        Scope.KEY_MODEL,
        status=401,
        words=("missing scopes", "insufficient permissions"),
        rest=Rest.NONE,
    ),
    # Money and quota.
    Rule(EXHAUSTED, "payment_required", Scope.ACCOUNT, status=402),
    Rule(
        EXHAUSTED,
        "spend_limit",
        Scope.ACCOUNT,
        code=(
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "enforced_spend_limit_reached",
        ),
        rest=Rest.MONTH_END,
    ),
    Rule(
        EXHAUSTED,
        "no_credit",
        Scope.ACCOUNT,
        code=(
            "insufficient_quota",
            "credit_balance_exhausted",
            "billing_hard_limit_reached",
            "billing_not_active",
            "exceeded_current_quota_error",
            "billing_error",
            "BILLING_DISABLED",
            "Arrearage",
        ),
    ),
    # Google's words for a minute's limit begin like others' for an empty account, so
    # its quota names come first.
    Rule(EXHAUSTED, "daily_quota", Scope.ACCOUNT_MODEL, quota="PerDay", rest=Rest.PACIFIC_MIDNIGHT),
    Rule(EXHAUSTED, "no_quota_for_model", Scope.ACCOUNT_MODEL, code=NO_QUOTA, rest=Rest.NONE),
    Rule(
        EXHAUSTED,
        "no_quota_for_model",
        Scope.ACCOUNT_MODEL,
        status=429,
        words="limit: 0",
        rest=Rest.NONE,
    ),
    Rule(
        LIMITED,
        "rate_limit",
        Scope.ACCOUNT_MODEL,
        status=429,
        quota="PerMinute",
        default_s=MINUTE_S,
    ),
    Rule(
        EXHAUSTED,
        "no_credit",
        Scope.ACCOUNT,
        status=(400, 402, 403, 429),  # a 404 quotes what the client wrote
        words=(
            "credit balance is too low",
            "insufficient balance",
            "balance is insufficient",
            "doesn't have any credits",
            "exceeded your current quota",
            "arrearage",
        ),
    ),
    Rule(
        EXHAUSTED,
        "spend_limit",
        Scope.ACCOUNT,
        words="reached your specified",
        and_words="usage limits",
        rest=Rest.MONTH_END,
    ),
    Rule(EXHAUSTED, "plan_window", Scope.ACCOUNT, code="usage_limit_reached"),
    Rule(
        EXHAUSTED,
        "plan_window",
        Scope.ACCOUNT,
        status=429,
        header=(b"anthropic-ratelimit-unified-status", b"rejected"),
    ),
    Rule(
        EXHAUSTED,
        "free_requests",
        Scope.ACCOUNT_MODEL,
        words="free-models-per-day",
        rest=Rest.UTC_MIDNIGHT,
    ),
    Rule(
        EXHAUSTED,
        "daily_quota",
        Scope.ACCOUNT_MODEL,
        status=429,
        words=("tokens per day", "requests per day", "(tpd)", "(rpd)", "monthly"),
        default_s=HOUR_S,
    ),
    Rule(
        EXHAUSTED,
        "free_quota",
        Scope.ACCOUNT_MODEL,
        code="AllocationQuota.FreeTierOnly",
        rest=Rest.DEFAULT,
        default_s=DAY_S,
    ),
    Rule(
        EXHAUSTED,
        "no_billing",
        Scope.ACCOUNT,
        status=400,
        code="FAILED_PRECONDITION",
        words=("billing", "free tier"),
    ),
    # The upstream, though the status may say otherwise.
    Rule(
        UPSTREAM,
        "overloaded",
        Scope.UPSTREAM_MODEL,
        code=(
            "overloaded_error",
            "server_is_overloaded",
            "service_unavailable_error",
            "engine_overloaded_error",
            "capacity_exceeded",
            "provider_overloaded",
            "MODEL_CAPACITY_EXHAUSTED",
        ),
    ),
    Rule(
        UPSTREAM,
        "overloaded",
        Scope.UPSTREAM_MODEL,
        words=(
            "engine is currently overloaded",
            "service tier capacity exceeded",
            "no capacity available",
            "temporarily rate-limited upstream",
            "model is overloaded",
            "experiencing high demand",
        ),
    ),
    Rule(UPSTREAM, status=(498, 499)),
    # Limits.
    Rule(LIMITED, "slow_down", Scope.ACCOUNT_MODEL, code="slow_down", default_s=MINUTE_S),
    Rule(LIMITED, "rate_limit", Scope.ACCOUNT_MODEL, status=429),
    Rule(
        LIMITED,
        "rate_limit",
        Scope.ACCOUNT_MODEL,
        status=(403, 503),
        header=(b"retry-after", b""),
        words=("rate limit", "too many requests"),
    ),
    # Nothing but the status.
    Rule(REJECTED, status=401),
    Rule(
        EXHAUSTED,
        "no_access_to_model",
        Scope.KEY_MODEL,
        status=403,
        code="model_not_found",
        rest=Rest.NONE,
    ),
    Rule(
        EXHAUSTED,
        "no_access_to_model",
        Scope.KEY_MODEL,
        status=403,
        words=("does not have access to model", "not have access to"),
        rest=Rest.NONE,
    ),
    Rule(REJECTED, status=403),
    Rule(UPSTREAM, status=(408, 425)),
    Rule(REQUEST, status=range(400, 500)),
    Rule(UPSTREAM),
)
