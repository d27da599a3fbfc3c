"""GPT-Load's JSON ↔ our words: bodies that come in, objects that go out.

What comes in is only held to its types here; which values are allowed is decided in
core. Names are the reference's, so that its dashboard and people's scripts work;
fields that it doesn't have are marked as ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from gptload.control.admin.replies import time_or_none, time_text
from gptload.control.audit import of_setting
from gptload.control.db.queries.groups import Group, Member
from gptload.control.db.queries.keys import Batch, KeyRow
from gptload.control.db.queries.logfacets import Facets
from gptload.control.db.queries.tasks import TaskRow
from gptload.control.keyactions import Acted
from gptload.control.keys import UNDO_S, Undo
from gptload.control.probes import Result
from gptload.core import settingtexts, texts
from gptload.core.errors import ValidationFailed
from gptload.core.settings import SETTINGS, Setting, Value, parse_stored, store
from gptload.core.texts import Language
from gptload.link.messages import BreakerMoved

UNREADABLE = "failed-to-decrypt"

_Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
_Any64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
_Status = Annotated[int, Field(ge=0, le=599)]


class _Body(BaseModel):
    """Fields that we don't know are passed over, as the reference does."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Login(_Body):
    """`POST /api/auth/login`."""

    auth_key: str
    remember: bool = False  # ours: on a device of one's own


class HeaderRuleBody(_Body):
    """One line of a group's header rules."""

    key: str
    value: str = ""
    action: str


class GroupBody(_Body):
    """A new group, or what changes of one. Null counts as absent."""

    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    group_type: str | None = None
    # Its faults are told like those of its values: one text for all.
    upstreams: Any = None
    channel_type: str | None = None
    sort: _Any64 | None = None
    test_model: str | None = None
    validation_endpoint: str | None = None
    param_overrides: dict[str, Any] | None = None
    model_redirect_rules: dict[str, str] | None = None
    model_redirect_strict: bool | None = None
    config: dict[str, Any] | None = None
    header_rules: list[HeaderRuleBody] | None = None
    error_rules: Any = None  # ours; its faults name the rule and its field
    proxy_keys: str | None = None


class GroupChange(GroupBody):
    """`PUT /api/groups/:id`. Ours: `if_updated_at`, as the group was read; else a 409."""

    if_updated_at: str | None = None


class ProbedUpstream(_Body):
    """`POST /api/groups/probe`."""

    url: Annotated[str, Field(max_length=4096)]


class UndoneChange(_Body):
    """`POST /api/groups/:id/undo`: what the change answered in `undo`."""

    id: Annotated[str, Field(min_length=1, max_length=32)]


class OrderItem(_Body):
    """A group's place."""

    id: _Any64
    sort: _Any64


class Order(_Body):
    """`PUT /api/groups/reorder`."""

    items: list[OrderItem]


class NewMember(_Body):
    """A sub-group to be."""

    group_id: _Any64
    weight: _Any64 = 0


class NewMembers(_Body):
    """`POST /api/groups/:id/sub-groups`."""

    sub_groups: list[NewMember]


class CopiedKeys(_Body):
    """`POST /api/groups/:id/copy`."""

    copy_keys: str | None = None


class MemberWeight(_Body):
    """`PUT /api/groups/:id/sub-groups/:subGroupId/weight`."""

    weight: _Any64 = 0


class GroupKeys(_Body):
    """A group, for what is done to many of its keys."""

    group_id: _Id


class KeyText(_Body):
    """Keys of a group, as text."""

    group_id: _Id
    keys_text: Annotated[str, Field(min_length=1)]


class NewKeyText(KeyText):
    """`POST /api/keys/add-async`; `notes` and `weight` are of the keys that are new."""

    notes: str = ""
    weight: _Any64 | None = None


class Simulated(_Body):
    """`POST /api/simulate`: a request that isn't sent. `failures`: how attempts end; 0: no answer.

    Without `path` and `body` it is the channel's own cheapest call. `stream`: its answer is
    streamed, in the API's own way.
    """

    group_id: _Id
    model: Annotated[str, Field(max_length=255)] = ""
    path: Annotated[str, Field(max_length=4096, pattern=r"^(/[!-~]*)?$")] = ""
    body: Annotated[str, Field(max_length=65536)] | None = None
    failures: Annotated[list[_Status], Field(max_length=20)] = []
    stream: bool = False


