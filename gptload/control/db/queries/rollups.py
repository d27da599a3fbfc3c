"""Roll-ups: tallies by minute, hour and day.

What is moved into the log is put down here in the same transaction, in a line a slice,
so that none can be lost or counted twice. A job adds it up a little later, many slices
at once: to change each minute, hour and day for each slice would cost more than the log.
A record that comes days late is in all of them, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attrs import frozen
from sqlalchemy import (
    Connection,
    RowMapping,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from gptload.control.db.tables import rollup_pending, rollups
from gptload.control.spending import Spending
from gptload.control.statistics import (
    MOST_SUBJECTS,
    OTHERS,
    STEPS,
    Span,
    Subject,
    Tally,
    coarser,
    facts,
    fold,
    kept_s,
    read_tally,
)
from gptload.core.record import AttemptRecord, decode, encode

# A database takes only so many values in one statement.
_CHUNK = 500


@frozen
class Total:
    """A subject's counts, without what costs more to read."""

    subject: Subject
    requests: int
    succeeded: int
    attempts: int


def put_down(
    connection: Connection,
    records: Sequence[AttemptRecord],
    spent: Mapping[str, Spending] = MappingProxyType({}),
) -> None:
    """Keep the records' facts until `settle` counts them.

    Args:
        spent: what they tell of tokens and cost, by record.
    """
    if records:
        short = (facts(record, spent.get(record.id)) for record in records)
        lines = encode(short).decode()
        connection.execute(insert(rollup_pending).values(records=lines, count=len(records)))


def is_pending(connection: Connection) -> bool:
    """Whether there is anything to settle."""
    return connection.execute(select(rollup_pending.c.id).limit(1)).first() is not None


def settle(connection: Connection, most: int) -> int:
    """Count about so many of the records that were put down, the earliest first.

    Returns:
        How many; 0 when none is left.
    """
    table = rollup_pending.c
    query = select(table.id, table.count).order_by(table.id).limit(_CHUNK)
    ids: list[int] = []
    total = 0
    for row_id, count in connection.execute(query):
        if ids and total + count > most:
            break
        ids.append(row_id)
        total += count
    if ids:
        where = table.id.in_(ids)
        lines = connection.execute(select(table.records).where(where).with_for_update()).scalars()
        add(connection, [record for text in lines for record in decode(text.encode())])
        connection.execute(delete(rollup_pending).where(where))
    return total


def add(connection: Connection, records: Iterable[AttemptRecord]) -> None:
    """Count the records, each in its minute, its hour and its day."""
    minutes = fold(records)
    for step in STEPS:
        slots: defaultdict[tuple[str, int], dict[Subject, Tally]] = defaultdict(dict)
        for (at, subject), tally in coarser(minutes, step).items():
            if step in kept_s(subject.kind):
                slots[subject.kind, at][subject] = tally
        # Always in one order, so that two who write can't wait for each other.
        for (kind, at), tallies in sorted(slots.items()):
            _add(connection, step, kind, at, tallies)


def _add(
    connection: Connection, step: int, kind: str, at: int, tallies: dict[Subject, Tally]
) -> None:
    known = _known(connection, step, kind, at, [*(subject.id for subject in tallies), OTHERS])
    new = [subject for subject in tallies if subject.id not in known]
    if new:
        place = (rollups.c.kind == kind, rollups.c.step == step, rollups.c.at == at)
        count = select(func.count()).select_from(rollups).where(*place)
        room = max(0, MOST_SUBJECTS[kind] - connection.execute(count).scalar_one())
        others = Subject(kind, OTHERS)
        for subject in new[room:]:
            tallies.setdefault(others, Tally()).add(tallies.pop(subject))
    changed, inserted = [], []
    for subject, tally in tallies.items():
        if subject.id in known:
            tally.add(known[subject.id])
            changed.append({"one": subject.id} | _columns(tally))
        else:
            names = {"subject": subject.id, "group_id": subject.group_id, "name": subject.name}
            inserted.append({"step": step, "kind": kind, "at": at} | names | _columns(tally))
    if changed:
        table = rollups.c
        where = and_(
            table.kind == kind,
            table.step == step,
            table.at == at,
            table.subject == bindparam("one"),
        )
        values: dict[str, Any] = {
            name: bindparam(name) for name in ("requests", "succeeded", "attempts", "detail")
        }
        connection.execute(update(rollups).where(where).values(values), changed)
    if inserted:
        connection.execute(insert(rollups), inserted)


