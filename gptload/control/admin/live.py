"""`GET /api/live`: how it goes right now, as server-sent events, for whoever looks.

`?topics=tasks,keys:7,logs` adds events to the frame of each second. Nothing is told that
was missed: after a break, look at the lists again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from twisted.internet.interfaces import IPushProducer
from twisted.web.iweb import IRequest
from zope.interface import implementer

from gptload.control.admin.replies import time_or_none, time_text
from gptload.control.admin.requests import query
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import task_json
from gptload.control.live import Live, MovedKeys, Tail
from gptload.core.errors import ValidationFailed
from gptload.core.record import AttemptRecord

# What a browser waits before it connects again.
_RETRY_MS: Final = 3000
_MOST_TOPICS: Final = 20


class LiveRoutes:
    """Ours. Events: `stats`, each second and so the heartbeat; `tasks`, `keys`, `logs`."""

    routes = make_routes()

    def __init__(self, live: Live, seconds: Callable[[], float]) -> None:
        """
        Args:
            seconds: epoch seconds.
        """
        self._live = live
        self._seconds = seconds

    @routes.route("/api/live", methods=["GET"])
    async def stream(self, request: IRequest) -> bytes:
        topics = _topics(query(request, "topics"))
        listener = _Listener(request, self._seconds)
        # Cancelled when the client goes; nothing is left to be tidied up then.
        await self._live.listen(listener.told, topics, listener.news)
        listener.ended()
        return b""


def _topics(text: str) -> set[str]:
    """The topics that are asked for; `stats` is told anyway.

    Raises:
        ValidationFailed: one of them is none.
    """
    topics = {part.strip() for part in text.split(",")} - {"", "stats"}
    for topic in topics:
        name, _, number = topic.partition(":")
        is_group = name == "keys" and number.isascii() and number.isdigit() and len(number) < 19
        if topic not in ("tasks", "logs") and not is_group:
            raise ValidationFailed("topics are stats, tasks, logs and keys:<group id>")
    if len(topics) > _MOST_TOPICS:
        raise ValidationFailed(f"no more than {_MOST_TOPICS} topics")
    return topics


def _news_json(topic: str, news: Any) -> Any:
    if isinstance(news, Tail):
        shown = [_attempt_json(record) for record in news.records]
        return {"items": shown, "skipped": news.skipped}
    if isinstance(news, MovedKeys):
        changes = [
            {
                "id": change.key_id,
                "state": change.state.name.lower(),
                "strikes": change.strikes,
                "rest_until": time_or_none(change.until),
            }
            for change in news.states
        ]
        return {"group_id": news.group_id, "changes": changes, "is_all": news.is_all}
    # Without results, which may name thousands of lines: `/api/tasks/:id` has them.
    return [
        {name: value for name, value in task_json(task).items() if name != "result"}
        for task in news
    ]


def _attempt_json(record: AttemptRecord) -> dict[str, Any]:
    """An attempt as a row of the log shows it, without texts that are long."""
    return {
        "id": record.id,
        "timestamp": time_text(record.at),
        "group_id": record.group_id,
        "group_name": record.group_name,
        "parent_group_id": record.parent_group_id,
        "parent_group_name": record.parent_group_name,
        "model": record.model,
        "is_success": record.outcome == "ok",
        "source_ip": record.source_ip,
        "status_code": record.status_code,
        "request_path": record.path,
        "duration_ms": record.duration_ms,
        "request_type": "final" if record.is_final else "retry",
        "upstream_addr": record.upstream,
        "is_stream": record.is_stream,
        "exchange_id": record.exchange_id,
        "key_id": record.key_id,
        "connect_ms": record.connect_ms,
        "first_byte_ms": record.first_byte_ms,
        "first_token_ms": record.first_token_ms,
        "total_ms": record.total_ms,
        "outcome": record.outcome,
        "reason": record.reason,
        "method": record.method,
    }


@implementer(IPushProducer)
class _Listener:
    """Writes events for one client, and leaves out those that it is too slow for."""

    def __init__(self, request: Any, seconds: Callable[[], float]) -> None:
        self._request = request
        self._seconds = seconds
        self._began = False
        self._paused = False
        self._last_id = 0

    def told(self, frame: dict[str, Any]) -> None:
        self._write(b"stats", frame)

    def news(self, topic: str, news: Any) -> None:
        self._write(topic.encode("ascii"), _news_json(topic, news))

    def _write(self, event: bytes, data: Any) -> None:
        if not self._began:
            self._begin()
        if self._paused:
            return
        # Times, so that they grow over connections and nodes.
        self._last_id = max(self._last_id + 1, round(self._seconds() * 1000))
        text = orjson.dumps(data)
        self._request.write(b"id: %d\nevent: %b\ndata: %b\n\n" % (self._last_id, event, text))

    def ended(self) -> None:
        self._request.unregisterProducer()

    def _begin(self) -> None:
        # Not before there is something to tell: a refusal has a head of its own.
        self._began = True
        request = self._request
        request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Accel-Buffering", b"no")  # nginx would collect them
        request.registerProducer(self, True)
        request.write(b"retry: %d\n\n" % _RETRY_MS)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False

    def stopProducing(self) -> None:
        self._paused = True
