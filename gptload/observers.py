"""Where log lines go, and that no secret goes with them.

Every line is scrubbed here, in the logger's path: whoever writes a log call need
not remember it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

import orjson
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from zope.interface import implementer

from gptload.config import Config
from gptload.core.vault import scrub

# What Twisted itself puts into an event; the rest are the fields of whoever logged it.
_TWISTED_FIELDS: Final = frozenset(
    "log_format log_level log_namespace log_time log_logger log_source log_system log_failure "
    "log_text log_trace log_flattened log_legacy log_io log_isError log_id message time isError "
    "format system why failure logLevel".split()
)


# A message may quote what a client sent: a line break in it must not look like a line of
# ours, and an escape sequence must not reach a terminal.
_BREAKS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LineFile(Protocol):
    """What lines are written to."""

    def write(self, text: str, /) -> object:
        """Take a line."""

    def flush(self) -> object:
        """Let others see it."""


def text_line(event: LogEvent) -> str:
    """`2026-01-02 03:04:05 [info] words`, in the zone of `TZ`; a traceback follows."""
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC).astimezone()
    words = _BREAKS.sub(lambda found: _escaped(found[0]), _words(event))
    line = f"{moment:%Y-%m-%d %H:%M:%S} [{_level(event)}] {words}"
    trace = _trace(event)
    return _clean(f"{line}\n{trace}" if trace else line) + "\n"


def json_line(event: LogEvent) -> str:
    """One JSON object with `time`, `level`, `message`, `source` and the event's own fields."""
    when = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    line: dict[str, Any] = {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": _level(event),
        "message": _words(event),
        "source": event.get("log_namespace", ""),
    }
    trace = _trace(event)
    if trace:
        line["traceback"] = trace
    for name, value in event.items():
        if name not in _TWISTED_FIELDS and name not in line:
            line[name] = value if isinstance(value, int | float | bool) else str(value)
    # Text by text: what hides a secret in escaped JSON may end in the middle of an escape.
    return (
        orjson.dumps(
            {
                name: scrub(value) if isinstance(value, str) else value
                for name, value in line.items()
            }
        ).decode()
        + "\n"
    )


def _clean(text: str) -> str:
    """Without secrets, and without the halves of characters that no file takes."""
    return scrub(text.encode("utf-8", "backslashreplace").decode())


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode()


def _level(event: LogEvent) -> str:
    return str(event.get("log_level", LogLevel.info).name)


def _words(event: LogEvent) -> str:
    return str(formatEvent(event))


def _trace(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return str(failure.getTraceback()).rstrip() if failure is not None else ""


@implementer(ILogObserver)
class Lines:
    """Writes one line an event to each of several files."""

    def __init__(self, files: Iterable[LineFile], line: Callable[[LogEvent], str]) -> None:
        self._files = list(files)
        self._line = line

    def __call__(self, event: LogEvent) -> None:
        text = self._line(event)
        for file in self._files:
            try:
                file.write(text)
                file.flush()
            except (OSError, ValueError):
                continue  # a full disk or a closed pipe must not stop the service


def make_observer(config: Config, console: LineFile) -> ILogObserver:
    """The observer that a configuration asks for.

    A log file that can't be opened is a warning, not the end: the console has the lines.
    """
    files: list[LineFile] = [console]
    trouble = ""
    if config.log_file is not None:
        try:
            files.append(_open(config.log_file))
        except OSError as error:
            trouble = error.strerror or type(error).__name__
    lines = Lines(files, json_line if config.log_format == "json" else text_line)
    level = LogLevel.lookupByName(config.log_level)
    observer = FilteringLogObserver(lines, [LogLevelFilterPredicate(defaultLogLevel=level)])
    if trouble:
        Logger(observer=observer).warn(
            "LOG_FILE_PATH: {path} can't be written, {trouble}; log lines go to the console only",
            path=config.log_file,
            trouble=trouble,
        )
    return observer


def _open(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a", encoding="utf-8", errors="backslashreplace")
