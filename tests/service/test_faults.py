"""Bad input and faults: what a client or an operator hears, and that the service serves on.

That no traceback and no key reaches a log is checked after each of these tests by the
`service` fixture; that none reaches the client, by `heard`.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.parts.calls import CALLS, JSON_FIELDS, chat, chat_body, get
from tests.parts.raw import Ended, Reply, request
from tests.parts.service import AUTH_KEY, Refused, Service, free_port, wait_for
from tests.service.conftest import Group, OpenGroup, make_group
from tests.upstream.answers import TEXT
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

Said = dict[str, Any]


def heard(reply: Reply, *secrets: str) -> Said:
    """Our own error as the client gets it: JSON with a code and a message, and no secret."""
    text = reply.body.decode()
    for secret in (*secrets, AUTH_KEY):
        assert secret not in text
    assert "Traceback" not in text
    said: Said = json.loads(text)
    assert said["code"]
    assert said["message"]
    return said


# --- Who may come in


def test_an_unknown_group_is_not_found(service: Service) -> None:
    reply = service.ask(chat("no-such-group"))
    said = heard(reply)
    assert reply.status == 404
    assert said["code"] == "NOT_FOUND"
    assert "no-such-group" in said["message"]
    assert said["hint"]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Bearer")],
        [("Authorization", "Basic !!!")],
        [("x-api-key", "")],
        [("x-api-key", "wrong"), ("x-goog-api-key", "wrong too")],
        [("Authorization", f"Bearer {AUTH_KEY} ".replace(" ", "x", 1))],
    ],
)
def test_without_a_proxy_key_nobody_comes_in(
    service: Service, upstream: Upstream, open_group: OpenGroup, fields: list[tuple[str, str]]
) -> None:
    target = f"/proxy/{open_group().name}/v1/models"
    reply = service.ask(request("GET", target, fields))
    assert reply.status == 401
    assert heard(reply)["code"] == "UNAUTHORIZED"
    assert upstream.seen() == []


@pytest.mark.parametrize(
    "fields",
    [
        [("Authorization", f"Bearer {AUTH_KEY}"), ("Authorization", "Bearer stale")],
        [("Authorization", "Bearer stale"), ("x-api-key", AUTH_KEY)],
        [("x-goog-api-key", "stale"), ("Authorization", f"Bearer {AUTH_KEY}")],
        [("x-api-key", AUTH_KEY), ("x-api-key", AUTH_KEY)],
    ],
)
def test_one_valid_credential_among_several_is_enough(
    service: Service, upstream: Upstream, open_group: OpenGroup, fields: list[tuple[str, str]]
) -> None:
    group = open_group()
    target = f"/proxy/{group.name}/v1/models?key=stale"
    assert service.ask(request("GET", target, fields)).status == 200
    (seen,) = upstream.seen()
    assert seen.credentials == [("authorization", group.keys[0])]


def test_a_groups_own_proxy_key_opens_that_group_alone(
    service: Service, upstream: Upstream, open_group: OpenGroup, name: str
) -> None:
    group = open_group(proxy_keys="sk-only-for-this-group")
    make_group(service, upstream, f"{name}-other")
    key = [("Authorization", "Bearer sk-only-for-this-group")]
    for target, status in ((group.name, 200), (f"{name}-other", 401)):
        call = request("GET", f"/proxy/{target}/v1/models", key)
        assert service.ask(call).status == status


# --- What isn't HTTP


@pytest.mark.parametrize(
    "head",
    [
        b"GET /proxy/x/ HTTP/1.1\nHost: x\r\n\r\n",
        b"GET /proxy/x/ HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET  /proxy/x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /proxy/x/ HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /proxy/x/ HTTP/1.1\r\n\r\n",
        b"GET /proxy/x/ HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"POST /proxy/x/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /proxy/x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /proxy/x/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /proxy/x/ HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
    ],
)
def test_a_malformed_head_is_refused_and_the_connection_ends(service: Service, head: bytes) -> None:
    with service.raw() as client:
        client.send(head)
        try:
            reply = client.reply()
        except Ended:
            return  # hanging up on what can't be answered is right as well
        assert 400 <= reply.status < 600
        heard(reply)
        assert client.is_closed()


def test_an_endless_head_is_refused(service: Service) -> None:
    with service.raw() as client:
        try:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * (4 << 20))
            reply = client.reply()
        except (Ended, ConnectionError):
            return
        assert reply.status in (400, 413, 431)
    assert service.is_healthy()


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nabc", b"3\r\nabcd\r\n", b"-1\r\n\r\n"])
def test_broken_chunks_never_become_a_whole_request(
    service: Service, upstream: Upstream, open_group: OpenGroup, chunks: bytes
) -> None:
    group = open_group()
    head = request(
        "POST",
        f"/proxy/{group.name}/v1/chat/completions",
        [*JSON_FIELDS, ("Transfer-Encoding", "chunked")],
    )
    with service.raw() as client:
        client.send(head + chunks)
        client.socket.shutdown(1)
        try:
            assert client.reply("POST").status == 400
        except Ended:
            pass
    assert not [seen for seen in upstream.seen() if seen.body_complete]
    assert service.ask(chat(group.name)).status == 200


@pytest.mark.parametrize("sent", [0, 10])
def test_a_body_that_ends_early_blames_nobody(
    service: Service, upstream: Upstream, open_group: OpenGroup, sent: int
) -> None:
    group = open_group()
    call = chat(group.name)
    with service.raw() as client:
        client.send(call[: len(call) - len(chat_body()) + sent])
        time.sleep(0.1)
        client.reset()
    assert service.ask(call).status == 200
    assert [seen.body_complete for seen in upstream.seen()] == [True]
    assert service.key(group.id, group.keys[0])["failure_count"] == 0


# --- What an upstream can do


@pytest.mark.parametrize(
    "step",
    [
        Step(fault="reset_before_head"),
        Step(fault="close_before_head"),
        Step(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
        Step(raw=b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc"),
        Step(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        Step(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        Step(raw=b"HTTP/1.1 99 Odd\r\n\r\n"),
        Step(raw=b"\x00" * 100_000),
    ],
    ids=["reset", "close", "not HTTP", "bad length", "two lengths", "bad chunk", "99", "zeros"],
)
def test_an_upstream_that_breaks_before_a_byte_is_passed_over(
    service: Service, upstream: Upstream, open_group: OpenGroup, step: Step
) -> None:
    """Once: the retry serves. Always: 502, in words that name no address. No key is blamed."""
    group = open_group(keys=2)
    upstream.script(Rule(step, times=1))
    reply = service.ask(chat(group.name))
    assert reply.status == 200
    assert TEXT.encode() in reply.body

    upstream.script(others=step)
    reply = service.ask(chat(group.name))
    said = heard(reply, *group.keys)
    assert reply.status == 502
    assert str(upstream.port) not in json.dumps(said)
    assert 1 <= len(upstream.seen()) <= 5
    keys = service.keys(group.id)
    assert {(key["status"], key["failure_count"]) for key in keys} == {("active", 0)}
    logs = service.wait_logs(2, group_name=group.name)
    assert logs[0]["status_code"] == 502
    assert logs[0]["error_message"]


def test_an_upstream_that_refuses_is_named_in_the_log_only(
    service: Service, upstream: Upstream, name: str
) -> None:
    port = free_port()
    group = make_group(service, upstream, name, url=f"http://127.0.0.1:{port}")
    began = time.monotonic()
    reply = service.ask(chat(group.name))
    assert reply.status == 502
    assert time.monotonic() - began < 5
    assert str(port) not in json.dumps(heard(reply, *group.keys))
    logs = service.wait_logs(1, group_name=group.name)
    assert str(port) in logs[0]["upstream_addr"]
    assert service.key(group.id, group.keys[0])["failure_count"] == 0


def test_another_upstream_is_asked_when_one_refuses(
    service: Service, upstream: Upstream, name: str
) -> None:
    keys = [f"sk-{name}-pool-key-{n}" for n in (1, 2)]
    dead = f"http://127.0.0.1:{free_port()}"
    service.create_group(name, "openai", [dead, upstream.url], keys)
    assert [service.ask(chat(name)).status for _ in range(6)] == [200] * 6


@pytest.mark.parametrize("channel", ["openai", "anthropic", "gemini"])
def test_an_upstream_without_a_trusted_certificate_gets_no_key(
    own_service: Callable[..., Service], upstream: Upstream, name: str, channel: str
) -> None:
    """Without the CA file the private CA is nobody."""
    service = own_service(UPSTREAM_CA_FILE="").start()
    group = make_group(service, upstream, name, channel, url=upstream.tls_url)
    reply = service.ask(CALLS[channel](group.name))
    assert reply.status == 502
    heard(reply, *group.keys)
    assert upstream.seen() == []


def test_a_certificate_for_another_name_gets_no_key(
    service: Service, upstream: Upstream, name: str
) -> None:
    """127.0.0.2 is the same machine, but not whom the certificate speaks of."""
    url = f"https://127.0.0.2:{upstream.tls_port}"
    group = make_group(service, upstream, name, url=url)
    assert service.ask(chat(group.name)).status == 502
    assert upstream.seen() == []


@pytest.mark.parametrize("fault", ["reset_in_body", "close_in_body"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_answer_that_breaks_in_its_body_is_seen_to_break(
    service: Service, upstream: Upstream, open_group: OpenGroup, fault: str, framing: str
) -> None:
    group = open_group()
    body = "0123456789" * 30_000
    upstream.script(
        others=Step.of({"body": body, "framing": framing, "fault": fault, "fault_after": 150_000})
    )
    try:
        assert service.ask(chat(group.name)).status >= 500
    except Ended as ended:
        assert body.encode().startswith(ended.so_far)
    assert service.key(group.id, group.keys[0])["failure_count"] == 0
    logs = service.wait_logs(1, group_name=group.name)
    assert not any(log["is_success"] for log in logs)


def test_an_upstream_that_never_answers_is_cut_off(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"response_header_timeout": 1, "max_retries": 0})
    upstream.script(others=Step(fault="never_answer"))
    reply = service.ask(chat(group.name))
    assert reply.status == 504
    assert heard(reply, *group.keys)["code"]
    assert upstream.wait_ended()[0].ended == "peer_gone"


def test_an_upstream_that_stalls_in_its_body_is_cut_off(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"request_timeout": 2, "max_retries": 0})
    upstream.script(others=Step(body=b"x" * 9000, fault="stall_in_body"))
    began = time.monotonic()
    try:
        assert service.ask(chat(group.name)).status == 504
    except Ended:
        pass
    assert time.monotonic() - began < 5
    assert upstream.wait_ended()[0].ended == "peer_gone"


def test_an_upstream_that_never_reads_is_cut_off(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"request_timeout": 2, "max_retries": 0})
    upstream.script(Rule(Step(fault="never_read")))
    with service.raw() as client:
        client.send(chat(group.name, b"x" * (6 << 20)))
        assert client.reply("POST").status == 504


def test_a_key_that_an_upstream_quotes_is_masked(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"max_retries": 0})
    upstream.script(others="quotes_key")
    reply = service.ask(chat(group.name))
    assert reply.status == 401
    assert b"Incorrect API key" in reply.body
    assert group.keys[0].encode() not in reply.body
    assert len(reply.body) == int(reply.get("content-length") or len(reply.body))
    (log,) = service.wait_logs(1, group_name=group.name)
    assert group.keys[0] not in log["error_message"]


# --- The pool


@pytest.mark.parametrize("channel", ["openai", "anthropic", "gemini"])
def test_an_empty_pool_is_said_at_once_and_with_a_hint(
    service: Service,
    upstream: Upstream,
    open_group: OpenGroup,
    channel: str,
) -> None:
    group = open_group(channel, keys=0)
    began = time.monotonic()
    reply = service.ask(CALLS[channel](group.name))
    said = heard(reply)
    assert reply.status == 503
    assert said["code"] == "NO_KEYS_AVAILABLE"
    assert said["hint"]
    assert said["error"]  # in the words of the channel's SDKs
    assert time.monotonic() - began < 2
    assert upstream.seen() == []


# --- The admin API


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/groups"),
        ("GET", "/api/keys?group_id=1"),
        ("GET", "/api/settings"),
        ("GET", "/api/logs"),
        ("PUT", "/api/settings"),
    ],
)
@pytest.mark.parametrize("key", [None, "wrong"])
def test_the_admin_api_is_for_the_admin(
    service: Service, method: str, path: str, key: str | None
) -> None:
    status, said = service.call(method, path, key=key)
    assert status == 401
    assert said["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("method", "path", "raw"),
    [
        ("POST", "/api/groups", b"{"),
        ("POST", "/api/groups", b""),
        ("POST", "/api/groups", b"\xff\xfe"),
        ("POST", "/api/groups", b'{"name": 7}'),
        ("POST", "/api/groups", b"[]"),
        ("POST", "/api/groups", b"[" * 100_000),
        ("POST", "/api/keys/add-multiple", b'{"group_id": "one", "keys_text": "a"}'),
        ("POST", "/api/keys/add-multiple", b'{"keys_text": "a"}'),
        ("PUT", "/api/settings", b"[1]"),
    ],
)
def test_bad_admin_json_is_a_400_in_the_envelope(
    service: Service, method: str, path: str, raw: bytes
) -> None:
    status, said = service.call(method, path, raw=raw)
    assert status == 400
    assert said["code"] in ("INVALID_JSON", "VALIDATION_FAILED")
    assert said["message"]


GOOD_GROUP: dict[str, Any] = {
    "name": "a-good-name",
    "channel_type": "openai",
    "test_model": "gpt-4.1-mini",
    "upstreams": [{"url": "https://api.openai.com", "weight": 1}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Not A Name"},
        {"name": ""},
        {"name": "x" * 101},
        {"channel_type": "telepathy"},
        {"group_type": "heap"},
        {"test_model": ""},
        {"upstreams": []},
        {"upstreams": [{"url": "ftp://x", "weight": 1}]},
        {"upstreams": [{"url": "https://x", "weight": -1}]},
        {"upstreams": [{"url": "https://x", "weight": 0}]},
        {"config": {"max_retries": -1}},
        {"config": {"max_retries": 1.5}},
        {"config": {"no_such_setting": 1}},
        {"config": {"failover_status_codes": "4xx"}},
        {"header_rules": [{"key": "X", "value": "a\r\nB: c", "action": "set"}]},
    ],
)
def test_a_groups_bad_value_is_named(service: Service, change: dict[str, Any]) -> None:
    status, said = service.call("POST", "/api/groups", GOOD_GROUP | change)
    assert status == 400
    assert said["code"] == "VALIDATION_FAILED"
    assert said["message"]


def test_a_group_name_is_given_once(service: Service, open_group: OpenGroup) -> None:
    group = open_group()
    with pytest.raises(Refused) as refused:
        service.create_group(group.name, "openai", "https://api.openai.com")
    assert refused.value.status == 409
    assert refused.value.said["code"] == "DUPLICATE_RESOURCE"


@pytest.mark.parametrize(
    "change",
    [
        {"no_such_setting": 1},
        {"max_retries": "three"},
        {"max_retries": -1},
        {"max_retries": 10**30},
        {"request_timeout": 0},
        {"enable_request_body_logging": "yes"},
        {"proxy_keys": ""},
        {"failover_status_codes": "99-1000"},
    ],
)
def test_a_bad_setting_changes_nothing(service: Service, change: dict[str, Any]) -> None:
    before = service.api("GET", "/settings")
    status, said = service.call("PUT", "/api/settings", {"max_retries": 7, **change})
    assert status == 400
    # A number of more than 64 bits is refused before anyone knows what it is for.
    assert said["code"] in ("VALIDATION_FAILED", "INVALID_JSON")
    assert next(iter(change)) in said["message"]
    assert service.api("GET", "/settings") == before


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("GET", "/api/nothing", {404}),
        ("GET", "/proxy/", {401, 404}),
        ("DELETE", "/api/groups", {404, 405}),
        ("POST", "/v1/chat/completions", {404, 405}),
        ("PUT", "/api/groups/999999", {400, 404}),
        ("DELETE", "/api/groups/abc", {400, 404}),
        ("GET", "/api/keys", {400}),
        ("GET", "/api/keys?group_id=999999", {404}),
    ],
)
def test_what_is_not_there_is_said_in_json(
    service: Service, method: str, path: str, statuses: set[int]
) -> None:
    status, said = service.call(method, path)
    assert status in statuses
    assert isinstance(said, dict), said


# --- The disk


def test_a_locked_database_stops_no_traffic(
    own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    """Calls go on; what needs the database says so soon; records wait, and are there later."""
    service = own_service().start()
    group = make_group(service, upstream, name, keys=2)
    service.set(request_log_write_interval_minutes=0)
    lock = sqlite3.connect(database_of(service), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        assert [service.ask(chat(group.name)).status for _ in range(20)] == [200] * 20
        began = time.monotonic()
        status, said = service.call("PUT", "/api/settings", {"max_retries": 2})
        assert status == 503
        assert said["code"] == "DATABASE_ERROR"
        assert time.monotonic() - began < 20
        assert service.is_healthy()
        assert service.ask(chat(group.name)).status == 200
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert len(service.wait_logs(21, 20)) == 21
    service.set(max_retries=2)


def database_of(service: Service) -> str:
    (path,) = service.folder.rglob("*.db")
    return str(path)


def test_a_full_disk_stops_no_traffic_and_is_said(
    own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    """No file may grow: journal and database both refuse. Later the records are all there."""
    service = own_service().start()
    group = make_group(service, upstream, name, keys=2)
    service.set(request_log_write_interval_minutes=0)
    assert service.ask(chat(group.name)).status == 200
    service.wait_logs(1)
    limits = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        assert [service.ask(chat(group.name)).status for _ in range(20)] == [200] * 20
        said = wait_for(service.log, lambda log: "Journal can't be written" in log)
        assert "Journal can't be written" in said
        assert service.is_healthy()
    finally:
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, limits)
    assert len(service.wait_logs(21, 20)) == 21


def test_with_encryption_no_key_is_on_disk(
    own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    service = own_service(ENCRYPTION_KEY="correct horse battery staple").start()
    group: Group = make_group(service, upstream, name, keys=3)
    assert [service.ask(chat(group.name)).status for _ in range(4)] == [200] * 4
    service.stop()
    service.assert_no_secret_on_disk()
    service.start()
    assert service.ask(chat(group.name)).status == 200
    assert {key["key_value"] for key in service.keys(group.id)} == set(group.keys)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PORT": "0"}, ["PORT"]),
        ({"PORT": "abc", "MAX_CONCURRENT_REQUESTS": "0"}, ["PORT", "MAX_CONCURRENT_REQUESTS"]),
        ({"ENABLE_CORS": "true", "ALLOWED_ORIGINS": ""}, ["ALLOWED_ORIGINS"]),
        ({"UPSTREAM_CA_FILE": "/nowhere/ca.pem"}, ["UPSTREAM_CA_FILE"]),
    ],
)
def test_a_wrong_variable_stops_it_before_it_listens(
    own_service: Callable[..., Service], environment: dict[str, str], words: list[str]
) -> None:
    service = own_service(**environment)
    with pytest.raises(AssertionError, match="it ended at once"):
        service.start()
    for word in words:
        assert word in service.log()


def test_health_and_models_answer_side_by_side(service: Service, open_group: OpenGroup) -> None:
    """A check that nothing above has hurt the node."""
    assert service.is_healthy()
    assert service.ask(get(open_group().name)).status == 200
