"""Who would serve a request now, and who would after that, if attempts failed.

The choices and the blame are those of `Search`, `Doubts` and `Routing` themselves,
on copies of what they change: nobody's turn is taken, no breaker moves, no key is
charged. tests/proxy/test_rehearsal.py holds it to what real exchanges do.
"""

from __future__ import annotations

from collections.abc import Container
from copy import deepcopy
from typing import Final

import orjson
from attrs import evolve, frozen

from gptload.core.balance import Either
from gptload.core.errors import GptloadError
from gptload.core.keypool import KeyPool, PoolKey
from gptload.core.keystate import State
from gptload.core.outcome import Outcome, Verdict
from gptload.core.snapshot import Group
from gptload.core.vault import mask
from gptload.core.verdict import Answer, judge
from gptload.link.messages import KeyEvent, Seen
from gptload.link.rehearsal import (
    Asked,
    ChoiceSeen,
    End,
    KeySeen,
    Leaving,
    MemberSeen,
    Out,
    Pays,
    Plan,
    Rehearsal,
    TrialSeen,
    WaySeen,
)
from gptload.provider import IProvider
from gptload.proxy.blame import charge, settled
from gptload.proxy.doubts import Doubts
from gptload.proxy.outgoing import follow, header_rules, signed
from gptload.proxy.plane import Plane
from gptload.proxy.request import ClientRequest
from gptload.proxy.routing import Choice, Destination, Routing
from gptload.proxy.search import LIMITS, Search, fault
from gptload.wire.codec import parse_request_head
from gptload.wire.upstream import Trouble, UpstreamFailure, request_bytes

# Keys that are named for the case that the chosen one fails.
_THEN: Final = 4
# Pools of so many keys are copied whole, in a millisecond or two; more keys than that no
# exchange gets through.
_COPIED: Final = 100
_GOOD: Final = 200
# An error that says nothing but its status: what the tables make of that alone.
_JSON: Final = ((b"content-type", b"application/json"),)
_BARE_ERROR: Final = b'{"error":{"message":""}}'
# What header rules see of a client that isn't there (RFC 5737: for documentation).
_NOBODYS_ADDRESS: Final = "192.0.2.1"


def rehearse(plane: Plane, asked: Asked) -> Rehearsal | None:
    """What would become of a request.

    Returns:
        None when the group can't be used.

    Raises:
        CodecError: the path can't stand in a request.
    """
    routing, now = plane.routing, plane.seconds()
    entry = routing.snapshot.by_id.get(asked.group_id)
    if entry is None:
        return None
    stage = _Stage(plane, entry, asked)
    first = stage.search.first()
    return Rehearsal(
        members=tuple(_member(routing, *each, asked.model, now) for each in _members(entry)),
        choice=None if first is None else _choice(routing, first, stage.request.model, now),
        has_affinity=bool(entry.settings.session_affinity),
        leaving=None if first is None else stage.leaving(first),
        plan=None if first is None else stage.plan(first),
    )


def _members(entry: Group) -> tuple[tuple[int, int | None], ...]:
    return ((entry.id, None),) if entry.sub_groups is None else entry.sub_groups


def _member(
    routing: Routing, group_id: int, weight: int | None, model: str, now: float
) -> MemberSeen:
    pool = routing.pool(group_id)
    ways = tuple(_way(each, model, now) for each in routing.destinations(group_id))
    return MemberSeen(
        group_id=group_id,
        weight=weight,
        keys=len(pool) if pool is not None else 0,
        serving=pool.serving() if pool is not None else 0,
        resting_for_model=pool.resting_for(model) if pool is not None else 0,
        wakes_at=pool.wakes_at(model) if pool is not None else None,
        ways=ways,
        out=_out(routing, group_id, weight, pool, ways, model, now),
    )


def _out(
    routing: Routing,
    group_id: int,
    weight: int | None,
    pool: KeyPool | None,
    ways: tuple[WaySeen, ...],
    model: str,
    now: float,
) -> Out | None:
    if weight is not None and weight <= 0:
        return Out.NO_WEIGHT
    if group_id not in routing.snapshot.by_id:
        return Out.GONE
    if pool is None or not len(pool):
        return Out.NO_KEYS
    if len(ways) != 1 and not any(way.weight > 0 for way in ways):
        return Out.NO_WAY
    return Out.NONE_AWAKE if pool.peek(now, (), model) is None else None


