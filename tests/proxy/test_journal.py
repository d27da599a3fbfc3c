"""The journal: in order, whole, bounded, and never in the way of a request."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gptload.core.record import AttemptRecord, decode
from gptload.proxy.journal import RETRY_S, Journal
from gptload.proxy.turn import Turn
from tests.parts.records import make_record


class Disk:
    """`os.write` of a disk with room for so many bytes."""

    def __init__(self, room: float = float("inf")) -> None:
        self.room = room
        self.writes = 0

    def write(self, descriptor: int, data: bytes) -> int:
        self.writes += 1
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = os.write(descriptor, data[: int(min(self.room, len(data)))])
        self.room -= count
        return count


class Turns:
    """A reactor's clock."""

    def __init__(self) -> None:
        self.clock = Clock()

    def journal(self, directory: Path, disk: Disk | None = None, **limits: int) -> Journal:
        return Journal(
            directory,
            self.clock.callLater,
            self.clock.seconds,
            write=(disk or Disk()).write,
            **limits,
        )


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The log's lines of this test."""
    lines: list[str] = []

    def observe(event: dict[str, object]) -> None:
        lines.append(str(event.get("log_format", "")).format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def content(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.glob("*.jsonl")))


def records(directory: Path) -> list[AttemptRecord]:
    return list(decode(content(directory)))


def test_a_record_is_on_the_disk_when_append_returns(tmp_path: Path, turns: Turns) -> None:
    """The client gets the last bytes of its answer after that, never before."""
    disk = Disk()
    journal = turns.journal(tmp_path, disk)
    for number in range(1, 4):
        journal.append(make_record())
        assert disk.writes == number and len(records(tmp_path)) == number
    assert turns.clock.getDelayedCalls() == []
    journal.close()


def test_the_records_of_a_turn_share_the_write_in_front_of_its_sends(tmp_path: Path) -> None:
    disk = Disk()
    calls: list[Callable[[], None]] = []
    clock = Clock()
    journal = Journal(tmp_path, clock.callLater, clock.seconds, write=disk.write)
    turn = Turn((journal.extend,), calls.append)
    wanted = [make_record() for _ in range(6)]
    for record in wanted[:3]:
        turn.add(record)
    assert (disk.writes, len(calls)) == (0, 1)
    calls.pop()()
    assert (disk.writes, records(tmp_path)) == (1, wanted[:3])
    disk.room = 0
    for record in wanted[3:5]:
        turn.add(record)
    calls.pop()()
    disk.room = float("inf")
    turn.add(wanted[5])
    calls.pop()()
    assert records(tmp_path) == wanted[:3]  # only the retry asks a disk that refused
    clock.advance(RETRY_S)
    assert records(tmp_path) == wanted
    turn.add(make_record())
    turn.end()  # as at a stop, which waits for no turn
    journal.close()
    assert len(records(tmp_path)) == 7


def test_a_record_is_handed_on_at_once_where_transports_dont_wait() -> None:
    taken: list[list[AttemptRecord]] = []
    turn = Turn((taken.append, taken.append), None)  # type: ignore[arg-type]
    record = make_record()
    turn.add(record)
    turn.end()
    assert taken == [[record], [record]]


def test_one_record_that_cant_be_encoded_takes_no_other_with_it(
    tmp_path: Path, turns: Turns
) -> None:
    journal = turns.journal(tmp_path)
    journal.extend([make_record(model="a"), make_record(model="\ud800"), make_record(model="b")])
    assert [record.model for record in records(tmp_path)] == ["a", "?", "b"]
    journal.close()


def test_the_next_record_goes_to_the_same_segment(tmp_path: Path, turns: Turns) -> None:
    journal = turns.journal(tmp_path)
    wanted = [make_record(), make_record(error='a "quoted"\nline', model="模型")]
    for record in wanted:
        journal.append(record)
    assert records(tmp_path) == wanted
    assert len(list(tmp_path.iterdir())) == 1
    journal.close()


