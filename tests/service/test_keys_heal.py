"""A pool that heals itself: who serves, who is set aside and for how long, and who comes back."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest

from tests.parts.calls import CALLS, chat, generate
from tests.parts.service import Service, wait_for
from tests.service.conftest import OpenGroup
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

BLOCK_PAGE = b"<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title></html>"


def is_invalid(key: dict[str, object]) -> bool:
    return key["status"] == "invalid"


def is_active(key: dict[str, object]) -> bool:
    return key["status"] == "active"


def test_rotation_is_even(service: Service, upstream: Upstream, open_group: OpenGroup) -> None:
    group = open_group(keys=5)
    for _ in range(20):
        assert service.ask(chat(group.name)).status == 200
    used = upstream.keys_seen()
    assert Counter(used) == dict.fromkeys(group.keys, 4)
    for begin in range(0, 20, 5):
        assert set(used[begin : begin + 5]) == set(group.keys)


def test_f01_keys_are_sent_byte_for_byte(service: Service, upstream: Upstream, name: str) -> None:
    keys = ["sk-a|b+c/d=e==", "sk-|x|+%2F'\"\\&<>~"]
    group = service.create_group(name, "openai", upstream.url, keys)
    for _ in range(4):
        assert service.ask(chat(name)).status == 200
    assert Counter(upstream.keys_seen()) == dict.fromkeys(keys, 2)
    assert {key["key_value"] for key in service.keys(group)} == set(keys)


# --- Strikes


def test_as_many_rejections_as_the_threshold_make_a_key_invalid(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=2, config={"blacklist_threshold": 2})
    dead, good = group.keys
    upstream.script(keys={dead: "invalid_api_key"})
    for _ in range(10):
        assert service.ask(chat(group.name)).status == 200
    assert upstream.keys_seen().count(dead) == 2
    seen = service.wait_key(group.id, dead, is_invalid)
    assert (seen["status"], seen["failure_count"]) == ("invalid", 2)
    assert service.key(group.id, good)["status"] == "active"


def test_a_success_forgives_the_strikes_before_it(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Isolated failures in months must not add up."""
    group = open_group(config={"blacklist_threshold": 3, "max_retries": 0})
    bad = Step(error="invalid_api_key")
    upstream.script(*(Rule(bad, turn=turn) for turn in (1, 2, 4, 5)))
    statuses = [service.ask(chat(group.name)).status for _ in range(6)]
    assert statuses == [401, 401, 200, 401, 401, 200]
    seen = service.wait_key(group.id, group.keys[0], lambda key: key["failure_count"] == 0)
    assert (seen["status"], seen["failure_count"]) == ("active", 0)


def test_a_threshold_of_zero_never_sets_a_key_aside(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"blacklist_threshold": 0, "max_retries": 0})
    upstream.script(others="invalid_api_key")
    assert [service.ask(chat(group.name)).status for _ in range(6)] == [401] * 6
    assert service.key(group.id, group.keys[0])["status"] == "active"


@pytest.mark.parametrize(
    "step",
    [
        Step(error="bad_request", fields=[("x-request-id", "req-1")]),
        Step(error="model_not_found", fields=[("x-request-id", "req-1")]),
        Step(status=413, body=b"too large", content_type="text/plain"),
        Step(status=415, body=b'{"error" : "unsupported"}'),
        Step(status=422, body=b'{"detail":[{"loc":["body","n"],"msg":"x","type":"y"}]}'),
    ],
    ids=["400", "404", "413", "415", "422"],
)
def test_f05_the_clients_own_faults_are_returned_at_once(
    service: Service, upstream: Upstream, open_group: OpenGroup, step: Step
) -> None:
    group = open_group(keys=3)
    upstream.script(others=Step.of(step.plain() | {"fields": [("x-request-id", "req-77")]}))
    reply = service.ask(chat(group.name))
    (seen,) = upstream.seen()
    assert reply.status == seen.answered
    if step.body is not None:
        assert reply.body == step.body
    assert "req-77" in reply.all("x-request-id")
    assert [key["failure_count"] for key in service.keys(group.id)] == [0, 0, 0]


