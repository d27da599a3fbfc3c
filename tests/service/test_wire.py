"""What goes over the wire, in both directions, as people reported it of other proxies.

The numbers are those of the field cases that each test replays.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.parts.calls import JSON_FIELDS, chat, chat_body, generate, get, messages
from tests.parts.raw import Ended, Raw, Reply, request
from tests.parts.service import AUTH_KEY, Service, wait_for
from tests.service.conftest import Group, OpenGroup, make_group
from tests.upstream.answers import TEXT
from tests.upstream.control import Upstream, fields_of
from tests.upstream.script import Rule, Step

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
ALLOW_ORIGIN = "Access-Control-Allow-Origin"
ALLOW_HEADERS = "Access-Control-Allow-Headers"
CJK = "汉字かな한글 🌍 "
CJK_MARK = "你好".encode()  # in every answer of the scripted provider


def unpacked(reply: Reply) -> bytes:
    """The body as a client that believes the fields reads it."""
    return gzip.decompress(reply.body) if reply.get("content-encoding") == "gzip" else reply.body


# --- Requests


@pytest.mark.parametrize(
    "fields",
    [
        [("Connection", "upgrade")],
        [("Connection", "Upgrade"), ("Upgrade", "h2c")],
        [
            ("Connection", "keep-alive, X-Hop"),
            ("X-Hop", "1"),
            ("TE", "trailers"),
            ("Keep-Alive", "timeout=5"),
        ],
    ],
)
def test_f09_hop_by_hop_fields_stay_here(
    service: Service, upstream: Upstream, open_group: OpenGroup, fields: list[tuple[str, str]]
) -> None:
    """nginx's usual snippet sets `Connection: upgrade` on every request."""
    group = open_group()
    assert service.ask(chat(group.name, fields=fields)).status == 200
    (seen,) = upstream.seen()
    assert not seen.names & (HOP_BY_HOP | {"x-hop"}) - {"connection"}
    assert seen.all("connection") in ([], ["keep-alive"])
    assert seen.body == chat_body()


