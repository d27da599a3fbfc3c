"""Who serves a request next: what one exchange has tried, and whom it still may ask."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from gptload.core import affinity
from gptload.core.errors import NoActiveKey, NoKeyAwake
from gptload.core.keystate import State
from gptload.core.outcome import Outcome, Scope, Verdict
from gptload.core.retry import Next, back_off_s, decide
from gptload.proxy.blame import is_unclear
from gptload.proxy.owned import Owned, owner_of
from gptload.proxy.plane import Plane
from gptload.proxy.request import ClientRequest
from gptload.proxy.routing import Choice, Tried
from gptload.wire.upstream import UpstreamFailure

# Attempts with a key that failed in this exchange already, through no fault of its
# own, when no other is left.
_AGAIN_LIMIT: Final = 3
# Keys that are passed over because their account has failed already.
_OTHER_ACCOUNTS: Final = 20
_OF_ACCOUNTS: Final = (Scope.ACCOUNT, Scope.ACCOUNT_MODEL)
LIMITS: Final = (Outcome.RATE_LIMITED, Outcome.KEY_EXHAUSTED)
"""After these it may help to wait for a key."""
_OF_KEYS: Final = (Outcome.KEY_REJECTED, *LIMITS)


class Search:
    """The choices of one exchange, from its first attempt to its last.

    Attributes:
        made: attempts so far.
        is_dry: another attempt was allowed, and there was nobody to make it.
    """

    __slots__ = (
        "_again",
        "_max_retries",
        "_owned",
        "_plane",
        "_request",
        "_session",
        "_through",
        "_tried",
        "is_dry",
        "made",
    )

    def __init__(self, plane: Plane, request: ClientRequest) -> None:
        self._plane = plane
        self._request = request
        self._owned: Owned | None = None  # by whom alone it can be served
        self._tried: Tried | None = None  # None before the first failure
        self._again = 0
        self._session: bytes | None = None
        self._max_retries = request.entry.settings.max_retries
        self._through = False
        self.made = 0
        self.is_dry = False

    def begin(self) -> None:
        """The request is there as far as it will be looked at: see whom it names."""
        plane, request = self._plane, self._request
        resources = plane.resources[request.entry.channel]
        self._owned = owner_of(resources, plane.routing, request, plane.seconds())
        if request.entry.settings.session_affinity:
            self._session = _session_of(request)

    def first(self) -> Choice | None:
        """Who makes the first attempt; None while nobody may."""
        if self._owned is not None:
            choice = self._owners(self._owned)
            if choice is not None or self.wakes_at() is not None:
                return choice
            self._owned = None  # that key is gone; somebody else may know better
        plane, request = self._plane, self._request
        return plane.routing.choose(
            request.entry, plane.seconds(), request.model, None, self._session
        )

    def took(self, choice: Choice) -> None:
        """That's who makes the next attempt."""
        # Hot: once an attempt.
        self.made += 1
        self.is_dry = False
        if self._session is not None:
            self._plane.routing.took(choice, self._session, self._plane.seconds())

    def rest_over(self) -> None:
        """Keys that were limited have had their rest: they may be asked again."""
        self._tried = None

    def after(self, last: Choice, verdict: Verdict, status: int | None) -> Choice | None:
        """Who goes next; None when this ending is the client's to see.

        Args:
            status: of the upstream's answer; None where none came.
        """
        settings, outcome = last.group.settings, verdict.outcome
        step = decide(outcome, status, self.made, settings, repeatable=self._request.can_repeat)
        if step is Next.RETURN:
            return None
        self._max_retries = settings.max_retries
        self._through = outcome in _OF_KEYS
        if self._owned is not None:
            self.is_dry = step is not Next.RETRY_ELSEWHERE
            # Nobody else has what is asked for; only another try there may help.
            return self._owners(self._owned) if step is Next.RETRY_ELSEWHERE else None
        tried = self._tried
        if tried is None:
            tried = self._tried = Tried()
        key_id = last.key.id
        if outcome in _OF_KEYS:
            tried.spent.add(key_id)
            account = verdict.account or last.key.account
            if account and verdict.scope in _OF_ACCOUNTS:
                tried.accounts.add(account)
        elif key_id in tried.avoid:
            self._again += 1
            if self._again >= _AGAIN_LIMIT:
                return None
        else:
            tried.avoid.add(key_id)
        if step is Next.RETRY_ELSEWHERE or is_unclear(verdict):
            tried.bad.add((last.group.id, last.destination.number))
        following = self._next(tried)
        self.is_dry = following is None
        return following

    def pause_s(self, last: Choice, following: Choice, verdict: Verdict, chance: float) -> float:
        """Seconds before the following attempt: none, unless only time can help.

        Args:
            chance: anything from 0 to 1.
        """
        same_way = following.destination.way is last.destination.way
        if verdict.outcome is not Outcome.UPSTREAM_FAULT or not same_way:
            return 0.0
        return back_off_s(self.made, chance)

    def has_other_way(self, last: Choice) -> bool:
        """Whether an upstream that is well hasn't been asked yet."""
        plane, request = self._plane, self._request
        tried = self._tried or Tried()
        tried.bad.add((last.group.id, last.destination.number))
        return plane.routing.has_other_way(request.entry, plane.seconds(), request.model, tried)

    def later(self, choice: Choice) -> Choice | None:
        """Who goes after a pause: who was chosen before it, if that still holds."""
        plane, key, model = self._plane, choice.key, self._request.model
        is_well = (
            key.state is State.ACTIVE
            and model not in key.rests
            and plane.routing.key(choice.group.id, key.id) is key
            and not choice.destination.way.prefers_others(model, plane.seconds())
        )
        return choice if is_well else self.anew()

    def anew(self) -> Choice | None:
        """The same question once more: time has passed since it was answered."""
        if self._tried is None:
            return self.first()
        return self._next(self._tried) if self._owned is None else self._owners(self._owned)

    def wakes_at(self) -> float | None:
        """Epoch seconds at which the first key that could serve comes back, if any does."""
        routing, request, owned = self._plane.routing, self._request, self._owned
        if owned is None:
            return routing.wakes_at(request.entry, request.model)
        key = routing.key(owned.group_id, owned.key_id)
        if key is None or key.state in (State.INVALID, State.DISABLED):
            return None
        return max(key.until or 0.0, key.rests.get(request.model, 0.0)) or None

    def nobody(self) -> NoActiveKey:
        """Why there is nobody to ask, and when there will be."""
        entry, owned = self._request.entry, self._owned
        wakes_at = self.wakes_at()
        if wakes_at is None:
            return NoActiveKey(
                "No active API keys available for this group",
                hint="Its keys are invalid: test or restore them, or add new ones."
                if self._plane.routing.has_keys(entry)
                else f"Group '{entry.name}' has no keys yet: POST /api/keys/add-multiple adds "
                "some.",
            )
        wait_s = max(1.0, wakes_at - self._plane.seconds())
        if owned is None:
            message, who = f"All keys of group '{entry.name}' are resting", "first one"
        else:
            message, who = "The key that made what the request names is resting", "key"
        when = datetime.fromtimestamp(wakes_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return NoKeyAwake(
            message,
            hint=f"The {who} comes back at {when}, in {wait_s:.0f} s.",
            retry_after_s=wait_s,
        )

    def _next(self, tried: Tried) -> Choice | None:
        """The next one, of another account than those that have failed, if one is left."""
        choice = self._choose(tried)
        for _ in range(_OTHER_ACCOUNTS):
            if choice is None or not choice.key.account or choice.key.account not in tried.accounts:
                break
            if choice.key.id in tried.avoid:
                break
            tried.avoid.add(choice.key.id)
            choice = self._choose(tried)
        return choice

    def _choose(self, tried: Tried) -> Choice | None:
        plane, request = self._plane, self._request
        return plane.routing.choose(
            request.entry,
            plane.seconds(),
            request.model,
            tried,
            self._session,
            surest=self.made == self._max_retries,
            through=self._through,
        )

    def _owners(self, owned: Owned) -> Choice | None:
        plane = self._plane
        return plane.routing.choose_key(
            owned.group_id, owned.key_id, owned.upstream, plane.seconds(), self._request.model
        )


def fault(failure: UpstreamFailure) -> Verdict:
    """The verdict on an upstream that gave no whole answer."""
    return Verdict(Outcome.UPSTREAM_FAULT, Scope.UPSTREAM, reason=failure.trouble.name.lower())


def _session_of(request: ClientRequest) -> bytes | None:
    """Whom the request belongs to; b"" where it doesn't say."""
    rule = _affinity_rule(request.entry.settings.session_affinity)
    if rule is None:
        return None
    return affinity.session_of(rule, request.head.fields, request.body) or b""


_affinity_rule: Final = lru_cache(256)(affinity.parse)
