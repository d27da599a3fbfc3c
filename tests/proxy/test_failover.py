"""Who pays, who goes next, and who waits: breakers, suspicion, back-off, the waiting room."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from gptload.core.breaker import State as Breaker
from gptload.core.keystate import State
from gptload.link.messages import KeysRemoved, KeyStateChanged
from tests.fakes.scene import NOW, Client, Scene, group
from tests.proxy.test_exchange import (
    CHAT,
    LIMITED,
    OK,
    REJECTED,
    answer,
    body_of,
    outcomes,
    post,
    status_of,
)

DOWN = answer(500, {"error": {"message": "oh no", "type": "server_error"}})
PAGE = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nServer: cloudflare\r\n"
    b"Content-Length: 35\r\n\r\n<html>Sorry, you have been blocked<"
)
PROXY = b"/proxy/g/v1/chat/completions"


def ask(scene: Scene, model: str = "gpt-4o") -> Client:
    client = scene.client()
    client.says(post(json.dumps({"model": model, "messages": []}).encode()))
    return client


def busy(scene: Scene) -> list[int]:
    """Numbers of the upstream connections that have a request without an answer."""
    return [
        number
        for number, upstream in enumerate(scene.upstreams)
        if upstream.connection._sink is not None
    ]


def answer_all(scene: Scene, data: bytes) -> int:
    """Answer every request, the retried ones too; how many there were."""
    count = 0
    while open_ones := busy(scene):
        scene.upstreams[open_ones[0]].answers(data)
        count += 1
    return count


# Breakers.


def test_an_upstream_that_keeps_failing_is_left_alone_while_another_serves() -> None:
    scene = Scene(group("http://one.example", "http://two.example"))
    sent = {"one.example": 0, "two.example": 0}
    for _ in range(40):
        client = ask(scene)
        while open_ones := busy(scene):
            upstream = scene.upstreams[open_ones[0]]
            host = upstream.route.origin.host
            sent[host] += 1
            upstream.answers(DOWN if host == "one.example" else OK)
        assert status_of(client.heard()) == 200
    assert sent == {"one.example": 10, "two.example": 40}
    assert [(move.state, move.reason) for move in scene.moves] == [
        (Breaker.OPEN, "common.status_500")
    ]
    assert scene.events == []


def test_traffic_comes_back_gently_and_no_client_pays_for_the_try() -> None:
    scene = Scene(group("http://one.example", "http://two.example"))
    well = False
    sent: list[str] = []

    def serve() -> int:
        client = ask(scene)
        while open_ones := busy(scene):
            upstream = scene.upstreams[open_ones[0]]
            host = upstream.route.origin.host
            sent.append(host)
            upstream.answers(OK if well or host == "two.example" else DOWN)
        return status_of(client.heard())

    assert {serve() for _ in range(30)} == {200}
    well = True
    scene.advance(6)
    sent.clear()
    assert {serve() for _ in range(20)} == {200}
    assert sent.count("one.example") == 1  # one try, until it has shown itself
    for _ in range(10):
        scene.advance(1)
        serve()
        serve()
    assert [move.state for move in scene.moves] == [Breaker.OPEN, Breaker.HALF_OPEN, Breaker.CLOSED]
    sent.clear()
    for _ in range(20):
        serve()
    assert 9 <= sent.count("one.example") <= 11


def test_where_no_other_upstream_is_left_one_attempt_each_and_the_upstreams_own_answer() -> None:
    scene = Scene(group(settings={"max_retries": 3}))
    while not scene.moves:
        ask(scene)
        scene.upstreams[-1].answers(DOWN)
        scene.clock.advance(3)
        answer_all(scene, DOWN)
    client = ask(scene)
    assert answer_all(scene, DOWN) == 1
    heard = client.heard()
    assert status_of(heard) == 500 and body_of(heard) == body_of(DOWN)
    client = ask(scene)
    assert answer_all(scene, OK) == 1
    assert status_of(client.heard()) == 200


def test_an_overloaded_model_leaves_the_others_of_its_upstream_alone() -> None:
    busy_model = answer(529, {"type": "error", "error": {"type": "overloaded_error"}})
    scene = Scene(group("http://one.example", "http://two.example", channel="anthropic"), keys=2)
    seen: dict[str, set[str]] = {"big": set(), "small": set()}
    for turn in range(60):
        model = "big" if turn % 3 else "small"
        client = scene.client()
        client.says(post(b'{"model":"%b"}' % model.encode(), path=b"/proxy/g/v1/messages"))
        while open_ones := busy(scene):
            upstream = scene.upstreams[open_ones[0]]
            host = upstream.route.origin.host
            bad = host == "one.example" and model == "big"
            if turn > 45:
                seen[model].add(host)
            upstream.answers(busy_model if bad else OK)
    assert seen["big"] == {"two.example"} and "one.example" in seen["small"]
    assert [move.way for move in scene.moves] == ["1 http://one.example model big"]


# Correlated failures.


def serve(scene: Scene, count: int) -> None:
    for _ in range(count):
        client = ask(scene)
        answer_all(scene, OK)
        assert status_of(client.heard()) == 200


def test_many_keys_that_fail_alike_are_not_to_blame() -> None:
    scene = Scene(group(settings={"blacklist_threshold": 1, "max_retries": 9}), keys=10)
    serve(scene, 10)
    client = ask(scene)
    assert answer_all(scene, REJECTED) <= 5  # then it's seen that it isn't they
    assert status_of(client.heard()) == 401
    for _ in range(20):
        ask(scene)
        assert answer_all(scene, REJECTED) == 1
    assert {scene.state(100 + n) for n in range(10)} == {State.ACTIVE}
    assert [move.state for move in scene.moves] == [Breaker.OPEN]
    serve(scene, 1)
    assert scene.moves[-1].state is Breaker.CLOSED
    ask(scene)  # what is rejected from now on is the key's own fault again
    scene.upstreams[busy(scene)[0]].answers(REJECTED)
    assert [change.event.value for change in scene.changes][-1] == "struck_out"


def test_no_key_is_lost_where_none_was_ever_good() -> None:
    """Whether it's the keys or the way, nobody can tell yet: a test of a key can."""
    scene = Scene(group(settings={"blacklist_threshold": 3, "max_retries": 3}), keys=20)
    for _ in range(30):
        client = ask(scene)
        answer_all(scene, REJECTED)
        while scene.plane.under_way:
            scene.clock.advance(1)
            answer_all(scene, REJECTED)
        assert status_of(client.heard()) == 401
    assert {scene.state(100 + n) for n in range(20)} == {State.ACTIVE}
    assert scene.moves[-1].state is not Breaker.CLOSED
    serve(scene, 1)
    assert scene.moves[-1].state is Breaker.CLOSED


