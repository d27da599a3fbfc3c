"""`/api/settings`: what a person may change while the service runs."""

from __future__ import annotations

from typing import Any

import pytest

from gptload.core.settings import SETTINGS
from gptload.core.snapshot import digest
from tests.control.admin.conftest import Admin

UPDATED = (
    "Settings updated successfully. Configuration will be reloaded in the background across all "
    "instances."
)


async def values(admin: Admin) -> dict[str, Any]:
    listed = await admin.api("GET", "/settings")
    return {item["key"]: item["value"] for heading in listed for item in heading["settings"]}


async def test_all_settings_are_listed_under_their_headings(admin: Admin) -> None:
    listed = await admin.api("GET", "/settings")
    names = [heading["category_name"] for heading in listed]
    assert names == ["Basic", "Request Settings", "Key Configuration"]
    shown = {item["key"]: item for heading in listed for item in heading["settings"]}
    assert set(shown) == {setting.key for setting in SETTINGS}
    retries = shown["max_retries"]
    assert retries == {
        "key": "max_retries",
        "name": "Max Retries",
        "value": 3,
        "type": "int",
        "default_value": "3",
        "description": retries["description"],
        "category": "Key Configuration",
        "min_value": 0,
        "max_value": retries["max_value"],
        "required": True,
        "unit": "",
        "group_overridable": True,
        "effect": "request",
        "pattern": "",
        "is_set": False,
        "set_at": None,
        "overridden_by": 0,
    }
    logging = shown["enable_request_body_logging"]
    assert (logging["value"], logging["default_value"], logging["type"]) == (False, "false", "bool")
    assert "min_value" not in shown["proxy_url"]
    assert shown["session_affinity"]["pattern"].startswith("(prefix|")
    assert shown["request_log_retention_days"]["effect"] == "run"


async def test_a_change_is_in_force_when_the_call_returns(admin: Admin) -> None:
    group = await admin.group()
    change = {
        "max_retries": 1_000,
        "enable_request_body_logging": True,
        "blacklist_threshold": 1_000_000,  # D56: the reference stored 1e+06
        "proxy_keys": " sk-one ,, sk-two ",
        "failover_status_codes": "429, 500-599",
    }
    answer = await admin.call("PUT", "/api/settings", change)
    assert answer.said["message"] == UPDATED
    assert {item["key"] for item in answer.data["changed"]} == set(change)
    assert await values(admin) | change == await values(admin) | {
        **change,
        "proxy_keys": "sk-one,sk-two",
    } | {"proxy_keys": " sk-one ,, sk-two "}
    assert (await values(admin))["proxy_keys"] == "sk-one,sk-two"
    assert (await values(admin))["blacklist_threshold"] == 1_000_000
    effective = admin.snapshots.current.by_id[group]
    assert effective.settings.max_retries == 1_000
    assert effective.access == {digest(b"sk-one"), digest(b"sk-two")}


async def test_nothing_to_change_is_fine(admin: Admin) -> None:
    assert (await admin.call("PUT", "/api/settings", {})).said == {"code": 0, "message": "Success"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"no_such_setting": 1}, "invalid setting key: no_such_setting"),
        ({"max_retries": "3"}, "invalid type for max_retries: expected a number, got string"),
        ({"max_retries": None}, "invalid type for max_retries: expected a number, got null"),
        ({"max_retries": True}, "invalid type for max_retries: expected a number, got boolean"),
        ({"max_retries": 1.5}, "invalid value for max_retries: must be an integer"),
        ({"max_retries": -1}, "value for max_retries (-1) is below minimum value (0)"),
        ({"request_timeout": 0}, "value for request_timeout (0) is below minimum value (1)"),
        (
            {"enable_request_body_logging": "yes"},
            "invalid type for enable_request_body_logging: expected a boolean, got string",
        ),
        ({"proxy_url": 1}, "invalid type for proxy_url: expected a string, got number"),
        ({"proxy_keys": " , "}, "value for proxy_keys is required"),
        ({"app_url": ""}, "value for app_url is required"),
        ({"app_url": "javascript:alert(1)"}, "invalid value for app_url: "),
        (
            {"failover_status_codes": "99-1000"},
            'invalid value for failover_status_codes ("99-1000"): status code out of allowed',
        ),
    ],
)
async def test_one_fault_and_nothing_is_changed(
    admin: Admin, change: dict[str, Any], message: str
) -> None:
    """D55: all or nothing, and a 400."""
    before = await values(admin)
    answer = await admin.call("PUT", "/api/settings", {"max_idle_conns": 7, **change})
    assert answer.refused(400, "VALIDATION_FAILED").startswith(message)
    assert await values(admin) == before


async def test_all_faults_are_told_at_once(admin: Admin) -> None:
    answer = await admin.call("PUT", "/api/settings", {"x": 1, "max_retries": -1})
    assert answer.refused(400, "VALIDATION_FAILED") == (
        "invalid setting key: x; value for max_retries (-1) is below minimum value (0)"
    )


@pytest.mark.parametrize("raw", [b"[1]", b"null", b'"x"', b"7", b'{"max_retries": 1e999}'])
async def test_a_body_that_is_no_object(admin: Admin, raw: bytes) -> None:
    (await admin.call("PUT", "/api/settings", raw=raw)).refused(400, "INVALID_JSON")
