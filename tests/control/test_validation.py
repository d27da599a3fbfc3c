"""Background checks: bad keys come back by themselves, dead ones aren't asked for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from sqlalchemy import Connection, Engine, select
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher

from gptload.control.db.database import Database
from gptload.control.db.queries.snapshot import seed
from gptload.control.db.tables import groups
from gptload.control.jobs.validation import BEFORE_END_S, LOOK_S, Validation
from gptload.control.ledger import Ledger
from gptload.control.probes import Probes
from gptload.control.snapshots import Snapshots
from gptload.control.status import Job
from gptload.core.errors import DatabaseUnavailable
from gptload.core.headers import OutgoingRequest
from gptload.core.keystate import State
from gptload.core.outcome import Verdict
from gptload.core.settings import Settings
from gptload.core.snapshot import Group, Upstream
from gptload.core.vault import Vault
from gptload.provider import discover
from gptload.wire.upstream import Trouble, UpstreamFailure
from tests.control.admin.conftest import ScriptedUpstreams
from tests.control.admin.test_probes import DEAD
from tests.parts.rows import add_group, add_key

NOW = 1_800_000_000.0
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0


class Watched(Database):
    """A database that says how much is asked of it now, and can be away."""

    under_way = 0
    is_away = False

    async def _defer(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_away:
            raise DatabaseUnavailable("The database is locked")
        self.under_way += 1
        try:
            return await super()._defer(*args, **kwargs)
        finally:
            self.under_way -= 1


class Scene:
    """A job over a real database, with scripted upstreams, and time that a test moves."""

    def __init__(self, reactor: Any, database: Watched) -> None:
        self.reactor = reactor
        self.database = database
        self.clock = Clock()
        self.clock.advance(NOW)
        self.upstreams = ScriptedUpstreams()
        self.asked: defaultdict[str, list[float]] = defaultdict(list)
        self.job = Job("validation")
        self.build()

    def build(self) -> None:
        """As a new process would."""
        vault = Vault(None, b"salt of the tests")
        self.ledger = Ledger(self.clock, self.database, vault, lambda _: None)
        self.snapshots = Snapshots(self.database, discover(), lambda _: None)
        self.probes = Probes(
            self.clock.seconds,
            self.database,
            vault,
            self.ledger,
            self.snapshots,
            discover().by_name,
            self.send,
            lambda scheme, host, port: "",
            "gptload/tests",
        )
        self.validation = Validation(
            self.clock,
            self.database,
            vault,
            self.ledger,
            self.snapshots,
            self.check,
            self.job,
        )

    async def check(self, group: Group, key_id: int, secret: bytes) -> tuple[Verdict | None, str]:
        if group.name == "raising":
            raise RuntimeError("a plugin's")
        return await self.probes.check(group, key_id, secret)

    def send(
        self,
        upstream: Upstream,
        proxy: str,
        request: OutgoingRequest,
        body: bytes,
        settings: Settings,
        timeout_s: float,
    ) -> Any:
        bearer = request.get(b"authorization") or b""
        self.asked[bearer.removeprefix(b"Bearer ").decode()].append(self.clock.seconds())
        return self.upstreams.request(upstream, proxy, request, body, settings, timeout_s)

    async def start(self) -> None:
        await self.database.write(seed, {}, NOW)
        await self.snapshots.rebuild()
        loaded = Deferred.fromCoroutine(self.ledger.load())
        while not loaded.called:
            self.clock.advance(0)
            await deferLater(self.reactor, 0)
        await loaded
        self.validation.startService()
        await self.settle()

    async def restart(self) -> None:
        await self.validation.stopService()
        self.build()
        await self.start()

    async def settle(self) -> None:
        """Wait until nothing but the clock, or an upstream, is waited for."""
        quiet = 0
        while quiet < 3:
            await deferLater(self.reactor, 0)
            quiet = 0 if self.database.under_way else quiet + 1

    async def run(self, seconds: float, step_s: float) -> None:
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            await self.settle()

    async def group(self, name: str = "openai", **config: Any) -> int:
        return await self.database.write(add_group, name, config=config)

    async def keys(self, group: int, *values: str, **row: Any) -> dict[str, int]:
        row = {"status": "invalid", "failure_count": 3, "changed_at": NOW, **row}
        return {value: await self.database.write(add_key, group, value, **row) for value in values}

    def state(self, key_id: int) -> State:
        return self.ledger.view(key_id).state

    async def validated_at(self, group: int) -> tuple[float | None, float]:
        def read(connection: Connection) -> tuple[float | None, float]:
            columns = select(groups.c.last_validated_at, groups.c.updated_at)
            row = connection.execute(columns.where(groups.c.id == group)).one()
            return row.last_validated_at, row.updated_at

        return await self.database.read(read)


@pytest.fixture
def scene(clean_reactor: None, reactor: Any, engine: Engine) -> Iterator[Scene]:
    database = Watched(reactor, engine)
    database.start()
    yield Scene(reactor, database)
    pytest_twisted.blockon(Deferred.fromCoroutine(database.stop()))


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if "validated" in str(event.get("log_format")):
            lines.append(str(event["log_format"]).format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


async def test_a_bad_key_that_is_good_again_comes_back_and_the_others_stay_as_they_are(
    scene: Scene,
) -> None:
    group = await scene.group()
    bad = await scene.keys(group, "sk-well", "sk-dead", "sk-limited", "sk-broken")
    fine = await scene.keys(group, "sk-fine", status="active")
    off = await scene.keys(group, "sk-off", status="disabled")
    scene.upstreams.answers = {
        "sk-dead": DEAD,
        "sk-limited": (429, b'{"error":{"message":"slow down"}}'),
        "sk-broken": UpstreamFailure(Trouble.CONNECT, "refused"),
    }
    await scene.start()
    await scene.run(HOUR_S, 5 * MINUTE_S)
    assert scene.state(bad["sk-well"]) is State.ACTIVE
    for key in ("sk-dead", "sk-limited", "sk-broken"):
        assert scene.state(bad[key]) is State.INVALID
        assert scene.ledger.view(bad[key]).strikes == 3
    assert set(scene.asked) == set(bad)
    assert fine and scene.state(off["sk-off"]) is State.DISABLED
    await scene.validation.stopService()


async def test_a_dead_key_is_asked_ever_more_rarely_and_never_more_often_than_the_interval(
    scene: Scene,
) -> None:
    """D14. What proves nothing is asked again at the usual pace."""
    group = await scene.group(key_validation_interval_minutes=120)
    await scene.keys(group, "sk-dead", "sk-unclear")
    scene.upstreams.answers = {"sk-dead": DEAD, "sk-unclear": (503, b"")}
    await scene.start()
    await scene.run(4 * DAY_S, 10 * MINUTE_S)
    waits = [after - before for before, after in pairwise(scene.asked["sk-dead"])]
    step = 10 * MINUTE_S  # a turn may be late by one, and the next is counted from it
    for wait, hours in zip(waits, (2, 4, 8, 16, 24), strict=False):
        assert hours * HOUR_S <= wait <= hours * HOUR_S + 2 * step
    assert len(waits) >= 5
    usual = [after - before for before, after in pairwise(scene.asked["sk-unclear"])]
    assert len(usual) > 30
    assert all(2 * HOUR_S <= wait <= 2 * HOUR_S + 2 * step for wait in usual)
    await scene.validation.stopService()


@pytest.mark.sqlite_only
async def test_checks_are_spread_over_the_interval(scene: Scene) -> None:
    group = await scene.group()
    keys = [f"sk-{number}" for number in range(24)]
    await scene.keys(group, *keys)
    await scene.start()
    for _ in range(4):
        before = len(scene.asked)
        await scene.run(15 * MINUTE_S, MINUTE_S)
        assert 4 <= len(scene.asked) - before <= 8
    assert len(scene.asked) == 24
    await scene.validation.stopService()


@pytest.mark.sqlite_only
async def test_no_more_are_asked_at_once_than_the_group_allows(scene: Scene) -> None:
    group = await scene.group(key_validation_concurrency=3)
    other = await scene.group("other", key_validation_concurrency=1)
    await scene.keys(group, *(f"sk-{number}" for number in range(10)))
    await scene.keys(other, *(f"sk-other-{number}" for number in range(5)))
    scene.upstreams.held = []
    await scene.start()
    await scene.run(2 * HOUR_S, 10 * MINUTE_S)
    assert scene.upstreams.at_once == scene.upstreams.most_at_once == 4
    scene.upstreams.release()
    await scene.run(20.0, 1.0)
    assert scene.upstreams.most_at_once == 4
    assert len(scene.asked) == 15
    assert all(len(times) == 1 for times in scene.asked.values())
    await scene.validation.stopService()


async def test_the_end_of_a_long_rest_is_checked_once_and_a_short_one_is_not(
    scene: Scene,
) -> None:
    """A key that died while it rested is found before a client meets it."""
    group = await scene.group()
    rest: dict[str, Any] = {"status": "active", "failure_count": 0}
    until = NOW + 5 * HOUR_S
    long = await scene.keys(group, "sk-died", "sk-well", "sk-empty", rest_until=until, **rest)
    await scene.keys(group, "sk-short", rest_until=NOW + 50 * MINUTE_S, **rest)
    scene.upstreams.answers = {
        "sk-died": DEAD,
        "sk-empty": (429, b'{"error":{"message":"no","code":"insufficient_quota"}}'),
    }
    await scene.start()
    await scene.run(5 * HOUR_S - 2 * MINUTE_S, 2 * MINUTE_S)
    assert not scene.asked
    await scene.run(MINUTE_S + 10, 10.0)
    assert set(scene.asked) == set(long)
    assert all(times[0] >= until - BEFORE_END_S for times in scene.asked.values())
    assert scene.state(long["sk-died"]) is State.INVALID
    assert scene.state(long["sk-well"]) is State.ACTIVE
    assert scene.state(long["sk-empty"]) is State.RESTING
    await scene.run(20 * MINUTE_S, MINUTE_S)
    assert all(len(times) == 1 for times in scene.asked.values())
    await scene.validation.stopService()


async def test_a_group_is_marked_once_an_interval_also_when_there_was_nothing_to_ask(
    scene: Scene,
) -> None:
    """And nobody has changed it, so it isn't said to be updated (D14)."""
    group = await scene.group(key_validation_interval_minutes=30)
    assert await scene.validated_at(group) == (None, 0.0)
    await scene.start()
    assert await scene.validated_at(group) == (NOW, 0.0)
    await scene.run(29 * MINUTE_S, MINUTE_S)
    assert await scene.validated_at(group) == (NOW, 0.0)
    await scene.run(2 * MINUTE_S, LOOK_S)
    assert await scene.validated_at(group) == (NOW + 30 * MINUTE_S, 0.0)
    await scene.validation.stopService()


