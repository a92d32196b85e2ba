"""Copy requests of users (SEMANTICS §4, plugin ``requests``)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.inventory.schema.base import Base, bigint_key, created, one_of


class CopyRequest(Base):
    """A wish for ``num_copies`` of a dataset over ``sites`` (names or globs); 0 copies: one at each of the sites."""

    __tablename__ = "copy_requests"
    __table_args__ = (
        one_of("state", "new", "activated", "completed", "rejected", "cancelled"),
        Index("ix_copy_requests_open", "dataset_id", postgresql_where=text("state IN ('new', 'activated')")),
    )

    id: Mapped[bigint_key]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    sites: Mapped[list[str]] = mapped_column(ARRAY(Text))
    num_copies: Mapped[int] = mapped_column(Integer)
    group_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("groups.id"))
    state: Mapped[str] = mapped_column(Text, server_default="new")
    reason: Mapped[str | None]
    requested_by: Mapped[str]
    created_at: Mapped[created]
    updated_at: Mapped[created]
    closed_at: Mapped[datetime | None]
