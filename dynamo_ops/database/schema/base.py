"""What all tables share: the metadata with its naming convention, and short spellings of our column kinds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, DateTime, MetaData, SmallInteger, Text, func
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Declarative base of all tables of the inventory."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[type, Any]] = {str: Text, datetime: DateTime(timezone=True), int: BigInteger}


def one_of(column: str, *values: str) -> CheckConstraint:
    """A CHECK that ``column`` is one of ``values`` (or null, where the column allows it)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


bigint_key = Annotated[int, mapped_column(BigInteger, primary_key=True, autoincrement=True)]
smallint_key = Annotated[int, mapped_column(SmallInteger, primary_key=True, autoincrement=True)]
smallint = Annotated[int, mapped_column(SmallInteger)]
created = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
