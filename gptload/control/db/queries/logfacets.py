"""What the log can be narrowed to: the names in it, with counts where they cost little.

No row of the log is looked at. What kinds tell is exact; outcomes and upstreams are those
of the roll-ups, which count the same attempts.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from attrs import frozen
from sqlalchemy import Connection, func, select

from gptload.control.db.queries import rollups
from gptload.control.db.queries.statistics import tally
from gptload.control.db.tables import log_kinds, request_logs
from gptload.control.statistics import DAY, EVERYTHING, OTHERS, spans

MOST: Final = 200
"""Of each, the most frequent ones."""

_LONGEST_S: Final = 31 * DAY


@frozen
class Facets:
    """(value, number of attempts), the most frequent first; nothing that is empty.

    Attributes:
        outcomes, upstreams: of the last month, as far as the log goes back.
        upstreams: scheme and host.
    """

    groups: list[tuple[str, int]]
    parent_groups: list[tuple[str, int]]
    models: list[tuple[str, int]]
    status_codes: list[tuple[int, int]]
    outcomes: list[tuple[str, int]]
    upstreams: list[tuple[str, int]]


def facets(connection: Connection, now: float) -> Facets:
    """All of it, in some small queries."""
    kinds = log_kinds.c
    groups: Counter[str] = Counter()
    parents: Counter[str] = Counter()
    models: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    query = select(
        kinds.group_name, kinds.parent_group_name, kinds.model, kinds.status_code, kinds.count
    ).where(kinds.count > 0)
    for group, parent, model, code, count in connection.execute(query):
        groups[group] += count
        parents[parent] += count
        models[model] += count
        codes[code] += count
    del models[OTHERS]
    outcomes: Counter[str] = Counter()
    upstreams: Counter[str] = Counter()
    first = connection.execute(select(func.min(request_logs.c.timestamp))).scalar()
    if first is not None:
        ranges = spans(max(first, now - _LONGEST_S), now + 1, now)
        for (_, outcome, _, _), count in tally(connection, EVERYTHING, ranges).ends.items():
            outcomes[outcome] += count
        for total in rollups.totals(connection, "upstream", ranges).values():
            upstreams[total.subject.name] += total.attempts
    return Facets(
        _named(groups),
        _named(parents),
        _named(models),
        sorted(codes.items(), key=lambda each: (-each[1], each[0]))[:MOST],
        _named(outcomes),
        _named(upstreams),
    )


def _named(counts: Counter[str]) -> list[tuple[str, int]]:
    del counts[""]
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST]
