"""sites that share a storage on purpose, endpoints that a source reports and nobody has accepted yet, and when a file of
a finding was changed
"""

from alembic import op
from sqlalchemy.dialects import postgresql
import sqlalchemy as sa

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'shared_storages',
        sa.Column('site_id', sa.SmallInteger(), nullable=False),
        sa.Column('other_id', sa.SmallInteger(), nullable=False),
        sa.Column('reason', sa.Text(), nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint('site_id < other_id', name=op.f('ck_shared_storages_order')),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_shared_storages_site_id_sites')),
        sa.ForeignKeyConstraint(['other_id'], ['sites.id'], name=op.f('fk_shared_storages_other_id_sites')),
        sa.PrimaryKeyConstraint('site_id', 'other_id', name=op.f('pk_shared_storages')),
    )
    op.add_column('site_endpoints', sa.Column('proposed_prefix', sa.Text(), nullable=True))
    op.add_column(
        'site_endpoints', sa.Column('proposed_mapping', postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )
    op.add_column('site_endpoints', sa.Column('proposed_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('consistency_findings', sa.Column('modified_at', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column('consistency_findings', 'modified_at')
    for column in ('proposed_at', 'proposed_mapping', 'proposed_prefix'):
        op.drop_column('site_endpoints', column)
    op.drop_table('shared_storages')
