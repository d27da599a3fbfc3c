"""`/api/meta`: which node this is, what runs on it, and how one is signed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.web.iweb import IRequest

from gptload.control.admin.replies import reply, time_or_none, time_text
from gptload.control.admin.routing import make_routes
from gptload.control.admin.sessions import caller
from gptload.control.status import Status

LANGUAGES: Final = ("en-US", "zh-CN", "ja-JP")

ROLE: Final = "leader"
"""Of this node among others, as there are none."""


@frozen
class About:
    """What doesn't change while a node runs.

    Attributes:
        node: its host's name.
        build: of the dashboard, see `gptload.control.admin.site.Built`; empty without one.
        database: which kind, as SQLAlchemy calls it.
    """

    node: str
    version: str
    build: str
    database: str


class MetaRoutes:
    """Asks nobody, as `/api/status`. All of it is ours."""

    routes = make_routes()

    def __init__(self, seconds: Callable[[], float], about: About, status: Status) -> None:
        """
        Args:
            seconds: epoch seconds.
        """
        self._seconds = seconds
        self._about = about
        self._status = status

    @routes.route("/api/meta", methods=["GET"])
    async def shown(self, request: IRequest) -> bytes:
        about, away, who = self._about, self._status.database_away(), caller(request)
        shown: dict[str, Any] = {
            "node": about.node,
            "version": about.version,
            # What a page compares with the one that it was loaded from.
            "build": f"{about.version}+{about.build}" if about.build else about.version,
            "role": ROLE,
            "database": {"kind": about.database, "state": "ok" if away is None else "away"},
            "languages": LANGUAGES,
            "started_at": time_text(self._status.started_at),
            "now": time_text(self._seconds()),
            "session": {
                "by": "key" if who.has_key else "cookie",
                "expires_at": time_or_none(who.expires_at),
            },
        }
        return reply(request, shown)
