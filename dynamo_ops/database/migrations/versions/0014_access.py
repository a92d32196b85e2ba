"""who may do what, by which tokens, and who did what"""

from alembic import op
from sqlalchemy.dialects import postgresql
import sqlalchemy as sa

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None

APPEND_ONLY = """
    CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' AND OLD.at < now() - interval '2 years' THEN
        RETURN OLD;
      END IF;
      RAISE EXCEPTION 'the audit is never changed, and kept for two years';
    END $$;
    CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_kept();
"""


def upgrade() -> None:
    now = sa.text('now()')
    op.create_table(
        'access_grants',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column('subject', sa.Text(), nullable=False),
        sa.Column('role', sa.Text(), nullable=False),
        sa.Column('scope', sa.Text(), server_default='*', nullable=False),
        sa.Column('granted_by', sa.Text(), nullable=False),
        sa.Column('reason', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column('until', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "role IN ('viewer', 'user', 'producer', 'manager', 'site_admin', 'operator', 'admin')",
            name=op.f('ck_access_grants_role'),
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_access_grants')),
        sa.UniqueConstraint('subject', 'role', 'scope', name=op.f('uq_access_grants_subject_role_scope')),
    )
    op.create_table(
        'group_members',
        sa.Column('group_id', sa.SmallInteger(), nullable=False),
        sa.Column('person', sa.Text(), nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.ForeignKeyConstraint(['group_id'], ['groups.id'], name=op.f('fk_group_members_group_id_groups')),
        sa.PrimaryKeyConstraint('group_id', 'person', name=op.f('pk_group_members')),
    )
    op.create_index('ix_group_members_person', 'group_members', ['person'])
    op.create_table(
        'identities',
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('value', sa.Text(), nullable=False),
        sa.Column('person', sa.Text(), nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint("kind IN ('certificate', 'jwt')", name=op.f('ck_identities_kind')),
        sa.PrimaryKeyConstraint('kind', 'value', name=op.f('pk_identities')),
    )
    op.create_table(
        'tokens',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column('person', sa.Text(), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('digest', sa.LargeBinary(), nullable=False),
        sa.Column('prefix', sa.Text(), nullable=False),
        sa.Column('grants', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column('until', sa.DateTime(timezone=True), nullable=False),
        sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('revoked_by', sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_tokens')),
        sa.UniqueConstraint('digest', name=op.f('uq_tokens_digest')),
    )
    op.create_index(
        'uq_tokens_person_name', 'tokens', ['person', 'name'], unique=True, postgresql_where=sa.text('revoked_at IS NULL')
    )
    op.create_table(
        'audit',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column('person', sa.Text(), nullable=False),
        sa.Column('known_by', sa.Text(), nullable=False),
        sa.Column('on_behalf_of', sa.Text(), nullable=True),
        sa.Column('address', sa.Text(), nullable=True),
        sa.Column('token_id', sa.BigInteger(), nullable=True),
        sa.Column('action', sa.Text(), nullable=False),
        sa.Column('object', sa.Text(), nullable=False),
        sa.Column('outcome', sa.Text(), nullable=False),
        sa.Column('reason', sa.Text(), nullable=True),
        sa.Column('key', sa.Text(), nullable=True),
        sa.Column('run_key', sa.Text(), nullable=True),
        sa.Column('ids', postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "known_by IN ('shell', 'dag', 'airflow', 'token', 'certificate', 'jwt')", name=op.f('ck_audit_known_by')
        ),
        sa.CheckConstraint("outcome IN ('done', 'dry_run', 'refused', 'failed')", name=op.f('ck_audit_outcome')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_audit')),
    )
    op.create_index('ix_audit_at', 'audit', ['at'])
    op.create_index('ix_audit_person_at', 'audit', ['person', 'at'])
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    for table in ('audit', 'tokens', 'identities', 'group_members', 'access_grants'):
        op.drop_table(table)
    op.execute('DROP FUNCTION audit_is_kept()')
