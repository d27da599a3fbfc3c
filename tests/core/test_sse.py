"""Events come out of a stream the same, however it was cut into packets."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptload.core.sse import Event, EventReader

LIMIT = 4096


def read(*parts: bytes, limit: int = LIMIT) -> list[Event]:
    """What a reader makes of these parts, the end included."""
    reader = EventReader(limit)
    events = [event for part in parts for event in reader.feed(part)]
    return events + reader.finish()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


def bytewise(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"event: ping\ndata: {}\n\n", [(b"ping", b"{}")]),
        (b"data: {}\nevent: late\n\n", [(b"late", b"{}")]),
        (b"event: old\nevent: new\ndata: x\n\n", [(b"new", b"x")]),
        (b"event: once\ndata: a\n\ndata: b\n\n", [(b"once", b"a"), (b"", b"b")]),
        (b"data:no space\n\n", [(b"", b"no space")]),
        (b"data:  two\n\n", [(b"", b" two")]),
        (b"data: a: b\n\n", [(b"", b"a: b")]),
        (b"data: one\ndata: two\ndata:\n\n", [(b"", b"one\ntwo\n")]),
        (b"data\n\n", [(b"", b"")]),
        (b"event: ping\n\n", [(b"ping", b"")]),
        (b"id: 7\nretry: 10\ndata: x\n\n", [(b"", b"x")]),
        (b"id: 7\n\nretry: 10\n\n", []),
        (b": keep-alive\n\n: ping\n\n\n\n", []),
        (b": OPENROUTER PROCESSING\ndata: x\n: more\n\n", [(b"", b"x")]),
        (b"data: a\n\nunknown: field\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"\n\n\ndata: x\n\n", [(b"", b"x")]),
        (b"\xef\xbb\xbfdata: x\n\n", [(b"", b"x")]),
        (b"data: x\n", [(b"", b"x")]),
        (b"data: x", [(b"", b"x")]),
        (b"event: e\ndata: x\r", [(b"e", b"x")]),
        ("data: é 你 🌍\n\n".encode(), [(b"", "é 你 🌍".encode())]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_stream_is_read_as(
    stream: bytes, events: list[tuple[bytes, bytes]], line_end: bytes
) -> None:
    stream = stream.replace(b"\n", line_end)
    expected = [Event(name, data) for name, data in events]
    assert read(stream) == expected
    assert read(*bytewise(stream)) == expected


def test_an_event_is_there_with_its_last_byte() -> None:
    reader = EventReader(LIMIT)
    assert reader.feed(b"data: a\r\n") == []
    assert reader.feed(b"\r") == [Event(b"", b"a")]
    assert reader.feed(b"\ndata: b\n\n") == [Event(b"", b"b")]
    assert reader.feed(b'{"bare": [1]') == []
    assert reader.feed(b"}") == [Event(b"", b'{"bare": [1]}')]


ERROR = json.dumps({"error": {"code": 429, "message": 'a "}" \\ b'}}, indent=2).encode()


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: {}\n\n%b\n", [b"{}", ERROR]),
        (b"%b", [ERROR]),
        (b"\n\n\n %b\n\n", [ERROR]),
        (b"[%b\n,\n%b]", [ERROR, ERROR]),
        (b'[{"a":[{}]},{"b":"]"}]', [b'{"a":[{}]}', b'{"b":"]"}']),
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}data: x\n\n', [b'{"a":1}', b"x"]),
        (b'\xef\xbb\xbf{"a":1}', [b'{"a":1}']),
        (b'{"cut": "in', [b'{"cut": "in']),
    ],
)
def test_a_bare_object_is_an_event_too(stream: bytes, data: list[bytes]) -> None:
    stream = stream.replace(b"%b", ERROR)
    for parts in ([stream], bytewise(stream)):
        assert [event.data for event in read(*parts)] == data


def test_a_brace_within_an_event_begins_nothing() -> None:
    assert read(b'data: a\n{"b":1}\n\n') == [Event(b"", b"a")]


@pytest.mark.parametrize(
    "stream",
    [
        b"<!doctype html><title>Just a moment</title>",
        b"\x1f\x8b\x08\x00\x00\x00",
        b'"a text"',
        b"Hello",
        b"data! and no field\n",
        b"dataset: 1\n",
        b"unknown: field\ndata: x\n\n",
    ],
)
def test_what_is_no_stream_is_foreign(stream: bytes) -> None:
    for parts in ([stream], bytewise(stream)):
        reader = EventReader(LIMIT)
        for part in parts:
            reader.feed(part)
        reader.finish()
        assert reader.foreign


def test_a_text_is_known_as_foreign_before_its_line_ends() -> None:
    reader = EventReader(LIMIT)
    reader.feed(b"da")
    assert not reader.foreign
    reader.feed(b"ngerous")
    assert reader.foreign


@pytest.mark.parametrize(
    "large",
    [
        b"data: %b\n\n" % (b"x" * 200),
        b"data: %b\n" % (b"x" * 60) * 2 + b"\n",
        b": %b\n" % (b"x" * 200),
        b'{"a":"%b"}' % (b"x" * 200),
        b"event: %b" % (b"x" * 200),
    ],
)
def test_nothing_is_read_after_an_event_that_is_too_large(large: bytes) -> None:
    stream = b"data: a\n\n" + large + b"data: b\n\n"
    for parts in ([stream], bytewise(stream)):
        reader = EventReader(100)
        events = [event for part in parts for event in reader.feed(part)]
        assert events + reader.finish() == [Event(b"", b"a")]
        assert reader.too_large


def test_many_comments_are_not_one_large_event() -> None:
    assert read(b": keep-alive\n" * 1000 + b"data: x\n\n", limit=100) == [Event(b"", b"x")]


SCRAPS = st.sampled_from(
    [
        *(b"data: a", b"data:", b"data", b"event: e", b"event:", b": c", b"id: 1", b"x: y"),
        *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\xef\xbb\xbf", "é🌍".encode(), b" "),
        *(b"{", b"}", b"[", b"]", b",", b'"', b"\\", b'{"a": "}"}', b'{"error": {"code": 1}}'),
    ]
)
STREAMS = st.lists(SCRAPS, max_size=30).map(b"".join)


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 150), max_size=10), limit=st.integers(8, 60))
@example(stream=b"data: a\r\n\r\n", cuts=[8, 10], limit=60)
@example(stream=b"\xef\xbb\xbf{", cuts=[1, 2], limit=60)
def test_no_cut_changes_what_is_read(stream: bytes, cuts: list[int], limit: int) -> None:
    whole, cut = EventReader(limit), EventReader(limit)
    events = whole.feed(stream) + whole.finish()
    parts = [event for part in pieces(stream, cuts) for event in cut.feed(part)]
    assert parts + cut.finish() == events
    assert (cut.too_large, cut.foreign) == (whole.too_large, whole.foreign)


LINE = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)


@given(
    events=st.lists(st.tuples(LINE, st.lists(LINE, min_size=1, max_size=3)), max_size=6),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    space=st.sampled_from(["", " "]),
    comments=st.booleans(),
    cuts=st.lists(st.integers(0, 400), max_size=10),
)
def test_what_was_written_is_read(
    events: list[tuple[str, list[str]]],
    line_end: str,
    space: str,
    comments: bool,
    cuts: list[int],
) -> None:
    lines = []
    for name, data in events:
        lines += [f"event:{space}{_shown(name, space)}"] if name else []
        lines += [f"data:{space}{_shown(line, space)}" for line in data]
        lines += [": comment"] if comments else []
        lines += [""]
    stream = "".join(line + line_end for line in lines).encode()
    expected = [
        Event(_shown(name, space).encode(), "\n".join(_shown(x, space) for x in data).encode())
        for name, data in events
    ]
    assert read(*pieces(stream, cuts)) == expected


def _shown(text: str, space: str) -> str:
    """Without the space in front that a field without one would lose."""
    return text if space else text.lstrip(" ")


@given(data=st.binary(max_size=300))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    read(data)