@pytest.mark.parametrize("alive_first", [True, False])
def test_dead_keys_among_live_ones_are_found(alive_first: bool) -> None:
    scene = Scene(group(settings={"max_retries": 10}), keys=20)
    dead = range(14, 20) if alive_first else range(6)
    names = [b"sk-pool-1-%d\r" % n for n in dead]
    for _ in range(100):
        client = ask(scene)
        while open_ones := busy(scene):
            upstream = scene.upstreams[open_ones[0]]
            sent = upstream.heard()
            upstream.answers(REJECTED if any(name in sent for name in names) else OK)
        assert status_of(client.heard()) == 200
        scene.clock.advance(2)
    invalid = {n for n in range(20) if scene.state(100 + n) is State.INVALID}
    assert invalid == set(dead)
    assert max(Counter(e.key_id for e in scene.events).values()) == 3  # none was tried more often


def test_a_block_page_blames_no_key_and_heals_by_itself() -> None:
    scene = Scene(group(settings={"blacklist_threshold": 1}), keys=5)
    for _ in range(10):
        client = ask(scene)
        answer_all(scene, PAGE)
        while scene.plane.under_way:
            scene.clock.advance(1)
            answer_all(scene, PAGE)
        assert status_of(client.heard()) == 403
    client = ask(scene)
    answer_all(scene, OK)
    assert status_of(client.heard()) == 200
    assert scene.events == [] and {scene.state(100 + n) for n in range(5)} == {State.ACTIVE}


