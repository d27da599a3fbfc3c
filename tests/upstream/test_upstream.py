"""The scripted provider does what its script says, byte for byte.

Every other test that uses it believes it, so it is tested by a client that reads
strictly and knows none of its code.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time

import pytest

from tests.parts.raw import Ended, Raw, Reply, request
from tests.upstream.answers import TEXT
from tests.upstream.control import ROOT, Upstream
from tests.upstream.script import Rule, Script, Step

CHAT = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hi"}]}
LONG = b"0123456789" * 30


def chat(key: str = "sk-good", *, stream: bool = False) -> bytes:
    body = json.dumps(CHAT | ({"stream": True} if stream else {})).encode()
    return request("POST", "/v1/chat/completions", [("Authorization", f"Bearer {key}")], body)


def test_a_script_survives_its_json() -> None:
    script = Script(
        [Rule(Step(status=500, raw=b"\xff", fields=[("A", "b")]), key="k", times=2)],
        {"sk-dead": Step(error="invalid_api_key")},
        pace=Step(events=3),
    )
    sent = json.dumps(script.plain())
    again = Script.of(json.loads(sent))
    assert json.dumps(again.plain()) == sent
    assert again.rules[0].then.raw == b"\xff"


def test_a_step_of_unknown_words_is_refused(upstream: Upstream) -> None:
    with pytest.raises(ValueError, match="a step has no colour"):
        upstream.script(keys={"sk-x": {"colour": "red"}})


def test_keys_behave_as_told_and_rules_come_first(upstream: Upstream) -> None:
    upstream.script(
        Rule(Step(status=418), path="/v1/chat", times=1),
        keys={
            "sk-dead": "invalid_api_key",
            "sk-limited": {"error": "rate_limited", "retry_after": 7},
        },
    )
    with Raw(upstream.port) as client:
        assert client.ask(chat()).status == 418
        assert client.ask(chat("sk-dead")).status == 401
        limited = client.ask(chat("sk-limited"))
        assert limited.status == 429
        assert limited.get("retry-after") == "7"
        assert TEXT.encode() in client.ask(chat()).body
    assert upstream.keys_seen() == ["sk-good", "sk-dead", "sk-limited", "sk-good"]
    assert [s.nth_on_connection for s in upstream.seen()] == [1, 2, 3, 4]


def test_what_was_sent_is_told_as_it_was_sent(upstream: Upstream) -> None:
    with Raw(upstream.port) as client:
        client.ask(
            b"POST /v1/%66iles?a=%ZZ&a=2 HTTP/1.1\r\nhOsT: x\r\nX-Title: \xe4\xbd\xa0\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\nT: 1\r\n\r\n"
        )
    (seen,) = upstream.seen()
    assert seen.target == "/v1/%66iles?a=%ZZ&a=2"
    assert seen.fields[:2] == [("hOsT", "x"), ("X-Title", "\xe4\xbd\xa0")]
    assert seen.body == b"abc"
    assert seen.body_complete


@pytest.mark.parametrize(
    ("step", "framing"),
    [
        (Step(body=LONG), "length"),
        (Step(body=LONG, framing="close"), "close"),
        (Step(body=LONG, chunk_sizes=[1, 7, 64]), "chunked"),
        (Step(body=LONG, chunk_sizes=[40], odd_chunks=True, chunk_extension=';a="b;c"'), "chunked"),
        (Step(body=LONG, framing="chunked", trailers=[("X-T", "1")], split=1), "chunked"),
        (Step(body=LONG, interim=[(100, []), (103, [("Link", "</a>")])]), "length"),
    ],
)
def test_every_framing_carries_the_same_bytes(upstream: Upstream, step: Step, framing: str) -> None:
    upstream.script(others=step)
    with Raw(upstream.port) as client:
        reply = client.ask(chat())
        assert (reply.framing, reply.body) == (framing, LONG)
        assert reply.trailers == list(step.trailers)
        assert [status for status, _ in reply.interim] == [status for status, _ in step.interim]
        if framing != "close":
            assert client.ask(chat()).body == LONG  # the connection is in step


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body_have_none(upstream: Upstream, method: str, status: int) -> None:
    upstream.script(others=Step(status=status, body=LONG))
    with Raw(upstream.port) as client:
        for _ in range(2):
            assert client.ask(request(method, "/v1/models"), method).status == status


def test_gzip_is_announced_and_right(upstream: Upstream) -> None:
    upstream.script(others=Step(gzip="always"))
    with Raw(upstream.port) as client:
        unary, stream = client.ask(chat()), client.ask(chat(stream=True))
    assert unary.get("content-encoding") == stream.get("content-encoding") == "gzip"
    assert TEXT in json.loads(gzip.decompress(unary.body))["choices"][0]["message"]["content"]
    assert gzip.decompress(stream.body).endswith(b"data: [DONE]\n\n")


def test_a_stream_keeps_its_interval(upstream: Upstream) -> None:
    upstream.script(pace=Step(events=4, interval_ms=30))
    began = time.monotonic()
    with Raw(upstream.port) as client:
        reply = client.ask(chat(stream=True))
    assert len(reply.chunks) == 4 + 3  # role, finish and [DONE] around the text
    assert time.monotonic() - began >= 6 * 0.03


@pytest.mark.parametrize("fault", ["close_before_head", "reset_before_head"])
def test_no_head_at_all(upstream: Upstream, fault: str) -> None:
    upstream.script(others=Step.of({"fault": fault}))
    with Raw(upstream.port) as client, pytest.raises(Ended):
        client.ask(chat())
    assert [s.ended for s in upstream.seen()] == ["cut"]


@pytest.mark.parametrize("fault", ["close_in_body", "reset_in_body"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_body_breaks_where_told(upstream: Upstream, fault: str, stream: bool) -> None:
    upstream.script(others=Step.of({"fault": fault, "fault_after": 3}))
    with Raw(upstream.port) as client, pytest.raises(Ended) as ended:
        client.ask(chat(stream=stream))
    assert ended.value.so_far.count(b"data:") == (3 if stream else 0)
    assert ended.value.so_far


def test_garbage_is_sent_as_it_is(upstream: Upstream) -> None:
    upstream.script(others=Step(raw=b"SSH-2.0-OpenSSH\r\n"))
    with Raw(upstream.port) as client:
        client.send(chat())
        assert client.rest() == b"SSH-2.0-OpenSSH\r\n"


def test_silence_lasts_until_the_client_goes(upstream: Upstream) -> None:
    upstream.script(others=Step(fault="never_answer"))
    with Raw(upstream.port) as client:
        client.send(chat())
        assert client.is_quiet(0.2)
    assert [s.ended for s in upstream.wait_ended()] == ["peer_gone"]


def test_a_body_can_be_left_unread(upstream: Upstream) -> None:
    upstream.script(Rule(Step(fault="never_read")))
    with Raw(upstream.port, timeout_s=0.5) as client, pytest.raises(TimeoutError):
        client.send(request("POST", "/v1/files", body=b"x" * (64 << 20)))


def test_an_answer_can_come_before_the_body(upstream: Upstream) -> None:
    upstream.script(Rule(Step(fault="early_answer", status=413)))
    with Raw(upstream.port) as client:
        client.send(b"POST /v1/files HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc")
        assert client.reply("POST").status == 413
        assert client.is_closed()


def test_an_idle_connection_closes_when_told(upstream: Upstream) -> None:
    upstream.script(others=Step(close_silently_after_ms=50))
    with Raw(upstream.port) as client:
        assert client.ask(chat()).status == 200
        assert client.is_closed(2)


def test_the_second_request_of_a_connection_can_fail(upstream: Upstream) -> None:
    upstream.script(Rule(Step(fault="reset_before_head"), nth_on_connection=2))
    with Raw(upstream.port) as client:
        assert client.ask(chat()).status == 200
        with pytest.raises(Ended):
            client.ask(chat())


def test_it_can_refuse_connections_for_a_while(upstream: Upstream) -> None:
    upstream.listening(plain=False)
    try:
        with pytest.raises(ConnectionRefusedError):
            Raw(upstream.port)
    finally:
        upstream.listening(plain=True)
    with Raw(upstream.port) as client:
        assert client.ask(chat()).status == 200


@pytest.mark.parametrize(
    ("path", "field", "error"),
    [
        ("/v1/chat/completions", "Authorization", "invalid_request_error"),
        ("/v1/messages", "x-api-key", "authentication_error"),
        ("/v1beta/models/m:generateContent", "x-goog-api-key", "INVALID_ARGUMENT"),
    ],
)
def test_each_api_refuses_in_its_own_words(
    upstream: Upstream, path: str, field: str, error: str
) -> None:
    upstream.script(keys={"sk-dead": "invalid_api_key"})
    with Raw(upstream.port) as client:
        value = "Bearer sk-dead" if field == "Authorization" else "sk-dead"
        said = json.loads(client.ask(request("POST", path, [(field, value)], b"{}")).body)["error"]
    assert error in (said.get("type"), said.get("status"))


def test_two_credentials_are_refused(upstream: Upstream) -> None:
    fields = [("x-api-key", "a"), ("Authorization", "Bearer b")]
    with Raw(upstream.port) as client:
        assert client.ask(request("GET", "/v1/models", fields)).status == 400


def test_two_framings_are_refused(upstream: Upstream) -> None:
    with Raw(upstream.port) as client:
        reply = client.ask(
            b"POST /v1/files HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
    assert reply.status == 400
    assert reply.get("x-upstream-refused") == "two framings"


def test_the_command_line_is_enough_for_a_demo() -> None:
    """Sick keys and slow streams without a script."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.upstream", "--events", "2", "--interval-ms", "10"]
        + ["--keys", '{"sk-dead": "invalid_api_key", "sk-busy": {"status": 429}}'],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        with process.stdout, Raw(json.loads(process.stdout.readline())["port"]) as client:
            assert client.ask(chat("sk-dead")).status == 401
            assert client.ask(chat("sk-busy")).status == 429
            assert len(client.ask(chat(stream=True)).chunks) == 2 + 3
    finally:
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("path", "field", "body", "status"),
    [
        ("/v1/files", "Authorization", b"", 404),
        ("/v1/messages/batches", "x-api-key", b'{"requests": []}', 404),
        ("/v1beta/cachedContents", "x-goog-api-key", b'{"model": "models/m"}', 403),
    ],
)
def test_what_a_key_made_is_there_for_no_other_key(
    upstream: Upstream, path: str, field: str, body: bytes, status: int
) -> None:
    def ask(key: str, method: str, path: str) -> Reply:
        value = f"Bearer {key}" if field == "Authorization" else key
        with Raw(upstream.port) as client:
            return client.ask(request(method, path, [(field, value)], body))

    made = json.loads(ask("sk-one", "POST", path).body)
    name = (made.get("id") or made["name"]).rpartition("/")[2]
    upstream.script()  # a provider keeps it whatever happens to it afterwards
    assert ask("sk-two", "GET", f"{path}/{name}").status == status
    assert json.loads(ask("sk-one", "GET", f"{path}/{name}").body) == made


def test_an_upload_is_finished_by_the_key_that_began_it(upstream: Upstream) -> None:
    def step(key: str, target: str, command: str, body: bytes) -> Reply:
        fields = [("x-goog-api-key", key), ("X-Goog-Upload-Command", command)]
        with Raw(upstream.port) as client:
            return client.ask(request("POST", target, fields, body, host="provider.example"))

    begun = step("sk-one", "/upload/v1beta/files", "start", b"{}")
    url = begun.get("x-goog-upload-url") or ""
    assert url.startswith("http://provider.example/upload/v1beta/files?key=sk-one&")
    target = url.removeprefix("http://provider.example").replace("key=sk-one&", "")
    assert step("sk-two", target, "upload, finalize", b"x").status == 403
    assert step("sk-one", target, "upload", b"12345678").status == 200
    ended = json.loads(step("sk-one", target, "upload, finalize", b"9").body)
    assert ended["file"]["sizeBytes"] == "9"
