"""`/api/openapi.json` and a page that people read: made from the routes and the schemas.

Which routes there are is asked of Klein itself, so none can be missing. What they take
and answer is said here, a line each; a route without its line is listed all the same.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import orjson
from attrs import frozen
from klein import Klein
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from twisted.web.iweb import IRequest

from gptload.control.admin import answers, schemas
from gptload.control.admin.logs import EXCLUDABLE
from gptload.control.admin.replies import send
from gptload.control.admin.routing import make_routes
from gptload.core.settings import SETTINGS

_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>")
_PAGING: Final = {"page": "from 1 on; 1 without it", "page_size": "1 to 1000; 15 without it"}
_TIMES: Final = {
    "start_time": "RFC 3339, that moment included",
    "end_time": "RFC 3339, that moment included",
}
_LOGS: Final = {
    "parent_group_name": "a part of it",
    "group_name": "a part of it",
    "model": "a part of it",
    "error_contains": "a part of the error's text",
    "key_value": "a whole key",
    "key_id": "a key's id",
    "is_success": "true or false",
    "request_type": "retry or final",
    "source_ip": "the whole address",
    "status_code": "a number, or several: 429,500-599",
    "group": "a group's id: its own attempts, and those that came in through it",
    "outcome": "one or several, with commas between: ok, key_rejected, key_exhausted, "
    "rate_limited, upstream_fault, request_fault, client_gone",
    "upstream": "a part of the address that was called",
    "slower_than": "milliseconds that the client waited, all attempts together",
    "is_stream": "true or false",
    "exchange_id": "of one client request; request_id is the same",
    "not": f"a filter that rows must not fit, as name:value, any number of times; "
    f"names are {', '.join(EXCLUDABLE)}",
    **_TIMES,
}
_COLUMNS: Final = {"columns": "names of columns, with commas between; all without it"}
_STATISTICS: Final = {
    "from": "epoch milliseconds or RFC 3339; a day before the end without it",
    "to": "the same; now without it",
    "group": "a group's id",
    "model": "a model's whole name",
    "key": "a key's id",
    "tz": "an IANA time zone, for labels and for where days begin",
    "cmp": "previous, day, week or off: what figures are compared with",
}


@frozen
class Operation:
    """What a route is for, takes and answers.

    Attributes:
        body: schema of the JSON that it takes.
        data: type of `data` in its answer; None for an answer without.
        pages: whether `data` is one page of `data` items.
        bare: schema of an answer that has no envelope.
        media: media type of an answer that isn't JSON.
        query: parameters and what they mean.
        public: it needs no AUTH_KEY.
    """

    summary: str
    body: type[BaseModel] | None = None
    data: Any = None
    pages: bool = False
    bare: type[BaseModel] | None = None
    media: str = ""
    query: Mapping[str, str] = {}
    public: bool = False
    required: tuple[str, ...] = ()


def _operations() -> dict[tuple[str, str], Operation]:
    page = {**_PAGING}
    found = {
        ("POST", "/api/auth/login"): Operation(
            "Say whether a key is AUTH_KEY, and sign the browser in: the answer sets a cookie.",
            schemas.Login,
            bare=answers.LoggedIn,
            public=True,
        ),
        ("GET", "/api/auth/status"): Operation(
            "Whether the well-known default AUTH_KEY is in force; told on the same machine only.",
            data=answers.DoorStatus,
            public=True,
        ),
        ("POST", "/api/auth/logout"): Operation("Sign the browser out.", public=True),
        ("GET", "/health"): Operation("Whether it runs.", bare=answers.Health, public=True),
        ("GET", "/"): Operation("What this is.", media="text/html", public=True),
        ("GET", "/readme"): Operation("The README.", media="text/plain", public=True),
        ("GET", "/api/openapi.json"): Operation(
            "This description.", media="application/json", public=True
        ),
        ("GET", "/api/docs"): Operation(
            "This description, for people.", media="text/html", public=True
        ),
        ("GET", "/api/channel-types"): Operation("The channels there are.", data=list[str]),
        ("GET", "/api/groups"): Operation("All groups, in their order.", data=list[answers.Group]),
        ("POST", "/api/groups"): Operation("Make a group.", schemas.GroupBody, data=answers.Group),
        ("GET", "/api/groups/list"): Operation(
            "All groups, for a drop-down list.", data=list[answers.GroupName]
        ),
        ("GET", "/api/groups/config-options"): Operation(
            "The settings that a group may override.", data=list[answers.Option]
        ),
        ("POST", "/api/groups/probe"): Operation(
            "Ask an upstream's base URL once, without a key: whether it answers, and how fast.",
            schemas.ProbedUpstream,
            data=answers.UpstreamReach,
        ),
        ("PUT", "/api/groups/reorder"): Operation("Give groups their places.", schemas.Order),
        ("PUT", "/api/groups/{group_id}"): Operation(
            "Change what is given of a group.", schemas.GroupChange, data=answers.Group
        ),
        ("DELETE", "/api/groups/{group_id}"): Operation("Delete a group and its keys."),
        ("POST", "/api/groups/{group_id}/copy"): Operation(
            "Copy a group, with its members and its keys (all, valid_only or none).",
            schemas.CopiedKeys,
            data=answers.CopiedGroup,
        ),
        ("POST", "/api/groups/{group_id}/undo"): Operation(
            "Give a group back what a change took from it.",
            schemas.UndoneChange,
            data=answers.Group,
        ),
        ("POST", "/api/groups/{group_id}/reveal"): Operation(
            "What a browser gets masked of a group; the audit log has it.",
            data=answers.RevealedGroup,
        ),
        ("GET", "/api/groups/{group_id}/stats"): Operation(
            "Keys, and requests of the last day, week and month.", data=answers.GroupStats
        ),
        ("GET", "/api/groups/{group_id}/sub-groups"): Operation(
            "The members of an aggregate.", data=list[answers.Member]
        ),
        ("POST", "/api/groups/{group_id}/sub-groups"): Operation(
            "Add members to an aggregate.", schemas.NewMembers
        ),
        ("PUT", "/api/groups/{group_id}/sub-groups/{sub_group_id}/weight"): Operation(
            "Set a member's weight.", schemas.MemberWeight
        ),
        ("DELETE", "/api/groups/{group_id}/sub-groups/{sub_group_id}"): Operation(
            "Take a member out of an aggregate."
        ),
        ("GET", "/api/groups/{group_id}/parent-aggregate-groups"): Operation(
            "The aggregates that a group belongs to.", data=list[answers.Parent]
        ),
        ("GET", "/api/keys"): Operation(
            "Keys of a group, the last used first.",
            data=answers.Key,
            pages=True,
            query={
                "group_id": "the group",
                "status": "active, invalid or disabled",
                "state": "active, resting, invalid or disabled",
                "reason": "why a key is not active",
                "key_value": "a whole key",
                "mask": "a key's ends, as a masked key shows them",
                "id": "only this key",
                "kind": "active, suspect, cooling, exhausted, invalid or disabled",
                "notes": "a part of the note",
                "last_used_before": "not used since then, or never; epoch ms or RFC 3339",
                "sort": "id, used, requests, strikes, rest, weight, created or status; "
                "-used: the last used first",
                **page,
            },
            required=("group_id",),
        ),
        ("GET", "/api/keys/facets"): Operation(
            "What a list of a group's keys can be narrowed to, with counts.",
            data=answers.KeyFacets,
            query={"group_id": "the group"},
            required=("group_id",),
        ),
        ("GET", "/api/keys/states"): Operation(
            "How many keys of each group are in each state; of groups that have keys.",
            data=list[answers.KeyStates],
        ),
        ("GET", "/api/keys/{key_id}/timeline"): Operation(
            "What happened to a key, and why.", data=answers.KeyChange, pages=True, query=page
        ),
        ("PUT", "/api/keys/{key_id}/notes"): Operation("Write a key's note.", schemas.Notes),
        ("PUT", "/api/keys/{key_id}/weight"): Operation("Set a key's weight.", schemas.KeyWeight),
        ("GET", "/api/logs"): Operation(
            "Attempts, the newest first.",
            data=answers.Log,
            pages=True,
            query={
                **_LOGS,
                **page,
                "attempts": "true: each row with all attempts of its request, in short",
                "cursor": "next_cursor or prev_cursor of the answer before, in the place of a "
                "page; empty: from the newest on",
            },
        ),
        ("GET", "/api/logs/count"): Operation(
            "How many attempts match, counted up to 5,000,000; a text only as far as it is looked "
            "for in one go.",
            data=answers.LogCount,
            query=_LOGS,
        ),
        ("GET", "/api/logs/facets"): Operation(
            "What the log can be narrowed to, with counts of attempts.", data=answers.LogFacets
        ),
        ("GET", "/api/logs/requests/{exchange_id}"): Operation(
            "One client request with all its attempts, the first one first.",
            data=answers.Exchange,
        ),
        ("GET", "/api/logs/export"): Operation(
            "The keys that the matching rows name, each with its latest row, as CSV.",
            media="text/csv",
            query=_LOGS,
        ),
        ("POST", "/api/logs/export"): Operation(
            "The same, with whole keys also for a browser.", media="text/csv", query=_LOGS
        ),
        ("GET", "/api/logs/export.csv"): Operation(
            "The matching rows as CSV.", media="text/csv", query=_LOGS | _COLUMNS
        ),
        ("GET", "/api/logs/export.jsonl"): Operation(
            "The matching rows as JSON lines.",
            media="application/x-ndjson",
            query=_LOGS | _COLUMNS,
        ),
        ("GET", "/api/dashboard/stats"): Operation(
            "The figures of the dashboard.", data=answers.Dashboard
        ),
        ("GET", "/api/dashboard/chart"): Operation(
            "Requests of the last 24 hours.",
            data=answers.Chart,
            query={"groupId": "one group only"},
        ),
        ("GET", "/api/dashboard/encryption-status"): Operation(
            "Whether ENCRYPTION_KEY and the stored keys fit together.",
            data=answers.EncryptionStatus,
        ),
        ("GET", "/api/environment"): Operation(
            "What was fixed when the node started, and by whom.", data=list[answers.Variable]
        ),
        ("GET", "/api/settings"): Operation(
            "All settings, by category.", data=list[answers.SettingCategory]
        ),
        ("PUT", "/api/settings"): Operation(
            "Change settings: a JSON object of any of them. With If-Match, the ETag of "
            "GET /api/settings or *, null unsets one; with an ETag, all of it only if nobody has "
            "changed any since.",
            data=answers.ChangedSettings,
        ),
        ("POST", "/api/settings/reveal"): Operation(
            "The value of a setting that a browser gets masked; the audit log has it.",
            schemas.NamedSetting,
            data=answers.RevealedSetting,
        ),
        ("DELETE", "/api/settings/{key}"): Operation(
            "Unset a setting: its default holds.", data=answers.ChangedSettings
        ),
        ("GET", "/api/settings/history"): Operation(
            "What was changed, when and from where.",
            data=answers.SettingHistory,
            pages=True,
            query={"key": "one setting only", **page},
        ),
        ("POST", "/api/settings/history/{entry_id}/undo"): Operation(
            "Take a change back.", data=answers.ChangedSettings
        ),
        ("GET", "/api/audit"): Operation(
            "Calls that changed something, the newest first.",
            data=answers.AuditEntry,
            pages=True,
            query={
                "subject": "groups, keys, settings, …",
                "subject_id": "a number",
                "method": "POST, PUT, DELETE",
                "route_contains": "a part of it",
                "source_ip": "the whole address",
                **_TIMES,
                **page,
            },
        ),
        ("GET", "/api/meta"): Operation(
            "Which node this is, what runs on it, and how one is signed in.", data=answers.Meta
        ),
        ("GET", "/api/integration/info"): Operation(
            "The groups that a proxy key opens.",
            data=list[answers.Integration],
            query={"key": "a proxy key"},
            public=True,
            required=("key",),
        ),
        ("GET", "/api/stats/summary"): Operation(
            "Requests, outcomes, percentiles, tokens and cost of a range, beside the time before.",
            data=dict[str, Any],
            query=_STATISTICS,
        ),
        ("GET", "/api/stats/series"): Operation(
            "The same by points of time.",
            data=dict[str, Any],
            query={**_STATISTICS, "step": "seconds from point to point"},
        ),
        ("GET", "/api/stats/latency"): Operation(
            "How durations are spread, by points of time: a grid of buckets. `first_token` and "
            "`per_token`, the time per output token after the first, are of streams.",
            data=dict[str, Any],
            query={
                **_STATISTICS,
                "kind": "total, first_byte, first_token or per_token",
                "step": "as in series",
            },
        ),
        ("GET", "/api/stats/errors"): Operation(
            "What failed, by outcome, status and reason.",
            data=dict[str, Any],
            query=_STATISTICS,
        ),
        ("GET", "/api/stats/waves"): Operation(
            "What happened to keys, like things that came together as one; the last first. "
            "Of the newest 10,000 changes in the range.",
            data=answers.KeyWaves,
            query={
                **{name: _STATISTICS[name] for name in ("from", "to", "group")},
                "limit": "1 to 100; 10 without it",
            },
        ),
        ("GET", "/api/stats/top"): Operation(
            "The busiest, or those that failed most.",
            data=dict[str, Any],
            query={
                **_STATISTICS,
                "by": "one or some of group, model, key, upstream, with commas between",
                "sort": "attempts or failures",
                "course": "total, first_byte, first_token or per_token: adds the course of its p95",
                "limit": "1 to 100; 10 without it",
            },
        ),
        ("GET", "/api/live"): Operation(
            "A stream of events, one a second: how it goes right now.",
            media="text/event-stream",
            query={"topics": "more events, with commas between: tasks, logs, keys:<group id>"},
        ),
        ("POST", "/api/simulate"): Operation(
            "Who would serve a request now, and why others wouldn't. Nothing is sent.",
            body=schemas.Simulated,
            data=answers.Simulation,
        ),
        ("GET", "/api/upstreams"): Operation(
            "Ways to upstreams that are in trouble.", data=list[answers.Breaker]
        ),
    }
    found |= {
        ("POST", "/api/keys/lookup"): Operation(
            "Find a whole key in all groups.", schemas.WholeKey, data=list[answers.Key]
        ),
        ("GET", "/api/keys/export"): Operation(
            "A group's whole keys, one a line.",
            media="text/plain",
            query={"group_id": "the group", "status": "all, active, invalid or disabled"},
            required=("group_id",),
        ),
        ("POST", "/api/keys/actions"): Operation(
            "Do something to these keys, or to all that fit: test, restore, enable, disable, "
            "delete, weight, note.",
            schemas.KeyAction,
            data=answers.Acted,
        ),
        ("POST", "/api/keys/export"): Operation(
            "The same, with whole keys also for a browser.", schemas.KeyExport, media="text/plain"
        ),
        ("POST", "/api/keys/{key_id}/reveal"): Operation(
            "A whole key, which a browser gets masked; the audit log has it.",
            data=answers.RevealedKey,
        ),
        ("POST", "/api/keys/add-async"): Operation(
            "Begin to add keys; as JSON, or as a .txt file in a form.",
            schemas.NewKeyText,
            data=dict[str, Any],
        ),
        ("POST", "/api/keys/delete-async"): Operation(
            "Begin to delete keys; as JSON, or as a .txt file in a form.",
            schemas.KeyText,
            data=dict[str, Any],
        ),
        ("POST", "/api/keys/validate-group"): Operation(
            "Begin to test a group's keys.", schemas.KeyChoice, data=dict[str, Any]
        ),
        ("GET", "/api/keys/deleted"): Operation(
            "Deletions of a group that can still be undone.",
            data=list[answers.Deletion],
            query={"group_id": "the group"},
            required=("group_id",),
        ),
        ("POST", "/api/keys/undelete"): Operation(
            "Bring the keys of a deletion back.", schemas.DeletedBatch, data=dict[str, Any]
        ),
        ("PUT", "/api/keys/{key_id}/state"): Operation(
            "Switch a key off (disabled) or on (active).", schemas.KeyState
        ),
        ("GET", "/api/tasks"): Operation(
            "Tasks, the newest first.",
            data=answers.Task,
            pages=True,
            query={"state": "running, done, failed, cancelled or interrupted", **page},
        ),
        ("GET", "/api/tasks/status"): Operation(
            "The last started task, as the reference shows it.", data=answers.TaskStatus
        ),
        ("GET", "/api/tasks/{task_id}"): Operation("One task.", data=answers.Task),
        ("POST", "/api/tasks/{task_id}/cancel"): Operation("End a task early.", data=answers.Task),
        ("POST", "/api/tasks/{task_id}/retry"): Operation(
            "Begin a task over just the keys that failed or weren't reached in this one; once. "
            "`rejected`: over the keys that its test found to be bad, any number of times.",
            schemas.TaskRetry,
            data=answers.Task,
        ),
        ("GET", "/api/status"): Operation("How each part does.", data=dict[str, Any]),
        ("GET", "/api/nodes"): Operation(
            "The nodes there are, each with how its parts do.", data=list[answers.Node]
        ),
        ("GET", "/metrics"): Operation(
            "Figures for Prometheus; METRICS_TOKEN or AUTH_KEY opens it.", media="text/plain"
        ),
    }
    keys = "/api/keys/"
    for name, summary, schema in (
        ("add-multiple", "Add keys.", schemas.KeyText),
        ("delete-multiple", "Delete these keys.", schemas.KeyText),
        ("restore-multiple", "Restore these keys.", schemas.KeyText),
        ("preview", "Say which of these keys a group has already.", schemas.KeyText),
        ("test-multiple", "Test these keys now.", schemas.KeyText),
        ("restore-all-invalid", "Restore a group's invalid keys.", schemas.GroupKeys),
        ("clear-all-invalid", "Delete a group's invalid keys.", schemas.GroupKeys),
        ("clear-all", "Delete all keys of a group.", schemas.GroupKeys),
    ):
        data = dict[str, Any] if name.endswith(("multiple", "preview")) else None
        found["POST", keys + name] = Operation(summary, schema, data=data)
    return found


OPERATIONS: Final = _operations()


def paths_of(routes: Iterable[Klein]) -> Iterator[tuple[str, str]]:
    """Method and path of every route, in the order of paths."""
    found = {
        (_PARAMETER.sub(r"{\1}", rule.rule), method)
        for each in routes
        for rule in each.url_map.iter_rules()
        for method in rule.methods or ()
        if method != "HEAD" and not rule.rule.startswith("/proxy/")
    }
    for path, method in sorted(found):
        yield method, path


def document(routes: Iterable[Klein], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 description of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path in paths_of(routes):
        operation = OPERATIONS.get((method, path), Operation(f"{method} {path}"))
        paths.setdefault(path, {})[method.lower()] = _described(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gptload admin API",
            "version": version,
            "description": "The admin API of GPT-Load 1.x, and what gptload adds. Times are "
            "UTC. Unknown fields of a body are passed over. Messages follow Accept-Language "
            "(en, zh, ja).",
        },
        "paths": paths,
        "components": {
            "schemas": _components(),
            "responses": {"Error": _json("Why not, and what to do.", _ERROR)},
            "securitySchemes": {"AUTH_KEY": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"AUTH_KEY": []}],
    }


_ERROR: Final = {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "hint": {"type": "string"},
    },
    "required": ["message"],
}


def _described(method: str, path: str, operation: Operation) -> dict[str, Any]:
    words = [method.lower(), *re.findall(r"[A-Za-z0-9]+", path.removeprefix("/api"))]
    described: dict[str, Any] = {
        "operationId": "-".join(words),
        "summary": operation.summary,
        "tags": [path.removeprefix("/api").strip("/").partition("/")[0] or "pages"],
        "responses": {"200": _answer(operation), "default": {"$ref": _ERROR_REF}},
    }
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _TEXT if name in _TEXTS else {"type": "integer", "minimum": 1},
        }
        for name in re.findall(r"{(\w+)}", path)
    ]
    parameters += [
        {
            "name": name,
            "in": "query",
            "required": name in operation.required,
            "description": meaning,
            "schema": _LIST if name == "not" else _TEXT,
        }
        for name, meaning in operation.query.items()
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = _content(_reference(operation.body))
    elif (method, path) == ("PUT", "/api/settings"):
        described["requestBody"] = _content(_settings_schema())
    if operation.public:
        described["security"] = []
    return described


_TEXT: Final = {"type": "string"}
_LIST: Final = {"type": "array", "items": _TEXT}
# Of a path; all else in one is a number.
_TEXTS: Final = ("key", "exchange_id")
_ERROR_REF: Final = "#/components/responses/Error"


def _content(schema: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _json(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.media:
        schema: dict[str, str] = {} if operation.media == "application/json" else _TEXT
        return {"description": operation.summary, "content": {operation.media: {"schema": schema}}}
    if operation.bare is not None:
        return _json(operation.summary, _reference(operation.bare))
    properties: dict[str, Any] = {"code": {"const": 0}, "message": _TEXT}
    required = ["code", "message"]
    if operation.data is not None:
        properties["data"] = _data(operation)
        required.append("data")
        if operation.data is answers.ChangedSettings:
            required.remove("data")  # there is none where nothing was asked for
    return _json(
        operation.summary, {"type": "object", "properties": properties, "required": required}
    )


def _data(operation: Operation) -> dict[str, Any]:
    if not operation.pages:
        if isinstance(operation.data, type) and issubclass(operation.data, BaseModel):
            return _reference(operation.data)
        schema = TypeAdapter(operation.data).json_schema(ref_template=_REF)
        schema.pop("$defs", None)  # all of them stand under components
        return schema
    return {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": _reference(operation.data)},
            "pagination": _reference(answers.Pagination),
        },
        "required": ["items", "pagination"],
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _settings_schema() -> dict[str, Any]:
    kinds = {"int": "integer", "bool": "boolean", "string": "string"}
    properties: dict[str, Any] = {}
    for setting in SETTINGS:
        kind: Any = kinds[setting.type]
        if not (setting.type == "string" and setting.required):
            kind = [kind, "null"]
        shown: dict[str, Any] = {"type": kind, "description": setting.description}
        for bound, limit in (("minimum", setting.minimum), ("maximum", setting.maximum)):
            if limit is not None:
                shown[bound] = limit
        properties[setting.key] = shown
    return {"type": "object", "properties": properties, "additionalProperties": False}


@cache
def _components() -> dict[str, Any]:
    """Every schema that is named somewhere, by its name."""
    models: set[type[BaseModel]] = set()
    for module in (answers, schemas):
        models |= {
            each
            for name, each in vars(module).items()
            if isinstance(each, type)
            and issubclass(each, BaseModel)
            and each.__module__ == module.__name__
            and not name.startswith("_")
        }
    ordered = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    return dict(found["$defs"])


def as_markdown(described: Mapping[str, Any]) -> str:
    """The description as docs/admin-api.md."""
    lines = [
        "# The admin API",
        "",
        "Generated by `make docs` from the routes and their schemas; "
        "`/api/openapi.json` of a running gptload says the same to machines, and `/api/docs` "
        "shows it. Everything but the routes marked *public* needs `Authorization: Bearer "
        'AUTH_KEY`. An answer is `{"code": 0, "message", "data"}`, an error '
        '`{"code", "message", "hint"}`; messages are in English, Chinese or Japanese, as '
        "`Accept-Language` asks.",
        "",
        "| route | what it does | takes | `data` |",
        "|---|---|---|---|",
    ]
    for path, method, operation in _each(described):
        public = " *(public)*" if operation.get("security") == [] else ""
        lines.append(
            f"| `{method} {path}`{public} | {operation['summary']} | {_takes(operation)} "
            f"| {_gives(operation)} |"
        )
    lines += ["", "## Schemas", ""]
    for name, schema in described["components"]["schemas"].items():
        fields = ", ".join(
            f"`{field}`" + ("" if field in schema.get("required", ()) else "?")
            for field in schema.get("properties", {})
        )
        text = schema.get("description", "").partition("\n")[0]
        lines.append(f"- **{name}**: {text} {fields}")
    return "\n".join(lines) + "\n"


def _each(described: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _takes(operation: Mapping[str, Any]) -> str:
    query = [
        f"`{each['name']}`" for each in operation.get("parameters", ()) if each["in"] == "query"
    ]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = _type_name(content["schema"]) if content else ""
    return "; ".join(part for part in (body, ", ".join(query)) if part)


def _gives(operation: Mapping[str, Any]) -> str:
    (media, content), *_ = operation["responses"]["200"]["content"].items()
    if media != "application/json":
        return str(media)
    schema = content["schema"]
    if "$ref" in schema:
        return f"{_type_name(schema)}, without envelope"
    data = schema.get("properties", {}).get("data")
    return _type_name(data) if data is not None else ""


def _type_name(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "items" in schema.get("properties", {}):
        return f"page of {_type_name(schema['properties']['items']['items'])}"
    if schema.get("type") == "array":
        return f"list of {_type_name(schema['items'])}"
    return str(schema.get("type", "any"))


_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>gptload admin API</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; }}
main {{ padding: 0 1rem; overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; }}
tr {{ border-bottom: 1px solid color-mix(in srgb, currentcolor 20%, transparent); }}
code {{ font-family: ui-monospace, monospace; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<main>
<h1>gptload admin API</h1>
<p>{description} All but public routes need <code>Authorization: Bearer AUTH_KEY</code>.
For machines: <a href="/api/openapi.json">openapi.json</a>.</p>
<table>
<thead><tr><th>Route</th><th>What it does</th><th>Takes</th><th>data</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<h2>Schemas</h2>
<dl>
{schemas}
</dl>
</main>
</body>
</html>
"""


