"""One client request from its first byte to its last: a conversation with both sides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve

from gptload.core.outcome import Outcome
from gptload.core.snapshot import HeaderRule
from gptload.link.messages import Seen
from gptload.proxy.plane import Cors
from gptload.wire.upstream import Trouble, UpstreamFailure
from tests.fakes.scene import NOW, Client, Scene, group

CHAT = b'{"model":"gpt-4o","messages":[]}'


def post(body: bytes = CHAT, *lines: bytes, path: bytes = b"/proxy/g/v1/chat/completions") -> bytes:
    head = [
        b"POST %b HTTP/1.1" % path,
        b"Host: localhost:3001",
        b"Authorization: Bearer sk-proxy",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *lines,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


GET = b"GET /proxy/g/v1/models HTTP/1.1\r\nHost: h\r\nx-api-key: sk-proxy\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
EVENT = b"8\r\ndata:1\n\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(status: int, body: Any = None, *lines: bytes) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    head = [
        b"HTTP/1.1 %d X" % status,
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(text),
        *lines,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + text


REJECTED = answer(401, {"error": {"message": "no", "code": "invalid_api_key"}})
LIMITED = answer(
    429, {"error": {"message": "slow", "code": "rate_limit_exceeded"}}, b"Retry-After: 7"
)


def outcomes(scene: Scene) -> list[tuple[str, int, bool]]:
    return [(record.outcome, record.status_code, record.is_final) for record in scene.records]


def status_of(heard: bytes) -> int:
    return int(heard.split(b" ", 2)[1])


def body_of(heard: bytes) -> bytes:
    return heard.partition(b"\r\n\r\n")[2]


def test_a_request_goes_out_with_a_pool_key_and_its_answer_comes_back() -> None:
    scene = Scene(group("http://up.example/base"))
    client = scene.client()
    client.says(post(CHAT, b"X-Title: caf\xc3\xa9", b"Connection: keep-alive"))
    assert scene.upstreams[0].heard() == (
        b"POST /base/v1/chat/completions HTTP/1.1\r\nHost: up.example\r\n"
        b"Content-Type: application/json\r\nX-Title: caf\xc3\xa9\r\n"
        b"Authorization: Bearer sk-pool-1-0\r\nContent-Length: 32\r\n\r\n" + CHAT
    )
    scene.upstreams[0].answers(OK)
    assert client.heard() == OK
    (record,) = scene.records
    assert record.model == "gpt-4o" and record.key_id == 100 and record.status_code == 200
    assert record.upstream == "http://up.example/base/v1/chat/completions"
    assert record.path == "/proxy/g/v1/chat/completions" and record.is_final
    assert scene.events == [] and scene.plane.under_way == 0


def test_the_next_key_serves_when_one_is_rejected_and_the_client_sees_nothing_of_it() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(REJECTED)
    assert client.heard() == b""
    assert b"Bearer sk-pool-1-1" in scene.upstreams[0].heard()
    scene.upstreams[0].answers(OK)
    assert client.heard() == OK
    assert outcomes(scene) == [("key_rejected", 401, False), ("ok", 200, True)]
    assert [(event.key_id, event.seen) for event in scene.events] == [(100, Seen.REJECTED)]
    assert scene.records[0].exchange_id == scene.records[1].exchange_id


def test_a_limited_key_rests_until_the_time_that_the_answer_names() -> None:
    scene = Scene(group(), keys=2)
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(LIMITED)
    scene.upstreams[0].answers(OK)
    (event,) = scene.events
    assert event.seen is Seen.LIMITED and event.until == pytest.approx(NOW + 7, abs=1)
    for _ in range(3):  # the other one serves alone meanwhile
        scene.upstreams[0].heard()
        client.says(post())
        assert b"sk-pool-1-1" in scene.upstreams[0].heard()
        scene.upstreams[0].answers(OK)
    scene.advance(8)
    sent = b""
    for _ in range(2):
        client.says(post())
        sent += scene.upstreams[0].heard()
        scene.upstreams[0].answers(OK)
    assert b"sk-pool-1-0" in sent and b"sk-pool-1-1" in sent


def test_when_all_keys_are_rejected_the_client_gets_the_last_answer_unchanged() -> None:
    """F07, D6: 999 retries, three keys: three attempts, and the upstream's own 401."""
    scene = Scene(group(settings={"max_retries": 999}))
    client = scene.client()
    client.says(post())
    odd = b'{ "error" : {"code":"invalid_api_key", "n":12345678901234567890} }'
    for _ in range(3):
        scene.upstreams[0].answers(answer(401, odd, b"x-request-id: r-7"))
    heard = client.heard()
    assert status_of(heard) == 401 and body_of(heard) == odd and b"x-request-id: r-7" in heard
    assert [final for _, _, final in outcomes(scene)] == [False, False, True]


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422])
def test_a_clients_own_fault_is_its_to_see_at_once(status: int) -> None:
    """F05, D2: one call, no key blamed, bytes and request id kept."""
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    body = b'{"detail":[{"loc":["body"],"msg":"field required"}]}'
    scene.upstreams[0].answers(answer(status, body, b"x-request-id: r-1"))
    heard = client.heard()
    assert status_of(heard) == status and body_of(heard) == body and b"x-request-id" in heard
    assert scene.events == [] and outcomes(scene) == [("request_fault", status, True)]


