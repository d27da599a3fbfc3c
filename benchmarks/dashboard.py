"""What the dashboard costs at scale, in a real browser: `python -m benchmarks.dashboard`.

Fills a database (`benchmarks/seed.py`; `--database FILE` takes one that is filled already),
starts a node on it, and opens pages in Chromium. Each figure is taken several times; the
median counts. Writes benchmarks/DASHBOARD.md, and its table into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import gzip
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen
from playwright.sync_api import Browser, Response, expect, sync_playwright
from sqlalchemy import func, select

from benchmarks import seed
from benchmarks.report import DASHBOARD, RESULTS, with_dashboard, yes
from gptload.control.db.database import make_engine, parse_dsn, run_read
from gptload.control.db.migrate import migrate
from gptload.control.db.tables import api_keys, request_logs
from tests.dashboard.browser import DESKTOP, PHONE, Visitor, launch, visit
from tests.parts.service import Service, wait_for

TIMES: Final = 5
_MANY: Final = 100_000
_SLOWED: Final = 4
_PAINTED_MS: Final = 3000
"""As the budgets of the design say it: the processor of a machine that is not new."""

_FRAMES: Final = """
async (grid) => {
    const times = [];
    let before = await new Promise(requestAnimationFrame);
    for (let frame = 0; frame < 240; frame += 1) {
        grid.scrollBy(0, 120);
        const now = await new Promise(requestAnimationFrame);
        times.push(now - before);
        before = now;
    }
    return times;
}
"""
_PAINT: Final = """
() => new Promise((done) => new PerformanceObserver((list) => done(
    list.getEntries().at(-1).startTime)).observe(
    { type: 'largest-contentful-paint', buffered: true }))
