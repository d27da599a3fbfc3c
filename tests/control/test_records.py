"""From the journal into the database: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, select
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher

from gptload.control.db.database import Database
from gptload.control.db.queries import records as queries
from gptload.control.db.tables import (
    api_keys,
    journal_positions,
    request_logs,
    rollup_pending,
    rollups,
)
from gptload.control.jobs.records import PATTERN, SLICE_LINES, Records
from gptload.control.jobs.rollups import Rollups
from gptload.control.loop import LONGEST_WAIT_S
from gptload.core.errors import DatabaseUnavailable
from gptload.core.record import encode
from gptload.proxy.journal import Journal
from tests.parts.records import make_record
from tests.parts.rows import add_group, add_key

HOUR = 1_800_000_000.0  # the full hour of make_record's attempts, UTC


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_800_000_100)
    return clock


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "journal"
    directory.mkdir()
    return directory


@pytest.fixture
def job(clock: Clock, database: Database, directory: Path) -> Records:
    return Records(clock, database, directory, lambda: 60)


@pytest.fixture
def journal(directory: Path, clock: Clock) -> Iterator[Journal]:
    """The journal whose records the job moves."""
    journal = Journal(directory, clock.callLater, clock.seconds)
    yield journal
    journal.close()


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        lines.append(str(event.get("log_format", "")).format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def everything(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]


async def rows(database: Database, table: Table = request_logs) -> list[dict[str, Any]]:
    return await database.read(everything, table)


async def settle(clock: Clock, database: Database) -> None:
    await Rollups(clock, database).settle()
    assert await rows(database, rollup_pending) == []


async def counted(clock: Clock, database: Database) -> int:
    """Successes by the roll-ups."""
    await settle(clock, database)
    found = await rows(database, rollups)
    return sum(row["succeeded"] for row in found if row["kind"] == "all" and row["step"] == 60)


async def settled(database: Database) -> None:
    """Wait until a move under way has ended: what writes later has to queue behind it."""
    from twisted.internet import reactor

    for _ in range(4):
        try:
            await database.write(queries.positions)
        except DatabaseUnavailable:
            pass
        await deferLater(reactor, 0)


async def moved(database: Database, count: int) -> None:
    """Wait until there are so many rows; what moves them has just begun."""
    from twisted.internet import reactor

    while len(await rows(database)) < count:
        await deferLater(reactor, 0.02)
    assert len(await rows(database)) == count


def write_segment(directory: Path, name: str, data: bytes) -> Path:
    """A segment whose writer is gone."""
    path = directory / f"{name}.jsonl"
    path.write_bytes(data)
    return path


async def test_a_record_becomes_a_row_with_its_keys_value_and_hash(
    job: Records, journal: Journal, database: Database
) -> None:
    group_id = await database.write(add_group)
    key_id = await database.write(add_key, group_id, "sk-1")
    record = make_record(
        group_id=group_id,
        key_id=key_id,
        is_final=False,
        outcome="rate_limited",
        reason="openai.rate_limit",
        status_code=429,
        first_byte_ms=None,
        error="slow down",
        scope="account+model",
        rest_until=1_800_000_060.5,
        account="org-1",
        signature="s" * 300,
        usage='{"prompt_tokens":1000,"completion_tokens":100}',
        upstream_model="gpt-4o",
        first_token_ms=90,
        connect_ms=31,
    )
    journal.append(record)
    await job.drain()
    assert await rows(database) == [
        {
            "id": record.id,
            "timestamp": record.at,
            "group_id": group_id,
            "group_name": "openai",
            "parent_group_id": 0,
            "parent_group_name": "",
            "key_value": "sk-1",
            "key_hash": "hash of sk-1",
            "model": "gpt-5",
            "is_success": False,
            "source_ip": "203.0.113.7",
            "status_code": 429,
            "request_path": "/v1/chat/completions",
            "duration": 120,
            "error_message": "slow down",
            "user_agent": "tests",
            "request_type": "retry",
            "upstream_addr": "https://api.example/v1/chat/completions",
            "is_stream": False,
            "request_body": "",
            "exchange_id": record.exchange_id,
            "key_id": key_id,
            "first_byte_ms": None,
            "total_ms": 130,
            "outcome": "rate_limited",
            "reason": "openai.rate_limit",
            "method": "POST",
            "scope": "account+model",
            "rest_until": 1_800_000_060.5,
            "account": "org-1",
            "signature": "s" * 254 + "…",
            "kind_id": 1,
            "input_tokens": 1000,
            "output_tokens": 100,
            "cached_tokens": None,
            "cache_write_tokens": None,
            "reasoning_tokens": None,
            "audio_tokens": None,
            "cost_nano": 3_500_000,
            "first_token_ms": 90,
            "connect_ms": 31,
        }
    ]


async def test_every_use_of_a_key_is_counted_failures_too(
    job: Records, journal: Journal, database: Database
) -> None:
    group_id = await database.write(add_group)
    key_id = await database.write(add_key, group_id, request_count=5, last_used_at=100.0)
    journal.append(make_record(key_id=key_id, at=300.0, outcome="key_rejected"))
    journal.append(make_record(key_id=key_id, at=200.0))
    journal.append(make_record(key_id=0, at=400.0))
    await job.drain()
    journal.append(make_record(key_id=key_id, at=250.0))
    await job.drain()
    (key,) = await rows(database, api_keys)
    assert key["request_count"] == 8
    assert key["last_used_at"] == 300.0


async def test_records_are_counted_in_their_minute_hour_and_day(
    job: Records, journal: Journal, database: Database, clock: Clock
) -> None:
    journal.append(make_record(group_id=1, parent_group_id=9))
    journal.append(make_record(group_id=1, outcome="upstream_fault", status_code=200))
    journal.append(make_record(group_id=1, outcome="key_rejected", is_final=False))
    journal.append(make_record(group_id=2, at=HOUR - 0.001))
    journal.append(make_record(group_id=0, outcome="request_fault", status_code=404))
    await job.drain()
    journal.append(make_record(group_id=1))
    await job.drain()
    await settle(clock, database)
    found = await rows(database, rollups)
    for step, place in ((60, HOUR - 60), (3600, HOUR - 3600)):
        groups = {
            (row["at"], row["group_id"]): (row["requests"], row["succeeded"], row["attempts"])
            for row in found
            if (row["kind"], row["step"]) == ("group", step)
        }
        assert groups == {
            (HOUR, 0): (1, 0, 1),
            (HOUR, 1): (3, 2, 4),
            (HOUR, 9): (1, 1, 1),
            (place, 2): (1, 1, 1),
        }
    days = [row for row in found if (row["kind"], row["step"]) == ("all", 86_400)]
    assert [(row["requests"], row["succeeded"], row["attempts"]) for row in days] == [(5, 3, 6)]
    assert len(await rows(database)) == 6


async def test_reading_again_from_the_start_inserts_and_counts_nothing(
    job: Records, journal: Journal, database: Database, clock: Clock, directory: Path
) -> None:
    group_id = await database.write(add_group)
    key_id = await database.write(add_key, group_id)
    for _ in range(3):
        journal.append(make_record(group_id=group_id, key_id=key_id))
    await job.drain()
    before = [await rows(database, t) for t in (request_logs, rollup_pending, api_keys)]
    await database.write(lambda connection: connection.execute(journal_positions.delete()))
    await Records(clock, database, directory, lambda: 60).drain()
    after = [await rows(database, t) for t in (request_logs, rollup_pending, api_keys)]
    assert after == before


async def test_only_a_complete_segment_that_is_read_to_its_end_is_deleted(
    job: Records, journal: Journal, database: Database, directory: Path
) -> None:
    journal.append(make_record())
    await job.drain()
    await job.drain()
    assert len(list(directory.iterdir())) == 1
    journal.close()
    await job.drain()
    assert list(directory.iterdir()) == []
    assert await rows(database, journal_positions) == []
    assert len(await rows(database)) == 1


async def test_a_torn_last_line_is_passed_over_and_said(
    job: Records, database: Database, directory: Path, said: list[str]
) -> None:
    good = make_record()
    data = encode([good, make_record()])[:-30]
    path = write_segment(directory, "00000000000001-dead", data)
    await job.drain()
    await job.drain()
    assert [row["id"] for row in await rows(database)] == [good.id]
    assert not path.exists()
    assert any("1 lines are no records" in line for line in said)


async def test_a_last_line_that_lacks_only_its_end_counts(
    job: Records, database: Database, directory: Path
) -> None:
    record = make_record()
    write_segment(directory, "00000000000001-dead", encode([record]).rstrip(b"\n"))
    await job.drain()
    assert [row["id"] for row in await rows(database)] == [record.id]


async def test_a_line_in_the_middle_that_is_no_record_holds_up_nothing(
    job: Records, database: Database, directory: Path
) -> None:
    good = [make_record(), make_record()]
    wrong = encode([make_record(at="yesterday"), make_record(key_id=None)])
    lines = encode(good[:1]) + b"\0\0\0\n[1,2]\n{}\n" + wrong + encode(good[1:])
    write_segment(directory, "00000000000001-dead", lines)
    await job.drain()
    assert [row["id"] for row in await rows(database)] == [record.id for record in good]


async def test_a_line_that_is_still_being_written_is_left_for_later(
    job: Records, database: Database, directory: Path, clock: Clock
) -> None:
    parts: list[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        """A disk that takes half of the first line, and the rest a second later."""
        parts.append(data)
        if len(parts) == 1:
            return os.write(descriptor, data[: len(data) // 2])
        if len(parts) == 2:
            raise OSError(28, "No space left on device")
        return os.write(descriptor, data)

    journal = Journal(directory, clock.callLater, clock.seconds, write=write)
    record = make_record()
    journal.append(record)
    await job.drain()
    assert await rows(database) == []
    clock.advance(1)
    await job.drain()
    assert [row["id"] for row in await rows(database)] == [record.id]
    journal.close()


async def test_a_long_journal_moves_in_slices_and_whole(
    job: Records, database: Database, directory: Path
) -> None:
    wanted = [make_record() for _ in range(2 * SLICE_LINES + 7)]
    write_segment(directory, "00000000000001-dead", encode(wanted[:1500]))
    write_segment(directory, "00000000000002-dead", encode(wanted[1500:]))
    await job.drain()
    assert {row["id"] for row in await rows(database)} == {record.id for record in wanted}


async def test_texts_are_cut_by_character_with_a_mark_and_lose_their_nul_bytes(
    job: Records, journal: Journal, database: Database
) -> None:
    journal.append(
        make_record(
            model="模" * 300,
            user_agent="a\0b",
            request_body="体" * 180_000,
            error="e" * 50_000,
            source_ip="x" * 64,
        )
    )
    await job.drain()
    (row,) = await rows(database)
    assert row["model"] == "模" * 254 + "…"
    assert row["user_agent"] == "a\N{REPLACEMENT CHARACTER}b"
    assert row["request_body"] == "体" * (queries.BODY_CHARACTERS - 1) + "…"
    assert row["error_message"].endswith("e…")
    assert row["source_ip"] == "x" * 64


REFUSE_THIRTEEN = {
    "sqlite": (
        "CREATE TRIGGER refuse BEFORE INSERT ON request_logs WHEN NEW.duration = 13 "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    ),
    "postgresql": "ALTER TABLE request_logs ADD CONSTRAINT refuse CHECK (duration <> 13)",
    # With a duplicate's number: PyMySQL takes a broken CHECK for the server's own trouble.
    "mysql": (
        "CREATE TRIGGER refuse BEFORE INSERT ON request_logs FOR EACH ROW "
        "IF NEW.duration = 13 THEN SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062; END IF"
    ),
}


async def test_a_row_that_the_database_refuses_is_left_out_alone(
    job: Records, journal: Journal, database: Database, said: list[str]
) -> None:
    def refuse_thirteen(connection: Connection) -> None:
        connection.exec_driver_sql(REFUSE_THIRTEEN[connection.dialect.name])

    await database.write(refuse_thirteen)
    good, bad = make_record(), make_record(duration_ms=13)
    for record in (bad, good):
        journal.append(record)
    await job.drain()
    assert [row["id"] for row in await rows(database)] == [good.id]
    assert await counted(clock, database) == 1
    assert [line for line in said if bad.id in line] == [
        f"The database refuses record {bad.id} (IntegrityError); it is left out"
    ]


async def test_a_number_beyond_the_databases_range_is_kept_at_its_bound(
    database: Database,
) -> None:
    record = make_record(duration_ms=2**70)
    moved = await database.write(queries.move, [record], "x", 1)
    assert moved == queries.Moved(1)
    assert [row["duration"] for row in await rows(database)] == [2**63 - 1]


async def test_a_locked_database_makes_records_wait_and_is_said_once_a_minute(
    clock: Clock,
    impatient: Database,
    directory: Path,
    journal: Journal,
    said: list[str],
    tmp_path: Path,
) -> None:
    job = Records(clock, impatient, directory, lambda: 0)
    job.startService()
    await settled(impatient)
    other = sqlite3.connect(tmp_path / "gptload.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.append(make_record())
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await job.drain()
    for _ in range(4):
        clock.advance(0.5)
        await settled(impatient)
    waiting = "Request logs wait in the journal: The database is locked"
    assert said.count(waiting) == 1
    clock.advance(60)
    await settled(impatient)
    assert said.count(waiting) == 2
    other.execute("ROLLBACK")
    other.close()
    clock.advance(LONGEST_WAIT_S)  # what keeps failing is tried less often
    await settled(impatient)
    assert len(await rows(impatient)) == 1
    await job.stopService()


async def test_records_move_at_each_interval_and_at_the_end(
    clock: Clock, database: Database, directory: Path, journal: Journal
) -> None:
    interval = [60.0]
    job = Records(clock, database, directory, lambda: interval[0])
    job.startService()
    await job.drain()  # the first one has ended then
    journal.append(make_record())
    clock.advance(30)
    await settled(database)
    assert await rows(database) == []
    clock.advance(30)
    await moved(database, 1)

    interval[0] = 0  # as a person sets it meanwhile
    journal.append(make_record())
    clock.advance(0.5)
    await moved(database, 2)

    interval[0] = 60
    journal.append(make_record())
    await job.stopService()
    assert len(await rows(database)) == 3


async def test_half_of_a_full_journal_moves_before_its_time(
    clock: Clock, database: Database, directory: Path, journal: Journal
) -> None:
    journal.append(make_record())
    size = sum(path.stat().st_size for path in directory.iterdir())
    job = Records(clock, database, directory, lambda: 86_400, limit_bytes=3 * size)
    job.startService()
    await moved(database, 1)
    journal.append(make_record())
    clock.advance(1)
    await settled(database)
    assert len(await rows(database)) == 1
    journal.append(make_record())
    clock.advance(1)
    await moved(database, 3)
    await job.stopService()


async def test_positions_of_segments_that_are_gone_are_forgotten(
    job: Records, database: Database
) -> None:
    await database.write(queries.move, [], "gone.jsonl", 17)
    await job.drain()
    assert await rows(database, journal_positions) == []


KILLED_WRITER = """
import sys, time
from pathlib import Path
from gptload.proxy.journal import Journal
from tests.parts.records import make_record

