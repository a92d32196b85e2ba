"""What became of things that sources told of once: where they are from, what vanished, what was declared invalid; and
what people said of sites and of what Dynamo does; and what they are told of, when it happens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created, one_of

PAUSE_KINDS = ("metadata", "popularity", "detox", "dealer", "transfers", "deletions", "consistency")
EVENT_SCOPES = ("own", "all", "group", "site", "dataset")
EVENT_CHANNELS = ("mail", "webhook")
DELIVERY_STATES = ("waiting", "delivered", "given_up")


class DatasetSource(Base):
    """Which metadata source told of a dataset last: only that source's silence means that it vanished.

    The times are ends of the intervals of merged pulls, so that what is known does not depend on the order in which
    intervals are merged. ``state_until``: of the pull that the dataset's state is from. ``known_until``: of the newest
    that listed it or told its blocks. ``details_until``: of the newest whose blocks and files were compared with ours.
    ``lost_until``: of the newest that asked for its blocks and got none.
    ``is_open``: as told of the dataset itself, whatever its blocks are. ``release_at``: the dataset's last update as of
    the telling that named its release.
    """

    __tablename__ = "dataset_sources"
    __table_args__ = (Index("ix_dataset_sources_source", "source"),)

    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    source: Mapped[str]
    is_open: Mapped[bool]
    release_at: Mapped[datetime | None]
    state_until: Mapped[datetime | None]
    known_until: Mapped[datetime | None]
    details_until: Mapped[datetime | None]
    lost_until: Mapped[datetime | None]


class Vanished(Base):
    """A dataset, block or file that its source told of before and did not list when asked for all of its kind.

    Nothing is taken away for it: the inventory keeps the thing, a person decides. The row goes when it is told again.
    ``name``: of the dataset, ``dataset#block``, or the LFN.
    """

    __tablename__ = "vanished"
    __table_args__ = (
        Index("uq_vanished_name", "kind", text("(md5(name)::uuid)"), unique=True),
        one_of("kind", "dataset", "block", "file"),
    )

    id: Mapped[bigint_key]
    source: Mapped[str]
    kind: Mapped[str]
    name: Mapped[str]
    size_bytes: Mapped[int]
    vanished_at: Mapped[created]


class SetAsideDataset(Base):
    """A dataset of which a source told a bad record: nothing of it was merged since, and it is asked for again.

    ``is_of_record``: the bad record is the dataset's own, so the source has to list it anew. ``listed``: how it was
    listed where that record was good (status, is_open, software_release, last_update_at, properties); null: as the
    inventory has it. ``until``: the end of the interval of the newest pull that told it so, by run ``run_key``.
    ``num_runs``: how many runs did.
    """

    __tablename__ = "set_aside_datasets"
    __table_args__ = (Index("uq_set_aside_datasets_name", "source", text("(md5(dataset)::uuid)"), unique=True),)

    id: Mapped[bigint_key]
    source: Mapped[str]
    dataset: Mapped[str]
    reason: Mapped[str]
    is_of_record: Mapped[bool]
    listed: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    until: Mapped[datetime]
    first_at: Mapped[created]
    last_at: Mapped[created]
    num_runs: Mapped[int] = mapped_column(server_default=text("1"))
    run_key: Mapped[str]


class Invalidation(Base):
    """A dataset, block or file that a person declared invalid: it left the inventory, and no source brings it back.

    ``name``: of the dataset, ``dataset#block``, or the LFN. ``thing_id``: the id that it had in its table, by which
    histories and closed requests still know it. ``size_bytes`` and ``num_files``: what was below it then.
    ``undone_at``: since then the name may come in again.
    """

    __tablename__ = "invalidations"
    __table_args__ = (
        Index(
            "uq_invalidations_name",
            "kind",
            text("(md5(name)::uuid)"),
            unique=True,
            postgresql_where=text("undone_at IS NULL"),
        ),
        Index("ix_invalidations_thing_id", "thing_id", "kind"),
        one_of("kind", "dataset", "block", "file"),
    )

    id: Mapped[bigint_key]
    kind: Mapped[str]
    name: Mapped[str]
    thing_id: Mapped[int | None]
    size_bytes: Mapped[int]
    num_files: Mapped[int]
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[created]
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None]
    undone_because: Mapped[str | None]


class SiteOverride(Base):
    """A status that a person gave to a site, whatever its source says: until ``ends_at``, or until it is ended."""

    __tablename__ = "site_overrides"
    __table_args__ = (Index("ix_site_overrides_site_id", "site_id"), one_of("status", "ready", "waitroom", "morgue"))

    id: Mapped[bigint_key]
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"))
    status: Mapped[str]
    ends_at: Mapped[datetime | None]
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[created]
    ended_by: Mapped[str | None]


class Alert(Base):
    """A failure that people are told of: many of the same kind are one alert. Or a digest, noted so that it goes out
    once.

    ``key``: what makes failures the same (DAG, task, class, facts). ``told_at``: when a message went out last.
    ``num_untold``: failures of the kind since then. ``claimed_by``: a token of who is sending the next one, since
    ``claimed_at``. ``message``: the newest text; of a digest what was sent.
    """

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_last_at", "last_at"), one_of("kind", "failure", "late", "digest", "ill"))

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str]
    dag_id: Mapped[str]
    task_id: Mapped[str | None]
    error: Mapped[str]
    message: Mapped[str]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    num_times: Mapped[int]
    num_untold: Mapped[int]
    claimed_at: Mapped[datetime | None]
    claimed_by: Mapped[str | None]
    told_at: Mapped[datetime | None]


class Event(Base):
    """Something that happened, written in the transaction in which it did; committed in the order of ``id``.

    ``object_kind`` and ``object_name``: what it is about; all events of one object have one order. ``person``,
    ``groups``, ``sites``, ``datasets``: whom and what it concerns (names). ``is_private``: only ``person`` reads it.
    ``facts``: some figures, units in their names.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_object", "object_kind", "object_name", "id"),
        Index("ix_events_at", "at"),
    )

    id: Mapped[bigint_key]
    at: Mapped[created]
    kind: Mapped[str]
    object_kind: Mapped[str]
    object_name: Mapped[str]
    person: Mapped[str | None]
    groups: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    sites: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    datasets: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    is_private: Mapped[bool] = mapped_column(server_default=text("false"))
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))


