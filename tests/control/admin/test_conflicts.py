"""Two people change one group, and a change is taken back."""

from __future__ import annotations

from tests.control.admin.conftest import Admin


async def test_a_change_of_what_was_changed_meanwhile_is_refused(admin: Admin) -> None:
    group = await admin.group()
    (read,) = await admin.api("GET", "/groups")
    seen = read["updated_at"]
    mine = {"description": "mine", "if_updated_at": seen}
    assert (await admin.api("PUT", f"/groups/{group}", mine))["description"] == "mine"
    theirs = {"display_name": "theirs", "if_updated_at": seen}
    answer = await admin.call("PUT", f"/api/groups/{group}", theirs)
    answer.refused(409, "CONFLICT")
    assert answer.said["data"]["current"]["description"] == "mine"
    (now,) = await admin.api("GET", "/groups")
    assert now["display_name"] == read["display_name"]
    # Having looked again, or without a word of what was seen, it goes through.
    theirs["if_updated_at"] = now["updated_at"]
    assert (await admin.api("PUT", f"/groups/{group}", theirs))["display_name"] == "theirs"
    assert (await admin.api("PUT", f"/groups/{group}", {"sort": 7}))["sort"] == 7
    bad = await admin.call("PUT", f"/api/groups/{group}", {"if_updated_at": "yesterday"})
    bad.refused(400, "VALIDATION_FAILED")


async def test_a_change_is_taken_back_and_that_too(admin: Admin) -> None:
    group = await admin.group(config={"max_retries": 2})
    changed = await admin.api("PUT", f"/groups/{group}", {"config": {"max_retries": 9}})
    said = {"id": changed["undo"]["id"]}
    back = await admin.api("POST", f"/groups/{group}/undo", said)
    assert back["config"] == {"max_retries": 2}
    assert admin.snapshots.current.by_id[group].settings.max_retries == 2
    again = await admin.api("POST", f"/groups/{group}/undo", {"id": back["undo"]["id"]})
    assert again["config"] == {"max_retries": 9}
    used = await admin.call("POST", f"/api/groups/{group}/undo", said)
    used.refused(404, "NOT_FOUND")


async def test_what_was_changed_since_is_not_taken_back(admin: Admin) -> None:
    group = await admin.group()
    other = await admin.group("other")
    changed = await admin.api("PUT", f"/groups/{group}", {"description": "one"})
    said = {"id": changed["undo"]["id"]}
    elsewhere = await admin.call("POST", f"/api/groups/{other}/undo", said)
    elsewhere.refused(404, "NOT_FOUND")
    await admin.api("PUT", f"/groups/{group}", {"description": "two"})
    answer = await admin.call("POST", f"/api/groups/{group}/undo", said)
    answer.refused(409, "CONFLICT")
    assert answer.said["data"]["current"]["description"] == "two"


async def test_a_change_of_nothing_has_no_undo(admin: Admin) -> None:
    group = await admin.group(description="same")
    changed = await admin.api("PUT", f"/groups/{group}", {"description": "same"})
    assert changed["undo"] is None
