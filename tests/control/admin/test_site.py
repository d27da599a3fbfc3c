"""The built dashboard: which addresses are its, and how its files are sent."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers

from tests.control.admin.conftest import Admin, Answer, MakeAdmin, run

SCRIPT = b"export const one = 1;\n" * 100
FOREVER = "public, max-age=31536000, immutable"


@pytest.fixture
def admin(make_admin: MakeAdmin, tmp_path: Path) -> Admin:
    """The site with a dashboard that was built."""
    assets = tmp_path / "site" / "assets"
    assets.mkdir(parents=True)
    (assets / "app-1a2b.js").write_bytes(SCRIPT)
    (assets / "app-1a2b.js.gz").write_bytes(gzip.compress(SCRIPT))
    (assets / "app-1a2b.js.br").write_bytes(b"brotli's")
    (assets.parent / "index.html").write_bytes(b"<!doctype html><title>gptload</title>")
    (assets.parent / "theme.js").write_bytes(b"'use strict';")
    (assets.parent / "favicon.svg").write_bytes(b"<svg/>")
    (assets.parent / "csp.json").write_bytes(b'{"style-src": ["sha256-abc="]}')
    (tmp_path / "secret.txt").write_bytes(b"not yours")
    made: Admin = run(make_admin())
    return made


async def get(admin: Admin, path: str, method: str = "GET", **fields: str) -> Any:
    """One call, by a client that unpacks nothing and asks for nothing by itself."""
    sent = Headers({name.replace("_", "-"): [value] for name, value in fields.items()})
    url = f"http://127.0.0.1:{admin.port}{path}".encode()
    response = await Agent(admin.reactor).request(method.encode(), url, sent)
    text = await readBody(response)
    said = json.loads(text) if text.startswith(b"{") else text
    heads = response.headers.getAllRawHeaders()
    shown = {name.decode().lower(): values[0].decode() for name, values in heads}
    return Answer(response.code, said, shown)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login?next=%2Fgroups",
        "/groups/7?tab=keys",
        "/keys?groupId=7",
        "/logs",
        "/settings/",
        "/somewhere/else",
    ],
)
async def test_every_page_of_the_dashboard_is_one_file(admin: Admin, path: str) -> None:
    answer = await get(admin, path)
    assert answer.status == 200
    assert b"<title>gptload</title>" in answer.said
    assert answer.fields["cache-control"] == "no-cache"
    policy = answer.fields["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-abc=';" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.fields["referrer-policy"] == "no-referrer"
    assert answer.fields["x-content-type-options"] == "nosniff"


async def test_a_named_file_may_be_kept_for_ever(admin: Admin) -> None:
    answer = await get(admin, "/assets/app-1a2b.js")
    assert (answer.status, answer.said) == (200, SCRIPT)
    assert answer.fields["cache-control"] == FOREVER
    assert answer.fields["content-type"].startswith("text/javascript")
    assert "content-encoding" not in answer.fields
    assert (await get(admin, "/theme.js")).fields["cache-control"] == "no-cache"
    assert (await get(admin, "/favicon.svg")).fields["content-type"] == "image/svg+xml"


async def test_a_browser_gets_the_smallest_form_that_it_takes(admin: Admin) -> None:
    for accepted, coding in (
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br; q=0.0, deflate", None),
        ("identity", None),
    ):
        answer = await get(admin, "/assets/app-1a2b.js", "HEAD", Accept_Encoding=accepted)
        assert answer.fields.get("content-encoding") == coding, accepted
        assert answer.fields["vary"] == "Accept-Encoding"


async def test_what_a_browser_has_is_not_sent_again(admin: Admin) -> None:
    for path in ("/", "/assets/app-1a2b.js"):
        tag = (await get(admin, path)).fields["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = await get(admin, path, If_None_Match=known)
            assert (again.status, again.said) == (304, b"")
            assert again.fields["etag"] == tag
        assert (await get(admin, path, If_None_Match='"other"')).status == 200
        packed = (await get(admin, path, "HEAD", Accept_Encoding="br")).fields["etag"]
        assert (packed == tag) is (path == "/")  # a form of its own has a tag of its own


async def test_a_head_has_the_length_and_no_body(admin: Admin) -> None:
    answer = await get(admin, "/assets/app-1a2b.js", "HEAD")
    assert (answer.status, answer.said) == (200, b"")
    assert answer.fields["content-length"] == str(len(SCRIPT))


@pytest.mark.parametrize(
    "path",
    [
        "/assets/app-0000.js",
        "/assets",
        "/assets/app-1a2b.js.br",
        "/missing.js",
        "/csp.json",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%00",
        "/apix.html",
    ],
)
async def test_what_is_no_file_of_it_is_not_found(admin: Admin, path: str) -> None:
    (await get(admin, path)).refused(404, "NOT_FOUND")


async def test_the_api_and_the_public_pages_are_what_they_were(admin: Admin) -> None:
    assert (await get(admin, "/health")).said["status"] == "healthy"
    assert (await get(admin, "/readme")).fields["content-type"].startswith("text/plain")
    (await get(admin, "/api/groups")).refused(401, "UNAUTHORIZED")
    (await get(admin, "/api/nothing")).refused(401, "UNAUTHORIZED")
    (await get(admin, "/groups", "POST")).refused(404, "NOT_FOUND")
    assert (await get(admin, "/api/docs")).status == 200


async def test_without_a_dashboard_a_page_says_how_to_build_it(make_admin: MakeAdmin) -> None:
    admin = await make_admin()
    answer = await get(admin, "/")
    assert b"npm run build" in answer.said
    (await get(admin, "/groups")).refused(404, "NOT_FOUND")
