"""The service's numbers as Prometheus reads them.

Labels are bounded: groups that exist, outcomes, states, and as many models as the data
plane counts apart. No label is ever a key, and none comes from a client unbounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from attrs import field, frozen
from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gptload.control.breakers import Breakers
from gptload.control.jobs.records import Backlog
from gptload.control.snapshots import Snapshots
from gptload.control.spending import KINDS, Spending
from gptload.control.status import Status
from gptload.core.breaker import State
from gptload.core.histogram import Histogram

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST.encode("ascii")
# By `gptload.control.db.queries.health.keys_by_state`.
Keys = Mapping[tuple[int, str], int]
_STATES: Final = ("active", "resting", "invalid", "disabled")


class GroupCounts(Protocol):
    """One group's numbers, as `gptload.proxy.counters.GroupCounts`."""

    @property
    def attempts(self) -> Mapping[str, int]: ...
    @property
    def requests(self) -> Mapping[str, int]: ...
    @property
    def total(self) -> Histogram: ...
    @property
    def first_byte(self) -> Histogram: ...
    @property
    def first_token(self) -> Histogram: ...


class Counters(Protocol):
    """What a data plane has counted, as `gptload.proxy.counters.Counters`."""

    @property
    def groups(self) -> Mapping[int, GroupCounts]: ...
    @property
    def models(self) -> Mapping[str, Mapping[str, int]]: ...


@frozen
class Metrics:
    """Makes the text of one scrape. Holds no numbers of its own.

    Attributes:
        backlog: what waits in the journal's files.
        spent: tokens and cost by group, of what has been moved into the log.
    """

    version: str
    counters: Counters
    status: Status
    breakers: Breakers
    snapshots: Snapshots
    backlog: Callable[[], Backlog]
    spent: Callable[[], Mapping[int, Spending]] = field(default=dict)

    def text(self, keys: Keys | None) -> bytes:
        """The text.

        Args:
            keys: how many there are; None while the database doesn't say.
        """
        return generate_latest(_Scrape(self, keys))


