"""Groups: made, edited without fear, ordered, weighed and deleted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from openai import OpenAI
from playwright.sync_api import Locator, Page, expect

from tests.dashboard.conftest import Visit
from tests.dashboard.world import World
from tests.parts.calls import chat
from tests.parts.service import MODELS, Service, wait_for
from tests.upstream.control import Upstream

LABELS = {
    "openai": "OpenAI Chat Completions",
    "openai-response": "OpenAI Responses",
    "gemini": "Google Gemini",
    "anthropic": "Anthropic",
}


def own_group(service: Service, upstream: Upstream, name: str, **fields: object) -> int:
    """One that the test may change; its id."""
    return service.create_group(name, "openai", upstream.url, [f"sk-{name}-0123456789"], **fields)


def option(page: Page, key: str) -> Locator:
    """A setting's row on the page of configuration."""
    return page.locator(f"[data-key='{key}'], #option-{key}, [id$='{key}']").first


def bar(page: Page) -> Locator:
    """What tells of unsaved changes."""
    return page.get_by_role("region", name="Unsaved changes")


def test_an_empty_install_walks_in_three_steps_to_a_call_that_is_seen(
    visitor_of: Visit, own_service: Callable[..., Service], upstream: Upstream
) -> None:
    """P1.10: Group, keys, first call by an official SDK; that call appears without a reload."""
    service = own_service().start()
    service.set(request_log_write_interval_minutes=0)
    guest = visitor_of(service).sign_in()
    page = guest.open("/")
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    page.get_by_label("Name").fill("first")
    page.get_by_label("Upstream").fill(upstream.url)
    guest.button("Create the group").click()
    service.keep_secret("sk-first-run-0123456789abcdef")
    page.get_by_label("API keys of the provider").fill("sk-first-run-0123456789abcdef")
    page.get_by_role("button", name=re.compile("^Add one key and test it")).click()
    expect(page.get_by_text("1 of 1 tested keys work.")).to_be_visible()
    guest.button("On to the first call").click()
    guest.button("Make a proxy key").click()
    expect(page.get_by_text("Waiting for the first request…")).to_be_visible()
    [group] = service.api("GET", "/groups")
    key = group["proxy_keys"]
    service.keep_secret(key)
    client = OpenAI(api_key=key, base_url=f"{service.proxy_url('first')}/v1", max_retries=0)
    client.chat.completions.create(
        model=MODELS["openai"], messages=[{"role": "user", "content": "hi"}]
    )
    expect(page.get_by_text("It works.")).to_be_visible()
    expect(page.locator("dl.figures")).to_contain_text(MODELS["openai"])


@pytest.mark.parametrize("channel", LABELS)
def test_a_group_of_each_channel_is_made_and_deleted_only_by_its_name(
    visitor: Visit, service: Service, upstream: Upstream, name: str, channel: str
) -> None:
    """P1.20: Created; deleted once its name is typed."""
    guest = visitor()
    page = guest.open("/groups")
    guest.button("New group").first.click()
    dialog = page.get_by_role("dialog", name="New group")
    dialog.get_by_role("combobox").first.click()
    page.get_by_role("option", name=re.compile(f"^{LABELS[channel]}")).first.click()
    dialog.get_by_label("Name", exact=False).first.fill(name)
    dialog.get_by_label("Upstream").fill(upstream.url)
    dialog.get_by_label("Test model").fill(MODELS[channel])
    dialog.get_by_role("button", name="Create").click()
    expect(dialog).to_have_count(0)
    made = next(group for group in service.api("GET", "/groups") if group["name"] == name)
    assert made["channel_type"] == channel

    guest.open("/groups")
    guest.choose(guest.button(f"Actions for {name}"), "Delete…")
    question = page.get_by_role("dialog").or_(page.get_by_role("alertdialog"))
    deed = question.get_by_role("button", name=f"Delete {name}")
    expect(deed).to_be_disabled()
    question.get_by_role("textbox").fill(name)
    deed.click()
    expect(question).to_have_count(0)
    gone = wait_for(
        lambda: [group["name"] for group in service.api("GET", "/groups")],
        lambda names: name not in names,
    )
    assert name not in gone


