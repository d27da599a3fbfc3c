"""When a stream may be released, and how it ended."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.dialects import error_event, has_ended, sign_of
from gptload.core.sse import Event
from gptload.core.stream import Opened, Opening, Tail

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
START = b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
OPENED = b'data: {"type":"content_block_start","content_block":{"type":"text","text":""}}\n\n'
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
CREATED = b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n'
FAILED = b'{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded"}}}'
LIMITED = json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, indent=2).encode()
TEXT = json.dumps({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}, indent=2).encode()
COUNT = b'data: {"usageMetadata": {"promptTokenCount": 4}}\r\n\r\n'
COMMENT = b": OPENROUTER PROCESSING\n\n"


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


def opened(parts: list[bytes], **options: Any) -> tuple[Opened, bytes, bytes]:
    """The first answer that isn't `WAIT`, the error, and what was fed until then."""
    opening = Opening(sign_of, **options)
    fed = b""
    for part in parts:
        fed += part
        answer = opening.feed(part)
        assert opening.held == fed
        if answer is not Opened.WAIT:
            return answer, opening.error, fed
    return opening.end(), opening.error, fed


def bytewise(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


CONTENT = [
    ROLE + WORD,
    COMMENT * 3 + ROLE + WORD,
    b"\n\n\n" + ROLE + WORD,
    ROLE + STOP,
    START + PING + OPENED + b'data: {"type":"content_block_delta","delta":{"text":"H"}}\n\n',
    START + b'event: message_delta\ndata: {"type":"message_delta"}\n\n',
    CREATED + b'data: {"type":"response.output_text.delta","delta":"H"}\n\n',
    COUNT + b"data: %b\r\n\r\n" % TEXT.replace(b"\n", b"\r\ndata: "),
    b"[%b\n,\r\n%b\n]" % (TEXT, TEXT),
    b"[" + TEXT.replace(b"\n", b"") + b"]",
    b'{"message":{"role":"assistant","content":""},"done":false}\n{"response":"H","done":false}\n',
    b'\n \n{"object":"chat.completion","choices":[{"message":{"content":"Hi"}}]}',
    b"<!DOCTYPE html><title>Just a moment</title>",
    b"Hi",
    b'"Hi"',
    b"\x00\x00\x01\x17\x00\x00\x00\x4b:event-type",
]


@pytest.mark.parametrize("stream", CONTENT)
def test_a_stream_is_released_with_its_first_content(stream: bytes) -> None:
    for parts in ([stream], bytewise(stream)):
        assert opened(parts)[:2] == (Opened.CONTENT, b"")


def test_nothing_but_the_handshake_is_held() -> None:
    opening = Opening(sign_of)
    assert [opening.feed(part) for part in (COMMENT, ROLE, WORD[:-1])] == [Opened.WAIT] * 3
    assert opening.feed(WORD[-1:]) is Opened.CONTENT
    assert opening.held == COMMENT + ROLE + WORD


ERRORS = [
    (b"event: error\ndata: %b\n\n" % OVERLOADED, OVERLOADED),
    (START + PING + b"event: error\r\ndata: %b\r\n\r\n" % OVERLOADED, OVERLOADED),
    (CREATED + b"event: response.failed\ndata: %b\n\n" % FAILED, FAILED),
    (COMMENT + ROLE + b'data: {"error":{"code":502}}\n\n' + DONE, b'{"error":{"code":502}}'),
    (b'data: {"error":{"code":502}}', b'{"error":{"code":502}}'),
    (COUNT + LIMITED, LIMITED),
    (COUNT + LIMITED + b"\n\n", LIMITED),
    (b"[" + LIMITED + b"\n]", LIMITED),
    (b"[" + LIMITED, LIMITED),
    (b"\n\n" + LIMITED, LIMITED),
    (LIMITED + b"\n", LIMITED),
    (LIMITED[:30], LIMITED[:30]),
    (b'{"error":"model runner has stopped"}\n', b'{"error":"model runner has stopped"}'),
    (b'{"object":"error","code":400}', b'{"object":"error","code":400}'),
]  # fmt: skip


@pytest.mark.parametrize(("stream", "error"), ERRORS)
def test_an_error_in_the_place_of_the_first_content_is_found(stream: bytes, error: bytes) -> None:
    for parts in ([stream], bytewise(stream), pieces(stream, [len(stream) - 20])):
        assert opened(parts)[:2] == (Opened.ERROR, error)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\n\n \r\n",
        b"\xef\xbb\xbf",
        COMMENT,
        DONE,
        ROLE,
        ROLE + DONE,
        ROLE + USAGE + DONE,
        START + PING,
        START + b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        CREATED,
        COUNT,
        b"[]",
        b"[\n]\n",
        b'{"message":{"role":"assistant","content":""},"done":false}\n',
    ],
)
def test_a_stream_that_ends_without_content_is_empty(stream: bytes) -> None:
    for parts in ([stream] if stream else [], bytewise(stream)):
        assert opened(parts) == (Opened.EMPTY, b"", stream)


