"""Who changed what, and the ways back."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.dashboard.conftest import Visit
from tests.parts.service import Service, wait_for
from tests.upstream.control import Upstream

SECRET = "sk-audited-7Hq2mWz4tRb9XnP2v"


def test_each_change_is_told_without_secrets_and_can_be_taken_back(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.12: Who, before and after; undone from there, the group is as before."""
    group = service.create_group(name, "openai", upstream.url, [SECRET], config={"max_retries": 3})
    before = service.group(group)["config"].get("max_retries")
    service.change_group(group, proxy_keys=f"{SECRET}-of-clients")
    service.change_group(group, config={"max_retries": 7})
    guest = visitor()
    page = guest.open(f"/audit?subject=groups&id={group}")
    entry = page.locator("main .entry").first
    expect(entry).to_contain_text("127.0.0.1")
    expect(entry).to_contain_text("Changed a group")
    entry.get_by_role("button", name="Details").click()
    changed = page.locator(".detail").get_by_role("row").filter(has_text="max_retries")
    expect(changed.get_by_role("cell")).to_have_text(["3", "7"])

    page = guest.open("/audit?subject=keys")
    added = page.locator("main .entry").filter(has_text="Added keys").first
    added.get_by_role("button", name="Details").click()
    expect(page.locator(".detail")).to_contain_text("keys_text")
    assert SECRET not in page.content()

    page = guest.open(f"/audit?subject=groups&id={group}")
    page.locator("main .entry").first.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo this change").click()
    wait_for(
        lambda: service.group(group)["config"].get("max_retries"), lambda value: value == before
    )


def test_any_former_change_of_a_setting_can_be_taken_back(visitor: Visit, service: Service) -> None:
    """P2.13: Not only the last one."""
    key = "request_log_retention_days"

    def value() -> int:
        return next(
            int(item["value"])
            for part in service.api("GET", "/settings")
            for item in part["settings"]
            if item["key"] == key
        )

    first = value()
    for days in (first + 11, first + 22):
        service.api("PUT", "/settings", {key: days})
    guest = visitor()
    page = guest.open("/settings")
    page.get_by_role("button", name="History").first.click()
    drawer = page.get_by_role("dialog")
    older = drawer.get_by_role("listitem").filter(has_text=f"{first + 11} days").last
    older.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo this change").click()
    wait_for(value, lambda days: days == first)
