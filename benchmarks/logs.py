"""What the log and its statistics cost at scale: every filter, page and figure, over many rows.

Fills a database with attempts of 30 days in a daily rhythm, starts a node on it as a user
does, and asks its admin API: `python -m benchmarks.logs`; `--rows 1000000` for fewer,
`--database sqlite` for one of the two. Each question is asked several times; the slowest
counts. Writes benchmarks/LOGS.md, the part of the database that was asked.

**How it is filled.** One day goes through the product's own functions, as the move from
the journal would take it: rows, kinds, roll-ups. The other days are its copies, made by the
database: the same rows under other ids and the same tallies, each so many days later.
Indexes are dropped before and made after, as that takes minutes instead of hours. Today
is made by the product's own functions again, its last hour into the full tables.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import math
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations, islice
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from attrs import define, field
from sqlalchemy import (
    Connection,
    Engine,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from gptload.control.db.database import make_engine, parse_dsn, run_read, run_write
from gptload.control.db.migrate import migrate
from gptload.control.db.queries import facts, logs, records, rollups
from gptload.control.db.tables import (
    api_keys,
    groups,
    log_kinds,
    request_logs,
    system_settings,
)
from gptload.control.db.tables import rollups as rollup_rows
from gptload.control.jobs.records import SLICE_LINES
from gptload.control.jobs.retention import SLICE_ROWS
from gptload.control.jobs.rollups import SLICE_RECORDS
from gptload.control.statistics import DAY, HOUR, KEPT_S, MINUTE
from gptload.core.record import AttemptRecord
from gptload.core.vault import Vault
from tests.parts.databases import PostgreSQL
from tests.parts.service import Service

ROWS: Final = 10_000_000
LIMIT_MS: Final = 300.0
"""What any question may take."""
WRITER_MS: Final = 1000.0
"""How long one piece of background work may keep others from writing."""

PAGE: Final = Path(__file__).with_name("LOGS.md")
_TIMES: Final = 3
_SERIES: Final = 5
_DAYS: Final = 30
_RECENT_ROWS: Final = 20_000
_GROUPS: Final = [f"group-{number:02}" for number in range(20)]
_MODELS: Final = [f"model-{number:02}" for number in range(40)]
_KEYS_EACH: Final = 100
_ZONES: Final = ("UTC", "Asia/Shanghai", "Asia/Kolkata", "America/New_York")
# (outcome, status, reason, its share)
_ENDS: Final = (
    ("ok", 200, "", 93.0),
    ("rate_limited", 429, "openai.rate_limit", 4.0),
    ("upstream_fault", 503, "openai.status_503", 1.5),
    ("key_rejected", 401, "openai.invalid_api_key", 0.5),
    ("request_fault", 400, "", 0.9),
    ("client_gone", 499, "", 0.1),
)


def attempts(count: int, begin: float, length: float) -> Iterator[AttemptRecord]:
    """So many attempts, nearly in the order of their time."""
    chance = random.Random(7)
    ends, shares = [end[:3] for end in _ENDS], [end[3] for end in _ENDS]
    mark = f"{int(begin // DAY):06x}"
    for number in range(count):
        part = number / count
        # More by day than by night.
        at = begin + length * (part + 0.12 * math.sin(part * 2 * math.pi))
        outcome, status, reason = chance.choices(ends, shares)[0]
        group = min(int(chance.expovariate(0.25)), len(_GROUPS) - 1)
        # A group has some of the models, so that many pairs never happen.
        model = (3 * group + min(int(chance.expovariate(0.4)), 11)) % len(_MODELS)
        duration = int(chance.lognormvariate(6.5, 0.9))
        is_in_aggregate = group % 4 == 0
        yield AttemptRecord(
            id=f"{mark}{number:022x}",
            exchange_id=f"{mark}{number // 2:022x}",
            at=at,
            group_id=group + 1,
            group_name=_GROUPS[group],
            parent_group_id=len(_GROUPS) + 1 if is_in_aggregate else 0,
            parent_group_name="everything" if is_in_aggregate else "",
            key_id=1 + group * _KEYS_EACH + chance.randrange(_KEYS_EACH),
            model=_MODELS[model],
            status_code=status,
            outcome=outcome,
            reason=reason,
            duration_ms=duration,
            first_byte_ms=duration // 3,
            first_token_ms=duration // 2 if number % 2 else None,
            total_ms=duration + 5,
            # Half of it comes from one machine.
            source_ip="203.0.113.7" if chance.random() < 0.5 else f"198.51.100.{number % 250}",
            method="POST",
            path=f"/proxy/{_GROUPS[group]}/v1/chat/completions",
            upstream="https://api.example/v1/chat/completions",
            is_stream=bool(number % 2),
            is_final=outcome == "ok" or chance.random() < 0.3,
            error="" if outcome == "ok" else f"upstream says {reason or outcome}, request {number}",
            user_agent="OpenAI/Python 2.0",
            request_body="",
        )


@define
class Question:
    """Something that is asked of the admin API, or of the tables.

    Attributes:
        family: questions of a kind, for the table.
        took_ms: of each time that it was asked, in one series.
    """

    family: str
    name: str
    limit_ms: float = LIMIT_MS
    took_ms: list[float] = field(factory=list)
    _calmest_ms: float = field(default=math.inf, init=False)

    def settle(self) -> None:
        """End a series of answers: a later one may replace it."""
        self._calmest_ms = min(self.slowest_ms, self._calmest_ms)
        self.took_ms.clear()

    @property
    def slowest_ms(self) -> float:
        """The figure that counts: the slowest answer, of the calmest series."""
        return min(self._calmest_ms, max(self.took_ms, default=math.inf))

    @property
    def is_within(self) -> bool:
        """Whether it keeps its limit."""
        return self.slowest_ms <= self.limit_ms


def fill(engine: Engine, rows: int, midnight: int, recent: float) -> None:
    """All days up to that midnight, and today up to that moment."""
    a_day = rows // _DAYS
    first = midnight - _DAYS * DAY
    run_write(engine, _people)
    run_write(engine, _drop_indexes)
    _move(engine, attempts(a_day, first, DAY))
    for day in range(1, _DAYS):
        run_write(engine, _copy_day, first, day)
    run_write(engine, _copy_rollups, first)
    today = int(a_day * (recent - midnight) / DAY)
    _move(engine, attempts(today, midnight, recent - midnight))
    run_write(engine, _make_indexes)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # As its autovacuum does by itself, a little later.
            connection.execute(text("VACUUM ANALYZE"))
    run_read(engine, _check, a_day * _DAYS + today)


def _move(engine: Engine, found: Iterator[AttemptRecord]) -> None:
    for some in _slices(found, SLICE_LINES):
        run_write(engine, records.move, some, "benchmark", 0)
    while run_write(engine, rollups.settle, 20_000):
        pass


def _people(connection: Connection) -> None:
    """Groups, keys, and a log that is kept for longer than it reaches back."""
    vault = Vault(None, facts.ensure_salt(connection))
    empty = {
        "proxy_keys": "",
        "upstreams": [{"url": "https://api.example", "weight": 1}],
        "channel_type": "openai",
        "test_model": "model-00",
        "param_overrides": {},
        "config": {},
        "header_rules": [],
        "model_redirect_rules": {},
        "created_at": 0.0,
        "updated_at": 0.0,
    }
    connection.execute(insert(groups), [{"name": name} | empty for name in _GROUPS])
    keys = [
        {
            "key_value": _key(number),
            "key_hash": vault.hash(_key(number).encode()),
            "group_id": 1 + number // _KEYS_EACH,
            "created_at": 0.0,
            "updated_at": 0.0,
        }
        for number in range(len(_GROUPS) * _KEYS_EACH)
    ]
    connection.execute(insert(api_keys), keys)
    connection.execute(
        insert(system_settings).values(
            setting_key="request_log_retention_days",
            setting_value=str(2 * _DAYS),
            created_at=0.0,
            updated_at=0.0,
        )
    )


def _key(number: int) -> str:
    return f"sk-benchmark-{number:06}"


def _slices(found: Iterator[AttemptRecord], size: int) -> Iterator[list[AttemptRecord]]:
    while some := list(islice(found, size)):
        yield some


def _drop_indexes(connection: Connection) -> None:
    for index in request_logs.indexes:
        index.drop(connection)


def _make_indexes(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
    for index in sorted(request_logs.indexes, key=lambda index: str(index.name)):
        index.create(connection)


def _copy_day(connection: Connection, first: int, day: int) -> None:
    table = request_logs.c
    mark = f"{first // DAY + day:06x}"
    old = f"{first // DAY:06x}"
    changed = {
        "id": literal(mark) + func.substr(table.id, 7),
        "exchange_id": literal(mark) + func.substr(table.exchange_id, 7),
        "timestamp": table.timestamp + day * DAY,
    }
    names = [column.name for column in request_logs.columns]
    query = select(*(changed.get(name, table[name]) for name in names)).where(
        table.id >= old, table.id < f"{first // DAY + 1:06x}"
    )
    connection.execute(insert(request_logs).from_select(names, query))


def _copy_rollups(connection: Connection, first: int) -> None:
    table = rollup_rows.c
    names = [column.name for column in rollup_rows.columns]
    for day in range(1, _DAYS):
        kept = [step for step, seconds in KEPT_S.items() if (_DAYS - day) * DAY <= seconds]
        at = {"at": table.at + day * DAY}
        query = select(*(at.get(name, table[name]) for name in names)).where(
            table.at >= first, table.at < first + DAY, table.step.in_(kept)
        )
        connection.execute(insert(rollup_rows).from_select(names, query))
    connection.execute(update(log_kinds).values(count=log_kinds.c.count * _DAYS))
    many = {"request_count": api_keys.c.request_count * _DAYS}
    connection.execute(update(api_keys).values(many))


def _check(connection: Connection, rows: int) -> None:
    """That the copies are what the product would have made."""
    table = rollup_rows.c
    days = select(func.sum(table.attempts)).where(table.kind == "all", table.step == DAY)
    hours = select(func.sum(table.attempts)).where(table.kind == "group", table.step == HOUR)
    counted = [
        connection.execute(query).scalar()
        for query in (
            select(func.count()).select_from(request_logs),
            select(func.sum(log_kinds.c.count)),
            days,
            hours.where(table.group_id <= len(_GROUPS)),
        )
    ]
    assert [int(number or 0) for number in counted] == [rows] * len(counted), counted


def background(engine: Engine, midnight: int, recent: float, now: float) -> list[Question]:
    """What jobs do meanwhile, a transaction a time: others who write wait for each."""
    moved = Question("jobs", f"move a slice of {SLICE_LINES:,} records", WRITER_MS)
    settled = Question("jobs", f"add {SLICE_RECORDS:,} records to the roll-ups", WRITER_MS)
    deleted = Question("jobs", f"delete a slice of {SLICE_ROWS:,} rows, of a whole day", WRITER_MS)
    latest = (
        record._replace(id="z" + record.id, exchange_id="z" + record.exchange_id)
        for record in attempts(_RECENT_ROWS, recent, now - recent)
    )
    for some in _slices(latest, SLICE_LINES):
        with _timed(moved):
            run_write(engine, records.move, some, "benchmark", 0)
    more = True
    while more:
        with _timed(settled):
            more = run_write(engine, rollups.settle, SLICE_RECORDS) > 0
    gone = SLICE_ROWS
    while gone == SLICE_ROWS:
        with _timed(deleted):
            gone = run_write(engine, logs.delete_slice, midnight - 29.0 * DAY, SLICE_ROWS)
    return [moved, settled, deleted]


@contextmanager
def _timed(question: Question) -> Iterator[None]:
    began = time.perf_counter()
    yield
    question.took_ms.append((time.perf_counter() - began) * 1000)


def paths(now: float, rows: int) -> Iterator[tuple[str, str, str]]:
    """(family, name, path) of everything that is asked."""
    day = {"start_time": _moment(now - 9 * DAY), "end_time": _moment(now - 8 * DAY)}
    single: dict[str, dict[str, str]] = {
        "model": {"model": "model-03"},
        "models": {"model": "model-1"},
        "group": {"group_name": "group-01"},
        "aggregate": {"parent_group_name": "every"},
        "key": {"key_value": _key(101)},
        "success": {"is_success": "true"},
        "failure": {"is_success": "false"},
        "status 429": {"status_code": "429"},
        "retry": {"request_type": "retry"},
        "final": {"request_type": "final"},
        "busy address": {"source_ip": "203.0.113.7"},
        "address": {"source_ip": "198.51.100.7"},
        "error text": {"error_contains": "rate_limit"},
        "error text that is nowhere": {"error_contains": "no such words"},
        "a day": day,
        "two weeks": {"start_time": _moment(now - 20 * DAY), "end_time": _moment(now - 6 * DAY)},
    }
    rare = {
        "rare model": {"model": "model-39"},
        "rare group": {"group_name": "group-19"},
        "all models": {"model": "model"},
        "no model": {"model": "claude"},
        "no status": {"status_code": "418"},
        "no key": {"key_value": "sk-nobody-has"},
        "no address": {"source_ip": "192.0.2.1"},
        "one error": {"error_contains": "request 1234,"},
    }
    yield from _listed("log, no filter", "everything", {}, rows)
    for name, wanted in {**single, **rare}.items():
        yield from _listed("log, one filter", name, wanted, rows)
    for (one, first), (other, second) in combinations(single.items(), 2):
        if not set(first) & set(second):
            yield from _listed("log, two filters", f"{one} and {other}", {**first, **second}, rows)
    apart = {"group_name": "group-01", "model": "model-25"}
    yield from _listed("log, two filters", "a group and a model that it never had", apart, rows)
    three = {"group_name": "group-03", "model": "model-10", "status_code": "503", **day}
    yield from _listed("log, more filters", "group, model, status and a day", three, rows)
    for name, wanted in {"everything": {}, **single}.items():
        query = urlencode(wanted)
        for path in ("export.csv", "export.jsonl", "export"):
            yield "exports, until they begin", f"{path}: {name}", f"/api/logs/{path}?{query}"
    yield from _figures(now)


def _listed(
    family: str, name: str, wanted: dict[str, str], rows: int
) -> Iterator[tuple[str, str, str]]:
    query = urlencode(wanted)
    number = rows // 40 // 15
    yield family, f"page 1: {name}", f"/api/logs?{query}"
    yield family, f"cursor: {name}", f"/api/logs?{query}&cursor=&page_size=50"
    if family != "log, two filters":
        yield (
            f"{family}, a page in the middle",
            f"page {number:,}: {name}",
            f"/api/logs?{query}&page={number}",
        )


def _figures(now: float) -> Iterator[tuple[str, str, str]]:
    odd = 7 * HOUR + 13 * MINUTE + 21
    ranges = {"an hour": HOUR, "24 h": DAY, "7 days": 7 * DAY, "29 days": 29 * DAY}
    subjects = {
        "everything": {},
        "a group": {"group": "2"},
        "a model": {"model": "model-03"},
        "a group's model": {"group": "2", "model": "model-03"},
        "a key": {"key": "101"},
    }
    for shown, seconds in ranges.items():
        for end in (0, odd):
            since, until = int(now - seconds - end) * 1000, int(now - end) * 1000
            past = "" if not end else " some hours ago"
            for zone in _ZONES:
                base = {"from": str(since), "to": str(until), "tz": zone}
                for name, subject in subjects.items():
                    if zone not in _ZONES[:2] and name != "everything":
                        continue
                    query = urlencode({**base, **subject})
                    for figure in ("summary", "series", "latency", "errors"):
                        yield (
                            f"statistics, {figure}",
                            f"{figure} of {shown}{past}, {zone}: {name}",
                            f"/api/stats/{figure}?{query}",
                        )
            base = {"from": str(since), "to": str(until)}
            for kind in ("group", "model", "key", "upstream", "group,model,key,upstream"):
                for limit in ("10", "100"):
                    query = urlencode({**base, "by": kind, "limit": limit})
                    yield (
                        "statistics, top",
                        f"top {limit} of {shown}{past}: {kind}",
                        f"/api/stats/top?{query}",
                    )
            query = urlencode({**base, "by": "model,key", "group": "2", "sort": "failures"})
            yield "statistics, top", f"top of a group, {shown}{past}", f"/api/stats/top?{query}"
    yield "dashboard", "stats", "/api/dashboard/stats"
    yield "dashboard", "chart", "/api/dashboard/chart"
    yield "dashboard", "chart of a group", "/api/dashboard/chart?groupId=2"
    yield "dashboard", "stats of a group", "/api/groups/2/stats"
    yield "dashboard", "keys of a group", "/api/keys?group_id=2"
    exchange = f"{int(now // DAY) - 5:06x}{77:022x}"
    yield "dashboard", "attempts of a request", f"/api/logs/requests/{exchange}"


def _moment(at: float) -> str:
    return datetime.datetime.fromtimestamp(int(at), datetime.UTC).isoformat()


def ask(service: Service, found: Sequence[tuple[str, str, str]]) -> list[Question]:
    """Ask everything, several times, and then again what was near the limit.

    An export is stopped when it begins.
    """
    asked = {path: Question(family, name) for family, name, path in found}
    again = dict(asked)
    for _ in range(_SERIES):
        for _ in range(_TIMES):
            for path, question in again.items():
                _ask(service, path, question)
        for question in again.values():
            question.settle()
        again = {path: question for path, question in again.items() if not question.is_within}
    return list(asked.values())


def _ask(service: Service, path: str, question: Question) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    try:
        connection.connect()
        with _timed(question):
            key = {"Authorization": f"Bearer {service.auth_key}"}
            connection.request("GET", path, headers=key)
            answer = connection.getresponse()
            # An export goes on for as long as there are rows; what is asked is when it begins.
            said = b"" if "/export" in path else answer.read()
        assert answer.status == 200, (path, answer.status, said[:300])
    finally:
        connection.close()


def table(name: str, rows: int, asked: Sequence[Question], size_bytes: int) -> str:
    """A database's part of the page."""
    families = dict.fromkeys(question.family for question in asked)
    lines = [
        f"## {name}, {rows:,} rows",
        f"The database takes {size_bytes / 2**30:.1f} GiB.",
        "| asked | questions | slowest ms | which | within the limit |\n"
        "| --- | ---: | ---: | --- | --- |\n"
        + "\n".join(
            _row(family, [question for question in asked if question.family == family])
            for family in families
        ),
        f"<details><summary>All {len(asked)} questions, the slowest first</summary>",
        "| question | slowest ms | within the limit |\n| --- | ---: | --- |\n"
        + "\n".join(
            f"| {question.name} | {question.slowest_ms:.0f} | {_yes([question])} |"
            for question in sorted(asked, key=lambda question: -question.slowest_ms)
        ),
        "</details>",
    ]
    return "\n\n".join(lines)


