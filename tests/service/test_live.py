"""`/api/live` through the front, as a browser reads it, and its end with the service."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.parts.calls import chat
from tests.parts.service import AUTH_KEY, Service
from tests.service.conftest import make_group
from tests.upstream.control import Upstream


@pytest.fixture
def stream(own_service: Callable[..., Service]) -> Iterator[tuple[Service, Any]]:
    """A running node and an open stream of it."""
    service = own_service().start()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.request("GET", "/api/live", headers={"Authorization": f"Bearer {AUTH_KEY}"})
    response = connection.getresponse()
    yield service, response
    connection.close()
    if service.is_running():
        service.stop()


def frames(response: Any) -> Iterator[dict[str, Any]]:
    while line := response.readline():
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_calls_move_the_figures_within_three_seconds(
    stream: tuple[Service, Any], upstream: Upstream, name: str
) -> None:
    """Acceptance 12."""
    service, response = stream
    assert response.getheader("Content-Type") == "text/event-stream; charset=utf-8"
    coming = frames(response)
    assert next(coming)["requests"] == 0
    group = make_group(service, upstream, name)
    began = time.monotonic()
    assert service.ask(chat(group.name)).status == 200
    frame = next(frame for frame in coming if frame["requests"])
    assert time.monotonic() - began < 3
    assert frame["success_rate"] == 1
    assert frame["node"]["state"] == "running"
    assert service.api("GET", "/stats/summary")["current"]["requests"] == 1


def test_an_open_stream_does_not_hold_up_the_stop(stream: tuple[Service, Any]) -> None:
    service, response = stream
    coming = frames(response)
    next(coming)
    began = time.monotonic()
    service.stop()
    assert time.monotonic() - began < 5
    list(coming)  # it has an end, and no break
