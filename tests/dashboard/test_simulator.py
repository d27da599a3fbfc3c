"""The simulator: who serves next, and why the others don't."""

from __future__ import annotations

import re
from urllib.parse import unquote

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
    # Which of them, and why; those that can't serve first.
    out = page.get_by_role("row").filter(has=page.get_by_role("link"))
    expect(states.get_by_role("button", name=re.compile("Cooling.*1"))).to_be_visible()
    expect(out.filter(has_text="Cooling")).to_contain_text(keys[0][-4:])
    expect(out.filter(has_text="Cooling")).to_contain_text("rests for gpt-4.1-mini")
    states.get_by_role("button", name=re.compile("Invalid.*1")).click()
    expect(out.filter(has_text="Invalid")).to_contain_text("invalid_api_key")
    expect(out.filter(has_text="Cooling")).to_have_count(0)
    states.get_by_role("button", name=re.compile("Active.*2")).click()
    for key in keys[2:]:
        expect(out.filter(has_text="Active").filter(has_text=key[-4:])).to_be_visible()
    # A limit is about one model: for others the key still serves.
    expect(page.get_by_text("3 of 4 keys take turns")).to_be_visible()
    expect(page.get_by_text("1 of them rests for gpt-4.1-mini alone")).to_be_visible()


def test_what_if_429_then_503_is_what_then_happens(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.9: The same keys in the same order, and who pays: the limited key and no other."""
    keys = [f"sk-{name}-0123456789-{number:04}" for number in range(6)]
    group = service.create_group(name, "openai", upstream.url, keys, config={"max_retries": 3})
    guest = visitor()
    page = guest.open(f"/simulator?group={group}&model=gpt-4.1-mini")
    card = page.get_by_role("region", name="What if it fails?")
    card.get_by_role("button", name="Let the first attempt fail").click()
    card.get_by_role("button", name="Add a failure").click()
    guest.wait_address(lambda address: "fail=429,503" in unquote(address))
    attempts = card.locator("tbody tr")
    expect(attempts).to_have_count(3)
    expect(card).to_contain_text("The client gets a good answer from attempt 3.")
    expect(attempts.nth(0)).to_contain_text("The key: it rests")
    expect(attempts.nth(1)).to_contain_text("The upstream, no key")
    planned = [text[-4:] for text in attempts.locator(".g-key code").all_inner_texts()]

    upstream.script(
        Rule(Step(error="rate_limited", retry_after=600), times=1),
        Rule(Step(status=503, body=b"{}"), times=1),
    )
    assert service.ask(chat(name)).status == 200
    assert used(service, name, 3)[::-1] == planned
    paid = [key["key_value"][-4:] for key in service.keys(group) if key["model_rests"]]
    assert paid == planned[:1]

    # Another ending is picked, and one is taken away.
    card.get_by_role("combobox", name="How attempt 1 ends").click()
    page.get_by_role("option", name="400 bad request").click()
    expect(attempts).to_have_count(1)
    expect(card).to_contain_text("The client gets the ending of attempt 1: 400.")
    card.get_by_role("button", name="Remove the failure of attempt 1").click()
    expect(attempts).to_have_count(2)


def test_it_shows_what_would_leave_with_the_rules_applied(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.8: Headers without the key's middle, the body before and after."""
    key = f"sk-{name}-0123456789-0001"
    group = service.create_group(
        name,
        "openai",
        upstream.url,
        [key],
        param_overrides={"temperature": 0},
        header_rules=[{"key": "X-Team", "value": "a-team", "action": "set"}],
    )
    guest = visitor()
    page = guest.open(f"/simulator?group={group}&model=gpt-4.1-mini&path=/v1/embeddings")
    page.get_by_label("Body", exact=True).first.fill('{"model":"text-embedding-3-small"}')
    card = page.get_by_role("region", name="The request as it would leave")
    expect(card).to_contain_text("POST /v1/embeddings HTTP/1.1")
    expect(card).to_contain_text("X-Team: a-team")
    expect(card.get_by_label("Body", exact=True)).to_contain_text('"temperature": 0')
    expect(card.get_by_label("Body before the group’s rules")).not_to_contain_text("temperature")
    expect(card).to_contain_text(f"Bearer {key[:4]}****{key[-4:]}")
    assert key not in page.content()
    assert "embedding-3" not in guest.address
    page.get_by_label("Path").fill("no slash")
    expect(page.get_by_text("It begins with / and has")).to_be_visible()


def test_a_real_test_is_sent_once_and_only_when_its_cost_was_read(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P2.8: All else sends nothing."""
    group = service.create_group(
        name, "openai", upstream.url, [f"sk-{name}-0123456789-0001"], test_model="gpt-4.1-nano"
    )
    upstream.script()
    guest = visitor()
    page = guest.open(f"/simulator?group={group}&model=gpt-4.1-mini&fail=429,503,0")
    page.get_by_role("button", name="Really send a test").click()
    dialog = page.get_by_role("alertdialog").or_(page.get_by_role("dialog"))
    expect(dialog).to_contain_text("gpt-4.1-nano")
    expect(dialog).to_contain_text("bills it")
    dialog.get_by_role("button", name="Cancel").click()
    assert upstream.seen() == []
    page.get_by_role("button", name="Really send a test").click()
    dialog.get_by_role("button", name="Send 1 request").click()
    expect(page.get_by_role("status").filter(has_text="It works")).to_be_visible()
    assert len(upstream.seen()) == 1


def test_a_request_of_the_log_is_asked_again(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """With its path, its model and, where bodies are kept, its body; never in the address."""
    config = {"enable_request_body_logging": True}
    service.create_group(name, "openai", upstream.url, [f"sk-{name}-1-0123456789"], config=config)
    message = {"role": "user", "content": "a secret of the house"}
    service.ask(chat(name, model="gpt-kept", messages=[message], stream=True))
    (row,) = service.wait_logs(1, group_name=name)
    guest = visitor()
    page = guest.open(f"/logs?req={row['exchange_id']}")
    page.get_by_role("dialog").get_by_role("link", name="Simulate").click()
    leaves = page.get_by_role("region", name="The request as it would leave")
    expect(leaves).to_contain_text("POST /v1/chat/completions")
    expect(leaves).to_contain_text("a secret of the house")
    expect(page.get_by_role("switch", name="The answer is streamed")).to_be_checked()
    assert "secret" not in unquote(guest.address)
    page.reload()
    expect(leaves).to_contain_text("a secret of the house")
    guest.button("Forget it").click()
    expect(leaves).not_to_contain_text("a secret of the house")
    expect(leaves).to_contain_text("gpt-kept")


def test_a_streamed_answer_is_asked_for_in_the_apis_own_way(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    group = service.create_group(name, "gemini", upstream.url, [f"AIza{name}-1-0123456789"])
    guest = visitor()
    page = guest.open(f"/simulator?group={group}&model=gemini-2.5-flash")
    leaves = page.get_by_role("region", name="The request as it would leave")
    expect(leaves).to_contain_text("gemini-2.5-flash:generateContent")
    page.get_by_role("switch", name="The answer is streamed").click()
    expect(leaves).to_contain_text("gemini-2.5-flash:streamGenerateContent?alt=sse")
    assert "stream=1" in guest.address
