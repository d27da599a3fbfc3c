"""Who pays is a table, and a rule is data."""

from __future__ import annotations

from gptload.core.outcome import BLAME, Blame, Outcome, Rule, Scope


def test_every_outcome_has_its_blame() -> None:
    assert set(BLAME) == set(Outcome)


def test_only_a_rejection_counts_as_a_strike() -> None:
    assert [outcome for outcome in Outcome if BLAME[outcome].strike] == [Outcome.KEY_REJECTED]


def test_only_limits_rest_a_key() -> None:
    resting = {outcome for outcome in Outcome if BLAME[outcome].rest}
    assert resting == {Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED}


def test_no_outcome_has_two_to_blame() -> None:
    for blame in BLAME.values():
        assert blame in (Blame(), Blame(strike=True), Blame(rest=True), Blame(upstream=True))


def test_one_value_and_several_are_written_alike_in_a_rule() -> None:
    one = Rule(Outcome.KEY_REJECTED, status=401, code="bad", words="no such key")
    assert one == Rule(Outcome.KEY_REJECTED, status=(401,), code=("bad",), words=("no such key",))
    assert 404 in Rule(Outcome.REQUEST_FAULT, status=range(400, 500)).status


def test_a_rule_blames_the_upstream_for_its_faults_and_else_the_key() -> None:
    assert Rule(Outcome.UPSTREAM_FAULT).scope is Scope.UPSTREAM
    assert Rule(Outcome.KEY_REJECTED).scope is Scope.KEY
    assert Rule(Outcome.UPSTREAM_FAULT, "country", Scope.EGRESS).scope is Scope.EGRESS
