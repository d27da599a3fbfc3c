"""What the admin API answers, as schemas: for `/api/openapi.json` and whoever reads it.

Nothing is built from them at run time. The tests hold every real answer against them,
so they can't drift from `gptload.control.admin.schemas`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gptload.core.settings import Value

Time = str
"""RFC 3339, UTC."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class Pagination(_Answer):
    """Where a page stands."""

    page: int
    page_size: int
    total_items: int
    total_pages: int


class LoggedIn(BaseModel):
    """The answer of a login; it has no envelope."""

    success: bool
    message: str
    expires_at: Time


class DoorStatus(_Answer):
    """What one is told before signing in."""

    has_default_key: bool


class Health(_Answer):
    """The answer of `/health`; it has no envelope."""

    status: str
    timestamp: Time
    uptime: str
    version: str


class Upstream(_Answer):
    """A base URL that a group calls."""

    url: str
    weight: int


class TestedKey(_Answer):
    """What a test of a key showed; `error` is empty for a good one."""

    id: int
    is_valid: bool
    error: str


class UndoKeys(_Answer):
    """`POST /api/keys/undelete` takes a deletion back until then."""

    batch: str
    until: Time


class RevealedKey(_Answer):
    """A whole key."""

    id: int
    key_value: str


class RevealedSetting(_Answer):
    """A setting's value, whole."""

    key: str
    value: str


class RevealedGroup(_Answer):
    """What is masked of a group, whole."""

    id: int
    proxy_keys: str
    upstreams: list[Upstream]
    header_rules: list[dict[str, str]]
    config: dict[str, Any]


class Group(_Answer):
    """A group."""

    id: int
    name: str
    endpoint: str
    display_name: str
    description: str
    group_type: str
    upstreams: list[Upstream]
    channel_type: str
    sort: int
    test_model: str
    validation_endpoint: str
    param_overrides: dict[str, Any]
    model_redirect_rules: dict[str, str]
    model_redirect_strict: bool
    config: dict[str, Any]
    header_rules: list[dict[str, str]]
    error_rules: list[dict[str, Any]]
    proxy_keys: str
    last_validated_at: Time | None
    created_at: Time
    updated_at: Time
    problem: str
    effective_config: dict[str, Value]
    config_sources: dict[str, Literal["group", "system", "default"]]


class CopiedGroup(_Answer):
    """A group's copy."""

    group: Group


class GroupName(_Answer):
    """A group in a drop-down list."""

    id: int
    name: str
    display_name: str


class Option(_Answer):
    """A setting that a group may have its own value of; `default_value` is the system's."""

    key: str
    name: str
    description: str
    default_value: Value
    type: Literal["int", "bool", "string"]
    unit: str
    category: str


class KeyStats(_Answer):
    """Keys of a group."""

    total_keys: int
    active_keys: int
    invalid_keys: int


class RequestStats(_Answer):
    """Requests of a window; the rate is from 0 to 1."""

    total_requests: int
    failed_requests: int
    failure_rate: float


class GroupStats(_Answer):
    """What a group's card shows."""

    key_stats: KeyStats
    stats_24_hour: RequestStats
    stats_7_day: RequestStats
    stats_30_day: RequestStats


class Member(_Answer):
    """A sub-group of an aggregate."""

    group: Group
    weight: int
    total_keys: int
    active_keys: int
    invalid_keys: int


class Parent(_Answer):
    """An aggregate that a group belongs to."""

    group_id: int
    name: str
    display_name: str
    weight: int


class Key(_Answer):
    """A key of a group."""

    id: int
    key_value: str
    key_hash: str
    group_id: int
    status: str
    notes: str
    request_count: int
    failure_count: int
    last_used_at: Time | None
    created_at: Time
    updated_at: Time
    state: str
    kind: str
    rest_until: Time | None
    reason: str
    model_rests: dict[str, Time]
    account: str
    weight: int


class Kinds(_Answer):
    """A group's keys in the six words of the dashboard."""

    active: int
    suspect: int
    cooling: int
    exhausted: int
    invalid: int
    disabled: int


class ReasonCount(_Answer):
    """Why keys are not active."""

    reason: str
    count: int


class KeyFacets(_Answer):
    """What a list of keys can be narrowed to."""

    kinds: Kinds
    reasons: list[ReasonCount]


class KeyChange(_Answer):
    """A line of a key's timeline."""

    at: Time
    event: str
    state: str
    cause: str


class Log(_Answer):
    """One attempt of one request."""

    id: str
    timestamp: Time
    group_id: int
    group_name: str
    parent_group_id: int
    parent_group_name: str
    key_value: str
    key_hash: str
    model: str
    is_success: bool
    source_ip: str
    status_code: int
    request_path: str
    duration_ms: int
    error_message: str
    user_agent: str
    request_type: str
    upstream_addr: str
    is_stream: bool
    request_body: str
    connect_ms: int | None
    first_byte_ms: int | None
    first_token_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    audio_tokens: int | None
    cost_nano_usd: int | None


