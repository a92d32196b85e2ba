"""Accesses by day, and the attributes of datasets that plugins compute from them and other facts (SEMANTICS §5).

No foreign keys to datasets: a dataset that is declared invalid takes its rows along
(``inventory.catalogue.invalidation``), and a check a row would cost more than the rest of its way in.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, Double, ForeignKey, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, one_of
from dynamo_ops.database.schema.staging import UNLOGGED


class StagedAccess(Base):
    """Accesses at a site on a day as a source told them, before the gate. Unlogged, as all staging.

    Either ``dataset`` or ``lfn`` says of what.
    """

    __tablename__ = "staged_accesses"
    __table_args__ = (UNLOGGED,)

    id: Mapped[bigint_key]
    run_key: Mapped[str] = mapped_column(Text, index=True)
    source: Mapped[str]
    day: Mapped[date | None] = mapped_column(Date)
    dataset: Mapped[str | None]
    lfn: Mapped[str | None]
    site: Mapped[str | None]
    num_accesses: Mapped[int | None]


class StagedDemand(Base):
    """Jobs that were submitted on a day and read a dataset, as a source told them, before the gate."""

    __tablename__ = "staged_demand"
    __table_args__ = (UNLOGGED,)

    id: Mapped[bigint_key]
    run_key: Mapped[str] = mapped_column(Text, index=True)
    source: Mapped[str]
    day: Mapped[date | None] = mapped_column(Date)
    dataset: Mapped[str | None]
    num_jobs: Mapped[int | None]


class AggregatedDay(Base):
    """A day of a source that has been aggregated, also an empty one: gaps are the days that lack a row.

    ``num_told``: accesses (or jobs, where ``kind`` is demand) that the source told of, known or not; ``most_told``: the
    most that it ever told of the day. ``fingerprint``: what the source held for the day when it was pulled; another one
    later means that late data came, null: unknown. ``asked_at``: when the source was asked; null: before that was kept.
    ``is_folded``: its accesses are in sums of older days now, or (false) on the way there; null: they are not.
    """

    __tablename__ = "aggregated_days"
    __table_args__ = (one_of("kind", "accesses", "demand"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    num_told: Mapped[int]
    most_told: Mapped[int]
    fingerprint: Mapped[str | None]
    asked_at: Mapped[datetime | None]
    aggregated_at: Mapped[datetime]
    is_folded: Mapped[bool | None]


class AccessDay(Base):
    """Accesses of one dataset at one site on one UTC day. A day of a source is replaced as a whole."""

    __tablename__ = "accesses_daily"
    __table_args__ = (Index("ix_accesses_daily_dataset_id", "dataset_id"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    dataset_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    num_accesses: Mapped[int]


class DemandDay(Base):
    """Jobs submitted on one UTC day that read a dataset. A day of a source is replaced as a whole."""

    __tablename__ = "demand_daily"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    dataset_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    num_jobs: Mapped[int]


class UnknownUse(Base):
    """Accesses or jobs of a dataset, file or site that the inventory does not know (yet).

    Kept by name, so that the order in which metadata and accesses come in makes no difference: each later aggregation
    looks again.
    """

    __tablename__ = "unknown_use"
    __table_args__ = (
        Index("ix_unknown_use_day", "day", "source"),
        Index("ix_unknown_use_lfn", text("(md5(lfn)::uuid)"), postgresql_where=text("lfn IS NOT NULL")),
        one_of("kind", "accesses", "demand"),
    )

    id: Mapped[bigint_key]
    day: Mapped[date] = mapped_column(Date)
    source: Mapped[str]
    kind: Mapped[str]
    dataset: Mapped[str | None]
    lfn: Mapped[str | None]
    site: Mapped[str | None]
    number: Mapped[int]


class UseResolved(Base):
    """Up to which files and sites unknown use has been looked up: a later look needs only what is newer. One row."""

    __tablename__ = "use_resolved"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    file_id: Mapped[int]
    site_id: Mapped[int]


class Attribute(Base):
    """When and by whom an attribute was last produced: consumers refuse attributes that are missing or stale."""

    __tablename__ = "attributes"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    producer: Mapped[str]
    produced_at: Mapped[datetime]


class DatasetAttribute(Base):
    """One value. Numbers as they are, booleans 0/1, times as unix seconds; no row: the dataset has no value."""

    __tablename__ = "dataset_attributes"

    name: Mapped[str] = mapped_column(Text, ForeignKey("attributes.name", ondelete="CASCADE"), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[float] = mapped_column(Double)