def test_what_was_sent_last_may_lack_its_blank_line() -> None:
    opening = Opening(sign_of)
    assert opening.feed(ROLE + WORD.rstrip()) is Opened.WAIT
    assert opening.end() is Opened.CONTENT


@pytest.mark.parametrize("filler", [COMMENT, ROLE, b"data: x", b"{", b"\n", b'{"a":'])
def test_what_grows_past_the_limit_is_passed_on(filler: bytes) -> None:
    stream = filler * 100 + b'\n\ndata: {"error":{"code":502}}\n\n'
    for parts in ([stream], bytewise(stream)):
        answer, error, _ = opened(parts, limit_bytes=90)
        assert (answer, error) == (Opened.CONTENT, b"")


@pytest.mark.parametrize("stream", CONTENT[:11])
def test_a_stream_that_had_to_be_released_is_listened_to_until_its_first_content(
    stream: bytes,
) -> None:
    """However it is cut, and wherever the release was, it is the same byte that says it."""
    heard = len(opened(bytewise(stream))[2])
    for release in range(0, heard, 7):
        opening = Opening(sign_of)
        assert release == 0 or opening.feed(stream[:release]) is Opened.WAIT
        assert opening.released() == stream[:release]
        over = [opening.listen(byte) for byte in bytewise(stream[release:heard])]
        assert over == [False] * (heard - release - 1) + [True]
        assert opening.heard and opening.held == b""


@pytest.mark.parametrize(
    "stream",
    [
        *CONTENT[12:],
        ROLE + b'data: {"error":{"code":502}}\n\n' + WORD,
        b"data: %b\n\n" % (b"x" * 200),
    ],
)
def test_what_can_not_be_read_has_no_first_content(stream: bytes) -> None:
    for parts in ([stream], bytewise(stream)):
        opening = Opening(sign_of, limit_bytes=190)
        assert opening.released() == b""
        assert any(opening.listen(part) for part in parts)
        assert not opening.heard


def test_what_is_released_for_its_length_is_listened_to_on() -> None:
    """Some APIs repeat a long prompt before their first word."""
    for parts in ([CREATED * 3, CREATED, WORD], [CREATED * 4 + WORD]):
        opening = Opening(sign_of, limit_bytes=150)
        assert opening.feed(parts[0]) is Opened.CONTENT
        for part in parts[1:]:
            assert not opening.heard
            opening.listen(part)
        assert opening.heard and opening.error == b""


SCRAPS = st.sampled_from(
    [
        *(ROLE, WORD, STOP, USAGE, DONE, PING, COMMENT, COUNT, LIMITED, TEXT, b"\n", b"\r\n"),
        *(b"data: ", b"event: error\n", b"[", b"]", b",", b"{", b"}", b'"', b"x", b"\xef\xbb\xbf"),
        *(b"event: error\ndata: %b\n\n" % OVERLOADED, b'data: {"error":"x"}\n\n'),
    ]
)
STREAMS = st.lists(SCRAPS, max_size=8).map(b"".join)
CUTS = st.lists(st.integers(0, 600), max_size=8)


@given(stream=STREAMS, cuts=CUTS, limit=st.integers(8, 400))
def test_no_cut_changes_what_a_stream_is(stream: bytes, cuts: list[int], limit: int) -> None:
    whole = opened([stream], limit_bytes=limit)
    cut = opened(pieces(stream, cuts), limit_bytes=limit)
    assert cut[:2] == whole[:2]


@given(stream=st.binary(max_size=200), cuts=CUTS)
def test_no_bytes_make_it_raise(stream: bytes, cuts: list[int]) -> None:
    opened(pieces(stream, cuts))


def tail_of(*parts: bytes) -> Tail:
    tail = Tail()
    for part in parts:
        tail.seen(part)
    return tail


