"""Attempt records into the tables: rows, key use, roll-ups, and how far we got.

All of one call happens in one transaction, so a crash can neither lose a record nor
count one twice. What is already there is passed over, and only what is new is counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from sqlalchemy import Connection, bindparam, case, delete, insert, or_, select, update
from sqlalchemy.exc import OperationalError

from gptload.control.db.queries import logkinds, rollups
from gptload.control.db.tables import Instant, api_keys, journal_positions, request_logs
from gptload.control.spending import Bill, Spending, bill
from gptload.core.record import AttemptRecord

# A request's body as far as it is kept; as the reference.
BODY_CHARACTERS = 65_000
_TEXT_CHARACTERS = 16_000
_LARGEST = 2**63 - 1
_MOST_TOKENS = 2**31 - 1
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
    "cost_nano",
)


@frozen
class Moved:
    """What one call did.

    Attributes:
        inserted: rows that are new.
        refused: (record id, kind of error) of the rows that the database can't take.
        spent: what the new rows tell of tokens and cost, by group.
    """

    inserted: int
    refused: tuple[tuple[str, str], ...] = ()
    spent: Mapping[int, Spending] = field(factory=dict)


def position(connection: Connection, segment: str) -> int:
    """How many bytes of the segment are in the tables."""
    query = select(journal_positions.c.offset).where(journal_positions.c.segment == segment)
    return connection.execute(query).scalar() or 0


def positions(connection: Connection) -> dict[str, int]:
    """All that `position` knows."""
    rows = connection.execute(select(journal_positions.c.segment, journal_positions.c.offset))
    return {row.segment: row.offset for row in rows}


def forget(connection: Connection, segments: Iterable[str]) -> None:
    """Drop what is known of segments whose files are gone."""
    for segment in segments:
        connection.execute(delete(journal_positions).where(journal_positions.c.segment == segment))


def move(
    connection: Connection,
    records: Sequence[AttemptRecord],
    segment: str,
    offset: int,
) -> Moved:
    """Put the records into the tables and note that `segment` is read up to `offset`."""
    fresh = _new(connection, records)
    keys = _keys(connection, fresh)
    bills = {record.id: one for record in fresh if (one := bill(record)) is not None}
    rows = [
        row_of(record, *keys.get(record.key_id, ("", "")), bills.get(record.id)) for record in fresh
    ]
    logkinds.assign(connection, rows)
    refused = _insert(connection, rows)
    if refused:
        bad = {record_id for record_id, _ in refused}
        fresh = [record for record in fresh if record.id not in bad]
        rows = [row for row in rows if row["id"] not in bad]
    logkinds.count(connection, [row["kind_id"] for row in rows])
    _count_use(connection, fresh)
    spent = {record.id: bills[record.id].spending() for record in fresh if record.id in bills}
    rollups.put_down(connection, fresh, spent)
    _note(connection, segment, offset)
    by_group: defaultdict[int, Spending] = defaultdict(Spending)
    for record in fresh:
        if record.id in spent:
            by_group[record.group_id].add(spent[record.id])
    return Moved(len(fresh), tuple(refused), by_group)


def _new(connection: Connection, records: Sequence[AttemptRecord]) -> list[AttemptRecord]:
    by_id = {record.id: record for record in records}
    query = select(request_logs.c.id).where(request_logs.c.id.in_(list(by_id)))
    known = set(connection.execute(query).scalars())
    return [record for record_id, record in by_id.items() if record_id not in known]


def _keys(connection: Connection, records: Iterable[AttemptRecord]) -> dict[int, tuple[str, str]]:
    """(sealed value, hash) by key id; a key deleted meanwhile has none."""
    wanted = {record.key_id for record in records if record.key_id}
    query = select(api_keys.c.id, api_keys.c.key_value, api_keys.c.key_hash)
    rows = connection.execute(query.where(api_keys.c.id.in_(wanted)))
    return {key_id: (value, key_hash) for key_id, value, key_hash in rows}


def row_of(
    record: AttemptRecord, key_value: str, key_hash: str, spent: Bill | None = None
) -> dict[str, Any]:
    """The record as a row of the log, each value as its column can hold it."""
    row: dict[str, Any] = {
        "id": record.id,
        "timestamp": record.at,
        "group_id": record.group_id,
        "group_name": record.group_name,
        "parent_group_id": record.parent_group_id,
        "parent_group_name": record.parent_group_name,
        "model": record.model,
        "is_success": is_success(record),
        "source_ip": record.source_ip,
        "status_code": record.status_code,
        "request_path": record.path,
        "duration": record.duration_ms,
        "error_message": record.error,
        "user_agent": record.user_agent,
        "request_type": "final" if record.is_final else "retry",
        "upstream_addr": record.upstream,
        "is_stream": record.is_stream,
        "request_body": record.request_body,
        "exchange_id": record.exchange_id,
        "key_id": record.key_id,
        "first_byte_ms": record.first_byte_ms,
        "first_token_ms": record.first_token_ms,
        "connect_ms": record.connect_ms,
        "total_ms": record.total_ms,
        "outcome": record.outcome,
        "reason": record.reason,
        "method": record.method,
        "scope": record.scope,
        "rest_until": record.rest_until,
        "account": record.account,
        "signature": record.signature,
    }
    for name, value in row.items():
        if isinstance(value, str):
            row[name] = fit(value, _LIMITS[name])
        elif isinstance(value, int) and not isinstance(value, bool):
            row[name] = max(-_LARGEST, min(value, _LARGEST))
    return row | {"key_value": key_value, "key_hash": key_hash} | _tokens(spent)


def _tokens(spent: Bill | None) -> dict[str, int | None]:
    if spent is None:
        return dict.fromkeys(_TOKENS)
    usage = spent.usage
    said = (
        usage.input,
        usage.output,
        usage.cached,
        usage.cache_write,
        usage.reasoning,
        usage.audio,
    )
    counts = [None if count is None else min(count, _MOST_TOKENS) for count in said]
    return dict(zip(_TOKENS, (*counts, spent.cost_nano), strict=True))


def is_success(record: AttemptRecord) -> bool:
    """Whether statistics count the attempt as one that worked."""
    return record.outcome == "ok"


def fit(text: str, limit: int) -> str:
    """The text as a column of `limit` characters can hold it; a cut is marked."""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= limit else text[: limit - 1] + "…"


_LIMITS = {
    column.name: getattr(column.type, "length", None) or _TEXT_CHARACTERS
    for column in request_logs.columns
} | {"request_body": BODY_CHARACTERS}


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Insert all that can be; (id, kind of error) of the rest."""
    if not rows:
        return []
    try:
        with connection.begin_nested():
            connection.execute(insert(request_logs), rows)
    except OperationalError:
        raise  # the database's trouble, not a row's
    except Exception:  # one of many rows: a driver may raise anything over it
        return _insert_singly(connection, rows)
    return []