def _columns(tally: Tally) -> dict[str, Any]:
    return {
        "requests": tally.requests,
        "succeeded": tally.succeeded,
        "attempts": tally.attempts,
        "detail": tally.detail(),
    }


def _known(
    connection: Connection, step: int, kind: str, at: int, subjects: Sequence[str]
) -> dict[str, Tally]:
    table = rollups.c
    found: dict[str, Tally] = {}
    for begin in range(0, len(subjects), _CHUNK):
        query = (
            select(rollups)
            .where(
                table.kind == kind,
                table.step == step,
                table.at == at,
                table.subject.in_(subjects[begin : begin + _CHUNK]),
            )
            .with_for_update()
        )
        for row in connection.execute(query).mappings():
            found[row["subject"]] = _tally(row)
    return found


def _tally(row: RowMapping) -> Tally:
    return read_tally(row["requests"], row["succeeded"], row["attempts"], row["detail"])


def add_up(
    connection: Connection,
    kind: str,
    ranges: Sequence[Span],
    subjects: Sequence[str],
    into: Callable[[int, str], Tally],
) -> None:
    """Add the tallies of these subjects to those that `into` has for (begin, subject)."""
    table = rollups.c
    for span in ranges:
        query = select(
            table.at, table.subject, table.requests, table.succeeded, table.attempts, table.detail
        ).where(*_within(kind, span), table.subject.in_(subjects))
        for at, subject, requests, succeeded, attempts, detail in connection.execute(query):
            into(at, subject).take(requests, succeeded, attempts, detail)


def totals(
    connection: Connection, kind: str, ranges: Sequence[Span], group_id: int | None = None
) -> dict[str, Total]:
    """The counts of every subject of a kind, by its id.

    Args:
        group_id: None for those of any group.
    """
    table = rollups.c
    found: dict[str, Total] = {}
    for span in ranges:
        query = (
            select(
                table.subject,
                func.max(table.group_id),
                func.max(table.name),
                func.sum(table.requests),
                func.sum(table.succeeded),
                func.sum(table.attempts),
            )
            .where(*_within(kind, span))
            .group_by(table.subject)
        )
        if group_id is not None:
            query = query.where(table.group_id == group_id)
        for subject_id, of_group, name, *sums in connection.execute(query):
            before = found.get(subject_id)
            requests, succeeded, attempts = map(int, sums)
            if before is not None:
                requests += before.requests
                succeeded += before.succeeded
                attempts += before.attempts
            subject = Subject(kind, subject_id, of_group, name)
            found[subject_id] = Total(subject, requests, succeeded, attempts)
    return found


def by_time(
    connection: Connection, span: Span, subject: Subject
) -> dict[int, tuple[int, int, int]]:
    """(requests, succeeded, attempts) of one subject, by the step's begin."""
    table = rollups.c
    query = select(table.at, table.requests, table.succeeded, table.attempts).where(
        *_within(subject.kind, span), table.subject == subject.id
    )
    return {at: (requests, good, tries) for at, requests, good, tries in connection.execute(query)}


def _within(kind: str, span: Span) -> tuple[Any, ...]:
    table = rollups.c
    return (
        table.kind == kind,
        table.step == span.step,
        table.at >= span.since,
        table.at < span.until,
    )


def delete_slice(connection: Connection, kind: str, step: int, before: float, rows: int) -> int:
    """Delete about so many of the oldest rows that began before `before`; how many went.

    All rows of one moment go together, so it may be some more.
    """
    table = rollups.c
    place: tuple[Any, ...] = (table.kind == kind, table.step == step, table.at < before)
    last = select(table.at).where(*place).order_by(table.at).offset(rows - 1).limit(1)
    end = connection.execute(last).scalar()
    if end is not None:
        place = (*place, table.at <= end)
    return connection.execute(delete(rollups).where(*place)).rowcount
