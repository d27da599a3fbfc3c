"""The ledger: what was seen becomes what holds, at once in memory and soon on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, select
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gptload.control.db.database import Database, run_write
from gptload.control.db.queries import keystates
from gptload.control.db.queries.facts import (
    WrongEncryptionKey,
    check_vault,
    ensure_salt,
)
from gptload.control.db.tables import api_keys, key_changes
from gptload.control.ledger import WAITING_LINES, WRITE_S, Ledger, LedgerWriter
from gptload.control.loop import LONGEST_WAIT_S
from gptload.core.breaker import State as BreakerState
from gptload.core.errors import DatabaseUnavailable
from gptload.core.keyevents import KeyView
from gptload.core.keypool import KeyPool, PoolKey
from gptload.core.keystate import State
from gptload.core.outcome import Outcome, Scope, Verdict
from gptload.core.vault import Vault
from gptload.link.messages import (
    BreakerMoved,
    GroupRemoved,
    KeyChange,
    KeyEvent,
    KeysAdded,
    KeysRemoved,
    KeyStateChanged,
    Seen,
    WaySuspected,
)
from tests.parts.rows import add_group, add_key

NOW = 1_800_000_000.0
PLAIN = Vault(None, b"salt")


class Node:
    """A ledger with its clock, and what it told the data planes."""

    def __init__(self, database: Any = None, vault: Vault = PLAIN) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.told: list[KeyChange] = []
        self.ledger = Ledger(self.clock, database, vault, self.told.append)

    def see(self, seen: Seen, **details: Any) -> None:
        facts: dict[str, Any] = {"at": self.clock.seconds(), "threshold": 3} | details
        self.ledger.fold(KeyEvent(1, facts.pop("key_id", 7), seen, **facts))

    def view(self, key_id: int = 7) -> KeyView:
        return self.ledger.view(key_id)


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        lines.append(str(event.get("log_format", "")).format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def stored(connection: Connection) -> dict[int, tuple[str, int, float | None, str]]:
    keys = api_keys.c
    rows = connection.execute(
        select(keys.id, keys.status, keys.failure_count, keys.rest_until, keys.reason)
    )
    return {key_id: (status, strikes, until, why) for key_id, status, strikes, until, why in rows}


# What events do.


def test_rejections_in_a_row_make_a_key_invalid_at_the_threshold(node: Node) -> None:
    for strikes in (1, 2):
        node.see(Seen.REJECTED, reason="openai.invalid_api_key")
        assert node.view().state is State.ACTIVE
        assert node.told[-1] == KeyStateChanged(1, 7, State.ACTIVE, strikes, None)
    node.see(Seen.REJECTED, reason="openai.invalid_api_key")
    assert node.told[-1] == KeyStateChanged(1, 7, State.INVALID, 3, None)
    assert node.view() == KeyView(State.INVALID, 3, None, "openai.invalid_api_key", NOW)


def test_a_success_ends_the_row(node: Node) -> None:
    for _ in range(10):
        node.see(Seen.REJECTED)
        node.see(Seen.REJECTED)
        node.see(Seen.OK)
    assert node.view().state is State.ACTIVE
    assert node.view().strikes == 0


def test_a_threshold_of_zero_counts_and_never_blacklists(node: Node) -> None:
    for _ in range(50):
        node.see(Seen.REJECTED, threshold=0)
    assert node.view().state is State.ACTIVE
    assert node.view().strikes == 50


def test_a_limited_key_rests_and_wakes_without_a_word(node: Node) -> None:
    node.see(Seen.LIMITED, until=NOW + 30, reason="openai.rate_limit")
    assert node.told == [KeyStateChanged(1, 7, State.RESTING, 0, NOW + 30)]
    assert node.view() == KeyView(State.RESTING, 0, NOW + 30, "openai.rate_limit", NOW)
    node.clock.advance(30)
    assert node.view().state is State.ACTIVE
    assert node.view().until is None
    assert len(node.told) == 1


def test_of_two_rests_the_longer_wins_in_either_order(node: Node) -> None:
    node.see(Seen.EXHAUSTED, until=NOW + 3600, reason="quota")
    node.see(Seen.LIMITED, until=NOW + 5, reason="limit")
    node.see(Seen.LIMITED, until=NOW + 5, key_id=8)
    node.see(Seen.EXHAUSTED, until=NOW + 3600, key_id=8)
    assert node.view().until == node.view(8).until == NOW + 3600
    assert node.view().reason == "quota"


def test_a_success_under_way_does_not_end_a_rest(node: Node) -> None:
    node.see(Seen.LIMITED, until=NOW + 30)
    node.see(Seen.OK)
    assert node.view().state is State.RESTING


@pytest.mark.parametrize("seen", [Seen.OK, Seen.REJECTED, Seen.LIMITED, Seen.EXHAUSTED])
def test_what_comes_after_the_verdict_does_not_soften_it(node: Node, seen: Seen) -> None:
    node.see(Seen.REJECTED, threshold=1)
    told = len(node.told)
    node.see(seen, until=NOW + 60 if seen in (Seen.LIMITED, Seen.EXHAUSTED) else None)
    assert node.view().state is State.INVALID
    assert len(node.told) == told


def test_a_rest_whose_end_has_passed_already_is_none(node: Node) -> None:
    node.see(Seen.LIMITED, until=NOW - 1)
    assert node.told == []


def test_nothing_is_held_of_a_key_of_which_there_is_nothing_to_say(node: Node) -> None:
    node.see(Seen.OK)
    assert node.told == []
    assert node.ledger.unwritten == 0


# What tests and people do.


def test_a_test_that_shows_a_rejection_makes_the_key_invalid_at_once(
    node: Node,
) -> None:
    node.ledger.tested(1, 7, Verdict(Outcome.KEY_REJECTED, reason="bad"))
    assert node.told == [KeyStateChanged(1, 7, State.INVALID, 1, None)]
    assert node.view().reason == "bad"


def test_a_good_test_makes_the_key_well_whatever_it_was(node: Node) -> None:
    node.see(Seen.LIMITED, until=NOW + 1_500_000)
    node.see(Seen.REJECTED, threshold=1, key_id=8)
    node.see(Seen.REJECTED, key_id=9)
    for key_id in (7, 8, 9):
        node.ledger.tested(1, key_id, Verdict(Outcome.OK))
        assert node.told[-1] == KeyStateChanged(1, key_id, State.ACTIVE, 0, None)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.UPSTREAM_FAULT,
        Outcome.RATE_LIMITED,
        Outcome.KEY_EXHAUSTED,
        Outcome.REQUEST_FAULT,
        Outcome.CLIENT_GONE,
    ],
)
def test_any_other_test_changes_nothing(node: Node, outcome: Outcome) -> None:
    node.see(Seen.REJECTED)
    before = node.view()
    node.ledger.tested(1, 7, Verdict(outcome, rest_until=NOW + 60))
    assert node.view() == before
    assert len(node.told) == 1


def test_restoring_is_told_only_of_keys_that_it_changes(node: Node) -> None:
    node.see(Seen.REJECTED, threshold=1)
    node.ledger.restored(1, [7, 8, 9])
    assert node.told[1:] == [KeyStateChanged(1, 7, State.ACTIVE, 0, None)]


def test_a_key_that_a_person_switched_off_stays_off(node: Node) -> None:
    node.ledger.keys_added(1, [PoolKey(7, b"sk-7", state=State.DISABLED)])
    node.see(Seen.REJECTED, threshold=1)
    node.see(Seen.LIMITED, until=NOW + 5)
    node.ledger.restored(1, [7])
    node.ledger.tested(1, 7, Verdict(Outcome.KEY_REJECTED))
    assert node.view().state is State.DISABLED


def test_keys_and_groups_that_are_gone_are_forgotten(node: Node) -> None:
    node.see(Seen.REJECTED, threshold=1)
    node.see(Seen.REJECTED, threshold=1, key_id=8)
    node.ledger.keys_removed(1, [7])
    assert node.told[-1] == KeysRemoved(1, (7,))
    assert node.ledger.unwritten == 1
    node.ledger.group_removed(1)
    assert node.told[-1] == GroupRemoved(1)
    assert node.view(8) == KeyView()
    assert node.ledger.unwritten == 0


# Laws.

EVENTS = st.lists(
    st.builds(
        KeyEvent,
        group_id=st.just(1),
        key_id=st.integers(1, 3),
        seen=st.sampled_from(Seen),
        at=st.integers(0, 100).map(lambda second: NOW + second),
        until=st.integers(-10, 300).map(lambda second: NOW + second),
        threshold=st.sampled_from([0, 1, 3]),
    ),
    max_size=60,
).map(lambda events: sorted(events, key=lambda event: event.at))


def told_by(events: list[KeyEvent]) -> tuple[Node, list[KeyStateChanged]]:
    node = Node()
    for event in events:
        node.clock.advance(max(0.0, event.at - node.clock.seconds()))
        node.ledger.fold(event)
    return node, [change for change in node.told if isinstance(change, KeyStateChanged)]


@given(EVENTS)
def test_a_rest_is_never_shortened(events: list[KeyEvent]) -> None:
    _, changes = told_by(events)
    until: dict[int, float] = {}
    for change in changes:
        if change.state is State.RESTING:
            assert change.until is not None
            assert change.until >= until.get(change.key_id, 0.0)
            until[change.key_id] = change.until


@given(EVENTS)
def test_a_key_that_is_never_rejected_is_never_invalid_and_has_no_strikes(
    events: list[KeyEvent],
) -> None:
    _, changes = told_by(events)
    rejected = {event.key_id for event in events if event.seen is Seen.REJECTED}
    for change in changes:
        if change.key_id not in rejected:
            assert change.state is not State.INVALID
            assert change.strikes == 0


@given(EVENTS)
def test_a_key_is_invalid_exactly_when_enough_rejections_came_in_a_row(
    events: list[KeyEvent],
) -> None:
    node, _ = told_by(events)
    for key_id in (1, 2, 3):
        strikes, invalid = 0, False
        for event in events:
            if event.key_id != key_id or invalid:
                continue
            if event.seen is Seen.REJECTED:
                strikes += 1
                invalid = 0 < event.threshold <= strikes
            elif event.seen is Seen.OK:
                strikes = 0
        assert (node.view(key_id).state is State.INVALID) is invalid
        assert node.view(key_id).strikes == strikes


@given(EVENTS)
def test_the_same_events_give_the_same_states(events: list[KeyEvent]) -> None:
    first, first_told = told_by(events)
    second, second_told = told_by(events)
    assert first_told == second_told
    assert [first.view(key) for key in (1, 2, 3)] == [second.view(key) for key in (1, 2, 3)]


@given(EVENTS)
def test_a_pool_that_hears_every_change_agrees_with_the_ledger(
    events: list[KeyEvent],
) -> None:
    node, changes = told_by(events)
    pool = KeyPool()
    keys = {key_id: PoolKey(key_id, b"sk") for key_id in (1, 2, 3)}
    for key in keys.values():
        pool.add(key)
    for change in changes:
        pool.change(change.key_id, change.state, change.strikes, change.until)
    now = node.clock.seconds()
    tried: set[int] = set()
    while (picked := pool.pick(now, tried)) is not None:
        tried.add(picked.id)
    assert tried == {key for key in keys if node.view(key).state is State.ACTIVE}


# The database.


@pytest.fixture
def live(database: Database) -> Node:
    return Node(database)


def add_keys(connection: Connection, count: int, vault: Vault = PLAIN, **changes: Any) -> list[int]:
    group_id = add_group(connection, f"group with {count}")
    return [
        add_key(connection, group_id, vault.seal(b"sk-%d" % number), **changes)
        for number in range(count)
    ]


async def test_many_events_of_a_key_are_one_write_of_what_holds(
    live: Node, database: Database
) -> None:
    good, bad, resting = await database.write(add_keys, 3)
    for _ in range(5):
        live.see(Seen.REJECTED, key_id=bad, reason="bad")
        live.see(Seen.REJECTED, key_id=good)
        live.see(Seen.OK, key_id=good)
    live.see(Seen.LIMITED, key_id=resting, until=NOW + 60, reason="limit")
    assert live.ledger.unwritten == 3
    await live.ledger.flush()
    assert live.ledger.unwritten == 0
    assert await database.read(stored) == {
        good: ("active", 0, None, ""),
        bad: ("invalid", 3, None, "bad"),
        resting: ("active", 0, NOW + 60, "limit"),
    }


async def test_what_was_written_is_there_after_a_restart(live: Node, database: Database) -> None:
    bad, resting, woken, struck = await database.write(add_keys, 4)
    live.see(Seen.REJECTED, key_id=bad, threshold=1, reason="bad")
    live.see(Seen.LIMITED, key_id=resting, until=NOW + 60, reason="limit")
    live.see(Seen.LIMITED, key_id=woken, until=NOW + 5)
    live.see(Seen.REJECTED, key_id=struck)
    await live.ledger.flush()

    after = Node(database)
    after.clock.advance(10)
    await loaded(after)
    assert after.view(bad) == live.view(bad)
    assert after.view(resting) == live.view(resting)
    assert after.view(woken).state is State.ACTIVE
    assert after.view(struck).strikes == 1
    (added,) = after.told
    assert isinstance(added, KeysAdded)
    assert {key.id: (key.state, key.strikes, key.until) for key in added.keys} == {
        bad: (State.INVALID, 1, None),
        resting: (State.RESTING, 0, NOW + 60),
        woken: (State.ACTIVE, 0, None),
        struck: (State.ACTIVE, 1, None),
    }


async def loaded(node: Node) -> None:
    """Load, with turns of the test's clock as the reactor has them."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    loading = Deferred.fromCoroutine(node.ledger.load())
    while not loading.called:
        node.clock.advance(0)
        await deferLater(reactor, 0.001)  # type: ignore[arg-type]
    await loading


