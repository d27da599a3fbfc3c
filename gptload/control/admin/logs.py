"""`/api/logs`: what happened, attempt by attempt."""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from gptload.control.admin.downloads import csv_lines, download
from gptload.control.admin.replies import page, reply
from gptload.control.admin.requests import instant, paging, query, truth, whole_number
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import LOG_COLUMNS, UNREADABLE, log_json
from gptload.control.db.database import Database
from gptload.control.db.queries import logs as queries
from gptload.control.groups import FRESH_S, Drain
from gptload.control.waiting import at_most
from gptload.core.errors import BadRequest
from gptload.core.vault import Vault

# Rows read at once; each may hold a body of 64 KiB.
_BATCH_ROWS: Final = 500
_LONGEST_ID: Final = 36
_CSV: Final = b"text/csv; charset=utf-8"
_JSON_LINES: Final = b"application/x-ndjson; charset=utf-8"
# So that spreadsheets know the encoding.
_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()
_KEY_COLUMNS: Final = ("key_value", "group_name", "status_code")


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
        if b"cursor" in request.args:
            return await self._stretch(request, wanted, size)
        rows, total = await self._database.read(
            queries.page, self._vault, wanted, offset=(number - 1) * size, limit=size
        )
        return page(request, [log_json(row) for row in rows], number, size, total)

    async def _stretch(self, request: IRequest, wanted: queries.Filter, size: int) -> bytes:
        """Rows behind a cursor; an empty one begins at the newest row."""
        after = _place(query(request, "cursor"))
        found = await self._database.read(queries.stretch, self._vault, wanted, after, size)
        total = min(found.total, queries.COUNTED)
        return reply(
            request,
            {
                "items": [log_json(row) for row in found.rows],
                "next_cursor": None if found.following is None else _cursor(found.following),
                "pagination": {
                    "page": 1,  # of what lies behind the cursor
                    "page_size": size,
                    "total_items": total,
                    "total_pages": math.ceil(total / size),
                    "total_is_exact": found.total <= queries.COUNTED,
                },
            },
        )

    @routes.route("/api/logs/export", methods=["GET"])
    async def export_keys(self, request: IRequest) -> bytes:
        """The keys that the rows name, as the reference exports them."""
        name = self._file_name("log_keys_export", "csv")
        return await download(request, self._keys(_filter(request)), _CSV, name)

    @routes.route("/api/logs/export.csv", methods=["GET"])
    async def export_csv(self, request: IRequest) -> bytes:
        name = self._file_name("logs_export", "csv")
        return await download(request, self._csv(_filter(request)), _CSV, name)

    @routes.route("/api/logs/export.jsonl", methods=["GET"])
    async def export_json_lines(self, request: IRequest) -> bytes:
        name = self._file_name("logs_export", "jsonl")
        return await download(request, self._json_lines(_filter(request)), _JSON_LINES, name)

    def _file_name(self, stem: str, ending: str) -> str:
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        return f"{stem}_{now:%Y%m%d%H%M%S}.{ending}"

    async def _keys(self, wanted: queries.Filter) -> AsyncIterator[bytes]:
        await at_most(self._clock, FRESH_S, self._drain())
        after = ""
        head = [_KEY_COLUMNS]
        while True:
            rows = await self._database.read(
                queries.latest_of_keys, self._vault, wanted, after, _BATCH_ROWS
            )
            shown = [(_key(row), row["group_name"], row["status_code"]) for row in rows]
            yield csv_lines([*head, *shown])
            if len(rows) < _BATCH_ROWS:
                return
            after, head = rows[-1]["key_hash"], []

    async def _csv(self, wanted: queries.Filter) -> AsyncIterator[bytes]:
        head = _MARK + csv_lines([LOG_COLUMNS])
        async for rows in self._rows(wanted):
            shown = [log_json(row) for row in rows]
            yield head + csv_lines([[row[name] for name in LOG_COLUMNS] for row in shown])
            head = b""

    async def _json_lines(self, wanted: queries.Filter) -> AsyncIterator[bytes]:
        async for rows in self._rows(wanted):
            yield b"".join(orjson.dumps(log_json(row)) + b"\n" for row in rows)

    async def _rows(self, wanted: queries.Filter) -> AsyncIterator[list[dict[str, Any]]]:
        """Batches of matching rows, the newest first; one at least, which may be empty."""
        await at_most(self._clock, FRESH_S, self._drain())
        place: queries.Place | None = None
        while True:
            rows, place = await self._database.read(
                queries.batch, self._vault, wanted, place, _BATCH_ROWS
            )
            yield rows
            if place is None:
                return


def _key(row: dict[str, Any]) -> str:
    return UNREADABLE if row["key_value"] is None else row["key_value"]


def _cursor(place: queries.Place) -> str:
    return urlsafe_b64encode(orjson.dumps([place.at, place.id])).decode().rstrip("=")


def _place(cursor: str) -> queries.Place | None:
    """The place that a cursor of ours names.

    Raises:
        BadRequest: it is none.
    """
    if not cursor:
        return None
    try:
        found = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if [type(part) for part in found] == [float, str] and len(found[1]) <= _LONGEST_ID:
            return queries.Place(*found)
    except (ValueError, TypeError):
        pass
    raise BadRequest("cursor is none of ours", hint="Take next_cursor of the answer before.")


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
