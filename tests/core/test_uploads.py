"""Resumable uploads: the next step leads back here, on the key that began it."""

from __future__ import annotations

from urllib.parse import urlparse, urlunparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.paths import join, parse_upstream, split_proxy_target, split_query
from gptload.core.uploads import (
    TICKET_NAME,
    URL_FIELDS,
    Ticket,
    is_upload,
    lead_back,
    read_ticket,
)

NOW = 1_800_000_000.0
SECRET = b"s" * 32
TICKET = Ticket(group_id=3, key_id=41, upstream=1, until=int(NOW) + 60)
GOOGLE = parse_upstream("https://generativelanguage.googleapis.com", 1)
BASE = b"http://proxy.example:3001/proxy/gemini"
URL = (
    b"https://generativelanguage.googleapis.com/upload/v1beta/files"
    b"?key=AIzaPOOLKEY&upload_id=AB%2Bc-_9&upload_protocol=resumable"
)


def target(url: bytes) -> tuple[bytes, bytes]:
    """Path below the group and query, as the front reads them when a client follows."""
    parts = urlparse(url)
    name, path, query = split_proxy_target(parts.path + b"?" + parts.query)
    assert name == b"gemini"
    return path, split_query(query)[0]


def led_back(url: bytes = URL, upstream_url: str = GOOGLE.url) -> bytes:
    url_back = lead_back(url, BASE, parse_upstream(upstream_url, 1), SECRET, TICKET)
    assert url_back is not None
    return url_back


def test_the_next_step_comes_to_the_proxy_with_a_ticket_and_without_a_pool_key() -> None:
    url = led_back()
    assert url.startswith(BASE + b"/upload/v1beta/files?upload_id=AB%2Bc-_9&upload_protocol=")
    assert b"AIzaPOOLKEY" not in url
    path, query = target(url)
    assert read_ticket(SECRET, path, query, NOW) == (
        TICKET,
        b"upload_id=AB%2Bc-_9&upload_protocol=resumable",
    )


def test_the_upstream_is_asked_what_it_named() -> None:
    path, query = target(led_back())
    _, rest = read_ticket(SECRET, path, query, NOW)
    wanted = b"/upload/v1beta/files?upload_id=AB%2Bc-_9&upload_protocol=resumable"
    assert join(GOOGLE, path, rest) == wanted


def test_an_upstreams_own_prefix_and_query_come_in_once() -> None:
    prefixed = "https://relay.example/gemini?tenant=a&tenant=b"
    url = b"https://relay.example/gemini/upload/v1beta/files?tenant=a&upload_id=1&tenant=b&tenant=c"
    path, query = target(led_back(url, prefixed))
    _, rest = read_ticket(SECRET, path, query, NOW)
    assert join(parse_upstream(prefixed, 1), path, rest) == (
        b"/gemini/upload/v1beta/files?tenant=a&tenant=b&upload_id=1&tenant=c"
    )


def test_googles_sdk_follows_it_whatever_its_base_url() -> None:
    """What google-genai's `_upload_fd` does: its own scheme and host, nothing else."""
    ours = urlparse("https://public.example/proxy/gemini")
    parts = urlparse(led_back().decode())
    url = urlunparse(parts._replace(scheme=ours.scheme, netloc=ours.netloc))
    assert url.startswith("https://public.example/proxy/gemini/upload/")
    assert read_ticket(SECRET, *target(url.encode()), NOW)[0] == TICKET


def test_percents_written_in_another_way_are_the_same_upload() -> None:
    path, query = target(led_back(URL.replace(b"%2B", b"%2b").replace(b"files", b"f%69les")))
    path, query = path.replace(b"%69", b"i"), query.replace(b"%2b", b"%2B")
    assert read_ticket(SECRET, path, query, NOW)[0] == TICKET


def test_a_clients_own_parameters_may_follow() -> None:
    path, query = target(led_back())
    ticket, rest = read_ticket(SECRET, path, query + b"&alt=json", NOW)
    assert ticket == TICKET
    assert rest.endswith(b"resumable&alt=json")


