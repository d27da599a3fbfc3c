"""The log: what became of a call, and why."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.dashboard.browser import DESKTOP, saved
from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.service import Service
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

PAGE_ROWS = 100
_LIST = re.compile(r"/api/logs\?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows(page: Page) -> Locator:
    """Rows of the log, the head left out."""
    return page.get_by_role("grid").locator("[role=row][aria-rowindex]:not([aria-rowindex='1'])")


def test_a_call_with_two_failed_attempts_is_one_row_and_a_waterfall_of_three(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.36: Each with key, upstream, status, blame and times."""
    keys = [f"sk-{name}-{number}-0123456789" for number in range(3)]
    service.create_group(name, "openai", upstream.url, keys, config={"max_retries": 3})
    upstream.script(
        Rule(Step(status=429, body=b"{}", retry_after=60), times=1),
        Rule(Step(error="invalid_api_key"), times=1),
    )
    assert service.ask(chat(name)).status == 200
    attempts = service.wait_logs(3, group_name=name)
    guest = visitor()
    page = guest.open(f"/logs?group={name}")
    expect(rows(page)).to_have_count(1)
    rows(page).first.locator("[role=gridcell]").first.click()
    drawer = page.get_by_role("dialog")
    for attempt in attempts:
        expect(drawer).to_contain_text(str(attempt["status_code"]))
        expect(drawer).to_contain_text(attempt["key_value"][-4:])
    expect(drawer).to_contain_text(f"127.0.0.1:{upstream.port}")
    expect(drawer.get_by_text(re.compile("is to blame|rests until"))).to_have_count(2)
    expect(drawer).to_contain_text("The client got")


