"""What an upstream's answer means: outcome, whom it concerns, how long to rest.

The rule of this file: a table decides, line by line, and the first line that matches
wins. The operator's own rules come first, then the provider's table
(`IProvider.errors`), then `COMMON`, which ends with the bare statuses, so that every
answer has a verdict.

An HTML page or an empty body never costs a key anything, unless an operator's rule
knows it by its text: it comes from something between us and the API, which knows
nothing about keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, Protocol

import orjson
from attrs import field, frozen

from gptload.core.errorbody import SEARCHED_CHARACTERS, ErrorBody, read_error, unpacked
from gptload.core.errortable import COMMON, NOT_THE_API, STATUS_OF_CODE
from gptload.core.outcome import BLAME, Outcome, Rest, Rule, Scope, Search, Verdict
from gptload.core.resttime import RATE_LIMIT_CAP_S, named_wait, rest_end

_MESSAGE_LIMIT = 2048
_SIGNATURE_LIMIT: Final = 200
_ACCOUNT_LIMIT: Final = 128  # as many as its column holds

_OK: Final = Verdict(Outcome.OK)
_NO_STATUS: Final = 200  # of an error inside a success that names none

_ACCOUNT_FIELDS: Final = (b"openai-organization", b"anthropic-organization-id")
_PROJECT_NUMBER = re.compile(r"\bproject_number:([0-9]{1,20})\b")
_ORGANIZATION = re.compile(r"\borganization (org-[A-Za-z0-9_-]{1,100})")
_ACCOUNT_ID = re.compile(r"[\w.:/@-]+", re.ASCII)
# Only here the API has looked whose key it is; elsewhere it may quote the client.
_KNOWS_ACCOUNT: Final = frozenset((401, 402, 403, 429))

# What differs from key to key, or from call to call, in messages of one cause.
_QUOTED = re.compile(r"\"[^\"]{0,300}\"|`[^`]{0,300}`|(?<![a-z])'[^']{0,300}'(?![a-z])", re.I)
_TOKEN = re.compile(r"[!-~…•]+")
_PARTICULAR = re.compile(r"[0-9*…•]|[a-z][A-Z]|^\W*(?:sk|gsk|xai|ak|org|proj|req)[-_]|.{25}")
_PER_KEY_LIMIT = re.compile(r"\b(?:organi[sz]ations?|projects?|org-\w+|proj[-_]\w+)\b")


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


def judge(
    provider: Speaks, answer: Answer, now: float, host: str = "", rules: Sequence[Rule] = ()
) -> Verdict:
    """What an answer means.

    A redirect passes to the client like a success: it is theirs to follow.

    Args:
        now: epoch seconds.
        host: the upstream's host name; a few rules are about one host only.
        rules: the operator's own, tried before all others.
    """
    if answer.status < 400:
        return _OK
    fields = _fields(answer)
    error = read_error(fields, answer.body)
    status = answer.status
    if status >= 500 and error.status is not None:
        status = error.status  # a gateway's 502 around the provider's own 401
    return _decide(_Case(provider, answer.status, status, fields, error, host), now, rules)


def judge_inner(
    provider: Speaks, answer: Answer, now: float, host: str = "", rules: Sequence[Rule] = ()
) -> Verdict:
    """What an error means that came inside a success, in its body or as a stream's event.

    The status inside decides, or the one that the error's name stands for. Without
    any, codes and words do, whatever the status of their line; else it is the
    upstream's fault, as a 500 would be.

    Args:
        answer: its status isn't looked at; `body` is the JSON that holds the error: a
            whole body, the data of one event, or nothing at all. Where it is unpacked
            already, `fields` must not name the coding any more.
    """
    fields = _fields(answer)
    error = read_error(fields, answer.body)
    named = (status for code, status in STATUS_OF_CODE.items() if code in error.codes)
    status = error.status or next(named, _NO_STATUS)
    return _decide(_Case(provider, status, status, fields, error, host), now, rules)


def message_of(answer: Answer) -> str:
    """The answer's error text for the log, at most 2048 characters.

    It may quote a key: the caller redacts it.
    """
    return read_error(_fields(answer), answer.body).text[:_MESSAGE_LIMIT]


def plain_body(answer: Answer) -> bytes:
    """The body without its content codings, at most 64 KiB; as received if that can't be."""
    plain = unpacked(answer.body, _fields(answer).get(b"content-encoding", b""))
    return answer.body if plain is None else plain


@frozen
class _Case:
    """One error, with all that a line of a table may ask about.

    Attributes:
        seen: the status that people see; operators' rules are about it.
        status: the one that counts.
        words: the message in lower case, without what it quotes: that may be the client's
            own text, and whoever writes the right words must not empty a pool.
    """

    provider: Speaks
    seen: int
    status: int
    fields: Mapping[bytes, bytes]
    error: ErrorBody
    host: str
    words: str = field(init=False)

    @words.default
    def _own_words(self) -> str:
        return _QUOTED.sub(" ", self.error.message)


def _fields(answer: Answer) -> dict[bytes, bytes]:
    return dict(reversed(answer.fields))  # the first of a name wins


