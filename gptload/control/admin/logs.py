"""`/api/logs`: what happened, attempt by attempt."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from gptload.control.admin.replies import page
from gptload.control.admin.requests import instant, paging, query, truth, whole_number
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import log_json
from gptload.control.db.database import Database
from gptload.control.db.queries import logs as queries
from gptload.control.groups import FRESH_S, Drain
from gptload.control.waiting import at_most
from gptload.core.vault import Vault


class LogRoutes:
    """Whoever looks sees all that has happened, whatever the write interval."""

    routes = make_routes()

    def __init__(self, clock: IReactorTime, database: Database, vault: Vault, drain: Drain) -> None:
        self._clock = clock
        self._database = database
        self._vault = vault
        self._drain = drain

    @routes.route("/api/logs", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        wanted = _filter(request)
        number, size = paging(request)
        await at_most(self._clock, FRESH_S, self._drain())
        rows, total = await self._database.read(
            queries.page, self._vault, wanted, offset=(number - 1) * size, limit=size
        )
        return page(request, [log_json(row) for row in rows], number, size, total)


def _filter(request: IRequest) -> queries.Filter:
    """What the query asks for; a value that makes no sense asks for nothing."""
    return queries.Filter(
        model=query(request, "model"),
        group_name=query(request, "group_name"),
        parent_group_name=query(request, "parent_group_name"),
        error=query(request, "error_contains"),
        key=query(request, "key_value"),
        request_type=query(request, "request_type"),
        source_ip=query(request, "source_ip"),
        is_success=truth(query(request, "is_success")),
        status_code=whole_number(query(request, "status_code")),
        since=instant(query(request, "start_time")),
        until=instant(query(request, "end_time")),
    )
