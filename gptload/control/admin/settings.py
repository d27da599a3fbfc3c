"""`/api/settings`: what a person may change while the service runs."""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.iweb import IRequest

from gptload.control.admin.replies import reply
from gptload.control.admin.requests import json_object
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import settings_json
from gptload.control.db.database import Database
from gptload.control.db.queries import settings as queries
from gptload.control.snapshots import Snapshots
from gptload.control.waiting import whole
from gptload.core import settings
from gptload.core.errors import ValidationFailed
from gptload.core.settings import Value


class SettingRoutes:
    """Reads from the snapshot, writes to the database, and has a new snapshot made."""

    routes = make_routes()

    def __init__(
        self, seconds: Callable[[], float], database: Database, snapshots: Snapshots
    ) -> None:
        self._seconds = seconds
        self._database = database
        self._snapshots = snapshots

    @routes.route("/api/settings", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        return reply(request, settings_json(self._snapshots.system))

    @routes.route("/api/settings", methods=["PUT"])
    async def change(self, request: IRequest) -> bytes:
        given = json_object(request)
        if not given:
            return reply(request)
        values: dict[str, Value] = {}
        faults: list[str] = []
        for key, value in given.items():
            try:
                values[key] = settings.check(key, value, for_group=False)
            except ValidationFailed as error:
                faults.append(error.message[:300])
        if faults:
            raise ValidationFailed("; ".join(faults[:20]), hint="Nothing was changed.")
        await self._write(values)
        return reply(
            request,
            message="Settings updated successfully. Configuration will be reloaded in the "
            "background across all instances.",
        )

    @whole
    async def _write(self, values: dict[str, Value]) -> None:
        await self._database.write(queries.write, values, self._seconds())
        await self._snapshots.rebuild()
