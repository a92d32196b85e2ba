"""Plans of Detox and Dealer: decided, gated, approved, committed once; and the policy texts they were made under."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created, one_of


class PolicyVersion(Base):
    """One text of a policy or dealer configuration, by its sha256: what a past decision was made under."""

    __tablename__ = "policy_versions"
    __table_args__ = (UniqueConstraint("kind", "partition", "sha256"), one_of("kind", "detox", "dealer"))

    id: Mapped[bigint_key]
    kind: Mapped[str]
    partition: Mapped[str]
    sha256: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[created]


class Plan(Base):
    """A stored plan. Its rows are Parquet files below ``location``; ``summary`` holds figures small enough for a page.

    ``run_key`` names the cycle that made it (one plan a key: a task run again finds its plan). ``stored_by``: who
    stored it by hand; null for a cycle's. ``files_removed_at``: since then its rows are gone.
    """

    __tablename__ = "plans"
    __table_args__ = (
        one_of("kind", "detox", "dealer"),
        one_of("state", "planned", "refused", "approved", "committed"),
        UniqueConstraint("kind", "partition", "run_key"),
        Index("ix_plans_partition", "kind", "partition", "created_at"),
    )

    id: Mapped[bigint_key]
    kind: Mapped[str]
    partition: Mapped[str]
    run_key: Mapped[str]
    state: Mapped[str] = mapped_column(Text, server_default="planned")
    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"))
    location: Mapped[str]
    summary: Mapped[dict[str, Any]] = mapped_column(JSONB)
    planned_for_at: Mapped[datetime]
    created_at: Mapped[created]
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]
    committed_at: Mapped[datetime | None]
    refused_because: Mapped[str | None]
    refused_by: Mapped[str | None]
    refused_at: Mapped[datetime | None]
    stored_by: Mapped[str | None]
    files_removed_at: Mapped[datetime | None]
