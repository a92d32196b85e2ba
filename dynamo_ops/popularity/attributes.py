"""Attributes of datasets: computed by producers (plugins), stored set-based, known to their users by name only.

A producer is found under the entry point group ``dynamo_ops.attribute_producers``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from typing import NamedTuple, Protocol, cast

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.database.reading import Snapshot

PRODUCER_GROUP = "dynamo_ops.attribute_producers"


class Produced(NamedTuple):
    """Values as of a moment: a frame (dataset_id, value) for each attribute; a dataset without value has no row."""

    as_of: datetime
    values: Mapping[str, pl.DataFrame]


class AttributeProducer(Protocol):
    """Computes some attributes for all datasets. ``attributes``: their names; no two producers may share one."""

    name: str
    attributes: tuple[str, ...]

    def produce(self, snapshot: Snapshot) -> Produced | None:
        """Values from one moment of the inventory; must not write, and must not ask the clock.

        None: nothing can be said yet, the attributes stay as they are.
        """
        ...


@dataclass(frozen=True)
class AttributeSummary:
    """One attribute as it was stored: how many datasets have a value, and the moment that the values describe."""

    name: str
    producer: str
    num_datasets: int
    as_of: datetime


def producers() -> list[AttributeProducer]:
    """All installed producers, by name."""
    points = sorted(entry_points(group=PRODUCER_GROUP), key=lambda point: point.name)
    return [cast(AttributeProducer, point.load()()) for point in points]


def produce_attributes(db: Database, chosen: Iterable[AttributeProducer] | None = None) -> list[AttributeSummary]:
    """Run the producers (default: all installed) and replace the values of their attributes, a transaction a producer.

    ``attributes.produced_at`` becomes the moment the values describe, but not later than now: what was computed today
    from accesses of last month is a month old.
    """
    return [summary for producer in (producers() if chosen is None else chosen) for summary in _produce(db, producer)]


@span("popularity.rank")
def produce_all(db: Database) -> dict[str, int]:
    """Run all installed producers; returns how many datasets have a value, by attribute."""
    return {summary.name: summary.num_datasets for summary in produce_attributes(db)}


def _produce(db: Database, producer: AttributeProducer) -> list[AttributeSummary]:
    """Read and written under one lock: who reads later writes later, so that older values never replace newer ones."""
    with db.begin() as guard:
        hold(guard, Lock.ATTRIBUTES)
        return _produce_alone(db, producer)


def _produce_alone(db: Database, producer: AttributeProducer) -> list[AttributeSummary]:
    with db.snapshot() as snapshot:
        produced = producer.produce(snapshot)
    if produced is None:
        return []
    if set(produced.values) != set(producer.attributes):
        raise InventoryError(
            f"attribute producer {producer.name!r} gave {sorted(produced.values)},"
            f" declared {sorted(producer.attributes)}",
            producer=producer.name,
        )
    with db.begin() as connection:
        hold(connection, Lock.INVENTORY, shared=True)
        for name, frame in produced.values.items():
            _replace(connection, producer.name, name, frame, produced.as_of)
    return [
        AttributeSummary(name, producer.name, frame.height, produced.as_of) for name, frame in produced.values.items()
    ]


def _replace(connection: Connection, producer: str, name: str, frame: pl.DataFrame, as_of: datetime) -> None:
    connection.execute(text(_NOTE_ATTRIBUTE), {"name": name, "producer": producer, "as_of": as_of})
    connection.execute(text("DELETE FROM dataset_attributes WHERE name = :name"), {"name": name})
    stored = frame.drop_nulls("value").select(name=pl.lit(name), dataset_id="dataset_id", value="value")
    insert_frame(connection, "dataset_attributes", stored)


_NOTE_ATTRIBUTE = """
    INSERT INTO attributes (name, producer, produced_at) VALUES (:name, :producer, least(:as_of, now()))
    ON CONFLICT (name) DO UPDATE SET producer = excluded.producer, produced_at = excluded.produced_at"""
