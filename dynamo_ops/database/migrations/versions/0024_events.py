"""what happened, who is sent it, and what is on its way to them"""

from collections.abc import Sequence
from datetime import datetime

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0024'
down_revision = '0023'
branch_labels = None
depends_on = None


def _at(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def _created(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False)


def _texts(name: str, default: str | None = None) -> sa.Column[Sequence[str]]:
    return sa.Column(name, postgresql.ARRAY(sa.Text()), nullable=False, server_default=default and sa.text(default))


def upgrade() -> None:
    op.create_table(
        'events',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        _created('at'),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ('kind', 'object_kind', 'object_name')),
        sa.Column('person', sa.Text(), nullable=True),
        *(_texts(name, "'{}'") for name in ('groups', 'sites', 'datasets')),
        sa.Column('is_private', sa.Boolean(), server_default=sa.text('false'), nullable=False),
        sa.Column('facts', postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_events')),
    )
    op.create_index('ix_events_object', 'events', ['object_kind', 'object_name', 'id'])
    op.create_index('ix_events_at', 'events', ['at'])
    op.create_table(
        'event_subscriptions',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column('person', sa.Text(), nullable=True),
        sa.Column('group_id', sa.SmallInteger(), nullable=True),
        _texts('kinds'),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ('kinds_regex', 'scope', 'scope_kind')),
        sa.Column('scope_regex', sa.Text(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ('channel', 'address')),
        sa.Column('secret', sa.LargeBinary(), nullable=True),
        sa.Column('created_by', sa.Text(), nullable=False),
        _created('created_at'),
        sa.Column('seen_event_id', sa.BigInteger(), nullable=False),
        sa.Column('failures', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
        *(_at(name) for name in ('failing_since', 'next_at', 'tried_at')),
        sa.Column('last_error', sa.Text(), nullable=True),
        sa.CheckConstraint(
            "scope_kind IN ('own', 'all', 'group', 'site', 'dataset')", name=op.f('ck_event_subscriptions_scope_kind')
        ),
        sa.CheckConstraint("channel IN ('mail', 'webhook')", name=op.f('ck_event_subscriptions_channel')),
        sa.ForeignKeyConstraint(['group_id'], ['groups.id'], name=op.f('fk_event_subscriptions_group_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_event_subscriptions')),
    )
    op.create_index('ix_event_subscriptions_person', 'event_subscriptions', ['person'])
    op.create_table(
        'event_deliveries',
        sa.Column('id', sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column('event_id', sa.BigInteger(), nullable=False),
        sa.Column('subscription_id', sa.BigInteger(), nullable=False),
        sa.Column('state', sa.Text(), server_default='waiting', nullable=False),
        sa.Column('attempts', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
        _created('created_at'),
        *(_at(name) for name in ('tried_at', 'next_at', 'ended_at')),
        sa.Column('last_error', sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'given_up')", name=op.f('ck_event_deliveries_state')),
        sa.ForeignKeyConstraint(
            ['event_id'], ['events.id'], name=op.f('fk_event_deliveries_event_id'), ondelete='CASCADE'
        ),
        sa.ForeignKeyConstraint(
            ['subscription_id'],
            ['event_subscriptions.id'],
            name=op.f('fk_event_deliveries_subscription_id'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_event_deliveries')),
        sa.UniqueConstraint(
            'event_id', 'subscription_id', name=op.f('uq_event_deliveries_event_id_subscription_id')
        ),
    )
    op.create_index(
        'ix_event_deliveries_waiting',
        'event_deliveries',
        ['subscription_id', 'event_id'],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index('ix_event_deliveries_ended_at', 'event_deliveries', ['ended_at'])


def downgrade() -> None:
    op.drop_table('event_deliveries')
    op.drop_table('event_subscriptions')
    op.drop_table('events')
