"""What a browser sees of secrets, how it gets one whole, and what its masks mean."""

from __future__ import annotations

from typing import Any

import pytest

from gptload.control.admin.masked import unmasked_group, unmasked_keys
from gptload.core.errors import ValidationFailed
from gptload.core.vault import mask
from tests.control.admin.conftest import AUTH_KEY, Admin, good_group
from tests.control.admin.test_sessions import Browser

KEY = "sk-pool-0123456789-abcdef"
PROXY_KEY = "sk-proxy-of-the-group-77"
OTHER = "sk-proxy-of-another-tool"
SECRET = "Bearer-of-a-header"
SECRETS = (KEY, PROXY_KEY, SECRET, "pass-word", AUTH_KEY)


@pytest.fixture
def browser(admin: Admin) -> Browser:
    return Browser(admin)


async def _group(admin: Admin) -> int:
    return await admin.group(
        proxy_keys=f"{PROXY_KEY},{OTHER}",
        config={"proxy_url": "http://me:pass-word@proxy.example:8080"},
        header_rules=[
            {"key": "X-Auth-Token", "value": SECRET, "action": "set"},
            {"key": "X-Team", "value": "blue", "action": "set"},
        ],
    )


async def test_no_answer_to_a_browser_holds_a_whole_secret(admin: Admin, browser: Browser) -> None:
    group = await _group(admin)
    parent = await admin.aggregate("all", group)
    await admin.add_keys(group, [KEY])
    await admin.api("PUT", "/settings", {"proxy_url": "http://me:pass-word@proxy.example"})
    (key,) = await admin.keys(group)
    assert key["key_value"] == KEY
    await browser.sign_in()
    for path in (
        f"/api/keys?group_id={group}",
        f"/api/keys/export?group_id={group}",
        f"/api/keys/{key['id']}/timeline",
        "/api/groups",
        "/api/groups/config-options",
        f"/api/groups/{parent}/sub-groups",
        "/api/settings",
        "/api/settings/history",
        "/api/dashboard/stats",
        "/api/logs",
        "/api/logs/export",
        "/api/logs/export.csv",
        "/api/logs/export.jsonl",
        "/api/audit",
    ):
        answer = await browser.call("GET", path)
        assert answer.status == 200, path
        text = str(answer.said)
        assert not [secret for secret in SECRETS if secret in text], path
    (shown,) = (await browser.call("GET", f"/api/keys?group_id={group}")).data["items"]
    assert shown == {**key, "key_value": mask(KEY)}
    found = await browser.call("POST", "/api/keys/lookup", {"key": KEY})
    assert [item["key_value"] for item in found.data] == [mask(KEY)]
    said = {"group_id": group, "keys_text": KEY}
    tested = (await browser.call("POST", "/api/keys/test-multiple", said)).data
    assert [item["key_value"] for item in tested["results"]] == [mask(KEY)]


async def test_one_secret_is_revealed_and_that_is_written_down(
    admin: Admin, browser: Browser
) -> None:
    group = await _group(admin)
    await admin.add_keys(group, [KEY])
    (key,) = await admin.keys(group)
    await browser.sign_in()
    shown = await browser.call("POST", f"/api/keys/{key['id']}/reveal")
    assert shown.data == {"id": key["id"], "key_value": KEY}
    revealed = (await browser.call("POST", f"/api/groups/{group}/reveal")).data
    assert revealed["proxy_keys"] == f"{PROXY_KEY},{OTHER}"
    assert revealed["header_rules"][0]["value"] == SECRET
    shown = await browser.call("POST", "/api/settings/reveal", {"key": "proxy_keys"})
    assert shown.data == {"key": "proxy_keys", "value": AUTH_KEY}
    refused = await browser.call("POST", "/api/settings/reveal", {"key": "app_url"})
    refused.refused(400, "VALIDATION_FAILED")
    (await browser.call("POST", "/api/keys/999/reveal")).refused(404, "NOT_FOUND")
    (await browser.call("POST", "/api/groups/999/reveal")).refused(404, "NOT_FOUND")
    log = (await admin.api("GET", "/audit?route_contains=reveal"))["items"]
    assert [(entry["route"], entry["subject_id"]) for entry in log] == [
        ("/api/settings/reveal", None),
        ("/api/groups/:id/reveal", group),
        ("/api/keys/:id/reveal", key["id"]),
    ]
    assert not [secret for secret in SECRETS if secret in str(log)]


