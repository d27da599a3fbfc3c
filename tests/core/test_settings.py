"""The settings table and how a value of it is checked, stored and resolved."""

from __future__ import annotations

import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.errors import ValidationFailed
from gptload.core.settings import (
    BY_KEY,
    SETTINGS,
    Setting,
    Settings,
    check,
    parse_stored,
    resolve,
    split_keys,
    store,
)

REFERENCE_ORDER = [
    "app_url",
    "proxy_keys",
    "request_log_retention_days",
    "request_log_write_interval_minutes",
    "enable_request_body_logging",
    "request_timeout",
    "connect_timeout",
    "idle_conn_timeout",
    "response_header_timeout",
    "max_idle_conns",
    "max_idle_conns_per_host",
    "proxy_url",
    "max_retries",
    "blacklist_threshold",
    "failover_status_codes",
    "key_validation_interval_minutes",
    "key_validation_concurrency",
    "key_validation_timeout_seconds",
]
INTS = [setting for setting in SETTINGS if setting.type == "int"]


def refusal(key: str, value: object, *, for_group: bool = False) -> str:
    with pytest.raises(ValidationFailed) as caught:
        check(key, value, for_group=for_group)
    return caught.value.message


OURS = (
    "max_buffered_body",
    "max_wait_for_key",
    "first_token_timeout",
    "stream_hold_milliseconds",
    "stream_idle_timeout",
    "stream_timeout",
    "session_affinity",
    "pass_account_headers",
)


def test_the_table_has_the_references_rows_in_its_order_and_then_ours() -> None:
    assert [setting.key for setting in SETTINGS] == [*REFERENCE_ORDER, *OURS]


def test_settings_has_one_attribute_a_row_with_the_rows_default() -> None:
    defaults = attrs.asdict(Settings())
    assert defaults.pop("failover") is None
    assert defaults == {setting.key: setting.default for setting in SETTINGS}


def test_fourteen_of_the_references_settings_can_be_overridden_by_a_group() -> None:
    overridable = {setting.key for setting in SETTINGS if setting.group_overridable}
    assert overridable - set(OURS) == set(REFERENCE_ORDER) - {
        "app_url",
        "proxy_keys",
        "request_log_retention_days",
        "request_log_write_interval_minutes",
    }


@pytest.mark.parametrize("setting", INTS, ids=lambda setting: setting.key)
def test_every_whole_number_has_a_range_that_holds_its_default(setting: Setting) -> None:
    assert setting.minimum is not None
    assert setting.maximum is not None
    assert isinstance(setting.default, int)
    assert setting.minimum <= setting.default <= setting.maximum


@pytest.mark.parametrize("setting", INTS, ids=lambda setting: setting.key)
def test_a_number_beside_its_range_is_refused_with_the_bound(setting: Setting) -> None:
    assert setting.minimum is not None
    assert setting.maximum is not None
    low, high = setting.minimum - 1, setting.maximum + 1
    assert refusal(setting.key, low) == (
        f"value for {setting.key} ({low}) is below minimum value ({setting.minimum})"
    )
    assert refusal(setting.key, high) == (
        f"value for {setting.key} ({high}) is above maximum value ({setting.maximum})"
    )
    assert check(setting.key, setting.minimum, for_group=False) == setting.minimum
    assert check(setting.key, setting.maximum, for_group=False) == setting.maximum


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("nonsense", 1, "invalid setting key: nonsense"),
        (
            "max_retries",
            "3",
            "invalid type for max_retries: expected a number, got string",
        ),
        ("max_retries", True, "invalid type for max_retries: expected a number, got boolean"),
        ("max_retries", None, "invalid type for max_retries: expected a number, got null"),
        ("max_retries", 2.5, "invalid value for max_retries: must be an integer"),
        ("max_retries", float("nan"), "invalid value for max_retries: must be an integer"),
        (
            "enable_request_body_logging",
            1,
            "invalid type for enable_request_body_logging: expected a boolean, got number",
        ),
        ("app_url", [], "invalid type for app_url: expected a string, got array"),
        ("app_url", "  ", "value for app_url is required"),
        ("proxy_keys", " , ,", "value for proxy_keys is required"),
    ],
)
def test_a_refusal_has_the_references_text(key: str, value: object, text: str) -> None:
    assert refusal(key, value) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("nonsense", 1, "unknown config field: 'nonsense'"),
        ("app_url", "http://a", "unknown config field: 'app_url'"),
        (
            "enable_request_body_logging",
            "yes",
            "invalid type for enable_request_body_logging: expected boolean, got string",
        ),
    ],
)
def test_a_groups_override_is_refused_in_its_own_words(key: str, value: object, text: str) -> None:
    assert refusal(key, value, for_group=True) == text


def test_a_whole_float_is_a_whole_number() -> None:
    value = check("max_retries", 5.0, for_group=True)
    assert value == 5
    assert type(value) is int


