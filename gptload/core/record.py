"""One attempt's facts, and their bytes in the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson


class AttemptRecord(NamedTuple):
    """What happened in one attempt, or in a request that was refused before one.

    A tuple, because one is made for every attempt on the hot path.

    Attributes:
        id: unique, at most 36 characters; makes the move to the database idempotent.
        exchange_id: shared by all attempts of one client request.
        at: epoch seconds at which the attempt began.
        group_id, group_name: the group whose key was used; 0 and "" when none was found.
        parent_group_id, parent_group_name: the aggregate it came in through; 0 and "".
        key_id: 0 when no key was chosen.
        status_code: the upstream's status; our own where none arrived; 499 client gone.
        outcome: name of the `Outcome`, lower case.
        reason: which rule decided, e.g. `openai.insufficient_quota`; "" when none did.
        duration_ms: this attempt alone.
        first_byte_ms: attempt's begin → first byte of the response; None if none came.
        total_ms: the client's request → now, all attempts.
        path: request path and query without credentials, at most 500 characters.
        upstream: the URL that was called, without any credential, at most 500 characters.
        is_final: the attempt whose answer the client got.
        request_body: only when `enable_request_body_logging` is on.
        scope: what the verdict was about; "" where it rests and blames nobody.
        rest_until: epoch seconds of the rest that followed; None for none.
        account: the provider's id of the key's account; "" where nobody said it.
        signature: see `Verdict`; "" unless the verdict could be a way's trouble.
        named: the answer itself named `rest_until`, see `Verdict`.
        usage: what the answer said of its tokens; see `gptload.core.usage`.
        upstream_model: what the upstream was asked for instead of `model`; "" for the same.
        first_token_ms: attempt's begin → a stream's first event with content; None where
            none was seen, and for answers that are no stream.
        connect_ms: attempt's begin → a connection to write on, 0 for one that was kept; None
            where there was none.
    """

    id: str
    exchange_id: str
    at: float
    group_id: int
    group_name: str
    parent_group_id: int
    parent_group_name: str
    key_id: int
    model: str
    status_code: int
    outcome: str
    reason: str
    duration_ms: int
    first_byte_ms: int | None
    total_ms: int
    source_ip: str
    method: str
    path: str
    upstream: str
    is_stream: bool
    is_final: bool
    error: str
    user_agent: str
    request_body: str
    scope: str = ""
    rest_until: float | None = None
    account: str = ""
    signature: str = ""
    named: bool = True
    usage: str = ""
    upstream_model: str = ""
    first_token_ms: int | None = None
    connect_ms: int | None = None


def encode(records: Iterable[AttemptRecord]) -> bytes:
    """Journal bytes: one JSON array a line."""
    dumps = orjson.dumps
    # A plain tuple each: orjson takes no subclass of one.
    return b"".join([dumps(record[:], option=orjson.OPT_APPEND_NEWLINE) for record in records])


def decode(lines: bytes) -> Iterator[AttemptRecord]:
    """Records of whole journal lines; a line that can't be read is passed over.

    A torn line is the mark of a crash in the middle of a write or of a full disk:
    nothing after it may be lost because of it.
    """
    for line in lines.split(b"\n"):
        if not line:
            continue
        try:
            yield AttemptRecord(*orjson.loads(line))
        except (orjson.JSONDecodeError, TypeError):
            continue
