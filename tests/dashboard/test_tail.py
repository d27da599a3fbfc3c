"""The live tail of the log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from playwright.sync_api import Page, Route, expect

from tests.dashboard.browser import Visitor
from tests.dashboard.conftest import Visit
from tests.dashboard.test_logs import rows
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.service import Service
from tests.upstream.control import Upstream

BURST = 1500
CLIENTS = 8
TOLD_A_SECOND = 50
MOST_ROWS = 500
"""That the tail keeps; of them few are in the page."""
MOST_DRAWN = 80
TAIL = re.compile("/api/live.*logs")

# What the stream tells, beside the page; and a way to tell the page more.
SPY = """
window.told = [];
window.EventSource = class extends EventSource {
    constructor(...args) {
        super(...args);
        window.stream = this;
        this.addEventListener('logs', ({ data }) => {
            const { items, skipped } = JSON.parse(data);
            window.told.push([items.length, skipped]);
        });
    }
};
"""
TELL = """
([count, first]) => {
    const items = Array.from({ length: count }, (_, index) => ({
        ...window.example, id: `more-${first + index}`, exchange_id: `more-${first + index}`,
        model: `gpt-more-${first + index}`,
    }));
    const data = JSON.stringify({ items, skipped: 0 });
    window.stream.dispatchEvent(new MessageEvent('logs', { data }));
}
"""


@contextmanager
def burst(service: Service, group: str) -> Iterator[list[int]]:
    """Calls of several clients at once while the block lasts, and until there are enough.

    Yields what grows by one, the answer's status, with each of them.
    """
    done: list[int] = []
    is_over = Event()

    def client() -> None:
        while not is_over.is_set() or len(done) < BURST:
            done.append(service.ask(chat(group)).status)

    with ThreadPoolExecutor(CLIENTS) as clients:
        running = [clients.submit(client) for _ in range(CLIENTS)]
        try:
            yield done
        finally:
            is_over.set()
        for one in running:
            one.result()


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


def test_all_that_came_meanwhile_is_counted_and_leaves_no_gap(
    world: World, visitor: Visit, service: Service
) -> None:
    """P2.4: More than the tail keeps: the count is the true one, and no old row follows on them."""
    guest = visitor()
    guest.page.add_init_script(SPY)
    for _ in range(40):  # more than fit
        service.ask(chat(world.main.name, model="gpt-before"))
    page = follow(guest, service, world.main.name, "gpt-last-before")
    page.evaluate("(row) => (window.example = row)", service.logs(model="gpt-last-before")[0])
    grid = page.get_by_role("grid")
    # The page hears of the scrolling in the frame after it.
    grid.evaluate("""(one) => new Promise((done) => {
        one.addEventListener('scroll', () => requestAnimationFrame(done), { once: true });
        one.scrollTo(0, 400);
    })""")
    held = page.get_by_role("button", name=re.compile(" new$"))
    for second in range(12):
        page.evaluate(TELL, [TOLD_A_SECOND, second * TOLD_A_SECOND])
    expect(held).to_have_text("600 new")
    held.click()
    expect(held).to_have_count(0)
    expect(rows(page).first).to_contain_text("gpt-more-599")
    expect(grid).to_have_attribute("aria-rowcount", str(MOST_ROWS + 1))
    grid.evaluate("(one) => one.scrollTo(0, one.scrollHeight)")
    expect(rows(page).last).to_have_attribute("aria-rowindex", str(MOST_ROWS + 1))
    expect(rows(page).last).to_contain_text("gpt-more-100")


def test_under_a_burst_the_tail_samples_says_so_and_lets_go_on(
    world: World, visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.5: A part of it is drawn, the rest is counted; one goes on working while it lasts."""
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-0001-0123456789"])
    guest = visitor()
    guest.page.add_init_script(SPY)
    page = guest.open(f"/logs?live=1&group={name}")
    expect(page.get_by_role("button", name="Live", exact=True)).to_be_visible()
    guest.settled()
    grid = page.get_by_role("grid")
    before, began = sum(guest.blocked()), time.monotonic()

    def told() -> tuple[int, int]:
        """How many the stream told, and how many it only counted."""
        frames = page.evaluate("window.told")
        assert max((count for count, _ in frames), default=0) <= TOLD_A_SECOND
        return sum(count for count, _ in frames), sum(count for _, count in frames)

    def drawn() -> int:
        return int(grid.get_attribute("aria-rowcount") or 0) - 1

    with burst(service, name) as done:
        guest.until(lambda: drawn() > MOST_DRAWN)
        assert rows(page).count() <= MOST_DRAWN
        page.keyboard.press("Control+k")
        page.keyboard.type("laten")
        expect(page.get_by_role("dialog").get_by_role("option")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        box = page.get_by_role("searchbox")
        box.press_sequentially("model:gpt-4.1-mini")
        expect(box).to_have_value("model:gpt-4.1-mini")
    guest.until(lambda: sum(told()) == len(done))
    blocked, passed = sum(guest.blocked()) - before, time.monotonic() - began
    assert set(done) == {200}
    shown, sampled = told()
    assert sampled > 0
    said = page.locator("footer.foot").filter(has_text=f"sampled: {sampled:,} more")
    expect(said).to_be_visible()
    expect(grid).to_have_attribute("aria-rowcount", str(min(shown, MOST_ROWS) + 1))
    # Of each second, far less is for the page; all of it, and nobody could work.
    assert blocked < passed * 1000 / 2
    box.press("Enter")
    guest.wait_address(lambda address: "model=gpt-4.1-mini" in address)
