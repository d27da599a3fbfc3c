"""What attempts took: counted once, from the journal to every roll-up."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from gptload.control.db.database import Database
from gptload.control.db.queries import records as queries
from gptload.control.db.queries import rollups, statistics
from gptload.control.db.tables import rollup_pending
from gptload.control.spending import Spending, bill, read_spending
from gptload.control.statistics import (
    DAY,
    EVERYTHING,
    HOUR,
    MINUTE,
    Span,
    Tally,
    of_key,
    of_model,
    read_tally,
)
from gptload.core.record import AttemptRecord
from tests.parts.records import make_record

AT = 1_800_000_000
SAID = '{"prompt_tokens":1000,"completion_tokens":100}'
ONE = Spending(1000, 100, counted=1, cost_nano=3_500_000, priced=1, priced_tokens=1100)


def asked(**changes: Any) -> AttemptRecord:
    return make_record(model="gpt-4o", usage=SAID, **changes)


def settle(connection: Connection) -> None:
    while rollups.settle(connection, 1000):
        pass


async def test_every_step_and_subject_holds_what_was_moved_once(database: Database) -> None:
    records = [asked(), asked(), make_record(model="gpt-4o"), asked(is_final=False)]
    moved = await database.write(queries.move, records, "x", 1)
    assert moved.spent == {1: tripled(ONE)}
    again = await database.write(queries.move, records, "x", 1)
    assert again.spent == {}
    await database.write(settle)
    for subject in (EVERYTHING, of_model("gpt-4o"), of_key(1)):
        for step in (MINUTE, HOUR, DAY) if subject.kind != "key" else (HOUR, DAY):
            begin = AT // step * step
            span = Span(step, begin, begin + step)
            tally = await database.read(statistics.tally, subject, [span])
            assert (tally.attempts, tally.spent) == (4, tripled(ONE))


def tripled(one: Spending) -> Spending:
    whole = Spending()
    for _ in range(3):
        whole.add(one)
    return whole


async def test_what_waits_since_the_version_before_is_counted_without_tokens(
    database: Database,
) -> None:
    line = str(list(make_record())[:-2]).replace("'", '"')
    line = line.replace("True", "true").replace("False", "false").replace("None", "null")

    def leave(connection: Connection) -> None:
        connection.execute(insert(rollup_pending).values(records=line + "\n", count=1))

    await database.write(leave)
    await database.write(settle)
    begin = AT // DAY * DAY
    tally = await database.read(statistics.tally, EVERYTHING, [Span(DAY, begin, begin + DAY)])
    assert (tally.attempts, tally.spent) == (1, Spending())


def test_a_roll_up_of_the_version_before_has_no_tokens() -> None:
    assert read_tally(1, 1, 1, "[[],[],[]]").spent == Spending()


def test_the_price_is_of_the_model_that_was_called() -> None:
    renamed = bill(asked()._replace(model="mine", upstream_model="gpt-4o"))
    assert renamed == bill(asked())
    unknown = bill(asked()._replace(model="mine"))
    assert unknown is not None
    assert unknown.cost_nano is None
    assert unknown.spending() == Spending(1000, 100, counted=1)
    assert bill(make_record()) is None


numbers = st.integers(0, 2**50)
spendings = st.builds(Spending, *[numbers] * 6, st.integers(1, 9), *[numbers] * 3)


@given(spendings, spendings)
def test_sums_survive_their_storage(one: Spending, other: Spending) -> None:
    tally = Tally(spent=read_spending(one.numbers()))
    assert read_tally(0, 0, 0, tally.detail()).spent == one
    tally.add(Tally(spent=other))
    assert tally.spent.input == one.input + other.input
    assert tally.spent.cost_nano == one.cost_nano + other.cost_nano
    assert read_tally(0, 0, 0, tally.detail()) == tally
