"""For tests: the scripted provider as a process, what it is told, and what it saw."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.upstream import certificates
from tests.upstream.script import Rule, Script, Step

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Seen:
    """A request as the provider got it. Field names and values: one character, one byte."""

    number: int
    connection: int
    nth_on_connection: int
    tls: bool
    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    key: str
    credentials: list[tuple[str, str]]
    body_length: int
    body_complete: bool
    body_sha256: str
    body: bytes
    began_at: float
    ended: str
    ended_at: float | None
    answered: int | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Seen:
        values = dict(said)
        values["body"] = base64.b64decode(values.pop("body_base64"))
        values["fields"] = [(name, value) for name, value in values["fields"]]
        values["credentials"] = [(place, key) for place, key in values["credentials"]]
        return cls(**values)

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        return [value for n, value in self.fields if n.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return next(iter(self.all(name)), None)

    @property
    def names(self) -> set[str]:
        """Lower-case names of all fields."""
        return {name.lower() for name, _ in self.fields}


class Upstream:
    """One provider process."""

    def __init__(self, folder: Path) -> None:
        made = certificates.make(folder)
        self.ca_file = made.ca
        self._log = (folder / "upstream.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.upstream", "--tls", str(made.cert), str(made.key)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        where = json.loads(self._process.stdout.readline())
        self.port: int = where["port"]
        self.tls_port: int = where["tls_port"]
        self._control = http.client.HTTPConnection("127.0.0.1", where["control_port"], timeout=10)

    @property
    def url(self) -> str:
        """Base URL over plain HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Base URL over TLS; `ca_file` vouches for it."""
        return f"https://localhost:{self.tls_port}"

    def script(
        self,
        *rules: Rule,
        keys: Mapping[str, str | Mapping[str, Any] | Step] | None = None,
        others: str | Step = "ok",
        pace: str | Step = "ok",
    ) -> None:
        """Begin a new script; what was seen before is forgotten."""
        behaviours = {key: Step.of(step) for key, step in (keys or {}).items()}
        self._order(
            "PUT", "/script", Script(rules, behaviours, Step.of(others), Step.of(pace)).plain()
        )

    def seen(self, path: str = "") -> list[Seen]:
        """Requests since the script began whose target starts with `path`."""
        told = [Seen.of(item) for item in self._order("GET", "/seen")]
        return [item for item in told if item.target.startswith(path)]

    def wait_seen(self, count: int, timeout_s: float = 5.0) -> list[Seen]:
        """The same, once there are `count` of them."""
        return self._wait(lambda seen: len(seen) >= count, timeout_s)

    def wait_ended(self, timeout_s: float = 5.0) -> list[Seen]:
        """The same, once none of them is running."""
        return self._wait(lambda seen: all(s.ended != "running" for s in seen), timeout_s)

    def keys_seen(self) -> list[str]:
        """Which keys were used, in order."""
        return [item.key for item in self.seen()]

    def open_connections(self) -> int:
        """How many connections are open now."""
        return int(self._order("GET", "/state")["open"])

    def listening(self, **wanted: bool) -> None:
        """`plain=False` refuses connections and drops the open ones; `plain=True` ends that."""
        self._order("PUT", "/listening", wanted)

    def stop(self) -> None:
        """End the process."""
        self._control.close()
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def _wait(self, is_enough: Any, timeout_s: float) -> list[Seen]:
        until = time.monotonic() + timeout_s
        while not is_enough(seen := self.seen()) and time.monotonic() < until:
            time.sleep(0.02)
        return seen

    def _order(self, method: str, path: str, said: Any = None) -> Any:
        body = b"" if said is None else json.dumps(said).encode()
        self._control.request(method, path, body)
        response = self._control.getresponse()
        told = json.loads(response.read())
        if response.status != 200:
            raise ValueError(told)
        return told


def fields_of(*pairs: tuple[str, bytes | str]) -> Sequence[tuple[str, str]]:
    """Fields for a `Step` whose values are any bytes."""
    return [(n, v.decode("latin-1") if isinstance(v, bytes) else v) for n, v in pairs]
