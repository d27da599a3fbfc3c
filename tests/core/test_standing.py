"""Standings: what was seen of keys becomes what holds of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.correlation import LONGEST_S, Correlation
from gptload.core.keyevents import Change, Happened, KeyEvent, KeyView, Seen, WaySuspected
from gptload.core.keypool import PoolKey
from gptload.core.keystate import Event, State
from gptload.core.outcome import Outcome, Scope
from gptload.core.record import AttemptRecord
from gptload.core.resttime import GROWN_REST_S
from gptload.core.standing import Standings, replay
from tests.parts.records import make_record

NOW = 1_800_000_000.0
WAY = "https://api.example"


class Story:
    """Standings and their time: a test tells what is seen, and asks what holds."""

    def __init__(self, correlation: Correlation | None = None) -> None:
        self.standings = Standings(correlation)
        self.now = NOW

    def see(self, seen: Seen, key_id: int = 1, **details: Any) -> list[Change | WaySuspected]:
        facts: dict[str, Any] = {"at": self.now, "threshold": 3, "reason": "why"} | details
        return self.standings.fold(KeyEvent(1, key_id, seen, **facts))

    def view(self, key_id: int = 1) -> KeyView:
        return self.standings.view(key_id, self.now)

    def rests(self, key_id: int = 1) -> dict[str, float]:
        """Seconds left by model; "" for the key's own rest."""
        view = self.view(key_id)
        own = {} if view.until is None else {"": view.until - self.now}
        return own | {model: until - self.now for model, until in view.rests}


@pytest.fixture
def story() -> Story:
    return Story()


def happened(news: list[Change | WaySuspected]) -> list[Happened]:
    return [change.event for change in news if isinstance(change, Change)]


# Scopes.


def test_a_rest_about_a_model_leaves_the_key_to_the_others(story: Story) -> None:
    (change,) = story.see(
        Seen.LIMITED, until=NOW + 30, scope=Scope.KEY_MODEL, model="gpt-5", status=429
    )
    assert isinstance(change, Change)
    assert (change.event, change.model, change.until) == (Happened.RESTED, "gpt-5", NOW + 30)
    assert story.view().state is State.ACTIVE
    assert story.rests() == {"gpt-5": 30}
    story.now += 30
    assert story.view() == KeyView()


def test_a_rest_about_a_model_that_nobody_named_is_the_keys(story: Story) -> None:
    story.see(Seen.LIMITED, until=NOW + 30, scope=Scope.KEY_MODEL)
    assert story.rests() == {"": 30}


@pytest.mark.parametrize(
    ("scope", "wanted"), [(Scope.ACCOUNT, {"": 60}), (Scope.ACCOUNT_MODEL, {"m": 60})]
)
def test_all_known_keys_of_an_account_rest_together(
    story: Story, scope: Scope, wanted: dict[str, float]
) -> None:
    story.see(Seen.OK, 1, account="org-a")
    story.see(Seen.OK, 2, account="org-a")
    story.see(Seen.OK, 3, account="org-b")
    news = story.see(Seen.LIMITED, 1, until=NOW + 60, scope=scope, model="m", account="org-a")
    assert [change.key_id for change in news if isinstance(change, Change)] == [1, 2]
    assert [story.rests(key_id) for key_id in (1, 2, 3, 4)] == [wanted, wanted, {}, {}]


def test_an_account_is_one_group_s(story: Story) -> None:
    story.see(Seen.OK, 1, account="org-a")
    story.standings.fold(KeyEvent(2, 9, Seen.OK, NOW, account="org-a"))
    story.see(Seen.EXHAUSTED, 1, until=NOW + 60, scope=Scope.ACCOUNT)
    assert story.rests(9) == {}


def test_a_key_that_turns_out_to_be_of_a_resting_account_rests_with_it(story: Story) -> None:
    story.see(Seen.EXHAUSTED, 1, until=NOW + 60, scope=Scope.ACCOUNT, account="org-a")
    story.now += 10
    news = story.see(Seen.OK, 2, account="org-a")
    assert happened(news) == [Happened.ACCOUNT_SEEN, Happened.RESTED]
    assert story.rests(2) == {"": 50}
    story.now += 60
    assert happened(story.see(Seen.OK, 3, account="org-a")) == [Happened.ACCOUNT_SEEN]
    assert story.rests(3) == {}


