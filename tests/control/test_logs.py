"""How rows of the log are found: by any filters together, in whatever way is the fastest."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import (
    SearchStrategy,
    booleans,
    builds,
    integers,
    just,
    lists,
    none,
    one_of,
    sampled_from,
)
from sqlalchemy import Connection, Engine, delete, select

from gptload.control.db.database import run_read, run_write
from gptload.control.db.migrate import migrate, undo
from gptload.control.db.queries import logkinds, logs, records
from gptload.control.db.queries.logfilters import Filter
from gptload.control.db.tables import api_keys, groups, log_kinds, request_logs
from gptload.core.record import AttemptRecord
from gptload.core.vault import Vault
from tests.parts.records import make_record
from tests.parts.rows import add_group, add_key

AT = 1_800_000_000.0
VAULT = Vault(None, b"salt of the tests")
MODELS = ("gpt-5", "gpt-5-nano", "claude", "")
GROUPS = ("alpha", "beta")
ADDRESSES = ("203.0.113.7", "203.0.113.8")
UPSTREAMS = ("https://a.example/v1", "https://b.example/100%25")
OUTCOMES = {"ok": 200, "rate_limited": 429, "upstream_fault": 503}


def record(second: int, **changes: Any) -> AttemptRecord:
    """An attempt; many fall on one second, as the order must be one even then."""
    outcome = changes["outcome"]
    changes["status_code"] = OUTCOMES[outcome]
    changes["error"] = "" if outcome == "ok" else f"upstream says {outcome} at {second}"
    return make_record(at=AT + second, **changes)


def attempts(most: int = 40) -> SearchStrategy[list[AttemptRecord]]:
    return lists(
        builds(
            record,
            second=integers(0, 6),
            model=sampled_from(MODELS),
            group_name=sampled_from(GROUPS),
            parent_group_name=sampled_from(("", "all")),
            outcome=sampled_from([*OUTCOMES]),
            is_final=booleans(),
            source_ip=sampled_from(ADDRESSES),
            key_id=integers(0, 2),
            exchange_id=sampled_from(("one", "two")),
            upstream=sampled_from(UPSTREAMS),
            total_ms=integers(0, 3),
            is_stream=booleans(),
        ),
        max_size=most,
    )


def either(*values: Any) -> SearchStrategy[Any]:
    return sampled_from(values)


# Each of one field, as the API makes them.
EXCLUDED = one_of(
    builds(Filter, model=either("gpt", "GPT-5-n", "none")),
    builds(Filter, group_name=either("a", "bet")),
    builds(Filter, parent_group_name=either("all", "no")),
    builds(Filter, either_group=either("all", "alpha", "alp")),
    builds(Filter, status_codes=either(*map(frozenset, ([429], [200, 429])))),
    builds(Filter, outcomes=either(*map(frozenset, (["ok"], ["rate_limited"])))),
    builds(Filter, upstream=either("B.EXAMPLE", "0%2")),
    builds(Filter, key=either("sk-1", "sk-3")),
    builds(Filter, source_ip=either(*ADDRESSES)),
    builds(Filter, error=either("at 3", "SAYS")),
)
FILTERS = builds(
    Filter,
    but=one_of(just(()), just(()), lists(EXCLUDED, min_size=1, max_size=2).map(tuple)),
    model=either("", "", "gpt", "GPT-5-n", "none"),
    group_name=either("", "", "a", "beta"),
    parent_group_name=either("", "", "all"),
    error=either("", "", "", "says", "at 3", "nowhere"),
    key=either("", "", "sk-1", "sk-2"),
    request_type=either("", "", "final", "retry"),
    source_ip=either("", "", *ADDRESSES),
    is_success=one_of(none(), booleans()),
    status_codes=either(*[frozenset()] * 3, *map(frozenset, ([429], [418], [200, 429]))),
    outcomes=either(
        *[frozenset()] * 4,
        *map(frozenset, (["ok"], ["rate_limited"], ["ok", "upstream_fault"], ["client_gone"])),
    ),
    upstream=either("", "", "", "B.EXAMPLE", "0%2", "c"),
    either_group=either("", "", "", "all", "alpha", "alp"),
    exchange_id=either("", "", "", "one", "three"),
    slower_than_ms=one_of(none(), none(), none(), integers(0, 3)),
    is_stream=one_of(none(), none(), none(), booleans()),
    since=one_of(none(), none(), integers(-1, 7).map(lambda second: AT + second)),
    until=one_of(none(), none(), integers(-1, 7).map(lambda second: AT + second)),
)


def matches(wanted: Filter, one: AttemptRecord) -> bool:
    """The filter once more, in plain words."""
    failed = one.outcome != "ok"
    return (
        wanted.model.lower() in one.model
        and wanted.group_name in one.group_name
        and wanted.parent_group_name in one.parent_group_name
        and (not wanted.error or (failed and wanted.error.lower() in one.error))
        and (not wanted.key or wanted.key == f"sk-{one.key_id}")
        and (not wanted.request_type or (wanted.request_type == "final") == one.is_final)
        and (not wanted.source_ip or wanted.source_ip == one.source_ip)
        and (wanted.is_success is None or wanted.is_success != failed)
        and (not wanted.status_codes or one.status_code in wanted.status_codes)
        and (not wanted.outcomes or one.outcome in wanted.outcomes)
        and wanted.upstream.lower() in one.upstream
        and (
            not wanted.either_group
            or wanted.either_group in (one.group_name, one.parent_group_name)
        )
        and (not wanted.exchange_id or wanted.exchange_id == one.exchange_id)
        and (wanted.slower_than_ms is None or one.total_ms > wanted.slower_than_ms)
        and (wanted.is_stream is None or wanted.is_stream == one.is_stream)
        and (wanted.since is None or one.at >= wanted.since)
        and (wanted.until is None or one.at <= wanted.until)
        and not any(matches(each, one) for each in wanted.but)
    )


def is_read(wanted: Filter) -> bool:
    """Whether only the rows themselves tell, so that a search ends early."""
    by_row = wanted.error or wanted.outcomes - {"ok"} or wanted.upstream
    excluded = any(is_read(one) or one.key or one.source_ip for one in wanted.but)
    is_either = wanted.slower_than_ms is not None or wanted.is_stream is not None
    return bool(by_row) or is_either or excluded


def begin(connection: Connection, found: list[AttemptRecord]) -> None:
    """A log of just these."""
    for each in (request_logs, log_kinds, api_keys, groups):
        connection.execute(delete(each))
    group_id = add_group(connection)
    for number in (1, 2):
        value = f"sk-{number}"
        add_key(connection, group_id, value, id=number, key_hash=VAULT.hash(value.encode()))
    move(connection, found)


def move(connection: Connection, found: list[AttemptRecord]) -> None:
    records.move(connection, found, "x", 0)


def known(connection: Connection) -> dict[int, int]:
    """How many rows kinds say they have."""
    query = select(log_kinds.c.id, log_kinds.c.count).where(log_kinds.c.count != 0)
    return dict(connection.execute(query).all())


def there(connection: Connection) -> dict[int, int]:
    """How many they have."""
    found: dict[int, int] = {}
    for kind_id in connection.execute(select(request_logs.c.kind_id)).scalars():
        found[kind_id] = found.get(kind_id, 0) + 1
    return found


@pytest.fixture(params=["few", "many"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As with few rows, where all are looked at, and as with too many for that."""
    if request.param == "many":
        monkeypatch.setattr(logs, "_FEW_ROWS", -1)
        monkeypatch.setattr(logs, "_BRANCHES", 2)
        monkeypatch.setattr(logs, "_LOOKED_AT", 4)
        monkeypatch.setattr(logs, "_MOST_MERGED", 3)
    return str(request.param)


