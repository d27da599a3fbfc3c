"""A database as it is after a month's work: many groups, keys in all states, a long log.

`python -m benchmarks.seed data/gptload.db`, then start gptload on it. The log goes through
the product's own functions, as if it had come by its journal, and statistics are tallied by
them, so both agree; `--rows`, `--keys`, `--groups` and `--days` for less. Calls come in the
rhythm of days and weeks, and some things went wrong: an outage, a quota, slow hours, keys that
were revoked.
"""

from __future__ import annotations

import argparse
import math
import random
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from attrs import field, frozen
from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update
from tqdm import tqdm

from gptload.control.db.database import make_engine, parse_dsn, run_write
from gptload.control.db.migrate import migrate
from gptload.control.db.queries import facts as installation
from gptload.control.db.queries import records
from gptload.control.db.tables import (
    api_keys,
    group_sub_groups,
    groups,
    key_changes,
    request_logs,
    rollup_pending,
    system_settings,
)
from gptload.control.db.tables import rollups as rollup_rows
from gptload.control.jobs.records import SLICE_LINES
from gptload.control.statistics import (
    DAY,
    HOUR,
    MINUTE,
    MOST_SUBJECTS,
    OTHERS,
    STEPS,
    Subject,
    Tally,
    coarser,
    fold,
    kept_s,
)
from gptload.core.record import AttemptRecord, decode
from gptload.core.vault import Vault

GROUPS: Final = 20
KEYS: Final = 100_000
ROWS: Final = 1_000_000
DAYS: Final = 30

_SLOT_S: Final = 10 * MINUTE
_ROWS_A_STATEMENT: Final = 1000
_AT_WEEKENDS: Final = 0.45
_TRIES: Final = 3
_NEW_CONNECTIONS: Final = 0.1  # of attempts; the others find one that was kept

# (channel, upstream, models, words in names)
_CHANNELS: Final = (
    (
        "openai",
        "https://api.openai.com",
        ("gpt-4.1-mini", "gpt-4.1", "gpt-4o-mini", "o4-mini"),
        ("openai-main", "openai-batch", "openai-eu", "openai-evals", "deepseek", "openrouter"),
    ),
    (
        "gemini",
        "https://generativelanguage.googleapis.com",
        ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite"),
        ("gemini-free", "gemini-paid", "gemini-vision", "gemini-batch"),
    ),
    (
        "anthropic",
        "https://api.anthropic.com",
        ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1"),
        ("claude-team", "claude-code", "claude-research"),
    ),
    (
        "openai-response",
        "https://api.openai.com",
        ("gpt-5-mini", "gpt-5"),
        ("agents", "agents-staging"),
    ),
)
_PATHS: Final = {
    "openai": "/v1/chat/completions",
    "openai-response": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
}
_PREFIXES: Final = {
    "openai": "sk-proj-",
    "openai-response": "sk-proj-",
    "anthropic": "sk-ant-api03-",
    "gemini": "AIzaSy",
}
_AGENTS: Final = (
    "OpenAI/Python 2.8.1",
    "Anthropic/Python 0.75.0",
    "google-genai-sdk/1.52.0",
    "node-fetch",
    "curl/8.14.1",
)
# (outcome, status, reason, words, its share of a day without incidents)
_FAULTS: Final = (
    ("rate_limited", 429, "rate_limit", "Rate limit reached for requests per min", 0.011),
    ("upstream_fault", 503, "status_503", "The server is overloaded, try again later", 0.003),
    ("request_fault", 400, "", "Invalid value for 'temperature'", 0.003),
    ("key_rejected", 401, "invalid_api_key", "Incorrect API key provided", 0.0006),
    ("client_gone", 499, "", "the client left", 0.0008),
)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@frozen
class Group:
    """A standard group: what records say of it, and the ids of its keys.

    Attributes:
        share: of all calls.
        parent: (id, name) of the aggregate that half of its calls come through.
    """

    id: int
    name: str
    channel: str
    upstream: str
    models: Sequence[str]
    share: float
    keys: range
    parent: tuple[int, str] | None = None


@frozen
class Incident:
    """A time in which something was wrong.

    Attributes:
        begin, end: epoch seconds.
        group: whose; "" for everybody's.
        fault: (outcome, status, reason, words) and its share of the attempts, or none.
        slower: by what calls take longer.
    """

    begin: float
    end: float
    group: str = ""
    fault: tuple[str, int, str, str] | None = None
    share: float = 0.0
    slower: float = 1.0