def test_a_stream_says_when_its_first_token_came_and_a_whole_answer_has_none(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """In the list, and in the request's waterfall with the pace after it."""
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-1-0123456789"])
    upstream.script(pace=Step(head_delay_ms=20, interval_ms=30))
    service.ask(chat(name))
    service.ask(chat(name, stream=True, stream_options={"include_usage": True}))
    found = service.wait_logs(2, group_name=name)
    stream = next(row for row in found if row["is_stream"])
    assert stream["first_token_ms"] is not None
    guest = visitor()
    page = guest.open(f"/logs?group={name}&cols=time,token,first")
    expect(page.get_by_role("columnheader")).to_have_text(["Time", "First token", "First byte"])
    token = rows(page).locator("[role=gridcell]:nth-child(2)")
    expect(token).to_have_text([_shown(stream["first_token_ms"]), "—"])
    drawer = page.get_by_role("dialog")
    rows(page).first.locator("[role=gridcell]").first.click()
    expect(drawer).to_contain_text(f"first token after {_shown(stream['first_token_ms'])}")
    expect(drawer).to_contain_text(re.compile("[0-9] (ms|s) per output token"))
    expect(drawer.locator(".track .token")).to_have_count(1)
    page.keyboard.press("j")
    expect(drawer).not_to_contain_text("first token after")
    expect(drawer.locator(".track .token")).to_have_count(0)


def _shown(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def test_filters_hold_alone_and_together_and_are_in_the_address(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.37: What is shown is what the same question to the API finds."""
    guest = visitor()
    filters = {
        "code=429": {"status_code": 429},
        f"group={world.main.name}": {"group_name": world.main.name},
        "model=gpt-4.1-mini": {"model": "gpt-4.1-mini"},
        "outcome=failed": {"is_success": "false"},
    }
    for words, asked in filters.items():
        expected = service.api("GET", f"/logs?{_query(asked)}")["pagination"]["total_items"]
        page = guest.open(f"/logs?view=attempts&{words}")
        expect(
            page.get_by_role("status").filter(has_text=re.compile(rf"^\s*{expected} "))
        ).to_be_visible()
    together = {**filters["code=429"], **filters[f"group={world.main.name}"]}
    expected = service.api("GET", f"/logs?{_query(together)}")["pagination"]["total_items"]
    page = guest.open("/logs?view=attempts")
    box = page.get_by_role("searchbox")
    box.fill(f"code:429 group:{world.main.name}")
    box.press("Enter")
    guest.wait_address(lambda address: "code=429" in address and "group=" in address)
    expect(
        page.get_by_role("status").filter(has_text=re.compile(rf"^\s*{expected} "))
    ).to_be_visible()


def test_older_and_newer_repeat_and_skip_nothing_while_calls_come_in(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.37: Pages hang on a row, not on a number."""
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-1-0123456789"])
    for _ in range(PAGE_ROWS + 20):
        service.ask(chat(name))
    service.wait_logs(PAGE_ROWS + 20, group_name=name)
    guest = visitor()
    page = guest.open(f"/logs?group={name}")
    older = page.get_by_role("button", name=re.compile("^Older"))

    def told(press: Locator) -> list[str]:
        """The requests that the page asks for and shows after that, by their ids."""
        with page.expect_request(_LIST) as waiting:
            press.click()
        asked = waiting.value.url.partition("/api")[2]
        found = [item["exchange_id"] for item in service.api("GET", asked)["items"]]
        expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(len(found) + 1))
        return found

    first = told(guest.button("Refresh"))
    for _ in range(5):
        service.ask(chat(name))
    service.wait_logs(PAGE_ROWS + 25, group_name=name)
    second = told(older)
    assert len(first) == PAGE_ROWS
    assert len(set(first) | set(second)) == len(first) + len(second) == PAGE_ROWS + 20
    # The way up begins at the row that is shown, in a link that was pasted as well.
    page.reload()
    guest.settled()
    newer = page.get_by_role("button", name=re.compile("^Newer"))
    third = told(newer)
    assert third == first
    page.reload()
    guest.settled()
    fourth = told(newer)
    assert len(fourth) == 5 and not set(fourth) & set(first)
    assert told(older) == first
    before = len(guest.requests)
    guest.button("Newest").click()
    guest.wait_address(lambda address: "cursor=" not in address)
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(PAGE_ROWS + 1))
    guest.settled()
    # Neither of the old place with the new end, nor the other way round.
    assert len([url for url in guest.requests[before:] if _LIST.search(url)]) == 1


def test_rows_beyond_what_is_counted_unasked_are_counted_when_asked(
    world: World, visitor: Visit, service: Service
) -> None:
    guest = visitor()

    def bounded(route: Route) -> None:
        """As the node answers when there are more rows than it counts unasked."""
        answer = route.fetch()
        said = answer.json()
        said["data"]["pagination"] |= {"total_items": 10_000, "total_is_exact": False}
        route.fulfill(response=answer, json=said)

    guest.page.route(_LIST, bounded)
    page = guest.open(f"/logs?view=attempts&group={world.main.name}")
    status = page.get_by_role("status")
    expect(status.filter(has_text="Over 10,000 attempts")).to_be_visible()
    guest.button("Count exactly").click()
    count = service.api("GET", f"/logs/count?group={world.main.id}")
    assert count["total_is_exact"]
    told = re.compile(rf"^\s*{count['total_items']} attempts")
    expect(status.filter(has_text=told)).to_be_visible()
    expect(guest.button("Count exactly")).to_have_count(0)


def test_a_search_that_takes_long_says_so_and_can_be_stopped(world: World, visitor: Visit) -> None:
    guest = visitor()
    page = guest.open(f"/logs?group={world.main.name}")
    guest.settled()
    held: list[Route] = []
    page.route(_LIST, lambda route: held.append(route))
    box = page.get_by_role("searchbox")
    box.fill("nothing of the kind")
    box.press("Enter")
    expect(page.get_by_text("Looking through the log for “nothing of the kind”.")).to_be_visible()
    guest.button("Stop").click()
    expect(page.get_by_text("The search was stopped.")).to_be_visible()
    page.unroute(_LIST)
    guest.button("Search again").click()
    expect(page.get_by_text("The search was stopped.")).to_have_count(0)
    expect(rows(page)).to_have_count(0)


def test_a_value_of_a_row_is_looked_for_or_left_out(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.37: By a click on it, in the drawer, and by typing; the export is of the same rows."""
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-1-0123456789"])
    for model, count in {"gpt-a": 3, "gpt-b": 2, "other": 1}.items():
        for _ in range(count):
            service.ask(chat(name, model=model))
    service.wait_logs(6, group_name=name)
    guest = visitor()
    page = guest.open(f"/logs?group={name}")
    expect(rows(page)).to_have_count(6)
    models = rows(page).get_by_role("button", name="gpt-a", exact=True)
    guest.choose(models.first, "Leave gpt-a out")
    expect(rows(page)).to_have_count(3)
    expect(models).to_have_count(0)
    guest.choose(rows(page).get_by_role("button", name="gpt-b", exact=True).first, "Only gpt-b")
    expect(rows(page)).to_have_count(2)
    address = guest.address
    page.reload()
    expect(rows(page)).to_have_count(2)
    assert guest.address == address

    page = guest.open(f"/logs?group={name}")
    box = page.get_by_role("searchbox")
    box.fill("-model:gpt")
    box.press("Enter")
    expect(rows(page)).to_have_count(1)
    rows(page).first.get_by_role("gridcell").first.click()
    guest.button("Leave other out").click()
    expect(rows(page)).to_have_count(0)
    page.keyboard.press("Escape")
    guest.button("Remove the filter “Not: Model”").first.click()
    expect(rows(page)).to_have_count(5)


def test_the_copied_curl_runs_and_holds_no_pool_key(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.38: With `$GPTLOAD_KEY` set, against this node."""
    found = service.logs(group_name=world.others[-1].name) or service.logs(
        group_name=world.main.name, is_success="true"
    )
    exchange = found[0]["exchange_id"]
    guest = visitor(permissions=["clipboard-read", "clipboard-write"])
    page = guest.open(f"/logs?req={exchange}")
    page.get_by_role("dialog").get_by_role("button", name="Copy as curl").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('curl')")
    command = str(page.evaluate("navigator.clipboard.readText()"))
    assert "$GPTLOAD_KEY" in command
    assert not [key for key in world.main.keys if key in command]
    done = subprocess.run(
        ["sh", "-c", command.replace("curl ", "curl --silent --show-error --include ", 1)],
        env={**os.environ, "GPTLOAD_KEY": service.auth_key},
        capture_output=True,
        timeout=60,
        check=True,
    )
    head, _, body = done.stdout.replace(b"\r\n", b"\n").partition(b"\n\n")
    assert head.split(b" ")[1] == b"200", done.stdout[:300]
    assert json.loads(body)["choices"][0]["message"]["content"]


def test_an_export_holds_the_rows_that_are_filtered(
    world: World, visitor: Visit, service: Service, tmp_path: Path
) -> None:
    """P1.34: As CSV, with keys masked, by a link without a secret."""
    guest = visitor()
    page = guest.open(f"/logs?view=attempts&group={world.main.name}&code=429")
    expected = service.api(
        "GET", f"/logs?{_query({'group_name': world.main.name, 'status_code': 429})}"
    )["pagination"]["total_items"]
    name, content = saved(
        guest,
        lambda: guest.choose(
            page.get_by_role("button", name="Export", exact=True),
            "These rows as CSV, columns in view",
        ),
        tmp_path,
    )
    assert name.endswith(".csv")
    lines = content.decode("utf-8-sig").strip().splitlines()
    assert len(lines) == expected + 1
    assert not [key for key in world.main.keys if key in content.decode()]
    assert not [url for url in guest.requests if "key=" in url]


def test_an_export_is_what_is_seen_and_no_spreadsheet_runs_it(
    visitor: Visit, service: Service, upstream: Upstream, name: str, tmp_path: Path
) -> None:
    """P2.7: The filtered rows and no other, as UTF-8 that says so, without a formula."""
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-1-0123456789"])
    models = ["=1+1", "@SUM(A1)", "通义千问"]
    for model in [*models, "left-out"]:
        service.ask(chat(name, model=model, fields=[("User-Agent", "+cmd|' /C calc'!A0")]))
    listed = service.wait_logs(4, group_name=name)
    guest = visitor()
    page = guest.open(f"/logs?group={name}&not=model:left&cols=time,group,model,agent")
    expect(rows(page)).to_have_count(len(models))
    seen = [
        row.get_by_role("button", name=model, exact=True).count()
        for row, model in zip(rows(page).all(), reversed(models), strict=True)
    ]
    assert seen == [1, 1, 1]
    _, content = saved(
        guest,
        lambda: guest.choose(
            page.get_by_role("button", name="Export", exact=True),
            "These rows as CSV, columns in view",
        ),
        tmp_path,
    )
    assert content.startswith("\N{ZERO WIDTH NO-BREAK SPACE}".encode())
    found = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    shown = ["timestamp", "parent_group_name", "group_name", "model", "user_agent"]
    assert list(found[0]) == shown
    assert [row["timestamp"] for row in found] == [
        row["timestamp"] for row in listed if row["model"] != "left-out"
    ]
    assert [row["model"].removeprefix("'") for row in found] == [*reversed(models)]
    assert not [cell for row in found for cell in row.values() if cell.startswith(_FORMULA)]
    assert {row["user_agent"] for row in found} == {"'+cmd|' /C calc'!A0"}
    _, content = saved(
        guest,
        lambda: guest.choose(
            page.get_by_role("button", name="Export", exact=True),
            "These rows as CSV, all columns",
        ),
        tmp_path,
    )
    whole = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert whole.fieldnames == [name for name in listed[0] if name != "attempts"]


def _query(asked: dict[str, object]) -> str:
    return "&".join(f"{name}={value}" for name, value in asked.items())


def test_columns_are_as_wide_as_somebody_made_them(world: World, visitor: Visit) -> None:
    """By pulling an edge or by the menu of columns; in this browser, until they are usual again."""
    guest = visitor()
    page = guest.open("/logs")
    head = page.get_by_role("columnheader", name="Model")

    def width() -> float:
        box = head.bounding_box()
        assert box is not None
        return box["width"]

    usual = width()
    edge = head.locator(".edge")
    box = edge.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 4, box["y"] + 6)
    page.mouse.down()
    page.mouse.move(box["x"] + 64, box["y"] + 6, steps=5)
    page.mouse.up()
    pulled = width()
    assert pulled == pytest.approx(usual + 60, abs=3)
    cell = rows(page).first.get_by_role("gridcell").nth(4).bounding_box()
    assert cell is not None and cell["width"] == pytest.approx(pulled, abs=1)
    page.reload()
    guest.settled()
    assert width() == pytest.approx(pulled, abs=1)
    guest.button("Columns").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Narrower: Model").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert width() == pytest.approx(pulled - 32, abs=1)
    page.get_by_role("dialog").get_by_role("button", name="Back to the usual ones").click()
    assert width() == pytest.approx(usual, abs=1)


def test_twelve_rows_are_seen_below_two_filters(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """At 1366×768, with the chart of requests over time."""
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-1-0123456789"])
    for _ in range(16):
        service.ask(chat(name))
    guest = visitor(size=DESKTOP)
    page = guest.open(f"/logs?group={name}&client=127.0.0.1")
    expect(rows(page)).to_have_count(16)
    expect(page.get_by_role("figure")).to_be_visible()
    end = page.get_by_role("grid").bounding_box()
    assert end is not None
    bottoms = [box["y"] + box["height"] for row in rows(page).all() if (box := row.bounding_box())]
    assert sum(bottom <= end["y"] + end["height"] for bottom in bottoms) >= 12