class EventSubscription(Base):
    """Who is sent which events: a person, or a group (one of the two is null).

    ``kinds``: globs, and ``kinds_regex`` the same for PostgreSQL. ``scope``: as it was said; ``scope_kind`` and
    ``scope_regex`` the same for PostgreSQL. ``address``: of a mail, or the URL of a webhook, whose bodies are signed by
    ``secret``. ``seen_event_id``: the last event that was looked at for it. ``failures``: calls in a row that failed,
    since ``failing_since``; it is tried again at ``next_at``.
    """

    __tablename__ = "event_subscriptions"
    __table_args__ = (
        one_of("scope_kind", *EVENT_SCOPES),
        one_of("channel", *EVENT_CHANNELS),
        Index("ix_event_subscriptions_person", "person"),
    )

    id: Mapped[bigint_key]
    person: Mapped[str | None]
    group_id: Mapped[int | None] = mapped_column(SmallInteger, ForeignKey("groups.id"))
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    kinds_regex: Mapped[str]
    scope: Mapped[str]
    scope_kind: Mapped[str]
    scope_regex: Mapped[str | None]
    channel: Mapped[str]
    address: Mapped[str]
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_by: Mapped[str]
    created_at: Mapped[created]
    seen_event_id: Mapped[int]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    failing_since: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    tried_at: Mapped[datetime | None]
    last_error: Mapped[str | None]


class EventDelivery(Base):
    """An event on its way to a subscription. ``attempts``: how often it may have been sent. ``next_at``: not before."""

    __tablename__ = "event_deliveries"
    __table_args__ = (
        one_of("state", *DELIVERY_STATES),
        UniqueConstraint("event_id", "subscription_id"),
        Index(
            "ix_event_deliveries_waiting",
            "subscription_id",
            "event_id",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_event_deliveries_ended_at", "ended_at"),
    )

    id: Mapped[bigint_key]
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    subscription_id: Mapped[int] = mapped_column(ForeignKey("event_subscriptions.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(Text, server_default="waiting")
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[created]
    tried_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    last_error: Mapped[str | None]


class Pause(Base):
    """Acts of a kind (null: of all) stand still, of a partition where one is named. ``until``: null until resumed.

    ``ended_by``: who resumed it before its end.
    """

    __tablename__ = "pauses"
    __table_args__ = (
        one_of("kind", *PAUSE_KINDS),
        Index("ix_pauses_not_ended", "id", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[bigint_key]
    kind: Mapped[str | None]
    partition: Mapped[str | None]
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[created]
    until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None] = mapped_column()
    ended_by: Mapped[str | None]
