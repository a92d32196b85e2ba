"""calls that may be sent twice, with their answers"""

from alembic import op
import sqlalchemy as sa

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'idempotency',
        sa.Column('person', sa.Text(), nullable=False),
        sa.Column('key', sa.Text(), nullable=False),
        sa.Column('digest', sa.LargeBinary(), nullable=False),
        sa.Column('state', sa.Text(), server_default='begun', nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('status', sa.SmallInteger(), nullable=True),
        sa.Column('location', sa.Text(), nullable=True),
        sa.Column('answer', sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('begun', 'done')", name=op.f('ck_idempotency_state')),
        sa.PrimaryKeyConstraint('person', 'key', name=op.f('pk_idempotency')),
    )
    op.create_index('ix_idempotency_at', 'idempotency', ['at'])


def downgrade() -> None:
    op.drop_table('idempotency')