def test_a_block_in_thin_traffic_costs_no_healthy_key() -> None:
    """A request every two seconds: what fails alike is minutes apart."""
    forbidden = answer(403, {"error": {"type": "forbidden", "message": "Request not allowed"}})
    scene = Scene(group("http://a.example", "http://b.example"), keys=20)
    serve(scene, 40)
    for _ in range(150):
        client = ask(scene)
        while open_ones := busy(scene):
            upstream = scene.upstreams[open_ones[0]]
            upstream.answers(forbidden if upstream.route.origin.host == "b.example" else OK)
        assert status_of(client.heard()) == 200
        scene.advance(2)
    assert {scene.state(100 + n) for n in range(20)} == {State.ACTIVE}
    assert any(change.event.value == "undone" for change in scene.changes)


def test_the_last_attempt_asks_a_key_that_has_just_served() -> None:
    scene = Scene(group(settings={"max_retries": 2}), keys=10)
    serve(scene, 1)  # key 100
    client = ask(scene)
    for _ in range(2):
        scene.upstreams[busy(scene)[0]].answers(LIMITED)
    answer_all(scene, OK)
    assert [record.key_id for record in scene.records[1:]] == [101, 102, 100]
    assert status_of(client.heard()) == 200


# Keys that are put to rest while somebody is about to use them.


def of_one(upstream_answer: bytes) -> bytes:
    return upstream_answer.replace(b"\r\n\r\n", b"\r\nopenai-organization: org-one\r\n\r\n", 1)


def test_a_stale_connection_is_not_repeated_with_a_key_that_rests_by_now() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 30}), keys=2)
    for _ in range(2):
        ask(scene)
        answer_all(scene, of_one(OK))
    first = ask(scene)  # key 100 on the kept connection
    second = ask(scene)  # key 101 on a new one
    scene.upstreams[1].answers(of_one(LIMITED))  # their account is limited for 7 s
    scene.upstreams[0].closes()
    assert busy(scene) == [] and first.heard() == b"" and second.heard() == b""
    scene.clock.advance(8)
    assert answer_all(scene, OK) == 2
    assert status_of(first.heard()) == status_of(second.heard()) == 200


def test_a_key_that_rests_when_its_connection_is_there_is_not_used() -> None:
    scene = Scene(group(), keys=2)
    for _ in range(2):
        ask(scene)
        answer_all(scene, of_one(OK))
    scene.pool.hold = True
    first = ask(scene)
    scene.pool.hold = False
    ask(scene)
    scene.upstreams[-1].answers(of_one(LIMITED))
    scene.pool.waiting.pop()()
    assert busy(scene) == []
    assert status_of(first.heard()) == 429
    assert scene.plane.under_way == 0


# Refusals that don't say why.

UNCLEAR = answer(403, {"error": {"code": 403, "message": "You may not do that."}})


def test_what_two_keys_are_refused_alike_is_the_requests_fault() -> None:
    scene = Scene(group(channel="gemini", settings={"blacklist_threshold": 1}), keys=10)
    serve_path = b"/proxy/g/v1beta/models/pro:generateContent"
    for _ in range(30):
        client = scene.client()
        client.says(post(CHAT, path=serve_path))
        assert answer_all(scene, UNCLEAR) == 2
        assert status_of(client.heard()) == 403
    assert {scene.state(100 + n) for n in range(10)} == {State.ACTIVE} and scene.moves == []
    assert outcomes(scene)[-2:] == [("key_rejected", 403, False), ("request_fault", 403, True)]


def test_a_key_that_alone_is_refused_is_to_blame() -> None:
    scene = Scene(group(settings={"blacklist_threshold": 1}), keys=3)
    client = ask(scene)
    scene.upstreams[busy(scene)[0]].answers(UNCLEAR)
    assert scene.events == []  # not before another key has shown it
    answer_all(scene, OK)
    assert status_of(client.heard()) == 200
    assert scene.state(100) is State.INVALID


