"""Programs that the bench runs but doesn't ship: where they are, or how to get them.

What it may build or install itself goes to a cache folder outside the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gptload-bench"
_INSTALL_S = 900.0


class Missing(Exception):
    """A tool isn't there; the text says which one, and how to get it."""


def find(name: str, package: str) -> str:
    """Path of a program.

    Args:
        package: Debian's package that has it.

    Raises:
        Missing: it isn't installed.
    """
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise Missing(f"{name} is not installed: apt-get install {package}")
    return path


def caddy() -> str:
    """The newest Caddy if there is a Go toolchain to build it, else the installed one.

    Raises:
        Missing: neither.
    """
    built = CACHE / "bin" / "caddy"
    go = shutil.which("go")
    if not built.exists() and go is not None:
        _say("Building Caddy; a few minutes, once")
        _run(
            [go, "install", "github.com/caddyserver/caddy/v2/cmd/caddy@latest"],
            {"GOBIN": str(built.parent)},
        )
    return str(built) if built.exists() else find("caddy", "caddy")


def litellm() -> str:
    """LiteLLM's proxy, in an environment of its own.

    Raises:
        Missing: it can't be installed.
    """
    folder = CACHE / "litellm"
    program = folder / "bin" / "litellm"
    if not program.exists():
        _say("Installing LiteLLM; some minutes, once")
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "pip"), "install", "-q", "litellm[proxy]"])
    if not program.exists():
        raise Missing(f"LiteLLM can't be installed: pip install 'litellm[proxy]' in {folder}")
    return str(program)


def version(command: Sequence[str], pattern: str = r"(\d+\.\d+(?:\.\d+)?)") -> str:
    """The first version number that a program prints; `?` if it prints none."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "?"


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    # Whether it worked shows in what it should have made.
    try:
        subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            timeout=_INSTALL_S,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _say(f"{command[0]}: {error}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
