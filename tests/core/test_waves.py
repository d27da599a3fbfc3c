"""What happened to many keys at about the same time is one thing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.keyevents import Happened
from gptload.core.waves import GAP_S, Moment, waves


def moment(at: float, key_id: int = 1, **changes: Any) -> Moment:
    told = {
        "group_id": 1,
        "event": Happened.RESTED,
        "until": None,
        "reason": "openai.insufficient_quota",
        "status": 429,
    }
    return Moment(at=at, key_id=key_id, **(told | changes))


def test_keys_that_rest_for_the_same_reason_are_one_wave_with_the_last_ones_end() -> None:
    (wave,) = waves(
        [moment(150, 2, until=900), moment(140, 1, until=950), moment(100, 2, until=800)]
    )
    assert (wave.since, wave.at, wave.until) == (100, 150, 950)
    assert (wave.group_id, wave.event, wave.status) == (1, Happened.RESTED, 429)
    assert wave.key_ids == {1, 2}


@pytest.mark.parametrize(
    "other", [{"group_id": 2}, {"event": Happened.STRUCK_OUT}, {"reason": "openai.rate_limit"}]
)
def test_another_group_event_or_reason_is_another_wave(other: dict[str, Any]) -> None:
    found = waves([moment(150), moment(140, **other), moment(130)])
    assert [(wave.at, wave.since) for wave in found] == [(150, 130), (140, 140)]


def test_what_came_long_before_is_another_wave() -> None:
    found = waves([moment(1000), moment(1000 - GAP_S), moment(1000 - 2 * GAP_S - 1)])
    assert [(wave.at, wave.since) for wave in found] == [
        (1000, 1000 - GAP_S),
        (1000 - 2 * GAP_S - 1, 1000 - 2 * GAP_S - 1),
    ]


@pytest.mark.parametrize(
    "event", [Happened.STRUCK, Happened.STRIKES_ENDED, Happened.ACCOUNT_SEEN, Happened.SPARED]
)
def test_everyday_life_is_not_told(event: Happened) -> None:
    assert waves([moment(1, event=event)]) == []


@given(
    st.lists(
        st.builds(
            moment,
            at=st.floats(0, 5_000),
            key_id=st.integers(1, 5),
            event=st.sampled_from(Happened),
            group_id=st.integers(1, 2),
        )
    )
)
def test_no_key_is_lost_and_waves_come_by_their_end(moments: list[Moment]) -> None:
    newest_first = sorted(moments, key=lambda one: -one.at)
    found = waves(newest_first)
    assert [wave.at for wave in found] == sorted((wave.at for wave in found), reverse=True)
    for one in newest_first:
        holds = [
            wave
            for wave in found
            if (wave.group_id, wave.event) == (one.group_id, one.event)
            and wave.since <= one.at <= wave.at
            and one.key_id in wave.key_ids
        ]
        everyday = one.event.value in ("struck", "strikes_ended", "account_seen", "spared")
        assert len(holds) == (0 if everyday else 1)