"""
_FIRST_PAINT: Final = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"


# As a browser does it, which no script may: the text is made before, and only handed over here.
_MAKE_PASTE: Final = """
(bytes) => {
    const line = (number) => `sk-paste-${String(number).padStart(7, '0')}-${'x'.repeat(80)}\n`;
    const data = new DataTransfer();
    data.setData('text/plain',
        Array.from({ length: Math.ceil(bytes / line(0).length) }, (_, n) => line(n)).join(''));
    window.pasting = new ClipboardEvent('paste', { clipboardData: data, bubbles: true,
        cancelable: true });
}
"""
_PASTE: Final = """
async (field) => {
    window.longest = 0;
    await new Promise(requestAnimationFrame);
    let before = performance.now();
    const look = () => {
        const now = performance.now();
        window.longest = Math.max(window.longest, now - before);
        before = now;
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
    setTimeout(() => field.dispatchEvent(window.pasting));
}
"""
_PASTED_BYTES: Final = 50_000_000


@frozen
class Figure:
    """One line of the page.

    Attributes:
        limit: what the design allows; None for none.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def row(self) -> str:
        """As a line of the table."""
        reached = "" if self.limit is None else yes(self.value <= self.limit)
        limit = "" if self.limit is None else f"{self.limit:,g} {self.unit}"
        return f"| {self.name} | {self.value:,.4g} {self.unit} | {limit} | {reached} |"


def measure(browser: Browser, service: Service) -> list[Figure]:
    """All figures, of a node that serves a full database."""
    groups = service.api("GET", "/groups")
    largest = next(group["id"] for group in groups if group["name"] == "openai-main")
    return [
        *_sizes(browser, service),
        *_paints(browser, service),
        *_shifts(browser, service, largest),
        *_keys(browser, service),
        *_paste(browser, service, largest),
        *_log(browser, service),
    ]


def _sizes(browser: Browser, service: Service) -> list[Figure]:
    sizes = {"js": 0, "css": 0}
    answers: list[Response] = []
    with visit(browser, service) as visitor:
        visitor.sign_in()
        visitor.page.on("response", lambda answer: answers.append(answer))
        visitor.open("/")
        for answer in answers:
            kind = urlsplit(answer.url).path.rpartition(".")[2]
            # The other pages' texts are fetched once this page stands.
            if kind in sizes and "-rest-" not in answer.url:
                sizes[kind] += len(gzip.compress(answer.body()))
    return [
        Figure("initial JavaScript, gzip", sizes["js"] / 1000, "kB", 200),
        Figure("initial CSS, gzip", sizes["css"] / 1000, "kB", 25),
    ]


def _paints(browser: Browser, service: Service) -> list[Figure]:
    first, largest = [], []
    for _ in range(TIMES):
        with visit(browser, service) as visitor:
            visitor.sign_in()
            session = visitor.context.new_cdp_session(visitor.page)
            session.send("Emulation.setCPUThrottlingRate", {"rate": _SLOWED})
            visitor.page.goto(f"{service.url}/")
            # Nothing looks into the page meanwhile: that would cost its processor time, too.
            visitor.page.wait_for_timeout(_PAINTED_MS)
            visitor.settled()
            first.append(float(visitor.page.evaluate(_FIRST_PAINT)))
            largest.append(float(visitor.page.evaluate(_PAINT)))
    words = f"of the overview, processor slowed {_SLOWED} times"
    return [
        Figure(f"first paint {words}", statistics.median(first), "ms"),
        Figure(f"largest paint {words}", statistics.median(largest), "ms", 1500),
    ]


def _shifts(browser: Browser, service: Service, group: int) -> list[Figure]:
    found = []
    for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
        worst = 0.0
        where = ""
        for path in ("/", "/groups", f"/groups/{group}", "/logs", "/settings", "/tasks"):
            with visit(browser, service, size=size) as visitor:
                visitor.sign_in().open(path)
                shifted = visitor.shifted()
            if shifted >= worst:
                worst, where = shifted, "/groups/:id" if path.count("/") > 1 else path
        words = f"layout shift, {name}: the worst page is `{where}`"
        found.append(Figure(words, worst, "", 0.02))
    return found


def _keys(browser: Browser, service: Service) -> list[Figure]:
    group = _large_group(service)
    path = f"/groups/{group}"
    row = "[role=grid] [aria-rowindex='2'] [role=gridcell]"
    frames, rows = [], []
    first = _until_warm(browser, service, lambda visitor: _until(visitor, path, row))
    with visit(browser, service) as visitor:
        visitor.sign_in().open(path)
        grid = visitor.page.get_by_role("grid", name="Keys of this group")
        for _ in range(TIMES):
            times = sorted(grid.evaluate(_FRAMES))
            frames.append(times[int(len(times) * 0.95)])
            rows.append(grid.locator("[role=row]").count())
    words = f"list of {_MANY:,} keys"
    scroll = f"{words}: frame while scrolling, 95th percentile"
    return [
        Figure(f"{words}: first rows", statistics.median(first), "ms", 1000),
        Figure(scroll, statistics.median(frames), "ms", 17),
        Figure(f"{words}: rows in the page", max(rows), "", 80),
    ]


def _paste(browser: Browser, service: Service, group: int) -> list[Figure]:
    longest = []
    for _ in range(TIMES):
        with visit(browser, service) as visitor:
            page = visitor.sign_in().open(f"/groups/{group}")
            page.keyboard.press("a")
            field = page.get_by_role("dialog").get_by_role("textbox").first
            expect(field).to_be_visible()
            page.evaluate(_MAKE_PASTE, _PASTED_BYTES)
            field.evaluate(_PASTE)
            done = page.get_by_role("dialog").get_by_role("button", name=re.compile(r"^Import \d"))
            expect(done).to_be_enabled(timeout=60_000)
            longest.append(float(page.evaluate("window.longest")))
    words = f"paste of {_PASTED_BYTES // 1_000_000} MB: the longest from frame to frame"
    return [Figure(words, statistics.median(longest), "ms", 200)]


def _large_group(service: Service) -> int:
    """One with so many keys, imported as a user does it; its id."""
    name = "large"
    known = {group["name"]: int(group["id"]) for group in service.api("GET", "/groups")}
    if name in known:
        return known[name]
    group = service.create_group(name, "openai", "https://api.openai.com")
    text = "\n".join(f"sk-benchmark-{number:06}-0123456789" for number in range(_MANY))
    service.api("POST", "/keys/add-async", {"group_id": group, "keys_text": text})

    def total() -> int:
        found = service.api("GET", f"/keys?group_id={group}&page_size=1")
        return int(found["pagination"]["total_items"])

    assert wait_for(total, lambda count: count == _MANY, 600.0) == _MANY
    return group


def _log(browser: Browser, service: Service) -> list[Figure]:
    row = "[role=grid] [aria-rowindex='2'] [role=gridcell]"
    past = int(time.time() * 1000) - 12 * 86_400_000
    paths = {
        "first page": "/logs?range=30d",
        "one group and status": "/logs?range=30d&group=openai-main&code=503",
        "a moment 12 days ago": f"/logs?range=30d&at={past}",
    }
    return [
        Figure(
            f"log: {name}",
            statistics.median(
                _until_warm(browser, service, lambda v, path=path: _until(v, path, row))
            ),
            "ms",
            500,
        )
        for name, path in paths.items()
    ]


def _until_warm(
    browser: Browser, service: Service, look: Callable[[Visitor], float]
) -> list[float]:
    """Several times, in a browser that has the page's scripts already."""
    with visit(browser, service) as visitor:
        visitor.sign_in()
        look(visitor)
        return [look(visitor) for _ in range(TIMES)]


def _until(visitor: Visitor, path: str, selector: str) -> float:
    """Milliseconds from a load's begin until that is in the page."""
    visitor.page.goto(f"{visitor.service.url}{path}", wait_until="commit")
    expect(visitor.page.locator(selector).first).to_be_visible()
    # When it was drawn, not when this process heard of it, is asked of the page itself.
    return float(visitor.page.evaluate("performance.now()"))


def table(figures: Sequence[Figure], keys: int, rows: int) -> str:
    """The page."""
    lines = "\n".join(figure.row for figure in figures)
    return (
        "# The dashboard at scale\n\n"
        "Written by `.venv/bin/python -m benchmarks.dashboard`. A node as a user starts it, on "
        f"SQLite with {keys:,} keys and {rows:,} log rows (`benchmarks/seed.py`), and Chromium "
        "without a screen and a graphics card, on one machine that they share. Each time is the "
        f"median of {TIMES}; times include the page's load.\n\n"
        "| figure | measured | limit | reached |\n| --- | ---: | ---: | --- |\n"
        f"{lines}\n"
    )


def _filled(file: Path) -> tuple[int, int]:
    """(keys, log rows); makes them first where there are none."""
    engine = make_engine(parse_dsn(str(file)))
    migrate(engine)
    counts = [select(func.count()).select_from(each) for each in (api_keys, request_logs)]
    try:
        if not run_read(engine, lambda connection: connection.execute(counts[0]).scalar_one()):
            seed.seed(engine, seed.Plan(time.time()))
        keys, rows = (
            run_read(engine, lambda connection, query=query: connection.execute(query).scalar_one())
            for query in counts
        )
    finally:
        engine.dispose()
    return int(keys), int(rows)


def main() -> None:
    """Fill, look, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("--database", type=Path, help="an SQLite file; filled if it is empty")
    parser.add_argument("--page", type=Path, default=DASHBOARD, help="where the result goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gptload-dashboard-") as folder:
        file = (options.database or Path(folder, "gptload.db")).resolve()
        keys, rows = _filled(file)
        service = Service(Path(folder), DATABASE_DSN=str(file)).start()
        try:
            with sync_playwright() as playwright:
                browser = launch(playwright)
                figures = measure(browser, service)
                browser.close()
        finally:
            service.stop()
    text = table(figures, keys, rows)
    options.page.write_text(text)
    if options.page == DASHBOARD:
        RESULTS.write_text(with_dashboard(RESULTS.read_text(), text))
    for figure in figures:
        print(figure.row)


if __name__ == "__main__":
    main()
