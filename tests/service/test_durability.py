"""Nothing is lost: not by `kill -9` under traffic, not by a database that is away."""

from __future__ import annotations

import http.client
import sqlite3
import threading
import time
from collections.abc import Callable

from tests.parts.calls import chat, chat_body
from tests.parts.service import AUTH_KEY, Service, wait_for
from tests.service.conftest import make_group
from tests.upstream.control import Upstream
from tests.upstream.script import Step


class Traffic:
    """Clients that call one after another, each call with a model name of its own."""

    def __init__(self, service: Service, group: str, clients: int = 4) -> None:
        self._service = service
        self._path = f"/proxy/{group}/v1/chat/completions"
        self._stopped = threading.Event()
        self.answered: list[str] = []  # models whose answer a client has read to its end
        self._threads = [
            threading.Thread(target=self._call, args=(number,)) for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def wait_answered(self, count: int) -> None:
        """Until so many calls have been answered."""
        assert wait_for(lambda: len(self.answered), lambda so_far: so_far >= count, 20) >= count

    def stop(self) -> None:
        """No further calls; those that hang fail by their time-out."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _call(self, client: int) -> None:
        fields = {"Authorization": f"Bearer {AUTH_KEY}"}
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=5)
        turn = 0
        while not self._stopped.is_set():
            turn += 1
            model = f"model-{client}-{turn}"
            try:
                body = chat_body(model=model, stream=bool(turn % 2))
                connection.request("POST", self._path, body, fields)
                response = connection.getresponse()
                whole = response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.01)
                continue
            if response.status == 200 and whole:
                self.answered.append(model)
        connection.close()


def models_logged(service: Service) -> set[str]:
    found: set[str] = set()
    page = 1
    while items := service.logs(page=page):
        found.update(log["model"] for log in items)
        page += 1
    return found


def test_kill_9_under_traffic_loses_no_record(
    own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    """Whatever a client has read to its end has its record, three kills in a row."""
    service = own_service().start()
    group = make_group(service, upstream, name, keys=3)
    traffic = Traffic(service, group.name)
    try:
        for _ in range(3):
            traffic.wait_answered(len(traffic.answered) + 100)
            service.kill()
            service.start()
    finally:
        traffic.stop()
    answered = set(traffic.answered)
    assert len(answered) >= 300
    logged = wait_for(lambda: models_logged(service), lambda found: found >= answered, 30)
    assert answered - logged == set()
    logs = service.logs()
    assert len({log["id"] for log in logs}) == len(logs)


def test_records_wait_for_a_locked_database(
    own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    """Even a restart in between costs none."""
    service = own_service().start()
    group = make_group(service, upstream, name, keys=3)
    (path,) = service.folder.rglob("*.db")
    lock = sqlite3.connect(str(path), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    traffic = Traffic(service, group.name)
    traffic.wait_answered(200)
    service.kill()
    lock.execute("ROLLBACK")
    lock.close()
    service.start()
    traffic.stop()
    answered = set(traffic.answered)
    assert len(answered) >= 200
    logged = wait_for(lambda: models_logged(service), lambda found: found >= answered, 30)
    assert answered - logged == set()


def test_sigterm_lets_calls_under_way_end(
    own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    service = own_service().start()
    group = make_group(service, upstream, name)
    upstream.script(pace=Step(events=10, interval_ms=100))
    with service.raw() as client:
        client.send(chat(group.name, stream=True))
        upstream.wait_seen(1)
        stopper = threading.Thread(target=service.stop)
        stopper.start()
        assert client.reply("POST").body.endswith(b"data: [DONE]\n\n")
        stopper.join()
    assert not service.is_running()
    service.start()
    assert [log["status_code"] for log in service.wait_logs(1)] == [200]
