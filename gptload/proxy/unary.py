"""A whole answer on its way to the client, with an eye on errors that call themselves 200.

And on its end, where it says what it took in tokens.

Some APIs answer `200` with an error object in the body. Only a body whose beginning
mentions one is kept back and read; all others pass as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gptload.core.dialects import inner_error, may_be_error
from gptload.core.errorbody import unpacked
from gptload.core.usage import SEARCHED_BYTES, said_in
from gptload.wire.relay import Relay
from gptload.wire.server import ServerConnection
from gptload.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gptload.proxy.attempts import Attempt
    from gptload.proxy.exchange import Exchange

# A longer body is no error of an API's.
_LIMIT_BYTES: Final = 64 * 1024
_PACKED_ERROR_BYTES: Final = 4096
# What is longer is passed on without a look at its tokens: to unpack so much takes as long
# as some requests.
_PACKED_BYTES: Final = 16 * 1024


class CheckedRelay(Relay):
    """A relay that keeps back what may turn out to be an error.

    Args:
        look_bytes: how much of the body's beginning the exchange wants to see at its end.
        attempt: learns what the answer says of tokens.
        judges: whether an error in the body is one of the call. What a GET shows may be
            a thing that failed long ago.
        coding: of the body's content; empty for none.
    """

    __slots__ = (
        "_attempt",
        "_coding",
        "_end",
        "_exchange",
        "_judges",
        "_kept",
        "_look_bytes",
        "_seen",
    )

    def __init__(
        self,
        exchange: Exchange,
        downstream: ServerConnection,
        connection: UpstreamConnection,
        look_bytes: int,
        *,
        attempt: Attempt,
        judges: bool,
        coding: bytes,
    ) -> None:
        super().__init__(downstream, connection, exchange.completed, exchange.broken)
        self._attempt = attempt
        self._end: bytes | None = b""  # None: packed, and too long to look at
        self._exchange = exchange
        self._kept: list[bytes] | None = None
        self._look_bytes = look_bytes
        self._judges = judges
        self._coding = coding
        self._seen = b""

    def body_received(self, data: bytes) -> None:
        # Hot: once a segment.
        if len(self._seen) < self._look_bytes:
            self._seen += data
        if self._judges and not self.moved_bytes and self._kept is None and may_be_error(data):
            self._kept = []
        if self._kept is None:
            self._passed(data)
            super().body_received(data)
            return
        self._kept.append(data)
        if sum(map(len, self._kept)) > _LIMIT_BYTES:
            self._let_go()

    def body_ended(self, last: bytes) -> None:
        if self._look_bytes:
            self._exchange.note_made(self._seen + last)
        if self._kept is not None:
            last = b"".join([*self._kept, last])
            self._kept = None
        if self._judges and not self.moved_bytes:
            error = inner_error(self._plain(last))
            if error is not None:
                self._exchange.body_erred(error, last)
                return
        self._note_usage(last)
        super().body_ended(last)

    def _passed(self, data: bytes) -> None:
        """Keep what may be the body's end; all of a packed one."""
        # Hot: once a segment.
        end = self._end
        if end is None:
            return
        if self._coding:
            self._end = end + data if len(end) + len(data) <= _PACKED_BYTES else None
        elif len(data) >= SEARCHED_BYTES:
            self._end = data
        else:
            self._end = end[-SEARCHED_BYTES:] + data

    def _note_usage(self, last: bytes) -> None:
        self._passed(last)
        end = self._end
        if end and self._coding:
            end = unpacked(end, self._coding)
        if end:
            self._attempt.usage = said_in(end[-SEARCHED_BYTES:])

    def _plain(self, body: bytes) -> bytes:
        """A whole body without its coding, as far as one so short may be an error."""
        if not self._coding or len(body) > _PACKED_ERROR_BYTES:
            return body
        return unpacked(body, self._coding) or b""

    def _let_go(self) -> None:
        data, self._kept = b"".join(self._kept or []), None
        self._passed(data)
        super().body_received(data)
