"""What all routes share: who may come in, how errors look, what every answer carries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.logger import LogEvent, Logger, globalLogPublisher
from twisted.python.failure import Failure

from gptload.control.admin import routing
from gptload.control.admin.access import FREE_GUESSES
from gptload.control.admin.app import AdminRequest
from gptload.control.db.database import Database
from gptload.core.errors import DatabaseUnavailable
from tests.control.admin.conftest import AUTH_KEY, Admin, good_group

SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "x-frame-options": "SAMEORIGIN",
}


@pytest.fixture
def said() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


# --- Who may come in


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("?key=" + AUTH_KEY, {}),
        ("?page=1&key=" + AUTH_KEY, {}),
        ("", {"Authorization": f"Bearer {AUTH_KEY}"}),
        ("", {"Authorization": f"bearer  {AUTH_KEY} "}),
        ("", {"X-Api-Key": AUTH_KEY}),
        ("", {"X-Goog-Api-Key": AUTH_KEY}),
        # One right credential among several is enough.
        ("?key=wrong", {"X-Api-Key": AUTH_KEY}),
        ("?key=" + AUTH_KEY, {"Authorization": "Bearer wrong"}),
        ("", {"Authorization": "Basic d3Jvbmc=", "X-Api-Key": "x", "X-Goog-Api-Key": AUTH_KEY}),
    ],
)
async def test_every_form_of_the_right_key_opens(
    admin: Admin, path: str, fields: dict[str, str]
) -> None:
    answer = await admin.call("GET", f"/api/groups{path}", key=None, fields=fields)
    assert answer.data == []


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("", {}),
        ("?key=", {}),
        ("?key=wrong", {}),
        ("?KEY=" + AUTH_KEY, {}),
        ("", {"Authorization": AUTH_KEY}),
        ("", {"Authorization": "Bearer"}),
        ("", {"Authorization": f"Basic {AUTH_KEY}"}),
        ("", {"Authorization": f"Bearer {AUTH_KEY}x"}),
        ("", {"Authorization": f"Bearer {AUTH_KEY[:-1]}"}),
        ("", {"X-Api-Key": "é"}),
        ("", {"Cookie": f"key={AUTH_KEY}"}),
    ],
)
async def test_nothing_else_does(admin: Admin, path: str, fields: dict[str, str]) -> None:
    answer = await admin.call("GET", f"/api/groups{path}", key=None, fields=fields)
    assert answer.refused(401, "UNAUTHORIZED") == "Authentication failed"
    assert answer.said["hint"]
    assert AUTH_KEY not in json.dumps(answer.said)


async def test_a_key_in_a_body_is_no_credential(admin: Admin) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    raw = f"key={AUTH_KEY}".encode()
    answer = await admin.call("POST", "/api/groups", key=None, raw=raw, fields=form)
    answer.refused(401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/channel-types"),
        ("POST", "/api/groups"),
        ("PUT", "/api/groups/reorder"),
        ("GET", "/api/keys?group_id=1"),
        ("POST", "/api/keys/clear-all"),
        ("PUT", "/api/settings"),
        ("GET", "/api/logs"),
        ("GET", "/api/dashboard/stats"),
        ("GET", "/api/nothing"),  # which routes there are is nobody's business either
    ],
)
async def test_every_subject_is_closed(admin: Admin, method: str, path: str) -> None:
    (await admin.call(method, path, {}, key="wrong")).refused(401, "UNAUTHORIZED")


async def test_guesses_are_slowed_down_and_the_right_key_clears_them(admin: Admin) -> None:
    """D81."""
    for _ in range(FREE_GUESSES):
        (await admin.call("GET", "/api/groups", key="guess")).refused(401, "UNAUTHORIZED")
    for path, body in [("/api/groups", None), ("/api/auth/login", {"auth_key": "guess"})]:
        answer = await admin.call("POST" if body else "GET", path, body, key="guess")
        answer.refused(429, "TOO_MANY_ATTEMPTS")
        assert int(answer.fields["retry-after"]) >= 1
    (await admin.call("GET", "/api/groups", key=None)).refused(401, "UNAUTHORIZED")
    # Another address, as the front names it, is none of their business.
    elsewhere = {"X-Gptload-Client": "192.0.2.7"}
    answer = await admin.call("GET", "/api/groups", key="guess", fields=elsewhere)
    answer.refused(401, "UNAUTHORIZED")
    assert (await admin.call("GET", "/api/groups")).status == 200
    (await admin.call("GET", "/api/groups", key="guess")).refused(401, "UNAUTHORIZED")


async def test_login(admin: Admin) -> None:
    answer = await admin.call("POST", "/api/auth/login", {"auth_key": AUTH_KEY}, key=None)
    assert answer.status == 200
    assert (answer.said["success"], answer.said["message"]) == (True, "Authentication successful")
    answer = await admin.call("POST", "/api/auth/login", {"auth_key": "wrong"}, key=None)
    assert answer.refused(401, "UNAUTHORIZED") == "Authentication failed"
    assert answer.said["success"] is False
    assert "set-cookie" not in answer.fields
    for bad in (b"", b"{", b"{}", b'{"auth_key": ""}', b'{"auth_key": 7}', b"[]"):
        answer = await admin.call("POST", "/api/auth/login", key=None, raw=bad)
        assert answer.refused(400, "BAD_REQUEST") == "Invalid request format"
        assert answer.said["success"] is False
        assert answer.said["hint"]


# --- How errors look


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The body is empty; a JSON object is expected"),
        (b"  ", "The body is empty; a JSON object is expected"),
        (b"{", "Invalid JSON: Expecting property name enclosed in double quotes at character 2"),
        (b"{'a': 1}", "Invalid JSON: "),
        (b"[]", "The body must be a JSON object"),
        (b'"x"', "The body must be a JSON object"),
        (b"\xff\xfe{}", "The body is not UTF-8"),
        (b"[" * 100_000, "The JSON is nested more than 64 levels deep"),
        (b'{"a":' * 100_000, "The JSON is nested more than 64 levels deep"),
        (
            b'{"param_overrides":' + b'{"a":' * 70 + b"1" + b"}" * 71,
            "param_overrides.a.a",
        ),
        (b'{"param_overrides": {"a": ' + b"9" * 5000 + b"}}", "The JSON holds a number"),
        (b'{"param_overrides": {"a": 1e999}}', "param_overrides.a: not a number"),
        (b'{"param_overrides": {"a": NaN}}', "param_overrides.a: not a number"),
        (b'{"param_overrides": {"\\u0000": 1}}', "param_overrides: a text with a NUL"),
        (b'{"name": "\\ud800"}', "name: half a surrogate pair"),
    ],
)
async def test_a_body_that_makes_no_sense(admin: Admin, raw: bytes, message: str) -> None:
    answer = await admin.call("POST", "/api/groups", raw=raw)
    assert answer.refused(400, "INVALID_JSON").startswith(message)


async def test_json_is_json_whatever_its_type_says(admin: Admin) -> None:
    raw = b"\xef\xbb\xbf" + json.dumps(good_group()).encode()
    for number, kind in enumerate(
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
    ):
        sent = raw.replace(b'"openai"', b'"group-%d"' % number, 1)
        answer = await admin.call("POST", "/api/groups", raw=sent, fields={"Content-Type": kind})
        assert answer.data["name"] == f"group-{number}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("POST", "/v1/chat/completions"),  # D61: a forgotten /proxy/<group>
        ("GET", "/index.html"),
        ("GET", "/api"),
        ("GET", "/api/"),
        ("GET", "/api/nothing"),
        ("GET", "/api/groups/1/nothing"),
        ("GET", "//api/groups"),
        ("GET", "/api//groups"),
        ("GET", "/api/groups%2F1"),
        ("GET", "/%FF"),
        ("GET", "/api/%FF"),
        ("GET", "/..%2f..%2fetc/passwd"),
    ],
)
async def test_what_is_not_there_is_said_in_json(admin: Admin, method: str, path: str) -> None:
    answer = await admin.call(method, path)
    assert answer.refused(404, "NOT_FOUND") == "Not Found"
    assert answer.said["error"] == "Not Found"
    assert "/proxy/" in answer.said["hint"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/groups", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/api/groups", {"GET", "HEAD", "POST"}),
        ("TRACE", "/api/groups", {"GET", "HEAD", "POST"}),
        ("BREW", "/api/groups", {"GET", "HEAD", "POST"}),
        ("GET", "/api/keys/add-multiple", {"POST"}),
        ("GET", "/api/auth/login", {"POST"}),
        ("GET", "/api/groups/1", {"PUT", "DELETE"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("PUT", "/", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_names_the_right_ones(
    admin: Admin, method: str, path: str, allowed: set[str]
) -> None:
    answer = await admin.call(method, path)
    answer.refused(405, "METHOD_NOT_ALLOWED")
    assert set(answer.fields["allow"].split(", ")) == allowed


async def test_a_slash_at_the_end_makes_no_difference(admin: Admin) -> None:
    assert (await admin.call("GET", "/api/groups/")).data == []
    assert (await admin.call("GET", "/health/")).status == 200


async def test_a_database_that_fails_is_a_503_with_a_hint(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: Any) -> None:
        raise DatabaseUnavailable("The database is locked")

    monkeypatch.setattr(Database, "read", unavailable)
    answer = await admin.call("GET", "/api/groups")
    assert answer.refused(503, "DATABASE_ERROR") == "The database is locked"
    assert "Proxying goes on" in answer.said["hint"]


async def test_a_fault_of_ours_is_logged_and_not_told(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[LogEvent] = []
    # Its own observer: the global one fails a test over a logged failure.
    monkeypatch.setattr(routing, "log", Logger("test", observer=said.append))

    def fault(connection: Connection) -> None:
        raise ZeroDivisionError("a detail that is nobody's business")

    monkeypatch.setattr("gptload.control.db.queries.groups.all_groups", fault)
    answer = await admin.call("GET", "/api/groups?key=sk-hidden")
    assert answer.refused(500, "INTERNAL_SERVER_ERROR") == "An unexpected error occurred"
    assert "detail" not in json.dumps(answer.said)
    (event,) = [event for event in said if "log_failure" in event]
    assert "ZeroDivisionError" in event["log_failure"].getTraceback()
    assert event["name"] == answer.fields["x-request-id"]
    other = await admin.call("GET", "/api/groups")
    assert other.fields["x-request-id"] != answer.fields["x-request-id"]
    assert "sk-hidden" not in repr(event["path"])


async def test_a_query_is_never_logged(admin: Admin, said: list[LogEvent]) -> None:
    """D78."""
    await admin.call("GET", f"/api/groups?key={AUTH_KEY}", key=None)
    await admin.call("POST", "/api/groups?key=sk-wrong", {}, key=None)
    lines = [str(event.get("log_format", "")).format(**event) for event in said]
    assert any("POST /api/groups from unknown: 401" in line for line in lines)
    assert not any("key=" in line or AUTH_KEY in line for line in lines)


# --- What every answer carries


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/", None),
        ("/health", None),
        ("/api/groups", AUTH_KEY),
        ("/api/groups", "wrong"),
        ("/nothing", None),
        ("/api/keys/add-multiple", AUTH_KEY),
    ],
)
async def test_security_fields(admin: Admin, path: str, key: str | None) -> None:
    answer = await admin.call("GET", path, key=key)
    assert answer.fields | SECURITY == answer.fields
    assert answer.fields["cache-control"] == "no-store"
    assert "server" not in answer.fields
    if path != "/":
        assert answer.fields["content-type"] == "application/json; charset=utf-8"


async def test_health(admin: Admin) -> None:
    answer = await admin.call("GET", "/health", key=None)
    assert answer.status == 200
    assert set(answer.said) == {"status", "timestamp", "uptime", "version"}
    assert (answer.said["status"], answer.said["version"]) == ("healthy", "1.2.3")
    assert answer.said["timestamp"].endswith("Z")
    assert answer.said["uptime"].endswith("s")
    head = await admin.call("HEAD", "/health", key=None)
    assert (head.status, head.said) == (200, b"")
    assert int(head.fields["content-length"]) > 50


async def test_the_home_page_says_what_this_is(admin: Admin) -> None:
    await admin.api("PUT", "/settings", {"app_url": 'https://x.example/"><script>'})
    answer = await admin.call("GET", "/", key=None)
    page = answer.said.decode()
    assert answer.fields["content-type"] == "text/html; charset=utf-8"
    assert '<html lang="en">' in page
    assert page.count("<h1>") == 1
    assert "/proxy/&lt;group&gt;" in page
    assert 'href="/readme"' in page
    assert "<script" not in page
    assert "src=" not in page  # it needs nobody else
    assert "default-src 'none'" in answer.fields["content-security-policy"]


async def test_the_readme_is_served_as_text(admin: Admin) -> None:
    answer = await admin.call("GET", "/readme", key=None)
    if answer.status == 200:  # what is installed, if it was installed with one
        assert answer.fields["content-type"] == "text/plain; charset=utf-8"
        assert b"gptload" in answer.said
    else:
        answer.refused(404, "NOT_FOUND")


# --- How much may come in


class Raw(Protocol):
    """Sends bytes and collects what comes until the other side closes."""

    def __init__(self) -> None:
        self.found = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.found += data

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.ended.callback(self.found)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(
    admin: Admin, reactor: Any, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    monkeypatch.setattr(AdminRequest, "body_limit", 1024 * 1024)
    head = b"POST /api/groups HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    piece = b"x" * 1024
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = (b"400\r\n%b\r\n" % piece) * 1025 + b"0\r\n\r\n"
    else:
        head += b"Content-Length: %d\r\n\r\n" % (1025 * 1024)
        body = piece * 1025
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", admin.port)
    client = await connectProtocol(endpoint, Raw())
    client.transport.write(head + body)
    answer = await client.ended
    top, _, text = answer.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 413 ")
    assert b"X-Frame-Options: SAMEORIGIN" in top
    assert json.loads(text)["code"] == "REQUEST_TOO_LARGE"
    assert (await admin.call("GET", "/health")).status == 200


@pytest.mark.parametrize("host", [b"", b"a..b", b"\xff", b"[::1", b"x" * 300])
async def test_an_odd_host_is_nobodys_trouble(admin: Admin, reactor: Any, host: bytes) -> None:
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", admin.port)
    client = await connectProtocol(endpoint, Raw())
    client.transport.write(b"GET /health HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host)
    assert (await client.ended).startswith(b"HTTP/1.1 200 ")
