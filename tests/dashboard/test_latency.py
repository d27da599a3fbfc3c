"""The latency page: its heat-map, and percentiles by what they are of."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Response, expect

from gptload.core.histogram import ERROR, bucket_of
from tests.dashboard.browser import Visitor
from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.records import make_record, start_with
from tests.parts.service import Service, wait_for
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

TOKEN = "metrics-Qw8rT1-nL5zVp"
MANY = 31
"""As many requests as a percentile needs to say anything, and one more."""
MINUTES = {9: 3, 7: 1, 4: 12, 3: 5}
"""So many minutes ago, so many requests."""
STREAMS, HEAD_MS, INTERVAL_MS = 6, 30, 40
TOKENS_OUT = 12
"""As `tests.upstream.answers` says."""
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


def test_each_column_of_the_heat_map_adds_up_and_a_cell_opens_its_rows(
    visitor_of: Visit, own_service: Callable[..., Service]
) -> None:
    """P2.1: To the requests of its minute; to the log of that time, slower than that."""
    service = own_service()
    minute = int(time.time()) // 60 * 60
    made = {minute - 60 * ago: count for ago, count in MINUTES.items()}
    # The tenth of a request is ten times as slow as the first; a retry is none.
    records = [
        make_record(
            at=at + 20, total_ms=20 * number, is_final=is_final, exchange_id=f"{at}-{number}"
        )
        for at, count in made.items()
        for number in range(1, count + 1)
        for is_final in (False, True)
    ]
    start_with(service, records)

    guest = visitor_of(service).sign_in()
    page, told = read(guest, "/latency?range=15m", "/api/stats/latency")
    columns = told["columns"]
    assert told["step_s"] == 60
    expected = [made.get(column["at"], 0) for column in columns]
    assert sum(expected) == sum(MINUTES.values())
    series = service.api("GET", f"/stats/series?from={told['from']}&to={told['to']}")
    assert [point["requests"] for point in series["points"]] == expected
    expect(page.locator(".figures > *").nth(3)).to_contain_text(str(sum(expected)))
    chart = page.get_by_role("figure").first
    chart.get_by_role("button", name="Show as table").click()
    sums = chart.locator("tbody td:nth-child(2)")
    expect(sums).to_have_text([str(count) for count in expected])
    chart.get_by_role("button", name="Show as chart").click()
    box = chart.locator("canvas").bounding_box()
    assert box is not None

    used = [bucket for column in columns for bucket, _ in column["counts"]]
    low, high = min(used), max(used)
    each = -(-(high - low + 1) // MOST_ROWS)
    rows = -(-(high - low + 1) // each)
    at, count = max(made.items(), key=lambda item: item[1])
    column = next(number for number, one in enumerate(columns) if one["at"] == at)
    # In the middle: some of its requests are in rows below, and some above or in it.
    row = (columns[column]["counts"][count // 2][0] - low) // each
    slower_ms = told["bounds_ms"][low + row * each][0]
    chart.locator("canvas").click(
        position={
            "x": LEFT + (column + 0.5) / len(columns) * (box["width"] - LEFT),
            "y": (1 - (row + 0.5) / rows) * (box["height"] - BOTTOM),
        }
    )
    address = guest.wait_address(lambda found: found.startswith("/logs?"))
    assert f"from={at * 1000}&to={(at + 60) * 1000}" in address
    matching = [ms for ms in range(20, 20 * count + 1, 20) if ms >= slower_ms]
    assert 0 < len(matching) < count
    expect(
        page.get_by_role("status").filter(has_text=re.compile(rf"^\s*{len(matching)} "))
    ).to_be_visible()


def test_times_are_compared_and_the_slowest_are_a_click_away(
    visitor_of: Visit, own_service: Callable[..., Service]
) -> None:
    """With the quarter of an hour before; the worst 5 % of a breakdown open their rows."""
    service = own_service()
    now = time.time()
    slow = [
        make_record(at=now - 300, total_ms=100 * number, exchange_id=f"now-{number}", model="slow")
        for number in range(1, MANY + 10)
    ]
    quick = [
        make_record(at=now - 1500, total_ms=50, exchange_id=f"then-{number}", model="slow")
        for number in range(MANY)
    ]
    start_with(service, [*slow, *quick])
    guest = visitor_of(service).sign_in()
    page, told = read(guest, "/latency?range=15m&by=model", "/api/stats/top.*course")
    for place in range(3):
        expect(page.locator(".figures > *").nth(place).locator(".change")).to_contain_text("▲")
    (item,) = told["model"]["items"]
    found = item["latency"]
    assert [ms for ms in item["course_p95_ms"] if ms] == [found["p95_ms"]]
    line = page.get_by_role("row").filter(has_text="slow").last
    assert line.locator("svg.g-spark path").count() == 1
    line.get_by_role("button", name=re.compile(r" s$")).click()
    guest.wait_address(lambda address: f"slower={int(found['p95_ms'])}" in address)
    slower = sum(record.total_ms > int(found["p95_ms"]) for record in slow)
    assert 0 < slower <= 5
    expect(
        page.get_by_role("status").filter(has_text=re.compile(rf"^\s*{slower} "))
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


def test_the_times_of_streams_are_those_of_the_upstreams_script(
    visitor_of: Visit, own_service: Callable[..., Service], upstream: Upstream
) -> None:
    """First token and time per output token: in the log, on the page and in the metrics.

    Half of the streams are let go before their first word. None of it is early: each part
    is sent no sooner than the script says.
    """
    service = own_service(METRICS_TOKEN=TOKEN).start()
    service.keep_secret(TOKEN)
    keys = ["sk-spoken-0001-0123456789"]
    service.create_group("spoken", "openai", upstream.url, keys)
    hold = {"stream_hold_milliseconds": 0}
    service.create_group(
        "let-go", "openai", upstream.url, ["sk-let-go-0001-0123456789"], config=hold
    )
    upstream.script(pace=Step(head_delay_ms=HEAD_MS, interval_ms=INTERVAL_MS, events=3))
    for name in ("spoken", "let-go") * (STREAMS // 2):
        service.ask(chat(name, stream=True, stream_options={"include_usage": True}))
    service.ask(chat("spoken"))
    rows = service.wait_logs(STREAMS + 1)
    streams = [row for row in rows if row["is_stream"]]
    assert [row["first_token_ms"] for row in rows if not row["is_stream"]] == [None]
    for row in streams:
        # A role, three words, a reason to stop, the tokens, an end.
        assert row["first_byte_ms"] >= HEAD_MS
        assert row["first_token_ms"] >= HEAD_MS + INTERVAL_MS
        assert row["first_byte_ms"] <= row["first_token_ms"] <= row["duration_ms"]
        assert row["duration_ms"] >= HEAD_MS + 6 * INTERVAL_MS
        assert row["output_tokens"] == TOKENS_OUT
    first = [row["first_token_ms"] for row in streams]
    # What the node came to read in one piece, because it was busy, has none.
    each_us = [
        (row["duration_ms"] - row["first_token_ms"]) * 1000 // (TOKENS_OUT - 1)
        for row in streams
        if row["duration_ms"] > row["first_token_ms"]
    ]

    guest = visitor_of(service).sign_in()
    for kind, tab, exact, unit in (
        ("first_token", "First token", first, 1),
        ("per_token", "Time per output token", each_us, 1000),
    ):
        page, told = read(guest, f"/latency?range=15m&kind={kind}", f"/api/stats/latency.*{kind}")
        expect(page.get_by_role("radio", name=tab)).to_be_checked()
        buckets = Counter(bucket_of(one) for one in exact)
        assert told["whole"]["counts"] == [list(pair) for pair in sorted(buckets.items())]
        figures = page.locator(".figures > *")
        expect(figures.nth(3)).to_contain_text(re.compile(rf"Streams\s*{len(exact)}\b"))
        for place, name in enumerate(("p50_ms", "p95_ms", "p99_ms")):
            assert (
                min(exact) * (1 - ERROR) <= told["whole"][name] * unit <= max(exact) * (1 + ERROR)
            )
            expect(figures.nth(place)).to_contain_text(shown(told["whole"][name]))
        lines = page.get_by_role("row").filter(has_text=re.compile("spoken|let-go"))
        expect(lines).to_have_count(2)
        for line in lines.all():
            expect(line.get_by_role("cell").nth(1)).to_contain_text(re.compile("[1-9]"))

    status, text = service.call("GET", "/metrics", key=TOKEN)
    assert status == 200
    for name in ("spoken", "let-go"):
        of_group = [row["first_token_ms"] for row in streams if row["group_name"] == name]
        told_of = (
            rf'gptload_first_token_seconds_(\w+)\{{group="{name}"(?:,le="(.+?)")?\}} ([0-9.]+)'
        )
        told_by = {(what, bound): float(value) for what, bound, value in re.findall(told_of, text)}
        assert told_by["count", ""] == STREAMS // 2
        assert told_by["sum", ""] == pytest.approx(sum(of_group) / 1000)
        for bound in (0.064, 0.128, 0.256, 0.512):
            shorter = sum(one < bound * 1000 for one in of_group)
            assert told_by["bucket", f"{bound:g}"] == shorter


def shown(ms: float) -> str:
    """As people read it, from ten milliseconds to a second."""
    return f"{int(ms + 0.5)} ms" if ms < 999.5 else f"{ms / 1000:.2f} s"


def test_cells_and_bars_are_reached_by_arrows_and_opened_by_enter(
    world: World, visitor: Visit
) -> None:
    """One stop for the Tab key each; what stands there is said."""
    guest = visitor()
    page = guest.open("/latency?range=1h")
    grid = page.locator(".g-heatmap")
    expect(grid).to_be_visible()
    grid.focus()
    page.keyboard.press("ArrowUp")
    tip, said = page.locator(".g-chart-tip"), grid.locator("[aria-live]")
    expect(tip).to_be_visible()
    expect(said).to_have_text(re.compile(r"^\d\d:\d\d, .+ – .+: [1-9]"))
    before = said.inner_text()
    page.keyboard.press("ArrowUp")
    expect(said).not_to_have_text(before)
    page.keyboard.press("ArrowDown")
    expect(said).to_have_text(before)
    page.keyboard.press("Escape")
    expect(tip).to_have_count(0)

    bars = page.locator(".g-histogram .bar")
    expect(page.locator(".g-histogram .bar[tabindex='0']")).to_have_count(1)
    bars.first.focus()
    page.keyboard.press("End")
    expect(bars.last).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(bars.nth(-2)).to_be_focused()
    expect(page.locator(".g-histogram .bar[tabindex='0']")).to_have_count(1)

    grid.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    guest.wait_address(lambda address: address.startswith("/logs?") and "from=" in address)
    expect(page.get_by_role("grid").get_by_role("row").nth(1)).to_be_visible()


def test_a_click_holds_what_a_chart_says_of_a_place(world: World, visitor: Visit) -> None:
    """Where a click leads nowhere else; and it tells how that moved."""
    guest = visitor()
    page = guest.open(f"/groups/{world.main.id}?tab=overview&range=1h")
    plot = page.locator(".g-plot .u-over").first
    expect(plot).to_be_visible()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
    tip = page.locator(".g-chart-tip").first
    expect(tip).to_be_visible()
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + 20)
    told = tip.inner_text()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20)
    expect(tip).to_have_text(re.compile(re.escape(told.split("\n")[0])))
    page.keyboard.press("Escape")
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 20)
    expect(tip).not_to_have_text(re.compile(re.escape(told.split("\n")[0])))
