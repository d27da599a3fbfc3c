"""Databases that stop, nodes that restart, parts that fail: each is said, and nothing is lost."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from playwright.sync_api import Playwright, Route, expect

from tests.dashboard.browser import launch, visit
from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.databases import PostgreSQL
from tests.parts.service import Service
from tests.upstream.control import Upstream

TABS = 6
AWAY_MS = 45_000
"""The node asks its database every ten seconds whether it is there."""
AGE = re.compile(r"Age of what is shown: [0-9]+ (s|min)")
COME_BACK = "window.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    """A server of this test's own: it may stop it."""
    server = PostgreSQL()
    server.start()
    yield server
    server.remove()


def test_while_the_database_is_away_traffic_goes_on_and_pages_recover_alone(
    postgresql: PostgreSQL,
    visitor_of: Visit,
    own_service: Callable[..., Service],
    upstream: Upstream,
) -> None:
    """P2.14: A bar says so; what was read stays, with its age; later all is as before."""
    service = own_service(DATABASE_DSN=postgresql.create("dashboard")).start()
    service.create_group("steady", "openai", upstream.url, ["sk-steady-0001-0123456789"])
    service.ask(chat("steady"))
    service.wait_logs(1)
    began = time.time()
    guest = visitor_of(service).sign_in()
    page = guest.open("/groups")
    row = page.get_by_role("row").filter(has_text="steady")
    expect(row).to_be_visible()
    overview = guest.context.new_page()
    overview.goto(f"{service.url}/?range=15m")
    figure = overview.locator(".figures > *").first
    expect(figure).to_contain_text(re.compile("[0-9]"))
    tabs = {
        one: one.get_by_role("status").filter(has_text="The database is away. Traffic goes on")
        for one in (page, overview)
    }
    postgresql.stop()
    stopped = time.time()

    def is_told() -> bool:
        """Whoever comes back to a tab has it read again what is old."""
        for tab in tabs:
            tab.evaluate(COME_BACK)
        return all(bar.filter(has_text=AGE).is_visible() for bar in tabs.values())

    guest.until(is_told, AWAY_MS)
    for bar in tabs.values():
        read_at = datetime.fromisoformat(bar.locator("time").get_attribute("datetime") or "")
        assert began < read_at.timestamp() < stopped
    expect(row).to_be_visible()
    expect(figure).to_contain_text(re.compile("[0-9]"))
    assert service.ask(chat("steady")).status == 200
    postgresql.start()
    for bar in tabs.values():
        expect(bar).to_have_count(0, timeout=AWAY_MS)
    service.wait_logs(2, timeout_s=30)
    page.get_by_role("link", name="Logs").first.click()
    expect(page.get_by_role("status").filter(has_text=re.compile("^\\s*2 "))).to_be_visible()


def test_a_restart_of_the_node_loses_nothing_that_was_typed(
    visitor_of: Visit, own_service: Callable[..., Service], upstream: Upstream
) -> None:
    """P2.15: The badge tells it; the stream goes on by itself."""
    service = own_service().start()
    group = service.create_group("typed", "openai", upstream.url, ["sk-typed-0001-0123456789"])
    guest = visitor_of(service).sign_in()
    page = guest.open(f"/groups/{group}?tab=config")
    live = page.get_by_role("button", name="Live", exact=True)
    expect(live).to_be_visible()
    box = page.get_by_label("Description")
    box.fill("Half a sent")
    service.stop()
    expect(live).to_have_count(0)
    service.start()
    expect(live).to_be_visible(timeout=AWAY_MS)
    expect(box).to_have_value("Half a sent")
    page.keyboard.press("Control+s")
    expect(page.get_by_text(re.compile("Saved", re.IGNORECASE)).first).to_be_visible()
    assert service.group(group)["description"] == "Half a sent"


