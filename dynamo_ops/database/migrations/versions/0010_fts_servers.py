"""which FTS server a batch is at

Batches recorded before the upgrade do not know: those that are open are given to the first server of the settings by the
next run of ``transfers``.
"""

from alembic import op
import sqlalchemy as sa

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('transfer_batches', sa.Column('server', sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column('transfer_batches', 'server')
