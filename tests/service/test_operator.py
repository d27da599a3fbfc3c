"""What the operator sees, and what the operator may say: timelines, weights, rules, refusals."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.parts.calls import CALLS, chat
from tests.parts.service import Service
from tests.service.conftest import OpenGroup, make_group
from tests.service.test_faults import database_of
from tests.service.test_keys_heal import is_active, is_invalid
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

Said = dict[str, Any]


def timeline(service: Service, group: int, key: str) -> list[Said]:
    """What happened to a key, the newest first."""
    key_id = service.key(group, key)["id"]
    return list(service.api("GET", f"/keys/{key_id}/timeline")["items"])


def refused(service: Service, method: str, path: str, said: Any) -> str:
    """The message and hint of a call that must be refused as bad input."""
    status, told = service.call(method, f"/api{path}", said)
    assert status == 400, told
    assert told["code"] in ("VALIDATION_FAILED", "BAD_REQUEST", "INVALID_JSON")
    return f"{told['message']} {told.get('hint', '')}"


# --- What happened


def test_a_keys_timeline_tells_what_happened_and_why(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"blacklist_threshold": 2, "max_retries": 0})
    (key,) = group.keys
    limit = Step(status=429, retry_after=3600, error="rate_limited")
    bad = Step(error="invalid_api_key")
    upstream.script(Rule(bad, turn=1), Rule(bad, turn=3), Rule(bad, turn=4), Rule(limit, turn=5))
    ask = chat(group.name)
    assert [service.ask(ask).status for _ in range(4)] == [401, 200, 401, 401]
    service.wait_key(group.id, key, is_invalid)
    service.key_command("restore", group.id, [key])
    assert service.ask(ask).status == 429
    service.key_command("test", group.id, [key])
    service.wait_key(group.id, key, is_active)

    lines = timeline(service, group.id, key)[::-1]
    events = [line["event"] for line in lines if line["event"] != "account_seen"]
    assert events == [
        *("struck", "strikes_ended", "struck", "struck_out"),
        *("restored", "rested", "tested_good"),
    ]
    by_event = {line["event"]: line for line in lines}
    out, rest = by_event["struck_out"], by_event["rested"]
    assert (out["state"], out["strikes"], out["status_code"]) == ("invalid", 2, 401)
    assert out["reason"] == "openai.invalid_api_key"
    assert out["cause"] == (
        "The upstream rejected it (status 401 openai.invalid_api_key): invalid after "
        "2 rejections in a row."
    )
    assert (rest["status_code"], rest["reason"]) == (429, "common.rate_limit")
    assert rest["until"]
    assert all(line["cause"] for line in lines)
    assert key not in json.dumps(lines)
    # The exchange leads to the rows of the request log.
    logs = service.wait_logs(5, group_name=group.name)
    assert out["exchange_id"] in {log["exchange_id"] for log in logs}


def test_an_outages_undone_verdicts_are_in_the_timeline(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=4, config={"blacklist_threshold": 1, "max_retries": 0})
    for _ in range(4):
        assert service.ask(chat(group.name)).status == 200
    upstream.script(others="invalid_api_key")
    for _ in range(4):
        assert service.ask(chat(group.name)).status == 401
    lines = [line for key in group.keys for line in timeline(service, group.id, key)]
    undone = [line for line in lines if line["event"] == "undone"]
    assert undone
    assert all("alike" in line["cause"] for line in undone)
    assert {key["state"] for key in service.keys(group.id)} == {"active"}


def test_log_rows_say_whom_and_how_long_and_why(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=2)
    limited, good = group.keys
    org = [("openai-organization", "org-of-the-limited")]
    upstream.script(
        keys={limited: Step(error="insufficient_quota", fields=org), good: Step()},
    )
    for _ in range(2):
        assert service.ask(chat(group.name)).status == 200
    upstream.script(others="invalid_api_key")
    service.ask(chat(group.name))
    upstream.script(others="bad_request")
    service.ask(chat(group.name))
    rows = service.wait_logs(5, group_name=group.name)
    by_outcome = {row["outcome"]: row for row in rows}
    empty = by_outcome["key_exhausted"]
    assert (empty["scope"], empty["account"]) == ("account", "org-of-the-limited")
    assert empty["reason"] == "openai.insufficient_quota"
    assert empty["rest_until"]
    assert empty["key_value"] == limited
    dead = by_outcome["key_rejected"]
    assert (dead["scope"], dead["reason"]) == ("key", "openai.invalid_api_key")
    assert dead["rest_until"] is None
    assert dead["signature"]
    assert by_outcome["request_fault"]["reason"]
    assert by_outcome["ok"]["scope"] == ""


# --- Weights


def test_a_keys_weight_is_its_share(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=3)
    ids = {key["key_value"]: key["id"] for key in service.keys(group.id)}
    heavy, *others = group.keys
    service.api("PUT", f"/keys/{ids[heavy]}/weight", {"weight": 4})
    for _ in range(12):
        assert service.ask(chat(group.name)).status == 200
    assert Counter(upstream.keys_seen()) == {heavy: 8} | dict.fromkeys(others, 2)
    assert service.key(group.id, heavy)["weight"] == 4

    # Its neighbour is down: the share goes to the others in proportion.
    upstream.script(Rule(Step(status=429, retry_after=60), key=others[0]))
    for _ in range(21):
        assert service.ask(chat(group.name)).status == 200
    used = Counter(upstream.keys_seen())
    assert used[others[0]] == 1
    assert used[heavy] in (16, 17)


@pytest.mark.parametrize("weight", [0, -1, 10_000_000, 1.5, "2", None])
def test_a_weight_that_is_none_is_refused(
    service: Service, open_group: OpenGroup, weight: object
) -> None:
    group = open_group()
    (key,) = service.keys(group.id)
    assert "weight" in refused(service, "PUT", f"/keys/{key['id']}/weight", {"weight": weight})
    assert service.key(group.id, group.keys[0])["weight"] == 1


# --- Error rules

WALLET = {
    "name": "wallet",
    "status": "4xx",
    "where": "error.code",
    "contains": "wallet_empty",
    "outcome": "key_exhausted",
    "rest": 3600,
}


@pytest.mark.parametrize("how", ["POST", "PUT"])
def test_an_operators_rule_decides(
    service: Service, upstream: Upstream, open_group: OpenGroup, how: str
) -> None:
    """What looks like the client's fault is an empty key here, from the next request on."""
    body = '{"error":{"code":"WALLET_EMPTY","message":"please top up"}}'
    if how == "POST":
        group = open_group(keys=2, error_rules=[WALLET])
    else:
        group = open_group(keys=2)
        upstream.script(others=Step(status=400, body=body.encode()))
        assert service.ask(chat(group.name)).status == 400
        service.change_group(group.id, error_rules=[WALLET])
    empty = group.keys[0]
    upstream.script(keys={empty: Step(status=400, body=body.encode())})
    for _ in range(4):
        assert service.ask(chat(group.name)).status == 200
    assert upstream.keys_seen().count(empty) == 1
    seen = service.key(group.id, empty)
    assert (seen["state"], seen["reason"]) == ("resting", "group.wallet")
    row = next(
        row
        for row in service.wait_logs(5, group_name=group.name)
        if row["outcome"] == "key_exhausted"
    )
    assert row["reason"] == "group.wallet"
    shown = next(g for g in service.api("GET", "/groups") if g["id"] == group.id)
    assert shown["error_rules"] == [WALLET]


