"""`twistd gptload` as a user types it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.parts.service import Service, free_port

TWISTD = str(Path(sys.executable).with_name("twistd"))
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(info|warn)\] .+")


def twistd(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TWISTD, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_documents_options_and_every_variable(tmp_path: Path) -> None:
    done = twistd(tmp_path, "gptload", "--help")
    assert done.returncode == 0
    assert "--version" in done.stdout
    example = (Path(__file__).parents[1] / ".env.example").read_text()
    variables = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    not_in_this_version = {"REDIS_DSN", "IS_SLAVE"}
    assert variables - set(re.findall(r"[A-Z_]+", done.stdout)) == not_in_this_version
    assert list(tmp_path.iterdir()) == []


def test_version_is_the_package_s(tmp_path: Path) -> None:
    from gptload._version import __version__

    assert twistd(tmp_path, "gptload", "--version").stdout == f"gptload {__version__}\n"


def test_every_wrong_variable_is_named_before_anything_listens_or_is_made(tmp_path: Path) -> None:
    port = str(free_port())
    (tmp_path / ".env").write_text(f"LOG_LEVEL=loud\nPORT={port}\n")
    done = twistd(
        tmp_path,
        "-n",
        "gptload",
        SERVER_READ_TIMEOUT="soon",
        DATABASE_DSN="postgres://me:hunter2@db",
    )
    assert done.returncode == 1
    assert done.stdout == ""
    first, *faults = done.stderr.splitlines()
    assert first == "gptload can't start: the configuration is wrong."
    assert [fault.split("=")[0].strip() for fault in faults] == [
        "DATABASE_DSN",
        "SERVER_READ_TIMEOUT",
        "LOG_LEVEL",
    ]
    assert "hunter2" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = twistd(tmp_path, "-n", "--pidfile=", "gptload", PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("gptload can't start: can't listen on 127.0.0.1")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    # Not even root makes a folder there.
    done = twistd(
        tmp_path, "-n", "--pidfile=", "gptload", PORT=str(free_port()), DATA_DIR="/proc/nowhere"
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "/proc/nowhere" in done.stderr


def test_log_lines_are_ours_alone_and_the_start_says_where_to_go(tmp_path: Path) -> None:
    service = Service(tmp_path, AUTH_KEY="sk-123456")
    service.start()
    service.stop()
    lines = service.log().splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert len(lines) == len(set(lines))
    text = "\n".join(lines)
    assert f"http://localhost:{service.port}/proxy/" in text
    assert "well-known default" in text
    assert "only this machine can connect" in text


def test_json_lines_from_the_first_to_the_last(tmp_path: Path) -> None:
    import json

    service = Service(tmp_path, LOG_FORMAT="json")
    service.start()
    service.stop()
    assert all(json.loads(line)["level"] for line in service.log().splitlines())


def test_a_user_may_still_choose_twistd_s_own_log(tmp_path: Path) -> None:
    """--logfile is where our lines go then; --logger is the user's."""
    process = subprocess.Popen(
        [TWISTD, "-n", "--pidfile=", "--logfile=mine.log", "gptload"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PORT": str(free_port())},
        stdout=subprocess.PIPE,
    )
    log = tmp_path / "mine.log"
    until = time.monotonic() + 30
    while not (log.exists() and "/proxy/" in log.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=30)
    assert told == b""
    assert all(LINE.fullmatch(line) for line in log.read_text().splitlines())


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
def test_with_the_default_key_only_this_machine_gets_in(tmp_path: Path, host: str) -> None:
    service = Service(tmp_path, AUTH_KEY="sk-123456", HOST=host).start()
    try:
        table = Path("/proc/net/tcp").read_text()
        assert f"0100007F:{service.port:04X} 00000000:0000 0A" in table
        assert f"00000000:{service.port:04X} 00000000:0000 0A" not in table
    finally:
        service.stop()