def _insert_singly(connection: Connection, rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    refused = []
    for row in rows:
        try:
            with connection.begin_nested():
                connection.execute(insert(request_logs), row)
        except OperationalError:
            raise
        except Exception as error:  # as above; one row must not hold up the others
            refused.append((str(row["id"]), type(error).__name__))
    return refused


def _count_use(connection: Connection, records: Iterable[AttemptRecord]) -> None:
    uses: Counter[int] = Counter()
    last: defaultdict[int, float] = defaultdict(float)
    for record in records:
        if record.key_id:
            uses[record.key_id] += 1
            last[record.key_id] = max(last[record.key_id], record.at)
    if not uses:
        return
    used, at = api_keys.c.last_used_at, bindparam("last", type_=Instant)
    connection.execute(
        update(api_keys)
        .where(api_keys.c.id == bindparam("one"))
        .values(
            request_count=api_keys.c.request_count + bindparam("more"),
            last_used_at=case((or_(used.is_(None), used < at), at), else_=used),
        ),
        # Always in one order, so that two who write can't wait for each other.
        [{"one": key_id, "more": uses[key_id], "last": last[key_id]} for key_id in sorted(uses)],
    )


def _note(connection: Connection, segment: str, offset: int) -> None:
    changed = connection.execute(
        update(journal_positions)
        .where(journal_positions.c.segment == segment)
        .values(offset=offset)
    )
    if not changed.rowcount:
        connection.execute(insert(journal_positions).values(segment=segment, offset=offset))
