"""activities, downtimes, direct copies"""

from alembic import op
import sqlalchemy as sa

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

HOLD_REASONS = ('no_source', 'all_failed', 'site_unavailable', 'refused')


def one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def upgrade() -> None:
    op.add_column('subscriptions', sa.Column('activity', sa.Text(), server_default='default', nullable=False))
    op.add_column('subscriptions', sa.Column('note', sa.Text(), nullable=True))
    op.drop_constraint(op.f('ck_subscriptions_hold_reason'), 'subscriptions')
    op.create_check_constraint(op.f('ck_subscriptions_hold_reason'), 'subscriptions', one_of('hold_reason', (*HOLD_REASONS, 'operator')))
    op.add_column('transfer_batches', sa.Column('backend', sa.Text(), server_default='fts', nullable=False))
    op.add_column('transfer_batches', sa.Column('activity', sa.Text(), server_default='default', nullable=False))
    op.create_check_constraint(op.f('ck_transfer_batches_backend'), 'transfer_batches', one_of('backend', ('fts', 'direct')))
    op.add_column('transfers', sa.Column('other_source_site_ids', sa.ARRAY(sa.SmallInteger()), nullable=True))
    op.create_index('ix_subscriptions_closed', 'subscriptions', ['file_id'], unique=False, postgresql_where=sa.text("state IN ('done', 'cancelled')"))
    op.drop_constraint(op.f('fk_transfers_subscription_id'), 'transfers')
    op.drop_constraint(op.f('fk_transfers_batch_id'), 'transfers')
    op.drop_constraint(op.f('fk_transfers_source_site_id'), 'transfers')
    op.create_table('site_downtimes',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('site_id', sa.SmallInteger(), nullable=False),
    sa.Column('begins_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('created_by', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('ended_by', sa.Text(), nullable=True),
    sa.CheckConstraint('ends_at >= begins_at', name=op.f('ck_site_downtimes_order')),
    sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_site_downtimes_site_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_site_downtimes'))
    )
    op.create_index('ix_site_downtimes_site_id', 'site_downtimes', ['site_id'], unique=False)


def downgrade() -> None:
    op.drop_table('site_downtimes')
    op.drop_index('ix_subscriptions_closed', table_name='subscriptions')
    op.create_foreign_key(op.f('fk_transfers_source_site_id'), 'transfers', 'sites', ['source_site_id'], ['id'])
    op.create_foreign_key(op.f('fk_transfers_subscription_id'), 'transfers', 'subscriptions', ['subscription_id'], ['id'])
    op.create_foreign_key(op.f('fk_transfers_batch_id'), 'transfers', 'transfer_batches', ['batch_id'], ['id'])
    op.drop_column('transfers', 'other_source_site_ids')
    op.drop_column('transfer_batches', 'activity')
    op.drop_column('transfer_batches', 'backend')
    op.execute("UPDATE subscriptions SET hold_reason = 'refused' WHERE hold_reason = 'operator'")
    op.drop_constraint(op.f('ck_subscriptions_hold_reason'), 'subscriptions')
    op.create_check_constraint(op.f('ck_subscriptions_hold_reason'), 'subscriptions', one_of('hold_reason', HOLD_REASONS))
    op.drop_column('subscriptions', 'note')
    op.drop_column('subscriptions', 'activity')
