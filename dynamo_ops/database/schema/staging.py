"""Rows pulled from sources, before a gate let them in. Unlogged: a crash loses them, the run pulls them again.

Each row carries the ``run_key`` of the run that pulled it. No constraint here: judging the rows is the gate's work.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, one_of

UNLOGGED = {"prefixes": ["UNLOGGED"]}
FAULT_STAGES = ("listing", "details", "gate")


class StagedPull(Base):
    """That a run asked a source, and for what: without its row, no rows are not an answer but a pull that got lost.

    ``id`` is another one whenever anything of it is staged again, and ``accepted_id`` the one that a gate let in: only
    while both are the same may the rows be merged. ``since_at`` null: everything. ``num_source_datasets``: how many
    datasets a metadata source said it has in all; null if it was not asked. ``fingerprint``: what a source of accesses
    held, as far as it can tell. ``asked_at``: when the source of accesses or demand was asked, at the latest.
    ``staged_at``: when the newest of it was staged.
    """

    __tablename__ = "staged_pulls"
    __table_args__ = (
        UniqueConstraint("run_key", "source", "kind"),
        one_of("kind", "metadata", "sites", "accesses", "demand"),
        UNLOGGED,
    )

    id: Mapped[bigint_key]
    run_key: Mapped[str]
    source: Mapped[str]
    kind: Mapped[str]
    since_at: Mapped[datetime | None]
    num_source_datasets: Mapped[int | None]
    fingerprint: Mapped[str | None]
    accepted_id: Mapped[int | None]
    asked_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    staged_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class StagedDataset(Base):
    """A dataset as a metadata source told it. ``page``: the part of the pull its details come with.

    ``is_listed`` false: the source did not list it, only its details are asked for, since it is open in the inventory;
    the row repeats the inventory. ``is_again``: nor did it list this one, but it is set aside and asked for again; the
    row repeats what was told then. ``has_details``: the answer for its page is staged.
    """

    __tablename__ = "staged_datasets"
    __table_args__ = (UNLOGGED,)

    id: Mapped[bigint_key]
    run_key: Mapped[str] = mapped_column(Text, index=True)
    source: Mapped[str]
    page: Mapped[int]
    dataset: Mapped[str | None]
    status: Mapped[str | None]
    is_open: Mapped[bool | None]
    software_release: Mapped[str | None]
    last_update_at: Mapped[datetime | None]
    properties: Mapped[dict[str, float] | None] = mapped_column(JSONB)
    is_listed: Mapped[bool] = mapped_column(server_default=text("true"))
    is_again: Mapped[bool] = mapped_column(server_default=text("false"))
    has_details: Mapped[bool] = mapped_column(server_default=text("false"))


class StagedFault(Base):
    """That a dataset of the run has a bad record, so that nothing of it is merged: it is set aside.

    ``stage``: who saw it: the reading of the list of datasets, that of their details (``page``), or the gate.
    ``is_of_record``: the bad record is the dataset's own, and not one of a block or file.
    """

    __tablename__ = "staged_faults"
    __table_args__ = (one_of("stage", *FAULT_STAGES), UNLOGGED)

    id: Mapped[bigint_key]
    run_key: Mapped[str] = mapped_column(Text, index=True)
    source: Mapped[str]
    stage: Mapped[str]
    page: Mapped[int | None]
    dataset: Mapped[str]
    fault: Mapped[str]
    is_of_record: Mapped[bool]


class StagedBlock(Base):
    """A block as a metadata source told it."""

    __tablename__ = "staged_blocks"
    __table_args__ = (Index("ix_staged_blocks_page", "run_key", "source", "page"), UNLOGGED)

    id: Mapped[bigint_key]
    run_key: Mapped[str]
    source: Mapped[str]
    page: Mapped[int]
    dataset: Mapped[str | None]
    block: Mapped[str | None]
    is_open: Mapped[bool | None]
    size_bytes: Mapped[int | None]
    num_files: Mapped[int | None]
    last_update_at: Mapped[datetime | None]


class StagedFile(Base):
    """A file as a metadata source told it."""

    __tablename__ = "staged_files"
    __table_args__ = (Index("ix_staged_files_page", "run_key", "source", "page"), UNLOGGED)

    id: Mapped[bigint_key]
    run_key: Mapped[str]
    source: Mapped[str]
    page: Mapped[int]
    dataset: Mapped[str | None]
    block: Mapped[str | None]
    lfn: Mapped[str | None]
    size_bytes: Mapped[int | None]
    adler32: Mapped[str | None]
    is_valid: Mapped[bool | None]


class StagedSite(Base):
    """A site as a status source told it. ``endpoints``: list of {protocol, prefix, mapping}."""

    __tablename__ = "staged_sites"
    __table_args__ = (UNLOGGED,)

    id: Mapped[bigint_key]
    run_key: Mapped[str] = mapped_column(Text, index=True)
    source: Mapped[str]
    site: Mapped[str | None]
    storage_type: Mapped[str | None]
    status: Mapped[str | None]
    endpoints: Mapped[list[Any] | None] = mapped_column(JSONB)


class SourceState(Base):
    """How far a source has been merged. ``full_sync_at`` null: never pulled whole, so the next pull is whole.

    ``full_until``: end of the newest interval that was pulled whole. ``num_datasets``: datasets the source knew in its
    newest merged run (the gate compares with it).
    """

    __tablename__ = "source_states"

    source: Mapped[str] = mapped_column(Text, primary_key=True)
    full_sync_at: Mapped[datetime | None]
    full_until: Mapped[datetime | None]
    merged_until: Mapped[datetime | None]
    num_datasets: Mapped[int | None]
    num_sites_ready: Mapped[int | None]
    updated_at: Mapped[datetime]


class SiteSource(Base):
    """Which site source told of a site last: when that source no longer lists it, the site becomes ``unknown``.

    ``told_status``: what it said last, without a break since ``told_since_at`` (null: as long as the site is known) and
    up to ``told_last_at``; the site's own status follows with some patience. Source ``injection``: no feed tells of it,
    a person did.
    """

    __tablename__ = "site_sources"

    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    source: Mapped[str]
    told_status: Mapped[str | None]
    told_since_at: Mapped[datetime | None]
    told_last_at: Mapped[datetime | None]
