"""The live tail of the log."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.dashboard.browser import Visitor
from tests.dashboard.conftest import Visit
from tests.dashboard.test_logs import rows
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.service import Service

BURST = 1500
TAIL = re.compile("/api/live.*logs")


def follow(guest: Visitor, service: Service, group: str, model: str) -> Page:
    """The log with its tail turned on behind a call of that model, which is on top then."""
    page = guest.open("/logs")
    expect(rows(page).first).to_be_visible()
    service.ask(chat(group, model=model))
    page.get_by_role("button", name="Live tail").click()
    expect(rows(page).first).to_contain_text(model)
    return page


def test_the_tail_shows_a_call_at_once_and_holds_still_for_who_reads(
    world: World, visitor: Visit, service: Service
) -> None:
    """P2.4: Without a reload; scrolled down, nothing moves and the new ones are counted."""
    group = world.main.name
    for _ in range(40):  # more than fit
        service.ask(chat(group, model="gpt-4.1"))
    guest = visitor()
    page = guest.open("/logs?live=1&outcome=ok")
    expect(page.get_by_role("button", name="Live tail")).to_have_attribute("aria-pressed", "true")
    service.ask(chat(group, model="gpt-tail-1"))
    expect(rows(page).first).to_contain_text("gpt-tail-1")

    grid = page.get_by_role("grid")
    grid.evaluate("(one) => one.scrollTo(0, 400)")
    still = rows(page).first.inner_text()
    for number in range(3):
        service.ask(chat(group, model=f"gpt-held-{number}"))
    held = page.get_by_role("button", name="3 new")
    expect(held).to_be_visible()
    assert rows(page).first.inner_text() == still
    held.click()
    expect(rows(page).first).to_contain_text("gpt-held-2")


def test_a_tail_that_begins_later_has_left_nothing_out(
    world: World, visitor: Visit, service: Service
) -> None:
    """P2.4: What came between the opening of the page and the tail's begin is there, too."""
    page = follow(visitor(), service, world.main.name, "gpt-between")
    service.ask(chat(world.main.name, model="gpt-after"))
    expect(rows(page).first).to_contain_text("gpt-after")
    expect(rows(page).nth(1)).to_contain_text("gpt-between")


def test_a_slow_stream_makes_no_gap_in_the_tail(
    world: World, visitor: Visit, service: Service
) -> None:
    """P2.4: What ends after the list was read, and before the node knows who listens."""
    guest = visitor()
    held: list[Route] = []
    guest.page.route(TAIL, lambda route: held.append(route))
    page = follow(guest, service, world.main.name, "gpt-read")
    guest.until(lambda: held)
    service.ask(chat(world.main.name, model="gpt-gap"))
    held.pop().continue_()
    expect(rows(page).first).to_contain_text("gpt-gap")


def test_under_a_burst_the_tail_samples_says_so_and_lets_go_on(
    world: World, visitor: Visit, service: Service
) -> None:
    """P2.5: A part of it is drawn, the rest is counted, and the page goes on working."""
    guest = visitor()
    page = guest.open("/logs?live=1")
    expect(page.get_by_role("button", name="Live", exact=True)).to_be_visible()
    for _ in range(BURST):
        service.ask(chat(world.main.name))
    expect(
        page.get_by_role("status").filter(has_text=re.compile(r"sampled: [\d,]+ more"))
    ).to_be_visible()
    assert rows(page).count() <= 80
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    box = page.get_by_role("searchbox")
    box.fill("model:gpt-4.1-mini")
    box.press("Enter")
    guest.wait_address(lambda address: "model=gpt-4.1-mini" in address)
