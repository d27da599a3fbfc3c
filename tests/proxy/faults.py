"""What can go wrong at an upstream, and scenes in which it does, at every channel.

The rule of this file: nothing in here says what should come of a fault. What is seen in
the scenes becomes docs/faults.md (`tests.proxy.faultpage`), and tests/proxy/test_faults.py
has the laws that all of them obey.

A scene has three keys. The first two are of one account that is known, nobody knows
whose the third is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, Final

from attrs import Factory, frozen
from twisted.internet.error import ConnectionDone, ConnectionLost

from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.record import AttemptRecord
from gptload.link.messages import KeysAdded
from gptload.wire.upstream import Trouble, UpstreamFailure
from tests.fakes.scene import Client, Scene, Upstream, group
from tests.proxy import apis
from tests.proxy.apis import CHANNELS, Said

KEYS: Final = (1, 2, 3)
SECRETS: Final = {number: b"sk-secret-of-key-%d" % number for number in KEYS}
# In the evening, so that midnights and ends of months don't look like round figures.
_LATER_S: Final = 10 * 3600 + 20 * 60
# An exchange that hasn't ended then never will.
_PATIENCE_S: Final = 40
_ALWAYS: Final = 99
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_LAST_CHUNK: Final = b"0\r\n\r\n"


class About(Enum):
    """Whose fault it is; the page's chapters."""

    KEY = "Keys that are no good"
    LIMIT = "Limits and money"
    REQUEST = "The client's own mistakes"
    UPSTREAM = "An upstream that is ill"
    STREAM = "Streams"
    POOL = "Clients that leave, and pools without a key"


class Call(Enum):
    """How it is asked."""

    UNARY = "unary"
    STREAM = "stream"


BOTH: Final = (Call.UNARY, Call.STREAM)


class Stage:
    """One scene: a client that asks, and an upstream that does what the fault says.

    Attributes:
        client: who asked last.
        heard: what it got.
        said: of each attempt that the fault met, what the upstream sent of a body.
        key: that the last one of them was sent with.
        client_left: the client is gone, so nobody heard anything.
    """

    def __init__(self, fault: Fault, channel: str, call: Call) -> None:
        self.channel = channel
        self.streams = call is Call.STREAM
        self.said: list[bytes] = []
        self.client_left = False
        self._fault = fault
        urls = ("http://a.example", "http://b.example")[: fault.upstreams]
        self.scene = scene = Scene(group(*urls, channel=channel, settings=fault.settings), keys=0)
        scene.clock.advance(_LATER_S)
        account = apis.ACCOUNT[channel] if fault.account_known else ""
        keys = tuple(
            PoolKey(number, SECRETS[number], account=account if number < 3 else "", **more)
            for number, more in fault.keys(scene.now()).items()
        )
        for key in keys:
            scene.standings.take_up(1, key, "", None)
        scene.routing.apply(KeysAdded(1, keys))
        for _ in range(fault.good_before):
            self.call(_ALWAYS)
        for _ in range(fault.bad_before):
            self.call(0)
        self._before = len(scene.records)
        scene.pool.refuse = list(fault.refuse)
        self.call(len(fault.refuse))

    @property
    def records(self) -> list[AttemptRecord]:
        """Of the call that the fault met."""
        return self.scene.records[self._before :]

    def call(self, played: int = _ALWAYS) -> None:
        """Let a client ask, and the upstreams answer until that is over.

        Args:
            played: so many attempts the fault has met already; without it, it's over.
        """
        self.client = self._ask()
        for _ in range(_PATIENCE_S):
            while waiting := self._waiting():
                self._serve(waiting[0], played)
                played += 1
            if not self.scene.plane.under_way:
                break
            self.scene.advance(1)
        self.heard = self.client.heard()

    def _ask(self) -> Client:
        path = (apis.STREAM_PATH if self.streams else apis.PATH)[self.channel]
        body = apis.asks(self.channel, self.streams)
        client = self.scene.client()
        client.says(
            b"POST /proxy/g%b HTTP/1.1\r\nHost: localhost:3001\r\n"
            b"Authorization: Bearer sk-proxy\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (path, len(body), body)
        )
        return client

    def _waiting(self) -> list[Upstream]:
        return [
            upstream
            for upstream in self.scene.upstreams
            if upstream.transport.value() and not upstream.gone
        ]

    def _serve(self, upstream: Upstream, played: int) -> None:
        """Answer a request: as the fault does, or well once that is over."""
        request, fault = upstream.heard(), self._fault
        if played < fault.times and fault.host in upstream.route.origin.host:
            self.key = next(secret for secret in SECRETS.values() if secret in request)
            self.said.append(b"")
            fault.play(self, upstream)
        elif self.streams:
            upstream.answers(_STREAM_HEAD + _chunk(apis.STREAM[self.channel]) + _LAST_CHUNK)
        else:
            upstream.answers(_whole(Said(200, apis.ANSWER[self.channel])))

    # What a fault makes the upstream do.

    def answer(self, upstream: Upstream, said: Said) -> None:
        """A whole answer."""
        body = said.body.replace(b"{key}", self.key)
        self.said[-1] += body
        upstream.answers(_whole(Said(said.status, body, said.fields, said.kind)))

    def begin(self, upstream: Upstream) -> None:
        """The head of a good answer."""
        length = len(apis.ANSWER[self.channel])
        upstream.answers(
            _STREAM_HEAD
            if self.streams
            else b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % length
        )

    def go_on(self, upstream: Upstream, text: bytes) -> None:
        """More of its body."""
        self.said[-1] += text
        upstream.answers(_chunk(text) if self.streams else text)


