"""A group's keys: why they are ill, and what is done about many at once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from gptload.control.admin.app import BODY_LIMIT
from tests.dashboard.browser import DESKTOP, PHONE, Visitor, saved
from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.service import Service, wait_for
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

STATES = ("Active", "Suspect", "Cooling", "Exhausted", "Invalid", "Disabled")
MOST_ROWS = 80
MATCHING = 130
MANY_KEYS = 400_000
FILE_BYTES = 50_000_000


def grid(page: Page) -> Locator:
    """The list of keys."""
    return page.get_by_role("grid", name="Keys of this group")


def rows(page: Page) -> Locator:
    """Its rows, the head left out."""
    return grid(page).locator("[role=row][aria-rowindex]:not([aria-rowindex='1'])")


def chip(page: Page, state: str) -> Locator:
    """The filter of a state."""
    chips = page.get_by_role("group", name="Keys by state")
    return chips.get_by_role("button", name=re.compile(f"^{state}"))


def fill(service: Service, name: str, upstream: Upstream, count: int) -> int:
    """A group of the test's own; its id."""
    keys = [f"sk-{name}-{number:05}-0123456789" for number in range(count)]
    return service.create_group(name, "openai", upstream.url, keys)


def adding(page: Page) -> Locator:
    """The dialog that takes keys in, opened by its key."""
    page.keyboard.press("a")
    dialog = page.get_by_role("dialog", name=re.compile("^Add keys"))
    expect(dialog).to_be_visible()
    return dialog


def confirm(page: Page, button: str | re.Pattern[str]) -> None:
    """Answer the dialog that asks."""
    page.get_by_role("dialog").or_(page.get_by_role("alertdialog")).get_by_role(
        "button", name=button
    ).click()


