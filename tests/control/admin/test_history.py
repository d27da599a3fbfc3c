"""Settings remember: what was changed, from where, and how to take it back."""

from __future__ import annotations

from typing import Any

from tests.control.admin.conftest import AUTH_KEY, Admin


async def setting(admin: Admin, key: str) -> dict[str, Any]:
    listed = await admin.api("GET", "/settings")
    (found,) = [each for heading in listed for each in heading["settings"] if each["key"] == key]
    return dict(found)


async def history(admin: Admin, query: str = "") -> list[dict[str, Any]]:
    return list((await admin.api("GET", f"/settings/history{query}"))["items"])


async def change(admin: Admin, **values: Any) -> list[dict[str, Any]]:
    return without_ids((await admin.api("PUT", "/settings", values))["changed"])


def without_ids(changed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Changes as they are told, but for their numbers in the history."""
    assert all(each["history_id"] > 0 for each in changed)
    return [{name: each[name] for name in each if name != "history_id"} for each in changed]


async def test_the_answer_says_what_changed_and_no_more(admin: Admin) -> None:
    assert await change(admin, max_retries=5, blacklist_threshold=3) == [
        {"key": "max_retries", "old_value": None, "new_value": 5}
    ]
    assert await change(admin, max_retries=5) == []
    (entry,) = await history(admin)
    assert entry["source_ip"] == "unknown"  # no front here that would know it
    assert entry["at"].endswith("Z")


async def test_set_unset_and_overridden_are_told_apart(admin: Admin) -> None:
    group = await admin.group(config={"request_timeout": 5})
    assert not (await setting(admin, "max_retries"))["is_set"]
    await change(admin, max_retries=4)
    await change(admin, max_retries=3)  # the default, but somebody chose it
    shown = await setting(admin, "max_retries")
    assert (shown["value"], shown["is_set"], shown["overridden_by"]) == (3, True, 0)
    assert (await setting(admin, "request_timeout"))["overridden_by"] == 1
    (listed,) = await admin.api("GET", "/groups")
    assert listed["config_sources"]["request_timeout"] == "group"
    assert listed["config_sources"]["max_retries"] == "system"
    assert listed["config_sources"]["connect_timeout"] == "default"

    await admin.api("DELETE", "/settings/max_retries")
    assert not (await setting(admin, "max_retries"))["is_set"]
    assert admin.snapshots.current.by_id[group].settings.max_retries == 3


async def test_any_former_change_is_undone_and_that_is_a_change_too(admin: Admin) -> None:
    await change(admin, max_retries=5)
    await change(admin, max_retries=6)
    await change(admin, connect_timeout=9)
    second = (await history(admin, "?key=max_retries"))[0]
    undone = await admin.api("POST", f"/settings/history/{second['id']}/undo")
    assert without_ids(undone["changed"]) == [
        {"key": "max_retries", "old_value": 6, "new_value": 5}
    ]
    assert (await setting(admin, "max_retries"))["value"] == 5
    last, _, first = await history(admin, "?key=max_retries")
    assert last["undo_of"] == second["id"]

    await admin.api("POST", f"/settings/history/{first['id']}/undo")
    shown = await setting(admin, "max_retries")
    assert (shown["value"], shown["is_set"]) == (3, False)
    assert (await setting(admin, "connect_timeout"))["value"] == 9


async def test_the_first_proxy_key_comes_back(admin: Admin) -> None:
    await change(admin, proxy_keys="sk-another-key-that-is-long")
    (entry,) = await history(admin)
    assert AUTH_KEY not in str(entry)
    assert "another" not in str(entry)
    await admin.api("POST", f"/settings/history/{entry['id']}/undo")
    assert (await setting(admin, "proxy_keys"))["value"] == AUTH_KEY


async def test_what_can_not_be_undone_or_unset(admin: Admin) -> None:
    for path in ("history/99/undo", "history/x/undo"):
        answer = await admin.call("POST", f"/api/settings/{path}")
        assert answer.status in (400, 404)
    answer = await admin.call("DELETE", "/api/settings/proxy_keys")
    assert answer.refused(400, "VALIDATION_FAILED") == "value for proxy_keys is required"
    (await admin.call("DELETE", "/api/settings/nonsense")).refused(404, "NOT_FOUND")


async def test_values_and_resets_are_one_change_of_the_version_that_was_read(admin: Admin) -> None:
    """RFC 9110 §13.1.1."""
    await change(admin, max_retries=5)
    read = await admin.call("GET", "/api/settings")
    match = {"If-Match": read.fields["etag"]}
    saved = await admin.call(
        "PUT", "/api/settings", {"max_retries": None, "connect_timeout": 9}, fields=match
    )
    assert [(each["key"], each["new_value"]) for each in saved.data["changed"]] == [
        ("max_retries", None),
        ("connect_timeout", 9),
    ]
    assert not (await setting(admin, "max_retries"))["is_set"]
    late = await admin.call("PUT", "/api/settings", {"max_retries": 7}, fields=match)
    late.refused(409, "CONFLICT")
    assert not (await setting(admin, "max_retries"))["is_set"]
    ids = [each["history_id"] for each in saved.data["changed"]]
    assert ids == [entry["id"] for entry in reversed((await history(admin))[:2])]
    for fields in ({"If-Match": "*"}, {}):
        await admin.call("PUT", "/api/settings", {"max_retries": 7}, fields=fields)
    assert (await setting(admin, "max_retries"))["value"] == 7


async def test_a_reset_that_cannot_be_spoils_the_whole_change(admin: Admin) -> None:
    both = {"max_retries": 7, "proxy_keys": None}
    answer = await admin.call("PUT", "/api/settings", both, fields={"If-Match": "*"})
    assert "proxy_keys" in answer.refused(400, "VALIDATION_FAILED")
    assert not (await setting(admin, "max_retries"))["is_set"]
    bad = await admin.call("PUT", "/api/settings", {"max_retries": 7}, fields={"If-Match": '"x"'})
    bad.refused(400, "VALIDATION_FAILED")
