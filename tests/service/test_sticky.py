"""What one key made is asked of that key again; and conversations that stay with a key."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from typing import Any

import pytest

from tests.parts.calls import call, chat, generate
from tests.parts.raw import Reply, request
from tests.parts.service import AUTH_KEY, Service
from tests.service.conftest import OpenGroup
from tests.upstream.control import Seen, Upstream
from tests.upstream.script import Rule, Step

MULTIPART = "multipart/form-data; boundary=x"
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--x--\r\n'
CHANNELS = ("openai", "anthropic", "gemini")


def post_file(group: str) -> bytes:
    fields = [("Authorization", f"Bearer {AUTH_KEY}"), ("Content-Type", MULTIPART)]
    return request("POST", f"/proxy/{group}/v1/files", fields, FILE)


def said(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    found: dict[str, Any] = json.loads(reply.body)
    return found


# --- Resumable uploads


def start_upload(service: Service, group: str, *fields: tuple[str, str]) -> str:
    """Google's first step; the URL of the second one."""
    head = [
        ("X-Goog-Upload-Protocol", "resumable"),
        ("X-Goog-Upload-Command", "start"),
        ("X-Goog-Upload-Header-Content-Length", "9"),
        *fields,
    ]
    host = f"127.0.0.1:{service.port}"
    begun = call(group, "POST", "/upload/v1beta/files", {"file": {}}, head, host)
    return service.ask(begun).get("x-goog-upload-url") or ""


def finish_upload(service: Service, url: str, content: bytes) -> Reply:
    """The second step as Google's recipes write it: no credential but the URL."""
    head = [("X-Goog-Upload-Offset", "0"), ("X-Goog-Upload-Command", "upload, finalize")]
    target = url.removeprefix(service.url)
    return service.ask(request("POST", target, head, content))


