"""The composition root: a `Config` in, one service out.

The only place that knows the reactor, the clocks and chance, and who gets what.
The order in which things start and stop is written out here, because `MultiService`
would stop all its children at once.
"""

from __future__ import annotations

import gc
import os
import random
import secrets
import shutil
import socket
import sys
import tempfile
import time
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gptload._version import __version__
from gptload.config import LOOPBACK, Config
from gptload.control.breakers import Breakers
from gptload.control.db.database import Database, make_engine, parse_dsn, run_write
from gptload.control.db.migrate import migrate
from gptload.control.db.occupancy import Occupancy
from gptload.control.db.queries.facts import check_vault, ensure_salt, ensure_ticket_secret
from gptload.control.db.queries.snapshot import seed
from gptload.control.jobs.pulse import Pulse
from gptload.control.jobs.records import Records
from gptload.control.jobs.removedkeys import RemovedKeys
from gptload.control.jobs.retention import Retention
from gptload.control.jobs.rollups import Rollups
from gptload.control.jobs.validation import Validation
from gptload.control.ledger import Ledger, LedgerWriter
from gptload.control.live import Live
from gptload.control.owners import OwnerWriter
from gptload.control.probes import Probes
from gptload.control.snapshots import Snapshots, first_values
from gptload.control.status import PlaneView, Status
from gptload.control.tasks import Tasks
from gptload.core.errors import DatabaseUnavailable, GptloadError
from gptload.core.snapshot import Origin, Snapshot
from gptload.core.vault import PUBLIC, Vault
from gptload.link.local import LocalLink
from gptload.link.messages import BreakerMoved, KeyChange
from gptload.provider import Providers, discover, resources_of
from gptload.proxy.counters import Counters
from gptload.proxy.front import Front
from gptload.proxy.journal import Journal
from gptload.proxy.plane import Cors, Plane
from gptload.proxy.rehearsal import rehearse
from gptload.proxy.replies import refusal
from gptload.proxy.routing import Routing
from gptload.proxy.turn import Turn
from gptload.proxy.waiting import WaitingRoom
from gptload.wire.client import Client
from gptload.wire.connect import Connector, Route
from gptload.wire.pool import ConnectionPool
from gptload.wire.server import ServerFactory, Timeouts
from gptload.wire.sweep import Sweep

_BACKLOG = 1024
_GIVE_WAY_S = 0.001  # of Python's own 0.005; docs/decisions/0024
_RETRY_S = 2.0
_MINUTE_S = 60.0
_MIB = 1024 * 1024


class StartError(Exception):
    """The service can't start; the text says why and what to do. Carries no secrets."""


def make_node(config: Config) -> Service:
    """All of gptload, ready to start.

    What can fail for good fails here, before the process goes to the background:
    the address is taken, the database isn't ours, the encryption key is another one.

    Raises:
        StartError: with a reason for the operator.
    """
    listener = _bind(config.host, config.port)
    try:
        return Node(config, listener, *_open_database(config))
    except Exception:
        listener.close()
        raise


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket. Who connects before all is ready waits in its backlog."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"HOST={host}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        # At once: bound without listening, a second instance could bind as well.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"can't listen on {host} port {port}: {error.strerror}. Set another PORT, or stop "
            "what uses it."
        ) from None
    return listener


def _open_database(config: Config) -> tuple[Any, Vault, bytes, Occupancy]:
    try:
        engine = make_engine(parse_dsn(config.database_dsn))
        # Held until the process ends: what works on the database alone has to notice.
        occupancy = Occupancy(engine.url, config.data_dir)
        occupancy.share()
        migrate(engine)
        vault = Vault(config.encryption_key or None, run_write(engine, ensure_salt))
        run_write(engine, check_vault, vault)
        ticket_secret = run_write(engine, ensure_ticket_secret)
        first = first_values(config.auth_key, config.host, config.port)
        run_write(engine, seed, first, time.time())
    except DatabaseUnavailable as error:  # its hint is for people who are served already
        raise StartError(f"DATABASE_DSN: {error.message}") from None
    except GptloadError as error:
        raise StartError(f"{error.message}. {error.hint}".rstrip()) from None
    except ValueError as error:
        raise StartError(str(error)) from None
    # twistd may fork after this, and SQLite's connections don't survive a fork.
    engine.dispose()
    return engine, vault, ticket_secret, occupancy