def test_without_a_second_key_a_refusal_is_the_keys() -> None:
    scene = Scene(group(settings={"blacklist_threshold": 3}), keys=1)
    for _ in range(3):
        ask(scene)
        answer_all(scene, UNCLEAR)
    assert scene.state(100) is State.INVALID


def test_words_that_a_client_wrote_empty_no_pool() -> None:
    scene = Scene(group(channel="anthropic"), keys=4)
    echo = "model: reached your specified usage limits"
    quoted = "Invalid value: 'insufficient balance'. Supported values are: 'auto'."
    for status, text in ((404, echo), (400, quoted), (400, "Unknown: 'incorrect api key'")):
        for _ in range(3):
            client = scene.client()
            client.says(post(path=b"/proxy/g/v1/messages"))
            answer_all(scene, answer(status, {"type": "error", "error": {"message": text}}))
            assert status_of(client.heard()) == status
    assert scene.events == [] and scene.moves == []


def test_a_half_open_upstream_is_asked_with_another_key_when_one_fails() -> None:
    scene = Scene(group(settings={"max_retries": 3}), keys=4)
    while not scene.moves:
        ask(scene)
        answer_all(scene, DOWN)
        scene.advance(3)
    scene.advance(10)
    answer_all(scene, OK)
    client = ask(scene)
    scene.upstreams[busy(scene)[0]].answers(LIMITED)
    scene.upstreams[busy(scene)[0]].answers(REJECTED)
    answer_all(scene, OK)
    assert status_of(client.heard()) == 200


def test_keys_that_are_removed_during_a_back_off_leave_a_final_record() -> None:
    scene = Scene(group(settings={"max_retries": 5}), keys=1)
    client = ask(scene)
    answer_all(scene, DOWN)
    scene.routing.apply(KeysRemoved(1, (100,)))
    scene.advance(5)
    assert status_of(client.heard()) == 500
    assert [record.is_final for record in scene.records].count(True) == 1


def test_hiccups_of_many_models_dont_add_up_to_the_whole_upstreams() -> None:
    busy_model = answer(529, {"type": "error", "error": {"type": "overloaded_error"}})
    scene = Scene(group(channel="anthropic", settings={"max_retries": 0}), keys=1)
    for number in range(200):
        client = scene.client()
        client.says(post(b'{"model":"m%d"}' % number, path=b"/proxy/g/v1/messages"))
        answer_all(scene, busy_model)
    assert scene.moves == []


# Back-off.


def test_the_second_repetition_at_the_same_upstream_waits_a_little() -> None:
    scene = Scene(group(settings={"max_retries": 3}))
    client = ask(scene)
    scene.upstreams[-1].answers(DOWN)
    scene.upstreams[busy(scene)[0]].answers(DOWN)  # the first one came at once
    assert busy(scene) == []
    scene.clock.advance(0.06)
    assert len(busy(scene)) == 1
    scene.upstreams[busy(scene)[0]].answers(OK)
    assert status_of(client.heard()) == 200


def test_whom_a_back_off_was_for_keeps_its_turn() -> None:
    """It was chosen before the pause; choosing anew after it would pass it over."""
    scene = Scene(group(settings={"max_retries": 3}), keys=4)
    ask(scene)
    for _ in range(3):
        scene.upstreams[busy(scene)[0]].answers(DOWN)
        scene.clock.advance(0.3)
    scene.upstreams[busy(scene)[0]].answers(OK)
    assert [record.key_id for record in scene.records] == [100, 101, 102, 103]


def test_who_must_rest_during_a_back_off_is_passed_over() -> None:
    scene = Scene(group(settings={"max_retries": 3}), keys=4)
    ask(scene)
    for _ in range(2):
        scene.upstreams[busy(scene)[0]].answers(DOWN)
    scene.routing.hold(1, 102, scene.now() + 60, "")
    scene.clock.advance(0.3)
    scene.upstreams[busy(scene)[0]].answers(OK)
    assert [record.key_id for record in scene.records] == [100, 101, 103]