def test_an_upstream_fault_goes_to_another_upstream_and_no_key_pays() -> None:
    scene = Scene(group("http://one.example", "http://two.example"))
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(answer(503, {"error": {"message": "overloaded"}}))
    hosts = [upstream.route.origin.host for upstream in scene.upstreams]
    assert hosts == ["one.example", "two.example"]
    scene.upstreams[1].answers(OK)
    assert client.heard() == OK
    assert scene.events == []
    assert scene.records[1].upstream.startswith("http://two.example")


@pytest.mark.parametrize(
    "trouble", [Trouble.CONNECT, Trouble.TLS, Trouble.TIMEOUT, Trouble.OUTBOUND_PROXY]
)
def test_a_failed_connection_is_tried_again_and_blames_nobody(trouble: Trouble) -> None:
    scene = Scene(group())
    scene.pool.refuse = [UpstreamFailure(trouble, "why")]
    client = scene.client()
    client.says(post())
    scene.advance(1)
    scene.upstreams[0].answers(OK)
    assert client.heard() == OK and scene.events == []
    assert [record.outcome for record in scene.records] == ["upstream_fault", "ok"]


def test_without_any_answer_the_client_hears_502_and_no_address() -> None:
    """D25: the reference answers 500 with the upstream's URL and addresses in it."""
    scene = Scene(group("http://10.1.2.3:8080/secret-path"))
    scene.pool.refuse = [UpstreamFailure(Trouble.CONNECT, "refused") for _ in range(9)]
    client = scene.client()
    client.says(post())
    scene.advance(5)
    heard = client.heard()
    assert status_of(heard) == 502
    assert b"10.1.2.3" not in heard and b"secret-path" not in heard
    error = json.loads(body_of(heard))
    assert error["code"] == "BAD_GATEWAY" and error["error"]["message"]
    assert scene.records[-1].is_final and scene.records[-1].error


def test_the_last_real_answer_counts_more_than_a_later_failure() -> None:
    scene = Scene(group(settings={"max_retries": 1}))
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(answer(429, {"error": {"message": "slow"}}, b"Retry-After: 3"))
    scene.upstreams[0].answers(b"HTTP/1.1 20")
    scene.upstreams[0].closes(ConnectionResetError())
    heard = client.heard()
    assert status_of(heard) == 429 and b"Retry-After: 3" in heard


def test_silence_ends_when_its_time_is_up() -> None:
    """F51: 504 in about the time that the group allows; nobody is blamed."""
    scene = Scene(group(settings={"response_header_timeout": 2, "request_timeout": 2}))
    client = scene.client()
    client.says(post())
    scene.advance(1)
    assert client.heard() == b""
    scene.advance(3)
    assert status_of(client.heard()) == 504
    assert scene.upstreams[0].gone and scene.events == []
    assert scene.plane.under_way == 0


def test_a_live_stream_has_no_total_limit() -> None:
    scene = Scene(group(settings={"response_header_timeout": 2, "request_timeout": 2}))
    client = scene.client()
    client.says(post(b'{"model":"m","stream":true}'))
    scene.upstreams[0].answers(STREAM + EVENT)
    for _ in range(10):
        scene.advance(1)
        scene.upstreams[0].answers(EVENT.replace(b"1", b"2"))
    scene.upstreams[0].answers(b"0\r\n\r\n")
    heard = client.heard()
    assert heard.count(b"data:2") == 10 and heard.endswith(b"0\r\n\r\n")
    assert scene.records[0].is_stream and scene.records[0].outcome == "ok"


def test_a_unary_answer_that_never_ends_is_cut_off_visibly() -> None:
    scene = Scene(group(settings={"request_timeout": 3}))
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    scene.advance(5)
    assert client.transport.aborted and scene.upstreams[0].gone
    assert scene.records[-1].outcome == "upstream_fault"


