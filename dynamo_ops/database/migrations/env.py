"""Alembic's entry: runs on the connection that ``database.migrate`` hands over, in one transaction, one at a time."""

from alembic import context

from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.database.schema import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
with context.begin_transaction():
    hold(connection, Lock.MIGRATION)
    context.run_migrations()
connection.commit()
