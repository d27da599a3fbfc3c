"""What can go wrong at an upstream, played at every channel; docs/faults.md is made of it.

The rule of this file: nothing in here says what should come of a fault. Each is played
in a `Scene`, and what is seen there is written down; tests/proxy/test_faults.py has the
laws that all of it obeys.

A scene has three keys. The first two are of one account that is known, nobody knows
whose the third is. `python -m tests.proxy.faults` writes the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from attrs import Factory, define, frozen
from twisted.internet.error import ConnectionDone, ConnectionLost

from gptload.core.breaker import Breaker
from gptload.core.breaker import State as Mood
from gptload.core.keyevents import KeyView
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.record import AttemptRecord
from gptload.core.vault import mask
from gptload.link.messages import KeysAdded
from gptload.wire.upstream import Trouble, UpstreamFailure
from tests.fakes.scene import Client, Scene, Upstream, group
from tests.proxy import apis
from tests.proxy.apis import CHANNELS, Said

PAGE: Final = Path(__file__).parents[2] / "docs" / "faults.md"
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
    """One scene: a client that asks once, and an upstream that does what the fault says.

    Attributes:
        said: of each attempt that the fault got, what the upstream sent of a body.
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
            self._ask()
            self._serve(_ALWAYS)
        self._before = len(scene.records)
        scene.pool.refuse = list(fault.refuse)
        self.client = self._ask()
        played = len(fault.refuse)
        for _ in range(_PATIENCE_S):
            while self._waiting():
                self._serve(played)
                played += 1
            if not scene.plane.under_way:
                break
            scene.advance(1)
        self.heard = self.client.heard()

    @property
    def records(self) -> list[AttemptRecord]:
        """Of the call that the fault met."""
        return self.scene.records[self._before :]

    def _ask(self) -> Client:
        path = (apis.STREAM_PATH if self.streams else apis.PATH)[self.channel]
        body = apis.asks(self.channel, self.streams)
        client = self.scene.client()
        client.says(
            b"POST /proxy/g%b HTTP/1.1\r\nHost: localhost:3001\r\nAuthorization: Bearer sk-proxy\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (path, len(body), body)
        )
        return client

    def _waiting(self) -> list[Upstream]:
        return [
            upstream
            for upstream in self.scene.upstreams
            if upstream.transport.value() and not upstream.gone
        ]

    def _serve(self, played: int) -> None:
        """Answer the next request: as the fault does, or well once that is over."""
        upstream = self._waiting()[0]
        request = upstream.heard()
        if played < self._fault.times:
            self.key = next(secret for secret in SECRETS.values() if secret in request)
            self.said.append(b"")
            self._fault.play(self, upstream)
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


@define
class Fault:
    """One thing that goes wrong.

    Attributes:
        text: what it is, for operators.
        play: what the upstream does with an attempt.
        times: with so many of them, from the first on.
        refuse: instead: how connections fail that are never made.
        keys: what holds of the keys before, by number, at that time.
        good_before: so many calls went well before it.
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


# What upstreams do.


def says(said: Mapping[str, Said]) -> _Play:
    """They answer with this."""

    def play(stage: Stage, upstream: Upstream) -> None:
        answer = said[stage.channel]
        if answer.status == 200 and stage.streams:
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
    body = apis.STREAM if stage.streams else apis.ANSWER
    stage.go_on(upstream, body[stage.channel][:200])
    loses_its_client(stage, upstream)


_HALF: Final = {channel: apis.WORD[channel][:-5] for channel in CHANNELS}