def test_a_client_that_leaves_during_a_back_off_ends_it() -> None:
    scene = Scene(group(settings={"max_retries": 3}))
    client = ask(scene)
    scene.upstreams[-1].answers(DOWN)
    scene.upstreams[busy(scene)[0]].answers(DOWN)
    client.leaves()
    scene.clock.advance(5)
    assert busy(scene) == []
    assert outcomes(scene)[-1] == ("client_gone", 499, True)
    assert scene.plane.under_way == 0


# All keys resting.


def test_a_request_waits_for_the_first_key_that_wakes() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 20}), keys=1)
    first = ask(scene)
    scene.upstreams[0].answers(LIMITED)  # for 7 s
    clients = [first, *(ask(scene) for _ in range(3))]
    scene.clock.advance(6.9)
    assert busy(scene) == [] and first.heard() == b""
    scene.clock.advance(0.2)
    assert answer_all(scene, OK) == 4
    assert [status_of(client.heard()) for client in clients] == [200] * 4
    assert [record.is_final for record in scene.records] == [False, *[True] * 4]


def test_nobody_who_has_an_answer_waits_for_a_key_that_comes_too_late() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 3}), keys=1)
    client = ask(scene)
    scene.upstreams[0].answers(LIMITED)  # for 7 s
    assert status_of(client.heard()) == 429
    assert [record.is_final for record in scene.records] == [True]


def test_a_wait_in_vain_after_a_limit_ends_with_the_upstreams_own_answer() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 8}), keys=1)
    client = ask(scene)
    scene.upstreams[0].answers(LIMITED)
    scene.routing.apply(KeyStateChanged(1, 100, State.RESTING, 0, scene.now() + 100))
    scene.advance(10)
    heard = client.heard()
    assert status_of(heard) == 429 and body_of(heard) == body_of(LIMITED)
    assert [record.is_final for record in scene.records] == [False, True]
    assert scene.plane.under_way == 0


def test_who_waits_for_one_model_doesnt_keep_others_waiting() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 60}), keys=1)
    slow = answer(429, {"error": {"code": "rate_limit_exceeded"}}, b"Retry-After: 50")
    ask(scene, "slow")
    answer_all(scene, slow)
    crowd = [ask(scene, "slow") for _ in range(40)]
    quick = ask(scene, "quick")
    answer_all(scene, answer(429, {"error": {"code": "rate_limit_exceeded"}}, b"Retry-After: 2"))
    scene.clock.advance(3)
    answer_all(scene, OK)
    assert status_of(quick.heard()) == 200 and crowd[0].heard() == b""


def test_who_waits_for_keys_that_are_removed_hears_of_it_at_once() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 60}), keys=1)
    ask(scene)
    scene.upstreams[0].answers(LIMITED)
    client = ask(scene)
    scene.routing.apply(KeysRemoved(1, (100,)))
    assert status_of(client.heard()) == 503


def test_who_came_first_is_served_first() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 20}), keys=1)
    ask(scene)
    scene.upstreams[0].answers(LIMITED)
    waiting = [ask(scene, f"m{n}") for n in range(3)]
    scene.clock.advance(7.0)  # the key is awake, the alarm a moment later
    waiting.append(ask(scene, "m3"))
    answer_all(scene, OK)
    assert [record.model for record in scene.records[-4:]] == ["m0", "m1", "m2", "m3"]
    assert [status_of(client.heard()) for client in waiting] == [200] * 4


def test_a_wait_that_is_too_long_ends_with_a_true_time() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 3}), keys=1)
    ask(scene)
    scene.upstreams[0].answers(LIMITED)
    client = ask(scene)
    scene.advance(5)
    heard = client.heard()
    assert status_of(heard) == 429 and b"Retry-After: 4\r\n" in heard
    body = json.loads(body_of(heard))
    assert "UTC" in body["error"]["message"] and body["code"] == "NO_KEYS_AVAILABLE"
    assert scene.plane.under_way == 0


