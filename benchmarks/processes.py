"""Processes that the bench starts itself: what they cost, and proof that they are the ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_LISTENING: Final = "0A"
_STOP_S: Final = 10.0


class StartFailed(Exception):
    """A process ended, or didn't listen in time; carries the end of its output."""


class Process:
    """One peer with its children, listening on ports of its own.

    Args:
        command: never a shell line, so `pid` is the program's own.
        folder: its working directory; its output goes to `output.log` there.
        ports: all that it listens on.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        ports: Sequence[int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = folder / "output.log"
        self.ports = tuple(ports)
        with self._log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pid = self._popen.pid

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait until all ports are this process's own and it says that it is ready.

        Raises:
            StartFailed: it didn't; the process is stopped.
        """
        until = time.monotonic() + timeout_s
        while not (self.owns_ports() and is_ready()):
            if self._popen.poll() is not None:
                raise StartFailed(f"ended with {self._popen.returncode}: {self.output()}")
            if time.monotonic() > until:
                self.stop()
                raise StartFailed(f"not ready after {timeout_s:.0f} s: {self.output()}")
            time.sleep(0.05)

    def owns_ports(self) -> bool:
        """Whether every port is listened on by this process or a child of it.

        A leftover listener on the same port gives very pretty numbers.
        """
        sockets = _listening_sockets()
        mine = set().union(*(_open_sockets(pid) for pid in self.tree()))
        return all(sockets.get(port, set()) & mine for port in self.ports)

    def tree(self) -> list[int]:
        """Ids of the process and all that descends from it."""
        found = [self.pid]
        for pid in found:
            try:
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
            except OSError:
                continue  # ended meanwhile
        return found

    def cpu_s(self) -> float:
        """CPU seconds spent so far, user and system, by the whole tree."""
        return sum(_cpu_ticks(f"/proc/{pid}/stat") for pid in self.tree()) * _TICK_S

    def main_thread_cpu_s(self) -> float:
        """The same of the first thread alone: the reactor's."""
        return _cpu_ticks(f"/proc/{self.pid}/task/{self.pid}/stat") * _TICK_S

    def rss_bytes(self) -> int:
        """Resident memory of the whole tree."""
        total = 0
        for pid in self.tree():
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
        return total * _PAGE_BYTES

    def output(self) -> str:
        """The last lines that it printed."""
        return self._log.read_text(errors="replace")[-1500:]

    def stop(self) -> None:
        """End this process, and nothing else."""
        if self._popen.poll() is not None:
            return
        children = self.tree()[1:]
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            for pid in children:  # they have lost the parent that would have ended them
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def busy_cores(seconds: float = 1.0) -> float:
    """How many cores the whole machine keeps busy, watched for so long."""

    def ticks() -> int:
        # proc(5): user nice system idle iowait irq softirq steal
        fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
        return sum(fields) - fields[3] - fields[4]

    before = ticks()
    time.sleep(seconds)
    return (ticks() - before) * _TICK_S / seconds


def _cpu_ticks(stat: str) -> int:
    try:
        # The name, in brackets, may hold blanks; 14 and 15 of proc(5) are utime and stime.
        fields = Path(stat).read_text().rpartition(") ")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _listening_sockets() -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                found.setdefault(int(fields[1].rpartition(":")[2], 16), set()).add(fields[9])
    return found


def _open_sockets(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(descriptor)
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass  # ended meanwhile
    return found
