"""what is asked for over REST and done by a run, with what was sent"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0021'
down_revision = '0020'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'errands',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('state', sa.Text(), server_default='waiting', nullable=False),
        sa.Column('what', sa.Text(), nullable=False),
        sa.Column('arguments', postgresql.JSONB(), nullable=False),
        sa.Column('person', sa.Text(), nullable=False),
        sa.Column('known_by', sa.Text(), nullable=False),
        sa.Column('manager_roles', postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('on_behalf_of', sa.Text(), nullable=True),
        sa.Column('address', sa.Text(), nullable=True),
        sa.Column('token_id', sa.BigInteger(), nullable=True),
        sa.Column('key', sa.Text(), nullable=True),
        sa.Column('tries', sa.SmallInteger(), server_default='0', nullable=False),
        sa.Column('run_key', sa.Text(), nullable=True),
        sa.Column('answer', postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column('problem', postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('commit', 'injection', 'invalidation', 'trial')", name=op.f('ck_errands_kind')),
        sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name=op.f('ck_errands_state')),
        sa.CheckConstraint(
            "known_by IN ('shell', 'dag', 'airflow', 'token', 'certificate', 'jwt')", name=op.f('ck_errands_known_by')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_errands')),
    )
    op.create_index(
        'ix_errands_open', 'errands', ['id'], postgresql_where=sa.text("state IN ('waiting', 'running')")
    )
    op.create_index('ix_errands_person', 'errands', ['person', 'id'])
    op.create_table(
        'errand_pieces',
        sa.Column('errand_id', sa.BigInteger(), nullable=False),
        sa.Column('number', sa.BigInteger(), nullable=False),
        sa.Column('piece', sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ['errand_id'], ['errands.id'], name=op.f('fk_errand_pieces_errand_id'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('errand_id', 'number', name=op.f('pk_errand_pieces')),
    )


def downgrade() -> None:
    op.drop_table('errand_pieces')
    op.drop_table('errands')
