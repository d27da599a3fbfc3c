"""The browser, its thread, and the world that it shows.

Playwright's blocking calls want a thread of their own, always the same: the tests' own is
the reactor's. Whole tests of this folder run there, and so does what makes their visitors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.dashboard.browser import THEMES, Visitor, launch, need_site, visit
from tests.dashboard.world import World, make_world
from tests.parts.service import Service
from tests.upstream.control import Upstream

Visit = Callable[..., Visitor]

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="browser")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Run the test in the browser's thread."""
    function: Callable[..., Any] = pyfuncitem.obj
    pyfuncitem.obj = lambda **arguments: _THREAD.submit(function, **arguments).result()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What launches browsers. Only for that thread."""
    need_site()
    stack = ExitStack()
    yield _THREAD.submit(lambda: stack.enter_context(sync_playwright())).result()
    _THREAD.submit(stack.close).result()


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One browser for the whole run; visitors share nothing in it."""
    found = _THREAD.submit(launch, playwright).result()
    yield found
    _THREAD.submit(found.close).result()


@pytest.fixture
def visitor_of(browser: Browser) -> Iterator[Visit]:
    """Open a browser on any node: `visitor_of(service, theme="dark", size=PHONE)`."""
    stack = ExitStack()
    visitors: list[Visitor] = []

    def make(service: Service, **more: Any) -> Visitor:
        visitors.append(stack.enter_context(visit(browser, service, **more)))
        return visitors[-1]

    yield make
    _THREAD.submit(stack.close).result()
    for visitor in visitors:
        visitor.assert_content()


@pytest.fixture
def visitor(visitor_of: Visit, service: Service) -> Visit:
    """The same on the module's node, signed in already."""
    return lambda **more: visitor_of(service, **more).sign_in()


@pytest.fixture(scope="module")
def world_process(service_process: Service, upstream_process: Upstream) -> World:
    """Groups of all kinds, keys in all states, and traffic of the last minute."""
    return make_world(service_process, upstream_process)


@pytest.fixture
def world(world_process: World, service: Service) -> World:
    """The module's world. Tests share it: what they change, they make for themselves."""
    return world_process


@pytest.fixture(params=THEMES)
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)
