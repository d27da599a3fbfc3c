"""Requests and answers: bursts of all peers that take turns, round after round."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final

from attrs import field, frozen

from benchmarks.load import Load, Shape, burst
from benchmarks.peers import Peer, Upstream
from benchmarks.processes import Process

# (head, connections). What real clients send is measured where the load is highest.
CASES: Final[tuple[tuple[Shape, int], ...]] = (
    ("small", 1),
    ("small", 10),
    ("small", 64),
    ("sdk", 64),
)
DIRECT: Final = "direct"


@frozen
class Target:
    """One thing to send a burst to.

    Attributes:
        name: the peer's, with `-tls` where the upstream is reached by HTTPS.
        process: None for the upstream itself.
        pace: see `Peer`.
        catch_up: see `Peer`; its cost is kept apart.
    """

    name: str
    label: str
    token: str
    url: Callable[[Shape], str]
    process: Process | None = None
    pace: int = 1
    catch_up: Callable[[], None] = lambda: None


@frozen
class Burst:
    """What one burst cost.

    Attributes:
        cpu_us: of the peer's processes, a request.
        main_us: of that, the first thread's.
        later_us: what the peer put off until after the burst, a request.
    """

    load: Load
    cpu_us: float = 0.0
    main_us: float = 0.0
    later_us: float = 0.0
    rss_bytes: int = 0

    @property
    def per_second(self) -> float:
        return self.load.requests / self.load.seconds


@frozen
class Unary:
    """All bursts, by target's name, head and connections; one a round."""

    labels: dict[str, str]
    bursts: dict[tuple[str, Shape, int], list[Burst]] = field(factory=dict)

    def has(self, name: str) -> bool:
        return name in self.labels

    def middle(self, name: str, case: tuple[Shape, int], of: Callable[[Burst], float]) -> float:
        """The median of a figure over the rounds."""
        return median(of(one) for one in self.bursts[name, *case])

    def ratio(
        self, name: str, to: str, case: tuple[Shape, int], of: Callable[[Burst], float]
    ) -> float:
        """The median of the ratio of two targets in the same round."""
        pairs = zip(self.bursts[name, *case], self.bursts[to, *case], strict=True)
        return median(of(one) / of(other) for one, other in pairs if of(other))

    def faults(self) -> int:
        return sum(one.load.faults for found in self.bursts.values() for one in found)


def targets(upstream: Upstream, peers: Iterable[Peer]) -> list[Target]:
    """The upstream itself, and each peer once or twice."""
    found = [
        Target(
            DIRECT,
            "directly",
            "sk-bench-direct",
            lambda shape: f"http://127.0.0.1:{upstream.http_port}/{shape}/v1/chat/completions",
        )
    ]
    for peer in peers:
        for tls in (False, True) if peer.tls else (False,):
            found.append(
                Target(
                    f"{peer.name}-tls" if tls else peer.name,
                    f"{peer.label}, HTTPS upstream" if tls else peer.label,
                    peer.token,
                    lambda shape, peer=peer, tls=tls: peer.url(shape, tls=tls),  # type: ignore[misc]
                    peer.process,
                    peer.pace,
                    peer.catch_up,
                )
            )
    return found


def measure(wrk: str, all_targets: Sequence[Target], rounds: int, seconds: int) -> Unary:
    """Warm all up, then let them take turns."""
    found = Unary({target.name: target.label for target in all_targets})
    for target in all_targets:
        for shape in ("small", "sdk"):
            _burst(wrk, target, shape, 64, 1)
    for number in range(rounds):
        for shape, connections in CASES:
            for target in all_targets:
                one = _burst(wrk, target, shape, connections, seconds)
                found.bursts.setdefault((target.name, shape, connections), []).append(one)
                print(
                    f"round {number + 1}/{rounds}  {target.label:34} {shape:5} "
                    f"c={connections:<3} {one.per_second:8,.0f}/s  {one.cpu_us:7.1f} µs"
                    f"  p50 {one.load.p50_us / 1000:.2f} p99 {one.load.p99_us / 1000:.2f} ms"
                    + (f"  {one.load.faults} FAULTS" if one.load.faults else ""),
                    file=sys.stderr,
                    flush=True,
                )
    return found


def _burst(wrk: str, target: Target, shape: Shape, connections: int, seconds: int) -> Burst:
    process = target.process
    seconds *= target.pace
    if process is None:
        return Burst(burst(wrk, target.url(shape), target.token, shape, connections, seconds))
    if not process.owns_ports():
        raise RuntimeError(f"{target.label}: somebody else listens on its port")
    cpu, main = process.cpu_s(), process.main_thread_cpu_s()
    load = burst(wrk, target.url(shape), target.token, shape, connections, seconds)
    cpu_after, main_after = process.cpu_s(), process.main_thread_cpu_s()
    rss = process.rss_bytes()
    target.catch_up()
    a_request = 1e6 / max(1, load.requests)
    return Burst(
        load,
        (cpu_after - cpu) * a_request,
        (main_after - main) * a_request,
        (process.cpu_s() - cpu_after) * a_request,
        rss,
    )
