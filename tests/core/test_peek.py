"""Model and stream, found in whole bodies and in bodies cut anywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptload.core.peek import Peeked, Peeker, multipart_model, peek

VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=12)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "stream", "a", '"}', "ä\\"]), inner, max_size=3)
    ),
    max_leaves=8,
)
BODY = st.dictionaries(
    st.sampled_from(["model", "stream", "messages", "input", "ключ", 'q"uote']), VALUE, max_size=5
)


def cut(data: bytes, places: list[int]) -> Peeked:
    peeker = Peeker()
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    for start, end in zip(edges, edges[1:], strict=False):
        peeker.feed(data[start:end])
    return Peeked(peeker.model, peeker.stream)


@settings(max_examples=400)
@given(
    body=BODY,
    places=st.lists(st.integers(0, 1000), max_size=10),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_a_body_in_parts_says_what_the_whole_says(
    body: dict, places: list[int], ascii_only: bool, indent: int | None
) -> None:
    data = json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode()
    model, stream = body.get("model"), body.get("stream")
    expected = Peeked(model if isinstance(model, str) else "", stream is True)
    assert peek(data) == expected
    assert cut(data, places) == expected
    assert cut(data, list(range(len(data)))) == expected


def test_the_model_behind_a_huge_string_is_found() -> None:
    """SDKs put the messages first, so a large body has its model at the tail."""
    data = b'{"messages":[{"image":"%b"}],"model":"gpt-4o","stream":true}' % (b"A" * 200_000)
    assert cut(data, list(range(0, len(data), 65_536))) == Peeked("gpt-4o", True)


def test_the_last_of_several_counts() -> None:
    data = b'{"model":"a","model":"b","stream":true,"stream":false}'
    assert peek(data) == cut(data, [5, 9, 20]) == Peeked("b", False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'["model"]',
        b'"model"',
        b"{",
        b'{"model":',
        b"--x\r\n",
        b"\xff\xfe",
        b'{"a":{"model":"no"}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_object_asks_for_nothing(data: bytes) -> None:
    assert peek(data) == Peeked("", False)
    assert cut(data, [1, 2]) == Peeked("", False)


FORM = (
    b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--B\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n'
    b"Content-Type: audio/mpeg\r\n\r\n" + b"\x00" * 5000 + b"\r\n--B--\r\n"
)


def test_a_forms_model_is_found_and_a_file_of_that_name_is_not_it() -> None:
    assert multipart_model(FORM, b"multipart/form-data; boundary=B") == Peeked("whisper-1", True)
    assert multipart_model(FORM, b'multipart/form-data; boundary="B"') == Peeked("whisper-1", True)
    assert multipart_model(FORM, b"multipart/form-data") == Peeked("", False)
    assert multipart_model(b"", b"multipart/form-data; boundary=B") == Peeked("", False)
