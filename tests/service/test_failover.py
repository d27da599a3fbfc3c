"""Who pays for a failure, and who takes over: waits, breakers, outages, models, accounts."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.parts.calls import CALLS, chat, generate
from tests.parts.raw import Reply
from tests.parts.service import Service, wait_for
from tests.service.conftest import OpenGroup
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

CHANNELS = ("openai", "anthropic", "gemini")
LIMITED = Step(error="rate_limited", retry_after=1)


# --- All keys resting


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_call_waits_for_the_first_key_that_comes_back(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    group = open_group(channel, keys=2)
    call = CALLS[channel](group.name)
    upstream.script(
        Rule(Step(status=429, retry_after=1), key=group.keys[0], times=1),
        Rule(Step(status=429, retry_after=60), key=group.keys[1], times=1),
    )
    assert service.ask(call).status == 429
    service.change_group(group.id, config={"max_wait_for_key": 5})
    began = time.monotonic()
    assert service.ask(call).status == 200
    assert 0.3 < time.monotonic() - began < 2
    assert upstream.keys_seen()[-1] == group.keys[0]


def test_all_who_wait_are_served_when_one_key_comes_back(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"max_wait_for_key": 5, "max_retries": 0})
    upstream.script(Rule(LIMITED, times=1))
    assert service.ask(chat(group.name)).status == 429
    replies: list[Reply] = []

    def ask() -> None:
        replies.append(service.ask(chat(group.name)))

    clients = [threading.Thread(target=ask) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [reply.status for reply in replies] == [200] * 6
    assert len(upstream.seen()) == 7


@pytest.mark.parametrize("channel", CHANNELS)
def test_who_has_to_wait_too_long_hears_until_when(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    """Whether it waited or not: 429, a true Retry-After, and the time in the API's own error."""
    group = open_group(channel, keys=2)
    call = CALLS[channel](group.name)
    upstream.script(others=Step(error="rate_limited", retry_after=30))
    assert service.ask(call).status == 429
    upstream.script()
    for wait_s in (0, 1):
        service.change_group(group.id, config={"max_wait_for_key": wait_s})
        began = time.monotonic()
        reply = service.ask(call)
        assert wait_s - 0.1 <= time.monotonic() - began < wait_s + 2.5
        assert reply.status == 429
        after_s = int(reply.get("retry-after") or 0)
        assert 20 < after_s <= 30
        words = json.loads(reply.body)["error"]["message"]
        at = words[words.index("comes back at ") + 14 :][:19]
        wakes_at = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
        assert abs(wakes_at - (time.time() + after_s)) < 3
    assert upstream.seen() == []


def test_a_wait_is_only_for_keys_that_come_back(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    config = {"max_wait_for_key": 5, "blacklist_threshold": 1, "max_retries": 0}
    group = open_group(config=config)
    upstream.script(others="invalid_api_key")
    assert service.ask(chat(group.name)).status == 401
    began = time.monotonic()
    assert service.ask(chat(group.name)).status == 503
    assert time.monotonic() - began < 1


def test_a_restored_key_ends_the_wait(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"max_wait_for_key": 10})
    upstream.script(Rule(Step(error="rate_limited", retry_after=3600), times=1))
    assert service.ask(chat(group.name)).status == 429
    replies: list[Reply] = []
    client = threading.Thread(target=lambda: replies.append(service.ask(chat(group.name))))
    client.start()
    time.sleep(0.3)
    assert replies == []
    assert service.key_command("restore", group.id, group.keys)["restored_count"] == 1
    client.join(2)
    assert [reply.status for reply in replies] == [200]


# --- Upstreams


def ways_of(service: Service, group: int) -> dict[str, dict[str, Any]]:
    """What is said of a group's upstreams that are in trouble, by their path."""
    listed = service.api("GET", "/upstreams")
    return {
        way["way"].rpartition("/")[2]: way for way in listed if way["way"].startswith(f"{group} ")
    }


BROKEN = [Step(status=503), Step(fault="reset_before_head")]