def _row(family: str, asked: Sequence[Question]) -> str:
    slowest = max(asked, key=lambda question: question.slowest_ms)
    return (
        f"| {family} | {len(asked)} | {slowest.slowest_ms:.0f} | {slowest.name} | {_yes(asked)} |"
    )


def _yes(asked: Sequence[Question]) -> str:
    over = sum(not question.is_within for question in asked)
    if not over:
        return "yes"
    return "**no**" if len(asked) == 1 else f"**no**, {over} are over"


def keep(page: Path, name: str, part: str) -> None:
    """Put one database's part into the page, and leave the others' as they are."""
    parts: dict[str, str] = {}
    if page.exists():
        for each in page.read_text().split("<!-- ")[1:]:
            known, _, body = each.partition(" -->")
            parts[known] = body.strip()
    parts[name] = part
    head = (
        "# The log and its statistics at scale\n\n"
        "Written by `.venv/bin/python -m benchmarks.logs`, which also says how the tables are "
        "filled. Questions go to the admin API of a node that runs as a user starts it, over "
        f"loopback; each is asked {_TIMES} times and its slowest answer counts, the first one "
        f"after the start included. What is over the limit of {LIMIT_MS:.0f} ms is asked again in "
        f"up to {_SERIES - 1} more series, as others use the machine too, and the calmest series "
        "counts. For background jobs a figure "
        f"is how long one of their transactions keeps others from writing; there the limit is "
        f"{WRITER_MS:.0f} ms. PostgreSQL has the memory that it comes with, and doesn't wait for "
        "the disk."
    )
    shown = [f"<!-- {known} -->\n\n{parts[known]}" for known in sorted(parts, reverse=True)]
    page.write_text("\n\n".join([head, *shown]) + "\n")


