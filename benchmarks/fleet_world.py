"""The world that a fleet of keys meets: accounts, hosts, eight hours of a night, and a judge.

Three hosts serve the same two APIs. `b.example` flaps all night. `a.example` and
`b.example` stand behind one CDN, which takes our address for a robot's for two minutes;
`c.example` has an edge of its own. Were all three blocked, nobody's policy could answer
anything, and the two minutes would measure nothing but their own length. One answers
the block with a page, the other with a JSON 403 that could as well be a key's.

The world knows what is true of each key and notes what is done to it, whoever does it:
so both policies have the same judge, and neither is asked about itself.

Pure: `now` is handed in (epoch seconds), chance comes from a seed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from attrs import Factory, define, frozen

from benchmarks import fleet_replies as replies
from benchmarks.fleet_replies import Limit, Reply

HOUR_S: Final = 3600.0
MIDNIGHT: Final = 1_800_086_400.0
"""2027-01-16 00:00 in Los Angeles: then Gemini's days begin."""

START: Final = MIDNIGHT - 4 * HOUR_S
LENGTH_S: Final = 8 * HOUR_S

HOSTS: Final = ("a.example", "b.example", "c.example")
FLAPPING: Final = "b.example"
BLOCKED: Final = ("a.example", "b.example")
BLOCK_AT: Final = START + 2.5 * HOUR_S
BLOCK_S: Final = 120.0

MODELS: Final = {
    "openai": ("gpt-4.1-mini", "gpt-4.1"),
    "gemini": ("gemini-2.5-flash", "gemini-2.5-pro"),
}
# Of the keys, accounts and requests; the rest is Gemini's.
_OPENAI_SHARE: Final = 0.6
_FIRST_MODEL_SHARE: Final = 0.7
_DEAD_SHARE: Final = 0.3
_DYING_SHARE: Final = 0.1  # of those: they die in the course of the night
_LIMITED_SHARE: Final = 0.2
_BAD_SHARE: Final = 0.02
_STREAM_SHARE: Final = 0.25  # of OpenAI's
# While the flapping host is down, so many of its answers are faults.
_FAULTY_SHARE: Final = 0.9

PROBE: Final = -1
"""Number of a call that no client made: a validation."""


@frozen
class Size:
    """How large a fleet is."""

    keys: int = 1_000
    accounts: int = 120
    requests: int = 100_000


@frozen
class Call:
    """What one client asks.

    Attributes:
        at: epoch seconds.
        fault: what is wrong with it: "", `argument` or `length`.
    """

    number: int
    at: float
    api: str
    model: str
    streams: bool = False
    fault: str = ""


@define(eq=False)
class Account:
    """Whose keys they are; limits belong to it, not to a key.

    Attributes:
        per_window: requests of one model in a window; 0 for no limit.
        grammar: how it says so.
        per_day: requests of one model in a Pacific day, by model; without: no limit.
        credit: requests until its money is spent; None for enough.
        credit_back_at: epoch seconds at which somebody pays.
        used: requests by what they are counted for.
    """

    name: str
    api: str
    per_window: int = 0
    window_s: float = 60.0
    phase_s: float = 0.0
    grammar: Callable[[Limit], Reply] | None = None
    per_day: dict[str, int] = Factory(dict)
    credit: int | None = None
    credit_back_at: float = math.inf
    used: Counter[tuple[str, int]] = Factory(Counter)


@define(eq=False)
class Key:
    """A pool key.

    Attributes:
        dead_at: epoch seconds from which it is refused; infinity for never.
        with_account: refused because its whole account is; see `replies.dead`.
    """

    id: int
    secret: str
    account: Account
    dead_at: float = math.inf
    with_account: bool = False


@define
class Notes:
    """What was done to keys and to requests.

    Attributes:
        attempts: by the call's number.
        refusals: by the id of a dead key: how often a client's request had it refused.
        resting: requests sent with a key that was told, or is known, to rest.
        validations: requests that no client made.
        invalid: ids of living keys that are held to be invalid now.
        most_invalid: the most of them at any time.
    """

    attempts: Counter[int] = Factory(Counter)
    refusals: Counter[int] = Factory(Counter)
    resting: int = 0
    validations: int = 0
    invalid: set[int] = Factory(set)
    most_invalid: int = 0