@frozen
class Plan:
    """How much of everything, and when.

    Attributes:
        now: epoch seconds; the log ends there.
        upstream: in the place of the providers' addresses; "" keeps those.
    """

    now: float
    groups: int = GROUPS
    keys: int = KEYS
    rows: int = ROWS
    days: int = DAYS
    upstream: str = ""
    chance: random.Random = field(factory=lambda: random.Random(7))


def seed(engine: Engine, plan: Plan, password: str | None = None) -> None:
    """Fill a migrated database that is empty.

    Args:
        password: the ENCRYPTION_KEY that the node will have; None for none.
    """
    found = run_write(engine, _groups, plan)
    run_write(engine, _keys, found, plan, password)
    # Made after the rows: in the middle of a million, each row would cost several times as much.
    indexes = sorted(request_logs.indexes, key=lambda index: str(index.name))
    run_write(engine, lambda connection: [index.drop(connection) for index in indexes])
    calls = attempts(plan, found)
    day: list[AttemptRecord] = []
    with tqdm(total=plan.rows, desc="log", unit="row", unit_scale=True) as bar:
        while some := list(islice(calls, SLICE_LINES)):
            run_write(engine, records.move, some, "seed", 0)
            day += run_write(engine, _put_down)
            end = (day[0].at // DAY + 1) * DAY
            if some[-1].at > end + HOUR:  # no later attempt belongs to that day
                run_write(engine, _count, [one for one in day if one.at < end], plan.now)
                day = [one for one in day if one.at >= end]
            bar.update(len(some))
    for at in sorted({one.at // DAY for one in day}):
        run_write(engine, _count, [one for one in day if one.at // DAY == at], plan.now)
    run_write(engine, lambda connection: [index.create(connection) for index in indexes])
    run_write(engine, _states, plan, found)


def _count(connection: Connection, day: Sequence[AttemptRecord], now: float) -> None:
    """One day's tallies, each slot written once: many times as fast as slice by slice.

    Slots of which the retention would delete the rows at once are left out.
    """
    minutes = fold(day)
    for step in STEPS:
        slots: defaultdict[tuple[str, int], dict[Subject, Tally]] = defaultdict(dict)
        for (at, subject), tally in coarser(minutes, step).items():
            if at >= now - kept_s(subject.kind).get(step, 0):
                slots[subject.kind, at][subject] = tally
        rows: list[dict[str, Any]] = []
        for (kind, at), tallies in slots.items():
            others = Subject(kind, OTHERS)
            for subject in list(tallies)[MOST_SUBJECTS[kind] :]:
                tallies.setdefault(others, Tally()).add(tallies.pop(subject))
            rows += [
                {
                    "kind": kind,
                    "step": step,
                    "at": at,
                    "subject": subject.id,
                    "group_id": subject.group_id,
                    "name": subject.name,
                    "requests": tally.requests,
                    "succeeded": tally.succeeded,
                    "attempts": tally.attempts,
                    "detail": tally.detail(),
                }
                for subject, tally in tallies.items()
            ]
        for begin in range(0, len(rows), _ROWS_A_STATEMENT):
            connection.execute(insert(rollup_rows), rows[begin : begin + _ROWS_A_STATEMENT])


def _put_down(connection: Connection) -> list[AttemptRecord]:
    """What the move has left to be tallied; nobody else shall do it."""
    texts = connection.execute(select(rollup_pending.c.records)).scalars().all()
    connection.execute(delete(rollup_pending))
    return [record for text in texts for record in decode(text.encode())]


def _groups(connection: Connection, plan: Plan) -> list[Group]:
    """Standard groups, and an aggregate over the first two of each channel."""
    began = plan.now - plan.days * DAY
    names = [
        (channel, upstream, models, name)
        for place in range(max(len(words) for *_, words in _CHANNELS))
        for channel, upstream, models, words in _CHANNELS
        for name in words[place : place + 1]
    ]
    standard = max(plan.groups - 2, 1)
    while len(names) < standard:
        names += [(*parts, f"{name}-{len(names) + 1}") for *parts, name in names[:4]]
    names = names[:standard]
    for place, (channel, upstream, models, name) in enumerate(names):
        _add_group(
            connection,
            name,
            began,
            channel_type=channel,
            upstreams=[{"url": plan.upstream or upstream, "weight": 1}],
            test_model=models[0],
            sort=place + 1,
        )
    parents = {}
    for channel, name in (("openai", "chat"), ("gemini", "gemini")):
        members = [place for place, entry in enumerate(names) if entry[0] == channel][:2]
        if plan.groups < 4 or len(members) < 2:
            continue
        parent = _add_group(
            connection,
            name,
            began,
            channel_type=channel,
            group_type="aggregate",
            upstreams=[],
            test_model="-",
            description="Whatever has capacity",
        )
        for weight, member in zip((3, 1), members, strict=True):
            connection.execute(
                insert(group_sub_groups).values(
                    group_id=parent,
                    sub_group_id=member + 1,
                    weight=weight,
                    created_at=began,
                    updated_at=began,
                )
            )
            parents[member] = (parent, name)
    connection.execute(
        insert(system_settings).values(
            setting_key="request_log_retention_days",
            setting_value=str(3 * plan.days),
            created_at=began,
            updated_at=began,
        )
    )
    return _shared_out(plan, names, parents)


def _shared_out(
    plan: Plan,
    names: Sequence[tuple[str, str, Sequence[str], str]],
    parents: Mapping[int, tuple[int, str]],
) -> list[Group]:
    calls = [0.72**place for place in range(len(names))]
    # Most keys are in few groups, but no group is without.
    weights = [max(0.66**place, 0.01) for place in range(len(names))]
    counts = [max(3, int(plan.keys * weight / sum(weights))) for weight in weights]
    counts[0] = max(3, plan.keys - sum(counts[1:]))
    found = []
    first = 1
    for place, (channel, upstream, models, name) in enumerate(names):
        keys = range(first, first + counts[place])
        first = keys.stop
        share = calls[place] / sum(calls)
        url = plan.upstream or upstream
        parent = parents.get(place)
        found.append(Group(place + 1, name, channel, url, models, share, keys, parent))
    return found


def _add_group(connection: Connection, name: str, at: float, **fields: Any) -> int:
    row: dict[str, Any] = {
        "name": name,
        "proxy_keys": "",
        "param_overrides": {},
        "config": {},
        "header_rules": [],
        "model_redirect_rules": {},
        "created_at": at,
        "updated_at": at,
    }
    result = connection.execute(insert(groups).values(row | fields))
    return int(result.inserted_primary_key[0])


def _keys(connection: Connection, found: Sequence[Group], plan: Plan, password: str | None) -> None:
    vault = Vault(password, installation.ensure_salt(connection))
    chance = random.Random(11)
    began = plan.now - plan.days * DAY
    notes = ("", "", "", "", "team-a", "team-b", "trial account", "from finance")

    def rows() -> Iterator[dict[str, Any]]:
        for group in found:
            for _ in group.keys:
                value = _PREFIXES[group.channel] + "".join(chance.choices(_LETTERS, k=32))
                yield {
                    "key_value": vault.seal(value.encode()),
                    "key_hash": vault.hash(value.encode()),
                    "group_id": group.id,
                    "notes": chance.choice(notes),
                    "weight": chance.choice((1, 1, 1, 1, 1, 2, 3)),
                    "created_at": began + chance.random() * DAY,
                    "updated_at": began,
                }

    total = sum(len(group.keys) for group in found)
    with tqdm(total=total, desc="keys", unit="key", unit_scale=True) as bar:
        made = rows()
        while some := list(islice(made, _ROWS_A_STATEMENT)):
            connection.execute(insert(api_keys), some)
            bar.update(len(some))


def _states(connection: Connection, plan: Plan, found: Sequence[Group]) -> None:
    """What has become of the keys, and how: most are well, some groups less so."""
    chance = random.Random(13)
    usual = {"status": "active", "failure_count": 0, "reason": "", "rest_until": None}
    keys: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    for group in found:
        ill = 0.97 if group.name == "gemini-free" else chance.uniform(0.02, 0.14)
        provider = group.channel.partition("-")[0]
        for key_id in group.keys:
            if chance.random() >= ill:
                continue
            kind = chance.choices(
                ("suspect", "cooling", "exhausted", "invalid", "disabled"),
                (2, 6, 90, 2, 0) if group.name == "gemini-free" else (20, 30, 20, 22, 8),
            )[0]
            at = plan.now - chance.expovariate(1 / (2 * HOUR))
            values, change = _ill(kind, provider, at, plan.now, chance)
            keys.append({"one": key_id, "at": at} | usual | values)
            changes.append({"key_id": key_id, "group_id": group.id, "at": at, "model": ""} | change)
    query = (
        update(api_keys)
        .where(api_keys.c.id == bindparam("one"))
        .values(
            changed_at=bindparam("at"),
            updated_at=bindparam("at"),
            **{name: bindparam(name) for name in usual},
        )
    )
    if keys:
        connection.execute(query, keys)
    for begin in range(0, len(changes), _ROWS_A_STATEMENT):
        connection.execute(insert(key_changes), changes[begin : begin + _ROWS_A_STATEMENT])


def _ill(
    kind: str, provider: str, at: float, now: float, chance: random.Random
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A key's columns, and the change that made them so."""
    if kind == "disabled":
        return {"status": "disabled"}, _change("switched_off", "disabled")
    if kind == "suspect":
        strikes = chance.randint(1, 2)
        reason = f"{provider}.invalid_api_key"
        change = _change("struck", "active", strikes=strikes, reason=reason, status_code=401)
        return {"failure_count": strikes}, change
    if kind == "invalid":
        reason = f"{provider}.invalid_api_key"
        values = {"status": "invalid", "failure_count": 3, "reason": reason}
        return values, _change("struck_out", "invalid", strikes=3, reason=reason, status_code=401)
    long = kind == "exhausted"
    until = now + (chance.uniform(3 * HOUR, 20 * HOUR) if long else chance.uniform(5, 300))
    reason = f"{provider}.{'insufficient_quota' if long else 'rate_limit'}"
    values = {"rest_until": until, "reason": reason}
    return values, _change("rested", "resting", until=until, reason=reason, status_code=429)


def _change(event: str, state: str, **more: Any) -> dict[str, Any]:
    said = {"strikes": 0, "until": None, "reason": "", "status_code": 0, "exchange_id": ""}
    return {"event": event, "state": state, "account": "", **said, **more}


def incidents(plan: Plan) -> list[Incident]:
    """What went wrong in these days."""

    def ago(days: float, hours: float) -> float:
        return plan.now - days * DAY - hours * HOUR

    outage = ("upstream_fault", 503, "status_503", "upstream connect error")
    quota = ("key_exhausted", 429, "insufficient_quota", "You exceeded your current quota")
    revoked = ("key_rejected", 401, "invalid_api_key", "Incorrect API key provided")
    found = [
        Incident(ago(0, 3.2), ago(0, 2.6), "openai-main", outage, 0.55),
        Incident(ago(0, 9), ago(0, 6.5), "claude-team", slower=3.5),
        Incident(ago(0, 1.5), plan.now, "gemini-free", quota, 0.5),
        Incident(ago(1, 12), ago(1, 9), "gemini-paid", quota, 0.25),
        Incident(ago(4, 5), ago(4, 3.5), "", None, slower=2.4),
        Incident(ago(6, 20), ago(6, 18), "openai-main", outage, 0.8),
        Incident(ago(11, 7), ago(11, 4), "claude-code", revoked, 0.3),
        Incident(ago(19, 14), ago(19, 12), "", outage, 0.2, 1.8),
    ]
    begin = plan.now - plan.days * DAY
    return [one for one in found if one.begin > begin]


def attempts(plan: Plan, found: Sequence[Group]) -> Iterator[AttemptRecord]:
    """About so many attempts as the plan has rows, in the order of their requests."""
    slots = int(plan.days * DAY / _SLOT_S)
    begin = plan.now - slots * _SLOT_S
    rhythm = [_rhythm(begin + slot * _SLOT_S) for slot in range(slots)]
    # A request has a little more than one attempt.
    scale = plan.rows / 1.035 / sum(rhythm)
    owed = 0.0
    known = incidents(plan)
    for slot in range(slots):
        start = begin + slot * _SLOT_S
        owed += rhythm[slot] * scale * plan.chance.uniform(0.85, 1.15)
        count, owed = int(owed), owed % 1
        now = [one for one in known if one.begin < start + _SLOT_S and one.end > start]
        for at in sorted(start + plan.chance.random() * _SLOT_S for _ in range(count)):
            yield from _request(plan, found, now, at)


def _rhythm(at: float) -> float:
    """More by day than by night, and less at weekends."""
    hour = at % DAY / HOUR
    day = int(at // DAY + 4) % 7  # 0 is Sunday
    by_day = 0.32 + 0.68 * math.exp(-(((hour - 13.5) / 4.6) ** 2))
    return by_day * (_AT_WEEKENDS if day in (0, 6) else 1.0)


def _request(
    plan: Plan, found: Sequence[Group], now: Sequence[Incident], at: float
) -> Iterator[AttemptRecord]:
    chance = plan.chance
    group = chance.choices(found, [one.share for one in found])[0]
    model = chance.choices(group.models, [0.5**place for place in range(len(group.models))])[0]
    trouble = [one for one in now if one.begin <= at < one.end and one.group in ("", group.name)]
    exchange = f"{int(at * 1e6):014x}{chance.getrandbits(72):018x}"
    is_stream = chance.random() < 0.6
    parent = group.parent if group.parent and chance.random() < 0.5 else (0, "")
    client = min(int(chance.expovariate(0.4)), 40)
    begun = at
    for turn in range(1, _TRIES + 1):
        outcome, status, reason, words = _end(chance, trouble)
        slower = math.prod(one.slower for one in trouble)
        size = 1.9 if "pro" in model or "opus" in model or model == "gpt-5" else 1.0
        duration = int(min(chance.lognormvariate(6.9, 0.7) * size * slower, 240_000))
        if outcome not in ("ok", "client_gone"):
            duration = int(chance.lognormvariate(5.0, 0.5))
        usage, out = _usage(chance) if outcome == "ok" else ("", 0)
        word, first = None, max(1, int(duration * 0.92))
        if is_stream and outcome in ("ok", "client_gone"):
            word, duration = _spoken(chance, model, slower, duration, out)
            first = max(1, int(word * chance.uniform(0.5, 0.98)))
        fresh = chance.random() < _NEW_CONNECTIONS
        is_last = outcome in ("ok", "request_fault", "client_gone") or turn == _TRIES
        yield AttemptRecord(
            id=f"{exchange[:30]}{turn:02x}",
            exchange_id=exchange,
            at=at,
            group_id=group.id,
            group_name=group.name,
            parent_group_id=parent[0],
            parent_group_name=parent[1],
            key_id=chance.choice(group.keys),
            model=model,
            status_code=status,
            outcome=outcome,
            reason=f"{group.channel.partition('-')[0]}.{reason}" if reason else "",
            duration_ms=duration,
            first_byte_ms=first,
            total_ms=int((at - begun) * 1000) + duration + 2,
            source_ip=f"10.20.{client // 8}.{10 + client}",
            method="POST",
            path=f"/proxy/{parent[1] or group.name}{_PATHS[group.channel].format(model=model)}",
            upstream=group.upstream + _PATHS[group.channel].format(model=model),
            is_stream=is_stream,
            is_final=is_last,
            error=words,
            user_agent=_AGENTS[client % len(_AGENTS)],
            request_body="",
            usage=usage,
            first_token_ms=word,
            connect_ms=min(first - 1, int(chance.lognormvariate(3.4, 0.5)) if fresh else 0),
        )
        if is_last:
            return
        at += duration / 1000


def _end(chance: random.Random, trouble: Sequence[Incident]) -> tuple[str, int, str, str]:
    for one in trouble:
        if one.fault is not None and chance.random() < one.share:
            return one.fault
    drawn = chance.random()
    for outcome, status, reason, words, share in _FAULTS:
        if drawn < share:
            return outcome, status, reason, words
        drawn -= share
    return "ok", 200, "", ""


def _usage(chance: random.Random) -> tuple[str, int]:
    """What an answer says of its tokens, and how many come out."""
    put_in, out = int(chance.lognormvariate(6.5, 1)), int(chance.lognormvariate(5.2, 0.9))
    total = put_in + out
    said = f'{{"prompt_tokens":{put_in},"completion_tokens":{out},"total_tokens":{total}}}'
    return said, out


def _spoken(
    chance: random.Random, model: str, slower: float, duration: int, out: int
) -> tuple[int, int]:
    """(first token, end) of a stream, ms: each model writes at a pace of its own."""
    word = min(int(chance.lognormvariate(6.0, 0.55) * slower), duration)
    pace_ms = 4 + zlib.crc32(model.encode()) % 16
    each = chance.lognormvariate(math.log(pace_ms), 0.25) * slower
    return word, min(word + int(each * out), 240_000) if out else duration


def main() -> None:
    """Migrate, and fill."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed", description=__doc__)
    parser.add_argument("dsn", help="a file for SQLite, or what DATABASE_DSN takes")
    for name, value in (("groups", GROUPS), ("keys", KEYS), ("rows", ROWS), ("days", DAYS)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--upstream", default="", help="base URL in the place of the providers'")
    options = parser.parse_args()
    engine = make_engine(parse_dsn(options.dsn))
    migrate(engine)
    plan = Plan(
        time.time(),
        options.groups,
        options.keys,
        options.rows,
        options.days,
        options.upstream.rstrip("/"),
    )
    seed(engine, plan)
    engine.dispose()


if __name__ == "__main__":
    main()
