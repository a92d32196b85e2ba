"""what the Dealer did"""

from alembic import op
import sqlalchemy as sa

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('dealer_history',
    sa.Column('dataset_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('site_id', sa.SmallInteger(), autoincrement=False, nullable=False),
    sa.Column('plan_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('copy', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('plugin', sa.Text(), nullable=False),
    sa.Column('request_id', sa.BigInteger(), nullable=True),
    sa.Column('group_id', sa.SmallInteger(), nullable=True),
    sa.Column('num_blocks', sa.Integer(), nullable=False),
    sa.Column('num_left_out', sa.Integer(), nullable=False),
    sa.Column('left_out', sa.Text(), nullable=True),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('weight', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['plan_id'], ['plans.id'], name=op.f('fk_dealer_history_plan_id')),
    sa.PrimaryKeyConstraint('dataset_id', 'site_id', 'plan_id', 'copy', name=op.f('pk_dealer_history'))
    )
    op.create_index('ix_dealer_history_plan_id', 'dealer_history', ['plan_id'], unique=False, postgresql_using='brin')


def downgrade() -> None:
    op.drop_index('ix_dealer_history_plan_id', table_name='dealer_history', postgresql_using='brin')
    op.drop_table('dealer_history')
