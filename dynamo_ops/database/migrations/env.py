"""Alembic's entry: runs on the connection that ``database.migrate`` hands over, in one transaction, one at a time."""

from alembic import context
from sqlalchemy import text

from dynamo_ops.database.schema import Base

MIGRATION_LOCK = 7_203_114_906

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
with context.begin_transaction():
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    context.run_migrations()
connection.commit()
