"""`/api/integration/info`: which groups a proxy key opens. For tools that set themselves up.

Public: the proxy key is what lets its owner in, and only in the query, where the
reference's clients put it.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.web.iweb import IRequest

from gptload.control.admin.replies import reply
from gptload.control.admin.requests import query
from gptload.control.admin.routing import make_routes
from gptload.control.db.database import Database
from gptload.control.db.queries import groups as queries
from gptload.control.db.queries.groups import Group
from gptload.control.snapshots import Snapshots
from gptload.core.errors import NotFound, ValidationFailed
from gptload.core.snapshot import digest
from gptload.provider import Providers

_OPENAI_LIKE: Final = ("openai", "openai-response")
_METHODS: Final = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]


class IntegrationRoutes:
    """Only reads."""

    routes = make_routes()

    def __init__(self, database: Database, snapshots: Snapshots, providers: Providers) -> None:
        self._database = database
        self._snapshots = snapshots
        self._default_paths = {
            name: provider.default_validation_path for name, provider in providers.by_name.items()
        }

    @routes.route("/api/integration/info", methods=["GET"])
    async def info(self, request: IRequest) -> bytes:
        opened = _opened_by(request)
        groups = await self._database.read(queries.all_groups)
        found = [
            self._shown(group, f"/proxy/{group['name']}")
            for group in groups
            if self._opens(group, opened)
        ]
        if not found:
            raise ValidationFailed("Invalid or unauthorized proxy key")
        return reply(request, found)

    @routes.route("/proxy/<name>/api/integration/info", methods=_METHODS)
    async def group_info(self, request: IRequest, name: str) -> bytes:
        """As `info`, of one group; the front passes it here before it asks for a key."""
        opened = _opened_by(request)
        groups = await self._database.read(queries.all_groups)
        named = [group for group in groups if group["name"] == name]
        if not named:
            raise NotFound("Group not found")
        if not self._opens(named[0], opened):
            raise ValidationFailed("Invalid or unauthorized proxy key")
        return reply(request, [self._shown(named[0], "")])

    def _opens(self, group: Group, opened: bytes) -> bool:
        built = self._snapshots.current.by_id.get(group["id"])
        return built is not None and opened in built.access

    def _shown(self, group: Group, prefix: str) -> dict[str, Any]:
        channel, path = group["channel_type"], group["validation_endpoint"]
        is_custom = (
            channel in _OPENAI_LIKE and bool(path) and path != self._default_paths.get(channel)
        )
        return {
            "name": group["name"],
            "display_name": group["display_name"],
            "channel_type": "custom" if is_custom else channel,
            "path": f"{prefix}{path}" if is_custom else prefix,
        }


def _opened_by(request: IRequest) -> bytes:
    key = query(request, "key")
    if not key:
        raise ValidationFailed("Proxy key is required", hint="Send it as ?key=…")
    return digest(key.encode("utf-8"))
