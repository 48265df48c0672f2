"""Runs the migrations in the transaction that `sql_engine.migrate` opened."""

from alembic import context

from stockade.infra.sql.sql_schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
