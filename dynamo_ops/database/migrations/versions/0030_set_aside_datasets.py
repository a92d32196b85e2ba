"""datasets with a bad record are set aside"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0030'
down_revision = '0029'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'set_aside_datasets',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ('source', 'dataset', 'reason')),
        sa.Column('is_of_record', sa.Boolean(), nullable=False),
        sa.Column('listed', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column('until', sa.DateTime(timezone=True), nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False)
            for name in ('first_at', 'last_at')
        ),
        sa.Column('num_runs', sa.BigInteger(), server_default=sa.text('1'), nullable=False),
        sa.Column('run_key', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_set_aside_datasets')),
    )
    op.create_index(
        'uq_set_aside_datasets_name',
        'set_aside_datasets',
        ['source', sa.text('(md5(dataset)::uuid)')],
        unique=True,
    )
    op.create_table(
        'staged_faults',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ('run_key', 'source', 'stage')),
        sa.Column('page', sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ('dataset', 'fault')),
        sa.Column('is_of_record', sa.Boolean(), nullable=False),
        sa.CheckConstraint("stage IN ('listing', 'details', 'gate')", name=op.f('ck_staged_faults_stage')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_staged_faults')),
        prefixes=['UNLOGGED'],
    )
    op.create_index(op.f('ix_staged_faults_run_key'), 'staged_faults', ['run_key'])
    op.add_column(
        'staged_datasets', sa.Column('is_again', sa.Boolean(), server_default=sa.text('false'), nullable=False)
    )


def downgrade() -> None:
    op.drop_column('staged_datasets', 'is_again')
    op.drop_table('staged_faults')
    op.drop_table('set_aside_datasets')
