"""The overview: whether all is well, and the way from there to what isn't."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from tests.dashboard.browser import DESKTOP, Visitor
from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.records import make_record, start_with
from tests.parts.service import Service
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

_LOOK_MS = 5_000
"""How often the page of the nodes asks."""
CARDS = ("Requests/s", "Success", "Latency p95", "First token p95", "Tokens/s", "Cost")


def drag_chart(page: Page) -> None:
    """Over the middle third of the first chart."""
    plot = page.locator(".g-plot .u-over").first
    expect(plot).to_be_visible()
    box = plot.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 3, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, y, steps=4)
    page.mouse.move(box["x"] + box["width"] * 2 / 3, y, steps=4)
    page.mouse.up()


def query(guest: Visitor) -> dict[str, str]:
    """Of the address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(guest.page.url).query).items()}


def test_all_that_matters_is_seen_without_scrolling(world: World, visitor: Visit) -> None:
    """P1.11: Verdict, six figures, outcome chart, keys by state and errors at 1366×768."""
    guest = visitor(size=DESKTOP)
    page = guest.open("/")
    parts = {
        "verdict": page.locator(".verdict"),
        "chart": page.get_by_role("figure").first,
        "keys": page.get_by_role("heading", name="Keys", exact=True),
        "errors": page.get_by_role("heading", name="Errors by class"),
        **{name: page.locator(".figures").get_by_text(name, exact=True) for name in CARDS},
    }
    below = []
    for name, part in parts.items():
        expect(part).to_be_visible()
        box = part.bounding_box()
        assert box is not None
        bottom = box["y"] + (box["height"] if name in {"chart", "verdict"} else 0)
        if bottom > DESKTOP[1]:
            below.append(name)
    assert below == []


def test_the_verdict_says_what_is_wrong_and_leads_there(world: World, visitor: Visit) -> None:
    guest = visitor()
    page = guest.open("/")
    expect(page.locator(".verdict")).to_contain_text(f"{world.requests}")
    expect(page.locator(".verdict a").first).to_be_visible()


