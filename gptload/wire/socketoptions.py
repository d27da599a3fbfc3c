"""How the sockets are set."""

from __future__ import annotations

from typing import Any


def send_at_once(transport: Any) -> None:
    """Switch Nagle's algorithm off: a small event must not wait for the last one's ACK.

    Nothing happens to a transport that isn't TCP.
    """
    try:
        transport.setTcpNoDelay(True)
    except (AttributeError, OSError):
        pass
