"""Signed in from a browser: a cookie that says until when, and who is let in by what.

The cookie proves itself, so any node can read it and none has to remember it: its seal
is made with a key that follows from AUTH_KEY, and with another AUTH_KEY it is worth
nothing. Scripts can't read it, other sites can't send it, and `/proxy/` never sees it.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.web.iweb import IRequest
from zope.interface import Interface

from gptload.control.admin.access import Access, client_address, credentials, in_query
from gptload.core.errors import Forbidden

SHORT_S: Final = 12 * 3600
LONG_S: Final = 30 * 86400
_STEM: Final = "gptload_session"
# A page of another site can't send this field unless we allow it to, which we don't.
OUR_PAGE: Final = (b"x-requested-with", b"gptload")
_SAFE: Final = (b"GET", b"HEAD", b"OPTIONS")


@frozen
class Caller:
    """Who was let in, and by what.

    Attributes:
        has_key: it presented AUTH_KEY itself, and may see whole keys in every answer.
        expires_at: epoch seconds, when it will be asked to sign in again; None: never.
    """

    has_key: bool
    expires_at: float | None = None


class ICaller(Interface):
    """Where a request keeps who it is from."""


def caller(request: Any) -> Caller:
    """Who a request is from; of one that nobody has looked at, a stranger."""
    found: Caller = request.getComponent(ICaller) or Caller(has_key=False)
    return found


class Sessions:
    """Makes cookies and reads them. Remembers nothing."""

    def __init__(self, seconds: Callable[[], float], auth_key: str) -> None:
        """
        Args:
            seconds: epoch seconds.
        """
        self._seconds = seconds
        # Slow on purpose, once a start: whoever gets hold of a cookie shall not find a
        # weak AUTH_KEY from it by trying a billion of them.
        self._key = hashlib.scrypt(
            auth_key.encode("utf-8", "surrogateescape"),
            salt=b"gptload: browser sessions",
            n=2**14,
            r=8,
            p=1,
            dklen=32,
        )
        # Cookies know no ports: two gptloads on one host must not sign each other out.
        self.name = f"{_STEM}_{self._seal(b'name').hex()[:8]}"

    def _seal(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")

    def begin(self, request: IRequest, *, is_long: bool) -> float:
        """Sign a browser in; until when, in epoch seconds.

        Args:
            is_long: on a device of its owner's.
        """
        lasts = LONG_S if is_long else SHORT_S
        expires_at = math.floor(self._seconds()) + lasts
        # Without Max-Age it goes with the browser, which is right on a device of others.
        self._set(request, self._token(expires_at), f"; Max-Age={lasts}" if is_long else "")
        return float(expires_at)

    def end(self, request: IRequest) -> None:
        """Have the browser forget it."""
        self._set(request, "", "; Max-Age=0")

    def _set(self, request: IRequest, token: str, life: str) -> None:
        # Who lies about its scheme only lies to itself.
        schemes = request.requestHeaders.getRawHeaders(b"x-forwarded-proto", [b""])
        is_https = schemes[0].partition(b",")[0].strip().lower() == b"https"
        secure = "; Secure" if is_https else ""
        request.responseHeaders.addRawHeader(
            b"Set-Cookie",
            f"{self.name}={token}; Path=/api; HttpOnly; SameSite=Strict{life}{secure}".encode(),
        )

    def _token(self, expires_at: int) -> str:
        seal = urlsafe_b64encode(self._seal(b"until %d" % expires_at)).decode().rstrip("=")
        return f"{expires_at}.{seal}"

    def expiry(self, request: Any) -> float | None:
        """Until when the browser is signed in, in epoch seconds; None when it isn't."""
        token = (request.getCookie(self.name.encode()) or b"").decode("latin-1")
        digits, _, _ = token.partition(".")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 12:
            return None
        expires_at = int(digits)
        is_ours = hmac.compare_digest(token.encode("latin-1"), self._token(expires_at).encode())
        return float(expires_at) if is_ours and self._seconds() < expires_at else None


async def admit(request: Any, access: Access, sessions: Sessions) -> None:
    """Let a request in by its credentials, or by its cookie where it has no others.

    Raises:
        Unauthorized, TooManyGuesses: neither is right.
        Forbidden: the cookie is, but who sent it isn't a page of ours.
    """
    presented, expires_at = credentials(request), sessions.expiry(request)
    # `key` in a query may be a filter's as well, and then it is no wrong guess.
    is_by_cookie = len(presented) == len(in_query(request)) and not access.knows(presented)
    if expires_at is None or not is_by_cookie:
        await access.admit(client_address(request), presented)
        request.setComponent(ICaller, Caller(has_key=True))
        return
    must_be_our_page(request)
    request.setComponent(ICaller, Caller(has_key=False, expires_at=expires_at))


def must_be_our_page(request: IRequest) -> None:
    """Refuse what a page of another origin may have had a browser send.

    Raises:
        Forbidden: it isn't certain that our own page did.
    """
    is_safe = request.method in _SAFE
    name, value = OUR_PAGE
    if not is_safe and request.requestHeaders.getRawHeaders(name, [])[:1] != [value]:
        raise Forbidden(
            "This call did not come from the dashboard",
            hint="With the cookie, send X-Requested-With: gptload; scripts send AUTH_KEY.",
        )
    # `none`: somebody has typed the address, or opened a bookmark.
    allowed = (b"same-origin", b"none") if is_safe else (b"same-origin",)
    sites = request.requestHeaders.getRawHeaders(b"sec-fetch-site", [])
    if any(site.strip().lower() not in allowed for site in sites):
        raise Forbidden(
            "This call did not come from the dashboard",
            hint="Another site had the browser send it. Open the dashboard itself.",
        )
