"""The admin site on a real socket over a real database, and a client that speaks to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
import treq
from attrs import define, field, frozen
from sqlalchemy import Connection, Engine, select
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.web.client import Agent, HTTPConnectionPool

from gptload.control.admin.app import AdminParts, make_site
from gptload.control.breakers import Breakers
from gptload.control.db.database import Database, make_engine, parse_dsn, run_write
from gptload.control.db.migrate import migrate
from gptload.control.db.queries.snapshot import seed
from gptload.control.db.tables import api_keys
from gptload.control.jobs.records import Records
from gptload.control.jobs.rollups import Rollups
from gptload.control.ledger import Ledger
from gptload.control.live import Live
from gptload.control.snapshots import Snapshots
from gptload.control.status import Status
from gptload.control.tasks import Tasks
from gptload.core.errors import DatabaseUnavailable
from gptload.core.headers import OutgoingRequest
from gptload.core.record import AttemptRecord, encode
from gptload.core.settings import Settings
from gptload.core.snapshot import Upstream
from gptload.core.vault import Vault
from gptload.link.messages import KeyChange
from gptload.link.rehearsal import Rehearse, no_data_plane
from gptload.provider import discover
from gptload.wire.client import Reply
from gptload.wire.upstream import Trouble, UpstreamFailure
from tests.parts.databases import Databases

MakeAdmin = Callable[..., Coroutine[Any, Any, "Admin"]]
AUTH_KEY = "sk-admin-Xq7-of-the-tests"
METRICS_TOKEN = "metrics-Zk3-of-the-tests"
T = TypeVar("T")


@frozen
class Answer:
    """What came back.

    Attributes:
        said: the decoded body, or its bytes when it is no JSON.
    """

    status: int
    said: Any
    fields: Mapping[str, str]

    @property
    def data(self) -> Any:
        """Of an answer that must be a success."""
        assert self.status == 200, self.said
        assert self.said["code"] == 0
        return self.said.get("data")

    def refused(self, status: int, code: str) -> str:
        """Of an answer that must be this error: its message."""
        assert (self.status, self.said["code"]) == (status, code), self.said
        return str(self.said["message"])


@define
class ScriptedUpstreams:
    """What upstreams answer to probes, by key, and what they were asked.

    Attributes:
        answers: status and body, or a failure; a key without one gets a 200.
        held: probes wait for `release` while this is not None.
    """

    answers: dict[str, tuple[int, bytes] | UpstreamFailure] = field(factory=dict)
    seen: list[tuple[Upstream, str, OutgoingRequest, bytes]] = field(factory=list)
    held: list[Deferred[None]] | None = None
    at_once: int = 0
    most_at_once: int = 0

    def request(
        self,
        upstream: Upstream,
        proxy: str,
        request: OutgoingRequest,
        body: bytes,
        settings: Settings,
        timeout_s: float,
    ) -> Deferred[Reply]:
        """As `gptload.wire.client.Client.request`."""
        assert timeout_s == settings.key_validation_timeout_seconds
        self.seen.append((upstream, proxy, request, body))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        waiting: Deferred[None] = Deferred() if self.held is not None else succeed(None)
        if self.held is not None:
            self.held.append(waiting)

        def ended(result: Any) -> Any:
            self.at_once -= 1
            return result

        return waiting.addBoth(ended).addCallback(lambda _: self._answer(request))

    def _answer(self, request: OutgoingRequest) -> Any:
        bearer = request.get(b"authorization") or b""
        answer = self.answers.get(bearer.removeprefix(b"Bearer ").decode(), (200, b"{}"))
        if isinstance(answer, UpstreamFailure):
            return fail(answer)
        return Reply(answer[0], [], answer[1])

    def release(self) -> None:
        """Let all probes that wait now get their answers."""
        waiting, self.held = self.held or [], None
        for one in waiting:
            one.callback(None)

    def break_off(self, key: str) -> None:
        """From now on the connection breaks when that key is tested."""
        self.answers[key] = UpstreamFailure(Trouble.CONNECT, "nobody listens")


@define
class Counted:
    """What the data plane has counted: as `gptload.proxy.counters.Counters`."""

    groups: dict[int, Any] = field(factory=dict)
    models: dict[str, dict[str, int]] = field(factory=dict)


class BlockedRecords(Records):
    """Records whose journal can't be moved now."""

    blocked: Deferred[None] | None = None
    refuses = False

    async def drain(self) -> None:
        if self.refuses:
            raise DatabaseUnavailable("The database is locked")
        if self.blocked is not None:
            await self.blocked
        await super().drain()


