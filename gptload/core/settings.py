"""What may change while the service runs: one table, and how a group's values come about.

A row is an attribute of `Settings`: type, default, range and texts stand beside the
name that the code uses, so nothing can drift apart. The admin API, its checks, the
dashboard's form and docs/settings.md are made from `SETTINGS`. A group's value is its
own override, else the system's, else the default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs
from attrs import frozen

from gptload.core import affinity, statuscodes
from gptload.core.errors import ValidationFailed

Kind = Literal["int", "bool", "string"]
Effect = Literal["request", "run"]
Value = int | bool | str

BASIC: Final = "Basic"
REQUEST: Final = "Request Settings"
KEYS: Final = "Key Configuration"

# A month: whoever writes "practically never" is served, and a typing error is found.
_LONGEST_S: Final = 31 * 86_400
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_ROW: Final = "gptload.setting"


@frozen
class Setting:
    """One row of the table.

    Attributes:
        unit: of an int, for people: `s`, `minutes`, `days`, `bytes` or empty (a count).
        minimum, maximum: of an int, both allowed; None where there is no such bound.
        required: the admin API refuses an empty text; forms mark the field.
        category: the heading that it stands under.
        group_overridable: whether a group may have its own value.
        name: its label.
        description: help text.
        effect: when a change is in force: with the next `request`, or when background work
            has its next `run`.
        pattern: of a string, a regular expression (in Python as in JavaScript) that every
            allowed text matches as a whole; a form knows by it at once what can't be. Empty
            where any text may be.
    """

    key: str
    type: Kind
    unit: str
    default: Value
    minimum: int | None
    maximum: int | None
    required: bool
    category: str
    group_overridable: bool
    name: str
    description: str
    effect: Effect
    pattern: str


def _setting(
    default: Value,
    category: str,
    name: str,
    description: str,
    *,
    unit: str = "",
    between: tuple[int, int] | None = None,
    required: bool = True,
    group: bool = True,
    effect: Effect = "request",
    pattern: str = "",
) -> Any:
    """A row; its key is the attribute's name."""
    kind: Kind = "string"
    if isinstance(default, bool):
        kind = "bool"
    elif isinstance(default, int):
        kind = "int"
    minimum, maximum = between or (None, None)
    row = (kind, unit, default, minimum, maximum, required, category, group, name, description)
    return attrs.field(default=default, metadata={_ROW: (*row, effect, pattern)})


