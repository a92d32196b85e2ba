"""What is where: replicas, what is said against single copies (SEMANTICS §10), their owners, their sums, quotas of
partitions with their changes, and locks (SEMANTICS §1)."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created, one_of


class DatasetReplica(Base):
    """A dataset at a site. While ``is_growing``, new blocks of the dataset are subscribed for ``group_id``.
    ``was_growing``: until a deletion stopped it."""

    __tablename__ = "dataset_replicas"
    __table_args__ = (Index("ix_dataset_replicas_site_id", "site_id", "dataset_id"),)

    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    is_growing: Mapped[bool] = mapped_column(server_default=text("false"))
    was_growing: Mapped[bool] = mapped_column(server_default=text("false"))
    group_id: Mapped[int | None] = mapped_column(SmallInteger, ForeignKey("groups.id"))
    created_at: Mapped[created]


class BlockReplica(Base):
    """A block at a site. Complete: every file of the block is there. Incomplete: those of ``block_replica_files``.

    ``size_bytes``: bytes on disk, the sum over the files present. ``group_id`` null: the null group;
    ``former_group_id``: who owned it until it was to be deleted.
    ``dataset_id`` repeats the block's, so that a site's or a dataset's replicas are read without a join on blocks.
    """

    __tablename__ = "block_replicas"
    __table_args__ = (
        Index("ix_block_replicas_site_id", "site_id", "dataset_id"),
        Index("ix_block_replicas_dataset_id", "dataset_id"),
        Index("ix_block_replicas_incomplete", "site_id", postgresql_where=text("NOT is_complete")),
        CheckConstraint("size_bytes >= 0", name="size"),
    )

    block_id: Mapped[int] = mapped_column(ForeignKey("blocks.id"), primary_key=True)
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    group_id: Mapped[int | None] = mapped_column(SmallInteger, ForeignKey("groups.id"))
    former_group_id: Mapped[int | None] = mapped_column(SmallInteger, ForeignKey("groups.id"))
    is_complete: Mapped[bool]
    is_custodial: Mapped[bool] = mapped_column(server_default=text("false"))
    size_bytes: Mapped[int]
    last_update_at: Mapped[datetime]


class BlockReplicaFile(Base):
    """One row per file present of an incomplete block replica; complete replicas have no rows here.

    No foreign key to files: who writes or removes rows holds the lock of the block replica, and a file that goes for
    good would look for its rows in the whole table.
    """

    __tablename__ = "block_replica_files"

    block_id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    file_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class UsageFigures:
    """Columns of what is summed up. ``projected_bytes``: at the full sizes of the blocks."""

    num_blocks: Mapped[int]
    num_complete: Mapped[int]
    size_bytes: Mapped[int]
    projected_bytes: Mapped[int]


class UsageNow(UsageFigures, Base):
    """Sums over the block replicas of a dataset at a site that a group owns (0: nobody), as of the last fold
    (``inventory.replica.usage``, its only writer)."""

    __tablename__ = "usage_now"
    __table_args__ = (
        Index("ix_usage_now_site_id", "site_id", "dataset_id"),
        Index("ix_usage_now_group_id", "group_id", "dataset_id"),
    )

    dataset_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    site_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    group_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)


class UsagePlaces(UsageFigures, Base):
    """Block replicas by site and owner (0: nobody), as of the last fold: sums of ``usage_now``."""

    __tablename__ = "usage_places"

    site_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    group_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)


class UsageUnique(Base):
    """Blocks that a group owns somewhere, each once, as of the last fold."""

    __tablename__ = "usage_unique"

    group_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    num_blocks: Mapped[int]
    size_bytes: Mapped[int]


class UsageDaily(UsageFigures, Base):
    """Sums of a day, as they were when housekeeping ran: by site, owner (0: nobody), status of the datasets, and tier
    (the last part of their names)."""

    __tablename__ = "usage_daily"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    site_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    group_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(Text, primary_key=True)
    tier: Mapped[str] = mapped_column(Text, primary_key=True)


Table(
    "usage_changes",
    Base.metadata,
    Column("block_id", BigInteger, nullable=False),
    Column("dataset_id", BigInteger, nullable=False),
    Column("site_id", SmallInteger, nullable=False),
    Column("group_id", SmallInteger, nullable=False),
    Column("num_blocks", SmallInteger, nullable=False),
    Column("num_complete", SmallInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)
"""Changes of block replicas since the last fold, by triggers: so many more, or fewer, complete ones, and bytes on disk.
Without a key: rows are only inserted, and all taken at once."""

Table(
    "usage_block_changes",
    Base.metadata,
    Column("block_id", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)
"""Changes of the sizes of blocks since the last fold, by triggers; of one that goes, all of it."""


class Quota(Base):
    """Bytes that a leaf partition may take at a site. 0: nothing may be there. Negative: unlimited. No row: unknown."""

    __tablename__ = "quotas"

    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    partition: Mapped[str] = mapped_column(Text, primary_key=True)
    quota_bytes: Mapped[int]
    changed_by: Mapped[str]
    changed_at: Mapped[created]


class QuotaChange(Base):
    """One change of one quota; never erased. Bytes as in ``quotas``; null: unknown, there was (or is now) no quota."""

    __tablename__ = "quota_changes"
    __table_args__ = (Index("ix_quota_changes_site_id", "site_id", "partition", "id"),)

    id: Mapped[bigint_key]
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"))
    partition: Mapped[str]
    old_bytes: Mapped[int | None]
    new_bytes: Mapped[int | None]
    changed_by: Mapped[str]
    changed_at: Mapped[created]
    reason: Mapped[str]


class Lock(Base):
    """What must not be deleted: dataset, dataset glob or dataset#block, at sites × of groups (globs; empty = all).

    In force until ``expires_at`` (null: for ever) or ``removed_at``. Nobody erases one: housekeeping does, a year on.
    """

    __tablename__ = "locks"

    id: Mapped[bigint_key]
    item: Mapped[str]
    sites: Mapped[str] = mapped_column(Text, server_default="")
    groups: Mapped[str] = mapped_column(Text, server_default="")
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[created]
    expires_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
    removed_by: Mapped[str | None]
    removed_because: Mapped[str | None]


class BadReplica(Base):
    """The copy of one file at one site that somebody calls bad, or called so: one row a file and site.

    state: as ``inventory.checks.BadState``. ``created_by``: who said it (a name; ``transfers``: N of them failed),
    ``created_at``: when; both are those of the last word. It goes when the file has arrived anew, or was deleted.
    """

    __tablename__ = "bad_replicas"
    __table_args__ = (
        one_of("state", "suspicious", "bad", "copying", "last_copy", "on_tape", "good"),
        UniqueConstraint("file_id", "site_id"),
        Index("ix_bad_replicas_site_id", "site_id"),
    )

    id: Mapped[bigint_key]
    file_id: Mapped[int] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"))
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"))
    state: Mapped[str]
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[created]
