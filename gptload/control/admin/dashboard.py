"""`/api/dashboard`: how all is going, on one page."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen
from sqlalchemy import Connection
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from gptload.control.admin.replies import language, reply, time_text
from gptload.control.admin.requests import identifier, query
from gptload.control.admin.routing import make_routes
from gptload.control.db.database import Database
from gptload.control.db.queries import encryption, groups, statistics
from gptload.control.db.queries.encryption import mismatch
from gptload.control.db.queries.statistics import HOUR_S, Requests
from gptload.control.groups import FRESH_S, Drain
from gptload.control.ledger import Ledger
from gptload.control.snapshots import Snapshots
from gptload.control.waiting import at_most
from gptload.core import texts
from gptload.core.settings import split_keys
from gptload.core.strength import Weakness, weaknesses
from gptload.core.texts import Language
from gptload.core.vault import Vault

DAY_S: Final = 24 * HOUR_S
_RATE_S: Final = 600
_CHART_HOURS: Final = 24
# What each mismatch means, and what to do.
_MISMATCHES: Final = {
    "": ("", ""),
    "data_not_encrypted": (
        "ENCRYPTION_KEY is set, but the keys in the database are not encrypted",
        "Stop the service and encrypt them: gptload migrate-keys --to KEY",
    ),
    "key_not_configured": (
        "The keys in the database are encrypted, but ENCRYPTION_KEY is not set",
        "Start with their ENCRYPTION_KEY, or decrypt them: gptload migrate-keys --from KEY",
    ),
    "key_mismatch": (
        "The keys in the database were encrypted with another ENCRYPTION_KEY",
        "Start with their ENCRYPTION_KEY, or change it: gptload migrate-keys --from OLD --to NEW",
    ),
}
_GOOD_COLOR, _BAD_COLOR = "rgba(10, 200, 110, 1)", "rgba(255, 70, 70, 1)"


@frozen
class Secrets:
    """What the warnings judge. They are never shown."""

    auth_key: str
    encryption_key: str

    def __repr__(self) -> str:
        return "Secrets(…)"


@frozen
class _Counts:
    """All numbers of the dashboard, read at one moment. `before` is the time as long before."""

    keys: dict[str, int]
    exchanges: int
    exchanges_before: int
    day: Requests
    day_before: Requests
    proxy_keys: list[tuple[str, str]]


class DashboardRoutes:
    """Only reads."""

    routes = make_routes()

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        ledger: Ledger,
        snapshots: Snapshots,
        drain: Drain,
        secrets: Secrets,
        vault: Vault,
    ) -> None:
        self._clock = clock
        self._database = database
        self._ledger = ledger
        self._snapshots = snapshots
        self._drain = drain
        self._secrets = secrets
        self._vault = vault

    @routes.route("/api/dashboard/stats", methods=["GET"])
    async def stats(self, request: IRequest) -> bytes:
        await at_most(self._clock, FRESH_S, self._drain())
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        counts = await self._database.read(_counts, self._clock.seconds())
        return reply(
            request,
            {
                "key_count": _key_card(counts.keys, language(request)),
                "rpm": _growth_card(
                    counts.exchanges, counts.exchanges_before, counts.exchanges * 60 / _RATE_S
                ),
                "request_count": _growth_card(
                    counts.day.total, counts.day_before.total, float(counts.day.total)
                ),
                "error_rate": _error_card(counts.day, counts.day_before),
                "security_warnings": self._warnings(counts.proxy_keys, language(request)),
            },
        )

    def _warnings(
        self, group_keys: list[tuple[str, str]], wanted: Language
    ) -> list[dict[str, str]]:
        found = _shown("AUTH_KEY", weaknesses("AUTH_KEY", self._secrets.auth_key), wanted)
        if self._secrets.encryption_key:
            sealing = weaknesses("ENCRYPTION_KEY", self._secrets.encryption_key)
        else:
            sealing = [
                Weakness(
                    "high",
                    "ENCRYPTION_KEY is not set: API keys are stored as plain text",
                    "Set it before you add keys, and keep a copy: without it they are lost.",
                )
            ]
        found += _shown("ENCRYPTION_KEY", sealing, wanted)
        system = split_keys(str(self._snapshots.system.get("proxy_keys", "")))
        label = texts.label("Global Proxy Key", wanted)
        named = [(f"{label} #{number}", key) for number, key in enumerate(system, 1)]
        label = texts.label("Group Proxy Key", wanted)
        for name, keys in group_keys:
            named += [
                (f"{label} [{name}] #{number}", key)
                for number, key in enumerate(split_keys(keys), 1)
            ]
        for name, key in named:
            found += _shown(name, weaknesses(name, key), wanted)
        return found

    @routes.route("/api/dashboard/chart", methods=["GET"])
    async def chart(self, request: IRequest) -> bytes:
        asked = query(request, "groupId")
        group_id = identifier(asked, "Invalid groupId format") if asked else None
        await at_most(self._clock, FRESH_S, self._drain())
        end = self._clock.seconds() // HOUR_S * HOUR_S + HOUR_S
        begin = end - _CHART_HOURS * HOUR_S
        by_hour = await self._database.read(statistics.hourly, begin, end, group_id)
        hours = [int(begin) + number * HOUR_S for number in range(_CHART_HOURS)]
        found = [by_hour.get(hour, Requests()) for hour in hours]
        good = [requests.succeeded for requests in found]
        bad = [requests.failed for requests in found]
        wanted = language(request)
        data = {
            "labels": [time_text(hour) for hour in hours],
            "datasets": [
                {"label": texts.label("Success", wanted), "data": good, "color": _GOOD_COLOR},
                {"label": texts.label("Failed", wanted), "data": bad, "color": _BAD_COLOR},
            ],
        }
        return reply(request, data)

    @routes.route("/api/dashboard/encryption-status", methods=["GET"])
    async def encryption_status(self, request: IRequest) -> bytes:
        sample = await self._database.read(encryption.sample, self._vault)
        scenario = mismatch(sample, self._vault.encrypts)
        message, suggestion = _MISMATCHES[scenario]
        wanted = language(request)
        data = {
            "has_mismatch": bool(scenario),
            "scenario_type": scenario,
            "message": texts.message(message, wanted),
            "suggestion": texts.message(suggestion, wanted),
        }
        return reply(request, data)


def _counts(connection: Connection, now: float) -> _Counts:
    # No end: an hour or a record that a clock put a little ahead of ours counts too.
    later = now + DAY_S
    return _Counts(
        keys=statistics.keys_by_status(connection),
        exchanges=statistics.count_exchanges(connection, now - _RATE_S, later),
        exchanges_before=statistics.count_exchanges(connection, now - 2 * _RATE_S, now - _RATE_S),
        day=statistics.requests(connection, now - DAY_S, later),
        day_before=statistics.requests(connection, now - 2 * DAY_S, now - DAY_S),
        proxy_keys=[
            (group["name"], group["proxy_keys"]) for group in groups.all_groups(connection)
        ],
    )


def _key_card(keys: dict[str, int], wanted: Language) -> dict[str, Any]:
    card = _card(float(keys.get("active", 0)), 0.0, is_growth=False)
    if invalid := keys.get("invalid", 0):
        card |= {"sub_value": invalid, "sub_value_tip": texts.label("Invalid Keys", wanted)}
    return card


def _growth_card(now: int, before: int, value: float) -> dict[str, Any]:
    newly = 100.0 if now else 0.0
    trend = (now - before) / before * 100 if before else newly
    return _card(value, trend, is_growth=trend >= 0)


def _error_card(now: Requests, before: Requests) -> dict[str, Any]:
    rate, rate_before = now.failure_rate * 100, before.failure_rate * 100
    if before.total:
        return _card(rate, rate - rate_before, is_growth=rate < rate_before)
    return _card(rate, rate, is_growth=rate == 0)


def _card(value: float, trend: float, *, is_growth: bool) -> dict[str, Any]:
    return {"value": value, "trend": trend, "trend_is_growth": is_growth}


def _shown(kind: str, found: list[Weakness], wanted: Language) -> list[dict[str, str]]:
    return [
        {
            "type": kind,
            "message": texts.message(weakness.message, wanted),
            "severity": weakness.severity,
            "suggestion": texts.message(weakness.suggestion, wanted),
        }
        for weakness in found
    ]
