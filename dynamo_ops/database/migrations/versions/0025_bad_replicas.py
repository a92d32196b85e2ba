"""single copies that are called bad, and invalidations that are taken back"""

from alembic import op
import sqlalchemy as sa

revision = '0025'
down_revision = '0024'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'bad_replicas',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column('file_id', sa.BigInteger(), nullable=False),
        sa.Column('site_id', sa.SmallInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ('state', 'reason', 'created_by')),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint(
            "state IN ('suspicious', 'bad', 'copying', 'last_copy', 'on_tape', 'good')",
            name=op.f('ck_bad_replicas_state'),
        ),
        sa.ForeignKeyConstraint(
            ['file_id'], ['files.id'], name=op.f('fk_bad_replicas_file_id'), ondelete='CASCADE'
        ),
        sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_bad_replicas_site_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_bad_replicas')),
        sa.UniqueConstraint('file_id', 'site_id', name=op.f('uq_bad_replicas_file_id_site_id')),
    )
    op.create_index('ix_bad_replicas_site_id', 'bad_replicas', ['site_id'])
    op.add_column('invalidations', sa.Column('undone_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('invalidations', sa.Column('undone_by', sa.Text(), nullable=True))
    op.add_column('invalidations', sa.Column('undone_because', sa.Text(), nullable=True))
    op.drop_index('uq_invalidations_name', 'invalidations')
    op.create_index(
        'uq_invalidations_name',
        'invalidations',
        ['kind', sa.text('(md5(name)::uuid)')],
        unique=True,
        postgresql_where=sa.text('undone_at IS NULL'),
    )


def downgrade() -> None:
    op.drop_index('uq_invalidations_name', 'invalidations')
    op.execute('DELETE FROM invalidations WHERE undone_at IS NOT NULL')
    op.create_index('uq_invalidations_name', 'invalidations', ['kind', sa.text('(md5(name)::uuid)')], unique=True)
    for name in ('undone_because', 'undone_by', 'undone_at'):
        op.drop_column('invalidations', name)
    op.drop_table('bad_replicas')
