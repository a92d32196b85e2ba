"""which FTS servers are ill, since when and how"""

from alembic import op

revision = '0035'
down_revision = '0034'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('''
        CREATE TABLE fts_servers (
            address text NOT NULL,
            answered_at timestamptz,
            illness text,
            ill_since timestamptz,
            reason text,
            CONSTRAINT pk_fts_servers PRIMARY KEY (address),
            CONSTRAINT ck_fts_servers_illness CHECK (illness IN ('away', 'refuses', 'still')),
            CONSTRAINT ck_fts_servers_since CHECK ((illness IS NULL) = (ill_since IS NULL)))
    ''')


def downgrade() -> None:
    op.execute('DROP TABLE fts_servers')