def test_a_rejection_about_an_account_strikes_the_key_that_showed_it(story: Story) -> None:
    for key_id in (1, 2):
        story.see(Seen.OK, key_id, account="org-a")
    story.see(Seen.REJECTED, 1, scope=Scope.ACCOUNT)
    assert [story.view(key_id).strikes for key_id in (1, 2)] == [1, 0]


@pytest.mark.parametrize(
    "scope", [Scope.UPSTREAM, Scope.UPSTREAM_MODEL, Scope.EGRESS, Scope.AFFINITY]
)
def test_what_is_about_no_key_touches_none(story: Story, scope: Scope) -> None:
    assert story.see(Seen.REJECTED, threshold=1, scope=scope) == []
    assert story.see(Seen.LIMITED, until=NOW + 60, scope=scope) == []
    assert len(story.standings) == 0


def test_clients_cannot_fill_the_memory_with_names_of_models(story: Story) -> None:
    for number in range(1000):
        story.see(
            Seen.LIMITED, until=NOW + 60, scope=Scope.KEY_MODEL, model=str(number), named=False
        )
    assert len(story.view().rests) == 200


# Rests that grow.


def limited(story: Story, **details: Any) -> float | None:
    """A limit of which nobody said how long it lasts; how long the key rests then."""
    story.see(Seen.LIMITED, until=story.now + 15, named=False, **details)
    return story.rests().get("")


def test_a_rest_that_nobody_named_doubles_while_it_repeats(story: Story) -> None:
    lengths = []
    for _ in range(8):
        lengths.append(limited(story))
        story.now += lengths[-1] or 0.0
    assert lengths == [15, 30, 60, 120, 240, 480, 600, 600]
    assert GROWN_REST_S[Outcome.RATE_LIMITED] == 600


def test_answers_under_way_when_the_rest_began_do_not_make_it_longer(story: Story) -> None:
    limited(story)
    story.now += 1
    assert limited(story) == 14


def test_growth_ends_when_the_key_was_awake_for_longer_than_it_rested(story: Story) -> None:
    limited(story)
    story.now += 15 + 14.9
    assert limited(story) == 30
    story.now += 30 + 30
    assert limited(story) == 15


def test_growth_ends_with_a_success_and_with_another_reason(story: Story) -> None:
    limited(story)
    story.now += 15
    story.see(Seen.OK)
    assert limited(story) == 15
    story.now += 15
    assert limited(story, reason="another") == 15


def test_a_named_time_is_taken_as_it_is(story: Story) -> None:
    for _ in range(3):
        story.see(Seen.LIMITED, until=story.now + 5)
        assert story.rests() == {"": 5}
        story.now += 5


def test_an_account_s_rest_grows_whichever_of_its_keys_meets_it(story: Story) -> None:
    for key_id in (1, 2):
        story.see(Seen.OK, key_id, account="org-a")
    for key_id, length_s in ((1, 15), (2, 30), (1, 60)):
        until = story.now + 15
        story.see(Seen.LIMITED, key_id, until=until, named=False, scope=Scope.ACCOUNT)
        assert story.rests(1) == story.rests(2) == {"": length_s}
        story.now += length_s


def test_what_is_over_is_let_go(story: Story) -> None:
    limited(story)
    story.see(Seen.LIMITED, 2, until=NOW + 5, scope=Scope.KEY_MODEL, model="m")
    assert len(story.standings) == 2
    story.standings.wake(NOW + 29, 100)
    assert len(story.standings) == 1  # its rest is over, but the next one would be longer
    story.standings.wake(NOW + 30, 0)
    assert len(story.standings) == 1
    story.standings.wake(NOW + 30, 100)
    assert len(story.standings) == 0


# People and tests.


