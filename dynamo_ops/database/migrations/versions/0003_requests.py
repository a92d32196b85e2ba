"""copy and deletion requests, quotas of groups and users"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

DIGEST = r"""
    encode(sha256(convert_to(concat_ws(E'\n', 'copy', r.num_copies, r.group_id, array_to_string(r.sites, E'\n'),
                                       'd' || r.dataset_id), 'UTF8')), 'hex')"""


def upgrade() -> None:
    op.create_table('requests',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('digest', sa.Text(), nullable=False),
    sa.Column('sites', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.Column('num_copies', sa.Integer(), nullable=True),
    sa.Column('group_id', sa.SmallInteger(), nullable=True),
    sa.Column('state', sa.Text(), server_default='new', nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('requested_by', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('num_asked', sa.Integer(), server_default=sa.text('1'), nullable=False),
    sa.Column('last_asked_by', sa.Text(), nullable=False),
    sa.Column('last_asked_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('closed_by', sa.Text(), nullable=True),
    sa.Column('closed_because', sa.Text(), nullable=True),
    sa.CheckConstraint("kind IN ('copy', 'deletion')", name=op.f('ck_requests_kind')),
    sa.CheckConstraint("state IN ('new', 'activated', 'completed', 'rejected', 'cancelled')", name=op.f('ck_requests_state')),
    sa.ForeignKeyConstraint(['group_id'], ['groups.id'], name=op.f('fk_requests_group_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_requests'))
    )
    op.create_table('request_items',
    sa.Column('request_id', sa.BigInteger(), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('dataset_id', sa.BigInteger(), nullable=False),
    sa.Column('block_id', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['block_id'], ['blocks.id'], name=op.f('fk_request_items_block_id')),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_request_items_dataset_id')),
    sa.ForeignKeyConstraint(['request_id'], ['requests.id'], name=op.f('fk_request_items_request_id')),
    sa.PrimaryKeyConstraint('request_id', 'number', name=op.f('pk_request_items'))
    )
    op.create_table('request_actions',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('request_id', sa.BigInteger(), nullable=False),
    sa.Column('dataset_id', sa.BigInteger(), nullable=False),
    sa.Column('block_id', sa.BigInteger(), nullable=True),
    sa.Column('site_id', sa.SmallInteger(), nullable=False),
    sa.Column('state', sa.Text(), server_default='queued', nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('from_group_id', sa.SmallInteger(), nullable=True),
    sa.Column('was_growing', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('plan_id', sa.BigInteger(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state IN ('queued', 'done', 'failed', 'refused', 'cancelled')", name=op.f('ck_request_actions_state')),
    sa.ForeignKeyConstraint(['request_id'], ['requests.id'], name=op.f('fk_request_actions_request_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_request_actions'))
    )
    op.create_table('group_quotas',
    sa.Column('group_id', sa.SmallInteger(), autoincrement=False, nullable=False),
    sa.Column('quota_bytes', sa.BigInteger(), nullable=False),
    sa.Column('changed_by', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['group_id'], ['groups.id'], name=op.f('fk_group_quotas_group_id')),
    sa.PrimaryKeyConstraint('group_id', name=op.f('pk_group_quotas'))
    )
    op.create_table('user_quotas',
    sa.Column('user_name', sa.Text(), nullable=False),
    sa.Column('quota_bytes', sa.BigInteger(), nullable=False),
    sa.Column('changed_by', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('user_name', name=op.f('pk_user_quotas'))
    )
    _move_copy_requests()
    op.drop_table('copy_requests')
    op.create_index('uq_requests_open', 'requests', ['digest'], unique=True, postgresql_where=sa.text("state IN ('new', 'activated')"))
    op.create_index('ix_requests_requested_by', 'requests', ['requested_by'], unique=False)
    op.create_index('ix_request_items_dataset_id', 'request_items', ['dataset_id'], unique=False)
    op.create_index('uq_request_actions_dataset', 'request_actions', ['request_id', 'dataset_id', 'site_id'], unique=True, postgresql_where=sa.text('block_id IS NULL'))
    op.create_index('uq_request_actions_block', 'request_actions', ['request_id', 'block_id', 'site_id'], unique=True, postgresql_where=sa.text('block_id IS NOT NULL'))
    op.create_index('ix_request_actions_queued', 'request_actions', ['dataset_id', 'site_id'], unique=False, postgresql_where=sa.text("state = 'queued'"))


def _move_copy_requests() -> None:
    """Ids stay. Of the same open request made twice, the first stays open and counts both."""
    op.execute(f"""
        INSERT INTO requests (id, kind, digest, sites, num_copies, group_id, state, requested_by, created_at,
                              last_asked_by, last_asked_at, updated_at, closed_at, closed_because)
        SELECT r.id, 'copy', {DIGEST}, r.sites, r.num_copies, r.group_id, r.state, r.requested_by, r.created_at,
               r.requested_by, r.created_at, r.updated_at, r.closed_at, r.reason FROM copy_requests r""")
    op.execute("INSERT INTO request_items (request_id, number, dataset_id) SELECT id, 1, dataset_id FROM copy_requests")
    op.execute("SELECT setval(pg_get_serial_sequence('requests', 'id'), max(id)) FROM requests HAVING max(id) IS NOT NULL")
    op.execute("""
        WITH again AS (
            SELECT id, first_value(id) OVER w AS first_id, count(*) OVER (PARTITION BY digest) AS num_asked,
                   last_value(requested_by) OVER w AS last_asked_by, last_value(created_at) OVER w AS last_asked_at
            FROM requests WHERE state IN ('new', 'activated')
            WINDOW w AS (PARTITION BY digest ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING))
        UPDATE requests r SET
            num_asked = CASE WHEN a.id = a.first_id THEN a.num_asked ELSE 1 END,
            last_asked_by = CASE WHEN a.id = a.first_id THEN a.last_asked_by ELSE r.last_asked_by END,
            last_asked_at = CASE WHEN a.id = a.first_id THEN a.last_asked_at ELSE r.last_asked_at END,
            state = CASE WHEN a.id = a.first_id THEN r.state ELSE 'cancelled' END,
            closed_at = CASE WHEN a.id = a.first_id THEN r.closed_at ELSE now() END,
            closed_because = CASE WHEN a.id = a.first_id THEN r.closed_because
                                  ELSE 'the same as request ' || a.first_id END
        FROM again a WHERE a.id = r.id AND a.num_asked > 1""")


def downgrade() -> None:
    op.create_table('copy_requests',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('dataset_id', sa.BigInteger(), nullable=False),
    sa.Column('sites', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.Column('num_copies', sa.Integer(), nullable=False),
    sa.Column('group_id', sa.SmallInteger(), nullable=False),
    sa.Column('state', sa.Text(), server_default='new', nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('requested_by', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state IN ('new', 'activated', 'completed', 'rejected', 'cancelled')", name=op.f('ck_copy_requests_state')),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_copy_requests_dataset_id')),
    sa.ForeignKeyConstraint(['group_id'], ['groups.id'], name=op.f('fk_copy_requests_group_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_copy_requests'))
    )
    op.create_index('ix_copy_requests_open', 'copy_requests', ['dataset_id'], unique=False, postgresql_where=sa.text("state IN ('new', 'activated')"))
    # The first schema knows one whole dataset a request: others are not kept.
    op.execute("""
        INSERT INTO copy_requests (id, dataset_id, sites, num_copies, group_id, state, reason, requested_by, created_at,
                                   updated_at, closed_at)
        SELECT r.id, i.dataset_id, r.sites, r.num_copies, r.group_id, r.state, r.closed_because, r.requested_by,
               r.created_at, r.updated_at, r.closed_at
        FROM requests r JOIN request_items i ON i.request_id = r.id AND i.number = 1 AND i.block_id IS NULL
        WHERE r.kind = 'copy'
          AND NOT EXISTS (SELECT FROM request_items m WHERE m.request_id = r.id AND m.number > 1)""")
    op.execute("SELECT setval(pg_get_serial_sequence('copy_requests', 'id'), max(id)) FROM copy_requests HAVING max(id) IS NOT NULL")
    op.drop_table('user_quotas')
    op.drop_table('group_quotas')
    op.drop_table('request_actions')
    op.drop_table('request_items')
    op.drop_table('requests')
