"""The control plane's site: who may come in, which subject answers, how errors look.

It listens on a private socket behind the front, which alone can reach it and adds the
client's address. Everything that all routes share is done here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from socket import gethostname
from typing import Any, Final, Protocol

from attrs import Factory, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from gptload.control.admin.access import Access, client_address, is_loopback
from gptload.control.admin.audit import AuditRoutes, watch
from gptload.control.admin.dashboard import DashboardRoutes, Secrets
from gptload.control.admin.environment import EnvironmentRoutes
from gptload.control.admin.groups import GroupRoutes
from gptload.control.admin.integration import IntegrationRoutes
from gptload.control.admin.keys import KeyRoutes
from gptload.control.admin.live import LiveRoutes
from gptload.control.admin.logs import LogRoutes
from gptload.control.admin.meta import About, MetaRoutes
from gptload.control.admin.metrics import MetricsRoutes
from gptload.control.admin.openapi import OpenApiRoutes
from gptload.control.admin.pages import PublicRoutes
from gptload.control.admin.replies import (
    SECURITY_FIELDS,
    language,
    plain,
    refusal,
    reply,
    time_text,
)
from gptload.control.admin.requests import body
from gptload.control.admin.routing import failed, make_routes, not_found
from gptload.control.admin.schemas import Login
from gptload.control.admin.sessions import Sessions, admit, must_be_our_page
from gptload.control.admin.settings import SettingRoutes
from gptload.control.admin.simulate import SimulateRoutes
from gptload.control.admin.site import SITE, Built, load
from gptload.control.admin.statistics import StatisticsRoutes
from gptload.control.admin.status import StatusRoutes
from gptload.control.admin.tasks import TaskRoutes
from gptload.control.admin.upstreams import UpstreamRoutes
from gptload.control.audit import Audit
from gptload.control.breakers import Breakers
from gptload.control.db.database import Database
from gptload.control.groups import GroupCommands
from gptload.control.jobs.records import Records
from gptload.control.jobs.rollups import Rollups
from gptload.control.keyactions import KeyActions
from gptload.control.keys import KeyCommands
from gptload.control.keytasks import KeyTasks
from gptload.control.ledger import Ledger
from gptload.control.live import Live
from gptload.control.metrics import Counters, Metrics
from gptload.control.probes import Probes, Send
from gptload.control.snapshots import Snapshots
from gptload.control.status import Status
from gptload.control.tasks import Tasks
from gptload.core import texts
from gptload.core.errors import (
    BadRequest,
    BodyTooLarge,
    GptloadError,
    InvalidJson,
    NotFound,
)
from gptload.core.keykinds import exhausted_reasons
from gptload.core.variable import Variable
from gptload.core.vault import PUBLIC, Vault
from gptload.link.rehearsal import Rehearse, no_data_plane
from gptload.provider import Providers

# Half a million keys of the longest kind there is; other routes have limits of their own.
BODY_LIMIT: Final = 128 * 1024 * 1024
# They tell a stranger nothing, or ask for a key of their own.
_PUBLIC: Final = ("auth", "integration", "openapi.json", "docs")


class Client(Protocol):
    """How a probe goes out: `gptload.wire.client.Client`."""

    @property
    def request(self) -> Send: ...


@frozen
class AdminParts:
    """All that the admin API works with, finished.

    Attributes:
        reactor: provides IReactorTime.
        proxy_for: outbound proxy from the environment for (scheme, host, port).
        ticks: monotonic seconds.
        rehearse: asks the data plane who would serve a request.
        counters: what the data plane counts; None where nobody may read metrics.
        metrics_token: opens them; AUTH_KEY does where it is empty.
        allow_link_local: whether upstreams may be link-local or metadata addresses.
        site: where the built dashboard is, if it is.
        variables: the static configuration, as people may see it.
    """

    reactor: Any
    auth_key: str = field(repr=False)
    encryption_key: str = field(repr=False)
    version: str
    database: Database
    vault: Vault
    ledger: Ledger
    snapshots: Snapshots
    records: Records
    rollups: Rollups
    providers: Providers
    client: Client
    proxy_for: Callable[[str, str, int], str]
    ticks: Callable[[], float]
    tasks: Tasks
    live: Live
    breakers: Breakers = Factory(Breakers)
    status: Status = Factory(Status)
    rehearse: Rehearse = no_data_plane
    counters: Counters | None = None
    metrics_token: str = field(default="", repr=False)
    allow_link_local: bool = False
    site: Path = SITE
    variables: Sequence[Variable] = ()


def make_site(parts: AdminParts) -> Site:
    """The site, ready to be listened with."""
    clock, database, vault = parts.reactor, parts.database, parts.vault
    ledger, snapshots, drain = parts.ledger, parts.snapshots, parts.records.drain
    seconds, ticks = clock.seconds, parts.ticks

    async def count() -> None:
        """Move and count all that has happened, for whoever looks at statistics."""
        await drain()
        await parts.rollups.settle()

    groups = GroupCommands(
        clock,
        database,
        ledger,
        snapshots,
        parts.providers,
        count,
        vault,
        allow_link_local=parts.allow_link_local,
    )
    exhausted = exhausted_reasons(parts.providers.by_name.values())
    keys = KeyCommands(clock, database, vault, ledger, drain, exhausted)
    probes = Probes(
        seconds,
        database,
        vault,
        ledger,
        snapshots,
        parts.providers.by_name,
        parts.client.request,
        parts.proxy_for,
        f"gptload/{parts.version}",
    )
    key_tasks = KeyTasks(parts.tasks, keys, probes)
    actions = KeyActions(keys, key_tasks, parts.tasks, probes)
    built = load(parts.site)
    access = Access(clock, parts.auth_key)
    sessions = Sessions(seconds, parts.auth_key)
    audit = Audit(seconds, database)
    secrets = Secrets(parts.auth_key, parts.encryption_key)
    group_routes = GroupRoutes(
        groups,
        snapshots,
        parts.providers,
        probes,
        ticks,
        allow_link_local=parts.allow_link_local,
    ).routes
    by_subject = {
        "auth": LoginRoutes(access, sessions).routes,
        "channel-types": group_routes,
        "groups": group_routes,
        "keys": KeyRoutes(
            keys,
            key_tasks,
            actions,
            parts.tasks,
            probes,
            seconds,
            ticks,
        ).routes,
        "logs": LogRoutes(clock, database, vault, drain, count).routes,
        "dashboard": DashboardRoutes(
            clock, database, ledger, snapshots, count, secrets, vault
        ).routes,
        "settings": SettingRoutes(seconds, database, snapshots).routes,
        "simulate": SimulateRoutes(parts.rehearse).routes,
        "upstreams": UpstreamRoutes(parts.breakers).routes,
        "tasks": TaskRoutes(parts.tasks, actions).routes,
    }
    by_subject["status"] = by_subject["nodes"] = StatusRoutes(
        seconds,
        _about(parts, built),
        parts.status,
        parts.breakers,
        parts.records.backlog,
        lambda: snapshots.current.version,
    ).routes
    by_subject["stats"] = StatisticsRoutes(clock, database, vault, count).routes
    by_subject["live"] = LiveRoutes(parts.live, seconds).routes
    by_subject["environment"] = EnvironmentRoutes(parts.variables).routes
    by_subject["meta"] = MetaRoutes(seconds, _about(parts, built), parts.status).routes
    by_subject["audit"] = AuditRoutes(audit).routes
    by_subject["integration"] = IntegrationRoutes(database, snapshots, parts.providers).routes
    public = PublicRoutes(snapshots, seconds, ticks, parts.version).routes
    described = OpenApiRoutes([*by_subject.values(), public], parts.version).routes
    by_subject |= {"openapi.json": described, "docs": described}
    root = _Root(
        access,
        sessions,
        audit,
        public.resource(),
        {subject: routes.resource() for subject, routes in by_subject.items()},
        _metrics(parts),
        built,
    )
    return AdminSite(
        root,
        requestFactory=AdminRequest,
        parsePOSTFormSubmission=False,  # JSON is JSON, whatever its Content-Type says
        timeout=None,  # the front closes what is idle
        reactor=parts.reactor,
    )


def _about(parts: AdminParts, built: Built | None) -> About:
    build = "" if built is None else built.build
    return About(gethostname(), parts.version, build, parts.database.engine.dialect.name)


def _metrics(parts: AdminParts) -> IResource | None:
    """Who may read them is another one's business than the admin API's; so are wrong guesses."""
    if parts.counters is None:
        return None
    metrics = Metrics(
        parts.version,
        parts.counters,
        parts.status,
        parts.breakers,
        parts.snapshots,
        parts.records.backlog,
        lambda: parts.records.spent,
    )
    access = Access(parts.reactor, parts.metrics_token or parts.auth_key)
    routes = MetricsRoutes(parts.reactor, parts.database, access, metrics).routes
    resource: IResource = routes.resource()
    return resource


class LoginRoutes:
    """`/api/auth`: says whether a key is right, and signs a browser in and out."""

    routes = make_routes()

    def __init__(self, access: Access, sessions: Sessions) -> None:
        self._access = access
        self._sessions = sessions

    @routes.route("/api/auth/status", methods=["GET"])
    async def status(self, request: IRequest) -> bytes:
        """Whether the well-known default key opens this; only who sits at this machine is told."""
        is_default = self._access.knows([PUBLIC.encode()])
        shown = {"has_default_key": is_default and is_loopback(client_address(request))}
        return reply(request, shown)

    @routes.route("/api/auth/login", methods=["POST"])
    async def login(self, request: IRequest) -> bytes:
        try:
            given = body(request, Login)
            key = given.auth_key
            if not key:
                raise BadRequest("auth_key is required")
            await self._access.admit(client_address(request), [key.encode()])
        except (BadRequest, InvalidJson) as error:
            hint = error.message
            bad = BadRequest("Invalid request format", hint=hint)
            return refusal(request, bad, success=False)
        except GptloadError as error:
            return refusal(request, error, success=False)
        expires_at = self._sessions.begin(request, is_long=given.remember)
        message = texts.message("Authentication successful", language(request))
        shown = {"success": True, "message": message, "expires_at": time_text(expires_at)}
        return plain(request, shown)

    @routes.route("/api/auth/logout", methods=["POST"])
    async def logout(self, request: IRequest) -> bytes:
        must_be_our_page(request)
        self._sessions.end(request)
        return reply(request)


class AdminSite(Site):
    """Says nothing of a request but its path: a query may hold a key."""

    logger = Logger()
    noisy = False

    def log(self, request: HTTPRequest) -> None:
        """One line for each request that was refused or that may have changed something."""
        level = LogLevel.info
        if request.code >= 500:
            level = LogLevel.error
        elif request.code in (401, 429):
            level = LogLevel.debug  # whoever guesses must not be able to fill the log
        elif request.code >= 400:
            level = LogLevel.warn
        elif request.method in (b"GET", b"HEAD"):
            level = LogLevel.debug  # dashboards ask every few seconds
        self.logger.emit(
            level,
            "{method} {path} from {client}: {status}",
            method=request.method.decode("latin-1")[:20],
            path=request.uri.partition(b"?")[0].decode("latin-1")[:200],
            client=client_address(request),  # type: ignore[arg-type]
            status=request.code,
        )


class _Root(Resource):
    """Checks the key, then lets the subject's routes answer."""

    isLeaf = True

    def __init__(
        self,
        access: Access,
        sessions: Sessions,
        audit: Audit,
        public: IResource,
        by_subject: dict[str, IResource],
        metrics: IResource | None,
        built: Built | None,
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._built = built
        self._access = access
        self._sessions = sessions
        self._audit = audit
        self._public = public
        self._by_subject = by_subject

    def render(self, request: Request) -> int:
        """Answer in time; twisted.web calls this for every request."""
        request.responseHeaders.removeHeader(b"Server")
        path = request.postpath or [b""]
        while len(path) > 1 and not path[-1]:
            path.pop()  # with a slash at its end a path means the same
        work = Deferred.fromCoroutine(self._render(request))
        gone = request.notifyFinish()
        gone.addErrback(lambda _: work.cancel())
        work.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _render(self, request: Request) -> None:
        try:
            resource = await self._resource(request)
        except GptloadError as error:
            more = {"error": "Not Found"} if isinstance(error, NotFound) else {}
            request.write(refusal(request, error, **more))
            request.finish()
        else:
            request.render(resource)

    async def _resource(self, request: Request) -> IResource:
        try:
            first, *rest = [part.decode("utf-8") for part in request.postpath or []]
        except UnicodeDecodeError:
            raise not_found() from None
        if first == "metrics" and self._metrics is not None:
            return self._metrics
        if first == "proxy":  # the one path below it that the front passes on
            return self._by_subject["integration"]
        if first != "api":
            if self._built is not None and self._built.answers(request.method, [first, *rest]):
                return self._built
            return self._public
        subject = rest[0] if rest else ""
        if subject not in _PUBLIC:
            await admit(request, self._access, self._sessions)
            watch(self._audit, request)
        if subject not in self._by_subject:
            raise not_found()
        return self._by_subject[subject]

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return  # the client has gone
        request.write(failed(request, failure))
        request.finish()


class _Sink:
    """Takes a body and keeps none of it."""

    def write(self, data: bytes) -> None: ...

    def seek(self, offset: int, whence: int = 0) -> None: ...

    def tell(self) -> int:
        return 0

    def read(self, size: int = -1) -> bytes:
        return b""

    def close(self) -> None: ...


class AdminRequest(Request):
    """A request whose body has an end."""

    body_limit = BODY_LIMIT
    is_too_large = False
    content: Any

    def gotLength(self, length: int | None) -> None:
        """Make room for the body, unless it is too large."""
        if length is not None and length > self.body_limit:
            self.is_too_large, self.content = True, _Sink()
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body, up to the limit."""
        if not self.is_too_large and self.content.tell() + len(data) > self.body_limit:
            self.content.close()
            self.is_too_large, self.content = True, _Sink()
        self.content.write(data)

    def process(self) -> None:
        """The request is whole: answer it."""
        for name, value in SECURITY_FIELDS:
            self.setHeader(name, value)
        if not self.is_too_large:
            super().process()
            return
        limit = self.body_limit // 1024 // 1024
        error = BodyTooLarge(f"The body has more than {limit} MiB", hint="Send it in parts.")
        self.write(refusal(self, error))
        self.finish()

    def getRequestHostname(self) -> bytes:
        """No route depends on the host, and Klein stumbles over odd ones."""
        return b"localhost"
