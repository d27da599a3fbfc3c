"""One client request, from its first byte to its last.

The order of its steps is here; what each step decides is in `gptload.core`. An
exchange starts one attempt after another within one deadline, and passes the
answer on as it comes. Nothing is retried once the client has seen a byte.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Final

from gptload.core.errors import (
    GptloadError,
    NoActiveKey,
    NoKeyAwake,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gptload.core.headers import first
from gptload.core.outcome import BLAME, Outcome, Verdict
from gptload.core.record import AttemptRecord
from gptload.core.retry import Next, decide
from gptload.core.vault import mask, redact
from gptload.core.verdict import judge, message_of, plain_body
from gptload.link.messages import KeyEvent, Seen
from gptload.provider import IProvider
from gptload.proxy import replies
from gptload.proxy.attempts import Attempt
from gptload.proxy.models import ModelList
from gptload.proxy.plane import Plane
from gptload.proxy.request import ClientRequest
from gptload.proxy.routing import Choice
from gptload.wire.codec import ResponseHead
from gptload.wire.relay import Relay
from gptload.wire.server import ServerConnection
from gptload.wire.upstream import Trouble, UpstreamFailure

# How long a response's head may wait for its first body bytes: until then a broken
# upstream can still be replaced without the client noticing.
HOLD_SECONDS: Final = 1.0
# Attempts with a key that failed in this exchange already, through no fault of its
# own, when no other is left.
AGAIN_LIMIT: Final = 3
LOGGED_BODY_CHARACTERS: Final = 65_000

_NO_IDS: Final[frozenset[int]] = frozenset()
_NO_WAYS: Final[frozenset[tuple[int, int]]] = frozenset()
_OK: Final = Verdict(Outcome.OK)
_NAMES: Final = {outcome: outcome.name.lower() for outcome in Outcome}
_SEEN: Final = {
    Outcome.KEY_REJECTED: Seen.REJECTED,
    Outcome.RATE_LIMITED: Seen.LIMITED,
    Outcome.KEY_EXHAUSTED: Seen.EXHAUSTED,
}


class Exchange:
    """The sink of one client request; owns its attempts.

    Attributes:
        deadline: see `gptload.wire.sweep.Timed`.
    """

    __slots__ = (
        "_again",
        "_attempt",
        "_avoid",
        "_bad",
        "_began",
        "_end",
        "_id",
        "_last",
        "_made",
        "_over",
        "_relay",
        "_spent",
        "deadline",
        "downstream",
        "plane",
        "provider",
        "request",
    )

    def __init__(
        self,
        plane: Plane,
        downstream: ServerConnection,
        request: ClientRequest,
        provider: IProvider,
    ) -> None:
        self.plane = plane
        self.downstream = downstream
        self.request = request
        self.provider = provider
        self._id = plane.new_id()
        self._began = plane.ticks()
        self._end = self._began + request.entry.settings.request_timeout
        self.deadline = inf  # as long as the client sends, its connection watches the time
        self._attempt: Attempt | None = None
        self._last: Attempt | None = None  # the last one that an upstream answered
        self._relay: Relay | None = None
        self._over = False
        # What has been tried.
        self._made = 0
        self._again = 0
        self._spent: frozenset[int] = _NO_IDS
        self._avoid: frozenset[int] = _NO_IDS
        self._bad: frozenset[tuple[int, int]] = _NO_WAYS
        plane.under_way += 1
        plane.sweep.add(self)

    # The client's side.

    def body_received(self, data: bytes) -> None:
        if self._over:
            return
        request = self.request
        if not request.kept:
            request.passed(data, last=False)
            if self._attempt is not None:
                self._attempt.send(data, last=False)
        elif not request.add(data):
            routing = self.plane.routing
            try:
                request.let_go([request.entry, *routing.members(request.entry)])
            except GptloadError as error:
                self.refuse(error)
                return
            self.downstream.pause_reading()  # until there is a connection to send it on
            self._start_first()

    def body_ended(self, last: bytes) -> None:
        if self._over:
            return
        if self.request.kept:
            self.request.complete(last)
            self._start_first()
        else:
            self.request.passed(last, last=True)
            if self._attempt is not None:
                self._attempt.send(last, last=True)

    def client_gone(self) -> None:
        if self._over:
            return
        attempt = self._attempt
        if attempt is not None:
            attempt.cancel()
            self._record(attempt, Verdict(Outcome.CLIENT_GONE), 499, "client gone", final=True)
        self._finish()

    def writing_paused(self) -> None:
        if self._relay is not None:
            self._relay.writing_paused()

    def writing_resumed(self) -> None:
        if self._relay is not None:
            self._relay.writing_resumed()

    def deadline_passed(self) -> None:
        """The phase that we are in took too long."""
        attempt = self._attempt
        if attempt is None:
            self.refuse(UpstreamTimeout("The request took longer than request_timeout"))
        elif self._relay is None:
            attempt.cancel()
            self.attempt_failed(attempt, UpstreamFailure(Trouble.TIMEOUT))
        elif self.request.stream or self.plane.ticks() < self._end:
            # Only the head was waiting for its body. A live stream has no total limit.
            self.downstream.flush_head()
            self.deadline = inf if self.request.stream else self._end
        else:
            attempt.cancel()
            self._broken(UpstreamFailure(Trouble.TIMEOUT, "request_timeout"))

    # What an attempt tells.

    def await_until(self, time: float) -> None:
        """The attempt's present phase ends at this monotonic time at the latest."""
        self.deadline = min(time, self._end)

    def attempt_answered(self, attempt: Attempt, head: ResponseHead) -> None:
        """An answer that the client may have."""
        connection = attempt.connection
        assert connection is not None
        group = attempt.choice.group
        if head.status == 200 and self.request.edits_models(group):
            connection.hand_over(
                ModelList(
                    connection,
                    group,
                    self.provider,
                    partial(self._models_edited, attempt, head),
                    partial(self.attempt_failed, attempt),
                )
            )
            return
        events = head.content_type[:17].lower() == b"text/event-stream"
        if events:
            self.request.stream = True
        self._begin_relay(attempt, head, expects_body=events and head.status == 200)
        self.await_until(self.plane.ticks() + HOLD_SECONDS)

    def attempt_refused(self, attempt: Attempt, *, complete: bool) -> None:
        """An error status, with its body or the first part of it."""
        answer = attempt.answer()
        choice = attempt.choice
        now = self.plane.seconds()
        verdict = judge(self.provider, answer, now, choice.destination.upstream.origin.host)
        self._last = attempt
        self._blame(attempt, verdict)
        following = self._choose_next(attempt, verdict.outcome, answer.status)
        error = redact(message_of(answer), (choice.key.secret,))
        self._record(attempt, verdict, answer.status, error, final=following is None)
        if following is None:
            self._answer_error(attempt, complete=complete)
        else:
            if not complete:
                attempt.cancel()
            self._start(following)

    def attempt_failed(self, attempt: Attempt, failure: UpstreamFailure) -> None:
        """No answer, or none that the client has seen anything of."""
        if self._over:
            return
        attempt.connection = None
        verdict = _fault(failure)
        self._blame(attempt, verdict)
        following = self._choose_next(attempt, Outcome.UPSTREAM_FAULT, None)
        timed_out = failure.trouble is Trouble.TIMEOUT
        status = 504 if timed_out else 502
        self._record(attempt, verdict, status, str(failure), final=following is None)
        if following is not None:
            self._start(following)
        elif self._last is not None:
            # The last that an upstream really said tells the client more than we can.
            self._answer_error(self._last, complete=True)
        elif timed_out:
            self._reply(
                UpstreamTimeout(
                    "The upstream took too long to answer",
                    hint="The group's time-outs say how long it may take.",
                )
            )
        else:
            self._reply(
                UpstreamUnreachable(
                    "The upstream gave no answer", hint="The request log names the cause."
                )
            )

    # One attempt after another.

    def _start_first(self) -> None:
        following = self.plane.routing.choose(self.request.entry, self.plane.seconds())
        if following is None:
            self.refuse(self._no_key())
        else:
            self._start(following)

    def _start(self, choice: Choice) -> None:
        self._made += 1
        self._attempt = attempt = Attempt(self, choice)
        try:
            attempt.start()
        except GptloadError as error:  # a rule of this group forbids the request
            self.refuse(error)

    def _choose_next(self, attempt: Attempt, outcome: Outcome, status: int | None) -> Choice | None:
        """Who goes next; None when this ending is the client's to see."""
        choice = attempt.choice
        step = decide(
            outcome,
            status,
            self._made,
            choice.group.settings,
            repeatable=self.request.can_repeat,
        )
        if step is Next.RETURN or self.plane.ticks() >= self._end:
            return None
        key_id = choice.key.id
        if outcome in _SEEN:
            self._spent |= {key_id}
        elif key_id in self._avoid:
            self._again += 1
            if self._again >= AGAIN_LIMIT:
                return None
        else:
            self._avoid |= {key_id}
        if step is Next.RETRY_ELSEWHERE:
            self._bad |= {(choice.group.id, choice.destination.number)}
        return self.plane.routing.choose(
            self.request.entry, self.plane.seconds(), self._spent, self._avoid, self._bad
        )

    def _blame(self, attempt: Attempt, verdict: Verdict) -> None:
        """Tell the ledger what was seen of the key; hold it here until it has spoken."""
        blame = BLAME[verdict.outcome]
        if not (blame.strike or (blame.rest and verdict.rest_until is not None)):
            return  # nobody pays, or only this exchange must not use the key again
        choice = attempt.choice
        if verdict.rest_until is not None:
            self.plane.routing.hold(choice.group.id, choice.key.id, verdict.rest_until)
        self.plane.report(
            KeyEvent(
                choice.group.id,
                choice.key.id,
                _SEEN[verdict.outcome],
                self.plane.seconds(),
                verdict.rest_until,
                choice.group.settings.blacklist_threshold,
                verdict.reason,
                attempt.status or 0,
            )
        )

    def _no_key(self) -> NoActiveKey:
        entry = self.request.entry
        routing = self.plane.routing
        wakes_at = routing.wakes_at(entry)
        if wakes_at is not None:
            wait_s = max(1.0, wakes_at - self.plane.seconds())
            return NoKeyAwake(
                f"All keys of group '{entry.name}' are resting",
                hint=f"The first one comes back in {wait_s:.0f} s.",
                retry_after_s=wait_s,
            )
        return NoActiveKey(
            "No active API keys available for this group",
            hint="Its keys are invalid: test or restore them, or add new ones."
            if routing.has_keys(entry)
            else f"Group '{entry.name}' has no keys yet: POST /api/keys/add-multiple adds some.",
        )

    # Answers.

    def _begin_relay(self, attempt: Attempt, head: ResponseHead, *, expects_body: bool) -> Relay:
        connection = attempt.connection
        assert connection is not None
        self._relay = relay = Relay(
            self.downstream,
            connection,
            self._completed,
            self._broken,
            expects_body=expects_body,
        )
        connection.hand_over(relay)
        self.downstream.begin_response(
            head.status, head.reason, self._response_lines(head), head.content_length
        )
        return relay

    def _response_lines(self, head: ResponseHead) -> list[bytes]:
        """An upstream's fields as the client gets them."""
        cors = self.plane.cors
        if cors is None:
            return [line for name, line in head.fields if name.to_client]
        lines = [line for name, line in head.fields if name.to_client and not name.cors]
        return lines + cors.lines(first(self.request.head.fields, b"origin"))

    def _completed(self) -> None:
        """The upstream has said all; the last of it is about to go to the client."""
        attempt = self._attempt
        assert attempt is not None
        if attempt is not self._last:  # else it's an error that has its record already
            self._succeeded(attempt)
        self._finish()

    def _broken(self, failure: UpstreamFailure) -> None:
        """The upstream stopped in the middle of its answer."""
        attempt = self._attempt
        assert attempt is not None
        self._relay = attempt.connection = None
        if self.downstream.withdraw_response():
            self.attempt_failed(attempt, failure)
            return
        verdict = _fault(failure)
        self._blame(attempt, verdict)
        self._record(attempt, verdict, attempt.status or 502, str(failure), final=True)
        self.downstream.abort_response()
        self._finish()

    def _models_edited(self, attempt: Attempt, head: ResponseHead, body: bytes) -> None:
        attempt.connection = None
        self._succeeded(attempt)
        self.downstream.begin_response(
            head.status, head.reason, self._response_lines(head), len(body)
        )
        self.downstream.end_response(body)
        self._finish()

    def _succeeded(self, attempt: Attempt) -> None:
        choice = attempt.choice
        if choice.key.strikes:
            self.plane.report(
                KeyEvent(choice.group.id, choice.key.id, Seen.OK, self.plane.seconds())
            )
        self._record(attempt, _OK, attempt.status or 0, "", final=True)

    def _answer_error(self, attempt: Attempt, *, complete: bool) -> None:
        """Give the client an upstream's error as it is, but for our key in it."""
        head = attempt.head
        assert head is not None
        body = attempt.error
        if not complete:
            # Longer than what was read to judge it: the rest follows as it comes.
            self._attempt = attempt
            self._begin_relay(attempt, head, expects_body=False).body_received(body)
            self.deadline = self._end
            return
        lines = self._response_lines(head)
        secret = attempt.choice.key.secret
        plain = plain_body(attempt.answer())
        if secret in plain:
            body = plain.replace(secret, mask(secret.decode("utf-8", "replace")).encode())
            lines = [line for line in lines if line[:17].lower() != b"content-encoding:"]
        is_head = self.request.head.method == b"HEAD"
        self.downstream.begin_response(
            head.status, head.reason, lines, head.content_length if is_head else len(body)
        )
        self.downstream.end_response(body)
        self._finish()

    def refuse(self, error: GptloadError) -> None:
        """Answer with an error of ours instead of an attempt's, and leave a trace."""
        verdict = Verdict(Outcome.REQUEST_FAULT, reason=error.code.lower())
        self._record(None, verdict, error.status, error.message, final=True)
        self._reply(error)

    def _reply(self, error: GptloadError) -> None:
        replies.send(
            self.downstream, error, self.provider, self.plane.cors, self.request.head.fields
        )
        self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        self.plane.under_way -= 1
        self.plane.sweep.discard(self)
        # Objects that are over must not keep each other, or a body, alive.
        self._attempt = self._last = self._relay = None
        self.request.forget()

    # The trace.

    def _record(
        self, attempt: Attempt | None, verdict: Verdict, status: int, error: str, *, final: bool
    ) -> None:
        # Hot: once an attempt, so one tuple and no more.
        plane = self.plane
        request = self.request
        head = request.head
        entry = group = request.entry
        now = plane.ticks()
        shown_path = request.path.decode("latin-1")
        began, first_byte, key_id, upstream = self._began, None, 0, ""
        if attempt is not None:
            choice = attempt.choice
            group, key_id = choice.group, choice.key.id
            began, first_byte = attempt.began, attempt.first_byte
            upstream = (choice.destination.shown + shown_path)[:500]
        query = request.query.decode("latin-1")
        path = f"/proxy/{entry.name}{shown_path}"
        plane.record(
            AttemptRecord(
                plane.new_id(),
                self._id,
                plane.seconds() - (now - began),
                group.id,
                group.name,
                entry.id if group is not entry else 0,
                entry.name if group is not entry else "",
                key_id,
                request.model[:255],
                status,
                _NAMES[verdict.outcome],
                verdict.reason,
                int((now - began) * 1000),
                None if first_byte is None else int((first_byte - began) * 1000),
                int((now - self._began) * 1000),
                self.downstream.peer,
                head.method.decode("latin-1"),
                (f"{path}?{query}" if query else path)[:500],
                upstream,
                request.stream,
                final,
                error,
                head.user_agent.decode("utf-8", "replace")[:512],
                request.body_text(LOGGED_BODY_CHARACTERS)
                if entry.settings.enable_request_body_logging
                else "",
            )
        )


def _fault(failure: UpstreamFailure) -> Verdict:
    """The verdict on an upstream that gave no whole answer."""
    return Verdict(Outcome.UPSTREAM_FAULT, reason=failure.trouble.name.lower())