async def test_all_pages_are_loaded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystates, "PAGE_ROWS", 10)
    ids = await database.write(add_keys, 30)
    node = Node(database)
    await loaded(node)
    keys = [key for change in node.told if isinstance(change, KeysAdded) for key in change.keys]
    assert [key.id for key in keys] == ids
    assert keys[3].secret == b"sk-3"


async def test_a_key_that_cannot_be_decrypted_is_never_used_counted_and_not_blamed(
    database: Database, said: list[str]
) -> None:
    salt = await database.write(ensure_salt)
    ours, foreign = Vault("our password", salt), Vault("another password", salt)
    good = await database.write(add_keys, 2, ours)
    bad = await database.write(add_keys, 3, foreign)
    node = Node(database, ours)
    await loaded(node)
    used = [key.id for change in node.told if isinstance(change, KeysAdded) for key in change.keys]
    assert used == good
    assert node.ledger.unreadable == 3
    assert len(said) == 1
    assert said[0].startswith("3 keys can't be decrypted")
    await node.ledger.flush()
    assert (await database.read(stored))[bad[0]] == ("active", 0, None, "")


async def test_rests_of_models_and_accounts_are_there_after_a_restart(
    live: Node, database: Database
) -> None:
    first, second = await database.write(add_keys, 2)
    live.see(Seen.OK, key_id=first, account="org-a")
    model: dict[str, Any] = {"scope": Scope.ACCOUNT_MODEL, "model": "gpt-5"}
    live.see(Seen.LIMITED, key_id=second, until=NOW + 60, account="org-a", **model)
    live.see(Seen.LIMITED, key_id=second, until=NOW + 5, scope=Scope.KEY_MODEL, model="short")
    await live.ledger.flush()

    after = Node(database)
    after.clock.advance(10)
    await loaded(after)
    (added,) = after.told
    assert isinstance(added, KeysAdded)
    assert [(key.rests, key.account) for key in added.keys] == [({"gpt-5": NOW + 60}, "org-a")] * 2
    assert after.view(first) == live.view(first)
    after.see(Seen.EXHAUSTED, key_id=first, until=NOW + 99, scope=Scope.ACCOUNT)
    assert after.view(second).until == NOW + 99


