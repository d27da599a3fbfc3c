"""Which keys a task goes through, and which of them it would have to be asked for again.

A task may be cancelled, killed, or meet an upstream that is away. What it has left is
written with its row each second, as ids and as a filter, never as keys: so somebody can
go on with just that, after a restart too. Keys are met in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, define, evolve, field

from gptload.control.db.queries.keys import KeyFilter
from gptload.core.idspans import IdSpans, Span, above, packed, spans_of, unpacked

# Spans of ids that a task keeps; an outage is one. About 100 kB as text at the very most,
# which is written each second.
KEPT: Final = 5000
# Spans of one question to the database: SQLite nests no condition deeper than 1000.
_ASKED: Final = 200
# No key, and nothing that is known anew each time.
_WORDS: Final = ("status", "state", "reason", "kind", "notes", "unused_since")


@define(eq=False)
class Course:
    """The way of one task through the keys of a group.

    Attributes:
        named: keys that are meant whatever they are like by now; all below the others.
        wanted: after them these; None for no others.
        after, until: of these, only with ids above `after` and up to `until`: keys
            that come while it runs aren't meant.
        more: what else it takes to do the same again, such as a weight.
        task_id: the task of which it is what was left; None: it is new.
    """

    named: Sequence[Span] = ()
    wanted: KeyFilter | None = None
    after: int = 0
    until: int = 0
    more: Mapping[str, Any] = field(factory=dict)
    task_id: int | None = None
    _met_to: int = 0
    _page: dict[int, str] = field(factory=dict)
    _failed: IdSpans = field(factory=lambda: IdSpans(KEPT))
    _rejected: IdSpans = field(factory=lambda: IdSpans(KEPT))

    @classmethod
    def of(cls, wanted: KeyFilter, until: int, more: Mapping[str, Any] | None = None) -> Course:
        """From the beginning.

        Args:
            until: the highest id that the group has now.
        """
        if wanted.ids is not None:
            return cls(spans_of(wanted.ids), more=more or {})
        if wanted.spans is not None:
            return cls(wanted.spans, more=more or {})
        return cls((), wanted, 0, until, more or {})

    @classmethod
    def again(cls, task_id: int, left: Mapping[str, Any]) -> Course:
        """What a task left: what failed there, and what wasn't reached."""
        named, rest, more = unpacked(left["named"]), left["rest"], left["more"]
        if rest is None:
            return cls(named, more=more, task_id=task_id)
        wanted = KeyFilter(**rest["wanted"])
        return cls(named, wanted, rest["after"], rest["until"], more, task_id)

    @classmethod
    def rejected(cls, task_id: int, left: Mapping[str, Any]) -> Course:
        """Of a task only keys that were rejected there."""
        return cls(unpacked(left["rejected"]), more=left["more"], task_id=task_id)

    def parts(self) -> Iterator[KeyFilter]:
        """In this order, each with as many conditions as a database takes."""
        for start in range(0, len(self.named), _ASKED):
            yield KeyFilter(spans=tuple(self.named[start : start + _ASKED]))
        if self.wanted is not None and self.after < self.until:
            yield evolve(self.wanted, spans=((self.after + 1, self.until),))

    def begin_page(self, key_ids: Sequence[int]) -> None:
        """These are next; nothing is left of those before but what they were found to be."""
        self._close_page()
        self._page = dict.fromkeys(key_ids, "")
        self._met_to = key_ids[-1]

    def met(self, key_id: int, what: str) -> None:
        """One of the page is done.

        Args:
            what: `failed`, `rejected` or `good`.
        """
        self._page[key_id] = what

    def met_all(self) -> None:
        """The whole page is done, and good."""
        self._page = {}

    def end(self) -> None:
        """There is none that it hasn't met."""
        self._close_page()
        self._met_to = max(self.until, *(last for _, last in self.named), 0)

    def _close_page(self) -> None:
        self._failed, self._rejected = self._sorted()
        self._page = {}

    def _sorted(self) -> tuple[IdSpans, IdSpans]:
        """With the page so far: failed or not reached, and rejected."""
        failed, rejected = self._failed.copy(), self._rejected.copy()
        for key_id, what in self._page.items():
            if what in ("", "failed"):
                failed.add(key_id)
            elif what == "rejected":
                rejected.add(key_id)
        return failed, rejected

    def left(self) -> dict[str, Any]:
        """What it has left now, as JSON.

        `named` and `rest` are what failed or wasn't reached, which `is_cut` says there
        is; `rejected` is apart. `unnamed_count` keys more would be in them if more ids
        were kept.
        """
        named, rejected = self._sorted()
        met = list(self._page.values())
        ahead = above(self.named, self._met_to)
        for span in ahead:
            named.add(*span)
        rest = None
        after = max(self.after, self._met_to)
        if self.wanted is not None and after < self.until:
            words = asdict(self.wanted, recurse=False)
            kept = {name: words[name] for name in _WORDS if words[name]}
            rest = {"wanted": kept, "after": after, "until": self.until}
        return {
            "named": packed(named.spans),
            "rest": rest,
            "rejected": packed(rejected.spans),
            "failed_count": min(self._failed.count + met.count("failed"), named.count),
            "rejected_count": rejected.count,
            "unnamed_count": named.dropped + rejected.dropped,
            "is_cut": bool(rest or ahead or "" in met),
            "more": dict(self.more),
            "of": self.task_id,
        }
