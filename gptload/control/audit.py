"""Who changed what: the audit log, and what of a change may be written down.

No key, password or header value gets into it: what could be one is masked, and what
nobody knows the meaning of is told by its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from gptload.control.db.database import Database
from gptload.control.db.queries import audit as queries
from gptload.control.db.queries.audit import Entry, Filter
from gptload.core.errors import DatabaseUnavailable
from gptload.core.settings import split_keys
from gptload.core.vault import mask, scrub

_LONGEST_FIELD: Final = 16 * 1024
_MOST_FIELDS: Final = 50
_DEEPEST: Final = 20
# Words that say what was asked for and can't be a secret.
_PLAIN_WORDS: Final = frozenset(["status", "copy_keys", "name", "task_type", "action", "state"])
# Of a group's row; what is left out follows from the change itself.
_GROUP_FIELDS: Final = (
    "name",
    "display_name",
    "description",
    "group_type",
    "upstreams",
    "channel_type",
    "sort",
    "test_model",
    "validation_endpoint",
    "param_overrides",
    "model_redirect_rules",
    "model_redirect_strict",
    "config",
    "header_rules",
    "error_rules",
    "proxy_keys",
)

Shown = dict[str, Any]
"""Fields of something, without secrets."""


@frozen
class Change:
    """What a route tells of what it changed. None: there was, or is, nothing."""

    before: Shown | None
    after: Shown | None
    subject_id: int | None = None


class Audit:
    """Writes the log without holding anybody up, and reads it."""

    log = Logger()

    def __init__(self, seconds: Callable[[], float], database: Database) -> None:
        """
        Args:
            seconds: epoch seconds.
        """
        self._seconds = seconds
        self._database = database
        self._pending: set[Deferred[None]] = set()

    def record(self, source_ip: str, method: str, path: str, status: int, change: Change) -> None:
        """One call that changed something; it has been answered already."""
        route, subject, number = _route(path)
        subject_id = number if change.subject_id is None else change.subject_id
        entry = Entry(
            at=self._seconds(),
            source_ip=source_ip[:64],
            method=method[:16],
            route=route,
            subject=subject,
            subject_id=subject_id,
            status=status,
            before=change.before,
            after=change.after,
        )
        writing = Deferred.fromCoroutine(self._database.write(queries.add, entry))
        self._pending.add(writing)

        def written(result: object) -> None:
            self._pending.discard(writing)
            error = result.value if isinstance(result, Failure) else None
            if isinstance(error, DatabaseUnavailable):
                self.log.error(
                    "{method} {route} from {client} is missing in the audit log: {reason}",
                    method=entry.method,
                    route=entry.route,
                    client=entry.source_ip,
                    reason=error.message,
                )
            elif isinstance(result, Failure):
                self.log.failure(
                    "{method} {route} from {client} is missing in the audit log",
                    failure=result,
                    method=entry.method,
                    route=entry.route,
                    client=entry.source_ip,
                )

        writing.addBoth(written)

    async def page(self, wanted: Filter, *, offset: int, limit: int) -> tuple[list[Shown], int]:
        """Entries, the newest first, and how many match; those under way included."""
        await DeferredList(list(self._pending))
        return await self._database.read(queries.page, wanted, offset=offset, limit=limit)


def _route(path: str) -> tuple[str, str, int | None]:
    """`/api/groups/7/stats` → `/api/groups/:id/stats`, `groups`, 7."""
    parts = path.strip("/").split("/")
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 19]
    shown = [":id" if part.isascii() and part.isdigit() else part for part in parts]
    subject = parts[1] if len(parts) > 1 else ""
    return f"/{'/'.join(shown)}"[:128], subject[:32], numbers[0] if numbers else None


def of_body(body: Mapping[str, Any]) -> Shown:
    """What may be told of a request's JSON when its route says nothing itself."""
    shown: Shown = {}
    for key, value in list(body.items())[:_MOST_FIELDS]:
        if value is None or isinstance(value, int | float):
            shown[key[:100]] = value
        elif isinstance(value, str):
            is_plain = key in _PLAIN_WORDS and len(value) <= 100
            shown[key[:100]] = scrub(value) if is_plain else f"{len(value)} characters"
        else:
            shown[key[:100]] = f"{len(value)} items"
    return shown


def of_groups(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, group_id: int
) -> Change:
    """What of a group is new, gone, or different."""
    if before is None or after is None:
        whole = before if after is None else after
        shown = {field: _group_field(field, (whole or {})[field]) for field in _GROUP_FIELDS}
        return Change(shown if after is None else None, None if after is None else shown, group_id)
    changed = [field for field in _GROUP_FIELDS if before[field] != after[field]]
    return Change(
        {field: _group_field(field, before[field]) for field in changed},
        {field: _group_field(field, after[field]) for field in changed},
        group_id,
    )


def _group_field(field: str, value: Any) -> Any:
    if field == "proxy_keys":
        shown: Any = of_setting("proxy_keys", value)
    elif field == "header_rules":
        shown = [{**rule, "value": "****" if rule.get("value") else ""} for rule in value]
    elif field == "upstreams":
        shown = [{**item, "url": url_without_secrets(str(item.get("url", "")))} for item in value]
    elif field == "config":
        shown = {key: of_setting(key, each) for key, each in value.items()}
    else:
        shown = _scrubbed(value, 0)
    size = len(orjson.dumps(shown))
    return shown if size <= _LONGEST_FIELD else f"{size} bytes"


def of_setting(key: str, value: Any) -> Any:
    """A setting's value without secrets."""
    if not isinstance(value, str):
        return value
    if key == "proxy_keys":
        return ",".join(mask(each) for each in split_keys(value))
    return url_without_secrets(value) if key == "proxy_url" else scrub(value)


def url_without_secrets(url: str) -> str:
    """An address without its user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "****"
    _, at, host = parts.netloc.rpartition("@")
    query = "****" if parts.query else ""
    return urlunsplit(parts._replace(netloc=f"****@{host}" if at else host, query=query))


def _scrubbed(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {scrub(str(key)): _scrubbed(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scrubbed(inner, depth + 1) for inner in value]
    return value