def test_a_record_tells_how_long_its_attempt_waited_for_a_connection() -> None:
    """None where there was none; nothing for one that was kept; the time of a repeat counts."""
    scene = Scene(group(settings={"max_retries": 1}))
    scene.pool.hold = True
    client = scene.client()
    client.says(post())
    scene.clock.advance(0.25)
    scene.pool.waiting.pop()()
    scene.clock.advance(0.5)
    scene.upstreams[0].answers(OK)
    scene.pool.hold = False
    client.says(post())
    scene.clock.advance(0.125)
    scene.upstreams[0].closes()
    scene.upstreams[1].answers(OK)
    scene.pool.refuse = [UpstreamFailure(Trouble.CONNECT)] * 2
    client.says(post())
    scene.advance(1)
    waited = [record.connect_ms for record in scene.records]
    assert waited == [250, 125, None, None]
    assert [record.duration_ms for record in scene.records[:2]] == [750, 125]


def test_a_break_before_the_first_byte_is_mended_and_after_it_is_not() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post(b'{"stream":true}'))
    scene.upstreams[0].answers(STREAM)
    scene.upstreams[0].closes()
    assert client.heard() == b""
    scene.upstreams[1].answers(STREAM + EVENT)
    assert client.heard().endswith(EVENT)
    scene.upstreams[1].closes(ConnectionResetError())
    end = client.heard()
    assert b'data: {"error":{"message":"The upstream broke off' in end
    assert end.endswith(b"0\r\n\r\n") and not client.transport.disconnecting
    assert len(scene.upstreams) == 2
    assert outcomes(scene)[-1] == ("upstream_fault", 200, True)


def test_a_stream_that_ends_empty_is_a_fault_of_its_upstream() -> None:
    """F34: elsewhere taken, and logged, as success."""
    scene = Scene(group())
    client = scene.client()
    client.says(post(b'{"stream":true}'))
    scene.upstreams[0].answers(STREAM + b"0\r\n\r\n")
    assert client.heard() == b""
    scene.upstreams[0].answers(STREAM + EVENT + b"0\r\n\r\n")
    assert b"data:1" in client.heard()
    assert [record.outcome for record in scene.records] == ["upstream_fault", "ok"]


def test_a_head_without_a_body_is_shown_after_a_moment() -> None:
    """A model may think for minutes; a client may want to see that it has been heard."""
    scene = Scene(group())
    client = scene.client()
    client.says(post(b'{"stream":true}'))
    scene.upstreams[0].answers(STREAM)
    assert client.heard() == b""
    scene.advance(3)
    assert client.heard().startswith(b"HTTP/1.1 200 OK")
    scene.advance(590)
    scene.upstreams[0].answers(EVENT + b"0\r\n\r\n")
    assert client.heard() == EVENT + b"0\r\n\r\n"


def test_a_client_that_leaves_ends_its_upstream_request_at_once() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    client.leaves()
    assert scene.upstreams[0].gone
    assert outcomes(scene) == [("client_gone", 499, True)]
    assert scene.events == [] and scene.plane.under_way == 0


def test_a_client_that_leaves_while_we_connect_ends_that_too() -> None:
    scene = Scene(group())
    scene.pool.hold = True
    client = scene.client()
    client.says(post())
    client.leaves()
    assert scene.pool.cancelled == 1


def test_a_stale_connection_is_no_attempt() -> None:
    """F38: the upstream closed a kept connection; the same key goes out on a fresh one."""
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(OK)
    client.says(post())
    sent = scene.upstreams[0].heard()
    scene.upstreams[0].closes()
    assert scene.upstreams[1].heard().split(b"Bearer ")[1][:11] in sent
    scene.upstreams[1].answers(OK)
    assert client.heard() == OK + OK
    assert [record.outcome for record in scene.records] == ["ok", "ok"]


def test_without_keys_the_client_hears_503_with_a_hint() -> None:
    scene = Scene(group(), keys=0)
    client = scene.client()
    client.says(post())
    heard = client.heard()
    assert status_of(heard) == 503
    error = json.loads(body_of(heard))
    assert error["code"] == "NO_KEYS_AVAILABLE" and "add-multiple" in error["hint"]
    assert scene.records[0].status_code == 503


def test_when_all_keys_rest_the_client_hears_429_with_a_true_time() -> None:
    scene = Scene(group(), keys=1)
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(LIMITED)
    assert status_of(client.heard()) == 429  # the upstream's own answer
    client.says(post())
    heard = client.heard()
    assert status_of(heard) == 429
    wait = int(heard.split(b"Retry-After: ")[1].split(b"\r\n")[0])
    assert 1 <= wait <= 10


