"""sums of copies and deletions that ended, by hour, and triggers that add to them; findings of a check in their order

They are filled from what is there, in the transaction that makes the triggers: it keeps out who would write meanwhile.
"""

from alembic import op
import sqlalchemy as sa

revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None

SECONDS = 'greatest(round(extract(epoch FROM attempt.finished_at - attempt.{began})), 0)::bigint'
TRANSFERS = f"""
    SELECT {{sign}} AS number, attempt.batch_id, attempt.source_site_id,
           date_trunc('hour', attempt.finished_at, 'UTC') AS hour, attempt.state AS outcome,
           CASE WHEN attempt.state = 'failed'
                THEN coalesce(substring(attempt.reason FROM '^[A-Z_]{{{{1,30}}}} \\[[0-9]{{{{1,5}}}}\\]'), 'other')
                ELSE '' END AS error_class,
           attempt.size_bytes, coalesce({SECONDS.format(began='started_at')}, 0) AS num_seconds
    FROM {{rows}} AS attempt
    WHERE attempt.state IN ('done', 'failed', 'cancelled') AND attempt.finished_at IS NOT NULL"""
DELETIONS = f"""
    SELECT {{sign}} AS number, attempt.batch_id, NULL::smallint AS source_site_id,
           date_trunc('hour', attempt.finished_at, 'UTC') AS hour, attempt.state AS outcome,
           CASE WHEN attempt.state <> 'failed' THEN ''
                WHEN attempt.is_recoverable IS FALSE THEN 'refused' ELSE 'unavailable' END AS error_class,
           attempt.size_bytes, coalesce({SECONDS.format(began='claimed_at')}, 0) AS num_seconds
    FROM {{rows}} AS attempt
    WHERE attempt.state IN ('done', 'gone', 'failed') AND attempt.finished_at IS NOT NULL"""

# Sums by batch first: a trigger's plan is kept for the session, and a join of all rows with all batches could be one.
ADD = """
    INSERT INTO {hours} (hour, {source} site_id, outcome, error_class, num_files, size_bytes, num_seconds, is_removed)
    SELECT part.hour, {source} batch.site_id, part.outcome, part.error_class, sum(part.num_files),
           sum(part.size_bytes), sum(part.num_seconds), {is_removed}
    FROM (SELECT hour, batch_id, source_site_id, outcome, error_class, sum(number) AS num_files,
                 sum(number * size_bytes) AS size_bytes, sum(number * num_seconds) AS num_seconds
          FROM ({changes}) AS change GROUP BY hour, batch_id, source_site_id, outcome, error_class) AS part
    CROSS JOIN LATERAL (SELECT site_id FROM {batches} AS stored WHERE stored.id = part.batch_id OFFSET 0) AS batch
    GROUP BY part.hour, {source} batch.site_id, part.outcome, part.error_class
    HAVING sum(part.num_files) <> 0 OR sum(part.size_bytes) <> 0 OR sum(part.num_seconds) <> 0"""
FUNCTION = """
    CREATE FUNCTION count_ended_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN {removed};
        ELSE {ended};
        END IF;
        RETURN NULL;
    END $$"""
KINDS = {
    'transfers': (TRANSFERS, {'hours': 'transfer_hours', 'batches': 'transfer_batches', 'source': 'source_site_id,'}),
    'deletions': (DELETIONS, {'hours': 'deletion_hours', 'batches': 'deletion_batches', 'source': ''}),
}
ROWS = {'UPDATE': 'OLD TABLE AS old_rows NEW TABLE AS new_rows', 'DELETE': 'OLD TABLE AS old_rows'}


def of(rows: str, table: str, sign: int = 1) -> str:
    return KINDS[table][0].format(rows=rows, sign=sign)


def add(table: str, changes: str, *, is_removed: bool = False) -> str:
    return ADD.format(changes=changes, is_removed=is_removed, **KINDS[table][1])


def upgrade() -> None:
    for table, (_, names) in KINDS.items():
        source = [sa.Column('source_site_id', sa.SmallInteger(), nullable=False)] if names['source'] else []
        op.create_table(
            names['hours'],
            sa.Column('hour', sa.DateTime(timezone=True), nullable=False),
            *source,
            sa.Column('site_id', sa.SmallInteger(), nullable=False),
            sa.Column('outcome', sa.Text(), nullable=False),
            sa.Column('error_class', sa.Text(), nullable=False),
            sa.Column('num_files', sa.BigInteger(), nullable=False),
            sa.Column('size_bytes', sa.BigInteger(), nullable=False),
            sa.Column('num_seconds', sa.BigInteger(), nullable=False),
            sa.Column('is_removed', sa.Boolean(), nullable=False),
        )
        op.create_index(f"ix_{names['hours']}_hour", names['hours'], ['hour'])
        op.execute(f'LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE')
        ended = add(table, f"{of('new_rows', table)} UNION ALL {of('old_rows', table, -1)}")
        removed = add(table, of('old_rows', table), is_removed=True)
        op.execute(FUNCTION.format(table=table, ended=ended, removed=removed))
        for event, rows in ROWS.items():
            op.execute(
                f'CREATE TRIGGER count_ended_{event.lower()} AFTER {event} ON {table} REFERENCING {rows} '
                f'FOR EACH STATEMENT EXECUTE FUNCTION count_ended_{table}()'
            )
        op.execute(add(table, of(table, table)))
    op.drop_index('ix_consistency_findings_check_id', 'consistency_findings')
    op.create_index('ix_consistency_findings_check_id', 'consistency_findings', ['check_id', 'kind', 'id'])


def downgrade() -> None:
    op.drop_index('ix_consistency_findings_check_id', 'consistency_findings')
    op.create_index('ix_consistency_findings_check_id', 'consistency_findings', ['check_id', 'kind'])
    for table, (_, names) in KINDS.items():
        for event in ROWS:
            op.execute(f'DROP TRIGGER count_ended_{event.lower()} ON {table}')
        op.execute(f'DROP FUNCTION count_ended_{table}()')
        op.drop_table(names['hours'])
