"""What was measured, as a page beside the targets."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field

from benchmarks import fleet
from benchmarks.load import Shape
from benchmarks.memory import Memory
from benchmarks.streams import READERS, STREAMS, Stalled, Streamed
from benchmarks.unary import CASES, DIRECT, Unary

RESULTS: Final = Path(__file__).with_name("RESULTS.md")
DASHBOARD: Final = Path(__file__).with_name("DASHBOARD.md")
_GPTLOAD: Final = "gptload"
# Where the targets are looked at: the highest load, both heads.
_JUDGED: Final[tuple[tuple[Shape, int], ...]] = (("small", 64), ("sdk", 64))
_HEADS: Final[dict[Shape, str]] = {
    "small": "8 request and 8 response fields",
    "sdk": "18 request and 20 response fields, as SDKs and AI APIs send them",
}
_MIB: Final = 2**20
# The last of the page.
_DASHBOARD_PART: Final = "## The dashboard"


@define
class Findings:
    """All that one run found; a part that wasn't run is None.

    Attributes:
        how: rounds and seconds, in words.
        busy_cores: what others used of the machine before the run.
        versions: by the peer's label.
        missing: what wasn't measured, and why.
        micro: the lines that each small benchmark printed, by name.
    """

    how: str = ""
    busy_cores: float = 0.0
    versions: dict[str, str] = field(factory=dict)
    missing: list[str] = field(factory=list)
    unary: Unary | None = None
    streams: list[Streamed] = field(factory=list)
    stalled: Stalled | None = None
    memory: Memory | None = None
    fleet: list[fleet.Score] = field(factory=list)
    micro: dict[str, list[str]] = field(factory=dict)


def page(found: Findings) -> str:
    """The whole page in Markdown."""
    parts = [
        "# What a request costs",
        "Written by `make bench` (`.venv/bin/python -m benchmarks`; `--quick` for fewer rounds, "
        "`--only requests` or `--peer nginx` for a part of it, `--help` for the rest). "
        "Everything runs on one machine's loopback interface and shares its cores with the load "
        "and the mock upstream, so absolute figures move by a factor of two: **ratios count**. "
        "Bursts of all peers took turns; a figure is the median over the rounds, a ratio the "
        "median of the ratios within each round. CPU is user and system time of all the "
        "peer's processes, divided by the requests.",
        "gptload runs as a user starts it, on Python alone, with everything on: client "
        "authentication, choice among ten keys, encrypted keys, journal, counters.",
        "What the request log and its statistics cost with millions of rows is in "
        "[LOGS.md](LOGS.md), and what a large import costs those who call meanwhile in "
        "[IMPORT.md](IMPORT.md). What the dashboard costs a browser is at the end.",
        *_targets(found),
        *_requests(found.unary),
        *_streams(found),
        *_memory(found.memory),
        *_fleet(found.fleet),
        *_micro(found.micro),
        "## Conditions",
        "\n".join(f"- {line}" for line in _conditions(found)),
    ]
    if found.missing:
        parts += ["## Not measured", "\n".join(f"- {line}" for line in found.missing)]
    return "\n\n".join(parts) + "\n"


def with_dashboard(results: str, dashboard: str) -> str:
    """The results with what `benchmarks.dashboard` found, in the place of what they had of it.

    Args:
        dashboard: its page, of which the table is taken.
    """
    kept, _, _ = results.partition(_DASHBOARD_PART)
    rows = "\n".join(line for line in dashboard.splitlines() if line.startswith("|"))
    told = (
        "Measured by `.venv/bin/python -m benchmarks.dashboard`: see [DASHBOARD.md](DASHBOARD.md)."
    )
    return f"{kept.rstrip()}\n\n{_DASHBOARD_PART}\n\n{told}\n\n{rows}\n"


def _targets(found: Findings) -> list[str]:
    rows = list(_target_rows(found))
    if not rows:
        return []
    return ["## Targets", _table(("target", "measured", "reached"), rows)]


def _target_rows(found: Findings) -> Iterator[tuple[str, ...]]:
    unary = found.unary
    if unary is not None and unary.has(_GPTLOAD):
        for text, other, limit in (
            ("CPU a request at most 0.5 of Caddy's", "caddy", 0.5),
            ("CPU a request at most 3.5 times nginx's", "nginx", 3.5),
        ):
            if unary.has(other):
                ratios = [
                    unary.ratio(_GPTLOAD, other, case, lambda one: one.cpu_us) for case in _JUDGED
                ]
                yield _judged(text, ratios, max(ratios) <= limit)
        if unary.has("litellm"):
            ratios = [
                unary.ratio(_GPTLOAD, "litellm", case, lambda one: one.per_second)
                for case in _JUDGED
            ]
            yield _judged(
                "at least 30 times LiteLLM's requests a second", ratios, min(ratios) >= 30
            )
        ratios = [
            unary.ratio(f"{_GPTLOAD}-tls", _GPTLOAD, case, lambda one: one.cpu_us)
            for case in _JUDGED
        ]
        yield _judged(
            "HTTPS upstream at most 2.5 times the CPU of plain", ratios, max(ratios) <= 2.5
        )
    for streamed in found.streams:
        if streamed.label == _GPTLOAD:
            yield (
                f"an event of a stream at most 35 µs ({STREAMS:,} streams of 20 a second)",
                f"{streamed.cpu_us:.0f} µs, {streamed.delivered:,} of {streamed.expected:,} "
                "delivered",
                yes(
                    streamed.cpu_us <= 35
                    and streamed.delivered == streamed.expected
                    and not streamed.broken
                ),
            )
            yield (
                "an open stream at most 10 kB",
                f"{streamed.rss_bytes / 1000:.1f} kB",
                yes(streamed.rss_bytes <= 10_000),
            )
    if found.stalled is not None:
        stalled = found.stalled
        yield (
            "a stalled reader of an endless stream at most 256 kB, not growing",
            f"{stalled.rss_bytes / 1000:.0f} kB, {stalled.growth_bytes / 1000:+.1f} kB later",
            # A page or two is what anything else in the process may take meanwhile.
            yes(stalled.rss_bytes <= 256_000 and stalled.growth_bytes <= 8_192),
        )
    if found.memory is not None:
        memory = found.memory
        yield (
            "resident memory flat over 500,000 requests",
            f"{memory.warm_bytes / _MIB:.1f} MiB {memory.growth_bytes / _MIB:+.1f} MiB "
            f"over {memory.requests:,}",
            yes(memory.is_flat),
        )
    if found.fleet:
        ours = found.fleet[0]
        for row in fleet.ROWS:
            if row.is_reached is not None:
                yield (
                    f"a night of a fleet, {row.title}: {row.target}",
                    row.figure(ours),
                    yes(row.is_reached(ours)),
                )


def _judged(text: str, ratios: Sequence[float], is_reached: bool) -> tuple[str, str, str]:
    figures = ", ".join(
        f"{ratio:.2f} ({shape} head)" for ratio, (shape, _) in zip(ratios, _JUDGED, strict=True)
    )
    return text, figures, yes(is_reached)


def yes(is_reached: bool) -> str:
    """Whether a limit is kept, as every page says it."""
    return "yes" if is_reached else "**no**"


def _requests(unary: Unary | None) -> Iterator[str]:
    if unary is None:
        return
    yield "## Requests"
    yield (
        "*Added* is the time from a request's first byte to its answer's last, less that of the "
        "same burst sent to the upstream directly. *Later* is CPU that gptload spends on a "
        "request's record after the burst, when it moves from the journal to the database; "
        "*reactor* is what its first thread spends of the CPU."
    )
    for case in CASES:
        shape, connections = case
        plural = "" if connections == 1 else "s"
        yield f"### {connections} connection{plural}, {_HEADS[shape]}"
        yield _table(
            (
                "",
                "requests/s",
                "CPU µs",
                "of it reactor",
                "later µs",
                "× nginx",
                "× Caddy",
                "added p50 ms",
                "added p99 ms",
                "RSS MiB",
            ),
            [_request_row(unary, name, case) for name in unary.labels],
        )
    yield f"Answers that were no success, or connections that broke: {unary.faults()}."


def _request_row(unary: Unary, name: str, case: tuple[Shape, int]) -> tuple[str, ...]:
    label = unary.labels[name]
    rate = f"{unary.middle(name, case, lambda one: one.per_second):,.0f}"
    if name == DIRECT:
        p50 = unary.middle(name, case, lambda one: one.load.p50_us) / 1000
        p99 = unary.middle(name, case, lambda one: one.load.p99_us) / 1000
        return (label, rate, *[""] * 5, f"({p50:.2f})", f"({p99:.2f})", "")
    is_ours = name.startswith(_GPTLOAD)
    return (
        label,
        rate,
        f"{unary.middle(name, case, lambda one: one.cpu_us):,.1f}",
        f"{unary.middle(name, case, lambda one: one.main_us):,.1f}" if is_ours else "",
        f"{unary.middle(name, case, lambda one: one.later_us):,.1f}" if is_ours else "",
        *(
            f"{unary.ratio(name, other, case, lambda one: one.cpu_us):.2f}"
            if unary.has(other)
            else ""
            for other in ("nginx", "caddy")
        ),
        f"{_added(unary, name, case, 50):.2f}",
        f"{_added(unary, name, case, 99):.2f}",
        f"{unary.middle(name, case, lambda one: one.rss_bytes) / _MIB:.0f}",
    )


def _added(unary: Unary, name: str, case: tuple[Shape, int], percentile: int) -> float:
    """Milliseconds on top of what the upstream itself takes."""

    def latency(of: str) -> float:
        return unary.middle(
            of,
            case,
            lambda one: one.load.p50_us if percentile == 50 else one.load.p99_us,
        )

    return (latency(name) - latency(DIRECT)) / 1000


def _streams(found: Findings) -> Iterator[str]:
    if found.streams:
        yield "## Streams"
        yield (
            f"{STREAMS:,} at a time, 20 events of about 200 bytes a second each. The delay is "
            "from the upstream's write to the client's read; what the client and the upstream "
            "themselves make of it shows in the first row."
        )
        yield _table(
            ("", "CPU µs/event", "RSS kB/stream", "delay p50 ms", "p99 ms", "events", "broken"),
            [
                (
                    one.label,
                    f"{one.cpu_us:.1f}" if one.cpu_us else "",
                    f"{one.rss_bytes / 1000:.1f}" if one.cpu_us else "",
                    f"{one.p50_ms:.2f}",
                    f"{one.p99_ms:.1f}",
                    f"{one.delivered:,} of {one.expected:,}",
                    str(one.broken),
                )
                for one in found.streams
            ],
        )
    if found.stalled is not None:
        stalled = found.stalled
        yield "## Readers that stop reading"
        yield (
            f"{READERS} clients of an endless stream that read its head and no more: "
            f"{stalled.rss_bytes / 1000:.0f} kB each, {stalled.growth_bytes / 1000:+.1f} kB in the "
            f"seconds after that, {stalled.cpu_percent:.1f} % of a core for all of them. One that "
            f"reads again {'gets more at once' if stalled.resumed else '**gets nothing**'}."
        )


def _memory(memory: Memory | None) -> Iterator[str]:
    if memory is None:
        return
    yield "## Resident memory"
    step = max(1, len(memory.samples) // 10)
    chosen = [*memory.samples[:-1:step], memory.samples[-1]]
    yield _table(
        ("requests", "RSS MiB"),
        [(f"{count:,}", f"{rss / _MIB:.1f}") for count, rss in chosen],
    )
    if memory.faults:
        yield f"{memory.faults} of the requests **failed**."


def _fleet(scores: Sequence[fleet.Score]) -> Iterator[str]:
    if scores:
        yield "## A night of a fleet"
        yield fleet.story(scores[0].size)
        yield _table(
            ("", "target", *(score.title for score in scores)),
            [
                (row.title, row.target, *(row.figure(score) for score in scores))
                for row in fleet.ROWS
            ],
        )


def _micro(micro: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if micro:
        yield "## Small parts"
        for name, lines in micro.items():
            yield f"`python -m benchmarks.{name}`:"
            yield "\n".join(f"    {line}" for line in lines)


def _conditions(found: Findings) -> Iterator[str]:
    yield datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC") + (
        f"; {found.how}" if found.how else ""
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield f"{os.cpu_count()} cores, {_cpu_model()}, {memory:.0f} GiB; Linux {platform.release()}"
    yield f"others kept {found.busy_cores:.2f} cores busy before the start"
    yield (
        f"Python {platform.python_version()}, Twisted {importlib.metadata.version('twisted')}, "
        f"{ssl.OPENSSL_VERSION}"
    )
    for label, version in found.versions.items():
        yield f"{label}: {version}"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:" if len(head) > 3 else "---"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
