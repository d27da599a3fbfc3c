"""Who pays for how an attempt ended: the way, a key, or nobody."""

from __future__ import annotations

from typing import Final, Protocol

from attrs import evolve

from gptload.core.outcome import BLAME, Outcome, Scope, Verdict
from gptload.link.messages import KeyEvent, Seen
from gptload.proxy.attempts import Attempt
from gptload.proxy.plane import Plane
from gptload.proxy.routing import Choice

_SEEN: Final = {
    Outcome.KEY_REJECTED: Seen.REJECTED,
    Outcome.RATE_LIMITED: Seen.LIMITED,
    Outcome.KEY_EXHAUSTED: Seen.EXHAUSTED,
}
_OF_A_MODEL: Final = (Scope.KEY_MODEL, Scope.ACCOUNT_MODEL)


class Ended(Protocol):
    """An attempt that is over; of a rehearsal it has only been thought of.

    Attributes:
        generation: of its way when it began; see `gptload.core.breaker`.
        status: of the response; None where none came.
    """

    @property
    def choice(self) -> Choice: ...

    @property
    def generation(self) -> int: ...

    @property
    def status(self) -> int | None: ...


def settled(verdict: Verdict, model: str, secret: bytes) -> Verdict:
    """The verdict as it counts for this call, and may be shown.

    Args:
        model: what the call asks for; "" when it names none.
    """
    if not model and verdict.outcome is Outcome.KEY_EXHAUSTED and verdict.scope in _OF_A_MODEL:
        # It says nothing about calls that do name one.
        verdict = evolve(verdict, rest_until=None)
    shown = secret.decode("utf-8", "replace").lower()
    if verdict.signature and shown in verdict.signature:
        verdict = evolve(verdict, signature=verdict.signature.replace(shown, "…"))
    return verdict


def is_unclear(verdict: Verdict) -> bool:
    """Whether a refusal may be the key's fault or the request's: a 403 that doesn't say why."""
    return verdict.outcome is Outcome.KEY_REJECTED and verdict.reason.endswith(".status_403")


def praise(plane: Plane, attempt: Attempt, model: str) -> None:
    """A good answer: the way works, and the key has no strikes any more."""
    # Hot: once a request.
    choice, head = attempt.choice, attempt.head
    key, now = choice.key, plane.seconds()
    key.proven = True
    choice.destination.way.succeeded(key.id, model, now, attempt.generation)
    account = head.account.decode("latin-1") if head is not None and head.account else ""
    if key.strikes or (account and account != key.account):
        plane.report(KeyEvent(choice.group.id, key.id, Seen.OK, now, account=account))


def charge(plane: Plane, attempt: Ended, verdict: Verdict, model: str, exchange_id: str) -> None:
    """A bad one: tell those who pay, and hold a key here until the ledger has spoken."""
    choice, way, now = attempt.choice, attempt.choice.destination.way, plane.seconds()
    outcome, key, until = verdict.outcome, choice.key, verdict.rest_until
    if outcome is Outcome.UPSTREAM_FAULT:
        way.failed(verdict, model, now, attempt.generation)
        return
    way.answered(model, now, attempt.generation)
    blame = BLAME[outcome]
    if not (blame.strike or (blame.rest and until is not None)):
        return  # nobody pays, or only this exchange must not use the key again
    if until is not None:
        about = model if verdict.scope in _OF_A_MODEL else ""
        plane.routing.hold(choice.group.id, key.id, until, about)
    plane.report(
        KeyEvent(
            choice.group.id,
            key.id,
            _SEEN[outcome],
            now,
            until,
            choice.group.settings.blacklist_threshold,
            verdict.reason,
            attempt.status or 0,
            scope=verdict.scope,
            model=model,
            account=verdict.account or key.account,
            way=way.name,
            signature=verdict.signature,
            others_ok_at=way.breaker.others_ok_at(key.id),
            exchange_id=exchange_id,
            named=verdict.named,
            proven=key.proven,
            serving=plane.routing.serving(choice.group.id),
        )
    )
