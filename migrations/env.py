"""How alembic runs a step: on the connection that `gptload.control.db.migrate` opened."""

from __future__ import annotations

from alembic import context

from gptload.control.db.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite can't change a table in place.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    # All steps or none: a start that fails half-way leaves the schema that it found.
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
