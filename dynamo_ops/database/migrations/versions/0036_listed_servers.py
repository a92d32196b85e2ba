"""which data servers a check listed"""

from alembic import op

revision = '0036'
down_revision = '0035'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('ALTER TABLE consistency_checks ADD COLUMN servers text[]')


def downgrade() -> None:
    op.execute('ALTER TABLE consistency_checks DROP COLUMN servers')