# A law stands inside its test, which is run once a database.
LAW = settings(max_examples=20, deadline=None)

pytestmark = pytest.mark.limit(90)


def order(one: AttemptRecord) -> tuple[float, str]:
    return one.at, one.id


def test_a_cursor_never_repeats_or_skips_a_row_while_rows_come_in(
    engine: Engine, ways: str
) -> None:
    @LAW
    @given(first=attempts(), later=attempts(12), wanted=FILTERS, limit=integers(1, 9))
    def law(
        first: list[AttemptRecord], later: list[AttemptRecord], wanted: Filter, limit: int
    ) -> None:
        run_write(engine, begin, first)
        seen: list[str] = []
        place: logs.Place | None = None
        coming = list(later)
        while True:
            found = run_read(engine, logs.stretch, VAULT, wanted, place, limit)
            seen += [row["id"] for row in found.rows]
            place = found.following
            if place is None:
                break
            if coming:
                run_write(engine, move, [coming.pop()])
        assert len(seen) == len(set(seen))
        expected = [
            one.id for one in sorted(first, key=order, reverse=True) if matches(wanted, one)
        ]
        new = {one.id for one in later}
        assert [row_id for row_id in seen if row_id not in new] == expected

    law()


def test_ways_up_meet_every_row_that_ways_down_left_behind(engine: Engine, ways: str) -> None:
    @LAW
    @given(first=attempts(), later=attempts(12), wanted=FILTERS, limit=integers(1, 9))
    def law(
        first: list[AttemptRecord], later: list[AttemptRecord], wanted: Filter, limit: int
    ) -> None:
        run_write(engine, begin, first)
        read = partial(run_read, engine, logs.stretch, VAULT, wanted)
        down, place = [read(None, limit)], None
        while (place := down[-1].following) is not None:
            down.append(read(place, limit))
        left = {row["id"] for page in down for row in page.rows}
        left -= {row["id"] for row in down[-1].rows}
        seen: list[str] = []
        coming, place = list(later), down[-1].preceding
        while place is not None:
            if coming:
                run_write(engine, move, [coming.pop()])
            page = read(place, limit, is_upward=True)
            if page.rows:
                # Down from there is where this page ends: nothing lies between.
                below = read(logs.Place(page.rows[0]["timestamp"], page.rows[0]["id"]), limit)
                expected = [row["id"] for row in page.rows[1:]]
                assert [row["id"] for row in below.rows][: len(expected)] == expected
            seen = [row["id"] for row in page.rows] + seen
            place = page.preceding
        assert len(seen) == len(set(seen))
        new = {one.id for one in later}
        ordered = sorted(first, key=order, reverse=True)
        assert [one for one in seen if one not in new] == [
            one.id for one in ordered if one.id in left
        ]

    law()


