"""sums of what is where, by dataset, site and owner, and triggers that note what changes them

They are filled from what is there, in the transaction that makes the triggers: it keeps out who would write meanwhile.
"""

from alembic import op
import sqlalchemy as sa

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None

# No joins of old and new rows: a trigger's plan is kept for the session, and what is right for ten rows is not for a
# million. Sums by key need no estimate.
NOTE_REPLICAS = """
    CREATE FUNCTION note_block_replicas() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO usage_changes (block_id, dataset_id, site_id, group_id, num_blocks, num_complete, size_bytes)
            SELECT block_id, dataset_id, site_id, coalesce(group_id, 0), 1, CAST(is_complete AS int), size_bytes
            FROM new_rows;
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO usage_changes (block_id, dataset_id, site_id, group_id, num_blocks, num_complete, size_bytes)
            SELECT block_id, dataset_id, site_id, coalesce(group_id, 0), -1, -CAST(is_complete AS int), -size_bytes
            FROM old_rows;
        ELSE
            INSERT INTO usage_changes (block_id, dataset_id, site_id, group_id, num_blocks, num_complete, size_bytes)
            SELECT block_id, dataset_id, site_id, owner_id, sum(num_blocks), sum(num_complete), sum(size_bytes)
            FROM (SELECT block_id, dataset_id, site_id, coalesce(group_id, 0) AS owner_id, 1 AS num_blocks,
                         CAST(is_complete AS int) AS num_complete, size_bytes
                  FROM new_rows
                  UNION ALL
                  SELECT block_id, dataset_id, site_id, coalesce(group_id, 0), -1, -CAST(is_complete AS int),
                         -size_bytes
                  FROM old_rows) AS change
            GROUP BY block_id, dataset_id, site_id, owner_id
            HAVING sum(num_blocks) <> 0 OR sum(num_complete) <> 0 OR sum(size_bytes) <> 0;
        END IF;
        RETURN NULL;
    END $$"""
NOTE_BLOCKS = """
    CREATE FUNCTION note_block_sizes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO usage_block_changes (block_id, size_bytes)
            SELECT id, -size_bytes FROM old_rows WHERE size_bytes <> 0;
        ELSE
            INSERT INTO usage_block_changes (block_id, size_bytes)
            SELECT id, sum(size_bytes)
            FROM (SELECT id, size_bytes FROM new_rows UNION ALL SELECT id, -size_bytes FROM old_rows) AS change
            GROUP BY id HAVING sum(size_bytes) <> 0;
        END IF;
        RETURN NULL;
    END $$"""
ROWS = {
    'INSERT': 'NEW TABLE AS new_rows',
    'UPDATE': 'OLD TABLE AS old_rows NEW TABLE AS new_rows',
    'DELETE': 'OLD TABLE AS old_rows',
}
TRIGGERS = [('block_replicas', 'note_block_replicas', event) for event in ROWS] + [
    ('blocks', 'note_block_sizes', event) for event in ('UPDATE', 'DELETE')
]

FILL = (
    """INSERT INTO usage_now (dataset_id, site_id, group_id, num_blocks, num_complete, size_bytes, projected_bytes)
       SELECT replica.dataset_id, replica.site_id, coalesce(replica.group_id, 0), count(*),
              count(*) FILTER (WHERE replica.is_complete), sum(replica.size_bytes), sum(block.size_bytes)
       FROM block_replicas AS replica JOIN blocks AS block ON block.id = replica.block_id GROUP BY 1, 2, 3""",
    """INSERT INTO usage_unique (group_id, num_blocks, size_bytes)
       SELECT owned.group_id, count(*), sum(block.size_bytes)
       FROM (SELECT DISTINCT group_id, block_id FROM block_replicas WHERE group_id IS NOT NULL) AS owned
       JOIN blocks AS block ON block.id = owned.block_id GROUP BY 1""",
)


def upgrade() -> None:
    op.create_table(
        'usage_now',
        sa.Column('dataset_id', sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column('site_id', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('group_id', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('num_blocks', sa.BigInteger(), nullable=False),
        sa.Column('num_complete', sa.BigInteger(), nullable=False),
        sa.Column('size_bytes', sa.BigInteger(), nullable=False),
        sa.Column('projected_bytes', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('dataset_id', 'site_id', 'group_id', name=op.f('pk_usage_now')),
    )
    op.create_index('ix_usage_now_site_id', 'usage_now', ['site_id', 'dataset_id'])
    op.create_index('ix_usage_now_group_id', 'usage_now', ['group_id', 'dataset_id'])
    op.create_table(
        'usage_unique',
        sa.Column('group_id', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('num_blocks', sa.BigInteger(), nullable=False),
        sa.Column('size_bytes', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('group_id', name=op.f('pk_usage_unique')),
    )
    op.create_table(
        'usage_changes',
        sa.Column('block_id', sa.BigInteger(), nullable=False),
        sa.Column('dataset_id', sa.BigInteger(), nullable=False),
        sa.Column('site_id', sa.SmallInteger(), nullable=False),
        sa.Column('group_id', sa.SmallInteger(), nullable=False),
        sa.Column('num_blocks', sa.SmallInteger(), nullable=False),
        sa.Column('num_complete', sa.SmallInteger(), nullable=False),
        sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    )
    op.create_table(
        'usage_block_changes',
        sa.Column('block_id', sa.BigInteger(), nullable=False),
        sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    )
    op.create_table(
        'usage_daily',
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('site_id', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('group_id', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('status', sa.Text(), nullable=False),
        sa.Column('tier', sa.Text(), nullable=False),
        sa.Column('num_blocks', sa.BigInteger(), nullable=False),
        sa.Column('num_complete', sa.BigInteger(), nullable=False),
        sa.Column('size_bytes', sa.BigInteger(), nullable=False),
        sa.Column('projected_bytes', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('day', 'site_id', 'group_id', 'status', 'tier', name=op.f('pk_usage_daily')),
    )
    op.execute('LOCK TABLE blocks, block_replicas IN SHARE ROW EXCLUSIVE MODE')
    for function in (NOTE_REPLICAS, NOTE_BLOCKS):
        op.execute(function)
    for table, function, event in TRIGGERS:
        op.execute(
            f'CREATE TRIGGER {function}_{event.lower()} AFTER {event} ON {table} REFERENCING {ROWS[event]} '
            f'FOR EACH STATEMENT EXECUTE FUNCTION {function}()'
        )
    for statement in FILL:
        op.execute(statement)


def downgrade() -> None:
    for table, function, event in TRIGGERS:
        op.execute(f'DROP TRIGGER {function}_{event.lower()} ON {table}')
    for function in ('note_block_replicas', 'note_block_sizes'):
        op.execute(f'DROP FUNCTION {function}()')
    for table in ('usage_daily', 'usage_block_changes', 'usage_changes', 'usage_unique', 'usage_now'):
        op.drop_table(table)