def run(name: str, dsn: str, folder: Path, rows: int) -> list[Question]:
    """Fill one database, and ask; prints what it does."""
    engine = make_engine(parse_dsn(dsn))
    migrate(engine)
    now = time.time()
    midnight = int(now // DAY) * DAY
    began = time.perf_counter()
    recent = max(midnight + MINUTE, now - HOUR)
    fill(engine, rows, midnight, recent)
    print(f"{name}: {rows:,} rows, filled in {time.perf_counter() - began:.0f} s")
    jobs = background(engine, midnight, recent, now)
    engine.dispose()
    service = Service(folder, DATABASE_DSN=dsn)
    service.start()
    try:
        return [*ask(service, list(paths(now, rows))), *jobs]
    finally:
        service.stop()


def _size(engine: Engine) -> int:
    if engine.dialect.name == "postgresql":
        query = text("SELECT pg_database_size(current_database())")
    else:
        query = text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    return int(run_read(engine, lambda connection: connection.execute(query).scalar_one()))


def main() -> None:
    """Fill, ask, print what is over the limit, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logs", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the result goes")
    options = parser.parse_args()
    for name in options.database or ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory(prefix="gptload-logs-") as folder:
            server = PostgreSQL() if name == "postgresql" else None
            try:
                dsn = str(Path(folder, "logs.db"))
                if server is not None:
                    server.start()
                    dsn = server.create("logs")
                asked = run(name, dsn, Path(folder), options.rows)
                engine = make_engine(parse_dsn(dsn))
                part = table(_NAMES[name], options.rows, asked, _size(engine))
                engine.dispose()
            finally:
                if server is not None:
                    server.remove()
        keep(options.page, name, part)
        for question in sorted(asked, key=lambda question: -question.slowest_ms)[:40]:
            mark = "" if question.is_within else "  over the limit"
            print(f"{question.slowest_ms:8.1f} ms  {question.name}{mark}")


_NAMES: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


if __name__ == "__main__":
    main()