@pytest.mark.parametrize(
    ("stream", "is_boundary"),
    [
        (b"", True),
        (b"\n", True),
        (WORD, True),
        (WORD[:-1], False),
        (WORD[:-2], False),
        (WORD[:-20], False),
        (WORD.replace(b"\n", b"\r\n"), True),
        (WORD.replace(b"\n", b"\r\n")[:-1], True),  # what comes may begin with the LF
        (WORD.replace(b"\n", b"\r\n")[:-2], False),
        (WORD.replace(b"\n", b"\r"), True),
        (WORD.replace(b"\n", b"\r")[:-1], False),
        (WORD + COMMENT, True),
        (WORD + b": ping\n", False),
    ],
)
def test_an_event_of_ours_may_stand_only_where_one_can_begin(
    stream: bytes, is_boundary: bool
) -> None:
    for parts in ([stream], bytewise(stream), [WORD] * 20 + bytewise(stream)):
        assert tail_of(*parts).at_event_boundary is is_boundary


@pytest.mark.parametrize(
    ("stream", "missing"),
    [
        (b"", b""),
        (WORD, b""),
        (WORD + COMMENT, b""),
        (WORD[:-1], b"\n\n"),
        (WORD[:-2], b"\n\n"),
        (WORD.replace(b"\n", b"\r\n")[:-3], b"\n\n"),
        (WORD + DONE[:-2], b"\n\n"),
        (WORD + b": pi", b"\n\n"),
        (WORD[:-3], None),
        (WORD + WORD[:20], None),
        (WORD + b"event: message_st", None),
        (WORD + b'event: ping\ndata: {"ty', None),
    ],
)
def test_half_an_event_is_ended_only_if_clients_can_read_it(
    stream: bytes, missing: bytes | None
) -> None:
    for before in ([], [WORD] * 300):
        assert tail_of(*before, stream).to_boundary() == missing


def test_the_last_events_are_kept_however_many_there_were() -> None:
    tail = tail_of(ROLE, *[WORD] * 5000, STOP, USAGE, DONE)
    assert [event.data for event in tail.last_events()] == [
        part[6:-2] for part in (WORD, STOP, USAGE, DONE)
    ]
    assert tail.last_events(1) == [Event(b"", b"[DONE]")]


def test_the_last_events_are_kept_in_parts_of_any_size() -> None:
    stream = WORD * 500 + STOP + DONE
    for size in (1, 7, 100, 5000, 100_000):
        parts = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert has_ended(tail_of(*parts).last_events())
        assert not has_ended(tail_of(*parts, WORD).last_events())
        assert not has_ended(tail_of(*parts, WORD[:-9]).last_events())


def test_of_a_last_event_that_is_larger_than_what_is_kept_nothing_is_read() -> None:
    """Then nobody says that the stream was cut: an open stream must stay small."""
    tail = Tail()
    large = b"event: response.completed\ndata: " + b'{"text":"%b"}' % (b"x" * 300_000)
    for start in range(0, len(large), 65_536):
        tail.seen(large[start : start + 65_536])
    tail.seen(b"\n\n")
    assert tail.last_events() == [] and tail.at_event_boundary
    tail.seen(b"data: [DONE]\n\n")
    assert [event.data for event in tail.last_events()] == [b"[DONE]"]


def test_of_an_event_larger_than_what_is_kept_nothing_is_said() -> None:
    tail = tail_of(b'data: {"image":"', *[b"x" * 1000] * 100, b'"}\n\n')
    assert tail.last_events() == []
    assert tail.at_event_boundary


@pytest.mark.parametrize(
    ("before", "last", "ended"),
    [
        (b"[", b'{"candidates":[{"finishReason":"STOP"}]}\n]', True),
        (b"[", b'{"candidates":[{"content":{}}]}\n', False),
        (b"", b'{"done":true}\n', True),
        (b"", b'{"done":false}\n', False),
    ],
)
def test_objects_without_events_have_a_last_one_too(
    before: bytes, last: bytes, ended: bool
) -> None:
    more = TEXT + b"\n,\r\n" if before else b'{"response":"Hi","done":false}\n'
    for count in (0, 3, 300):
        tail = tail_of(before, *[more] * count, last)
        assert has_ended(tail.last_events()) is ended


def test_an_error_after_the_release_is_among_the_last_events() -> None:
    written = error_event(json.loads(OVERLOADED), b"error")
    for stream in ([*[WORD] * 100, written], [*[WORD] * 100, COUNT, LIMITED]):
        last = tail_of(*stream).last_events(1)
        assert [sign_of(event).name for event in last] == ["ERROR"]


@given(
    parts=st.lists(st.sampled_from([ROLE, WORD, STOP, COMMENT, COUNT, DONE]), max_size=60),
    cuts=st.lists(st.integers(0, 4000), max_size=30),
)
def test_the_kept_events_are_the_streams_last_ones(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    whole = tail_of(stream).last_events(100)
    cut = tail_of(*pieces(stream, cuts)).last_events(5)
    assert cut == whole[len(whole) - len(cut) :]
    assert len(cut) == min(5, len(whole))
