"""Groups for tests of the whole service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.parts.service import Service
from tests.upstream.control import Upstream


@dataclass(frozen=True)
class Group:
    """A group that serves, and the keys of its pool in their order."""

    id: int
    name: str
    keys: tuple[str, ...]


OpenGroup = Callable[..., Group]


@pytest.fixture
def open_group(service: Service, upstream: Upstream, name: str) -> OpenGroup:
    """Make a group on the scripted provider: `open_group("gemini", keys=4, config={…})`."""
    return lambda channel="openai", **more: make_group(service, upstream, name, channel, **more)


def make_group(
    service: Service,
    upstream: Upstream,
    name: str,
    channel: str = "openai",
    *,
    keys: int = 1,
    url: str = "",
    **fields: Any,
) -> Group:
    """The same on a node of the test's own."""
    values = tuple(f"sk-{name}-pool-key-{number}" for number in range(1, keys + 1))
    group = service.create_group(name, channel, url or upstream.url, values, **fields)
    return Group(group, name, values)
