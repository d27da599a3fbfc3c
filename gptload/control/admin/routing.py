"""Routes whose errors look like everybody else's. Klein's own would be HTML."""

from __future__ import annotations

import importlib
import pkgutil

from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from gptload.control import admin
from gptload.control.admin.replies import name_of, refusal
from gptload.core.errors import GptloadError, MethodNotAllowed, NotFound

log = Logger()
_made: list[Klein] = []


class Unexpected(GptloadError):
    """A fault of ours. What it was is nobody else's business."""

    hint = "The log of the service names the cause."


def not_found() -> NotFound:
    """A path that leads nowhere."""
    return NotFound("Not Found", hint="AI-API calls go to /proxy/<group>/…, by a group's name.")


def make_routes() -> Klein:
    """Routes of one subject. A handler of errors is not inherited, so each has its own."""
    routes = Klein()
    _made.append(routes)
    # Tried in this order, and `Exception` would swallow the others.
    routes.handle_errors(GptloadError)(_refused)
    routes.handle_errors(HTTPException)(_unrouted)
    routes.handle_errors(Exception)(_failed)
    return routes


def all_routes() -> list[Klein]:
    """The routes of every subject, running or not: what the docs are made from."""
    for module in pkgutil.iter_modules(admin.__path__):
        importlib.import_module(f"{admin.__name__}.{module.name}")
    return list(_made)


def _refused(self: object, request: IRequest, failure: Failure) -> bytes:
    error = failure.value
    assert isinstance(error, GptloadError)
    return refusal(request, error)


def _unrouted(self: object, request: IRequest, failure: Failure) -> bytes:
    error = failure.value
    assert isinstance(error, HTTPException)
    if error.code != 405:
        return refusal(request, not_found(), error="Not Found")
    for name, value in error.get_headers():
        if name.lower() == "allow":
            request.setHeader(b"Allow", value.encode("ascii"))
    return refusal(request, MethodNotAllowed("This path doesn't know that method"))


def _failed(self: object, request: IRequest, failure: Failure) -> bytes:
    return failed(request, failure)


def failed(request: IRequest, failure: Failure) -> bytes:
    """Log what went wrong, and tell the client no more than that something did."""
    log.failure(
        "{method} {path} failed, request {name}",
        failure=failure,
        method=request.method,
        path=request.path,
        name=name_of(request),
    )
    return refusal(request, Unexpected("An unexpected error occurred"))
