"""One line an event, in the asked form, without secrets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger

from gptload.config import Config
from gptload.observers import make_observer

SECRET = "sk-proj-AbCdEf0123456789xyz"


def observed(**environ: str) -> tuple[Logger, io.StringIO]:
    console = io.StringIO()
    observer = make_observer(Config.from_environ(environ), console)
    return Logger("gptload.test", observer=observer), console


def test_a_text_line_has_time_level_and_words() -> None:
    log, console = observed()
    log.warn("Group {name} is dry", name="openai")
    assert console.getvalue().endswith(" [warn] Group openai is dry\n")
    date, time, _ = console.getvalue().split(" ", 2)
    assert (len(date), len(time)) == (10, 8)


def test_a_json_line_has_the_events_own_fields() -> None:
    log, console = observed(LOG_FORMAT="json")
    log.error("Upstream {host} failed {count} times", host="api.example", count=3, obj=Path("x"))
    line = json.loads(console.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "error",
        "message": "Upstream api.example failed 3 times",
        "source": "gptload.test",
        "host": "api.example",
        "count": 3,
        "obj": "x",
    }


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", "dibwec"), ("info", "iwec"), ("warn", "wec"), ("error", "ec"), ("fatal", "c")],
)
def test_lines_below_the_level_are_dropped(level: str, shown: str) -> None:
    log, console = observed(LOG_LEVEL=level)
    log.debug("d")
    log.info("i")
    log.warn("w")
    log.error("e")
    log.critical("c")
    got = [line[-1] for line in console.getvalue().splitlines()]
    assert got == [letter for letter in shown if letter != "b"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_holds_a_credential(form: str) -> None:
    """Not in the words, not in a field, not in the traceback of an unexpected error."""
    log, console = observed(LOG_FORMAT=form)
    log.info(f"Authorization: Bearer {SECRET}")
    log.info("GET {url}", url=f"/v1/models?key={SECRET}&alt=sse", other=SECRET)
    try:
        raise ValueError(f"no such key: {SECRET}")
    except ValueError:
        log.failure("Broken")
    text = console.getvalue()
    assert SECRET not in text
    assert "alt=sse" in text
    assert "ValueError: no such key" in text
    assert "Traceback" in text


def test_the_public_default_key_may_be_shown() -> None:
    log, console = observed()
    log.info("sign in with sk-123456")
    assert "sk-123456" in console.getvalue()


@given(form=st.sampled_from(["text", "json"]), words=st.text(st.characters(exclude_categories=())))
def test_what_a_client_sent_never_makes_a_second_line(form: str, words: str) -> None:
    log, console = observed(LOG_FORMAT=form)
    log.info("{words}", words=words)
    text = console.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    if form == "text":
        assert len(text.splitlines()) == 1
        assert "\x1b" not in text
    text.encode()  # what a file can't take would be lost


def test_a_file_is_appended_to_beside_the_console(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "app.log"
    environ = {"LOG_ENABLE_FILE": "true", "LOG_FILE_PATH": str(path)}
    for words in ("one", "two"):
        log, console = observed(**environ)
        log.info(words)
        assert console.getvalue().endswith(f"{words}\n")
    assert [line[-3:] for line in path.read_text().splitlines()] == ["one", "two"]


def test_a_log_file_that_cannot_be_opened_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log, console = observed(LOG_ENABLE_FILE="true", LOG_FILE_PATH=str(tmp_path / "file" / "x.log"))
    assert "[warn] LOG_FILE_PATH:" in console.getvalue()
    log.info("on we go")
    assert "on we go" in console.getvalue()


def test_a_full_disk_does_not_stop_the_service() -> None:
    config = Config.from_environ({"LOG_ENABLE_FILE": "true", "LOG_FILE_PATH": "/dev/full"})
    console = io.StringIO()
    log = Logger("gptload.test", observer=make_observer(config, console))
    log.info("on we go")
    assert "on we go" in console.getvalue()
