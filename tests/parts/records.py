"""Attempt records for tests: valid, and different only where the test says so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from gptload.core.record import AttemptRecord, encode
from gptload.proxy.journal import SUFFIX
from tests.parts.service import Service

_numbers = count(1)


def make_record(**changes: Any) -> AttemptRecord:
    """A record of a good attempt, with an id of its own."""
    number = next(_numbers)
    record = AttemptRecord(
        id=f"record-{number}",
        exchange_id=f"exchange-{number}",
        at=1_800_000_000.25,
        group_id=1,
        group_name="openai",
        parent_group_id=0,
        parent_group_name="",
        key_id=1,
        model="gpt-5",
        status_code=200,
        outcome="ok",
        reason="",
        duration_ms=120,
        first_byte_ms=80,
        total_ms=130,
        source_ip="203.0.113.7",
        method="POST",
        path="/v1/chat/completions",
        upstream="https://api.example/v1/chat/completions",
        is_stream=False,
        is_final=True,
        error="",
        user_agent="tests",
        request_body="",
    )
    return record._replace(**changes)


def start_with(service: Service, records: Sequence[AttemptRecord]) -> None:
    """Start a new node that has these behind it."""
    journal = service.folder / "data" / "journal"
    journal.mkdir(parents=True)
    (journal / f"1{SUFFIX}").write_bytes(encode(records))
    service.start()
    service.wait_logs(len(records))
