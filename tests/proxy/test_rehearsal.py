"""A rehearsal says what the next request meets, and changes nothing by it."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.breaker import State as BreakerState
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.paths import parse_upstream
from gptload.core.snapshot import Group, HeaderRule
from gptload.link.messages import KeysAdded, KeyStateChanged
from gptload.link.rehearsal import Asked, End, Out, Pays, Plan, Rehearsal
from gptload.proxy import rehearsal
from gptload.proxy.rehearsal import rehearse
from gptload.proxy.routing import Routing
from tests.fakes.scene import NOW, Client, Scene, Upstream, group


def stage(*groups: Group) -> Scene:
    """A data plane of these groups, without keys yet."""
    return Scene(*groups, keys=0)


def keys(routing: Routing, group_id: int, count: int) -> None:
    many = (PoolKey(group_id * 100 + n, b"sk-of-the-tests-%04d" % n) for n in range(count))
    routing.apply(KeysAdded(group_id, tuple(many)))


def weighted(number: int, *weights: int) -> Group:
    upstreams = tuple(
        parse_upstream(f"http://up{place}.example", weight) for place, weight in enumerate(weights)
    )
    return evolve(group(name=f"g{number}", number=number), upstreams=upstreams)


def aggregate(*members: tuple[int, int]) -> Group:
    return evolve(group(name="all", number=9), upstreams=(), sub_groups=members)


def said(scene: Scene, group_id: int, model: str = "", **more: Any) -> Rehearsal:
    found = rehearse(scene.plane, Asked(group_id, model, **more))
    assert found is not None
    return found


def trip(routing: Routing, group_id: int, number: int) -> None:
    way = routing.destinations(group_id)[number].way
    way.suspect(NOW, "correlated", sure=True)


@given(
    members=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    counts=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    ways=st.lists(st.integers(0, 3), min_size=1, max_size=3).filter(any),
    tripped=st.sets(st.tuples(st.integers(1, 4), st.integers(0, 2))),
    resting=st.sets(st.tuples(st.integers(1, 4), st.integers(0, 4))),
    requests=st.integers(1, 12),
)
def test_it_names_what_the_next_request_uses(
    members: list[int],
    counts: list[int],
    ways: list[int],
    tripped: set[tuple[int, int]],
    resting: set[tuple[int, int]],
    requests: int,
) -> None:
    """Whatever is down: an aggregate and a group of its own, again and again."""
    numbers = range(1, len(members) + 1)
    entry = aggregate(*zip(numbers, members, strict=True))
    scene = stage(entry, *(weighted(number, *ways) for number in numbers))
    for number in numbers:
        keys(scene.routing, number, counts[number - 1])
    for number, place in tripped:
        if number in numbers and place < len(ways):
            trip(scene.routing, number, place)
    for number, place in resting:
        scene.routing.hold(number, number * 100 + place, NOW + 60, "m")
    for asked in [entry, scene.routing.snapshot.by_id[1]] * requests:
        expected = said(scene, asked.id, "m").choice
        choice = scene.routing.choose(asked, NOW, "m")
        if choice is None:
            assert expected is None
        else:
            assert expected is not None
            assert (expected.group_id, expected.way, expected.key.id) == (
                choice.group.id,
                choice.destination.number,
                choice.key.id,
            )


def test_keys_are_told_by_their_ends_and_in_their_order() -> None:
    scene = stage(weighted(1, 1))
    keys(scene.routing, 1, 3)
    choice = said(scene, 1).choice
    assert choice is not None
    assert choice.key.masked == "sk-o****0000"
    assert [key.id for key in choice.then] == [101, 102]
    assert not choice.is_forced


def test_it_says_why_a_member_is_out() -> None:
    entry = aggregate((1, 1), (2, 0), (3, 1), (4, 1), (5, 1))
    scene = stage(entry, *(weighted(number, 1) for number in (1, 2, 3, 5)))
    keys(scene.routing, 1, 2)
    keys(scene.routing, 2, 2)
    keys(scene.routing, 5, 1)
    scene.routing.apply(KeyStateChanged(5, 500, State.RESTING, 0, NOW + 30))
    members = said(scene, 9).members
    assert [member.out for member in members] == [
        None,
        Out.NO_WEIGHT,
        Out.NO_KEYS,
        Out.GONE,
        Out.NONE_AWAKE,
    ]
    assert members[4].wakes_at == NOW + 30
    assert (members[0].keys, members[0].serving, members[4].serving) == (2, 2, 0)


def test_a_way_in_trouble_is_told_and_taken_only_where_there_is_no_other() -> None:
    scene = stage(weighted(1, 1, 1))
    keys(scene.routing, 1, 1)
    trip(scene.routing, 1, 0)
    found = said(scene, 1)
    assert [way.is_avoided for way in found.members[0].ways] == [True, False]
    assert found.members[0].ways[0].state is BreakerState.OPEN
    assert found.choice is not None
    assert (found.choice.way, found.choice.is_forced) == (1, False)

    trip(scene.routing, 1, 1)
    forced = said(scene, 1).choice
    assert forced is not None
    assert forced.is_forced


def test_a_rest_for_one_model_counts_for_that_model_alone() -> None:
    scene = stage(weighted(1, 1))
    keys(scene.routing, 1, 2)
    scene.routing.hold(1, 100, NOW + 60, "m")
    (about,) = said(scene, 1, "m").members
    assert about.resting_for_model == 1
    (other,) = said(scene, 1, "other").members
    assert other.resting_for_model == 0
    of_model: Any = said(scene, 1, "m").choice
    assert of_model.key.id == 101


def test_affinity_is_told() -> None:
    settings = {"session_affinity": "prefix"}
    scene = stage(group(number=1, settings=settings))
    keys(scene.routing, 1, 1)
    assert said(scene, 1).has_affinity


def test_a_group_that_is_unknown_can_serve_nothing() -> None:
    assert rehearse(stage().plane, Asked(1)) is None


POST = (
    b"POST /proxy/%b/v1/chat/completions HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer sk-proxy\r\n"
    b'Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{"model":"m"}'
)
LINE = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def call(scene: Scene, name: str) -> Client:
    client = scene.client()
    client.says(POST % name.encode())
    return client


def asked_now(scene: Scene) -> Upstream | None:
    """Which upstream has got a request; it may take a back-off until one has."""
    for _ in range(4):
        for upstream in scene.upstreams:
            if upstream.heard():
                return upstream
        scene.clock.advance(1.0)
    return None


def play(scene: Scene, name: str, failures: list[int]) -> Client:
    """A real exchange whose attempts end so, and then well."""
    client = call(scene, name)
    for status in [*failures, 200]:
        upstream = asked_now(scene)
        if upstream is None:
            break
        body = b'{"error":{"message":""}}' if status != 200 else b'{"ok":true}'
        if status:
            upstream.answers(LINE % (status, len(body), body))
        else:
            upstream.answers(b"garbage\r\n\r\n")
    return client


def made(scene: Scene) -> list[tuple[int, str, int, str]]:
    """What the records tell of attempts: group, upstream, key and outcome."""
    return [
        (record.group_id, record.upstream.partition("/v1/")[0], record.key_id, record.outcome)
        for record in scene.records
        if record.key_id
    ]


def planned(scene: Scene, plan: Plan) -> list[tuple[int, str, int, str]]:
    return [
        (
            trial.group_id,
            scene.routing.destinations(trial.group_id)[trial.way].shown,
            trial.key.id,
            trial.outcome.name.lower(),
        )
        for trial in plan.trials
    ]


def is_no_pattern(failures: list[int]) -> bool:
    """Few refusals of keys: of many alike, the ledger would say that the way is to blame."""
    return sum(status in (401, 402, 403) for status in failures) < 4


STATUSES = st.sampled_from((400, 401, 402, 403, 404, 429, 500, 503, 0))


@given(
    members=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    counts=st.lists(st.integers(0, 5), min_size=3, max_size=3),
    ways=st.lists(st.integers(0, 3), min_size=1, max_size=3).filter(any),
    tripped=st.sets(st.tuples(st.integers(1, 3), st.integers(0, 2))),
    before=st.integers(0, 5),
    failures=st.lists(STATUSES, max_size=6).filter(is_no_pattern),
    retries=st.integers(0, 5),
    is_large=st.booleans(),
)
def test_a_plan_is_what_an_exchange_then_does(
    members: list[int],
    counts: list[int],
    ways: list[int],
    tripped: set[tuple[int, int]],
    before: int,
    failures: list[int],
    retries: int,
    is_large: bool,
) -> None:
    """Whoever fails how: the same keys at the same upstreams, in the same order.

    A pool that is too large to be copied is only looked at; here that is one of 30.
    """
    numbers = range(1, len(members) + 1)
    settings = {"max_retries": retries}
    entry = evolve(
        aggregate(*zip(numbers, members, strict=True)), settings=group(settings=settings).settings
    )
    singles = [evolve(weighted(number, *ways), settings=entry.settings) for number in numbers]
    scene = stage(entry, *singles)
    for number in numbers:
        keys(scene.routing, number, counts[number - 1] + 30 * is_large)
    for _ in range(before):
        scene.routing.choose(entry, scene.now(), "m")
    for number, place in tripped:
        if number in numbers and place < len(ways):
            trip(scene.routing, number, place)
    with patch.object(rehearsal, "_COPIED", 29 if is_large else 100):
        turns = [said(scene, entry.id, "m", failures=tuple(failures)) for _ in range(2)]
    assert turns[0] == turns[1]  # nothing has changed by it
    client = play(scene, entry.name, failures)
    plan = turns[0].plan
    if plan is None:
        assert made(scene) == []
    else:
        assert planned(scene, plan) == made(scene)
        answer = client.heard()
        assert answer.startswith(b"HTTP/1.1 200 ") is (plan.end is End.ANSWERED)


def test_who_pays_is_told_and_nobody_does() -> None:
    """P2.9: The limited key rests, the upstream of the fault is charged, all in thought."""
    scene = stage(weighted(1, 1, 1))
    keys(scene.routing, 1, 4)
    plan = said(scene, 1, "m", failures=(429, 503, 401)).plan
    assert plan is not None
    assert [(trial.status, trial.pays) for trial in plan.trials] == [
        (429, Pays.KEY_REST),
        (503, Pays.UPSTREAM),
        (401, Pays.KEY_STRIKE),
        (200, Pays.NOBODY),
    ]
    limit = plan.trials[0].until
    assert limit is not None
    assert limit > NOW
    assert plan.end is End.ANSWERED
    assert scene.events == []
    assert scene.moves == []
    assert said(scene, 1, "m").choice == said(scene, 1, "m", failures=(429,)).choice


def test_the_ends_of_a_plan() -> None:
    """Nobody left, a request that no other key would make right, and a wait for a key."""
    alone = stage(weighted(1, 1))
    keys(alone.routing, 1, 1)
    for failures, end in (((429,), End.NOBODY), ((400,), End.RETURNED), ((), End.ANSWERED)):
        plan = said(alone, 1, "m", failures=failures).plan
        assert plan is not None
        assert plan.end is end
    patient = stage(group(settings={"max_wait_for_key": 3600}))
    keys(patient.routing, 1, 1)
    plan = said(patient, 1, "m", failures=(429,)).plan
    assert plan is not None
    assert plan.end is End.WAITS
    assert plan.wakes_at == plan.trials[0].until


def test_a_second_try_at_the_only_upstream_is_held_back() -> None:
    scene = stage(weighted(1, 1))
    keys(scene.routing, 1, 5)
    plan = said(scene, 1, "m", failures=(503, 503, 503)).plan
    assert plan is not None
    assert [trial.after_s for trial in plan.trials] == [0.0, 0.0, 0.1, 0.2]


def test_what_would_leave_is_shown_without_the_key() -> None:
    """The groups' rules have been at it: overrides, redirects, header rules."""
    rules = (HeaderRule(b"x-team", b"X-Team", "${GROUP_NAME}/${API_KEY}"),)
    scene = stage(
        group(
            header_rules=rules,
            parameter_overrides={"temperature": 0},
            model_redirects={"m": "m-real"},
        )
    )
    keys(scene.routing, 1, 1)
    leaving = said(scene, 1, "m").leaving
    assert leaving is not None
    assert leaving.head.startswith("POST /v1/chat/completions HTTP/1.1\r\nHost: up.example\r\n")
    assert "Bearer sk-o****0000" in leaving.head
    assert "X-Team: g/sk-o****0000" in leaving.head
    assert "sk-of-the-tests" not in leaving.head
    assert orjson.loads(leaving.sample)["model"] == "m"
    body = orjson.loads(leaving.body)
    assert (body["model"], body["temperature"]) == ("m-real", 0)
    assert f"Content-Length: {len(leaving.body)}" in leaving.head


