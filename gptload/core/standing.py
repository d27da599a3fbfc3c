"""What holds of each key, folded from what was seen of it: the ledger without its books.

The rule of this file: the same events in the same order give the same standings, on a
node, in a simulation and in a replay of attempt records. There is no clock in it; an
event brings its own time.

Only a key of which there is something to say is held. One that is active and has no
strikes and no rests costs nothing but its account, where that is known.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Final

from attrs import Factory, define, evolve, frozen

from gptload.core.correlation import LONGEST_S, Cause, Correlation, Finding
from gptload.core.keyevents import Change, Happened, KeyEvent, KeyView, Seen, WaySuspected
from gptload.core.keypool import PoolKey
from gptload.core.keystate import NEXT, Event, State
from gptload.core.outcome import Outcome, Scope
from gptload.core.record import AttemptRecord
from gptload.core.resttime import GROWN_REST_S

# Models that one key rests for at the same time. Clients choose the names, so a bound.
MODELS: Final = 200
# To the others of an account, a rest that ends no more than that later is the same one:
# requests under way at the same time name times that differ by moments.
_SAME_REST_S: Final = 1.0
_ACCOUNT_CHARACTERS: Final = 128


@frozen
class _Growth:
    """The last rest by a default of ours, which the next one may double.

    Attributes:
        until: epoch seconds of its end.
    """

    reason: str
    length_s: float
    until: float

    @property
    def ends_at(self) -> float:
        """A key that was awake for as long as it had rested has proven itself."""
        return self.until + self.length_s


@define
class _Standing:
    """A key of which there is something to say; rests and growths by model, "" for any."""

    group_id: int
    state: State = State.ACTIVE
    strikes: int = 0
    until: float | None = None
    reason: str = ""
    changed_at: float | None = None
    rests: dict[str, float] = Factory(dict)
    growths: dict[str, _Growth] = Factory(dict)

    def is_plain(self) -> bool:
        return (
            self.state is State.ACTIVE and not self.strikes and not self.rests and not self.growths
        )

    def copy(self) -> _Standing:
        return evolve(self, rests=dict(self.rests), growths=dict(self.growths))

    def is_as(self, other: _Standing) -> bool:
        """Whether both say the same of the key."""
        mine = (self.state, self.strikes, self.until, self.rests)
        return mine == (other.state, other.strikes, other.until, other.rests)

    def move(self, event: Event, at: float, reason: str) -> None:
        self.state = NEXT[self.state, event]
        self.until = None
        self.reason = reason
        self.changed_at = at

    def pass_time(self, now: float) -> None:
        """Notice what is over. Pools notice it themselves, so nobody is told."""
        if self.state is State.RESTING and (self.until or 0.0) <= now:
            self.move(Event.WOKE, self.until or now, "")
        if self.rests:
            self.rests = {model: until for model, until in self.rests.items() if until > now}
        if self.growths:
            self.growths = {m: last for m, last in self.growths.items() if last.ends_at > now}


@frozen
class _AccountRest:
    """A rest of a whole account, for a key that turns out to be one of its keys."""

    until: float
    cause: KeyEvent


@define
class _Mark:
    """What a verdict that may have to be undone did to a key.

    Attributes:
        before: (epoch seconds, what held until then), one for each verdict.
        after: what held after the last of them.
    """

    group_id: int
    before: list[tuple[float, _Standing]]
    after: _Standing


class Standings:
    """Folds key events, and what people and tests say, into what holds of each key.

    Args:
        correlation: finds verdicts that blame the wrong one; None where nobody looks.
    """

    def __init__(self, correlation: Correlation | None = None) -> None:
        self._correlation = correlation
        self._held: dict[int, _Standing] = {}
        # (when something of it may be over, key id); the standing itself decides.
        self._alarms: list[tuple[float, int]] = []
        self._account_of: dict[int, str] = {}
        self._members: dict[tuple[int, str], dict[int, None]] = {}
        self._account_rests: dict[tuple[int, str], dict[str, _AccountRest]] = {}
        # By (way, signature, key id); those that changed last are at the end.
        self._marks: dict[tuple[str, str, int], _Mark] = {}

    def __len__(self) -> int:
        """Of how many keys there is something to say."""
        return len(self._held)

    def view(self, key_id: int, now: float) -> KeyView:
        """What holds of the key now. A key nobody knows looks like a healthy one."""
        standing = self._held.get(key_id)
        if standing is None:
            return KeyView(account=self._account_of.get(key_id, ""))
        standing.pass_time(now)
        return self._view(key_id, standing)

    def _view(self, key_id: int, standing: _Standing) -> KeyView:
        return KeyView(
            standing.state,
            standing.strikes,
            standing.until,
            standing.reason,
            standing.changed_at,
            tuple(standing.rests.items()),
            self._account_of.get(key_id, ""),
        )

    def is_news(self, event: KeyEvent) -> bool:
        """Whether a data plane reports this event: of successes only those that tell something."""
        if event.seen is not Seen.OK:
            return True
        standing = self._held.get(event.key_id)
        if standing is not None and standing.strikes:
            return True
        return bool(event.account) and not self._account_of.get(event.key_id)

    # What data planes saw.

    def fold(self, event: KeyEvent) -> list[Change | WaySuspected]:
        """Take in what a data plane saw.

        Returns:
            What holds since then and didn't before, in the order in which it happened.
        """
        news: list[Change | WaySuspected] = [*self._learn(event)]
        if event.signature and event.seen is not Seen.OK and self._correlation is not None:
            finding = self._correlation.observe(
                at=event.at,
                way=event.way,
                key_id=event.key_id,
                account=self._account_of.get(event.key_id, ""),
                signature=event.signature,
                others_ok_at=event.others_ok_at,
                proven=event.proven,
                serving=event.serving,
            )
            if finding is not None and finding.cause is Cause.WAY:
                return news + self._undo(finding, event)
            if finding is not None:
                event = _of_account(event)
        if event.seen is Seen.OK:
            news += self._succeeded(event)
        elif event.scope not in _ABOUT_KEYS:
            pass  # whoever is to blame, it's no key
        elif event.seen is Seen.REJECTED:
            news += self._strike(event)
        else:
            news += self._rest(event)
        self._drop_if_plain(event.key_id)
        return news

    def _standing(self, group_id: int, key_id: int, now: float) -> _Standing:
        standing = self._held.get(key_id)
        if standing is None:
            standing = self._held[key_id] = _Standing(group_id)
        standing.pass_time(now)
        return standing

    def _changed(
        self, happened: Happened, event: KeyEvent, key_id: int, model: str = "", reason: str = ""
    ) -> Change:
        return Change(
            event.group_id,
            key_id,
            event.at,
            happened,
            self._view(key_id, self._held.get(key_id) or _Standing(event.group_id)),
            model,
            reason or event.reason,
            event.status,
            event.exchange_id,
            event.named if happened is Happened.RESTED else None,
        )

    def _succeeded(self, event: KeyEvent) -> list[Change]:
        standing = self._standing(event.group_id, event.key_id, event.at)
        for model in {"", event.model}:
            last = standing.growths.get(model)
            if last is not None and last.until <= event.at:
                del standing.growths[model]
        # An attempt that was under way when the verdict fell doesn't soften it.
        if not standing.strikes or standing.state in (State.INVALID, State.DISABLED):
            return []
        standing.strikes = 0
        return [self._changed(Happened.STRIKES_ENDED, event, event.key_id)]

    def _strike(self, event: KeyEvent) -> list[Change]:
        standing = self._standing(event.group_id, event.key_id, event.at)
        if standing.state in (State.INVALID, State.DISABLED):
            return []
        before = standing.copy()
        standing.strikes += 1
        happened = Happened.STRUCK
        if 0 < event.threshold <= standing.strikes:
            standing.move(Event.STRUCK_OUT, event.at, event.reason)
            happened = Happened.STRUCK_OUT
        self._mark(event, event.key_id, before, standing)
        return [self._changed(happened, event, event.key_id)]

    def _rest(self, event: KeyEvent) -> list[Change]:
        if event.until is None or event.until <= event.at:
            return []
        model = event.model if event.scope in _ABOUT_MODELS else ""
        standing = self._standing(event.group_id, event.key_id, event.at)
        before = standing.copy()
        until = _grown(standing, event, event.until, model)
        self._expect_growth(event.key_id, standing, model)
        if until is None:
            return []
        changes = []
        if self._rest_one(event, event.key_id, model, until, before):
            changes.append(self._changed(Happened.RESTED, event, event.key_id, model))
        if event.scope in _ABOUT_ACCOUNTS:
            changes += self._rest_others(event, model, until)
        return changes

    def _rest_others(self, event: KeyEvent, model: str, until: float) -> list[Change]:
        account = self._account_of.get(event.key_id, "")
        if not account:
            return []
        group = (event.group_id, account)
        rests = self._account_rests.setdefault(group, {})
        for over in [name for name, rest in rests.items() if rest.until <= event.at]:
            del rests[over]
        if model in rests and until <= rests[model].until + _SAME_REST_S:
            return []
        if model in rests or len(rests) < MODELS:
            rests[model] = _AccountRest(until, event)
        growth = self._held[event.key_id].growths.get(model)
        changes = []
        for key_id in self._members[group]:
            if key_id == event.key_id:
                continue
            standing = self._standing(event.group_id, key_id, event.at)
            before = standing.copy()
            if growth is not None:
                standing.growths[model] = growth
                self._expect_growth(key_id, standing, model)
            if self._rest_one(event, key_id, model, until, before):
                changes.append(self._changed(Happened.RESTED, event, key_id, model))
            self._drop_if_plain(key_id)
        return changes

    def _rest_one(
        self,
        event: KeyEvent,
        key_id: int,
        model: str,
        until: float,
        before: _Standing,
    ) -> bool:
        """Whether the key rests longer now: of two rests the longer wins."""
        standing = self._held[key_id]
        if NEXT[standing.state, Event.RESTED] is not State.RESTING:
            return False
        if model:
            rest = standing.rests.get(model)
            if rest is None and len(standing.rests) >= MODELS:
                return False
            if rest is not None and until <= rest:
                return False
            standing.rests[model] = until
        else:
            if standing.until is not None and until <= standing.until:
                return False
            standing.move(Event.RESTED, event.at, event.reason)
            standing.until = until
        self._expect(key_id, until)
        self._mark(event, key_id, before, standing)
        return True

    # Accounts.

    def _learn(self, event: KeyEvent) -> list[Change]:
        account = event.account[:_ACCOUNT_CHARACTERS]
        if not account or self._account_of.get(event.key_id) == account:
            return []
        self._belongs(event.group_id, event.key_id, account)
        self._standing(event.group_id, event.key_id, event.at)
        changes = [self._changed(Happened.ACCOUNT_SEEN, event, event.key_id)]
        for model, rest in self._account_rests.get((event.group_id, account), {}).items():
            if rest.until <= event.at:
                continue
            before = self._held[event.key_id].copy()
            cause = evolve(rest.cause, key_id=event.key_id, at=event.at)
            if self._rest_one(cause, event.key_id, model, rest.until, before):
                changes.append(self._changed(Happened.RESTED, cause, event.key_id, model))
        return changes

    def _belongs(self, group_id: int, key_id: int, account: str) -> None:
        self._leave(group_id, key_id)
        self._account_of[key_id] = account
        self._members.setdefault((group_id, account), {})[key_id] = None

    def _leave(self, group_id: int, key_id: int) -> None:
        group = (group_id, self._account_of.pop(key_id, ""))
        members = self._members.get(group)
        if members is not None:
            members.pop(key_id, None)
            if not members:
                del self._members[group]
                self._account_rests.pop(group, None)

    # Verdicts that were wrong.

    def way_proven(self, way: str) -> None:
        """The way works again: what fails alike from now on is a new trouble."""
        if self._correlation is not None:
            self._correlation.forget(way)

    def _mark(self, event: KeyEvent, key_id: int, before: _Standing, after: _Standing) -> None:
        if not event.signature or self._correlation is None:
            return
        while self._marks:
            place, oldest = next(iter(self._marks.items()))
            if oldest.before[-1][0] > event.at - LONGEST_S:
                break
            del self._marks[place]
        place = (event.way, event.signature, key_id)
        mark = self._marks.pop(place, None)
        if mark is not None:
            mark.after.pass_time(event.at)
        if mark is None or not mark.after.is_as(before):
            mark = _Mark(event.group_id, [], after)
        recent = [held for held in mark.before if held[0] > event.at - LONGEST_S]
        mark.before = [*recent, (event.at, before)]
        mark.after = after.copy()
        self._marks[place] = mark

    def _undo(self, finding: Finding, event: KeyEvent) -> list[Change | WaySuspected]:
        """Take back what such verdicts did, unless something else changed the key since."""
        news: list[Change | WaySuspected] = []
        places = [place for place in self._marks if place[:2] == (finding.way, finding.signature)]
        for place in places:
            mark, key_id = self._marks.pop(place), place[2]
            held = [before for at, before in mark.before if at >= finding.since]
            if not held:
                continue
            standing = self._standing(mark.group_id, key_id, event.at)
            mark.after.pass_time(event.at)
            if standing.is_as(mark.after):
                self._held[key_id] = held[0]
                held[0].pass_time(event.at)
                self._forget_account_rests(mark.group_id, key_id, finding.signature)
                of = evolve(event, group_id=mark.group_id)
                news.append(self._changed(Happened.UNDONE, of, key_id, reason=finding.reason))
            self._drop_if_plain(key_id)
        if not any(isinstance(told, Change) and told.key_id == event.key_id for told in news):
            # A data plane holds the key already.
            spared = self._changed(Happened.SPARED, event, event.key_id, reason=finding.reason)
            news.append(spared)
        self._drop_if_plain(event.key_id)
        return [*news, WaySuspected(finding.way, event.at, finding.reason, finding.sure)]

    def _forget_account_rests(self, group_id: int, key_id: int, signature: str) -> None:
        rests = self._account_rests.get((group_id, self._account_of.get(key_id, "")), {})
        for model in [name for name, rest in rests.items() if rest.cause.signature == signature]:
            del rests[model]

    # What tests and people say.

    def tested(
        self, group_id: int, key_id: int, outcome: Outcome, reason: str, now: float
    ) -> list[Change]:
        """Take in what a test of the key showed: a person asked, so it decides at once.

        A rejection makes the key invalid, whatever its strikes; a success makes it
        well. Anything else says nothing about the key and changes nothing.
        """
        if outcome is Outcome.OK:
            return self._recover(Happened.TESTED_GOOD, group_id, (key_id,), now)
        if outcome is not Outcome.KEY_REJECTED:
            return []
        standing = self._standing(group_id, key_id, now)
        if standing.state in (State.INVALID, State.DISABLED):
            return []
        standing.strikes += 1
        standing.move(Event.STRUCK_OUT, now, reason)
        cause = KeyEvent(group_id, key_id, Seen.REJECTED, now, reason=reason)
        return [self._changed(Happened.TESTED_BAD, cause, key_id)]

    def restored(self, group_id: int, key_ids: Iterable[int], now: float) -> list[Change]:
        """These keys are good again: no strikes, no rest. What is switched off stays off."""
        return self._recover(Happened.RESTORED, group_id, key_ids, now)

    def _recover(
        self, happened: Happened, group_id: int, key_ids: Iterable[int], now: float
    ) -> list[Change]:
        changes = []
        for key_id in key_ids:
            standing = self._held.get(key_id)
            if standing is None or NEXT[standing.state, Event.RECOVERED] is not State.ACTIVE:
                continue
            standing.pass_time(now)
            is_news = standing.state is not State.ACTIVE or standing.strikes or standing.rests
            standing.strikes, standing.rests, standing.growths = 0, {}, {}
            if is_news:
                standing.move(Event.RECOVERED, now, "")
                cause = KeyEvent(group_id, key_id, Seen.OK, now)
                changes.append(self._changed(happened, cause, key_id))
            self._drop_if_plain(key_id)
        return changes

    def switched(
        self, group_id: int, key_ids: Iterable[int], event: Event, now: float
    ) -> list[Change]:
        """A person switched these keys off or on; what is on again begins anew.

        Args:
            event: `Event.SWITCHED_OFF` or `Event.SWITCHED_ON`.
        """
        changes = []
        for key_id in key_ids:
            standing = self._standing(group_id, key_id, now)
            if NEXT[standing.state, event] is not standing.state:
                happened = _SWITCHED[event]
                if event is Event.SWITCHED_ON:
                    standing.strikes, standing.rests, standing.growths = 0, {}, {}
                standing.move(event, now, happened.value if event is Event.SWITCHED_OFF else "")
                cause = KeyEvent(group_id, key_id, Seen.OK, now)
                changes.append(self._changed(happened, cause, key_id))
            self._drop_if_plain(key_id)
        return changes

    # Which keys there are.

    def take_up(self, group_id: int, key: PoolKey, reason: str, changed_at: float | None) -> None:
        """A key as it was held before."""
        if key.account:
            self._belongs(group_id, key.id, key.account)
        standing = _Standing(
            group_id, key.state, key.strikes, key.until, reason, changed_at, dict(key.rests)
        )
        if standing.is_plain():
            return
        self._held[key.id] = standing
        if standing.until is not None:
            self._expect(key.id, standing.until)
        for until in standing.rests.values():
            self._expect(key.id, until)

    def forget(self, group_id: int, key_id: int) -> None:
        """This key is gone."""
        self._held.pop(key_id, None)
        self._leave(group_id, key_id)

    def forget_group(self, group_id: int) -> None:
        """The group and all its keys are gone."""
        gone = {key_id for key_id, held in self._held.items() if held.group_id == group_id}
        for (of_group, _), members in self._members.items():
            if of_group == group_id:
                gone |= members.keys()
        for key_id in gone:
            self.forget(group_id, key_id)

    # Time.

    def _expect(self, key_id: int, until: float) -> None:
        heapq.heappush(self._alarms, (until, key_id))

    def _expect_growth(self, key_id: int, standing: _Standing, model: str) -> None:
        growth = standing.growths.get(model)
        if growth is not None:
            self._expect(key_id, growth.ends_at)

    def wake(self, now: float, limit: int) -> None:
        """Let go of keys of which there is nothing to say any more; `limit` alarms at most."""
        for _ in range(limit):
            if not self._alarms or self._alarms[0][0] > now:
                return
            _, key_id = heapq.heappop(self._alarms)
            standing = self._held.get(key_id)
            if standing is not None:
                standing.pass_time(now)
                self._drop_if_plain(key_id)

    def _drop_if_plain(self, key_id: int) -> None:
        standing = self._held.get(key_id)
        if standing is not None and standing.is_plain():
            del self._held[key_id]


_ABOUT_MODELS: Final = frozenset([Scope.KEY_MODEL, Scope.ACCOUNT_MODEL])
_ABOUT_ACCOUNTS: Final = frozenset([Scope.ACCOUNT, Scope.ACCOUNT_MODEL])
_ABOUT_KEYS: Final = frozenset([Scope.KEY]) | _ABOUT_MODELS | _ABOUT_ACCOUNTS
_SWITCHED: Final = {
    Event.SWITCHED_OFF: Happened.SWITCHED_OFF,
    Event.SWITCHED_ON: Happened.SWITCHED_ON,
}
_OUTCOMES: Final = {
    Seen.LIMITED: Outcome.RATE_LIMITED,
    Seen.EXHAUSTED: Outcome.KEY_EXHAUSTED,
}


def _of_account(event: KeyEvent) -> KeyEvent:
    """The same, said of the whole account."""
    scope = Scope.ACCOUNT_MODEL if event.scope in _ABOUT_MODELS else Scope.ACCOUNT
    return evolve(event, scope=scope)


def _grown(standing: _Standing, event: KeyEvent, until: float, model: str) -> float | None:
    """The end of a rest: where nobody named it, twice as far away as the last time.

    Growth ends with a success that we hear of. Most are never reported, so it also ends
    once the key was awake for longer than it had rested.

    Returns:
        None for an answer that was under way when that same rest began.

    Source: spec/providers.md, 8.3.
    """
    if event.named:
        return until
    last = standing.growths.get(model)
    length_s = until - event.at
    if last is not None and last.reason == event.reason:
        if event.at < last.until:
            return None
        cap_s = max(GROWN_REST_S[_OUTCOMES[event.seen]], length_s)
        length_s = max(length_s, min(2 * last.length_s, cap_s))
        until = max(until, event.at + length_s)
    if last is not None or len(standing.growths) < MODELS:
        standing.growths[model] = _Growth(event.reason, length_s, until)
    return until


def replay(records: Iterable[AttemptRecord], threshold: Callable[[int], int]) -> Standings:
    """What the attempts alone make of the keys: no correlation, and no person's hand.

    Args:
        records: in the order in which the attempts ended, as the journal has them.
        threshold: `blacklist_threshold` by group id.
    """
    standings = Standings()
    for record in records:
        event = _event(record, threshold)
        if event is not None and standings.is_news(event):
            standings.fold(event)
    return standings


_SEEN: Final = {
    Outcome.OK.name.lower(): Seen.OK,
    Outcome.KEY_REJECTED.name.lower(): Seen.REJECTED,
    Outcome.RATE_LIMITED.name.lower(): Seen.LIMITED,
    Outcome.KEY_EXHAUSTED.name.lower(): Seen.EXHAUSTED,
}


def _event(record: AttemptRecord, threshold: Callable[[int], int]) -> KeyEvent | None:
    """What the data plane saw; None where it was nothing about a key."""
    seen = _SEEN.get(record.outcome)
    if seen is None or not record.key_id or (seen is not Seen.OK and not record.scope):
        return None
    return KeyEvent(
        record.group_id,
        record.key_id,
        seen,
        record.at + record.duration_ms / 1000,
        record.rest_until,
        threshold(record.group_id),
        record.reason,
        record.status_code,
        Scope(record.scope) if record.scope else Scope.KEY,
        record.model,
        record.account,
        signature=record.signature,
        exchange_id=record.exchange_id,
        named=record.named,
    )
