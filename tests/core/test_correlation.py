"""Which failures are the way's: table tests for the rows of the specification, and laws."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from gptload.core.correlation import LONGEST_S, WINDOW_S, Cause, Correlation, Finding

T = 1_800_000_000.0
WAY = "https://api.example.com"
REJECTED = "K2 invalid_api_key"
LIMITED = "L2 rate_limit_exceeded"


@frozen
class Failure:
    """What a data plane reports; times are seconds after `T`."""

    key: int
    after_s: float = 0.0
    account: str = ""
    signature: str = REJECTED
    ok_after_s: float | None = None
    way: str = WAY
    proven: bool = True
    serving: int = 0


def see(correlation: Correlation, failures: Iterable[Failure]) -> list[Finding | None]:
    return [
        correlation.observe(
            at=T + failure.after_s,
            way=failure.way,
            key_id=failure.key,
            account=failure.account,
            signature=failure.signature,
            others_ok_at=None if failure.ok_after_s is None else T + failure.ok_after_s,
            proven=failure.proven,
            serving=failure.serving,
        )
        for failure in failures
    ]


def found(failures: Iterable[Failure]) -> list[Finding | None]:
    return see(Correlation(), failures)


def last(failures: Iterable[Failure]) -> Finding | None:
    return found(failures)[-1]


THREE = [Failure(1, 0.0), Failure(2, 0.5), Failure(3, 1.0)]


# The rows of the specification's table.


def test_three_keys_that_fail_alike_are_the_ways_trouble() -> None:
    assert found(THREE) == [
        None,
        None,
        Finding(
            Cause.WAY,
            WAY,
            (1, 2, 3),
            REJECTED,
            "3 keys were answered alike: K2 invalid_api_key",
            since=T,
        ),
    ]


@pytest.mark.parametrize(
    ("accounts", "cause"),
    [
        (("", "", ""), Cause.WAY),
        (("a", "b", "c"), Cause.WAY),
        (("a", "a", "b"), Cause.WAY),
        (("a", "a", ""), Cause.WAY),  # the unknown one may be anybody's
        (("a", "a", "a"), Cause.ACCOUNT),
    ],
)
def test_whose_trouble_it_is_depends_on_the_accounts(
    accounts: tuple[str, ...], cause: Cause
) -> None:
    finding = last(
        evolve(one, account=account) for one, account in zip(THREE, accounts, strict=True)
    )
    assert finding is not None and finding.cause is cause


def test_an_accounts_trouble_is_said_once_in_a_window() -> None:
    failures = [Failure(key, key / 2, "a") for key in range(1, 31)]
    findings = [finding for finding in found(failures) if finding]
    assert [finding.keys for finding in findings] == [(1, 2, 3), tuple(range(1, 24))]
    assert {finding.cause for finding in findings} == {Cause.ACCOUNT}
    assert findings[0].reason == "3 keys of account a were answered alike: K2 invalid_api_key"


def test_a_key_of_another_account_makes_an_accounts_trouble_the_ways() -> None:
    failures = [Failure(key, key / 10, "a") for key in range(1, 5)] + [Failure(5, 0.6, "b")]
    finding = last(failures)
    assert finding is not None and finding.cause is Cause.WAY
    assert finding.keys == (1, 2, 3, 4, 5)


def test_the_way_is_found_again_at_every_further_failure() -> None:
    """Whoever folds failures has to undo each of them."""
    findings = found([*THREE, Failure(4, 2.0), Failure(1, 3.0)])
    assert [finding and finding.keys for finding in findings[2:]] == [
        (1, 2, 3),
        (1, 2, 3, 4),
        (1, 2, 3, 4),
    ]


def test_a_dead_batch_among_live_keys_is_the_keys_own() -> None:
    """An import of a thousand keys, half of them dead: nothing here may save those."""
    failures = [Failure(key, key / 100, ok_after_s=key / 100 - 0.005) for key in range(1, 1000)]
    assert set(found(failures)) == {None}


def test_a_success_before_the_first_failure_says_nothing() -> None:
    """Everything worked, and then the egress was blocked."""
    assert last(evolve(one, ok_after_s=-0.1) for one in THREE) is not None


def test_keys_that_never_were_good_speak_for_themselves_where_others_were() -> None:
    """A dead batch, imported together and asked one after another."""
    batch = [Failure(key, key / 10, ok_after_s=-1, proven=False) for key in range(1, 40)]
    assert set(found(batch)) == {None}
    blocked = [*batch[:5], *(Failure(100 + n, 2.0, ok_after_s=-1) for n in range(3))]
    finding = last(blocked)
    assert finding is not None and finding.sure and len(finding.keys) == 8


def test_where_nobody_ever_had_a_good_answer_it_may_be_the_keys_too() -> None:
    finding = last(evolve(one, proven=False) for one in THREE)
    assert finding is not None and not finding.sure


@pytest.mark.parametrize(("serving", "enough"), [(3, 3), (6, 3), (10, 5), (20, 10), (500_000, 10)])
def test_the_more_keys_could_have_been_asked_the_more_must_fail(serving: int, enough: int) -> None:
    findings = found(Failure(key, key / 10, serving=serving) for key in range(1, 20))
    assert [bool(finding) for finding in findings].index(True) + 1 == enough


def test_a_success_after_the_first_failure_shows_that_keys_differ() -> None:
    assert last([*THREE[:2], evolve(THREE[2], ok_after_s=0.1)]) is None


def test_a_block_that_follows_single_deaths_is_found_when_those_are_old() -> None:
    """A dead key, then live ones, then nobody gets through: all since then are undone."""
    dead = Failure(100, 0.0)
    blocked = [Failure(key, 5 + key / 2, ok_after_s=4.9) for key in range(1, 13)]
    findings = found([dead, *blocked])
    first = next(index for index, finding in enumerate(findings) if finding)
    assert findings[first] is not None
    assert findings[first].keys == tuple(range(1, first + 1))  # type: ignore[union-attr]
    assert blocked[first - 1].after_s == WINDOW_S


def test_a_limit_of_all_keys_without_a_time_is_the_ways() -> None:
    """Some providers limit an address, not a key."""
    assert last(evolve(one, signature=LIMITED) for one in THREE) is not None


def test_keys_that_fail_differently_have_nothing_in_common() -> None:
    failures = [Failure(key, key / 10, signature=f"403 {key}") for key in range(1, 20)]
    assert set(found(failures)) == {None}


def test_fewer_than_half_of_the_failing_keys_are_no_finding() -> None:
    others = [Failure(key, 0.0, signature=LIMITED) for key in range(10, 14)]
    assert last([*others, *THREE]) is None
    finding = last([*others, *THREE, Failure(4, 1.1)])
    assert finding is not None and finding.keys == (1, 2, 3, 4)


def test_one_key_that_fails_again_and_again_is_its_own_trouble() -> None:
    assert set(found(Failure(1, step / 100) for step in range(2000))) == {None}


def test_failures_that_lie_far_apart_have_nothing_in_common() -> None:
    assert last([Failure(1, 0.0), Failure(2, 5.0), Failure(3, LONGEST_S)]) is None


def test_where_nothing_has_succeeded_since_failures_may_lie_minutes_apart() -> None:
    """Traffic may be so thin that a window of seconds never holds three keys."""
    thin = [Failure(1, 0.0), Failure(2, 60.0), Failure(3, 120.0)]
    assert last(evolve(one, ok_after_s=-1) for one in thin) is not None
    assert last([*thin[:2], evolve(thin[2], ok_after_s=30)]) is None
    assert last([Failure(1, 0.0), Failure(2, 5.0), Failure(3, WINDOW_S - 0.1)]) is not None


def test_ways_are_looked_at_one_by_one() -> None:
    elsewhere = [evolve(one, way="another") for one in THREE[:2]]
    assert last([*elsewhere, THREE[2]]) is None


def test_a_way_that_works_again_starts_anew() -> None:
    correlation = Correlation()
    assert see(correlation, THREE)[-1] is not None
    correlation.forget(WAY)
    correlation.forget("never seen")
    assert len(correlation) == 0
    assert see(correlation, [Failure(4, 1.1), Failure(5, 1.2)]) == [None, None]


def test_failures_that_are_told_late_find_their_place() -> None:
    """Data planes report at the same time; an older success still counts."""
    assert last([THREE[2], THREE[1], THREE[0]]) is not None
    assert last([THREE[2], evolve(THREE[1], ok_after_s=0.4), THREE[0]]) is None


def test_a_clock_that_is_set_back_hides_nothing() -> None:
    ahead = [evolve(one, after_s=3600.0, ok_after_s=3599.0) for one in THREE]
    assert last([*ahead, *THREE]) is not None


def test_a_long_message_makes_no_long_line() -> None:
    finding = last(evolve(one, signature="x" * 5000) for one in THREE)
    assert finding is not None and len(finding.reason) < 200


# Laws.

# Most are of one account; an answer may say so or not.
ACCOUNT = {1: "a", 2: "a", 3: "a", 4: "a", 5: "a", 6: "b"}
FAILURE = st.builds(
    lambda key, is_told, **facts: Failure(key, account=ACCOUNT[key] if is_told else "", **facts),
    key=st.integers(1, 6),
    is_told=st.sampled_from([True, True, True, False]),
    after_s=st.integers(0, 120).map(lambda quarters: quarters / 4),
    signature=st.sampled_from([REJECTED, LIMITED]),
    ok_after_s=st.none() | st.integers(0, 120).map(lambda quarters: quarters / 4 - 0.1),
    way=st.sampled_from([WAY, WAY, "another"]),
)
# A success is known only once it has been.
FAILURES = st.lists(FAILURE, max_size=40).map(
    lambda failures: sorted(
        (
            one
            if one.ok_after_s is None or one.ok_after_s < one.after_s
            else evolve(one, ok_after_s=None)
            for one in failures
        ),
        key=lambda one: one.after_s,
    )
)


def in_window(failures: list[Failure], now: Failure) -> list[Failure]:
    """What was told up to `now`, on its way: of the last seconds, or since the last success."""
    on_way = [one for one in failures if one.way == now.way]
    ok_s = max((one.ok_after_s for one in on_way if one.ok_after_s is not None), default=-1e9)
    begins_s = now.after_s - WINDOW_S
    if ok_s < begins_s:
        begins_s = max(ok_s, now.after_s - LONGEST_S)
    return [one for one in on_way if begins_s < one.after_s <= now.after_s]


def account_of(keys: set[int], failures: Iterable[Failure]) -> str:
    """The one that all these keys are of, as far as these failures say."""
    accounts = {one.key: one.account for one in failures if one.account}
    of_keys = {accounts.get(key, "") for key in keys}
    return of_keys.pop() if len(of_keys) == 1 else ""


@settings(max_examples=400)
@given(FAILURES)
def test_what_is_found_is_what_the_rule_says(failures: list[Failure]) -> None:
    """The counts that are kept, against the rule said once more from all failures."""
    told_at: dict[tuple[str, str], float] = {}
    for step, finding in enumerate(found(failures)):
        now, past = failures[step], failures[: step + 1]
        window = in_window(past, now)
        alike = [one for one in window if one.signature == now.signature]
        keys = {one.key for one in alike}
        oks = [one.ok_after_s for one in past if one.way == now.way and one.ok_after_s is not None]
        holds = (
            len(keys) >= 3
            and 2 * len(keys) >= len({one.key for one in window})
            and not any(ok > alike[0].after_s for ok in oks)
        )
        last_s = told_at.get((now.way, now.signature), -WINDOW_S)
        if finding is None:
            was_told = account_of(keys, past) and now.after_s - last_s < WINDOW_S
            assert not holds or was_told
            continue
        assert holds
        assert set(finding.keys) == keys and len(finding.keys) == len(keys)
        assert finding.signature == now.signature and finding.way == now.way
        if finding.cause is Cause.WAY:
            assert not account_of(keys, alike)
        else:
            assert account_of(keys, past)
            assert now.after_s - last_s >= WINDOW_S
            told_at[now.way, now.signature] = now.after_s


@given(FAILURES, st.sets(st.integers(1, 6), min_size=2, max_size=2))
def test_two_keys_never_give_a_finding(failures: list[Failure], pair: set[int]) -> None:
    assert not any(found(one for one in failures if one.key in pair))


@given(FAILURES)
def test_any_success_after_the_first_failure_suppresses(failures: list[Failure]) -> None:
    shown: list[Failure] = []
    late = []
    for failure in failures:
        alike = [one for one in in_window(shown, failure) if one.signature == failure.signature]
        first_s = alike[0].after_s if alike else failure.after_s
        late.append(first_s < failure.after_s)
        ok_after_s = (first_s + failure.after_s) / 2 if late[-1] else None
        shown.append(evolve(failure, ok_after_s=ok_after_s))
    findings = found(shown)
    assert not any(finding for finding, is_late in zip(findings, late, strict=True) if is_late)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3), st.floats(0, 30)), max_size=60),
)
def test_memory_is_bounded(bursts: list[tuple[int, int, float]]) -> None:
    """However fast, for however long, on however many ways failures come."""
    correlation = Correlation()
    after_s = 0.0
    for number, (count, way, pause_s) in enumerate(bursts):
        after_s += pause_s
        see(
            correlation,
            [Failure(number * 50 + key, after_s, way=f"{way} {number}") for key in range(count)],
        )
        recent = 0
        back_s = 0.0
        for size, _, pause in reversed(bursts[: number + 1]):
            if back_s >= LONGEST_S:
                break
            recent += size
            back_s += pause
        assert len(correlation) == recent


def test_a_flood_of_failures_is_cut_to_the_last_few_thousand_and_still_found() -> None:
    correlation = Correlation()
    findings = see(correlation, (Failure(key, key / 10_000) for key in range(1, 5001)))
    assert 1000 <= len(correlation) <= 4000
    assert findings[-1] is not None
    assert findings[-1].keys == tuple(range(5001 - len(correlation), 5001))
