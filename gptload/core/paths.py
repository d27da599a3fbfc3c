"""`/proxy/{group}/…` → the upstream's URL. Bytes in, bytes out: nothing is decoded.

A `%2F` or `%3A` means something else than `/` or `:` to an upstream, so a path is
only cut and joined, never taken apart and written anew.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import unquote_to_bytes, urlsplit

from gptload.core.headers import QUERY_CREDENTIALS
from gptload.core.snapshot import Origin, Upstream

PROXY_PREFIX = b"/proxy/"
_INTEGRATION = b"/api/integration/info"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AWS_METADATA = ipaddress.ip_address("fd00:ec2::254")
_METADATA_NAMES = frozenset(["metadata.google.internal", "metadata.goog", "metadata"])
_UNSAFE = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]")


def split_proxy_target(target: bytes) -> tuple[bytes, bytes, bytes]:
    """Take `/proxy/{group}/{rest}?{query}` apart.

    Args:
        target: an origin-form request target that starts with `/proxy/`.

    Returns:
        Group name, path below the group (starts with `/`), query without `?`.
    """
    path, _, query = target.partition(b"?")
    end = path.find(b"/", len(PROXY_PREFIX))
    if end < 0:
        return path[len(PROXY_PREFIX) :], b"/", query
    return path[len(PROXY_PREFIX) : end], path[end:], query


def asks_about_group(target: bytes) -> bool:
    """Whether `/proxy/{group}/…` is `/api/integration/info`, which the control plane answers."""
    path = target.partition(b"?")[0]
    return path.endswith(_INTEGRATION) and split_proxy_target(path)[1] == _INTEGRATION


def split_query(query: bytes) -> tuple[bytes, list[bytes]]:
    """Take the client's credentials out of a query.

    Only whole pairs go; the rest keeps its bytes and order.

    Returns:
        The query without them, and their decoded values.
    """
    if not query:
        return b"", []
    kept: list[bytes] = []
    credentials: list[bytes] = []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        # The name may be spelled with percents; a credential must not slip through so.
        plain = unquote_to_bytes(name).lower() if b"%" in name else name.lower()
        if plain in QUERY_CREDENTIALS:
            if value:
                credentials.append(unquote_to_bytes(value.replace(b"+", b" ")))
        else:
            kept.append(pair)
    return b"&".join(kept), credentials


def join(upstream: Upstream, path: bytes, query: bytes) -> bytes:
    """Request target towards an upstream: its prefix, the path, both queries.

    Where the base URL and the client name the same parameter both are sent, the
    base URL's first: which one counts is the upstream's to say.
    """
    if upstream.query:
        query = upstream.query + b"&" + query if query else upstream.query
    return b"%b%b?%b" % (upstream.path, path, query) if query else upstream.path + path


def parse_upstream(url: str, weight: int) -> Upstream:
    """Take a base URL apart.

    Raises:
        ValueError: it can't be an upstream; the text says why.
    """
    text = url.strip()
    if not text:
        raise ValueError("upstream URL cannot be empty")
    shown = text.rpartition("@")[2]  # what stands before it may be a password
    parts = urlsplit(text)
    if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"invalid URL format for upstream: {shown}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("upstream URL must not contain a user or password; use a header rule")
    if parts.fragment:
        raise ValueError(f"upstream URL must not have a fragment: {shown}")
    if _UNSAFE.search(text):
        raise ValueError(f"upstream URL has a character that must be percent-encoded: {shown!r}")
    scheme = parts.scheme.lower()
    try:
        port = parts.port if parts.port is not None else _DEFAULT_PORTS[scheme]
        host = (
            parts.hostname.encode("idna").decode("ascii")
            if not parts.hostname.isascii()
            else parts.hostname
        )
        if port == 0:
            raise ValueError("port 0")
    except ValueError as error:
        raise ValueError(f"invalid URL format for upstream: {shown} ({error})") from None
    authority = f"[{host}]" if _is_ipv6(host) else host
    if port != _DEFAULT_PORTS[scheme]:
        authority = f"{authority}:{port}"
    return Upstream(
        url=text,
        origin=Origin(scheme, host, port),
        authority=authority.encode("ascii"),
        path=_ascii(parts.path).rstrip(b"/"),
        query=_ascii(parts.query),
        weight=weight,
    )


def is_link_local(host: str) -> bool:
    """Whether a host is where clouds keep their machines' credentials.

    Every way of writing an IPv4 address counts (`2852039166`, `0xa9fea9fe`): resolvers
    read them all. Loopback and private networks are no such place.
    """
    name = host.lower().rstrip(".").partition("%")[0]
    if name in _METADATA_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))
        except (OSError, ValueError):
            return False
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_link_local or address == _AWS_METADATA


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _ascii(text: str) -> bytes:
    """Percent-encode what is not ASCII; the rest stays as the operator wrote it."""
    return b"".join(
        bytes((byte,)) if byte < 0x80 else b"%%%02X" % byte for byte in text.encode("utf-8")
    )
