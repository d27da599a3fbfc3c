"""How an attempt can end, and who is to blame.

The rule of this file: blame is looked up, never computed. A reader can hold
`BLAME` against docs/architecture.md in ten seconds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import Enum, IntEnum
from typing import Final

from attrs import field, frozen


class Outcome(IntEnum):
    """How one attempt ended."""

    OK = 0
    KEY_REJECTED = 1  # 401/403 and the providers' invalid-key bodies
    KEY_EXHAUSTED = 2  # quota, billing, spend cap
    RATE_LIMITED = 3  # 429 and equivalents
    UPSTREAM_FAULT = 4  # 5xx, connect or read error, time-out, broken stream
    REQUEST_FAULT = 5  # the client's own 4xx
    CLIENT_GONE = 6


class Scope(Enum):
    """What a verdict is about. Most limits belong to an account and a model, not to a key."""

    KEY = "key"
    KEY_MODEL = "key+model"
    ACCOUNT = "account"
    ACCOUNT_MODEL = "account+model"
    UPSTREAM = "upstream"
    UPSTREAM_MODEL = "upstream+model"
    EGRESS = "egress"
    AFFINITY = "affinity"  # the resource lives with another key; nobody is to blame


@frozen
class Verdict:
    """What one attempt's ending means.

    Attributes:
        outcome: how it ended.
        scope: what it is about.
        rest_until: epoch seconds at which the key may serve again; None where
            the outcome rests nothing.
        reason: short constant for logs and statistics, e.g. `openai.insufficient_quota`.
        account: the provider's account id where the response names it.
        named: the response itself says until when, rather than a default of ours.
        signature: what answers of one cause have in common: rule, codes, and the
            message without what differs from key to key; "" for no error.
    """

    outcome: Outcome
    scope: Scope = Scope.KEY
    rest_until: float | None = None
    reason: str = ""
    account: str | None = None
    named: bool = False
    signature: str = ""


@frozen
class Blame:
    """Who pays for an outcome. All False: nobody does."""

    strike: bool = False  # counts toward the key's blacklist_threshold
    rest: bool = False  # the key pauses until the time that the response names
    upstream: bool = False  # counts against the upstream, never the key


BLAME: Final[Mapping[Outcome, Blame]] = {
    Outcome.OK: Blame(),
    Outcome.KEY_REJECTED: Blame(strike=True),
    Outcome.KEY_EXHAUSTED: Blame(rest=True),
    Outcome.RATE_LIMITED: Blame(rest=True),
    Outcome.UPSTREAM_FAULT: Blame(upstream=True),
    Outcome.REQUEST_FAULT: Blame(),  # the client's own 4xx: theirs to see at once
    Outcome.CLIENT_GONE: Blame(),
}


class Kind(Enum):
    """What an error's body is, before anybody reads it."""

    JSON = "json"
    TEXT = "text"
    HTML = "html"
    EMPTY = "empty"
    UNREADABLE = "unreadable"  # compressed in a way that we can't undo


class Rest(Enum):
    """Where the end of a rest comes from. Found by `gptload.core.resttime`."""

    NAMED = "named"  # the response's own time; where it names none, `default_s`
    DEFAULT = "default"  # `default_s`: the time in the response is about something shorter
    MONTH_END = "month end"  # a date in the text, else 00:00 UTC on the next 1st
    UTC_MIDNIGHT = "utc midnight"  # a time in the body, else the next 00:00 UTC
    PACIFIC_MIDNIGHT = "pacific midnight"  # the next 00:00 in Los Angeles
    NONE = "none"  # it was about this one request: it takes another key, that's all


def _texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _statuses(value: int | Collection[int]) -> Collection[int]:
    return (value,) if isinstance(value, int) else value


@frozen
class Search:
    """Where an operator's rule looks in a body, and for what.

    Attributes:
        path: names and places from the top of the JSON; empty: the whole body as text.
        pattern: what is looked for there; None: that there is anything but null.
    """

    path: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None


@frozen
class Rule:
    """One line of an error table. It matches when everything that it names matches.

    Where several values are given, one of them is enough.

    Attributes:
        outcome: what a match means.
        reason: short constant for logs and statistics; empty: named by the status.
        scope: what it is about; the upstream for an upstream fault, else the key.
        status: one HTTP status, several, or a range.
        code: the body's `code`, `type` or `status` name, or a `reason` in its details;
            compared exactly.
        words: a part of the message in lower case.
        and_words: a second part, which must be there too.
        quota: a part of a violated quota's name.
        header: lower-case name and value of a response field; an empty value: any.
        kind: what the body is.
        host: a part of the upstream's host name.
        search: what an operator looks for, anywhere in the body.
        rest: for an outcome that rests the key.
        default_s: seconds to rest where no time is named; None: the outcome's own.
    """

    outcome: Outcome
    reason: str = ""
    scope: Scope = field()
    status: Collection[int] = field(default=(), converter=_statuses, kw_only=True)
    code: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    words: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    and_words: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    quota: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    header: tuple[bytes, bytes] | None = field(default=None, kw_only=True)
    kind: tuple[Kind, ...] = field(default=(), kw_only=True)
    host: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    search: Search | None = field(default=None, kw_only=True)
    rest: Rest = field(default=Rest.NAMED, kw_only=True)
    default_s: float | None = field(default=None, kw_only=True)

    @scope.default
    def _usual_scope(self) -> Scope:
        return Scope.UPSTREAM if self.outcome is Outcome.UPSTREAM_FAULT else Scope.KEY
