"""docs/faults.md: what is seen of each fault, in words. `make docs` writes it.

The rule of this file: every word of a line comes from a scene that was played; only what
a fault is was written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from gptload.core.breaker import Breaker
from gptload.core.breaker import State as Mood
from gptload.core.keyevents import Happened, KeyView
from gptload.core.keystate import State
from gptload.core.vault import mask
from gptload.proxy.ways import Way
from tests.proxy import apis
from tests.proxy.faults import FAULTS, KEYS, About, Call, Fault, Stage, played

PAGE: Final = Path(__file__).parents[2] / "docs" / "faults.md"

# What is seen.


@frozen
class Ending:
    """How the request log says that an attempt ended.

    Attributes:
        reason: without the name of its table.
    """

    outcome: str
    reason: str
    scope: str


@frozen
class Row:
    """What came of one fault at one channel, in words.

    Attributes:
        endings: one for each attempt.
    """

    client: str
    attempts: str
    keys: str
    upstreams: str
    endings: tuple[Ending, ...]

    def but_for_reasons(self) -> Row:
        """What several channels have in common: their reasons' names differ."""
        return evolve(self, endings=tuple(evolve(ending, reason="") for ending in self.endings))


def row_of(stage: Stage) -> Row:
    """What was seen in a scene."""
    endings = tuple(
        Ending(record.outcome, _TABLE.sub("", record.reason), record.scope)
        for record in stage.records
    )
    return Row(_client(stage), _attempts(stage), _keys(stage), _upstreams(stage), endings)


_TABLE: Final = re.compile("^(?:common|openai-response|openai|anthropic|gemini)[.]")


@frozen
class Heard:
    """A client's answer, read.

    Attributes:
        text: its body without framing.
        is_whole: it has the end that its head promised.
    """

    status: int
    fields: Mapping[bytes, bytes]
    text: bytes
    is_whole: bool


def read(heard: bytes) -> Heard:
    """Read an answer as a client does."""
    head, _, body = heard.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    number = int(status.split(b" ", 2)[1])
    if b"content-length" in fields:
        return Heard(number, fields, body, len(body) == int(fields[b"content-length"]))
    text, is_whole = b"", False
    while body and not is_whole:
        size, _, body = body.partition(b"\r\n")
        text += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
        is_whole = size == b"0"
    return Heard(number, fields, text, is_whole)


def is_good(stage: Stage) -> bool:
    """The client has got a whole good answer."""
    heard = read(stage.heard) if stage.heard else None
    good = (apis.STREAM if stage.streams else apis.ANSWER)[stage.channel]
    return heard is not None and heard.status == 200 and heard.is_whole and heard.text == good


def _client(stage: Stage) -> str:
    if stage.client_left:
        return "what had come" if stage.heard else "nothing"
    heard = read(stage.heard)
    if is_good(stage):
        return "200, a good answer"
    said = stage.said[-1] if stage.said else b""
    hidden = said.replace(stage.key, mask(stage.key.decode()).encode()) if said else b""
    if heard.is_whole and said and heard.text in (said, hidden):
        masked = ", the key in it masked" if hidden != said else ""
        return f"{heard.status}, the upstream's own answer{masked}"
    if said and heard.text.startswith(said):
        more = heard.text[len(said) :]
        if heard.is_whole and b"error" in more:
            return f"{heard.status}, what had come, and an error event of ours"
        if not more and not heard.is_whole and stage.client.transport.disconnecting:
            return f"{heard.status}, what had come, and a visible break"
    ours = json.loads(heard.text)
    after = heard.fields.get(b"retry-after", b"").decode()
    wait = f", `Retry-After: {after}`" if after else ""
    return f"{heard.status} of ours, `{ours['code']}`: “{ours['message']}”{wait}"


def _attempts(stage: Stage) -> str:
    made = [record for record in stage.records if record.key_id]
    steps = [f"key {record.key_id}{_at(stage, record.upstream)}" for record in made]
    return f"{len(made)}: {', '.join(steps)}" if made else "none"


def _at(stage: Stage, url: str) -> str:
    if len(ways(stage)) == 1:
        return ""
    return " at A" if "//a.example" in url else " at B"


def views(stage: Stage) -> dict[int, KeyView]:
    """What holds of each key in the end."""
    pool = stage.scene.routing
    known = (number for number in KEYS if pool.key(1, number) is not None)
    return {number: stage.scene.standings.view(number, stage.scene.now()) for number in known}


def _keys(stage: Stage) -> str:
    words = {number: _words(stage, number, view) for number, view in views(stage).items()}
    if not words:
        return "–"
    undone = {Happened.UNDONE, Happened.SPARED} & {change.event for change in stage.scene.changes}
    told = []
    for text, numbers in groupby(words, key=words.__getitem__):
        names = " and ".join(str(number) for number in numbers)
        told.append(f"all {text}" if len(set(words.values())) == 1 else f"{names}: {text}")
    return "; ".join(told) + (", the verdicts undone" if undone else "")


def _words(stage: Stage, number: int, view: KeyView) -> str:
    strikes = f"{view.strikes} strike{'s' if view.strikes > 1 else ''}"
    if view.state is State.INVALID:
        return f"invalid, {strikes}"
    told = [strikes] if view.strikes else []
    if view.until is not None:
        told.append(f"resting {_span(stage, number, view.until)}")
    told += [f"resting {_span(stage, number, until)} for this model" for _, until in view.rests]
    return ", ".join(told) or "active"


