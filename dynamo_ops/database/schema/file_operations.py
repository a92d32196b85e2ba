"""The subscriptions of files, and what was asked of other services for it (SEMANTICS §6).

A batch is the unit of one outside call. It is stored, with the id it will have there, before the call is made.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created, one_of

SUBSCRIPTION_STATES = ("new", "inbatch", "done", "retry", "held", "cancelled")
ACTIVE_STATES = "state IN ('new', 'inbatch', 'retry', 'held')"
LIVE_TRANSFERS = "state IN ('planned', 'submitted', 'staging', 'active')"
HOLD_REASONS = ("no_source", "all_failed", "site_unavailable", "refused", "operator", "suspended")
BACKENDS = ("fts", "direct")
BLAMES = ("source", "destination", "link", "credential", "file", "arrival", "tape", "service", "nobody")
COMMON_BLAMES = "blame IN ('source', 'destination', 'link', 'credential')"
VERIFIED_BY = ("both_ends", "source", "destination", "read_back", "size", "wrong")
NOT_READ_BACK = "verified_by IN ('source', 'size')"


class Subscription(Base):
    """A subscription: this file shall be at (copy), or vanish from (delete), this site. At most one of them is active.

    ``activity``: what it is for, and so how urgent it is (settings ``transfers.activities``). ``note``: who held,
    released or withdrew it by hand, and why. ``is_last_allowed``: a deletion that may take the last
    copy (SEMANTICS §10). ``num_excused``: of its attempts, those that failed since a whole site, a link or our
    credential was ill. ``freed_at``: when it was last released by itself; what failed before is not held against it.
    ``protects_until``: of a suspended copy, until when its last source stays; null: without an end.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        one_of("action", "copy", "delete"),
        one_of("state", *SUBSCRIPTION_STATES),
        one_of("hold_reason", *HOLD_REASONS),
        Index("uq_subscriptions_active", "file_id", "site_id", unique=True, postgresql_where=text(ACTIVE_STATES)),
        Index(
            "ix_subscriptions_queue",
            "action",
            "site_id",
            "created_at",
            postgresql_where=text("state IN ('new', 'retry')"),
        ),
        Index("ix_subscriptions_held", "site_id", "hold_reason", postgresql_where=text("state = 'held'")),
        Index("ix_subscriptions_plan_id", "plan_id"),
        Index("ix_subscriptions_file_id", "file_id"),
        Index("ix_subscriptions_inbatch", "action", "id", postgresql_where=text("state = 'inbatch'")),
    )

    id: Mapped[bigint_key]
    file_id: Mapped[int] = mapped_column(ForeignKey("files.id"))
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"))
    action: Mapped[str]
    state: Mapped[str] = mapped_column(Text, server_default="new")
    hold_reason: Mapped[str | None]
    origin: Mapped[str]
    activity: Mapped[str] = mapped_column(Text, server_default="default")
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("plans.id"))
    num_attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    num_excused: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    last_error: Mapped[str | None]
    note: Mapped[str | None]
    is_last_allowed: Mapped[bool] = mapped_column(server_default=text("false"))
    freed_at: Mapped[datetime | None]
    protects_until: Mapped[datetime | None]
    created_at: Mapped[created]
    updated_at: Mapped[created]