class KeyChoice(_Body):
    """`POST /api/keys/validate-group`. Ours: `state` and `reason`."""

    group_id: _Id
    status: str = ""
    state: str = ""
    reason: str = ""


class WholeKey(_Body):
    """`POST /api/keys/lookup`: a key's text, which must not stand in an address."""

    key: Annotated[str, Field(min_length=1, max_length=4096)]


class DeletedBatch(_Body):
    """`POST /api/keys/undelete`."""

    batch: Annotated[str, Field(min_length=1, max_length=32)]


class KeyExport(_Body):
    """`POST /api/keys/export`: as the GET, or these keys only."""

    group_id: _Id
    status: str = "all"
    ids: Annotated[list[_Id], Field(max_length=5000)] | None = None


class KeyMeant(_Body):
    """Which keys of a group are meant: all that fit; without a word, all.

    `task`: those that this import added, and nothing else is asked with it.
    """

    status: str = ""
    state: str = ""
    reason: Annotated[str, Field(max_length=1000)] = ""
    kind: str = ""
    notes: Annotated[str, Field(max_length=1000)] = ""
    last_used_before: Annotated[str, Field(max_length=100)] = ""
    task: _Id | None = None


class KeyAction(_Body):
    """`POST /api/keys/actions`: `ids` or `filter`; `expected` is how many that should be."""

    group_id: _Id
    action: Literal["test", "restore", "enable", "disable", "delete", "weight", "note"]
    ids: Annotated[list[_Id], Field(max_length=5000)] | None = None
    filter: KeyMeant | None = None
    expected: Annotated[int, Field(ge=0, le=2**53)] | None = None
    weight: _Any64 | None = None
    note: str | None = None


class TaskRetry(_Body):
    """`POST /api/tasks/:id/retry`: what failed or wasn't reached, or only what was rejected."""

    which: Literal["failed", "rejected"] = "failed"


class NamedSetting(_Body):
    """`POST /api/settings/reveal`."""

    key: str


class KeyState(_Body):
    """`PUT /api/keys/:id/state`."""

    state: str


class Notes(_Body):
    """`PUT /api/keys/:id/notes`."""

    notes: str


class KeyWeight(_Body):
    """`PUT /api/keys/:id/weight`."""

    weight: _Any64


def group_json(
    group: Group,
    app_url: str,
    problem: str,
    system: Mapping[str, Value],
    chosen: Collection[str],
) -> dict[str, Any]:
    """A group. Ours: `error_rules` and everything from `problem` on.

    Args:
        problem: why the group can't serve; empty when it can.
        system: the system's settings.
        chosen: the keys of those that somebody has set.
    """
    effective = _effective(group["config"], system, chosen)
    return {
        "id": group["id"],
        "name": group["name"],
        "endpoint": endpoint(app_url, group["name"]),
        "display_name": group["display_name"],
        "description": group["description"],
        "group_type": group["group_type"],
        "upstreams": group["upstreams"],
        "channel_type": group["channel_type"],
        "sort": group["sort"],
        "test_model": group["test_model"],
        "validation_endpoint": group["validation_endpoint"],
        "param_overrides": group["param_overrides"],
        "model_redirect_rules": group["model_redirect_rules"],
        "model_redirect_strict": bool(group["model_redirect_strict"]),
        "config": group["config"],
        "header_rules": group["header_rules"],
        "error_rules": group["error_rules"],
        "proxy_keys": group["proxy_keys"],
        "last_validated_at": time_or_none(group["last_validated_at"]),
        "created_at": time_text(group["created_at"]),
        "updated_at": time_text(group["updated_at"]),
        "problem": problem,
        "effective_config": {key: value for key, (value, _) in effective.items()},
        "config_sources": {key: source for key, (_, source) in effective.items()},
    }


def _effective(
    config: Mapping[str, Any], system: Mapping[str, Value], chosen: Collection[str]
) -> dict[str, tuple[Any, str]]:
    """What holds for a group, and who says so: `group`, `system` or nobody (`default`)."""
    found: dict[str, tuple[Any, str]] = {}
    for setting in SETTINGS:
        key = setting.key
        if not setting.group_overridable:
            continue
        if config.get(key) is not None:
            found[key] = (config[key], "group")
        else:
            value = system.get(key, setting.default)
            found[key] = (value, "system" if key in chosen else "default")
    return found


