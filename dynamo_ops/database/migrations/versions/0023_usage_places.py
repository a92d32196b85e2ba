"""sums of what is where by site and owner alone, from those by dataset"""

from alembic import op
import sqlalchemy as sa

revision = '0023'
down_revision = '0022'
branch_labels = None
depends_on = None

FIGURES = ('num_blocks', 'num_complete', 'size_bytes', 'projected_bytes')


def upgrade() -> None:
    op.create_table(
        'usage_places',
        sa.Column('site_id', sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column('group_id', sa.SmallInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in FIGURES),
        sa.PrimaryKeyConstraint('site_id', 'group_id', name=op.f('pk_usage_places')),
    )
    op.execute('LOCK TABLE usage_now IN SHARE MODE')  # nobody folds meanwhile
    op.execute(
        f"""INSERT INTO usage_places (site_id, group_id, {', '.join(FIGURES)})
            SELECT site_id, group_id, {', '.join(f'sum({name})' for name in FIGURES)}
            FROM usage_now GROUP BY site_id, group_id"""
    )


def downgrade() -> None:
    op.drop_table('usage_places')