def test_status_codes_that_cannot_be_read_are_refused_with_the_reason() -> None:
    text = refusal("failover_status_codes", "4xx")
    assert text.startswith('invalid value for failover_status_codes ("4xx"): invalid status code')


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy.example:8080",
        "https://user:pa%40ss@proxy.example",
        "socks5://127.0.0.1:1080",
        "socks5h://[::1]:1080",
        "",
    ],
)
def test_a_proxy_url_of_a_known_kind_passes(url: str) -> None:
    assert check("proxy_url", f" {url} ", for_group=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "proxy.example:8080",
        "ftp://user:s3cret@proxy.example",
        "http://",
        "http://user:s3cret@",
        "http://proxy.example:99999",
        "http://proxy.example:0",
        "http://[::1",
        "socks4://user:s3cret@proxy.example",
        "http://s3cret proxy",
    ],
)
def test_any_other_proxy_url_is_refused_without_repeating_it(url: str) -> None:
    text = refusal("proxy_url", url)
    assert text.startswith("invalid value for proxy_url: ")
    assert "s3cret" not in text


@pytest.mark.parametrize("url", ["localhost:3001", "ftp://a", "http://", "javascript:alert(1)"])
def test_an_app_url_that_no_browser_can_open_is_refused(url: str) -> None:
    assert refusal("app_url", url).startswith("invalid value for app_url: ")


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_a_text_that_no_database_can_keep_is_refused(text: str) -> None:
    assert "can't be kept" in refusal("proxy_keys", text)


def test_proxy_keys_are_split_trimmed_and_joined_again() -> None:
    assert check("proxy_keys", " sk-a , ,sk-b,sk-a", for_group=False) == "sk-a,sk-b"
    assert split_keys("sk-b, sk-a") == ["sk-b", "sk-a"]


def test_a_group_comes_before_the_system_and_the_system_before_the_default() -> None:
    system = {"max_retries": 7, "request_timeout": 30}
    effective = resolve(system, {"max_retries": 0, "connect_timeout": None})
    assert effective.max_retries == 0
    assert effective.request_timeout == 30
    assert effective.connect_timeout == 15


def test_what_a_group_cannot_override_stays_the_systems() -> None:
    effective = resolve({"app_url": "http://a"}, {"app_url": "http://b", "nonsense": 1})
    assert effective.app_url == "http://a"


@pytest.mark.parametrize(
    ("system", "overrides", "expected"),
    [
        ({}, {}, None),
        ({"failover_status_codes": ""}, {}, None),
        ({"failover_status_codes": "429"}, {}, frozenset({429})),
        ({"failover_status_codes": "429"}, {"failover_status_codes": "500-501"}, {500, 501}),
        ({"failover_status_codes": "429"}, {"failover_status_codes": ""}, frozenset()),
        ({"failover_status_codes": "429"}, {"failover_status_codes": None}, frozenset({429})),
    ],
)
def test_only_a_groups_own_empty_text_says_that_no_status_is_retried(
    system: dict[str, object], overrides: dict[str, object], expected: set[int] | None
) -> None:
    assert resolve(system, overrides).failover == expected


@given(st.sampled_from(INTS), st.data())
def test_a_whole_number_is_stored_exactly(setting: Setting, data: st.DataObject) -> None:
    number = data.draw(st.integers(setting.minimum, setting.maximum))
    assert parse_stored(setting.key, store(setting.key, number)) == number


@given(st.booleans())
def test_a_boolean_comes_back_from_its_text(value: bool) -> None:
    text = store("enable_request_body_logging", value)
    assert text in ("true", "false")
    assert parse_stored("enable_request_body_logging", text) is value


def test_the_references_exponent_form_is_read_too() -> None:
    assert parse_stored("blacklist_threshold", "1e+06") == 1_000_000


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("max_retries", "many"),
        ("max_retries", "1.5"),
        ("max_retries", "-1"),
        ("enable_request_body_logging", "perhaps"),
        ("nonsense", "1"),
    ],
)
def test_a_stored_text_that_is_no_value_is_refused(key: str, text: str) -> None:
    with pytest.raises(ValidationFailed):
        parse_stored(key, text)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("app_url", ["https://ai.example/x?y", "HTTP://[::1]:3001"], ["ai.example", "ftp://a", ""]),
        ("proxy_url", ["", "socks5h://u:p@h:1", "HTTPS://h"], ["h:1", "http://a b", "quic://h"]),
        ("failover_status_codes", ["", "429, 500 - 599,", "400\n401"], ["5xx", "429;500"]),
        ("session_affinity", ["", "prefix", "header: x-id", "body:a.b"], ["cookie:x", "prefixes"]),
    ],
)
def test_a_pattern_passes_what_is_allowed_and_stops_what_a_form_can_know(
    key: str, good: list[str], bad: list[str]
) -> None:
    for text in good:
        assert re.fullmatch(BY_KEY[key].pattern, str(check(key, text, for_group=False)))
    for text in bad:
        assert not re.fullmatch(BY_KEY[key].pattern, text)
        with pytest.raises(ValidationFailed):
            check(key, text, for_group=False)


def test_every_row_has_texts_for_people() -> None:
    for setting in BY_KEY.values():
        assert setting.name
        assert setting.description.endswith(".")
        assert len(setting.description) <= 512
