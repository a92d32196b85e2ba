"""names on a storage that nobody can ask for; plans whose files are gone; days whose accesses are in sums"""

from alembic import op
import sqlalchemy as sa

revision = '0026'
down_revision = '0025'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('consistency_checks', sa.Column('num_unnamed', sa.BigInteger(), nullable=True))
    op.add_column('aggregated_days', sa.Column('is_folded', sa.Boolean(), nullable=True))
    op.add_column('plans', sa.Column('files_removed_at', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column('aggregated_days', 'is_folded')
    op.drop_column('plans', 'files_removed_at')
    op.drop_column('consistency_checks', 'num_unnamed')
