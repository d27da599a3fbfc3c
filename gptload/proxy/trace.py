"""Attempt records: one line of facts for each attempt, and for what never became one."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from gptload.core.errors import GptloadError
from gptload.core.outcome import Outcome, Scope, Verdict
from gptload.core.record import AttemptRecord
from gptload.proxy.attempts import Attempt
from gptload.proxy.plane import Plane
from gptload.proxy.request import ClientRequest
from gptload.wire.codec import RequestHead

# By the outcome's number: a look-up by the member itself costs a call of its `__hash__`.
NAMES: Final = tuple(outcome.name.lower() for outcome in Outcome)
SHOWN_CHARACTERS: Final = 500
_AGENT_CHARACTERS: Final = 512
_BODY_CHARACTERS: Final = 65_000


def shown_path(group: str, path: bytes, query: bytes) -> str:
    """A request's path and query as records show them, without credentials."""
    return _path(group, path[:SHOWN_CHARACTERS], query[:SHOWN_CHARACTERS])


def shown_agent(head: RequestHead) -> str:
    """The client's `User-Agent` as records show it."""
    # A character is at most four bytes.
    return _agent(head.user_agent[: 4 * _AGENT_CHARACTERS + 4])


# They repeat themselves. What is kept of each is bounded by what is handed in.


@lru_cache(1024)
def _path(group: str, path: bytes, query: bytes) -> str:
    text = f"/proxy/{group}{path.decode('latin-1')}"
    return (f"{text}?{query.decode('latin-1')}" if query else text)[:SHOWN_CHARACTERS]


@lru_cache(1024)
def _agent(value: bytes) -> str:
    return value.decode("utf-8", "replace")[:_AGENT_CHARACTERS]


@lru_cache(1024)
def _url(base: str, path: bytes) -> str:
    return (base + path.decode("latin-1"))[:SHOWN_CHARACTERS]


def of_attempt(
    plane: Plane,
    request: ClientRequest,
    exchange_id: str,
    exchange_began: float,
    peer: str,
    attempt: Attempt | None,
    verdict: Verdict,
    status: int,
    error: str,
    *,
    final: bool,
) -> AttemptRecord:
    """The record of an attempt, or of an exchange that ended without one.

    Args:
        exchange_began: monotonic seconds.
    """
    # Hot: once an attempt, so one tuple and no more.
    head = request.head
    entry = group = request.entry
    now = plane.ticks()
    began, key_id, upstream, account = exchange_began, 0, "", ""
    connected_at = first_byte = first_token = None
    usage = served = ""
    if attempt is not None:
        choice = attempt.choice
        group, key_id, account = choice.group, choice.key.id, choice.key.account
        began, connected_at = attempt.began, attempt.connected_at
        first_byte, first_token = attempt.first_byte, attempt.first_token
        upstream = _url(choice.destination.shown, request.path[:SHOWN_CHARACTERS])
        # What a GET shows was counted when it was made.
        if attempt.usage and head.method == b"POST":
            usage = attempt.usage.decode("utf-8", "replace")
        if group.model_redirects:
            served = group.model_redirects.get(request.model, "")[:255]
    return AttemptRecord(
        plane.new_id(),
        exchange_id,
        plane.seconds() - (now - began),
        group.id,
        group.name,
        entry.id if group is not entry else 0,
        entry.name if group is not entry else "",
        key_id,
        request.model[:255],
        status,
        NAMES[verdict.outcome],
        verdict.reason,
        int((now - began) * 1000),
        None if first_byte is None else int((first_byte - began) * 1000),
        int((now - exchange_began) * 1000),
        peer,
        head.method.decode("latin-1"),
        shown_path(entry.name, request.path, request.query),
        upstream,
        request.stream,
        final,
        error,
        shown_agent(head),
        request.body_text(_BODY_CHARACTERS) if entry.settings.enable_request_body_logging else "",
        "" if _blames_nobody(attempt, verdict) else verdict.scope.value,
        verdict.rest_until,
        verdict.account or account,
        verdict.signature,
        verdict.named,
        usage,
        served,
        None if first_token is None else int((first_token - began) * 1000),
        None if connected_at is None else int((connected_at - began) * 1000),
    )


def _blames_nobody(attempt: Attempt | None, verdict: Verdict) -> bool:
    outcome = verdict.outcome
    if outcome is Outcome.OK or attempt is None or outcome is Outcome.CLIENT_GONE:
        return True
    return outcome is Outcome.REQUEST_FAULT and verdict.scope is not Scope.AFFINITY


def refused(
    record_id: str,
    exchange_id: str,
    at: float,
    head: RequestHead,
    peer: str,
    path: str,
    error: GptloadError,
) -> AttemptRecord:
    """The record of a request that never became an exchange.

    Args:
        path: see `shown_path`.
    """
    verdict = Verdict(Outcome.REQUEST_FAULT, reason=error.code.lower())
    return AttemptRecord(
        id=record_id,
        exchange_id=exchange_id,
        at=at,
        group_id=0,
        group_name="",
        parent_group_id=0,
        parent_group_name="",
        key_id=0,
        model="",
        status_code=error.status,
        outcome=NAMES[verdict.outcome],
        reason=verdict.reason,
        duration_ms=0,
        first_byte_ms=None,
        total_ms=0,
        source_ip=peer,
        method=head.method.decode("latin-1"),
        path=path,
        upstream="",
        is_stream=False,
        is_final=True,
        error=error.message,
        user_agent=shown_agent(head),
        request_body="",
    )
