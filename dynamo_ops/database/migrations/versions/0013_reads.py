"""reads in pages: names in the order of their bytes, a site's dataset replicas by dataset, the key that signs cursors

Names are compared byte by byte, whatever collation the database has: an index then serves the beginning of a glob too.
"""

from alembic import op
import sqlalchemy as sa

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_datasets_name_bytes', 'datasets', ['name'], postgresql_ops={'name': 'COLLATE "C"'})
    op.drop_index('ix_dataset_replicas_site_id', 'dataset_replicas')
    op.create_index('ix_dataset_replicas_site_id', 'dataset_replicas', ['site_id', 'dataset_id'])
    op.create_table(
        'signing_keys',
        sa.Column('purpose', sa.Text(), nullable=False),
        sa.Column('key', sa.LargeBinary(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.PrimaryKeyConstraint('purpose', name=op.f('pk_signing_keys')),
    )
    op.execute(
        """INSERT INTO signing_keys (purpose, key)
           VALUES ('cursor', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'))"""
    )


def downgrade() -> None:
    op.drop_table('signing_keys')
    op.drop_index('ix_dataset_replicas_site_id', 'dataset_replicas')
    op.create_index('ix_dataset_replicas_site_id', 'dataset_replicas', ['site_id'])
    op.drop_index('ix_datasets_name_bytes', 'datasets')