def test_no_browser_takes_an_error_of_ours_for_something_else() -> None:
    """An upstream's answer passes as it is: the other tests compare its bytes."""
    for said in (post().replace(b"sk-proxy", b"sk-wrong"), b"no HTTP\r\n\r\n"):
        client = Scene(group()).client()
        client.says(said)
        head = client.heard().partition(b"\r\n\r\n")[0]
        assert b"\r\nX-Content-Type-Options: nosniff" in head


def test_a_group_that_is_not_known_is_404_for_those_who_may_ask() -> None:
    """D43. Who has no key at all learns nothing about names."""
    scene = Scene(group())
    client = scene.client()
    client.says(GET.replace(b"/proxy/g/", b"/proxy/nope/"))
    assert status_of(client.heard()) == 404
    client.says(GET.replace(b"/proxy/g/", b"/proxy/nope/").replace(b"sk-proxy", b"sk-wrong"))
    assert status_of(client.heard()) == 401


CREDENTIALS = [
    b"Authorization: Bearer sk-proxy",
    b"authorization: bearer  sk-proxy",
    b"Authorization: Basic OnNrLXByb3h5",
    b"X-Api-Key: sk-proxy",
    b"x-goog-api-key: sk-proxy",
    b"api-key: sk-proxy",
    b"Authorization: Bearer stale\r\nX-Api-Key: sk-proxy",
    b"X-Api-Key: stale\r\nX-Goog-Api-Key: sk-proxy",
]


@pytest.mark.parametrize("line", CREDENTIALS)
@pytest.mark.parametrize("channel", ["openai", "anthropic", "gemini"])
def test_any_valid_credential_lets_in_and_none_goes_on(line: bytes, channel: str) -> None:
    """F21: exactly the pool's credential reaches the upstream."""
    scene = Scene(group(channel=channel))
    scene.client().says(b"GET /proxy/g/v1/models?a=1 HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n")
    sent = scene.upstreams[0].heard()
    assert b"sk-proxy" not in sent and b"stale" not in sent and b"OnNr" not in sent
    assert sent.count(b"sk-pool-1-0") == 1
    fields = sent.lower().split(b"\r\n")
    carriers = (b"authorization:", b"x-api-key:", b"x-goog-api-key:", b"api-key:")
    assert sum(field.startswith(carriers) for field in fields) == 1


def test_a_key_in_the_query_lets_in_and_leaves_no_trace() -> None:
    scene = Scene(group(channel="gemini"))
    scene.client().says(
        b"GET /proxy/g/v1beta/models?pageSize=5&key=sk-proxy&%24alt=json HTTP/1.1\r\n"
        b"Host: h\r\n\r\n"
    )
    sent = scene.upstreams[0].heard()
    assert sent.startswith(b"GET /v1beta/models?pageSize=5&%24alt=json HTTP/1.1\r\n")
    scene.upstreams[0].answers(OK)
    assert "sk-proxy" not in str(scene.records)


@pytest.mark.parametrize(
    "line",
    [b"", b"Authorization: Bearer \r\n", b"X-Api-Key: wrong\r\n", b"Authorization: Basic !!!\r\n"],
)
def test_no_or_a_wrong_credential_is_401_in_the_channels_words(line: bytes) -> None:
    scene = Scene(group(channel="anthropic"))
    client = scene.client()
    client.says(
        b"POST /proxy/g/v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n" + line + b"\r\n{}"
    )
    heard = client.heard()
    error = json.loads(body_of(heard))
    assert status_of(heard) == 401 and error["code"] == "UNAUTHORIZED"
    assert error["type"] == "error" and error["error"]["type"] == "authentication_error"
    assert scene.upstreams == []
    assert scene.records[0].status_code == 401 and scene.records[0].group_id == 0
    client.says(GET)  # the connection is still good
    assert len(scene.upstreams) == 1


def test_a_pool_key_quoted_in_an_error_is_masked() -> None:
    scene = Scene(group(), keys=1)
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(answer(400, b'{"error":{"message":"bad key sk-pool-1-0!"}}'))
    heard = client.heard()
    assert b"sk-pool-1-0" not in heard and b"sk-p****-1-0" in heard
    assert body_of(heard) == b'{"error":{"message":"bad key sk-p****-1-0!"}}'
    assert "sk-pool-1-0" not in scene.records[0].error


