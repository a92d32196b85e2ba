"""copies that failed, newest first: few among many that did not"""

from alembic import op
import sqlalchemy as sa

revision = '0022'
down_revision = '0021'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_transfers_failed', 'transfers', ['finished_at', 'id'], postgresql_where=sa.text("state = 'failed'"))


def downgrade() -> None:
    op.drop_index('ix_transfers_failed', 'transfers')