def test_a_request_of_ones_own_is_taken() -> None:
    scene = stage(group())
    keys(scene.routing, 1, 1)
    leaving = said(scene, 1, path="/v1/models?after=x", body="").leaving
    assert leaving is not None
    assert leaving.head.startswith("GET /v1/models?after=x HTTP/1.1\r\n")
    assert (leaving.sample, leaving.body) == ("", "")
    leaving = said(scene, 1, path="/v1/embeddings", body='{"model":"e"}').leaving
    assert leaving is not None
    assert leaving.head.startswith("POST /v1/embeddings HTTP/1.1\r\n")
    assert leaving.body == '{"model":"e"}'


def test_what_a_rule_forbids_does_not_leave() -> None:
    scene = stage(group(model_redirects={"a": "b"}, model_redirect_strict=True))
    keys(scene.routing, 1, 1)
    leaving = said(scene, 1, "m").leaving
    assert leaving is not None
    assert leaving.head == ""
    assert "m" in leaving.refusal


@pytest.mark.parametrize(
    ("channel", "more", "line", "stream"),
    [
        ("openai", {}, "POST /v1/chat/completions HTTP/1.1", True),
        ("anthropic", {}, "POST /v1/messages HTTP/1.1", True),
        ("gemini", {}, "POST /v1beta/models/m:streamGenerateContent?alt=sse HTTP/1.1", None),
        (
            "gemini",
            {"path": "/v1beta/models/m:generateContent?a=b"},
            "POST /v1beta/models/m:streamGenerateContent?a=b HTTP/1.1",
            None,
        ),
        ("openai", {"body": '{"model":"m","stream":false}'}, "POST ", True),
        ("openai", {"body": "no JSON"}, "POST ", None),
    ],
)
def test_a_streamed_answer_is_asked_for_as_the_api_has_it(
    channel: str, more: dict[str, Any], line: str, stream: bool | None
) -> None:
    scene = stage(group(channel=channel))
    keys(scene.routing, 1, 1)
    leaving = said(scene, 1, "m", stream=True, **more).leaving
    assert leaving is not None and leaving.head.startswith(line)
    try:
        assert orjson.loads(leaving.body).get("stream") is stream
    except orjson.JSONDecodeError:
        assert leaving.body == "no JSON"
    plain = said(scene, 1, "m", **more).leaving
    assert plain is not None and plain != leaving or more.get("body") == "no JSON"
