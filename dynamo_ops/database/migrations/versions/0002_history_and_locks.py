"""history of Detox, who refused a plan, who removed a lock"""

from alembic import op
import sqlalchemy as sa

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('locks', sa.Column('removed_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('locks', sa.Column('removed_by', sa.Text(), nullable=True))
    op.add_column('locks', sa.Column('removed_because', sa.Text(), nullable=True))
    op.add_column('plans', sa.Column('refused_by', sa.Text(), nullable=True))
    op.add_column('plans', sa.Column('refused_at', sa.DateTime(timezone=True), nullable=True))
    op.create_table('policy_lines',
    sa.Column('policy_version_id', sa.BigInteger(), nullable=False),
    sa.Column('line', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('source_line', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['policy_version_id'], ['policy_versions.id'], name=op.f('fk_policy_lines_policy_version_id')),
    sa.PrimaryKeyConstraint('policy_version_id', 'line', name=op.f('pk_policy_lines'))
    )
    op.create_table('detox_history',
    sa.Column('dataset_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('site_id', sa.SmallInteger(), autoincrement=False, nullable=False),
    sa.Column('plan_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('decision', sa.Text(), nullable=False),
    sa.Column('line', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('num_blocks', sa.Integer(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.CheckConstraint("decision IN ('delete', 'reowned', 'left_out', 'protect', 'keep', 'ignore')", name=op.f('ck_detox_history_decision')),
    sa.PrimaryKeyConstraint('dataset_id', 'site_id', 'plan_id', 'decision', 'line', name=op.f('pk_detox_history'))
    )
    op.create_index('ix_detox_history_plan_id', 'detox_history', ['plan_id'], unique=False, postgresql_using='brin')
    op.create_table('detox_site_states',
    sa.Column('plan_id', sa.BigInteger(), nullable=False),
    sa.Column('site_id', sa.SmallInteger(), autoincrement=False, nullable=False),
    sa.Column('quota_bytes', sa.BigInteger(), nullable=True),
    sa.Column('is_triggered', sa.Boolean(), nullable=False),
    sa.Column('bytes_before', sa.BigInteger(), nullable=False),
    sa.Column('bytes_after', sa.BigInteger(), nullable=False),
    sa.Column('protected_bytes', sa.BigInteger(), nullable=False),
    sa.Column('deleted_bytes', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['plan_id'], ['plans.id'], name=op.f('fk_detox_site_states_plan_id')),
    sa.PrimaryKeyConstraint('plan_id', 'site_id', name=op.f('pk_detox_site_states'))
    )
    op.create_index('ix_detox_site_states_site_id', 'detox_site_states', ['site_id', 'plan_id'], unique=False)
    op.create_table('detox_left_out',
    sa.Column('plan_id', sa.BigInteger(), nullable=False),
    sa.Column('block_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('site_id', sa.SmallInteger(), autoincrement=False, nullable=False),
    sa.Column('dataset_id', sa.BigInteger(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['plan_id'], ['plans.id'], name=op.f('fk_detox_left_out_plan_id')),
    sa.PrimaryKeyConstraint('plan_id', 'block_id', 'site_id', name=op.f('pk_detox_left_out'))
    )
    op.create_index('ix_detox_left_out_dataset_id', 'detox_left_out', ['dataset_id'], unique=False)


def downgrade() -> None:
    op.drop_table('detox_left_out')
    op.drop_table('detox_site_states')
    op.drop_table('detox_history')
    op.drop_table('policy_lines')
    op.drop_column('plans', 'refused_at')
    op.drop_column('plans', 'refused_by')
    op.drop_column('locks', 'removed_because')
    op.drop_column('locks', 'removed_by')
    op.drop_column('locks', 'removed_at')