def test_a_long_error_passes_whole() -> None:
    scene = Scene(group(), keys=1)
    client = scene.client()
    client.says(post())
    body = b'{"error":{"message":"' + b"x" * 300_000 + b'"}}'
    wire = answer(400, body)
    for start in range(0, len(wire), 50_000):
        scene.upstreams[0].answers(wire[start : start + 50_000])
    assert body_of(client.heard()) == body
    assert outcomes(scene) == [("request_fault", 400, True)]
    assert scene.plane.under_way == 0


def test_a_long_error_of_a_bad_key_is_not_waited_for() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    long = b'{"error":{"code":"invalid_api_key","message":"' + b"x" * 70_000
    scene.upstreams[0].answers(b"HTTP/1.1 401 X\r\nContent-Length: 9000000\r\n\r\n" + long)
    assert scene.upstreams[0].gone
    scene.upstreams[1].answers(OK)
    assert client.heard() == OK


def test_a_redirect_passes_to_the_client() -> None:
    """D39: following one with the key on board would hand it to another host."""
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(
        b"HTTP/1.1 307 T\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n"
    )
    assert client.heard().startswith(b"HTTP/1.1 307 T\r\nLocation: http://x/")


def test_repeated_fields_stay_and_the_accounts_own_go() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(
        b"HTTP/1.1 200 OK\r\nLink: <a>\r\nLink: <b>\r\nSet-Cookie: a=1\r\nKeep-Alive: 5\r\n"
        b"openai-organization: org-1\r\nx-request-id: 7\r\nX-Odd: \xe9\xff\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert client.heard() == (
        b"HTTP/1.1 200 OK\r\nLink: <a>\r\nLink: <b>\r\nx-request-id: 7\r\nX-Odd: \xe9\xff\r\n"
        b"Content-Length: 0\r\n\r\n"
    )


# Bodies.


def test_a_chunked_request_goes_out_with_its_length() -> None:
    """F13: the same bytes, exactly one framing field."""
    scene = Scene(group())
    scene.client().says(
        b"POST /proxy/g/x HTTP/1.1\r\nHost: h\r\nX-Api-Key: sk-proxy\r\n"
        b'Transfer-Encoding: chunked\r\n\r\n3;a="b"\r\n\xce\xb3a\r\n1\r\nb\r\n0\r\n\r\n'
    )
    sent = scene.upstreams[0].heard()
    assert sent.endswith(b"Content-Length: 4\r\n\r\n\xce\xb3ab")
    assert b"transfer-encoding" not in sent.lower()


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"HEAD", b"OPTIONS"])
def test_no_framing_is_added_to_a_request_without_a_body(method: bytes) -> None:
    scene = Scene(group())
    scene.client().says(GET.replace(b"GET", method))
    sent = scene.upstreams[0].heard().lower()
    assert b"content-length" not in sent and b"transfer-encoding" not in sent


def test_an_empty_body_keeps_its_length() -> None:
    scene = Scene(group())
    scene.client().says(post(b""))
    assert b"Content-Length: 0\r\n" in scene.upstreams[0].heard()


def big(scene: Scene, client: Client, total: int, first: int) -> None:
    client.says(post(b"x" * total)[: -(total - first)])


def test_a_body_too_large_to_keep_streams_through_with_back_pressure() -> None:
    scene = Scene(group(settings={"max_buffered_body": 1000}))
    scene.pool.hold = True
    client = scene.client()
    big(scene, client, 5000, 2000)
    assert client.transport.producerState == "paused"  # until there is a connection
    scene.pool.waiting[0]()
    assert client.transport.producerState == "producing"
    upstream = scene.upstreams[0]
    assert upstream.heard().endswith(b"Content-Length: 5000\r\n\r\n" + b"x" * 2000)
    upstream.connection.pauseProducing()
    assert client.transport.producerState == "paused"
    upstream.connection.resumeProducing()
    client.says(b"x" * 3000)
    assert upstream.heard() == b"x" * 3000
    upstream.answers(OK)
    assert client.heard() == OK


def test_a_streamed_body_is_sent_once_only() -> None:
    scene = Scene(group(settings={"max_buffered_body": 1000}))
    client = scene.client()
    client.says(post(b"x" * 5000)[:-100])
    client.says(b"x" * 100)
    scene.upstreams[0].answers(REJECTED)
    assert status_of(client.heard()) == 401 and len(scene.upstreams) == 1
    assert [event.seen for event in scene.events] == [Seen.REJECTED]