def test_f41_a_good_test_ends_every_rest_of_the_key(story: Story) -> None:
    story.see(Seen.EXHAUSTED, until=NOW + 1_500_000)
    story.see(Seen.LIMITED, until=NOW + 60, scope=Scope.KEY_MODEL, model="m")
    story.see(Seen.REJECTED)
    (change,) = story.standings.tested(1, 1, Outcome.OK, "", NOW)
    assert change.event is Happened.TESTED_GOOD
    assert (change.holds.state, change.holds.rests, change.holds.strikes) == (State.ACTIVE, (), 0)
    assert len(story.standings) == 0


def test_a_person_s_word_ends_rests_of_models_and_growth(story: Story) -> None:
    story.see(Seen.LIMITED, until=NOW + 60, scope=Scope.KEY_MODEL, model="m", named=False)
    assert happened([*story.standings.restored(1, [1, 2], NOW)]) == [Happened.RESTORED]
    story.see(Seen.LIMITED, until=NOW + 60, scope=Scope.KEY_MODEL, model="m", named=False)
    assert story.rests() == {"m": 60}


def test_a_key_that_a_person_switched_off_begins_anew_when_it_is_on_again(story: Story) -> None:
    story.see(Seen.REJECTED)
    story.see(Seen.LIMITED, until=NOW + 60, scope=Scope.KEY_MODEL, model="m")
    off = story.standings.switched(1, [1, 2], Event.SWITCHED_OFF, NOW)
    assert happened([*off]) == [Happened.SWITCHED_OFF] * 2
    assert (story.view().state, story.view().reason) == (State.DISABLED, "switched_off")
    assert story.standings.switched(1, [1], Event.SWITCHED_OFF, NOW) == []
    assert story.see(Seen.REJECTED, threshold=1) == []
    assert story.standings.restored(1, [1], NOW) == []
    on = story.standings.switched(1, [1, 2, 3], Event.SWITCHED_ON, NOW)
    assert happened([*on]) == [Happened.SWITCHED_ON] * 2
    assert story.view() == KeyView()
    assert len(story.standings) == 0


def test_switching_on_softens_no_verdict(story: Story) -> None:
    story.see(Seen.REJECTED, threshold=1)
    assert story.standings.switched(1, [1], Event.SWITCHED_ON, NOW) == []
    assert story.view().state is State.INVALID


def test_a_key_taken_up_goes_on_as_it_was_held(story: Story) -> None:
    key = PoolKey(1, b"sk", 1, State.RESTING, 2, NOW + 9, {"m": NOW + 20}, "org-a")
    story.standings.take_up(1, key, "limit", NOW - 5)
    assert story.view() == KeyView(
        State.RESTING, 2, NOW + 9, "limit", NOW - 5, (("m", NOW + 20),), "org-a"
    )
    story.see(Seen.EXHAUSTED, 2, until=NOW + 99, scope=Scope.ACCOUNT, account="org-a")
    assert story.rests()[""] == 99


def test_nothing_is_known_of_what_is_gone(story: Story) -> None:
    for key_id in (1, 2):
        story.see(Seen.OK, key_id, account="org-a")
    story.standings.forget(1, 2)
    story.see(Seen.EXHAUSTED, 1, until=NOW + 9, scope=Scope.ACCOUNT)
    assert story.view(2) == KeyView()
    story.standings.forget_group(1)
    assert story.view(1) == KeyView()
    assert happened(story.see(Seen.OK, 3, account="org-a")) == [Happened.ACCOUNT_SEEN]


# Verdicts that were wrong.


@pytest.fixture
def watched() -> Story:
    return Story(Correlation())


def alike(story: Story, key_id: int, **details: Any) -> list[Change | WaySuspected]:
    facts = {"way": WAY, "signature": "invalid key", "threshold": 1} | details
    return story.see(Seen.REJECTED, key_id, **facts)


