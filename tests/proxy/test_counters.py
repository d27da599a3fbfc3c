"""What the data plane counts: every attempt once, and no more labels than there may be."""

from __future__ import annotations

from gptload.proxy.counters import MODELS, OTHER, Counters
from tests.parts.records import make_record


def test_every_attempt_counts_and_every_request_once() -> None:
    counters = Counters()
    counters.count([make_record(outcome="rate_limited", is_final=False, first_byte_ms=20)])
    counters.count([make_record(outcome="ok", total_ms=500, first_byte_ms=40, first_token_ms=70)])
    counters.count([make_record(outcome="upstream_fault", total_ms=900, first_byte_ms=None)])
    group = counters.groups[1]
    assert {name: n for name, n in group.attempts.items() if n} == {
        "ok": 1,
        "rate_limited": 1,
        "upstream_fault": 1,
    }
    assert {name: n for name, n in group.requests.items() if n} == {"ok": 1, "upstream_fault": 1}
    assert (group.total.count, group.total.sum_ms) == (2, 1400)
    assert (group.first_byte.count, group.first_byte.sum_ms) == (2, 60)
    assert (group.first_token.count, group.first_token.sum_ms) == (1, 70)


def test_groups_are_apart_and_forgotten_when_they_are_gone() -> None:
    counters = Counters()
    for group_id in (0, 1, 2, 3):
        counters.count([make_record(group_id=group_id)])
    counters.keep({1: "one", 3: "three"})
    assert set(counters.groups) == {0, 1, 3}


def test_a_client_that_invents_models_does_not_fill_the_memory() -> None:
    counters = Counters()
    for number in range(3 * MODELS):
        counters.count([make_record(model=f"model-{number}")])
    assert len(counters.models) == MODELS + 1
    assert counters.models[OTHER]["ok"] == 2 * MODELS
    counters.count([make_record(model="model-0")])
    assert counters.models["model-0"]["ok"] == 2
