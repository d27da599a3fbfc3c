"""Who may use a group. What is remembered of it must never let anybody else in."""

from __future__ import annotations

import attrs
import pytest

from gptload.core.errors import Unauthorized
from gptload.core.headers import Field, learn
from gptload.core.snapshot import Group, Snapshot, digest
from gptload.proxy.access import admit
from tests.fakes.scene import group as make_group


def field(line: bytes) -> Field:
    name = learn(line.partition(b":")[0])
    assert name is not None
    return (name, line)


GOOD = field(b"Authorization: Bearer sk-proxy")
BAD = field(b"x-api-key: sk-of-somebody-else")


def opened(group: Group, *fields: Field, query: tuple[bytes, ...] = ()) -> bool:
    try:
        return admit(Snapshot(groups={b"g": group}), b"g", fields, query) is group
    except Unauthorized:
        return False


@pytest.fixture
def group() -> Group:
    return attrs.evolve(make_group(), access=frozenset((digest(b"sk-proxy"),)))


def test_a_line_that_opened_the_group_opens_it_again(group: Group) -> None:
    assert opened(group, GOOD) and group.admitted == {GOOD[1]}
    assert opened(group, GOOD) and opened(group, BAD, GOOD)


def test_a_line_beside_the_right_credential_is_not_remembered(group: Group) -> None:
    assert opened(group, BAD, GOOD)
    assert opened(group, BAD, query=(b"sk-proxy",))
    assert not opened(group, BAD)


def test_what_opened_a_group_is_forgotten_with_its_keys(group: Group) -> None:
    assert opened(group, GOOD)
    after = attrs.evolve(group, access=frozenset((digest(b"sk-another"),)))
    assert not opened(after, GOOD)


def test_clients_cant_fill_the_memory(group: Group) -> None:
    for blanks in range(1, 2000):
        assert opened(group, field(b"Authorization:" + b" " * blanks + b"Bearer sk-proxy"))
    assert len(group.admitted) == 1024
