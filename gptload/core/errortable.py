"""What errors mean at any API, where its own table has no line for them.

The rule of this file: order is meaning. An error that isn't the key's fault is known
before the lines that blame a key; what the body says comes before the bare status.

A status of 200 in a line means: an error that came inside a success and names no
status of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gptload.core.errorbody import NO_QUOTA, TOO_LARGE
from gptload.core.outcome import Kind, Outcome, Rest, Rule, Scope
from gptload.core.resttime import DAY_S, HOUR_S, MINUTE_S

UPSTREAM: Final = Outcome.UPSTREAM_FAULT
REQUEST: Final = Outcome.REQUEST_FAULT
REJECTED: Final = Outcome.KEY_REJECTED
EXHAUSTED: Final = Outcome.KEY_EXHAUSTED
LIMITED: Final = Outcome.RATE_LIMITED

NOT_THE_API: Final = (Kind.HTML, Kind.EMPTY)
"""Bodies of something between us and the API. They say nothing about a key."""

# What only people's words tell. In lower case.
_TOO_LONG = (
    "prompt is too long",
    "maximum context length",
    "reduce the length of the messages",
    "exceeds the maximum number of tokens",
)
_REFUSED = (
    "content violates",
    "usage guidelines",
    "your input was flagged",
    "moderation and your input",
    "content filtering policy",
)
_RESOURCES = (
    "file", "batch", "response", "conversation", "thread", "assistant", "container",
    "vector store", "upload", "cached content", "cachedcontent", "interaction", "session",
)  # fmt: skip
_GONE = ("not found", "no such", "does not exist", "doesn't exist", "may not exist")
_NO_CREDIT = (
    "credit balance is too low",
    "insufficient balance",
    "balance is insufficient",
    "doesn't have any credits",
    "used all available credits",
    "exceeded your current quota",
    "arrearage",
)
_PER_DAY_OR_MONTH = (
    "tokens per day", "requests per day", "(tpd)", "(rpd)", " tpd ", " rpd ", " ipd ", "monthly",
)  # fmt: skip
_BUSY = (
    "engine is currently overloaded",
    "service tier capacity exceeded",
    "no capacity available",
    "temporarily rate-limited upstream",
    "model is overloaded",
    "experiencing high demand",
    "no available model provider",
)
_NO_ACCESS = ("does not have access to model", "not have access to")

COMMON: Final[tuple[Rule, ...]] = (
    # G. Our own fault: something of the client's got past us, or is missing.
    Rule(UPSTREAM, "foreign_organization", code="mismatched_organization"),
    Rule(UPSTREAM, "foreign_project", code="USER_PROJECT_DENIED"),
    Rule(UPSTREAM, "origin_passed_on", status=401, words="cors requests are not allowed"),
    Rule(UPSTREAM, "two_credentials", status=400, words="multiple authentication credentials"),
    Rule(
        UPSTREAM,
        "misplaced_credential",
        code=("ACCESS_TOKEN_TYPE_UNSUPPORTED", "CREDENTIALS_MISSING"),
    ),
    Rule(
        UPSTREAM,
        "oauth_beta_missing",
        status=401,
        words="oauth authentication is currently not supported",
    ),
    # E. The way out: address, country or something on the path, whatever the key.
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
        kind=(Kind.TEXT, Kind.HTML),
        words=("automated queries", "sorry, you have been blocked", "error code: 10"),
    ),
    Rule(UPSTREAM, "country", Scope.EGRESS, code="unsupported_country_region_territory"),
    Rule(
        UPSTREAM,
        "country",
        Scope.EGRESS,
        status=(400, 401, 403, 451),
        words=("user location is not supported", "country, region, or territory not supported"),
    ),
    Rule(
        UPSTREAM,
        "address_not_allowed",
        Scope.EGRESS,
        code=("ip_not_authorized", "API_KEY_IP_ADDRESS_BLOCKED"),
    ),
    Rule(
        UPSTREAM,
        "address_not_allowed",
        Scope.EGRESS,
        status=(401, 403),
        words=("ip is not authorized", "virtual network/firewall rules"),  # the last is Azure's
    ),
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
    Rule(UPSTREAM, "page_for_an_answer", Scope.EGRESS, status=200, kind=(Kind.HTML,)),
    Rule(UPSTREAM, "empty_answer", status=200, kind=(Kind.EMPTY,)),
    Rule(REQUEST, "page_for_an_answer", status=404, kind=NOT_THE_API),  # a wrong base URL?
    # A. What is asked for lives with another key.
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
        words=("file", "cached content", "cachedcontent", "tuned model", "corpus", "corpora"),
        and_words="may not exist",
    ),
    Rule(REQUEST, "unknown_model", status=404, code="model_not_found"),
    Rule(
        REQUEST,
        "other_keys_resource",
        Scope.AFFINITY,
        status=404,
        kind=(Kind.JSON,),
        words=_RESOURCES,
        and_words=_GONE,
    ),
    # R. The request itself. Asking with more keys only endangers them.
    Rule(
        REQUEST,
        "content_refused",
        code=(
            "content_policy_violation",
            "content_filter",
            "cyber_policy",
            "bio_policy",
            "moderation_blocked",
            "data_inspection_failed",
            "DataInspectionFailed",
            "invalid_prompt",
            "image_content_policy_violation",
        ),
    ),
    Rule(REQUEST, "content_refused", status=(400, 403), words=_REFUSED),
    Rule(
        REQUEST,
        "bad_input",
        code=(
            "data_residency_mismatch",
            "empty_image_file",
            "failed_to_download_image",
            "image_file_not_found",
            "image_file_too_large",
            "image_parse_error",
            "image_too_large",
            "image_too_small",
            "invalid_base64_image",
            "invalid_image",
            "invalid_image_format",
            "invalid_image_mode",
            "invalid_image_url",
            "unsupported_image_media_type",
        ),
    ),
    Rule(REQUEST, "prompt_too_long", code="context_length_exceeded"),
    Rule(REQUEST, "prompt_too_long", status=(400, 413, 422), words=_TOO_LONG),
    # Too large for the whole limit: no rest makes it fit.
    Rule(REQUEST, "request_too_large", status=413, code="rate_limit_exceeded"),
    Rule(REQUEST, "request_too_large", status=429, words="request too large for"),
    Rule(REQUEST, "request_too_large", status=429, code=TOO_LARGE),
    Rule(REQUEST, status=(405, 411, 413, 415, 422, 431)),
    # K. The key.
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
        code=(
            "CONSUMER_SUSPENDED",
            "CONSUMER_INVALID",
            "SERVICE_DISABLED",
            "account_deactivated",
            "organization_restricted",
        ),
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
        REJECTED,
        "account_closed",
        Scope.ACCOUNT,
        status=403,
        host="azure",
        words="temporarily blocked",
    ),
    Rule(REJECTED, "invalid_key", code=("1004", "2049"), host="minimax"),
    # The key is good for other endpoints and models.
    Rule(
        EXHAUSTED,
        "missing_scopes",
        Scope.KEY_MODEL,
        status=(401, 403),
        words=("missing scopes", "insufficient permissions"),
        rest=Rest.DEFAULT,
        default_s=DAY_S,
    ),
    # X. Money and quota.
    Rule(
        EXHAUSTED,
        "too_dear_for_credit",  # a smaller request still fits
        status=(402,),
        words=("fewer max_tokens", "can only afford", "weight_exceeds_budget"),
        rest=Rest.NONE,
    ),
    Rule(EXHAUSTED, "too_dear_for_credit", code="weight_exceeds_budget", rest=Rest.NONE),
    Rule(
        LIMITED,
        "in_flight_budget",
        Scope.ACCOUNT,
        code="in_flight_budget_exhausted",
        default_s=5.0,
    ),
    Rule(
        LIMITED,
        "in_flight_budget",
        Scope.ACCOUNT,
        status=402,
        words="in_flight_budget_exhausted",
        default_s=5.0,
    ),
    Rule(EXHAUSTED, "key_limit", code="openrouter_key_limit"),
    Rule(EXHAUSTED, "key_limit", status=(402, 403), words="key limit exceeded"),
    # MiniMax numbers its errors, most of them inside a success.
    Rule(EXHAUSTED, "no_credit", Scope.ACCOUNT, code="1008", host="minimax"),
    Rule(EXHAUSTED, "plan_window", Scope.ACCOUNT, code="2056", host="minimax"),
    Rule(LIMITED, "rate_limit", Scope.ACCOUNT_MODEL, code=("1002", "1039"), host="minimax"),
    Rule(REQUEST, "bad_input", code=("1026", "1027", "2013"), host="minimax"),
    Rule(
        EXHAUSTED,
        "free_requests",
        Scope.ACCOUNT_MODEL,
        code="openrouter_free_tier_daily",
        rest=Rest.UTC_MIDNIGHT,
    ),
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
    # OpenAI's word for an empty account is DashScope's for a busy minute.
    Rule(
        LIMITED,
        "rate_limit",
        Scope.ACCOUNT_MODEL,
        code="insufficient_quota",
        host=("dashscope", "aliyuncs"),
        default_s=MINUTE_S,
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
            "openrouter_credits",
        ),
    ),
    # Google's words for a minute's limit begin like others' for an empty account, so
    # its quota names come first.
    Rule(EXHAUSTED, "daily_quota", Scope.ACCOUNT_MODEL, quota="PerDay", rest=Rest.PACIFIC_MIDNIGHT),
    Rule(
        EXHAUSTED,
        "no_quota_for_model",
        Scope.ACCOUNT_MODEL,
        code=NO_QUOTA,
        rest=Rest.DEFAULT,
        default_s=DAY_S,
    ),
    Rule(
        EXHAUSTED,
        "no_quota_for_model",
        Scope.ACCOUNT_MODEL,
        status=429,
        words="limit: 0",
        rest=Rest.DEFAULT,
        default_s=DAY_S,
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
        words=_NO_CREDIT,
    ),
    Rule(
        EXHAUSTED,
        "unverified_account",  # SiliconFlow serves those only who gave their real name
        Scope.ACCOUNT,
        status=403,
        words=("real-name", "real name", "实名"),
        default_s=DAY_S,
    ),
    Rule(
        EXHAUSTED,
        "spend_limit",
        Scope.ACCOUNT,
        status=(400, 403, 429),  # a 404 names the model, in the client's words
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
        status=(402, 429),
        words="free-models-per-day",
        rest=Rest.UTC_MIDNIGHT,
    ),
    Rule(
        EXHAUSTED,
        "daily_quota",
        Scope.ACCOUNT_MODEL,
        status=429,
        words=_PER_DAY_OR_MONTH,
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
        code=("FAILED_PRECONDITION", "failed_precondition"),
        words=("billing", "free tier"),
    ),
    # U. The upstream, though the status may say otherwise.
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
        status=(200, 400, 403, 429, *range(500, 600)),
        words=_BUSY,
    ),
    Rule(UPSTREAM, "vector_store", code="vector_store_timeout"),
    Rule(UPSTREAM, status=(498, 499)),
    # L. Limits.
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
    Rule(
        LIMITED,
        "rate_limit",
        Scope.ACCOUNT_MODEL,
        status=200,
        words=("rate limit", "too many requests"),
    ),
    # F. Nothing but the status, or nearly so.
    Rule(REJECTED, status=401),
    Rule(
        EXHAUSTED,
        "no_access_to_model",
        Scope.ACCOUNT_MODEL,
        status=403,
        code="model_not_found",
        rest=Rest.DEFAULT,
        default_s=DAY_S,
    ),
    Rule(
        EXHAUSTED,
        "no_access_to_model",
        Scope.ACCOUNT_MODEL,
        status=403,
        words=_NO_ACCESS,
        rest=Rest.DEFAULT,
        default_s=DAY_S,
    ),
    Rule(
        EXHAUSTED,
        "no_access_to_model",
        Scope.ACCOUNT_MODEL,
        status=403,
        code=("AccessDenied", "AccessDenied.Unpurchased", "Model.AccessDenied"),
        host=("dashscope", "aliyuncs"),
        rest=Rest.DEFAULT,
        default_s=DAY_S,
    ),
    Rule(
        EXHAUSTED,
        "project_denied",
        status=403,
        words="project has been denied access",
        rest=Rest.DEFAULT,
        default_s=HOUR_S,
    ),
    # A strike, not a rest. So many in a row without a success are needed to lose a key;
    # a rest would let one client's unwelcome request take a key away with each attempt.
    Rule(REJECTED, status=403),
    Rule(UPSTREAM, status=(408, 425)),
    Rule(REQUEST, status=range(400, 500)),
    # O. An error in a success that says nothing more.
    Rule(UPSTREAM, "error_in_answer", status=200),
    Rule(UPSTREAM),
)

STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "rate_limited": 429,
    "rate_limit_reached_error": 429,
    "too_many_requests": 429,
    "RESOURCE_EXHAUSTED": 429,
    "resource_exhausted": 429,
    "insufficient_quota": 429,
    "UNAUTHENTICATED": 401,
    "authentication_error": 401,
    "PERMISSION_DENIED": 403,
    "permission_error": 403,
    "not_found_error": 404,
    "NOT_FOUND": 404,
    "not_found": 404,
    "request_too_large": 413,
    "server_error": 500,
    "api_error": 500,
    "internal_error": 500,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "service_unavailable": 503,
    "timeout_error": 504,
    "DEADLINE_EXCEEDED": 504,
    # Last: some say `invalid_request_error` about everything.
    "invalid_request_error": 400,
    "invalid_request": 400,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "failed_precondition": 400,
}
"""Which status an error inside a success would have had. The first that is there counts."""
