"""properties of datasets, for policies"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('datasets', sa.Column('properties', postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False))
    op.add_column('staged_datasets', sa.Column('properties', postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column('staged_datasets', 'properties')
    op.drop_column('datasets', 'properties')
