"""What exists: sites, groups, datasets, blocks, files (SEMANTICS §1)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created, one_of, smallint_key

DATASET_STATUSES = ("unknown", "deleted", "deprecated", "invalid", "production", "valid", "ignored")
STORAGE_TYPES = ("disk", "mss", "buffer", "unknown")
SITE_STATUSES = ("ready", "waitroom", "morgue", "unknown")


class Site(Base):
    """A storage element. ``status`` says whether Dynamo may use it; a site never vanishes, it becomes ``unknown``."""

    __tablename__ = "sites"
    __table_args__ = (one_of("storage_type", *STORAGE_TYPES), one_of("status", *SITE_STATUSES))

    id: Mapped[smallint_key]
    name: Mapped[str] = mapped_column(Text, unique=True)
    storage_type: Mapped[str]
    status: Mapped[str]
    status_changed_at: Mapped[created]


class SiteEndpoint(Base):
    """How a site maps an LFN to a PFN by one protocol: ``prefix`` + LFN, or the chains in ``mapping`` in order.

    ``mapping``: list of chains, each a list of [regex, replacement]; the first chain that matches to its end wins.
    ``proposed_…``: what the source reports since ``proposed_at``, and nobody has accepted: the old one is in force.
    """

    __tablename__ = "site_endpoints"

    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    protocol: Mapped[str] = mapped_column(Text, primary_key=True)
    prefix: Mapped[str]
    mapping: Mapped[list[Any] | None] = mapped_column(JSONB)
    proposed_prefix: Mapped[str | None]
    proposed_mapping: Mapped[list[Any] | None] = mapped_column(JSONB)
    proposed_at: Mapped[datetime | None]


class SharedStorage(Base):
    """Two sites of which a person said that they share their storage on purpose; ``site_id`` is the lower one."""

    __tablename__ = "shared_storages"
    __table_args__ = (CheckConstraint("site_id < other_id", name="order"),)

    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    other_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[created]


class Group(Base):
    """An owner of block replicas. The null group of the semantics is NULL in ``block_replicas.group_id``."""

    __tablename__ = "groups"
    __table_args__ = (one_of("ownership_level", "dataset", "block"),)

    id: Mapped[smallint_key]
    name: Mapped[str] = mapped_column(Text, unique=True)
    ownership_level: Mapped[str]


class Dataset(Base):
    """A dataset. ``size_bytes`` and ``num_files`` are sums over its blocks, kept by the merge. ``properties``: numbers
    by name, what ``inventory.properties`` declares."""

    __tablename__ = "datasets"
    __table_args__ = (
        one_of("status", *DATASET_STATUSES),
        CheckConstraint("size_bytes >= 0", name="size"),
        Index("ix_datasets_name_bytes", "name", postgresql_ops={"name": 'COLLATE "C"'}),
    )

    id: Mapped[bigint_key]
    name: Mapped[str] = mapped_column(Text, unique=True)
    status: Mapped[str]
    is_open: Mapped[bool]
    software_release: Mapped[str | None]
    size_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    num_blocks: Mapped[int] = mapped_column(server_default=text("0"))
    num_files: Mapped[int] = mapped_column(server_default=text("0"))
    last_update_at: Mapped[datetime]
    properties: Mapped[dict[str, float]] = mapped_column(JSONB, server_default=text("'{}'"))


class Block(Base):
    """A block of a dataset; ``name`` is the part behind ``#``. ``size_bytes`` and ``num_files`` follow its files."""

    __tablename__ = "blocks"
    __table_args__ = (
        UniqueConstraint("dataset_id", "name"),
        CheckConstraint("size_bytes >= 0", name="size"),
    )

    id: Mapped[bigint_key]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    name: Mapped[str]
    is_open: Mapped[bool]
    size_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    num_files: Mapped[int] = mapped_column(server_default=text("0"))
    last_update_at: Mapped[datetime]


class File(Base):
    """A file. The LFN is unique over an index of its 16-byte md5: 100 M names of 150 bytes would not fit in memory.

    Look a file up by ``md5(lfn)::uuid = md5(:lfn)::uuid``. ``adler32`` is eight lower-case hex digits, or null.
    """

    __tablename__ = "files"
    __table_args__ = (
        Index("uq_files_lfn", text("(md5(lfn)::uuid)"), unique=True),
        Index("ix_files_block_id", "block_id"),
        CheckConstraint("size_bytes >= 0", name="size"),
    )

    id: Mapped[bigint_key]
    block_id: Mapped[int] = mapped_column(ForeignKey("blocks.id"))
    lfn: Mapped[str]
    size_bytes: Mapped[int]
    adler32: Mapped[str | None]
