"""Resident memory over many requests: what leaks, shows."""

from __future__ import annotations

import sys
from typing import Final

from attrs import frozen

from benchmarks.load import burst
from benchmarks.peers import Peer

# By then caches and pools are full, SQLite's pages among them, and records have moved
# five times. What comes after it counts.
WARM_REQUESTS: Final = 250_000
REQUESTS: Final = WARM_REQUESTS + 500_000
_CONNECTIONS: Final = 64
_BURST_S: Final = 2
# Records move to the database this often, as they do each minute in real life.
_CATCH_UP_REQUESTS: Final = 50_000
# What allocators do to a process that leaks nothing.
TOLERANCE: Final = 0.02


@frozen
class Memory:
    """Samples of (requests so far, resident bytes).

    Attributes:
        faults: requests that failed.
    """

    samples: tuple[tuple[int, int], ...]
    faults: int

    @property
    def requests(self) -> int:
        """How many there were once it was warm."""
        return self.samples[-1][0] - self._warm[0]

    @property
    def warm_bytes(self) -> int:
        """Once `WARM_REQUESTS` are through."""
        return self._warm[1]

    @property
    def growth_bytes(self) -> int:
        """From then on to the end."""
        return self.samples[-1][1] - self.warm_bytes

    @property
    def _warm(self) -> tuple[int, int]:
        return next(sample for sample in self.samples if sample[0] >= WARM_REQUESTS)

    @property
    def is_flat(self) -> bool:
        return self.growth_bytes <= TOLERANCE * self.warm_bytes


def measure(wrk: str, peer: Peer, requests: int) -> Memory:
    """Send that many requests and look at the peer's memory every two seconds."""
    url = peer.url("small")
    total = caught_up = faults = 0
    samples = [(0, peer.process.rss_bytes())]
    while total < requests:
        load = burst(wrk, url, peer.token, "small", _CONNECTIONS, _BURST_S)
        if not load.requests:
            raise RuntimeError(f"{peer.label} answers nothing: {peer.process.output()}")
        total += load.requests
        faults += load.faults
        if total - caught_up >= _CATCH_UP_REQUESTS:
            peer.catch_up()
            caught_up = total
        samples.append((total, peer.process.rss_bytes()))
        print(
            f"memory  {total:8,} requests  {samples[-1][1] / 2**20:.1f} MiB",
            file=sys.stderr,
            flush=True,
        )
    return Memory(tuple(samples), faults)
