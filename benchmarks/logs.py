"""What the log and its statistics cost at scale: every filter, page and figure, over many rows.

Fills a database with attempts of 30 days in a daily rhythm, then asks what the admin API
asks: `python -m benchmarks.logs --rows 1000000`, and `--dsn` for another database than a
new SQLite file. Each question is asked three times; the slowest counts.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from sqlalchemy import Engine, insert

from gptload.control.db.database import make_engine, parse_dsn, run_read, run_write
from gptload.control.db.migrate import migrate
from gptload.control.db.queries import logs, records, rollups, statistics
from gptload.control.db.tables import request_logs
from gptload.control.statistics import (
    DAY,
    EVERYTHING,
    HOUR,
    MOST_SUBJECTS,
    axis,
    kept_s,
    of_group,
    of_model,
    spans,
)
from gptload.core.record import AttemptRecord
from gptload.core.vault import Vault

ROWS: Final = 10_000_000
LIMIT_MS: Final = 300.0
"""What any of them may take."""

_BATCH: Final = 20_000
_TIMES: Final = 3
_DAYS: Final = 30
_GROUPS: Final = [f"group-{number:02}" for number in range(20)]
_MODELS: Final = [f"model-{number:02}" for number in range(40)]
_KEYS: Final = 2_000
# (outcome, status, reason, its share)
_ENDS: Final = (
    ("ok", 200, "", 93.0),
    ("rate_limited", 429, "openai.rate_limit", 4.0),
    ("upstream_fault", 503, "openai.status_503", 1.5),
    ("key_rejected", 401, "openai.invalid_api_key", 0.5),
    ("request_fault", 400, "", 0.9),
    ("client_gone", 499, "", 0.1),
)


def attempts(rows: int, now: float, chance: random.Random) -> Iterator[AttemptRecord]:
    """So many attempts, the oldest first, nearly in the order of their time."""
    names, shares = [end[:3] for end in _ENDS], [end[3] for end in _ENDS]
    for number in range(rows):
        part = number / rows
        # More by day than by night, and no two at one moment.
        at = now - _DAYS * DAY * (1 - part) + 4 * HOUR * math.sin(part * _DAYS * 2 * math.pi)
        outcome, status, reason = chance.choices(names, shares)[0]
        group = min(int(chance.expovariate(0.25)), len(_GROUPS) - 1)
        duration = int(chance.lognormvariate(6.5, 0.9))
        is_final = outcome == "ok" or chance.random() < 0.3
        yield AttemptRecord(
            id=f"{number:036x}",
            exchange_id=f"{number // 2:036x}",
            at=at,
            group_id=group + 1,
            group_name=_GROUPS[group],
            parent_group_id=100 if group % 4 == 0 else 0,
            parent_group_name="everything" if group % 4 == 0 else "",
            key_id=1 + group * 100 + number % (_KEYS // len(_GROUPS)),
            model=_MODELS[min(int(chance.expovariate(0.15)), len(_MODELS) - 1)],
            status_code=status,
            outcome=outcome,
            reason=reason,
            duration_ms=duration,
            first_byte_ms=duration // 3,
            total_ms=duration + 5,
            source_ip=f"203.0.113.{chance.randrange(250)}",
            method="POST",
            path=f"/proxy/{_GROUPS[group]}/v1/chat/completions",
            upstream="https://api.example/v1/chat/completions",
            is_stream=bool(number % 2),
            is_final=is_final,
            error="" if outcome == "ok" else f"upstream says {reason}, request {number}",
            user_agent="OpenAI/Python 2.0",
            request_body="",
        )


def fill(engine: Engine, rows: int, now: float) -> None:
    """Rows and roll-ups, as the move from the journal would leave them behind."""
    chance = random.Random(7)
    batch: list[AttemptRecord] = []
    done = 0
    for record in attempts(rows, now, chance):
        batch.append(record)
        if len(batch) == _BATCH:
            run_write(engine, _write, batch)
            done += len(batch)
            batch = []
            print(f"\r{done:,} rows", end="", flush=True)
    if batch:
        run_write(engine, _write, batch)
    print(f"\r{rows:,} rows")


def _write(connection: Any, batch: list[AttemptRecord]) -> None:
    rows = [records.row_of(record, "", f"{record.key_id:064x}") for record in batch]
    connection.execute(insert(request_logs), rows)
    rollups.add(connection, batch)


@define
class Question:
    """Something that the admin API asks.

    Attributes:
        took_ms: of each time that it was asked.
    """

    name: str
    ask: Callable[[Any], object]
    took_ms: list[float] = field(factory=list)


def questions(now: float, rows: int) -> Iterator[Question]:
    """Every filter, kind of page and statistic."""
    vault = Vault(None, b"salt of the benchmark")
    filters = {
        "no filter": logs.Filter(),
        "model, one": logs.Filter(model="model-07"),
        "model, some": logs.Filter(model="model-1"),
        "model, all": logs.Filter(model="model"),
        "model, none": logs.Filter(model="claude"),
        "group": logs.Filter(group_name="group-05"),
        "group, rare": logs.Filter(group_name="group-19"),
        "aggregate": logs.Filter(parent_group_name="every"),
        "key": logs.Filter(key="sk-nobody-has"),
        "success": logs.Filter(is_success=True),
        "failures": logs.Filter(is_success=False),
        "status 429": logs.Filter(status_code=429),
        "status 418, none": logs.Filter(status_code=418),
        "retries": logs.Filter(request_type="retry"),
        "final": logs.Filter(request_type="final"),
        "address": logs.Filter(source_ip="203.0.113.7"),
        "error text, many": logs.Filter(error="rate_limit"),
        "error text, one": logs.Filter(error="request 1234,"),
        "a day": logs.Filter(since=now - 9 * DAY, until=now - 8 * DAY),
        "a day's failures of a group": logs.Filter(
            group_name="group-02", is_success=False, since=now - 9 * DAY, until=now - 8 * DAY
        ),
        "group, model and status": logs.Filter(
            group_name="group-03", model="model-02", status_code=503
        ),
    }
    middle = logs.Place(now - _DAYS * DAY / 2, "")
    for name, wanted in filters.items():
        yield Question(f"page 1: {name}", _page(vault, wanted, 0))
        yield Question(f"cursor: {name}", _stretch(vault, wanted, None))
    for name in ("no filter", "failures", "model, some"):
        yield Question(f"page in the middle: {name}", _page(vault, filters[name], rows // 40))
        yield Question(f"cursor in the middle: {name}", _stretch(vault, filters[name], middle))
    subjects = {
        "everything": EVERYTHING,
        "a group": of_group(3),
        "a model": of_model("model-02"),
    }
    for days in (1 / 24, 1, 7, 30):
        ranges = spans(now - days * DAY, now, now)
        line = axis(now - days * DAY, now, now)
        shown = f"{days * 24:.0f} h"
        for name, subject in subjects.items():
            yield Question(
                f"summary of {shown}: {name}",
                lambda c, s=subject, r=ranges: statistics.tally(c, s, r),  # type: ignore[misc]
            )
            yield Question(
                f"series of {shown}: {name}",
                lambda c, s=subject, x=line: statistics.points(c, s, x),  # type: ignore[misc]
            )
        for kind in MOST_SUBJECTS:
            kinds = spans(now - days * DAY, now, now, kept_s(kind))
            yield Question(f"top of {shown}: {kind}", _top(kind, kinds))
    yield Question(
        "dashboard: requests of 10 minutes",
        lambda c: statistics.count_exchanges(c, now - 600, now),
    )
    yield Question("dashboard: chart", lambda c: statistics.hourly(c, now - DAY, now))


def _page(vault: Vault, wanted: logs.Filter, offset: int) -> Callable[[Any], object]:
    return lambda connection: logs.page(connection, vault, wanted, offset=offset, limit=15)


def _stretch(
    vault: Vault, wanted: logs.Filter, after: logs.Place | None
) -> Callable[[Any], object]:
    return lambda connection: logs.stretch(connection, vault, wanted, after, 50)


def _top(kind: str, ranges: Any) -> Callable[[Any], object]:
    return lambda connection: statistics.top(
        connection, kind, ranges, [], group_id=None, by_failures=False, limit=10
    )


def measure(engine: Engine, asked: list[Question]) -> None:
    """Ask everything, several times."""
    for _ in range(_TIMES):
        for question in asked:
            began = time.perf_counter()
            run_read(engine, question.ask)
            question.took_ms.append((time.perf_counter() - began) * 1000)


def main() -> None:
    """Fill, ask, and print a line a question, the slowest first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logs", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--dsn", help="an empty database; unset, a new SQLite file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gptload-logs-") as folder:
        engine = make_engine(parse_dsn(options.dsn or str(Path(folder, "logs.db"))))
        migrate(engine)
        now = time.time() // 60 * 60
        began = time.perf_counter()
        fill(engine, options.rows, now)
        print(f"filled in {time.perf_counter() - began:.0f} s")
        asked = list(questions(now, options.rows))
        measure(engine, asked)
        engine.dispose()
    asked.sort(key=lambda question: -max(question.took_ms))
    for question in asked:
        slowest = max(question.took_ms)
        mark = "  over the limit" if slowest > LIMIT_MS else ""
        print(f"{slowest:8.1f} ms  {question.name}{mark}")


if __name__ == "__main__":
    main()