def _way(destination: Destination, model: str, now: float) -> WaySeen:
    way = destination.way
    is_avoided = way.prefers_others(model, now)  # ends a wait that is over
    breaker = way.models.get(model, way.breaker) if is_avoided else way.breaker
    return WaySeen(
        number=destination.number,
        url=destination.shown,
        weight=destination.upstream.weight,
        state=breaker.state,
        retry_at=breaker.retry_at,
        reason=breaker.reason,
        is_avoided=is_avoided,
    )


def _choice(routing: Routing, first: Choice, model: str, now: float) -> ChoiceSeen:
    pool = routing.pool(first.group.id)
    assert pool is not None
    spent, then = {first.key.id}, list[KeySeen]()
    while len(then) < _THEN and (key := pool.peek(now, spent, model)) is not None:
        spent.add(key.id)
        then.append(_seen(key))
    return ChoiceSeen(
        group_id=first.group.id,
        way=first.destination.number,
        key=_seen(first.key),
        then=tuple(then),
        is_forced=first.destination.way.prefers_others(model, now),
    )


def _rehearsed(pool: KeyPool) -> KeyPool:
    return deepcopy(pool) if len(pool) <= _COPIED else _Onlooker(pool)


class _Onlooker(KeyPool):
    """A pool that is too large to be copied, to choose from: nobody loses a turn.

    It is exact as long as keys are left that had none. What it doesn't offer fails: it
    has nothing of its own.
    """

    def __init__(self, pool: KeyPool) -> None:
        self._pool = pool
        self._picked: set[int] = set()
        self._held: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._pool)

    def get(self, key_id: int) -> PoolKey | None:
        return self._pool.get(key_id)

    def serving(self) -> int:
        return self._pool.serving()

    def hold(self, key_id: int, until: float, model: str = "") -> None:
        self._held[key_id] = until

    def pick(self, now: float, tried: Container[int] = (), model: str = "") -> PoolKey | None:
        barred = Either(tried, self._held)
        key = self._pool.peek(now, Either(barred, self._picked), model)
        if key is None:
            key = self._pool.peek(now, barred, model)
        if key is not None:
            self._picked.add(key.id)
        return key

    def take(self, key_id: int, now: float, model: str = "") -> PoolKey | None:
        key = self._pool.get(key_id)
        if key is None or key_id in self._held or key.rests.get(model, 0.0) > now:
            return None
        is_back = key.state is State.RESTING and key.until is not None and key.until <= now
        return key if is_back or key.state is State.ACTIVE else None

    def wakes_at(self, model: str = "") -> float | None:
        ends = (self._pool.wakes_at(model), *self._held.values())
        return min((end for end in ends if end is not None), default=None)


@frozen
class _Trial:
    """An attempt that is only thought of; see `gptload.proxy.blame.Ended`."""

    choice: Choice
    generation: int
    status: int | None


