"""who changed which quota"""

from alembic import op
import sqlalchemy as sa

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('quota_changes',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('site_id', sa.SmallInteger(), nullable=False),
    sa.Column('partition', sa.Text(), nullable=False),
    sa.Column('old_bytes', sa.BigInteger(), nullable=True),
    sa.Column('new_bytes', sa.BigInteger(), nullable=True),
    sa.Column('changed_by', sa.Text(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_quota_changes_site_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_quota_changes'))
    )
    op.create_index('ix_quota_changes_site_id', 'quota_changes', ['site_id', 'partition', 'id'], unique=False)
    # What stands already, so that each quota's last change can be seen.
    op.execute("""
        INSERT INTO quota_changes (site_id, partition, new_bytes, changed_by, changed_at, reason)
        SELECT site_id, partition, quota_bytes, changed_by, changed_at, 'set before changes were kept' FROM quotas
        ORDER BY changed_at, site_id, partition""")


def downgrade() -> None:
    op.drop_table('quota_changes')
