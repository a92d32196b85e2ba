"""Who changed which quota of a partition at a site, and why. The quotas themselves are in ``replica.Quota``."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created


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
