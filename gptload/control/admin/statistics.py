"""`/api/stats`: what happened in any range of time, to everything or to one part of it.

All of these are ours. They share their query: `from` and `to` (epoch milliseconds or
RFC 3339; the last 24 hours without them), `group`, `model` or `key`, `tz` (an IANA name,
for labels and for where days begin) and `cmp` (`previous`, `day`, `week` or `off`): the
time that figures are compared with, as long as the range so far.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from attrs import evolve, frozen
from sqlalchemy import Connection
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from gptload.control.admin.figures import DISTRIBUTIONS, figures_json
from gptload.control.admin.replies import reply, time_or_none, time_text
from gptload.control.admin.requests import identifier, moment, query, whole_number
from gptload.control.admin.routing import make_routes
from gptload.control.db.database import Database
from gptload.control.db.queries import statistics, timeline
from gptload.control.db.queries.keys import open_for_people
from gptload.control.groups import FRESH_S, Drain
from gptload.control.statistics import (
    DAY,
    EVERYTHING,
    POINT_STEPS,
    Axis,
    Span,
    Subject,
    Tally,
    axis,
    kept_s,
    of_group,
    of_key,
    of_model,
    of_pair,
    spans,
)
from gptload.control.waiting import at_most
from gptload.core.errors import ValidationFailed
from gptload.core.vault import Vault, mask
from gptload.core.waves import waves

_LONGEST_S: Final = 1830 * DAY
_EARLIER_S: Final = {"day": DAY, "week": 7 * DAY}
_TOP, _MOST_TOP = 10, 100
_COURSE: Final = 31
"""Points of a course at most."""
_MOST_MOMENTS: Final = 10_000
_KINDS: Final = ("group", "model", "key", "upstream")


@frozen
class _Asked:
    """What the shared query asks for.

    Attributes:
        since, until: epoch seconds; `until` is not in the range.
        shift_s: how long before lies what it is compared with; None for nothing.
    """

    since: float
    until: float
    now: float
    subject: Subject
    zone: tzinfo
    shift_s: float | None

    @property
    def elapsed(self) -> float:
        """Where the range ends, or has come by now."""
        return max(self.since, min(self.until, self.now))

    def before(self) -> _Asked | None:
        """The time to compare with: as much of it as has passed of this one."""
        if self.shift_s is None:
            return None
        since, until = self.since - self.shift_s, self.elapsed - self.shift_s
        return evolve(self, since=since, until=until)

    def read(self, connection: Connection) -> Tally:
        """All of the range."""
        return statistics.tally(connection, self.subject, self.spans(self.subject.kind))

    def spans(self, kind: str) -> list[Span]:
        """What is read of a kind of subject."""
        return spans(self.since, self.until, self.now, kept_s(kind))

    def covered(self, kind: str) -> tuple[int, int]:
        """The range that is really read, epoch seconds: it begins and ends with a step."""
        found = self.spans(kind)
        return found[0].since, found[-1].until

    def seconds(self, kind: str) -> float:
        """How much of that has passed."""
        since, until = self.covered(kind)
        return min(until, self.now) - since

    def axis(self, step: int) -> Axis:
        """The range cut into points."""
        return axis(self.since, self.until, self.now, self.zone, step, kept_s(self.subject.kind))

    def course(self, kind: str) -> Axis:
        """The range cut into as few points as tell a course, read from as few rows."""
        length = self.until - self.since
        step = next((each for each in POINT_STEPS if length / each <= _COURSE), DAY)
        return axis(self.since, self.until, self.now, self.zone, step, kept_s(kind))


class StatisticsRoutes:
    """Only reads."""

    routes = make_routes()

    def __init__(self, clock: IReactorTime, database: Database, vault: Vault, drain: Drain) -> None:
        self._clock = clock
        self._database = database
        self._vault = vault
        self._drain = drain

    async def _asked(self, request: IRequest) -> _Asked:
        asked = _read_query(request, self._clock.seconds())
        await at_most(self._clock, FRESH_S, self._drain())
        return asked

    @routes.route("/api/stats/summary", methods=["GET"])
    async def summary(self, request: IRequest) -> bytes:
        asked = await self._asked(request)
        before = asked.before()
        now, then = await self._database.read(_both, asked, before)
        shown = _range_json(asked) | {
            "current": figures_json(now, asked.seconds(asked.subject.kind))
        }
        shown["previous"] = None
        if before is not None:
            elapsed = figures_json(then, before.seconds(asked.subject.kind))
            shown["previous"] = _range_json(before) | elapsed
        return reply(request, shown)

    @routes.route("/api/stats/series", methods=["GET"])
    async def series(self, request: IRequest) -> bytes:
        asked = await self._asked(request)
        line = asked.axis(_step(request))
        found = await self._database.read(statistics.points, asked.subject, line)
        shown = _axis_json(line, asked) | {
            "points": [_point_json(line, at, found.get(at)) for at in line.points]
        }
        before = asked.before()
        shown["previous"] = None
        if before is not None:
            # By its own axis: of times so long ago there may be hours only.
            whole = evolve(before, until=before.since + (asked.until - asked.since))
            past = whole.axis(line.step)
            earlier = await self._database.read(statistics.points, asked.subject, past)
            shown["previous"] = _axis_json(past, whole) | {
                "points": [_point_json(past, at, earlier.get(at)) for at in past.points]
            }
        return reply(request, shown)

    @routes.route("/api/stats/latency", methods=["GET"])
    async def latency(self, request: IRequest) -> bytes:
        kind = query(request, "kind") or "total"
        chosen = DISTRIBUTIONS.get(kind)
        if chosen is None:
            raise ValidationFailed(f"kind is {_either(DISTRIBUTIONS)}")
        asked = await self._asked(request)
        line = asked.axis(_step(request))
        found = await self._database.read(statistics.points, asked.subject, line)
        by_point = {at: chosen.counts(tally) for at, tally in found.items()}
        whole: dict[int, int] = {}
        for counts in by_point.values():
            for bucket, count in counts.items():
                whole[bucket] = whole.get(bucket, 0) + count
        columns = [
            {"at": at, "label": line.label(at)}
            | chosen.percentiles(by_point.get(at, {}))
            | {"counts": sorted(by_point.get(at, {}).items())}
            for at in line.points
        ]
        shown = _axis_json(line, asked) | {
            "kind": kind,
            # Each bucket's least and greatest in milliseconds, both included.
            "bounds_ms": chosen.bounds(),
            "columns": columns,
            "whole": chosen.percentiles(whole) | {"counts": sorted(whole.items())},
        }
        return reply(request, shown)

    @routes.route("/api/stats/errors", methods=["GET"])
    async def errors(self, request: IRequest) -> bytes:
        asked = await self._asked(request)
        now, then = await self._database.read(_both, asked, asked.before())
        earlier = statistics.failures(then.ends)
        found = statistics.failures(now.ends)
        ranked = sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
        items = [
            {
                "outcome": outcome,
                "status_code": status,
                "reason": reason,
                "requests": requests,
                "attempts": attempts,
                "attempts_before": earlier.get((outcome, status, reason), (0, 0))[1],
            }
            for (outcome, status, reason), (requests, attempts) in ranked
        ]
        return reply(request, _range_json(asked) | {"items": items})

    @routes.route("/api/stats/waves", methods=["GET"])
    async def waves(self, request: IRequest) -> bytes:
        limit = min(whole_number(query(request, "limit")) or _TOP, _MOST_TOP)
        asked = _read_query(request, self._clock.seconds())
        if asked.subject.kind not in ("all", "group"):
            raise ValidationFailed("Waves are of everything, or of one group")
        shown = await self._database.read(_waves, asked, limit)
        return reply(request, shown)

    @routes.route("/api/stats/top", methods=["GET"])
    async def top(self, request: IRequest) -> bytes:
        kinds = (query(request, "by") or "group").split(",")
        if not set(kinds) <= set(_KINDS):
            raise ValidationFailed(f"by is one or some of {', '.join(_KINDS)}")
        sort = query(request, "sort") or "attempts"
        if sort not in ("attempts", "failures"):
            raise ValidationFailed("sort is attempts or failures")
        course = query(request, "course")
        if course and course not in DISTRIBUTIONS:
            raise ValidationFailed(f"course is {_either(DISTRIBUTIONS)}")
        limit = min(whole_number(query(request, "limit")) or _TOP, _MOST_TOP)
        asked = await self._asked(request)
        if asked.subject.kind not in ("all", "group"):
            raise ValidationFailed("Top lists are of everything, or of one group")
        shown = await self._database.read(
            _top_lists, self._vault, asked, kinds, sort == "failures", limit, course
        )
        return reply(request, _range_json(asked) | shown)


def _either(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _both(connection: Connection, asked: _Asked, before: _Asked | None) -> tuple[Tally, Tally]:
    return asked.read(connection), Tally() if before is None else before.read(connection)


def _course_json(line: statistics.Top, kind: str | None, along: Axis | None) -> dict[str, Any]:
    """The 95th percentile from point to point, null where nothing happened."""
    if along is None or not kind:
        return {}
    chosen = DISTRIBUTIONS[kind]
    counts = [chosen.counts(line.course.get(at, Tally())) for at in along.points]
    return {"course_p95_ms": [chosen.percentiles(one)["p95_ms"] for one in counts]}


def _waves(connection: Connection, asked: _Asked, limit: int) -> dict[str, Any]:
    group_id = asked.subject.group_id if asked.subject.kind == "group" else 0
    moments = timeline.latest(connection, asked.since, asked.until, group_id, _MOST_MOMENTS)
    found = waves(moments)[:limit]
    names = statistics.group_names(connection, {wave.group_id for wave in found})
    return {
        "items": [
            {
                "group_id": wave.group_id,
                "group_name": names.get(wave.group_id, ("", ""))[0],
                "event": wave.event.value,
                "reason": wave.reason,
                "status_code": wave.status,
                "since": time_text(wave.since),
                "at": time_text(wave.at),
                "until": time_or_none(wave.until),
                "keys": len(wave.key_ids),
                # Of one key there is more to see.
                "key_id": next(iter(wave.key_ids)) if len(wave.key_ids) == 1 else None,
            }
            for wave in found
        ]
    }


def _top_lists(
    connection: Connection,
    vault: Vault,
    asked: _Asked,
    kinds: list[str],
    by_failures: bool,
    limit: int,
    course: str | None,
) -> dict[str, Any]:
    before = asked.before()
    group_id = asked.subject.group_id if asked.subject.kind == "group" else None
    shown = {}
    for kind in dict.fromkeys(kinds):
        # Models are counted once for all groups, and once for each.
        counted = "pair" if kind == "model" and group_id is not None else kind
        along = asked.course(counted) if course else None
        lines, total = statistics.top(
            connection,
            counted,
            asked.spans(counted),
            before.spans(counted) if before is not None else [],
            group_id=group_id,
            by_failures=by_failures,
            limit=limit,
            along=along,
        )
        ids = {line.subject.group_id for line in lines}
        names = statistics.group_names(connection, ids)
        keys: dict[int, str] = {}
        if kind == "key":
            key_ids = [int(line.subject.id) for line in lines if line.subject.id.isdigit()]
            keys = statistics.key_values(connection, key_ids)
        shown[kind] = {
            "total": total,
            "items": [
                _name_json(kind, line.subject, names, keys, vault)
                | figures_json(line.tally, asked.seconds(counted))
                | {"requests_before": line.before[0], "attempts_before": line.before[1]}
                | _course_json(line, course, along)
                for line in lines
            ],
        }
    return shown


def _name_json(
    kind: str,
    subject: Subject,
    names: dict[int, tuple[str, str]],
    keys: dict[int, str],
    vault: Vault,
) -> dict[str, Any]:
    """Who a line is about; a line without an id is whoever came too late to be told apart."""
    if not subject.id.isascii():
        return {"id": None, "name": "", "group_id": None, "group_name": "", "group_type": ""}
    group_name, group_type = names.get(subject.group_id, ("", ""))
    shown: dict[str, Any] = {
        "group_id": subject.group_id or None,
        "group_name": group_name,
        "group_type": group_type,
    }
    if kind == "group":
        return shown | {"id": subject.group_id, "name": group_name or subject.name}
    if kind == "key":
        stored = keys.get(int(subject.id))
        value = None if stored is None else open_for_people(vault, stored)
        return shown | {"id": int(subject.id), "name": mask(value) if value else ""}
    return shown | {"id": subject.name, "name": subject.name}


def _read_query(request: IRequest, now: float) -> _Asked:
    until = _moment(request, "to", now)
    since = _moment(request, "from", until - DAY)
    if not until - _LONGEST_S <= since < until:
        raise ValidationFailed("from must lie before to, by five years at most")
    compared = query(request, "cmp") or "previous"
    if compared not in ("previous", "off", *_EARLIER_S):
        raise ValidationFailed("cmp is previous, day, week or off")
    shift = None if compared == "off" else _EARLIER_S.get(compared, until - since)
    return _Asked(since, until, now, _subject(request), _zone(query(request, "tz")), shift)


def _moment(request: IRequest, name: str, default: float) -> float:
    text = query(request, name)
    if not text:
        return default
    return moment(text, name)


def _subject(request: IRequest) -> Subject:
    group, model, key = (query(request, name) for name in ("group", "model", "key"))
    if key:
        if group or model:
            raise ValidationFailed("key goes with neither group nor model")
        return of_key(identifier(key, "key is no id", ValidationFailed))
    group_id = identifier(group, "group is no id", ValidationFailed) if group else 0
    if model:
        return of_pair(group_id, model) if group_id else of_model(model)
    return of_group(group_id) if group_id else EVERYTHING


def _zone(name: str) -> tzinfo:
    if not name or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
        raise ValidationFailed("tz is no IANA time zone") from None
    except KeyError:
        raise ValidationFailed("tz is no IANA time zone") from None


def _step(request: IRequest) -> int:
    return whole_number(query(request, "step")) or 0


def _range_json(asked: _Asked, kind: str = "") -> dict[str, Any]:
    since, until = asked.covered(kind or asked.subject.kind)
    return {"from": since * 1000, "to": until * 1000}


def _axis_json(line: Axis, asked: _Asked) -> dict[str, Any]:
    """`running_from`: the point that isn't over; what lies behind it is the future."""
    running = next((at for at in reversed(line.points) if at <= asked.now), None)
    is_running = asked.now < line.until
    return {
        "from": line.since * 1000,
        "to": line.until * 1000,
        "step_s": line.step,
        "running_from": running if is_running else None,
    }


def _point_json(line: Axis, at: int, tally: Tally | None) -> dict[str, Any]:
    tally = tally or Tally()
    following = line.points[line.points.index(at) + 1 :][:1] or [line.until]
    return {"at": at, "label": line.label(at)} | figures_json(tally, following[0] - at)