@pytest.mark.parametrize("broken", BROKEN, ids=["503", "reset"])
def test_an_upstream_that_is_down_is_left_alone_and_no_call_fails(
    service: Service, upstream: Upstream, name: str, broken: Step
) -> None:
    group = open_two_ways(service, upstream, name)
    upstream.script(Rule(broken, path="/sick"))
    assert [service.ask(chat(name)).status for _ in range(40)] == [200] * 40
    assert len(upstream.seen("/sick")) <= 20
    sick = ways_of(service, group)["sick"]
    assert sick["state"] == "open"
    assert sick["retry_at"] > sick["changed_at"]
    assert sick["reason"]
    assert ways_of(service, group).get("well", {}).get("state", "closed") == "closed"
    assert {(k["state"], k["failure_count"]) for k in service.keys(group)} == {("active", 0)}
    assert "sick" in service.log()


def test_an_upstream_that_is_well_again_gets_its_share_back(
    service: Service, upstream: Upstream, name: str
) -> None:
    group = open_two_ways(service, upstream, name)
    upstream.script(Rule(BROKEN[0], path="/sick"))
    for _ in range(40):
        assert service.ask(chat(name)).status == 200
    upstream.script()

    def state() -> str:
        assert service.ask(chat(name)).status == 200
        time.sleep(0.05)
        return str(ways_of(service, group)["sick"]["state"])

    assert wait_for(state, lambda found: found == "half_open", 8) == "half_open"
    assert wait_for(state, lambda found: found == "closed", 8) == "closed"
    before = len(upstream.seen("/sick"))
    assert [service.ask(chat(name)).status for _ in range(10)] == [200] * 10
    assert len(upstream.seen("/sick")) - before == 5


def open_two_ways(service: Service, upstream: Upstream, name: str) -> int:
    """A group with two upstreams of equal weight."""
    urls = [f"{upstream.url}/well", f"{upstream.url}/sick"]
    return service.create_group(name, "openai", urls, [f"sk-{name}-{n}" for n in range(3)])


