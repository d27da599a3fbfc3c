"""`/api/status` and `/api/nodes`: how this node does, and which of its jobs fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.iweb import IRequest

from gptload.control.admin.meta import ROLE, About
from gptload.control.admin.replies import reply, time_or_none, time_text
from gptload.control.admin.routing import make_routes
from gptload.control.breakers import Breakers
from gptload.control.jobs.records import Backlog
from gptload.control.status import Job, Status
from gptload.core.breaker import State


class StatusRoutes:
    """Asks nobody: what it tells is known, so it answers at once whatever is away."""

    routes = make_routes()

    def __init__(
        self,
        seconds: Callable[[], float],
        about: About,
        status: Status,
        breakers: Breakers,
        backlog: Callable[[], Backlog],
        settings_version: Callable[[], int],
    ) -> None:
        """
        Args:
            seconds: epoch seconds.
            backlog: what waits in the journal's files.
            settings_version: of the snapshot that the data plane works with.
        """
        self._seconds = seconds
        self._about = about
        self._status = status
        self._breakers = breakers
        self._backlog = backlog
        self._settings_version = settings_version

    @routes.route("/api/status", methods=["GET"])
    async def shown(self, request: IRequest) -> bytes:
        return reply(request, self._parts())

    @routes.route("/api/nodes", methods=["GET"])
    async def nodes(self, request: IRequest) -> bytes:
        """This one: there are no others in this version."""
        parts, now = self._parts(), self._seconds()
        database = {"kind": self._about.database, **parts["database"]}
        node = {
            "name": self._about.node,
            "role": ROLE,
            **parts,
            "uptime_s": max(0, int(now - self._status.started_at)),
            "last_seen_at": time_text(now),
            "settings_version": self._settings_version(),
            "database": database,
        }
        return reply(request, [node])

    def _parts(self) -> dict[str, Any]:
        status = self._status
        plane, backlog, away = status.look(), self._backlog(), status.database_away()
        ways = [moved.way for moved in self._breakers.listed() if moved.state is State.OPEN]
        return {
            "version": self._about.version,
            "started_at": time_text(status.started_at),
            "database": {
                "state": "ok" if away is None else "away",
                "since": None if away is None else time_text(away.since),
                "reason": "" if away is None else away.reason,
            },
            "journal": {
                "waiting_bytes": backlog.waiting_bytes + plane.journal_held_bytes,
                "segments": backlog.segments,
                "dropped": plane.journal_dropped,
                "limit_bytes": plane.journal_limit_bytes,
            },
            "jobs": [job_json(job) for _, job in sorted(status.jobs.items())],
            "breakers_open": ways,
            "exchanges_under_way": plane.under_way,
            "connections": {"open": plane.connections, "idle": plane.idle_connections},
            "event_loop": {
                "delay_ms": round(status.loop_delay.last_s * 1000, 3),
                "worst_ms": round(status.loop_delay.worst_s * 1000, 3),
            },
        }


def job_json(job: Job) -> dict[str, Any]:
    """One job: how its last turns went, and when it tries again."""
    return {
        "name": job.name,
        "state": "failing" if job.failures else "ok",
        "last_success_at": time_or_none(job.last_success_at),
        "last_failure_at": time_or_none(job.last_failure_at),
        "last_failure": job.last_failure,
        "failures": job.failures,
        "failing_since": time_or_none(job.failing_since),
        "next_run_at": time_or_none(job.next_run_at),
    }
