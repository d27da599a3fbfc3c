"""What a browser sees in the place of a secret, and what it means when it sends that back.

Whoever presents AUTH_KEY with each call may see everything. A page in a browser gets
masks: what it never had can't be read off a screen, or taken by an extension or out of a
cache. A mask that comes back in a change stands for the value that it masks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from twisted.web.iweb import IRequest

from gptload.control.admin.schemas import UNREADABLE
from gptload.control.admin.sessions import caller
from gptload.control.audit import of_setting, url_without_secrets
from gptload.control.db.queries.groups import Group
from gptload.core.errors import ValidationFailed
from gptload.core.settings import split_keys
from gptload.core.vault import mask

HIDDEN: Final = "****"
SECRET_SETTINGS: Final = ("proxy_keys", "proxy_url")
# Of a header rule. `${…}` is filled in when a request is sent, and tells nothing.
_SECRET_FIELD: Final = re.compile(r"auth|token|secret|key|cookie|password", re.IGNORECASE)
_VARIABLES: Final = re.compile(r"(\$\{\w+\}|\s)*")


def sees_secrets(request: IRequest) -> bool:
    """Whether values may be shown whole to whoever asks."""
    return caller(request).has_key


def key_text(request: IRequest, value: str) -> str:
    """A key as whoever asks may see it."""
    return value if sees_secrets(request) or value == UNREADABLE else mask(value)


def with_keys(request: IRequest, shown: Mapping[str, Any]) -> dict[str, Any]:
    """An object of the API with its `key_value` as whoever asks may see it."""
    return {**shown, "key_value": key_text(request, shown["key_value"])}


def setting_value(request: IRequest, key: str, value: Any) -> Any:
    """A setting's value as whoever asks may see it."""
    return value if sees_secrets(request) else _setting(key, value)


def _setting(key: str, value: Any) -> Any:
    return of_setting(key, value) if key in SECRET_SETTINGS else value


def group(request: IRequest, shown: Mapping[str, Any]) -> dict[str, Any]:
    """A group of the API as whoever asks may see it."""
    if sees_secrets(request):
        return dict(shown)
    hidden = {
        "proxy_keys": _setting("proxy_keys", shown["proxy_keys"]),
        "upstreams": [_upstream(item) for item in shown["upstreams"]],
        "header_rules": [_rule(rule) for rule in shown["header_rules"]],
    }
    for name in ("config", "effective_config"):
        hidden[name] = {key: _setting(key, value) for key, value in shown[name].items()}
    return {**shown, **hidden}


def _upstream(item: Mapping[str, Any]) -> dict[str, Any]:
    return {**item, "url": url_without_secrets(str(item.get("url", "")))}


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    value = str(rule.get("value", ""))
    is_secret = _SECRET_FIELD.search(str(rule.get("key", ""))) and not _VARIABLES.fullmatch(value)
    return {**rule, "value": HIDDEN} if is_secret else dict(rule)


# And back.


def unmasked_group(given: Mapping[str, Any], current: Group) -> dict[str, Any]:
    """A change of a group, with what it holds now in the place of masks.

    Raises:
        ValidationFailed: a mask stands for nothing, or for one of several.
    """
    change = dict(given)
    if isinstance(given.get("proxy_keys"), str):
        change["proxy_keys"] = unmasked_keys(given["proxy_keys"], current["proxy_keys"])
    if isinstance(given.get("config"), dict):
        held = current["config"]
        change["config"] = {
            key: unmasked_setting(key, value, held.get(key))
            for key, value in given["config"].items()
        }
    if isinstance(given.get("upstreams"), list):
        urls = [str(item.get("url", "")) for item in current["upstreams"]]
        change["upstreams"] = [_unmasked_upstream(item, urls) for item in given["upstreams"]]
    if isinstance(given.get("header_rules"), list):
        change["header_rules"] = [
            _unmasked_rule(rule, current["header_rules"]) for rule in given["header_rules"]
        ]
    return change


def unmasked_setting(key: str, value: Any, held: Any) -> Any:
    """A setting's new value, with what it is now in the place of masks.

    Raises:
        ValidationFailed: as `unmasked_group`.
    """
    if not isinstance(value, str) or key not in SECRET_SETTINGS or HIDDEN not in value:
        return value
    if key == "proxy_keys":
        return unmasked_keys(value, str(held or ""))
    return _only([str(held)] if held and _setting(key, held) == value else [], key)


def unmasked_keys(given: str, held: str) -> str:
    """A list of proxy keys, some of them as masks; as text.

    Raises:
        ValidationFailed: as `unmasked_group`.
    """
    present = split_keys(held)
    by_mask: dict[str, list[str]] = {}
    for key in present:
        by_mask.setdefault(mask(key), []).append(key)
    wanted = [text for text in (part.strip() for part in given.split(",")) if text]
    asked = Counter(wanted)
    found: list[str] = []
    for text in wanted:
        if HIDDEN not in text or text in present:
            found.append(text)
            continue
        meant = by_mask.get(text, [])
        # Of two that look alike nobody can say which one is to go.
        if meant and asked[text] != len(meant):
            raise _ambiguous("proxy_keys")
        found += meant or [_only([], "proxy_keys")]
    return ",".join(dict.fromkeys(found))


def _unmasked_upstream(item: Any, urls: Sequence[str]) -> Any:
    url = item.get("url") if isinstance(item, dict) else None
    if not isinstance(url, str) or HIDDEN not in url or url in urls:
        return item
    meant = [each for each in urls if url_without_secrets(each) == url]
    return {**item, "url": _only(meant, "upstreams")}


def _unmasked_rule(rule: Any, rules: Iterable[Mapping[str, Any]]) -> Any:
    if not isinstance(rule, dict) or rule.get("value") != HIDDEN:
        return rule
    name = str(rule.get("key", "")).lower()
    same = [each for each in rules if str(each.get("key", "")).lower() == name]
    held = [str(each.get("value", "")) for each in same]
    return {**rule, "value": _only(held, "header_rules")}


def _only(found: Sequence[str], field: str) -> str:
    if not found:
        raise ValidationFailed(
            f"{field}: a masked value stands for nothing that is there",
            hint="Load the page again, or give the whole value.",
        )
    if len(set(found)) > 1:
        raise _ambiguous(field)
    return found[0]


def _ambiguous(field: str) -> ValidationFailed:
    return ValidationFailed(
        f"{field}: a masked value stands for one of several that look alike",
        hint="Give the whole value.",
    )