def test_keys_that_fail_alike_at_once_get_back_what_they_had(watched: Story) -> None:
    watched.see(Seen.REJECTED, 1)  # by itself, before
    watched.now += 60
    alike(watched, 1)
    alike(watched, 2)
    assert watched.view(1).state is watched.view(2).state is State.INVALID
    news = alike(watched, 3)
    assert happened(news) == [Happened.UNDONE, Happened.UNDONE, Happened.SPARED]
    assert isinstance(news[-1], WaySuspected)
    assert (news[-1].way, news[-1].at) == (WAY, watched.now)
    assert [watched.view(key_id).state for key_id in (1, 2, 3)] == [State.ACTIVE] * 3
    assert [watched.view(key_id).strikes for key_id in (1, 2, 3)] == [1, 0, 0]
    assert len(watched.standings) == 1
    assert happened(alike(watched, 4)) == [Happened.SPARED]


def test_rests_of_whole_accounts_are_undone_too(watched: Story) -> None:
    for key_id, account in ((1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "a")):
        watched.see(Seen.OK, key_id, account=account)
    for key_id in (1, 3, 4):
        watched.see(
            Seen.LIMITED,
            key_id,
            until=NOW + 60,
            scope=Scope.ACCOUNT,
            way=WAY,
            signature="slow",
        )
    assert [watched.rests(key_id) for key_id in range(1, 6)] == [{}] * 5
    watched.see(Seen.OK, 6, account="a")
    assert watched.rests(6) == {}


def test_what_a_person_or_another_cause_changed_since_stays(watched: Story) -> None:
    alike(watched, 1, threshold=3)
    watched.standings.tested(1, 1, Outcome.KEY_REJECTED, "tested", NOW)
    alike(watched, 2)
    watched.standings.restored(1, [2], NOW)
    watched.see(Seen.EXHAUSTED, 2, until=NOW + 60)
    assert happened(alike(watched, 3)) == [Happened.SPARED]
    assert watched.view(1).state is State.INVALID
    assert watched.rests(2) == {"": 60}


def test_only_what_happened_in_the_window_is_undone(watched: Story) -> None:
    alike(watched, 1, threshold=0)
    watched.now += LONGEST_S - 1
    alike(watched, 1, threshold=0)
    alike(watched, 2, threshold=0)
    watched.now += 2
    alike(watched, 3, threshold=0)
    assert [watched.view(key_id).strikes for key_id in (1, 2, 3)] == [1, 0, 0]


def test_dead_keys_among_live_ones_are_found(watched: Story) -> None:
    for key_id in range(1, 10):
        watched.now += 0.1
        alike(watched, key_id, others_ok_at=watched.now)
    assert {watched.view(key_id).state for key_id in range(1, 10)} == {State.INVALID}


def test_keys_of_one_account_that_are_limited_alike_rest_as_one(watched: Story) -> None:
    for key_id in range(1, 6):
        watched.see(Seen.OK, key_id, account="org-a")
    for key_id in (1, 2, 3):
        watched.see(Seen.LIMITED, key_id, until=NOW + 60, way=WAY, signature="slow")
    assert [watched.rests(key_id) for key_id in range(1, 6)] == [{"": 60}] * 5


def test_a_way_that_was_proven_starts_afresh(watched: Story) -> None:
    alike(watched, 1)
    alike(watched, 2)
    watched.standings.way_proven(WAY)
    assert happened(alike(watched, 3)) == [Happened.STRUCK_OUT]


# Laws.

ACCOUNTS = st.sampled_from(["", "", "a", "b"])
EVENTS = st.lists(
    st.builds(
        KeyEvent,
        group_id=st.just(1),
        key_id=st.integers(1, 4),
        seen=st.sampled_from(Seen),
        at=st.integers(0, 200).map(lambda second: NOW + second),
        until=st.integers(-10, 300).map(lambda second: NOW + second),
        threshold=st.sampled_from([0, 1, 3]),
        reason=st.sampled_from(["", "one", "two"]),
        scope=st.sampled_from(Scope),
        model=st.sampled_from(["", "m", "n"]),
        account=ACCOUNTS,
        named=st.booleans(),
    ),
    max_size=60,
).map(lambda events: sorted(events, key=lambda event: event.at))


