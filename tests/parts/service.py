"""The real service, started as a user starts it: `twistd -n gptload` in a folder of its own.

It runs in another process, so tests speak to it with blocking clients. Whatever a test
does to it, `assert_clean` holds afterwards: no traceback in its log, and no key anywhere
that a key has no business.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from tests.parts.raw import Raw, Reply

ROOT = Path(__file__).parents[2]
AUTH_KEY = "sk-Xq7vT2-mB9kLw-4RzP8n-YcJ3hG"
# Another reactor than the service would choose for itself; `make test-stock` sets it.
REACTOR = os.environ.get("GPTLOAD_TEST_REACTOR", "")
START_S = 30.0  # generous: machines that run tests are loaded
STOP_S = 20.0
MODELS = {
    "openai": "gpt-4.1-mini",
    "openai-response": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
}
T = TypeVar("T")


class Refused(AssertionError):
    """The admin API said no."""

    def __init__(self, status: int, said: Any) -> None:
        super().__init__(f"{status} {said}")
        self.status = status
        self.said = said


class Service:
    """One node. Not running until `start`.

    Args:
        folder: its working directory; a restart in the same folder finds its data.
        environment: variables on top of a bare environment.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.auth_key = environment.get("AUTH_KEY", AUTH_KEY)
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PORT": str(self.port),
            "AUTH_KEY": AUTH_KEY,
            **environment,
        }
        self._log_path = folder / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._secrets: set[str] = {self.auth_key}
        self._checked = 0  # characters of the log

    # --- its life

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def proxy_url(self, group: str) -> str:
        """What a user gives to an SDK."""
        return f"{self.url}/proxy/{group}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Service:
        """Start it and wait until it serves."""
        self._process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("twistd")),
                *(("-r", REACTOR) if REACTOR else ()),
                "-n",
                "--pidfile=",
                "gptload",
            ],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # By a pipe, so that a test can take the disk away and still hear of it.
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()
        until = time.monotonic() + START_S
        while not self.is_healthy():
            if self._process.poll() is not None:
                raise AssertionError(f"it ended at once:\n{self.log()}")
            if time.monotonic() > until:
                self.kill()
                raise AssertionError(f"not healthy after {START_S:.0f} s:\n{self.log()}")
            time.sleep(0.05)
        return self

    def is_healthy(self) -> bool:
        """Whether `/health` answers 200."""
        try:
            return self.call("GET", "/health", key=None)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop it as an init system does, and check that it went in good order."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still there {STOP_S:.0f} s after SIGTERM") from None
        self._listener.join(5)
        # Twisted shuts down, and then ends by the signal that asked for it.
        assert status in (0, -signal.SIGTERM), f"status {status}\n{self.log()[-3000:]}"

    def kill(self) -> None:
        """End it with no chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._listener.join(5)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with self._log_path.open("ab", buffering=0) as log, process.stdout:
            while line := process.stdout.readline():
                log.write(line)

    # --- what it must never do

    def log(self) -> str:
        """All that it has printed, over all its starts."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def keep_secret(self, *values: str) -> None:
        """These must never turn up in its log or its journal."""
        self._secrets.update(values)

    def assert_clean(self) -> None:
        """No traceback was logged since the last check, and no secret is written in clear."""
        log = self.log()[self._checked :]
        self._checked += len(log)  # one test's trace must not fail the others
        for word in ("Traceback", "Unhandled"):
            assert word not in log, log[max(0, log.index(word) - 500) :][:6000]
        self._assert_no_secret("the log", log.encode())
        for path in self.folder.rglob("*"):
            # The database may hold keys in clear: that is what ENCRYPTION_KEY is for.
            if path.is_file() and ".db" not in path.name and path != self._log_path:
                self._assert_no_secret(str(path.relative_to(self.folder)), path.read_bytes())

    def assert_no_secret_on_disk(self) -> None:
        """With ENCRYPTION_KEY set: not even the database shows a key."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                # Proxy keys are settings, which are not encrypted: AUTH_KEY is the first one.
                found = path.read_bytes()
                for secret in self._secrets - {self.auth_key}:
                    assert secret.encode() not in found, f"{_hint(secret)} is in {path.name}"

    def _assert_no_secret(self, where: str, text: bytes) -> None:
        for secret in self._secrets:
            at = text.find(secret.encode())
            around = text[max(0, at - 120) : at + 160].replace(secret.encode(), b"<SECRET>")
            assert at < 0, f"{_hint(secret)} is in {where}: …{around!r}…"

    # --- its admin API

    def call(
        self,
        method: str,
        path: str,
        said: Any = None,
        *,
        key: str | None = AUTH_KEY,
        raw: bytes | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """One call: status, and the decoded body (or its text, if it is no JSON)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = raw if said is None else json.dumps(said).encode()
            head = {"Content-Type": "application/json", **(fields or {})}
            if key is not None:
                head["Authorization"] = f"Bearer {self.auth_key if key == AUTH_KEY else key}"
            connection.request(method, path, body, head)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text.decode(errors="replace")

    def api(self, method: str, path: str, said: Any = None) -> Any:
        """One call that must succeed: the envelope's `data`."""
        status, body = self.call(method, f"/api{path}", said)
        if status != 200 or not isinstance(body, dict) or body.get("code") != 0:
            raise Refused(status, body)
        return body.get("data")

    def create_group(
        self,
        name: str,
        channel: str,
        upstream: str | Sequence[str],
        keys: Iterable[str] = (),
        **fields: Any,
    ) -> int:
        """A group that serves when this returns; its id.

        Args:
            upstream: base URL, or several of equal weight.
            fields: more of the group, e.g. `config={"max_retries": 0}`.
        """
        urls = [upstream] if isinstance(upstream, str) else upstream
        group = self.api(
            "POST",
            "/groups",
            {
                "name": name,
                "channel_type": channel,
                "upstreams": [{"url": url, "weight": 1} for url in urls],
                "test_model": MODELS[channel],
                **fields,
            },
        )
        keys = list(keys)
        if keys:
            self.add_keys(group["id"], keys)
        return int(group["id"])

    def group(self, group: int) -> dict[str, Any]:
        """A group as the admin API shows it."""
        return next(one for one in self.api("GET", "/groups") if one["id"] == group)

    def change_group(self, group: int, **fields: Any) -> Any:
        """Change some fields; the group as it is now."""
        return self.api("PUT", f"/groups/{group}", fields)

    def add_keys(self, group: int, keys: Iterable[str]) -> Any:
        """Add keys; from then on they are secrets."""
        keys = list(keys)
        self.keep_secret(*keys)
        return self.api(
            "POST", "/keys/add-multiple", {"group_id": group, "keys_text": "\n".join(keys)}
        )

    def key_command(self, command: str, group: int, keys: Iterable[str]) -> Any:
        """`delete`, `restore` or `test` some keys of a group."""
        said = {"group_id": group, "keys_text": "\n".join(keys)}
        return self.api("POST", f"/keys/{command}-multiple", said)

    def keys(self, group: int, **query: Any) -> list[dict[str, Any]]:
        """The keys of a group, as the admin API shows them."""
        asked = urlencode({"group_id": group, "page_size": 1000, **query})
        return list(self.api("GET", f"/keys?{asked}")["items"])

    def key(self, group: int, value: str) -> dict[str, Any]:
        """One key of a group."""
        return next(key for key in self.keys(group) if key["key_value"] == value)

    def wait_key(
        self, group: int, value: str, wanted: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """The key once it is as wanted; the ledger follows traffic with a small delay."""
        return wait_for(lambda: self.key(group, value), wanted)

    def logs(self, **query: Any) -> list[dict[str, Any]]:
        """Request logs, newest first."""
        asked = urlencode({"page_size": 1000, **query})
        return list(self.api("GET", f"/logs?{asked}")["items"])

    def wait_logs(self, count: int, timeout_s: float = 10.0, **query: Any) -> list[dict[str, Any]]:
        """Request logs, once there are at least `count`."""
        return wait_for(lambda: self.logs(**query), lambda found: len(found) >= count, timeout_s)

    def set(self, **settings: Any) -> None:
        """Change system settings; the next request sees them."""
        self.api("PUT", "/settings", settings)

    def ask(self, data: bytes) -> Reply:
        """Send a request on a connection of its own; its answer."""
        with self.raw() as client:
            return client.ask(data)

    def raw(self) -> Raw:
        """A connection for bytes of your own."""
        return Raw(self.port)


def wait_for(look: Callable[[], T], wanted: Callable[[T], bool], timeout_s: float = 10.0) -> T:
    """What `look` sees once it is as wanted; after the time-out, whatever it sees."""
    until = time.monotonic() + timeout_s
    while not wanted(found := look()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _hint(secret: str) -> str:
    return f"a secret of {len(secret)} characters ending in {secret[-2:]!r}"
