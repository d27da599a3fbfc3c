"""What an import of 500,000 keys costs those who use the node meanwhile.

`python -m benchmarks.imports` starts a node as a user does, with a group that serves,
and gives this group half a million keys in one request. All the while a client goes on
asking that group. Told are the memory that it took, by how much the reactor's thread
was late at most, and what the client saw. Writes benchmarks/IMPORT.md.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from attrs import Factory, define, frozen

from benchmarks import admin
from benchmarks.load import body, model
from benchmarks.peers import Upstream
from benchmarks.processes import Process, busy_cores, free_port
from benchmarks.report import yes
from tests.parts.databases import PostgreSQL

KEYS: Final = 500_000
LIMIT_MIB: Final = 1024.0
LIMIT_MS: Final = 20.0
PAGE: Final = Path(__file__).with_name("IMPORT.md")
_ROOT: Final = Path(__file__).parents[1]
_AUTH_KEY: Final = "sk-bench-9vQ2-admin-of-imports"
_TOKEN: Final = "sk-bench-client-of-imports"
_FIRST_KEYS: Final = 10
# What a node does anyway, to compare with.
_REST_S: Final = 10.0
# A client that never waits would take a core from the import.
_PAUSE_S: Final = 0.005


@frozen
class Span:
    """What happened in some seconds.

    Attributes:
        late_ms: by how much the reactor's thread was late at most.
        answers, failures: of the client's requests.
        p50_ms, p99_ms, worst_ms: from a request to its answer.
    """

    seconds: float
    late_ms: float
    answers: int
    failures: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


@define
class _Client:
    """Asks the group again and again, on one connection."""

    port: int
    took: list[tuple[float, float]] = Factory(list)
    failures: list[float] = Factory(list)
    _is_over: threading.Event = Factory(threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        fields = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
        asked = body(model("small"))
        while not self._is_over.wait(_PAUSE_S):
            now, began = time.time(), time.perf_counter()
            try:
                connection.request("POST", "/proxy/pool/v1/chat/completions", asked, fields)
                answer = connection.getresponse()
                answer.read()
                is_good = answer.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                is_good = False
            self.took.append((now, time.perf_counter() - began))
            if not is_good:
                self.failures.append(now)


def run(folder: Path, upstream: Upstream, dsn: str, keys: int) -> tuple[Span, Span, float, float]:
    """Import; a span at rest, the span of the import, and MiB of memory before and at most.

    Raises:
        RuntimeError: not every key is there at the end.
    """
    port, beats = free_port(), folder / "beats"
    environment = {
        "PYTHONPATH": str(_ROOT),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "AUTH_KEY": _AUTH_KEY,
        "ENCRYPTION_KEY": "bench-Tq52-encrypts-the-keys",
        "DATABASE_DSN": dsn,
    }
    command = [sys.executable, "-m", "benchmarks.beating", str(beats)]
    process = Process(command, folder, [port], environment)
    client = _Client(port)
    try:
        process.wait_until(lambda: True, 60)
        group = _call(port, "POST", "/groups", _group(upstream))["id"]
        first = _text(0, _FIRST_KEYS)
        _call(port, "POST", "/keys/add-multiple", {"group_id": group, "keys_text": first})
        client.start()
        time.sleep(2)
        quiet_from = time.time()
        time.sleep(_REST_S)
        before, quiet_until = process.rss_bytes(), time.time()

        text = _text(_FIRST_KEYS, keys)
        most, import_from = before, time.time()
        _call(port, "POST", "/keys/add-async", {"group_id": group, "keys_text": text})
        while _call(port, "GET", "/tasks/status")["is_running"]:
            most = max(most, process.rss_bytes())
            time.sleep(0.1)
        import_until = time.time()
        there = _call(port, "GET", f"/keys?group_id={group}&page_size=1")["pagination"]
        if there["total_items"] != keys + _FIRST_KEYS:
            raise RuntimeError(f"{there['total_items']} keys are there: {process.output()}")
        time.sleep(1.5)  # the last second's line
    finally:
        client.stop()
        process.stop()
    late = [tuple(map(float, line.split())) for line in beats.read_text().splitlines()]
    return (
        _span(client, late, quiet_from, quiet_until),
        _span(client, late, import_from, import_until),
        before / 2**20,
        most / 2**20,
    )


def _group(upstream: Upstream) -> dict[str, Any]:
    return {
        "name": "pool",
        "channel_type": "openai",
        "upstreams": [{"url": f"http://127.0.0.1:{upstream.http_port}/small", "weight": 1}],
        "test_model": model("small"),
        "proxy_keys": _TOKEN,
    }


def _text(start: int, count: int) -> str:
    numbers = range(start, start + count)
    return "\n".join(f"sk-proj-{n:012d}-as-long-as-most-keys-are-today" for n in numbers)


def _span(client: _Client, late: list[Any], begin: float, end: float) -> Span:
    took = [seconds * 1e3 for at, seconds in client.took if begin <= at <= end]
    cuts = quantiles(took, n=100)
    return Span(
        end - begin,
        max(seconds * 1e3 for at, seconds, _ in late if begin - 1 < at < end),
        len(took),
        sum(begin <= at <= end for at in client.failures),
        cuts[49],
        cuts[98],
        max(took),
    )


def _call(port: int, method: str, path: str, said: object = None) -> Any:
    return admin.call(port, _AUTH_KEY, method, path, said)


def table(name: str, keys: int, rest: Span, busy: Span, memory: tuple[float, float]) -> str:
    """One database's part of the page."""
    before, most = memory

    def row(what: str, span: Span) -> str:
        return (
            f"| {what} | {span.seconds:.0f} | {span.late_ms:.1f} | {span.answers:,} | "
            f"{span.failures} | {span.p50_ms:.1f} | {span.p99_ms:.1f} | {span.worst_ms:.1f} |"
        )

    return "\n".join(
        [
            f"## {name}, {keys:,} keys",
            "",
            "| | measured | limit | reached |",
            "| --- | ---: | ---: | --- |",
            f"| resident memory at most | {most:.0f} MiB, from {before:.0f} | "
            f"{LIMIT_MIB:.0f} MiB | {yes(most <= LIMIT_MIB)} |",
            f"| the event loop late by at most | {busy.late_ms:.1f} ms | {LIMIT_MS:.0f} ms | "
            f"{yes(busy.late_ms <= LIMIT_MS)} |",
            f"| requests of the group's client that failed | {busy.failures} of {busy.answers:,} "
            f"| 0 | {yes(not busy.failures)} |",
            "",
            "| | seconds | late ms | requests | failed | p50 ms | p99 ms | worst ms |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            row("at rest", rest),
            row("importing", busy),
        ]
    )


