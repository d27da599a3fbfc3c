"""One client request, from its first byte to its last.

The order of its steps is here; what each step decides is in `gptload.core`. An
exchange starts one attempt after another within one deadline, and passes the
answer on as it comes. Nothing is retried once the client has seen a byte.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache, partial
from math import inf
from typing import Final

from twisted.internet.interfaces import IDelayedCall

from gptload.core import affinity
from gptload.core.dialects import Sign
from gptload.core.errors import (
    GptloadError,
    NoActiveKey,
    NoKeyAwake,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gptload.core.headers import first
from gptload.core.keystate import State
from gptload.core.outcome import BLAME, Outcome, Scope, Verdict
from gptload.core.record import AttemptRecord
from gptload.core.retry import Next, back_off_s, decide
from gptload.core.sticky import Maker, Resources
from gptload.core.stream import Tail
from gptload.core.uploads import is_upload
from gptload.core.vault import redact
from gptload.core.verdict import Answer, judge, judge_inner, message_of
from gptload.link.messages import KeyEvent, Seen
from gptload.provider import IProvider
from gptload.proxy import replies, trace
from gptload.proxy.answers import lines_for, without_key
from gptload.proxy.attempts import Attempt
from gptload.proxy.models import ModelList
from gptload.proxy.owned import Owned, lead_back, maker_of, note, owner_of
from gptload.proxy.plane import Plane
from gptload.proxy.request import ClientRequest
from gptload.proxy.routing import Choice, Tried
from gptload.proxy.streams import StreamRelay, StreamStart
from gptload.proxy.unary import CheckedRelay
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

_OK: Final = Verdict(Outcome.OK)
_SEEN: Final = {
    Outcome.KEY_REJECTED: Seen.REJECTED,
    Outcome.RATE_LIMITED: Seen.LIMITED,
    Outcome.KEY_EXHAUSTED: Seen.EXHAUSTED,
}
_OF_A_MODEL: Final = (Scope.KEY_MODEL, Scope.ACCOUNT_MODEL)
_OF_A_KEY: Final = (Scope.KEY, Scope.KEY_MODEL, Scope.ACCOUNT, Scope.ACCOUNT_MODEL)


class Exchange:
    """The sink of one client request; owns its attempts.

    Attributes:
        deadline: see `gptload.wire.sweep.Timed`.
    """

    __slots__ = (
        "_again",
        "_attempt",
        "_began",
        "_delayed",
        "_end",
        "_id",
        "_last",
        "_made",
        "_maker",
        "_over",
        "_owned",
        "_relay",
        "_start",
        "_tried",
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
        self._attempt: Attempt | None = None
        self._last: Attempt | None = None  # the last one that an upstream answered
        self._start: StreamStart | None = None
        self._relay: Relay | StreamRelay | None = None
        self._delayed: IDelayedCall | None = None  # the next attempt, after a back-off
        self._waits = False
        self._owned: Owned | None = None  # by whom alone the request can be served
        self._maker: Maker | None = None  # what to look for in the answer
        self._over = False
        # What has been tried; None before the first failure.
        self._made = 0
        self._again = 0
        self._tried: Tried | None = None
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
        verdict = Verdict(Outcome.CLIENT_GONE)
        if attempt is not None and self._delayed is None:
            attempt.cancel()
            if not attempt.recorded:
                self._record(attempt, verdict, 499, "client gone", final=True)
        elif self._waits or self._delayed is not None:
            self._record(None, verdict, 499, "client gone", final=True)
        self._finish()

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
            self.refuse(self._no_key())
        elif attempt is None or self._delayed is not None:
            self.refuse(UpstreamTimeout("The request took longer than request_timeout"))
        elif relay is None:
            attempt.cancel()
            self.attempt_failed(attempt, UpstreamFailure(Trouble.TIMEOUT))
        elif isinstance(relay, StreamRelay):
            attempt.cancel()
            self.stream_broke(
                relay.tail, UpstreamFailure(Trouble.TIMEOUT, "the stream fell silent")
            )
        elif self.plane.ticks() < self._end:
            self.downstream.flush_head()  # only the head was waiting for its body
            self.deadline = self._end
        else:
            attempt.cancel()
            self.broken(UpstreamFailure(Trouble.TIMEOUT, "request_timeout"))

    # What an attempt tells.

    def await_until(self, time: float) -> None:
        """The attempt's present phase ends at this monotonic time at the latest."""
        self.deadline = min(time, self._end)

    def attempt_answered(self, attempt: Attempt, head: ResponseHead) -> None:
        """An answer that the client may have."""
        connection = attempt.connection
        assert connection is not None
        request = self.request
        if head.status != 200 or request.head.method == b"HEAD":
            relay = Relay(self.downstream, connection, self.completed, self.broken)
            self._begin_relay(attempt, head, relay)
        elif request.edits_models(attempt.choice.group):
            done = partial(self._models_edited, attempt, head)
            broken = partial(self.attempt_failed, attempt)
            connection.hand_over(
                ModelList(connection, attempt.choice.group, self.provider, done, broken)
            )
            return
        elif head.content_type[:17].lower() == b"text/event-stream" or request.stream:
            request.stream = True
            self._maker = maker_of(self._resources(), request)
            self._start = StreamStart(self, attempt, head)
            connection.hand_over(self._start)
            limit_s = attempt.choice.group.settings.first_token_timeout
            self.deadline = min(self.plane.ticks() + limit_s, self._end) if limit_s else self._end
            return
        elif request.head.method == b"POST":
            self._maker = maker = maker_of(self._resources(), request)
            look_bytes = 0 if maker is None else maker.look_bytes
            checked = CheckedRelay(self, self.downstream, connection, look_bytes)
            self._begin_relay(attempt, head, checked)
        else:
            relay = Relay(self.downstream, connection, self.completed, self.broken)
            self._begin_relay(attempt, head, relay)
        self.await_until(self.plane.ticks() + HOLD_SECONDS)

    def attempt_refused(self, attempt: Attempt, *, complete: bool) -> None:
        """An error status, with its body or the first part of it."""
        answer = attempt.answer()
        choice = attempt.choice
        verdict = judge(
            self.provider,
            answer,
            self.plane.seconds(),
            choice.destination.upstream.origin.host,
            choice.group.error_rules,
        )
        following = self._take_verdict(attempt, verdict, answer, answer.status)
        if following is None:
            self._answer_error(attempt, complete=complete)
        else:
            if not complete:
                attempt.cancel()
            self._go_on(following, attempt, verdict)

    def attempt_failed(self, attempt: Attempt, failure: UpstreamFailure) -> None:
        """No answer, or none that the client has seen anything of."""
        if self._over:
            return
        attempt.connection = None
        self._start = None
        verdict = _fault(failure)
        self._blame(attempt, verdict)
        following = self._choose_next(attempt, Outcome.UPSTREAM_FAULT, None)
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

    def key_went(self, attempt: Attempt) -> None:
        """A key that was chosen may not serve any more, and has been asked nothing."""
        self._made -= 1
        self._choose_anew()

    def answer_erred(self, error: bytes, body: bytes) -> None:
        """An answer of status 200 whose whole body is an error; the client has seen nothing."""
        attempt, self._relay = self._attempt, None
        assert attempt is not None and attempt.head is not None
        self.downstream.withdraw_response()
        self.stream_erred(attempt, attempt.head, error, body, whole=True)

    # Streams.

    def stream_opened(self, attempt: Attempt, head: ResponseHead, held: bytes) -> None:
        """What has come of a stream may be released, and the rest follows as it comes."""
        connection = attempt.connection
        assert connection is not None
        self._start = None
        relay = StreamRelay(self, self.downstream, connection)
        self._begin_relay(attempt, head, relay)
        if held:
            self.note_made(held)
            relay.body_received(held)
        else:
            self.downstream.flush_head()

    def stream_was_short(self, attempt: Attempt, head: ResponseHead, held: bytes) -> None:
        """A whole stream came before anything was released."""
        self._start = None
        tail = Tail()
        tail.seen(held)
        self._begin_response(attempt, head)
        self.stream_ended(tail, held)

    def stream_erred(
        self, attempt: Attempt, head: ResponseHead, error: bytes, held: bytes, *, whole: bool
    ) -> None:
        """A 200 whose body is an error, of which the client has seen nothing.

        Args:
            error: the error's JSON.
            held: the body so far, as it came.
            whole: that is all of it.
        """
        self._start = None
        attempt.error = held
        answer = Answer(head.status, attempt.answer().fields, error)
        verdict = self._judge_inner(attempt, answer)
        following = self._take_verdict(attempt, verdict, answer, head.status)
        if following is not None:
            if not whole:
                attempt.cancel()
            self._go_on(following, attempt, verdict)
        elif whole:
            self._begin_response(attempt, head)
            self.downstream.end_response(held)
            self._finish()
        else:
            self.stream_opened(attempt, head, held)

    def stream_ended(self, tail: Tail, last: bytes) -> None:
        """A released stream is complete, as far as the connection knows."""
        attempt = self._attempt
        assert attempt is not None
        attempt.connection = None
        events = tail.last_events()
        error_event = next(
            (event for event in events if self.provider.stream_sign(event) is Sign.ERROR), None
        )
        if attempt.recorded:
            pass
        elif error_event is not None:
            answer = Answer(200, attempt.answer().fields, error_event.data)
            verdict = self._judge_inner(attempt, answer)
            self._blame(attempt, verdict)
            error = redact(message_of(answer), (attempt.choice.key.secret,))
            self._record(attempt, verdict, attempt.status or 200, error, final=True)
        elif self.provider.stream_ended(events):
            if events:
                self.note_made(events[-1].data)
            self._succeeded(attempt)
        else:
            if last:
                self.downstream.write_body(last)
            self.stream_broke(tail, UpstreamFailure(Trouble.BROKEN, "the stream has no end"))
            return
        self.downstream.end_response(last)
        self._finish()

    def stream_broke(self, tail: Tail, failure: UpstreamFailure) -> None:
        """A released stream will never be complete: say so in its API's own form."""
        attempt = self._attempt
        assert attempt is not None
        self._relay = attempt.connection = None
        if self.downstream.withdraw_response():
            self.attempt_failed(attempt, failure)
            return
        if not attempt.recorded:
            verdict = _fault(failure)
            self._blame(attempt, verdict)
            self._record(attempt, verdict, attempt.status or 502, str(failure), final=True)
        end = self._last_event(attempt, tail)
        if end:
            self.downstream.write_body(end)
            self.downstream.end_response()
        else:
            self.downstream.abort_response()
        self._finish()

    def _last_event(self, attempt: Attempt, tail: Tail) -> bytes:
        """An error event for the end of a broken stream; b"" where none can be read there."""
        head = attempt.head
        if (
            head is None
            or not self.downstream.can_grow
            or head.content_type[:17].lower() != b"text/event-stream"
            or first(head.fields, b"content-encoding") not in (None, b"identity")
        ):
            return b""
        boundary = tail.to_boundary()
        if boundary is None:
            return b""
        return boundary + self.provider.stream_error(
            502, "upstream_broken", "The upstream broke off in the middle of its stream"
        )

    # One attempt after another.

    def _start_first(self) -> None:
        plane, entry = self.plane, self.request.entry
        self._owned = owner_of(self._resources(), plane.routing, self.request, plane.seconds())
        if plane.waiting.has_line(entry):
            plane.waiting.serve(entry.id)  # who came before goes first
        if self.try_again():
            return
        wait_s = entry.settings.max_wait_for_key
        if wait_s and self.wakes_at() is not None and plane.waiting.enter(entry, self):
            self._waits = True
            self.await_until(plane.ticks() + wait_s)
            return
        self.refuse(self._no_key())

    def try_again(self) -> bool:
        """Begin the first attempt if a key may serve; see `gptload.proxy.waiting.Waits`."""
        plane, request = self.plane, self.request
        choice = None
        if self._owned is not None:
            choice = self._owners_choice(self._owned)
            if choice is None and self.wakes_at() is None:
                self._owned = None  # that key is gone; somebody else may know better
        if self._owned is None:
            choice = plane.routing.choose(
                request.entry, plane.seconds(), request.model, None, self._session()
            )
        if choice is None:
            return False
        self._waits = False
        self._begin(choice)
        return True

    def wakes_at(self) -> float | None:
        """See `gptload.proxy.waiting.Waits`."""
        routing, request, owned = self.plane.routing, self.request, self._owned
        if owned is None:
            return routing.wakes_at(request.entry, request.model)
        key = routing.key(owned.group_id, owned.key_id)
        if key is None or key.state in (State.INVALID, State.DISABLED):
            return None
        return max(key.until or 0.0, key.rests.get(request.model, 0.0)) or None

    def _owners_choice(self, owned: Owned) -> Choice | None:
        plane = self.plane
        return plane.routing.choose_key(
            owned.group_id, owned.key_id, owned.upstream, plane.seconds(), self.request.model
        )

    def _resources(self) -> Resources:
        return self.plane.resources[self.request.entry.channel]

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

    def _session(self) -> bytes | None:
        """Whom the request belongs to; b"" where it doesn't say, None where nobody asks."""
        text = self.request.entry.settings.session_affinity
        rule = _affinity_rule(text) if text else None
        if rule is None:
            return None
        return affinity.session_of(rule, self.request.head.fields, self.request.body) or b""

    def _begin(self, choice: Choice) -> None:
        self._delayed = None
        self._made += 1
        self._attempt = attempt = Attempt(self, choice)
        try:
            attempt.start()
        except GptloadError as error:  # a rule of this group forbids the request
            self.refuse(error)

    def _go_on(self, choice: Choice, after: Attempt, verdict: Verdict) -> None:
        """The next attempt: at once, unless only time can help."""
        same_way = choice.destination.way is after.choice.destination.way
        wait_s = 0.0
        if verdict.outcome is Outcome.UPSTREAM_FAULT and same_way:
            wait_s = back_off_s(self._made, self.plane.chance())
        if wait_s and self.plane.ticks() + wait_s < self._end:
            self.deadline = self._end
            self._delayed = self.plane.call_later(wait_s, self._choose_anew)
        else:
            self._begin(choice)

    def _choose_anew(self) -> None:
        """The next attempt, of those who may serve now."""
        self._delayed = None
        tried, owned = self._tried, self._owned
        if tried is None:
            self._attempt = None
            self._start_first()
            return
        choice = self._next(tried) if owned is None else self._owners_choice(owned)
        if choice is not None:
            self._begin(choice)
        elif self._last is not None:
            self._answer_error(self._last, complete=True)
        else:
            self.refuse(self._no_key())

    def _next(self, tried: Tried) -> Choice | None:
        request = self.request
        settings = request.entry.settings
        return self.plane.routing.choose(
            request.entry,
            self.plane.seconds(),
            request.model,
            tried,
            self._session(),
            surest=self._made == settings.max_retries,
        )

    def _take_verdict(
        self, attempt: Attempt, verdict: Verdict, answer: Answer, status: int
    ) -> Choice | None:
        """Blame and record what an upstream answered; what follows it."""
        verdict = attempt.choice.destination.way.judged(verdict)
        self._last = attempt
        self._blame(attempt, verdict)
        following = self._choose_next(attempt, verdict.outcome, status)
        error = redact(message_of(answer), (attempt.choice.key.secret,))
        self._record(attempt, verdict, status, error, final=following is None)
        return following

    def _judge_inner(self, attempt: Attempt, answer: Answer) -> Verdict:
        choice = attempt.choice
        host = choice.destination.upstream.origin.host
        return judge_inner(
            self.provider, answer, self.plane.seconds(), host, choice.group.error_rules
        )

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
        if self._owned is not None:
            # Nobody else has what is asked for; only another try there may help.
            return self._owners_choice(self._owned) if step is Next.RETRY_ELSEWHERE else None
        tried = self._tried
        if tried is None:
            tried = self._tried = Tried()
        key_id = choice.key.id
        if outcome in _SEEN:
            tried.spent.add(key_id)
        elif key_id in tried.avoid:
            self._again += 1
            if self._again >= AGAIN_LIMIT:
                return None
        else:
            tried.avoid.add(key_id)
        if step is Next.RETRY_ELSEWHERE:
            tried.bad.add((choice.group.id, choice.destination.number))
        return self._next(tried)

    def _blame(self, attempt: Attempt, verdict: Verdict) -> None:
        """Tell those who pay: the way, or the ledger; hold a key here until it has spoken."""
        choice, way = attempt.choice, attempt.choice.destination.way
        plane, now, model = self.plane, self.plane.seconds(), self.request.model
        outcome, key = verdict.outcome, attempt.choice.key
        if outcome is Outcome.UPSTREAM_FAULT:
            way.failed(verdict, model, now, attempt.generation)
            return
        way.answered(model, now, attempt.generation)
        blame = BLAME[outcome]
        until = verdict.rest_until
        if not (blame.strike or (blame.rest and until is not None)):
            return  # nobody pays, or only this exchange must not use the key again
        about = model if verdict.scope in _OF_A_MODEL else ""
        if verdict.scope in _OF_A_MODEL and not model and outcome is Outcome.KEY_EXHAUSTED:
            return  # of a call that names no model: it says nothing about those that do
        if until is not None:
            plane.routing.hold(choice.group.id, key.id, until, about)
        plane.report(
            KeyEvent(
                choice.group.id,
                key.id,
                _SEEN[outcome],
                now,
                until,
                choice.group.settings.blacklist_threshold,
                verdict.reason,
                attempt.status or 0,
                scope=verdict.scope,
                model=model,
                account=verdict.account or key.account,
                way=way.name,
                signature=verdict.signature,
                others_ok_at=way.breaker.others_ok_at(key.id),
                exchange_id=self._id,
                named=verdict.named,
                proven=key.proven,
                serving=plane.routing.serving(choice.group.id),
            )
        )

    def _no_key(self) -> NoActiveKey:
        entry = self.request.entry
        routing = self.plane.routing
        wakes_at = self.wakes_at()
        if wakes_at is not None:
            wait_s = max(1.0, wakes_at - self.plane.seconds())
            return NoKeyAwake(
                f"All keys of group '{entry.name}' are resting"
                if self._owned is None
                else "The key that made what the request names is resting",
                hint=f"The {'first one' if self._owned is None else 'key'} comes back at "
                f"{_utc(wakes_at)}, in {wait_s:.0f} s.",
                retry_after_s=wait_s,
            )
        return NoActiveKey(
            "No active API keys available for this group",
            hint="Its keys are invalid: test or restore them, or add new ones."
            if routing.has_keys(entry)
            else f"Group '{entry.name}' has no keys yet: POST /api/keys/add-multiple adds some.",
        )

    # Answers.

    def _begin_relay(
        self, attempt: Attempt, head: ResponseHead, relay: Relay | StreamRelay
    ) -> None:
        connection = attempt.connection
        assert connection is not None
        self._relay = relay
        connection.hand_over(relay)
        self._begin_response(attempt, head)

    def _begin_response(self, attempt: Attempt, head: ResponseHead) -> None:
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
            self._succeeded(attempt)
        self._finish()

    def broken(self, failure: UpstreamFailure) -> None:
        """The upstream stopped in the middle of its answer."""
        attempt = self._attempt
        assert attempt is not None
        self._relay = attempt.connection = None
        if self.downstream.withdraw_response():
            self.attempt_failed(attempt, failure)
            return
        verdict = _fault(failure)
        self._blame(attempt, verdict)
        if not attempt.recorded:
            self._record(attempt, verdict, attempt.status or 502, str(failure), final=True)
        self.downstream.abort_response()
        self._finish()

    def _models_edited(self, attempt: Attempt, head: ResponseHead, body: bytes) -> None:
        attempt.connection = None
        self._succeeded(attempt)
        lines = lines_for(head, attempt.choice.group, self.plane.cors, self.request.head)
        self.downstream.begin_response(head.status, head.reason, lines, len(body))
        self.downstream.end_response(body)
        self._finish()

    def _succeeded(self, attempt: Attempt) -> None:
        # Hot: once a request.
        choice = attempt.choice
        key, head = choice.key, attempt.head
        now = self.plane.seconds()
        key.proven = True
        choice.destination.way.succeeded(key.id, self.request.model, now, attempt.generation)
        account = head.account.decode("latin-1") if head is not None and head.account else ""
        if key.strikes or (account and account != key.account):
            self.plane.report(KeyEvent(choice.group.id, key.id, Seen.OK, now, account=account))
        self._record(attempt, _OK, attempt.status or 0, "", final=True)

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
            relay.body_received(attempt.error)
            self.deadline = self._end
            return
        lines = lines_for(head, attempt.choice.group, self.plane.cors, self.request.head)
        body, lines = without_key(attempt.answer(), attempt.choice.key.secret, lines)
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
        plane = self.plane
        plane.under_way -= 1
        plane.sweep.discard(self)
        if self._waits:
            plane.waiting.leave(self.request.entry, self)
        if self._delayed is not None:
            self._delayed.cancel()
        if self._start is not None:
            self._start.stop()
        # Objects that are over must not keep each other, or a body, alive.
        self._attempt = self._last = self._relay = self._delayed = self._start = None
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
        began, first_byte, key_id, upstream, account = self._began, None, 0, "", ""
        if attempt is not None:
            attempt.recorded = True
            choice = attempt.choice
            group, key_id, account = choice.group, choice.key.id, choice.key.account
            began, first_byte = attempt.began, attempt.first_byte
            upstream = (choice.destination.shown + request.path.decode("latin-1"))[
                : trace.SHOWN_CHARACTERS
            ]
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
                trace.NAMES[verdict.outcome],
                verdict.reason,
                int((now - began) * 1000),
                None if first_byte is None else int((first_byte - began) * 1000),
                int((now - self._began) * 1000),
                self.downstream.peer,
                head.method.decode("latin-1"),
                trace.shown_path(entry.name, request.path, request.query),
                upstream,
                request.stream,
                final,
                error,
                trace.agent_of(head),
                request.body_text(LOGGED_BODY_CHARACTERS)
                if entry.settings.enable_request_body_logging
                else "",
                verdict.scope.value if verdict is not _OK else "",
                verdict.rest_until,
                verdict.account or account,
                verdict.signature,
                verdict.named,
            )
        )


_affinity_rule: Final = lru_cache(256)(affinity.parse)


def _fault(failure: UpstreamFailure) -> Verdict:
    """The verdict on an upstream that gave no whole answer."""
    return Verdict(Outcome.UPSTREAM_FAULT, Scope.UPSTREAM, reason=failure.trouble.name.lower())


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
