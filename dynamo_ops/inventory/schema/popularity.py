"""Accesses by day, and the attributes of datasets that plugins compute from them and other facts (SEMANTICS §5)."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Date, Double, ForeignKey, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.inventory.schema.base import Base, bigint_key
from dynamo_ops.inventory.schema.staging import UNLOGGED


class StagedAccess(Base):
    """Accesses of a dataset at a site on a day as a source told them, before the gate. Unlogged, as all staging."""

    __tablename__ = "staged_accesses"
    __table_args__ = (UNLOGGED,)

    id: Mapped[bigint_key]
    run_key: Mapped[str] = mapped_column(Text, index=True)
    source: Mapped[str]
    day: Mapped[date | None] = mapped_column(Date)
    dataset: Mapped[str | None]
    site: Mapped[str | None]
    num_accesses: Mapped[int | None]


class AggregatedDay(Base):
    """A day of a source that has been aggregated, also one without any access: gaps are the days that lack a row.

    ``num_unknown``: staged rows left out because their dataset or site is not in the inventory.
    """

    __tablename__ = "aggregated_days"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    num_accesses: Mapped[int]
    num_unknown: Mapped[int]
    aggregated_at: Mapped[datetime]


class AccessDay(Base):
    """Accesses of one dataset at one site on one UTC day. A day of a source is replaced as a whole."""

    __tablename__ = "accesses_daily"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    site_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("sites.id"), primary_key=True)
    num_accesses: Mapped[int]


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
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    value: Mapped[float] = mapped_column(Double)