def _span(stage: Stage, number: int, until: float) -> str:
    """How long a rest is, where that is a round figure; else until when."""
    began = [change.at for change in stage.scene.changes if change.key_id == number]
    seconds = round(until - (began[-1] if began else stage.records[0].at))
    if seconds < 60:
        return f"{seconds} s"
    if seconds % 60 == 0 and seconds < 3600:
        return f"{seconds // 60} min"
    if seconds % 3600 == 0:
        return f"{seconds // 3600} h"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60}s"
    return f"until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"


def ways(stage: Stage) -> dict[str, Way]:
    """The upstreams of a scene, by the letter that the page has for them."""
    destinations = stage.scene.routing._destinations[1]
    return {name: each.way for name, each in zip("AB", destinations, strict=False)}


def faults_counted(breaker: Breaker) -> int:
    """How many faults a closed breaker remembers."""
    return breaker._faults + breaker._faults_before


def _upstreams(stage: Stage) -> str:
    all_ways = ways(stage)
    told = []
    for name, way in all_ways.items():
        which = f"{name}: " if len(all_ways) > 1 else ""
        for breaker, about in [
            (way.breaker, ""),
            *((own, " for this model") for own in way.models.values()),
        ]:
            if breaker.state is Mood.OPEN and breaker.retry_at and breaker.changed_at:
                wait_s = breaker.retry_at - breaker.changed_at
                told.append(f"{which}open for {wait_s:.0f} s{about}")
            elif count := faults_counted(breaker):
                told.append(f"{which}{count} fault{'s' if count > 1 else ''}{about}")
        if way.suspected and way.breaker.state is Mood.CLOSED:
            told.append(f"{which}suspected")
    return "; ".join(told) or "–"


# The page.

_INTRODUCTION: Final = """\
# What comes of a fault

<!-- Made by `make docs` from tests/proxy/faults.py, which plays every fault at every channel. -->

What goes wrong between gptload and an AI API, one section each: what the client gets, what \
becomes of keys and upstreams, and what the request log says. The lines were seen, not written: a \
script plays the client and the upstream, and all between their two sockets is the real thing.

Every scene has three keys. Keys 1 and 2 are known to be of one account; whose key 3 is, nobody \
has seen. It is 18:20 UTC on 2027-01-15, 10:20 in Los Angeles. Settings are the defaults, unless \
a section names others.

- **request**: the channels, and whether the call is streamed or not (*unary*). *all*: at every \
channel, in both ways as far as the section is about both.
- **attempts**: their number, and the key of each; with two upstreams, A and B, also where.
- **keys afterwards**: a *strike* is a rejection; `blacklist_threshold` of them in a row make a \
key invalid. A key that is *resting* comes back by itself; where its account is to blame, that \
one's other keys rest with it.
- **upstreams afterwards**: the faults that count against one. Ten in a row, or more than half of \
ten attempts within ten seconds, *open* its breaker: others are preferred then. Of one that is \
*suspected* no rejection counts against a key, until it has given a good answer.
- **request log**: `outcome` `reason` (scope) of each attempt; the reason without the table's name \
that stands before it, `common.` or the channel's. Where channels differ in it, it's in their order.

How the parts work together: [architecture.md](architecture.md). What errors of your own upstream \
mean, you can say yourself: [error-rules.md](error-rules.md).
"""
_HEADS: Final = (
    "request",
    "client gets",
    "attempts",
    "keys afterwards",
    "upstreams afterwards",
    "request log",
)


def page() -> str:
    """The whole of docs/faults.md."""
    parts = [_INTRODUCTION]
    for about in About:
        parts.append(f"\n## {about.value}\n")
        parts += [_section(fault) for fault in FAULTS if fault.about is about]
    return "".join(parts)


def _section(fault: Fault) -> str:
    alike: dict[Row, list[tuple[str, Call]]] = {}
    for channel in fault.channels:
        for call in fault.calls:
            row = row_of(played()[fault.title, channel, call])
            alike.setdefault(row.but_for_reasons(), []).append((channel, call))
    lines = [_HEADS, tuple("---" for _ in _HEADS)]
    for row, places in alike.items():
        rows = [row_of(played()[fault.title, *place]) for place in places]
        cells = (row.client, row.attempts, row.keys, row.upstreams, _log(rows))
        lines.append((_whose(fault, places), *cells))
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"\n### {fault.title}\n{fault.text}\n\n{table}"


def _log(rows: list[Row]) -> str:
    """What the request log says of attempts that are alike but for their reasons."""
    told = []
    for text, same in groupby(map(_ending, zip(*(row.endings for row in rows), strict=True))):
        count = len(list(same))
        told.append(f"{count} × {text}" if count > 1 else text)
    return ", then ".join(told)


def _ending(endings: Iterable[Ending]) -> str:
    one, *others = endings
    reasons = dict.fromkeys(ending.reason for ending in (one, *others) if ending.reason)
    reason = " or ".join(f"`{reason}`" for reason in reasons)
    return " ".join(filter(None, (f"`{one.outcome}`", reason, one.scope and f"({one.scope})")))


def _whose(fault: Fault, places: list[tuple[str, Call]]) -> str:
    names = {}
    for call in fault.calls:
        channels = [channel for channel, of in places if of is call]
        if channels:
            names[call] = "all" if len(channels) == len(fault.channels) else ", ".join(channels)
    if len(names) == len(fault.calls) and len(set(names.values())) == 1:
        return next(iter(names.values()))
    return "; ".join(f"{name}, {call.value}" for call, name in names.items())


if __name__ == "__main__":
    PAGE.write_text(page())
