"""who stored a plan by hand: somebody else decides about it"""

from alembic import op
import sqlalchemy as sa

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('plans', sa.Column('stored_by', sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column('plans', 'stored_by')
