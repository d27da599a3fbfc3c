"""`/api/simulate`: who would serve a request now, and why others wouldn't. Sends nothing."""

from __future__ import annotations

from typing import Any

from twisted.web.iweb import IRequest

from gptload.control.admin.replies import reply, time_or_none
from gptload.control.admin.requests import body
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import Simulated
from gptload.core.errors import NotFound, ValidationFailed
from gptload.link.rehearsal import (
    Asked,
    ChoiceSeen,
    KeySeen,
    Leaving,
    MemberSeen,
    Plan,
    Rehearse,
    TrialSeen,
    WaySeen,
)


class SimulateRoutes:
    """Asks the data plane, which alone knows whose turn it is. All of it is ours."""

    routes = make_routes()

    def __init__(self, rehearse: Rehearse) -> None:
        self._rehearse = rehearse

    @routes.route("/api/simulate", methods=["POST"])
    async def simulate(self, request: IRequest) -> bytes:
        wanted = body(request, Simulated)
        if any(0 < status < 400 for status in wanted.failures):
            raise ValidationFailed(
                "A failure is a status from 400 to 599, or 0 for no answer at all",
                hint="After the failures that are named, the next attempt gets a good answer.",
            )
        found = self._rehearse(
            Asked(
                wanted.group_id,
                wanted.model,
                wanted.path,
                wanted.body,
                tuple(wanted.failures),
                wanted.stream,
            )
        )
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
                "request": None if found.leaving is None else _leaving_json(found.leaving),
                "plan": None if found.plan is None else _plan_json(found.plan),
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


def _leaving_json(leaving: Leaving) -> dict[str, Any]:
    return {
        "head": leaving.head,
        "sample": leaving.sample,
        "body": leaving.body,
        "refusal": leaving.refusal,
    }


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "attempts": [_trial_json(trial) for trial in plan.trials],
        "end": plan.end,
        "wakes_at": time_or_none(plan.wakes_at),
    }


def _trial_json(trial: TrialSeen) -> dict[str, Any]:
    return {
        "group_id": trial.group_id,
        "upstream": trial.way,
        "key": _key_json(trial.key),
        "after_s": round(trial.after_s, 3),
        "status": trial.status,
        "outcome": trial.outcome.name.lower(),
        "reason": trial.reason,
        "pays": trial.pays,
        "until": time_or_none(trial.until),
    }


def _key_json(key: KeySeen) -> dict[str, Any]:
    return {"id": key.id, "key_value": key.masked, "weight": key.weight}
