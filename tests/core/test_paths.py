"""From a request target to an upstream's, byte for byte."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core import paths
from gptload.core.headers import QUERY_CREDENTIALS
from gptload.core.paths import join, parse_upstream, split_proxy_target, split_query


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"/proxy/g/v1/chat?a=b", (b"g", b"/v1/chat", b"a=b")),
        (b"/proxy/g", (b"g", b"/", b"")),
        (b"/proxy/g/", (b"g", b"/", b"")),
        (b"/proxy/g?x", (b"g", b"/", b"x")),
        (b"/proxy/", (b"", b"/", b"")),
        (b"/proxy//v1", (b"", b"/v1", b"")),
        (b"/proxy/g//a%2Fb/%ZZ/../c", (b"g", b"//a%2Fb/%ZZ/../c", b"")),
        (b"/proxy/g/a?b?c", (b"g", b"/a", b"b?c")),
    ],
)
def test_a_target_is_cut_and_never_decoded(target: bytes, parts: tuple) -> None:
    assert split_proxy_target(target) == parts


@pytest.mark.parametrize(
    ("base", "path", "query", "target"),
    [
        ("https://h", b"/v1/x", b"", b"/v1/x"),
        ("https://h/", b"/v1/x", b"", b"/v1/x"),
        ("https://h/base/", b"/v1/x", b"", b"/base/v1/x"),
        ("https://h/base//", b"/", b"", b"/base/"),
        ("https://h", b"/", b"", b"/"),
        ("https://h/b%2Fc", b"/m%3Ax", b"a=%2B", b"/b%2Fc/m%3Ax?a=%2B"),
        ("https://h/?api-version=1", b"/x", b"", b"/x?api-version=1"),
        ("https://h/a?api-version=1&b", b"/x", b"c=d", b"/a/x?api-version=1&b&c=d"),
        ("https://h/café", b"/x", b"", b"/caf%C3%A9/x"),
    ],
)
def test_base_and_path_are_joined(base: str, path: bytes, query: bytes, target: bytes) -> None:
    assert join(parse_upstream(base, 1), path, query) == target


@pytest.mark.parametrize(
    ("url", "authority", "origin"),
    [
        ("https://API.example", b"api.example", ("https", "api.example", 443)),
        ("http://h:8080/x", b"h:8080", ("http", "h", 8080)),
        ("http://h:80", b"h", ("http", "h", 80)),
        ("https://[::1]:8443", b"[::1]:8443", ("https", "::1", 8443)),
        (
            "https://müller.example",
            b"xn--mller-kva.example",
            ("https", "xn--mller-kva.example", 443),
        ),
        (" https://h ", b"h", ("https", "h", 443)),
    ],
)
def test_an_upstream_is_taken_apart(url: str, authority: bytes, origin: tuple) -> None:
    upstream = parse_upstream(url, 3)
    assert upstream.authority == authority and upstream.weight == 3
    assert (upstream.origin.scheme, upstream.origin.host, upstream.origin.port) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        "h",
        "ftp://h",
        "http://",
        "https:///x",
        "http://h:99999",
        "http://h:0",
        "http://h:x",
        "http://user:secret@h",
        "ftp://user:secret@h",
        "http://user:secret@",
        "user:secret@h",
        "http://user:secret@h:99999",
        "http://h:x@secret@[::1",
        "https://h/#f",
        "http://h/a b",
        "http://[::1",
        'http://h/"',
        "http://h\r\nX: 1",
    ],
)
def test_what_cant_be_an_upstream_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"upstream|URL") as caught:
        parse_upstream(url, 1)
    assert "secret" not in str(caught.value)


PATH = st.text("aZ/%2F.:;@~ü", max_size=12)
QUERY = st.text("a=&%+?1", max_size=12).map(str.encode)


@given(base=PATH, own=QUERY, path=PATH, query=QUERY)
def test_joining_adds_and_changes_nothing(base: str, own: bytes, path: str, query: bytes) -> None:
    """Prefix, path and queries are all there, byte for byte, each once (D31, D33)."""
    upstream = parse_upstream(f"https://h/{base}?{own.decode()}", 1)
    rest = b"/" + path.encode()
    target = join(upstream, rest, query)
    before, mark, after = target.partition(b"?")
    assert before == quote("/" + base, safe="/%:;@~.").encode().rstrip(b"/") + rest
    assert after == b"&".join(part for part in (own, query) if part)
    assert bool(mark) == bool(own or query)


def test_credentials_leave_the_query_and_nothing_else_changes() -> None:
    """One pair goes; malformed ones, order and escapes stay (D32)."""
    query = b"b=%zz&key=sk-1&&a=1+2&%24alt=json%3Benum&c&KEY=sk%2D2&access_token=t"
    rest, found = split_query(query)
    assert rest == b"b=%zz&&a=1+2&%24alt=json%3Benum&c"
    assert found == [b"sk-1", b"sk-2", b"t"]
    assert split_query(b"keys=1&monkey=2") == (b"keys=1&monkey=2", [])
    assert split_query(b"") == (b"", [])
    assert split_query(b"key=") == (b"", [])
    assert split_query(b"%6Bey=sk-1") == (b"", [b"sk-1"])


PAIR = st.one_of(
    st.sampled_from([b"key=v", b"%6bey=v", b"a=b", b"", b"alt=sse", b"Access_Token=1", b"x"]),
    st.binary(max_size=10).map(lambda raw: raw.replace(b"&", b"")),
)


@given(st.lists(PAIR, max_size=8))
def test_no_credential_pair_is_ever_left(pairs: list[bytes]) -> None:
    query = b"&".join(pairs)
    rest, _ = split_query(query)
    kept = rest.split(b"&") if rest else []
    for pair in kept:
        assert unquote_to_bytes(pair.partition(b"=")[0]).lower() not in QUERY_CREDENTIALS
    position = 0
    originals = query.split(b"&")
    for pair in kept:  # what stays keeps its bytes and its order
        position = originals.index(pair, position) + 1


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("169.254.1.1", True),
        ("0xa9.254.43518", True),
        ("fe80::1%eth0", True),
        ("::ffff:169.254.169.254", True),
        ("fd00:ec2::254", True),
        ("METADATA.google.internal.", True),
        ("169.255.0.1", False),
        ("127.0.0.1", False),
        ("fd00::1", False),
        ("api.example", False),
        ("1", False),
        ("", False),
    ],
)
def test_where_clouds_keep_credentials(host: str, expected: bool) -> None:
    assert paths.is_link_local(host) is expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/proxy/openai/api/integration/info?key=sk-a", True),
        (b"/proxy/openai/api/integration/info", True),
        (b"/proxy/openai/v1/api/integration/info", False),
        (b"/proxy/openai/v1?x=/api/integration/info", False),
        (b"/proxy/api/integration/info", False),
    ],
)
def test_a_group_is_asked_about_itself_by_one_path_only(target: bytes, expected: bool) -> None:
    assert paths.asks_about_group(target) is expected