@pytest.mark.parametrize("keys", ["No keys", "Only valid keys", "All keys"])
@pytest.mark.parametrize("channel", LABELS)
def test_a_group_is_copied(
    visitor: Visit, service: Service, upstream: Upstream, name: str, channel: str, keys: str
) -> None:
    """P1.20: With its configuration, under another name, and with the keys that are chosen."""
    values = [f"sk-{name}-{number}-0123456789" for number in range(3)]
    group = service.create_group(name, channel, upstream.url, values, config={"max_retries": 1})
    ids = [service.key(group, values[0])["id"]]
    service.api("POST", "/keys/actions", {"group_id": group, "action": "disable", "ids": ids})
    guest = visitor()
    page = guest.open("/groups")
    guest.choose(guest.button(f"Actions for {name}"), "Copy…")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name=keys).click()
    dialog.get_by_role("button", name="Copy", exact=True).click()
    expect(dialog).to_have_count(0)
    copies = [
        one
        for one in service.api("GET", "/groups")
        if one["name"].startswith(f"{name}-") or one["name"].startswith(f"{name}_")
    ]
    assert [(copy["config"], copy["channel_type"]) for copy in copies] == [
        ({"max_retries": 1}, channel)
    ]
    wanted = {"No keys": set(), "Only valid keys": set(values[1:]), "All keys": set(values)}[keys]
    there = wait_for(
        lambda: {key["key_value"] for key in service.keys(copies[0]["id"])},
        lambda found: len(found) == len(wanted),
    )
    assert there == wanted


def test_an_upstream_is_probed_before_it_is_saved(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """Whether it answers, with what, and how fast; or why it doesn't."""
    group = own_group(service, upstream, name)
    guest = visitor()
    page = guest.open(f"/groups/{group}?tab=config")
    box = page.get_by_label("Address 1")
    probe = page.get_by_role("button", name="Probe: does it answer?")
    probe.click()
    expect(page.get_by_text(re.compile(r"Answers with status \d{3} in"))).to_be_visible()
    box.fill("http://127.0.0.1:9")
    probe.click()
    expect(page.get_by_text(re.compile("No answer in .*: "))).to_be_visible()


def order(service: Service) -> list[str]:
    """Names of all groups, as the server has them in order."""
    groups = service.api("GET", "/groups")
    return [group["name"] for group in sorted(groups, key=lambda group: group["sort"])]


def test_groups_are_ordered_by_dragging(world: World, visitor: Visit, service: Service) -> None:
    """P1.20: A row that is let go of above another one stays there."""
    guest = visitor()
    page = guest.open("/groups")
    shown = page.locator(".group-row .link")
    names = shown.all_inner_texts()
    grip = page.locator(".group-row .grip").nth(1)
    above = page.locator(".group-row").first.bounding_box()
    assert above is not None
    grip.hover()
    page.mouse.down()
    page.mouse.move(above["x"] + 8, above["y"] + 12, steps=8)
    page.mouse.move(above["x"] + 8, above["y"] + 2, steps=4)
    page.mouse.up()
    expect(shown.first).to_have_text(names[1])
    found = wait_for(
        lambda: order(service), lambda found: found.index(names[1]) < found.index(names[0])
    )
    assert found.index(names[1]) < found.index(names[0])


def test_groups_are_ordered_by_key(world: World, visitor: Visit, service: Service) -> None:
    """P1.20: Alt and an arrow move a row; the server keeps the order."""
    guest = visitor()
    page = guest.open("/groups")
    names = page.locator(".group-row .link").all_inner_texts()
    row = page.locator(".group-row").nth(1)
    row.focus()
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator(".group-row .link").first).to_have_text(names[1])
    wait_for(lambda: order(service), lambda found: found.index(names[1]) < found.index(names[0]))
    assert order(service).index(names[1]) < order(service).index(names[0])


def test_shares_add_up_and_follow_a_weight(world: World, visitor: Visit, service: Service) -> None:
    """P1.21: To 100 % of the eligible sub-groups, live."""

    def shares(page: Page) -> list[float]:
        texts = page.locator(".line .effective strong").all_inner_texts()
        return [float(text.replace("\xa0", "").replace("%", "").strip()) for text in texts]

    guest = visitor()
    page = guest.open(f"/groups/{world.aggregate.id}")
    expect(page.locator(".line .effective strong")).to_have_count(2)
    assert sum(shares(page)) == pytest.approx(100, abs=0.2)
    before = shares(page)
    weight = page.locator("input[type=range]").nth(1)
    weight.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".line .effective strong").nth(1)).not_to_have_text(f"{before[1]:.1f} %")
    assert sum(shares(page)) == pytest.approx(100, abs=0.2)
    assert shares(page)[1] > before[1]