def test_an_open_breaker_without_an_alternative_refuses_nobody(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """One attempt each, and the answer is the upstream's own."""
    group = open_group(keys=3, config={"max_retries": 2})
    upstream.script(others=Step(status=503, body=b'{"error":{"message":"down for now"}}'))
    for _ in range(12):
        service.ask(chat(group.name))
    assert [way["state"] for way in ways_of(service, group.id).values()] == ["open"]
    before = len(upstream.seen())
    for _ in range(3):
        reply = service.ask(chat(group.name))
        assert (reply.status, reply.body) == (503, b'{"error":{"message":"down for now"}}')
    assert len(upstream.seen()) - before == 3
    upstream.script()
    assert service.ask(chat(group.name)).status == 200


def test_a_dry_sub_group_leaves_its_share_to_the_others(
    service: Service, upstream: Upstream, name: str
) -> None:
    members = [
        service.create_group(f"{name}-{n}", "openai", upstream.url, [f"sk-{name}-member-{n}"])
        for n in (1, 2)
    ]
    said = {"name": name, "channel_type": "openai", "group_type": "aggregate"}
    group = int(service.api("POST", "/groups", said)["id"])
    items = [{"group_id": member, "weight": 1} for member in members]
    service.api("POST", f"/groups/{group}/sub-groups", {"sub_groups": items})
    dry = f"sk-{name}-member-1"
    upstream.script(keys={dry: Step(error="rate_limited", retry_after=60)})
    assert [service.ask(chat(name)).status for _ in range(6)] == [200] * 6
    assert upstream.keys_seen().count(dry) == 1


# --- Many keys that fail alike


def test_an_outage_that_looks_like_dead_keys_costs_none(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Good keys that all get 401 within seconds: none is invalid, and all serve again at once."""
    group = open_group(keys=6, config={"blacklist_threshold": 1})
    for _ in range(6):
        assert service.ask(chat(group.name)).status == 200
    upstream.script(others="invalid_api_key")
    for _ in range(12):
        assert service.ask(chat(group.name)).status == 401
    keys = service.keys(group.id)
    assert {(key["state"], key["failure_count"]) for key in keys} == {("active", 0)}
    (way,) = ways_of(service, group.id).values()
    assert way["state"] == "open"
    assert "alike" in way["reason"]
    upstream.script()
    for _ in range(12):
        assert service.ask(chat(group.name)).status == 200
    assert Counter(upstream.keys_seen()) == dict.fromkeys(group.keys, 2)
    assert wait_for(
        lambda: [way["state"] for way in ways_of(service, group.id).values()],
        lambda states: set(states) <= {"closed"},
    ) in ([], ["closed"])


def test_a_dead_batch_among_live_keys_is_found(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=12, config={"blacklist_threshold": 2, "max_retries": 6})
    dead = group.keys[::3]
    upstream.script(keys=dict.fromkeys(dead, "invalid_api_key"))
    for _ in range(40):
        assert service.ask(chat(group.name)).status == 200
    states = {key["key_value"]: key["state"] for key in service.keys(group.id)}
    assert states == {key: "invalid" if key in dead else "active" for key in group.keys}
    assert all(upstream.keys_seen().count(key) == 2 for key in dead)


# --- Whom a limit is about


def test_a_models_daily_quota_leaves_the_key_good_for_others(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group("gemini")
    (key,) = group.keys
    path = "/v1beta/models/gemini-2.5-flash:"
    upstream.script(Rule(Step(error="insufficient_quota"), path=path))
    assert service.ask(generate(group.name)).status == 429
    for _ in range(3):
        reply = service.ask(generate(group.name))
        assert reply.status == 429
        assert int(reply.get("retry-after") or 0) >= 1
        assert service.ask(generate(group.name, model="gemini-2.5-pro")).status == 200
    assert len(upstream.seen(path)) == 1
    seen = service.key(group.id, key)
    assert (seen["status"], seen["state"], seen["rest_until"]) == ("active", "active", None)
    assert list(seen["model_rests"]) == ["gemini-2.5-flash"]
    # Google's days end at midnight in Los Angeles.
    until = datetime.fromisoformat(seen["model_rests"]["gemini-2.5-flash"]).astimezone(UTC)
    assert until.hour in (7, 8)
    assert 0 < until.timestamp() - time.time() <= 25 * 3600


def organization(name: str, **more: Any) -> Step:
    """An answer that names the key's account."""
    return Step.of({"fields": [("openai-organization", name)], **more})


def test_keys_of_one_account_rest_together(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """An empty account is asked once, not once with each of its keys."""
    group = open_group(keys=4)
    ours, theirs = group.keys[:3], group.keys[3]
    keys = dict.fromkeys(ours, organization("org-ours")) | {theirs: organization("org-theirs")}
    upstream.script(keys=keys)
    for _ in range(4):
        assert service.ask(chat(group.name)).status == 200
    accounts = {key["key_value"]: key["account"] for key in service.keys(group.id)}
    assert accounts == dict.fromkeys(ours, "org-ours") | {theirs: "org-theirs"}

    empty = organization("org-ours", error="insufficient_quota")
    upstream.script(keys=dict.fromkeys(ours, empty) | {theirs: organization("org-theirs")})
    for _ in range(8):
        assert service.ask(chat(group.name)).status == 200
    assert len([key for key in upstream.keys_seen() if key in ours]) == 1
    listed = {key["key_value"]: key for key in service.keys(group.id)}
    assert [listed[key]["state"] for key in group.keys] == ["resting"] * 3 + ["active"]
    assert {listed[key]["reason"] for key in ours} == {"openai.insufficient_quota"}
    assert len({listed[key]["rest_until"] for key in ours}) == 1
    assert {key["status"] for key in listed.values()} == {"active"}


def test_a_minutes_limit_of_an_account_and_model_rests_that_model_alone(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=3, config={"max_retries": 0})
    keys = dict.fromkeys(group.keys, organization("org-ours"))
    upstream.script(keys=keys)
    for _ in range(3):
        assert service.ask(chat(group.name)).status == 200
    message = "Rate limit reached for gpt-4.1-mini in organization org-ours on requests per min"
    body = {"error": {"message": message, "type": "requests", "code": "rate_limit_exceeded"}}
    limit = organization("org-ours", status=429, body=json.dumps(body), retry_after=1)
    upstream.script(Rule(limit, contains="gpt-4.1-mini", times=1), keys=keys)
    assert service.ask(chat(group.name)).status == 429
    assert service.ask(chat(group.name)).status == 429
    assert service.ask(chat(group.name, model="gpt-4.1")).status == 200
    assert len(upstream.seen()) == 2
    for key in service.keys(group.id):
        assert (key["state"], list(key["model_rests"])) == ("active", ["gpt-4.1-mini"])
    time.sleep(1.1)
    assert [service.ask(chat(group.name)).status for _ in range(3)] == [200] * 3
    assert {len(key["model_rests"]) for key in service.keys(group.id)} == {0}