def test_calls_through_the_proxy_move_the_live_figures(
    visitor: Visit, world: World, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.12: Requests a second, and success, without a reload."""
    key = f"sk-{name}-1-0123456789"
    service.create_group(name, "openai", upstream.url, [key], config={"max_retries": 0})
    guest = visitor()
    page = guest.open("/")
    expect(guest.button("Live")).to_be_visible()
    rate = page.locator(".figures > *").first.get_by_text(re.compile("^Now "))
    expect(rate).to_be_visible()
    now = rate.inner_text()
    for _ in range(12):
        service.ask(chat(world.others[-1].name))
    expect(rate).not_to_have_text(now)
    success = page.locator(".figures > *").nth(1).get_by_text(re.compile("^Now "))
    expect(success).to_be_visible()
    good = success.inner_text()
    upstream.script(Rule(Step(status=400, body=b"{}"), times=6))
    for _ in range(6):
        service.ask(chat(name))
    expect(success).not_to_have_text(good)


def test_percentiles_are_those_of_the_servers_histogram(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.13: What is shown is what one question about the same range answers."""
    guest = visitor()
    with guest.page.expect_response(re.compile("/api/stats/summary")) as waiting:
        page = guest.open("/")
    asked = urlsplit(waiting.value.url).query
    told = service.api("GET", f"/stats/summary?{asked}")["current"]["latency"]
    card = page.locator(".figures > *").nth(2)

    def shown(ms: float) -> str:
        return f"{math.floor(ms + 0.5)} ms" if ms < 1000 else f"{ms / 1000:.2f} s"

    text = card.inner_text().replace("\xa0", " ")
    for name in ("p95_ms", "p50_ms", "p99_ms"):
        assert shown(told[name]) in text, (name, told, text)


def test_a_drag_over_a_chart_sets_the_range_and_both_ways_lead_back(
    world: World, visitor: Visit
) -> None:
    """P1.14: `from` and `to` in the address; Ctrl Z restores; Back does too."""
    guest = visitor()
    page = guest.open("/?range=6h")
    drag_chart(page)
    guest.wait_address(lambda address: "from=" in address and "to=" in address)
    found = query(guest)
    assert 0 < int(found["to"]) - int(found["from"]) < 6 * 3_600_000
    page.keyboard.press("Control+z")
    guest.wait_address(lambda address: address == "/?range=6h")
    drag_chart(page)
    guest.wait_address(lambda address: "from=" in address)
    page.go_back()
    guest.wait_address(lambda address: address == "/?range=6h")


def test_a_copied_link_shows_another_person_the_same(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.15: Range, filters and the open drawer, in a fresh browser."""
    guest = visitor(permissions=["clipboard-read", "clipboard-write"])
    guest.open(f"/logs?range=6h&group={world.main.name}&outcome=ok&req={world.retried}")
    drawer = guest.page.get_by_role("dialog")
    expect(drawer).to_be_visible()
    drawer.get_by_role("button", name="Copy link").click()
    guest.page.wait_for_function("async () => (await navigator.clipboard.readText()) !== ''")
    copied = str(guest.page.evaluate("navigator.clipboard.readText()"))
    other = visitor()
    other.open(copied.removeprefix(service.url))
    assert other.address == guest.address
    expect(other.page.get_by_role("dialog")).to_contain_text(world.retried)
    expect(other.page.locator("button.pick")).to_contain_text("Last 6 h")
    expect(other.page.get_by_text(world.main.name).first).to_be_visible()


def test_yesterday_is_the_day_of_the_chosen_zone(world: World, visitor: Visit) -> None:
    """P1.16: In Asia/Tokyo, whatever the browser's own zone is."""
    guest = visitor(zone="America/New_York")
    with guest.page.expect_response(re.compile("/api/stats/summary")) as waiting:
        guest.open("/?range=yesterday&tz=Asia%2FTokyo")
    asked = {name: v[0] for name, v in parse_qs(urlsplit(waiting.value.url).query).items()}
    assert asked["tz"] == "Asia/Tokyo"
    begin, end = int(asked["from"]), int(asked["to"])
    tokyo_ms, day_ms = 9 * 3_600_000, 86_400_000
    # The day before the one that has begun in Tokyo.
    today = (time.time() * 1000 + tokyo_ms) // day_ms
    assert (begin + tokyo_ms) / day_ms == today - 1
    # To the day's end or to its last millisecond.
    assert end - begin in {day_ms, day_ms - 1}


def test_a_comparison_has_sign_and_words(world: World, visitor: Visit) -> None:
    """P1.17: Against the elapsed part of the period before, when the period still runs."""
    guest = visitor()
    with guest.page.expect_response(re.compile("/api/stats/summary")) as waiting:
        page = guest.open("/?range=today&cmp=day")
    told = waiting.value.json()["data"]
    before = told["previous"]
    assert abs((told["to"] - told["from"]) - (before["to"] - before["from"])) <= 60
    expect(page.get_by_role("combobox", name="Compare with")).to_contain_text("yesterday")


def test_what_a_figure_was_before_is_told_with_it(
    visitor_of: Visit, own_service: Callable[..., Service]
) -> None:
    """P1.17: Twice as many requests, and a tenth of them failed: up by 100 %, down by 10 points."""
    service = own_service()
    now = time.time()
    failed = {"outcome": "upstream_fault", "status_code": 503}
    records = [
        *(make_record(at=now - 60, exchange_id=f"now-{number}") for number in range(18)),
        *(make_record(at=now - 60, exchange_id=f"bad-{n}", **failed) for n in range(2)),
        *(make_record(at=now - 1500, exchange_id=f"then-{number}") for number in range(10)),
    ]
    start_with(service, records)
    # Without one, the first steps would be shown.
    service.create_group("any", "openai", "http://127.0.0.1:9", ["sk-any-0123456789"])
    guest = visitor_of(service).sign_in()
    page = guest.open("/?range=15m")
    cards = page.locator(".figures > *")
    for place, moved in ((0, "▲ +100 %"), (1, "▼ −10 pt")):
        change = cards.nth(place).locator(".change")
        expect(change).to_contain_text(moved)
        expect(change).to_contain_text("vs previous period")
    cards.nth(1).hover()
    expect(page.get_by_role("tooltip")).to_contain_text("vs previous period: 100")


def test_an_error_class_leads_to_just_its_rows(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.18: The log, with the same range and filter, and the same count."""
    guest = visitor()
    page = guest.open("/?range=6h")
    lines = page.locator(".g-card", has=page.get_by_role("heading", name="Errors by class"))
    first = lines.get_by_role("link").first
    count = int(re.findall(r"\d+", first.locator(".shown").inner_text())[0])
    first.click()
    guest.wait_address(lambda address: address.startswith("/logs?"))
    found = query(guest)
    assert found["range"] == "6h"
    assert "outcome" in found
    guest.settled()
    expect(page.get_by_role("status").filter(has_text=re.compile(rf"^\s*{count} "))).to_be_visible()


def test_a_warning_names_its_fix(world: World, visitor: Visit) -> None:
    """P1.19: On every page, the overview too."""
    guest = visitor()
    page = guest.open("/")
    page.get_by_role("button", name=re.compile("security warning")).click()
    told = page.get_by_role("dialog", name="Security warnings")
    expect(told).to_contain_text("ENCRYPTION_KEY")


def test_pausing_means_that_nothing_moves(
    world: World, visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """No figure but the clock's, and no question to the node; going on catches up."""
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-1-0123456789"])
    guest = visitor()
    page = guest.open("/nodes")
    expect(guest.button("Live")).to_be_visible()
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text("Leader")
    page.keyboard.press("p")
    expect(guest.button("Paused")).to_be_visible()
    rate = row.get_by_role("cell").nth(5)
    shown = rate.inner_text()
    asked = len(guest.requests)
    for _ in range(3):
        service.ask(chat(name))
    page.wait_for_timeout(_LOOK_MS * 2)
    assert guest.requests[asked:] == []
    assert rate.inner_text() == shown
    guest.button("Paused").click()
    expect(guest.button("Live")).to_be_visible()
    expect(rate).not_to_have_text(shown)
    assert any("/api/nodes" in url for url in guest.requests[asked:])


def test_undoing_what_was_typed_leaves_the_range_alone(world: World, visitor: Visit) -> None:
    guest = visitor()
    page = guest.open("/logs")
    drag_chart(page)
    page.wait_for_url("**from=**")
    zoomed = query(guest)
    field = page.get_by_role("searchbox").or_(page.locator("input[type=text]")).first
    field.press_sequentially("code:429")
    page.keyboard.press("Control+z")
    expect(field).not_to_have_value("code:429")
    assert query(guest)["from"] == zoomed["from"]
    field.blur()
    page.keyboard.press("Control+z")
    page.wait_for_url(lambda url: "from=" not in url)


def test_what_keys_went_through_is_told_and_leads_to_them(world: World, visitor: Visit) -> None:
    """One line for like things, with until when they rest; a single key opens itself."""
    guest = visitor()
    page = guest.open(f"/?group={world.main.id}")
    card = page.get_by_role("region", name="Lately")
    expect(card.get_by_role("listitem")).to_have_count(4)
    expect(card).to_contain_text(re.compile(rf"A key of {world.main.name} rests until \d\d:\d\d"))
    expect(card).to_contain_text(f"A key of {world.main.name} was switched off")
    card.get_by_role("link", name="rejected too often").click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("Invalid")
    expect(drawer).to_contain_text("invalid_api_key")


def test_a_group_without_a_key_that_can_serve_is_in_trouble_however_well_its_calls_went(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """As the list of groups, the rail and the verdict say it."""
    key = f"sk-{name}-1-0123456789"
    group = service.create_group(name, "openai", upstream.url, [key])
    for _ in range(30):
        assert service.ask(chat(name)).status == 200
    guest = visitor()
    page = guest.open("/")
    row = page.get_by_role("row", name=re.compile(rf"\b{name} "))
    expect(row).to_contain_text("Healthy")
    ids = [service.key(group, key)["id"]]
    service.api("POST", "/keys/actions", {"group_id": group, "action": "disable", "ids": ids})
    page.reload()
    expect(row).to_contain_text("In trouble")
    expect(row).to_contain_text("100 %")
