"""How a request waits for work that must not end with it.

A client may hang up in the middle of a change. Klein then cancels what the route
waits for; a change that is half done (stored, but not published) would be worse than
one whose answer nobody hears.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

P = ParamSpec("P")
T = TypeVar("T")

log = Logger()


def whole(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Deferred[T]]:
    """Make a coroutine function run to its end, whoever stops waiting for it."""

    @wraps(method)
    def start(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        waiting: Deferred[T] = Deferred()

        def ended(result: Any) -> None:
            if not waiting.called:
                waiting.callback(result)
            elif isinstance(result, Failure):
                log.failure("What nobody waits for any more failed", failure=result)

        Deferred.fromCoroutine(method(*args, **kwargs)).addBoth(ended)
        return waiting

    return start


async def at_most(clock: IReactorTime, seconds: float, work: Coroutine[Any, Any, object]) -> None:
    """Wait until the work has ended in any way, or for so long; it goes on by itself.

    For what makes an answer fresher but must not hold it up. A failure is not ours to
    tell: the work's own service sees it too.
    """
    waiting: Deferred[None] = Deferred()

    def enough(_: object = None) -> None:
        if not waiting.called:
            waiting.callback(None)

    call = clock.callLater(seconds, enough)
    Deferred.fromCoroutine(work).addBoth(enough)
    try:
        await waiting
    finally:
        if call.active():
            call.cancel()
