"""Many ids in little room: after an outage `1-500000` names half a million keys.

Only neighbours share a span, so a span never names an id that nobody put in.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

Span = tuple[int, int]
"""First and last id, both included."""


@define
class IdSpans:
    """Ids that come in rising order.

    Attributes:
        limit: how many spans are kept; an id that would begin a further one is dropped.
        count: ids that are kept.
        dropped: ids that aren't.
    """

    limit: int
    spans: list[Span] = field(factory=list)
    count: int = 0
    dropped: int = 0

    def add(self, first: int, last: int | None = None) -> None:
        """Put in one id, or all from `first` to `last`; they are above all that are in."""
        last = first if last is None else last
        count = last - first + 1
        if self.spans and self.spans[-1][1] == first - 1:
            self.spans[-1] = (self.spans[-1][0], last)
        elif len(self.spans) < self.limit:
            self.spans.append((first, last))
        else:
            self.dropped += count
            return
        self.count += count

    def copy(self) -> IdSpans:
        """One that goes its own way from here."""
        return IdSpans(self.limit, list(self.spans), self.count, self.dropped)


def spans_of(ids: Iterable[int]) -> tuple[Span, ...]:
    """Ids in any order, as spans; none is dropped."""
    found = sorted(set(ids))
    spans = IdSpans(limit=len(found))
    for one in found:
        spans.add(one)
    return tuple(spans.spans)


def above(spans: Iterable[Span], last: int) -> list[Span]:
    """What is left of them above an id."""
    return [(max(start, last + 1), end) for start, end in spans if end > last]


def packed(spans: Iterable[Span]) -> str:
    """`1-5,9`."""
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in spans)


def unpacked(text: str) -> tuple[Span, ...]:
    """What `packed` made a text of."""
    return tuple(_span(part) for part in text.split(",") if part)


def _span(text: str) -> Span:
    first, _, last = text.partition("-")
    return int(first), int(last or first)
