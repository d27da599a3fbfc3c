"""A small night of `benchmarks.fleet`, and whether its judge can be trusted."""

from __future__ import annotations

import math

import pytest
from twisted.internet.task import Clock

from benchmarks import fleet, fleet_replies, fleet_world
from benchmarks.fleet_reference import Reference
from benchmarks.fleet_replies import Limit, Reply
from benchmarks.fleet_world import Call, Key, Size, World, calls
from gptload.core.verdict import Answer, judge
from gptload.provider import discover

SIZE = Size(keys=100, accounts=12, requests=3_000)
PROVIDERS = discover().by_name
NOW = fleet_world.START + 1_000.25


@pytest.fixture(scope="module")
def scores() -> dict[str, fleet.Score]:
    found = fleet.measure(lambda text: None, SIZE)
    return {score.title: score for score in found}


def living(world: World, api: str) -> Key:
    """A key that is well all night, of an account without any limit for now."""
    return next(
        key
        for key in world.keys.values()
        if key.account.api == api and math.isinf(key.dead_at) and not key.account.per_window
    )


def answer(reply: Reply) -> Answer:
    fields = tuple((name.encode(), value.encode()) for name, value in reply.fields)
    return Answer(reply.status, fields, reply.body)


@pytest.mark.parametrize("title", ["gptload", "gptload, defaults"])
def test_no_healthy_key_is_lost_and_no_dead_one_tried_too_often(
    scores: dict[str, fleet.Score], title: str
) -> None:
    score = scores[title]
    assert score.most_invalid == score.lost == 0
    assert score.most_refusals <= fleet.BLACKLIST_THRESHOLD


def test_good_requests_are_answered(scores: dict[str, fleet.Score]) -> None:
    assert scores["gptload"].share >= 0.9999


def test_a_bad_request_is_asked_once_where_no_dead_key_comes_before(
    scores: dict[str, fleet.Score],
) -> None:
    assert scores["gptload"].bad_attempts < 1.5


def test_the_table_shows_a_difference(scores: dict[str, fleet.Score]) -> None:
    """Both live through the same night, so what differs is the policy."""
    ours, other = scores["gptload"], scores["GPT-Load"]
    assert ours.good == other.good
    assert other.share < ours.share
    assert other.most_invalid > 0
    assert other.bad_attempts > ours.bad_attempts


def test_a_seed_gives_the_same_night_again(scores: dict[str, fleet.Score]) -> None:
    again = fleet.live_through(
        "gptload", fleet.POLICIES["gptload"], SIZE, fleet.SEED, lambda text: None
    )
    first = scores["gptload"]
    assert (again.answered, again.attempts, again.wait_p99_s) == (
        first.answered,
        first.attempts,
        first.wait_p99_s,
    )


@pytest.mark.parametrize(
    ("api", "grammar"),
    [(api, grammar) for api, ways in fleet_replies.GRAMMARS.items() for grammar in ways],
)
def test_every_named_time_is_read_as_the_world_means_it(api: str, grammar: object) -> None:
    """Else "used while resting" would measure a mistake of the world's own."""
    limit = Limit("org-fleet0001", fleet_world.MODELS[api][0], NOW, 83.4567)
    assert callable(grammar)
    verdict = judge(PROVIDERS[api], answer(grammar(limit)), NOW)
    assert verdict.named == (grammar not in fleet_replies.UNNAMED)
    if verdict.named:
        assert verdict.rest_until is not None
        assert 0 <= verdict.rest_until - (NOW + limit.wait_s) < 2


def test_a_used_up_day_ends_at_the_worlds_midnight() -> None:
    limit = Limit("projects/1", "gemini-2.5-pro", NOW, fleet_world.MIDNIGHT - NOW)
    verdict = judge(PROVIDERS["gemini"], answer(fleet_replies.day_used_up(limit)), NOW)
    assert verdict.rest_until == fleet_world.MIDNIGHT


def test_a_key_that_was_told_a_time_is_noted_when_it_is_used_before() -> None:
    world = World(SIZE, fleet.SEED)
    key = living(world, "openai")
    key.account.per_window, key.account.grammar = 1, fleet_replies.GRAMMARS["openai"][0]
    call = Call(0, NOW, "openai", fleet_world.MODELS["openai"][0])
    for _ in range(2):
        world.attempt(call, key, "c.example", NOW)
    assert world.notes.resting == 0
    world.attempt(call, key, "c.example", NOW + 1)
    assert world.notes.resting == 1
    world.attempt(call, key, "c.example", NOW + 700)
    assert world.notes.resting == 1


def test_while_two_are_blocked_the_third_upstream_answers() -> None:
    world = World(SIZE, fleet.SEED)
    now = fleet_world.BLOCK_AT + 1
    key = living(world, "openai")
    call = Call(0, now, "openai", fleet_world.MODELS["openai"][0])
    statuses = [world.attempt(call, key, host, now)[1].status for host in fleet_world.HOSTS]
    assert statuses == [403, 403, 200]


def test_the_fleet_is_as_large_and_as_ill_as_it_says() -> None:
    world = World(Size(), fleet.SEED)
    keys = list(world.keys.values())
    assert len(keys) == 1_000
    assert len({key.account.name for key in keys}) == 120
    assert sum(math.isfinite(key.dead_at) for key in keys) == 300
    limited = sum(math.isinf(key.dead_at) and key.account.per_window > 0 for key in keys)
    assert 170 <= limited <= 200
    bad = sum(bool(call.fault) for call in calls(Size(), fleet.SEED))
    assert 1_800 <= bad <= 2_200


def test_the_other_policy_blames_keys_for_a_bad_request() -> None:
    """As documented: 400 is a failure of whatever key was used."""
    world = World(SIZE, fleet.SEED)
    policy = Reference(world, max_retries=3)
    endings: list[bool] = []
    fault = Call(0, policy.now(), "openai", fleet_world.MODELS["openai"][0], fault="argument")
    policy.serve(fault, lambda is_success, began: endings.append(is_success))
    pass_by(policy.clock, 5)
    assert endings == [False]
    assert world.notes.attempts[0] == 4


def pass_by(clock: Clock, seconds: float) -> None:
    clock.pump([0.25] * int(seconds * 4))