def as_html(described: Mapping[str, Any]) -> str:
    """The description as a page; nothing on it runs."""
    rows = []
    for path, method, operation in _each(described):
        public = " (public)" if operation.get("security") == [] else ""
        cells = (
            f"<code>{method} {html.escape(path)}</code>{public}",
            html.escape(operation["summary"]),
            html.escape(_takes(operation).replace("`", "")),
            html.escape(_gives(operation)),
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    shown = [
        f"<dt><strong>{html.escape(name)}</strong></dt>"
        f"<dd><code>{html.escape(', '.join(schema.get('properties', {})))}</code></dd>"
        for name, schema in described["components"]["schemas"].items()
    ]
    description = html.escape(described["info"]["description"])
    return _PAGE.format(description=description, rows="\n".join(rows), schemas="\n".join(shown))


class OpenApiRoutes:
    """Anybody may read it: it tells nothing of this installation."""

    routes = make_routes()

    def __init__(self, described: Iterable[Klein], version: str) -> None:
        """
        Args:
            described: the routes of every subject but this one.
        """
        found = document([*described, self.routes], version)
        self._json = orjson.dumps(found)
        self._html = as_html(found).encode()

    @routes.route("/api/openapi.json", methods=["GET"])
    async def described(self, request: IRequest) -> bytes:
        return send(request, self._json, b"application/json; charset=utf-8")

    @routes.route("/api/docs", methods=["GET"])
    async def shown(self, request: IRequest) -> bytes:
        request.setHeader(
            b"Content-Security-Policy",
            b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        )
        return send(request, self._html, b"text/html; charset=utf-8")
