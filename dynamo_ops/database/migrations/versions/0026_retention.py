"""names that a storage has and nobody can ask for; plans whose files went; accesses by dataset, the newest first"""

from alembic import op
import sqlalchemy as sa

revision = '0026'
down_revision = '0024'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('consistency_checks', sa.Column('num_unnamed', sa.BigInteger(), nullable=True))
    op.add_column('plans', sa.Column('files_removed_at', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column('plans', 'files_removed_at')
    op.drop_column('consistency_checks', 'num_unnamed')
