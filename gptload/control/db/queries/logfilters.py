"""What one looks for in the log, and what that means for rows and for their kinds."""

from __future__ import annotations

from attrs import frozen
from sqlalchemy import ColumnElement, not_, or_

from gptload.control.db.queries.keys import hashes
from gptload.control.db.tables import log_kinds, request_logs
from gptload.control.statistics import OTHERS
from gptload.core.vault import Vault

Conditions = list[ColumnElement[bool]]


@frozen
class Filter:
    """What somebody looks for; None and "" look for anything.

    Attributes:
        model, group_name, parent_group_name, error: a part of the text; `%` and `_`
            stand for themselves.
        upstream: a part of the address that was called.
        either_group: a group's whole name, of the attempt's group or of its aggregate.
        key: a whole key.
        exchange_id: of one client request.
        status_codes: any of these; none of them: whatever it is.
        outcomes: any of these names of an `Outcome`.
        slower_than_ms: the client waited longer, all attempts together.
        since, until: epoch seconds, both included.
    """

    model: str = ""
    group_name: str = ""
    parent_group_name: str = ""
    error: str = ""
    key: str = ""
    request_type: str = ""
    source_ip: str = ""
    is_success: bool | None = None
    status_codes: frozenset[int] = frozenset()
    outcomes: frozenset[str] = frozenset()
    upstream: str = ""
    either_group: str = ""
    exchange_id: str = ""
    slower_than_ms: int | None = None
    is_stream: bool | None = None
    since: float | None = None
    until: float | None = None
    but: tuple[Filter, ...] = ()


def of_kinds(wanted: Filter) -> Conditions:
    """What a kind must fulfil; its rows may have more to fulfil."""
    kinds = log_kinds.c
    found = _named(wanted)
    if wanted.error or (wanted.outcomes and "ok" not in wanted.outcomes):
        found.append(kinds.is_success.is_(False))  # what succeeded has no such text
    if wanted.model:
        named = kinds.model.icontains(wanted.model, autoescape=True)
        found.append(or_(named, kinds.model == OTHERS))
    for one in wanted.but:
        found += [not_(each) for each in _named(one)]
        if one.model:
            named = kinds.model.icontains(one.model, autoescape=True)
            found.append(or_(not_(named), kinds.model == OTHERS))
    return found


def of_models(wanted: Filter) -> Conditions:
    """What each row must fulfil where its kind is of many models."""
    model = request_logs.c.model
    found: Conditions = []
    if wanted.model:
        found.append(model.icontains(wanted.model, autoescape=True))
    for one in wanted.but:
        if one.model:
            found.append(not_(model.icontains(one.model, autoescape=True)))
    return found


def of_rows(vault: Vault, wanted: Filter) -> Conditions:
    """What only the row itself tells, and no index finds."""
    table = request_logs.c
    found = _told(wanted)
    if wanted.slower_than_ms is not None:
        found.append(table.total_ms > wanted.slower_than_ms)
    for one in wanted.but:
        found += [not_(each) for each in _told(one)]
        if one.source_ip:
            found.append(table.source_ip != one.source_ip)
        if one.key:
            found.append(table.key_hash.not_in(hashes(vault, one.key.encode())))
    return found


def _named(wanted: Filter) -> Conditions:
    """What a kind tells for sure."""
    kinds = log_kinds.c
    found: Conditions = []
    if wanted.outcomes == {"ok"}:
        found.append(kinds.is_success.is_(True))
    if wanted.either_group:
        name = wanted.either_group
        found.append(or_(kinds.group_name == name, kinds.parent_group_name == name))
    for column, part in (
        (kinds.group_name, wanted.group_name),
        (kinds.parent_group_name, wanted.parent_group_name),
    ):
        if part:
            found.append(column.icontains(part, autoescape=True))
    if wanted.request_type:
        found.append(kinds.request_type == wanted.request_type)
    if wanted.is_success is not None:
        found.append(kinds.is_success.is_(wanted.is_success))
    if wanted.status_codes:
        found.append(kinds.status_code.in_(sorted(wanted.status_codes)))
    return found


def _told(wanted: Filter) -> Conditions:
    """What a row tells, or not."""
    table = request_logs.c
    found: Conditions = []
    if wanted.error:
        found.append(table.error_message.icontains(wanted.error, autoescape=True))
    if wanted.outcomes - {"ok"}:
        found.append(table.outcome.in_(sorted(wanted.outcomes)))
    if wanted.upstream:
        found.append(table.upstream_addr.icontains(wanted.upstream, autoescape=True))
    if wanted.is_stream is not None:
        found.append(table.is_stream.is_(wanted.is_stream))
    return found
