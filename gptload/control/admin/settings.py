"""`/api/settings`: what a person may change while the service runs, and take back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

from twisted.web.iweb import IRequest

from gptload.control.admin import masked
from gptload.control.admin.access import client_address
from gptload.control.admin.audit import tell
from gptload.control.admin.replies import language, page, reply, time_text
from gptload.control.admin.requests import body, identifier, json_object, paging, query
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import NamedSetting, setting_change_json, settings_json
from gptload.control.audit import Change
from gptload.control.db.database import Database
from gptload.control.db.queries import groups
from gptload.control.db.queries import settings as queries
from gptload.control.snapshots import Snapshots
from gptload.control.waiting import whole
from gptload.core import settings
from gptload.core.errors import NotFound, ValidationFailed
from gptload.core.settings import BY_KEY, Value

_UPDATED = (
    "Settings updated successfully. Configuration will be reloaded in the background across all "
    "instances."
)


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
        version = await self._database.read(queries.version)
        chosen = await self._database.read(queries.set_by_people)
        stored = await self._database.read(groups.all_groups)
        overriders = Counter(
            key for group in stored for key, value in group["config"].items() if value is not None
        )
        shown = settings_json(self._snapshots.system, chosen, overriders, language(request))
        for heading in shown:
            for item in heading["settings"]:
                item["value"] = masked.setting_value(request, item["key"], item["value"])
        request.setHeader(b"ETag", b'"%d"' % version)
        return reply(request, shown)

    @routes.route("/api/settings/reveal", methods=["POST"])
    async def reveal(self, request: IRequest) -> bytes:
        """A setting that is masked in a browser's list; written down in the audit log."""
        key = body(request, NamedSetting).key
        if key not in masked.SECRET_SETTINGS:
            raise ValidationFailed(f"key is one of {', '.join(masked.SECRET_SETTINGS)}")
        tell(request, Change(None, {"key": key}))
        return reply(request, {"key": key, "value": self._snapshots.system[key]})

    @routes.route("/api/settings", methods=["PUT"])
    async def change(self, request: IRequest) -> bytes:
        given = json_object(request)
        if not given:
            return reply(request)
        seen, is_ours = _seen(request), request.getHeader("if-match") is not None
        values: dict[str, Value | None] = {}
        faults: list[str] = []
        for key, sent in given.items():
            try:
                # Scripts of the reference's times hear that null is no value.
                if sent is None and is_ours:
                    values[_resettable(key)] = None
                    continue
                value = sent
                if not masked.sees_secrets(request):
                    held = self._snapshots.system.get(key)
                    value = masked.unmasked_setting(key, sent, held)
                values[key] = settings.check(key, value, for_group=False)
            except ValidationFailed as error:
                faults.append(error.message[:300])
        if faults:
            raise ValidationFailed("; ".join(faults[:20]), hint="Nothing was changed.")
        changed = await self._write(values, client_address(request), seen=seen)
        return _changed(request, changed)

    @routes.route("/api/settings/<key>", methods=["DELETE"])
    async def unset(self, request: IRequest, key: str) -> bytes:
        if key not in BY_KEY:
            raise NotFound("Resource not found", hint="GET /api/settings lists all settings.")
        _resettable(key)
        changed = await self._write({key: None}, client_address(request))
        return _changed(request, changed)

    @routes.route("/api/settings/history", methods=["GET"])
    async def history(self, request: IRequest) -> bytes:
        number, size = paging(request)
        rows, total = await self._database.read(
            queries.history, query(request, "key"), offset=(number - 1) * size, limit=size
        )
        shown = [
            {
                "id": row["id"],
                "at": time_text(row["at"]),
                "source_ip": row["source_ip"],
                **setting_change_json(row["setting_key"], row["old_value"], row["new_value"]),
                "undo_of": row["undo_of"],
            }
            for row in rows
        ]
        return page(request, shown, number, size, total)

    @routes.route("/api/settings/history/<entry_id>/undo", methods=["POST"])
    async def undo(self, request: IRequest, entry_id: str) -> bytes:
        number = identifier(entry_id, "Invalid history ID format")
        former = await self._database.read(queries.one_change, number)
        if former.key not in BY_KEY:
            raise ValidationFailed(f"invalid setting key: {former.key}")
        # Checked again: what was allowed once may be out of range by now.
        value = None if former.old is None else settings.parse_stored(former.key, former.old)
        changed = await self._write({former.key: value}, client_address(request), number)
        return _changed(request, changed)

    @whole
    async def _write(
        self,
        values: Mapping[str, Value | None],
        source_ip: str,
        undo_of: int | None = None,
        seen: int | None = None,
    ) -> list[queries.Change]:
        changed = await self._database.write(
            queries.change, values, source_ip[:64], self._seconds(), undo_of, seen
        )
        await self._snapshots.rebuild()
        return changed


def _seen(request: IRequest) -> int | None:
    """The version that a change was made from, as `If-Match` has it (RFC 9110 §13.1.1).

    Raises:
        ValidationFailed: it is no version of the settings.
    """
    text = (request.getHeader("if-match") or "").strip()
    if text in ("", "*"):
        return None
    if not re.fullmatch('"[0-9]{1,18}"', text):
        hint = "It is the ETag of GET /api/settings."
        raise ValidationFailed("If-Match is no version of the settings", hint=hint)
    return int(text.strip('"'))


def _resettable(key: str) -> str:
    """The key of a setting that can do without a value of its own.

    Raises:
        ValidationFailed: there is no such setting, or it can't.
    """
    setting = BY_KEY.get(key)
    if setting is None:
        raise ValidationFailed(f"invalid setting key: {key}")
    if setting.type == "string" and setting.required:
        # Without one of its own nobody could get in, or find the groups.
        raise ValidationFailed(f"value for {key} is required")
    return key


def _changed(request: IRequest, changed: list[queries.Change]) -> bytes:
    shown = [
        setting_change_json(change.key, change.old, change.new) | {"history_id": change.id}
        for change in changed
    ]
    before = {change["key"]: change["old_value"] for change in shown}
    after = {change["key"]: change["new_value"] for change in shown}
    tell(request, Change(before, after))
    return reply(request, {"changed": shown}, message=_UPDATED)
