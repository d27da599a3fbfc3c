"""Every way of saying "come back then" is understood, and nonsense is not."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.errorbody import ErrorBody
from gptload.core.outcome import Kind, Outcome, Rest, Rule
from gptload.core.resttime import (
    DAY_S,
    FIRST_REST_S,
    GROWN_REST_S,
    LONGEST_S,
    month_end,
    named_rest,
    named_wait,
    pacific_midnight,
    rest_end,
    utc_midnight,
    wait_s,
)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


NOW = at("2026-11-20T12:00:00Z")


def named(
    fields: dict[str, str] | None = None, message: str = "", **body: tuple[str, ...]
) -> float | None:
    """Seconds from now that a response names."""
    raw = {name.encode(): value.encode() for name, value in (fields or {}).items()}
    until = named_rest(raw, ErrorBody(Kind.JSON, message=message.lower(), **body), NOW)
    return None if until is None else round(until - NOW, 3)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20", 20),
        ("0.8", 0.8),
        ("0", 0),
        (" 7 ", 7),
        ("12ms", 0.012),
        ("1s", 1),
        ("8.64s", 8.64),
        ("6m0s", 360),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("1h2m3.5s", 3723.5),
        ("2d", 172_800),
        ("250µs", 0.00025),
        ("250us", 0.00025),
        ("45.837906927s", 45.837906927),
        ("2026-11-20T12:01:00Z", 60),
        ("2026-11-20T12:01:00.5Z", 60.5),
        ("2026-11-20T14:01:00+02:00", 60),
        ("2026-11-20T12:01:00", 60),
        ("2026-11-20T11:00:00Z", 0),
        (str(int(NOW) + 90), 90),
        (str(int(NOW) * 1000 + 1500), 1.5),
        (str(int(NOW) - 90), 0),
    ],
)
def test_a_wait_is_read(text: str, seconds: float) -> None:
    assert wait_s(text, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "-5", "nan", "inf", "1e9", "+3", "1,000", "soon", "5 s", "m", "1.s", "s5", "1x",
     "9" * 65, "500000000000", "9" * 20, "2026-13-40T00:00:00Z", "m1"]
)  # fmt: skip
def test_what_is_no_wait_is_none(text: str) -> None:
    assert wait_s(text, NOW) is None


@given(st.text(max_size=80) | st.from_regex(r"[0-9hmsdun.:TZ+-]{1,70}", fullmatch=True))
def test_any_text_is_a_wait_or_none(text: str) -> None:
    wait = wait_s(text, NOW)
    assert wait is None or 0 <= wait < float("inf")


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_go_duration_is_the_sum_of_its_parts(
    hours: int, minutes: int, seconds: int, millis: int
) -> None:
    text = f"{hours}h{minutes}m{seconds}s{millis}ms"
    assert wait_s(text, NOW) == pytest.approx(hours * 3600 + minutes * 60 + seconds + millis / 1000)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0.2"}, 1),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "1500000"}, 1_500_000),
        ({"retry-after": "Fri, 20 Nov 2026 12:05:00 GMT"}, 300),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1),
        ({"retry-after": "Friday, 20-Nov-26 12:05:00 GMT"}, 300),
        ({"retry-after-ms": "2500"}, 2.5),
        ({"retry-after-ms": "2500", "retry-after": "20"}, 2.5),
        ({"retry-after-ms": "x", "retry-after": "20"}, 20),
    ],
)
def test_retry_after_names_the_rest(fields: dict[str, str], seconds: float) -> None:
    assert named(fields) == pytest.approx(seconds)


def test_an_http_date_is_measured_against_the_servers_own_clock() -> None:
    fields = {
        "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT",
        "date": "Wed, 21 Oct 2026 07:27:15 GMT",
    }
    assert named(fields) == 45


@pytest.mark.parametrize(
    "value", ["-5", "nan", "1e9", "", "Wed, 21 Foo 2026 07:28:00 GMT", "99999999999999999999"]
)
def test_an_unreadable_retry_after_names_nothing(value: str) -> None:
    assert named({"retry-after": value}) is None


def test_retry_after_wins_over_the_time_to_a_full_bucket() -> None:
    fields = {
        "retry-after": "20",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "6m0s",
    }
    assert named(fields) == 20


def test_of_the_counters_only_an_empty_one_counts() -> None:
    fields = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-remaining-tokens": "900",
        "x-ratelimit-reset-tokens": "1h",
    }
    assert named(fields) == 360


def test_of_two_empty_counters_the_later_reset_counts() -> None:
    fields = {
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-20T12:00:30Z",
        "anthropic-ratelimit-output-tokens-remaining": "0",
        "anthropic-ratelimit-output-tokens-reset": "2026-11-20T12:00:50Z",
    }
    assert named(fields) == 50


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_counter_without_a_limit_is_none(limit: str) -> None:
    """Azure and some Responses calls send zeros for "unknown"."""
    fields = {
        "x-ratelimit-limit-tokens": limit,
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert named(fields) is None


def test_a_plans_rest_ends_with_its_latest_rejected_window() -> None:
    fields = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(NOW) + 600),
        "anthropic-ratelimit-unified-5h-status": "rejected",
        "anthropic-ratelimit-unified-5h-reset": str(int(NOW) + 600),
        "anthropic-ratelimit-unified-7d-status": "allowed_warning",
        "anthropic-ratelimit-unified-7d-reset": str(int(NOW) + 90_000),
        "anthropic-ratelimit-unified-overage-status": "rejected",
        "anthropic-ratelimit-unified-overage-reset": str(int(NOW) + 900_000),
        "retry-after": "30",
    }
    assert named(fields) == 600
    fields["anthropic-ratelimit-unified-7d-status"] = "rejected"
    assert named(fields) == 90_000


def test_a_quotas_end_wins_over_a_short_retry_after() -> None:
    assert named({"retry-after": "5"}, resets=(str(int(NOW) + 7200),)) == 7200


def test_retry_after_wins_over_the_bodys_delay() -> None:
    assert named({"retry-after": "5"}, delays=("34s",)) == 5
    assert named(delays=("34s",)) == 34
    assert named(delays=("soon", "45.5s")) == 45.5


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached. Please try again in 1.2s. Visit …", 1.2),
        ("Please try again in 6m0s.", 360),
        ("Please try again in 20ms.", 1),
        ("Please retry in 36.429760048s.", 36.43),
        ("Please retry after 86400 seconds.", 86_400),
        ("Try again after 2 minutes", 120),
        ("Try again in 1 hour.", 3600),
        ("Retry after 500 milliseconds", 1),
        ("please retry after 30", 30),
        ("Your limit resets at 2026-11-20T13:00:00Z.", 3600),
        ("Limit reset at 2026-11-20 13:00:00+00:00", 3600),
        ("You will regain access on 2026-12-01 at 00:00 UTC.", 907_200),
    ],
)
def test_prose_names_the_rest(message: str, seconds: float) -> None:
    assert named(message=message) == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    "message", ["Try again later.", "retry in a while", "in 5 minutes", "try again in 5minutesish"]
)
def test_prose_without_a_time_names_nothing_long(message: str) -> None:
    wait = named(message=message)
    assert wait is None or wait <= 5


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        ("2026-07-10T06:59:00Z", "2026-07-10T07:00:00Z"),  # summer: UTC-7
        ("2026-07-10T07:00:00Z", "2026-07-11T07:00:00Z"),
        ("2026-01-10T07:59:00Z", "2026-01-10T08:00:00Z"),  # winter: UTC-8
        ("2026-03-08T09:00:00Z", "2026-03-09T07:00:00Z"),  # 23 hours: clocks go forward
        ("2026-11-01T08:00:00Z", "2026-11-02T08:00:00Z"),  # 25 hours: clocks go back
        ("2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z"),
    ],
)
def test_googles_day_ends_at_midnight_in_california(now: str, midnight: str) -> None:
    assert pacific_midnight(at(now)) == at(midnight)


@given(st.floats(0, 4e9))
def test_the_next_midnight_is_midnight_there_and_at_most_25_hours_off(now: float) -> None:
    until = pacific_midnight(now)
    assert 0 < until - now <= 25 * 3600
    local = datetime.fromtimestamp(until, ZoneInfo("America/Los_Angeles"))
    assert (local.hour, local.minute, local.second) == (0, 0, 0)


@given(st.floats(0, 4e9))
def test_a_month_ends_on_the_next_first(now: float) -> None:
    end = datetime.fromtimestamp(month_end(now), UTC)
    assert (end.day, end.hour, end.minute, end.second) == (1, 0, 0, 0)
    assert 0 < month_end(now) - now <= 31 * DAY_S


def test_a_day_of_utc_ends_at_its_midnight() -> None:
    assert utc_midnight(NOW) == at("2026-11-21T00:00:00Z")
    assert utc_midnight(at("2026-11-21T00:00:00Z")) == at("2026-11-22T00:00:00Z")


def rest(
    rule: Rule, message: str = "", delays: tuple[str, ...] = (), **fields: str
) -> float | None:
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    error = ErrorBody(Kind.JSON, message=message, delays=delays)
    return rest_end(rule, raw, error, NOW).at


def test_without_a_named_time_the_outcomes_default_counts() -> None:
    assert rest(Rule(Outcome.RATE_LIMITED)) == NOW + 15
    assert rest(Rule(Outcome.KEY_EXHAUSTED)) == NOW + 1800
    assert rest(Rule(Outcome.RATE_LIMITED, default_s=60)) == NOW + 60


def test_a_calendars_end_does_not_care_for_the_short_hint() -> None:
    monthly = Rule(Outcome.KEY_EXHAUSTED, rest=Rest.MONTH_END)
    assert rest(monthly, retry_after="30") == at("2026-12-01T00:00:00Z")
    daily = Rule(Outcome.KEY_EXHAUSTED, rest=Rest.PACIFIC_MIDNIGHT)
    assert rest(daily, delays=("36s",)) == at("2026-11-21T08:00:00Z")
    fixed = Rule(Outcome.KEY_EXHAUSTED, rest=Rest.DEFAULT, default_s=DAY_S)
    assert rest(fixed, retry_after="30") == NOW + DAY_S


def test_a_date_in_the_text_is_better_than_the_months_end() -> None:
    monthly = Rule(Outcome.KEY_EXHAUSTED, rest=Rest.MONTH_END)
    text = "you will regain access on 2026-11-25 at 06:30 utc."
    assert rest(monthly, text) == at("2026-11-25T06:30:00Z")


def test_a_time_in_the_body_is_better_than_utc_midnight() -> None:
    daily = Rule(Outcome.KEY_EXHAUSTED, rest=Rest.UTC_MIDNIGHT)
    assert rest(daily) == at("2026-11-21T00:00:00Z")
    assert rest(daily, delays=(str(int(NOW + 3600) * 1000),)) == NOW + 3600


@pytest.mark.parametrize(
    ("rule", "fields", "is_named"),
    [
        (Rule(Outcome.RATE_LIMITED), {}, False),
        (Rule(Outcome.RATE_LIMITED), {"retry_after": "9"}, True),
        (Rule(Outcome.KEY_EXHAUSTED, rest=Rest.DEFAULT), {"retry_after": "9"}, False),
        (Rule(Outcome.KEY_EXHAUSTED, rest=Rest.MONTH_END), {}, True),
        (Rule(Outcome.KEY_EXHAUSTED, rest=Rest.UTC_MIDNIGHT), {}, True),
        (Rule(Outcome.KEY_EXHAUSTED, rest=Rest.PACIFIC_MIDNIGHT), {}, True),
        (Rule(Outcome.KEY_EXHAUSTED, rest=Rest.NONE), {"retry_after": "9"}, False),
    ],
)
def test_a_rest_is_named_when_its_end_is_not_a_default_of_ours(
    rule: Rule, fields: dict[str, str], is_named: bool
) -> None:
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    assert rest_end(rule, raw, ErrorBody(Kind.JSON), NOW).named is is_named


def test_openrouters_day_ends_when_its_field_says_so() -> None:
    daily = Rule(Outcome.KEY_EXHAUSTED, rest=Rest.UTC_MIDNIGHT)
    assert rest(daily, x_ratelimit_reset=str(int(NOW + 7200) * 1000)) == NOW + 7200


def test_a_models_window_holds_the_account_only_where_no_other_does() -> None:
    fields = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(NOW) + 600),
        "anthropic-ratelimit-unified-5h-status": "rejected",
        "anthropic-ratelimit-unified-5h-reset": str(int(NOW) + 600),
        "anthropic-ratelimit-unified-7d_oi-status": "rejected",
        "anthropic-ratelimit-unified-7d_oi-reset": str(int(NOW) + 90_000),
    }
    assert named(fields) == 600
    fields["anthropic-ratelimit-unified-5h-status"] = "allowed"
    assert named(fields) == 90_000


@pytest.mark.parametrize(
    ("fields", "message", "seconds"),
    [
        ({"retry-after": "30"}, "", 30),
        ({"retry-after-ms": "1500", "retry-after": "30"}, "", 1.5),
        ({"retry-after": "999999"}, "", 3600),
        ({}, "try again in 20s.", 20),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m"}, "", None),
        ({}, "", None),
    ],
)
def test_an_upstream_is_left_alone_as_long_as_it_asks_and_an_hour_at_most(
    fields: dict[str, str], message: str, seconds: float | None
) -> None:
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    until = named_wait(raw, ErrorBody(Kind.JSON, message=message), NOW)
    assert until == (None if seconds is None else NOW + seconds)


def test_some_rules_rest_nothing() -> None:
    assert rest(Rule(Outcome.KEY_EXHAUSTED, rest=Rest.NONE), retry_after="30") is None


def test_no_rest_lasts_longer_than_40_days() -> None:
    assert rest(Rule(Outcome.KEY_EXHAUSTED), retry_after="999999999") == NOW + LONGEST_S


def test_a_default_grows_from_its_first_rest_to_its_last() -> None:
    assert FIRST_REST_S.keys() == GROWN_REST_S.keys()
    assert all(FIRST_REST_S[outcome] < GROWN_REST_S[outcome] for outcome in FIRST_REST_S)