def main() -> None:
    """Import into each database, print what came of it, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the result goes")
    options = parser.parse_args()
    busy = busy_cores()
    parts = []
    for name in ("SQLite", "PostgreSQL"):
        with tempfile.TemporaryDirectory(prefix="gptload-import-") as path:
            folder = Path(path)
            (folder / "upstream").mkdir()
            upstream = Upstream(folder / "upstream")
            server = PostgreSQL() if name == "PostgreSQL" else None
            try:
                dsn = str(folder / "gptload.db")
                if server is not None:
                    server.start()
                    dsn = server.create("imports")
                rest, importing, *memory = run(folder, upstream, dsn, options.keys)
            finally:
                upstream.process.stop()
                if server is not None:
                    server.remove()
        parts.append(table(name, options.keys, rest, importing, (memory[0], memory[1])))
        print(parts[-1], end="\n\n")
    head = (
        "# What a large import costs the others\n\n"
        "Written by `.venv/bin/python -m benchmarks.imports`. A node as a user starts it; its "
        "one group serves a client, and is given the keys in one request meanwhile. *Late* is "
        "by how much a timer of the node's own event loop came too late, at 500 beats a second; "
        "that includes what the machine gave to other processes. Keys are encrypted. "
        f"{busy:.2f} cores were busy before the start."
    )
    options.page.write_text("\n\n".join([head, *parts]) + "\n")


if __name__ == "__main__":
    main()