def test_state_chips_filter_and_count_as_the_database_does(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.27: Each of the six has glyph and word, and a count that is true."""
    guest = visitor()
    page = guest.open(f"/groups/{world.main.id}")
    keys = service.keys(world.main.id)
    told = {}
    for state in STATES:
        expect(chip(page, state)).to_be_visible()
        assert chip(page, state).locator("svg").count() == 1
        told[state] = int(re.findall(r"\d+", chip(page, state).inner_text())[0])
    kinds = Counter(key["kind"] for key in keys)
    assert told == {state: kinds[state.lower()] for state in STATES}
    assert min(told[state] for state in STATES if state != "Suspect") > 0
    chip(page, "Invalid").click()
    guest.wait_address(lambda address: "state=invalid" in address)
    expect(rows(page)).to_have_count(told["Invalid"])
    expect(rows(page).first).to_contain_text("Invalid")
    expect(rows(page).first).to_contain_text("invalid_api_key")


def test_a_key_under_suspicion_says_of_what(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.27: The sixth state: still used, with how often it was rejected."""
    group = fill(service, name, upstream, 1)
    service.change_group(group, config={"blacklist_threshold": 3, "max_retries": 0})
    upstream.script(Rule(Step(error="invalid_api_key"), times=1))
    service.ask(chat(name))
    wait_for(lambda: service.keys(group), lambda keys: keys[0]["kind"] == "suspect")
    page = visitor().open(f"/groups/{group}?state=suspect")
    expect(chip(page, "Suspect")).to_contain_text("1")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("Suspect")
    expect(rows(page)).to_contain_text("rejection")
    assert rows(page).first.locator("svg").count() >= 1


def test_fourteen_keys_are_seen_on_a_small_screen_and_rows_can_be_higher(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """At 1366×768, with the states and the tools; the choice holds after a reload."""
    group = fill(service, name, upstream, 40)
    guest = visitor(size=DESKTOP)
    page = guest.open(f"/groups/{group}")
    expect(rows(page).first).to_be_visible()
    for part in (chip(page, "Active"), guest.button("Add keys").first):
        expect(part).to_be_in_viewport()
    assert _seen_rows(page) >= 14
    low = _height(page)
    guest.choose(guest.button("Theme and sign-out"), "Comfortable rows")
    expect(page.locator("html")).to_have_attribute("data-density", "comfortable")
    page.wait_for_function(
        "(low) => document.querySelector('[role=row][aria-rowindex=\"2\"]').offsetHeight > low",
        arg=low,
    )
    higher = _height(page)
    page.reload()
    guest.settled()
    assert _height(page) == higher


def _height(page: Page) -> float:
    box = rows(page).first.bounding_box()
    assert box is not None
    return box["height"]


def _seen_rows(page: Page) -> int:
    """How many are whole within the list and the window."""
    frame = grid(page).bounding_box()
    assert frame is not None
    end = min(frame["y"] + frame["height"], DESKTOP[1])
    boxes = [row.bounding_box() for row in rows(page).all()]
    return sum(box is not None and box["y"] + box["height"] <= end for box in boxes)


def test_unused_keys_are_found_and_columns_are_chosen(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """What is shown and what is looked for is in the address, and so still there after a reload."""
    group = fill(service, name, upstream, 3)
    service.ask(chat(name))
    guest = visitor()
    page = guest.open(f"/groups/{group}")
    expect(rows(page)).to_have_count(3)
    page.get_by_role("combobox", name="Last used").click()
    page.get_by_role("option", name="Unused for 1 h").click()
    expect(rows(page)).to_have_count(2)

    page.get_by_role("button", name="Columns").click()
    columns = page.get_by_role("dialog")
    columns.get_by_role("checkbox", name="Note").click()
    columns.get_by_role("checkbox", name="Weight").click()
    page.keyboard.press("Escape")
    guest.wait_address(lambda address: "idle=1h" in address and "note" in address)
    for _ in range(2):
        expect(grid(page).get_by_role("columnheader", name="Note")).to_be_visible()
        expect(grid(page).get_by_role("columnheader", name="Weight")).to_have_count(0)
        expect(rows(page)).to_have_count(2)
        page.reload()
        guest.settled()


def test_a_rest_counts_down_and_ends_without_a_reload(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.28: Cooling, with reason and countdown; then Active by itself."""
    group = fill(service, name, upstream, 2)
    guest = visitor()
    page = guest.open(f"/groups/{group}")
    expect(rows(page)).to_have_count(2)
    upstream.script(Rule(Step(status=429, body=b"{}", retry_after=6), times=1))
    service.ask(chat(name))
    resting = rows(page).filter(has_text="Cooling")
    expect(resting).to_have_count(1)
    expect(resting).to_contain_text(re.compile(r"0:0\d|due"))
    expect(resting).to_have_count(0)
    expect(rows(page).filter(has_text="Active")).to_have_count(2)


def test_few_rows_are_drawn_of_many_keys(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.26: Of thousands, at most 80 are in the page, at the beginning and far below."""
    group = fill(service, name, upstream, 3000)
    guest = visitor()
    page = guest.open(f"/groups/{group}")
    expect(rows(page).first).to_be_visible()
    assert grid(page).get_attribute("aria-rowcount") == "3001"
    assert rows(page).count() <= MOST_ROWS
    grid(page).evaluate("(grid) => grid.scrollTo(0, grid.scrollHeight)")
    expect(grid(page).locator("[aria-rowindex='3001']")).to_be_visible()
    expect(grid(page).locator("[aria-rowindex='3001']")).to_contain_text("Active")
    assert rows(page).count() <= MOST_ROWS


def test_a_paste_is_looked_through_before_anything_is_sent(
    visitor: Visit, service: Service, upstream: Upstream, name: str, tmp_path: Path
) -> None:
    """P1.29, P1.30: Found, repeated and suspicious by line; the receipt is what happened."""
    group = fill(service, name, upstream, 3)
    known = service.keys(group)[0]["key_value"]
    service.keep_secret(*(new := [f"sk-{name}-new-{number}-0123456789" for number in range(5)]))
    guest = visitor()
    page = guest.open(f"/groups/{group}")
    dialog = adding(page)
    dialog.get_by_role("textbox").first.fill("\n".join([*new, new[0], known, "x"]))
    expect(dialog).to_contain_text("Suspicious")
    expect(dialog).to_contain_text("line 8")
    assert len(service.keys(group)) == 3
    dialog.get_by_role("button", name=re.compile(r"^Import \d")).click()
    expect(dialog).to_contain_text("5 keys were added.")
    there = {key["key_value"] for key in service.keys(group)}
    assert there >= {*new, known} and len(there) == 8
    save = dialog.get_by_role("button", name="Save as CSV")
    file, content = saved(guest, save.click, tmp_path)
    assert file.endswith(".csv")
    refused = [line for line in content.decode("utf-8-sig").splitlines() if line.startswith("8,")]
    assert len(refused) == 1, content


def test_an_import_is_noted_weighed_tested_and_taken_back(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.30: Note and weight of the new ones alone; they are tested; undone, the others stay."""
    group = fill(service, name, upstream, 3)
    old = {key["key_value"] for key in service.keys(group)}
    new = [f"sk-{name}-new-{number}-0123456789" for number in range(4)]
    service.keep_secret(*new)
    upstream.script(keys={new[0]: Step(error="invalid_api_key")})
    page = visitor().open(f"/groups/{group}")
    dialog = adding(page)
    dialog.get_by_role("textbox").first.fill("\n".join([*new, *old]))
    weight = dialog.get_by_label("Weight")
    weight.fill("0")
    add = dialog.get_by_role("button", name=re.compile(r"^Import \d"))
    expect(add).to_be_disabled()
    weight.fill("5")
    dialog.get_by_label("Note", exact=True).fill("May batch")
    dialog.get_by_role("checkbox", name="Then test them").click()
    add.click()
    expect(page.get_by_role("dialog").last).to_contain_text("3 of 4 work")
    page.keyboard.press("Escape")
    expect(dialog).to_contain_text("4 keys were added.")
    for key in service.keys(group):
        is_new = key["key_value"] in new
        assert (key["notes"], key["weight"]) == (("May batch", 5) if is_new else ("", 1))
    assert {key for key in upstream.keys_seen() if name in key} == set(new)
    dialog.get_by_role("button", name="Undo this import").click()
    expect(dialog).to_have_count(0)
    left = wait_for(
        lambda: {key["key_value"] for key in service.keys(group)}, lambda found: len(found) == 3
    )
    assert left == old
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: service.keys(group), lambda keys: len(keys) == 7)
    expect(grid(page)).to_have_attribute("aria-rowcount", "8")


def test_a_file_of_tens_of_megabytes_is_looked_through_while_one_goes_on(
    visitor: Visit, service: Service, upstream: Upstream, name: str, tmp_path: Path
) -> None:
    """P1.29: Another field takes what is typed meanwhile; nothing is sent before one says so."""
    group = fill(service, name, upstream, 3)
    guest = visitor()
    page = guest.open(f"/groups/{group}")
    dialog = adding(page)
    file = tmp_path / "keys.txt"
    pad = "x" * (FILE_BYTES // MANY_KEYS)
    file.write_text("\n".join(f"sk-{name}-{n:06}-{pad}" for n in range(MANY_KEYS)))
    assert file.stat().st_size > FILE_BYTES
    dialog.locator("input[type=file]").set_input_files(file)
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("typed")
    expect(page.locator(":focus")).to_have_value("typed")
    guest.button("Add keys").first.click()
    dialog.locator("input[type=file]").set_input_files(file)
    expect(dialog).to_contain_text(f"{MANY_KEYS:,}", timeout=60_000)
    assert len(service.keys(group)) == 3


def test_a_file_that_is_no_text_is_refused_in_words(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    group = fill(service, name, upstream, 1)
    guest = visitor()
    page = guest.open(f"/groups/{group}")
    dialog = adding(page)
    dialog.locator("input[type=file]").set_input_files(
        {"name": "photo.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n\x00\xff"}
    )
    expect(dialog.get_by_text(re.compile("can’t be read"))).to_be_visible()
    expect(dialog.get_by_role("button", name=re.compile(r"^Import \d"))).to_have_count(0)


def test_a_file_that_is_too_large_says_how_large_one_may_be(
    visitor: Visit, service: Service, upstream: Upstream, name: str, tmp_path: Path
) -> None:
    """It isn't even read, and once it is cut it is taken as if nothing had been."""
    group = fill(service, name, upstream, 1)
    page = visitor().open(f"/groups/{group}")
    dialog = adding(page)
    file = tmp_path / "keys.txt"
    with file.open("wb") as content:
        content.truncate(BODY_LIMIT + 20_000_000)
    dialog.locator("input[type=file]").set_input_files(file)
    expect(dialog.get_by_text("one import takes 134 MB at most. Split it")).to_be_visible()
    expect(dialog.get_by_role("button", name="Add keys", exact=True)).to_be_disabled()
    file.write_text(f"sk-{name}-another-0123456789")
    dialog.locator("input[type=file]").set_input_files(file)
    expect(dialog.get_by_role("button", name="Import 1 key", exact=True)).to_be_enabled()
    expect(dialog.get_by_text("at most. Split it")).to_have_count(0)


def test_what_a_test_found_is_acted_on_by_two_keys(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.19: Results by answer: Enter takes the worst one's keys, Delete deletes them."""
    keys = [f"sk-{name}-0123456789-{number:04}" for number in range(4)]
    group = service.create_group(name, "openai", upstream.url, keys)
    upstream.script(keys={key: Step(error="invalid_api_key") for key in keys[:2]})
    guest = visitor()
    page = guest.open(f"/groups/{group}")
    expect(rows(page)).to_have_count(4)
    grid(page).focus()
    page.keyboard.press("Control+a")
    expect(page.get_by_text("4 selected")).to_be_visible()
    page.keyboard.press("t")
    expect(page.get_by_role("dialog")).to_contain_text("2 of 4 work")
    expect(page.locator(":focus")).to_have_text("Select")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.keyboard.press("Delete")
    left = wait_for(
        lambda: {key["key_value"] for key in service.keys(group)}, lambda found: len(found) == 2
    )
    assert left == set(keys[2:])


def test_all_that_match_are_acted_on_and_deleting_is_undone(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.31, P1.32: Exactly the filter's keys; undone, each is as it was."""
    group = fill(service, name, upstream, 12)
    keys = service.keys(group)
    gone = [key["id"] for key in keys[:5]]
    service.api(
        "POST", "/keys/actions", {"group_id": group, "action": "note", "ids": gone, "note": "mine"}
    )
    service.api("POST", "/keys/actions", {"group_id": group, "action": "disable", "ids": gone})
    before = service.keys(group)
    guest = visitor()
    page = guest.open(f"/groups/{group}?state=disabled")
    expect(rows(page)).to_have_count(5)
    grid(page).focus()
    page.keyboard.press("Control+a")
    bar = page.get_by_role("region", name="Selected keys").or_(
        page.get_by_role("toolbar", name="Selected keys")
    )
    expect(bar).to_contain_text("5")
    bar.get_by_role("button", name="Delete").click()
    layers = page.get_by_role("dialog").or_(page.get_by_role("alertdialog"))
    undo = page.get_by_role("button", name="Undo")
    expect(layers.or_(undo).first).to_be_visible()
    if layers.count():
        confirm(page, re.compile("^Delete 5"))
    expect(undo).to_be_visible()
    assert {key["id"] for key in service.keys(group)} == {key["id"] for key in keys[5:]}
    undo.click()
    found = wait_for(lambda: service.keys(group), lambda now: len(now) == 12)
    same = ("id", "state", "weight", "notes", "key_value")
    assert sorted([key[name] for name in same] for key in found) == sorted(
        [key[name] for name in same] for key in before
    )


def test_a_deed_on_all_that_match_is_a_task_that_outlives_a_reload(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.31: Tested and restored are the filter's keys and no others."""
    group = fill(service, name, upstream, MATCHING + 20)
    keys = service.keys(group)
    mine, others = keys[:MATCHING], keys[MATCHING:]
    service.api(
        "POST",
        "/keys/actions",
        {"group_id": group, "action": "note", "ids": [key["id"] for key in mine], "note": "mine"},
    )
    values = {key["key_value"] for key in mine}
    slow = {value: Step(error="invalid_api_key", head_delay_ms=250) for value in values}
    upstream.script(keys=slow)
    guest = visitor()
    page = guest.open(f"/groups/{group}?q=mine")
    expect(grid(page)).to_have_attribute("aria-rowcount", str(MATCHING + 1))
    _select_matching(page)
    page.keyboard.press("t")
    confirm(page, re.compile("^Test "))
    progress = page.get_by_role("progressbar", name=re.compile("Test|test")).first
    expect(progress).to_be_visible()
    page.reload()
    expect(progress).to_be_visible()
    expect(progress).to_have_count(0)
    expect(chip(page, "Invalid")).to_contain_text(f"{MATCHING}")
    assert {seen_key for seen_key in upstream.keys_seen() if name in seen_key} == values
    states = {key["key_value"]: key["state"] for key in service.keys(group)}
    assert {value for value, state in states.items() if state == "invalid"} == values

    _select_matching(page)
    page.keyboard.press("u")
    confirm(page, re.compile("^Restore "))
    expect(chip(page, "Active")).to_contain_text(f"{MATCHING + 20}")
    assert {key["state"] for key in service.keys(group)} == {"active"}
    assert {key["id"] for key in others} <= {key["id"] for key in service.keys(group)}


def _select_matching(page: Page) -> None:
    """All that match, by Ctrl A: first what is loaded, then the rest."""
    grid(page).focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+a")
    expect(page.get_by_text(f"All {MATCHING} that match are selected")).to_be_visible()


def test_no_whole_key_reaches_the_page_until_it_is_asked_for(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.33: Neither an answer nor the page holds one; shown, it can be hidden again."""
    guest = visitor()
    bodies: list[str] = []

    def keep(answer: object) -> None:
        bodies.append(str(getattr(answer, "url", "")))

    guest.page.on("response", keep)
    page = guest.open(f"/groups/{world.main.id}")
    expect(rows(page).first).to_be_visible()
    answers = [
        guest.context.request.get(url).text()
        for url in bodies
        if "/api/" in url and "/api/live" not in url
    ]
    assert answers
    for key in world.main.keys:
        assert key not in page.content()
        assert not [text for text in answers if key in text]
    rows(page).first.locator("[role=gridcell]").nth(3).click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_role("button", name="Show the whole key").click()
    shown = drawer.get_by_text(re.compile("|".join(world.main.keys)))
    expect(shown).to_be_visible()
    drawer.get_by_role("button", name=re.compile("^Hide; hides by itself")).click()
    expect(shown).to_have_count(0)


def test_a_key_that_was_shown_hides_by_itself(world: World, visitor: Visit) -> None:
    """P1.33: After half a minute, unless somebody still points at it."""
    guest = visitor()
    page = guest.page
    page.clock.install()
    guest.open(f"/groups/{world.main.id}")
    rows(page).first.locator("[role=gridcell]").nth(3).click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_role("button", name="Show the whole key").click()
    shown = drawer.get_by_text(re.compile("|".join(world.main.keys)))
    expect(shown).to_be_visible()
    page.mouse.move(1, 1)
    drawer.get_by_role("button", name="Close").focus()
    page.clock.run_for(31_000)
    expect(shown).to_have_count(0)


def test_an_export_has_the_right_keys_and_no_secret_in_its_link(
    world: World, visitor: Visit, tmp_path: Path
) -> None:
    """P1.34: Whole keys only after a question, by a link that tells nothing."""
    guest = visitor()
    page = guest.open(f"/groups/{world.main.id}")
    guest.choose(page.get_by_role("button", name="More", exact=True).last, "Export…")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_role("radio", name=re.compile("^Whole")).click()
    _, content = saved(
        guest, lambda: dialog.get_by_role("button", name="Export whole keys").click(), tmp_path
    )
    assert set(content.decode().split()) == set(world.main.keys)
    secrets = ("key=", *world.main.keys)
    assert [url for url in guest.requests if any(secret in url for secret in secrets)] == []


def test_a_keys_drawer_tells_each_change_and_the_request_behind_it(
    world: World, visitor: Visit, service: Service
) -> None:
    """P1.35: Cause, time, and a link to the request."""
    dead = service.key(world.main.id, world.main.dead)
    guest = visitor()
    page = guest.open(f"/groups/{world.main.id}?key={dead['id']}")
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("Invalid")
    expect(drawer).to_contain_text("401")
    expect(drawer).to_contain_text("openai.invalid_api_key")
    expect(drawer).to_contain_text("The upstream rejected it: invalid")
    link = drawer.locator("a[href*='req=']").first
    expect(link).to_be_visible()
    link.click()
    guest.wait_address(lambda address: address.startswith("/logs?"))
    expect(page.get_by_role("dialog")).to_contain_text("invalid_api_key")


def test_a_rest_says_who_named_its_end(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.28: The answer itself, or our own back-off."""
    group = fill(service, name, upstream, 1)
    service.change_group(group, config={"max_retries": 0})
    said = {
        "answer": Step(status=429, body=b"{}", retry_after=90),
        "ours": Step(error="rate_limited"),
    }
    for who, step in said.items():
        upstream.script(Rule(step, times=1))
        service.ask(chat(name))
        [key] = wait_for(lambda: service.keys(group), lambda keys: keys[0]["kind"] == "cooling")
        drawer = visitor().open(f"/groups/{group}?key={key['id']}").get_by_role("dialog")
        words = "as the answer said" if who == "answer" else "by our own back-off"
        expect(drawer).to_contain_text(words)
        ids = [key["id"]]
        service.api("POST", "/keys/actions", {"group_id": group, "action": "restore", "ids": ids})
        wait_for(lambda: service.keys(group), lambda keys: keys[0]["kind"] == "active")


def test_a_pasted_key_never_gets_into_the_address(world: World, visitor: Visit) -> None:
    """P1.33: Looking a whole key up opens its drawer by its id."""
    guest = visitor()
    page = guest.open("/")
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").or_(dialog.get_by_role("textbox")).first.fill(world.main.dead)
    dialog.get_by_role("option", name=re.compile("^sk-w.*Key$")).click()
    guest.wait_address(lambda address: re.search(r"[?&]key=\d+$", address) is not None)
    assert not [url for url in guest.requests if world.main.dead in url]


def test_the_journey_to_a_restored_key_needs_no_mouse(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.40: Sign in, find the failed request, restore its key: by keyboard alone."""
    group, _ = _with_a_dead_key(service, upstream, name)
    guest: Visitor = visitor()
    guest.sign_out()
    page = guest.open("/login")
    page.keyboard.type(service.auth_key)
    page.keyboard.press("Enter")
    guest.wait_address(lambda address: address == "/")
    guest.settled()
    page.keyboard.press("g")
    page.keyboard.press("l")
    guest.wait_address(lambda address: address.startswith("/logs"))
    page.keyboard.press("/")
    page.keyboard.type(f"group:{name} outcome:failed")
    page.keyboard.press("Enter")
    guest.wait_address(lambda address: f"group={name}" in address)
    guest.settled()
    log = page.get_by_role("grid")
    _tab_to(page, log)
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("invalid_api_key")
    _tab_to(page, drawer.locator("a[href*='key=']").first)
    page.keyboard.press("Enter")
    guest.wait_address(lambda address: address.startswith(f"/groups/{group}"))
    restore = page.get_by_role("dialog").get_by_role("button", name="Restore")
    expect(restore).to_be_visible()
    _tab_to(page, restore)
    page.keyboard.press("Enter")
    found = wait_for(lambda: service.keys(group), lambda keys: keys[0]["state"] == "active")
    assert found[0]["state"] == "active"


def test_the_journey_to_a_restored_key_goes_by_touch(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.40: The same at 390 pixels."""
    group, exchange = _with_a_dead_key(service, upstream, name)
    guest = visitor(size=PHONE, has_touch=True, is_mobile=True)
    guest.sign_out()
    page = guest.open("/login")
    page.get_by_label("Admin key").tap()
    page.keyboard.type(service.auth_key)
    guest.button("Sign in").tap()
    guest.wait_address(lambda address: address == "/")
    guest.settled()
    page.get_by_role("link", name="Logs").last.tap()
    guest.wait_address(lambda address: address.startswith("/logs"))
    page.get_by_role("radio", name="Failed").or_(
        page.get_by_role("button", name="Failed", exact=True)
    ).first.tap()
    guest.wait_address(lambda address: "outcome=failed" in address)
    guest.settled()
    page.get_by_role("grid").locator("[role=row][aria-rowindex='2']").tap()
    guest.wait_address(lambda address: f"req={exchange}" in address)
    drawer = page.get_by_role("dialog")
    drawer.locator("a[href*='key=']").first.tap()
    guest.wait_address(lambda address: address.startswith(f"/groups/{group}"))
    page.get_by_role("dialog").get_by_role("button", name="Restore").tap()
    found = wait_for(lambda: service.keys(group), lambda keys: keys[0]["state"] == "active")
    assert found[0]["state"] == "active"


def _with_a_dead_key(service: Service, upstream: Upstream, name: str) -> tuple[int, str]:
    """A group whose only key was rejected; its id, and that of the call."""
    group = fill(service, name, upstream, 1)
    service.change_group(group, config={"blacklist_threshold": 1, "max_retries": 0})
    upstream.script(Rule(Step(error="invalid_api_key"), times=1))
    service.ask(chat(name))
    found = service.wait_logs(1, group_name=name)
    wait_for(lambda: service.keys(group), lambda keys: keys[0]["state"] == "invalid")
    return group, str(found[0]["exchange_id"])


def _tab_to(page: Page, target: Locator) -> None:
    for _ in range(60):
        if target.evaluate("(one) => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("Tab never gets there")