@frozen
class Settings:
    """The effective values of one group, or of the system.

    Attributes:
        failover: the statuses that are retried, when somebody says so; None leaves it
            to the outcome. An override of "" says so too: it retries no status.
    """

    app_url: str = _setting(
        "http://localhost:3001",
        BASIC,
        "Application URL",
        "Base of the addresses that the dashboard shows for each group.",
        group=False,
        pattern=r"[hH][tT][tT][pP][sS]?://\S+",
    )
    proxy_keys: str = _setting(
        "",
        BASIC,
        "Global Proxy Keys",
        "Comma-separated keys that open every group.",
        group=False,
    )
    request_log_retention_days: int = _setting(
        7,
        BASIC,
        "Log Retention Days",
        "How long request logs are kept; 0 keeps them for ever.",
        unit="days",
        between=(0, 36_500),
        group=False,
        effect="run",
    )
    request_log_write_interval_minutes: int = _setting(
        1,
        BASIC,
        "Log Write Interval (minutes)",
        "How often request logs move from the journal to the database; 0 moves them at once. "
        "Whoever opens the logs sees all of them, whatever the interval.",
        unit="minutes",
        between=(0, 1440),
        group=False,
        effect="run",
    )
    enable_request_body_logging: bool = _setting(
        False,
        BASIC,
        "Enable Request Body Logging",
        "Keep the request's body in its log row. Bodies may hold what your users would rather "
        "not have stored.",
        required=False,
    )
    request_timeout: int = _setting(
        600,
        REQUEST,
        "Request Timeout (seconds)",
        "All attempts of one call, body included; of a streamed one, until it begins.",
        unit="s",
        between=(1, _LONGEST_S),
    )
    connect_timeout: int = _setting(
        15,
        REQUEST,
        "Connect Timeout (seconds)",
        "Time to reach an upstream: name look-up, TCP and TLS.",
        unit="s",
        between=(1, 3600),
    )
    idle_conn_timeout: int = _setting(
        120,
        REQUEST,
        "Idle Connection Timeout (seconds)",
        "How long an unused connection to an upstream stays open.",
        unit="s",
        between=(1, _LONGEST_S),
    )
    response_header_timeout: int = _setting(
        600,
        REQUEST,
        "Response Header Timeout (seconds)",
        "From the request sent to the head of its response.",
        unit="s",
        between=(1, _LONGEST_S),
    )
    max_idle_conns: int = _setting(
        100,
        REQUEST,
        "Max Idle Connections",
        "Unused upstream connections kept open, all hosts together.",
        between=(1, 1_000_000),
    )
    max_idle_conns_per_host: int = _setting(
        50,
        REQUEST,
        "Max Idle Connections Per Host",
        "Unused upstream connections kept open to one host.",
        between=(1, 1_000_000),
    )
    proxy_url: str = _setting(
        "",
        REQUEST,
        "Proxy Server URL",
        "Outbound proxy to the upstreams: http://, https://, socks5:// or socks5h://, with "
        "user and password if need be. Empty: HTTP_PROXY, HTTPS_PROXY and NO_PROXY decide.",
        required=False,
        pattern=r"(([hH][tT][tT][pP][sS]?|[sS][oO][cC][kK][sS]5[hH]?)://\S+)?",
    )
    max_retries: int = _setting(
        3,
        KEYS,
        "Max Retries",
        "Attempts after the first one, each with another key.",
        between=(0, 10_000),
    )
    blacklist_threshold: int = _setting(
        3,
        KEYS,
        "Blacklist Threshold",
        "Rejections in a row after which a key is invalid; 0 is never.",
        between=(0, 1_000_000_000),
    )
    failover_status_codes: str = _setting(
        "",
        KEYS,
        "Failover Status Codes",
        "Statuses that are retried, such as 401,429,500-599. Empty: what the answer means "
        "decides. It never changes which key is blamed.",
        required=False,
        pattern=r"[0-9,\s-]*",
    )
    key_validation_interval_minutes: int = _setting(
        60,
        KEYS,
        "Key Validation Interval (minutes)",
        "Between two background checks of an invalid key.",
        unit="minutes",
        between=(1, 525_600),
        effect="run",
    )
    key_validation_concurrency: int = _setting(
        10,
        KEYS,
        "Key Validation Concurrency",
        "Keys of one group that are checked at the same time.",
        between=(1, 1000),
        effect="run",
    )
    key_validation_timeout_seconds: int = _setting(
        20,
        KEYS,
        "Key Validation Timeout (seconds)",
        "Time for one check of a key.",
        unit="s",
        between=(1, 3600),
        effect="run",
    )
    # Ours; the reference has no bound here.
    max_buffered_body: int = _setting(
        8_388_608,
        REQUEST,
        "Max Buffered Request Body (bytes)",
        "A request body up to this size is kept, so that an attempt can be repeated. A larger "
        "one streams through and is not repeated once bytes have left.",
        unit="bytes",
        between=(0, 1_073_741_824),
    )
    max_wait_for_key: int = _setting(
        0,
        KEYS,
        "Max Wait For Key (seconds)",
        "How long a call waits, in its turn, for the first key to come back when all of them "
        "rest; 0 answers 429 at once. Either way the answer says when to come back.",
        unit="s",
        between=(0, 3600),
    )
    first_token_timeout: int = _setting(
        0,
        REQUEST,
        "First Token Timeout (seconds)",
        "From a stream's head to its first event with content; then another key or upstream is "
        "tried. 0 is no limit.",
        unit="s",
        between=(0, 3600),
    )
    stream_hold_milliseconds: int = _setting(
        1000,
        REQUEST,
        "Stream Hold (milliseconds)",
        "How long a stream's first events, which carry no content yet, are held back, so that a "
        "stream that fails before its first word can be tried again unnoticed.",
        unit="ms",
        between=(0, 60_000),
    )
    stream_idle_timeout: int = _setting(
        600,
        REQUEST,
        "Stream Idle Timeout (seconds)",
        "Longest silence of an upstream between two parts of a stream; then the stream ends with "
        "an error event. 0 is no limit.",
        unit="s",
        between=(0, 86_400),
    )
    stream_timeout: int = _setting(
        0,
        REQUEST,
        "Stream Timeout (seconds)",
        "Longest life of a whole stream; 0 never cuts one that is alive.",
        unit="s",
        between=(0, _LONGEST_S),
    )
    session_affinity: str = _setting(
        "",
        KEYS,
        "Session Affinity",
        "Which requests prefer the same key while it is well, so that the provider's prompt "
        "caches hit: `prefix` (system and first user message), `header:NAME` or `body:NAME`. "
        "Empty: none. No key gets more than its share plus a quarter.",
        required=False,
        pattern=r"(prefix|(header|body)\s*:[\s\S]+)?",
    )
    pass_account_headers: bool = _setting(
        False,
        REQUEST,
        "Pass Account Headers",
        "Let clients see the pool account's identity and limits: `openai-organization`, "
        "`anthropic-organization-id`, `x-ratelimit-*` and their like.",
        required=False,
    )
    failover: frozenset[int] | None = None


SETTINGS: Final[tuple[Setting, ...]] = tuple(
    Setting(attribute.name, *attribute.metadata[_ROW])
    for attribute in attrs.fields(Settings)
    if _ROW in attribute.metadata
)
BY_KEY: Final[Mapping[str, Setting]] = {setting.key: setting for setting in SETTINGS}


