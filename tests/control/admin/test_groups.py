"""`/api/groups`: what a person does to groups."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text, update

from gptload.control.db.tables import groups
from gptload.core import operatorrules
from gptload.link.messages import GroupRemoved
from tests.control.admin.conftest import Admin, good_group
from tests.parts.records import make_record

HTML = '<b>é 漢字 🚀</b> & "quotes" \'--'


async def test_channel_types_are_sorted(admin: Admin) -> None:
    types = await admin.api("GET", "/channel-types")
    assert types == sorted(types)
    assert {"anthropic", "gemini", "openai", "openai-response"} <= set(types)


async def test_a_new_group_is_shown_as_it_was_sent(admin: Admin) -> None:
    sent = {
        "name": " a-good_name1 ",
        "display_name": f"  {HTML}  ",
        "description": "For everybody",
        "group_type": "standard",
        "upstreams": [
            {"url": " https://one.example/v1 ", "weight": 3, "extra": 1},
            {"url": "http://127.0.0.1:8080", "weight": 0},
            {"url": "https://three.example"},
        ],
        "channel_type": "openai",
        "sort": 7,
        "test_model": " gpt-4.1-mini ",
        "validation_endpoint": "/v1/chat?x=1",
        "param_overrides": {"temperature": 0.1, "seed": 2**63, "nested": {"深": [None, True]}},
        "model_redirect_rules": {"通义": "qwen-max"},
        "model_redirect_strict": True,
        "config": {"max_retries": 5, "request_timeout": None, "failover_status_codes": ""},
        "header_rules": [
            {"key": " x-api-version ", "value": "${API_KEY}", "action": "set"},
            {"key": "COOKIE", "action": "remove"},
            {"key": "  ", "value": "", "action": "set"},
        ],
        "error_rules": [
            {"status": "4xx", "contains": "quota", "outcome": "key_exhausted", "rest": None},
        ],
        "proxy_keys": " sk-one , sk-two ",
        "unknown": "is passed over",
    }
    group = await admin.api("POST", "/groups", sent)
    effective, sources = group.pop("effective_config"), group.pop("config_sources")
    assert effective["max_retries"] == 5
    assert effective["request_timeout"] == 600
    assert {key for key, source in sources.items() if source == "group"} == {
        "max_retries",
        "failover_status_codes",  # an empty text is a value
    }
    assert group | {"created_at": "", "updated_at": ""} == {
        "id": group["id"],
        "name": "a-good_name1",
        "endpoint": "https://ai.example/proxy/a-good_name1",
        "display_name": HTML,
        "description": "For everybody",
        "group_type": "standard",
        "upstreams": [
            {"url": "https://one.example/v1", "weight": 3},
            {"url": "http://127.0.0.1:8080", "weight": 0},
            {"url": "https://three.example", "weight": 0},
        ],
        "channel_type": "openai",
        "sort": 7,
        "test_model": "gpt-4.1-mini",
        "validation_endpoint": "/v1/chat?x=1",
        "param_overrides": {"temperature": 0.1, "seed": 2**63, "nested": {"深": [None, True]}},
        "model_redirect_rules": {"通义": "qwen-max"},
        "model_redirect_strict": True,
        "config": {"max_retries": 5, "failover_status_codes": ""},
        "header_rules": [
            {"key": "X-Api-Version", "value": "${API_KEY}", "action": "set"},
            {"key": "Cookie", "value": "", "action": "remove"},
        ],
        "error_rules": [{"status": "4xx", "contains": "quota", "outcome": "key_exhausted"}],
        "proxy_keys": "sk-one , sk-two",
        "last_validated_at": None,
        "created_at": "",
        "updated_at": "",
        "problem": "",
    }
    made = datetime.fromisoformat(group["created_at"]).timestamp()
    assert abs(made - time.time()) < 60
    assert group["created_at"].endswith("Z")
    shown = {"effective_config": effective, "config_sources": sources}
    assert await admin.api("GET", "/groups") == [group | shown]


async def test_a_group_is_in_force_when_the_call_returns(admin: Admin) -> None:
    """D60: a group used right after its creation must be there."""
    await admin.group("first")
    snapshot = admin.snapshots.current
    assert b"first" in snapshot.groups
    await admin.api("PUT", f"/groups/{snapshot.groups[b'first'].id}", {"name": "second"})
    assert set(admin.snapshots.current.groups) == {b"second"}


async def test_error_rules_are_in_force_at_once_and_an_empty_list_ends_them(admin: Admin) -> None:
    group = await admin.group("ruled")
    rules = [{"status": [429, "5xx"], "outcome": "upstream_fault", "scope": "egress", "rest": 9}]
    changed = await admin.api("PUT", f"/groups/{group}", {"error_rules": rules})
    assert changed["error_rules"] == rules
    assert admin.snapshots.current.by_id[group].error_rules == operatorrules.parse(rules)
    changed = await admin.api("PUT", f"/groups/{group}", {"display_name": "Same rules"})
    assert changed["error_rules"] == rules
    changed = await admin.api("PUT", f"/groups/{group}", {"error_rules": []})
    assert changed["error_rules"] == []
    assert admin.snapshots.current.by_id[group].error_rules == ()


async def test_an_aggregate_takes_no_error_rules(admin: Admin) -> None:
    sent = good_group("all") | {"group_type": "aggregate"}
    group = await admin.api("POST", "/groups", sent)
    assert group["error_rules"] == []
    rules = [{"status": 429, "outcome": "upstream_fault"}]
    answer = await admin.call("PUT", f"/api/groups/{group['id']}", {"error_rules": rules})
    assert answer.refused(400, "VALIDATION_FAILED").startswith("error_rules: an aggregate has none")


async def test_an_aggregate_has_nothing_of_its_own(admin: Admin) -> None:
    sent = good_group("all") | {"group_type": "aggregate", "validation_endpoint": "/v1"}
    group = await admin.api("POST", "/groups", sent)
    assert (group["upstreams"], group["test_model"], group["validation_endpoint"]) == ([], "-", "")
    changed = await admin.api("PUT", f"/groups/{group['id']}", {"channel_type": "gemini"})
    assert changed["channel_type"] == "openai"


NAME = (
    "Invalid group name. Can only contain lowercase letters, numbers, hyphens or underscores, "
    "1-100 characters"
)
BAD_UPSTREAMS = "Invalid upstreams configuration: "
BAD_RULES = "Failed to process header rules: "
BAD_CONFIG = "Invalid config format: "
TEST_PATH = (
    "Invalid test path. If provided, must be a valid path starting with / and not a full URL."
)


def rule(key: str = "X-A", value: str = "b", action: str = "set") -> dict[str, str]:
    return {"key": key, "value": value, "action": action}


def one_upstream(url: Any, weight: Any = 1) -> list[dict[str, Any]]:
    return [{"url": url, "weight": weight}]


BAD_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"name": "Not A Name"}, NAME),
    ({"name": ""}, NAME),
    ({"name": None}, NAME),
    ({"name": "x" * 101}, NAME),
    ({"name": "name\nx"}, NAME),
    ({"channel_type": "telepathy"}, "Invalid channel type. Supported types: anthropic, gemini, "),
    ({"group_type": "heap"}, "Invalid group type, must be 'standard' or 'aggregate'"),
    ({"error_rules": "x"}, "error_rules: must be a list of rules"),
    ({"error_rules": [{"status": 200, "outcome": "key_exhausted"}]}, "error_rules[0].status: "),
    ({"error_rules": [{"status": 429}]}, "error_rules[0].outcome: must be one of key_rejected, "),
    ({"test_model": "  "}, "Test model is required"),
    ({"test_model": None}, "Test model is required"),
    ({"test_model": "m" * 256}, "test_model is longer than 255 characters"),
    ({"upstreams": None}, BAD_UPSTREAMS + "upstreams field is required"),
    ({"upstreams": []}, BAD_UPSTREAMS + "at least one upstream is required"),
    ({"upstreams": "x"}, BAD_UPSTREAMS + "expected a list of"),
    ({"upstreams": [1]}, BAD_UPSTREAMS + "expected a list of"),
    ({"upstreams": one_upstream(" ")}, BAD_UPSTREAMS + "upstream URL cannot be empty"),
    ({"upstreams": one_upstream(7)}, BAD_UPSTREAMS + "upstream URL must be a string"),
    (
        {"upstreams": one_upstream("ftp://x")},
        BAD_UPSTREAMS + "invalid URL format for upstream: ftp://x",
    ),
    ({"upstreams": one_upstream("http://[::1")}, BAD_UPSTREAMS),
    ({"upstreams": one_upstream("https://user:secret@x")}, BAD_UPSTREAMS + "upstream URL must not"),
    (
        {"upstreams": one_upstream("https://x", -1)},
        BAD_UPSTREAMS + "upstream weight must be a non-negative integer",
    ),
    (
        {"upstreams": one_upstream("https://x", 1.5)},
        BAD_UPSTREAMS + "upstream weight must be a non-negative integer",
    ),
    (
        {"upstreams": one_upstream("https://x", True)},
        BAD_UPSTREAMS + "upstream weight must be a non-negative integer",
    ),
    ({"upstreams": one_upstream("https://x", 2**60)}, BAD_UPSTREAMS + "upstream weight must be at"),
    (
        {"upstreams": one_upstream("https://x", 0)},
        BAD_UPSTREAMS + "at least one upstream must have a weight greater than 0",
    ),
    ({"validation_endpoint": "v1/x"}, TEST_PATH),
    ({"validation_endpoint": "/http://x"}, TEST_PATH),
    ({"validation_endpoint": "/a b"}, TEST_PATH),
    ({"validation_endpoint": "/a\r\nX: y"}, TEST_PATH),
    ({"config": {"no_such_setting": 1}}, BAD_CONFIG + "unknown config field: 'no_such_setting'"),
    ({"config": {"app_url": "http://x"}}, BAD_CONFIG + "unknown config field: 'app_url'"),
    ({"config": {"max_retries": 1.5}}, BAD_CONFIG),
    ({"config": {"max_retries": -1}}, BAD_CONFIG),
    (
        {"config": {"enable_request_body_logging": 1}},
        BAD_CONFIG + "invalid type for enable_request_body_logging: expected boolean, got number",
    ),
    ({"config": {"failover_status_codes": "4xx"}}, BAD_CONFIG),
    ({"header_rules": [rule("X-A"), rule("x-a")]}, "Duplicate header: X-A"),
    ({"header_rules": [rule("X A")]}, BAD_RULES + "'X A' is no header name"),
    ({"header_rules": [rule("X", "a\r\nB: c")]}, BAD_RULES + "the value of X must be one line"),
    ({"header_rules": [rule("X", "v" * 8193)]}, BAD_RULES + "the value of X is longer"),
    (
        {"header_rules": [rule("X", "a", "append")]},
        BAD_RULES + "the action of X must be 'set' or 'remove'",
    ),
    ({"header_rules": [rule("content-length", "3")]}, BAD_RULES + "Content-Length frames"),
    ({"header_rules": [rule("transfer-encoding", "x")]}, BAD_RULES + "Transfer-Encoding frames"),
    (
        {"group_type": "aggregate", "model_redirect_rules": {"a": "b"}},
        "Aggregate groups do not support model redirect rules",
    ),
    ({"model_redirect_rules": {"a": " "}}, "A model redirect rule needs a source and a target"),
    ({"model_redirect_rules": {"": "a"}}, "A model redirect rule needs a source and a target"),
    ({"sort": -1}, "Sort value cannot be negative"),
    ({"sort": 2**31}, "Sort value cannot exceed"),
    ({"display_name": "d" * 256}, "display_name is longer than 255 characters"),
    ({"description": "d" * 513}, "description is longer than 512 characters"),
]


@pytest.mark.parametrize(("change", "message"), BAD_VALUES)
async def test_a_bad_value_is_named_and_makes_nothing(
    admin: Admin, change: dict[str, Any], message: str
) -> None:
    answer = await admin.call("POST", "/api/groups", good_group() | change)
    assert answer.refused(400, "VALIDATION_FAILED").startswith(message)
    assert await admin.api("GET", "/groups") == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": 7}, "name"),
        ({"sort": "1"}, "sort"),
        ({"sort": 1.0}, "sort"),
        ({"sort": True}, "sort"),
        ({"sort": 10**30}, "sort"),
        ({"config": []}, "config"),
        ({"param_overrides": 1}, "param_overrides"),
        ({"param_overrides": {"seed": 2**64}}, "param_overrides.seed"),
        ({"param_overrides": {"a": {"b": "\0"}}}, "param_overrides.a.b"),
        ({"header_rules": {}}, "header_rules"),
        ({"header_rules": [{"key": 1, "action": "set"}]}, "header_rules.0.key"),
        ({"header_rules": [{"key": "X"}]}, "header_rules.0.action is required"),
        ({"model_redirect_rules": {"a": 1}}, "model_redirect_rules.a"),
        ({"model_redirect_strict": "yes"}, "model_redirect_strict"),
        ({"display_name": "\ud800"}, "display_name"),
    ],
)
async def test_a_wrong_type_is_named(admin: Admin, change: dict[str, Any], field: str) -> None:
    answer = await admin.call("POST", "/api/groups", good_group() | change)
    assert answer.refused(400, "INVALID_JSON").startswith(field)


async def test_a_change_leaves_the_rest_alone(admin: Admin) -> None:
    group = await admin.group(config={"max_retries": 2}, proxy_keys="sk-a")
    before = (await admin.api("GET", "/groups"))[0]
    nulls = {key: None for key in before if key not in ("id", "endpoint")}
    after = await admin.api("PUT", f"/groups/{group}", nulls | {"display_name": HTML})
    del after["undo"]  # the way back, which only an answer to a change has
    assert after | {"updated_at": ""} == before | {"display_name": HTML, "updated_at": ""}
    for nothing in ({"test_model": ""}, {"group_type": "aggregate"}):
        same = await admin.api("PUT", f"/groups/{group}", nothing)
        same.pop("undo", None)
        assert same == after
    cleared = await admin.api("PUT", f"/groups/{group}", {"config": {}, "proxy_keys": ""})
    assert (cleared["config"], cleared["proxy_keys"]) == ({}, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_model": " "}, "Test model cannot be empty or contain only spaces"),
        ({"upstreams": []}, BAD_UPSTREAMS + "at least one upstream is required"),
        ({"name": "Bad"}, NAME),
        ({"config": {"max_retries": "3"}}, BAD_CONFIG),
    ],
)
async def test_a_bad_change_changes_nothing(
    admin: Admin, change: dict[str, Any], message: str
) -> None:
    group = await admin.group()
    before = await admin.api("GET", "/groups")
    answer = await admin.call("PUT", f"/api/groups/{group}", {"sort": 3, **change})
    assert answer.refused(400, "VALIDATION_FAILED").startswith(message)
    assert await admin.api("GET", "/groups") == before


async def test_a_name_is_given_once(admin: Admin) -> None:
    await admin.group("one")
    two = await admin.group("two")
    answer = await admin.call("POST", "/api/groups", good_group("one"))
    assert answer.refused(409, "DUPLICATE_RESOURCE") == "Resource already exists"
    assert "one" in answer.said["hint"]
    answer = await admin.call("PUT", f"/api/groups/{two}", {"name": "one"})
    answer.refused(409, "DUPLICATE_RESOURCE")
    assert (await admin.call("PUT", f"/api/groups/{two}", {"name": "two"})).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_group_that_is_not_there(admin: Admin, method: str) -> None:
    for bad in ("abc", "0", "-1", "1.5", "9" * 30, "%C3%A9", "1%20OR%201=1"):
        answer = await admin.call(method, f"/api/groups/{bad}", {})
        assert answer.refused(400, "BAD_REQUEST") == "Invalid group ID format"
    answer = await admin.call(method, "/api/groups/4711", {})
    assert answer.refused(404, "NOT_FOUND") == "Resource not found"


async def test_a_deleted_group_is_gone_with_its_keys(admin: Admin) -> None:
    """F55: and the same name may be used again, with other keys."""
    group = await admin.group("again")
    await admin.aggregate("all", group)
    await admin.add_keys(group, ["sk-a", "sk-b"])
    answer = await admin.call("DELETE", f"/api/groups/{group}")
    assert answer.said["message"] == "Group and related keys deleted successfully"
    assert "data" not in answer.said
    assert GroupRemoved(group) in admin.changes
    assert set(admin.snapshots.current.groups) == {b"all"}
    assert await admin.key_ids() == {}
    again = await admin.group("again")
    assert again > group
    assert await admin.keys(again) == []


async def test_groups_are_listed_by_their_place(admin: Admin) -> None:
    one, two, three = [await admin.group(name) for name in ("one", "two", "three")]
    items = [{"id": one, "sort": 5}, {"id": three, "sort": 2}]
    answer = await admin.call("PUT", "/api/groups/reorder", {"items": items})
    assert answer.said == {"code": 0, "message": "Group order saved"}
    assert [group["id"] for group in await admin.api("GET", "/groups")] == [two, three, one]
    await admin.api("PUT", "/groups/reorder", {"items": [{"id": one, "sort": 0}]})
    listed = await admin.api("GET", "/groups/list")
    assert [group["id"] for group in listed] == [two, one, three]  # of equal ones the newer
    assert set(listed[0]) == {"id", "name", "display_name"}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "Reorder items cannot be empty"),
        ([{"id": 0, "sort": 1}], "Reorder item contains invalid group ID"),
        ([{"id": 1, "sort": -1}], "Sort value cannot be negative"),
        ([{"id": 1, "sort": 1}, {"id": 1, "sort": 2}], "Duplicate group ID in reorder items: 1"),
        ([{"id": 1, "sort": 9}, {"id": 99, "sort": 1}], "Reorder items contain non-existent group"),
    ],
)
async def test_a_bad_order_changes_nothing(
    admin: Admin, items: list[dict[str, int]], message: str
) -> None:
    await admin.group(sort=4)
    answer = await admin.call("PUT", "/api/groups/reorder", {"items": items})
    assert answer.refused(400, "VALIDATION_FAILED") == message
    assert [group["sort"] for group in await admin.api("GET", "/groups")] == [4]


async def test_options_are_the_settings_that_a_group_can_override(admin: Admin) -> None:
    await admin.api("PUT", "/settings", {"max_retries": 9})
    options = await admin.api("GET", "/groups/config-options")
    assert [option["key"] for option in options][:3] == [
        "request_timeout",
        "idle_conn_timeout",
        "connect_timeout",
    ]
    by_key = {option["key"]: option for option in options}
    assert by_key["max_retries"]["default_value"] == 9
    assert by_key["enable_request_body_logging"]["default_value"] is False
    assert by_key["max_retries"]["name"] == "Max Retries"
    assert by_key["max_retries"]["description"]
    assert "app_url" not in by_key


async def test_statistics_count_final_attempts_and_keys(admin: Admin) -> None:
    group = await admin.group()
    parent = await admin.aggregate("all", group)
    await admin.add_keys(group, ["sk-a", "sk-b", "sk-c"])
    ids = await admin.key_ids()
    now = time.time()
    common = {"group_id": group, "key_id": ids["sk-a"], "parent_group_id": parent}
    admin.write_journal(
        make_record(at=now, **common),
        make_record(at=now, is_final=False, outcome="key_rejected", status_code=401, **common),
        make_record(at=now - 3 * 86_400, outcome="upstream_fault", status_code=502, **common),
        make_record(at=now - 20 * 86_400, **common),
        make_record(at=now - 40 * 86_400, **common),
    )
    admin.upstreams.answers["sk-b"] = (401, b'{"error":{"code":"invalid_api_key"}}')
    await admin.api("POST", "/keys/test-multiple", {"group_id": group, "keys_text": "sk-b"})
    windows = {
        "stats_24_hour": {"total_requests": 1, "failed_requests": 0, "failure_rate": 0.0},
        "stats_7_day": {"total_requests": 2, "failed_requests": 1, "failure_rate": 0.5},
        "stats_30_day": {"total_requests": 3, "failed_requests": 1, "failure_rate": 0.3333},
    }
    assert await admin.api("GET", f"/groups/{group}/stats") == {
        "key_stats": {"total_keys": 3, "active_keys": 2, "invalid_keys": 1},
        **windows,
    }
    assert await admin.api("GET", f"/groups/{parent}/stats") == {
        "key_stats": {"total_keys": 0, "active_keys": 0, "invalid_keys": 0},
        **windows,
    }
    (await admin.call("GET", "/api/groups/99/stats")).refused(404, "NOT_FOUND")


@pytest.mark.sqlite_only  # the others keep broken JSON out by themselves
async def test_one_broken_row_does_not_hide_the_others(admin: Admin) -> None:
    broken, good = await admin.group("broken"), await admin.group("good")

    def spoil(connection: Connection) -> None:
        connection.execute(
            text("UPDATE groups SET upstreams = '{', config = '[]' WHERE id = :id"), {"id": broken}
        )

    await admin.write(spoil)
    await admin.snapshots.rebuild()
    shown = {group["id"]: group for group in await admin.api("GET", "/groups")}
    assert shown[good]["problem"] == ""
    assert shown[broken]["problem"]
    assert (shown[broken]["upstreams"], shown[broken]["config"]) == ([], {})
    mended = await admin.api("PUT", f"/groups/{broken}", {**good_group("broken"), "config": {}})
    assert mended["problem"] == ""


async def test_an_address_needs_an_app_url(admin: Admin) -> None:
    await admin.group("one")
    await admin.api("PUT", "/settings", {"app_url": "http://proxy.example:3001//"})
    (group,) = await admin.api("GET", "/groups")
    assert group["endpoint"] == "http://proxy.example:3001/proxy/one"


# --- Sub-groups


async def test_members_of_an_aggregate(admin: Admin) -> None:
    one, two = await admin.group("one"), await admin.group("two")
    await admin.add_keys(one, ["sk-a", "sk-b"])
    parent = await admin.aggregate("all")
    path = f"/groups/{parent}/sub-groups"
    wanted = [{"group_id": two, "weight": 1000}, {"group_id": one, "weight": 0}]
    answer = await admin.call("POST", f"/api{path}", {"sub_groups": wanted})
    assert answer.said["message"] == "Sub groups added successfully"
    assert admin.snapshots.current.by_id[parent].sub_groups == ((two, 1000),)
    first, second = await admin.api("GET", path)
    assert (first["group"]["name"], first["weight"], first["total_keys"]) == ("two", 1000, 0)
    assert (second["weight"], second["total_keys"], second["active_keys"]) == (0, 2, 2)
    assert second["group"]["upstreams"] == [{"url": "https://api.example", "weight": 1}]

    answer = await admin.call("PUT", f"/api{path}/{one}/weight", {"weight": 7})
    assert answer.said["message"] == "Sub group weight updated successfully"
    assert admin.snapshots.current.by_id[parent].sub_groups == ((two, 1000), (one, 7))
    parents = await admin.api("GET", f"/groups/{one}/parent-aggregate-groups")
    assert parents == [{"group_id": parent, "name": "all", "display_name": "", "weight": 7}]
    assert await admin.api("GET", f"/groups/{parent}/parent-aggregate-groups") == []
    assert await admin.api("GET", "/groups/999/parent-aggregate-groups") == []

    answer = await admin.call("DELETE", f"/api{path}/{two}")
    assert answer.said["message"] == "Sub group deleted successfully"
    assert admin.snapshots.current.by_id[parent].sub_groups == ((one, 7),)
    assert (await admin.call("PUT", f"/api{path}/{one}/weight", {})).status == 200
    assert admin.snapshots.current.by_id[parent].sub_groups == ()


async def test_what_cannot_be_a_member(admin: Admin) -> None:
    one, other = await admin.group("one"), await admin.group("other", channel_type="gemini")
    odd = await admin.group("odd", validation_endpoint="/elsewhere")
    same = await admin.group("same", validation_endpoint="/v1/chat/completions")
    parent, second = await admin.aggregate("all", one), await admin.aggregate("second")

    async def add(*members: int, weight: int = 1) -> str:
        items = [{"group_id": member, "weight": weight} for member in members]
        answer = await admin.call("POST", f"/api/groups/{parent}/sub-groups", {"sub_groups": items})
        if answer.said["code"] == "BAD_REQUEST":
            return str(answer.said["message"])
        return answer.refused(400, "VALIDATION_FAILED")

    assert await add() == "Aggregate group must contain at least one sub-group"
    assert await add(0) == "Invalid sub-group ID"
    assert await add(same, weight=-1) == "Sub-group weight cannot be negative"
    assert await add(same, weight=1001) == "Sub-group weight cannot exceed 1000"
    assert await add(same, 999) == "One or more sub-groups not found"
    assert await add(same, same) == "One or more sub-groups not found"
    assert await add(second) == "Sub-groups cannot be aggregate groups"
    assert await add(other) == "All sub-groups must use the same channel type"
    assert (await add(odd)).startswith("Sub-group endpoints are inconsistent.")
    assert await add(same, one) == f"Sub group {one} already exists"
    assert admin.snapshots.current.by_id[parent].sub_groups == ((one, 1),)  # all or nothing


async def test_only_an_aggregate_has_members(admin: Admin) -> None:
    one = await admin.group("one")
    parent = await admin.aggregate("all")
    for method, path, said in [
        ("GET", "", None),
        ("POST", "", {"sub_groups": [{"group_id": one, "weight": 1}]}),
        ("PUT", f"/{one}/weight", {"weight": 1}),
        ("DELETE", f"/{one}", None),
    ]:
        answer = await admin.call(method, f"/api/groups/{one}/sub-groups{path}", said)
        assert answer.refused(400, "BAD_REQUEST") == "Group is not an aggregate group"
        answer = await admin.call(method, f"/api/groups/99/sub-groups{path}", said)
        assert answer.refused(404, "NOT_FOUND") == "Group not found"
    member = f"/api/groups/{parent}/sub-groups/{one}"
    for method, path in [("PUT", f"{member}/weight"), ("DELETE", member)]:
        answer = await admin.call(method, path, {"weight": 1})
        assert answer.refused(404, "NOT_FOUND") == "Sub group not found"
    answer = await admin.call(
        "PUT", f"/api/groups/{parent}/sub-groups/{one}/weight", {"weight": -1}
    )
    assert answer.refused(400, "VALIDATION_FAILED") == "Sub-group weight cannot be negative"


async def test_a_member_keeps_what_its_aggregate_relies_on(admin: Admin) -> None:
    one = await admin.group("one")
    await admin.aggregate("all", one)
    same = {"channel_type": "openai", "validation_endpoint": ""}
    assert (await admin.call("PUT", f"/api/groups/{one}", same)).status == 200
    for change in ({"channel_type": "gemini"}, {"validation_endpoint": "/v2"}):
        answer = await admin.call("PUT", f"/api/groups/{one}", change)
        message = answer.refused(400, "VALIDATION_FAILED")
        assert message.startswith("This group is referenced by 1 aggregate group(s)")


async def test_a_deleted_aggregate_leaves_no_hours_behind(admin: Admin) -> None:
    """D51: its hours would count its members' requests twice."""
    group = await admin.group()
    parent = await admin.aggregate("all", group)
    admin.write_journal(make_record(at=time.time(), group_id=group, parent_group_id=parent))
    assert (await admin.api("GET", "/dashboard/stats"))["request_count"]["value"] == 1
    await admin.api("DELETE", f"/groups/{parent}")
    assert (await admin.api("GET", "/dashboard/stats"))["request_count"]["value"] == 1


