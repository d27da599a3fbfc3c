"""Where log lines go, and that no secret goes with them.

Every line is scrubbed here, in the logger's path: whoever writes a log call need
not remember it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import orjson
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from zope.interface import implementer

from gptload.config import Config
from gptload.core.vault import scrub

_SYSTEM_FIELDS: Final = frozenset(
    "log_format log_level log_namespace log_time log_logger log_source log_system log_failure "
    "log_text log_trace log_flattened log_legacy message time isError format system why failure "
    "logLevel".split()
)


def text_line(event: LogEvent) -> str:
    """`2026-01-02 03:04:05 [info] words`, in the zone of `TZ`; a traceback follows."""
    when = datetime.fromtimestamp(event.get("log_time", 0.0)).strftime("%Y-%m-%d %H:%M:%S")
    level = event.get("log_level", LogLevel.info).name
    return scrub(f"{when} [{level}] {_words(event)}") + "\n"


def json_line(event: LogEvent) -> str:
    """One JSON object with `time`, `level`, `message`, `source` and the event's own fields."""
    when = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    line: dict[str, Any] = {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": event.get("log_level", LogLevel.info).name,
        "message": _words(event),
        "source": event.get("log_namespace", ""),
    }
    for name, value in event.items():
        if name not in _SYSTEM_FIELDS and name not in line:
            line[name] = value if isinstance(value, (int, float, bool)) else str(value)
    return scrub(orjson.dumps(line, default=str).decode()) + "\n"


def _words(event: LogEvent) -> str:
    words = formatEvent(event)
    failure = event.get("log_failure")
    if failure is None:
        return words
    return f"{words}\n{failure.getTraceback().rstrip()}" if words else failure.getTraceback()


@implementer(ILogObserver)
class Lines:
    """Writes one line an event to each of several files."""

    def __init__(self, files: Iterable[TextIO], line: Callable[[LogEvent], str]) -> None:
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


def make_observer(config: Config) -> ILogObserver:
    """The observer that a configuration asks for.

    A log file that can't be opened is a warning, not the end: the console has the lines.
    """
    files: list[TextIO] = [sys.stdout]
    trouble = ""
    if config.log_file is not None:
        try:
            files.append(_open(config.log_file))
        except OSError as error:
            trouble = f"LOG_FILE_PATH: {config.log_file} can't be written: {error.strerror}"
    lines = Lines(files, json_line if config.log_format == "json" else text_line)
    level = LogLevel.lookupByName(config.log_level)
    observer = FilteringLogObserver(lines, [LogLevelFilterPredicate(defaultLogLevel=level)])
    if trouble:
        now = datetime.now(UTC).timestamp()
        lines({"log_format": "{trouble}", "trouble": trouble, "log_level": LogLevel.warn,
               "log_time": now, "log_namespace": __name__})
    return observer


def _open(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a", encoding="utf-8", errors="backslashreplace")
