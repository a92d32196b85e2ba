"""what stands still because a person said so"""

from alembic import op
import sqlalchemy as sa

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'pauses',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column('kind', sa.Text(), nullable=True),
        sa.Column('partition', sa.Text(), nullable=True),
        sa.Column('reason', sa.Text(), nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('until', sa.DateTime(timezone=True), nullable=True),
        sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('ended_by', sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('metadata', 'popularity', 'detox', 'dealer', 'transfers', 'deletions', 'consistency')",
            name=op.f('ck_pauses_kind'),
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_pauses')),
    )
    op.create_index('ix_pauses_not_ended', 'pauses', ['id'], postgresql_where=sa.text('ended_at IS NULL'))


def downgrade() -> None:
    op.drop_table('pauses')
