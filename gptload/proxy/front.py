"""One port for everything: `/proxy/` becomes an exchange, all else goes to the control plane.

The control plane is reached like an upstream, over a private socket file
(docs/decisions/0002). So the dashboard's traffic can never sit in front of the
proxy's, and one process and many workers look alike from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gptload.core import paths
from gptload.core.errors import (
    ControlAway,
    GptloadError,
    MethodNotAllowed,
    NotFound,
    TooManyRequests,
)
from gptload.core.headers import first
from gptload.core.snapshot import Group
from gptload.core.uploads import TICKET_NAME, Ticket, read_ticket
from gptload.proxy import replies, trace
from gptload.proxy.access import admit
from gptload.proxy.exchange import Exchange
from gptload.proxy.plane import Plane
from gptload.proxy.request import ClientRequest
from gptload.wire.codec import LAST_CHUNK, RequestHead, ResponseHead, chunk
from gptload.wire.connect import Route
from gptload.wire.relay import Relay
from gptload.wire.server import NOBODY, RequestSink, ServerConnection
from gptload.wire.upstream import IdleLimits, UpstreamConnection, UpstreamFailure

CLIENT_FIELD: Final = b"X-Gptload-Client"
_CONTROL_LIMITS: Final = IdleLimits(timeout_s=60.0, per_origin=32, in_all=1_000_000)
_CONTROL_CONNECT_S: Final = 5.0


class Front:
    """Takes each request of each client.

    Args:
        control: the way to the control plane.
    """

    def __init__(self, plane: Plane, control: Route) -> None:
        self._plane = plane
        self._control = control

    def begin(self, head: RequestHead, downstream: ServerConnection) -> RequestSink:
        """Where a request goes; a `ServerConnection` calls this for each."""
        plane = self._plane
        if plane.cors is not None and head.method == b"OPTIONS":
            origin = first(head.fields, b"origin")
            if origin is not None and first(head.fields, b"access-control-request-method"):
                asked = first(head.fields, b"access-control-request-headers")
                lines = plane.cors.preflight(origin, asked)
                downstream.begin_response(204, b"No Content", lines, None)
                downstream.end_response()
                return NOBODY
        target = head.target
        if target.startswith(paths.PROXY_PREFIX) and not paths.asks_about_group(target):
            return self._proxy(head, downstream)
        if not target.startswith(b"/"):
            # CONNECT, or the server-wide OPTIONS: we are no proxy of that kind.
            error = MethodNotAllowed(f"{head.method.decode('latin-1')} is not supported here")
            replies.send(downstream, error, None, plane.cors, head.fields)
            return NOBODY
        return _ControlExchange(plane, self._control, head, downstream)

    def _proxy(self, head: RequestHead, downstream: ServerConnection) -> RequestSink:
        plane = self._plane
        name, path, query = paths.split_proxy_target(head.target)
        query, in_query = paths.split_query(query)
        snapshot = plane.routing.snapshot
        try:
            if plane.under_way >= plane.limit:
                raise TooManyRequests(
                    f"{plane.limit} requests are under way already", retry_after_s=1.0
                )
            ticket = None
            if TICKET_NAME in query:
                ticket, query = read_ticket(plane.secret, path, query, plane.seconds())
            group = self._of_ticket(name, ticket) if ticket is not None else None
            if group is None:
                ticket = None
                group = admit(snapshot, name, head.credentials, in_query)
            provider = plane.providers.get(group.channel)
            if provider is None:
                raise NotFound(
                    f"Channel '{group.channel}' of group '{group.name}' is not installed",
                    hint="The log of the start says which plugins were skipped, and why.",
                )
        except GptloadError as error:
            known = snapshot.groups.get(name)
            provider = plane.providers.get(known.channel) if known is not None else None
            self._trace(head, downstream, path, query, error)
            replies.send(downstream, error, provider, plane.cors, head.fields)
            return NOBODY
        request = ClientRequest(head, group, provider, path, query, ticket)
        return Exchange(plane, downstream, request, provider)

    def _of_ticket(self, name: bytes, ticket: Ticket) -> Group | None:
        """The group that the ticket of an upload opens; None when it is for another one."""
        routing = self._plane.routing
        group = routing.snapshot.groups.get(name)
        if group is None or all(own.id != ticket.group_id for own in routing.members(group)):
            return None
        return group

    def _trace(
        self,
        head: RequestHead,
        downstream: ServerConnection,
        path: bytes,
        query: bytes,
        error: GptloadError,
    ) -> None:
        """A record of a request that never became an exchange."""
        plane = self._plane
        # Without a group that the client may know of, the name in its path is its own text.
        name = paths.split_proxy_target(head.target)[0].decode("latin-1")
        plane.record(
            trace.refused(
                plane.new_id(),
                plane.new_id(),
                plane.seconds(),
                head,
                downstream.peer,
                trace.shown_path(name, path, query),
                error,
            )
        )


class _ControlExchange:
    """One request to the control plane: passed on as it is, with the client's address.

    The sink of both sides: of the client's request, and of the answer's head. From
    the head on a relay takes the answer, so no body part of it ever comes here.
    """

    def __init__(
        self, plane: Plane, route: Route, head: RequestHead, downstream: ServerConnection
    ) -> None:
        self._plane = plane
        self._head = head
        self._downstream = downstream
        self._waiting: list[bytes] = []
        self._whole = False
        self._over = False
        self._connection: UpstreamConnection | None = None
        self._relay: Relay | None = None
        self._give_up: Callable[[], None] | None = None
        # The pool may answer at once, before it has told how to give up.
        self._give_up = plane.connections.acquire(route, self, _CONTROL_CONNECT_S)

    # The client's side.

    def body_received(self, data: bytes) -> None:
        if self._over:
            return
        if self._connection is None:
            self._waiting.append(data)
            self._downstream.pause_reading()
        else:
            self._connection.send(self._framed(data), last=False)

    def body_ended(self, last: bytes) -> None:
        if self._over:
            return
        self._whole = True
        if self._connection is None:
            self._waiting.append(last)
        else:
            data = self._framed(last) + (LAST_CHUNK if self._head.chunked else b"")
            self._connection.send(data, last=True)

    def client_gone(self) -> None:
        self._over = True
        if self._connection is not None:
            self._connection.abort()
        elif self._give_up is not None:
            self._give_up()

    def writing_paused(self) -> None:
        if self._relay is not None:
            self._relay.writing_paused()

    def writing_resumed(self) -> None:
        if self._relay is not None:
            self._relay.writing_resumed()

    # The control plane's side.

    def connected(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        head = self._head
        lines = [line for name, line in head.fields if name.to_control]
        lines.append(b"%b: %b" % (CLIENT_FIELD, self._downstream.peer.encode("latin-1")))
        if head.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif head.content_length is not None:
            lines.append(b"Content-Length: %d" % head.content_length)
        body = self._framed(b"".join(self._waiting))
        self._waiting = []
        if self._whole and head.chunked:
            body += LAST_CHUNK
        complete = self._whole or not (head.chunked or head.content_length)
        connection.begin(
            b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b"
            % (head.method, head.target, b"\r\n".join(lines), body),
            self,
            is_head=head.method == b"HEAD",
            complete=complete,
            limits=_CONTROL_LIMITS,
        )
        if not complete:
            self._downstream.resume_reading()

    def connect_failed(self, failure: UpstreamFailure) -> None:
        self.failed(failure)

    def head_received(self, head: ResponseHead) -> None:
        connection = self._connection
        assert connection is not None
        self._relay = Relay(self._downstream, connection, self._completed, self._broken)
        connection.hand_over(self._relay)
        lines = [line for name, line in head.fields if name.back_from_control]
        cors = self._plane.cors
        if cors is not None:
            lines += cors.lines(first(self._head.fields, b"origin"))
        self._downstream.begin_response(head.status, head.reason, lines, head.content_length)
        # Live streams of ours must show their head before their first event.
        self._downstream.flush_head()

    def failed(self, failure: UpstreamFailure) -> None:
        if self._over:
            return
        self._over = True
        error = ControlAway("The control plane does not answer", retry_after_s=2.0)
        replies.send(self._downstream, error, None, self._plane.cors, self._head.fields)

    def sending_paused(self) -> None:
        self._downstream.pause_reading()

    def sending_resumed(self) -> None:
        self._downstream.resume_reading()

    def _completed(self) -> None:
        self._over = True
        self._connection = None

    def _broken(self, failure: UpstreamFailure) -> None:
        self._completed()
        self._downstream.abort_response()

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._head.chunked else data
