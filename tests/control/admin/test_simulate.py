"""`/api/simulate`: what the data plane says, for people."""

from __future__ import annotations

from gptload.core.breaker import State
from gptload.link.rehearsal import ChoiceSeen, KeySeen, MemberSeen, Out, Rehearsal, WaySeen
from tests.control.admin.conftest import Admin

AT = 1_800_000_000.0
WAY = WaySeen(0, "https://a", 3, State.OPEN, AT + 5, "correlated", True)
WELL = WaySeen(1, "https://b", 1, State.CLOSED, None, "", False)
SERVES = MemberSeen(1, 7, 12, 9, 2, None, (WAY, WELL), None)
DRY = MemberSeen(2, 3, 4, 0, 0, AT + 60, (), Out.NONE_AWAKE)
CHOICE = ChoiceSeen(1, 1, KeySeen(5, "sk-a****zzzz", 2), (KeySeen(6, "sk-b****yyyy", 1),), False)


async def test_members_ways_and_the_choice_are_told(admin: Admin) -> None:
    asked: list[tuple[int, str]] = []

    def rehearse(group_id: int, model: str) -> Rehearsal:
        asked.append((group_id, model))
        return Rehearsal((SERVES, DRY), CHOICE, has_affinity=True)

    admin.rehearse = rehearse
    told = await admin.api("POST", "/simulate", {"group_id": 3, "model": "gpt-4.1"})
    assert asked == [(3, "gpt-4.1")]
    assert told["members"] == [
        {
            "group_id": 1,
            "weight": 7,
            "keys": 12,
            "serving": 9,
            "resting_for_model": 2,
            "wakes_at": None,
            "upstreams": [
                {
                    "number": 0,
                    "url": "https://a",
                    "weight": 3,
                    "breaker": "open",
                    "retry_at": "2027-01-15T08:00:05Z",
                    "reason": "correlated",
                    "is_avoided": True,
                },
                {
                    "number": 1,
                    "url": "https://b",
                    "weight": 1,
                    "breaker": "closed",
                    "retry_at": None,
                    "reason": "",
                    "is_avoided": False,
                },
            ],
            "out": None,
        },
        {
            "group_id": 2,
            "weight": 3,
            "keys": 4,
            "serving": 0,
            "resting_for_model": 0,
            "wakes_at": "2027-01-15T08:01:00Z",
            "upstreams": [],
            "out": "none_awake",
        },
    ]
    assert told["choice"] == {
        "group_id": 1,
        "upstream": 1,
        "key": {"id": 5, "key_value": "sk-a****zzzz", "weight": 2},
        "then": [{"id": 6, "key_value": "sk-b****yyyy", "weight": 1}],
        "is_forced": False,
    }
    assert told["has_affinity"] is True


async def test_nobody_to_serve_is_an_answer(admin: Admin) -> None:
    admin.rehearse = lambda group_id, model: Rehearsal((DRY,), None, has_affinity=False)
    told = await admin.api("POST", "/simulate", {"group_id": 2})
    assert told["choice"] is None


async def test_a_group_that_cannot_be_used_is_refused(admin: Admin) -> None:
    answer = await admin.call("POST", "/api/simulate", {"group_id": 99})
    assert answer.refused(404, "NOT_FOUND")
    answer = await admin.call("POST", "/api/simulate", {"group_id": 0})
    assert answer.status == 400


async def test_a_question_is_no_change(admin: Admin) -> None:
    admin.rehearse = lambda group_id, model: Rehearsal((), None, has_affinity=False)
    await admin.api("POST", "/simulate", {"group_id": 1})
    assert (await admin.api("GET", "/audit"))["items"] == []
