"""A stranger's package adds a channel; a broken one is reported, and costs nothing else.

Entry points are read when a process starts, so each case looks in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLE = HERE / "echo_channel"

LOOK = """
import json
from gptload.provider import discover
found = discover()
broken = [[broken.name, broken.origin, broken.reason] for broken in found.broken]
print(json.dumps([found.names(), broken]))
"""


@frozen
class Seen:
    """What a fresh process discovers: channel types, and reasons by (name, origin)."""

    names: list[str]
    broken: dict[tuple[str, str], str]


def run(folder: Path, script: str) -> str:
    """Run a script in a fresh process that sees the packages in `folder` too."""
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def look(folder: Path) -> Seen:
    names, broken = json.loads(run(folder, LOOK))
    return Seen(names, {(name, origin): reason for name, origin, reason in broken})


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip put the example."""
    source = tmp_path_factory.mktemp("source") / "echo_channel"
    shutil.copytree(EXAMPLE, source)  # building leaves files beside the source
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([*pip, *options, str(source)], check=True, timeout=120)
    return folder


@pytest.fixture
def folder(installed: Path, tmp_path: Path) -> Path:
    """The example's folder again, to put other packages beside it."""
    return shutil.copytree(installed, tmp_path / "packages")


def put(folder: Path, name: str, code: str, channel: str | None = None) -> None:
    """Install a package by hand: one module, and the channel that it offers."""
    (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    entry = f"[gptload.providers]\n{channel or name} = {name}:provider\n"
    (metadata / "entry_points.txt").write_text(entry)


OWN = ["anthropic", "gemini", "openai", "openai-response"]

HALF = """
from zope.interface import implementer
from gptload.provider import IProvider

@implementer(IProvider)
class Half:
    name = "half"
    def sign(self, request, key): ...

provider = Half()
"""

# Made before streams were looked into.
OLD = """
from zope.interface import implementer
from gptload.provider import IProvider
from echo_channel import Echo

members = {n: v for n, v in vars(Echo).items() if not n.startswith(("stream_", "__"))}
provider = implementer(IProvider)(type("Old", (), {**members, "name": "old"}))()
"""

WRONG_ARGUMENTS = (
    "from echo_channel import Echo\n"
    + """
class Wrong(Echo):
    name = "wrong"
    def sign(self, request): ...

provider = Wrong()
"""
)


def test_an_installed_package_adds_its_channel(installed: Path) -> None:
    seen = look(installed)
    assert seen.names == sorted([*OWN, "echo"])
    assert seen.broken == {}


def test_the_new_channels_errors_are_judged_by_its_own_table(installed: Path) -> None:
    script = """
from gptload.core.verdict import Answer, judge
from gptload.provider import discover
echo = discover().by_name["echo"]
for status, body in ((400, b'{"error": {"code": "unknown_key"}}'), (420, b"quiet!"), (503, b"")):
    verdict = judge(echo, Answer(status, [], body), 1000.0)
    print(verdict.outcome.name, verdict.rest_until, verdict.reason)
"""
    assert run(installed, script).splitlines() == [
        "KEY_REJECTED None echo.unknown_key",
        "RATE_LIMITED 1030.0 echo.too_loud",
        "UPSTREAM_FAULT None common.status_503",
    ]


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("missing", "import a_module_that_nobody_has", "ModuleNotFoundError: No module named"),
        ("crashes", "1 / 0", "ZeroDivisionError: division by zero"),
        ("leaves", "raise SystemExit('not today')", "SystemExit: not today"),
        ("empty", "", "AttributeError: module 'empty' has no attribute 'provider'"),
        ("stranger", "provider = object()", "Does not declaratively implement the interface"),
        ("half", HALF, "; error_body(status, code, message) attribute was not provided"),
        ("old", OLD, "stream_error(status, code, message) attribute was not provided"),
        ("wrong", WRONG_ARGUMENTS, "sign"),
        ("liar", "from echo_channel import provider", "its name is 'echo'"),
    ],
)
def test_a_broken_package_is_reported_and_skipped(
    folder: Path, name: str, code: str, reason: str
) -> None:
    put(folder, name, code)
    seen = look(folder)
    assert seen.names == sorted([*OWN, "echo"])
    assert list(seen.broken) == [(name, f"{name} 0.1")]
    assert reason in seen.broken[name, f"{name} 0.1"]


@pytest.mark.parametrize("channel", ["openai", "echo"])
def test_a_name_that_is_taken_stays_with_who_had_it(folder: Path, channel: str) -> None:
    """Ours belong to us, else the first distribution by name: the path's order says nothing."""
    put(folder, "usurper", "raise AssertionError('never imported')", channel)
    seen = look(folder)
    assert seen.names == sorted([*OWN, "echo"])
    assert list(seen.broken) == [(channel, "usurper 0.1")]
    assert "already taken" in seen.broken[channel, "usurper 0.1"]


def test_many_broken_packages_are_all_reported(folder: Path) -> None:
    put(folder, "crashes", "1 / 0")
    put(folder, "half", HALF)
    put(folder, "usurper", "", "gemini")
    seen = look(folder)
    assert seen.names == sorted([*OWN, "echo"])
    assert sorted(name for name, _ in seen.broken) == ["crashes", "gemini", "half"]


def blocks(language: str) -> list[str]:
    """The code of that language in the documentation."""
    text = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_documentation_shows_the_example_as_it_is() -> None:
    assert (EXAMPLE / "echo_channel.py").read_text(encoding="utf-8") in blocks("python")
    assert (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8") in blocks("toml")


def test_the_documented_tests_pass(installed: Path) -> None:
    tests = next(block for block in blocks("python") if "def test_" in block)
    names = re.findall(r"def (test_\w+)", tests)
    assert names
    run(installed, tests + "".join(f"{name}()\n" for name in names))
