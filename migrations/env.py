"""Alembic's entry: runs the migrations on the connection that `orchestrator.store.migrate` hands over."""

from alembic import context
from sqlmodel import SQLModel

from orchestrator.store import migrate, tables

assert tables.batches is not None  # importing the module is what fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    compare_type=True,
    transaction_per_migration=True,
    on_version_apply=migrate.note_oldest_code,
)
with context.begin_transaction():
    context.run_migrations()
