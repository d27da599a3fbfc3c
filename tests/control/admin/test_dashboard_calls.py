"""Appendix D of the behaviour spec: what GPT-Load's own dashboard calls, and reads of the answers.

Call by call, with the headers that it sends. A field that is missing here breaks a page there.
"""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen

from tests.control.admin.conftest import AUTH_KEY, Admin, good_group
from tests.parts.records import make_record

KEY = "id key_value key_hash group_id status notes request_count failure_count last_used_at"
GROUP = (
    "id name endpoint display_name description group_type upstreams channel_type sort test_model "
    "validation_endpoint param_overrides model_redirect_rules model_redirect_strict config "
    "header_rules proxy_keys"
)
LOG = (
    "id timestamp group_id group_name parent_group_id parent_group_name key_value key_hash model "
    "is_success source_ip status_code request_path duration_ms error_message user_agent "
    "request_type upstream_addr is_stream request_body"
)
SETTING = "key name value type default_value description category required"
CARD = "value trend trend_is_growth"
WINDOW = "total_requests failed_requests failure_rate"
TEXT = {"group_id": 1, "keys_text": "sk-a"}


@frozen
class Call:
    """One call of the dashboard.

    Attributes:
        reads: fields by their place in `data`; `[]` is each of a list, "" is `data` itself.
    """

    method: str
    path: str
    body: Any = None
    reads: tuple[tuple[str, str], ...] = ()


CALLS = [
    Call(
        "GET",
        "/dashboard/stats",
        reads=tuple((card, CARD) for card in ("key_count", "rpm", "request_count", "error_rate"))
        + (("security_warnings[]", "type message severity suggestion"),),
    ),
    Call(
        "GET",
        "/dashboard/chart",
        reads=(("", "labels datasets"), ("datasets[]", "label data color")),
    ),
    Call("GET", "/dashboard/chart?groupId=1", reads=(("datasets[]", "label data color"),)),
    Call(
        "GET",
        "/dashboard/encryption-status",
        reads=(("", "has_mismatch scenario_type message suggestion"),),
    ),
    Call("GET", "/groups/list", reads=(("[]", "id name display_name"),)),
    Call("GET", "/groups", reads=(("[]", GROUP),)),
    Call("POST", "/groups", good_group("new"), (("", GROUP),)),
    Call("PUT", "/groups/1", good_group("first"), (("", GROUP),)),
    Call("PUT", "/groups/reorder", {"items": [{"id": 1, "sort": 10}]}),
    Call(
        "GET",
        "/groups/1/stats",
        reads=(
            ("key_stats", "total_keys active_keys invalid_keys"),
            ("stats_24_hour", WINDOW),
            ("stats_7_day", WINDOW),
            ("stats_30_day", WINDOW),
        ),
    ),
    Call("GET", "/groups/config-options", reads=(("[]", "key name description default_value"),)),
    Call("POST", "/groups/1/copy", {"copy_keys": "all"}, (("group", "id name display_name"),)),
    Call(
        "GET",
        "/groups/2/sub-groups",
        reads=(
            ("[]", "weight total_keys active_keys invalid_keys"),
            (
                "[].group",
                "id name display_name test_model channel_type validation_endpoint upstreams",
            ),
        ),
    ),
    Call("PUT", "/groups/2/sub-groups/1/weight", {"weight": 5}),
    Call(
        "GET",
        "/groups/1/parent-aggregate-groups",
        reads=(("[]", "group_id name display_name weight"),),
    ),
    Call("DELETE", "/groups/2/sub-groups/1"),
    Call("POST", "/groups/2/sub-groups", {"sub_groups": [{"group_id": 3, "weight": 1}]}),
    Call("DELETE", "/groups/3"),
    Call("GET", "/channel-types"),
    Call(
        "GET",
        "/keys?group_id=1&page=1&page_size=12",
        reads=(
            ("items[]", KEY),
            ("pagination", "total_items total_pages"),
        ),
    ),
    Call("POST", "/keys/test-multiple", TEXT, (("", "total_duration"), ("results[]", "is_valid"))),
    Call("PUT", "/keys/1/notes", {"notes": "mine"}),
    Call("POST", "/keys/restore-multiple", TEXT),
    Call("POST", "/keys/restore-all-invalid", {"group_id": 1}),
    Call("POST", "/keys/clear-all-invalid", {"group_id": 1}),
    Call("POST", "/keys/delete-multiple", TEXT),
    Call("POST", "/keys/clear-all", {"group_id": 1}),
    Call("GET", "/tasks/status", reads=(("", "is_running task_type processed total"),)),
    Call(
        "GET", "/logs?page=1&page_size=15", reads=(("items[]", LOG), ("pagination", "total_items"))
    ),
    Call("GET", "/settings", reads=(("[]", "category_name"), ("[].settings[]", SETTING))),
    Call("PUT", "/settings", {"max_retries": 3, "proxy_keys": "sk-1,sk-2"}),
]


def at(data: Any, place: str) -> list[Any]:
    """All values at a place."""
    found = [data]
    for step in filter(None, place.replace("[]", ".[]").split(".")):
        found = (
            [each for value in found for each in value]
            if step == "[]"
            else [value[step] for value in found]
        )
    return found


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
async def test_the_dashboard_reads_what_it_looks_for(admin: Admin, call: Call) -> None:
    group = await admin.group("first")
    await admin.aggregate("all", group)
    await admin.group("third")
    await admin.add_keys(group, ["sk-a"])
    admin.write_journal(make_record(group_id=group, key_id=1))
    fields = {"Accept-Language": "zh-CN"}
    answer = await admin.call(call.method, f"/api{call.path}", call.body, fields=fields)
    assert answer.status == 200, answer.said
    assert answer.said["code"] == 0
    assert isinstance(answer.said["message"], str)  # shown as a toast
    for place, names in call.reads:
        found = at(answer.data, place)
        assert found, place
        for value in found:
            assert set(names.split()) <= set(value), place


async def test_downloads_are_links_with_the_key_in_them(admin: Admin) -> None:
    """They are plain `<a href>`s, so the key can't be in a field."""
    group = await admin.group()
    await admin.add_keys(group, ["sk-a"])
    for path in (f"/api/keys/export?group_id={group}&key=", "/api/logs/export?key="):
        answer = await admin.call("GET", path + AUTH_KEY, key=None)
        assert answer.status == 200
        assert "attachment" in answer.fields["content-disposition"]
        (await admin.call("GET", path + "sk-wrong", key=None)).refused(401, "UNAUTHORIZED")


async def test_signing_in(admin: Admin) -> None:
    right = await admin.call("POST", "/api/auth/login", {"auth_key": AUTH_KEY}, key=None)
    assert (right.status, right.said["success"]) == (200, True)
    wrong = await admin.call("POST", "/api/auth/login", {"auth_key": "sk-no"}, key=None)
    assert (wrong.status, wrong.said["success"]) == (401, False)
    assert wrong.said["message"]
