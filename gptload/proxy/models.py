"""A model list on its way to the client, with the group's redirect rules applied.

Only for groups that have rules, and only a 200: every other answer passes as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson

from gptload.core.snapshot import Group
from gptload.provider import IProvider
from gptload.wire.codec import ResponseHead
from gptload.wire.upstream import Trouble, UpstreamConnection, UpstreamFailure

_LIMIT: Final = 8 * 1024 * 1024


class ModelList:
    """The sink of one model list.

    Args:
        done: takes the changed list's bytes, once it's whole.
        broken: hears why it never will be.
    """

    def __init__(
        self,
        connection: UpstreamConnection,
        group: Group,
        provider: IProvider,
        done: Callable[[bytes], None],
        broken: Callable[[UpstreamFailure], None],
    ) -> None:
        self._connection = connection
        self._group = group
        self._provider = provider
        self._done = done
        self._broken = broken
        self._parts: list[bytes] = []
        self._size = 0

    def head_received(self, head: ResponseHead) -> None:
        """It came before."""

    def body_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > _LIMIT:
            self._connection.abort()
            self._broken(UpstreamFailure(Trouble.GARBAGE, "its model list is too long"))

    def body_ended(self, last: bytes) -> None:
        body = b"".join([*self._parts, last])
        group = self._group
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None  # not what we know: it passes as it is
        if isinstance(answer, dict):
            names = list(group.model_redirects)
            self._provider.add_models(answer, names, group.model_redirect_strict)
            body = orjson.dumps(answer)
        self._done(body)

    def failed(self, failure: UpstreamFailure) -> None:
        self._broken(failure)

    def sending_paused(self) -> None:
        """A GET has no body to pause."""

    def sending_resumed(self) -> None:
        """Nor to go on with."""
