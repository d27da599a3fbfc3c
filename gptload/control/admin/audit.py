"""`/api/audit`, and the hook by which every change gets into it."""

from __future__ import annotations

import json
from typing import Any, Final

from twisted.web.iweb import IRequest
from zope.interface import Interface

from gptload.control.admin.access import client_address
from gptload.control.admin.replies import page, time_text
from gptload.control.admin.requests import instant, paging, query, whole_number
from gptload.control.admin.routing import make_routes
from gptload.control.audit import Audit, Change, of_body
from gptload.control.db.queries.audit import Filter

_ONLY_READ: Final = (b"GET", b"HEAD", b"OPTIONS")
# Whoever reads these has whole keys.
_REVEALING: Final = ("/api/keys/export", "/api/logs/export")
# They change nothing: the body of a question must not stand in an address.
_ASKING: Final = ("/api/keys/lookup", "/api/keys/preview", "/api/simulate")
_FIELDS: Final = (
    "id",
    "at",
    "source_ip",
    "method",
    "route",
    "subject",
    "subject_id",
    "status",
    "before",
    "after",
)
_LARGEST_BODY: Final = 64 * 1024


class IChange(Interface):
    """Where a request keeps what its route said about the change."""


def tell(request: Any, change: Change) -> None:
    """Say what a route has changed; without it the log has what the body shows by itself."""
    request.setComponent(IChange, change)


def watch(audit: Audit, request: Any) -> None:
    """Have a request written down if it changes something. Called before its route."""
    path = request.path.decode("latin-1").rstrip("/")
    if path in _ASKING or (request.method in _ONLY_READ and not path.startswith(_REVEALING)):
        return
    otherwise = Change(None, _of_request(request))
    source_ip, method = client_address(request), request.method.decode("latin-1")

    def ended(_: object, is_gone: bool) -> None:
        # Nothing was changed by what was refused. Of a client that hung up nobody
        # knows: a change that had begun goes on to its end.
        if is_gone or request.code < 400:
            change = request.getComponent(IChange) or otherwise
            audit.record(source_ip, method, path, 0 if is_gone else request.code, change)

    request.notifyFinish().addCallbacks(ended, ended, (False,), None, (True,), None)


def _of_request(request: Any) -> dict[str, Any] | None:
    request.content.seek(0, 2)
    size = request.content.tell()
    request.content.seek(0)
    if not size:
        return None
    if size > _LARGEST_BODY:
        return {"body": f"{size} bytes"}
    raw = request.content.read()
    request.content.seek(0)
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {"body": f"{size} bytes"}
    return of_body(found) if isinstance(found, dict) else {"body": f"{size} bytes"}


class AuditRoutes:
    """Only reads. All of it is ours."""

    routes = make_routes()

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    @routes.route("/api/audit", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        wanted = Filter(
            subject=query(request, "subject"),
            subject_id=whole_number(query(request, "subject_id")),
            method=query(request, "method").upper(),
            route=query(request, "route_contains"),
            source_ip=query(request, "source_ip"),
            since=instant(query(request, "start_time")),
            until=instant(query(request, "end_time")),
        )
        number, size = paging(request)
        rows, total = await self._audit.page(wanted, offset=(number - 1) * size, limit=size)
        shown = [
            {name: row[name] for name in _FIELDS} | {"at": time_text(row["at"])} for row in rows
        ]
        return page(request, shown, number, size, total)
