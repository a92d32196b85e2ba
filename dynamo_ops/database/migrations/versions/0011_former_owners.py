"""who owned what is being deleted, so that it can be given back

Of what is open at the upgrade nobody knows the former owner any more: it cannot be given back by itself.
"""

from alembic import op
import sqlalchemy as sa

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('block_replicas', sa.Column('former_group_id', sa.SmallInteger(), nullable=True))
    op.create_foreign_key(
        op.f('fk_block_replicas_former_group_id_groups'), 'block_replicas', 'groups', ['former_group_id'], ['id']
    )
    op.add_column(
        'dataset_replicas', sa.Column('was_growing', sa.Boolean(), server_default=sa.text('false'), nullable=False)
    )


def downgrade() -> None:
    op.drop_column('dataset_replicas', 'was_growing')
    op.drop_constraint(
        op.f('fk_block_replicas_former_group_id_groups'), 'block_replicas', type_='foreignkey'
    )
    op.drop_column('block_replicas', 'former_group_id')
