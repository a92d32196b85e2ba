"""roles that auth managers and issuers told of people, for their tokens"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'seen_roles',
        sa.Column('person', sa.Text(), nullable=False),
        sa.Column('told_by', sa.Text(), nullable=False),
        sa.Column('roles', postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column('seen_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.PrimaryKeyConstraint('person', 'told_by', name=op.f('pk_seen_roles')),
    )


def downgrade() -> None:
    op.drop_table('seen_roles')
