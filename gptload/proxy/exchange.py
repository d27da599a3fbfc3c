"""One client request, from its first byte to its last.

The order of its steps is here; what each step decides is in `gptload.core`, who goes
next in `search`, who pays in `blame`. An exchange starts one attempt after another
within one deadline, and passes the answer on as it comes. Nothing is retried once the
client has seen a byte.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from gptload.core.errors import (
    GptloadError,
    NoActiveKey,
    NoKeyAwake,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gptload.core.outcome import Outcome, Verdict
from gptload.core.sticky import Maker
from gptload.core.stream import Opening
from gptload.core.uploads import is_upload
from gptload.core.vault import redact
from gptload.core.verdict import Answer, judge, judge_inner, message_of
from gptload.provider import IProvider
from gptload.proxy import replies, trace
from gptload.proxy.answers import hidden, lines_for, without_key
from gptload.proxy.attempts import Attempt
from gptload.proxy.blame import charge, praise, settled
from gptload.proxy.doubts import Doubts
from gptload.proxy.models import ModelList
from gptload.proxy.owned import lead_back, maker_of, note
from gptload.proxy.plane import Plane
from gptload.proxy.request import ClientRequest
from gptload.proxy.routing import Choice
from gptload.proxy.search import LIMITS, Search, fault
from gptload.proxy.streams import StreamRelay, StreamStart, is_event_stream
from gptload.proxy.unary import CheckedRelay
from gptload.wire.codec import ResponseHead
from gptload.wire.relay import Relay
from gptload.wire.server import ServerConnection
from gptload.wire.upstream import Trouble, UpstreamFailure

# How long a response's head may wait for its first body bytes: until then a broken
# upstream can still be replaced without the client noticing.
HOLD_SECONDS: Final = 1.0

_OK: Final = Verdict(Outcome.OK)


class Exchange:
    """The sink of one client request; owns its attempts.

    Attributes:
        deadline: see `gptload.wire.sweep.Timed`.
    """

    __slots__ = (
        "_attempt",
        "_began",
        "_delayed",
        "_doubts",
        "_end",
        "_id",
        "_last",
        "_maker",
        "_over",
        "_relay",
        "_search",
        "_start",
        "_wait_end",
        "_waits",
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
        self._search = Search(plane, request)
        self._attempt: Attempt | None = None
        self._last: Attempt | None = None  # the last one that an upstream answered
        self._start: StreamStart | None = None
        self._relay: Relay | StreamRelay | None = None
        self._maker: Maker | None = None  # what to look for in the answer
        self._delayed: IDelayedCall | None = None  # the next attempt, after a back-off
        self._waits = False
        self._wait_end = inf  # monotonic seconds; from when it first waits
        self._doubts: Doubts | None = None  # from the first answer that is no success
        self._over = False
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
            self._begin_search()

    def body_ended(self, last: bytes) -> None:
        if self._over:
            return
        if self.request.kept:
            self.request.complete(last)
            self._begin_search()
        else:
            self.request.passed(last, last=True)
            if self._attempt is not None:
                self._attempt.send(last, last=True)

    def client_gone(self) -> None:
        if self._over:
            return
        attempt = self._attempt if self._delayed is None else None
        if attempt is not None:
            attempt.cancel()
        if attempt is None and not (self._waits or self._delayed is not None):
            pass  # it had not even said what it wants
        elif attempt is None or not attempt.recorded:
            if isinstance(self._relay, StreamRelay):
                self._relay.note_usage()
            gone = Verdict(Outcome.CLIENT_GONE)
            self._record(attempt, gone, 499, "client gone", final=True)
        self.finish()

    def writing_paused(self) -> None:
        if self._relay is not None:
            self._relay.writing_paused()

    def writing_resumed(self) -> None:
        if self._relay is not None:
            self._relay.writing_resumed()

    def deadline_passed(self) -> None:
        """The phase that we are in took too long."""
        attempt, relay = self._attempt, self._relay
        if self._waits:
            self.waited_in_vain()
        elif attempt is None or self._delayed is not None:
            self.refuse(UpstreamTimeout("The request took longer than request_timeout"))
        elif relay is None:
            attempt.cancel()
            self.attempt_failed(attempt, UpstreamFailure(Trouble.TIMEOUT))
        elif isinstance(relay, StreamRelay):
            attempt.cancel()
            relay.failed(UpstreamFailure(Trouble.TIMEOUT, "the stream fell silent"))
        elif self.plane.ticks() < self._end:
            self.downstream.flush_head()  # only the head was waiting for its body
            self.deadline = self._end
        else:
            attempt.cancel()
            self.broken(UpstreamFailure(Trouble.TIMEOUT, "request_timeout"))

    # One attempt after another.

    def _begin_search(self) -> None:
        self._search.begin()
        # Who came before goes first.
        self.plane.waiting.serve(self.request.entry, self.request.model)
        if not self.try_again() and not self._may_wait():
            self.refuse(self._search.nobody())

    def try_again(self) -> bool:
        """Begin an attempt if a key may serve; see `gptload.proxy.waiting.Waits`."""
        choice = self._search.first()
        if choice is None:
            return False
        self._waits = False
        self._begin(choice)
        return True

    def wakes_at(self) -> float | None:
        """See `gptload.proxy.waiting.Waits`."""
        return self._search.wakes_at()

    def waited_in_vain(self) -> None:
        """See `gptload.proxy.waiting.Waits`; also when the time for it is over."""
        if self._last is not None:
            self._answer_last(self._last)
        else:
            self.refuse(self._search.nobody())

    def _may_wait(self, *, in_time: bool = False) -> bool:
        """Wait for a key to come back, if the group lets it.

        Args:
            in_time: only for one that will be there in time: there is an answer already.
        """
        plane, request = self.plane, self.request
        wait_s, wakes_at = request.entry.settings.max_wait_for_key, self.wakes_at()
        if not wait_s or wakes_at is None or plane.ticks() >= self._wait_end:
            return False
        if in_time and wakes_at > plane.seconds() + wait_s:
            return False
        if not plane.waiting.enter(request.entry, request.model, self):
            return False
        self._waits = True
        self._wait_end = min(self._wait_end, plane.ticks() + wait_s)
        self._attempt = None
        self._search.rest_over()
        self.await_until(self._wait_end)
        return True

    def _begin(self, choice: Choice) -> None:
        self._search.took(choice)
        self._attempt = attempt = Attempt(self, choice)
        try:
            attempt.start()
        except GptloadError as error:  # a rule of this group forbids the request
            self.refuse(error)

    def _follow(self, attempt: Attempt, verdict: Verdict, status: int | None) -> Choice | None:
        if self.plane.ticks() >= self._end:
            return None
        return self._search.after(attempt.choice, verdict, status)

    def _go_on(self, choice: Choice, after: Attempt, verdict: Verdict) -> None:
        """The next attempt: at once, unless only time can help."""
        wait_s = self._search.pause_s(after.choice, choice, verdict, self.plane.chance())
        if wait_s and self.plane.ticks() + wait_s < self._end:
            self.deadline = self._end
            self._delayed = self.plane.call_later(wait_s, self._go_on_later, choice)
        else:
            self._begin(choice)

    def _go_on_later(self, choice: Choice) -> None:
        self._delayed = None
        self._proceed(self._search.later(choice))

    def _proceed(self, choice: Choice | None) -> None:
        if choice is not None:
            self._begin(choice)
        elif not self._may_wait():
            self.waited_in_vain()

    def key_went(self) -> None:
        """The key that was chosen may not serve any more, and has been asked nothing."""
        self._search.made -= 1
        self._proceed(self._search.anew())

    # What an attempt tells.

    def await_until(self, time: float) -> None:
        """The attempt's present phase ends at this monotonic time at the latest."""
        self.deadline = min(time, self._end)

    def attempt_answered(self, attempt: Attempt, head: ResponseHead) -> None:
        """An answer that the client may have."""
        connection = attempt.connection
        assert connection is not None
        plane, request = self.plane, self.request
        group = attempt.choice.group
        is_post = request.head.method == b"POST"
        if head.status == 200 and request.edits_models(group):
            done = partial(self._models_edited, attempt, head)
            broken = partial(self.attempt_failed, attempt)
            connection.hand_over(ModelList(connection, group, self.provider, done, broken))
            return
        if head.status < 300:
            self._maker = maker_of(plane.resources[request.entry.channel], request)
        if head.status != 200 or request.head.method == b"HEAD":
            relay = Relay(self.downstream, connection, self.completed, self.broken)
        elif request.stream or is_event_stream(head):
            request.stream = True
            self._start = StreamStart(self, attempt, head)
            connection.hand_over(self._start)
            limit_s = group.settings.first_token_timeout
            self.deadline = min(plane.ticks() + limit_s, self._end) if limit_s else self._end
            return
        elif is_post or self._maker is not None:
            relay = CheckedRelay(
                self,
                self.downstream,
                connection,
                0 if self._maker is None else self._maker.look_bytes,
                attempt=attempt,
                judges=is_post,
                coding=head.coding,
            )
        else:
            relay = Relay(self.downstream, connection, self.completed, self.broken)
        self._begin_relay(attempt, head, relay)
        self.await_until(plane.ticks() + HOLD_SECONDS)

    def attempt_refused(self, attempt: Attempt, *, complete: bool) -> None:
        """An error status, with its body or the first part of it."""
        answer, choice = attempt.answer(), attempt.choice
        host = choice.destination.upstream.origin.host
        now = self.plane.seconds()
        judged = judge if answer.status >= 400 else judge_inner
        verdict = judged(self.provider, answer, now, host, choice.group.error_rules)
        if self._is_retried(attempt, verdict, answer, answer.status, complete=complete):
            return
        self._answer_error(attempt, complete=complete)

    def attempt_failed(self, attempt: Attempt, failure: UpstreamFailure) -> None:
        """No answer, or none that the client has seen anything of."""
        if self._over:
            return
        attempt.connection = None
        self._relay = None
        self._drop_start()
        verdict = fault(failure)
        self._charge(attempt, verdict)
        following = self._follow(attempt, verdict, None)
        timed_out = failure.trouble is Trouble.TIMEOUT
        status = 504 if timed_out else 502
        self._record(attempt, verdict, status, str(failure), final=following is None)
        if following is not None:
            self._go_on(following, attempt, verdict)
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

    def _is_retried(
        self, attempt: Attempt, verdict: Verdict, answer: Answer, status: int, *, complete: bool
    ) -> bool:
        """Blame and record what an upstream answered, and try again if that can help."""
        choice = attempt.choice
        secret = choice.key.secret
        verdict = choice.destination.way.judged(settled(verdict, self.request.model, secret))
        if complete:
            self._last = attempt
        doubts = self._doubts
        if doubts is None:
            doubts = self._doubts = Doubts(self.plane, self.request.model, self._id)
        verdict = doubts.judge(attempt, verdict, self._search)
        following = self._follow(attempt, verdict, status if status >= 400 else None)
        if following is None:
            doubts.believe(alone=True)
        waits = following is None and verdict.outcome in LIMITS and self._search.is_dry
        waits = waits and complete and self._may_wait(in_time=True)
        error = redact(message_of(answer), (secret,))
        self._record(attempt, verdict, status, error, final=following is None and not waits)
        if following is None:
            return waits
        if not complete:
            attempt.cancel()
        self._go_on(following, attempt, verdict)
        return True

    # Answers of status 200 that may be none.

    def stream_opened(
        self, attempt: Attempt, head: ResponseHead, held: bytes, opening: Opening | None = None
    ) -> None:
        """What has come of a stream may be released, and the rest follows as it comes.

        Args:
            opening: still waits for the first content.
        """
        self._drop_start()
        relay = StreamRelay(self, attempt, attempt.connection)
        self._begin_relay(attempt, head, relay)
        if held:
            self.note_made(held)
            relay.body_received(held)
        else:
            self.downstream.flush_head()
        relay.opening = opening  # which has seen what was held

    def body_erred(self, error: bytes, body: bytes) -> None:
        """The whole body of a 200 is an error; the client has seen nothing of it."""
        attempt, self._relay = self._attempt, None
        assert attempt is not None and attempt.head is not None
        attempt.connection = None
        self.downstream.withdraw_response()
        self.answer_erred(attempt, attempt.head, error, body, whole=True)

    def answer_erred(
        self, attempt: Attempt, head: ResponseHead, error: bytes, held: bytes, *, whole: bool
    ) -> None:
        """A 200 whose body is an error, of which the client has seen nothing.

        Args:
            error: the error's JSON.
            held: the body so far, as it came.
            whole: that is all of it.
        """
        self._drop_start()
        attempt.error = held
        fields = [field for field in attempt.answer().fields if field[0] != b"content-encoding"]
        answer = Answer(head.status, fields, error)  # `error` is plain already
        verdict = self._judge_inner(attempt, answer)
        if self._is_retried(attempt, verdict, answer, head.status, complete=whole):
            return
        if whole:
            self.begin_response(attempt, head)
            self.downstream.end_response(hidden(held, attempt.choice.key.secret))
            self.finish()
        else:
            self.stream_opened(attempt, head, held)

    def answer_failed(self, attempt: Attempt, answer: Answer) -> None:
        """A stream that the client has seen ended with an error of its upstream's."""
        secret = attempt.choice.key.secret
        verdict = settled(self._judge_inner(attempt, answer), self.request.model, secret)
        self._charge(attempt, verdict)
        error = redact(message_of(answer), (secret,))
        self._record(attempt, verdict, answer.status, error, final=True)

    def answer_broke(self, attempt: Attempt, failure: UpstreamFailure) -> None:
        """An answer that the client has seen some of will never be complete."""
        if attempt.recorded:
            return
        verdict = fault(failure)
        self._charge(attempt, verdict)
        self._record(attempt, verdict, attempt.status or 502, str(failure), final=True)

    def _judge_inner(self, attempt: Attempt, answer: Answer) -> Verdict:
        choice = attempt.choice
        host = choice.destination.upstream.origin.host
        now = self.plane.seconds()
        return judge_inner(self.provider, answer, now, host, choice.group.error_rules)

    def _drop_start(self) -> None:
        start, self._start = self._start, None
        if start is not None:
            start.stop()

    # Answers.

    def _begin_relay(
        self, attempt: Attempt, head: ResponseHead, relay: Relay | StreamRelay
    ) -> None:
        connection = attempt.connection
        assert connection is not None
        self._relay = relay
        connection.hand_over(relay)
        self.begin_response(attempt, head)

    def begin_response(self, attempt: Attempt, head: ResponseHead) -> None:
        """Begin the client's answer with an upstream's head."""
        plane, request = self.plane, self.request
        lines = lines_for(head, attempt.choice.group, plane.cors, request.head)
        if b"upload/" in request.path and is_upload(request.path):
            lines = lead_back(
                head,
                lines,
                request.head,
                request.entry,
                attempt.choice,
                plane.secret,
                plane.seconds(),
            )
        self.downstream.begin_response(head.status, head.reason, lines, head.content_length)

    def completed(self) -> None:
        """The upstream has said all; the last of it is about to go to the client."""
        attempt = self._attempt
        assert attempt is not None
        if not attempt.recorded:  # else it's an error
            self.succeeded(attempt)
        self.finish()

    def broken(self, failure: UpstreamFailure) -> None:
        """The upstream stopped in the middle of its answer."""
        attempt = self._attempt
        assert attempt is not None
        self._relay = attempt.connection = None
        if self.downstream.withdraw_response():
            self.attempt_failed(attempt, failure)
            return
        self.answer_broke(attempt, failure)
        self.downstream.abort_response()
        self.finish()

    def succeeded(self, attempt: Attempt) -> None:
        """The client gets a good answer."""
        if self._doubts is not None:
            self._doubts.believe(alone=False)
        praise(self.plane, attempt, self.request.model)
        self._record(attempt, _OK, attempt.status or 0, "", final=True)

    def note_made(self, body: bytes) -> None:
        """The beginning of an answer that may tell what it made."""
        attempt = self._attempt
        if self._maker is None or attempt is None or attempt.head is None:
            return
        plane = self.plane
        for owner in note(
            plane.routing.owners, self._maker, attempt.choice, attempt.head, body, plane.seconds()
        ):
            plane.note_owner(owner)

    def _models_edited(self, attempt: Attempt, head: ResponseHead, body: bytes) -> None:
        attempt.connection = None
        self.succeeded(attempt)
        lines = lines_for(head, attempt.choice.group, self.plane.cors, self.request.head)
        self.downstream.begin_response(head.status, head.reason, lines, len(body))
        self.downstream.end_response(body)
        self.finish()

    def _answer_error(self, attempt: Attempt, *, complete: bool) -> None:
        """Give the client an upstream's error as it is, but for our key in it."""
        head = attempt.head
        assert head is not None
        if not complete:
            # Longer than what was read to judge it: the rest follows as it comes.
            self._attempt = attempt
            connection = attempt.connection
            assert connection is not None
            relay = Relay(self.downstream, connection, self.completed, self.broken)
            self._begin_relay(attempt, head, relay)
            relay.body_received(hidden(attempt.error, attempt.choice.key.secret))
            self.deadline = self._end
            return
        lines = lines_for(head, attempt.choice.group, self.plane.cors, self.request.head)
        body, lines = without_key(attempt.answer(), attempt.choice.key.secret, lines)
        is_head = self.request.head.method == b"HEAD"
        self.downstream.begin_response(
            head.status, head.reason, lines, head.content_length if is_head else len(body)
        )
        self.downstream.end_response(body)
        self.finish()

    def _answer_last(self, attempt: Attempt) -> None:
        """Give the client what an upstream said some time ago: nothing better came."""
        reason = self._search.nobody().code.lower()
        verdict = Verdict(Outcome.RATE_LIMITED, reason=reason)
        self._record(None, verdict, attempt.status or 502, "", final=True)
        self._answer_error(attempt, complete=True)

    def refuse(self, error: GptloadError) -> None:
        """Answer with an error of ours instead of an attempt's, and leave a trace."""
        verdict = Verdict(_of_refusal(error), reason=error.code.lower())
        self._record(None, verdict, error.status, error.message, final=True)
        self._reply(error)

    def _reply(self, error: GptloadError) -> None:
        replies.send(
            self.downstream, error, self.provider, self.plane.cors, self.request.head.fields
        )
        self.finish()

    def finish(self) -> None:
        """The client has its answer, or is gone."""
        if self._over:
            return
        self._over = True
        plane = self.plane
        plane.under_way -= 1
        plane.sweep.discard(self)
        if self._waits:
            plane.waiting.leave(self.request.entry, self.request.model, self)
        if self._delayed is not None:
            self._delayed.cancel()
        self._drop_start()
        # Objects that are over must not keep each other, or a body, alive.
        self._attempt = self._last = self._relay = self._delayed = self._doubts = None
        self.request.forget()

    def _charge(self, attempt: Attempt, verdict: Verdict) -> None:
        charge(self.plane, attempt, verdict, self.request.model, self._id)

    def _record(
        self, attempt: Attempt | None, verdict: Verdict, status: int, error: str, *, final: bool
    ) -> None:
        if attempt is not None:
            attempt.recorded = True
        self.plane.record(
            trace.of_attempt(
                self.plane,
                self.request,
                self._id,
                self._began,
                self.downstream.peer,
                attempt,
                verdict,
                status,
                error,
                final=final,
            )
        )


def _of_refusal(error: GptloadError) -> Outcome:
    if isinstance(error, NoKeyAwake):
        return Outcome.RATE_LIMITED
    if isinstance(error, NoActiveKey):
        return Outcome.KEY_EXHAUSTED
    return Outcome.UPSTREAM_FAULT if error.status == 504 else Outcome.REQUEST_FAULT
