"""`/api/keys`: what a person does to keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from twisted.web.iweb import IRequest

from gptload.control.admin import masked, schemas
from gptload.control.admin.access import client_address
from gptload.control.admin.downloads import download
from gptload.control.admin.replies import page, reply
from gptload.control.admin.requests import body, identifier, moment, paging, query
from gptload.control.admin.routing import make_routes
from gptload.control.admin.uploads import Upload, read_upload
from gptload.control.db.queries.keys import SORTS, KeyFilter, KeyRow
from gptload.control.db.queries.tasks import TaskRow
from gptload.control.keyactions import KeyActions
from gptload.control.keys import KeyCommands
from gptload.control.keytasks import KeyTasks
from gptload.control.probes import Probes
from gptload.control.tasks import Tasks
from gptload.core import keytext
from gptload.core.errors import BadRequest, ValidationFailed
from gptload.core.keykinds import KINDS
from gptload.core.keystate import Event
from gptload.core.keytext import Reading
from gptload.core.vault import mask

# Of the routes that answer when all is done.
LIMIT: Final = 5000
# `disabled` is ours.
_STATUSES: Final = ("", "active", "invalid", "disabled")
_STATES: Final = (*_STATUSES, "resting")
_SWITCHES: Final = {"active": Event.SWITCHED_ON, "disabled": Event.SWITCHED_OFF}
# Keys of a file that are read and sent in one go.
EXPORTED: Final = 500


class KeyRoutes:
    """Holds no state of its own."""

    routes = make_routes()

    def __init__(
        self,
        keys: KeyCommands,
        key_tasks: KeyTasks,
        actions: KeyActions,
        tasks: Tasks,
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
        self._key_tasks = key_tasks
        self._actions = actions
        self._tasks = tasks
        self._probes = probes
        self._seconds = seconds
        self._ticks = ticks

    @routes.route("/api/keys", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        group = _group_of(request)
        key_id = query(request, "id")
        wanted = KeyFilter(
            query(request, "status"),
            query(request, "state"),
            query(request, "reason"),
            query(request, "key_value"),
            ids=(identifier(key_id, "invalid key ID format"),) if key_id else None,
            kind=query(request, "kind"),
            notes=query(request, "notes"),
            unused_since=_moment(query(request, "last_used_before")),
        )
        _check_words(wanted, "Invalid status filter")
        sort = query(request, "sort") or "-used"
        if sort.removeprefix("-") not in SORTS:
            raise ValidationFailed(f"sort must be one of {', '.join(SORTS)}")
        number, size = paging(request)
        found, total = await self._keys.page(
            group,
            wanted,
            query(request, "mask"),
            offset=(number - 1) * size,
            limit=size,
            sort=sort,
        )
        shown = [self._shown(request, key) for key in found]
        states = await self._keys.states(group)
        return page(request, shown, number, size, total, states=states)

    @routes.route("/api/keys/states", methods=["GET"])
    async def states(self, request: IRequest) -> bytes:
        found = await self._keys.counts_of_all()
        shown = [
            {"group_id": group}
            | {state: states[state] for state in _STATES[1:]}
            | {"kinds": {kind: kinds[kind] for kind in KINDS}}
            for group, (states, kinds) in sorted(found.items())
        ]
        return reply(request, shown)

    @routes.route("/api/keys/lookup", methods=["POST"])
    async def lookup(self, request: IRequest) -> bytes:
        found = await self._keys.lookup(body(request, schemas.WholeKey).key.strip())
        return reply(request, [self._shown(request, key) for key in found])

    def _shown(self, request: IRequest, key: KeyRow) -> dict[str, Any]:
        shown = schemas.key_json(key, self._seconds()) | {"kind": self._keys.kind(key)}
        return masked.with_keys(request, shown)

    @routes.route("/api/keys/facets", methods=["GET"])
    async def facets(self, request: IRequest) -> bytes:
        """What a list of keys can be narrowed to, and how many that would be."""
        kinds, reasons = await self._keys.facets(_group_of(request))
        shown = [{"reason": reason, "count": count} for reason, count in reasons]
        return reply(request, {"kinds": kinds, "reasons": shown})

    @routes.route("/api/keys/<key_id>/reveal", methods=["POST"])
    async def reveal(self, request: IRequest, key_id: str) -> bytes:
        """The whole key, for a browser; written down in the audit log."""
        number = identifier(key_id, "invalid key ID format")
        value = await self._keys.value_of(number)
        return reply(request, {"id": number, "key_value": value or schemas.UNREADABLE})

    @routes.route("/api/keys/export", methods=["GET"])
    async def export(self, request: IRequest) -> bytes:
        status = query(request, "status") or "all"
        is_whole = masked.sees_secrets(request)
        return await self._exported(request, _group_of(request), status, None, is_whole)

    @routes.route("/api/keys/export", methods=["POST"])
    async def export_whole(self, request: IRequest) -> bytes:
        """As the GET, with whole keys for a browser too: no link leads here."""
        given = body(request, schemas.KeyExport)
        ids = None if given.ids is None else tuple(given.ids)
        return await self._exported(request, given.group_id, given.status, ids, True)

    async def _exported(
        self,
        request: IRequest,
        group_id: int,
        status: str,
        ids: tuple[int, ...] | None,
        is_whole: bool,
    ) -> bytes:
        wanted = KeyFilter("" if status == "all" else status, ids=ids)
        _check_words(wanted, "Invalid status filter")
        name = await self._keys.group_name(group_id)
        lines = _exported(self._keys.opened(group_id, wanted, EXPORTED), is_whole)
        file_name = f"keys-{name}-{status}.txt"
        return await download(request, lines, b"text/plain; charset=utf-8", file_name)

    @routes.route("/api/keys/add-async", methods=["POST"])
    async def add_async(self, request: IRequest) -> bytes:
        upload, reading = await self._upload(request)
        task = await self._key_tasks.add(
            upload.group_id, reading, notes=upload.notes, weight=upload.weight
        )
        return await self._begun(request, task)

    @routes.route("/api/keys/delete-async", methods=["POST"])
    async def delete_async(self, request: IRequest) -> bytes:
        upload, reading = await self._upload(request)
        return await self._begun(request, await self._key_tasks.remove(upload.group_id, reading))

    async def _upload(self, request: IRequest) -> tuple[Upload, Reading]:
        """What a body of any size says, and its keys.

        Raises:
            BadRequest, InvalidJson, NotFound, ValidationFailed: in this order.
        """
        content_type = request.getHeader("content-type") or ""
        upload = await self._tasks.prepare(read_upload, request.content, content_type)
        await self._keys.must_exist(upload.group_id)
        if isinstance(upload.reading, ValidationFailed):
            raise upload.reading
        return upload, upload.reading

    async def _begun(self, request: IRequest, task: TaskRow) -> bytes:
        await self._tasks.sign(task.id, client_address(request))
        return reply(request, schemas.task_status_json(task))

    @routes.route("/api/keys/validate-group", methods=["POST"])
    async def validate_group(self, request: IRequest) -> bytes:
        given = body(request, schemas.KeyChoice)
        wanted = KeyFilter(given.status, given.state, given.reason)
        _check_words(wanted, "Invalid status value")
        return await self._begun(request, await self._key_tasks.validate(given.group_id, wanted))

    @routes.route("/api/keys/add-multiple", methods=["POST"])
    async def add(self, request: IRequest) -> bytes:
        group_id, keys = await self._named(request)
        done = await self._keys.add(group_id, keys)
        data = {"added_count": done.count, "ignored_count": len(keys) - done.count}
        return reply(request, {**data, "total_in_group": done.total})

    @routes.route("/api/keys/preview", methods=["POST"])
    async def preview(self, request: IRequest) -> bytes:
        """What `add-multiple` would do; nothing is written."""
        group_id, keys = await self._named(request)
        known = len(await self._keys.find(group_id, keys))
        return reply(request, {"found": len(keys), "known": known, "new": len(keys) - known})

    @routes.route("/api/keys/delete-multiple", methods=["POST"])
    async def delete(self, request: IRequest) -> bytes:
        group_id, keys = await self._named(request)
        done = await self._keys.remove(group_id, keys)
        data = {"deleted_count": done.count, "ignored_count": len(keys) - done.count}
        undo = schemas.undo_json(done.undo)
        return reply(request, {**data, "total_in_group": done.total, "undo": undo})

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
        shown = [masked.with_keys(request, schemas.result_json(result)) for result in results]
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
        done = await self._keys.remove_all(group_id, only_invalid=True)
        data = {"undo": schemas.undo_json(done.undo)}
        return reply(request, data, f"{done.count} invalid keys cleared")

    @routes.route("/api/keys/clear-all", methods=["POST"])
    async def clear_all(self, request: IRequest) -> bytes:
        group_id = body(request, schemas.GroupKeys).group_id
        done = await self._keys.remove_all(group_id, only_invalid=False)
        return reply(request, {"undo": schemas.undo_json(done.undo)}, f"{done.count} keys cleared")

    @routes.route("/api/keys/actions", methods=["POST"])
    async def act(self, request: IRequest) -> bytes:
        given = body(request, schemas.KeyAction)
        if (given.ids is None) is (given.filter is None):
            raise ValidationFailed("give either ids or filter")
        meant = given.filter or schemas.KeyMeant()
        wanted = KeyFilter(
            meant.status,
            meant.state,
            meant.reason,
            ids=None if given.ids is None else tuple(given.ids),
            kind=meant.kind,
            notes=meant.notes,
            unused_since=_moment(meant.last_used_before),
        )
        _check_words(wanted, "Invalid status filter")
        if meant.task is not None:
            if wanted != KeyFilter():
                raise ValidationFailed("task is asked for without other words")
            wanted = await self._key_tasks.added_by(meant.task, given.group_id)
        done = await self._actions.act(
            given.group_id,
            given.action,
            wanted,
            expected=given.expected,
            weight=given.weight,
            note=given.note,
        )
        if done.task is not None:
            await self._tasks.sign(done.task.id, client_address(request))
        return reply(request, schemas.acted_json(done))

    @routes.route("/api/keys/deleted", methods=["GET"])
    async def deleted(self, request: IRequest) -> bytes:
        batches = await self._keys.batches(_group_of(request))
        return reply(request, [schemas.batch_json(batch) for batch in batches])

    @routes.route("/api/keys/undelete", methods=["POST"])
    async def undelete(self, request: IRequest) -> bytes:
        given = body(request, schemas.DeletedBatch)
        deletion, count = await self._keys.give_back(given.batch)
        left = deletion.count - count
        return reply(request, {"returned_count": count, "ignored_count": left})

    @routes.route("/api/keys/<key_id>/notes", methods=["PUT"])
    async def write_notes(self, request: IRequest, key_id: str) -> bytes:
        number = identifier(key_id, "invalid key ID format")
        await self._keys.write_notes(number, body(request, schemas.Notes).notes)
        return reply(request)

    @routes.route("/api/keys/<key_id>/state", methods=["PUT"])
    async def switch(self, request: IRequest, key_id: str) -> bytes:
        number = identifier(key_id, "invalid key ID format")
        event = _SWITCHES.get(body(request, schemas.KeyState).state)
        if event is None:
            raise ValidationFailed(
                "state must be 'active' or 'disabled'",
                hint="To make an invalid key good again, restore it.",
            )
        await self._keys.switch(number, event)
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


def _group_of(request: IRequest) -> int:
    group_id = query(request, "group_id")
    if not group_id:
        raise BadRequest("group_id query parameter is required")
    return identifier(group_id, "Invalid group_id format")


def _moment(text: str) -> float | None:
    return moment(text, "last_used_before") if text else None


def _check_words(wanted: KeyFilter, refusal: str) -> None:
    if wanted.status not in _STATUSES:
        raise ValidationFailed(refusal)
    if wanted.state not in _STATES:
        raise ValidationFailed("state must be active, resting, invalid or disabled")
    if wanted.kind not in ("", *KINDS):
        raise ValidationFailed(f"kind must be one of {', '.join(KINDS)}")


async def _exported(
    pages: AsyncIterator[list[tuple[int, bytes | None]]], is_whole: bool
) -> AsyncIterator[bytes]:
    """The file's lines, without the keys that can't be decrypted."""
    async for some in pages:
        found = [secret for _, secret in some if secret is not None]
        if not is_whole:
            found = [mask(secret.decode("utf-8", "replace")).encode() for secret in found]
        yield b"".join(secret + b"\n" for secret in found)