def test_a_streamed_body_that_never_left_can_still_go_elsewhere() -> None:
    scene = Scene(group(settings={"max_buffered_body": 1000}))
    scene.pool.refuse = [UpstreamFailure(Trouble.CONNECT)]
    client = scene.client()
    client.says(post(b"x" * 5000)[:-100])
    scene.advance(1)
    client.says(b"x" * 100)
    assert scene.upstreams[0].heard().endswith(b"\r\n\r\n" + b"x" * 5000)


def test_a_chunked_body_too_large_to_keep_stays_chunked() -> None:
    scene = Scene(group(settings={"max_buffered_body": 10}))
    client = scene.client()
    client.says(
        b"POST /proxy/g/x HTTP/1.1\r\nHost: h\r\nX-Api-Key: sk-proxy\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + b"x" * 20 + b"\r\n"
    )
    client.says(b"2\r\nyz\r\n0\r\n\r\n")
    sent = scene.upstreams[0].heard()
    assert sent.endswith(
        b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + b"x" * 20 + b"\r\n2\r\nyz\r\n0\r\n\r\n"
    )


def test_the_model_of_a_streamed_body_is_in_the_record() -> None:
    scene = Scene(group(settings={"max_buffered_body": 100}))
    client = scene.client()
    client.says(post(b'{"messages":"' + b"x" * 500 + b'","model":"late","stream":false}'))
    scene.upstreams[0].answers(OK)
    assert scene.records[0].model == "late"


def test_an_answer_before_the_whole_request_is_passed_on() -> None:
    """T4: a CDN's 413 comes while the client still sends."""
    scene = Scene(group(settings={"max_buffered_body": 100}))
    client = scene.client()
    client.says(post(b"x" * 5_000_000)[:-4_000_000])
    scene.upstreams[0].answers(answer(413, {"error": {"message": "too large"}}))
    heard = client.heard()
    assert status_of(heard) == 413 and b"Connection: close" in heard
    assert scene.upstreams[0].gone  # nobody knows where the next answer would begin


def test_a_compressed_body_passes_as_it_is() -> None:
    """F15."""
    scene = Scene(group())
    body = b"\x1f\x8b\x08\x00rubbish"
    scene.client().says(post(body, b"Content-Encoding: gzip"))
    sent = scene.upstreams[0].heard()
    assert sent.endswith(b"\r\n\r\n" + body) and b"Content-Encoding: gzip\r\n" in sent


def test_an_upstream_that_ends_its_body_with_the_connection_is_understood() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    scene.upstreams[0].closes()
    assert body_of(client.heard()) == b"9\r\nall of it\r\n0\r\n\r\n"
    assert outcomes(scene) == [("ok", 200, True)]


def test_a_pause_in_the_last_write_never_reaches_the_connection_that_is_free_again() -> None:
    """It would stay paused in the pool, and its next user would wait for ever."""
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    fills = client.transport.write

    def write(data: bytes) -> None:
        fills(data)
        client.connection.pauseProducing()

    client.transport.write = write  # type: ignore[method-assign]
    scene.upstreams[0].answers(OK)
    assert scene.upstreams[0].transport.producerState == "producing"
    assert scene.pool.idle == scene.upstreams


def test_a_record_is_made_before_the_client_has_the_whole_answer() -> None:
    """Whoever has read an answer to its end finds it in the log, whatever happens next."""
    scene = Scene(group())
    client = scene.client()
    seen: list[int] = []
    client.transport.write = lambda data: seen.append(len(scene.records))  # type: ignore
    client.says(post())
    scene.upstreams[0].answers(OK)
    client.says(post())
    scene.upstreams[0].answers(STREAM + EVENT)
    scene.upstreams[0].answers(b"0\r\n\r\n")
    client.says(post())
    scene.upstreams[0].answers(answer(404))
    client.says(GET.replace(b"sk-proxy", b"wrong"))
    assert seen == [1, 1, 2, 3, 4]


def test_a_body_that_ends_with_a_reset_is_broken() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(b"HTTP/1.0 200 OK\r\n\r\nhalf")
    scene.upstreams[0].closes(ConnectionResetError())
    assert not client.heard().endswith(b"0\r\n\r\n") and client.transport.disconnecting
    assert outcomes(scene) == [("upstream_fault", 200, True)]


def test_a_slow_client_pauses_its_upstream() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(post())
    scene.upstreams[0].answers(STREAM + EVENT)
    client.connection.pauseProducing()
    assert scene.upstreams[0].transport.producerState == "paused"
    client.connection.resumeProducing()
    assert scene.upstreams[0].transport.producerState == "producing"


# Rules.


