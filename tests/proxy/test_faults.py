"""Laws that hold whatever goes wrong: at every channel, in both ways of asking."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gptload.core.breaker import State as Breaker
from gptload.core.keyevents import Happened
from gptload.core.keystate import State
from gptload.core.record import encode
from tests.proxy import faultpage
from tests.proxy.faultpage import faults_counted, is_good, read, views, ways
from tests.proxy.faults import FAULTS, SECRETS, About, Call, Fault, Stage, played

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.title)


def scenes(fault: Fault) -> Iterator[tuple[tuple[str, Call], Stage]]:
    """What was played of a fault, and where."""
    for (title, channel, call), stage in played().items():
        if title == fault.title:
            yield (channel, call), stage


def test_the_page_of_faults_is_current() -> None:
    assert faultpage.PAGE.read_text() == faultpage.page(), "run `make docs`"


# The client.


@each_fault
def test_the_client_hears_something_whole_or_sees_that_it_breaks(fault: Fault) -> None:
    for where, stage in scenes(fault):
        assert stage.scene.plane.under_way == 0, where
        if not stage.client_left:
            assert read(stage.heard).is_whole or stage.client.transport.disconnecting, where


@each_fault
def test_one_attempt_that_fails_is_not_the_clients_to_see_before_an_answer_began(
    fault: Fault,
) -> None:
    for where, stage in scenes(fault):
        if fault.about in (About.REQUEST, About.POOL) or fault.times + len(fault.refuse) > 1:
            continue
        assert is_good(stage) or read(stage.heard).status == 200, where


@each_fault
def test_no_key_is_in_what_the_client_hears_or_in_a_record(fault: Fault) -> None:
    for where, stage in scenes(fault):
        told = stage.heard + encode(stage.scene.records)
        assert [secret for secret in SECRETS.values() if secret in told] == [], where


# The keys.


@each_fault
def test_nothing_but_a_rejection_strikes_a_key(fault: Fault) -> None:
    for where, stage in scenes(fault):
        struck = {
            change.key_id
            for change in stage.scene.changes
            if change.event in (Happened.STRUCK, Happened.STRUCK_OUT)
        }
        rejected = {record.key_id for record in stage.records if record.outcome == "key_rejected"}
        assert struck <= rejected, where
        assert not rejected or fault.about is About.KEY, where


@each_fault
def test_only_what_is_about_keys_changes_one(fault: Fault) -> None:
    for where, stage in scenes(fault):
        if fault.about not in (About.KEY, About.LIMIT):
            assert stage.scene.events == [] and stage.scene.changes == [], where


@each_fault
def test_every_key_but_an_invalid_one_comes_back_by_itself(fault: Fault) -> None:
    for channel in fault.channels:
        for call in fault.calls:
            stage = Stage(fault, channel, call)
            scene, held = stage.scene, views(stage)
            good = {number for number, view in held.items() if view.state is not State.INVALID}
            ends = [view.until for view in held.values() if view.until is not None]
            ends += [until for view in held.values() for _, until in view.rests]
            scene.clock.advance(max(0.0, *ends, scene.now()) - scene.now() + 2)
            before = len(scene.records)
            for _ in range(2 * len(good)):
                stage.call()
                assert is_good(stage), (channel, call)
            assert {record.key_id for record in scene.records[before:]} == good, (channel, call)


# The upstreams.


@each_fault
def test_a_fault_counts_against_the_upstream_that_had_it_and_no_other(fault: Fault) -> None:
    for where, stage in scenes(fault):
        for name, way in ways(stage).items():
            counted = any(map(faults_counted, (way.breaker, *way.models.values())))
            had_it = any(
                record.outcome == "upstream_fault" and f"//{name.lower()}." in record.upstream
                for record in stage.scene.records
            )
            is_open = way.breaker.state is Breaker.OPEN
            if way.suspected:  # by what many keys had alike
                assert fault.about is About.KEY and not had_it, where
            else:
                assert (counted or is_open) is had_it, (where, name)


@each_fault
def test_no_connection_is_left_behind(fault: Fault) -> None:
    for where, stage in scenes(fault):
        scene = stage.scene
        left = [
            up for up in scene.upstreams if not up.connection.dead and up not in scene.pool.idle
        ]
        assert left == [], where
        assert len(scene.clock.getDelayedCalls()) == 1, where  # the sweep


# The records.


@each_fault
def test_the_last_record_is_the_final_one_and_no_other(fault: Fault) -> None:
    for where, stage in scenes(fault):
        *others, last = (record.is_final for record in stage.records)
        assert last and not any(others), where


@each_fault
def test_a_good_answer_is_never_recorded_as_failed(fault: Fault) -> None:
    for where, stage in scenes(fault):
        last = stage.records[-1]
        if is_good(stage):
            assert last.outcome == "ok", where
        if last.outcome == "ok":
            heard = read(stage.heard)
            assert heard.status == 200 and heard.is_whole, where
        assert all(record.outcome != "ok" for record in stage.records[:-1]), where


@each_fault
def test_every_record_of_a_failed_attempt_names_a_reason(fault: Fault) -> None:
    for where, stage in scenes(fault):
        failed = [r for r in stage.records if r.outcome not in ("ok", "client_gone")]
        assert all(record.reason for record in failed), where
