"""From the database to what data planes read; one bad group never hides the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, select, text, update
from twisted.internet.defer import gatherResults
from twisted.logger import globalLogPublisher

from gptload.control.db.database import Database, run_read, run_write
from gptload.control.db.queries import snapshot as queries
from gptload.control.db.tables import group_sub_groups, groups, system_settings
from gptload.control.snapshots import Snapshots, first_values
from gptload.core.settings import SETTINGS
from gptload.core.snapshot import HeaderRule, Snapshot, digest
from gptload.provider import Providers
from tests.parts.rows import add_group, add_sub_group

AUTH = "sk-admin-s3cret"


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        lines.append(str(event.get("log_format", "")).format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def published() -> list[Snapshot]:
    return []


@pytest.fixture
def snapshots(engine: Engine, database: Database, published: list[Snapshot]) -> Snapshots:
    """Of a database that was started once; channels are judged by name only."""
    run_write(engine, queries.seed, first_values(AUTH, "", 3001), 0.0)
    channels: Any = {"openai": object(), "anthropic": object()}
    return Snapshots(database, Providers(channels), published.append)


def setting(connection: Connection, key: str, value: str) -> None:
    table = system_settings
    connection.execute(update(table).where(table.c.setting_key == key).values(setting_value=value))


# Seeding.


def test_the_first_start_gives_every_setting_a_row_and_later_ones_change_none(
    engine: Engine,
) -> None:
    first = first_values(AUTH, "", 3001)
    assert run_write(engine, queries.seed, first, 0.0) == [row.key for row in SETTINGS]
    run_write(engine, setting, "max_retries", "7")
    run_write(
        engine,
        lambda c: c.execute(
            delete(system_settings).where(system_settings.c.setting_key == "proxy_url")
        ),
    )
    assert run_write(engine, queries.seed, first_values("another", "", 1), 0.0) == ["proxy_url"]
    stored = run_read(engine, queries.read).settings
    assert stored["max_retries"] == "7"
    assert stored["proxy_keys"] == AUTH
    assert stored["app_url"] == "http://localhost:3001"
    assert stored["enable_request_body_logging"] == "false"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://localhost:3001"),
        ("0.0.0.0", "http://localhost:3001"),
        ("::", "http://localhost:3001"),
        ("::1", "http://[::1]:3001"),
        ("192.0.2.7", "http://192.0.2.7:3001"),
        ("ai.example", "http://ai.example:3001"),
    ],
)
def test_the_first_app_url_is_where_a_browser_finds_us(host: str, url: str) -> None:
    assert first_values(AUTH, host, 3001)["app_url"] == url


# Groups.


async def test_a_group_arrives_whole(
    snapshots: Snapshots, database: Database, published: list[Snapshot]
) -> None:
    group_id = await database.write(
        add_group,
        "chat",
        display_name="Chat 😀",
        proxy_keys=" sk-own, ,sk-other",
        upstreams=[
            {"url": "https://a.example/v1?api-version=1", "weight": 3},
            {"url": "https://off.example", "weight": 0},
        ],
        validation_endpoint="/v1/models",
        config={"max_retries": 1, "failover_status_codes": "", "proxy_url": None},
        header_rules=[
            {"key": "X-Title", "value": "${GROUP_NAME}", "action": "set"},
            {"key": " X-Gone ", "value": "", "action": "remove"},
            {"key": "X-Odd", "value": "", "action": "sing"},
        ],
        param_overrides={"temperature": 0.5},
        model_redirect_rules={"模型": "gpt-5"},
        model_redirect_strict=True,
    )
    snapshot = await snapshots.rebuild()
    group = snapshot.groups[b"chat"]
    assert group is snapshot.by_id[group_id]
    assert (group.id, group.name, group.display_name) == (group_id, "chat", "Chat 😀")
    assert [(upstream.url, upstream.weight) for upstream in group.upstreams] == [
        ("https://a.example/v1?api-version=1", 3)
    ]
    assert group.settings.max_retries == 1
    assert group.settings.failover == frozenset()
    assert group.settings.request_timeout == 600
    assert group.access == {digest(key) for key in (AUTH.encode(), b"sk-own", b"sk-other")}
    assert group.header_rules == (
        HeaderRule(b"x-title", b"X-Title", "${GROUP_NAME}"),
        HeaderRule(b"x-gone", b"X-Gone", None),
    )
    assert group.parameter_overrides == {"temperature": 0.5}
    assert group.model_redirects == {"模型": "gpt-5"}
    assert group.model_redirect_strict is True
    assert group.validation_path == "/v1/models"
    assert group.sub_groups is None
    assert published == [snapshot] == [snapshots.current]


async def test_an_aggregate_has_its_usable_members_of_a_weight(
    snapshots: Snapshots, database: Database
) -> None:
    good = await database.write(add_group, "good")
    idle = await database.write(add_group, "idle")
    broken = await database.write(add_group, "broken", channel_type="nonsense")
    other = await database.write(add_group, "other", group_type="aggregate", upstreams=[])
    both = await database.write(add_group, "both", group_type="aggregate", upstreams=[])
    for member, weight in ((good, 5), (idle, 0), (broken, 7), (other, 1)):
        await database.write(add_sub_group, both, member, weight)
    snapshot = await snapshots.rebuild()
    assert snapshot.groups[b"both"].sub_groups == ((good, 5),)
    assert snapshot.groups[b"other"].sub_groups == ()
    await database.write(lambda connection: connection.execute(delete(group_sub_groups)))
    assert (await snapshots.rebuild()).groups[b"both"].sub_groups == ()


def spoil(connection: Connection, group_id: int, column: str, value: str) -> None:
    connection.execute(
        text(f"UPDATE groups SET {column} = :value WHERE id = :id"),
        {"value": value, "id": group_id},
    )


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("channel_type", "nonsense", "no channel of type 'nonsense' is installed"),
        ("upstreams", "[]", "it has no upstream with a weight greater than 0"),
        ("upstreams", '[{"url":"ftp://a","weight":1}]', "invalid URL format"),
        ("upstreams", "[7]", "its upstreams are no list of JSON objects"),
        # The others keep broken JSON out by themselves.
        pytest.param("config", "{", "its config are no JSON", marks=pytest.mark.sqlite_only),
        ("config", "[]", "its config are no JSON object"),
        (
            "config",
            '{"proxy_url":"gopher://u:s3cret@a"}',
            "invalid value for proxy_url",
        ),
        ("header_rules", '[{"key":"a b","action":"set"}]', "'a b' in its header rules"),
        ("model_redirect_rules", '{"a":1}', "name a target that is no text"),
    ],
)
async def test_a_group_that_cannot_be_used_is_left_out_and_named_and_the_rest_work(
    snapshots: Snapshots,
    database: Database,
    said: list[str],
    column: str,
    value: str,
    reason: str,
) -> None:
    bad = await database.write(add_group, "bad")
    await database.write(add_group, "good")
    await database.write(spoil, bad, column, value)
    snapshot = await snapshots.rebuild()
    assert set(snapshot.groups) == {b"good"}
    assert reason in snapshots.unusable[bad]
    (line,) = said
    assert line.startswith("Group bad can't be used: ")
    assert reason in line
    assert "s3cret" not in line


@pytest.mark.parametrize(
    ("stored", "count", "reason"),
    [
        ('[{"status": 429, "outcome": "rate_limited"}, {"status": 7, "outcome": "rate_limited"}]',
         1, "error_rules[1].status: "),
        ('[{"status": 429, "outcome": "rate_limited", "regex": "(a+)+"}]',
         0, "error_rules[0].regex: "),
        pytest.param("{", 0, "error_rules: no JSON", marks=pytest.mark.sqlite_only),
        ('{"a": 1}', 0, "error_rules: must be a list"),
        ("[7]", 0, "error_rules[0]: must be an object"),
    ],
)  # fmt: skip
async def test_a_stored_error_rule_that_cannot_be_read_is_reported_and_inert(
    snapshots: Snapshots,
    database: Database,
    said: list[str],
    stored: str,
    count: int,
    reason: str,
) -> None:
    group = await database.write(add_group, "old")
    await database.write(spoil, group, "error_rules", stored)
    snapshot = await snapshots.rebuild()
    assert len(snapshot.by_id[group].error_rules) == count
    (line,) = said
    assert line.startswith("Group old: an error rule is passed over, ")
    assert reason in line


@pytest.mark.parametrize(
    "config",
    [
        {"max_retries": -1},
        {"max_retries": "3"},
        {"nonsense": 1},
        {"app_url": "http://a"},
    ],
)
async def test_an_override_that_is_no_value_is_passed_over(
    snapshots: Snapshots, database: Database, said: list[str], config: dict[str, object]
) -> None:
    await database.write(add_group, "chat", config={**config, "request_timeout": 9})
    group = (await snapshots.rebuild()).groups[b"chat"]
    assert group.settings.max_retries == 3
    assert group.settings.request_timeout == 9
    assert said[0].startswith("Group chat: the system's value is used")


async def test_null_columns_of_old_rows_are_empty(
    snapshots: Snapshots, database: Database, engine: Engine
) -> None:
    group_id = await database.write(add_group, "old")
    for column in ("config", "header_rules", "param_overrides", "model_redirect_rules"):
        await database.write(spoil, group_id, column, "null")
    group = (await snapshots.rebuild()).groups[b"old"]
    assert group.header_rules == ()
    assert group.parameter_overrides == group.model_redirects == {}


# Settings.


async def test_a_change_holds_when_rebuild_returns(
    snapshots: Snapshots, database: Database
) -> None:
    await database.write(add_group, "chat")
    await snapshots.rebuild()
    await database.write(setting, "request_timeout", "42")
    await database.write(setting, "proxy_keys", "sk-a,sk-b")
    group = (await snapshots.rebuild()).groups[b"chat"]
    assert group.settings.request_timeout == 42
    assert group.access == {digest(b"sk-a"), digest(b"sk-b")}
    assert snapshots.system["request_timeout"] == snapshots.settings.request_timeout == 42


async def test_a_setting_that_cannot_be_read_has_its_default_and_is_named(
    snapshots: Snapshots, database: Database, said: list[str]
) -> None:
    await database.write(setting, "max_retries", "many")
    await database.write(setting, "blacklist_threshold", "1e+06")
    await snapshots.rebuild()
    assert snapshots.settings.max_retries == 3
    assert snapshots.settings.blacklist_threshold == 1_000_000
    assert len(said) == 1
    assert said[0].startswith("Setting max_retries has its default: ")


async def test_no_secret_gets_into_the_log(
    snapshots: Snapshots, database: Database, said: list[str]
) -> None:
    await database.write(setting, "proxy_url", "gopher://user:s3cret@a")
    await snapshots.rebuild()
    assert said
    assert not [line for line in said if "s3cret" in line]
    assert AUTH not in repr(snapshots.current)


async def test_a_group_that_did_not_change_is_the_same_object(
    snapshots: Snapshots, database: Database
) -> None:
    stays = await database.write(add_group, "stays")
    moves = await database.write(add_group, "moves")
    first = await snapshots.rebuild()
    await database.write(
        lambda connection: connection.execute(
            update(groups).where(groups.c.id == moves).values(test_model="other")
        )
    )
    second = await snapshots.rebuild()
    assert second.by_id[stays] is first.by_id[stays]
    assert second.by_id[moves] is not first.by_id[moves]
    assert second.version == first.version + 1


async def test_rebuilds_at_once_are_published_in_order_and_the_last_one_is_newest(
    snapshots: Snapshots, database: Database, published: list[Snapshot]
) -> None:
    from twisted.internet.defer import Deferred

    def start(number: int) -> Deferred[Snapshot]:
        async def change() -> Snapshot:
            await database.write(add_group, f"group{number}")
            return await snapshots.rebuild()

        return Deferred.fromCoroutine(change())

    await gatherResults([start(number) for number in range(8)], consumeErrors=True)
    assert [snapshot.version for snapshot in published] == list(range(1, 9))
    sizes = [len(snapshot.groups) for snapshot in published]
    assert sizes == sorted(sizes)
    names = await database.read(lambda c: c.execute(select(groups.c.name)).scalars().all())
    assert len(published[-1].groups) == len(names) == 8
