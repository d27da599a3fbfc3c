"""`GET /api/live`: a stream of events for a browser."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from gptload.control.live import MOST_LISTENERS
from gptload.core.keystate import State
from gptload.link.messages import KeyStateChanged
from tests.control.admin.conftest import Admin
from tests.parts.records import make_record


class Reader(Protocol):
    """Collects a body, and tells when it holds so many events and when it ended."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: Deferred[bool] = Deferred()  # whether it was whole

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = ResponseDone) -> None:  # type: ignore[assignment]
        self.ended.callback(reason.check(ResponseDone) is not None)

    def events(self) -> list[dict[str, Any]]:
        lines = self.data.decode().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


async def until(admin: Admin, wanted: Any) -> None:
    for _ in range(200):
        if wanted():
            return
        await deferLater(admin.reactor, 0.02)
    raise AssertionError("it never came")


async def test_it_streams_frames_and_ends_with_the_service(admin: Admin) -> None:
    admin.live.startService()
    response = await admin.send("GET", "/api/live")
    assert response.code == 200
    fields = response.headers
    assert fields.getRawHeaders("content-type") == ["text/event-stream; charset=utf-8"]
    assert fields.getRawHeaders("cache-control") == ["no-store"]
    reader = Reader()
    response.deliverBody(reader)
    await until(admin, reader.events)
    admin.live.noted([make_record()])
    await until(admin, lambda: len(reader.events()) >= 2)
    first, second = reader.events()[:2]
    assert (first["requests"], second["requests"]) == (0, 1)
    assert second["under_way"] == 3
    assert b"event: stats\n" in reader.data
    assert max(map(len, reader.data.split(b"\n\n"))) < 2048
    await admin.live.stopService()
    assert await reader.ended


async def test_a_client_that_goes_is_forgotten(admin: Admin) -> None:
    response = await admin.send("GET", "/api/live")
    reader = Reader()
    response.deliverBody(reader)
    await until(admin, reader.events)
    assert reader.transport is not None
    reader.transport.loseConnection()
    full = [admin.live.listen(lambda frame, n=n: None) for n in range(MOST_LISTENERS - 1)]
    await until(admin, lambda: is_free(admin))
    assert len(full) == MOST_LISTENERS - 1


def is_free(admin: Admin) -> bool:
    try:
        admin.live.listen(lambda frame: None)
    except Exception:
        return False
    return True


async def test_one_listener_too_many_is_told_to_come_later(admin: Admin) -> None:
    for number in range(MOST_LISTENERS):
        admin.live.listen(lambda frame, number=number: None)  # type: ignore[misc]
    answer = await admin.call("GET", "/api/live")
    answer.refused(503, "TOO_MANY_LISTENERS")
    assert answer.fields["retry-after"] == "30"


async def test_without_the_key_there_is_no_stream(admin: Admin) -> None:
    answer = await admin.call("GET", "/api/live", key=None)
    answer.refused(401, "UNAUTHORIZED")


async def test_other_topics_are_told_to_whoever_asks(admin: Admin) -> None:
    group = await admin.group()
    admin.live.startService()
    response = await admin.send("GET", f"/api/live?topics=stats,tasks,logs,keys:{group}")
    reader = Reader()
    response.deliverBody(reader)
    await until(admin, reader.events)
    admin.live.noted([make_record(id="r1", group_id=group), make_record(id="r2")])
    admin.live.key_changed(KeyStateChanged(group, 5, State.RESTING, 1, 1_900_000_000.0))
    admin.live.key_changed(KeyStateChanged(group + 1, 6, State.INVALID, 3, None))
    await until(admin, lambda: b"event: logs" in reader.data and b"event: keys" in reader.data)
    named = dict(
        zip(
            [line[7:] for line in reader.data.decode().splitlines() if line.startswith("event: ")],
            reader.events(),
            strict=True,
        )
    )
    assert named["tasks"] == []
    assert [item["id"] for item in named["logs"]["items"]] == ["r1", "r2"]
    assert named["logs"]["skipped"] == 0
    assert named["keys"] == {
        "group_id": group,
        "changes": [
            {
                "id": 5,
                "state": "resting",
                "strikes": 1,
                "rest_until": "2030-03-17T17:46:40Z",
            }
        ],
        "is_all": True,
    }
    ids = [int(line[4:]) for line in reader.data.decode().splitlines() if line.startswith("id: ")]
    assert ids == sorted(set(ids))
    await admin.live.stopService()
    assert await reader.ended


async def test_a_topic_that_nobody_knows_is_refused(admin: Admin) -> None:
    for topics in (
        "weather",
        "keys",
        "keys:x",
        "keys:-1",
        ",".join(f"keys:{n}" for n in range(30)),
    ):
        answer = await admin.call("GET", f"/api/live?topics={topics}")
        answer.refused(400, "VALIDATION_FAILED")
