"""A whole answer on its way to the client, with an eye on errors that call themselves 200.

Some APIs answer `200` with an error object in the body. Only a body whose beginning
mentions one is kept back and read; all others pass as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gptload.core.dialects import inner_error
from gptload.core.errorbody import unpacked
from gptload.wire.relay import Relay
from gptload.wire.server import ServerConnection
from gptload.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gptload.proxy.exchange import Exchange

# A longer body is no error of an API's.
_LIMIT_BYTES: Final = 64 * 1024


_HEAD_BYTES: Final = 4096
_PACKED_ERROR_BYTES: Final = 4096


def _may_be_error(data: bytes) -> bool:
    """Whether a body that begins so is worth being kept back and read."""
    head = data[:_HEAD_BYTES]
    if not head.strip():
        return True  # what some APIs send while they wait says nothing yet
    return b'"error"' in head or b'"base_resp"' in head or b'"failed"' in head


class CheckedRelay(Relay):
    """A relay that keeps back what may turn out to be an error.

    Args:
        look_bytes: how much of the body's beginning the exchange wants to see at its end.
        judges: whether an error in the body is one of the call. What a GET shows may be
            a thing that failed long ago.
        coding: of the body's content; empty for none.
    """

    __slots__ = ("_coding", "_exchange", "_judges", "_kept", "_look_bytes", "_seen")

    def __init__(
        self,
        exchange: Exchange,
        downstream: ServerConnection,
        connection: UpstreamConnection,
        look_bytes: int,
        *,
        judges: bool,
        coding: bytes,
    ) -> None:
        super().__init__(downstream, connection, exchange.completed, exchange.broken)
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
        if self._judges and not self.moved_bytes and self._kept is None and _may_be_error(data):
            self._kept = []
        if self._kept is None:
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
        super().body_ended(last)

    def _plain(self, body: bytes) -> bytes:
        """A whole body without its coding, as far as one so short may be an error."""
        if not self._coding or len(body) > _PACKED_ERROR_BYTES:
            return body
        return unpacked(body, self._coding) or b""

    def _let_go(self) -> None:
        data, self._kept = b"".join(self._kept or []), None
        super().body_received(data)
