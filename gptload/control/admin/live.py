"""`GET /api/live`: a server-sent event a second, with how it goes right now."""

from __future__ import annotations

from typing import Any, Final

import orjson
from twisted.internet.interfaces import IPushProducer
from twisted.web.iweb import IRequest
from zope.interface import implementer

from gptload.control.admin.routing import make_routes
from gptload.control.live import Live

# What a browser waits before it connects again.
_RETRY_MS: Final = 3000


class LiveRoutes:
    """Ours. Events: `stats`, whose data is one JSON object; each is also the heartbeat."""

    routes = make_routes()

    def __init__(self, live: Live) -> None:
        self._live = live

    @routes.route("/api/live", methods=["GET"])
    async def stream(self, request: IRequest) -> bytes:
        listener = _Listener(request)
        # Cancelled when the client goes; nothing is left to be tidied up then.
        await self._live.listen(listener.told)
        listener.ended()
        return b""


@implementer(IPushProducer)
class _Listener:
    """Writes frames for one client, and leaves out those that it is too slow for."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._began = False
        self._paused = False
        self._sent = 0

    def told(self, frame: dict[str, Any]) -> None:
        if not self._began:
            self._begin()
        if self._paused:
            return
        self._sent += 1
        data = orjson.dumps(frame)
        self._request.write(b"id: %d\nevent: stats\ndata: %b\n\n" % (self._sent, data))

    def ended(self) -> None:
        self._request.unregisterProducer()

    def _begin(self) -> None:
        # Not before there is something to tell: a refusal has a head of its own.
        self._began = True
        request = self._request
        request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Accel-Buffering", b"no")  # nginx would collect them
        request.registerProducer(self, True)
        request.write(b"retry: %d\n\n" % _RETRY_MS)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False

    def stopProducing(self) -> None:
        self._paused = True