def test_many_tabs_at_once_all_go_on_working(
    world: World, visitor: Visit, service: Service
) -> None:
    """P2.16: A browser opens six connections to a host; streams leave some of them free."""
    guest = visitor()
    guest.open("/")
    tabs = [guest.page, *(guest.context.new_page() for _ in range(TABS - 1))]
    for tab in tabs[1:]:
        tab.goto(f"{service.url}/")
    for tab in tabs:
        tab.bring_to_front()
        expect(tab.locator(".figures > *").first).to_be_visible()
        tab.get_by_role("navigation").get_by_role("link", name="Logs", exact=True).first.click()
        expect(tab.get_by_role("grid")).to_be_visible()
        expect(tab.locator("[role=row][aria-rowindex='2']")).to_be_visible()


def test_on_a_plain_name_of_the_local_network_copying_works(
    world: World, service: Service, playwright: Playwright
) -> None:
    """P2.17: Browsers have no clipboard API there."""
    url = f"http://gptload.lan:{service.port}"
    with launch(playwright, names=["gptload.lan"]) as browser, visit(browser, service) as guest:
        page = guest.page
        page.goto(f"{url}/login")
        page.get_by_label("Admin key", exact=True).fill(service.auth_key)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{url}/")
        page.goto(f"{url}/groups/{world.main.id}")
        guest.settled()
        assert not page.evaluate("isSecureContext")
        page.get_by_role("button", name="Copy the endpoint").first.click()
        page.keyboard.press("/")
        page.keyboard.press("Control+v")
        expect(page.locator(":focus")).to_have_value(f"{url}/proxy/{world.main.name}")


@pytest.mark.parametrize("status", [500, 503])
def test_a_part_that_fails_says_so_and_leaves_the_others_alone(
    world: World, visitor: Visit, status: int
) -> None:
    """With code, hint and a way to try again."""
    guest = visitor()
    is_broken = [True]

    def answer(route: Route) -> None:
        if not is_broken[0]:
            route.continue_()
            return
        said = {"code": "DATABASE_ERROR", "message": "No luck today", "hint": "Try tomorrow."}
        route.fulfill(status=status, content_type="application/json", body=json.dumps(said))

    guest.page.route("**/api/stats/errors*", answer)
    page = guest.open("/")
    expect(page.get_by_text("No luck today")).to_be_visible()
    expect(page.get_by_text("Try tomorrow.")).to_be_visible()
    expect(page.locator(".figures > *").first).to_contain_text(re.compile("[0-9]"))
    is_broken[0] = False
    page.get_by_role("button", name=re.compile("Try again|Retry")).first.click()
    expect(page.get_by_text("No luck today")).to_have_count(0)


def test_another_version_says_so_and_waits_for_the_form(world: World, visitor: Visit) -> None:
    """A bar with the way to it; what is typed stays until somebody reloads."""
    guest = visitor()

    def answer(route: Route) -> None:
        told = route.fetch().json()
        told["data"]["build"] = "another"
        route.fulfill(json=told)

    page = guest.open("/settings")
    box = page.locator("#max_retries input")
    box.fill("9")
    page.route("**/api/meta", answer)
    page.evaluate(COME_BACK)
    expect(page.get_by_text("A new version is running.")).to_be_visible(timeout=AWAY_MS)
    expect(box).to_have_value("9")


def test_the_frame_stands_before_its_first_page_and_without_it(
    world: World, visitor: Visit
) -> None:
    """A slow page is waited for in its frame; one that another build replaced is told of."""
    guest = visitor()
    page = guest.page
    held: list[Route] = []
    is_gone = False

    def answer(route: Route) -> None:
        if is_gone:
            route.fulfill(status=404)
        else:
            held.append(route)

    page.route(re.compile("/assets/OverviewPage-.*js"), answer)
    page.goto(f"{guest.service.url}/?range=7d", wait_until="commit")
    guest.until(lambda: held)
    expect(page.get_by_role("link", name="Logs").first).to_be_visible()
    expect(page.locator("h1")).to_have_count(0)
    is_gone = True
    for one in held:
        one.fulfill(status=404)
    expect(page.get_by_text("A new version is running")).to_be_visible()
    page.unroute_all()
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("h1").first).to_be_attached()
    expect(page.get_by_role("region", name="Time range")).to_contain_text("7")
