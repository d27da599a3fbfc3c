"""`/api/logs`: what happened, attempt by attempt."""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson
from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from gptload.control.admin.downloads import csv_lines, download
from gptload.control.admin.masked import sees_secrets, with_keys
from gptload.control.admin.replies import reply, time_or_none
from gptload.control.admin.requests import (
    identifier,
    instant,
    paging,
    queries_of,
    query,
    truth,
    whole_number,
)
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import LOG_COLUMNS, UNREADABLE, facets_json, log_json
from gptload.control.db.database import Database
from gptload.control.db.queries import exchanges, logfacets
from gptload.control.db.queries import logs as queries
from gptload.control.db.queries.groups import one as one_group
from gptload.control.db.queries.keys import value_of as key_value
from gptload.control.db.queries.logfilters import Filter
from gptload.control.groups import FRESH_S, Drain
from gptload.control.waiting import at_most
from gptload.core import statuscodes
from gptload.core.errors import BadRequest, NotFound, ValidationFailed
from gptload.core.outcome import Outcome
from gptload.core.vault import Vault, mask

# Rows read at once; each may hold a body of 64 KiB.
_BATCH_ROWS: Final = 500
# Fewer to begin with, so that a download begins at once.
_FIRST_ROWS: Final = 50
# Keys whose latest row is looked for at once.
_BATCH_KEYS: Final = 10
_LONGEST_ID: Final = 36
_UPWARD: Final = "newer"
_CSV: Final = b"text/csv; charset=utf-8"
_JSON_LINES: Final = b"application/x-ndjson; charset=utf-8"
# So that spreadsheets know the encoding.
_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()
_KEY_COLUMNS: Final = ("key_value", "group_name", "status_code")
_OUTCOMES: Final = tuple(outcome.name.lower() for outcome in Outcome)
EXCLUDABLE: Final = (
    "model",
    "group",
    "group_name",
    "parent_group_name",
    "status_code",
    "outcome",
    "upstream",
    "key_id",
    "source_ip",
    "error_contains",
)
"""Filters that can be turned round: the others have an opposite of their own."""

_MOST_EXCLUDED: Final = 20

ValueOf = Callable[[str], str]
"""The value of a query's parameter, or empty."""


