"""Pictures of every page of the dashboard, for docs/images: `make screenshots`.

Fills a database, starts the service on it and the scripted provider behind it, keeps some
calls going, and takes each page in light and dark. `--only overview` for some of them,
`--out FOLDER --sizes 390x844 --locales ja-JP` to look at others than those that are kept.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from benchmarks import seed
from gptload.control.db.database import make_engine, parse_dsn
from gptload.control.db.migrate import migrate
from tests.dashboard.browser import DESKTOP, THEMES, Visitor, launch, visit
from tests.parts.calls import chat, generate, messages
from tests.parts.service import ROOT, Service, wait_for
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

IMAGES: Final = ROOT / "docs" / "images"
_COLOURS: Final = 255
"""Of a picture: flat pages need no more, and the repository keeps them for ever."""

_DAYS: Final = 3
"""More would spread the rows thinner."""

_CALLS_A_SECOND: Final = 12.0
_STREAMED: Final = {"stream": True, "stream_options": {"include_usage": True}}
_PASSWORD: Final = "pictures-Xq7vT2-mB9kLw-4RzP8n-YcJ3hG"


def pages(service: Service) -> dict[str, str]:
    """Address of each page that is taken, by the picture's name."""
    by_name = {group["name"]: group["id"] for group in service.api("GET", "/groups")}
    main = by_name["openai-main"]
    good = {log["exchange_id"] for log in service.logs(request_type="final", is_success="true")}
    tries = [log["exchange_id"] for log in service.logs(request_type="retry")]
    mended = next((one for one in tries if one in good), tries[0])
    ill = next(key for key in service.keys(main, page_size=100, status="invalid") if key["reason"])
    return {
        "overview": "/",
        "groups": "/groups",
        "keys": f"/groups/{main}?sort=-strikes",
        "key": f"/groups/{main}?key={ill['id']}",
        "group-overview": f"/groups/{main}?tab=overview",
        "group-config": f"/groups/{main}?tab=config",
        "group-connect": f"/groups/{main}?tab=connect",
        "aggregate": f"/groups/{by_name['chat']}",
        "logs": "/logs",
        "request": f"/logs?req={mended}",
        "latency": "/latency",
        "settings": "/settings",
        "simulator": f"/simulator?group={main}&model=gpt-4.1-mini&fail=429,503",
        "tasks": "/tasks",
        "nodes": "/nodes",
        "audit": "/audit",
    }


@contextmanager
def traffic(service: Service) -> Iterator[None]:
    """Calls of all kinds, as long as the block runs."""
    is_over = threading.Event()
    chance = random.Random(3)
    choices = [
        lambda: chat("openai-main", model="gpt-4.1-mini", **_STREAMED),
        lambda: chat("chat", model="gpt-4.1"),
        lambda: messages("claude-team", stream=True),
        lambda: generate("gemini-paid"),
    ]

    def call() -> None:
        while not is_over.wait(chance.expovariate(_CALLS_A_SECOND / 4)):
            try:
                service.ask(chance.choices(choices, (6, 3, 2, 1))[0]())
            except OSError:
                continue

    callers = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        is_over.set()
        for caller in callers:
            caller.join()


def changes(service: Service) -> None:
    """What the audit page and the list of tasks have to show."""
    service.set(max_retries=4)
    service.set(request_timeout=300, idle_conn_timeout=90)
    groups = {group["name"]: group for group in service.api("GET", "/groups")}
    spare = groups["openai-eu"]
    service.change_group(spare["id"], description="Frankfurt", config={"max_retries": 1})
    text = "\n".join(f"sk-proj-import-{number:05}-{'x' * 12}" for number in range(400))
    service.api("POST", "/keys/add-async", {"group_id": spare["id"], "keys_text": text})
    wait_for(
        lambda: service.api("GET", "/tasks/status"), lambda status: not status.get("is_running")
    )


def take(visitor: Visitor, path: str, file: Path) -> int:
    """One picture; its size in bytes."""
    visitor.open(path)
    page = visitor.page
    page.mouse.move(0, 0)
    picture = page.screenshot(animations="disabled", caret="hide")
    small = Image.open(BytesIO(picture)).convert("RGB")
    # The other methods give a small mark the colour of something larger.
    small = small.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    file.parent.mkdir(parents=True, exist_ok=True)
    small.save(file, optimize=True)
    return file.stat().st_size


@contextmanager
def empty() -> Iterator[Service]:
    """A node that has just been installed."""
    with tempfile.TemporaryDirectory(prefix="gptload-pictures-") as name:
        service = Service(Path(name)).start()
        try:
            yield service
        finally:
            service.stop()


@contextmanager
def serving(rows: int, keys: int) -> Iterator[Service]:
    """A node with a month behind it, and calls that go on."""
    with tempfile.TemporaryDirectory(prefix="gptload-pictures-") as name:
        folder = Path(name)
        upstream = Upstream(folder)
        upstream.script(
            Rule(Step(status=503, head_delay_ms=40), contains="gpt-4.1-mini", times=25),
            pace=Step(head_delay_ms=120, interval_ms=25),
        )
        database = folder / "gptload.db"
        engine = make_engine(parse_dsn(str(database)))
        migrate(engine)
        plan = seed.Plan(time.time(), keys=keys, rows=rows, days=_DAYS, upstream=upstream.url)
        seed.seed(engine, plan, _PASSWORD)
        engine.dispose()
        service = Service(folder, DATABASE_DSN=str(database), ENCRYPTION_KEY=_PASSWORD).start()
        try:
            service.set(request_log_write_interval_minutes=0)
            changes(service)
            with traffic(service):
                wait_for(lambda: len(service.logs(page_size=50)), lambda count: count >= 50)
                yield service
        finally:
            service.stop()
            upstream.stop()


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--keys", type=int, default=8_000)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--themes", nargs="+", default=THEMES, choices=THEMES)
    parser.add_argument("--sizes", nargs="+", default=["{}x{}".format(*DESKTOP)])
    parser.add_argument("--locales", nargs="+", default=["en-US"])
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        if not options.only or "first-run" in options.only:
            with empty() as service:
                take_all(browser, service, {"first-run": "/"}, options)
        with serving(options.rows, options.keys) as service:
            found = {"login": "/login"} | pages(service)
            wanted = options.only or found
            take_all(browser, service, {n: p for n, p in found.items() if n in wanted}, options)
        browser.close()


def take_all(
    browser: Browser, service: Service, found: Mapping[str, str], options: argparse.Namespace
) -> None:
    """Every page in each theme, size and language.

    Args:
        found: address of each, by the picture's name.
    """
    for locale, theme, size in product(options.locales, options.themes, options.sizes):
        wide, high = map(int, size.split("x"))
        with visit(browser, service, size=(wide, high), theme=theme, locale=locale) as visitor:
            visitor.open("/login")
            others = "" if len(options.sizes) == 1 else f"-{wide}"
            others += "" if len(options.locales) == 1 else f"-{locale}"
            for name, path in found.items():
                if name != "login":
                    visitor.sign_in()
                file = options.out / f"{name}-{theme}{others}.png"
                print(f"{file.name}: {take(visitor, path, file) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
