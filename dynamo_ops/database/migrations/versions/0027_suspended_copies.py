"""copies that failed for too long are suspended; so long their last source stays"""

from alembic import op
import sqlalchemy as sa

revision = '0027'
down_revision = '0026'
branch_labels = None
depends_on = None

HOLD_REASONS = ('no_source', 'all_failed', 'site_unavailable', 'refused', 'operator')


def _hold_reasons(*reasons: str) -> None:
    listed = ', '.join(map(repr, reasons))
    op.drop_constraint(op.f('ck_subscriptions_hold_reason'), 'subscriptions')
    op.create_check_constraint(op.f('ck_subscriptions_hold_reason'), 'subscriptions', f'hold_reason IN ({listed})')


def upgrade() -> None:
    for name in ('freed_at', 'protects_until'):
        op.add_column('subscriptions', sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    _hold_reasons(*HOLD_REASONS, 'suspended')


def downgrade() -> None:
    op.execute("UPDATE subscriptions SET hold_reason = 'operator' WHERE hold_reason = 'suspended'")
    _hold_reasons(*HOLD_REASONS)
    for name in ('freed_at', 'protects_until'):
        op.drop_column('subscriptions', name)