def test_f11_the_body_is_asked_for(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """curl holds a body over 1 kB back until it hears 100."""
    group = open_group()
    body = chat_body(user="x" * 4000)
    whole = chat(group.name, body, [("Expect", "100-continue")])
    with service.raw() as client:
        client.send(whole.removesuffix(body))
        client.socket.settimeout(3)
        assert client.head()[0] == 100
        client.send(body)
        assert client.reply("POST").status == 200
    assert upstream.seen()[0].body == body


def test_f13_chunked_uploads_have_one_framing(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group()
    body = chat_body(user=CJK)
    body = json.dumps(json.loads(body), ensure_ascii=False).encode()
    cut = body.index("汉".encode()) + 1  # inside a character
    parts = [body[:cut], body[cut:]]
    chunks = b"".join(b"%X;ext=1\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
    head = request(
        "POST",
        f"/proxy/{group.name}/v1/chat/completions",
        [*JSON_FIELDS, ("Transfer-Encoding", "chunked")],
    )
    assert service.ask(head + chunks).status == 200
    (seen,) = upstream.seen()
    assert seen.body == body
    assert len(seen.all("content-length") + seen.all("transfer-encoding")) == 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_f13_no_framing_is_added_to_a_call_without_a_body(
    service: Service, upstream: Upstream, open_group: OpenGroup, method: str
) -> None:
    group = open_group()
    service.ask(request(method, f"/proxy/{group.name}/v1/models", [JSON_FIELDS[0]]))
    (seen,) = upstream.seen()
    assert seen.method == method
    assert not seen.names & {"content-length", "transfer-encoding"}


def test_f15_a_compressed_request_goes_on_as_it_is(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group()
    body = gzip.compress(chat_body())
    assert service.ask(chat(group.name, body, [("Content-Encoding", "gzip")])).status == 200
    (seen,) = upstream.seen()
    assert seen.body == body
    assert seen.get("content-encoding") == "gzip"


def test_f17_claude_code_is_understood(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group("anthropic")
    fields = [
        ("anthropic-beta", "claude-code-20250219,never-heard-of-2031-01-01"),
        ("anthropic-beta", "interleaved-thinking-2025-05-14"),
        ("anthropic-version", "2099-12-31"),
        ("User-Agent", "claude-cli/9.9.9 (external, cli)"),
    ]
    target = "/v1/messages/count_tokens?beta=true"
    reply = service.ask(messages(group.name, fields, target))
    assert json.loads(reply.body) == {"input_tokens": 14}
    (seen,) = upstream.seen()
    assert seen.target == target
    for name in {name for name, _ in fields}:
        assert seen.all(name) == [value for n, value in fields if n == name]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models/org%2Fmodel%3Av1",
        "/v1//models/a+b%20c?x=%2B&x=1;2&y",
        "/v1/models/%e4%bd%a0",
        "/v1/models/broken%ZZ",
    ],
)
def test_f19_targets_pass_byte_for_byte(
    service: Service, upstream: Upstream, open_group: OpenGroup, target: str
) -> None:
    group = open_group()
    reply = service.ask(get(group.name, target))
    if "%ZZ" in target and reply.status == 400:
        return  # refusing what no one can decode is right as well
    assert [seen.target for seen in upstream.seen()] == [target]


@pytest.mark.parametrize(
    ("channel", "place"), [("anthropic", "x-api-key"), ("openai", "authorization")]
)
def test_f21_only_the_pools_credential_goes_on(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str, place: str
) -> None:
    group = open_group(channel)
    stale = [("x-api-key", "stale-one"), ("x-goog-api-key", "stale-two"), ("api-key", "stale-3")]
    call = messages if channel == "anthropic" else chat
    assert service.ask(call(group.name, fields=stale)).status == 200
    (seen,) = upstream.seen()
    assert seen.credentials == [(place, group.keys[0])]


def test_a_key_in_the_query_lets_in_and_stays_here(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group("gemini")
    target = f"/proxy/{group.name}/v1beta/models?b=%2B&key={AUTH_KEY}&a=1"
    assert service.ask(request("GET", target)).status == 200
    (seen,) = upstream.seen()
    assert seen.target == "/v1beta/models?b=%2B&a=1"
    assert seen.credentials == [("x-goog-api-key", group.keys[0])]


def test_f23_fields_may_hold_any_bytes(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    title, referer = "标题 🌍".encode(), b"https://caf\xe9.example/"
    upstream.script(pace=Step(fields=fields_of(("X-One", title), ("X-Two", referer))))
    reply = service.ask(chat(open_group().name, fields=[("X-Title", title), ("Referer", referer)]))
    assert reply.status == 200
    assert (reply.get("x-one") or "").encode("latin-1") == title
    assert (reply.get("x-two") or "").encode("latin-1") == referer
    (seen,) = upstream.seen()
    assert (seen.get("x-title") or "").encode("latin-1") == title
    assert seen.get("referer") in (None, referer.decode("latin-1"))


def test_f59_rules_touch_only_what_they_name(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Numbers above 2^53, escapes, order and spacing are the client's own."""
    group = open_group(
        param_overrides={"temperature": 0.5},
        model_redirect_rules={"my-alias": "gpt-4.1-mini"},
    )
    body = (
        '{ "seed": 1234567890123456, "big":123456789012345678901234567890 ,"f":1e15,\r\n'
        '"temperature" :1.0, "text":"\\u4f60 \\/ \\ud83c\\udf0d 🌍 \\"model\\": \\"my-alias\\"",'
        '"model":  "my-alias","messages":[{"model":"my-alias","temperature":9}] }'
    ).encode()
    assert service.ask(chat(group.name, body)).status == 200
    (seen,) = upstream.seen()
    expected = body.replace(b'"temperature" :1.0', b'"temperature" :0.5').replace(
        b'"model":  "my-alias"', b'"model":  "gpt-4.1-mini"'
    )
    assert seen.body == expected


def test_f61_a_model_may_have_a_chinese_name(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    display = "模型组 🚀 <b>&amp;"
    group = open_group(model_redirect_rules={"通义千问": "gpt-4.1-mini"}, display_name=display)
    for body in (chat_body(model="通义千问"), '{"model":"通义千问","messages":[]}'.encode()):
        assert service.ask(chat(group.name, body)).status == 200
    assert [json.loads(seen.body)["model"] for seen in upstream.seen()] == ["gpt-4.1-mini"] * 2
    found = service.wait_logs(2, model="义千", group_name=group.name)
    assert [log["model"] for log in found] == ["通义千问"] * 2
    listed = {g["id"]: g for g in service.api("GET", "/groups")}
    assert listed[group.id]["display_name"] == display


def test_f57_a_browsers_sdk_may_call(
    own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    """`*` does not cover Authorization; and of two Allow-Origins a browser takes none."""
    service = own_service(ENABLE_CORS="true", ALLOWED_ORIGINS="*").start()
    group = make_group(service, upstream, name)
    origin = ("Origin", "https://app.example")
    asked = "authorization,content-type,x-stainless-os,x-stainless-retry-count"
    preflight = service.ask(
        request(
            "OPTIONS",
            f"/proxy/{group.name}/v1/chat/completions",
            [
                origin,
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", asked),
            ],
        )
    )
    assert preflight.status in (200, 204)
    allowed = {n.strip().lower() for n in (preflight.get(ALLOW_HEADERS) or "").split(",")}
    assert set(asked.split(",")) <= allowed
    assert upstream.seen() == []

    upstream.script(pace=Step(fields=[(ALLOW_ORIGIN, "https://provider.example")]))
    reply = service.ask(chat(group.name, fields=[origin]))
    assert reply.status == 200
    assert reply.all(ALLOW_ORIGIN) in (["*"], ["https://app.example"])


def test_a_request_may_come_in_any_pieces(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group()
    with service.raw() as client:
        client.send_slowly(chat(group.name), 1)
        assert client.reply("POST").status == 200
    assert upstream.seen()[0].body == chat_body()


def test_pipelined_requests_are_answered_in_order(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """The first is slow; those after it wait their turn, whatever they are."""
    group = open_group(keys=2)
    upstream.script(Rule(Step(head_delay_ms=200), turn=1))
    with service.raw() as client:
        client.send(
            chat(group.name)
            + request("GET", "/health")
            + chat(group.name, stream=True)
            + get(group.name, "/v1/models")
        )
        bodies = [client.reply().body for _ in range(4)]
    assert TEXT.encode() in bodies[0]
    assert json.loads(bodies[1])["status"] == "healthy"
    assert bodies[2].endswith(b"data: [DONE]\n\n")
    assert json.loads(bodies[3])["object"] == "list"


# --- Responses


def test_f25_long_and_repeated_response_fields_are_kept(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """A line over 16 kB ends twisted's own client."""
    long = "x" * 40_000
    links = [("Link", "</a>; rel=next"), ("Link", "</b>; rel=prev")]
    upstream.script(pace=Step(fields=[("X-Long", long), *links]))
    reply = service.ask(chat(open_group().name))
    assert reply.status == 200
    assert reply.all("x-long") == [long]
    assert reply.all("link") == [value for _, value in links]


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("when", ["always", "accepted"])
@pytest.mark.parametrize("stream", [True, False])
def test_f28_compressed_answers_decode_to_the_original(
    service: Service,
    upstream: Upstream,
    open_group: OpenGroup,
    accepts: bool,
    when: str,
    stream: bool,
) -> None:
    upstream.script(pace=Step.of({"gzip": when}))
    fields = [("Accept-Encoding", "gzip, deflate")] if accepts else []
    call = chat(open_group().name, fields=fields, stream=stream)
    with service.raw() as client:
        for _ in range(2):
            assert CJK_MARK in unpacked(client.ask(call))


CJK_MARK = "你好".encode()


def test_f30_compressed_errors_are_understood_and_readable(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group("gemini", keys=2, config={"blacklist_threshold": 1})
    dead = group.keys[0]
    upstream.script(keys={dead: Step(error="invalid_api_key", gzip="always")})
    for _ in range(4):
        assert service.ask(generate(group.name)).status == 200
    assert service.wait_key(group.id, dead, is_invalid)["status"] == "invalid"
    assert upstream.keys_seen().count(dead) == 1

    upstream.script(others=Step(error="bad_request", gzip="always"))
    reply = service.ask(generate(group.name))
    assert reply.status == 400
    assert b"contents is not specified" in unpacked(reply)
    assert len(upstream.seen()) == 1


def is_invalid(key: dict[str, object]) -> bool:
    return key["status"] == "invalid"


@pytest.mark.parametrize("status", [100, 103])
def test_f49_interim_answers_are_not_taken_for_the_final_one(
    service: Service, upstream: Upstream, open_group: OpenGroup, status: int
) -> None:
    upstream.script(pace=Step(interim=[(status, [("Link", "</a>")]), (status, [])]))
    group = open_group()
    with service.raw() as client:
        for _ in range(3):
            reply = client.ask(chat(group.name))
            assert reply.status == 200
            assert TEXT.encode() in reply.body
    assert {seen.connection for seen in upstream.seen()} == {upstream.seen()[0].connection}


def test_f63_odd_chunks_are_read_right(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    text = ("αβγδε " * 40).encode()
    upstream.script(
        others=Step(
            body=text,
            chunk_sizes=[27, 3, 200],
            odd_chunks=True,
            chunk_extension=';a="b;c";d',
            trailers=[("X-Checksum", "1")],
            split=41,
            split_pause_ms=2,
        )
    )
    group = open_group()
    with service.raw() as client:
        for _ in range(2):
            reply = client.ask(chat(group.name))  # asserts one framing field
            assert reply.body == text


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_every_framing_of_an_answer_arrives(
    service: Service, upstream: Upstream, open_group: OpenGroup, framing: str
) -> None:
    upstream.script(others=Step.of({"body": "0123456789" * 20_000, "framing": framing}))
    group = open_group()
    with service.raw() as client:
        for _ in range(2):
            assert client.ask(chat(group.name)).body == b"0123456789" * 20_000
    assert len(upstream.seen()) == 2


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body_keep_the_connection_in_step(
    service: Service, upstream: Upstream, open_group: OpenGroup, method: str, status: int
) -> None:
    group = open_group()
    upstream.script(Rule(Step(status=status, body=b"x" * 99), path="/v1/models"))
    with service.raw() as client:
        for _ in range(2):
            call = request(method, f"/proxy/{group.name}/v1/models", [JSON_FIELDS[0]])
            assert client.ask(call, method).status == status
            assert client.ask(chat(group.name)).status == 200


def test_a_redirect_is_the_clients_to_see(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    upstream.script(others=Step(status=307, fields=[("Location", "https://elsewhere/x")], body=b""))
    reply = service.ask(chat(open_group().name))
    assert (reply.status, reply.get("location")) == (307, "https://elsewhere/x")
    assert len(upstream.seen()) == 1


@pytest.mark.parametrize("aging", ["idle", "closed", "reset"])
def test_f38_a_kept_connection_that_died_costs_nobody_anything(
    service: Service, upstream: Upstream, open_group: OpenGroup, aging: str
) -> None:
    group = open_group(keys=2)
    if aging == "idle":
        upstream.script(others=Step(close_silently_after_ms=60))
    else:
        fault = "close_before_head" if aging == "closed" else "reset_before_head"
        upstream.script(Rule(Step.of({"fault": fault}), nth_on_connection=2))
    for _ in range(8):
        assert service.ask(chat(group.name)).status == 200
        time.sleep(0.1 if aging == "idle" else 0.01)
    assert [key["failure_count"] for key in service.keys(group.id)] == [0, 0]


# --- Streams


def test_f32_a_stream_cut_at_every_byte_is_the_same_stream(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group()
    whole = service.ask(chat(group.name, stream=True))
    kind = "text/event-stream;charset=UTF-8"
    upstream.script(pace=Step(chunk_sizes=[1], content_type=kind))
    cut = service.ask(chat(group.name, stream=True))
    assert cut.get("content-type") == kind
    assert cut.body == whole.body
    assert "🌍".encode() in cut.body


@pytest.mark.parametrize("fault", ["reset_in_body", "close_in_body"])
def test_f37_a_stream_that_breaks_is_seen_to_break(
    service: Service, upstream: Upstream, open_group: OpenGroup, fault: str
) -> None:
    """After a byte has been seen nothing is retried, and the break does not look like an end."""
    group = open_group("anthropic", keys=2)
    upstream.script(pace=Step.of({"fault": fault, "fault_after": 5}))
    try:
        body = service.ask(messages(group.name, stream=True)).body
        assert b"event: error" in body
    except Ended as ended:
        body = ended.so_far
    assert " wörld".encode() in body
    assert body.count(b"event: message_start") == 1
    assert b"message_stop" not in body
    assert len(upstream.seen()) == 1
    (log,) = service.wait_logs(1, group_name=group.name)
    assert not log["is_success"]
    assert log["error_message"]


def test_events_arrive_as_they_are_sent(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group()
    upstream.script(pace=Step(events=4, interval_ms=150))
    with service.raw() as client:
        began = time.monotonic()
        client.send(chat(group.name, stream=True))
        client.head()
        assert client.socket.recv(65536)
        assert time.monotonic() - began < 0.45  # the stream takes 0.9 s


def test_a_json_array_stream_keeps_its_type(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    reply = service.ask(generate(open_group("gemini").name, "streamGenerateContent"))
    assert reply.get("content-type") == "application/json; charset=UTF-8"
    assert [c["candidates"][0]["content"]["parts"][0]["text"] for c in json.loads(reply.body)]


def test_a_client_that_leaves_ends_the_upstreams_work_at_once(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group()
    upstream.script(pace=Step(events=200, interval_ms=50))
    with service.raw() as client:
        client.send(chat(group.name, stream=True))
        client.head()
        left = time.time()
    (seen,) = upstream.wait_ended()
    assert seen.ended == "peer_gone"
    assert seen.ended_at is not None
    assert seen.ended_at - left < 1
    (log,) = service.wait_logs(1, group_name=group.name)
    assert log["status_code"] == 499
    assert service.key(group.id, group.keys[0])["failure_count"] == 0


def test_a_stalled_reader_holds_the_upstream_back(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """40 MB for a client that doesn't read: they wait in the upstream, not in our memory."""
    group = open_group()
    upstream.script(others=Step(body=b"x" * 1024, repeat=40 << 10))
    service.ask(get(group.name))  # what the first call allocates is not the question
    before = resident_bytes(service)
    with service.raw() as client:
        client.send(chat(group.name))
        time.sleep(1)
        assert upstream.seen()[-1].ended == "running"
        assert resident_bytes(service) - before < 8 << 20
        assert len(client.reply("POST").body) == 40 << 20


def resident_bytes(service: Service) -> int:
    with open(f"/proc/{service.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


@pytest.mark.parametrize("large", [False, True])
def test_an_early_answer_reaches_the_client(
    service: Service, upstream: Upstream, open_group: OpenGroup, large: bool
) -> None:
    """A CDN refuses a body that is too large before it has read it."""
    group = open_group()
    upstream.script(Rule(Step(fault="early_answer", status=413)))
    body = b"x" * ((20 << 20) if large else 1000)
    with Raw(service.port, timeout_s=20) as client:
        try:
            client.send(chat(group.name, body))
        except ConnectionError:
            pass  # its answer may still be read
        assert client.reply("POST").status == 413


# --- Time


def test_f51_a_live_stream_outlives_the_timeouts(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"request_timeout": 2, "response_header_timeout": 2})
    upstream.script(pace=Step(events=23, interval_ms=200))
    reply = service.ask(chat(group.name, stream=True))
    assert reply.body.endswith(b"data: [DONE]\n\n")


def test_f51_silence_ends_after_the_timeout_and_blames_no_key(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"request_timeout": 2, "response_header_timeout": 2})
    upstream.script(others=Step(fault="never_answer"))
    began = time.monotonic()
    assert service.ask(chat(group.name)).status == 504
    assert 1.5 < time.monotonic() - began < 4.5
    assert service.key(group.id, group.keys[0])["failure_count"] == 0
    assert {seen.ended for seen in upstream.wait_ended()} == {"peer_gone"}


# --- Traces


def test_f69_a_long_body_is_logged_whole_or_cut_at_a_character(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(config={"enable_request_body_logging": True})
    text = "汉字" * 30_000  # 180 kB
    body = json.dumps({"model": "m", "messages": [], "x": text}, ensure_ascii=False)
    assert service.ask(chat(group.name, body.encode())).status == 200
    (log,) = service.wait_logs(1, group_name=group.name)
    logged = log["request_body"]
    assert len(logged) > 1000
    assert "\ufffd" not in logged
    assert body.startswith(logged.rstrip("…")[:-40])


def test_f27_log_windows_hold_in_every_zone(
    own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    service = own_service(TZ="Asia/Shanghai").start()
    group = make_group(service, upstream, name)
    now = datetime.now(UTC)
    assert service.ask(chat(group.name)).status == 200
    service.wait_logs(1)
    zones = [timezone(timedelta(hours=h)) for h in (0, 8, -5, 5.5)]
    for zone in zones:

        def window(begin_min: int, end_min: int, zone: timezone = zone) -> int:
            begin, end = (now + timedelta(minutes=m) for m in (begin_min, end_min))
            return len(
                service.logs(
                    start_time=begin.astimezone(zone).isoformat(timespec="seconds"),
                    end_time=end.astimezone(zone).isoformat(timespec="seconds"),
                )
            )

        assert window(-10, 10) == 1
        assert window(-70, -10) == 0
        assert window(10, 70) == 0


def test_one_record_an_attempt(service: Service, upstream: Upstream, open_group: OpenGroup) -> None:
    group: Group = open_group(keys=2)
    first, second = group.keys
    upstream.script(keys={first: "invalid_api_key", second: "ok"})
    while upstream.keys_seen()[-2:] != [first, second]:
        assert service.ask(chat(group.name, stream=True)).status == 200
    logs = wait_for(
        lambda: service.logs(group_name=group.name),
        lambda found: len(found) == len(upstream.seen()),
    )
    final, retry = sorted(logs[:2], key=lambda log: log["request_type"])
    assert (final["request_type"], retry["request_type"]) == ("final", "retry")
    assert (final["status_code"], retry["status_code"]) == (200, 401)
    assert (final["is_success"], retry["is_success"]) == (True, False)
    assert "Incorrect API key" in retry["error_message"]
    for log in (final, retry):
        assert log["group_name"] == group.name
        assert log["model"] == "gpt-4.1-mini"
        assert log["is_stream"] is True
        assert log["upstream_addr"].startswith(upstream.url)
        assert log["duration_ms"] >= 0
