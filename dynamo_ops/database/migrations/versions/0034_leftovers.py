"""copies that FTS had begun to write, and that ended otherwise than well"""

from alembic import op

revision = '0034'
down_revision = '0033'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('ALTER TABLE transfers ADD COLUMN is_leftover boolean NOT NULL DEFAULT false')
    op.execute('CREATE INDEX ix_transfers_leftover ON transfers (subscription_id) WHERE is_leftover')


def downgrade() -> None:
    op.execute('ALTER TABLE transfers DROP COLUMN is_leftover')
