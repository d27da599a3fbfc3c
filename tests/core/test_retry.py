"""After each outcome: return, retry, or retry elsewhere."""

import pytest
from attrs import evolve

from gptload.core.outcome import Outcome
from gptload.core.retry import AFTER, Next, decide
from gptload.core.settings import Settings

SETTINGS = evolve(Settings(), max_retries=3, failover=None)


def test_every_outcome_is_named() -> None:
    assert set(AFTER) == set(Outcome)


@pytest.mark.parametrize("outcome", Outcome)
def test_the_outcome_decides_where_nobody_has_set_a_policy(outcome: Outcome) -> None:
    assert decide(outcome, 500, 1, SETTINGS, repeatable=True) is AFTER[outcome]


@pytest.mark.parametrize("outcome", Outcome)
def test_nothing_follows_the_last_attempt_or_a_body_that_is_gone(outcome: Outcome) -> None:
    assert decide(outcome, 500, 4, SETTINGS, repeatable=True) is Next.RETURN
    assert decide(outcome, 500, 1, SETTINGS, repeatable=False) is Next.RETURN


def test_max_retries_counts_what_comes_after_the_first() -> None:
    assert decide(Outcome.KEY_REJECTED, 401, 3, SETTINGS, repeatable=True) is Next.RETRY
    none = evolve(SETTINGS, max_retries=0)
    assert decide(Outcome.KEY_REJECTED, 401, 1, none, repeatable=True) is Next.RETURN


def test_a_set_policy_is_the_whole_policy_of_statuses() -> None:
    """DESIGN decision 7: what is in the set is retried, what isn't is not."""
    policy = evolve(SETTINGS, failover=frozenset({404, 503}))
    assert decide(Outcome.REQUEST_FAULT, 404, 1, policy, repeatable=True) is Next.RETRY
    assert decide(Outcome.UPSTREAM_FAULT, 503, 1, policy, repeatable=True) is Next.RETRY_ELSEWHERE
    assert decide(Outcome.KEY_REJECTED, 401, 1, policy, repeatable=True) is Next.RETURN
    assert decide(Outcome.CLIENT_GONE, 404, 1, policy, repeatable=True) is Next.RETURN


def test_a_policy_may_name_a_success_and_is_bound_by_the_same_limits() -> None:
    """1xx to 3xx may be listed, and then count as failures."""
    policy = evolve(SETTINGS, failover=frozenset({200, 302}))
    assert decide(Outcome.OK, 302, 1, policy, repeatable=True) is Next.RETRY
    assert decide(Outcome.OK, 302, 4, policy, repeatable=True) is Next.RETURN
    assert decide(Outcome.OK, 302, 1, policy, repeatable=False) is Next.RETURN


def test_an_empty_policy_still_leaves_transport_faults_to_the_outcome() -> None:
    policy = evolve(SETTINGS, failover=frozenset())
    assert decide(Outcome.UPSTREAM_FAULT, 500, 1, policy, repeatable=True) is Next.RETURN
    after = decide(Outcome.UPSTREAM_FAULT, None, 1, policy, repeatable=True)
    assert after is Next.RETRY_ELSEWHERE
