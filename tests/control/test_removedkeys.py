"""Deleted keys go for good once nobody can want them back."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select
from twisted.internet.task import Clock, deferLater

from gptload.control.db.database import Database
from gptload.control.db.tables import removed_keys
from gptload.control.jobs.removedkeys import INTERVAL_S, SLICE_ROWS, RemovedKeys
from gptload.control.keys import UNDO_S
from gptload.control.status import Job
from tests.control.test_tasks import NOW, add_group


def fill(connection: Connection, group_id: int, old: int) -> None:
    row = {
        "key_value": "sk",
        "group_id": group_id,
        "status": "active",
        "notes": "",
        "request_count": 0,
        "failure_count": 0,
        "created_at": 0.0,
        "updated_at": 0.0,
        "reason": "",
        "weight": 1,
        "account": "",
        "batch": "one",
    }
    ages = [2 * UNDO_S] * old + [UNDO_S - 1]
    connection.execute(
        insert(removed_keys),
        [
            row | {"id": n, "key_hash": str(n), "removed_at": NOW - age}
            for n, age in enumerate(ages)
        ],
    )


def left(connection: Connection) -> list[int]:
    return list(connection.execute(select(removed_keys.c.id)).scalars())


async def test_what_can_be_undone_stays_and_the_rest_goes_in_slices(
    database: Database, reactor: object
) -> None:
    clock = Clock()
    clock.advance(NOW)
    job = Job()
    service = RemovedKeys(clock, database, job)
    group = await database.write(add_group, "one")
    old = SLICE_ROWS + 1
    await database.write(fill, group, old)
    service.startService()
    for _ in range(200):
        if job.last_success_at is not None:
            break
        await deferLater(reactor, 0.02)  # type: ignore[arg-type]
    assert await database.read(left) == [old]
    clock.advance(INTERVAL_S)
    clock.advance(INTERVAL_S)
    await service.stopService()
