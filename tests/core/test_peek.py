"""What `peek` and `Peeker` find of a request's model and stream, and that they agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gptload.core.peek import CAPTURE_LIMIT, Peeked, Peeker, multipart_model, peek

NOTHING = Peeked("", False)
NAMES = st.sampled_from(["model", "stream", "Model", "messages", "", "mode", 'mo"del', "\\"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.text('"\\{}[]:,\n/b u0', max_size=12)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
MEMBERS = st.lists(st.tuples(NAMES | st.text(max_size=8), VALUES), max_size=8)


def spelled(text: str, *, as_ascii: bool) -> str:
    return json.dumps(text, ensure_ascii=as_ascii)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """JSON objects with repeated names, blanks, and both ways to spell a character."""
    blank = st.sampled_from(["", "", " ", "\n", "\t\r\n "])
    as_ascii = draw(st.booleans())
    parts = []
    for name, value in draw(MEMBERS):
        text = json.dumps(value, ensure_ascii=as_ascii, indent=draw(st.sampled_from([None, 1])))
        key = spelled(name, as_ascii=as_ascii)
        parts.append(f"{draw(blank)}{key}{draw(blank)}:{draw(blank)}{text}{draw(blank)}")
    text = draw(blank) + "{" + (",".join(parts) or draw(blank)) + "}" + draw(blank)
    return text.encode()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


def peeked_in_parts(parts: list[bytes]) -> Peeked:
    peeker = Peeker()
    for part in parts:
        peeker.feed(part)
    return Peeked(peeker.model, peeker.stream)


def expected(body: bytes) -> Peeked:
    """The standard library's opinion."""
    value = json.loads(body)
    model = value.get("model")
    return Peeked(model if isinstance(model, str) else "", value.get("stream") is True)


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model":"gpt-4o","stream":true}', "gpt-4o", True),
        (b' {"stream" : true , "messages":[{"model":"no"}], "model":"m"}\n', "m", True),
        (b'{"model":"first","model":"last"}', "last", False),
        (b'{"model":"m","model":null}', "", False),
        (b'{"stream":true,"stream":false,"model":"m"}', "m", False),
        (b'{"mod\\u0065l":"m"}', "m", False),
        ('{"model":"通义千问"}'.encode(), "通义千问", False),
        (b'{"model":"\\u901a\\u4e49"}', "通义", False),
        (b'{"model":"a\\"b\\\\"}', 'a"b\\', False),
        (b'{"model":7,"stream":true}', "", True),
        (b'{"model":["m"],"stream":"true"}', "", False),
        (b'{"model":{"model":"m"},"stream":1}', "", False),
        (b'{"Model":"m","STREAM":true}', "", False),
        (b'{"messages":[{"model":"no","stream":true}]}', "", False),
        (b'{"seed":123456789012345678901234567890,"model":"m"}', "m", False),
        (b'{"model":1e999,"stream":true}', "", True),
        (b"{}", "", False),
    ],
)
def test_the_top_level_members_decide(body: bytes, model: str, stream: bool) -> None:
    assert peek(body) == (model, stream)
    assert peeked_in_parts([body]) == (model, stream)
    assert peeked_in_parts([bytes((byte,)) for byte in body]) == (model, stream)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'"model"',
        b'[{"model":"m"}]',
        b'{"model":"m"',
        b'{"model":"m"} x',
        b'{"model":"m",}',
        b"{'model':'m'}",
        b'\xef\xbb\xbf{"model":"m"}',
        b'{"model":"\xff"}',
        b"\x1f\x8b\x08\x00",
        b"--boundary\r\n",
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"model":"m"}',
    ],
)
def test_what_cannot_be_read_asks_for_nothing(body: bytes) -> None:
    assert peek(body) == NOTHING


def test_half_an_emoji_in_a_message_does_not_hide_the_model() -> None:
    """Clients cut texts in the middle of a surrogate pair; the rest is still good JSON."""
    body = b'{"messages":"cut \\ud83d","q":"\\ud83d\\ude00 \\\\ud83d","model":"m","stream":true}'
    assert peek(body) == ("m", True)
    assert peeked_in_parts([body]) == ("m", True)


