"""`twistd -n gptload` with a heart that beats 500 times a second, and tells how late each was.

Run as `python -m benchmarks.beating FILE`. A beat is late by as long as the reactor's
thread was busy with one thing, or had no core or interpreter to run on. Each second's
worst goes to the file, a line each: epoch seconds, seconds late, number of beats.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.scripts.twistd import run

from gptload import tap

BEAT_S = 0.002


class _Heart:
    def __init__(self, path: Path, clock: Any) -> None:
        self._file = path.open("a", buffering=1)
        self._clock = clock
        self._worst_s, self._beats = 0.0, 0
        self._second = int(time.time())
        self._await()

    def _await(self) -> None:
        self._expected = time.monotonic() + BEAT_S
        self._clock.callLater(BEAT_S, self._beat)

    def _beat(self) -> None:
        self._worst_s = max(self._worst_s, time.monotonic() - self._expected)
        self._beats += 1
        now = int(time.time())
        if now != self._second:
            self._file.write(f"{self._second} {self._worst_s:.6f} {self._beats}\n")
            self._second, self._worst_s, self._beats = now, 0.0, 0
        self._await()


def main() -> None:
    """Start the service as the installed command does, and the heart with it."""
    path = Path(sys.argv[1])
    make = tap.makeService

    def beating(options: Any) -> IService:
        from twisted.internet import reactor  # chosen by the options, so not before them

        reactor.callWhenRunning(_Heart, path, reactor)  # type: ignore[attr-defined]
        return make(options)

    tap.makeService = beating
    sys.argv = ["twistd", "-n", "--pidfile=", "gptload"]
    run()


if __name__ == "__main__":
    main()
