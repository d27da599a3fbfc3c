"""`/metrics`: the service's numbers, for Prometheus and with a token of its own."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from gptload.control.admin.access import Access, client_address, credentials
from gptload.control.admin.replies import send
from gptload.control.admin.routing import make_routes
from gptload.control.db.database import Database
from gptload.control.db.queries import health
from gptload.control.metrics import CONTENT_TYPE, Keys, Metrics
from gptload.core.errors import DatabaseUnavailable

# A scrape is worth more than one of its families.
_KEYS_S: Final = 2.0


class MetricsRoutes:
    """Asks the database for the keys' states, and everything else of memory."""

    routes = make_routes()

    def __init__(
        self, clock: IReactorTime, database: Database, access: Access, metrics: Metrics
    ) -> None:
        """
        Args:
            access: of the metrics' own token; AUTH_KEY is none, unless there is no other.
        """
        self._clock = clock
        self._database = database
        self._access = access
        self._metrics = metrics

    @routes.route("/metrics", methods=["GET"])
    async def scraped(self, request: IRequest) -> bytes:
        await self._access.admit(client_address(request), credentials(request))
        return send(request, self._metrics.text(await self._keys()), CONTENT_TYPE)

    async def _keys(self) -> Keys | None:
        reading = Deferred.fromCoroutine(
            self._database.read(health.keys_by_state, self._clock.seconds())
        )
        try:
            return await reading.addTimeout(_KEYS_S, self._clock)
        except (DatabaseUnavailable, TimeoutError):
            return None
