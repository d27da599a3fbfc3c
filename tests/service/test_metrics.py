"""`/metrics` and `/api/status` of the real service: what it did is what it tells."""

from __future__ import annotations

from collections.abc import Callable

from tests.parts.calls import chat
from tests.parts.service import Service, wait_for
from tests.service.conftest import make_group
from tests.upstream.control import Upstream

TOKEN = "metrics-Zk3vT2-mB9kLw"
JOBS = {"database", "ledger", "owners", "records", "retention", "validation"}


def test_prometheus_reads_what_was_done_and_no_key(
    own_service: Callable[..., Service], upstream: Upstream
) -> None:
    service = own_service(METRICS_TOKEN=TOKEN).start()
    service.keep_secret(TOKEN)
    group = make_group(service, upstream, "counted", keys=2)
    upstream.script(keys={group.keys[0]: "invalid_api_key"})
    for _ in range(2):
        assert service.ask(chat(group.name)).status == 200
    assert service.call("GET", "/metrics")[0] == 401  # with AUTH_KEY
    status, text = service.call("GET", "/metrics", key=TOKEN)
    assert status == 200
    assert 'gptload_requests_total{group="counted",outcome="ok"} 2.0' in text
    assert 'gptload_attempts_total{group="counted",outcome="key_rejected"}' in text
    assert 'gptload_first_byte_seconds_count{group="counted"}' in text
    assert 'gptload_keys{group="counted",state="active"} 2.0' in text
    assert "gptload_database_up 1.0" in text
    assert not any(key in text for key in group.keys)


def test_without_a_token_or_a_switch_there_are_no_metrics(
    own_service: Callable[..., Service],
) -> None:
    service = own_service().start()
    assert service.call("GET", "/metrics")[0] == 404


def test_with_the_switch_alone_auth_key_opens_them(own_service: Callable[..., Service]) -> None:
    service = own_service(METRICS_ENABLED="true").start()
    assert service.call("GET", "/metrics")[0] == 200
    assert service.call("GET", "/metrics", key=None)[0] == 401


def test_the_status_names_every_job_and_none_fails(own_service: Callable[..., Service]) -> None:
    service = own_service().start()

    def told() -> dict[str, str]:
        jobs = service.api("GET", "/status")["jobs"]
        return {job["name"]: job["state"] for job in jobs}

    assert set(told()) >= JOBS
    assert set(told().values()) == {"ok"}
    status = wait_for(
        lambda: service.api("GET", "/status"),
        lambda found: all(
            job["last_success_at"]
            for job in found["jobs"]
            if job["name"] in ("database", "validation", "retention")
        ),
    )
    assert status["database"] == {"state": "ok", "since": None, "reason": ""}
    assert status["exchanges_under_way"] == 0
