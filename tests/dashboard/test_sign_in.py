"""Coming in, staying in, and being shut out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.dashboard.browser import Visitor
from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.service import Service

TRIES = 10  # `FREE_GUESSES` of gptload/control/admin/access.py


def try_key(guest: Visitor, key: str) -> None:
    """Type it and press Enter."""
    guest.page.get_by_label("Admin key").fill(key)
    guest.page.keyboard.press("Enter")


def test_a_wrong_key_is_told_at_the_field_and_goes_nowhere(
    visitor_of: Visit, service: Service
) -> None:
    """P1.6: Inline, tied to the field, and the address stays."""
    guest = visitor_of(service)
    page = guest.open("/login")
    try_key(guest, "sk-not-this-one")
    field = page.get_by_label("Admin key")
    expect(page.get_by_text("This is not the admin key.")).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    described = str(field.get_attribute("aria-describedby"))
    told = page.evaluate(
        "(ids) => ids.split(' ').map((id) => document.getElementById(id)?.innerText).join(' ')",
        described,
    )
    assert "This is not the admin key." in told
    assert guest.address == "/login"
    try_key(guest, service.auth_key)
    guest.wait_address(lambda address: address == "/")


def test_after_too_many_wrong_keys_the_wait_counts_down(
    visitor_of: Visit, own_service: Callable[..., Service]
) -> None:
    """P1.6: The seconds that are left go down, and no key is taken meanwhile."""
    service = own_service().start()
    for _ in range(TRIES):
        service.call("POST", "/api/auth/login", {"auth_key": "sk-wrong"}, key=None)
    guest = visitor_of(service)
    page = guest.open("/login")
    try_key(guest, "sk-wrong-once-more")
    said = page.get_by_text(re.compile(r"Too many wrong keys\. Try again in \d+ s\."))
    expect(said).to_be_visible()
    first = int(re.findall(r"\d+", said.inner_text())[0])
    page.wait_for_function(
        "(first) => { const found = document.body.innerText.match(/again in (\\d+) s/);"
        " return found === null || Number(found[1]) < first; }",
        arg=first,
    )
    assert guest.address == "/login"


def test_the_well_known_key_is_told_and_what_to_do_about_it(
    visitor_of: Visit, tmp_path: Path
) -> None:
    """Before one signs in, to who sits at the machine; nothing moves when it comes."""
    # Not as others are made: this key is no secret, and stands in the log.
    service = Service(tmp_path, AUTH_KEY="sk-123456").start()
    try:
        guest = visitor_of(service)
        page = guest.open("/login")
        expect(page.get_by_text("AUTH_KEY isn’t set: sk-123456 signs in")).to_be_visible()
        expect(page.get_by_text("Set AUTH_KEY to a long one of your own")).to_be_visible()
        assert guest.shifted() < 0.02
        try_key(guest, "sk-123456")
        guest.wait_address(lambda address: address == "/")
    finally:
        service.stop()


def test_of_another_key_nothing_is_told(visitor_of: Visit, service: Service) -> None:
    page = visitor_of(service).open("/login")
    expect(page.get_by_label("Admin key")).to_be_visible()
    expect(page.get_by_text("sk-123456")).to_have_count(0)


def test_next_leads_to_pages_of_ours_only(visitor_of: Visit, service: Service) -> None:
    """P1.7: `//evil.example` is another host to a browser; the overview is shown in its place."""
    for wanted in ("//evil.example", "https://evil.example/", "/\\evil.example", "javascript:1"):
        guest = visitor_of(service)
        page = guest.page
        page.goto(f"{service.url}/login")
        page.evaluate("(to) => history.replaceState({}, '', '/login?next=' + to)", wanted)
        page.reload()
        try_key(guest, service.auth_key)
        guest.wait_address(lambda address: address == "/")


def test_next_leads_back_to_where_the_visitor_wanted_to_go(
    visitor_of: Visit, service: Service
) -> None:
    guest = visitor_of(service)
    guest.page.goto(f"{service.url}/logs?range=7d&outcome=failed")
    guest.wait_address(lambda address: address.startswith("/login"))
    try_key(guest, service.auth_key)
    guest.wait_address(lambda address: address == "/logs?range=7d&outcome=failed")


def test_scripts_find_no_credential(visitor_of: Visit, service: Service) -> None:
    """P1.8: Neither storage nor `document.cookie` holds the admin key or a token."""
    guest = visitor_of(service)
    page = guest.open("/login")
    try_key(guest, service.auth_key)
    guest.wait_address(lambda address: address == "/")
    guest.settled()
    cookies = guest.context.cookies()
    assert [cookie for cookie in cookies if not cookie.get("httpOnly")] == []
    secrets = [service.auth_key, *(str(cookie.get("value")) for cookie in cookies)]
    seen = page.evaluate(
        "() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie,"
        " location.href, history.state, document.documentElement.outerHTML])"
    )
    assert [secret for secret in secrets if secret in seen] == []
    assert page.evaluate("document.cookie") == ""


def test_a_session_that_ends_in_an_edit_asks_for_the_key_and_keeps_the_draft(
    visitor: Visit, service: Service, world: World
) -> None:
    """P1.9: A dialog on top; then what was typed is there, and saves."""
    guest = visitor()
    page = guest.open("/settings")
    box = page.locator("#max_retries input")
    box.fill("7")
    guest.sign_out()
    page.get_by_role("region", name="Unsaved changes").get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog").filter(has_text="Your session has ended")
    expect(dialog).to_be_visible()
    try_key(guest, service.auth_key)
    expect(dialog).to_have_count(0)
    expect(box).to_have_value("7")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("1 setting saved")).to_be_visible()
    values = {
        item["key"]: item["value"]
        for category in service.api("GET", "/settings")
        for item in category["settings"]
    }
    assert values["max_retries"] == 7


def test_signing_out_leaves_nothing_behind(visitor: Visit, service: Service) -> None:
    guest = visitor()
    page = guest.open("/")
    guest.choose(guest.button("Theme and sign-out"), "Sign out")
    guest.wait_address(lambda address: address.startswith("/login"))
    assert guest.context.cookies() == []
    page.goto(f"{service.url}/logs")
    guest.wait_address(lambda address: address.startswith("/login?next="))
