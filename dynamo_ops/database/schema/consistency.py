"""Checks of a storage against the inventory, and what they found (SEMANTICS §7)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created, one_of


class ConsistencyCheck(Base):
    """One check of one site. ``num_unnamed``: files and directories that are no file of ours could be called.
    ``servers``: the data servers that were listed, where the storage has several. ``inventory_read_at`` is before
    ``storage_listed_at``: the inventory is read first."""

    __tablename__ = "consistency_checks"
    __table_args__ = (
        UniqueConstraint("run_key", "site_id"),
        one_of("state", "started", "compared", "refused", "repaired"),
        Index("ix_consistency_checks_site_id", "site_id", "started_at"),
    )

    id: Mapped[bigint_key]
    run_key: Mapped[str]
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"))
    state: Mapped[str] = mapped_column(Text, server_default="started")
    location: Mapped[str | None]
    num_inventory_files: Mapped[int | None]
    num_storage_files: Mapped[int | None]
    num_unnamed: Mapped[int | None]
    servers: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    refused_because: Mapped[str | None]
    started_at: Mapped[created]
    inventory_read_at: Mapped[datetime | None]
    storage_listed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ConsistencyFinding(Base):
    """One file that differs. missing: in the inventory only; wrong_size: at both, not alike; orphan: on storage only;
    unmanaged: expired by age. ``size_bytes``: as it should be, or as the storage has it if the inventory does not.
    ``modified_at``: as the storage had it, of what the inventory does not know.

    state: ``seen`` (for the first time: not yet counted), ``found`` (to be repaired), ``repaired``, ``lost`` (no
    other copy is good), ``failed``.
    ``claimed_at``: the repair has judged it, and from then on the storage may have been asked to delete it.
    """

    __tablename__ = "consistency_findings"
    __table_args__ = (
        one_of("kind", "missing", "wrong_size", "orphan", "unmanaged"),
        one_of("state", "seen", "found", "repaired", "lost", "failed"),
        Index("ix_consistency_findings_check_id", "check_id", "kind", "id"),
        Index(
            "ix_consistency_findings_claimed",
            "check_id",
            postgresql_where=text("claimed_at IS NOT NULL AND state = 'found'"),
        ),
        Index("ix_consistency_findings_file_id", "file_id", postgresql_where=text("file_id IS NOT NULL")),
    )

    id: Mapped[bigint_key]
    check_id: Mapped[int] = mapped_column(ForeignKey("consistency_checks.id"))
    kind: Mapped[str]
    state: Mapped[str]
    lfn: Mapped[str]
    size_bytes: Mapped[int]
    modified_at: Mapped[datetime | None]
    file_id: Mapped[int | None]
    reason: Mapped[str | None]
    claimed_at: Mapped[datetime | None]