def test_a_groups_rules_change_fields_body_and_path() -> None:
    rules = (
        HeaderRule(b"x-who", b"X-Who", "${GROUP_NAME} ${API_KEY}"),
        HeaderRule(b"user-agent", b"User-Agent", None),
    )
    scene = Scene(
        group(
            header_rules=rules,
            parameter_overrides={"temperature": 0.5},
            model_redirects={"fast": "gpt-4o"},
        )
    )
    scene.client().says(post(b'{"model":"fast", "seed":12345678901234567890}', b"User-Agent: me"))
    sent = scene.upstreams[0].heard()
    assert b"X-Who: g sk-pool-1-0\r\n" in sent and b"User-Agent" not in sent
    assert body_of(sent) == b'{"model":"gpt-4o", "seed":12345678901234567890,"temperature":0.5}'
    scene.upstreams[0].answers(OK)
    assert scene.records[0].model == "fast"


def test_gemini_names_its_model_in_the_path() -> None:
    scene = Scene(group(channel="gemini", model_redirects={"flash": "gemini-2.5-flash"}))
    path = b"/proxy/g/v1beta/models/flash:streamGenerateContent?alt=sse"
    scene.client().says(post(b"{}", path=path))
    sent = scene.upstreams[0].heard()
    assert sent.startswith(
        b"POST /v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse HTTP/1.1"
    )
    scene.upstreams[0].answers(STREAM + EVENT + b"0\r\n\r\n")
    assert scene.records[0].model == "flash" and scene.records[0].is_stream


def test_a_strict_group_refuses_other_models_before_a_key_is_used() -> None:
    scene = Scene(group(model_redirects={"a": "b"}, model_redirect_strict=True))
    client = scene.client()
    client.says(post())
    heard = client.heard()
    assert status_of(heard) == 400
    assert b"model 'gpt-4o' is not configured in redirect rules" in heard
    assert scene.upstreams == [] and scene.plane.under_way == 0


def test_a_model_list_shows_the_rules_names() -> None:
    scene = Scene(group(model_redirects={"fast": "gpt-4o"}))
    client = scene.client()
    client.says(GET)
    assert b"Accept-Encoding: identity" in scene.upstreams[0].heard()
    listed = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}
    scene.upstreams[0].answers(answer(200, listed, b"x-request-id: 9"))
    heard = client.heard()
    names = [entry["id"] for entry in json.loads(body_of(heard))["data"]]
    assert names == ["gpt-4o", "fast"] and b"x-request-id: 9" in heard


@pytest.mark.parametrize("query", [b"pageToken=x", b"a=1&after_id=m", b"before_id=m"])
@pytest.mark.parametrize("strict", [False, True])
def test_only_the_first_page_of_a_model_list_gets_the_rules_names(
    query: bytes, strict: bool
) -> None:
    """A client that follows the pages would see each name once a page; a whitelist holds on all."""
    rules = {"fast": "gpt-4o"}
    scene = Scene(group(model_redirects=rules, model_redirect_strict=strict))
    client = scene.client()
    client.says(GET.replace(b"/models", b"/models?" + query))
    listed = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}
    scene.upstreams[0].answers(answer(200, listed))
    names = [entry["id"] for entry in json.loads(body_of(client.heard()))["data"]]
    assert names == (["fast"] if strict else ["gpt-4o"])


def test_without_rules_a_model_list_passes_byte_for_byte() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(GET)
    odd = answer(200, b'{ "data" : [ ] }')
    scene.upstreams[0].answers(odd)
    assert body_of(client.heard()) == b'{ "data" : [ ] }'


def test_a_large_body_cant_slip_past_rules_that_must_look_into_it() -> None:
    scene = Scene(group(settings={"max_buffered_body": 100}, model_redirects={"a": "b"}))
    client = scene.client()
    client.says(post(b"x" * 5000)[:-100])
    assert status_of(client.heard()) == 413 and scene.upstreams == []


# Aggregates.


def aggregate(**weights: int) -> Scene:
    members = [
        group(f"http://{name}.example", name=name, number=number)
        for number, name in enumerate(weights, 2)
    ]
    entry = evolve(
        group(number=1),
        upstreams=(),
        sub_groups=tuple((m.id, weights[m.name]) for m in members),
    )
    return Scene(entry, *members)


def test_an_aggregate_serves_from_its_members_by_weight() -> None:
    scene = aggregate(a=2, b=1)
    client = scene.client()
    for _ in range(6):
        client.says(post())
        next(upstream for upstream in scene.upstreams if upstream.heard()).answers(OK)
    groups = [record.group_name for record in scene.records]
    assert sorted(groups) == ["a"] * 4 + ["b"] * 2
    assert {record.parent_group_name for record in scene.records} == {"g"}


