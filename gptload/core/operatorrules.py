"""What operators may write into a group's error rules, and the rules that come of it.

```
{"status": "4xx", "where": "error.code", "contains": "quota", "outcome": "key_exhausted",
 "scope": "account", "rest": 3600}
```

The rule of this file: a rule is taken as a whole or refused with the name of its
field. Nothing that passes can make an answer's judgement slow: a pattern has a
highest price, which grows with everything that can be repeated or left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from attrs import define

from gptload.core.errorbody import SEARCHED_CHARACTERS
from gptload.core.errors import ValidationFailed
from gptload.core.outcome import Outcome, Rest, Rule, Scope, Search
from gptload.core.resttime import LONGEST_S

MOST_RULES: Final = 50
_LONGEST_TEXT: Final = 200  # of a pattern or a text to look for
_LONGEST_PATH: Final = 10
_HIGHEST_PRICE: Final = 2 * SEARCHED_CHARACTERS  # tries a character: 0.2 s at the very worst

_FIELDS: Final = ("name", "status", "where", "contains", "regex", "outcome", "scope", "rest")
_NAME: Final = re.compile(r"[a-z0-9_]{1,40}")
_STATUS: Final = re.compile(r"[45](?:[0-9]{2}|[0-9]?[*]|[0-9x]x)")

# Whom an outcome can concern; the first where the rule doesn't say.
_KEYS: Final = (Scope.KEY, Scope.KEY_MODEL, Scope.ACCOUNT, Scope.ACCOUNT_MODEL)
_SCOPES: Final[Mapping[Outcome, tuple[Scope, ...]]] = {
    Outcome.KEY_REJECTED: (Scope.KEY, Scope.ACCOUNT),
    Outcome.KEY_EXHAUSTED: _KEYS,
    Outcome.RATE_LIMITED: _KEYS,
    Outcome.UPSTREAM_FAULT: (Scope.UPSTREAM, Scope.UPSTREAM_MODEL, Scope.EGRESS),
    Outcome.REQUEST_FAULT: (Scope.KEY, Scope.AFFINITY),
}
_OUTCOMES: Final = {outcome.name.lower(): outcome for outcome in _SCOPES}
_NOT_RESTING: Final = (Outcome.KEY_REJECTED, Outcome.REQUEST_FAULT)


def parse(value: object) -> tuple[Rule, ...]:
    """A group's error rules, in their order.

    Args:
        value: what JSON gave.

    Raises:
        ValidationFailed: with the first fault and its field, e.g.
            `error_rules[2].status: …`.
    """
    if not isinstance(value, list):
        raise ValidationFailed("error_rules: must be a list of rules")
    if len(value) > MOST_RULES:
        raise ValidationFailed(f"error_rules: at most {MOST_RULES} rules")
    return tuple(_parsed(item, place) for place, item in enumerate(value))


def checked(value: object) -> list[dict[str, Any]]:
    """The rules as a group's row keeps them: as given, without what says nothing.

    Raises:
        ValidationFailed: as `parse`.
    """
    parse(value)
    rules = value if isinstance(value, list) else []
    return [{key: found for key, found in rule.items() if found is not None} for rule in rules]


def read(text: str | None) -> Iterator[Rule | str]:
    """Rules that were stored once: each by itself, or what is wrong with it.

    Args:
        text: JSON; None: there are no rules.
    """
    try:
        value = orjson.loads(text) if text else []
    except orjson.JSONDecodeError:
        yield "error_rules: no JSON"
        return
    if not isinstance(value, list):
        yield "error_rules: must be a list of rules"
        return
    for place, item in enumerate(value):
        try:
            yield _parsed(item, place)
        except ValidationFailed as error:
            yield error.message


def _parsed(item: object, place: int) -> Rule:
    at = f"error_rules[{place}]"
    if not isinstance(item, dict):
        raise ValidationFailed(f"{at}: must be an object")
    given = {key: found for key, found in item.items() if found is not None}
    for key in given:
        if key not in _FIELDS:
            raise ValidationFailed(
                f"{at}.{str(key)[:40]}: no such field; there are {', '.join(_FIELDS)}"
            )
    try:
        return _rule(given, place)
    except _Fault as fault:
        raise ValidationFailed(f"{at}.{fault.field}: {fault.reason}") from None


@define
class _Fault(Exception):
    """A field that isn't as it should be."""

    field: str
    reason: str


def _rule(given: Mapping[str, Any], place: int) -> Rule:
    outcome = _OUTCOMES.get(str(given.get("outcome")))
    if outcome is None:
        raise _Fault("outcome", f"must be one of {', '.join(_OUTCOMES)}")
    status = _status(given.get("status"))
    search = _search(given)
    if not status and search is None:
        raise _Fault("status", "a rule needs a status, or something to look for")
    rest, default_s = _rest(given.get("rest"), outcome)
    return Rule(
        outcome,
        _name(given.get("name"), place),
        _scope(given.get("scope"), outcome),
        status=status,
        search=search,
        rest=rest,
        default_s=default_s,
    )


def _name(value: object, place: int) -> str:
    if value is None:
        return f"rule_{place}"
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _Fault("name", "must be 1 to 40 of a-z, 0-9 and _")
    return value