def endpoint(app_url: str, name: str) -> str:
    """A group's address for SDKs; empty if `app_url` is none."""
    try:
        parts = urlsplit(app_url)
    except ValueError:
        return ""
    if not parts.scheme or not parts.netloc:
        return ""
    return f"{app_url.rstrip('/')}/proxy/{name}"


def member_json(member: Member, group: Mapping[str, Any]) -> dict[str, Any]:
    """A sub-group of an aggregate; `group` is what `group_json` says of it."""
    return {
        "group": group,
        "weight": member.weight,
        "total_keys": member.total_keys,
        "active_keys": member.active_keys,
        "invalid_keys": member.invalid_keys,
    }


def parent_json(parent: Member) -> dict[str, Any]:
    """An aggregate that a group belongs to."""
    group = parent.group
    return {
        "group_id": group["id"],
        "name": group["name"],
        "display_name": group["display_name"],
        "weight": parent.weight,
    }


def key_json(key: KeyRow, now: float) -> dict[str, Any]:
    """A key. Ours: everything from `state` on; to the reference a rest is `active`."""
    rests = key.status == "active" and key.rest_until is not None and key.rest_until > now
    is_well = key.status == "active" and not rests
    return {
        "id": key.id,
        "key_value": UNREADABLE if key.value is None else key.value,
        "key_hash": key.key_hash,
        "group_id": key.group_id,
        "status": key.status,
        "notes": key.notes,
        "request_count": key.request_count,
        "failure_count": key.failure_count,
        "last_used_at": time_or_none(key.last_used_at),
        "created_at": time_text(key.created_at),
        "updated_at": time_text(key.updated_at),
        "state": "resting" if rests else key.status,
        "rest_until": time_or_none(key.rest_until) if rests else None,
        "reason": "" if is_well else key.reason,
        "model_rests": {
            model: time_text(until)
            for model, until in (key.model_rests or {}).items()
            if until > now
        },
        "account": key.account,
        "weight": key.weight,
    }


def change_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a key's timeline."""
    return {
        "at": time_text(row["at"]),
        "event": row["event"],
        "state": row["state"],
        "strikes": row["strikes"],
        "until": time_or_none(row["until"]),
        "model": row["model"],
        "account": row["account"],
        "reason": row["reason"],
        "status_code": row["status_code"],
        "exchange_id": row["exchange_id"],
        "named": row["named"],
        "cause": _cause(row),
    }


def _cause(row: Mapping[str, Any]) -> str:
    """What happened, in a sentence."""
    status, reason = row["status_code"], row["reason"]
    shown = " ".join(part for part in (f"status {status}" if status else "", reason) if part)
    shown = f" ({shown})" if shown else ""
    strikes = "1 rejection" if row["strikes"] == 1 else f"{row['strikes']} rejections in a row"
    rests = f" for model {row['model']}" if row["model"] else ""
    if row["until"] is not None:
        rests += f" until {time_text(row['until'])}"
    if row["named"] is not None:
        rests += ", as the answer said" if row["named"] else ", by our own back-off"
    known = f" Its account is {row['account']}." if row["account"] else ""
    sentences = {
        "struck": f"The upstream rejected it{shown}: {strikes} so far.",
        "struck_out": f"The upstream rejected it{shown}: invalid after {strikes}.",
        "strikes_ended": "It worked again: its rejections no longer count.",
        "rested": f"The upstream had enough of it{shown}: it rests{rests}.",
        "account_seen": f"The upstream named its account.{known}",
        "undone": f"Taken back, because the key is not to blame: {reason}.",
        "tested_good": "A test showed that it works.",
        "tested_bad": f"A test showed that the upstream rejects it{shown}.",
        "restored": "A person restored it.",
        "switched_off": "A person switched it off.",
        "switched_on": "A person switched it on again.",
    }
    return sentences.get(row["event"], "")


def undo_json(undo: Undo | None) -> dict[str, Any] | None:
    """How a deletion can be taken back, and until when; None if it met no key."""
    return None if undo is None else {"batch": undo.batch, "until": time_text(undo.until)}


def batch_json(batch: Batch) -> dict[str, Any]:
    """A deletion that can still be undone."""
    return {
        "batch": batch.batch,
        "count": batch.count,
        "deleted_at": time_text(batch.removed_at),
        "kept_until": time_text(batch.removed_at + UNDO_S),
    }


