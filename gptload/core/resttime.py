"""Until when a key rests: what a response says about it, in all the ways they say it.

The rule of this file: a time that can't be read is no time. Nothing raises, and no
chance is in here: spreading many rests a little is the business of who schedules them.

Source: RFC 9110 §10.2.3 (Retry-After), §5.6.7 (dates); the providers' rate-limit pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from zoneinfo import ZoneInfo

from attrs import frozen

from gptload.core.errorbody import ErrorBody
from gptload.core.outcome import Outcome, Rest, Rule

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S

MINIMUM_S: Final = 1.0  # "now" is not a time to wait until
RATE_LIMIT_CAP_S: Final = HOUR_S  # a limit that lasts longer is an exhausted quota
LONGEST_S: Final = 40 * DAY_S  # a month and some; one wrong clock must not rest a key for years

# Where nothing is named: the first rest, and where its doubling ends.
FIRST_REST_S: Final[Mapping[Outcome, float]] = {
    Outcome.RATE_LIMITED: 15.0,
    Outcome.KEY_EXHAUSTED: 30 * MINUTE_S,
}
GROWN_REST_S: Final[Mapping[Outcome, float]] = {
    Outcome.RATE_LIMITED: 10 * MINUTE_S,
    Outcome.KEY_EXHAUSTED: DAY_S,
}

_PACIFIC = ZoneInfo("America/Los_Angeles")  # its days, not UTC's: daylight saving moves them

_LONGEST_TEXT = 64
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_PART = r"[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|μs|ms|s|m|h|d)"
_DURATION = re.compile(f"(?:{_PART})+")
_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|μs|ms|s|m|h|d)")
_UNIT_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": MINUTE_S,
    "h": HOUR_S,
    "d": DAY_S,
}

# Anthropic's plan windows: those of the whole account, then what is about one model.
_ACCOUNT_WINDOWS = re.compile(rb"(anthropic-ratelimit-unified-(?:5h|7d)-)status")
_OTHER_WINDOWS = re.compile(rb"(anthropic-ratelimit-unified-(?:7d_oi-)?)status")

# In lower case, as they are looked for in `ErrorBody.message`.
_PROSE_DATE = re.compile(r"regain access on (\d{4}-\d\d-\d\d) at (\d\d:\d\d) utc")
_PROSE_RESET = re.compile(r"resets? at (\d{4}-\d\d-\d\d[t ][0-9:.]+(?:z|[+-]\d\d:?\d\d)?)")
_PROSE_DELAY = re.compile(
    rf"(?:try again|retry) (?:in|after) ((?:{_PART})+\b|[0-9]+(?:\.[0-9]+)?)"
    r"(?: ?(milliseconds?|seconds?|secs?|minutes?|mins?|hours?|days?)\b)?"
)
_PROSE_UNIT_S = {"mil": 1e-3, "sec": 1.0, "min": MINUTE_S, "hou": HOUR_S, "day": DAY_S}


def wait_s(text: str, now: float) -> float | None:
    """Seconds from `now` that a reset or delay means; not below 0.

    Args:
        text: seconds (`20`, `0.8`), a duration (`6m0s`, `45.8s`, `12ms`), an RFC 3339
            time, or a moment in unix seconds or milliseconds.

    Returns:
        None when it is none of these.
    """
    text = text.strip()
    if len(text) > _LONGEST_TEXT:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number < 1e9:
            return number
        # A wait of 30 years is a moment.
        if number < 1e11:
            return max(number - now, 0.0)
        return max(number / 1000 - now, 0.0) if 1e12 <= number < 1e14 else None
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNIT_S[unit] for number, unit in _PARTS.findall(text))
    return _until(text.upper(), now)


def _until(text: str, now: float) -> float | None:
    """Seconds until an RFC 3339 time; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - now, 0.0)


def named_rest(fields: Mapping[bytes, bytes], error: ErrorBody, now: float) -> float | None:
    """The time that a response names, in epoch seconds; None when it names none.

    The first source that can be read counts. The end of a quota comes before a short
    "try again": that one is about the next minute. The reset of a counter comes late,
    as it tells when the bucket is full again, not when one more request fits in.

    Args:
        fields: the response's, by lower-case name.
    """
    wait = (
        _first(error.resets, now)
        or _rejected_window(fields, now)
        or _dated(error, now)
        or _milliseconds(fields)
        or _retry_after(fields, now)
        or _first(error.delays, now)
        or _empty_counter(fields, now)
        or _prose(error, now)
    )
    return None if wait is None else now + wait


def named_wait(fields: Mapping[bytes, bytes], error: ErrorBody, now: float) -> float | None:
    """The time at which an upstream in trouble asks to be called again, in epoch seconds.

    Only what says so outright: a counter that is empty by chance, or a plan's window,
    is no reason to leave the upstream alone. An hour at most.
    """
    wait = (
        _milliseconds(fields)
        or _retry_after(fields, now)
        or _first(error.delays, now)
        or _prose(error, now)
    )
    return None if wait is None else now + min(wait, HOUR_S)