def test_an_operators_rule_comes_before_what_gptload_knows(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """A gateway whose 401 is about itself must not cost keys; `[]` ends the rule."""
    rule = {"status": 401, "regex": "incorrect.{0,20}key", "outcome": "request_fault"}
    group = open_group(keys=2, config={"blacklist_threshold": 1}, error_rules=[rule])
    upstream.script(others="invalid_api_key")
    for _ in range(4):
        assert service.ask(chat(group.name)).status == 401
    assert len(upstream.seen()) == 4
    assert {key["state"] for key in service.keys(group.id)} == {"active"}
    service.change_group(group.id, error_rules=[])
    upstream.script(keys={group.keys[0]: "invalid_api_key"})
    for _ in range(2):
        assert service.ask(chat(group.name)).status == 200
    assert service.wait_key(group.id, group.keys[0], is_invalid)["status"] == "invalid"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": "2xx"}, "error_rules[1].status"),
        ({"status": 700}, "error_rules[1].status"),
        ({"outcome": "ignored"}, "error_rules[1].outcome"),
        ({"outcome": None}, "error_rules[1].outcome"),
        ({"rest": -1}, "error_rules[1].rest"),
        ({"rest": "soon"}, "error_rules[1].rest"),
        ({"scope": "planet"}, "error_rules[1].scope"),
        ({"scope": "upstream"}, "error_rules[1].scope"),
        ({"contains": None, "regex": "(a+)+"}, "error_rules[1].regex"),
        ({"contains": None, "regex": "("}, "error_rules[1].regex"),
        ({"where": "error..code"}, "error_rules[1].where"),
        ({"colour": "red"}, "error_rules[1].colour"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_bad_rule_is_refused_with_its_field(
    service: Service,
    upstream: Upstream,
    open_group: OpenGroup,
    name: str,
    method: str,
    change: Said,
    field: str,
) -> None:
    rule = {key: value for key, value in (WALLET | change).items() if value is not None}
    rules = {"error_rules": [WALLET, rule]}
    if method == "PUT":
        group = open_group(error_rules=[WALLET])
        assert field in refused(service, "PUT", f"/groups/{group.id}", rules)
        shown = next(g for g in service.api("GET", "/groups") if g["id"] == group.id)
        assert shown["error_rules"] == [WALLET]
    else:
        said = {"name": name, "channel_type": "openai", "test_model": "m", **rules}
        said["upstreams"] = [{"url": upstream.url, "weight": 1}]
        assert field in refused(service, "POST", "/groups", said)


# --- Groups that can't work


@pytest.mark.parametrize(
    ("upstreams", "field"),
    [
        (
            [{"url": "https://a.example", "weight": 1}, {"url": "https://b.example", "weight": -1}],
            "upstreams[1].weight",
        ),
        ([{"url": "https://a.example", "weight": 1.5}], "upstreams[0].weight"),
        (
            [{"url": "https://a.example", "weight": 0}, {"url": "https://b.example", "weight": 0}],
            "upstreams",
        ),
        ([{"url": "ftp://a.example", "weight": 1}], "upstreams[0].url"),
    ],
    ids=["negative", "half", "all zero", "ftp"],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_upstreams_that_cant_work_are_refused_with_their_field(
    service: Service,
    upstream: Upstream,
    open_group: OpenGroup,
    method: str,
    upstreams: list[Said],
    field: str,
) -> None:
    group = open_group()
    path = "/groups" if method == "POST" else f"/groups/{group.id}"
    said = {"name": f"{group.name}-x", "channel_type": "openai", "test_model": "m"}
    assert field in refused(service, method, path, said | {"upstreams": upstreams})
    assert service.ask(chat(group.name)).status == 200


def test_an_aggregate_of_itself_or_of_another_is_refused_with_the_field(
    service: Service, upstream: Upstream, name: str
) -> None:
    member = service.create_group(f"{name}-member", "openai", upstream.url, [f"sk-{name}-the-key"])
    one, two = (
        int(service.api("POST", "/groups", {**AGGREGATE, "name": f"{name}-{n}"})["id"])
        for n in ("one", "two")
    )
    path = f"/groups/{one}/sub-groups"
    good = {"group_id": member, "weight": 1}
    for bad, field in (
        ({"group_id": one, "weight": 1}, "sub_groups[1].group_id"),
        ({"group_id": two, "weight": 1}, "sub_groups[1].group_id"),
        ({"group_id": 999_999, "weight": 1}, "sub_groups[1].group_id"),
        ({"group_id": two, "weight": -1}, "sub_groups[1].weight"),
        ({"group_id": two, "weight": 1001}, "sub_groups[1].weight"),
    ):
        assert field in refused(service, "POST", path, {"sub_groups": [good, bad]})
    assert service.api("GET", path) == []
    service.api("POST", path, {"sub_groups": [good]})
    assert "weight" in refused(service, "PUT", f"{path}/{member}/weight", {"weight": -1})
    assert service.ask(chat(f"{name}-one")).status == 200


AGGREGATE = {"channel_type": "openai", "group_type": "aggregate"}


def test_old_data_that_cant_work_is_reported_and_inert(
    own_service: Callable[..., Service], upstream: Upstream
) -> None:
    """Written before somebody checked it, or by hand: the rest serves as if it weren't there."""
    service = own_service().start()
    well = make_group(service, upstream, "well", keys=2)
    half = make_group(service, upstream, "half", keys=1)
    zero = make_group(service, upstream, "zero", keys=1)
    ruled = make_group(service, upstream, "ruled", keys=1)
    whole = int(service.api("POST", "/groups", {**AGGREGATE, "name": "whole"})["id"])
    other = int(service.api("POST", "/groups", {**AGGREGATE, "name": "other"})["id"])
    members = {"sub_groups": [{"group_id": well.id, "weight": 1}]}
    service.api("POST", f"/groups/{whole}/sub-groups", members)
    service.stop()

    def upstreams(*weights: int) -> str:
        return json.dumps([{"url": upstream.url, "weight": weight} for weight in weights])

    with sqlite3.connect(database_of(service)) as database:
        change = "UPDATE groups SET upstreams = ? WHERE id = ?"
        database.execute(change, (upstreams(-3, 1), half.id))
        database.execute(change, (upstreams(0, 0), zero.id))
        rules = json.dumps([{"status": "2xx", "outcome": "key_rejected"}, WALLET])
        database.execute("UPDATE groups SET error_rules = ? WHERE id = ?", (rules, ruled.id))
        database.execute("UPDATE api_keys SET weight = -5 WHERE group_id = ?", (ruled.id,))
        for member, weight in ((whole, 1), (other, 1), (half.id, -2), (zero.id, 1)):
            database.execute(
                "INSERT INTO group_sub_groups (group_id, sub_group_id, weight, created_at, "
                "updated_at) VALUES (?, ?, ?, 0, 0)",
                (whole, member, weight),
            )
    database.close()

    service.start()
    for _ in range(4):
        for group in ("well", "half", "ruled", "whole"):
            assert service.ask(chat(group)).status == 200, group
    assert service.ask(chat("zero")).status >= 400
    assert service.ask(chat("other")).status == 503
    used = Counter(upstream.keys_seen())
    assert used[half.keys[0]] == 4  # by its own name alone
    assert sum(used[key] for key in well.keys) == 8
    log = service.log()
    for line in (
        "Group half: upstream 0 is passed over, its weight is -3",
        "Group zero can't be used: it has no upstream with a weight greater than 0",
        "Group whole: sub-group whole is passed over, it is an aggregate",
        "Group whole: sub-group other is passed over, it is an aggregate",
        "Group whole: sub-group half is passed over, its weight is -2",
        "Group ruled: an error rule is passed over",
    ):
        assert line in log
    problems = {group["name"]: group["problem"] for group in service.api("GET", "/groups")}
    assert problems["zero"]
    assert not problems["well"]


# --- What of the pool's account a client sees

ACCOUNT_FIELDS = {
    "openai": ["openai-organization", "openai-project", "x-ratelimit-remaining-requests"],
    "anthropic": ["anthropic-organization-id", "anthropic-ratelimit-tokens-remaining"],
    "gemini": ["x-ratelimit-limit-requests"],
}
KEPT_FIELDS = {
    "openai": ("x-request-id", "openai-processing-ms"),
    "anthropic": ("request-id",),
    "gemini": ("x-goog-request-id",),
}


@pytest.mark.parametrize("channel", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("status", [200, 429])
def test_the_pools_account_is_nobodys_business(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str, status: int
) -> None:
    """Unless the group asks for it; request ids and Retry-After always arrive."""
    group = open_group(channel, config={"max_retries": 0})
    hidden = [*ACCOUNT_FIELDS[channel], "Set-Cookie"]
    fields = [(name, "7") for name in (*hidden, *KEPT_FIELDS[channel])]
    step = {"fields": fields, "retry_after": 1} | ({"status": 429} if status == 429 else {})
    upstream.script(others=Step.of(step))
    reply = service.ask(CALLS[channel](group.name))
    assert reply.status == status
    for name in hidden:
        assert reply.get(name) is None, name
    assert all("7" in reply.all(name) for name in KEPT_FIELDS[channel])
    assert reply.get("retry-after") == "1"

    service.key_command("restore", group.id, group.keys)
    service.change_group(group.id, config={"max_retries": 0, "pass_account_headers": True})
    reply = service.ask(CALLS[channel](group.name))
    assert reply.status == status
    assert all(reply.get(name) == "7" for name in ACCOUNT_FIELDS[channel])


def test_what_tells_of_the_clients_account_stays_here(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Sent on, it turns good keys into 401s."""
    group = open_group()
    names = ("OpenAI-Organization", "OpenAI-Project", "Origin", "Cookie")
    assert service.ask(chat(group.name, fields=[(name, "x") for name in names])).status == 200
    (seen,) = upstream.seen()
    assert not seen.names & {name.lower() for name in names}
