"""whose fault a failed copy was; what destinations and credentials failed of condemns no source any more"""

from alembic import op
import sqlalchemy as sa

revision = '0031'
down_revision = '0030'
branch_labels = None
depends_on = None

BLAMES = ('source', 'destination', 'link', 'credential', 'file', 'arrival', 'tape', 'service', 'nobody')
ALERTS = ('failure', 'late', 'digest')
WRONG = r'checksums? do(es)? not match|checksum mismatch|has the checksum \S+, not|bytes, the inventory knows|gives more than its \d+ bytes'
NONE_TOLD = r'\(0{8} != |!= 0{8}\)'


def _one_of(table: str, column: str, words: tuple[str, ...]) -> None:
    op.create_check_constraint(op.f(f'ck_{table}_{column}'), table, f"{column} IN ({', '.join(map(repr, words))})")


def upgrade() -> None:
    op.add_column('subscriptions', sa.Column('num_excused', sa.Integer(), server_default=sa.text('0'), nullable=False))
    op.add_column('transfers', sa.Column('blame', sa.Text(), nullable=True))
    op.add_column('transfers', sa.Column('is_excused', sa.Boolean(), nullable=True))
    _one_of('transfers', 'blame', BLAMES)
    op.drop_constraint(op.f('ck_alerts_kind'), 'alerts')
    _one_of('alerts', 'kind', (*ALERTS, 'ill'))
    op.create_index(
        'ix_transfers_blamed',
        'transfers',
        ['finished_at'],
        postgresql_where=sa.text("blame IN ('source', 'destination', 'link', 'credential')"),
    )
    op.create_index('ix_transfer_batches_site_id', 'transfer_batches', ['site_id', 'id'])
    # What made copies suspicious so far goes on to: no older one is looked at.
    op.get_bind().execute(
        sa.text("""
        UPDATE transfers SET blame = CASE WHEN reason ~ '^(DESTINATION|TRANSFER) ' THEN 'arrival' ELSE 'file' END
        WHERE state = 'failed' AND finished_at >= now() - interval '30 days' AND reason ~* :wrong
          AND reason !~ '^DESTINATION it has' AND reason !~ :none_told"""),
        {'wrong': WRONG, 'none_told': NONE_TOLD},
    )
    # Sources that were given up for what was not their fault, of copies that wait: the next run releases them.
    op.get_bind().execute(
        sa.text("""
        UPDATE transfers AS attempt SET is_recoverable = true,
          blame = CASE substring(attempt.reason FROM '^[A-Z]+') WHEN 'SOURCE' THEN 'source'
                       WHEN 'DESTINATION' THEN 'destination' ELSE 'link' END
        FROM subscriptions AS copy
        WHERE copy.id = attempt.subscription_id AND copy.action = 'copy' AND copy.state IN ('new', 'retry', 'held')
          AND coalesce(copy.hold_reason, 'all_failed') IN ('all_failed', 'no_source', 'site_unavailable')
          AND attempt.state = 'failed' AND attempt.is_recoverable IS FALSE
          AND (attempt.reason ~ '^(DESTINATION|TRANSFER) ' AND (attempt.reason !~* :wrong OR attempt.reason ~ :none_told)
               OR attempt.reason ~ '^SOURCE \\[(1|13)\\]' OR attempt.reason ~ '^SOURCE ' AND attempt.reason ~ :none_told)
          AND strpos(attempt.reason, '; then ') = 0"""),
        {'wrong': WRONG, 'none_told': NONE_TOLD},
    )


def downgrade() -> None:
    op.drop_index('ix_transfer_batches_site_id', 'transfer_batches')
    op.drop_index('ix_transfers_blamed', 'transfers')
    op.execute("DELETE FROM alerts WHERE kind = 'ill'")
    op.drop_constraint(op.f('ck_alerts_kind'), 'alerts')
    _one_of('alerts', 'kind', ALERTS)
    op.drop_column('transfers', 'is_excused')
    op.drop_column('transfers', 'blame')
    op.drop_column('subscriptions', 'num_excused')
