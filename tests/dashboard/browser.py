"""A browser for tests: Debian's Chromium, and what a visitor does and sees in it.

The network is cut off inside the browser: no name but this machine's address resolves.
So a page that needs another host fails here, and one that only tries is told on.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    Request,
    expect,
)

from tests.parts.service import ROOT, Service

SITE: Final = ROOT / "gptload" / "control" / "site"
AXE: Final = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
TIMEOUT_MS: Final = 20_000
"""How long a page may take to become what a test waits for: machines that run tests are loaded."""

DESKTOP: Final = (1366, 768)
WIDE: Final = (1920, 1080)
PHONE: Final = (390, 844)
THEMES: Final = ("light", "dark")
LOCALES: Final = ("en-US", "zh-CN", "ja-JP")

_LOOK_MS: Final = 60
_QUIET_LOOKS: Final = 3
"""An answer may ask for the next thing: so many looks in a row must find nothing under way."""

# Told on the console, as a listener's own state is gone with the next page.
_WATCH: Final = """
addEventListener('securitypolicyviolation', (event) => console.error(
    'policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample));
window.shifted = 0;
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: 'layout-shift', buffered: true });
window.blocked = [];
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.blocked.push(entry.duration);
}).observe({ type: 'longtask', buffered: true });
"""
_AXE_RUN: Final = """
async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
    .filter((one) => one.impact === 'serious' || one.impact === 'critical')
    .map((one) => one.id + ': ' + one.nodes.map((node) =>
        node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).join(' | '))
"""
_FEATURES: Final = (
    "app nav ui auth overview groups keys logs latency"
    " settings simulator tasks nodes audit first_run"
)
_MISSING: Final = r"""
(features) => document.body.innerText.match(
    new RegExp(`\\b(${features.replaceAll(' ', '|')})\\.[a-z_]+(\\.[a-z_]+)*\\b`, 'g')) ?? []
"""
_CLIPPED: Final = """
() => [...document.querySelectorAll('button, a, label, th, h1, h2, h3, [role=tab]')]
    .filter((one) => one.checkVisibility() && one.clientWidth > 2 && one.innerText.trim()
        && getComputedStyle(one).overflowX !== 'visible'
        && getComputedStyle(one).textOverflow !== 'ellipsis'
        && one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.innerText.trim())
"""

expect.set_options(timeout=TIMEOUT_MS)


def chromium() -> str:
    """Where it is; the test is skipped without one."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    return found or _missing("chromium is missing: apt-get install chromium fonts-noto-cjk")


def need_site() -> None:
    """Skip the test where the dashboard has not been built."""
    if not (SITE / "index.html").exists():
        _missing("the dashboard is not built: make web")


def _missing(words: str) -> str:
    assert not os.environ.get("CI"), words
    pytest.skip(words)


def launch(playwright: Playwright, names: Sequence[str] = ()) -> Browser:
    """A browser that can reach this machine and nothing else.

    Args:
        names: more names by which it knows this machine.
    """
    rules = [f"MAP {name} 127.0.0.1" for name in names]
    rules += ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1", "EXCLUDE localhost"]
    return playwright.chromium.launch(
        executable_path=chromium(),
        args=[
            "--no-sandbox",  # refused to root otherwise
            "--disable-dev-shm-usage",
            f"--host-resolver-rules={', '.join(rules)}",
        ],
    )


