"""Attempt records: one line of facts for each attempt, and for what never became one."""

from __future__ import annotations

from typing import Final

from gptload.core.errors import GptloadError
from gptload.core.outcome import Outcome, Verdict
from gptload.core.record import AttemptRecord
from gptload.wire.codec import RequestHead

# By the outcome's number: a look-up by the member itself costs a call of its `__hash__`.
NAMES: Final = tuple(outcome.name.lower() for outcome in Outcome)
SHOWN_CHARACTERS: Final = 500
_AGENT_CHARACTERS: Final = 512


def shown_path(group: str, path: bytes, query: bytes) -> str:
    """A request's path and query as records show them, without credentials."""
    text = f"/proxy/{group}{path.decode('latin-1')}"
    return (f"{text}?{query.decode('latin-1')}" if query else text)[:SHOWN_CHARACTERS]


def agent_of(head: RequestHead) -> str:
    """The client's `User-Agent` as records show it."""
    return head.user_agent.decode("utf-8", "replace")[:_AGENT_CHARACTERS]


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
        user_agent=agent_of(head),
        request_body="",
    )