def rests_of(view: KeyView) -> dict[str, float]:
    own = {"": view.until} if view.until is not None else {}
    return own | dict(view.rests)


@given(EVENTS)
def test_no_sequence_of_events_shortens_a_rest(events: list[KeyEvent]) -> None:
    standings = Standings()
    for event in events:
        before = {key: rests_of(standings.view(key, event.at)) for key in range(1, 5)}
        standings.fold(event)
        for key, rests in before.items():
            view = standings.view(key, event.at)
            if view.state is State.INVALID:
                continue
            after = rests_of(view)
            assert all(after[model] >= until for model, until in rests.items())


@given(EVENTS)
def test_traffic_makes_no_key_invalid_that_was_not_rejected_in_a_row(
    events: list[KeyEvent],
) -> None:
    standings = Standings()
    strikes = dict.fromkeys(range(1, 5), 0)
    for event in events:
        was = {key: standings.view(key, event.at).state for key in strikes}
        about_keys = event.scope.value.startswith(("key", "account"))
        if event.seen is Seen.REJECTED and about_keys:
            strikes[event.key_id] += 1
        elif event.seen is Seen.OK:
            strikes[event.key_id] = 0
        standings.fold(event)
        for key, before in was.items():
            if standings.view(key, event.at).state is State.INVALID and before is not State.INVALID:
                assert key == event.key_id
                assert 0 < event.threshold <= strikes[key]


@given(EVENTS, st.sampled_from([State.INVALID, State.DISABLED]))
def test_traffic_moves_no_invalid_and_no_disabled_key(events: list[KeyEvent], state: State) -> None:
    standings = Standings()
    for key_id in range(1, 5):
        standings.take_up(1, PoolKey(key_id, b"sk", state=state, strikes=3), "dead", NOW)
    for event in events:
        standings.fold(event)
    for key_id in range(1, 5):
        view = standings.view(key_id, NOW + 1000)
        assert (view.state, view.strikes, view.until, view.rests) == (state, 3, None, ())


def record_of(event: KeyEvent) -> AttemptRecord:
    outcomes = {
        Seen.OK: "ok",
        Seen.REJECTED: "key_rejected",
        Seen.LIMITED: "rate_limited",
        Seen.EXHAUSTED: "key_exhausted",
    }
    rests = event.seen in (Seen.LIMITED, Seen.EXHAUSTED)
    return make_record(
        at=event.at - 2,
        duration_ms=2000,
        group_id=event.group_id,
        key_id=event.key_id,
        outcome=outcomes[event.seen],
        reason=event.reason,
        status_code=event.status,
        model=event.model,
        scope="" if event.seen is Seen.OK else event.scope.value,
        rest_until=event.until if rests else None,
        account=event.account,
        named=event.named,
    )


@given(EVENTS, st.sampled_from([0, 1, 3]))
def test_replaying_the_records_gives_the_same_states(
    events: list[KeyEvent], threshold: int
) -> None:
    """What data planes report of the attempts, and the attempts themselves."""
    standings = Standings()
    records = []
    for event in events:
        records.append(record_of(event))
        reported = KeyEvent(
            event.group_id,
            event.key_id,
            event.seen,
            event.at,
            records[-1].rest_until,
            threshold,
            event.reason,
            scope=event.scope,
            model=event.model,
            account=event.account,
            named=event.named,
        )
        if standings.is_news(reported):
            standings.fold(reported)
    replayed = replay(records, lambda group_id: threshold)
    for now in (NOW + 100, NOW + 200, NOW + 250, NOW + 2000):
        for key_id in range(1, 5):
            assert replayed.view(key_id, now) == standings.view(key_id, now)


def test_a_replay_passes_over_what_blames_no_key() -> None:
    records = [
        make_record(outcome="upstream_fault", scope="upstream", key_id=1),
        make_record(outcome="rate_limited", scope="", key_id=1, rest_until=NOW + 60),
        make_record(outcome="key_rejected", scope="key", key_id=0),
        make_record(outcome="request_fault", key_id=1),
    ]
    assert len(replay(records, lambda group_id: 1)) == 0
