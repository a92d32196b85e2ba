"""which storages tell checksums, what FTS is to compare, and how each copy was verified"""

from alembic import op

revision = '0033'
down_revision = '0032'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('''
        CREATE TABLE site_checksums (
            site_id smallint NOT NULL,
            is_told boolean NOT NULL,
            because text NOT NULL,
            asked_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT pk_site_checksums PRIMARY KEY (site_id),
            CONSTRAINT fk_site_checksums_site_id_sites FOREIGN KEY (site_id) REFERENCES sites (id) ON DELETE CASCADE)
    ''')
    op.execute('''
        ALTER TABLE transfer_batches ADD COLUMN verify_checksum text,
            ADD CONSTRAINT ck_transfer_batches_verify_checksum
                CHECK (verify_checksum IN ('both', 'source', 'target', 'none'))
    ''')
    op.execute('''
        ALTER TABLE transfers ADD COLUMN verified_by text,
            ADD CONSTRAINT ck_transfers_verified_by
                CHECK (verified_by IN ('both_ends', 'source', 'destination', 'read_back', 'size', 'wrong'))
    ''')
    op.execute('''
        CREATE INDEX ix_transfers_not_read_back ON transfers (finished_at) WHERE verified_by IN ('source', 'size')
    ''')


def downgrade() -> None:
    op.execute('DROP INDEX ix_transfers_not_read_back')
    op.execute('ALTER TABLE transfers DROP COLUMN verified_by')
    op.execute('ALTER TABLE transfer_batches DROP COLUMN verify_checksum')
    op.execute('DROP TABLE site_checksums')
