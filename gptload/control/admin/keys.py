"""`/api/keys`: what a person does to keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.web.iweb import IRequest

from gptload.control.admin import schemas
from gptload.control.admin.replies import page, reply
from gptload.control.admin.requests import body, identifier, paging, query
from gptload.control.admin.routing import make_routes
from gptload.control.keys import KeyCommands
from gptload.control.probes import Probes
from gptload.core import keytext
from gptload.core.errors import BadRequest, ValidationFailed

# Of the routes that answer when all is done.
LIMIT: Final = 5000
# `disabled` is ours.
_STATUSES: Final = ("", "active", "invalid", "disabled")


class KeyRoutes:
    """Holds no state of its own."""

    routes = make_routes()

    def __init__(
        self,
        keys: KeyCommands,
        probes: Probes,
        seconds: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        """
        Args:
            seconds: epoch seconds.
            ticks: monotonic seconds.
        """
        self._keys = keys
        self._probes = probes
        self._seconds = seconds
        self._ticks = ticks

    @routes.route("/api/keys", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        group_id = query(request, "group_id")
        if not group_id:
            raise BadRequest("group_id query parameter is required")
        group = identifier(group_id, "Invalid group_id format")
        status = query(request, "status")
        if status not in _STATUSES:
            raise ValidationFailed("Invalid status filter")
        number, size = paging(request)
        found, total = await self._keys.page(
            group,
            status=status,
            value=query(request, "key_value"),
            offset=(number - 1) * size,
            limit=size,
        )
        now = self._seconds()
        return page(request, [schemas.key_json(key, now) for key in found], number, size, total)

    @routes.route("/api/keys/add-multiple", methods=["POST"])
    async def add(self, request: IRequest) -> bytes:
        group_id, keys = await self._named(request)
        done = await self._keys.add(group_id, keys)
        data = {"added_count": done.count, "ignored_count": len(keys) - done.count}
        return reply(request, {**data, "total_in_group": done.total})

    @routes.route("/api/keys/delete-multiple", methods=["POST"])
    async def delete(self, request: IRequest) -> bytes:
        group_id, keys = await self._named(request)
        done = await self._keys.remove(group_id, keys)
        data = {"deleted_count": done.count, "ignored_count": len(keys) - done.count}
        return reply(request, {**data, "total_in_group": done.total})

    @routes.route("/api/keys/restore-multiple", methods=["POST"])
    async def restore(self, request: IRequest) -> bytes:
        group_id, keys = await self._named(request)
        done = await self._keys.restore(group_id, keys)
        data = {"restored_count": done.count, "ignored_count": len(keys) - done.count}
        return reply(request, {**data, "total_in_group": done.total})

    @routes.route("/api/keys/test-multiple", methods=["POST"])
    async def test(self, request: IRequest) -> bytes:
        group_id, keys = await self._named(request)
        began = self._ticks()
        results = await self._probes.test(group_id, keys)
        took_ms = round((self._ticks() - began) * 1000)
        shown = [schemas.result_json(result) for result in results]
        return reply(request, {"results": shown, "total_duration": took_ms})

    async def _named(self, request: IRequest) -> tuple[int, list[str]]:
        """The group and the keys that a body names.

        Raises:
            InvalidJson, NotFound, ValidationFailed: in this order.
        """
        given = body(request, schemas.KeyText)
        await self._keys.must_exist(given.group_id)
        if not given.keys_text.strip():
            raise ValidationFailed("Keys text cannot be empty")
        keys = keytext.split(given.keys_text)
        if not keys:
            raise ValidationFailed("no valid keys found in the input text")
        if len(keys) > LIMIT:
            raise ValidationFailed(
                f"batch size exceeds the limit of {LIMIT} keys, got {len(keys)}",
                hint="Send them in several calls.",
            )
        return given.group_id, keys

    @routes.route("/api/keys/restore-all-invalid", methods=["POST"])
    async def restore_all_invalid(self, request: IRequest) -> bytes:
        count = await self._keys.restore_invalid(body(request, schemas.GroupKeys).group_id)
        return reply(request, message=f"{count} keys restored")

    @routes.route("/api/keys/clear-all-invalid", methods=["POST"])
    async def clear_all_invalid(self, request: IRequest) -> bytes:
        group_id = body(request, schemas.GroupKeys).group_id
        count = await self._keys.remove_all(group_id, only_invalid=True)
        return reply(request, message=f"{count} invalid keys cleared")

    @routes.route("/api/keys/clear-all", methods=["POST"])
    async def clear_all(self, request: IRequest) -> bytes:
        group_id = body(request, schemas.GroupKeys).group_id
        count = await self._keys.remove_all(group_id, only_invalid=False)
        return reply(request, message=f"{count} keys cleared")

    @routes.route("/api/keys/<key_id>/notes", methods=["PUT"])
    async def write_notes(self, request: IRequest, key_id: str) -> bytes:
        number = identifier(key_id, "invalid key ID format")
        await self._keys.write_notes(number, body(request, schemas.Notes).notes)
        return reply(request)

    @routes.route("/api/keys/<key_id>/weight", methods=["PUT"])
    async def write_weight(self, request: IRequest, key_id: str) -> bytes:
        number = identifier(key_id, "invalid key ID format")
        await self._keys.write_weight(number, body(request, schemas.KeyWeight).weight)
        return reply(request)

    @routes.route("/api/keys/<key_id>/timeline", methods=["GET"])
    async def timeline(self, request: IRequest, key_id: str) -> bytes:
        key = identifier(key_id, "invalid key ID format")
        number, size = paging(request)
        rows, total = await self._keys.timeline(key, offset=(number - 1) * size, limit=size)
        return page(request, [schemas.change_json(row) for row in rows], number, size, total)
