"""how often a server has refused a batch, and since when"""

from alembic import op

revision = '0032'
down_revision = '0031'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        'ALTER TABLE transfer_batches ADD COLUMN num_refusals smallint NOT NULL DEFAULT 0,'
        ' ADD COLUMN refused_since timestamptz'
    )


def downgrade() -> None:
    op.execute('ALTER TABLE transfer_batches DROP COLUMN num_refusals, DROP COLUMN refused_since')
