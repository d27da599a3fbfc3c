"""How a key does, in the six words of the dashboard: finer than its state.

A rest is either *cooling*, a limit that ends soon by itself, or *exhausted*, a quota or
an account that is used up. A key that rests for one of its models is cooling, too: most
limits are of a model, and people ask for few of them. Else one with strikes is *suspect*.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from gptload.core.errortable import COMMON
from gptload.core.outcome import Outcome, Rule
from gptload.core.resttime import RATE_LIMIT_CAP_S
from gptload.core.verdict import Speaks

KINDS: Final = ("active", "suspect", "cooling", "exhausted", "invalid", "disabled")


def exhausted_reasons(providers: Iterable[Speaks]) -> frozenset[str]:
    """The reasons with which a verdict says that a key is used up."""
    tables = [(provider.name, provider.errors) for provider in providers]
    return frozenset(
        f"{table}.{name}"
        for table, rules in [*tables, ("common", COMMON)]
        for rule in rules
        if rule.outcome is Outcome.KEY_EXHAUSTED
        for name in _names(rule)
    )


def _names(rule: Rule) -> Iterable[str]:
    return [rule.reason] if rule.reason else [f"status_{status}" for status in rule.status]


def kind_of(
    status: str,
    strikes: int,
    rest_until: float | None,
    changed_at: float | None,
    reason: str,
    model_rests: Mapping[str, float] | None = None,
    *,
    now: float,
    exhausted: Collection[str],
) -> str:
    """One of `KINDS`, for a key as its row has it."""
    if status != "active":
        return status
    if rest_until is None or rest_until <= now:
        if any(until > now for until in (model_rests or {}).values()):
            return "cooling"
        return "suspect" if strikes else "active"
    is_long = rest_until - (rest_until if changed_at is None else changed_at) > RATE_LIMIT_CAP_S
    return "exhausted" if is_long or reason in exhausted else "cooling"
