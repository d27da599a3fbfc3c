"""`/api/groups` and `/api/channel-types`: what a person does to groups."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from twisted.web.iweb import IRequest

from gptload.control.admin import masked, schemas
from gptload.control.admin.audit import tell
from gptload.control.admin.replies import language, refusal, reply, time_text
from gptload.control.admin.requests import body, identifier, instant
from gptload.control.admin.routing import make_routes
from gptload.control.audit import Change, of_groups, url_without_secrets
from gptload.control.db.queries.groups import Group
from gptload.control.db.queries.statistics import Requests
from gptload.control.groups import Changed, GroupCommands, GroupMoved
from gptload.control.probes import Probes
from gptload.control.snapshots import Snapshots
from gptload.core.errors import ValidationFailed
from gptload.core.groupdraft import upstream_of
from gptload.core.settings import BY_KEY, SETTINGS
from gptload.provider import Providers

_BAD_ID: Final = "Invalid group ID format"
# The reference's order, then what it doesn't have.
_OPTIONS: Final = (
    "request_timeout",
    "idle_conn_timeout",
    "connect_timeout",
    "max_idle_conns",
    "max_idle_conns_per_host",
    "response_header_timeout",
    "proxy_url",
    "max_retries",
    "blacklist_threshold",
    "failover_status_codes",
    "key_validation_interval_minutes",
    "key_validation_concurrency",
    "key_validation_timeout_seconds",
    "enable_request_body_logging",
)
_OWN_OPTIONS: Final = [
    setting.key for setting in SETTINGS if setting.group_overridable and setting.key not in _OPTIONS
]


class GroupRoutes:
    """Holds no state of its own."""

    routes = make_routes()

    def __init__(
        self,
        groups: GroupCommands,
        snapshots: Snapshots,
        providers: Providers,
        probes: Probes,
        ticks: Callable[[], float],
        *,
        allow_link_local: bool,
    ) -> None:
        """
        Args:
            ticks: monotonic seconds.
        """
        self._groups = groups
        self._snapshots = snapshots
        self._providers = providers
        self._probes = probes
        self._ticks = ticks
        self._allow_link_local = allow_link_local

    def _shown(self, request: IRequest, group: Group, chosen: Collection[str]) -> dict[str, Any]:
        app_url = self._snapshots.settings.app_url
        problem = self._snapshots.unusable.get(group["id"], "")
        shown = schemas.group_json(group, app_url, problem, self._snapshots.system, chosen)
        return masked.group(request, shown)

    @routes.route("/api/channel-types", methods=["GET"])
    async def channel_types(self, request: IRequest) -> bytes:
        return reply(request, self._providers.names())

    @routes.route("/api/groups", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        chosen = await self._groups.chosen_settings()
        groups = await self._groups.all()
        return reply(request, [self._shown(request, group, chosen) for group in groups])

    @routes.route("/api/groups", methods=["POST"])
    async def create(self, request: IRequest) -> bytes:
        given = body(request, schemas.GroupBody)
        group = await self._groups.create(given.model_dump())
        tell(request, of_groups(None, group, group["id"]))
        return reply(request, self._shown(request, group, await self._groups.chosen_settings()))

    @routes.route("/api/groups/<group_id>", methods=["PUT"])
    async def change(self, request: IRequest, group_id: str) -> bytes:
        number = identifier(group_id, _BAD_ID)
        given = body(request, schemas.GroupChange)
        seen = instant(given.if_updated_at) if given.if_updated_at else None
        if given.if_updated_at and seen is None:
            raise ValidationFailed("if_updated_at is no RFC 3339 time")
        values = given.model_dump(exclude={"if_updated_at"})
        if masked.sees_secrets(request):
            work = self._groups.change(number, values, seen=seen)
        else:
            work = self._groups.change(number, values, masked.unmasked_group, seen=seen)
        return await self._changed(request, work)

    @routes.route("/api/groups/probe", methods=["POST"])
    async def probe(self, request: IRequest) -> bytes:
        url = body(request, schemas.ProbedUpstream).url
        upstream = upstream_of(url, "body", self._allow_link_local)
        tell(request, Change(None, {"url": url_without_secrets(upstream.url)}))
        began = self._ticks()
        status, error = await self._probes.reach(upstream)
        took_ms = round((self._ticks() - began) * 1000)
        shown = {"status": status or None, "duration_ms": took_ms, "error": error}
        return reply(request, shown)

    @routes.route("/api/groups/<group_id>/undo", methods=["POST"])
    async def undo(self, request: IRequest, group_id: str) -> bytes:
        number = identifier(group_id, _BAD_ID)
        undo = body(request, schemas.UndoneChange).id
        return await self._changed(request, self._groups.undo_change(number, undo))

    async def _changed(self, request: IRequest, work: Awaitable[Changed]) -> bytes:
        chosen = await self._groups.chosen_settings()
        try:
            changed = await work
        except GroupMoved as moved:
            current = self._shown(request, moved.current, chosen)
            return refusal(request, moved, data={"current": current})
        tell(request, of_groups(changed.before, changed.after, changed.after["id"]))
        shown = self._shown(request, changed.after, chosen)
        shown["undo"] = None
        if changed.undo:
            shown["undo"] = {"id": changed.undo, "until": time_text(changed.until)}
        return reply(request, shown)

    @routes.route("/api/groups/<group_id>/reveal", methods=["POST"])
    async def reveal(self, request: IRequest, group_id: str) -> bytes:
        """All that is masked in a browser's lists; written down in the audit log."""
        group = await self._groups.one(identifier(group_id, _BAD_ID))
        wanted = ("proxy_keys", "upstreams", "header_rules", "config")
        return reply(request, {"id": group["id"], **{name: group[name] for name in wanted}})

    @routes.route("/api/groups/<group_id>", methods=["DELETE"])
    async def remove(self, request: IRequest, group_id: str) -> bytes:
        number = identifier(group_id, _BAD_ID)
        tell(request, of_groups(await self._groups.remove(number), None, number))
        return reply(request, message="Group and related keys deleted successfully")

    @routes.route("/api/groups/<group_id>/copy", methods=["POST"])
    async def copy(self, request: IRequest, group_id: str) -> bytes:
        number = identifier(group_id, _BAD_ID)
        keys = body(request, schemas.CopiedKeys).copy_keys or "all"
        group = await self._groups.copy(number, keys)
        tell(request, of_groups(None, group, group["id"]))
        shown = self._shown(request, group, await self._groups.chosen_settings())
        return reply(request, {"group": shown})

    @routes.route("/api/groups/reorder", methods=["PUT"])
    async def reorder(self, request: IRequest) -> bytes:
        order = body(request, schemas.Order)
        await self._groups.reorder([(item.id, item.sort) for item in order.items])
        return reply(request, message="Group order saved")

    @routes.route("/api/groups/list", methods=["GET"])
    async def names(self, request: IRequest) -> bytes:
        wanted = ("id", "name", "display_name")
        groups = await self._groups.all()
        return reply(request, [{key: group[key] for key in wanted} for group in groups])

    @routes.route("/api/groups/config-options", methods=["GET"])
    async def config_options(self, request: IRequest) -> bytes:
        settings = [BY_KEY[key] for key in (*_OPTIONS, *_OWN_OPTIONS)]
        wanted = language(request)
        system = self._snapshots.system
        options = []
        for setting in settings:
            value = system.get(setting.key, setting.default)
            option = schemas.setting_json(setting, value, wanted)
            # The reference's name for what holds without an override.
            option["default_value"] = masked.setting_value(
                request, setting.key, option.pop("value")
            )
            options.append(option)
        return reply(request, options)

    @routes.route("/api/groups/<group_id>/stats", methods=["GET"])
    async def statistics(self, request: IRequest, group_id: str) -> bytes:
        found = await self._groups.statistics(identifier(group_id, _BAD_ID))
        day, week, month = (_window(window) for window in found.requests)
        keys = {
            "total_keys": found.keys.total,
            "active_keys": found.keys.active,
            "invalid_keys": found.keys.invalid,
        }
        data = {"key_stats": keys, "stats_24_hour": day, "stats_7_day": week, "stats_30_day": month}
        return reply(request, data)

    @routes.route("/api/groups/<group_id>/sub-groups", methods=["GET"])
    async def members(self, request: IRequest, group_id: str) -> bytes:
        found = await self._groups.members(identifier(group_id, _BAD_ID))
        chosen = await self._groups.chosen_settings()
        shown = [
            schemas.member_json(member, self._shown(request, member.group, chosen))
            for member in found
        ]
        return reply(request, shown)

    @routes.route("/api/groups/<group_id>/sub-groups", methods=["POST"])
    async def add_members(self, request: IRequest, group_id: str) -> bytes:
        number = identifier(group_id, _BAD_ID)
        given = body(request, schemas.NewMembers).sub_groups
        await self._groups.add_members(number, [(item.group_id, item.weight) for item in given])
        return reply(request, message="Sub groups added successfully")

    @routes.route("/api/groups/<group_id>/sub-groups/<sub_group_id>/weight", methods=["PUT"])
    async def weigh_member(self, request: IRequest, group_id: str, sub_group_id: str) -> bytes:
        number, member = identifier(group_id, _BAD_ID), identifier(sub_group_id, _BAD_ID)
        weight = body(request, schemas.MemberWeight).weight
        await self._groups.weigh_member(number, member, weight)
        return reply(request, message="Sub group weight updated successfully")

    @routes.route("/api/groups/<group_id>/sub-groups/<sub_group_id>", methods=["DELETE"])
    async def remove_member(self, request: IRequest, group_id: str, sub_group_id: str) -> bytes:
        number, member = identifier(group_id, _BAD_ID), identifier(sub_group_id, _BAD_ID)
        await self._groups.remove_member(number, member)
        return reply(request, message="Sub group deleted successfully")

    @routes.route("/api/groups/<group_id>/parent-aggregate-groups", methods=["GET"])
    async def parents(self, request: IRequest, group_id: str) -> bytes:
        found = await self._groups.parents(identifier(group_id, _BAD_ID))
        return reply(request, [schemas.parent_json(parent) for parent in found])


def _window(requests: Requests) -> dict[str, Any]:
    return {
        "total_requests": requests.total,
        "failed_requests": requests.failed,
        "failure_rate": round(requests.failure_rate, 4),
    }