def test_closing_writes_what_waits(tmp_path: Path, turns: Turns) -> None:
    journal = turns.journal(tmp_path)
    wanted = [make_record() for _ in range(3)]
    for record in wanted:
        journal.append(record)
    journal.close()
    assert records(tmp_path) == wanted
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_segment_is_followed_by_a_new_one(tmp_path: Path, turns: Turns) -> None:
    journal = turns.journal(tmp_path, segment_bytes=500)
    wanted = [make_record() for _ in range(10)]
    for record in wanted:
        journal.append(record)
        turns.clock.advance(0.001)
    assert records(tmp_path) == wanted
    assert len(list(tmp_path.glob("*.jsonl"))) > 2
    journal.close()


def test_a_new_process_never_writes_behind_a_torn_line(tmp_path: Path, turns: Turns) -> None:
    (tmp_path / "00000000000000-dead.jsonl").write_bytes(b'["torn')
    journal = turns.journal(tmp_path)
    record = make_record()
    journal.append(record)
    assert (tmp_path / "00000000000000-dead.jsonl").read_bytes() == b'["torn'
    newest = max(tmp_path.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    assert list(decode(newest.read_bytes())) == [record]
    journal.close()


def test_a_full_disk_is_said_once_a_minute_and_nothing_is_lost_when_it_recovers(
    tmp_path: Path, turns: Turns, said: list[str]
) -> None:
    disk = Disk(room=700)  # one line and a part of the next
    journal = turns.journal(tmp_path, disk)
    wanted = [make_record() for _ in range(50)]
    for record in wanted:
        journal.append(record)
        turns.clock.advance(1)
    assert [line for line in said if "can't be written (No space left" in line] == said
    assert len(said) == 1
    turns.clock.advance(60)
    assert len(said) == 2

    disk.room = float("inf")
    turns.clock.advance(RETRY_S)
    assert records(tmp_path) == wanted
    assert said[2:] == ["Journal is written again; 0 records were lost"]
    assert journal.dropped == 0
    assert turns.clock.getDelayedCalls() == []
    journal.close()


def test_a_full_disk_and_full_memory_drop_the_newest_and_count_them(
    tmp_path: Path, turns: Turns, said: list[str]
) -> None:
    disk = Disk(room=0)
    journal = turns.journal(tmp_path, disk, waiting_bytes=10_000)
    wanted = [make_record() for _ in range(100)]
    for record in wanted:
        journal.append(record)
    assert 0 < journal.dropped < 100
    kept = 100 - journal.dropped

    disk.room = float("inf")
    turns.clock.advance(RETRY_S)
    assert records(tmp_path) == wanted[:kept]
    assert said[-1] == f"Journal is written again; {journal.dropped} records were lost"
    late = make_record()
    journal.append(late)
    assert records(tmp_path)[-1] == late
    journal.close()


def test_past_its_limit_the_newest_are_dropped_and_counted_until_somebody_moves_the_oldest(
    tmp_path: Path, turns: Turns, said: list[str]
) -> None:
    (tmp_path / "00000000000000-former.jsonl").write_bytes(b"x" * 2000)  # another process's
    limits = {"segment_bytes": 1000, "limit_bytes": 5000, "waiting_bytes": 3000}
    journal = turns.journal(tmp_path, **limits)
    wanted = [make_record() for _ in range(60)]
    for record in wanted:
        journal.append(record)
        turns.clock.advance(0.001)
    line = len(content(tmp_path).splitlines()[-1]) + 1
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 5000 <= size < 5000 + line
    assert journal.held_bytes <= 3000 < journal.held_bytes + line
    written = (size - 2000) // line
    kept = written + journal.held_bytes // line
    assert journal.dropped == 60 - kept > 0
    assert "can't be written (it is as large as JOURNAL_MAX_MB allows)" in said[0]
    turns.clock.advance(60)
    assert f"{journal.dropped} records were lost" in said[1]

    (tmp_path / "00000000000000-former.jsonl").unlink()
    turns.clock.advance(RETRY_S)
    assert said[2:] == [f"Journal is written again; {journal.dropped} records were lost"]
    found = sorted(record.id for record in decode(content(tmp_path)))
    assert found == sorted(record.id for record in wanted[: len(found)])
    journal.close()
    assert len(records(tmp_path)) == kept


def test_what_waits_for_room_is_written_when_the_journal_closes(
    tmp_path: Path, turns: Turns
) -> None:
    journal = turns.journal(tmp_path, segment_bytes=500, limit_bytes=600)
    wanted = [make_record() for _ in range(10)]
    for record in wanted:
        journal.append(record)
    assert journal.held_bytes
    journal.close()
    assert sorted(records(tmp_path)) == sorted(wanted)
    assert (journal.dropped, turns.clock.getDelayedCalls()) == (0, [])


def test_a_disk_that_never_recovers_leaves_no_timer_behind(
    tmp_path: Path, turns: Turns, said: list[str]
) -> None:
    journal = turns.journal(tmp_path, Disk(room=0))
    journal.append(make_record())
    journal.close()
    assert said[-1] == "Journal closed with 1 records unwritten"
    assert turns.clock.getDelayedCalls() == []


def test_a_folder_that_cannot_be_written_to_is_no_reason_to_fail(
    tmp_path: Path, turns: Turns, said: list[str]
) -> None:
    journal = turns.journal(tmp_path / "journal")
    (tmp_path / "journal").rmdir()
    record = make_record()
    journal.append(record)
    assert "No such file or directory" in said[0]
    (tmp_path / "journal").mkdir()
    turns.clock.advance(RETRY_S)
    assert records(tmp_path / "journal") == [record]
    journal.close()


@pytest.mark.parametrize("clock_moves", [0.0, -60.0])
def test_segments_of_one_moment_and_of_a_clock_set_back_stay_in_order(
    tmp_path: Path, turns: Turns, clock_moves: float
) -> None:
    wanted = [make_record() for _ in range(12)]
    journal = turns.journal(tmp_path, segment_bytes=1)
    for record in wanted:
        journal.append(record)
        turns.clock.rightNow += clock_moves
    assert records(tmp_path) == wanted
    journal.close()


def test_a_text_that_is_no_unicode_spoils_neither_its_record_nor_the_others(
    tmp_path: Path, turns: Turns
) -> None:
    journal = turns.journal(tmp_path)
    bad = make_record(model="lone \ud800 surrogate")
    wanted = [make_record(), bad, make_record()]
    for record in wanted:
        journal.append(record)
    wanted[1] = bad._replace(model="lone ? surrogate")
    assert records(tmp_path) == wanted
    journal.close()


def test_a_record_that_cannot_be_encoded_is_dropped_alone(
    tmp_path: Path, turns: Turns, said: list[str]
) -> None:
    journal = turns.journal(tmp_path)
    journal.append(make_record(duration_ms=2**80))
    good = make_record()
    journal.append(make_record(duration_ms=2**80))
    journal.append(good)
    assert records(tmp_path) == [good]
    assert journal.dropped == 2
    assert said == 2 * ["Journal dropped a record that can't be encoded"]
    journal.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 5)),
            st.tuples(st.just("room"), st.sampled_from([0, 1, 100, 450, 1000, 10**6])),
            st.tuples(st.just("wait"), st.sampled_from([0, 1, 60])),
        ),
        max_size=40,
    )
)
def test_whatever_the_disk_does_the_lines_are_whole_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    turns, disk = Turns(), Disk()
    journal = turns.journal(directory, disk, segment_bytes=2000)
    wanted: list[AttemptRecord] = []
    for step, value in steps:
        if step == "append":
            for _ in range(value):
                wanted.append(make_record())
                journal.append(wanted[-1])
        elif step == "room":
            disk.room = value
        else:
            turns.clock.advance(value)
        turns.clock.advance(0.001)  # so that names sort by age
        written = records(directory)
        assert written == wanted[: len(written)]
    disk.room = float("inf")
    turns.clock.advance(RETRY_S)
    journal.close()
    assert records(directory) == wanted


def test_what_a_killed_process_had_written_is_there(tmp_path: Path) -> None:
    """`kill -9` takes no record that a turn's end has given to the kernel."""
    program = """
import sys
from pathlib import Path
from gptload.proxy.journal import Journal
from tests.parts.records import make_record
journal = Journal(Path(sys.argv[1]), None, lambda: 1.0)
while True:
    record = make_record()
    journal.append(record)
    print(record.id, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().strip() for _ in range(500)]
        process.send_signal(signal.SIGKILL)
    written = [record.id for record in records(tmp_path)]
    assert written[: len(seen)] == seen
