"""What an upstream's answer means: outcome, whom it concerns, how long to rest.

The rule of this file: a table decides, line by line, and the first line that matches
wins. The provider's own table comes first (`IProvider.errors`), then `COMMON`, which
ends with the bare statuses, so that every answer has a verdict.

An HTML page or an empty body never costs a key anything: it comes from something
between us and the API, which knows nothing about keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from attrs import frozen

from gptload.core.errorbody import ErrorBody, read_error, unpacked
from gptload.core.errortable import COMMON, NOT_THE_API
from gptload.core.outcome import BLAME, Outcome, Rule, Verdict
from gptload.core.resttime import RATE_LIMIT_CAP_S, rest_until

_MESSAGE_LIMIT = 2048


@frozen
class Answer:
    """An upstream's response, as far as a verdict needs it.

    Attributes:
        fields: lower-case names and values.
        body: as received, at most its first 64 KiB; may be compressed, may be cut.
    """

    status: int
    fields: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""


class Speaks(Protocol):
    """What a verdict needs of a provider."""

    @property
    def name(self) -> str: ...

    @property
    def errors(self) -> Sequence[Rule]: ...


def judge(provider: Speaks, answer: Answer, now: float, host: str = "") -> Verdict:
    """What an answer means.

    A redirect passes to the client like a success: it is theirs to follow.

    Args:
        now: epoch seconds.
        host: the upstream's host name; a few rules are about one host only.
    """
    if answer.status < 400:
        return Verdict(Outcome.OK)
    fields = _fields(answer)
    error = read_error(fields, answer.body)
    status = answer.status
    if status >= 500 and error.status is not None:
        status = error.status  # a gateway's 502 around the provider's own 401
    own = ((provider.name, rule) for rule in provider.errors)
    common = (("common", rule) for rule in COMMON)  # its last rule matches everything
    table, rule = next(
        pair for pair in chain(own, common) if _matches(pair[1], status, fields, error, host)
    )
    return _verdict(rule, fields, error, now, f"{table}.{rule.reason or f'status_{status}'}")


def message_of(answer: Answer) -> str:
    """The answer's error text for the log, at most 2048 characters.

    It may quote a key: the caller redacts it.
    """
    return read_error(_fields(answer), answer.body).text[:_MESSAGE_LIMIT]


def plain_body(answer: Answer) -> bytes:
    """The body without its content codings, at most 64 KiB; as received if that can't be."""
    plain = unpacked(answer.body, _fields(answer).get(b"content-encoding", b""))
    return answer.body if plain is None else plain


def _fields(answer: Answer) -> dict[bytes, bytes]:
    return dict(reversed(answer.fields))  # the first of a name wins


def _matches(
    rule: Rule, status: int, fields: dict[bytes, bytes], error: ErrorBody, host: str
) -> bool:
    if rule.outcome is Outcome.KEY_REJECTED and error.kind in NOT_THE_API:
        return False
    return (
        (not rule.status or status in rule.status)
        and (not rule.code or not error.codes.isdisjoint(rule.code))
        and (not rule.words or _any_in(rule.words, error.message))
        and (not rule.and_words or _any_in(rule.and_words, error.message))
        and (not rule.quota or any(_any_in(rule.quota, name) for name in error.quotas))
        and (not rule.kind or error.kind in rule.kind)
        and (not rule.host or _any_in(rule.host, host))
        and (rule.header is None or _has(fields, *rule.header))
    )


def _any_in(parts: tuple[str, ...], text: str) -> bool:
    return any(part in text for part in parts)


def _has(fields: dict[bytes, bytes], name: bytes, value: bytes) -> bool:
    found = fields.get(name)
    return found is not None and value in (b"", found.strip().lower())


def _verdict(
    rule: Rule, fields: dict[bytes, bytes], error: ErrorBody, now: float, reason: str
) -> Verdict:
    outcome = rule.outcome
    if not BLAME[outcome].rest:
        return Verdict(outcome, rule.scope, reason=reason)
    until = rest_until(rule, fields, error, now)
    if outcome is Outcome.RATE_LIMITED and until is not None and until > now + RATE_LIMIT_CAP_S:
        outcome = Outcome.KEY_EXHAUSTED
    return Verdict(outcome, rule.scope, until, reason)
