"""What statistics are made of: tallies that add up, and times cut into steps.

A tally holds what happened to one subject in one step of time. Tallies only ever add
up, so days and ranges are as exact as minutes, and percentiles come from merged
histograms, never from averages of averages. All times are UTC; a zone only moves the
bounds of points and their labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

import orjson
from attrs import define, field, frozen

from gptload.control.spending import Spending, read_spending, spent_by
from gptload.core.histogram import LONGEST_MS, bucket_of
from gptload.core.record import AttemptRecord

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
STEPS: Final = (DAY, HOUR, MINUTE)
KEPT_S: Final[Mapping[int, int]] = {MINUTE: 3 * DAY, HOUR: 90 * DAY, DAY: 1830 * DAY}
"""How long roll-ups are kept, by their step."""

# There may be a thousand of them in each, so no minutes.
_KEYS_KEPT_S: Final[Mapping[int, int]] = {HOUR: 14 * DAY, DAY: 400 * DAY}


def kept_s(kind: str) -> Mapping[int, int]:
    """How long roll-ups of a kind are kept, by each step that it has, the finest first."""
    return _KEYS_KEPT_S if kind == "key" else KEPT_S


POINT_STEPS: Final = (60, 300, 900, 1800, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY)
MOST_POINTS: Final = 300

# Who writes a group's error rules names reasons: one tally tells so many ends apart.
_MOST_ENDS: Final = 100
_REASON_CHARACTERS: Final = 128
_LISTS: Final = 3  # that a row has at least

End = tuple[bool, str, int, str]
"""How an attempt ended: whether the client got it, outcome, status, reason."""


@define
class Tally:
    """Counts and distributions that can be added up.

    Attributes:
        requests: client requests, each counted where its last attempt was.
        succeeded: of those.
        attempts: those and the retried ones.
        ends: attempts by their end.
        total_ms, first_byte_ms: number of requests by bucket of the histogram.
        spent: tokens and cost of all attempts.
        first_token_ms: number of streams, as the two above.
        per_token_us: number of streams by the time that each token after the first took.
            Microseconds, in the same buckets: whole milliseconds tell fast models apart
            too badly.
    """

    requests: int = 0
    succeeded: int = 0
    attempts: int = 0
    ends: dict[End, int] = field(factory=dict)
    total_ms: dict[int, int] = field(factory=dict)
    first_byte_ms: dict[int, int] = field(factory=dict)
    spent: Spending = field(factory=Spending)
    first_token_ms: dict[int, int] = field(factory=dict)
    per_token_us: dict[int, int] = field(factory=dict)

    def count(self, record: AttemptRecord, total_ms: int | None) -> None:
        """One more attempt.

        Args:
            total_ms: how long this subject took; with None, no time of the attempt counts.
        """
        self.attempts += 1
        if record.is_final:
            self.requests += 1
            self.succeeded += record.outcome == "ok"
        status = _some_status(record.status_code)
        end = (record.is_final, record.outcome[:32], status, record.reason[:_REASON_CHARACTERS])
        self._end(end, 1)
        spent = spent_by(record)
        if spent is not None:
            self.spent.add(spent)
        if total_ms is None:
            return
        _more(self.total_ms, bucket_of(total_ms), 1)
        if record.first_byte_ms is not None:
            _more(self.first_byte_ms, bucket_of(record.first_byte_ms), 1)
        if record.first_token_ms is not None:
            _more(self.first_token_ms, bucket_of(record.first_token_ms), 1)
        per_token_us = _per_token_us(record, 0 if spent is None else spent.output)
        if per_token_us is not None:
            _more(self.per_token_us, bucket_of(per_token_us), 1)

    def add(self, other: Tally) -> None:
        """Everything that the other one holds too."""
        self.requests += other.requests
        self.succeeded += other.succeeded
        self.attempts += other.attempts
        for end, count in other.ends.items():
            self._end(end, count)
        for mine, its in zip(self._histograms(), other._histograms(), strict=True):
            for bucket, count in its.items():
                _more(mine, bucket, count)
        self.spent.add(other.spent)

    def take(self, requests: int, succeeded: int, attempts: int, detail: str) -> None:
        """As `add`, of the tally whose parts a row holds."""
        # Hot: ten thousand rows are one answer, so no tally is made of each, and the sums are
        # written out; benchmarks/logs.py prices it.
        ends, total_ms, first_byte_ms, *more = orjson.loads(detail)
        self.requests += requests
        self.succeeded += succeeded
        self.attempts += attempts
        for final, outcome, status, why, count in ends:
            self._end((bool(final), outcome, status, why), count)
        if more and more[0]:
            self.spent.add(read_spending(more[0]))
        # Rows of older versions have fewer.
        stored = (total_ms, first_byte_ms, *more[1:])
        for mine, numbers in zip(self._histograms(), stored, strict=False):
            known = mine.get
            for bucket, count in zip(numbers[::2], numbers[1::2], strict=True):
                mine[bucket] = known(bucket, 0) + count

    def _end(self, end: End, count: int) -> None:
        ends = self.ends
        if end not in ends and len(ends) >= _MOST_ENDS:
            end = (end[0], end[1], 0, "")
        ends[end] = ends.get(end, 0) + count

    def _histograms(self) -> tuple[dict[int, int], ...]:
        """In the order in which rows hold them."""
        return self.total_ms, self.first_byte_ms, self.first_token_ms, self.per_token_us

    def detail(self) -> str:
        """What isn't in columns of its own, as JSON of what isn't zero.

        Three lists at least: ends, and the histograms of total and first byte. Then what
        was spent, and the histograms of first token and of time per output token, without
        the empty ones at the end. Rows of older versions have fewer, and theirs read ours.
        """
        total_ms, first_byte_ms, *later = map(_flat, self._histograms())
        ends = [[int(final), *rest, count] for (final, *rest), count in self.ends.items()]
        lists: list[list[Any]] = [ends, total_ms, first_byte_ms, self.spent.numbers(), *later]
        while len(lists) > _LISTS and not lists[-1]:
            lists.pop()
        return orjson.dumps(lists).decode()


def read_tally(requests: int, succeeded: int, attempts: int, detail: str) -> Tally:
    """The tally whose parts a row holds."""
    tally = Tally()
    tally.take(requests, succeeded, attempts, detail)
    return tally


def _per_token_us(record: AttemptRecord, output_tokens: int) -> int | None:
    """Microseconds that each output token after the first took, of a stream that is whole.

    Of one that broke off nobody knows how many tokens came; and one that came in one
    piece says nothing of how fast it was written.
    """
    if record.first_token_ms is None or output_tokens < 2 or record.outcome != "ok":
        return None
    written_ms = record.duration_ms - record.first_token_ms
    return written_ms * 1000 // (output_tokens - 1) if written_ms > 0 else None


def _some_status(status: int) -> int:
    return status if 0 <= status <= 999 else 0


def _more(counts: dict[int, int], bucket: int, count: int) -> None:
    counts[bucket] = counts.get(bucket, 0) + count


def _flat(counts: Mapping[int, int]) -> list[int]:
    return [number for pair in sorted(counts.items()) for number in pair]


@frozen
class Subject:
    """Whom a tally is about.

    Attributes:
        kind: `all`, `group`, `model`, `pair` (a group's model), `key` or `upstream`.
        id: unique within its kind, and made of ASCII, so that no database's idea of
            letters can make two of them one. "…" is whoever came too late to be told apart.
        group_id: the group it belongs to; 0 for none.
        name: for people.
    """

    kind: str
    id: str = ""
    group_id: int = field(default=0, eq=False)
    name: str = field(default="", eq=False)


EVERYTHING: Final = Subject("all")
OTHERS: Final = "…"
# A model's name is the client's text, so somebody could make millions of them.
MOST_SUBJECTS: Final[Mapping[str, int]] = {
    "all": 1,
    "group": 5000,
    "model": 500,
    "pair": 500,
    "upstream": 200,
    "key": 1000,
}


def of_group(group_id: int, name: str = "") -> Subject:
    """A group, or an aggregate."""
    return Subject("group", str(group_id), group_id, name)


def of_model(model: str) -> Subject:
    """A model, whoever serves it; "" is a request that names none."""
    return Subject("model", _digest(model), 0, model)


def of_pair(group_id: int, model: str) -> Subject:
    """A model in one group."""
    return Subject("pair", f"{group_id}/{_digest(model)}", group_id, model)


def of_key(key_id: int, group_id: int = 0) -> Subject:
    """A pool key."""
    return Subject("key", str(key_id), group_id)


def of_upstream(group_id: int, upstream: str) -> Subject:
    """A group's upstream, by its URL's scheme and host."""
    return Subject("upstream", f"{group_id}/{_digest(upstream)}", group_id, upstream)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


@define
class _Cell:
    """One minute of one group's model, asked for in one way."""

    tally: Tally = field(factory=Tally)
    group_name: str = ""
    parent_name: str = ""


def facts(record: AttemptRecord, spent: Spending | None = None) -> AttemptRecord:
    """What `fold` reads of a record, without the texts that it doesn't.

    Args:
        spent: what the record tells of tokens and cost; takes the place of its words.
    """
    return record._replace(
        id="",
        exchange_id="",
        source_ip="",
        path="",
        status_code=_some_status(record.status_code),
        duration_ms=_some_ms(record.duration_ms),
        first_byte_ms=None if record.first_byte_ms is None else _some_ms(record.first_byte_ms),
        first_token_ms=None if record.first_token_ms is None else _some_ms(record.first_token_ms),
        total_ms=_some_ms(record.total_ms),
        upstream=_origin(record.upstream),
        error="",
        user_agent="",
        request_body="",
        signature="",
        usage="" if spent is None else spent.summary(),
        upstream_model="",
    )


def _some_ms(duration_ms: int) -> int:
    return max(0, min(duration_ms, LONGEST_MS))


def fold(records: Iterable[AttemptRecord]) -> dict[tuple[int, Subject], Tally]:
    """What the records add, by the minute's begin and subject."""
    cells: dict[tuple[int, int, int, str], _Cell] = {}
    found: dict[tuple[int, Subject], Tally] = {}
    for record in records:
        minute = int(min(max(record.at, 0.0), 2.0**40)) // MINUTE * MINUTE
        final = record.is_final
        place = (minute, record.group_id, record.parent_group_id, record.model[:255])
        cell = cells.get(place)
        if cell is None:
            cell = cells[place] = _Cell(
                group_name=record.group_name, parent_name=record.parent_group_name
            )
        cell.tally.count(record, record.total_ms if final else None)
        # A key or an upstream is judged by its own attempts, not by the client's wait.
        single = []
        if record.key_id:
            single.append(of_key(record.key_id, record.group_id))
        if record.upstream:
            single.append(of_upstream(record.group_id, _origin(record.upstream)))
        for subject in single:
            tally = _at(found, minute, subject)
            tally.count(record, record.duration_ms)
    for (minute, group_id, parent_id, model), cell in cells.items():
        subjects = [EVERYTHING, of_group(group_id, cell.group_name), of_model(model)]
        subjects.append(of_pair(group_id, model))
        if parent_id:
            subjects += [of_group(parent_id, cell.parent_name), of_pair(parent_id, model)]
        for subject in subjects:
            _at(found, minute, subject).add(cell.tally)
    return found


def coarser(tallies: Mapping[tuple[int, Subject], Tally], step: int) -> dict[Any, Tally]:
    """The same by the begin of the hour or day."""
    found: dict[tuple[int, Subject], Tally] = {}
    for (at, subject), tally in tallies.items():
        _at(found, at // step * step, subject).add(tally)
    return found


def _at(tallies: dict[tuple[int, Subject], Tally], at: int, subject: Subject) -> Tally:
    tally = tallies.get((at, subject))
    if tally is None:
        tally = tallies[at, subject] = Tally()
    return tally


def _origin(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])[:255]


@frozen
class Span:
    """A part of a range that is read in one step; `until` is not in it."""

    step: int
    since: int
    until: int


def spans(since: float, until: float, now: float, kept: Mapping[int, int] = KEPT_S) -> list[Span]:
    """How a range is read from as few rows as can be: days inside, minutes at its ends.

    The range grows to whole minutes, or to the finest that is kept of times so long ago.
    """
    begin = _down(since, _finest(since, now, kept))
    end = -_down(-until, _finest(until, now, kept))
    return list(_split(begin, end, STEPS))


def _finest(at: float, now: float, kept: Mapping[int, int]) -> int:
    return next((step for step, seconds in kept.items() if at >= now - seconds), DAY)


def _down(at: float, step: int) -> int:
    return int(at // step * step)


def _split(begin: int, end: int, steps: Sequence[int]) -> Iterator[Span]:
    step, finer = steps[0], steps[1:]
    first, last = -_down(-begin, step), _down(end, step)
    if first < last:
        if begin < first:
            yield from _split(begin, first, finer)
        yield Span(step, first, last)
        begin = last
    if begin < end and finer:
        yield from _split(begin, end, finer)


@frozen
class Axis:
    """A range cut into points.

    Attributes:
        step: seconds from point to point, but for a change of the clocks.
        source: of the rows that make the points.
        points: the points' begins, epoch seconds, and `until` behind them.
    """

    step: int
    source: int
    since: int
    until: int
    points: tuple[int, ...]
    zone: tzinfo = UTC

    def place(self, at: int) -> int:
        """The begin of the point that a row's time belongs to."""
        return _floor_in(at, self.step, self.zone)

    def label(self, at: int) -> str:
        """The moment in the axis's zone, ISO 8601 with its offset."""
        return datetime.fromtimestamp(at, self.zone).isoformat()


def axis(
    since: float,
    until: float,
    now: float,
    zone: tzinfo = UTC,
    step: int = 0,
    kept: Mapping[int, int] = KEPT_S,
) -> Axis:
    """The axis of a range.

    Args:
        step: one of `POINT_STEPS`, taken if it makes sense for the range; 0 chooses.
    """
    finest = _finest(since, now, kept)
    fitting = [
        each for each in POINT_STEPS if each >= finest and (until - since) / each <= MOST_POINTS
    ]
    if step not in fitting:
        step = fitting[0] if fitting else DAY
    begin = _floor_in(int(since), step, zone)
    points = [begin]
    while points[-1] < until:
        # A day in spring has 23 hours: the next point is found on the zone's clock.
        following = _floor_in(points[-1] + step + step // 2, step, zone)
        points.append(following if following > points[-1] else points[-1] + step)
    *begins, end = points
    return Axis(step, _source(step, begins, finest, zone), begin, end, tuple(begins), zone)


def _source(step: int, begins: Sequence[int], finest: int, zone: tzinfo) -> int:
    for source in STEPS:
        fits = step % source == 0 and all(begin % source == 0 for begin in begins)
        if source <= finest or fits:
            return source
    return MINUTE


def _floor_in(at: int, step: int, zone: tzinfo) -> int:
    if step <= HOUR and zone is not UTC:
        offset = datetime.fromtimestamp(at, zone).utcoffset() or timedelta()
        shift = int(offset.total_seconds())
        return (at + shift) // step * step - shift
    if zone is UTC:
        return at // step * step
    local = datetime.fromtimestamp(at, zone)
    passed = local.hour * HOUR + local.minute * 60 + local.second
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    floored = midnight + timedelta(seconds=passed // step * step)
    return int(floored.timestamp())
