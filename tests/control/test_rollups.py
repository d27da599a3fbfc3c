"""Roll-ups in the database: they add up, they are bounded, and old ones go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater

from gptload.control import statistics
from gptload.control.db.database import Database
from gptload.control.db.queries import rollups as queries
from gptload.control.jobs.rollups import INTERVAL_S, Rollups
from gptload.control.statistics import (
    DAY,
    EVERYTHING,
    HOUR,
    MINUTE,
    MOST_SUBJECTS,
    OTHERS,
    Span,
    Tally,
    facts,
    fold,
    of_group,
    of_model,
    spans,
)
from gptload.core.record import AttemptRecord
from tests.parts.records import make_record

AT = 1_800_000_000.0


def read(connection: Connection, subject: statistics.Subject, ranges: list[Span]) -> Tally:
    whole = Tally()
    queries.add_up(connection, subject.kind, ranges, [subject.id], lambda at, one: whole)
    return whole


def some(count: int) -> list[AttemptRecord]:
    return [
        make_record(
            at=AT - number * 977,
            group_id=1 + number % 3,
            model=f"model-{number % 4}",
            outcome="ok" if number % 5 else "rate_limited",
            total_ms=number * 13,
            is_final=bool(number % 7),
        )
        for number in range(count)
    ]


async def test_every_range_of_every_subject_holds_what_its_records_say(
    database: Database,
) -> None:
    records = some(400)
    for begin in range(0, 400, 90):  # as they come: in slices, one after the other
        await database.write(queries.add, records[begin : begin + 90])
    subjects = {"": EVERYTHING, "group": of_group(2), "model": of_model("model-3")}
    for hours in (0.5, 7, 30, 200):
        since = AT - hours * HOUR
        ranges = spans(since, AT + 1, AT)
        within = [record for record in records if record.at >= ranges[0].since]
        for kind, subject in subjects.items():
            wanted = Tally()
            for (_, who), tally in fold(within).items():
                if who == subject:
                    wanted.add(tally)
            assert await database.read(read, subject, ranges) == wanted, (kind, hours)


async def test_totals_agree_with_what_is_read_in_full(database: Database) -> None:
    await database.write(queries.add, some(200))
    ranges = spans(AT - 2 * DAY, AT + 1, AT)
    totals = await database.read(queries.totals, "group", ranges)
    assert set(totals) == {"1", "2", "3"}
    for total in totals.values():
        full = await database.read(read, total.subject, ranges)
        assert (total.requests, total.succeeded, total.attempts) == (
            full.requests,
            full.succeeded,
            full.attempts,
        )
        assert total.subject.name == "openai"
    assert set(await database.read(queries.totals, "group", ranges, 2)) == {"2"}


async def test_names_that_clients_make_up_can_not_fill_the_table(database: Database) -> None:
    most = MOST_SUBJECTS["model"]
    records = [make_record(model=f"made-up-{number}") for number in range(most + 200)]
    await database.write(queries.add, records[:300])
    await database.write(queries.add, records[300:])
    span = [Span(MINUTE, int(AT), int(AT) + MINUTE)]
    totals = await database.read(queries.totals, "model", span)
    assert len(totals) == most + 1
    assert totals[OTHERS].requests == 200
    assert sum(total.requests for total in totals.values()) == most + 200


async def test_names_that_differ_only_in_case_or_blanks_are_two(database: Database) -> None:
    """MySQL's usual collations would make one of them."""
    models = ["gpt-5", "GPT-5", "gpt-5 ", "gpt-5\N{COMBINING ACUTE ACCENT}", ""]
    await database.write(queries.add, [make_record(model=model) for model in models])
    span = [Span(MINUTE, int(AT), int(AT) + MINUTE)]
    totals = await database.read(queries.totals, "model", span)
    assert [total.requests for total in totals.values()] == [1] * 5


async def test_a_record_from_nowhere_in_time_holds_up_nothing(database: Database) -> None:
    odd = [make_record(at=at) for at in (-5.0, 1e300)]
    odd.append(make_record(status_code=2**70, total_ms=2**70, first_byte_ms=-3))
    await database.write(queries.add, odd)
    ranges = [Span(MINUTE, 0, 2**41)]
    assert (await database.read(read, EVERYTHING, ranges)).attempts == 3


async def test_old_rows_go_in_slices_and_only_of_their_kind(database: Database) -> None:
    records = [make_record(at=AT - number * 60) for number in range(50)]
    await database.write(queries.add, records)
    count = await database.write(queries.delete_slice, "group", MINUTE, AT - 600, 30)
    assert count == 30
    count = await database.write(queries.delete_slice, "group", MINUTE, AT - 600, 30)
    assert count == 9
    left = await database.read(queries.by_time, Span(MINUTE, 0, int(AT) + 60), of_group(1))
    assert min(left) == AT - 600
    everything = await database.read(queries.by_time, Span(MINUTE, 0, int(AT) + 60), EVERYTHING)
    assert len(everything) == 50


async def test_what_was_put_down_is_counted_every_half_minute(database: Database) -> None:
    clock = Clock()
    job = Rollups(clock, database)
    await database.write(queries.put_down, some(10))
    job.startService()
    await idle(database)
    ranges = [Span(DAY, 0, 2**41)]
    assert (await database.read(read, EVERYTHING, ranges)).attempts == 10
    await database.write(queries.put_down, some(7))
    clock.advance(INTERVAL_S - 1)
    await idle(database)
    assert (await database.read(read, EVERYTHING, ranges)).attempts == 10
    clock.advance(1)
    await idle(database)
    assert (await database.read(read, EVERYTHING, ranges)).attempts == 17
    await job.stopService()
    assert clock.getDelayedCalls() == []


async def test_many_slices_are_settled_in_some_transactions_each_once(database: Database) -> None:
    records = some(600)
    for begin in range(0, 600, 50):
        await database.write(queries.put_down, records[begin : begin + 50])
    counts = []
    while count := await database.write(queries.settle, 120):
        counts.append(count)
    assert counts == [100] * 6
    assert (await database.read(read, EVERYTHING, [Span(DAY, 0, 2**41)])).attempts == 600


async def test_who_looks_twice_at_once_counts_nothing_twice(database: Database) -> None:
    job = Rollups(Clock(), database)
    await database.write(queries.put_down, some(20))
    await gatherResults([Deferred.fromCoroutine(job.settle()) for _ in range(3)])
    assert (await database.read(read, EVERYTHING, [Span(DAY, 0, 2**41)])).attempts == 20


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.text(max_size=300))
def test_facts_count_as_their_record_does(status: int, duration: int, model: str) -> None:
    record = make_record(
        status_code=status,
        total_ms=duration,
        first_byte_ms=duration,
        first_token_ms=duration,
        model=model,
    )
    assert fold([facts(record)]) == fold([record])


async def idle(database: Database) -> None:
    """Wait for a turn of the job: it asks and writes in turns."""
    from twisted.internet import reactor

    for _ in range(6):
        await database.write(queries.is_pending)
        await deferLater(reactor, 0.01)  # type: ignore[arg-type]
