"""deletions of which nobody knows whether they were made"""

from alembic import op

revision = '0029'
down_revision = '0028'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('ALTER TABLE deletions ADD COLUMN is_unsettled boolean NOT NULL DEFAULT false')
    # The last attempt of each subscription that is not done: claimed and not recorded, or without an answer.
    op.execute("""
        UPDATE deletions SET is_unsettled = true WHERE id IN (
            SELECT DISTINCT ON (attempt.subscription_id) attempt.id
            FROM deletions AS attempt JOIN subscriptions AS asked ON asked.id = attempt.subscription_id
            WHERE asked.state <> 'done' AND attempt.claimed_at IS NOT NULL
              AND (attempt.state = 'planned' OR attempt.state = 'failed' AND attempt.is_recoverable)
            ORDER BY attempt.subscription_id, attempt.id DESC)""")
    op.execute('CREATE INDEX ix_deletions_unsettled ON deletions (subscription_id) WHERE is_unsettled')


def downgrade() -> None:
    op.execute('ALTER TABLE deletions DROP COLUMN is_unsettled')