class NameCount(_Answer):
    """A name, and how many attempts there were."""

    name: str
    count: int


class StatusCount(_Answer):
    """A status, and how many attempts there were."""

    code: int
    count: int


class LogCount(_Answer):
    """How many rows of the log match."""

    total_items: int
    total_is_exact: bool


class LogFacets(_Answer):
    """What the log can be narrowed to, the most frequent first, up to 200 of each."""

    groups: list[NameCount]
    parent_groups: list[NameCount]
    models: list[NameCount]
    status_codes: list[StatusCount]
    outcomes: list[NameCount]
    upstreams: list[NameCount]


class KeyWave(_Answer):
    """What happened to some keys of a group at about the same time."""

    group_id: int
    group_name: str
    event: str
    reason: str
    status_code: int
    since: Time
    at: Time
    until: Time | None
    keys: int
    key_id: int | None


class KeyWaves(_Answer):
    """Waves of a range, the one that ended last first."""

    items: list[KeyWave]


class Setting(_Answer):
    """A system setting."""

    key: str
    name: str
    value: Value
    type: Literal["int", "bool", "string"]
    default_value: str
    description: str
    category: str
    required: bool
    unit: str
    group_overridable: bool
    effect: Literal["request", "run"]
    pattern: str
    is_set: bool
    set_at: Time | None
    overridden_by: int


class SettingCategory(_Answer):
    """Settings under one heading."""

    category_name: str
    settings: list[Setting]


class Variable(_Answer):
    """A variable of the environment; of a secret only its end, where it is long enough."""

    name: str
    value: str
    origin: Literal["environment", ".env", "default"]
    is_secret: bool


class SettingChange(_Answer):
    """A setting before and after; null: unset. Secrets are masked."""

    key: str
    old_value: Value | None
    new_value: Value | None


class ChangedSetting(SettingChange):
    """What a call changed, and under which number the history has it."""

    history_id: int


class ChangedSettings(_Answer):
    """What a call changed."""

    changed: list[ChangedSetting]


class SettingHistory(SettingChange):
    """An entry of the settings' history."""

    id: int
    at: Time
    source_ip: str
    undo_of: int | None


class AuditEntry(_Answer):
    """A call that changed something; status 0: the client was gone before the answer."""

    id: int
    at: Time
    source_ip: str
    method: str
    route: str
    subject: str
    subject_id: int | None
    status: int
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Card(_Answer):
    """A figure of the dashboard."""

    value: float
    trend: float
    trend_is_growth: bool


class Warning(_Answer):
    """A secret that is weak."""

    type: str
    message: str
    severity: Literal["high", "medium"]
    suggestion: str


class Dashboard(_Answer):
    """The dashboard's figures."""

    key_count: Card
    rpm: Card
    request_count: Card
    error_rate: Card
    security_warnings: list[Warning]


class Dataset(_Answer):
    """A line of the chart."""

    label: str
    data: list[int]
    color: str


class Chart(_Answer):
    """The last 24 hours."""

    labels: list[Time]
    datasets: list[Dataset]


class EncryptionStatus(_Answer):
    """Whether ENCRYPTION_KEY and the stored keys fit together."""

    has_mismatch: bool
    scenario_type: Literal["", "data_not_encrypted", "key_not_configured", "key_mismatch"]
    message: str
    suggestion: str


class Integration(_Answer):
    """A group that a proxy key opens."""

    name: str
    display_name: str
    channel_type: str
    path: str


class Breaker(_Answer):
    """The state of a way to an upstream."""

    way: str
    state: str
    changed_at: Time
    retry_at: Time | None
    reason: str


class SimulatedKey(_Answer):
    """A key by its ends."""

    id: int
    key_value: str
    weight: int


class UpstreamReach(_Answer):
    """Whether an upstream answers; any status shows that somebody is there."""

    status: int | None
    duration_ms: int
    error: str


class SimulatedUpstream(_Answer):
    """An upstream as requests for the model see it; others are preferred to one `is_avoided`."""

    number: int
    url: str
    weight: int
    breaker: str
    retry_at: Time | None
    reason: str
    is_avoided: bool


class SimulatedMember(_Answer):
    """A group that may serve; `out` says why it can't now. `weight` is null of the group asked."""

    group_id: int
    weight: int | None
    keys: int
    serving: int
    resting_for_model: int
    wakes_at: Time | None
    upstreams: list[SimulatedUpstream]
    out: str | None