class Admin:
    """The running site. Groups and keys that a test makes are its own: so is the database."""

    def __init__(self, reactor: Any, dsn: str, folder: Path, encryption_key: str = "") -> None:
        self.reactor = reactor
        self.database = Database(reactor, make_engine(parse_dsn(dsn)))
        self.database.start()
        self.changes: list[KeyChange] = []
        self.snapshots = Snapshots(self.database, discover(), lambda _: None)
        self.vault = Vault(encryption_key or None, b"salt of the tests")
        self.ledger = Ledger(reactor, self.database, self.vault, self.changes.append)
        self.journal = folder / "journal"
        self.journal.mkdir()
        self.records = BlockedRecords(reactor, self.database, self.journal, lambda: 60.0)
        self.upstreams = ScriptedUpstreams()
        self.breakers = Breakers()
        self.status = Status()
        self.counters = Counted()
        self.rehearse: Rehearse = no_data_plane
        self.tasks = Tasks(reactor, self.database, "the tests")
        self.live = Live(reactor, time.monotonic, self.breakers, "1.2.3", lambda: 3)
        self.site = make_site(
            AdminParts(
                reactor=reactor,
                auth_key=AUTH_KEY,
                encryption_key=encryption_key,
                version="1.2.3",
                database=self.database,
                vault=self.vault,
                ledger=self.ledger,
                snapshots=self.snapshots,
                records=self.records,
                rollups=Rollups(reactor, self.database),
                providers=discover(),
                client=self.upstreams,
                proxy_for=lambda scheme, host, port: "",
                ticks=time.monotonic,
                tasks=self.tasks,
                live=self.live,
                breakers=self.breakers,
                status=self.status,
                rehearse=lambda asked: self.rehearse(asked),
                counters=self.counters,
                metrics_token=METRICS_TOKEN,
                site=folder.parent / "site",  # which is there where a test makes it
            )
        )
        self._port: Any = None
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))

    async def start(self) -> None:
        """Read the database and listen."""
        await self.snapshots.rebuild()
        await self.ledger.load()
        self.tasks.startService()
        self._port = self.reactor.listenTCP(0, self.site, interface="127.0.0.1")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._port.getHost().port)

    async def stop(self) -> None:
        """Stop all of it."""
        if self._port is not None:
            await self._port.stopListening()
            await self.tasks.stopService()
        await self.database.stop()

    def send(
        self,
        method: str,
        path: str,
        said: Any = None,
        *,
        key: str | None = AUTH_KEY,
        raw: bytes | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Deferred[Any]:
        """Begin a call; fires with the response, whose body is still to be read."""
        head: dict[str, Any] = {"Content-Type": "application/json", **(fields or {})}
        if key is not None:
            head["Authorization"] = f"Bearer {key}"
        body = raw if said is None else json.dumps(said).encode()
        url = f"http://127.0.0.1:{self.port}{path}"
        return treq.request(method, url, agent=self._agent, headers=head, data=body)

    async def call(self, method: str, path: str, said: Any = None, **more: Any) -> Answer:
        """One call, to its end."""
        response = await self.send(method, path, said, **more)
        text = await response.content()
        fields = {
            name.decode("latin-1").lower(): values[0].decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        try:
            return Answer(response.code, json.loads(text), fields)
        except ValueError:
            return Answer(response.code, text, fields)

    async def api(self, method: str, path: str, said: Any = None) -> Any:
        """One call that must succeed: its data."""
        return (await self.call(method, f"/api{path}", said)).data

    async def group(self, name: str = "openai", **fields: Any) -> int:
        """A new group; its id."""
        return int((await self.api("POST", "/groups", good_group(name) | fields))["id"])

    async def aggregate(self, name: str, *members: int) -> int:
        """A new aggregate with these members; its id."""
        said = {"name": name, "channel_type": "openai", "group_type": "aggregate"}
        group = int((await self.api("POST", "/groups", said))["id"])
        if members:
            weights = [{"group_id": member, "weight": 1} for member in members]
            await self.api("POST", f"/groups/{group}/sub-groups", {"sub_groups": weights})
        return group

    async def add_keys(self, group: int, keys: Sequence[str]) -> Any:
        """New keys of a group."""
        said = {"group_id": group, "keys_text": "\n".join(keys)}
        return await self.api("POST", "/keys/add-multiple", said)

    async def keys(self, group: int, query: str = "") -> list[dict[str, Any]]:
        """Keys of a group, as the API shows them."""
        listed = await self.api("GET", f"/keys?group_id={group}&page_size=1000{query}")
        return list(listed["items"])

    async def key_ids(self) -> dict[str, int]:
        """Ids by value; of a database that isn't encrypted."""

        def read(connection: Connection) -> dict[str, int]:
            return dict(connection.execute(select(api_keys.c.key_value, api_keys.c.id)).all())

        return await self.database.read(read)

    def write_journal(self, *records: AttemptRecord) -> None:
        """Attempts that are in the journal, not in the database."""
        with (self.journal / "0001.jsonl").open("ab") as file:
            file.write(encode(records))

    async def write(self, work: Callable[..., T], *args: Any, **more: Any) -> T:
        """Change the database behind the site's back."""
        return await self.database.write(work, *args, **more)


def good_group(name: str = "openai") -> dict[str, Any]:
    """A body that makes a group."""
    return {
        "name": name,
        "channel_type": "openai",
        "test_model": "gpt-4.1-mini",
        "upstreams": [{"url": "https://api.example", "weight": 1}],
    }


def run(work: Any) -> Any:
    """Wait for a coroutine outside a test."""
    return pytest_twisted.blockon(Deferred.fromCoroutine(work))


def seeded(engine: Engine) -> None:
    """What a first start makes of an empty database."""
    migrate(engine)
    first = {"proxy_keys": AUTH_KEY, "app_url": "https://ai.example/"}
    run_write(engine, seed, first, 0.0)


@pytest.fixture
def make_admin(
    clean_reactor: None, reactor: Any, tmp_path: Path, databases: Databases, database_kind: str
) -> Iterator[MakeAdmin]:
    """Start a site: `await make_admin("its ENCRYPTION_KEY")`."""
    made: list[Admin] = []

    async def make(encryption_key: str = "") -> Admin:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        dsn = databases.make(database_kind, folder / "gptload.db", seeded)
        admin = Admin(reactor, dsn, folder, encryption_key)
        made.append(admin)
        await admin.start()
        return admin

    yield make
    for admin in made:
        run(admin.stop())


@pytest.fixture
def admin(make_admin: MakeAdmin) -> Admin:
    """The site over an empty database."""
    made: Admin = run(make_admin())
    return made


async def cancel(call: Deferred[Any]) -> None:
    """Hang up in the middle of a call."""
    call.cancel()
    try:
        await call
    except (CancelledError, Exception):
        return