# As the reference says when nothing ever ran.
NO_TASK: Final = {
    "task_type": "",
    "is_running": False,
    "processed": 0,
    "total": 0,
    "started_at": "0001-01-01T00:00:00Z",
}
_TASK_TYPES: Final = {"import": "KEY_IMPORT", "delete": "KEY_DELETE", "validate": "KEY_VALIDATION"}


def task_status_json(task: TaskRow) -> dict[str, Any]:
    """A task, as the reference has it. Ours: `id` and `state`."""
    shown: dict[str, Any] = {
        "task_type": _TASK_TYPES.get(task.kind, task.kind.upper()),
        "is_running": task.state == "running",
        "group_name": task.group_name,
        "processed": task.processed,
        "total": task.total,
    }
    # A failed one has no result; of those that were cut short people want the figures.
    if task.result is not None and task.state not in ("running", "failed"):
        shown["result"] = task.result
    if task.error:
        shown["error"] = task.error
    shown["started_at"] = time_text(task.started_at)
    if task.finished_at is not None:
        shown["finished_at"] = time_text(task.finished_at)
        shown["duration_seconds"] = round(max(0.0, task.finished_at - task.started_at), 3)
    return {**shown, "id": task.id, "state": task.state}


def task_json(task: TaskRow) -> dict[str, Any]:
    """A task with all its figures, also while it runs. All of it is ours."""
    left = task.remainder or {}
    return {
        "id": task.id,
        "kind": task.kind,
        "group_id": task.group_id,
        "group_name": task.group_name,
        "state": task.state,
        "is_cancelling": task.state == "running" and task.is_cancelled,
        "processed": task.processed,
        "total": task.total,
        "result": task.result or {},
        "left": None if not left or task.state == "running" else _left_json(task, left),
        "retry_of": left.get("of"),
        "retried_by": left.get("next"),
        "error": task.error,
        "source_ip": task.source_ip,
        "started_at": time_text(task.started_at),
        "updated_at": time_text(task.updated_at),
        "finished_at": time_or_none(task.finished_at),
    }


def _left_json(task: TaskRow, left: Mapping[str, Any]) -> dict[str, int]:
    is_retried = "next" in left
    unreached = max(0, task.total - task.processed) if left["is_cut"] else 0
    return {
        "failed": 0 if is_retried else left["failed_count"],
        "unreached": 0 if is_retried else unreached,
        "rejected": left["rejected_count"],
        "unnamed": left["unnamed_count"],
    }


def breaker_json(moved: BreakerMoved) -> dict[str, Any]:
    """The state of one way to an upstream. All of it is ours."""
    return {
        "way": moved.way,
        "state": moved.state.name.lower(),
        "changed_at": time_text(moved.at),
        "retry_at": time_or_none(moved.retry_at),
        "reason": moved.reason,
    }


def acted_json(acted: Acted) -> dict[str, Any]:
    """What came of a deed for many keys. All of it is ours."""
    results = None
    if acted.results is not None:
        results = [
            {"id": each.key_id, "is_valid": each.is_valid, "error": each.error}
            for each in acted.results
        ]
    return {
        "count": acted.count,
        "changed": acted.changed,
        "task": None if acted.task is None else task_json(acted.task),
        "undo": undo_json(acted.undo),
        "results": results,
    }


def result_json(result: Result) -> dict[str, Any]:
    """What a test of a key showed."""
    shown: dict[str, Any] = {"key_value": result.key, "is_valid": result.is_valid}
    if result.error:
        shown["error"] = result.error
    return shown


# A log row's fields, in the order of `log_json`.
LOG_COLUMNS: Final = (
    "id",
    "timestamp",
    "group_id",
    "group_name",
    "parent_group_id",
    "parent_group_name",
    "key_value",
    "key_hash",
    "model",
    "is_success",
    "source_ip",
    "status_code",
    "request_path",
    "duration_ms",
    "error_message",
    "user_agent",
    "request_type",
    "upstream_addr",
    "is_stream",
    "request_body",
    "exchange_id",
    "key_id",
    "connect_ms",
    "first_byte_ms",
    "first_token_ms",
    "total_ms",
    "outcome",
    "reason",
    "method",
    "scope",
    "rest_until",
    "account",
    "signature",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
    "cost_nano_usd",
)