class TransferBatch(Base):
    """One FTS job, or with backend ``direct`` the copies of one task of ours.

    ``sid``, ``job_id`` and ``server`` (the address of the FTS) are chosen and stored before the submit (FTS_CONTRACT
    §5). ``server`` null: a direct batch, or one recorded when there was but one server. ``submitted_at``: when the last
    submit began; while the batch is ``planned`` nobody knows what came of it, but after a refusal, when it is null.
    ``num_refusals``: by the server; of this document the first was at ``refused_since``. ``verify_checksum``: what FTS
    is to compare (``inventory.states.VerifyChecksum``); null: a direct batch, or one of before, which is ``both``.
    """

    __tablename__ = "transfer_batches"
    __table_args__ = (
        one_of("state", "planned", "submitted", "finished", "cancelled"),
        one_of("backend", *BACKENDS),
        one_of("verify_checksum", "both", "source", "target", "none"),
        Index("ix_transfer_batches_open", "id", postgresql_where=text("state IN ('planned', 'submitted')")),
        Index("ix_transfer_batches_site_id", "site_id", "id"),
    )

    id: Mapped[bigint_key]
    sid: Mapped[str] = mapped_column(Text, unique=True)
    job_id: Mapped[UUID] = mapped_column(Uuid, unique=True)
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"))
    is_staging: Mapped[bool]
    backend: Mapped[str] = mapped_column(Text, server_default="fts")
    server: Mapped[str | None]
    activity: Mapped[str] = mapped_column(Text, server_default="default")
    state: Mapped[str] = mapped_column(Text, server_default="planned")
    num_refusals: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    refused_since: Mapped[datetime | None]
    verify_checksum: Mapped[str | None]
    created_at: Mapped[created]
    submitted_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class FtsServerState(Base):
    """How an FTS server is (``transfer.server.health``). ``answered_at``: when it last answered. ``illness`` null: it
    is well, as far as anybody knows; else ``ill_since`` and ``reason``, in its own words where it has some."""

    __tablename__ = "fts_servers"
    __table_args__ = (
        one_of("illness", "away", "refuses", "still"),
        CheckConstraint("(illness IS NULL) = (ill_since IS NULL)", name="since"),
    )

    address: Mapped[str] = mapped_column(Text, primary_key=True)
    answered_at: Mapped[datetime | None]
    illness: Mapped[str | None]
    ill_since: Mapped[datetime | None]
    reason: Mapped[str | None]


