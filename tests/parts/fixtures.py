"""Fixtures for tests that need the real service and the scripted provider."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts.service import Service
from tests.upstream.control import Upstream

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def upstream_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """One scripted provider for the whole run."""
    upstream = Upstream(tmp_path_factory.mktemp("upstream"))
    yield upstream
    upstream.stop()


@pytest.fixture
def upstream(upstream_process: Upstream) -> Upstream:
    """The scripted provider, with a fresh script: all is well."""
    upstream_process.script()
    return upstream_process


@pytest.fixture(params=["http", "https"])
def upstream_url(request: pytest.FixtureRequest, upstream: Upstream) -> str:
    """Its base URL, plain and over TLS with a private CA."""
    return upstream.url if request.param == "http" else upstream.tls_url


@pytest.fixture(scope="module")
def service_process(
    tmp_path_factory: pytest.TempPathFactory, upstream_process: Upstream
) -> Iterator[Service]:
    """One node for a module's tests; each makes groups of its own."""
    service = Service(
        tmp_path_factory.mktemp("service"), UPSTREAM_CA_FILE=str(upstream_process.ca_file)
    ).start()
    try:
        service.set(request_log_write_interval_minutes=0)
        yield service
    finally:
        service.stop()
    service.assert_clean()


@pytest.fixture
def service(service_process: Service) -> Iterator[Service]:
    """The module's node; fails the test that leaves a traceback or a key behind."""
    yield service_process
    service_process.assert_clean()


@pytest.fixture
def own_service(tmp_path: Path, upstream_process: Upstream) -> Iterator[Callable[..., Service]]:
    """Make nodes for this test alone: `own_service(TZ="Asia/Shanghai").start()`."""
    made: list[Service] = []

    def make(**environment: str) -> Service:
        folder = tmp_path / f"node{len(made)}"
        folder.mkdir()
        environment.setdefault("UPSTREAM_CA_FILE", str(upstream_process.ca_file))
        made.append(Service(folder, **environment))
        return made[-1]

    try:
        yield make
    finally:
        for service in made:
            if service.is_running():
                service.stop()
    for service in made:
        service.assert_clean()


@pytest.fixture
def name() -> str:
    """A group name that no other test has."""
    return f"group-{next(_numbers)}"
