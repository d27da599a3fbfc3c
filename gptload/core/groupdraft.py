"""What a person may write into a group: every rule, in the order in which faults are told.

Values come in as JSON gave them, already of the right type where the schema says so,
and go out as the columns of a group's row. A change names only the columns that
change, so two people who change different things don't undo each other's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from gptload.core import headers, operatorrules, paths, settings
from gptload.core.errors import ValidationFailed
from gptload.core.snapshot import Upstream

Values = Mapping[str, Any]

_NAME: Final = re.compile(r"[a-z0-9_-]{1,100}")
_LONGEST: Final = {
    "display_name": 255,
    "description": 512,
    "test_model": 255,
    "validation_endpoint": 255,
}
_LONGEST_HEADER_VALUE: Final = 8192
_HIGHEST_SORT: Final = 2**31 - 1
_HIGHEST_WEIGHT: Final = 1_000_000
_HIGHEST_MEMBER_WEIGHT: Final = 1000
_UNSAFE_IN_PATH: Final = re.compile(r"[^\x21-\x7e]|[#\"<>\\^`{|}]")
# Setting one of these would change where the request ends, not what it says.


def check_new(
    given: Values, channels: Sequence[str], *, allow_link_local: bool = False
) -> dict[str, Any]:
    """The row of a new group.

    Args:
        given: what was sent; None counts as absent.
        channels: the channel types there are.
        allow_link_local: whether an upstream may be a link-local or metadata address.

    Raises:
        ValidationFailed: with the first fault.
    """
    sent = {key: value for key, value in given.items() if value is not None}
    row: dict[str, Any] = {"name": _name(sent.get("name", ""))}
    row["channel_type"] = _channel(sent.get("channel_type", ""), channels)
    row["group_type"] = _group_type(sent.get("group_type", ""))
    is_aggregate = row["group_type"] == "aggregate"
    if is_aggregate:
        row |= {"upstreams": [], "test_model": "-", "validation_endpoint": ""}
    else:
        row["test_model"] = _text("test_model", sent.get("test_model", ""))
        if not row["test_model"]:
            raise ValidationFailed("Test model is required")
        row["upstreams"] = _upstreams(sent.get("upstreams"), allow_link_local)
        row["validation_endpoint"] = _validation_path(sent.get("validation_endpoint", ""))
    row["config"] = _config(sent.get("config", {}))
    row["header_rules"] = _header_rules(sent.get("header_rules", []))
    row["model_redirect_rules"] = _redirects(sent.get("model_redirect_rules", {}), is_aggregate)
    row["model_redirect_strict"] = sent.get("model_redirect_strict", False)
    row["param_overrides"] = sent.get("param_overrides", {})
    row["error_rules"] = _error_rules(sent.get("error_rules", []), is_aggregate)
    row["sort"] = _sort(sent.get("sort", 0))
    for key in ("display_name", "description", "proxy_keys"):
        row[key] = _text(key, sent.get(key, ""))
    return row


def check_change(
    current: Values,
    given: Values,
    channels: Sequence[str],
    *,
    memberships: int,
    allow_link_local: bool = False,
) -> dict[str, Any]:
    """The columns that change.

    Args:
        current: the group's row.
        given: what was sent; None counts as absent. `group_type` never changes.
        memberships: how many aggregates the group belongs to.
        allow_link_local: whether an upstream may be a link-local or metadata address.

    Raises:
        ValidationFailed: with the first fault.
    """
    sent = {key: value for key, value in given.items() if value is not None}
    is_aggregate = current["group_type"] == "aggregate"
    row: dict[str, Any] = {}

    def take(key: str, check: Callable[[Any], Any]) -> None:
        if key in sent:
            row[key] = check(sent[key])

    take("name", _name)
    if not is_aggregate:
        take("channel_type", lambda value: _channel(value, channels))
        if sent.get("test_model"):
            row["test_model"] = _text("test_model", sent["test_model"])
            if not row["test_model"]:
                raise ValidationFailed("Test model cannot be empty or contain only spaces")
        take("validation_endpoint", _validation_path)
    _check_reference(current, row, memberships)
    if not is_aggregate:
        take("upstreams", lambda value: _upstreams(value, allow_link_local))
    take("config", _config)
    take("header_rules", _header_rules)
    take("model_redirect_rules", lambda value: _redirects(value, is_aggregate))
    take("model_redirect_strict", bool)
    take("param_overrides", dict)
    take("error_rules", lambda value: _error_rules(value, is_aggregate))
    take("sort", _sort)
    for key in ("display_name", "description", "proxy_keys"):
        take(key, partial(_text, key))
    return row


def _check_reference(current: Values, row: dict[str, Any], memberships: int) -> None:
    changes = any(
        key in row and row[key] != current[key] for key in ("channel_type", "validation_endpoint")
    )
    if memberships and changes:
        raise ValidationFailed(
            f"This group is referenced by {memberships} aggregate group(s) as a sub-group. "
            "Its channel type and validation endpoint cannot be modified",
            hint="Take it out of the aggregate groups first.",
        )


def check_copied_keys(keys: str) -> None:
    """Which keys a copy of a group gets.

    Raises:
        ValidationFailed: it is none of the words for it.
    """
    if keys not in ("all", "valid_only", "none"):
        raise ValidationFailed("Invalid copy_keys value. Must be 'none', 'valid_only', or 'all'")


def check_order(items: Sequence[tuple[int, int]]) -> dict[int, int]:
    """New places in the list, by group id.

    Args:
        items: (group id, sort).

    Raises:
        ValidationFailed: with the first fault.
    """
    if not items:
        raise ValidationFailed("Reorder items cannot be empty")
    sorts: dict[int, int] = {}
    for group_id, sort in items:
        if group_id <= 0:
            raise ValidationFailed("Reorder item contains invalid group ID")
        if group_id in sorts:
            raise ValidationFailed(f"Duplicate group ID in reorder items: {group_id}")
        sorts[group_id] = _sort(sort)
    return sorts


def check_members(items: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """New members of an aggregate: (group id, weight), as sent.

    Raises:
        ValidationFailed: with the first fault.
    """
    if not items:
        raise ValidationFailed("Aggregate group must contain at least one sub-group")
    if any(group_id <= 0 for group_id, _ in items):
        raise ValidationFailed("Invalid sub-group ID")
    for number, (_, weight) in enumerate(items):
        check_member_weight(weight, f"sub_groups[{number}].weight")
    if len({group_id for group_id, _ in items}) < len(items):
        raise ValidationFailed(
            "One or more sub-groups not found", hint="A sub-group is named more than once."
        )
    return list(items)


def check_member_weight(weight: int, where: str = "weight") -> int:
    """
    Args:
        where: the field's place in what was sent.

    Raises:
        ValidationFailed: it is out of range.
    """
    hint = f"See {where}."
    if weight < 0:
        raise ValidationFailed("Sub-group weight cannot be negative", hint=hint)
    if weight > _HIGHEST_MEMBER_WEIGHT:
        raise ValidationFailed(
            f"Sub-group weight cannot exceed {_HIGHEST_MEMBER_WEIGHT}", hint=hint
        )
    return weight


def _name(text: str) -> str:
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise ValidationFailed(
            "Invalid group name. Can only contain lowercase letters, numbers, hyphens or "
            "underscores, 1-100 characters"
        )
    return name


def _channel(text: str, channels: Sequence[str]) -> str:
    channel = text.strip()
    if channel not in channels:
        raise ValidationFailed(f"Invalid channel type. Supported types: {', '.join(channels)}")
    return channel


def _group_type(text: str) -> str:
    kind = text.strip() or "standard"
    if kind not in ("standard", "aggregate"):
        raise ValidationFailed("Invalid group type, must be 'standard' or 'aggregate'")
    return kind


def _text(key: str, text: str) -> str:
    text = text.strip()
    limit = _LONGEST.get(key)
    if limit is not None and len(text) > limit:
        raise ValidationFailed(f"{key} is longer than {limit} characters")
    return text


def _sort(sort: int) -> int:
    if sort < 0:
        raise ValidationFailed("Sort value cannot be negative")
    if sort > _HIGHEST_SORT:
        raise ValidationFailed(f"Sort value cannot exceed {_HIGHEST_SORT}")
    return sort


def _validation_path(text: str) -> str:
    path = _text("validation_endpoint", text)
    if path and (not path.startswith("/") or "://" in path or _UNSAFE_IN_PATH.search(path)):
        raise ValidationFailed(
            "Invalid test path. If provided, must be a valid path starting with / and not a "
            "full URL."
        )
    return path


def _upstreams(given: object, allow_link_local: bool) -> list[dict[str, Any]]:
    if given is None:
        raise _bad_upstreams("upstreams field is required")
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise _bad_upstreams('expected a list of {"url": …, "weight": …}')
    if not given:
        raise _bad_upstreams("at least one upstream is required")
    rows = [
        _upstream(item, f"upstreams[{number}]", allow_link_local)
        for number, item in enumerate(given)
    ]
    if not any(row["weight"] for row in rows):
        raise _bad_upstreams(
            "at least one upstream must have a weight greater than 0",
            "See upstreams: every weight in it is 0.",
        )
    return rows


def _upstream(given: Values, where: str, allow_link_local: bool) -> dict[str, Any]:
    url, weight = given.get("url", ""), given.get("weight", 0)
    if not isinstance(url, str):
        raise _bad_upstreams("upstream URL must be a string", f"See {where}.url.")
    if isinstance(weight, bool) or not isinstance(weight, int) or weight < 0:
        raise _bad_upstreams(
            "upstream weight must be a non-negative integer", f"See {where}.weight."
        )
    if weight > _HIGHEST_WEIGHT:
        raise _bad_upstreams(
            f"upstream weight must be at most {_HIGHEST_WEIGHT}", f"See {where}.weight."
        )
    return {"url": upstream_of(url, where, allow_link_local).url, "weight": weight}


def upstream_of(url: str, where: str, allow_link_local: bool) -> Upstream:
    """A base URL that a group may have.

    Args:
        where: what holds it, for the hint.

    Raises:
        ValidationFailed: no group may have it.
    """
    try:
        upstream = paths.parse_upstream(url, 1)
    except ValueError as error:
        raise _bad_upstreams(str(error)[:400], f"See {where}.url.") from None
    if not allow_link_local and paths.is_link_local(upstream.origin.host):
        raise _bad_upstreams(
            "a link-local or metadata address can't be an upstream",
            f"See {where}.url. ALLOW_LINK_LOCAL_UPSTREAMS=true allows it.",
        )
    return upstream


def _bad_upstreams(reason: str, hint: str = "") -> ValidationFailed:
    # The message is the reference's, to the letter; the hint names the place.
    return ValidationFailed(f"Invalid upstreams configuration: {reason}", hint=hint)


def _config(given: Values) -> dict[str, Any]:
    try:
        return {
            key: settings.check(key, value, for_group=True)
            for key, value in given.items()
            if value is not None
        }
    except ValidationFailed as error:
        raise ValidationFailed(f"Invalid config format: {error.message}") from None


def _header_rules(given: Sequence[Values]) -> list[dict[str, str]]:
    rules: dict[str, dict[str, str]] = {}
    for item in given:
        key = item["key"].strip()
        if not key:
            continue
        known = headers.learn(key.encode("utf-8"))
        if known is None:
            raise _bad_rule(f"'{key[:100]}' is no header name")
        name = "-".join(part.capitalize() for part in key.split("-"))
        if name in rules:
            raise ValidationFailed(f"Duplicate header: {name}")
        action, value = item["action"], item["value"]
        if action not in ("set", "remove"):
            raise _bad_rule(f"the action of {name} must be 'set' or 'remove'")
        if action == "set" and known.lower in headers.NOT_FOR_RULES:
            raise _bad_rule(f"{name} frames the message and can't be set")
        if any(ord(character) < 0x20 and character != "\t" for character in f"{value}") or (
            "\x7f" in value
        ):
            raise _bad_rule(f"the value of {name} must be one line without control characters")
        if len(value) > _LONGEST_HEADER_VALUE:
            raise _bad_rule(
                f"the value of {name} is longer than {_LONGEST_HEADER_VALUE} characters"
            )
        rules[name] = {"key": name, "value": value, "action": action}
    return list(rules.values())


def _bad_rule(reason: str) -> ValidationFailed:
    return ValidationFailed(f"Failed to process header rules: {reason}")


def _redirects(given: Mapping[str, str], is_aggregate: bool) -> dict[str, str]:
    if is_aggregate and given:
        raise ValidationFailed("Aggregate groups do not support model redirect rules")
    for source, target in given.items():
        if not source.strip() or not target.strip():
            raise ValidationFailed("A model redirect rule needs a source and a target model")
    return dict(given)


def _error_rules(given: object, is_aggregate: bool) -> list[dict[str, Any]]:
    if is_aggregate and given:
        raise ValidationFailed("error_rules: an aggregate has none; its sub-groups have their own")
    return operatorrules.checked(given)