class Transfer(Base):
    """One file of one batch: an attempt at a copy subscription from one source site.

    ``other_source_site_ids``: sources that FTS tries after that one, in this order (a multi-source job). ``blame``:
    whose fault it was that it failed; ``is_recoverable``: whether its source may serve another time. ``is_excused``:
    true where a whole site, a link or our credential was ill, and it is not counted against the copy.
    ``finished_at`` of one that is still active: its bytes have arrived, and are being written to tape since.
    ``is_leftover``: it ended otherwise than well after FTS had begun to write, and nobody has looked since.
    ``verified_by``, of one that is done: how it was compared with the catalogue; null: before that was kept. No foreign
    keys: the transaction that writes the rows has just written the batch and claimed the subscriptions, a subscription
    only goes with its transfers (``inventory.catalogue.removal``), and checking them costs a third of the time in which
    a million files are planned.
    """

    __tablename__ = "transfers"
    __table_args__ = (
        one_of("state", "planned", "submitted", "staging", "active", "done", "failed", "cancelled"),
        one_of("verified_by", *VERIFIED_BY),
        Index("ix_transfers_batch_id", "batch_id", "file_index", unique=True),
        Index("ix_transfers_subscription_id", "subscription_id"),
        Index("ix_transfers_finished_at", "finished_at"),
        one_of("blame", *BLAMES),
        Index("ix_transfers_failed", "finished_at", "id", postgresql_where=text("state = 'failed'")),
        Index("ix_transfers_leftover", "subscription_id", postgresql_where=text("is_leftover")),
        Index("ix_transfers_blamed", "finished_at", postgresql_where=text(COMMON_BLAMES)),
        Index("ix_transfers_not_read_back", "finished_at", postgresql_where=text(NOT_READ_BACK)),
        Index("uq_transfers_live", "subscription_id", unique=True, postgresql_where=text(LIVE_TRANSFERS)),
    )

    id: Mapped[bigint_key]
    batch_id: Mapped[int]
    subscription_id: Mapped[int]
    file_index: Mapped[int] = mapped_column(Integer)
    source_site_id: Mapped[int] = mapped_column(SmallInteger)
    other_source_site_ids: Mapped[list[int] | None] = mapped_column(ARRAY(SmallInteger))
    state: Mapped[str] = mapped_column(Text, server_default="planned")
    is_recoverable: Mapped[bool | None]
    blame: Mapped[str | None]
    is_leftover: Mapped[bool] = mapped_column(server_default=text("false"))
    is_excused: Mapped[bool | None]
    reason: Mapped[str | None]
    size_bytes: Mapped[int]
    verified_by: Mapped[str | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class SiteChecksum(Base):
    """Whether the storage of a site tells checksums, as was found out at ``asked_at`` (``transfer.verification``);
    ``because``: by what. Only of sites of which that was ever in doubt."""

    __tablename__ = "site_checksums"

    site_id: Mapped[int] = mapped_column(
        SmallInteger, ForeignKey("sites.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    is_told: Mapped[bool]
    because: Mapped[str]
    asked_at: Mapped[created]


class DeletionBatch(Base):
    """Deletions handed to one mapped task, all at one site."""

    __tablename__ = "deletion_batches"
    __table_args__ = (
        one_of("state", "planned", "finished"),
        Index("ix_deletion_batches_open", "id", postgresql_where=text("state = 'planned'")),
    )

    id: Mapped[bigint_key]
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"))
    state: Mapped[str] = mapped_column(Text, server_default="planned")
    created_at: Mapped[created]
    finished_at: Mapped[datetime | None]


class Deletion(Base):
    """One file of one deletion batch: an attempt at a delete subscription. ``gone``: it was not there any more.

    ``claimed_at``: it was judged, and from then on the storage may have been asked. ``is_unsettled``: from then until
    it is known whether the file is gone: no answer, or one that was lost, counts as a deletion, whatever becomes of the
    subscription.
    """

    __tablename__ = "deletions"
    __table_args__ = (
        one_of("state", "planned", "done", "gone", "failed"),
        Index("ix_deletions_batch_id", "batch_id"),
        Index("ix_deletions_subscription_id", "subscription_id"),
        Index("ix_deletions_finished_at", "finished_at"),
        Index("uq_deletions_live", "subscription_id", unique=True, postgresql_where=text("state = 'planned'")),
        Index("ix_deletions_unsettled", "subscription_id", postgresql_where=text("is_unsettled")),
    )

    id: Mapped[bigint_key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("deletion_batches.id"))
    subscription_id: Mapped[int] = mapped_column(ForeignKey("subscriptions.id"))
    state: Mapped[str] = mapped_column(Text, server_default="planned")
    is_recoverable: Mapped[bool | None]
    reason: Mapped[str | None]
    size_bytes: Mapped[int]
    claimed_at: Mapped[datetime | None]
    is_unsettled: Mapped[bool] = mapped_column(server_default=text("false"))
    finished_at: Mapped[datetime | None]


class SiteDowntime(Base):
    """While it lasts nothing is copied to or from the site or deleted there. No ``ends_at``: until resumed."""

    __tablename__ = "site_downtimes"
    __table_args__ = (
        CheckConstraint("ends_at >= begins_at", name="order"),
        Index("ix_site_downtimes_site_id", "site_id"),
    )

    id: Mapped[bigint_key]
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"))
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[created]
    ended_by: Mapped[str | None]


def _hours(name: str, *source: Column[int]) -> Table:
    """Sums of attempts that ended in an hour, to be summed up themselves (``inventory.subscription.hours``)."""
    return Table(
        name,
        Base.metadata,
        Column("hour", DateTime(timezone=True), nullable=False),
        *source,
        Column("site_id", SmallInteger, nullable=False),
        Column("outcome", Text, nullable=False),
        Column("error_class", Text, nullable=False),
        Column("num_files", BigInteger, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("num_seconds", BigInteger, nullable=False),
        Column("is_removed", Boolean, nullable=False),
        Index(f"ix_{name}_hour", "hour"),
    )


TRANSFER_HOURS = _hours("transfer_hours", Column("source_site_id", SmallInteger, nullable=False))
DELETION_HOURS = _hours("deletion_hours")
