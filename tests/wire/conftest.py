"""Real peers for the tests that need sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.wire.peers import Peers, Way


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    started = Peers(tmp_path)
    yield started
    started.stop()


@pytest_twisted.async_yield_fixture
async def way(reactor: Any, peers: Peers) -> AsyncIterator[Way]:
    made = Way(reactor, peers.certificates.ca)
    yield made
    await made.close()