class World:
    """Keys, accounts and hosts, and what they answer."""

    def __init__(self, size: Size, seed: int) -> None:
        self._chance = random.Random(f"answers {seed}")
        chance = random.Random(f"world {seed}")
        self.keys: dict[int, Key] = {}
        self.by_secret: dict[str, Key] = {}
        self.notes = Notes()
        # When a key was told to rest: (from, until), by key and model.
        self._told: dict[tuple[int, str], tuple[float, float]] = {}
        self._down = list(_outages(chance))
        self._fill(size, chance)

    # Who there is.

    def _fill(self, size: Size, chance: random.Random) -> None:
        accounts: list[Account] = []
        for api, share in (("openai", _OPENAI_SHARE), ("gemini", 1 - _OPENAI_SHARE)):
            own = [self._account(api, n) for n in range(round(size.accounts * share))]
            accounts += own
            # Some have one key, some thirty; each has one at least.
            owners = own + chance.choices(
                own,
                [chance.expovariate(1.0) + 0.1 for _ in own],
                k=round(size.keys * share) - len(own),
            )
            chance.shuffle(owners)
            for owner in owners:
                self._add(api, owner, chance)
        of_account: Counter[str] = Counter(key.account.name for key in self.keys.values())
        self._kill(size, accounts, chance)
        living: Counter[str] = Counter(
            key.account.name for key in self.keys.values() if key.dead_at > START
        )
        self._limit(size, [each for each in accounts if living[each.name]], living, chance)
        for account in accounts:
            if account.api == "gemini":
                count = of_account[account.name]
                for model, least, most in zip(MODELS["gemini"], (15, 6), (140, 60), strict=True):
                    account.per_day[model] = round(count * chance.uniform(least, most)) + 1
        poor = [each for each in accounts if each.api == "openai" and not each.per_window]
        for account in chance.sample(poor, max(1, len(poor) // 12)):
            account.credit = round(living[account.name] * chance.uniform(20, 80))
            account.credit_back_at = START + chance.uniform(4, 7) * HOUR_S

    def _account(self, api: str, number: int) -> Account:
        name = f"org-fleet{number:04}" if api == "openai" else f"projects/{700_000 + number}"
        return Account(name, api)

    def _add(self, api: str, account: Account, chance: random.Random) -> None:
        prefix = "sk-proj-" if api == "openai" else "AIza"
        secret = prefix + "".join(chance.choices("abcdefghijkmnpqrstuvwxyz23456789", k=32))
        key = Key(len(self.keys) + 1, secret, account)
        self.keys[key.id] = self.by_secret[secret] = key

    def _kill(self, size: Size, accounts: list[Account], chance: random.Random) -> None:
        count = round(size.keys * _DEAD_SHARE)
        closed = {each.name for each in accounts if each.api == "openai" and chance.random() < 0.04}
        keys = list(self.keys.values())
        chance.shuffle(keys)
        keys.sort(key=lambda key: key.account.name not in closed)  # those first
        for place, key in enumerate(keys[:count]):
            key.dead_at = START
            key.with_account = key.account.name in closed or (
                key.account.api == "gemini" and chance.random() < 0.2
            )
            if place >= count * (1 - _DYING_SHARE):
                key.dead_at += chance.uniform(0.1, 0.9) * LENGTH_S

    def _limit(
        self, size: Size, accounts: list[Account], living: Counter[str], chance: random.Random
    ) -> None:
        left = round(size.keys * _LIMITED_SHARE)
        turns = {api: iter(_cycle(ways)) for api, ways in replies.GRAMMARS.items()}
        for account in chance.sample(accounts, len(accounts)):
            count = living[account.name]
            if left < count:
                continue
            left -= count
            account.window_s = chance.choice((60.0, 60.0, 60.0, 600.0))
            account.phase_s = chance.uniform(0, account.window_s)
            account.per_window = max(1, round(count * 0.1 * account.window_s / 60))
            account.grammar = next(turns[account.api])

    # What they answer.

    def attempt(
        self, call: Call, key: Key, host: str, now: float, *, rests: bool = False
    ) -> tuple[float, Reply]:
        """One request with one key to one host.

        Args:
            rests: whoever sends it holds the key to be resting.

        Returns:
            Seconds until the answer, and the answer.
        """
        notes = self.notes
        is_probe = call.number == PROBE
        if is_probe:
            notes.validations += 1
        else:
            notes.attempts[call.number] += 1
            told_at, until = self._told.get((key.id, call.model), (0.0, 0.0))
            notes.resting += rests or told_at <= now < until
        after_s = self._chance.uniform(0.05, 0.25)
        reply = self._way(call, host, now)
        if reply is None and key.dead_at <= now:
            if not is_probe:
                notes.refusals[key.id] += 1
            reply = replies.dead(key.account.api, key.secret, with_account=key.with_account)
        if reply is None:
            reply = self._limits(call, key, now, now + after_s)
        if reply is None and call.fault:
            reply = replies.bad_request(call.api, too_long=call.fault == "length")
        if reply is None:
            after_s = min(0.3 + self._chance.expovariate(0.8), 20.0)
            reply = replies.success(call.api, key.account.name, streams=call.streams)
        return after_s, reply

    def _way(self, call: Call, host: str, now: float) -> Reply | None:
        """What stops a request before anybody looks at its key."""
        if host in BLOCKED and BLOCK_AT <= now < BLOCK_AT + BLOCK_S:
            return replies.blocked(with_page=host == BLOCKED[0])
        if host == FLAPPING:
            while self._down and self._down[0][1] <= now:
                self._down.pop(0)
            if self._down and self._down[0][0] <= now and self._chance.random() < _FAULTY_SHARE:
                return self._down[0][2](call.api)
        return None

    def _limits(self, call: Call, key: Key, now: float, told_at: float) -> Reply | None:
        account = key.account
        if account.credit is not None and now < account.credit_back_at:
            if account.used["credit", 0] >= account.credit:
                return replies.no_credit()
            account.used["credit", 0] += 1
        if call.model in account.per_day:
            day = int((now - MIDNIGHT) // (24 * HOUR_S))
            if account.used[call.model, day] >= account.per_day[call.model]:
                until = MIDNIGHT + (day + 1) * 24 * HOUR_S
                self._told[key.id, call.model] = told_at, until
                return replies.day_used_up(Limit(account.name, call.model, now, until - now))
            account.used[call.model, day] += 1
        if account.per_window and account.grammar is not None:
            window = math.floor((now - START + account.phase_s) / account.window_s)
            counted = (f"{call.model} by window", window)
            if account.used[counted] >= account.per_window:
                until = START - account.phase_s + (window + 1) * account.window_s
                if account.grammar not in replies.UNNAMED:
                    self._told[key.id, call.model] = told_at, until
                return account.grammar(Limit(account.name, call.model, now, until - now))
            account.used[counted] += 1
        return None

    # What is held of them.

    def held_invalid(self, key_id: int, now: float) -> None:
        """Somebody takes this key out of the pool for good."""
        notes = self.notes
        if self.keys[key_id].dead_at > now:
            notes.invalid.add(key_id)
            notes.most_invalid = max(notes.most_invalid, len(notes.invalid))

    def held_valid(self, key_id: int) -> None:
        """Somebody uses it again."""
        self.notes.invalid.discard(key_id)


def calls(size: Size, seed: int) -> Iterator[Call]:
    """What the clients ask in the course of the night, one after another."""
    chance = random.Random(f"calls {seed}")
    at, rate = START, size.requests / LENGTH_S
    for number in range(size.requests):
        at += chance.expovariate(rate)
        api = "openai" if chance.random() < _OPENAI_SHARE else "gemini"
        model = MODELS[api][chance.random() >= _FIRST_MODEL_SHARE]
        streams = api == "openai" and chance.random() < _STREAM_SHARE
        fault = ""
        if chance.random() < _BAD_SHARE:
            fault = chance.choice(("argument", "argument", "length"))
        yield Call(number, at, api, model, streams, fault)


def _outages(chance: random.Random) -> Iterator[tuple[float, float, Callable[[str], Reply]]]:
    """When the flapping host is down, and how it shows."""
    at = START + chance.uniform(60, 300)
    while at < START + LENGTH_S:
        ends_at = at + chance.uniform(10, 120)
        yield at, ends_at, chance.choice(replies.FAULTS)
        at = ends_at + chance.uniform(60, 480)


def _cycle(
    ways: tuple[Callable[[Limit], Reply], ...],
) -> Iterator[Callable[[Limit], Reply]]:
    while True:
        yield from ways