async def test_a_validation_time_is_shown(admin: Admin) -> None:
    group = await admin.group()

    def note(connection: Connection) -> None:
        connection.execute(
            update(groups).where(groups.c.id == group).values(last_validated_at=1767323045.25)
        )

    await admin.write(note)
    (shown,) = await admin.api("GET", "/groups")
    assert shown["last_validated_at"] == "2026-01-02T03:04:05.25Z"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://2852039166",
        "http://0xa9fea9fe:80",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]",
        "http://[fd00:ec2::254]",
        "http://metadata.google.internal./computeMetadata",
    ],
)
async def test_an_upstream_is_no_link_local_or_metadata_address(admin: Admin, url: str) -> None:
    upstreams = [{"url": "http://127.0.0.1:11434", "weight": 1}, {"url": url, "weight": 1}]
    answer = await admin.call("POST", "/api/groups", good_group() | {"upstreams": upstreams})
    assert "link-local" in answer.refused(400, "VALIDATION_FAILED")
    assert answer.said["hint"].startswith("See upstreams[1].url.")


async def test_private_networks_are_where_people_run_models(admin: Admin) -> None:
    urls = ["http://127.0.0.1:1", "http://[::1]:1", "http://10.0.0.5", "http://192.168.1.2"]
    await admin.group(upstreams=[{"url": url, "weight": 1} for url in urls])
