"""`/api/simulate`: what the data plane says, for people."""

from __future__ import annotations

from typing import Any

import pytest

from gptload.core.breaker import State
from gptload.core.outcome import Outcome
from gptload.link.rehearsal import (
    Asked,
    ChoiceSeen,
    End,
    KeySeen,
    Leaving,
    MemberSeen,
    Out,
    Pays,
    Plan,
    Rehearsal,
    TrialSeen,
    WaySeen,
)
from tests.control.admin.conftest import Admin

AT = 1_800_000_000.0
WAY = WaySeen(0, "https://a", 3, State.OPEN, AT + 5, "correlated", True)
WELL = WaySeen(1, "https://b", 1, State.CLOSED, None, "", False)
SERVES = MemberSeen(1, 7, 12, 9, 2, None, (WAY, WELL), None)
DRY = MemberSeen(2, 3, 4, 0, 0, AT + 60, (), Out.NONE_AWAKE)
CHOICE = ChoiceSeen(1, 1, KeySeen(5, "sk-a****zzzz", 2), (KeySeen(6, "sk-b****yyyy", 1),), False)


async def test_members_ways_and_the_choice_are_told(admin: Admin) -> None:
    asked: list[Asked] = []

    def rehearse(question: Asked) -> Rehearsal:
        asked.append(question)
        return Rehearsal((SERVES, DRY), CHOICE, has_affinity=True)

    admin.rehearse = rehearse
    told = await admin.api("POST", "/simulate", {"group_id": 3, "model": "gpt-4.1"})
    assert asked == [Asked(3, "gpt-4.1")]
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
    assert told["request"] is told["plan"] is None


async def test_nobody_to_serve_is_an_answer(admin: Admin) -> None:
    admin.rehearse = lambda asked: Rehearsal((DRY,), None, has_affinity=False)
    told = await admin.api("POST", "/simulate", {"group_id": 2})
    assert told["choice"] is None


async def test_a_group_that_cannot_be_used_is_refused(admin: Admin) -> None:
    answer = await admin.call("POST", "/api/simulate", {"group_id": 99})
    assert answer.refused(404, "NOT_FOUND")
    answer = await admin.call("POST", "/api/simulate", {"group_id": 0})
    assert answer.status == 400


async def test_a_question_is_no_change(admin: Admin) -> None:
    admin.rehearse = lambda asked: Rehearsal((), None, has_affinity=False)
    await admin.api("POST", "/simulate", {"group_id": 1})
    assert (await admin.api("GET", "/audit"))["items"] == []


async def test_a_plan_and_the_request_are_told(admin: Admin) -> None:
    """P2.9: What the attempts end with is the asker's to say."""
    asked: list[Asked] = []
    first = TrialSeen(
        1, 0, CHOICE.key, 0.0, 429, Outcome.RATE_LIMITED, "openai.x", Pays.KEY_REST, AT
    )
    then = TrialSeen(1, 1, CHOICE.then[0], 0.25, 200, Outcome.OK, "", Pays.NOBODY, None)
    leaving = Leaving("POST /v1/x HTTP/1.1", '{"model":"a"}', '{"model":"b"}', "")
    plan = Plan((first, then), End.ANSWERED, None)

    def rehearse(question: Asked) -> Rehearsal:
        asked.append(question)
        return Rehearsal((SERVES,), CHOICE, has_affinity=False, leaving=leaving, plan=plan)

    admin.rehearse = rehearse
    told = await admin.api(
        "POST",
        "/simulate",
        {"group_id": 1, "path": "/v1/x", "body": "{}", "failures": [429, 0], "stream": True},
    )
    assert asked == [Asked(1, "", "/v1/x", "{}", (429, 0), stream=True)]
    assert told["request"] == {
        "head": "POST /v1/x HTTP/1.1",
        "sample": '{"model":"a"}',
        "body": '{"model":"b"}',
        "refusal": "",
    }
    assert told["plan"] == {
        "attempts": [
            {
                "group_id": 1,
                "upstream": 0,
                "key": {"id": 5, "key_value": "sk-a****zzzz", "weight": 2},
                "after_s": 0.0,
                "status": 429,
                "outcome": "rate_limited",
                "reason": "openai.x",
                "pays": "key_rest",
                "until": "2027-01-15T08:00:00Z",
            },
            {
                "group_id": 1,
                "upstream": 1,
                "key": {"id": 6, "key_value": "sk-b****yyyy", "weight": 1},
                "after_s": 0.25,
                "status": 200,
                "outcome": "ok",
                "reason": "",
                "pays": "nobody",
                "until": None,
            },
        ],
        "end": "answered",
        "wakes_at": None,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": [200]},
        {"failures": [600]},
        {"failures": [429] * 21},
        {"path": "v1/no-slash"},
        {"path": "/a b"},
        {"path": "/a\r\nX: y"},
    ],
)
async def test_what_no_request_could_be_is_refused(admin: Admin, wrong: dict[str, Any]) -> None:
    answer = await admin.call("POST", "/api/simulate", {"group_id": 1, **wrong})
    assert answer.status == 400