def test_a_half_pair_in_the_model_never_becomes_text_that_cannot_be_written() -> None:
    for found in (peek(b'{"model":"a\\ud83d"}'), peeked_in_parts([b'{"model":"a\\ud83d"}'])):
        assert found.model == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "body",
    [
        b'[{"model":"m"}]',
        b',{"model":"m"}',
        b']{"model":"m"}',
        b'"a",{"model":"m"}',
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n',
        b'model=m&x={"model":"m"}',
        b'{}{"model":"m"}',
    ],
)
def test_a_stream_of_bytes_that_is_no_object_yields_nothing(body: bytes) -> None:
    assert peeked_in_parts([body]) == NOTHING
    assert peeked_in_parts([bytes((byte,)) for byte in body]) == NOTHING


def test_a_model_behind_a_huge_string_is_found() -> None:
    content = "data:image/png;base64," + "A\\n" * 1_000_000
    body = json.dumps({"messages": [{"content": content}], "model": "tail"}).encode()
    parts = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    assert peeked_in_parts(parts) == ("tail", False)


def test_a_model_of_absurd_length_is_not_kept() -> None:
    body = b'{"model":"%b","stream":true}' % (b"m" * (CAPTURE_LIMIT + 1))
    assert peeked_in_parts(pieces(body, list(range(0, len(body), 1000)))) == ("", True)


@given(body=objects(), cuts=st.lists(st.integers(0, 400), max_size=8))
@example(body=b'{"a\\\\":"\\"","model":"\\\\"}', cuts=[4, 5, 9, 21, 22])
def test_any_split_of_any_object_is_read_as_the_whole(body: bytes, cuts: list[int]) -> None:
    assert peek(body) == expected(body)
    assert peeked_in_parts(pieces(body, cuts)) == expected(body)


@given(body=objects())
def test_an_object_is_read_byte_by_byte(body: bytes) -> None:
    assert peeked_in_parts([bytes((byte,)) for byte in body]) == expected(body)


@given(data=st.binary(max_size=200) | st.text('{}[]":,\\model struea', max_size=60).map(str.encode))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    peek(data)
    peeked_in_parts([data])
    multipart_model(data, b"multipart/form-data; boundary=" + data[:3])


def form(*parts: tuple[str, bytes], boundary: bytes = b"b0undary") -> bytes:
    body = b"".join(
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n"
        % (boundary, head.encode(), value)
        for head, value in parts
    )
    return body + b"--%b--\r\n" % boundary


FORM = b"multipart/form-data; boundary=b0undary"


def model_in(*parts: tuple[str, bytes]) -> Peeked:
    return multipart_model(form(*parts), FORM)


def test_a_form_names_its_model_and_stream_in_plain_fields() -> None:
    audio = ('name="file"; filename="a.mp3"', b"\x00--b0undar\r\n\r\n" * 1000)
    assert model_in(audio, ('name="model"', b"whisper-1")) == ("whisper-1", False)
    assert model_in(('name="model"', b"m"), audio, ('name="stream"', b"true")) == ("m", True)
    assert model_in(("name=model", "通义".encode()), ("name=stream", b"1")) == ("通义", True)


def test_a_quoted_boundary_counts_too() -> None:
    body = form(('name="model"', b"m"), boundary=b"a b")
    assert multipart_model(body, b'Multipart/Form-Data; charset=x; BOUNDARY="a b"') == ("m", False)


def test_a_file_is_no_field_whatever_it_is_called_or_contains() -> None:
    inner = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nno\r\n'
    assert model_in(('name="model"; filename="m"', b"no")) == NOTHING
    assert model_in(("name=\"model\"; filename*=utf-8''m", b"no")) == NOTHING
    assert model_in(('name="file"; filename="f"', inner)) == NOTHING
    assert model_in(('name="models"', b"no"), ('filename="model"', b"no")) == NOTHING


def test_a_form_that_is_odd_or_endless_yields_nothing() -> None:
    assert multipart_model(form(('name="model"', b"m")), b"multipart/form-data") == NOTHING
    assert multipart_model(b"", FORM) == NOTHING
    assert multipart_model(b"--b0undary", FORM) == NOTHING
    assert multipart_model(form(('name="model"', b"m"))[:-20], FORM) == NOTHING
    assert model_in(('name="model"', b"m" * (CAPTURE_LIMIT + 1))) == NOTHING
    assert model_in(*[('name="x"', b"")] * 64, ('name="model"', b"m")) == NOTHING
