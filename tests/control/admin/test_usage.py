"""Tokens and cost where people look: log, exports, statistics, metrics."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest

from tests.control.admin.conftest import Admin
from tests.control.admin.test_metrics import at, scrape
from tests.parts.records import make_record

SAID = (
    '{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":400}}'
)
OPENAI = "https://api.openai.com/v1/chat/completions"
TOKENS = {"input": 1000, "output": 100, "cached": 400, "cache_write": 0, "reasoning": 0, "audio": 0}
COST = 3_000_000  # of gpt-4o: 600 at $2.50, 400 at $1.25 and 100 at $10 a million


async def fill(admin: Admin) -> int:
    """A call with a price, one whose model has none, one that says nothing; their group."""
    group = await admin.group()
    now = time.time() - 120
    of_group = {"at": now, "group_id": group, "group_name": "openai", "upstream": OPENAI}
    admin.write_journal(
        make_record(model="gpt-4o", usage=SAID, **of_group),
        make_record(model="mine", usage='{"input_tokens":300,"output_tokens":0}', **of_group),
        make_record(model="mute", **of_group),
    )
    return group


def tokens_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[f"{name}_tokens"] for name in TOKENS) + (row["cost_nano_usd"],)


ROWS = {
    "gpt-4o": (1000, 100, 400, None, None, None, COST),
    "mine": (300, 0, None, None, None, None, None),
    "mute": (None,) * 7,
}


async def test_log_rows_tell_tokens_and_cost_or_that_they_are_not_known(admin: Admin) -> None:
    await fill(admin)
    rows = (await admin.api("GET", "/logs"))["items"]
    assert {row["model"]: tokens_of(row) for row in rows} == ROWS


async def test_exports_have_them_too(admin: Admin) -> None:
    await fill(admin)
    lines = (await admin.call("GET", "/api/logs/export.jsonl")).said.splitlines()
    found = {row["model"]: tokens_of(row) for row in map(json.loads, lines)}
    assert found == ROWS
    text = (await admin.call("GET", "/api/logs/export.csv")).said.decode("utf-8-sig")
    table = {row["model"]: tokens_of(row) for row in csv.DictReader(io.StringIO(text))}
    assert table["gpt-4o"] == ("1000", "100", "400", "", "", "", str(COST))
    assert table["mute"] == ("",) * 7


async def test_statistics_sum_them_up_and_say_how_much_has_a_price(admin: Admin) -> None:
    await fill(admin)
    figures = (await admin.api("GET", "/stats/summary"))["current"]
    assert figures["tokens"] == TOKENS | {"input": 1300}
    assert figures["cost_nano_usd"] == COST
    assert (figures["attempts_with_usage"], figures["attempts_priced"]) == (2, 1)
    assert figures["priced_share"] == pytest.approx(1100 / 1400)
    points = (await admin.api("GET", "/stats/series"))["points"]
    assert [point["cost_nano_usd"] for point in points if point["requests"]] == [COST]
    assert {str(point["tokens"]) for point in points if not point["requests"]} == {"None"}


async def test_a_top_list_tells_them_of_each(admin: Admin) -> None:
    await fill(admin)
    top = await admin.api("GET", "/stats/top?by=model,group")
    by_model = {item["name"]: item for item in top["model"]["items"]}
    assert by_model["gpt-4o"]["tokens"] == TOKENS
    assert by_model["gpt-4o"]["cost_nano_usd"] == COST
    assert by_model["mine"]["tokens"]["input"] == 300
    assert by_model["mine"]["cost_nano_usd"] is None
    assert by_model["mine"]["priced_share"] == 0
    assert by_model["mute"]["tokens"] is None
    assert by_model["mute"]["priced_share"] is None
    assert top["group"]["items"][0]["cost_nano_usd"] == COST


async def test_metrics_count_them_by_group_and_kind(admin: Admin) -> None:
    await fill(admin)
    await admin.api("GET", "/logs")  # moves the journal
    found = await scrape(admin)
    assert at(found, "gptload_tokens_total", group="openai", kind="input") == 1300
    assert at(found, "gptload_tokens_total", group="openai", kind="cached") == 400
    assert at(found, "gptload_cost_usd_total", group="openai") == COST / 1e9
