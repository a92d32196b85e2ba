"""what a run for a date ahead has left: sources would not be believed again before it"""

from alembic import op

revision = '0028'
down_revision = '0027'
branch_labels = None
depends_on = None

MOMENTS = {
    'source_states': ('full_until', 'merged_until'),
    'dataset_sources': ('state_until', 'known_until', 'details_until', 'lost_until'),
}


def upgrade() -> None:
    for table, columns in MOMENTS.items():
        until_now = ', '.join(f'{name} = CASE WHEN {name} > now() THEN now() ELSE {name} END' for name in columns)
        op.execute(f"UPDATE {table} SET {until_now} WHERE {' OR '.join(f'{name} > now()' for name in columns)}")


def downgrade() -> None:
    """What was said of times to come was wrong before, too."""