class Node(Service):
    """One process: a data plane, a control plane, and what lies between them."""

    log = Logger()

    def __init__(
        self,
        config: Config,
        listener: socket.socket,
        engine: Any,
        vault: Vault,
        ticket_secret: bytes,
        occupancy: Occupancy,
    ) -> None:
        from twisted.internet import reactor

        self._config = config
        self._reactor: Any = reactor
        self._listener = listener
        self._engine = engine
        self._vault = vault
        self._ticket_secret = ticket_secret
        self._occupancy = occupancy
        self._providers: Providers = discover()
        self._ports: list[IListeningPort] = []
        self._runtime_dir: Path | None = None
        self._stopping = False
        self._started: Deferred[None] | None = None
        self._build()

    def _build(self) -> None:
        config, reactor = self._config, self._reactor
        journal_dir = config.data_dir / "journal"
        self._journal_limit_bytes = config.journal_max_mb * _MIB
        link = LocalLink()
        self._status = status = Status(started_at=time.time(), look=self._look)
        # The control plane.
        self._database = database = Database(reactor, self._engine)
        self._snapshots = Snapshots(database, self._providers, link.publish_snapshot)

        def tell(change: KeyChange) -> None:
            link.publish_change(change)
            self._live.key_changed(change)

        self._ledger = Ledger(reactor, database, self._vault, tell)
        self._ledger_writer = LedgerWriter(reactor, self._ledger, status.job("ledger"))
        self._breakers = Breakers()
        self._owner_writer = OwnerWriter(
            reactor, database, link.publish_change, job=status.job("owners")
        )
        self._records = Records(
            reactor,
            database,
            journal_dir,
            lambda: self._snapshots.settings.request_log_write_interval_minutes * _MINUTE_S,
            status.job("records"),
            self._journal_limit_bytes,
        )
        self._rollups = Rollups(reactor, database, status.job("rollups"))
        self._retention = Retention(
            reactor,
            database,
            lambda: self._snapshots.settings.request_log_retention_days,
            status.job("retention"),
        )
        self._removed_keys = RemovedKeys(reactor, database, status.job("removed_keys"))
        self._tasks = Tasks(reactor, database, secrets.token_hex(16), status.job("tasks"))
        self._pulse = Pulse(reactor, time.monotonic, database, status)
        # The wire.
        self._sweep = Sweep(reactor, time.monotonic)
        connector = Connector(
            reactor,
            config.upstream_ca_file,
            allow_link_local=config.allow_link_local_upstreams,
        )
        self._connections = ConnectionPool(connector, self._sweep)
        self._client = Client(self._connections, self._sweep)
        self._validation = Validation(
            reactor,
            database,
            self._vault,
            self._ledger,
            self._snapshots,
            Probes(
                time.time,
                database,
                self._vault,
                self._ledger,
                self._snapshots,
                self._providers.by_name,
                self._client.request,
                config.outbound_proxies.for_url,
                f"gptload/{__version__}",
            ).check,
            status.job("validation"),
        )
        # The data plane.
        self._counters = counters = Counters()
        self._journal = Journal(
            journal_dir, reactor.callLater, time.time, limit_bytes=self._journal_limit_bytes
        )
        self._routing = routing = Routing(config.outbound_proxies.for_url, link.publish_event)
        self._live = Live(
            reactor,
            time.monotonic,
            self._breakers,
            __version__,
            lambda: self._plane.under_way,
            self._tasks.under_way,
        )
        self._turn = Turn(
            (self._journal.extend, counters.count, self._live.noted),
            getattr(reactor, "before_sending", None),  # the lean reactor's
        )

        def replace(snapshot: Snapshot) -> None:
            routing.replace(snapshot)
            counters.keep(snapshot.by_id)

        waiting = WaitingRoom(routing.members, time.time, reactor.callLater)
        routing.woke = waiting.woke
        self._plane = Plane(
            routing=routing,
            providers=self._providers.by_name,
            connections=self._connections,
            sweep=self._sweep,
            seconds=time.time,
            ticks=time.monotonic,
            new_id=_ids(),
            record=self._turn.add,
            report=link.publish_event,
            waiting=waiting,
            call_later=reactor.callLater,
            chance=random.random,
            resources={
                name: resources_of(provider) for name, provider in self._providers.by_name.items()
            },
            note_owner=link.publish_event,
            secret=self._ticket_secret,
            cors=_cors(config),
            limit=config.max_concurrent_requests,
        )
        link.attach_control(self._ledger.fold, self._breaker_moved, self._owner_writer.noted)
        link.attach_data(routing.apply, replace)

    def _look(self) -> PlaneView:
        return PlaneView(
            self._plane.under_way,
            self._connections.open_count,
            self._connections.idle_count,
            self._journal.held_bytes,
            self._journal.dropped,
            self._journal_limit_bytes,
        )

    def _breaker_moved(self, event: BreakerMoved) -> None:
        self._breakers.moved(event)
        self._ledger.breaker_moved(event)

    def startService(self) -> None:
        """Load what the database holds, then let clients in."""
        Service.startService(self)
        self._started = Deferred.fromCoroutine(self._start())
        self._started.addErrback(self._failed)

    def stopService(self) -> Deferred[None]:
        """Let what is under way end, within the configured time, and lose nothing."""
        Service.stopService(self)
        self._stopping = True
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        # Whenever the reactor's thread wakes up it waits for so long for one that computes.
        sys.setswitchinterval(_GIVE_WAY_S)
        self._database.start()
        self._sweep.start()
        while True:
            try:
                await self._snapshots.rebuild()
                await self._ledger.load()
                await self._owner_writer.load()
                break
            except DatabaseUnavailable as error:
                self.log.error(
                    "Can't start yet: {reason}. Trying again every {seconds:.0f} s.",
                    reason=error.message,
                    seconds=_RETRY_S,
                )
                await deferLater(self._reactor, _RETRY_S)
        if self._stopping:
            return
        for service in self._services():
            service.startService()
        self._listen()
        self._announce()
        # What has been made so far lives as long as the process: no need to look at
        # it again in each collection.
        gc.collect()
        gc.freeze()

    def _services(self) -> list[Service]:
        return [
            self._pulse,
            self._live,
            self._ledger_writer,
            self._owner_writer,
            self._records,
            self._rollups,
            self._retention,
            self._validation,
            self._removed_keys,
            self._tasks,
        ]

    def _failed(self, failure: Any) -> None:
        self.log.failure("gptload can't start", failure)
        # twistd itself would end with 0, and whoever watches it would take that for well.
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self._reactor.stop()

    def _listen(self) -> None:
        # Not before now: it imports klein, and klein imports the global reactor.
        from gptload.control.admin.app import AdminParts, make_site

        config = self._config
        self._runtime_dir = Path(tempfile.mkdtemp(prefix="gptload-"))  # mode 0700
        path = str(self._runtime_dir / "control")
        site = make_site(
            AdminParts(
                reactor=self._reactor,
                auth_key=config.auth_key,
                encryption_key=config.encryption_key,
                version=__version__,
                database=self._database,
                vault=self._vault,
                ledger=self._ledger,
                breakers=self._breakers,
                snapshots=self._snapshots,
                records=self._records,
                rollups=self._rollups,
                providers=self._providers,
                client=self._client,
                proxy_for=config.outbound_proxies.for_url,
                allow_link_local=config.allow_link_local_upstreams,
                variables=config.variables,
                ticks=time.monotonic,
                tasks=self._tasks,
                live=self._live,
                status=self._status,
                rehearse=lambda asked: rehearse(self._plane, asked),
                counters=self._counters if config.metrics_enabled else None,
                metrics_token=config.metrics_token,
            )
        )
        self._ports.append(self._reactor.listenUNIX(path, site, mode=0o600))
        front = Front(self._plane, Route(Origin("unix", path, 0)))
        self._factory = ServerFactory(front.begin, refusal, self._sweep, _timeouts(config))
        self._ports.append(
            self._reactor.adoptStreamPort(
                self._listener.fileno(), self._listener.family, self._factory
            )
        )
        self._listener.close()  # the reactor has a copy of its own

    def _announce(self) -> None:
        config = self._config
        for warning in config.warnings():
            self.log.warn("{warning}", warning=warning)
        for broken in self._providers.broken:
            self.log.error(
                "Provider {name} of {origin} was skipped: {reason}",
                name=broken.name,
                origin=broken.origin,
                reason=broken.reason,
            )
        shown = "localhost" if config.host in (LOOPBACK, "0.0.0.0", "::", "::1") else config.host
        shown = f"[{shown}]" if ":" in shown else shown
        address = f"http://{shown}:{config.port}"
        self.log.info(
            "gptload {version} listens on {address}", version=__version__, address=address
        )
        self.log.info(
            "SDKs use {address}/proxy/<group> as their base URL, and a proxy key as their key",
            address=address,
        )
        self.log.info(
            "The admin API is at {address}/api; sign in with {key}",
            address=address,
            key=f"the default AUTH_KEY, {PUBLIC}" if config.auth_key == PUBLIC else "your AUTH_KEY",
        )

    async def _stop(self) -> None:
        if self._started is not None:
            self._started.cancel()
        public = self._ports[1:]
        for port in public:
            await _fired(port.stopListening())
        self._live.release()  # or whoever looks on would hold up the end
        if public:
            await self._drain(self._factory)
        for port in self._ports[:1]:
            await _fired(port.stopListening())
        self._turn.end()
        self._journal.close()
        for service in reversed(self._services()):
            if service.running:
                await _fired(service.stopService())
        self._connections.close()
        self._sweep.stop()
        await self._database.stop()
        self._occupancy.close()
        if self._runtime_dir is not None:
            shutil.rmtree(self._runtime_dir, ignore_errors=True)

    async def _drain(self, factory: ServerFactory) -> None:
        """Wait for the requests under way; cut what is left when the time is up."""
        end = time.monotonic() + self._config.shutdown_timeout
        for connection in list(factory.connections):
            connection.finish()
        while factory.connections and time.monotonic() < end:
            await deferLater(self._reactor, 0.05)
        left = list(factory.connections)
        if left:
            self.log.warn("{count} requests were cut off", count=len(left))
        for connection in left:
            connection.transport.abortConnection()  # type: ignore[attr-defined]
        while factory.connections:  # their records are made when they are lost, a turn later
            await deferLater(self._reactor, 0)


async def _fired(result: Any) -> None:
    if isinstance(result, Deferred):
        await result


def _ids() -> Any:
    """Unique ids, in the order in which they are made.

    A random 64-bit beginning for this process and a counter: as unique as a UUID,
    for a tenth of its price.
    """
    beginning = f"{int(time.time()):08x}{secrets.token_hex(4)}"
    following = count(1).__next__
    return lambda: f"{beginning}{following():012x}"


def _timeouts(config: Config) -> Timeouts:
    return Timeouts(
        read=config.read_timeout or inf,
        write=config.write_timeout or inf,
        idle=config.idle_timeout or inf,
    )


def _cors(config: Config) -> Cors | None:
    if not config.cors_enabled:
        return None
    return Cors(
        frozenset(config.cors_origins),
        config.cors_methods,
        config.cors_headers,
        config.cors_credentials,
    )