@frozen
class RestEnd:
    """When a rest ends, and who says so.

    Attributes:
        at: epoch seconds; None: there is no rest.
        named: the response says so, by a time or by the name of a quota that ends with
            the calendar; not a default of ours.
    """

    at: float | None
    named: bool = False


def rest_end(rule: Rule, fields: Mapping[bytes, bytes], error: ErrorBody, now: float) -> RestEnd:
    """The end of the rest that a rule asks for."""
    until: float | None
    match rule.rest:
        case Rest.NONE:
            return RestEnd(None)
        case Rest.NAMED:
            until = named_rest(fields, error, now)
        case Rest.DEFAULT:
            until = None
        case Rest.MONTH_END:
            dated = _dated(error, now)
            until = month_end(now) if dated is None else now + dated
        case Rest.UTC_MIDNIGHT:
            named = _first(error.delays, now) or _first([_value(fields, b"x-ratelimit-reset")], now)
            until = utc_midnight(now) if named is None else now + named
        case Rest.PACIFIC_MIDNIGHT:
            until = pacific_midnight(now)
    if until is not None:
        return RestEnd(min(until, now + LONGEST_S), named=True)
    default = FIRST_REST_S[rule.outcome] if rule.default_s is None else rule.default_s
    return RestEnd(min(now + default, now + LONGEST_S))


def month_end(now: float) -> float:
    """00:00 UTC on the 1st of the next month."""
    day = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (day + timedelta(days=32)).replace(day=1).timestamp()


def utc_midnight(now: float) -> float:
    """The next 00:00 UTC."""
    return (now // DAY_S + 1) * DAY_S


def pacific_midnight(now: float) -> float:
    """The next 00:00 in Los Angeles, where Google's days begin."""
    tomorrow = datetime.fromtimestamp(now, _PACIFIC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), _PACIFIC).timestamp()


def _at_least(wait: float | None) -> float | None:
    # Also makes a named 0 truthy, so that it ends the search in `named_rest`.
    return None if wait is None else max(wait, MINIMUM_S)


def _first(texts: Iterable[str], now: float) -> float | None:
    waits = (wait_s(text, now) for text in texts)
    return _at_least(next((wait for wait in waits if wait is not None), None))


def _milliseconds(fields: Mapping[bytes, bytes]) -> float | None:
    text = _value(fields, b"retry-after-ms")
    return _at_least(float(text) / 1000) if _NUMBER.fullmatch(text) else None


def _retry_after(fields: Mapping[bytes, bytes], now: float) -> float | None:
    text = _value(fields, b"retry-after")
    wait = wait_s(text, now)
    if wait is None and (until := _http_date(text)) is not None:
        # Their clock may be off; the difference of two of their times is right.
        sent = _http_date(_value(fields, b"date"))
        wait = max(until - (now if sent is None else sent), 0.0)
    return _at_least(wait)


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _rejected_window(fields: Mapping[bytes, bytes], now: float) -> float | None:
    """Anthropic's plan windows: the latest end among those that are used up.

    Where a window of the whole account is, a model's longer one doesn't hold the
    account. Extra usage on top of a plan (`overage`) has a status, but is no window.
    """
    return _rejected(_ACCOUNT_WINDOWS, fields, now) or _rejected(_OTHER_WINDOWS, fields, now)


def _rejected(window: re.Pattern[bytes], fields: Mapping[bytes, bytes], now: float) -> float | None:
    waits = []
    for name, value in fields.items():
        if value.strip() == b"rejected" and (found := window.fullmatch(name)):
            wait = wait_s(_value(fields, found[1] + b"reset"), now)
            if wait is not None:
                waits.append(wait)
    return _at_least(max(waits, default=None))


def _empty_counter(fields: Mapping[bytes, bytes], now: float) -> float | None:
    """The latest reset among the counters with nothing left.

    A counter that has something left is not what stopped us, and one whose limit is
    0 or -1 is none (Azure, some calls of Responses).
    """
    waits = []
    for name, value in fields.items():
        if b"ratelimit" not in name or b"remaining" not in name or value.strip() != b"0":
            continue
        limit = _value(fields, name.replace(b"remaining", b"limit"))
        wait = wait_s(_value(fields, name.replace(b"remaining", b"reset")), now)
        if wait is not None and limit not in ("0", "-1"):
            waits.append(wait)
    return _at_least(max(waits, default=None))


def _dated(error: ErrorBody, now: float) -> float | None:
    found = _PROSE_DATE.search(error.message)
    return _at_least(_until(f"{found[1]}T{found[2]}Z", now)) if found else None


def _prose(error: ErrorBody, now: float) -> float | None:
    if found := _PROSE_RESET.search(error.message):
        return _at_least(_until(found[1].upper(), now))
    found = _PROSE_DELAY.search(error.message)
    if not found:
        return None
    wait = wait_s(found[1], now)
    if wait is not None and found[2]:
        wait *= _PROSE_UNIT_S[found[2][:3]]
    return _at_least(wait)


def _value(fields: Mapping[bytes, bytes], name: bytes) -> str:
    return fields.get(name, b"").decode("latin-1").strip()
