"""`/api/logs/export…`: files of whatever length, that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json

import pytest

from gptload.control.admin import logs
from gptload.control.admin.downloads import csv_lines
from gptload.control.admin.schemas import LOG_COLUMNS
from tests.control.admin.conftest import Admin
from tests.parts.records import make_record

AT = 1_800_000_000.0


async def rows(admin: Admin, path: str) -> list[list[str]]:
    answer = await admin.call("GET", path)
    assert answer.status == 200, answer.said
    assert answer.fields["content-type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(answer.said.decode("utf-8-sig"))))


async def three_keys(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-a", "sk-b", "=sk-c"])
    ids = await admin.key_ids()
    uses = [("sk-a", 200, 0), ("sk-a", 401, 5), ("sk-b", 200, 1), ("=sk-c", 500, 2)]
    admin.write_journal(
        *(
            make_record(
                at=AT + later,
                group_id=group,
                key_id=ids[key],
                status_code=status,
                outcome="ok" if status == 200 else "key_rejected",
                error="" if status == 200 else "=1+1",
                model=f"model-{later}",
            )
            for key, status, later in uses
        ),
        make_record(group_id=group, key_id=0),
    )


async def test_the_export_of_the_reference_has_each_key_once(admin: Admin) -> None:
    await three_keys(admin)
    head, *found = await rows(admin, "/api/logs/export")
    assert head == ["key_value", "group_name", "status_code"]
    assert sorted(found) == [
        ["'=sk-c", "openai", "500"],
        ["sk-a", "openai", "401"],  # its latest row
        ["sk-b", "openai", "200"],
    ]


async def test_filters_come_first(admin: Admin) -> None:
    await three_keys(admin)
    _, *found = await rows(admin, "/api/logs/export?status_code=200")
    assert sorted(found) == [["sk-a", "openai", "200"], ["sk-b", "openai", "200"]]
    _, *found = await rows(admin, "/api/logs/export.csv?error_contains=%25")
    assert found == []


async def test_rows_as_csv_and_as_json_lines(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more rows than are read at once."""
    monkeypatch.setattr(logs, "_BATCH_ROWS", 2)
    await three_keys(admin)
    listed = (await admin.api("GET", "/logs"))["items"]
    head, *found = await rows(admin, "/api/logs/export.csv")
    assert tuple(head) == LOG_COLUMNS
    assert [row[0] for row in found] == [row["id"] for row in listed]
    assert {row[head.index("error_message")] for row in found} == {"", "'=1+1"}
    answer = await admin.call("GET", "/api/logs/export.jsonl")
    assert answer.fields["content-disposition"].startswith('attachment; filename="logs_export_20')
    assert [json.loads(line) for line in answer.said.splitlines()] == listed
    _, *keys = await rows(admin, "/api/logs/export")
    assert len(keys) == 3


async def test_just_the_columns_that_are_asked_for_in_their_order(admin: Admin) -> None:
    await three_keys(admin)
    head, *found = await rows(admin, "/api/logs/export.csv?columns=status_code,%20model,model")
    assert head == ["status_code", "model"]
    assert found[0] == ["401", "model-5"]
    answer = await admin.call("GET", "/api/logs/export.jsonl?columns=model")
    assert json.loads(answer.said.splitlines()[0]) == {"model": "model-5"}
    refused = await admin.call("GET", "/api/logs/export.csv?columns=model,secret")
    refused.refused(400, "VALIDATION_FAILED")
    assert "status_code, " in refused.said["hint"]


async def test_nothing_to_export(admin: Admin) -> None:
    assert await rows(admin, "/api/logs/export") == [["key_value", "group_name", "status_code"]]
    assert len(await rows(admin, "/api/logs/export.csv")) == 1
    assert (await admin.call("GET", "/api/logs/export.jsonl")).said == b""


async def test_the_columns_are_those_of_the_list(admin: Admin) -> None:
    await three_keys(admin)
    (first, *_) = (await admin.api("GET", "/logs"))["items"]
    assert tuple(first) == LOG_COLUMNS


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    ((cell, number),) = csv.reader(io.StringIO(csv_lines([[text, -1]]).decode(), newline=""))
    assert (cell, number) == (f"'{text}", "-1")