def _status(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    patterns = value if isinstance(value, list) else str(value).split(",")
    if isinstance(value, bool) or not patterns:
        raise _Fault("status", "must be a status like 429, 4xx or 5*, or a list of them")
    found: set[int] = set()
    for item in patterns:
        pattern = str(item).strip().lower()
        if not _STATUS.fullmatch(pattern):
            raise _Fault("status", f"'{pattern[:20]}' is none of 400 to 599, 4xx, 42x, 5* or 50*")
        fixed = pattern.rstrip("x*")
        width = 10 ** (3 - len(fixed))
        found.update(range(int(fixed) * width, (int(fixed) + 1) * width))
    return tuple(sorted(found))


def _scope(value: object, outcome: Outcome) -> Scope:
    scopes = _SCOPES[outcome]
    if value is None:
        return scopes[0]
    for scope in scopes:
        if scope.value == value:
            return scope
    allowed = ", ".join(scope.value for scope in scopes)
    raise _Fault("scope", f"for {outcome.name.lower()} it must be one of {allowed}")


def _rest(value: object, outcome: Outcome) -> tuple[Rest, float | None]:
    if value is None:
        return Rest.NAMED, None
    if outcome in _NOT_RESTING:
        raise _Fault("rest", f"{outcome.name.lower()} has none")
    if value == "named":
        return Rest.NAMED, None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (0 <= value <= LONGEST_S)
    ):
        raise _Fault("rest", f"must be 0 to {LONGEST_S:.0f} seconds, or 'named'")
    return (Rest.DEFAULT, float(value)) if value >= 1 else (Rest.NONE, None)


def _search(given: Mapping[str, Any]) -> Search | None:
    path = _path(given.get("where", "body"))
    pattern = _pattern(given)
    return Search(path, pattern) if path or pattern is not None else None


def _path(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise _Fault("where", "must be 'body' or a path like error.code")
    if value == "body":
        return ()
    path = tuple(value.split("."))
    if not all(path) or len(value) > _LONGEST_TEXT or len(path) > _LONGEST_PATH:
        raise _Fault("where", "must be 'body' or a path like error.details.0.reason")
    return path


def _pattern(given: Mapping[str, Any]) -> re.Pattern[str] | None:
    field = "regex" if "regex" in given else "contains"
    text = given.get(field)
    if text is None:
        return None
    if "contains" in given and "regex" in given:
        raise _Fault("regex", "a rule has either contains or regex")
    if not isinstance(text, str) or not 1 <= len(text) <= _LONGEST_TEXT:
        raise _Fault(field, f"must be a text of 1 to {_LONGEST_TEXT} characters")
    if field == "contains":
        return re.compile(re.escape(text), re.IGNORECASE)
    try:
        pattern = re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise _Fault("regex", f"is no regular expression: {error}") from None
    if _price(text) > _HIGHEST_PRICE:
        raise _Fault(
            "regex",
            "could take too long: use one * or + at most, and for the rest counts like {0,40}",
        )
    return pattern


# What an expression may cost. Python's goes back and tries anew wherever it could have
# gone another way, so the ways multiply: `.*` in sequence, branches, and above all what
# is repeated inside a repetition, which is therefore not allowed at all.

_COUNT: Final = re.compile(r"\{([0-9]*)(,?)([0-9]*)\}")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


@define
class _Part:
    """An open group: the ways through its branches so far, and through the current one."""

    former: int = 0
    ways: int = 1
    is_fixed: bool = True

    def total(self) -> int:
        return self.former + self.ways


def _price(pattern: str) -> int:
    """How many ways there are at most to match from one place.

    Args:
        pattern: one that compiles.

    Raises:
        _Fault: it has what can't be priced.
    """
    parts = [_Part()]
    place = 0
    while place < len(pattern):
        character = pattern[place]
        inner = 1
        is_fixed = True
        if character == "(":
            if pattern[place + 1 : place + 2] == "?" and pattern[place + 1 : place + 3] != "?:":
                raise _Fault("regex", "of the groups that begin with (? only (?:…) is allowed")
            parts.append(_Part())
            place += 3 if pattern[place + 1 : place + 2] == "?" else 1
            continue
        if character == "|":
            parts[-1].former += parts[-1].ways
            parts[-1].ways = 1
            parts[-1].is_fixed = False
            place += 1
            continue
        if character == ")":
            closed = parts.pop()
            inner, is_fixed = closed.total(), closed.is_fixed
            place += 1
        elif character == "[":
            found = _CLASS.match(pattern, place)
            place = found.end() if found else len(pattern)
        elif character == "\\":
            if pattern[place + 1 : place + 2] in "123456789":
                raise _Fault("regex", "can't refer back to what a group found")
            place += 2
        else:
            place += 1
        is_optional = pattern[place : place + 1] == "?"
        times, place = _times(pattern, place)
        if times > 1 and not is_fixed and not is_optional:
            raise _Fault("regex", "has a repetition of what is itself repeated or a choice")
        part = parts[-1]
        ways = inner + 1 if is_optional else inner * times
        part.ways = min(part.ways * ways, _HIGHEST_PRICE + 1)
        part.is_fixed = part.is_fixed and is_fixed and times == 1
    return parts[0].total()


def _times(pattern: str, place: int) -> tuple[int, int]:
    """What the repetition at that place multiplies by, and where it ends."""
    times = 1
    following = pattern[place : place + 1]
    if following in ("*", "+"):
        times, place = SEARCHED_CHARACTERS, place + 1
    elif following == "?":
        times, place = 2, place + 1
    elif following == "{" and (count := _COUNT.match(pattern, place)) and (count[1] or count[2]):
        most = count[3] if count[2] else count[1]
        times = max(int(most), 2) if most else SEARCHED_CHARACTERS
        place = count.end()
    if times > 1 and pattern[place : place + 1] in ("?", "+"):  # lazy, or never going back
        place += 1
    return times, place
