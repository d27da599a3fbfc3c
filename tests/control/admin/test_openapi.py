"""`/api/openapi.json`: it knows every route, and every route keeps to it."""

from __future__ import annotations

import json
import re
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gptload.control.admin.openapi import OPERATIONS
from tests.control.admin.conftest import AUTH_KEY, Admin

EXAMPLES = 6
# Small enough that something is there under most of them.
HIGHEST_ID = 3
# What these look for isn't so here. Every wrong key would be answered more slowly. Of a
# value in a query that makes no sense nothing is made, and fields that nobody knows are
# passed over, as in the reference. And what fits a schema can still name what isn't there.
NOT_CHECKED = (
    "ignored_auth",
    "negative_data_rejection",
    "positive_data_acceptance",
)


async def test_it_describes_every_route_and_no_other(admin: Admin) -> None:
    described = (await admin.call("GET", "/api/openapi.json", key=None)).said
    found = {
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    }
    assert found == set(OPERATIONS) - {("GET", "/metrics")}  # which is switched off here
    assert described["openapi"].startswith("3.1")
    named = set(re.findall(r"#/components/schemas/([^\"]+)", json.dumps(described)))
    assert named <= set(described["components"]["schemas"])


async def test_people_read_it_without_a_script(admin: Admin) -> None:
    answer = await admin.call("GET", "/api/docs", key=None)
    text = answer.said.decode()
    assert "PUT /api/settings" in text
    assert "<script" not in text
    assert "default-src 'none'" in answer.fields["content-security-policy"]


async def test_no_request_is_answered_in_another_way(admin: Admin, reactor: Any) -> None:
    """Hundreds of requests, right ones and wrong ones, made from the description."""
    group = await admin.group("first", proxy_keys="sk-of-the-group")
    await admin.aggregate("all", group)
    await admin.group("third")
    await admin.add_keys(group, ["sk-a", "sk-b"])
    await admin.api("PUT", "/settings", {"max_retries": 4})
    described = (await admin.call("GET", "/api/openapi.json", key=None)).said
    pool = ThreadPool(1, 1, name="schemathesis")
    pool.start()
    try:
        found = await deferToThreadPool(reactor, pool, _probe, described, admin.port)
    finally:
        pool.stop()
    assert found == []


def _probe(described: dict[str, Any], port: int) -> list[str]:
    load_all_checks()
    checks = [check for check in CHECKS.get_all() if check.__name__ not in NOT_CHECKED]
    del described["paths"]["/api/live"]  # it has no end; test_live.py reads it
    for methods in described["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["schema"].get("type") == "integer":
                    parameter["schema"] = parameter["schema"] | {"maximum": HIGHEST_ID}
    schema = schemathesis.openapi.from_dict(described)
    findings: list[str] = []
    for result in schema.get_all_operations():
        strategy = result.ok().as_strategy()

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def one(case: Any) -> None:
            try:
                case.call_and_validate(
                    base_url=f"http://127.0.0.1:{port}",
                    headers={"Authorization": f"Bearer {AUTH_KEY}"},
                    checks=checks,
                    timeout=30,
                )
            except (AssertionError, BaseExceptionGroup, requests.RequestException) as error:
                findings.append(f"{case.method} {case.path}: {error}"[:1500])

        one()
    return findings
