"""Signing in from a browser: the cookie, what it opens, and what it never does."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.web.test.requesthelper import DummyRequest

from gptload.control.admin.sessions import LONG_S, SHORT_S, Sessions
from tests.control.admin.conftest import AUTH_KEY, Admin, Answer, good_group

OURS = {"X-Requested-With": "gptload"}


class Browser:
    """Keeps the cookie of a site and sends what a browser's page would send."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self.cookie = ""

    async def sign_in(self, **more: Any) -> Answer:
        """Sign in with the right key."""
        said = {"auth_key": AUTH_KEY, **more}
        answer = await self._admin.call("POST", "/api/auth/login", said, key=None)
        self.cookie = answer.fields["set-cookie"].partition(";")[0]
        return answer

    async def call(self, method: str, path: str, said: Any = None, **fields: str) -> Answer:
        """One call of our page; `fields` in the place of what it would send."""
        sent = OURS | {"Sec-Fetch-Site": "same-origin", "Cookie": self.cookie}
        sent |= {name.replace("_", "-"): value for name, value in fields.items()}
        sent = {name: value for name, value in sent.items() if value}
        return await self._admin.call(method, path, said, key=None, fields=sent)


@pytest.fixture
def browser(admin: Admin) -> Browser:
    return Browser(admin)


async def test_a_browser_signs_in_and_out(admin: Admin, browser: Browser) -> None:
    assert (await browser.call("GET", "/api/groups")).status == 401
    answer = await browser.sign_in()
    field = answer.fields["set-cookie"]
    (morsel,) = SimpleCookie(field).values()
    assert morsel["path"] == "/api"
    assert morsel["httponly"] is True
    assert morsel["samesite"] == "Strict"
    assert not morsel["secure"]
    assert not morsel["max-age"]  # it goes with the browser
    assert AUTH_KEY not in field
    assert (await browser.call("GET", "/api/groups")).data == []
    assert (await browser.call("POST", "/api/groups", good_group())).data["name"] == "openai"
    left = await browser.call("POST", "/api/auth/logout")
    assert left.data is None
    assert "Max-Age=0" in left.fields["set-cookie"]


async def test_who_stays_signed_in_gets_a_cookie_that_lasts(browser: Browser) -> None:
    field = (await browser.sign_in(remember=True)).fields["set-cookie"]
    assert f"Max-Age={LONG_S}" in field


async def test_over_https_the_cookie_is_for_https_only(admin: Admin) -> None:
    answer = await admin.call(
        "POST",
        "/api/auth/login",
        {"auth_key": AUTH_KEY},
        key=None,
        fields={"X-Forwarded-Proto": "https"},
    )
    assert answer.fields["set-cookie"].endswith("; Secure")


async def test_a_wrong_key_sets_no_cookie(admin: Admin) -> None:
    answer = await admin.call("POST", "/api/auth/login", {"auth_key": "sk-no"}, key=None)
    assert answer.status == 401
    assert "set-cookie" not in answer.fields


async def test_a_foreign_page_can_change_nothing_with_the_cookie(browser: Browser) -> None:
    await browser.sign_in()
    for fields in (
        {"X_Requested_With": ""},
        {"X_Requested_With": "XMLHttpRequest"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},  # another port of the same host
        {"Sec_Fetch_Site": "none"},
    ):
        answer = await browser.call("POST", "/api/groups", good_group(), **fields)
        answer.refused(403, "FORBIDDEN")
        (await browser.call("POST", "/api/auth/logout", **fields)).refused(403, "FORBIDDEN")
    assert (await browser.call("GET", "/api/groups")).data == []


async def test_a_foreign_page_can_read_nothing_with_the_cookie(browser: Browser) -> None:
    await browser.sign_in()
    answer = await browser.call("GET", "/api/groups", Sec_Fetch_Site="cross-site")
    answer.refused(403, "FORBIDDEN")
    # An address that somebody types, and a browser that doesn't say.
    for site in ("none", ""):
        answer = await browser.call("GET", "/api/groups", X_Requested_With="", Sec_Fetch_Site=site)
        assert answer.status == 200


async def test_a_key_that_is_sent_goes_before_the_cookie(admin: Admin, browser: Browser) -> None:
    await browser.sign_in()
    wrong = await browser.call("GET", "/api/groups", Authorization="Bearer sk-wrong")
    wrong.refused(401, "UNAUTHORIZED")
    right = await browser.call(
        "POST",
        "/api/groups",
        good_group(),
        Authorization=f"Bearer {AUTH_KEY}",
        X_Requested_With="",
        Sec_Fetch_Site="cross-site",
    )
    assert right.status == 200


async def test_a_filter_named_key_is_no_guess_beside_the_cookie(browser: Browser) -> None:
    await browser.sign_in()
    for _ in range(20):
        assert (await browser.call("GET", "/api/stats/summary?key=7")).status == 200
    login = await browser.call("POST", "/api/auth/login", {"auth_key": "sk-no"})
    login.refused(401, "UNAUTHORIZED")  # and not 429


async def test_a_cookie_that_is_no_good_opens_nothing_and_is_no_guess(browser: Browser) -> None:
    await browser.sign_in()
    name, _, token = browser.cookie.partition("=")
    expires, _, seal = token.partition(".")
    for bad in (
        "",
        token[:-1],
        f"{int(expires) + 1}.{seal}",
        f"{expires}.",
        expires,
        f"-{expires}.{seal}",
        f"{expires}.{seal}.{seal}",
        "9" * 40,
        "\u0661" * 3,
    ):
        answer = await browser.call("GET", "/api/groups", Cookie=f"{name}={bad}")
        answer.refused(401, "UNAUTHORIZED")
    assert (await browser.call("GET", "/api/groups")).status == 200


def _signed_in(sessions: Sessions) -> Any:
    """A request with the cookie that a sign-in set."""
    answer: Any = DummyRequest([b""])
    sessions.begin(answer, is_long=False)
    (field,) = answer.responseHeaders.getRawHeaders(b"Set-Cookie")
    name, _, token = field.partition(b";")[0].partition(b"=")
    request: Any = DummyRequest([b""])
    request.getCookie = {name: token}.get
    return request


def test_any_node_reads_it_and_another_auth_key_ends_it() -> None:
    clock = Clock()
    request = _signed_in(Sessions(clock.seconds, "sk-one"))
    assert Sessions(clock.seconds, "sk-one").expiry(request) == SHORT_S
    other = Sessions(clock.seconds, "sk-two")
    assert other.expiry(request) is None
    cookie = request.getCookie(Sessions(clock.seconds, "sk-one").name.encode())
    request.getCookie = {other.name.encode(): cookie}.get
    assert other.expiry(request) is None


def test_it_ends_when_its_time_is_up() -> None:
    clock = Clock()
    sessions = Sessions(clock.seconds, "sk-one")
    request = _signed_in(sessions)
    clock.advance(SHORT_S - 1)
    assert sessions.expiry(request) == SHORT_S
    clock.advance(1)
    assert sessions.expiry(request) is None
