"""The frozen picture of groups and settings that a data plane reads.

A request takes one snapshot and keeps it to its end, so a change in the middle
of an exchange can't give it half of the old and half of the new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from attrs import field, frozen

from gptload.core.outcome import Rule
from gptload.core.settings import Settings


def digest(credential: bytes) -> bytes:
    """The form in which a proxy key is looked up.

    Comparing digests leaks nothing about the key through time, and a snapshot
    that is printed by accident shows no secret.
    """
    return hashlib.sha256(credential).digest()


@frozen(cache_hash=True)  # looked up by it for every attempt
class Origin:
    """Where a connection leads. Connections to one origin may be shared.

    Attributes:
        scheme: `http`, `https`, or `unix` (then `host` is the path and `port` 0).
    """

    scheme: str
    host: str
    port: int


@frozen
class Upstream:
    """One base URL of a group, taken apart once.

    Attributes:
        url: as configured, for people; its user info is masked.
        authority: the `Host` field towards it.
        path: percent-encoded path prefix without a trailing slash; may be empty.
        query: the base URL's own query without `?`; merged into each request's.
    """

    url: str
    origin: Origin
    authority: bytes
    path: bytes
    query: bytes
    weight: int

    @property
    def mark(self) -> int:
        """A number for its base URL, below 2^31: it stays when upstreams change places."""
        return crc32(self.url.partition("?")[0].rstrip("/").encode()) & 0x7FFFFFFF


@frozen
class HeaderRule:
    """One line of a group's header rules.

    Attributes:
        name: lower-case field name.
        wire_name: as it goes on the wire, e.g. `X-Title`.
        value: text with `${…}` variables; None removes the field.
    """

    name: bytes
    wire_name: bytes
    value: str | None


@frozen
class Group:
    """A standard group, or an aggregate when `sub_groups` is not None.

    Attributes:
        access: digests of the proxy keys that open this group, the system's included.
        sub_groups: (group id, weight) of an aggregate's members, weight > 0.
        error_rules: the operator's own, tried before all others; see
            `gptload.core.operatorrules`.
        admitted: whole field lines whose credential is one of `access`, found so far;
            for `gptload.proxy.access` alone. It lives and dies with `access`.
    """

    id: int
    name: str
    display_name: str
    channel: str
    upstreams: tuple[Upstream, ...]
    settings: Settings
    access: frozenset[bytes]
    test_model: str = ""
    validation_path: str = ""
    header_rules: tuple[HeaderRule, ...] = ()
    parameter_overrides: Mapping[str, Any] = field(factory=dict)
    model_redirects: Mapping[str, str] = field(factory=dict)
    model_redirect_strict: bool = False
    sub_groups: tuple[tuple[int, int], ...] | None = None
    error_rules: tuple[Rule, ...] = ()
    admitted: set[bytes] = field(factory=set, init=False, eq=False, repr=False)


@frozen
class Snapshot:
    """All that the data plane reads while it serves a request.

    Attributes:
        version: grows with every publication.
        groups: by name, as the request line spells it.
        by_id: the same groups by id.
        system_access: digests of the proxy keys that open every group.
    """

    version: int = 0
    system_access: frozenset[bytes] = frozenset()
    groups: Mapping[bytes, Group] = field(factory=dict)
    by_id: Mapping[int, Group] = field(factory=dict)
