"""Builds what data planes read from what the database holds.

A group whose stored data can't be used is left out, with its name and the reason in
the log; the others work. A setting that can't be read has its default.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from attrs import evolve
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import snapshot as queries
from gptload.control.db.queries.snapshot import GroupRow, Stored
from gptload.core import headers, operatorrules, paths, settings
from gptload.core.errors import ValidationFailed
from gptload.core.outcome import Rule
from gptload.core.settings import Settings
from gptload.core.snapshot import Group, HeaderRule, Snapshot, Upstream, digest
from gptload.provider import Providers


def first_values(auth_key: str, host: str, port: int) -> dict[str, str]:
    """Settings that a new database doesn't start with at their defaults.

    Args:
        host: as configured; empty or "every address" is reached as `localhost`.
    """
    try:
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = ""
        elif address.version == 6:
            host = f"[{host}]"
    except ValueError:  # a name, or nothing
        pass
    return {"proxy_keys": auth_key, "app_url": f"http://{host or 'localhost'}:{port}"}


class Snapshots:
    """The current snapshot, and how to get the next one."""

    log = Logger()

    def __init__(
        self, database: Database, providers: Providers, publish: Callable[[Snapshot], None]
    ) -> None:
        """
        Args:
            publish: called with every new snapshot before `rebuild` returns.
        """
        self.current = Snapshot()
        self.system: Mapping[str, settings.Value] = {}
        self.settings = Settings()
        self.unusable: Mapping[int, str] = {}
        self._database = database
        self._providers = providers
        self._publish = publish
        # An older reading must never come out after a newer one.
        self._lock = DeferredLock()

    async def rebuild(self) -> Snapshot:
        """Read groups, sub-groups and settings, and publish what they make.

        Raises:
            DatabaseUnavailable: the current snapshot stays.
        """
        await self._lock.acquire()
        try:
            stored = await self._database.read(queries.read)
            self.system = self._system(stored)
            self.settings = settings.resolve(self.system, {})
            self.current = self._snapshot(stored)
            self._publish(self.current)
            return self.current
        finally:
            self._lock.release()

    def _system(self, stored: Stored) -> dict[str, settings.Value]:
        values: dict[str, settings.Value] = {}
        for setting in settings.SETTINGS:
            values[setting.key] = setting.default
            text = stored.settings.get(setting.key)
            if text is None:
                continue
            try:
                values[setting.key] = settings.parse_stored(setting.key, text)
            except ValidationFailed as error:
                self.log.warn(
                    "Setting {key} has its default: {reason}", key=setting.key, reason=error.message
                )
        return values

    def _snapshot(self, stored: Stored) -> Snapshot:
        built: dict[int, Group] = {}
        unusable: dict[int, str] = {}
        for row in stored.groups:
            try:
                built[row.id] = self._group(row)
            except (ValueError, ValidationFailed) as error:
                reason = error.message if isinstance(error, ValidationFailed) else str(error)
                unusable[row.id] = reason
                self.log.error("Group {name} can't be used: {reason}", name=row.name, reason=reason)
        for group_id, group in built.items():
            if group.sub_groups is not None:
                members = self._members(group, stored.members.get(group_id, ()), built)
                built[group_id] = evolve(group, sub_groups=members)
        self.unusable = unusable
        # Whoever keeps something for a group sees by `is` that nothing changed.
        former = self.current.by_id
        same = {key: former[key] if former.get(key) == new else new for key, new in built.items()}
        system_keys = settings.split_keys(str(self.system["proxy_keys"]))
        return Snapshot(
            version=self.current.version + 1,
            system_access=frozenset(digest(key.encode("utf-8")) for key in system_keys),
            groups={group.name.encode("utf-8"): group for group in same.values()},
            by_id=same,
        )

    def _members(
        self, group: Group, members: Sequence[tuple[int, int]], built: Mapping[int, Group]
    ) -> tuple[tuple[int, int], ...]:
        """The members that can be used. Weight 0 is a person's wish, the rest is reported."""
        usable = []
        for member, weight in members:
            sub_group = built.get(member)
            if sub_group is None or weight == 0:
                continue  # why a group can't be used was said where it was read
            if weight > 0 and sub_group.sub_groups is None:
                usable.append((member, weight))
                continue
            self.log.warn(
                "Group {name}: sub-group {member} is passed over, {reason}",
                name=group.name,
                member=sub_group.name,
                reason=f"its weight is {weight}" if weight < 0 else "it is an aggregate",
            )
        return tuple(usable)

    def _upstreams(self, row: GroupRow) -> tuple[Upstream, ...]:
        """The upstreams that can be used. Weight 0 is a person's wish, the rest is reported.

        Raises:
            ValueError: there is none.
        """
        upstreams = []
        for number, item in enumerate(_listed(row.upstreams, "upstreams")):
            weight = item.get("weight")
            if isinstance(weight, int) and weight > 0:
                upstreams.append(paths.parse_upstream(str(item.get("url", "")), weight))
            elif weight:
                self.log.warn(
                    "Group {name}: upstream {number} is passed over, its weight is {weight}",
                    name=row.name,
                    number=number,
                    weight=weight,
                )
        if not upstreams:
            raise ValueError("it has no upstream with a weight greater than 0")
        return tuple(upstreams)

    def _group(self, row: GroupRow) -> Group:
        """
        Raises:
            ValueError, ValidationFailed: the group can't be used; the text says why.
        """
        if row.channel_type not in self._providers.by_name:
            raise ValueError(f"no channel of type '{row.channel_type}' is installed")
        is_aggregate = row.group_type == "aggregate"
        keys = settings.split_keys(f"{self.system['proxy_keys']},{row.proxy_keys}")
        return Group(
            id=row.id,
            name=row.name,
            display_name=row.display_name,
            channel=row.channel_type,
            upstreams=() if is_aggregate else self._upstreams(row),
            settings=settings.resolve(self.system, self._overrides(row)),
            access=frozenset(digest(key.encode("utf-8")) for key in keys),
            test_model=row.test_model,
            validation_path=row.validation_endpoint,
            header_rules=_header_rules(row.header_rules),
            parameter_overrides=_mapping(row.param_overrides, "param_overrides"),
            model_redirects=_redirects(row.model_redirect_rules),
            model_redirect_strict=row.model_redirect_strict,
            sub_groups=() if is_aggregate else None,
            error_rules=self._error_rules(row),
        )

    def _error_rules(self, row: GroupRow) -> tuple[Rule, ...]:
        """The rules that can be read; the group serves without the others."""
        rules = []
        for rule in operatorrules.read(row.error_rules):
            if isinstance(rule, Rule):
                rules.append(rule)
            else:
                self.log.warn(
                    "Group {name}: an error rule is passed over, {reason}",
                    name=row.name,
                    reason=rule,
                )
        return tuple(rules)

    def _overrides(self, row: GroupRow) -> dict[str, object]:
        overrides: dict[str, object] = {}
        for key, value in _mapping(row.config, "config").items():
            if value is None:
                continue
            try:
                overrides[key] = settings.check(key, value, for_group=True)
            except ValidationFailed as error:
                # Without its own proxy a group would call out past it: rather not at all.
                if key == "proxy_url":
                    raise
                self.log.warn(
                    "Group {name}: the system's value is used, {reason}",
                    name=row.name,
                    reason=error.message,
                )
        return overrides


def _decoded(text: str | None, column: str) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        raise ValueError(f"its {column} are no JSON") from None


def _mapping(text: str | None, column: str) -> dict[str, Any]:
    value = _decoded(text, column)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"its {column} are no JSON object")
    return value


def _listed(text: str | None, column: str) -> list[dict[str, Any]]:
    value = _decoded(text, column)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"its {column} are no list of JSON objects")
    return value


def _header_rules(text: str | None) -> tuple[HeaderRule, ...]:
    rules = []
    for item in _listed(text, "header_rules"):
        name = str(item.get("key", "")).strip()
        action = item.get("action")
        if not name or action not in ("set", "remove"):  # as the reference: it does nothing
            continue
        known = headers.learn(name.encode("utf-8"))
        if known is None:
            raise ValueError(f"'{name}' in its header rules is no field name")
        value = str(item.get("value", "")) if action == "set" else None
        rules.append(HeaderRule(known.lower, name.encode("ascii"), value))
    return tuple(rules)


def _redirects(text: str | None) -> dict[str, str]:
    rules = _mapping(text, "model_redirect_rules")
    if not all(isinstance(target, str) for target in rules.values()):
        raise ValueError("its model_redirect_rules name a target that is no text")
    return rules