class SimulatedChoice(_Answer):
    """Who would make the first attempt, and whose turn is next if that key fails."""

    group_id: int
    upstream: int
    key: SimulatedKey
    then: list[SimulatedKey]
    is_forced: bool


class SimulatedRequest(_Answer):
    """What the chosen upstream would get; `sample` is the body before the groups' rules.

    A `refusal` says which rule lets nothing leave.
    """

    head: str
    sample: str
    body: str
    refusal: str


class SimulatedAttempt(_Answer):
    """One attempt of a plan; `after_s` is the longest that it would be held back before.

    `pays`: key_strike, key_rest, upstream or nobody. A key that rests does until `until`.
    """

    group_id: int
    upstream: int
    key: SimulatedKey
    after_s: float
    status: int
    outcome: str
    reason: str
    pays: str
    until: Time | None


class SimulatedPlan(_Answer):
    """What follows when attempts fail as asked.

    `end`: answered, returned (the client gets the last failure), nobody (so it does, for
    want of somebody else to ask) or waits (for a key, until `wakes_at` at the earliest).
    """

    attempts: list[SimulatedAttempt]
    end: str
    wakes_at: Time | None


class Simulation(_Answer):
    """What would become of a request now.

    `choice`, `request` and `plan` are null when nobody can serve it.
    """

    members: list[SimulatedMember]
    choice: SimulatedChoice | None
    has_affinity: bool
    request: SimulatedRequest | None
    plan: SimulatedPlan | None


class KeyStates(_Answer):
    """A group's keys by state, and by the dashboard's finer words."""

    group_id: int
    active: int
    resting: int
    invalid: int
    disabled: int
    kinds: Kinds


class Deletion(_Answer):
    """A deletion that can still be undone."""

    batch: str
    count: int
    deleted_at: Time
    kept_until: Time


class TaskLeft(_Answer):
    """How many keys of a task failed, weren't reached, or were rejected by a test; and how
    many more there are that a retry can't name."""

    failed: int
    unreached: int
    rejected: int
    unnamed: int


class Task(_Answer):
    """Long work that somebody asked for."""

    id: int
    kind: str
    group_id: int
    group_name: str
    state: str
    is_cancelling: bool
    processed: int
    total: int
    result: dict[str, Any]
    left: TaskLeft | None
    retry_of: int | None
    retried_by: int | None
    error: str
    source_ip: str
    started_at: Time
    updated_at: Time
    finished_at: Time | None


class TaskStatus(_Answer):
    """A task as the reference shows it."""

    task_type: str
    is_running: bool
    processed: int
    total: int
    started_at: Time


class Acted(_Answer):
    """What came of a deed for many keys: at once, or as a task."""

    count: int
    changed: int
    task: Task | None
    undo: UndoKeys | None
    results: list[TestedKey] | None


class Exchange(_Answer):
    """One client request with its attempts."""

    exchange_id: str
    attempts: list[Log]


class MetaDatabase(_Answer):
    """Which database a node has, and whether it answers."""

    kind: str
    state: Literal["ok", "away"]


class NodeDatabase(MetaDatabase):
    """The same, with since when and why it doesn't."""

    since: Time | None
    reason: str


class NodeJournal(_Answer):
    """What waits for the database; `dropped` counts records given up since the start."""

    waiting_bytes: int
    segments: int
    dropped: int
    limit_bytes: int


class NodeJob(_Answer):
    """Work that repeats, and how its last turns went."""

    name: str
    state: Literal["ok", "failing"]
    last_success_at: Time | None
    last_failure_at: Time | None
    last_failure: str
    failures: int
    failing_since: Time | None
    next_run_at: Time | None


class NodeConnections(_Answer):
    """Connections to upstreams; the idle ones are among the open ones."""

    open: int
    idle: int


class EventLoop(_Answer):
    """By how much the event loop was late: of the last second, and the last minute's worst."""

    delay_ms: float
    worst_ms: float


class Node(_Answer):
    """A node, and how its parts do."""

    name: str
    role: str
    version: str
    started_at: Time
    uptime_s: int
    last_seen_at: Time
    settings_version: int
    database: NodeDatabase
    journal: NodeJournal
    jobs: list[NodeJob]
    breakers_open: list[str]
    exchanges_under_way: int
    connections: NodeConnections
    event_loop: EventLoop


class MetaSession(_Answer):
    """How the caller is signed in; `expires_at` of a cookie."""

    by: Literal["key", "cookie"]
    expires_at: Time | None


class Meta(_Answer):
    """A node. When `build` is another one, load the page again."""

    node: str
    version: str
    build: str
    role: str
    database: MetaDatabase
    languages: list[str]
    started_at: Time
    now: Time
    session: MetaSession
