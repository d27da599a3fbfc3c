"""The pulse: how late the event loop is, and whether the database answers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from twisted.internet.task import Clock, deferLater

from gptload.control.db.database import Database
from gptload.control.db.queries.health import keys_by_state
from gptload.control.jobs.pulse import BEAT_S, DATABASE_S, Pulse
from gptload.control.status import Status
from tests.parts.rows import add_group, add_key


async def test_a_beat_is_late_by_what_held_up_the_loop_and_a_silent_database_is_away(
    engine: Engine, reactor: Any
) -> None:
    clock, held_up, status = Clock(), [0.0], Status()
    database = Database(reactor, engine)
    pulse = Pulse(clock, lambda: clock.seconds() + held_up[0], database, status)

    pulse.startService()
    clock.advance(BEAT_S)
    assert status.loop_delay.last_s == 0
    held_up[0] = 0.25
    clock.advance(BEAT_S)
    clock.advance(BEAT_S)
    assert (status.loop_delay.last_s, status.loop_delay.worst_s) == (0, 0.25)

    away = status.database_away()
    assert away is not None and away.reason == "The database is closed"
    database.start()
    clock.advance(DATABASE_S)
    while status.database_away() is not None:
        await deferLater(reactor, 0.01)
    await pulse.stopService()
    await database.stop()
    assert clock.getDelayedCalls() == []


async def test_keys_are_counted_by_what_they_may_do_now(database: Database) -> None:
    """A rest that is over is none, though the database isn't told of its end."""
    group = await database.write(add_group)
    rows = [
        ("active", None),
        ("active", 99.0),
        ("active", 101.0),
        ("invalid", None),
        ("invalid", 101.0),
        ("disabled", None),
    ]
    for number, (status, until) in enumerate(rows):
        await database.write(add_key, group, f"sk-{number}", status=status, rest_until=until)
    assert await database.read(keys_by_state, 100.0) == {
        (group, "active"): 2,
        (group, "resting"): 1,
        (group, "invalid"): 2,
        (group, "disabled"): 1,
    }