def _decide(case: _Case, now: float, rules: Sequence[Rule]) -> Verdict:
    # COMMON's last rule matches everything.
    table, rule = next(
        (table, rule)
        for table, rule in chain(
            (("group", rule) for rule in rules),
            ((case.provider.name, rule) for rule in case.provider.errors),
            (("common", rule) for rule in COMMON),
        )
        if _matches(rule, case.seen if table == "group" else case.status, case)
    )
    return _verdict(rule, case, now, f"{table}.{rule.reason or f'status_{case.status}'}")


def _matches(rule: Rule, status: int, case: _Case) -> bool:
    error = case.error
    if rule.outcome is Outcome.KEY_REJECTED and error.kind in NOT_THE_API and rule.search is None:
        return False
    return (
        (not rule.status or status in rule.status or _says_enough(rule, status))
        and (not rule.code or not error.codes.isdisjoint(rule.code))
        and (not rule.words or _any_in(rule.words, case.words))
        and (not rule.and_words or _any_in(rule.and_words, case.words))
        and (not rule.quota or any(_any_in(rule.quota, name) for name in error.quotas))
        and (not rule.kind or error.kind in rule.kind)
        and (not rule.host or _any_in(rule.host, case.host))
        and (rule.header is None or _has(case.fields, *rule.header))
        and (rule.search is None or _found(rule.search, error))
    )


def _says_enough(rule: Rule, status: int) -> bool:
    """Whether the line may decide about an error that has no status."""
    return status == _NO_STATUS and bool(rule.code or rule.words or rule.quota or rule.search)


def _any_in(parts: tuple[str, ...], text: str) -> bool:
    return any(part in text for part in parts)


def _has(fields: Mapping[bytes, bytes], name: bytes, value: bytes) -> bool:
    found = fields.get(name)
    return found is not None and value in (b"", found.strip().lower())


def _found(search: Search, error: ErrorBody) -> bool:
    if not search.path:
        return search.pattern is None or search.pattern.search(error.plain) is not None
    value = _at(error.document, search.path)
    if value is None or search.pattern is None:
        return value is not None
    text = value if isinstance(value, str) else orjson.dumps(value).decode("utf-8")
    return search.pattern.search(text[:SEARCHED_CHARACTERS]) is not None


def _at(value: object, path: Iterable[str]) -> object:
    """What stands at the end of a path; None where it leads nowhere."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _verdict(rule: Rule, case: _Case, now: float, reason: str) -> Verdict:
    outcome, error = rule.outcome, case.error
    account = _account(case)
    if outcome is Outcome.UPSTREAM_FAULT:
        # Only how long the upstream is left alone. No default: its breaker has its own.
        if rule.rest is Rest.NAMED:
            wait = named_wait(case.fields, error, now)
            return Verdict(outcome, rule.scope, wait, reason, account, wait is not None)
        wait = None if rule.default_s is None else now + rule.default_s
        return Verdict(outcome, rule.scope, wait, reason, account)
    if not BLAME[outcome].rest:
        signature = _signature(error, reason) if BLAME[outcome].strike else ""
        return Verdict(outcome, rule.scope, None, reason, account, signature=signature)
    end = rest_end(rule, case.fields, error, now)
    if outcome is Outcome.RATE_LIMITED and end.at is not None and end.at > now + RATE_LIMIT_CAP_S:
        outcome = Outcome.KEY_EXHAUSTED
    is_unclear = (
        _is_unproven(case, end.named)
        if outcome is Outcome.RATE_LIMITED
        else case.status == 403 and rule.scope is Scope.KEY and not rule.code
    )
    signature = _signature(error, reason) if is_unclear else ""
    return Verdict(outcome, rule.scope, end.at, reason, account, end.named, signature)


def _is_unproven(case: _Case, is_named: bool) -> bool:
    """Whether a limit might as well be the way's: nothing in it is about this key's account."""
    error = case.error
    return not (is_named or error.quotas or error.consumer or _PER_KEY_LIMIT.search(error.message))


def _account(case: _Case) -> str | None:
    """The provider's id of the key's account, as far as the answer tells it."""
    error = case.error
    found = next(filter(None, (case.fields.get(name) for name in _ACCOUNT_FIELDS)), b"")
    account = found.decode("latin-1").strip() or error.consumer
    if not account and case.status in _KNOWS_ACCOUNT:
        text = error.text[:SEARCHED_CHARACTERS]
        if number := _PROJECT_NUMBER.search(text):
            account = f"projects/{number[1]}"
        elif organizations := _ORGANIZATION.findall(text):
            account = organizations[-1]  # a model's name before it may be the client's words
    if len(account) > _ACCOUNT_LIMIT or not _ACCOUNT_ID.fullmatch(account):
        return None
    return account


def _signature(error: ErrorBody, reason: str) -> str:
    """What answers of one cause have in common, whichever key they are about."""
    codes = "|".join(sorted(code for code in error.codes if not _is_particular(code)))
    # Quotes first: a digit inside one must not tear it in two.
    text = _QUOTED.sub("", error.text[:SEARCHED_CHARACTERS])
    words = (word for word in _TOKEN.sub(_common_part, text).lower().split())
    return " ".join(filter(None, (reason, codes, *words)))[:_SIGNATURE_LIMIT]


def _common_part(token: re.Match[str]) -> str:
    return "" if _PARTICULAR.search(token[0]) else token[0]


def _is_particular(code: str) -> bool:
    return len(code) > 60 or code.startswith(("sk-", "org-", "proj_"))
