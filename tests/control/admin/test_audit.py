"""`/api/audit`: every change, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from gptload.control.audit import of_setting
from gptload.control.db.queries import audit as queries
from tests.control.admin.conftest import Admin, good_group

SECRET = "sk-live-0123456789abcdef"


async def entries(admin: Admin, query: str = "") -> list[dict[str, Any]]:
    return list((await admin.api("GET", f"/audit{query}"))["items"])


async def test_what_changed_of_a_group_is_told_before_and_after(admin: Admin) -> None:
    group = await admin.group()
    await admin.api("PUT", f"/groups/{group}", {"sort": 4, "description": "now with one"})
    await admin.api("DELETE", f"/groups/{group}")
    removed, changed, made = await entries(admin)
    assert (changed["method"], changed["route"]) == ("PUT", "/api/groups/:id")
    assert (changed["subject"], changed["subject_id"], changed["status"]) == ("groups", group, 200)
    assert changed["before"] == {"description": "", "sort": 0}
    assert changed["after"] == {"description": "now with one", "sort": 4}
    assert (made["before"], made["subject_id"]) == (None, group)
    assert removed["after"] is None
    assert removed["before"]["name"] == "openai"


async def test_no_secret_gets_into_it(admin: Admin) -> None:
    body = good_group() | {
        "proxy_keys": SECRET,
        "header_rules": [{"key": "X-Api-Key", "value": SECRET, "action": "set"}],
        "upstreams": [{"url": f"https://api.example?key={SECRET}", "weight": 1}],
        "config": {"proxy_url": f"http://me:{SECRET}@proxy.example:1"},
        "param_overrides": {"deep": [{"token": SECRET}]},
        "description": f"its key is {SECRET}",
    }
    group = (await admin.api("POST", "/groups", body))["id"]
    await admin.add_keys(group, [SECRET])
    await admin.api("PUT", "/settings", {"proxy_keys": SECRET, "proxy_url": f"http://u:{SECRET}@p"})
    key = (await admin.key_ids())[SECRET]
    await admin.api("PUT", f"/keys/{key}/notes", {"notes": SECRET})
    found = await entries(admin)
    assert len(found) == 4
    assert "0123456789" not in str(found)


async def test_a_route_that_says_nothing_is_told_by_its_body(admin: Admin) -> None:
    group = await admin.group()
    await admin.add_keys(group, ["sk-one", "sk-two"])
    added = (await entries(admin))[0]
    assert (added["route"], added["subject"]) == ("/api/keys/add-multiple", "keys")
    assert added["after"] == {"group_id": group, "keys_text": "13 characters"}


async def test_reading_refusals_and_sign_ins_change_nothing(admin: Admin) -> None:
    await admin.api("GET", "/groups")
    await admin.call("POST", "/api/groups", {})
    await admin.call("POST", "/api/groups", good_group(), key="sk-wrong")
    await admin.call("POST", "/api/auth/login", {"auth_key": "sk-wrong"}, key=None)
    assert await entries(admin) == []


async def test_whoever_takes_whole_keys_away_is_remembered(admin: Admin) -> None:
    await admin.call("GET", "/api/logs/export")
    (entry,) = await entries(admin)
    assert (entry["method"], entry["route"]) == ("GET", "/api/logs/export")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?subject=groups", 2),
        ("?method=put", 1),
        ("?route_contains=/settings", 1),
        ("?route_contains=%25", 0),
        ("?source_ip=203.0.113.7", 1),
        ("?start_time=2001-01-01T00:00:00Z&end_time=2002-01-01T00:00:00Z", 0),
        ("?page_size=2&page=2", 1),
    ],
)
async def test_filters_and_pages(admin: Admin, query: str, count: int) -> None:
    await admin.group("one")
    await admin.group("two")
    from_there = {"X-Gptload-Client": "203.0.113.7"}
    await admin.call("PUT", "/api/settings", {"max_retries": 9}, fields=from_there)
    assert len(await entries(admin, query)) == count


async def test_entries_are_kept_for_a_year(admin: Admin) -> None:
    old = queries.Entry(1.0, "", "PUT", "/api/settings", "settings", None, 200, None, None)
    await admin.write(queries.add, old)
    await admin.group()
    assert len(await entries(admin)) == 1


def test_a_password_in_a_proxys_address_is_masked() -> None:
    assert of_setting("proxy_url", "http://me:pw@host:1") == "http://****@host:1"
    assert of_setting("proxy_url", "http://[") == "****"
