"""Every page at each size and in both themes, and every dialog and drawer on top of them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.browser import DESKTOP, PHONE, WIDE, Visitor
from tests.dashboard.conftest import Visit
from tests.dashboard.test_shell import addresses
from tests.dashboard.world import World
from tests.parts.service import Service
from tests.upstream.control import Upstream

# Words of another language are longer: so are these, by two fifths.
_LONGER = """() => {
    const labels = 'button, a, label, th, h1, h2, h3, dt, [role=tab], [role=columnheader]';
    for (const one of document.querySelectorAll(labels)) {
        const texts = document.createTreeWalker(one, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const node = texts.currentNode, length = node.data.trim().length;
            if (/\\p{L}{3}/u.test(node.data)) node.data += ' ' + 'ëñ'.repeat(Math.ceil(length / 5));
        }
    }
}"""
# A name that is cut can be read in its tip; a word of ours can't.
_CUT = """() => [...document.querySelectorAll('button, label, th, h1, h2, [role=tab]')]
    .filter((one) => one.checkVisibility() && one.clientWidth > 2 && one.innerText.trim()
        && getComputedStyle(one).overflowX !== 'visible' && !one.title
        && getComputedStyle(one).textOverflow !== 'ellipsis'
        && one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.innerText.trim())"""

Opener = Callable[[Visitor, Page], None]


@pytest.mark.parametrize("size", [DESKTOP, WIDE, PHONE], ids=["1366", "1920", "390"])
def test_pages_fit_their_window(
    world: World, visitor: Visit, size: tuple[int, int], theme: str
) -> None:
    """Nothing scrolls sideways, no label is cut, and the console stays silent."""
    guest = visitor(size=size, theme=theme, has_touch=size == PHONE)
    found = {}
    for name, path in addresses(world).items():
        guest.open(path)
        found[name] = [guest.overflow(), *guest.clipped()]
    assert {name: some for name, some in found.items() if some != [0]} == {}


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["1366", "390"])
def test_longer_words_have_room(world: World, visitor: Visit, size: tuple[int, int]) -> None:
    guest = visitor(size=size)
    found = {}
    for name, path in addresses(world).items():
        page = guest.open(path)
        page.evaluate(_LONGER)
        found[name] = [guest.overflow(), *page.evaluate(_CUT)]
    assert {name: some for name, some in found.items() if some != [0]} == {}


def test_pages_fit_320_pixels(world: World, visitor: Visit) -> None:
    """P2.20: WCAG 1.4.10."""
    guest = visitor(size=(320, 568), has_touch=True)
    wide = {}
    for name, path in addresses(world).items():
        guest.open(path)
        wide[name] = guest.overflow()
    assert {name: pixels for name, pixels in wide.items() if pixels > 0} == {}


def _press(name: str | re.Pattern[str]) -> Opener:
    return lambda guest, page: page.get_by_role("button", name=name).first.click()


def _menu(button: str | re.Pattern[str], item: str) -> Opener:
    return lambda guest, page: guest.choose(page.get_by_role("button", name=button).last, item)


def _seen(guest: Visitor, page: Page) -> None:
    """It is open by its address."""


def _signed_out(guest: Visitor, page: Page) -> None:
    guest.sign_out()
    guest.button("Refresh").click()


def layers(world: World, service: Service) -> dict[str, tuple[str, Opener]]:
    """Every dialog and drawer: where it is opened, and how."""
    group = f"/groups/{world.main.id}"
    key = service.key(world.main.id, world.main.dead)["id"]
    return {
        "new group": ("/groups", _press("New group")),
        "new aggregate": ("/groups", _press("New aggregate")),
        "delete a group": ("/groups", _menu(f"Actions for {world.main.name}", "Delete…")),
        "copy a group": ("/groups", _menu(f"Actions for {world.main.name}", "Copy…")),
        "add keys": (group, _press("Add keys")),
        "export keys": (group, _menu(re.compile("^More$"), "Export…")),
        "key": (f"{group}?key={key}", _seen),
        "request": (f"/logs?req={world.retried}", _seen),
        "settings history": ("/settings", _press("History")),
        "warnings": ("/", _press(re.compile("security warning"))),
        "signed out": ("/", _signed_out),
    }


def test_dialogs_and_drawers_are_whole(
    world: World, visitor: Visit, service: Service, theme: str
) -> None:
    """P1.5, P1.40: Nothing serious by axe, no text missing, no label cut."""
    found = {}
    for name, (address, opens) in layers(world, service).items():
        guest = visitor(theme=theme)
        page = guest.open(address)
        opens(guest, page)
        expect(page.get_by_role("dialog").or_(page.get_by_role("alertdialog")).last).to_be_visible()
        guest.page.wait_for_timeout(150)
        found[name] = [*guest.findings(), *guest.missing(), *guest.clipped()]
    assert {name: some for name, some in found.items() if some} == {}


def test_reviewing_and_a_conflict_are_whole(
    visitor: Visit, service: Service, upstream: Upstream, name: str, theme: str
) -> None:
    """P1.5: The dialogs between an edit and its saving."""
    group = service.create_group(name, "openai", upstream.url, [f"sk-{name}-0123456789"])
    guest = visitor(theme=theme)
    page = guest.open(f"/groups/{group}?tab=config")
    page.get_by_label("Description").fill("mine")
    guest.button("Review…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("mine")
    assert guest.findings() == []
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    service.change_group(group, description="theirs")
    page.keyboard.press("Control+s")
    expect(dialog).to_contain_text("theirs")
    expect(dialog).to_contain_text("mine")
    assert guest.findings() == []


def test_doors_are_whole(
    visitor_of: Visit, own_service: Callable[..., Service], theme: str
) -> None:
    """P1.5: Sign in, and the first steps of an empty install; at 390 and 320 pixels, too."""
    service = own_service().start()
    for size in (DESKTOP, PHONE, (320, 568)):
        guest = visitor_of(service, theme=theme, size=size)
        for path in ("/login", "/"):
            guest.open(path)
            found = [*guest.findings(), *guest.missing(), *guest.clipped()]
            assert [guest.overflow(), *found] == [0], path
            guest.sign_in()
