"""`/metrics`: what Prometheus reads, who may read it, and that no label is a secret."""

from __future__ import annotations

from attrs import field, frozen
from prometheus_client.parser import text_string_to_metric_families

from gptload.control.status import PlaneView
from gptload.core.breaker import State
from gptload.core.errors import DatabaseUnavailable
from gptload.core.histogram import Histogram
from gptload.link.messages import BreakerMoved
from tests.control.admin.conftest import METRICS_TOKEN, Admin

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@frozen
class GroupCounts:
    """As `gptload.proxy.counters.GroupCounts`."""

    attempts: dict[str, int]
    requests: dict[str, int]
    total: Histogram
    first_byte: Histogram
    first_token: Histogram = field(factory=Histogram)


async def scrape(admin: Admin, key: str = METRICS_TOKEN) -> Samples:
    answer = await admin.call("GET", "/metrics", key=key)
    assert answer.status == 200
    assert answer.fields["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.said.decode())
        for sample in family.samples
    }


def at(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


async def test_what_is_counted_is_told_by_group(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-one", "sk-two"])
    total = Histogram()
    for duration_ms in (10, 100, 1000):
        total.add(duration_ms)
    counts = admin.counters
    word = Histogram()
    word.add(250)
    counts.groups[group] = GroupCounts(
        {"ok": 4, "rate_limited": 1}, {"ok": 3}, total, Histogram(), word
    )
    counts.groups[999] = GroupCounts({"ok": 1}, {"ok": 1}, Histogram(), Histogram())  # it is gone
    counts.models["gpt-5"] = {"ok": 4, "rate_limited": 0}
    found = await scrape(admin)
    assert at(found, "gptload_requests_total", group="openai", outcome="ok") == 3
    assert at(found, "gptload_attempts_total", group="openai", outcome="rate_limited") == 1
    assert at(found, "gptload_model_attempts_total", model="gpt-5", outcome="ok") == 4
    assert at(found, "gptload_first_byte_seconds_count", group="openai") == 0
    assert at(found, "gptload_first_token_seconds_sum", group="openai") == 0.25
    name = "gptload_request_duration_seconds"
    assert at(found, f"{name}_count", group="openai") == 3
    assert at(found, f"{name}_sum", group="openai") == 1.11
    assert at(found, f"{name}_bucket", group="openai", le="0.008") == 0
    assert at(found, f"{name}_bucket", group="openai", le="0.016") == 1
    assert at(found, f"{name}_bucket", group="openai", le="0.128") == 2
    assert at(found, f"{name}_bucket", group="openai", le="+Inf") == 3
    assert at(found, "gptload_keys", group="openai", state="active") == 2
    assert at(found, "gptload_keys", group="openai", state="invalid") == 0
    groups = {dict(labels)["group"] for _, labels in found if "group" in dict(labels)}
    assert groups == {"openai"}
    assert "sk-one" not in str(found)


async def test_how_the_node_does_is_told(admin: Admin) -> None:
    status = admin.status
    status.look = lambda: PlaneView(3, 5, 2, 1000, 7)
    status.loop_delay.note(0.25)
    admin.breakers.moved(BreakerMoved("1 https://a", State.OPEN, 1.0, 2.0, ""))
    found = await scrape(admin)
    assert at(found, "gptload_info", version="1.2.3") == 1
    assert at(found, "gptload_exchanges_under_way") == 3
    assert at(found, "gptload_upstream_connections", state="busy") == 3
    assert at(found, "gptload_upstream_connections", state="idle") == 2
    assert at(found, "gptload_breakers", state="open") == 1
    assert at(found, "gptload_breakers", state="half_open") == 0
    assert at(found, "gptload_journal_waiting_bytes") == 1000
    assert at(found, "gptload_journal_dropped_records_total") == 7
    assert at(found, "gptload_database_up") == 1
    assert at(found, "gptload_event_loop_delay_seconds") == 0.25
    assert (at(found, "process_resident_memory_bytes") or 0) > 1_000_000


async def test_a_scrape_survives_the_database(admin: Admin) -> None:
    await admin.group()
    admin.status.job("records").failed(1.0, DatabaseUnavailable("The database is locked"))
    await admin.database.stop()
    found = await scrape(admin)
    assert at(found, "gptload_database_up") == 0
    assert at(found, "gptload_job_failures", job="records") == 1
    assert at(found, "gptload_keys", group="openai", state="active") is None


async def test_its_token_opens_nothing_else_and_nothing_else_opens_it(admin: Admin) -> None:
    for key in (None, "sk-wrong"):
        answer = await admin.call("GET", "/metrics", key=key)
        answer.refused(401, "UNAUTHORIZED")
    (await admin.call("GET", "/metrics")).refused(401, "UNAUTHORIZED")  # with AUTH_KEY
    (await admin.call("GET", "/api/groups", key=METRICS_TOKEN)).refused(401, "UNAUTHORIZED")
    (await admin.call("POST", "/metrics", key=METRICS_TOKEN)).refused(405, "METHOD_NOT_ALLOWED")
    (await admin.call("GET", "/metrics/x", key=METRICS_TOKEN)).refused(404, "NOT_FOUND")
