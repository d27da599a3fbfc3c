"""Counts over time, for the dashboard: what roll-ups and the log say together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import field, frozen
from sqlalchemy import Connection, func, select

from gptload.control.db.queries import rollups
from gptload.control.db.tables import api_keys, groups, request_logs
from gptload.control.statistics import (
    EVERYTHING,
    HOUR,
    MINUTE,
    Axis,
    End,
    Span,
    Subject,
    Tally,
    of_group,
)

HOUR_S: Final = HOUR


@frozen
class Requests:
    """Final outcomes of some time."""

    succeeded: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.succeeded + self.failed

    @property
    def failure_rate(self) -> float:
        """From 0 to 1; 0 where there were none."""
        return self.failed / self.total if self.total else 0.0


def keys_by_status(connection: Connection) -> dict[str, int]:
    """How many keys there are, all groups together."""
    query = select(api_keys.c.status, func.count()).group_by(api_keys.c.status)
    return dict(connection.execute(query).all())


def count_exchanges(connection: Connection, since: float, until: float) -> int:
    """Client requests whose last attempt began in `since` ≤ t < `until`.

    Whole minutes come from roll-ups; only what is left at both ends is counted in the log.
    """
    first = int(-(-since // MINUTE) * MINUTE)
    last = int(until // MINUTE * MINUTE)
    if first >= last:
        return _count_logs(connection, since, until)
    minutes = rollups.by_time(connection, Span(MINUTE, first, last), EVERYTHING)
    inside = sum(requests for requests, _, _ in minutes.values())
    return _count_logs(connection, since, first) + inside + _count_logs(connection, last, until)


def _count_logs(connection: Connection, since: float, until: float) -> int:
    table = request_logs.c
    query = (
        select(func.count())
        .select_from(request_logs)
        .where(table.request_type == "final", table.timestamp >= since, table.timestamp < until)
    )
    return connection.execute(query).scalar_one()


def requests(
    connection: Connection, since: float, until: float, group_id: int | None = None
) -> Requests:
    """Hours that begin in `since` ≤ t < `until`.

    Args:
        group_id: None for all groups together; an aggregate's requests are counted once,
            and those that met no group not at all.
    """
    by_hour = hourly(connection, since, until, group_id)
    return Requests(
        sum(hour.succeeded for hour in by_hour.values()),
        sum(hour.failed for hour in by_hour.values()),
    )


def hourly(
    connection: Connection, since: float, until: float, group_id: int | None = None
) -> dict[int, Requests]:
    """As `requests`, by the hour's begin; hours without requests are left out."""
    span = Span(HOUR, int(-(-since // 1)), int(-(-until // 1)))
    subject = EVERYTHING if group_id is None else of_group(group_id)
    found = rollups.by_time(connection, span, subject)
    # A request that met no group is in the log, and in our own statistics.
    homeless = rollups.by_time(connection, span, of_group(0)) if group_id is None else {}
    hours = {}
    for at, (total, good, _) in found.items():
        left_out, left_out_good, _ = homeless.get(at, (0, 0, 0))
        total, good = total - left_out, good - left_out_good
        if total:
            hours[at] = Requests(good, total - good)
    return hours


def tally(connection: Connection, subject: Subject, ranges: Sequence[Span]) -> Tally:
    """Everything that happened to one subject in some time."""
    whole = Tally()
    rollups.add_up(connection, subject.kind, ranges, [subject.id], lambda at, one: whole)
    return whole


def points(connection: Connection, subject: Subject, axis: Axis) -> dict[int, Tally]:
    """The same by the point's begin; points without anything are left out."""
    found: dict[int, Tally] = {}
    span = Span(axis.source, axis.since, axis.until)

    def point(at: int, _: str) -> Tally:
        return found.setdefault(axis.place(at), Tally())

    rollups.add_up(connection, subject.kind, [span], [subject.id], point)
    return found


@frozen
class Top:
    """One line of a list of the busiest.

    Attributes:
        before: client requests and attempts of the time before.
        course: the same by the point's begin, where it was asked for; empty points are left out.
    """

    subject: Subject
    tally: Tally
    before: tuple[int, int] = (0, 0)
    course: Mapping[int, Tally] = field(factory=dict)


def top(
    connection: Connection,
    kind: str,
    ranges: Sequence[Span],
    before: Sequence[Span],
    *,
    group_id: int | None,
    by_failures: bool,
    limit: int,
    along: Axis | None = None,
) -> tuple[list[Top], int]:
    """The busiest subjects of a kind, or those that failed most; and how many there are.

    Args:
        along: the points of their courses; None for no courses.
    """
    found = rollups.totals(connection, kind, ranges, group_id)
    earlier = rollups.totals(connection, kind, before, group_id) if before else {}

    # By attempts: a key whose attempts all had to be repeated has no request of its own.
    def rank(one: rollups.Total) -> tuple[int, str]:
        counted = one.attempts - (one.succeeded if by_failures else 0)
        return -counted, one.subject.id

    ranked = sorted(found.values(), key=rank)
    shown = {one.subject.id: one.subject for one in ranked[:limit]}
    tallies = {subject_id: Tally() for subject_id in shown}
    rollups.add_up(connection, kind, ranges, list(shown), lambda at, one: tallies[one])
    courses: dict[str, dict[int, Tally]] = {subject_id: {} for subject_id in shown}
    if along is not None:
        span, place = Span(along.source, along.since, along.until), along.place
        rollups.add_up(
            connection,
            kind,
            [span],
            list(shown),
            lambda at, one: courses[one].setdefault(place(at), Tally()),
        )
    lines = []
    for subject_id, subject in shown.items():
        was = earlier.get(subject_id)
        past = (was.requests, was.attempts) if was is not None else (0, 0)
        lines.append(Top(subject, tallies[subject_id], past, courses[subject_id]))
    return lines, len(found)


def group_names(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """(name, type) by id, of the groups that are still there."""
    query = select(groups.c.id, groups.c.name, groups.c.group_type).where(groups.c.id.in_(set(ids)))
    return {group_id: (name, kind) for group_id, name, kind in connection.execute(query)}


def key_values(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """Keys as they are stored, by id."""
    query = select(api_keys.c.id, api_keys.c.key_value).where(api_keys.c.id.in_(set(ids)))
    return dict(connection.execute(query).all())


def failures(ends: Mapping[End, int]) -> dict[tuple[str, int, str], tuple[int, int]]:
    """(client requests, attempts) that failed, by outcome, status and reason."""
    found: dict[tuple[str, int, str], tuple[int, int]] = {}
    for (final, outcome, status, reason), count in ends.items():
        if outcome != "ok":
            requests, attempts = found.get((outcome, status, reason), (0, 0))
            found[outcome, status, reason] = (requests + count * final, attempts + count)
    return found