def test_an_upstream_that_is_a_gptload_keeps_its_own_ticket() -> None:
    inner = led_back(b"http://x/upload/v1beta/files?upload_id=1")
    outer = led_back(inner, "http://proxy.example:3001/proxy/gemini")
    path, query = target(outer)
    ticket, rest = read_ticket(SECRET, path, query, NOW)
    assert ticket == TICKET
    assert b"/proxy/gemini" + path + b"?" + rest == inner.partition(b":3001")[2]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (b"/upload/v1beta/files", b"upload_id=other"),
        (b"/upload/v1beta/files", b""),
        (b"/v1beta/models/gemini-3:generateContent", b"upload_id=1"),
        (b"/upload%2Fv1beta/files", b"upload_id=1"),
    ],
)
def test_a_ticket_opens_nothing_but_its_upload(path: bytes, query: bytes) -> None:
    _, own = target(led_back(b"https://x/upload/v1beta/files?upload_id=1"))
    pair = own.split(b"&")[-1]
    assert read_ticket(SECRET, b"/upload/v1beta/files", b"upload_id=1&" + pair, NOW)[0] == TICKET
    shown = query + b"&" + pair if query else pair
    assert read_ticket(SECRET, path, shown, NOW) == (None, query)


def test_a_ticket_of_another_secret_or_time_is_refused() -> None:
    path, query = target(led_back())
    assert read_ticket(b"t" * 32, path, query, NOW)[0] is None
    assert read_ticket(SECRET, path, query, NOW + 60)[0] is None


def test_a_query_without_a_ticket_stays_as_it_is() -> None:
    for query in (b"", b"a=1&&a=%20", b"x_gptload_upload=1", b"q=gptload_upload"):
        assert read_ticket(SECRET, b"/upload/v1beta/files", query, NOW) == (None, query)


@pytest.mark.parametrize("url", [b"", b"https://x", b"ftp://x/upload", b"https://x/a b", b"x\r\ny"])
def test_what_is_no_url_is_left_out(url: bytes) -> None:
    assert lead_back(url, BASE, GOOGLE, SECRET, TICKET) is None


def test_only_uploads_name_next_steps() -> None:
    assert is_upload(b"/upload/v1beta/files")
    assert is_upload(b"/resumable/upload/v1beta/files")
    assert not is_upload(b"/v1beta/files/upload")
    assert b"x-goog-upload-url" in URL_FIELDS


TICKETS = st.builds(
    Ticket,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(int(NOW) + 1, 2**64 - 1),
)
PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["a", "upload_id", "b%20"]),
        st.from_regex(r"[A-Za-z0-9%._~-]{0,9}", fullmatch=True),
    ),
    max_size=4,
)


@given(ticket=TICKETS, pairs=PAIRS)
def test_tickets_and_queries_come_back_as_they_went(
    ticket: Ticket, pairs: list[tuple[str, str]]
) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs).encode()
    url = lead_back(b"https://x/upload/f?" + query, BASE, GOOGLE, SECRET, ticket)
    assert url is not None
    assert read_ticket(SECRET, *target(url), NOW) == (ticket, query)


@given(ticket=TICKETS, place=st.integers(0, 63), byte=st.integers(33, 126))
def test_a_ticket_with_any_other_byte_is_refused(ticket: Ticket, place: int, byte: int) -> None:
    url = lead_back(URL, BASE, GOOGLE, SECRET, ticket)
    assert url is not None
    path, query = target(url)
    start = query.index(TICKET_NAME) + len(TICKET_NAME) + 1
    place += start
    forged = query[:place] + bytes((byte,)) + query[place + 1 :]
    if forged != query:
        assert read_ticket(SECRET, path, forged, NOW)[0] is None
    for shorter in (query[:place], query + b"A"):
        assert read_ticket(SECRET, path, shorter, NOW)[0] is None


@given(path=st.binary(max_size=40), query=st.binary(max_size=80))
def test_no_bytes_make_it_raise(path: bytes, query: bytes) -> None:
    lead_back(query, BASE, GOOGLE, SECRET, TICKET)
    for shown in (query, TICKET_NAME + b"=" + query):
        assert read_ticket(SECRET, path, shown, NOW)[0] is None