async def test_whole_keys_are_exported_by_a_call_that_no_link_makes(
    admin: Admin, browser: Browser
) -> None:
    group = await _group(admin)
    await admin.add_keys(group, [KEY, "sk-pool-second-of-them"])
    ids = {item["key_value"]: item["id"] for item in await admin.keys(group)}
    await browser.sign_in()
    whole = await browser.call("POST", "/api/keys/export", {"group_id": group})
    assert whole.said.split() == [KEY.encode(), b"sk-pool-second-of-them"]
    said = {"group_id": group, "ids": [ids[KEY]]}
    assert (await browser.call("POST", "/api/keys/export", said)).said == KEY.encode() + b"\n"
    linked = await browser.call("GET", f"/api/keys/export?group_id={group}")
    assert mask(KEY).encode() in linked.said
    assert (await browser.call("POST", "/api/logs/export")).status == 200
    log = (await admin.api("GET", "/audit?method=POST&route_contains=export"))["items"]
    assert [entry["route"] for entry in log] == ["/api/logs/export", *["/api/keys/export"] * 2]


async def test_a_mask_that_comes_back_changes_nothing(admin: Admin, browser: Browser) -> None:
    group = await _group(admin)
    (before,) = await admin.api("GET", "/groups")
    await browser.sign_in()
    (shown,) = (await browser.call("GET", "/api/groups")).data
    change = {
        name: shown[name] for name in ("proxy_keys", "upstreams", "header_rules", "config", "name")
    }
    answer = await browser.call("PUT", f"/api/groups/{group}", change)
    assert answer.data["undo"] is None
    (after,) = await admin.api("GET", "/groups")
    assert after | {"updated_at": ""} == before | {"updated_at": ""}


async def test_a_browser_revokes_one_key_and_adds_another(admin: Admin, browser: Browser) -> None:
    group = await _group(admin)
    await browser.sign_in()
    said = {"proxy_keys": f"{mask(OTHER)}, sk-brand-new-key-1"}
    assert (await browser.call("PUT", f"/api/groups/{group}", said)).status == 200
    (after,) = await admin.api("GET", "/groups")
    assert after["proxy_keys"] == f"{OTHER},sk-brand-new-key-1"
    bad = await browser.call("PUT", f"/api/groups/{group}", {"proxy_keys": "sk-x****ever"})
    bad.refused(400, "VALIDATION_FAILED")
    said = {"proxy_keys": f"{mask(AUTH_KEY)},sk-for-all-groups"}
    assert (await browser.call("PUT", "/api/settings", said)).status == 200
    system = (await browser.call("POST", "/api/settings/reveal", {"key": "proxy_keys"})).data
    assert system["value"] == f"{AUTH_KEY},sk-for-all-groups"
    bad = await browser.call("PUT", "/api/settings", {"proxy_url": "http://****@elsewhere"})
    bad.refused(400, "VALIDATION_FAILED")


async def test_two_keys_that_look_alike_stay_or_go_together() -> None:
    one, two = "sk-a-first-secret-zz", "sk-a-other-secret-zz"
    assert mask(one) == mask(two)
    held = f"{one},{two}"
    assert unmasked_keys(f"{mask(one)},{mask(two)}", held) == held
    assert unmasked_keys("sk-new", held) == "sk-new"
    with pytest.raises(ValidationFailed, match="look alike"):
        unmasked_keys(mask(one), held)


@pytest.mark.parametrize(
    "change",
    [
        {"upstreams": [{"url": "https://****@other.example", "weight": 1}]},
        {"header_rules": [{"key": "X-Never-Seen", "value": "****", "action": "set"}]},
        {"config": {"proxy_url": "http://****@other.example"}},
        {"proxy_keys": "****"},
    ],
)
def test_a_mask_of_nothing_is_refused(change: dict[str, Any]) -> None:
    current: Any = good_group() | {"config": {}, "header_rules": [], "proxy_keys": ""}
    with pytest.raises(ValidationFailed, match="masked value"):
        unmasked_group(change, current)