def test_f07_a_thousand_retries_are_not_tried(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """And the client gets the provider's own last word, not ours."""
    group = open_group(keys=3, config={"max_retries": 100})
    upstream.script(others="invalid_api_key")
    began = time.monotonic()
    reply = service.ask(chat(group.name))
    assert reply.status == 401
    assert json.loads(reply.body)["error"]["code"] == "invalid_api_key"
    assert time.monotonic() - began < 10
    assert len(upstream.seen()) <= 9


def test_f44_a_dead_gemini_key_answers_400(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group("gemini", keys=4)
    dead = group.keys[2]
    upstream.script(keys={dead: "invalid_api_key"})
    assert [service.ask(generate(group.name)).status for _ in range(20)] == [200] * 20
    assert upstream.keys_seen().count(dead) <= 4
    assert service.wait_key(group.id, dead, is_invalid)["status"] == "invalid"


def test_an_upstreams_trouble_blames_no_key(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=3, config={"blacklist_threshold": 1})
    for error in ("server_error", "overloaded"):
        upstream.script(others=error)
        for _ in range(4):
            assert service.ask(chat(group.name)).status >= 500
    upstream.script()
    reply = wait_for(lambda: service.ask(chat(group.name)), lambda r: r.status == 200, 20)
    assert reply.status == 200
    assert {(k["status"], k["failure_count"]) for k in service.keys(group.id)} == {("active", 0)}


def test_f46_a_block_page_is_about_our_address_not_the_keys(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=5)
    page = Step(status=403, body=BLOCK_PAGE, content_type="text/html; charset=UTF-8")
    upstream.script(others=page)
    for _ in range(10):
        assert service.ask(chat(group.name)).status >= 400
    assert {key["status"] for key in service.keys(group.id)} == {"active"}
    upstream.script()
    reply = wait_for(lambda: service.ask(chat(group.name)), lambda r: r.status == 200, 45)
    assert reply.status == 200


# --- Rests


@pytest.mark.parametrize("channel", ["openai", "anthropic", "gemini"])
def test_a_limited_key_rests_as_long_as_it_was_told(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    group = open_group(channel, keys=2)
    limited = group.keys[0]
    call = CALLS[channel](group.name)
    upstream.script(Rule(Step(error="rate_limited", retry_after=2), key=limited, times=1))
    rested_at = 0.0
    while limited not in upstream.keys_seen():
        assert service.ask(call).status == 200
        rested_at = time.monotonic()
    while time.monotonic() < rested_at + 1.5:
        assert service.ask(call).status == 200
        time.sleep(0.1)
    assert upstream.keys_seen().count(limited) == 1
    time.sleep(1.2)
    for _ in range(4):
        assert service.ask(call).status == 200
    assert upstream.keys_seen()[-4:].count(limited) == 2
    assert service.key(group.id, limited)["failure_count"] == 0


def test_when_all_keys_rest_the_client_hears_for_how_long(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=2)
    upstream.script(others=Step(error="rate_limited", retry_after=3))
    assert service.ask(chat(group.name)).status == 429
    upstream.script()
    reply = service.ask(chat(group.name))
    assert reply.status in (429, 503)
    assert 1 <= int(reply.get("retry-after") or 0) <= 3
    assert upstream.seen() == []
    time.sleep(3.2)
    assert service.ask(chat(group.name)).status == 200


@pytest.mark.parametrize("channel", ["openai", "anthropic", "gemini"])
def test_an_empty_account_is_passed_over_without_a_strike(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    """Anthropic says so by a 400 that looks like the client's own fault."""
    group = open_group(channel, keys=2)
    empty = group.keys[0]
    call = CALLS[channel](group.name)
    upstream.script(keys={empty: "insufficient_quota"})
    assert [service.ask(call).status for _ in range(8)] == [200] * 8
    assert upstream.keys_seen().count(empty) == 1
    seen = service.key(group.id, empty)
    assert (seen["failure_count"], seen["status"]) != (1, "invalid")
    assert seen["failure_count"] == 0


def test_f43_a_429_arrives_as_it_is(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"max_retries": 0})
    body = b'{ "error" :{"message":"slow down","n":12345678901234567890 ,"type":"tokens"}}\n'
    fields = [("x-request-id", "req-4711")]
    upstream.script(others=Step(status=429, body=body, retry_after=7, fields=fields))
    reply = service.ask(chat(group.name))
    assert (reply.status, reply.body) == (429, body)
    assert "req-4711" in reply.all("x-request-id")
    assert 1 <= int(reply.get("retry-after") or 0) <= 10


def test_f41_a_good_test_ends_a_rest_of_eighteen_days(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"max_retries": 0})
    upstream.script(others=Step(error="rate_limited", retry_after=1_555_200))
    assert service.ask(chat(group.name)).status == 429
    upstream.script()
    assert service.ask(chat(group.name)).status in (429, 503)
    (result,) = service.key_command("test", group.id, group.keys)["results"]
    assert result["is_valid"] is True
    reply = wait_for(lambda: service.ask(chat(group.name)), lambda r: r.status == 200, 3)
    assert reply.status == 200


# --- By hand


def test_f65_only_a_rejection_is_a_verdict(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=2)
    good, dead = group.keys
    upstream.script(keys={dead: "invalid_api_key"})
    results = {
        result["key_value"]: result
        for result in service.key_command("test", group.id, group.keys)["results"]
    }
    assert results[good]["is_valid"] is True
    assert results[dead]["is_valid"] is False
    assert results[dead]["error"]
    assert service.wait_key(group.id, dead, is_invalid)["status"] == "invalid"

    upstream.script(others="overloaded")
    for _ in range(4):
        (result,) = service.key_command("test", group.id, [good])["results"]
        assert result["is_valid"] is False
    seen = service.key(group.id, good)
    assert (seen["status"], seen["failure_count"]) == ("active", 0)
    upstream.script()
    assert service.ask(chat(group.name)).status == 200
    assert upstream.keys_seen() == [good]


def test_a_restored_key_serves_at_once(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"blacklist_threshold": 1, "max_retries": 0})
    upstream.script(others="invalid_api_key")
    assert service.ask(chat(group.name)).status == 401
    service.wait_key(group.id, group.keys[0], is_invalid)
    upstream.script()
    assert service.ask(chat(group.name)).status == 503
    assert service.key_command("restore", group.id, group.keys)["restored_count"] == 1
    assert service.ask(chat(group.name)).status == 200
    seen = service.wait_key(group.id, group.keys[0], is_active)
    assert (seen["status"], seen["failure_count"]) == ("active", 0)


def test_f55_a_deletion_holds_at_once(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=3)
    gone = group.keys[1]
    assert service.key_command("delete", group.id, [gone])["deleted_count"] == 1
    assert [service.ask(chat(group.name)).status for _ in range(9)] == [200] * 9
    assert gone not in upstream.keys_seen()

    service.api("DELETE", f"/groups/{group.id}")
    assert service.ask(chat(group.name)).status == 404

    upstream.script()
    service.create_group(group.name, "openai", f"{upstream.url}/elsewhere", ["sk-of-the-new-group"])
    assert service.ask(chat(group.name)).status == 200
    (seen,) = upstream.seen()
    assert seen.key == "sk-of-the-new-group"
    assert seen.target == "/elsewhere/v1/chat/completions"


def test_settings_hold_from_the_next_request_on(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=4)
    upstream.script(others="server_error")
    try:
        service.set(max_retries=0)
        assert service.ask(chat(group.name)).status == 500
        assert len(upstream.seen()) == 1

        upstream.script(others="invalid_api_key")
        service.change_group(group.id, config={"max_retries": 2})
        assert service.ask(chat(group.name)).status == 401
        assert len(upstream.seen()) == 3

        upstream.script()
        service.set(proxy_keys="sk-another-proxy-key")
        assert service.ask(chat(group.name)).status == 401
    finally:
        service.set(proxy_keys=service.auth_key, max_retries=3)
    assert service.ask(chat(group.name)).status == 200


def test_health_outlives_a_restart(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """What was learned about keys is not learned anew at the clients' cost."""
    group = open_group(keys=3, config={"blacklist_threshold": 1})
    dead, limited, good = group.keys
    upstream.script(
        keys={dead: "invalid_api_key", limited: Step(error="rate_limited", retry_after=300)}
    )
    for _ in range(6):
        assert service.ask(chat(group.name)).status == 200
    service.wait_key(group.id, dead, is_invalid)
    service.stop()
    service.start()
    upstream.script()
    for _ in range(6):
        assert service.ask(chat(group.name)).status == 200
    assert set(upstream.keys_seen()) == {good}