def test_a_dry_sub_group_has_no_share_and_the_others_have_it_all(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.21: Its share by weight is struck through."""
    wet = own_group(service, upstream, f"{name}-wet")
    dry = service.create_group(f"{name}-dry", "openai", upstream.url, [])
    group = service.api(
        "POST", "/groups", {"name": name, "group_type": "aggregate", "channel_type": "openai"}
    )
    members = [{"group_id": wet, "weight": 1}, {"group_id": dry, "weight": 3}]
    service.api("POST", f"/groups/{group['id']}/sub-groups", {"sub_groups": members})
    page = visitor().open(f"/groups/{group['id']}")
    expect(page.locator(".line", has_text=f"{name}-wet").locator(".effective strong")).to_have_text(
        re.compile(r"^100\s%$")
    )
    line = page.locator(".line", has_text=f"{name}-dry")
    expect(line.locator(".effective s")).to_have_text(re.compile(r"^75(\.0)?\s%$"))
    expect(line.locator(".effective s")).to_have_attribute("title", re.compile("key"))


def test_inherited_and_overridden_differ_in_words_and_can_be_given_back(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.22, P1.23: Not by colour alone; only what changed is listed and sent."""
    group = own_group(service, upstream, name, config={"max_retries": 1})
    guest = visitor()
    page = guest.open(f"/groups/{group}?tab=config")
    own = page.locator(".option.own")
    expect(own).to_have_count(1)
    expect(own).to_contain_text("Overridden")
    expect(page.locator(".option:not(.own)").first).to_contain_text("Inherited")
    own.get_by_role("button", name="Inherit").click()
    page.get_by_label("Description").fill("Changed here")
    bar(page).get_by_role("button", name="Review…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("tbody th")).to_have_count(2)
    with page.expect_request(lambda asked: asked.method == "PUT") as waiting:
        dialog.get_by_role("button", name="Save").click()
    sent = json.loads(waiting.value.post_data or "{}")
    assert set(sent) - {"if_updated_at"} == {"config", "description"}
    expect(dialog).to_have_count(0)
    saved = service.api("GET", "/groups")
    [now] = [one for one in saved if one["id"] == group]
    assert (now["config"], now["description"]) == ({}, "Changed here")


def test_two_who_edit_one_group_overwrite_nothing_unasked(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.24: The second sees theirs, yours and base, and chooses."""
    group = own_group(service, upstream, name, description="base")
    guest = visitor()
    page = guest.open(f"/groups/{group}?tab=config")
    page.get_by_label("Description").fill("mine")
    service.change_group(group, description="theirs")
    bar(page).get_by_role("button", name=re.compile("^Save")).click()
    dialog = page.get_by_role("dialog", name="Somebody else changed the same fields")
    expect(dialog).to_be_visible()
    for word in ("theirs", "mine", "base"):
        expect(dialog).to_contain_text(word)

    def described() -> str:
        [now] = [one for one in service.api("GET", "/groups") if one["id"] == group]
        return str(now["description"])

    assert described() == "theirs"
    dialog.get_by_role("button", name="All mine").click()
    dialog.get_by_role("button", name="Go on with this").click()
    page.get_by_role("dialog", name="Review one change").get_by_role("button", name="Save").click()
    expect(bar(page)).to_have_count(0)
    assert wait_for(described, lambda said: said == "mine") == "mine"


def test_undo_restores_a_saved_group_and_the_proxy_obeys(
    visitor: Visit, service: Service, upstream: Upstream, name: str
) -> None:
    """P1.25: Within the offered time."""
    group = own_group(service, upstream, name)
    guest = visitor()
    page = guest.open(f"/groups/{group}?tab=config")
    field = page.get_by_label("Name", exact=False).first
    field.fill(f"{name}-renamed")
    bar(page).get_by_role("button", name=re.compile("^Save")).click()
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    assert (
        wait_for(lambda: service.ask(chat(f"{name}-renamed")).status, lambda got: got == 200) == 200
    )
    undo.click()
    assert wait_for(lambda: service.ask(chat(name)).status, lambda got: got == 200) == 200
    assert service.ask(chat(f"{name}-renamed")).status == 404