class _Stage:
    """One exchange that isn't held.

    Attributes:
        request: what is asked.
        search: who goes next, on a copy of the data plane's picture.
    """

    def __init__(self, plane: Plane, entry: Group, asked: Asked) -> None:
        self._events: list[KeyEvent] = []
        self._plane = evolve(
            plane,
            routing=plane.routing.rehearsed(entry, _rehearsed),
            report=self._events.append,
        )
        self._failures = asked.failures
        self._provider = plane.providers[entry.channel]
        self._now = plane.seconds()
        self.request = _request(entry, self._provider, asked)
        self.search = Search(self._plane, self.request)
        self._doubts = Doubts(self._plane, self.request.model, "")

    def leaving(self, choice: Choice) -> Leaving:
        """What the first attempt would send."""
        request, way = self.request, choice.destination
        sample = request.body.decode("utf-8", "replace")
        try:
            path, body = request.towards(choice.group)
        except GptloadError as error:
            return Leaving("", sample, "", error.message)
        shown = mask(choice.key.secret.decode("utf-8", "replace")).encode()
        choice = Choice(choice.group, way, PoolKey(choice.key.id, shown))
        outgoing = signed(self._provider, request, choice, path)
        rules = header_rules(request.entry, choice.group)
        follow(outgoing, rules, choice, _NOBODYS_ADDRESS, self._now)
        framing = b"Content-Length: %d\r\n" % len(body) if body else b""
        head = request_bytes(outgoing, way.upstream, framing, absolute=way.absolute)
        return Leaving(
            head.decode("utf-8", "replace").rstrip(), sample, body.decode("utf-8", "replace"), ""
        )

    def plan(self, choice: Choice) -> Plan:
        """What follows when attempts end as asked; the one after them gets a good answer."""
        search, doubts, pause_s = self.search, self._doubts, 0.0
        trials: list[TrialSeen] = []
        for status in self._failures:
            search.took(choice)
            verdict = self._fail(choice, status)
            trials.append(_trial(choice, pause_s, status, verdict))
            following = search.after(choice, verdict, status or None)
            if following is None:
                doubts.believe(alone=True)
                waits = search.is_dry and verdict.outcome in LIMITS
                return self._over(trials, End.NOBODY if search.is_dry else End.RETURNED, waits)
            pause_s = search.pause_s(choice, following, verdict, chance=1.0)
            choice = following
        doubts.believe(alone=False)
        trials.append(_trial(choice, pause_s, _GOOD, Verdict(Outcome.OK)))
        return self._over(trials, End.ANSWERED, waits=False)

    def _fail(self, choice: Choice, status: int) -> Verdict:
        model, way = self.request.model, choice.destination.way
        trial = _Trial(choice, way.trying(model, self._now), status or None)
        if not status:
            verdict = fault(UpstreamFailure(Trouble.TIMEOUT))
            charge(self._plane, trial, verdict, model, "")
            return verdict
        answer = Answer(status, _JSON, _BARE_ERROR)
        host, rules = choice.destination.upstream.origin.host, choice.group.error_rules
        verdict = judge(self._provider, answer, self._now, host, rules)
        verdict = way.judged(settled(verdict, model, choice.key.secret))
        return self._doubts.judge(trial, verdict, self.search)

    def _over(self, trials: list[TrialSeen], end: End, waits: bool) -> Plan:
        """The plan, with who has paid: that is known for sure only when all is over."""
        wakes_at, wait_s = self.search.wakes_at(), self.request.entry.settings.max_wait_for_key
        if waits and wait_s and wakes_at is not None and wakes_at <= self._now + wait_s:
            end = End.WAITS
        charged = {event.key_id: event.seen for event in self._events}
        return Plan(
            tuple(evolve(trial, pays=_pays(trial, charged.get(trial.key.id))) for trial in trials),
            end,
            wakes_at if end is End.WAITS else None,
        )


def _request(entry: Group, provider: IProvider, asked: Asked) -> ClientRequest:
    model = asked.model or provider.default_test_model
    probe = provider.probe(model, provider.default_validation_path)
    target = asked.path.encode() or probe.path
    body = probe.body if asked.body is None else asked.body.encode()
    if asked.stream:
        target, body = _streamed(provider, target, body)
    lines = [b"%b %b HTTP/1.1" % (b"POST" if body else b"GET", target), b"Host: gptload"]
    if body:
        lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    head = parse_request_head(b"\r\n".join(lines))
    path, _, query = target.partition(b"?")
    request = ClientRequest(head, entry, provider, path, query)
    request.complete(body)
    if not asked.model and not asked.path and asked.body is None:
        request.model = ""  # that of the sample is nobody's question
    return request


def _streamed(provider: IProvider, target: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The same call with a streamed answer: some APIs say that by the path, others in the body."""
    path, _, query = target.partition(b"?")
    if provider.streams_by_path(path):
        return target, body
    other = path.replace(b":generateContent", b":streamGenerateContent")
    if provider.streams_by_path(other):
        return b"?".join((other, query or b"alt=sse")), body
    try:
        wanted = orjson.loads(body)
    except orjson.JSONDecodeError:
        return target, body
    return target, orjson.dumps(wanted | {"stream": True}) if isinstance(wanted, dict) else body


def _trial(choice: Choice, after_s: float, status: int, verdict: Verdict) -> TrialSeen:
    return TrialSeen(
        group_id=choice.group.id,
        way=choice.destination.number,
        key=_seen(choice.key),
        after_s=after_s,
        status=status,
        outcome=verdict.outcome,
        reason=verdict.reason,
        pays=Pays.NOBODY,
        until=verdict.rest_until,
    )


def _pays(trial: TrialSeen, seen: Seen | None) -> Pays:
    if trial.outcome is Outcome.UPSTREAM_FAULT:
        return Pays.UPSTREAM
    if seen is None or trial.outcome in (Outcome.OK, Outcome.REQUEST_FAULT):
        return Pays.NOBODY
    return Pays.KEY_STRIKE if seen is Seen.REJECTED else Pays.KEY_REST


def _seen(key: PoolKey) -> KeySeen:
    return KeySeen(key.id, mask(key.secret.decode("utf-8", "replace")), key.weight)