def _whole(said: Said) -> bytes:
    lines = b"".join(line + b"\r\n" for line in said.fields)
    return b"HTTP/1.1 %d X\r\ncontent-type: %b\r\n%bcontent-length: %d\r\n\r\n%b" % (
        said.status,
        said.kind,
        lines,
        len(said.body),
        said.body,
    )


def _chunk(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


_Play = Callable[[Stage, Upstream], None]


def _well(now: float) -> dict[int, dict[str, Any]]:
    return {number: {} for number in KEYS}


@frozen
class Fault:
    """One thing that goes wrong.

    Attributes:
        text: what it is, for operators.
        play: what the upstream does with an attempt.
        times: with so many of them, from the first on.
        refuse: instead: how connections fail that are never made.
        keys: what holds of the keys before, by number, at that time.
        good_before: so many calls went well before it.
        bad_before: so many calls met it before.
        host: a part of the host that has it; "" for all.
    """

    title: str
    about: About
    text: str
    play: _Play
    times: int = 1
    calls: tuple[Call, ...] = BOTH
    channels: tuple[str, ...] = CHANNELS
    upstreams: int = 1
    account_known: bool = True
    settings: dict[str, Any] = Factory(dict)
    refuse: tuple[UpstreamFailure, ...] = ()
    keys: Callable[[float], dict[int, dict[str, Any]]] = _well
    good_before: int = 0
    bad_before: int = 0
    host: str = ""


# What upstreams do.


def says(said: Mapping[str, Said]) -> _Play:
    """They answer with this."""

    def play(stage: Stage, upstream: Upstream) -> None:
        answer = said[stage.channel]
        if answer.status == 200 and stage.streams and answer.kind == b"application/json":
            stage.begin(upstream)
            stage.go_on(upstream, apis.event(json.loads(answer.body)))
            upstream.answers(_LAST_CHUNK)
        else:
            stage.answer(upstream, answer)

    return play


def streams(*parts: Mapping[str, bytes], end: bytes = _LAST_CHUNK) -> _Play:
    """They begin a stream, send these parts of it, and end it, or only fall silent."""

    def play(stage: Stage, upstream: Upstream) -> None:
        stage.begin(upstream)
        for part in parts:
            stage.go_on(upstream, part[stage.channel])
        if end:
            upstream.answers(end)

    return play


def closes(error: Exception, *parts: Mapping[str, bytes]) -> _Play:
    """They send these parts of a stream, or the first half of an answer, and hang up."""

    def play(stage: Stage, upstream: Upstream) -> None:
        stage.begin(upstream)
        if stage.streams:
            for part in parts:
                stage.go_on(upstream, part[stage.channel])
        else:
            answer = apis.ANSWER[stage.channel]
            stage.go_on(upstream, answer[: len(answer) // 2])
        upstream.closes(error)

    return play


def nothing(stage: Stage, upstream: Upstream) -> None:
    """They take the request and say nothing."""


def hangs_up(stage: Stage, upstream: Upstream) -> None:
    """They take the request and hang up."""
    upstream.closes(ConnectionLost())


def is_no_http(stage: Stage, upstream: Upstream) -> None:
    """Somebody else lives there."""
    upstream.answers(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def loses_its_client(stage: Stage, upstream: Upstream) -> None:
    """The client goes before a word is said."""
    stage.client_left = True
    stage.client.leaves()


def loses_its_client_midway(stage: Stage, upstream: Upstream) -> None:
    """The client goes in the middle of the answer."""
    stage.begin(upstream)
    if stage.streams:
        stage.go_on(upstream, apis.HANDSHAKE[stage.channel] + apis.WORD[stage.channel])
    else:
        answer = apis.ANSWER[stage.channel]
        stage.go_on(upstream, answer[: len(answer) // 2])
    loses_its_client(stage, upstream)


_HALF: Final = {channel: apis.WORD[channel][:-5] for channel in CHANNELS}


def _struck_twice(now: float) -> dict[int, dict[str, Any]]:
    return {**_well(now), 1: {"strikes": 2}}


def _resting(now: float) -> dict[int, dict[str, Any]]:
    times = {1: 9.0, 2: 9.0, 3: 7.0}
    return {number: {"state": State.RESTING, "until": now + times[number]} for number in KEYS}


def _invalid(now: float) -> dict[int, dict[str, Any]]:
    return {number: {"state": State.INVALID, "strikes": 3} for number in KEYS}


def _none(now: float) -> dict[int, dict[str, Any]]:
    return {}


_KEY, _LIMIT, _REQUEST = About.KEY, About.LIMIT, About.REQUEST
_UPSTREAM, _STREAM, _POOL = About.UPSTREAM, About.STREAM, About.POOL
_STREAMED: Final = (Call.STREAM,)

FAULTS: Final = (
    Fault(
        "A dead key",
        _KEY,
        "The key was deleted or mistyped, and the API says so in its own way. OpenAI's error "
        "and Google's quote the key.",
        says(apis.DEAD),
    ),
    Fault(
        "A dead key, for the third time in a row",
        _KEY,
        "The same, with two strikes before it. `blacklist_threshold` is 3.",
        says(apis.DEAD),
        keys=_struck_twice,
    ),
    Fault(
        "A dead key, behind a gateway that says 502",
        _KEY,
        "Something between us and the API wraps the API's error into one of its own.",
        says(apis.WRAPPED),
    ),
    Fault(
        "Every key is dead, and none was ever good",
        _KEY,
        "All three are rejected in one call. Nobody can tell yet whether it's the keys or a "
        "wrong base URL, so no key pays; a test of a key (`POST /api/keys/test-multiple`) decides.",
        says(apis.DEAD),
        times=_ALWAYS,
    ),
    Fault(
        "Every key is rejected at once, after all were good",
        _KEY,
        "That many good keys don't die within seconds: it's the upstream, or the way to it.",
        says(apis.DEAD),
        times=_ALWAYS,
        good_before=3,
    ),
    Fault(
        "A leaked key, or a closed account",
        _KEY,
        "OpenAI: the account is deactivated. Anthropic: the organization is disabled. Google: "
        "the key was reported as leaked.",
        says(apis.CLOSED),
    ),
    Fault(
        "No access to the model",
        _KEY,
        "The key is good, but not for this model. Google says it as a quota of zero.",
        says(apis.NO_ACCESS),
    ),
    Fault(
        "Rate limit, with a time",
        _LIMIT,
        "The API names seven seconds, in a field of the head or in the body.",
        says(apis.LIMITED),
    ),
    Fault(
        "Rate limit, without a time",
        _LIMIT,
        "The rest is our own default. It doubles while the limit comes back.",
        says(apis.BUSY_KEY),
    ),
    Fault(
        "Rate limit of every key",
        _LIMIT,
        "The API names seven seconds for each. Key 2 isn't even asked: its account is limited.",
        says(apis.LIMITED),
        times=_ALWAYS,
    ),
    Fault(
        "A limit that calls itself 200",
        _LIMIT,
        "The status is 200, and the body or the stream's first event is an error. Only "
        "Google's names a time.",
        says(apis.LIMITED_200),
    ),
    Fault(
        "A day's or month's quota is used up",
        _LIMIT,
        "OpenAI: requests per day, the next one fits in 7m12s. Anthropic: the monthly spend "
        "limit, with a date. Google: the day's quota, and a `retryDelay` of 36 s that is about "
        "the minute's.",
        says(apis.USED_UP),
    ),
    Fault(
        "No credit, the account is known",
        _LIMIT,
        "Nobody says when there will be money again, so the rest is a default that doubles.",
        says(apis.NO_CREDIT),
    ),
    Fault(
        "No credit, the account is unknown",
        _LIMIT,
        "The same, and nobody has seen yet which keys belong together.",
        says(apis.NO_CREDIT),
        account_known=False,
    ),
    Fault(
        "A malformed request",
        _REQUEST,
        "No other key would make it right.",
        says(apis.MALFORMED),
    ),
    Fault("A prompt that is too long", _REQUEST, "The same.", says(apis.TOO_LONG)),
    Fault(
        "A model that doesn't exist",
        _REQUEST,
        "The base URL or the model's name is wrong.",
        says(apis.NO_MODEL),
    ),
    Fault(
        "Content that is refused",
        _REQUEST,
        "Repeating it with other keys would endanger them. Google's refusal is an ordinary "
        "answer without text.",
        says(apis.REFUSED),
    ),
    Fault(
        "500",
        _UPSTREAM,
        "The API has an error of its own. Here and below there are two upstreams, A and B; "
        "with one alone, the next attempt goes there again.",
        says(apis.FAILED),
        upstreams=2,
    ),
    Fault(
        "500 from everybody",
        _UPSTREAM,
        "`max_retries` is 3. The third and fourth attempt wait a little before they go out.",
        says(apis.FAILED),
        times=_ALWAYS,
        upstreams=2,
    ),
    Fault(
        "503",
        _UPSTREAM,
        "The API is down for a while. OpenAI and Anthropic send `Retry-After`.",
        says(apis.UNAVAILABLE),
        upstreams=2,
    ),
    Fault(
        "An outage of one upstream",
        _UPSTREAM,
        "503 from A at each of twenty calls. The line is about the one after them, which A "
        "isn't asked any more. Where `Retry-After` says so, it's left alone for that long.",
        says(apis.UNAVAILABLE),
        times=_ALWAYS,
        upstreams=2,
        bad_before=20,
        host="a.example",
    ),
    Fault(
        "Overloaded",
        _UPSTREAM,
        "529 at Anthropic, 503 elsewhere. It's about one model, whatever the key; other models "
        "of this upstream go on.",
        says(apis.OVERLOADED),
        upstreams=2,
    ),
    Fault(
        "An error that calls itself 200",
        _UPSTREAM,
        "The status is 200, and the body or the stream's first event says that the API failed.",
        says(apis.OVERLOADED_200),
        upstreams=2,
    ),
    Fault(
        "A block page",
        _UPSTREAM,
        "403 with HTML: a firewall on the way doesn't like our address. It knows nothing about "
        "keys.",
        says(apis.BLOCK_PAGE),
        upstreams=2,
    ),
    Fault(
        "A page that calls itself 200",
        _UPSTREAM,
        "HTML, from a captive portal or a wrong base URL.",
        says(apis.PORTAL),
        upstreams=2,
    ),
    Fault(
        "An empty 502",
        _UPSTREAM,
        "A gateway has lost the API behind it.",
        says(apis.EMPTY_502),
        upstreams=2,
    ),
    Fault(
        "The connection is refused",
        _UPSTREAM,
        "Nobody listens there, its name is unknown, or it takes longer than `connect_timeout`.",
        nothing,
        times=0,
        refuse=(UpstreamFailure(Trouble.CONNECT, "ConnectionRefusedError"),),
        upstreams=2,
    ),
    Fault(
        "The connection is refused by everybody",
        _UPSTREAM,
        "There is no real answer to pass on.",
        nothing,
        times=0,
        refuse=4 * (UpstreamFailure(Trouble.CONNECT, "ConnectionRefusedError"),),
        upstreams=2,
    ),
    Fault(
        "TLS fails",
        _UPSTREAM,
        "The certificate has expired, or is somebody else's.",
        nothing,
        times=0,
        refuse=(UpstreamFailure(Trouble.TLS, "certificate verify failed"),),
        upstreams=2,
    ),
    Fault(
        "No head in time",
        _UPSTREAM,
        "The upstream takes the request and says nothing for `response_header_timeout`.",
        nothing,
        settings={"response_header_timeout": 5},
        upstreams=2,
    ),
    Fault(
        "Reset before the head",
        _UPSTREAM,
        "The upstream takes the request and hangs up.",
        hangs_up,
        upstreams=2,
    ),
    Fault(
        "A kept connection that is dead",
        _UPSTREAM,
        "The upstream has closed an idle connection just when we write on it. The request "
        "goes out again on a fresh one, with the same key, and counts as nothing.",
        hangs_up,
        upstreams=2,
        good_before=2,
    ),
    Fault(
        "Garbage instead of HTTP",
        _UPSTREAM,
        "Some other service answers at that address.",
        is_no_http,
        upstreams=2,
    ),
    Fault(
        "Reset inside the body",
        _UPSTREAM,
        "Half of an answer has come. What has been passed on can't be taken back; an answer of "
        "the Responses API is kept back, because it may be an error that calls itself 200.",
        closes(ConnectionLost()),
        calls=(Call.UNARY,),
        upstreams=2,
    ),
    Fault(
        "A body that ends early",
        _UPSTREAM,
        "The same, with an orderly end of the connection before the length that the head told.",
        closes(ConnectionDone()),
        calls=(Call.UNARY,),
        upstreams=2,
    ),
    Fault(
        "An empty stream",
        _STREAM,
        "200, and an end without any event.",
        streams(),
        calls=_STREAMED,
        upstreams=2,
    ),
    Fault(
        "An error event before the first word",
        _STREAM,
        "The handshake has come, and then the API says that it failed.",
        streams(apis.HANDSHAKE, apis.OVERLOADED_EVENT),
        calls=_STREAMED,
        upstreams=2,
    ),
    Fault(
        "A limit after the first word",
        _LIMIT,
        "The client has seen a word of the stream: nothing is retried any more, but the key "
        "still rests.",
        streams(apis.HANDSHAKE, apis.WORD, apis.LIMITED_EVENT),
        calls=_STREAMED,
    ),
    Fault(
        "An error event after the first word",
        _STREAM,
        "The client has seen a word: nothing is retried any more.",
        streams(apis.HANDSHAKE, apis.WORD, apis.OVERLOADED_EVENT),
        calls=_STREAMED,
        upstreams=2,
    ),
    Fault(
        "A stream that is reset before its first word",
        _STREAM,
        "Only the handshake has come, and it was held back.",
        closes(ConnectionLost(), apis.HANDSHAKE),
        calls=_STREAMED,
        upstreams=2,
    ),
    Fault(
        "A stream that is reset after a word",
        _STREAM,
        "The connection is gone between two events.",
        closes(ConnectionLost(), apis.HANDSHAKE, apis.WORD),
        calls=_STREAMED,
        upstreams=2,
    ),
    Fault(
        "A stream that is reset within an event",
        _STREAM,
        "Half an event has gone out; nothing that we could write there would be read as an error.",
        closes(ConnectionLost(), apis.WORD, _HALF),
        calls=_STREAMED,
        upstreams=2,
    ),
    Fault(
        "A stream without its end",
        _STREAM,
        "The answer ends in order, but the API's own end of a stream is missing.",
        streams(apis.HANDSHAKE, apis.WORD),
        calls=_STREAMED,
        upstreams=2,
    ),
    Fault(
        "A stream that falls silent",
        _STREAM,
        "No event for longer than `stream_idle_timeout`.",
        streams(apis.HANDSHAKE, apis.WORD, end=b""),
        calls=_STREAMED,
        settings={"stream_idle_timeout": 5},
        upstreams=2,
    ),
    Fault(
        "No first word in time",
        _STREAM,
        "A head, and then nothing for `first_token_timeout`.",
        streams(end=b""),
        calls=_STREAMED,
        settings={"first_token_timeout": 5},
        upstreams=2,
    ),
    Fault(
        "A handshake, and no word in time",
        _STREAM,
        "The same after a handshake. It is held for `stream_hold_milliseconds` only; once it has "
        "gone out, nothing is retried, and `stream_idle_timeout` counts, here 20 s.",
        streams(apis.HANDSHAKE, end=b""),
        calls=_STREAMED,
        settings={"first_token_timeout": 5, "stream_idle_timeout": 20},
        upstreams=2,
    ),
    Fault(
        "A client that leaves before the answer",
        _POOL,
        "The upstream request ends at once.",
        loses_its_client,
    ),
    Fault(
        "A client that leaves in the middle",
        _POOL,
        "The same.",
        loses_its_client_midway,
    ),
    Fault(
        "All keys rest",
        _POOL,
        "The first one wakes in 7 s, and `max_wait_for_key` is 0. No upstream is asked.",
        nothing,
        times=0,
        keys=_resting,
    ),
    Fault(
        "All keys rest, and the call may wait",
        _POOL,
        "The same, with `max_wait_for_key` at 20 s.",
        nothing,
        times=0,
        keys=_resting,
        settings={"max_wait_for_key": 20},
    ),
    Fault("All keys are invalid", _POOL, "Each was struck out before.", nothing, keys=_invalid),
    Fault("No key at all", _POOL, "The group is empty.", nothing, keys=_none),
)


@cache
def played() -> Mapping[tuple[str, str, Call], Stage]:
    """All scenes, played to their end: by fault's title, channel and call."""
    return {
        (fault.title, channel, call): Stage(fault, channel, call)
        for fault in FAULTS
        for channel in fault.channels
        for call in fault.calls
    }
