"""The simulator: who serves next, and why the others don't."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.dashboard.conftest import Visit
from tests.parts.calls import chat
from tests.parts.service import Service
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step


def named(page: Page) -> str:
    """The end of the key that it names."""
    return page.locator(".steps .g-key code").inner_text()[-4:]


def ask_again(page: Page) -> None:
    with page.expect_response(re.compile("/api/simulate")):
        page.get_by_role("button", name="Ask again").click()


def used(service: Service, group: str, count: int) -> list[str]:
    """Ends of the keys of all attempts so far, the newest first."""
    return [log["key_value"][-4:] for log in service.wait_logs(count, group_name=group)]


def test_it_names_whom_the_next_call_uses_and_why_others_are_out(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.8: As long as nobody else calls."""
    keys = [f"sk-{name}-0123456789-{number:04}" for number in range(4)]
    upstream.script(
        keys={
            keys[0]: Step(error="rate_limited", retry_after=3000),
            keys[1]: Step(error="invalid_api_key"),
        }
    )
    group = service.create_group(
        name, "openai", upstream.url, keys, config={"blacklist_threshold": 1, "max_retries": 3}
    )
    assert service.ask(chat(name)).status == 200
    attempts = 3
    used(service, name, attempts)
    guest = visitor()
    page = guest.open(f"/simulator?group={group}&model=gpt-4.1-mini")
    for _ in range(3):
        expected = named(page)
        assert service.ask(chat(name)).status == 200
        attempts += 1
        assert used(service, name, attempts)[0] == expected
        ask_again(page)
    states = page.locator(".states")
    expect(states.get_by_role("link", name=re.compile("Cooling.*1"))).to_be_visible()
    expect(states.get_by_role("link", name=re.compile("Invalid.*1"))).to_be_visible()
    # A limit is about one model: for others the key still serves.
    expect(page.get_by_text("3 of 4 keys take turns")).to_be_visible()
    expect(page.get_by_text("1 of them rests for gpt-4.1-mini alone")).to_be_visible()


def test_whom_it_names_for_a_failure_is_who_comes_then(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.9: A limited key, and the one that is asked in its place."""
    keys = [f"sk-{name}-0123456789-{number:04}" for number in range(4)]
    group = service.create_group(name, "openai", upstream.url, keys, config={"max_retries": 3})
    guest = visitor()
    page = guest.open(f"/simulator?group={group}&model=gpt-4.1-mini")
    first = named(page)
    then = [code.inner_text()[-4:] for code in page.locator("p.line a code").all()]
    upstream.script(Rule(Step(status=429, body=b"{}", retry_after=600), times=2))
    assert service.ask(chat(name)).status == 200
    assert used(service, name, 3)[::-1] == [first, *then[:2]]
