"""What a client asks: its head, where it leads, and its body as far as it's kept.

A body up to `max_buffered_body` is kept, so that an attempt can be repeated. A
larger one is passed on as it comes, and can be sent only once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from gptload.core import rewrite
from gptload.core.errors import BodyTooLarge
from gptload.core.peek import Peeked, Peeker, multipart_model, peek
from gptload.core.snapshot import Group
from gptload.core.uploads import Ticket
from gptload.provider import IProvider
from gptload.wire.codec import RequestHead, ResponseHead

# A later page of a model list, by the providers' own parameters (Gemini, Anthropic).
# Names that are added there would come once a page; a whitelist holds on every page.
_LATER_PAGE: Final = re.compile(rb"(?:^|&)(?:pageToken|after_id|before_id)=.")


class ClientRequest:
    """One request of a client.

    Attributes:
        entry: the group that it names.
        path, query: below the group, without the client's credentials.
        model, stream: what it asks for, after the group's overrides; for the record.
        kept: the body is kept as a whole.
        whole: all of it has arrived.
        sent_some: a part that isn't kept has left; it can't be sent again.
        ticket: of an upload that goes on; it stands for a credential.
    """

    __slots__ = (
        "_body",
        "_parts",
        "_peeker",
        "_provider",
        "_rewritten",
        "_size",
        "entry",
        "head",
        "kept",
        "model",
        "path",
        "query",
        "sent_some",
        "stream",
        "ticket",
        "whole",
    )

    def __init__(
        self,
        head: RequestHead,
        entry: Group,
        provider: IProvider,
        path: bytes,
        query: bytes,
        ticket: Ticket | None = None,
    ) -> None:
        self.head = head
        self.entry = entry
        self.path = path
        self.query = query
        self.model = ""
        self.stream = False
        self.kept = True
        self.whole = False
        self.sent_some = False
        self.ticket = ticket
        self._provider = provider
        self._parts: list[bytes] = []
        self._size = 0
        self._body = b""
        self._peeker: Peeker | None = None
        self._rewritten: dict[int, tuple[bytes, bytes]] | None = None

    # Arriving.

    def add(self, data: bytes) -> bool:
        """Keep one more part; False when the body has become too large for that."""
        self._parts.append(data)
        self._size += len(data)
        return self._size <= self.entry.settings.max_buffered_body

    def complete(self, last: bytes) -> None:
        """The kept body is whole: look for model and stream."""
        self.whole = True
        if self._parts:
            self._parts.append(last)
            last = b"".join(self._parts)
            self._parts = []
        self._body = last
        model, stream = self._provider.model_in_path(self.path), False
        if last:
            sent = last
            if self.entry.parameter_overrides:
                sent = rewrite.override(last, self.entry.parameter_overrides)
            peeked = self._peek(sent)
            model, stream = model or peeked.model, peeked.stream
        self.model = model
        self.stream = stream or self._provider.streams_by_path(self.path)

    def let_go(self, groups: Iterable[Group]) -> None:
        """The body is too large: from now on its parts only pass through.

        Args:
            groups: whose rules may apply.

        Raises:
            BodyTooLarge: a rule must look into it.
        """
        for group in groups:
            if group.parameter_overrides or group.model_redirects or group.model_redirect_strict:
                limit = self.entry.settings.max_buffered_body
                raise BodyTooLarge(
                    f"The body is larger than {limit} bytes, and the group's rules must "
                    "look into it",
                    hint="Raise max_buffered_body for this group.",
                )
        self.kept = False
        self._peeker = Peeker()
        for part in self._parts:
            self._peeker.feed(part)
        self.model = self._provider.model_in_path(self.path)
        self.stream = self._provider.streams_by_path(self.path)

    def passed(self, data: bytes, *, last: bool) -> None:
        """Look at a part that passes through."""
        peeker = self._peeker
        assert peeker is not None
        if data:
            peeker.feed(data)
        self.model = self.model or peeker.model
        self.stream = self.stream or peeker.stream
        self.whole = last

    # Leaving.

    def take(self) -> bytes:
        """What has arrived of a body that isn't kept; the rest follows."""
        self.sent_some = True
        body = b"".join(self._parts)
        self._parts = []
        return body

    def towards(self, group: Group) -> tuple[bytes, bytes]:
        """Path and kept body after a group's rules.

        An aggregate's overrides come first, then its member's own rules.

        Raises:
            BadRequest: the group allows only models that it names, and not this one.
        """
        if not (
            group.parameter_overrides
            or group.model_redirects
            or group.model_redirect_strict
            or self.entry.parameter_overrides
        ):
            return self.path, self._body
        if self._rewritten is None:
            self._rewritten = {}
        known = self._rewritten.get(group.id)
        if known is None:
            known = self._rewritten[group.id] = self._rewrite(group)
        return known

    def is_page(self, head: ResponseHead) -> bool:
        """Whether a good answer can't be what an API says: a page for a question."""
        return (
            head.status == 200
            and self.head.method == b"POST"
            and head.content_type[:9].lower() == b"text/html"
        )

    @property
    def body(self) -> bytes:
        """The kept body, as the client sent it; empty for one that isn't kept."""
        return self._body

    @property
    def can_repeat(self) -> bool:
        """Whether it can be sent once more as it was."""
        return self.kept or not self.sent_some

    def body_text(self, limit: int) -> str:
        """The kept body for the log, cut at a character."""
        # A character is at most four bytes, so this decodes no more than it must.
        return self._body[: 4 * limit].decode("utf-8", "replace")[:limit]

    def forget(self) -> None:
        """The body isn't needed any more."""
        self._body = b""
        self._parts = []
        self._rewritten = None

    def edits_models(self, group: Group) -> bool:
        """Whether the answer is a model list that the group's rules change."""
        return (
            bool(group.model_redirects)
            and self.head.method == b"GET"
            and self.path.endswith(b"/models")
            and (group.model_redirect_strict or _LATER_PAGE.search(self.query) is None)
        )

    def _rewrite(self, group: Group) -> tuple[bytes, bytes]:
        path, body = self.path, self._body
        if body:
            for rules in {self.entry.id: self.entry, group.id: group}.values():
                if rules.parameter_overrides:
                    body = rewrite.override(body, rules.parameter_overrides)
        if not (group.model_redirects or group.model_redirect_strict):
            return path, body
        model = self._provider.model_in_path(path)
        if model:
            target = rewrite.target_of(model, group.model_redirects, group.model_redirect_strict)
            if target != model:
                path = self._provider.redirect_path(path, target)
        elif body:
            body = rewrite.redirect(body, group.model_redirects, group.model_redirect_strict)
        return path, body

    def _peek(self, body: bytes) -> Peeked:
        if body[:1] != b"{":
            content_type = self.head.content_type
            if content_type[:19].lower() == b"multipart/form-data":
                return multipart_model(body, content_type)
        return peek(body)
