"""`POST /api/keys/test-multiple`: only an answer about the key is a verdict."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from gptload.control.probes import Result
from gptload.core.keystate import State
from gptload.link.messages import KeyStateChanged
from gptload.wire.upstream import Trouble, UpstreamFailure
from tests.control.admin.conftest import Admin, cancel

DEAD = (
    401,
    b'{"error":{"message":"Incorrect API key provided: sk-dead","code":"invalid_api_key"}}',
)


async def results_of(admin: Admin, group: int, *keys: str) -> dict[str, dict[str, Any]]:
    said = {"group_id": group, "keys_text": " ".join(keys)}
    data = await admin.api("POST", "/keys/test-multiple", said)
    assert isinstance(data["total_duration"], int)
    assert [result["key_value"] for result in data["results"]] == list(keys)
    return {result["key_value"]: result for result in data["results"]}


async def states(admin: Admin, group: int) -> dict[str, tuple[str, int]]:
    return {k["key_value"]: (k["state"], k["failure_count"]) for k in await admin.keys(group)}


async def test_a_rejection_is_a_verdict_and_an_outage_is_none(admin: Admin) -> None:
    """F65: a test that says invalid and a list that says active confuse everybody."""
    group = await admin.group(config={"blacklist_threshold": 3})
    await admin.add_keys(group, ["sk-good", "sk-dead"])
    admin.upstreams.answers["sk-dead"] = DEAD
    results = await results_of(admin, group, "sk-good", "sk-dead", "sk-unknown")
    assert results["sk-good"] == {"key_value": "sk-good", "is_valid": True}
    assert results["sk-dead"]["is_valid"] is False
    assert results["sk-dead"]["error"].startswith("[status 401] Incorrect API key provided: ")
    assert "sk-dead" not in results["sk-dead"]["error"]  # D80
    assert results["sk-unknown"]["error"] == (
        "Key does not exist in this group or has been removed."
    )
    assert (await states(admin, group))["sk-dead"] == ("invalid", 1)

    for answer, words in [
        ((503, b"overloaded"), "not proven: the upstream is in trouble"),
        ((429, b'{"error":{"message":"slow down"}}'), "not proven: it is rate limited for now"),
        (
            (429, b'{"error":{"message":"no credit","code":"insufficient_quota"}}'),
            "not proven: its quota or credit is used up for now",
        ),
        ((404, b'{"error":{"message":"no such model"}}'), "check the group's test model"),
        ((302, b""), "not proven: the upstream redirects elsewhere"),
        (UpstreamFailure(Trouble.CONNECT, "refused"), "not proven: connection failed: refused"),
        (UpstreamFailure(Trouble.TIMEOUT), "not proven: time is up"),
    ]:
        admin.upstreams.answers["sk-good"] = answer
        (result,) = (await results_of(admin, group, "sk-good")).values()
        assert result["is_valid"] is False
        assert words in result["error"]
    assert (await states(admin, group))["sk-good"] == ("active", 0)

    del admin.upstreams.answers["sk-dead"]
    assert (await results_of(admin, group, "sk-dead"))["sk-dead"]["is_valid"] is True
    assert (await states(admin, group))["sk-dead"] == ("active", 0)


async def test_a_verdict_is_in_force_when_the_call_returns(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-dead"])
    admin.upstreams.answers["sk-dead"] = DEAD
    await results_of(admin, group, "sk-dead")
    key_id = (await admin.key_ids())["sk-dead"]
    assert KeyStateChanged(group, key_id, State.INVALID, 1, None) in admin.changes


async def test_a_probe_goes_the_way_of_a_clients_request(admin: Admin) -> None:
    """D13: with the group's header rules, its own path, its proxy, its upstreams' turns."""
    group = await admin.group(
        upstreams=[
            {"url": "https://one.example/base?api=1", "weight": 2},
            {"url": "https://two.example", "weight": 1},
            {"url": "https://never.example", "weight": 0},
        ],
        validation_endpoint="/v2/chat?x=1",
        test_model="小模型",
        config={"proxy_url": "http://user:pass@proxy.example:8080"},
        header_rules=[
            {"key": "X-Group", "value": "${GROUP_NAME} ${CLIENT_IP}", "action": "set"},
            {"key": "User-Agent", "value": "", "action": "remove"},
        ],
    )
    await admin.add_keys(group, ["sk-a"])
    for _ in range(3):
        await results_of(admin, group, "sk-a")
    called = [upstream.origin.host for upstream, *_ in admin.upstreams.seen]
    assert sorted(called) == ["one.example", "one.example", "two.example"]
    upstream, proxy, request, body = next(
        seen for seen in admin.upstreams.seen if seen[0].origin.host == "one.example"
    )
    assert upstream.weight == 2
    assert proxy == "http://user:pass@proxy.example:8080"
    assert (request.method, request.target) == (b"POST", b"/base/v2/chat?api=1&x=1")
    assert request.get(b"authorization") == b"Bearer sk-a"
    assert request.get(b"x-group") == b"openai 127.0.0.1"
    assert request.get(b"content-type") == b"application/json"
    assert request.get(b"user-agent") is None
    assert "小模型".encode() in body


async def test_keys_are_tested_at_the_same_time_up_to_the_groups_limit(
    admin: Admin, reactor: Any
) -> None:
    """D66: one after another, 5,000 keys outlast every time-out."""
    group = await admin.group(config={"key_validation_concurrency": 4})
    keys = [f"sk-{number}" for number in range(10)]
    await admin.add_keys(group, keys)
    admin.upstreams.held = []
    said = {"group_id": group, "keys_text": " ".join([*keys, "sk-0"])}
    call = admin.call("POST", "/api/keys/test-multiple", said)
    waiting = Deferred.fromCoroutine(call)
    while len(admin.upstreams.held) < 4:
        await deferLater(reactor, 0.01)
    admin.upstreams.release()
    results = (await waiting).data["results"]
    assert [result["key_value"] for result in results] == [*keys, "sk-0"]
    assert admin.upstreams.most_at_once == 4
    assert len(admin.upstreams.seen) == 10  # a key that is named twice is asked once


async def test_nobody_waits_nobody_is_asked(admin: Admin, reactor: Any) -> None:
    """A client that hangs up ends the probes under way and those to come."""
    group = await admin.group(config={"key_validation_concurrency": 2})
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    admin.upstreams.held = []
    said = {"group_id": group, "keys_text": "sk-a sk-b sk-c"}
    call = admin.send("POST", "/api/keys/test-multiple", said)
    while len(admin.upstreams.held) < 2:
        await deferLater(reactor, 0.01)
    await cancel(call)
    while admin.upstreams.at_once:
        await deferLater(reactor, 0.01)
    assert len(admin.upstreams.seen) == 2


async def test_an_aggregate_has_nothing_to_test_with(admin: Admin) -> None:
    parent = await admin.aggregate("all")
    await admin.add_keys(parent, ["sk-a"])
    said = {"group_id": parent, "keys_text": "sk-a"}
    answer = await admin.call("POST", "/api/keys/test-multiple", said)
    message = answer.refused(400, "VALIDATION_FAILED")
    assert message == "An aggregate group has no upstream of its own"


@pytest.mark.parametrize("status", [999, 418])
async def test_an_answer_without_words_is_told_by_its_status(admin: Admin, status: int) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    admin.upstreams.answers["sk-a"] = (status, b"")
    (result,) = (await results_of(admin, group, "sk-a")).values()
    assert result["error"].startswith(f"[status {status}] ")
    assert "not proven" in result["error"]


def test_a_result_that_is_valid_has_no_error() -> None:
    assert Result("sk-a", True).error == ""


async def test_an_upstream_is_asked_once_without_a_key(admin: Admin) -> None:
    """Any status shows that somebody is there; its address is written down without secrets."""
    said = {"url": "https://api.example/v1?token=hidden"}
    found = await admin.api("POST", "/groups/probe", said)
    assert (found["status"], found["error"]) == (200, "")
    assert isinstance(found["duration_ms"], int)
    ((upstream, _, request, sent),) = admin.upstreams.seen
    assert (request.method, request.target, sent) == (b"GET", b"/v1/?token=hidden", b"")
    assert (upstream.origin.host, request.get(b"authorization")) == ("api.example", None)
    (entry,) = (await admin.api("GET", "/audit?route_contains=probe"))["items"]
    assert entry["after"] == {"url": "https://api.example/v1?****"}

    admin.upstreams.break_off("")
    found = await admin.api("POST", "/groups/probe", said)
    assert found["status"] is None
    assert "nobody listens" in found["error"]


@pytest.mark.parametrize(
    "url", ["", "ftp://api.example", "https://user:pw-7Hq2@api.example", "http://169.254.169.254"]
)
async def test_what_no_group_may_have_is_not_asked(admin: Admin, url: str) -> None:
    answer = await admin.call("POST", "/api/groups/probe", {"url": url})
    assert "pw-7Hq2" not in answer.refused(400, "VALIDATION_FAILED")
    assert admin.upstreams.seen == []
