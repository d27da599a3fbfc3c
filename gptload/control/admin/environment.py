"""`/api/environment`: what was fixed when the node started, and by whom."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import asdict
from twisted.web.iweb import IRequest

from gptload.control.admin.replies import reply
from gptload.control.admin.routing import make_routes
from gptload.core.variable import Variable


class EnvironmentRoutes:
    """Only reads; a change is one of the environment, and a restart. All of it is ours."""

    routes = make_routes()

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._variables = variables

    @routes.route("/api/environment", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        return reply(request, [asdict(variable) for variable in self._variables])