class LogRoutes:
    """Whoever looks sees all that has happened, whatever the write interval."""

    routes = make_routes()

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        vault: Vault,
        drain: Drain,
        count: Drain,
    ) -> None:
        """
        Args:
            count: as `drain`, and all of it is in the statistics.
        """
        self._clock = clock
        self._database = database
        self._vault = vault
        self._drain = drain
        self._count = count

    @routes.route("/api/logs", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        wanted = await self._wanted(request)
        number, size = paging(request)
        await at_most(self._clock, FRESH_S, self._drain())
        if b"cursor" in request.args:
            return await self._stretch(request, wanted, size)
        found = await self._database.read(
            queries.page, self._vault, wanted, offset=(number - 1) * size, limit=size
        )
        return reply(request, await self._part(request, found, number, size))

    async def _wanted(self, request: IRequest) -> Filter:
        """What is asked for, and what is not."""
        wanted = await self._filter(partial(query, request))
        but = [await self._filter(_only(name, value)) for name, value in _excluded(request)]
        # A value that makes no sense fits nothing; an empty filter would fit all.
        return evolve(wanted, but=tuple(one for one in but if one != Filter()))

    async def _filter(self, value_of: ValueOf) -> Filter:
        """By a key's id too: a browser has no whole key to ask by."""
        wanted = _filter(value_of)
        if group_id := value_of("group"):
            number = identifier(group_id, "Invalid group ID format")
            group = await self._database.read(one_group, number)
            wanted = evolve(wanted, either_group=group["name"])
        if key_id := value_of("key_id"):
            number = identifier(key_id, "invalid key ID format")
            value = await self._database.read(key_value, self._vault, number)
            wanted = evolve(wanted, key=UNREADABLE if value is None else value)
        return wanted

    @routes.route("/api/logs/facets", methods=["GET"])
    async def facets(self, request: IRequest) -> bytes:
        """What the log can be narrowed to."""
        await at_most(self._clock, FRESH_S, self._count())
        found = await self._database.read(logfacets.facets, self._clock.seconds())
        return reply(request, facets_json(found))

    async def _part(
        self, request: IRequest, found: queries.Stretch, number: int, size: int
    ) -> dict[str, Any]:
        pagination = {
            "page": number,
            "page_size": size,
            "total_items": found.total,
            "total_pages": math.ceil(found.total / size),
            "total_is_exact": found.is_exact,
            "searched_since": time_or_none(found.searched_since),
        }
        return {"items": await self._shown(request, found.rows), "pagination": pagination}

    async def _shown(self, request: IRequest, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        shown = [with_keys(request, log_json(row)) for row in rows]
        if truth(query(request, "attempts")):
            ids = [row["exchange_id"] for row in rows]
            found = await self._database.read(exchanges.in_short, ids)
            for row in shown:
                row["attempts"] = found.get(row["exchange_id"], [])
        return shown

    @routes.route("/api/logs/requests/<exchange_id>", methods=["GET"])
    async def exchange(self, request: IRequest, exchange_id: str) -> bytes:
        """One client request with all its attempts."""
        await at_most(self._clock, FRESH_S, self._drain())
        rows: list[dict[str, Any]] = []
        if len(exchange_id) <= _LONGEST_ID and "\0" not in exchange_id:
            rows = await self._database.read(exchanges.attempts, self._vault, exchange_id)
        if not rows:
            raise NotFound("Resource not found", hint="The log keeps rows for a time only.")
        shown = [with_keys(request, log_json(row)) for row in rows]
        return reply(request, {"exchange_id": exchange_id, "attempts": shown})

    async def _stretch(self, request: IRequest, wanted: Filter, size: int) -> bytes:
        """Rows behind a cursor; an empty one begins at the newest row."""
        place, is_upward = _place(query(request, "cursor"))
        found = await self._database.read(
            queries.stretch, self._vault, wanted, place, size, is_upward=is_upward
        )
        # The page is of what lies behind the cursor.
        shown = await self._part(request, found, 1, size)
        ways = {
            "next_cursor": _cursor(found.following),
            "prev_cursor": _cursor(found.preceding, is_upward=True),
        }
        return reply(request, shown | ways)

    @routes.route("/api/logs/count", methods=["GET"])
    async def counted(self, request: IRequest) -> bytes:
        """How many rows match, as far as that can be said: for who was told "over"."""
        wanted = await self._wanted(request)
        await at_most(self._clock, FRESH_S, self._drain())
        total, is_exact = await self._database.read(queries.count, self._vault, wanted)
        return reply(request, {"total_items": total, "total_is_exact": is_exact})

    @routes.route("/api/logs/export", methods=["GET"])
    async def export_keys(self, request: IRequest) -> bytes:
        """The keys that the rows name, as the reference exports them."""
        return await self._export_keys(request, sees_secrets(request))

    @routes.route("/api/logs/export", methods=["POST"])
    async def export_whole_keys(self, request: IRequest) -> bytes:
        """As the GET, with whole keys for a browser too: no link leads here."""
        return await self._export_keys(request, True)

    async def _export_keys(self, request: IRequest, is_whole: bool) -> bytes:
        name = self._file_name("log_keys_export", "csv")
        lines = self._keys(await self._wanted(request), is_whole)
        return await download(request, lines, _CSV, name)

    @routes.route("/api/logs/export.csv", methods=["GET"])
    async def export_csv(self, request: IRequest) -> bytes:
        name = self._file_name("logs_export", "csv")
        return await download(request, self._csv(request, _columns(request)), _CSV, name)

    @routes.route("/api/logs/export.jsonl", methods=["GET"])
    async def export_json_lines(self, request: IRequest) -> bytes:
        name = self._file_name("logs_export", "jsonl")
        lines = self._json_lines(request, _columns(request))
        return await download(request, lines, _JSON_LINES, name)

    def _file_name(self, stem: str, ending: str) -> str:
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        return f"{stem}_{now:%Y%m%d%H%M%S}.{ending}"

    async def _keys(self, wanted: Filter, is_whole: bool) -> AsyncIterator[bytes]:
        await at_most(self._clock, FRESH_S, self._drain())
        after: str | None = ""
        head, keys = [_KEY_COLUMNS], 1
        while after is not None:
            rows, after = await self._database.read(
                queries.latest_of_keys, self._vault, wanted, after, keys
            )
            shown = [(_key(row, is_whole), row["group_name"], row["status_code"]) for row in rows]
            yield csv_lines([*head, *shown])
            head, keys = [], _BATCH_KEYS

    async def _csv(self, request: IRequest, columns: Sequence[str]) -> AsyncIterator[bytes]:
        head = _MARK + csv_lines([columns])
        async for rows in self._rows(await self._wanted(request)):
            shown = [with_keys(request, log_json(row)) for row in rows]
            yield head + csv_lines([[row[name] for name in columns] for row in shown])
            head = b""

    async def _json_lines(self, request: IRequest, columns: Sequence[str]) -> AsyncIterator[bytes]:
        async for rows in self._rows(await self._wanted(request)):
            shown = [with_keys(request, log_json(row)) for row in rows]
            parts = [{name: row[name] for name in columns} for row in shown]
            yield b"".join(orjson.dumps(row) + b"\n" for row in parts)

    async def _rows(self, wanted: Filter) -> AsyncIterator[list[dict[str, Any]]]:
        """Batches of matching rows, the newest first; one at least, which may be empty."""
        await at_most(self._clock, FRESH_S, self._drain())
        place: queries.Place | None = None
        size = _FIRST_ROWS
        while True:
            rows, place = await self._database.read(queries.batch, self._vault, wanted, place, size)
            size = _BATCH_ROWS
            yield rows
            if place is None:
                return


def _key(row: dict[str, Any], is_whole: bool) -> str:
    value: str | None = row["key_value"]
    if value is None:
        return UNREADABLE
    return value if is_whole else mask(value)


def _cursor(place: queries.Place | None, *, is_upward: bool = False) -> str | None:
    if place is None:
        return None
    parts = [place.at, place.id, *([_UPWARD] if is_upward else [])]
    return urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def _place(cursor: str) -> tuple[queries.Place | None, bool]:
    """The place that a cursor of ours names, and whether newer rows are asked for.

    Raises:
        BadRequest: it is none.
    """
    if not cursor:
        return None, False
    try:
        at, row_id, *way = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        is_place = type(at) is float and type(row_id) is str and len(row_id) <= _LONGEST_ID
        if is_place and way in ([], [_UPWARD]):
            return queries.Place(at, row_id), bool(way)
    except (ValueError, TypeError):
        pass
    hint = "Take next_cursor or prev_cursor of the answer before."
    raise BadRequest("cursor is none of ours", hint=hint)


def _filter(value_of: ValueOf) -> Filter:
    """What the query asks for; a value that makes no sense asks for nothing."""
    return Filter(
        model=value_of("model"),
        group_name=value_of("group_name"),
        parent_group_name=value_of("parent_group_name"),
        error=value_of("error_contains"),
        key=value_of("key_value"),
        request_type=value_of("request_type"),
        source_ip=value_of("source_ip"),
        is_success=truth(value_of("is_success")),
        status_codes=_statuses(value_of("status_code")),
        outcomes=_outcomes(value_of("outcome")),
        upstream=value_of("upstream"),
        exchange_id=value_of("exchange_id") or value_of("request_id"),
        slower_than_ms=whole_number(value_of("slower_than")),
        is_stream=truth(value_of("is_stream")),
        since=instant(value_of("start_time")),
        until=instant(value_of("end_time")),
    )


def _only(name: str, value: str) -> ValueOf:
    """A query of one parameter."""
    return lambda asked: value if asked == name else ""


def _excluded(request: IRequest) -> list[tuple[str, str]]:
    """Filters that rows must not fit, each by its name and value.

    Raises:
        ValidationFailed: one of them is none, or there are more than anybody types.
    """
    words = queries_of(request, "not")
    found = [(name, value) for name, _, value in (word.partition(":") for word in words)]
    if not {name for name, _ in found} <= set(EXCLUDABLE):
        hint = f"not={EXCLUDABLE[0]}:value; names are {', '.join(EXCLUDABLE)}"
        raise ValidationFailed("not names no filter that can be turned round", hint=hint)
    if len(found) > _MOST_EXCLUDED:
        raise ValidationFailed(f"not is given more than {_MOST_EXCLUDED} times")
    return found


def _columns(request: IRequest) -> Sequence[str]:
    """Which columns are exported, in the order in which they are named; all without a word.

    Raises:
        ValidationFailed: one of them is none.
    """
    names = query(request, "columns")
    found = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not set(found) <= set(LOG_COLUMNS):
        hint = f"Columns are {', '.join(LOG_COLUMNS)}."
        raise ValidationFailed("columns names none of the log", hint=hint)
    return found or LOG_COLUMNS


def _statuses(text: str) -> frozenset[int]:
    """One code, or several as in `failover_status_codes`; nothing where it is neither."""
    number = whole_number(text)
    if number is not None:
        return frozenset([number])
    try:
        return statuscodes.parse(text)
    except ValueError:
        return frozenset()


def _outcomes(text: str) -> frozenset[str]:
    """Names of outcomes, with commas between.

    Raises:
        ValidationFailed: one of them is none; the reference has no such filter.
    """
    found = frozenset(name.strip() for name in text.split(",")) - {""}
    if not found <= set(_OUTCOMES):
        raise ValidationFailed(f"outcome is one or several of {', '.join(_OUTCOMES)}")
    return found if len(found) < len(_OUTCOMES) else frozenset()
