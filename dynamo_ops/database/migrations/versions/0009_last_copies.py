"""claims of deletions, the permission to delete the last copy, and wrong sizes among the findings of checks

Deletions that were handed to an executor before the upgrade may have been made: they count as claimed, and are looked at
before anything else. No deletion that is open then may take a last copy: it stays, and the reason is said.
"""

from alembic import op
import sqlalchemy as sa

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

KIND = 'ck_consistency_findings_kind'


def upgrade() -> None:
    op.add_column('deletions', sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE deletions SET claimed_at = now() WHERE state = 'planned'")
    op.add_column(
        'subscriptions', sa.Column('is_last_allowed', sa.Boolean(), server_default=sa.text('false'), nullable=False)
    )
    op.drop_constraint(op.f(KIND), 'consistency_findings')
    op.create_check_constraint(
        op.f(KIND), 'consistency_findings', "kind IN ('missing', 'wrong_size', 'orphan', 'unmanaged')"
    )
    op.add_column('consistency_findings', sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        'ix_consistency_findings_claimed', 'consistency_findings', ['check_id'],
        postgresql_where=sa.text("claimed_at IS NOT NULL AND state = 'found'"),
    )
    op.create_index(
        'ix_consistency_findings_file_id', 'consistency_findings', ['file_id'],
        postgresql_where=sa.text('file_id IS NOT NULL'),
    )


def downgrade() -> None:
    op.drop_index('ix_consistency_findings_file_id', 'consistency_findings')
    op.drop_index('ix_consistency_findings_claimed', 'consistency_findings')
    op.drop_column('consistency_findings', 'claimed_at')
    op.execute("DELETE FROM consistency_findings WHERE kind = 'wrong_size'")
    op.drop_constraint(op.f(KIND), 'consistency_findings')
    op.create_check_constraint(op.f(KIND), 'consistency_findings', "kind IN ('missing', 'orphan', 'unmanaged')")
    op.drop_column('subscriptions', 'is_last_allowed')
    op.drop_column('deletions', 'claimed_at')
