"""demand, unknown use, metrics of gates, what vanished or was declared invalid, overrides of sites, alerts"""

from alembic import op
import sqlalchemy as sa

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


# What was declared invalid goes: rows that only name it must not make its removal search whole tables.
NO_LONGER_CHECKED = (
    ('block_replica_files', 'file_id', 'files'),
    ('request_items', 'dataset_id', 'datasets'),
    ('request_items', 'block_id', 'blocks'),
    ('accesses_daily', 'dataset_id', 'datasets'),
    ('dataset_attributes', 'dataset_id', 'datasets'),
)


def upgrade() -> None:
    op.create_table('alerts',
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('dag_id', sa.Text(), nullable=False),
    sa.Column('task_id', sa.Text(), nullable=True),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.Column('first_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('num_times', sa.BigInteger(), nullable=False),
    sa.Column('num_untold', sa.BigInteger(), nullable=False),
    sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('claimed_by', sa.Text(), nullable=True),
    sa.Column('told_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("kind IN ('failure', 'late', 'digest')", name=op.f('ck_alerts_kind')),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_alerts'))
    )
    op.create_index('ix_alerts_last_at', 'alerts', ['last_at'], unique=False)
    op.create_table('gate_metrics',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('gate', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('metric', sa.Text(), nullable=False),
    sa.Column('value', sa.Double(), nullable=False),
    sa.Column('unit', sa.Text(), nullable=False),
    sa.Column('run_key', sa.Text(), nullable=False),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False),
    sa.Column('measured_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('is_accepted', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_gate_metrics'))
    )
    op.create_index('ix_gate_metrics_trend', 'gate_metrics', ['gate', 'subject', 'metric', 'as_of'], unique=False)
    op.create_table('invalidations',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('thing_id', sa.BigInteger(), nullable=True),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('num_files', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('created_by', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("kind IN ('dataset', 'block', 'file')", name=op.f('ck_invalidations_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_invalidations'))
    )
    op.create_index('ix_invalidations_thing_id', 'invalidations', ['thing_id', 'kind'], unique=False)
    op.create_index('uq_invalidations_name', 'invalidations', ['kind', sa.text('(md5(name)::uuid)')], unique=True)
    op.create_table('staged_demand',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('run_key', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('day', sa.Date(), nullable=True),
    sa.Column('dataset', sa.Text(), nullable=True),
    sa.Column('num_jobs', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_staged_demand')),
    prefixes=['UNLOGGED']
    )
    op.create_index(op.f('ix_staged_demand_run_key'), 'staged_demand', ['run_key'], unique=False)
    op.create_table('unknown_use',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('day', sa.Date(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('dataset', sa.Text(), nullable=True),
    sa.Column('lfn', sa.Text(), nullable=True),
    sa.Column('site', sa.Text(), nullable=True),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.CheckConstraint("kind IN ('accesses', 'demand')", name=op.f('ck_unknown_use_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_unknown_use'))
    )
    op.create_index('ix_unknown_use_day', 'unknown_use', ['day', 'source'], unique=False)
    op.create_index('ix_unknown_use_lfn', 'unknown_use', [sa.text('(md5(lfn)::uuid)')], unique=False, postgresql_where=sa.text('lfn IS NOT NULL'))
    op.create_table('use_resolved',
    sa.Column('id', sa.SmallInteger(), autoincrement=False, nullable=False),
    sa.Column('file_id', sa.BigInteger(), nullable=False),
    sa.Column('site_id', sa.BigInteger(), nullable=False),
    sa.CheckConstraint('id = 1', name=op.f('ck_use_resolved_one_row')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_use_resolved'))
    )
    op.create_table('vanished',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('vanished_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("kind IN ('dataset', 'block', 'file')", name=op.f('ck_vanished_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_vanished'))
    )
    op.create_index('uq_vanished_name', 'vanished', ['kind', sa.text('(md5(name)::uuid)')], unique=True)
    op.create_table('dataset_sources',
    sa.Column('dataset_id', sa.BigInteger(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('is_open', sa.Boolean(), nullable=False),
    sa.Column('release_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('state_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('known_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('details_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lost_until', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['dataset_id'], ['datasets.id'], name=op.f('fk_dataset_sources_dataset_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('dataset_id', name=op.f('pk_dataset_sources'))
    )
    op.create_index('ix_dataset_sources_source', 'dataset_sources', ['source'], unique=False)
    op.add_column('source_states', sa.Column('full_until', sa.DateTime(timezone=True), nullable=True))
    op.add_column('staged_datasets', sa.Column('is_listed', sa.Boolean(), server_default=sa.text('true'), nullable=False))
    op.add_column('staged_datasets', sa.Column('has_details', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    for table in ('staged_blocks', 'staged_files'):
        op.drop_index(op.f(f'ix_{table}_run_key'), table_name=table)
        op.create_index(f'ix_{table}_page', table, ['run_key', 'source', 'page'], unique=False)
    op.create_table('demand_daily',
    sa.Column('day', sa.Date(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('dataset_id', sa.BigInteger(), nullable=False),
    sa.Column('num_jobs', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('day', 'source', 'dataset_id', name=op.f('pk_demand_daily'))
    )
    op.create_table('site_overrides',
    sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
    sa.Column('site_id', sa.SmallInteger(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('created_by', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('ended_by', sa.Text(), nullable=True),
    sa.CheckConstraint("status IN ('ready', 'waitroom', 'morgue')", name=op.f('ck_site_overrides_status')),
    sa.ForeignKeyConstraint(['site_id'], ['sites.id'], name=op.f('fk_site_overrides_site_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_site_overrides'))
    )
    op.create_index('ix_site_overrides_site_id', 'site_overrides', ['site_id'], unique=False)
    for table, column, _ in NO_LONGER_CHECKED:
        op.drop_constraint(op.f(f'fk_{table}_{column}'), table, type_='foreignkey')
    op.drop_index('ix_subscriptions_closed', table_name='subscriptions')
    op.create_index('ix_subscriptions_file_id', 'subscriptions', ['file_id'], unique=False)
    op.add_column('site_sources', sa.Column('told_status', sa.Text(), nullable=True))
    op.add_column('site_sources', sa.Column('told_since_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('site_sources', sa.Column('told_last_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('staged_accesses', sa.Column('lfn', sa.Text(), nullable=True))
    op.add_column('staged_pulls', sa.Column('fingerprint', sa.Text(), nullable=True))
    op.add_column('staged_pulls', sa.Column('accepted_id', sa.BigInteger(), nullable=True))
    op.add_column('staged_pulls', sa.Column('staged_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False))
    op.add_column('staged_pulls', sa.Column('asked_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False))
    op.drop_constraint(op.f('pk_aggregated_days'), 'aggregated_days')
    op.add_column('aggregated_days', sa.Column('asked_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('aggregated_days', sa.Column('kind', sa.Text(), nullable=False, server_default='accesses'))
    op.alter_column('aggregated_days', 'kind', server_default=None)
    op.alter_column('aggregated_days', 'num_accesses', new_column_name='num_told')
    op.drop_column('aggregated_days', 'num_unknown')
    op.add_column('aggregated_days', sa.Column('most_told', sa.BigInteger(), nullable=True))
    op.execute('UPDATE aggregated_days SET most_told = num_told')
    op.alter_column('aggregated_days', 'most_told', nullable=False)
    op.add_column('aggregated_days', sa.Column('fingerprint', sa.Text(), nullable=True))
    op.create_index('ix_accesses_daily_dataset_id', 'accesses_daily', ['dataset_id'], unique=False)
    op.create_check_constraint(op.f('ck_aggregated_days_kind'), 'aggregated_days', "kind IN ('accesses', 'demand')")
    op.create_primary_key(op.f('pk_aggregated_days'), 'aggregated_days', ['day', 'source', 'kind'])
    op.drop_constraint(op.f('ck_staged_pulls_kind'), 'staged_pulls')
    op.create_check_constraint(op.f('ck_staged_pulls_kind'), 'staged_pulls', "kind IN ('metadata', 'sites', 'accesses', 'demand')")


def downgrade() -> None:
    op.execute("DELETE FROM staged_pulls WHERE kind = 'demand'")
    op.drop_constraint(op.f('ck_staged_pulls_kind'), 'staged_pulls')
    op.create_check_constraint(op.f('ck_staged_pulls_kind'), 'staged_pulls', "kind IN ('metadata', 'sites', 'accesses')")
    op.execute("DELETE FROM aggregated_days WHERE kind = 'demand'")
    op.drop_constraint(op.f('pk_aggregated_days'), 'aggregated_days')
    op.drop_constraint(op.f('ck_aggregated_days_kind'), 'aggregated_days')
    op.drop_index('ix_accesses_daily_dataset_id', table_name='accesses_daily')
    op.drop_column('aggregated_days', 'fingerprint')
    op.drop_column('aggregated_days', 'asked_at')
    op.drop_column('aggregated_days', 'most_told')
    op.add_column('aggregated_days', sa.Column('num_unknown', sa.BigInteger(), nullable=False, server_default='0'))
    op.alter_column('aggregated_days', 'num_unknown', server_default=None)
    op.alter_column('aggregated_days', 'num_told', new_column_name='num_accesses')
    op.drop_column('aggregated_days', 'kind')
    op.create_primary_key(op.f('pk_aggregated_days'), 'aggregated_days', ['day', 'source'])
    op.drop_column('staged_pulls', 'staged_at')
    op.drop_column('staged_pulls', 'asked_at')
    op.drop_column('staged_pulls', 'accepted_id')
    op.drop_column('staged_pulls', 'fingerprint')
    op.drop_column('staged_accesses', 'lfn')
    op.drop_column('site_sources', 'told_last_at')
    op.drop_column('site_sources', 'told_since_at')
    op.drop_column('site_sources', 'told_status')
    op.drop_index('ix_subscriptions_file_id', table_name='subscriptions')
    op.create_index('ix_subscriptions_closed', 'subscriptions', ['file_id'], unique=False, postgresql_where=sa.text("state IN ('done', 'cancelled')"))
    for table, column, to in NO_LONGER_CHECKED:
        op.execute(f'DELETE FROM {table} t WHERE t.{column} IS NOT NULL AND NOT EXISTS (SELECT FROM {to} WHERE id = t.{column})')
        op.create_foreign_key(op.f(f'fk_{table}_{column}'), table, to, [column], ['id'])
    op.drop_index('ix_site_overrides_site_id', table_name='site_overrides')
    op.drop_table('site_overrides')
    op.drop_table('demand_daily')
    for table in ('staged_blocks', 'staged_files'):
        op.drop_index(f'ix_{table}_page', table_name=table)
        op.create_index(op.f(f'ix_{table}_run_key'), table, ['run_key'], unique=False)
    op.drop_column('staged_datasets', 'has_details')
    op.drop_column('staged_datasets', 'is_listed')
    op.drop_column('source_states', 'full_until')
    op.drop_index('ix_dataset_sources_source', table_name='dataset_sources')
    op.drop_table('dataset_sources')
    op.drop_index('uq_vanished_name', table_name='vanished')
    op.drop_table('vanished')
    op.drop_table('use_resolved')
    op.drop_index('ix_unknown_use_lfn', table_name='unknown_use')
    op.drop_index('ix_unknown_use_day', table_name='unknown_use')
    op.drop_table('unknown_use')
    op.drop_index(op.f('ix_staged_demand_run_key'), table_name='staged_demand')
    op.drop_table('staged_demand')
    op.drop_index('uq_invalidations_name', table_name='invalidations')
    op.drop_index('ix_invalidations_thing_id', table_name='invalidations')
    op.drop_table('invalidations')
    op.drop_index('ix_gate_metrics_trend', table_name='gate_metrics')
    op.drop_table('gate_metrics')
    op.drop_index('ix_alerts_last_at', table_name='alerts')
    op.drop_table('alerts')