@pytest.mark.sqlite_only
async def test_a_restart_asks_no_key_a_second_time_and_leaves_none_out(scene: Scene) -> None:
    group = await scene.group()
    keys = [f"sk-{number}" for number in range(12)]
    await scene.keys(group, *keys)
    scene.upstreams.answers = dict.fromkeys(keys, DEAD)
    await scene.start()
    for _ in range(4):
        await scene.run(14 * MINUTE_S, MINUTE_S)
        await scene.restart()
    await scene.run(3 * MINUTE_S, MINUTE_S)
    assert {len(times) for times in scene.asked.values()} == {1}
    assert len(scene.asked) == 12
    await scene.validation.stopService()


@pytest.mark.sqlite_only
async def test_a_key_that_recovered_or_went_meanwhile_is_not_asked(scene: Scene) -> None:
    group = await scene.group()
    keys = await scene.keys(group, "sk-restored", "sk-gone", "sk-bad")
    await scene.start()
    scene.ledger.restored(group, [keys["sk-restored"]])
    scene.ledger.keys_removed(group, [keys["sk-gone"]])
    await scene.run(HOUR_S, 5 * MINUTE_S)
    assert set(scene.asked) == {"sk-bad"}
    await scene.validation.stopService()


@pytest.mark.sqlite_only
async def test_a_group_that_cannot_be_asked_is_told_once_an_hour_and_the_others_go_on(
    scene: Scene, said: list[str]
) -> None:
    broken = await scene.database.write(add_group, "broken", channel_type="carrier-pigeon")
    await scene.keys(broken, "sk-pigeon")
    raising = await scene.group("raising")
    await scene.keys(raising, "sk-raise-1", "sk-raise-2")
    good = await scene.keys(await scene.group(), "sk-good")
    await scene.start()
    await scene.run(1.5 * HOUR_S, MINUTE_S)
    assert scene.state(good["sk-good"]) is State.ACTIVE
    assert set(scene.asked) == {"sk-good"}
    pigeons = [line for line in said if "carrier-pigeon" in line]
    raised = [line for line in said if "plugin failed with RuntimeError" in line]
    assert len(pigeons) == 2
    assert 1 <= len(raised) <= 2
    assert len(said) == len(pigeons) + len(raised)
    await scene.validation.stopService()


