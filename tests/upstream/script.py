"""What the provider is told to do: a script of rules, each a condition and a step.

A script is plain JSON, so anything can post one. In Python:

    Script([Rule(Step(status=500), path="/v1/chat", times=2)], keys={"sk-dead": "invalid_api_key"})

The first rule that matches and has turns left decides; without one, the key's own
behaviour; without that, a realistic answer for the path.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Fault = Literal[
    "close_before_head",  # the connection ends without an answer
    "reset_before_head",  # the same by RST
    "close_in_body",  # the body stops short of what its framing promised
    "reset_in_body",
    "stall_in_body",  # the rest of the body never comes
    "never_answer",  # the request is read, and then nothing happens
    "never_read",  # nothing after the head is read, and nothing is answered
    "early_answer",  # the answer goes out before the body has been read
]
Framing = Literal["auto", "length", "chunked", "close"]

# A field's name and value: one character, one byte, so that any bytes can be said.
FieldPair = tuple[str, str]


@dataclass(frozen=True)
class Step:
    """One answer, or the way in which it fails to be one.

    Attributes:
        status: None is 200, or the status of `error`.
        reason: None is the usual phrase.
        body: None is the realistic answer of the API for the path.
        repeat: send `body` so many times over, as one body.
        error: a named error in the API's own words, see `dialects.ERRORS`.
        retry_after: sent as a field, and inside the body where the API does so.
        fields: appended to the head as they are.
        content_type: None is the usual one.
        gzip: compress and say so; `accepted` only when the request allows it.
        framing: auto is length for one body and chunked for a stream.
        chunk_sizes: cut the body into chunks of these sizes, over and over.
        chunk_extension: text after each chunk's size, e.g. `;a="b;c"`.
        odd_chunks: capital hex digits and leading zeros.
        trailers: fields after the last chunk.
        interim: heads sent first, e.g. `[(103, [("Link", "</a>")])]`.
        raw: these bytes in the place of head and body; then the connection closes.
        split: write so many bytes at a time.
        split_pause_ms: wait between two such writes.
        head_delay_ms: wait before the first byte.
        events: how many pieces of text a stream has.
        interval_ms: wait between two events.
        fault: what goes wrong.
        fault_after: parts (events of a stream) or bytes (of one body) that are sent first.
        close: announce `Connection: close` and do it.
        close_silently_after_ms: close the idle connection so long after the answer.
    """

    status: int | None = None
    reason: str | None = None
    body: bytes | None = None
    repeat: int = 1
    error: str | None = None
    retry_after: str | float | None = None
    fields: Sequence[FieldPair] = ()
    content_type: str | None = None
    gzip: Literal["never", "always", "accepted"] = "never"
    framing: Framing = "auto"
    chunk_sizes: Sequence[int] = ()
    chunk_extension: str = ""
    odd_chunks: bool = False
    trailers: Sequence[FieldPair] = ()
    interim: Sequence[tuple[int, Sequence[FieldPair]]] = ()
    raw: bytes | None = None
    split: int | None = None
    split_pause_ms: float = 0
    head_delay_ms: float = 0
    events: int = 5
    interval_ms: float = 0
    fault: Fault | None = None
    fault_after: int | None = None
    close: bool = False
    close_silently_after_ms: float | None = None

    @classmethod
    def of(cls, said: str | Mapping[str, Any] | Step) -> Step:
        """Read a step from JSON: a mapping of its fields, an error's name, or `ok`."""
        if isinstance(said, Step):
            return said
        if isinstance(said, str):
            return cls() if said == "ok" else cls(error=said)
        known = {item.name for item in fields(cls)}
        if unknown := set(said) - known:
            raise ValueError(f"a step has no {', '.join(sorted(unknown))}")
        values = dict(said)
        for name in ("body", "raw"):
            values[name] = _bytes(values.get(name))
        return cls(**values)

    def plain(self) -> dict[str, Any]:
        """As JSON; what has its default is left out."""
        values: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value == item.default:
                continue
            if isinstance(value, bytes):
                value = {"base64": base64.b64encode(value).decode()}
            values[item.name] = value
        return values


@dataclass
class Rule:
    """A step, and the requests that it is for. A condition left out is always met.

    Attributes:
        key: the pool key that the request carries.
        path: begins so, query included.
        contains: the body has these bytes (as UTF-8 text).
        turn: the how manyeth request since the script was posted, from 1.
        nth_on_connection: the how manyeth on its connection, from 1.
        times: how often the rule holds; None for ever.
    """

    then: Step
    key: str | None = None
    method: str | None = None
    path: str | None = None
    contains: str | None = None
    turn: int | None = None
    nth_on_connection: int | None = None
    times: int | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any] | Rule) -> Rule:
        """Read a rule from JSON."""
        if isinstance(said, Rule):
            return said
        values = dict(said)
        return cls(Step.of(values.pop("then")), **values)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        values = {k: v for k, v in asdict(self).items() if k != "then" and v is not None}
        return {"then": self.then.plain(), **values}


@dataclass
class Script:
    """All that the provider knows about how to behave.

    Attributes:
        rules: tried in order.
        keys: how a key behaves when no rule says otherwise.
        others: how every other key behaves.
        pace: the step that realistic answers start from, e.g. for a demo's slow streams.
    """

    rules: Sequence[Rule] = ()
    keys: Mapping[str, Step] = field(default_factory=dict)
    others: Step = Step()
    pace: Step = Step()

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Script:
        """Read a script from JSON."""
        return cls(
            [Rule.of(rule) for rule in said.get("rules", ())],
            {key: Step.of(step) for key, step in said.get("keys", {}).items()},
            Step.of(said.get("others", "ok")),
            Step.of(said.get("pace", "ok")),
        )

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rules": [rule.plain() for rule in self.rules],
            "keys": {key: step.plain() for key, step in self.keys.items()},
            "others": self.others.plain(),
            "pace": self.pace.plain(),
        }


def _bytes(said: Any) -> bytes | None:
    if said is None or isinstance(said, bytes):
        return said
    if isinstance(said, str):
        return said.encode()
    return base64.b64decode(said["base64"])
