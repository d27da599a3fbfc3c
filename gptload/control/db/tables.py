"""The tables, as SQLAlchemy Core describes them; migrations/ makes them.

Names and columns follow the reference's schema, so that its databases can be
imported. What is ours is marked. Times are epoch seconds, so no zone of a server
or a database can shift them.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT

metadata = MetaData()

# SQLite only counts up a column that is exactly INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
# Epoch seconds. A double holds microseconds exactly enough until the year 2100.
Instant: Double[float] = Double()
# MySQL's TEXT ends at 65,535 bytes.
LongText = Text().with_variant(MEDIUMTEXT, "mysql")

system_settings = Table(
    "system_settings",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("setting_key", String(255), nullable=False, unique=True),
    Column("setting_value", LongText, nullable=False),
    Column("description", String(512), nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("display_name", String(255), nullable=False, server_default=""),
    Column("proxy_keys", LongText, nullable=False),
    Column("description", String(512), nullable=False, server_default=""),
    Column("group_type", String(50), nullable=False, server_default="standard"),
    Column("upstreams", JSON, nullable=False),
    Column("validation_endpoint", String(255), nullable=False, server_default=""),
    Column("channel_type", String(50), nullable=False),
    Column("sort", Integer, nullable=False, server_default="0"),
    Column("test_model", String(255), nullable=False),
    Column("param_overrides", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("header_rules", JSON, nullable=False),
    Column("model_redirect_rules", JSON, nullable=False),
    Column("model_redirect_strict", Boolean, nullable=False, server_default="0"),
    Column("error_rules", JSON(none_as_null=True), nullable=True),  # ours; a list or nothing
    Column("last_validated_at", Instant, nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    sqlite_autoincrement=True,  # an id that was deleted never comes back, see api_keys
)

group_sub_groups = Table(
    "group_sub_groups",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("group_id", Id, ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
    Column("sub_group_id", Id, ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
    Column("weight", Integer, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("group_id", "sub_group_id", name="idx_group_sub"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("key_value", Text, nullable=False),  # sealed when ENCRYPTION_KEY is set
    Column("key_hash", String(128), nullable=False),
    Column("group_id", Id, ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
    # `active`, `invalid` as in the reference; ours: `disabled`. A rest is `active`
    # with `rest_until` in the future, so that a restart needs no clean-up.
    Column("status", String(50), nullable=False, server_default="active"),
    Column("notes", String(255), nullable=False, server_default=""),
    Column("request_count", BigInteger, nullable=False, server_default="0"),
    Column("failure_count", Integer, nullable=False, server_default="0"),  # strikes in a row
    Column("last_used_at", Instant, nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    # Ours: why the key is not active, since when, until when.
    Column("rest_until", Instant, nullable=True),
    Column("reason", String(128), nullable=False, server_default=""),
    Column("changed_at", Instant, nullable=True),
    Column("weight", Integer, nullable=False, server_default="1"),
    Column("account", String(128), nullable=False, server_default=""),
    Column("model_rests", JSON(none_as_null=True), nullable=True),  # {model: epoch seconds}
    UniqueConstraint("group_id", "key_hash", name="idx_api_keys_group_hash"),
    Index("idx_api_keys_key_hash", "key_hash"),
    Index("idx_api_keys_group_status", "group_id", "status"),
    Index("idx_api_keys_group_last_used_id", "group_id", "last_used_at", "id"),
    # What is still on its way about a deleted key must never meet a new one.
    sqlite_autoincrement=True,
)

# Ours: keys that were deleted a moment ago, so that a mistake can be undone; all that
# makes the key what it was. No query that looks for keys can meet one of them.
removed_keys = Table(
    "removed_keys",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),  # as it was in api_keys
    Column("key_value", Text, nullable=False),
    Column("key_hash", String(128), nullable=False),
    Column("group_id", Id, ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
    Column("status", String(50), nullable=False),
    Column("notes", String(255), nullable=False),
    Column("request_count", BigInteger, nullable=False),
    Column("failure_count", Integer, nullable=False),
    Column("last_used_at", Instant, nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("rest_until", Instant, nullable=True),
    Column("reason", String(128), nullable=False),
    Column("changed_at", Instant, nullable=True),
    Column("weight", Integer, nullable=False),
    Column("account", String(128), nullable=False),
    Column("model_rests", JSON(none_as_null=True), nullable=True),
    Column("batch", String(32), nullable=False),  # what one command deleted
    Column("removed_at", Instant, nullable=False),
    Index("idx_removed_keys_batch", "batch", "id"),
    Index("idx_removed_keys_group_id", "group_id"),
    Index("idx_removed_keys_removed_at", "removed_at"),
)

# Ours: long work that somebody asked for: imports, deletions, tests of many keys.
tasks = Table(
    "tasks",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),  # `import`, `delete`, `validate`, …
    Column("group_id", Id, nullable=False),
    Column("group_name", String(255), nullable=False, server_default=""),
    # `running`, `done`, `failed`, `cancelled`, `interrupted`.
    Column("state", String(16), nullable=False),
    # The group while it runs, then nothing: so a group has one running task at most.
    Column("running_group", Id, nullable=True),
    Column("owner", String(64), nullable=False),
    Column("lease_until", Instant, nullable=False),  # past it, its owner is gone
    Column("is_cancelled", Boolean, nullable=False, server_default="0"),
    Column("processed", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("result", JSON(none_as_null=True), nullable=True),
    # What it failed at or didn't come to, by `gptload.control.keycourse`; nothing where
    # that isn't known. With `of` and `next`: the task that it retries, and its retry.
    Column("remainder", JSON(none_as_null=True), nullable=True),
    Column("error", String(512), nullable=False, server_default=""),
    Column("source_ip", String(64), nullable=False, server_default=""),  # who asked for it
    Column("started_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant, nullable=True),
    UniqueConstraint("running_group", name="idx_tasks_running_group"),
    sqlite_autoincrement=True,
)

request_logs = Table(
    "request_logs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("timestamp", Instant, nullable=False),  # the attempt's begin
    Column("group_id", Id, nullable=False),
    Column("group_name", String(255), nullable=False, server_default=""),
    Column("parent_group_id", Id, nullable=False, server_default="0"),
    Column("parent_group_name", String(255), nullable=False, server_default=""),
    Column("key_value", Text, nullable=False),
    Column("key_hash", String(128), nullable=False, server_default=""),
    Column("model", String(255), nullable=False, server_default=""),
    Column("is_success", Boolean, nullable=False),
    Column("source_ip", String(64), nullable=False, server_default=""),
    Column("status_code", Integer, nullable=False),
    Column("request_path", String(500), nullable=False, server_default=""),
    Column("duration", BigInteger, nullable=False),  # ms, this attempt alone
    Column("error_message", Text, nullable=False),
    Column("user_agent", String(512), nullable=False, server_default=""),
    Column("request_type", String(20), nullable=False, server_default="final"),
    Column("upstream_addr", String(500), nullable=False, server_default=""),
    Column("is_stream", Boolean, nullable=False),
    Column("request_body", LongText, nullable=False),
    # Ours.
    Column("exchange_id", String(36), nullable=False, server_default=""),
    Column("key_id", Id, nullable=False, server_default="0"),
    Column("first_byte_ms", BigInteger, nullable=True),
    Column("total_ms", BigInteger, nullable=False, server_default="0"),
    Column("outcome", String(32), nullable=False, server_default=""),
    Column("reason", String(128), nullable=False, server_default=""),
    Column("method", String(16), nullable=False, server_default=""),
    # What the verdict was about, and until when it rests whom.
    Column("scope", String(16), nullable=False, server_default=""),
    Column("rest_until", Instant, nullable=True),
    Column("account", String(128), nullable=False, server_default=""),
    Column("signature", String(255), nullable=False, server_default=""),
    Column("kind_id", Id, nullable=False, server_default="0"),  # of log_kinds
    # None is not said, or not known; see gptload.core.usage and gptload.control.prices.
    Column("input_tokens", Integer, nullable=True),
    Column("output_tokens", Integer, nullable=True),
    Column("cached_tokens", Integer, nullable=True),
    Column("cache_write_tokens", Integer, nullable=True),
    Column("reasoning_tokens", Integer, nullable=True),
    Column("audio_tokens", Integer, nullable=True),
    Column("cost_nano", BigInteger, nullable=True),  # nano-dollars
    Column("first_token_ms", BigInteger, nullable=True),  # None: no stream, or none seen
    Column("connect_ms", BigInteger, nullable=True),  # None: no connection
    # Each filter has one that is read in the order in which rows are shown, and holds all
    # that it takes to pass over a row: see queries/logs.py.
    Index("idx_request_logs_timestamp", "timestamp", "id", "kind_id"),
    Index("idx_request_logs_kind", "kind_id", "timestamp", "id"),
    Index("idx_request_logs_key", "key_hash", "timestamp", "id", "kind_id"),
    Index("idx_request_logs_ip", "source_ip", "kind_id", "timestamp", "id"),
    Index("idx_request_logs_exchange_id", "exchange_id"),
)

# Ours: what rows of the log have in common that people filter by, and how many there are.
# Some thousands of these stand for all combinations that happened, so that any two filters
# are one question, and a total is a sum of few numbers. Written with the rows themselves.
log_kinds = Table(
    "log_kinds",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("digest", String(32), nullable=False),  # of all that follows
    Column("group_name", String(255), nullable=False),
    Column("parent_group_name", String(255), nullable=False),
    Column("model", String(255), nullable=False),  # "…": of many, see queries/logkinds.py
    Column("is_success", Boolean, nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("request_type", String(20), nullable=False),
    Column("count", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("digest", name="idx_log_kinds_digest"),
    sqlite_autoincrement=True,  # a row that is still on its way must not meet a new one
)

# Ours, in the place of the reference's hourly statistics: what happened in each minute,
# hour and day, to everything and to each group, model, key and upstream. See
# gptload/control/statistics.py.
rollups = Table(
    "rollups",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),  # seconds
    Column("at", BigInteger, primary_key=True, autoincrement=False),  # its begin, epoch seconds
    Column("subject", String(64), primary_key=True),
    Column("group_id", Id, nullable=False, server_default="0"),
    Column("name", String(255), nullable=False, server_default=""),
    Column("requests", BigInteger, nullable=False, server_default="0"),
    Column("succeeded", BigInteger, nullable=False, server_default="0"),
    Column("attempts", BigInteger, nullable=False, server_default="0"),
    Column("detail", Text, nullable=False),  # see Tally.detail
)

# Ours: records of the log that no roll-up counts yet, as journal lines, a row a slice.
rollup_pending = Table(
    "rollup_pending",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("count", Integer, nullable=False),
    Column("records", LongText, nullable=False),
)

# Ours: what happened to each key, and why: its timeline. Written with the state it tells of.
key_changes = Table(
    "key_changes",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("key_id", Id, nullable=False),
    Column("group_id", Id, nullable=False),
    Column("at", Instant, nullable=False),
    Column("event", String(32), nullable=False),  # `struck`, `rested`, `struck_out`, …
    Column("state", String(16), nullable=False),  # what held from then on
    Column("strikes", Integer, nullable=False, server_default="0"),
    Column("until", Instant, nullable=True),
    Column("model", String(255), nullable=False, server_default=""),
    Column("account", String(128), nullable=False, server_default=""),
    Column("reason", String(128), nullable=False, server_default=""),
    Column("status_code", Integer, nullable=False, server_default="0"),
    Column("exchange_id", String(36), nullable=False, server_default=""),
    Column("named", Boolean, nullable=True),  # of a rest: the answer said until when
    Index("idx_key_changes_key_id", "key_id", "id"),
    Index("idx_key_changes_at", "at"),
)

# Ours: which key made a resource of the provider's, as only that key can use it.
resource_owners = Table(
    "resource_owners",
    metadata,
    Column("group_id", Id, primary_key=True, autoincrement=False),
    Column("resource", String(200), primary_key=True),
    Column("key_id", Id, nullable=False),
    Column("upstream", Integer, nullable=False),
    Column("until", Instant, nullable=False),
    Index("idx_resource_owners_until", "until"),
)

# Ours: every change of a setting, so that each can be undone. None is "never set".
setting_history = Table(
    "setting_history",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("source_ip", String(64), nullable=False, server_default=""),
    Column("setting_key", String(255), nullable=False),
    Column("old_value", LongText, nullable=True),
    Column("new_value", LongText, nullable=True),
    Column("undo_of", Id, nullable=True),  # the entry that this one took back
    Index("idx_setting_history_key", "setting_key", "id"),
)

# Ours: every call of the admin API that changed something. Holds no secrets.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("source_ip", String(64), nullable=False, server_default=""),
    Column("method", String(16), nullable=False),
    Column("route", String(128), nullable=False),  # `/api/groups/:id`
    Column("subject", String(32), nullable=False),
    Column("subject_id", Id, nullable=True),
    Column("status", Integer, nullable=False),  # 0: the client was gone before the answer
    Column("before", JSON(none_as_null=True), nullable=True),
    Column("after", JSON(none_as_null=True), nullable=True),
    Index("idx_audit_log_at", "at"),
    Index("idx_audit_log_subject", "subject", "subject_id"),
)

# Ours: how far each journal file has been moved here. Written in the transaction
# that inserts the rows, so that a crash between the two can't double or lose one.
journal_positions = Table(
    "journal_positions",
    metadata,
    Column("segment", String(64), primary_key=True),
    Column("offset", BigInteger, nullable=False),
)

# Ours: facts about this database itself, e.g. the salt of its encryption.
facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