@pytest.mark.sqlite_only
async def test_a_database_that_is_away_only_puts_checks_off(scene: Scene, said: list[str]) -> None:
    group = await scene.group()
    keys = await scene.keys(group, "sk-bad")
    await scene.start()
    scene.database.is_away = True
    await scene.run(150.0, 5.0)
    scene.database.is_away = False
    assert scene.job.failures and scene.job.lacks_database
    assert not scene.asked
    assert 1 <= len(said) <= 3
    await scene.run(HOUR_S + MINUTE_S, MINUTE_S)
    assert scene.job.failures == 0
    assert scene.state(keys["sk-bad"]) is State.ACTIVE
    await scene.validation.stopService()


@pytest.mark.sqlite_only
async def test_the_end_of_the_service_breaks_off_what_is_asked(scene: Scene) -> None:
    group = await scene.group()
    keys = await scene.keys(group, "sk-a", "sk-b")
    scene.upstreams.held = []
    await scene.start()
    await scene.run(HOUR_S, 10 * MINUTE_S)
    assert scene.upstreams.at_once == 2
    await scene.validation.stopService()
    assert scene.upstreams.at_once == 0
    assert {scene.state(key_id) for key_id in keys.values()} == {State.INVALID}
    assert scene.clock.getDelayedCalls() == []
