"""System settings: found, checked at the field, saved and taken back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.dashboard.browser import LOCALES
from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.service import Service, wait_for


def told(service: Service) -> dict[str, dict[str, Any]]:
    """Every setting, by its key."""
    return {
        item["key"]: item
        for category in service.api("GET", "/settings")
        for item in category["settings"]
    }


def test_every_setting_is_there_and_is_found_by_name_and_key(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.39: The page has the table that the server has."""
    guest = visitor()
    page = guest.open("/settings")
    for key, item in told(service).items():
        expect(page.locator(f"section#{key}")).to_contain_text(item["name"])
    search = page.get_by_role("searchbox", name="Search settings")
    for words in ("blacklist_threshold", told(service)["blacklist_threshold"]["name"]):
        search.fill(words)
        expect(page.locator("section#blacklist_threshold")).to_be_visible()
        expect(page.locator("section#app_url")).to_have_count(0)
    guest.wait_address(lambda address: address.startswith("/settings?q="))


@pytest.mark.parametrize("locale", LOCALES)
def test_a_setting_is_found_by_its_name_in_any_language(
    world: World, visitor: Visit, service: Service, locale: str
) -> None:
    """P1.39: Whatever language the page is in, now."""
    guest = visitor()
    answer = guest.context.request.get(
        f"{service.url}/api/settings", headers={"Accept-Language": locale}
    )
    [name] = [
        item["name"]
        for category in answer.json()["data"]
        for item in category["settings"]
        if item["key"] == "blacklist_threshold"
    ]
    page = guest.open("/settings")
    page.get_by_role("searchbox", name="Search settings").fill(name)
    expect(page.locator("section#blacklist_threshold")).to_be_visible()
    expect(page.locator("section#app_url")).to_have_count(0)


def test_a_value_out_of_range_is_refused_at_its_field(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.39: At once, and nothing is sent."""
    guest = visitor()
    page = guest.open("/settings")
    row = page.locator("section#key_validation_concurrency")
    field = row.locator("input")
    field.fill("0")
    expect(row).to_contain_text(re.compile("Out of range"))
    expect(field).to_have_attribute("aria-invalid", "true")
    sent: list[str] = []
    page.on("request", lambda asked: sent.append(asked.method))
    page.keyboard.press("Control+s")
    guest.settled()
    assert "PUT" not in sent


def test_a_change_is_reviewed_saved_and_taken_back(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.39: The diff lists just that; undo gives the former value back."""
    before = told(service)["idle_conn_timeout"]["value"]
    guest = visitor()
    page = guest.open("/settings")
    page.locator("section#idle_conn_timeout input").fill("77")
    bar = page.get_by_role("region", name="Unsaved changes")
    bar.get_by_role("button", name="Review…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".diff > li")).to_have_count(1)
    expect(dialog).to_contain_text("77")
    dialog.get_by_role("button", name=re.compile("^Save 1 change")).click()
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    assert told(service)["idle_conn_timeout"]["value"] == 77
    undo.click()
    now = wait_for(lambda: told(service)["idle_conn_timeout"]["value"], lambda got: got == before)
    assert now == before


def test_somebody_elses_change_in_the_same_moment_is_kept_or_asked_about(
    world: World, visitor: Visit, service: Service
) -> None:
    """Another setting is saved beside it; of the same one both are shown, and none is lost."""
    guest = visitor()
    page = guest.open("/settings")
    theirs: list[dict[str, Any]] = []

    def late(route: Route) -> None:
        """They save after this page has looked, and before it writes."""
        if route.request.method == "PUT" and theirs:
            service.set(**theirs.pop())
        route.continue_()

    page.route(re.compile(r"/api/settings$"), late)
    page.locator("section#max_retries input").fill("7")
    theirs.append({"connect_timeout": 17})
    page.keyboard.press("Control+s")
    expect(page.get_by_text("1 setting saved")).to_be_visible()
    assert told(service)["max_retries"]["value"] == 7
    assert told(service)["connect_timeout"]["value"] == 17
    expect(page.locator("section#connect_timeout input")).to_have_value("17")

    page.locator("section#max_retries input").fill("8")
    theirs.append({"max_retries": 9})
    page.keyboard.press("Control+s")
    asked = page.get_by_role("dialog")
    for value in ("7", "8", "9"):
        expect(asked).to_contain_text(value)
    assert told(service)["max_retries"]["value"] == 9


def test_the_environment_is_shown_with_its_origin_and_without_secrets(
    world: World, visitor: Visit, service: Service
) -> None:
    guest = visitor()
    page = guest.open("/settings")
    guest.button("Environment").click()
    card = page.get_by_role("region", name="Environment")
    row = card.get_by_role("row").filter(has_text="AUTH_KEY")
    expect(row).to_contain_text(f"set · ends …{service.auth_key[-2:]}")
    expect(card.get_by_role("row").filter(has_text="LOG_FORMAT")).to_contain_text("default")
    port = card.get_by_role("row").filter(has=page.get_by_text("PORT", exact=True))
    expect(port).to_contain_text("environment")
    assert service.auth_key not in page.content()
    page.reload()
    expect(page.locator("section#max_retries")).to_have_count(0)
    expect(card).to_be_visible()
    page.get_by_role("searchbox", name="Search settings").fill("server_read")
    expect(card.get_by_role("row")).to_have_count(2)