class Visitor:
    """A person at a browser of their own, with one page open.

    Attributes:
        page: Playwright's own, for all that has no shorter way here.
        requests: URLs of all that was asked for, in order.
        complaints: what the console said: errors, and breaches of the policy.
    """

    def __init__(self, context: BrowserContext, service: Service) -> None:
        self.context = context
        self.service = service
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context.set_default_timeout(TIMEOUT_MS)
        context.add_init_script(_WATCH)
        self._under_way: set[Request] = set()
        context.on("request", self._asked)
        context.on("requestfinished", self._answered)
        context.on("requestfailed", self._answered)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page: Page = context.new_page()

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        if "/api/live" not in request.url:  # which never ends
            self._under_way.add(request)

    def _answered(self, request: Request) -> None:
        self._under_way.discard(request)

    def _said(self, message: ConsoleMessage) -> None:
        # Chromium's own line for each answer of 400 and above: pages show those themselves.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    # --- going places

    def sign_in(self) -> Visitor:
        """As the form does it, without the form."""
        answer = self.context.request.post(
            f"{self.service.url}/api/auth/login",
            data=json.dumps({"auth_key": self.service.auth_key}),
            headers={"Content-Type": "application/json"},
        )
        assert answer.ok, answer.text()
        return self

    def sign_out(self) -> None:
        """End the session behind the page's back."""
        self.context.clear_cookies()

    def open(self, path: str = "/") -> Page:
        """Load an address, and wait until the page is all there."""
        self.page.goto(f"{self.service.url}{path}")
        self.settled()
        return self.page

    def settled(self) -> None:
        """Wait until there is a heading, all answers are there, and nothing waits for them."""
        expect(self.page.locator("h1").first).to_be_attached()
        quiet = 0
        while quiet < _QUIET_LOOKS:
            # In each turn, Playwright tells of what has happened meanwhile.
            self.page.wait_for_timeout(_LOOK_MS)
            quiet = 0 if self._under_way else quiet + 1
        expect(self.page.locator(".g-skeleton:visible, [aria-busy=true]")).to_have_count(0)

    @property
    def address(self) -> str:
        """Path and query of where the visitor is."""
        parts = urlsplit(self.page.url)
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def until(self, wanted: Callable[[], object], timeout_ms: float = TIMEOUT_MS) -> None:
        """Let the page go on until that is so; for what only the test knows of.

        An event's listener may be called after the `expect_...` for the same event has ended.
        """
        deadline = time.monotonic() + timeout_ms / 1000
        while not wanted():
            assert time.monotonic() < deadline, "it never came to be"
            self.page.wait_for_timeout(_LOOK_MS)

    def wait_address(self, wanted: Callable[[str], bool]) -> str:
        """The address, once it is as wanted."""
        self.page.wait_for_url(lambda url: wanted(url.removeprefix(self.service.url)))
        return self.address

    # --- looking

    def button(self, name: str, **more: Any) -> Locator:
        """By its name, exactly."""
        return self.page.get_by_role("button", name=name, exact=True, **more)

    def choose(self, trigger: Locator, item: str) -> None:
        """Open a menu and take an item."""
        trigger.click()
        self.page.get_by_role("menuitem", name=item).click()

    def shifted(self) -> float:
        """Cumulative layout shift since the load."""
        return float(self.page.evaluate("window.shifted"))

    def blocked(self) -> list[float]:
        """For how long input had to wait, each time that it was over 50 ms; since the load."""
        found: list[float] = self.page.evaluate("window.blocked")
        return found

    def findings(self) -> list[str]:
        """What axe-core calls serious or critical in what is shown now."""
        # By evaluate, not as a script tag, which the policy would refuse.
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        found: list[str] = self.page.evaluate(_AXE_RUN)
        return found

    def missing(self) -> list[str]:
        """Texts that no language has: they show their keys."""
        found: list[str] = self.page.evaluate(_MISSING, _FEATURES)
        return found

    def clipped(self) -> list[str]:
        """Labels of which a part can't be read."""
        found: list[str] = self.page.evaluate(_CLIPPED)
        return found

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(wide))

    def foreign(self) -> list[str]:
        """What was asked of other hosts."""
        own = (self.service.url, "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    def assert_content(self) -> None:
        """No page had an error, broke the policy, or asked another host."""
        assert not self.complaints, self.complaints
        assert not self.foreign(), self.foreign()


@contextmanager
def visit(
    browser: Browser,
    service: Service,
    *,
    size: Sequence[int] = DESKTOP,
    theme: str = "light",
    locale: str = "en-US",
    zone: str = "UTC",
    **more: Any,
) -> Iterator[Visitor]:
    """A visitor with an empty browser."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,
        locale=locale,
        timezone_id=zone,
        reduced_motion="reduce",
        accept_downloads=True,
        **more,
    )
    try:
        yield Visitor(context, service)
    finally:
        context.close()


def saved(visitor: Visitor, press: Callable[[], None], folder: Path) -> tuple[str, bytes]:
    """What pressing that downloads: name and content."""
    with visitor.page.expect_download() as waiting:
        press()
    download = waiting.value
    path = folder / download.suggested_filename
    download.save_as(path)
    return download.suggested_filename, path.read_bytes()