def resolve(system: Mapping[str, object], overrides: Mapping[str, object]) -> Settings:
    """A group's effective settings.

    Args:
        system: checked values by key; what is missing has its default.
        overrides: the group's checked values. None and what a group can't override
            count as absent; an empty text counts.
    """
    own = {
        key: value
        for key, value in overrides.items()
        if value is not None and key in BY_KEY and BY_KEY[key].group_overridable
    }
    chosen: dict[str, Any] = {key: value for key, value in system.items() if key in BY_KEY}
    chosen.update(own)
    codes = chosen.get("failover_status_codes", "")
    if codes or "failover_status_codes" in own:
        chosen["failover"] = statuscodes.parse(codes)
    return Settings(**chosen)


def check(key: str, value: object, *, for_group: bool) -> Value:
    """A value from outside as it may be stored.

    Args:
        value: as JSON gave it.
        for_group: whether it is a group's override; else the system's.

    Returns:
        The value in its normal form: whole floats as ints, texts trimmed.

    Raises:
        ValidationFailed: it can't be; the text says why, without the value where that
            may hold a secret.
    """
    setting = BY_KEY.get(key)
    if for_group and (setting is None or not setting.group_overridable):
        raise ValidationFailed(f"unknown config field: '{key}'")
    if setting is None:
        raise ValidationFailed(f"invalid setting key: {key}")
    if setting.type == "int":
        return _whole(setting, value)
    if setting.type == "bool":
        if not isinstance(value, bool):
            expected = "boolean" if for_group else "a boolean"
            raise ValidationFailed(
                f"invalid type for {key}: expected {expected}, got {_kind(value)}"
            )
        return value
    return _text(setting, value)


def parse_stored(key: str, text: str) -> Value:
    """A system setting from its text in the database.

    Raises:
        ValidationFailed: the key is unknown or the text no value of it.
    """
    setting = BY_KEY.get(key)
    value: object = text
    if setting is not None and setting.type == "bool":
        value = {"true": True, "1": True, "false": False, "0": False}.get(
            text.strip().lower(), text
        )
    elif setting is not None and setting.type == "int":
        value = _number(text)
    return check(key, value, for_group=False)


def store(key: str, value: Value) -> str:
    """The text of a checked value in the database. `parse_stored` reads it back."""
    if BY_KEY[key].type == "bool":
        return "true" if value else "false"
    return str(value)


def _number(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)  # the reference stored 1,000,000 as `1e+06`
    except ValueError:
        return text


def _whole(setting: Setting, value: object) -> int:
    key = setting.key
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationFailed(f"invalid type for {key}: expected a number, got {_kind(value)}")
    if isinstance(value, float) and not value.is_integer():
        raise ValidationFailed(f"invalid value for {key}: must be an integer")
    number = int(value)
    if setting.minimum is not None and number < setting.minimum:
        raise ValidationFailed(
            f"value for {key} ({number}) is below minimum value ({setting.minimum})"
        )
    if setting.maximum is not None and number > setting.maximum:
        raise ValidationFailed(
            f"value for {key} ({number}) is above maximum value ({setting.maximum})"
        )
    return number


def _text(setting: Setting, value: object) -> str:
    key = setting.key
    if not isinstance(value, str):
        raise ValidationFailed(f"invalid type for {key}: expected a string, got {_kind(value)}")
    # A lone surrogate fits no database and no wire; JSON can spell one.
    if "\0" in value or not _encodes(value):
        raise ValidationFailed(f"invalid value for {key}: it holds a character that can't be kept")
    text = value.strip()
    if key == "proxy_keys":
        text = ",".join(split_keys(text))
    if setting.required and not text:
        raise ValidationFailed(f"value for {key} is required")
    if key == "failover_status_codes":
        try:
            statuscodes.parse(text)
        except ValueError as error:
            raise ValidationFailed(
                f"invalid value for {key} ({json.dumps(text, ensure_ascii=False)}): {error}"
            ) from None
    elif key == "proxy_url" and text:
        _url(key, text, _PROXY_SCHEMES)
    elif key == "app_url":
        _url(key, text, ("http", "https"))
    elif key == "session_affinity":
        affinity.parse(text)
    return text


def split_keys(text: str) -> list[str]:
    """The proxy keys of a comma-separated text, in their order, each once."""
    parts = (part.strip() for part in text.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def _url(key: str, text: str, schemes: tuple[str, ...]) -> None:
    # The URL itself stays out of the text: it may hold a password.
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValidationFailed(f"invalid value for {key}: not a URL") from None
    if parts.scheme.lower() not in schemes:
        expected = ", ".join(f"{scheme}://" for scheme in schemes)
        raise ValidationFailed(f"invalid value for {key}: must start with one of {expected}")
    if not host or any(character.isspace() for character in text):
        raise ValidationFailed(f"invalid value for {key}: it names no host")
    if port == 0:
        raise ValidationFailed(f"invalid value for {key}: port out of range")


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    """What JSON calls a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