def facets_json(facets: Facets) -> dict[str, Any]:
    """What the log can be narrowed to, the most frequent first. All of it is ours."""

    def counted(counts: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
        return [{"name": name, "count": count} for name, count in counts]

    return {
        "groups": counted(facets.groups),
        "parent_groups": counted(facets.parent_groups),
        "models": counted(facets.models),
        "status_codes": [{"code": code, "count": count} for code, count in facets.status_codes],
        "outcomes": counted(facets.outcomes),
        "upstreams": counted(facets.upstreams),
    }


def log_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """One attempt. Ours: everything from `exchange_id` on."""
    return {
        "id": row["id"],
        "timestamp": time_text(row["timestamp"]),
        "group_id": row["group_id"],
        "group_name": row["group_name"],
        "parent_group_id": row["parent_group_id"],
        "parent_group_name": row["parent_group_name"],
        "key_value": UNREADABLE if row["key_value"] is None else row["key_value"],
        "key_hash": row["key_hash"],
        "model": row["model"],
        "is_success": row["is_success"],
        "source_ip": row["source_ip"],
        "status_code": row["status_code"],
        "request_path": row["request_path"],
        "duration_ms": row["duration"],
        "error_message": row["error_message"],
        "user_agent": row["user_agent"],
        "request_type": row["request_type"],
        "upstream_addr": row["upstream_addr"],
        "is_stream": row["is_stream"],
        "request_body": row["request_body"],
        "exchange_id": row["exchange_id"],
        "key_id": row["key_id"],
        "connect_ms": row["connect_ms"],
        "first_byte_ms": row["first_byte_ms"],
        "first_token_ms": row["first_token_ms"],
        "total_ms": row["total_ms"],
        "outcome": row["outcome"],
        "reason": row["reason"],
        "method": row["method"],
        "scope": row["scope"],
        "rest_until": time_or_none(row["rest_until"]),
        "account": row["account"],
        "signature": row["signature"],
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "cached_tokens": row["cached_tokens"],
        "cache_write_tokens": row["cache_write_tokens"],
        "reasoning_tokens": row["reasoning_tokens"],
        "audio_tokens": row["audio_tokens"],
        "cost_nano_usd": row["cost_nano"],
    }


def settings_json(
    values: Mapping[str, Value],
    chosen: Mapping[str, float],
    overriders: Mapping[str, int],
    language: Language,
) -> list[dict[str, Any]]:
    """All settings under their headings, both in the table's order.

    Args:
        chosen: when each setting got the value that somebody chose.
        overriders: how many groups have a value of their own, by setting.
    """
    headings: dict[str, list[dict[str, Any]]] = {}
    for setting in SETTINGS:
        shown = setting_json(setting, values.get(setting.key, setting.default), language)
        shown["is_set"] = setting.key in chosen
        shown["set_at"] = time_or_none(chosen.get(setting.key))
        shown["overridden_by"] = overriders.get(setting.key, 0)
        headings.setdefault(shown["category"], []).append(shown)
    return [{"category_name": name, "settings": listed} for name, listed in headings.items()]


def setting_json(setting: Setting, value: Value, language: Language) -> dict[str, Any]:
    """A setting as forms need it. Ours: everything after `required`, and `max_value`."""
    name, description = settingtexts.words(setting, language)
    shown: dict[str, Any] = {
        "key": setting.key,
        "name": name,
        "value": value,
        "type": setting.type,
        "default_value": store(setting.key, setting.default),
        "description": description,
        "category": texts.label(setting.category, language),
        "required": setting.required,
        "unit": setting.unit,
        "group_overridable": setting.group_overridable,
        "effect": setting.effect,
        "pattern": setting.pattern,
    }
    for bound, limit in (("min_value", setting.minimum), ("max_value", setting.maximum)):
        if limit is not None:
            shown[bound] = limit
    return shown


def setting_change_json(key: str, old: str | None, new: str | None) -> dict[str, Any]:
    """What a setting was and is, without secrets; null: unset. All of it is ours."""
    return {"key": key, "old_value": _stored_value(key, old), "new_value": _stored_value(key, new)}


def _stored_value(key: str, text: str | None) -> Value | None:
    if text is None:
        return None
    try:
        value = parse_stored(key, text)
    except ValidationFailed:  # of a version that allowed more
        value = text
    shown: Value = of_setting(key, value)
    return shown
