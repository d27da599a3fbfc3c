"""One short burst of requests by wrk, and what they look like."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final, Literal

from attrs import frozen

Shape = Literal["small", "sdk"]
SHAPES: Final[tuple[Shape, ...]] = ("small", "sdk")

_SCRIPT: Final = Path(__file__).with_name("load.lua")
# Host and Content-Length are wrk's own: 8 fields and 18 fields in all.
_FIELDS: Final[dict[Shape, tuple[str, ...]]] = {
    "small": (
        "Content-Type: application/json",
        "Accept: */*",
        "Accept-Encoding: gzip",
        "Connection: keep-alive",
        "User-Agent: bench",
    ),
    # As openai-python sends them.
    "sdk": (
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Connection: keep-alive",
        "Accept: application/json",
        "Content-Type: application/json",
        "User-Agent: OpenAI/Python 3.4.0",
        "X-Stainless-Lang: python",
        "X-Stainless-Package-Version: 3.4.0",
        "X-Stainless-OS: Linux",
        "X-Stainless-Arch: x64",
        "X-Stainless-Runtime: CPython",
        "X-Stainless-Runtime-Version: 3.11.2",
        "X-Stainless-Async: false",
        "x-stainless-retry-count: 0",
        "x-stainless-read-timeout: 600",
        "X-Stainless-Raw-Response: true",
    ),
}


class LoadFailed(Exception):
    """wrk gave no result."""


@frozen
class Load:
    """What wrk saw of one burst.

    Attributes:
        p50_us, p99_us: from a request's first byte to its response's last.
        faults: responses that were no success, and connections that broke.
    """

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    faults: int


def model(shape: Shape) -> str:
    """The model that a request of this shape asks for."""
    return f"bench-{shape}"


def body(model: str, *, stream: bool = False) -> str:
    """A small chat."""
    asked = {
        "messages": [
            {"role": "system", "content": "You answer in one short sentence."},
            {"role": "user", "content": "What is two and two?"},
        ],
        "model": model,
    }
    return json.dumps({**asked, "stream": True} if stream else asked)


def burst(wrk: str, url: str, token: str, shape: Shape, connections: int, seconds: int) -> Load:
    """Send requests for some seconds, each connection one after the other.

    Raises:
        LoadFailed: wrk didn't run to its end.
    """
    fields = (*_FIELDS[shape], f"Authorization: Bearer {token}")
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    command += ["-s", str(_SCRIPT), *(f"-H{field}" for field in fields)]
    command += [url, "--", body(model(shape))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    _, found, line = done.stdout.rpartition("\nRESULT ")
    if not found:
        raise LoadFailed(f"wrk: {done.stdout[-500:]}{done.stderr[-500:]}")
    said = json.loads(line)
    return Load(
        said["requests"],
        said["duration_us"] / 1e6,
        said["p50_us"],
        said["p99_us"],
        said["not_2xx"] + said["broken"],
    )