journal = Journal(Path(sys.argv[1]), None, time.time, segment_bytes=20_000)
while True:
    record = make_record(id=f"{sys.argv[2]}-{make_record().id}")
    journal.append(record)
    print(record.id, flush=True)
"""

KILLED_MOVER = """
import sys
from pathlib import Path
from gptload.control.db.database import make_engine, parse_dsn, run_write
from gptload.control.jobs import records

records.SLICE_LINES = 20
engine = make_engine(parse_dsn(sys.argv[1]))
while True:
    for path in sorted(Path(sys.argv[2]).glob(records.PATTERN)):
        run_write(engine, records._move, path)
        print("moved", flush=True)
"""


def run_and_kill(program: str, *arguments: str, lines: int) -> list[str]:
    """Start a program, read so many lines of it, `kill -9` it."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
    assert all(seen), "it ended by itself, so the next one would wait for ever"
    return seen


@pytest.mark.limit(60)
async def test_killing_writers_and_movers_loses_nothing_and_counts_nothing_twice(
    clock: Clock, database: Database, directory: Path, dsn: str
) -> None:
    group_id = await database.write(add_group)
    key_id = await database.write(add_key, group_id)
    assert (group_id, key_id) == (1, 1)
    seen: list[str] = []
    for turn in range(3):
        seen += run_and_kill(KILLED_WRITER, str(directory), f"turn{turn}", lines=300)
        run_and_kill(KILLED_MOVER, dsn, str(directory), lines=turn + 2)
    job = Records(clock, database, directory, lambda: 60)
    await job.drain()
    await job.drain()

    moved = [row["id"] for row in await rows(database)]
    assert set(seen) <= set(moved)
    (key,) = await rows(database, api_keys)
    assert key["request_count"] == len(moved)
    assert await counted(clock, database) == len(moved)
    # Not all files: one that was killed before its segment had its name left an empty one.
    assert list(directory.glob(PATTERN)) == []
