"""`/api/simulate`: who would serve a request now, and why others wouldn't. Sends nothing."""

from __future__ import annotations

from typing import Any

from twisted.web.iweb import IRequest

from gptload.control.admin.replies import reply, time_or_none
from gptload.control.admin.requests import body
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import Simulated
from gptload.core.errors import NotFound
from gptload.link.rehearsal import ChoiceSeen, KeySeen, MemberSeen, Rehearse, WaySeen


class SimulateRoutes:
    """Asks the data plane, which alone knows whose turn it is. All of it is ours."""

    routes = make_routes()

    def __init__(self, rehearse: Rehearse) -> None:
        self._rehearse = rehearse

    @routes.route("/api/simulate", methods=["POST"])
    async def simulate(self, request: IRequest) -> bytes:
        wanted = body(request, Simulated)
        found = self._rehearse(wanted.group_id, wanted.model)
        if found is None:
            raise NotFound(
                "Group not found",
                hint="There is no group of that id, or it can't be used as it is: its `problem` "
                "in GET /api/groups says why.",
            )
        return reply(
            request,
            {
                "members": [_member_json(member) for member in found.members],
                "choice": None if found.choice is None else _choice_json(found.choice),
                "has_affinity": found.has_affinity,
            },
        )


def _member_json(member: MemberSeen) -> dict[str, Any]:
    return {
        "group_id": member.group_id,
        "weight": member.weight,
        "keys": member.keys,
        "serving": member.serving,
        "resting_for_model": member.resting_for_model,
        "wakes_at": time_or_none(member.wakes_at),
        "upstreams": [_way_json(way) for way in member.ways],
        "out": member.out,
    }


def _way_json(way: WaySeen) -> dict[str, Any]:
    return {
        "number": way.number,
        "url": way.url,
        "weight": way.weight,
        "breaker": way.state.name.lower(),
        "retry_at": time_or_none(way.retry_at),
        "reason": way.reason,
        "is_avoided": way.is_avoided,
    }


def _choice_json(choice: ChoiceSeen) -> dict[str, Any]:
    return {
        "group_id": choice.group_id,
        "upstream": choice.way,
        "key": _key_json(choice.key),
        "then": [_key_json(key) for key in choice.then],
        "is_forced": choice.is_forced,
    }


def _key_json(key: KeySeen) -> dict[str, Any]:
    return {"id": key.id, "key_value": key.masked, "weight": key.weight}
