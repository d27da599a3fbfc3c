"""How async tests run here, and what every one of them has to leave behind: nothing.

An `async def` test runs in the reactor's thread with a time limit, and fails if a
delayed call or an unhandled error outlives it. A sync test pays for none of that.

Every test, sync ones too, runs inside the reactor's thread, so a blocking client can
only talk to a server in another process: `tests.parts.service` and `tests.upstream`
start theirs as one.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from gptload.wire.reactor import install

install()  # before anything imports a reactor: the one that `twistd gptload` runs on

pytest_plugins = ["tests.parts.fixtures"]

LIMIT_S = 20.0

# Shared and loaded machines: an example that is slow once is no finding.
hypothesis.settings.register_profile("gptload", deadline=None, print_blob=True)
hypothesis.settings.load_profile("gptload")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker here, next to what reads it."""
    config.addinivalue_line("markers", "limit(seconds): how long an async test may take")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every async test `clean_reactor`, set up first and so torn down last.

    Not `autouse`: thousands of pure tests would each collect garbage for nothing.
    """
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        touches_reactor = "reactor" in item.fixturenames or inspect.iscoroutinefunction(item.obj)
        if touches_reactor and "clean_reactor" not in item.fixturenames:
            item.fixturenames.insert(0, "clean_reactor")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """End an async test after its limit, so that a hang names its test."""
    function: Callable[..., Any] = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return
    mark = pyfuncitem.get_closest_marker("limit")
    seconds = float(mark.args[0]) if mark else LIMIT_S

    def run(**arguments: Any) -> Deferred[Any]:
        from twisted.internet import reactor

        return Deferred.fromCoroutine(function(**arguments)).addTimeout(seconds, reactor)

    pyfuncitem.obj = run  # pytest-twisted's own hook goes on from here


@pytest.fixture
def reactor() -> Any:
    """The one reactor, for sync tests that hand it to a part. Brings `clean_reactor` along."""
    from twisted.internet import reactor as installed

    return installed


@pytest.fixture
def clean_reactor() -> Iterator[None]:
    """Fail on a delayed call left behind or an error that nobody handled.

    Async tests have it without asking; a test that returns a Deferred asks for it.
    Trial does the same; readers and open ports are not checked.
    """
    from twisted.internet import reactor

    before = set(reactor.getDelayedCalls())
    failures: list[Any] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        yield
        gc.collect(1)  # a failed Deferred that was dropped says so when it is collected
    finally:
        globalLogPublisher.removeObserver(observe)
    left = [call for call in reactor.getDelayedCalls() if call.active() and call not in before]
    for call in left:
        call.cancel()
    assert not failures, f"unhandled: {[repr(failure.value) for failure in failures]}"
    assert not left, f"left behind: {left}"