def test_f53_an_upload_ends_with_the_key_that_began_it(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Three starts over three keys, finished in reverse; the URL is the only credential."""
    group = open_group("gemini", keys=3)
    urls = [start_upload(service, group.name) for _ in range(3)]
    began = upstream.keys_seen()
    assert set(began) == set(group.keys)
    for url in urls:
        assert url.startswith(f"{service.url}/proxy/{group.name}/upload/v1beta/files?")
        assert not any(key in url for key in group.keys)
        assert AUTH_KEY not in url
    files = [
        said(finish_upload(service, url, b"content-%d" % number))["file"]
        for number, url in reversed(list(enumerate(urls)))
    ]
    finished = upstream.seen()[3:]
    assert [seen.key for seen in finished] == began[::-1]
    assert [seen.body for seen in finished] == [b"content-2", b"content-1", b"content-0"]
    assert all(len(seen.credentials) == 1 for seen in finished)
    assert all("gptload" not in seen.target for seen in finished)
    for file, owner in zip(files, began[::-1], strict=True):
        read = call(group.name, "GET", f"/v1beta/{file['name']}")
        assert said(service.ask(read)) == file
        assert upstream.seen()[-1].key == owner


def test_f53_an_upload_url_opens_that_upload_alone(
    service: Service, upstream: Upstream, open_group: OpenGroup, name: str
) -> None:
    group = open_group("gemini", keys=2)
    service.create_group(f"{name}-other", "gemini", upstream.url, [f"sk-{name}-of-another-group"])
    url = start_upload(service, group.name)
    ticket = re.search(r"gptload_upload=([\w-]+)", url)
    assert ticket is not None
    forged = ticket[1][:10] + ("A" if ticket[1][10] != "A" else "B") + ticket[1][11:]
    upstream.script()
    for wrong in (
        url.replace(ticket[1], forged),
        url.replace(ticket[1], "x"),
        url.replace("upload_id=", "upload_id=another-"),
        url.replace("/upload/v1beta/files", "/upload/v1beta/other"),
        url.replace("/upload/v1beta/files", "/v1beta/models"),
        url.replace(f"/proxy/{group.name}/", f"/proxy/{name}-other/"),
        re.sub(r"&?gptload_upload=[\w-]+", "", url),
    ):
        assert finish_upload(service, wrong, b"x").status == 401, wrong
    assert upstream.seen() == []
    assert finish_upload(service, url, b"x").status == 200


def test_f53_an_upload_in_pieces_and_past_a_tls_terminator(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Each piece names the URL again; behind TLS that ends in front of us it says https."""
    group = open_group("gemini", keys=3)
    forwarded = ("X-Forwarded-Proto", "https")
    url = start_upload(service, group.name, forwarded)
    assert url.startswith(f"https://127.0.0.1:{service.port}/proxy/")
    target = url.removeprefix(f"https://127.0.0.1:{service.port}")
    for command in ("upload", "upload", "upload, finalize"):
        reply = service.ask(
            request("PUT", target, [("X-Goog-Upload-Command", command)], b"8 bytes.")
        )
        assert reply.status == 200
    assert len(set(upstream.keys_seen())) == 1
    assert json.loads(reply.body)["file"]["sizeBytes"] == "24"


def test_an_upload_through_an_aggregate_stays_in_its_sub_group(
    service: Service, upstream: Upstream, name: str
) -> None:
    members = [
        service.create_group(f"{name}-{n}", "gemini", f"{upstream.url}", [f"sk-{name}-member-{n}"])
        for n in (1, 2)
    ]
    make_aggregate(service, name, "gemini", members)
    urls = [start_upload(service, name) for _ in range(4)]
    began = upstream.keys_seen()
    assert len(set(began)) == 2
    for url in reversed(urls):
        assert f"/proxy/{name}/upload/" in url
        assert finish_upload(service, url, b"x").status == 200
    assert upstream.keys_seen()[4:] == began[::-1]


def make_aggregate(service: Service, name: str, channel: str, members: list[int]) -> int:
    """A group of groups of equal weight."""
    said = {"name": name, "channel_type": channel, "group_type": "aggregate"}
    group = int(service.api("POST", "/groups", said)["id"])
    items = [{"group_id": member, "weight": 1} for member in members]
    service.api("POST", f"/groups/{group}/sub-groups", {"sub_groups": items})
    return group


# --- Files, batches, responses, caches


def made(group: str, channel: str) -> bytes:
    """A call that makes something."""
    return {
        "openai": post_file(group),
        "anthropic": call(group, "POST", "/v1/messages/batches", {"requests": []}),
        "gemini": call(group, "POST", "/v1beta/cachedContents", {"model": "models/m"}),
    }[channel]


def named(group: str, channel: str, answer: dict[str, Any]) -> list[bytes]:
    """Calls that name what was made, the last of them for the last time."""
    name = answer.get("id") or answer["name"]
    if channel == "openai":
        batch = {"input_file_id": name, "endpoint": "/v1/responses", "completion_window": "24h"}
        return [
            call(group, "GET", f"/v1/files/{name}"),
            call(group, "GET", f"/v1/files/{name}/content"),
            call(group, "POST", "/v1/batches", batch),
            call(group, "DELETE", f"/v1/files/{name}"),
        ]
    if channel == "anthropic":
        path = f"/v1/messages/batches/{name}"
        return [call(group, "GET", path), call(group, "POST", f"{path}/cancel", {})]
    return [
        call(group, "GET", f"/v1beta/{name}"),
        generate(group, cachedContent=name),
        generate(group, "streamGenerateContent?alt=sse", cachedContent=name),
        call(group, "DELETE", f"/v1beta/{name}"),
    ]


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_a_key_made_is_asked_of_that_key(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    group = open_group(channel, keys=4)
    answers = [said(service.ask(made(group.name, channel))) for _ in range(4)]
    owners = upstream.keys_seen()
    assert set(owners) == set(group.keys)
    for answer, owner in reversed(list(zip(answers, owners, strict=True))):
        for asked in named(group.name, channel, answer):
            assert service.ask(asked).status == 200
            assert upstream.seen()[-1].key == owner


def respond(group: str, **more: Any) -> bytes:
    return call(group, "POST", "/v1/responses", {"model": "gpt-4.1-mini", "input": "hi", **more})


def response_id(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    found = re.search(rb'"id": ?"(resp_[^"]+)"', reply.body)
    assert found is not None
    return found[1].decode()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_goes_on_with_the_key_that_holds_it(
    service: Service, upstream: Upstream, open_group: OpenGroup, streamed: bool
) -> None:
    group = open_group("openai-response", keys=4)
    heads = [response_id(service.ask(respond(group.name, stream=streamed))) for _ in range(4)]
    owners = upstream.keys_seen()
    assert set(owners) == set(group.keys)
    for head, owner in reversed(list(zip(heads, owners, strict=True))):
        for _ in range(3):
            more = respond(group.name, previous_response_id=head, stream=streamed)
            head = response_id(service.ask(more))
            assert upstream.seen()[-1].key == owner


def test_owners_outlive_a_restart(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=4)
    file = said(service.ask(post_file(group.name)))["id"]
    head = response_id(service.ask(respond(group.name)))
    file_owner, head_owner = upstream.keys_seen()
    assert file_owner != head_owner
    service.stop()
    service.start()
    for _ in range(2):
        assert service.ask(call(group.name, "GET", f"/v1/files/{file}")).status == 200
        assert upstream.seen()[-1].key == file_owner
        assert service.ask(respond(group.name, previous_response_id=head)).status == 200
        assert upstream.seen()[-1].key == head_owner


def test_an_upload_outlives_a_restart(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group("gemini", keys=3)
    url = start_upload(service, group.name)
    service.stop()
    service.start()
    assert finish_upload(service, url, b"x").status == 200
    assert len(set(upstream.keys_seen())) == 1


def test_what_only_a_resting_key_has_is_worth_a_wait(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Nobody else is asked, whose 404 would say that it doesn't exist."""
    group = open_group(keys=3)
    file = said(service.ask(post_file(group.name)))["id"]
    (owner,) = upstream.keys_seen()
    read = call(group.name, "GET", f"/v1/files/{file}")
    upstream.script(Rule(Step(error="rate_limited", retry_after=2), key=owner, times=1))
    assert service.ask(read).status == 429
    reply = service.ask(read)
    assert (reply.status, len(upstream.seen())) == (429, 1)
    assert 1 <= int(reply.get("retry-after") or 0) <= 2
    assert (
        "The key that made what the request names is resting" in json.loads(reply.body)["message"]
    )
    assert service.ask(call(group.name, "GET", "/v1/models")).status == 200

    service.change_group(group.id, config={"max_wait_for_key": 5})
    assert service.ask(read).status == 200
    assert upstream.seen()[-1].key == owner


def test_without_its_key_somebody_else_is_asked(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """A key that was deleted can't answer; the upstream's own 404 is the answer then."""
    group = open_group(keys=2)
    file = said(service.ask(post_file(group.name)))["id"]
    (owner,) = upstream.keys_seen()
    service.key_command("delete", group.id, [owner])
    reply = service.ask(call(group.name, "GET", f"/v1/files/{file}"))
    assert reply.status == 404
    assert f"No such File object: {file}" in json.loads(reply.body)["error"]["message"]
    (key,) = service.keys(group.id)
    assert (key["state"], key["failure_count"]) == ("active", 0)


# --- Session affinity


def turn(group: str, who: str, number: int = 1) -> bytes:
    """One more turn of somebody's conversation."""
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": who}]
    for word in range(1, number):
        said.append({"role": "assistant", "content": f"answer {word}"})
        said.append({"role": "user", "content": f"question {word}"})
    body = json.dumps({"model": "gpt-4.1-mini", "messages": said, "user": who}).encode()
    return chat(group, body, [("X-Session-Id", who)])


def keys_of(seen: list[Seen]) -> dict[str, list[str]]:
    """By person, the keys that served, in order."""
    found: dict[str, list[str]] = {}
    for one in seen:
        found.setdefault(json.loads(one.body)["user"], []).append(one.key)
    return found


@pytest.mark.parametrize("rule", ["prefix", "header:X-Session-Id", "body:user"])
def test_a_conversation_stays_with_its_key(
    service: Service, upstream: Upstream, open_group: OpenGroup, rule: str
) -> None:
    group = open_group(keys=2, config={"session_affinity": rule})
    people = [f"person-{number}" for number in range(16)]
    for number in range(1, 5):
        for who in people if number % 2 else reversed(people):
            assert service.ask(turn(group.name, who, number)).status == 200
    used = keys_of(upstream.seen())
    assert {who: len(set(keys)) for who, keys in used.items()} == dict.fromkeys(people, 1)
    assert Counter(upstream.keys_seen()) == dict.fromkeys(group.keys, 32)


def test_a_loud_conversation_gets_no_more_than_a_share_and_a_quarter(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=4, config={"session_affinity": "prefix"})
    for number in range(60):
        who = "loud" if number % 4 else f"quiet-{number}"
        assert service.ask(turn(group.name, who)).status == 200
    counts = Counter(upstream.keys_seen())
    assert sum(counts.values()) == 60
    assert max(counts.values()) <= 60 / 4 * 1.25 + 1


def test_a_conversation_moves_on_when_its_key_rests(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group(keys=3, config={"session_affinity": "prefix"})
    for number in range(30):  # beside others' traffic, of which a key's share is made
        assert service.ask(turn(group.name, f"other-{number}")).status == 200
    assert service.ask(turn(group.name, "ann")).status == 200
    first = upstream.keys_seen()[-1]
    upstream.script(Rule(Step(error="rate_limited", retry_after=1), key=first, times=1))
    began = time.monotonic()
    for number in range(2, 5):
        assert service.ask(turn(group.name, "ann", number)).status == 200
    assert time.monotonic() - began < 0.9
    tried, *served = keys_of(upstream.seen())["ann"]
    assert tried == first
    assert len(set(served)) == 1
    assert first not in served


def test_a_batchs_output_is_its_keys_too(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    """Its name is first heard when somebody asks for the batch."""
    group = open_group(keys=3)
    file = said(service.ask(post_file(group.name)))
    batch = {"input_file_id": file["id"], "endpoint": "/v1/responses", "completion_window": "24h"}
    begun = said(service.ask(call(group.name, "POST", "/v1/batches", batch)))
    ended = said(service.ask(call(group.name, "GET", f"/v1/batches/{begun['id']}")))
    output = ended["output_file_id"]
    for _ in range(3):
        reply = service.ask(call(group.name, "GET", f"/v1/files/{output}/content"))
        assert (reply.status, reply.body) == (200, b'{"custom_id":"1"}\n')
    assert len(set(upstream.keys_seen())) == 1


def test_a_file_is_found_when_the_upstreams_change_places(
    service: Service, upstream: Upstream, name: str
) -> None:
    urls = [f"{upstream.url}/a", f"{upstream.url}/b"]
    group = service.create_group(name, "openai", urls, [f"sk-{name}-only-key"])
    file = said(service.ask(post_file(name)))["id"]
    at = upstream.seen()[-1].target[:2]
    service.change_group(group, upstreams=[{"url": url, "weight": 1} for url in urls[::-1]])
    service.ask(call(name, "GET", f"/v1/files/{file}"))
    assert upstream.seen()[-1].target[:2] == at