def lines(connection: Connection) -> list[tuple[Any, ...]]:
    line = key_changes.c
    columns = (line.key_id, line.event, line.state, line.strikes, line.until, line.model)
    more = (line.account, line.reason, line.status_code, line.exchange_id, line.at)
    return [tuple(row) for row in connection.execute(select(*columns, *more).order_by(line.id))]


async def test_each_change_is_a_line_of_the_keys_timeline(live: Node, database: Database) -> None:
    (key_id,) = await database.write(add_keys, 1)
    told = {"key_id": key_id, "threshold": 2, "reason": "bad", "status": 401}
    live.see(Seen.REJECTED, **told, exchange_id="one")
    live.see(Seen.OK, key_id=key_id, account="org-a")
    live.see(
        Seen.LIMITED, key_id=key_id, until=NOW + 9, scope=Scope.KEY_MODEL, model="m", status=429
    )
    live.see(Seen.REJECTED, **told)
    live.see(Seen.REJECTED, **told)
    live.clock.advance(1)
    live.ledger.restored(1, [key_id])
    live.ledger.tested(1, key_id, Verdict(Outcome.KEY_REJECTED, reason="bad"))
    live.ledger.tested(1, key_id, Verdict(Outcome.OK))
    await live.ledger.flush()
    assert await database.read(lines) == [
        (key_id, "struck", "active", 1, None, "", "", "bad", 401, "one", NOW),
        (key_id, "account_seen", "active", 1, None, "", "org-a", "", 0, "", NOW),
        (key_id, "strikes_ended", "active", 0, None, "", "org-a", "", 0, "", NOW),
        (key_id, "rested", "active", 0, NOW + 9, "m", "org-a", "", 429, "", NOW),
        (key_id, "struck", "active", 1, None, "", "org-a", "bad", 401, "", NOW),
        (key_id, "struck_out", "invalid", 2, None, "", "org-a", "bad", 401, "", NOW),
        (key_id, "restored", "active", 0, None, "", "org-a", "", 0, "", NOW + 1),
        (key_id, "tested_bad", "invalid", 1, None, "", "org-a", "bad", 0, "", NOW + 1),
        (key_id, "tested_good", "active", 0, None, "", "org-a", "", 0, "", NOW + 1),
    ]


