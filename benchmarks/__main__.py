"""Measure all, write the page: `.venv/bin/python -m benchmarks`."""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import fleet, memory, peers, report, streams, tools, unary
from benchmarks.processes import StartFailed, busy_cores

PARTS: Final = ("requests", "streams", "stalled", "memory", "fleet", "micro")
# More than a machine at rest needs for itself.
QUIET_CORES: Final = 0.15
MICRO: Final = ("rotation", "codec")


class Bench:
    """One run."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._folder = folder
        self._options = options
        self._peers = [kind for kind in peers.ALL if kind.name in options.peer]
        self._started = 0
        self.findings = report.Findings(
            how=f"{options.rounds} rounds of {options.seconds} s a burst"
        )

    def run(self) -> None:
        """All parts that were asked for, one after the other."""
        upstream = peers.Upstream(self._new_folder("upstream"))
        try:
            for part in self._options.only:
                _say(f"== {part}")
                try:
                    getattr(self, f"_{part}")(upstream)
                except tools.Missing as error:
                    self._miss(part, error)
        finally:
            upstream.process.stop()

    def _requests(self, upstream: peers.Upstream) -> None:
        wrk = tools.find("wrk", "wrk")
        self.findings.versions["wrk"] = tools.version([wrk, "-v"])
        with self._serving(upstream, self._peers) as serving:
            self.findings.unary = unary.measure(
                wrk,
                unary.targets(upstream, serving),
                self._options.rounds,
                self._options.seconds,
            )

    def _streams(self, upstream: peers.Upstream) -> None:
        direct = f"http://127.0.0.1:{upstream.http_port}/{{kind}}/v1/chat/completions"
        self.findings.streams.append(streams.measure("directly", None, direct))
        # LiteLLM is left out: a thousand streams take it minutes.
        for kind in self._peers:
            if kind is not peers.LiteLLM:
                with self._serving(upstream, [kind]) as serving:
                    for peer in serving:
                        self.findings.streams.append(streams.measure(peer.label, peer, direct))

    def _stalled(self, upstream: peers.Upstream) -> None:
        with self._serving(upstream, [peers.Gptload]) as serving:
            for peer in serving:
                self.findings.stalled = streams.measure_stalled(peer)

    def _memory(self, upstream: peers.Upstream) -> None:
        wrk = tools.find("wrk", "wrk")
        with self._serving(upstream, [peers.Gptload]) as serving:
            for peer in serving:
                self.findings.memory = memory.measure(wrk, peer, self._options.memory_requests)

    def _fleet(self, upstream: peers.Upstream) -> None:
        self.findings.fleet = fleet.measure(_say, self._options.fleet)

    def _micro(self, upstream: peers.Upstream) -> None:
        for name in MICRO:
            done = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{name}"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                self._miss(name, done.stderr.strip().rpartition("\n")[2])
            else:
                self.findings.micro[name] = done.stdout.splitlines()

    @contextmanager
    def _serving(
        self, upstream: peers.Upstream, kinds: Sequence[type[peers.Peer]]
    ) -> Iterator[list[peers.Peer]]:
        """Peers of these kinds, started anew; who can't be is named in the findings."""
        begun: list[peers.Peer] = []
        serving: list[peers.Peer] = []
        try:
            for kind in kinds:
                peer = kind()
                begun.append(peer)
                try:
                    peer.start(upstream, self._new_folder(kind.name))
                    self.findings.versions[peer.label] = peer.version()
                except (tools.Missing, StartFailed) as error:
                    self._miss(peer.label, error)
                else:
                    serving.append(peer)
            yield serving
        finally:
            for peer in begun:
                if hasattr(peer, "process"):
                    peer.process.stop()

    def _new_folder(self, name: str) -> Path:
        self._started += 1
        folder = self._folder / f"{self._started}-{name}"
        folder.mkdir()
        return folder

    def _miss(self, what: str, why: object) -> None:
        line = f"{what}: {why}"
        if line not in self.findings.missing:
            self.findings.missing.append(line)
        _say(f"NOT MEASURED  {line}")


def main() -> int:
    """The command line; 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter bursts")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; repeatable")
    names = [kind.name for kind in peers.ALL]
    parser.add_argument("--peer", action="append", choices=names, help="this peer; repeatable")
    parser.add_argument("--rounds", type=_count, help="of each burst (5; quick: 2)")
    parser.add_argument("--seconds", type=_count, help="of each burst (2; quick: 1)")
    parser.add_argument(
        "--output",
        type=Path,
        help="where the page goes; unset, a whole run writes RESULTS.md and a part prints it",
    )
    options = parser.parse_args()
    is_whole = not (options.only or options.peer or options.quick)
    options.only = options.only or PARTS
    options.peer = options.peer or peers.USUAL
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 2)
    options.memory_requests = memory.REQUESTS // (2 if options.quick else 1)
    options.fleet = fleet.SMALL if options.quick else fleet.WHOLE

    # So that whoever ends the bench ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Short, because a Unix socket's path, which gptload makes below it, may not be long.
    with tempfile.TemporaryDirectory(prefix="gptload-bench-") as folder:
        bench = Bench(Path(folder), options)
        bench.findings.busy_cores = busy_cores()
        if bench.findings.busy_cores > QUIET_CORES:
            _say(f"Others keep {bench.findings.busy_cores:.2f} cores busy: this will be noisy")
        bench.run()
    text = report.page(bench.findings)
    if is_whole:
        text = report.with_dashboard(text, report.DASHBOARD.read_text())
    target = options.output or (report.RESULTS if is_whole else None)
    if target is None:
        print(text)
    else:
        target.write_text(text)
        _say(f"Written to {target}")
    return 1 if bench.findings.missing else 0


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
