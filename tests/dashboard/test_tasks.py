"""The list of tasks: what ran, and how what failed or was left out is done again."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.dashboard.browser import LOCALES, PHONE, THEMES
from tests.dashboard.conftest import Visit
from tests.parts.service import Service, wait_for
from tests.upstream.control import Upstream
from tests.upstream.script import Step

WORDS = {
    "en-US": "Retry the failed (2)",
    "zh-CN": "重试失败的（2）",
    "ja-JP": "失敗分を再試行（2）",
}


def keys_of(name: str, count: int) -> list[str]:
    return [f"sk-{name}-{number:03}-0123456789" for number in range(count)]


def whole_test(service: Service, group: int) -> dict[str, Any]:
    """A test of all keys of a group, once it has ended."""
    begun = service.api("POST", "/keys/validate-group", {"group_id": group})
    return ended(service, int(begun["id"]))


def ended(service: Service, task: int) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        found: dict[str, Any] = service.api("GET", f"/tasks/{task}")
        return found

    return wait_for(look, lambda found: found["state"] != "running")


def half_done(service: Service, upstream: Upstream, name: str) -> tuple[int, list[str]]:
    """A group of five keys whose test met no answer for two of them, and one bad key."""
    keys = keys_of(name, 5)
    group = service.create_group(name, "openai", upstream.url, keys)
    upstream.script(
        keys={
            keys[1]: Step(status=503),
            keys[3]: Step(status=503),
            keys[4]: Step(error="invalid_api_key"),
        }
    )
    return int(whole_test(service, group)["id"]), keys


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has_text=name)


def test_the_failed_keys_of_a_test_are_tested_again_and_no_others(
    visitor: Visit, service: Service, upstream: Upstream
) -> None:
    task, keys = half_done(service, upstream, "retry-row")
    upstream.script()  # it answers again
    you = visitor()
    page = you.open("/tasks")
    row(page, "retry-row").get_by_role("button", name="Retry the failed (2)", exact=True).click()
    drawer = page.get_by_role("dialog", name="Test")
    expect(drawer.get_by_role("link", name=f"Task {task}", exact=True)).to_be_visible()
    expect(drawer.get_by_text("Done", exact=True)).to_be_visible()
    assert sorted(upstream.keys_seen()) == [keys[1], keys[3]]
    # It is done; the first one names it, and offers it no more.
    expect(drawer.get_by_role("button", name=re.compile("^Retry"))).to_have_count(0)
    retry = int(you.address.rpartition("=")[2])
    assert ended(service, retry)["left"]["failed"] == 0
    drawer.get_by_role("link", name=f"Task {task}", exact=True).click()
    expect(drawer.get_by_role("link", name=f"Task {retry}", exact=True)).to_be_visible()
    expect(drawer.get_by_role("button", name=re.compile("^Retry"))).to_have_count(0)
    assert you.findings() == []


def test_rejected_keys_are_tested_again_from_the_drawer(
    visitor: Visit, service: Service, upstream: Upstream
) -> None:
    task, keys = half_done(service, upstream, "retry-bad")
    upstream.script()
    you = visitor()
    page = you.open(f"/tasks?id={task}")
    drawer = page.get_by_role("dialog", name="Test")
    expect(drawer.get_by_role("button", name="Retry the failed (2)", exact=True)).to_be_visible()
    drawer.get_by_role("button", name="Test the rejected again (1)", exact=True).click()
    you.wait_address(lambda address: not address.endswith(f"={task}"))
    expect(drawer.get_by_text("Done", exact=True)).to_be_visible()
    assert upstream.keys_seen() == [keys[4]]


def test_a_cancelled_test_goes_on_and_a_running_one_stands_in_the_way(
    visitor: Visit, service: Service, upstream: Upstream
) -> None:
    keys = keys_of("retry-rest", 6)
    group = service.create_group(
        "retry-rest",
        "openai",
        upstream.url,
        keys,
        config={"key_validation_concurrency": 1},
    )
    upstream.script(keys={key: Step(head_delay_ms=600) for key in keys})
    task = int(service.api("POST", "/keys/validate-group", {"group_id": group})["id"])
    upstream.wait_seen(1)
    service.api("POST", f"/tasks/{task}/cancel")
    cut = ended(service, task)
    left = cut["left"]["unreached"]
    assert cut["state"] == "cancelled"
    assert left == 6 - cut["processed"] > 0

    you = visitor()
    page = you.open(f"/tasks?id={task}")
    drawer = page.get_by_role("dialog", name="Test")
    go_on = drawer.get_by_role("button", name=f"Go on with the rest ({left})", exact=True)
    expect(go_on).to_be_visible()
    upstream.script(keys={key: Step(head_delay_ms=4000) for key in keys})
    other = int(service.api("POST", "/keys/validate-group", {"group_id": group})["id"])
    go_on.click()
    expect(drawer.get_by_text("Another task of this group runs")).to_be_visible()
    expect(drawer.get_by_role("link", name=f"Task {other}", exact=True)).to_be_visible()
    service.api("POST", f"/tasks/{other}/cancel")
    ended(service, other)
    upstream.script()
    go_on.click()
    you.wait_address(lambda address: not address.endswith(f"={task}"))
    expect(drawer.get_by_text("Done", exact=True)).to_be_visible()
    assert sorted(upstream.keys_seen()) == keys[6 - left :]


def test_an_import_that_was_cut_says_how_to_go_on(
    visitor: Visit, service: Service, upstream: Upstream
) -> None:
    group = service.create_group("retry-import", "openai", upstream.url, [])
    text = "\n".join(keys_of("retry-import", 60_000))
    said = {"group_id": group, "keys_text": text}
    task = int(service.api("POST", "/keys/add-async", said)["id"])
    service.api("POST", f"/tasks/{task}/cancel")
    assert ended(service, task)["state"] == "cancelled"
    page = visitor().open(f"/tasks?id={task}")
    drawer = page.get_by_role("dialog", name="Import")
    expect(drawer.get_by_text("the text of its keys isn’t kept")).to_be_visible()
    expect(drawer.get_by_role("button", name=re.compile("rest|Retry"))).to_have_count(0)


def test_the_list_fits_in_every_language_and_on_a_phone(
    visitor: Visit, service: Service, upstream: Upstream
) -> None:
    task, _ = half_done(service, upstream, "retry-looks")
    for number, locale in enumerate(LOCALES):
        you = visitor(locale=locale, theme=THEMES[number % 2])
        page = you.open("/tasks")
        button = row(page, "retry-looks").get_by_role("button", name=WORDS[locale], exact=True)
        expect(button).to_be_visible()
        assert you.clipped() == []
        assert you.overflow() == 0
        assert you.findings() == []
    you = visitor(size=PHONE)
    page = you.open("/tasks")
    named = row(page, "retry-looks").get_by_role("button", name=WORDS["en-US"], exact=True)
    expect(named).to_be_visible()
    assert you.overflow() == 0
    page = you.open(f"/tasks?id={task}")
    expect(page.get_by_role("dialog").get_by_role("button", name=WORDS["en-US"])).to_be_visible()
    assert you.overflow() == 0
    assert you.findings() == []


def test_the_list_names_who_asked_and_keeps_its_state_in_the_address(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    half_done(service, upstream, name)
    guest = visitor()
    page = guest.open("/tasks")
    expect(row(page, name)).to_contain_text("127.0.0.1")
    page.get_by_role("combobox", name="State").click()
    page.get_by_role("option", name="Interrupted").click()
    expect(row(page, name)).to_have_count(0)
    guest.wait_address(lambda address: "state=interrupted" in address)
    page.reload()
    expect(page.get_by_text("No task in that state")).to_be_visible()
    guest.button("Show all").click()
    expect(row(page, name)).to_have_count(1)


def test_an_import_is_taken_back_from_its_task(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """After it was left, too, and once it was asked about; what others added stays."""
    group = service.create_group(name, "openai", upstream.url, keys_of(name, 1))
    said = {"group_id": group, "keys_text": "\n".join(keys_of(f"{name}-new", 3))}
    service.keep_secret(*keys_of(f"{name}-new", 3))
    task = ended(service, int(service.api("POST", "/keys/add-async", said)["id"]))
    page = visitor().open(f"/tasks?id={task['id']}")
    page.get_by_role("dialog").get_by_role("button", name="Undo this import").click()
    asked = page.get_by_role("alertdialog").or_(page.get_by_role("dialog")).last
    expect(asked).to_contain_text(f"Take the 3 keys of this import out of {name}?")
    assert len(service.keys(group)) == 4
    asked.get_by_role("button", name="Undo this import").click()
    expect(page.get_by_text("3 keys were deleted")).to_be_visible()
    assert [key["key_value"] for key in service.keys(group)] == keys_of(name, 1)
    page.get_by_role("button", name="Undo", exact=True).click()
    wait_for(lambda: service.keys(group), lambda keys: len(keys) == 4)