def test_pages_and_exports_hold_just_what_matches(engine: Engine, ways: str) -> None:
    @LAW
    @given(first=attempts(), wanted=FILTERS, limit=integers(1, 9))
    def law(first: list[AttemptRecord], wanted: Filter, limit: int) -> None:
        run_write(engine, begin, first)
        expected = [
            one.id for one in sorted(first, key=order, reverse=True) if matches(wanted, one)
        ]
        seen: list[str] = []
        for number in range(len(expected) // limit + 1):
            part = run_read(engine, logs.page, VAULT, wanted, offset=number * limit, limit=limit)
            seen += [row["id"] for row in part.rows]
            if part.is_exact:
                assert part.total == len(expected)
        if is_read(wanted) and ways == "many":
            assert seen == expected[: len(seen)]  # as far as one go looks
        else:
            assert seen == expected

        exported: list[str] = []
        place: logs.Place | None = None
        while True:
            rows, place = run_read(engine, logs.batch, VAULT, wanted, place, limit)
            exported += [row["id"] for row in rows]
            if place is None:
                break
        assert exported == expected

    law()


def test_each_key_is_exported_with_its_latest_row_that_matches(engine: Engine, ways: str) -> None:
    @LAW
    @given(first=attempts(), wanted=FILTERS)
    def law(first: list[AttemptRecord], wanted: Filter) -> None:
        run_write(engine, begin, first)
        expected = {
            one.key_id: one.id
            for one in sorted(first, key=order)
            if one.key_id and matches(wanted, one)
        }
        found: dict[int, str] = {}
        after: str | None = ""
        while after is not None:
            rows, after = run_read(engine, logs.latest_of_keys, VAULT, wanted, after, 1)
            found |= {row["key_id"]: row["id"] for row in rows}
        assert found == expected

    law()


def test_kinds_count_their_rows_whatever_comes_and_goes(engine: Engine) -> None:
    @LAW
    @given(first=attempts(), again=attempts(10), second=integers(0, 8), size=integers(1, 20))
    def law(first: list[AttemptRecord], again: list[AttemptRecord], second: int, size: int) -> None:
        run_write(engine, begin, first)
        run_write(engine, move, first)  # as after a crash: none is counted twice
        while run_write(engine, logs.delete_slice, AT + second, size) == size:
            pass
        run_write(engine, logkinds.forget_empty)
        run_write(engine, move, again)
        assert run_read(engine, known) == run_read(engine, there)
        assert all(one.at >= AT + second for one in first if run_read(engine, _is_there, one.id))

    law()


def _is_there(connection: Connection, row_id: str) -> bool:
    query = select(request_logs.c.id).where(request_logs.c.id == row_id)
    return connection.execute(query).first() is not None


def test_models_that_clients_make_up_share_a_kind_and_are_found_all_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logkinds, "MOST_KINDS", 3)
    monkeypatch.setattr(logs, "_FEW_ROWS", -1)
    made = [make_record(at=AT + number, model=f"m-{number}") for number in range(9)]
    run_write(engine, begin, made)
    for one in made:
        part = run_read(engine, logs.page, VAULT, Filter(model=one.model), offset=0, limit=5)
        assert [row["id"] for row in part.rows] == [one.id]
        assert (part.total, part.is_exact) == (1, True)
    assert len(run_read(engine, known)) == 4


def test_a_search_for_a_text_says_how_far_it_looked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_FEW_ROWS", -1)
    monkeypatch.setattr(logs, "_LOOKED_AT", 4)
    made = [record(number, outcome="rate_limited") for number in range(12)]
    run_write(engine, begin, made)
    wanted = Filter(error="at 1")
    part = run_read(engine, logs.page, VAULT, wanted, offset=0, limit=5)
    assert [row["id"] for row in part.rows] == [made[11].id, made[10].id]
    assert (part.total, part.is_exact, part.searched_since) == (2, False, AT + 7)
    found = run_read(engine, logs.stretch, VAULT, wanted, None, 5)
    assert found.following == logs.Place(AT + 7, "")
    rest = run_read(engine, logs.stretch, VAULT, wanted, logs.Place(AT + 3, ""), 5)
    assert ([row["id"] for row in rest.rows], rest.following) == ([made[1].id], None)


def test_the_log_of_an_older_version_gets_its_kinds(engine: Engine) -> None:
    made = [record(n, outcome=[*OUTCOMES][n % 3], model=MODELS[n % 4]) for n in range(24)]
    run_write(engine, begin, made)
    before = run_read(engine, by_digest)
    undo(engine, "0006")
    migrate(engine)
    assert run_read(engine, by_digest) == before
    assert run_read(engine, known) == run_read(engine, there)


def by_digest(connection: Connection) -> dict[str, int]:
    query = select(log_kinds.c.digest, log_kinds.c.count)
    return dict(connection.execute(query).all())