def test_an_aggregates_own_rules_apply_before_its_members() -> None:
    """D38: the reference takes them and ignores them."""
    rule = HeaderRule(b"x-a", b"X-A", "aggregate")
    other = HeaderRule(b"x-b", b"X-B", "aggregate")
    member = group(number=2, name="m", header_rules=(HeaderRule(b"x-b", b"X-B", "member"),))
    entry = evolve(
        group(number=1),
        upstreams=(),
        sub_groups=((2, 1),),
        header_rules=(rule, other),
        parameter_overrides={"a": 1},
    )
    scene = Scene(entry, member)
    scene.client().says(post(b"{}"))
    sent = scene.upstreams[0].heard()
    assert b"X-A: aggregate" in sent and b"X-B: member" in sent and sent.endswith(b'{"a":1}')


def test_a_dry_member_is_passed_over_within_one_request() -> None:
    """D7: the reference fails though another member is healthy."""
    scene = aggregate(a=1, b=1)
    client = scene.client()
    client.says(post())
    while scene.plane.under_way:
        asked = next(upstream for upstream in scene.upstreams if upstream.heard())
        asked.answers(OK if asked.route.origin.host == "b.example" else REJECTED)
    assert scene.records[-1].group_name == "b" and scene.records[-1].outcome == "ok"


# The front.


def test_too_many_requests_at_once_are_503_with_a_time() -> None:
    scene = Scene(group(), limit=1)
    first, second = scene.client(), scene.client()
    first.says(post())
    second.says(post())
    heard = second.heard()
    assert status_of(heard) == 503 and b"Retry-After: 1" in heard
    scene.upstreams[0].answers(OK)
    second.says(post())
    scene.upstreams[0].answers(OK)
    assert status_of(second.heard()) == 200


def test_everything_else_goes_to_the_control_plane_with_the_clients_address() -> None:
    scene = Scene(group())
    client = scene.client()
    client.says(
        b"POST /api/keys HTTP/1.1\r\nHost: h:3001\r\nCookie: a=1\r\nAuthorization: Bearer admin\r\n"
        b"X-Gptload-Client: 6.6.6.6\r\nContent-Length: 2\r\n\r\n{}"
    )
    control = scene.upstreams[0]
    assert control.route.origin.scheme == "unix"
    sent = control.heard()
    assert sent.startswith(b"POST /api/keys HTTP/1.1\r\nHost: h:3001\r\nCookie: a=1\r\n")
    assert b"Authorization: Bearer admin" in sent and b"6.6.6.6" not in sent
    assert b"X-Gptload-Client: 192.168.1.1" in sent and sent.endswith(b"\r\n\r\n{}")
    control.answers(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: s=1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhi\r\n0\r\n\r\n"
    )
    assert b"Set-Cookie: s=1" in client.heard()


def test_a_control_plane_that_is_away_is_503() -> None:
    scene = Scene(group())
    scene.pool.refuse = [UpstreamFailure(Trouble.CONNECT)]
    client = scene.client()
    client.says(b"GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n")
    scene.advance(1)
    assert status_of(client.heard()) == 503


def test_a_browsers_preflight_is_answered_here() -> None:
    """F57: `*` doesn't cover Authorization, so what is asked for is named."""
    cors = Cors(frozenset({"*"}), ("GET", "POST"), ("*",), False)
    scene = Scene(group(), cors=cors)
    client = scene.client()
    client.says(
        b"OPTIONS /proxy/g/v1/x HTTP/1.1\r\nHost: h\r\nOrigin: https://app.example\r\n"
        b"Access-Control-Request-Method: POST\r\n"
        b"Access-Control-Request-Headers: authorization, x-stainless-lang\r\n\r\n"
    )
    heard = client.heard()
    assert status_of(heard) == 204
    assert b"Access-Control-Allow-Headers: authorization, x-stainless-lang" in heard
    client.says(post(CHAT, b"Origin: https://app.example"))
    sent = scene.upstreams[0].heard()
    assert b"Origin" not in sent
    scene.upstreams[0].answers(answer(200, {}, b"Access-Control-Allow-Origin: https://them"))
    heard = client.heard()
    assert heard.count(b"Access-Control-Allow-Origin") == 1
    assert b"Access-Control-Allow-Origin: https://app.example" in heard


def test_every_outcome_has_a_name_in_the_record() -> None:
    assert {outcome.name.lower() for outcome in Outcome} >= {"ok", "client_gone"}
