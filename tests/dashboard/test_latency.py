"""The latency page: its heat-map, and percentiles by what they are of."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Response, expect

from tests.dashboard.browser import Visitor
from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.service import Service, wait_for
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

TOKEN = "metrics-Qw8rT1-nL5zVp"
MANY = 31
"""As many requests as a percentile needs to say anything, and one more."""
# Of the heat-map: where its cells begin, and the room of its axis.
LEFT, BOTTOM, MOST_ROWS = 56, 24, 40


def read(guest: Visitor, path: str, asked: str) -> tuple[Page, Any]:
    """Open a page of the last 15 minutes, and what one of its questions was answered."""
    # The same is asked of the 15 minutes before, to compare with.
    since_ms = (time.time() - 20 * 60) * 1000

    def is_it(answer: Response) -> bool:
        begin = re.search(r"[?&]from=([0-9]+)", answer.url)
        return bool(re.search(asked, answer.url) and begin and int(begin[1]) > since_ms)

    with guest.page.expect_response(is_it) as waiting:
        page = guest.open(path)
    return page, waiting.value.json()["data"]


def test_the_columns_of_the_heat_map_add_up_and_a_cell_opens_its_rows(
    world: World, visitor: Visit, service: Service
) -> None:
    """P2.1: To the requests of the range; to the log of that time, slower than that."""
    guest = visitor()
    page, told = read(guest, "/latency?range=15m", "/api/stats/latency")
    columns = told["columns"]
    sums = [sum(count for _, count in column["counts"]) for column in columns]
    assert sums == [column["count"] for column in columns]
    summary = service.api("GET", f"/stats/summary?from={told['from']}&to={told['to']}")
    assert sum(sums) == summary["current"]["requests"] > 0
    expect(page.locator(".figures > *").nth(3)).to_contain_text(str(sum(sums)))

    used = [bucket for column in columns for bucket, _ in column["counts"]]
    low, high = min(used), max(used)
    each = -(-(high - low + 1) // MOST_ROWS)
    rows = -(-(high - low + 1) // each)
    column = max(range(len(columns)), key=lambda number: sums[number])
    # The slowest but one third: some rows are below it, and some above or in it.
    bucket = sorted(bucket for bucket, _ in columns[column]["counts"])[-1]
    row = (bucket - low) // each
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    assert box is not None
    canvas.click(
        position={
            "x": LEFT + (column + 0.5) / len(columns) * (box["width"] - LEFT),
            "y": (1 - (row + 0.5) / rows) * (box["height"] - BOTTOM),
        }
    )
    address = guest.wait_address(lambda found: found.startswith("/logs?"))
    assert f"from={columns[column]['at'] * 1000}" in address
    expected = sum(
        count for other, count in columns[column]["counts"] if (other - low) // each >= row
    )
    expect(
        page.get_by_role("status").filter(has_text=re.compile(rf"^\s*{expected} "))
    ).to_be_visible()


def test_percentiles_are_those_of_the_metrics(
    visitor_of: Visit, own_service: Callable[..., Service], upstream: Upstream
) -> None:
    """P2.2: By group, model, upstream and key, within one bucket of what Prometheus is told."""
    service = own_service(METRICS_TOKEN=TOKEN).start()
    service.keep_secret(TOKEN)
    # One of each, and no retry: so all four are of the same requests.
    service.create_group("measured", "openai", upstream.url, ["sk-measured-0001-0123456789"])
    upstream.script(Rule(Step(head_delay_ms=30), times=MANY // 3))
    for _ in range(MANY):
        service.ask(chat("measured"))
    service.wait_logs(MANY, group_name="measured")
    status, text = service.call("GET", "/metrics", key=TOKEN)
    assert status == 200
    told_of = r'gptload_request_duration_seconds_bucket\{group="measured",le="(.+?)"\} ([0-9.]+)'
    buckets = [(float(bound), float(count)) for bound, count in re.findall(told_of, text)]
    assert buckets[-1][1] == MANY
    around = [0.0, *(bound * 1000 for bound, _ in buckets)]

    guest = visitor_of(service).sign_in()
    for by in ("group", "model", "upstream", "key"):
        page, told = read(guest, f"/latency?range=15m&by={by}", f"/api/stats/top.*by={by}")
        (item,) = told[by]["items"]
        found = item["latency"]
        assert found["count"] == MANY, by
        for share, name in ((0.5, "p50_ms"), (0.95, "p95_ms"), (0.99, "p99_ms")):
            place = next(n for n, (_, count) in enumerate(buckets) if count >= share * MANY)
            low, high = around[max(0, place - 1)], around[min(place + 2, len(buckets))]
            assert low <= found[name] <= high, (by, name)
        line = page.get_by_role("row").filter(has_text=item["name"] or f"#{item['id']}")
        expect(line.get_by_role("cell").nth(1)).to_contain_text(str(MANY))


def test_percentiles_of_few_requests_are_marked(
    world: World, visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.3: Of fewer than 30; by words, too, for who doesn't see that they are grey."""
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-0001-0123456789"])
    for _ in range(MANY):
        service.ask(chat(name))
    service.wait_logs(MANY, group_name=name)
    wait_for(
        lambda: [
            item["requests"]
            for item in service.api("GET", "/stats/top?by=group&range=15m")["group"]["items"]
            if item["name"] == name
        ],
        lambda counts: counts == [MANY],
    )
    guest = visitor()
    page = guest.open("/latency?range=15m")
    few = page.get_by_role("row").filter(has_text=world.others[0].name)
    many = page.get_by_role("row").filter(has_text=name)
    expect(many).to_have_count(1)
    expect(few).to_contain_text("few requests")
    expect(many).not_to_contain_text("few requests")
    expect(few).to_have_class(re.compile("thin"))
    expect(page.get_by_text("Figures of fewer than 30 requests")).to_be_visible()
