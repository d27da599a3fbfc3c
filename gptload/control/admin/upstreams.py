"""`/api/upstreams`: which ways to upstreams are in trouble."""

from __future__ import annotations

from twisted.web.iweb import IRequest

from gptload.control.admin.replies import reply
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import breaker_json
from gptload.control.breakers import Breakers


class UpstreamRoutes:
    """Holds no state of its own. All of it is ours: the reference has no breakers."""

    routes = make_routes()

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers

    @routes.route("/api/upstreams", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        return reply(request, [breaker_json(moved) for moved in self._breakers.listed()])