async def test_what_a_healthy_key_shows_does_not_hide_since_when_it_is_healthy(
    live: Node, database: Database
) -> None:
    (key_id,) = await database.write(add_keys, 1)
    live.see(Seen.REJECTED, key_id=key_id, threshold=1)
    live.ledger.restored(1, [key_id])
    await live.ledger.flush()
    live.clock.advance(9)
    live.see(Seen.OK, key_id=key_id, account="org-a")
    await live.ledger.flush()

    def since(connection: Connection) -> float | None:
        return connection.execute(select(api_keys.c.changed_at)).scalar_one()

    assert await database.read(since) == NOW


async def test_while_the_database_is_away_the_last_lines_of_each_key_are_kept(
    database: Database, impatient: Database, tmp_path: Path
) -> None:
    live = Node(impatient)
    (key_id,) = await database.write(add_keys, 1)
    other = sqlite3.connect(tmp_path / "gptload.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for round_ in range(3):
        for _ in range(30):
            live.see(Seen.REJECTED, key_id=key_id, threshold=0, reason=str(round_))
        with pytest.raises(DatabaseUnavailable):
            await live.ledger.flush()
    other.execute("ROLLBACK")
    other.close()
    await live.ledger.flush()
    kept = await database.read(lines)
    assert [line[3] for line in kept] == list(range(91 - WAITING_LINES, 91))


async def test_many_keys_that_fail_alike_blame_the_way_and_the_log_says_so_once(
    live: Node, database: Database, said: list[str]
) -> None:
    ids = await database.write(add_keys, 5)
    for key_id in ids:
        live.see(
            Seen.REJECTED, key_id=key_id, threshold=1, way="https://a", signature="bad", reason="b"
        )
    suspected = [change for change in live.told if isinstance(change, WaySuspected)]
    assert {change.way for change in suspected} == {"https://a"}
    assert len(said) == 1
    assert said[0].startswith("https://a: 3 keys were answered alike: bad. The verdicts on 2 keys")
    # Whoever held a key back hears of it, and a line is written only where something changed.
    last = {change.key_id: change for change in live.told if isinstance(change, KeyStateChanged)}
    assert {change.state for change in last.values()} == {State.ACTIVE} and len(last) == 5
    await live.ledger.flush()
    assert [line[:3] for line in await database.read(lines)] == [
        (ids[0], "struck_out", "invalid"),
        (ids[0], "undone", "active"),
        (ids[1], "struck_out", "invalid"),
        (ids[1], "undone", "active"),
    ]
    assert {row[0] for row in (await database.read(stored)).values()} == {"active"}


def test_a_way_that_works_again_is_under_no_suspicion(node: Node) -> None:
    details: dict[str, Any] = {"threshold": 1, "way": "https://a", "signature": "bad"}
    node.see(Seen.REJECTED, key_id=1, **details)
    node.see(Seen.REJECTED, key_id=2, **details)
    node.ledger.breaker_moved(BreakerMoved("https://a", BreakerState.HALF_OPEN, NOW, None, ""))
    node.ledger.breaker_moved(BreakerMoved("https://a", BreakerState.CLOSED, NOW, None, ""))
    node.see(Seen.REJECTED, key_id=3, **details)
    assert {node.view(key_id).state for key_id in (1, 2, 3)} == {State.INVALID}


async def test_an_event_of_a_key_that_is_gone_leaves_nothing_behind(
    live: Node, database: Database
) -> None:
    (key_id,) = await database.write(add_keys, 1)
    await database.write(lambda connection: connection.execute(delete(api_keys)))
    live.see(Seen.REJECTED, key_id=key_id, threshold=1)
    await live.ledger.flush()
    assert live.view(key_id) == KeyView()
    assert await database.read(lines) == []


async def test_a_key_that_is_well_again_costs_no_memory(live: Node, database: Database) -> None:
    ids = await database.write(add_keys, 3)
    for key_id in ids:
        live.see(Seen.LIMITED, key_id=key_id, until=NOW + 5)
    await live.ledger.flush()
    live.clock.advance(5)
    live.ledger.wake()
    assert len(live.ledger.standings) == 0
    assert live.ledger.unwritten == 0


async def test_a_locked_database_keeps_changes_and_says_so_once_a_minute(
    impatient: Database, tmp_path: Path, said: list[str]
) -> None:
    live = Node(impatient)
    (key_id,) = await impatient.write(add_keys, 1)
    writer = LedgerWriter(live.clock, live.ledger)
    writer.startService()
    other = sqlite3.connect(tmp_path / "gptload.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    live.see(Seen.REJECTED, key_id=key_id, threshold=1)
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await live.ledger.flush()
    for _ in range(3):
        live.clock.advance(WRITE_S)
        await settled(impatient)
    assert live.ledger.unwritten == 1
    assert said == ["The states of 1 keys wait for the database: The database is locked"]
    live.clock.advance(60)
    await settled(impatient)
    assert len(said) == 2
    assert live.view(key_id).state is State.INVALID
    other.execute("ROLLBACK")
    other.close()
    live.clock.advance(LONGEST_WAIT_S)
    await settled(impatient)
    assert (await impatient.read(stored))[key_id][0] == "invalid"

    live.ledger.restored(1, [key_id])
    await writer.stopService()
    assert (await impatient.read(stored))[key_id][0] == "active"
    assert live.clock.getDelayedCalls() == []


async def settled(database: Database) -> None:
    """Wait until a write under way has ended: what writes later queues behind it."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    for _ in range(3):
        try:
            await database.write(stored)
        except DatabaseUnavailable:
            pass
        await deferLater(reactor, 0)  # type: ignore[arg-type]


# The encryption's key.


def test_the_salt_is_made_once(engine: Engine) -> None:
    salt = run_write(engine, ensure_salt)
    assert len(salt) == 16
    assert run_write(engine, ensure_salt) == salt


def test_another_encryption_key_is_refused_as_soon_as_there_are_keys(
    engine: Engine,
) -> None:
    salt = run_write(engine, ensure_salt)
    first, second = Vault("first password", salt), Vault("second password", salt)
    run_write(engine, check_vault, first)
    run_write(engine, check_vault, second)  # nothing is lost by changing one's mind
    run_write(engine, add_keys, 1, second)
    run_write(engine, check_vault, second)
    with pytest.raises(WrongEncryptionKey, match="is not the one"):
        run_write(engine, check_vault, first)
    with pytest.raises(WrongEncryptionKey, match="is not set"):
        run_write(engine, check_vault, Vault(None, salt))
    run_write(engine, check_vault, second)


def test_an_encryption_key_over_plain_keys_is_refused_with_the_way_out(engine: Engine) -> None:
    salt = run_write(engine, ensure_salt)
    run_write(engine, check_vault, Vault(None, salt))
    run_write(engine, add_keys, 1)
    with pytest.raises(WrongEncryptionKey, match="are not encrypted") as refused:
        run_write(engine, check_vault, Vault("later password", salt))
    assert "gptload migrate-keys --to KEY" in refused.value.hint
    run_write(engine, check_vault, Vault(None, salt))
