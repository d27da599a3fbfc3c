"""What a page asks first: which node it speaks to, and how it is signed in."""

from __future__ import annotations

from pathlib import Path

from tests.control.admin.conftest import Admin, MakeAdmin
from tests.control.admin.test_sessions import Browser


async def test_it_says_what_runs_here(admin: Admin, database_kind: str) -> None:
    shown = await admin.api("GET", "/meta")
    assert (shown["version"], shown["build"], shown["role"]) == ("1.2.3", "1.2.3", "leader")
    kinds = {"postgresql": "postgresql", "mariadb": "mysql"}
    assert shown["database"] == {"kind": kinds.get(database_kind, "sqlite"), "state": "ok"}
    assert shown["languages"] == ["en-US", "zh-CN", "ja-JP"]
    assert shown["session"] == {"by": "key", "expires_at": None}
    assert (await admin.call("GET", "/api/meta", key=None)).status == 401


async def test_a_browser_learns_when_it_must_sign_in_again(admin: Admin) -> None:
    browser = Browser(admin)
    login = await browser.sign_in()
    session = (await browser.call("GET", "/api/meta")).data["session"]
    assert session == {"by": "cookie", "expires_at": login.said["expires_at"]}


async def test_another_dashboard_is_another_build(make_admin: MakeAdmin, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    builds = set()
    for text in ("one", "two"):
        (site / "index.html").write_text(text)
        builds.add((await (await make_admin()).api("GET", "/meta"))["build"])
    assert len(builds) == 2
    assert all(build.startswith("1.2.3+") for build in builds)
