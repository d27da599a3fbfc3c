"""What a client or an operator has to hear about.

An error here is meant for a person: it has a status, a code and a hint that says
what to do next. It never carries a key. On the data path an ending is a value
(`gptload.core.outcome.Outcome`), not an exception; these are for refusals and for
the admin API.
"""

from __future__ import annotations

from collections.abc import Mapping


class GptloadError(Exception):
    """Something that a person can do something about.

    Attributes:
        status: HTTP status of the answer.
        code: upper-case constant, as in the reference's error table.
        hint: what to do about it; empty when the message says it all.
        retry_after_s: seconds after which trying again makes sense, or None.
        data: ids and counts, for a program that wants to act on it; None for none.
    """

    status = 500
    code = "INTERNAL_SERVER_ERROR"
    hint = ""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after_s: float | None = None,
        data: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.data = data
        if hint is not None:
            self.hint = hint


class BadRequest(GptloadError):
    """The request itself makes no sense."""

    status = 400
    code = "BAD_REQUEST"


class InvalidJson(GptloadError):
    """A body that should be JSON of a known shape is not."""

    status = 400
    code = "INVALID_JSON"


class ValidationFailed(GptloadError):
    """Well-formed, but a value is not allowed."""

    status = 400
    code = "VALIDATION_FAILED"


class Unauthorized(GptloadError):
    """No credential, or a wrong one."""

    status = 401
    code = "UNAUTHORIZED"


class Forbidden(GptloadError):
    """Known, but not allowed to do this in this way."""

    status = 403
    code = "FORBIDDEN"


class NotFound(GptloadError):
    """There is nothing of that name."""

    status = 404
    code = "NOT_FOUND"


class MethodNotAllowed(GptloadError):
    """The path exists, but not for this method."""

    status = 405
    code = "METHOD_NOT_ALLOWED"


class Conflict(GptloadError):
    """What is to be changed isn't any more what the caller has seen."""

    status = 409
    code = "CONFLICT"


class Duplicate(GptloadError):
    """The name is taken."""

    status = 409
    code = "DUPLICATE_RESOURCE"


class TaskInProgress(GptloadError):
    """A group has one task at a time."""

    status = 409
    code = "TASK_IN_PROGRESS"


class NothingToRetry(GptloadError):
    """Of this task nothing is left that could be done again."""

    status = 409
    code = "NOTHING_TO_RETRY"


class BodyTooLarge(GptloadError):
    """More bytes than we are willing to hold."""

    status = 413
    code = "REQUEST_TOO_LARGE"


class DatabaseUnavailable(GptloadError):
    """The database is locked, full or away."""

    status = 503
    code = "DATABASE_ERROR"
    hint = "Proxying goes on. Try again in a moment; the log names the cause."


class ControlAway(GptloadError):
    """The data plane serves, but its control plane doesn't answer."""

    status = 503
    code = "CONTROL_PLANE_UNAVAILABLE"
    hint = "Proxying goes on. The log names the cause."


class NoActiveKey(GptloadError):
    """Every key of the group is resting or invalid, or it has none."""

    status = 503
    code = "NO_KEYS_AVAILABLE"


class NoKeyAwake(NoActiveKey):
    """Every key rests. A 429 with its time is what the SDKs know how to wait for."""

    status = 429


class TooManyRequests(GptloadError):
    """More exchanges at once than MAX_CONCURRENT_REQUESTS."""

    status = 503
    code = "TOO_MANY_REQUESTS"
    hint = "Raise MAX_CONCURRENT_REQUESTS, or let the client retry."


class UpstreamUnreachable(GptloadError):
    """The last attempt never got an answer."""

    status = 502
    code = "BAD_GATEWAY"


class UpstreamTimeout(GptloadError):
    """The last attempt took longer than the group allows."""

    status = 504
    code = "GATEWAY_TIMEOUT"