@frozen
class _Scrape(Collector):
    """One scrape's families, in the shape that prometheus-client asks for."""

    metrics: Metrics
    keys: Keys | None

    def collect(self) -> Iterator[Metric]:
        yield from self._traffic()
        yield from self._spending()
        yield from self._pool()
        yield from self._node()
        yield from ProcessCollector(registry=None).collect()

    def _traffic(self) -> Iterator[Metric]:
        counters, names = self.metrics.counters, self._names()
        requests = CounterMetricFamily(
            "gptload_requests",
            "Client requests that have ended, by the outcome that the client got.",
            labels=("group", "outcome"),
        )
        attempts = CounterMetricFamily(
            "gptload_attempts",
            "Attempts that have ended; a request may take several.",
            labels=("group", "outcome"),
        )
        duration = HistogramMetricFamily(
            "gptload_request_duration_seconds",
            "From a client's request to the end of its answer.",
            labels=("group",),
        )
        first_byte = HistogramMetricFamily(
            "gptload_first_byte_seconds",
            "From an attempt's begin to the first byte of its response.",
            labels=("group",),
        )
        first_token = HistogramMetricFamily(
            "gptload_first_token_seconds",
            "From an attempt's begin to the first event with content, of streams.",
            labels=("group",),
        )
        for group_id, name in names.items():
            counts = counters.groups.get(group_id)
            if counts is None:
                continue
            for outcome, number in counts.requests.items():
                requests.add_metric((name, outcome), number)
            for outcome, number in counts.attempts.items():
                attempts.add_metric((name, outcome), number)
            _add(duration, name, counts.total)
            _add(first_byte, name, counts.first_byte)
            _add(first_token, name, counts.first_token)
        yield from (requests, attempts, duration, first_byte, first_token)
        models = CounterMetricFamily(
            "gptload_model_attempts",
            "Attempts that have ended, by the model asked for.",
            labels=("model", "outcome"),
        )
        for model, outcomes in counters.models.items():
            for outcome, number in outcomes.items():
                if number:  # most models never meet most outcomes
                    models.add_metric((model, outcome), number)
        yield models

    def _spending(self) -> Iterator[Metric]:
        tokens = CounterMetricFamily(
            "gptload_tokens",
            "Tokens that answers say they took, of what is in the request log. Cached and "
            "cache_write are part of input, reasoning is part of output.",
            labels=("group", "kind"),
        )
        cost = CounterMetricFamily(
            "gptload_cost_usd",
            "List price of the tokens whose price is known, US dollars.",
            labels=("group",),
        )
        spent = self.metrics.spent()
        for group_id, name in self._names().items():
            sums = spent.get(group_id)
            if sums is None:
                continue
            for kind in KINDS:
                tokens.add_metric((name, kind), getattr(sums, kind))
            if sums.priced:
                cost.add_metric((name,), sums.cost_nano / 1e9)
        yield from (tokens, cost)

    def _names(self) -> dict[int, str]:
        """Groups that are there, and "" for what was refused before one was found."""
        groups = self.metrics.snapshots.current.by_id
        return {0: "", **{group_id: group.name for group_id, group in groups.items()}}

    def _pool(self) -> Iterator[Metric]:
        if self.keys is not None:
            family = GaugeMetricFamily(
                "gptload_keys", "Pool keys by state.", labels=("group", "state")
            )
            for group_id, group in self.metrics.snapshots.current.by_id.items():
                if group.sub_groups is None:
                    for state in _STATES:
                        family.add_metric((group.name, state), self.keys.get((group_id, state), 0))
            yield family
        states = [moved.state for moved in self.metrics.breakers.listed()]
        breakers = GaugeMetricFamily(
            "gptload_breakers", "Ways to upstreams that are not well, by state.", labels=("state",)
        )
        for trouble in (State.OPEN, State.HALF_OPEN):
            breakers.add_metric((trouble.name.lower(),), states.count(trouble))
        yield breakers

    def _node(self) -> Iterator[Metric]:
        status = self.metrics.status
        plane, backlog = status.look(), self.metrics.backlog()
        info = GaugeMetricFamily("gptload_info", "Which version this is.", labels=("version",))
        info.add_metric((self.metrics.version,), 1)
        yield info
        yield _gauge("gptload_exchanges_under_way", "Client requests now.", plane.under_way)
        connections = GaugeMetricFamily(
            "gptload_upstream_connections", "Open connections to upstreams.", labels=("state",)
        )
        connections.add_metric(("busy",), plane.connections - plane.idle_connections)
        connections.add_metric(("idle",), plane.idle_connections)
        yield connections
        yield _gauge(
            "gptload_journal_waiting_bytes",
            "Attempt records that the database doesn't have yet, on the disk and in memory.",
            backlog.waiting_bytes + plane.journal_held_bytes,
        )
        yield _gauge("gptload_journal_segments", "Files of the journal.", backlog.segments)
        yield _gauge(
            "gptload_journal_limit_bytes",
            "What the journal's files may hold; 0 for no limit.",
            plane.journal_limit_bytes,
        )
        yield CounterMetricFamily(
            "gptload_journal_dropped_records",
            "Attempt records that were given up.",
            value=plane.journal_dropped,
        )
        yield _gauge(
            "gptload_database_up",
            "Whether the database can be used.",
            int(status.database_away() is None),
        )
        yield _gauge(
            "gptload_event_loop_delay_seconds",
            "By how much the event loop was late, of the last minute's worst beat.",
            status.loop_delay.worst_s,
        )
        failing = GaugeMetricFamily(
            "gptload_job_failures", "Failures of a job in a row; 0 is well.", labels=("job",)
        )
        for job in status.jobs.values():
            failing.add_metric((job.name,), job.failures)
        yield failing
        yield _gauge("gptload_start_time_seconds", "When this node was started.", status.started_at)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _add(family: HistogramMetricFamily, group: str, histogram: Histogram) -> None:
    shorter = histogram.by_doubling()
    buckets = [(f"{ms / 1000:g}", float(count)) for ms, count in shorter]
    family.add_metric(
        (group,), [*buckets, ("+Inf", float(histogram.count))], histogram.sum_ms / 1000
    )
