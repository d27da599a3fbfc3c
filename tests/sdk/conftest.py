"""Groups for the SDKs: over plain HTTP and over TLS, with and without sick keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.parts.service import Service
from tests.upstream.control import Upstream
from tests.upstream.script import Step

# What a person would notice: each of these is used at most this often before it is set aside.
TRIES_OF_A_DEAD_KEY = 3  # `blacklist_threshold`
TRIES_OF_A_LIMITED_KEY = 1


@dataclass(frozen=True)
class Group:
    """What an SDK needs to know.

    Attributes:
        base_url: the group's proxy address.
        api_key: a proxy key that opens it.
        dead, limited: sick keys of its pool; empty when it has none.
    """

    id: int
    base_url: str
    api_key: str
    good: tuple[str, ...]
    dead: str = ""
    limited: str = ""


OpenGroup = Callable[..., Group]


@pytest.fixture
def open_group(service: Service, upstream: Upstream, upstream_url: str, name: str) -> OpenGroup:
    """Make a group of a channel; the provider knows its keys and refuses all others."""

    def make(channel: str, *, sick: bool = False, keys: int = 2, **fields: Any) -> Group:
        good = tuple(f"sk-{name}-good-{number}" for number in range(1, keys + 1))
        dead, limited = f"sk-{name}-dead", f"sk-{name}-limited"
        behaviours: dict[str, Step] = dict.fromkeys(good, Step())
        if sick:
            behaviours[dead] = Step(error="invalid_api_key")
            behaviours[limited] = Step(error="rate_limited", retry_after=60)
        upstream.script(keys=behaviours, others="invalid_api_key")
        group = service.create_group(name, channel, upstream_url, behaviours, **fields)
        return Group(
            group,
            service.proxy_url(name),
            service.auth_key,
            good,
            dead if sick else "",
            limited if sick else "",
        )

    return make


@pytest.fixture
def sick_keys_were_met_and_set_aside(upstream: Upstream) -> Callable[[Group], None]:
    """Check that a pool healed itself: its sick keys were tried, and then no more."""

    def check(group: Group) -> None:
        used = upstream.keys_seen()
        assert 1 <= used.count(group.dead) <= TRIES_OF_A_DEAD_KEY
        assert used.count(group.limited) == TRIES_OF_A_LIMITED_KEY
        assert set(used[-4:]) == set(group.good)

    return check