def test_a_key_that_a_person_restores_serves_who_waits() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 30}), keys=1)
    ask(scene)
    scene.upstreams[0].answers(LIMITED)
    client = ask(scene)
    scene.restore(1, 100)
    answer_all(scene, OK)
    assert status_of(client.heard()) == 200


def test_a_client_that_leaves_while_it_waits_is_forgotten() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 30}), keys=1)
    ask(scene)
    scene.upstreams[0].answers(LIMITED)
    client = ask(scene)
    client.leaves()
    scene.clock.advance(10)
    answer_all(scene, OK)  # of the first one, which has waited too
    assert scene.plane.under_way == 0
    assert ("client_gone", 499, True) in outcomes(scene)


def test_more_than_a_bounded_number_dont_wait() -> None:
    scene = Scene(group(settings={"max_wait_for_key": 30}), keys=1, limit=5000)
    ask(scene)
    scene.upstreams[0].answers(LIMITED)
    clients = [ask(scene) for _ in range(1001)]
    assert clients[0].heard() == b"" and status_of(clients[-1].heard()) == 429


# Rests of a model and of an account.


def test_a_key_that_rests_for_one_model_serves_the_others() -> None:
    daily = answer(
        429,
        {
            "error": {
                "code": 429,
                "status": "RESOURCE_EXHAUSTED",
                "message": "You exceeded your current quota",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}],
                    }
                ],
            }
        },
    )
    scene = Scene(group(channel="gemini"), keys=1)

    def generate(model: bytes) -> int:
        client = scene.client()
        client.says(post(CHAT, path=b"/proxy/g/v1beta/models/%b:generateContent" % model))
        answer_all(scene, daily if model == b"pro" else OK)
        return status_of(client.heard())

    assert [generate(model) for model in (b"pro", b"flash", b"pro", b"flash")] == [
        429,
        200,
        429,
        200,
    ]
    assert [record.key_id for record in scene.records] == [100, 100, 0, 100]
    (event,) = scene.events
    assert event.model == "pro" and event.until is not None and event.until > NOW + 60


def test_keys_of_one_account_rest_together() -> None:
    empty = answer(
        429,
        {"error": {"message": "quota", "type": "insufficient_quota", "code": "insufficient_quota"}},
        b"openai-organization: org-one",
    )
    fine = OK.replace(b"\r\n\r\n", b"\r\nopenai-organization: org-one\r\n\r\n")
    scene = Scene(group(), keys=4)
    for _ in range(4):
        ask(scene)
        answer_all(scene, fine)
    client = ask(scene)
    assert answer_all(scene, empty) == 1  # the others aren't even tried
    heard = client.heard()
    assert status_of(heard) == 429 and b"openai-organization" not in heard
    assert {scene.state(100 + n) for n in range(4)} == {State.RESTING}


# What the client may see of the account.


@pytest.mark.parametrize("passes", [False, True])
def test_limits_and_identity_of_the_account_stay_here_unless_asked_for(passes: bool) -> None:
    private = (
        b"openai-organization: org-one",
        b"x-ratelimit-remaining-requests: 7",
        b"anthropic-ratelimit-tokens-limit: 9",
        b"anthropic-organization-id: 12",
        b"set-cookie: a=b",
    )
    scene = Scene(group(settings={"pass_account_headers": passes}), keys=1)
    client = ask(scene)
    scene.upstreams[0].answers(answer(200, b"{}", *private, b"x-request-id: req_1"))
    heard = client.heard()
    assert b"x-request-id: req_1\r\n" in heard
    assert [line in heard for line in private] == [passes] * len(private)


def test_a_record_tells_what_was_decided_and_for_whom() -> None:
    scene = Scene(group(), keys=2)
    ask(scene)
    scene.upstreams[0].answers(LIMITED)
    answer_all(scene, OK)
    limited, fine = scene.records
    assert (limited.scope, limited.rest_until, limited.named) == ("account+model", NOW + 7, True)
    assert (fine.scope, fine.rest_until) == ("", None)
