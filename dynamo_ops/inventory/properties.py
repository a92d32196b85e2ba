"""Facts about datasets that sources report and policies ask for, beyond those that Dynamo itself needs.

To add one, write it in ``PROPERTIES`` and have a source report it (a column of that name in its frame of datasets): it
is staged, merged, injected and read like any other fact, and policies know it as ``dataset.<name>``. Nothing else is to
be touched: all of them live in one column, ``datasets.properties``, as numbers by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import polars as pl

from dynamo_ops.inventory.frames import UTC


class PropertyKind(Enum):
    """What a property says; decides which operators policies may use."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"


@dataclass(frozen=True)
class Property:
    """One fact of a dataset. ``doc``: what it says, for the table of policy variables.

    A dataset of which no source reports it has none: to policies 0, false or 1970 (SEMANTICS §2).
    """

    name: str
    kind: PropertyKind
    doc: str

    @property
    def dtype(self) -> pl.DataType | type[pl.DataType]:
        """The type of its column in a source's frame of datasets."""
        return _DTYPES[self.kind]


_DTYPES: Mapping[PropertyKind, pl.DataType | type[pl.DataType]] = {
    PropertyKind.NUMBER: pl.Float64,
    PropertyKind.BOOLEAN: pl.Boolean,
    PropertyKind.TIME: UTC,
}

PROPERTIES: tuple[Property, ...] = ()


def reported(columns: Sequence[str]) -> list[Property]:
    """Those properties that a frame of datasets with these columns has."""
    return [declared for declared in PROPERTIES if declared.name in columns]


def with_properties(datasets: pl.DataFrame) -> pl.DataFrame:
    """The frame with the column ``properties`` (JSON text: name → number; null: none is known) instead of a column a
    property. Booleans are 0 and 1, times unix seconds."""
    present = reported(datasets.columns)
    fields = [_json_field(declared) for declared in present]
    if not fields:
        return datasets.with_columns(properties=pl.lit(None, dtype=pl.String))
    joined = pl.concat_list(fields).list.drop_nulls().list.join(", ")
    whole = pl.when(joined != "").then(pl.concat_str(pl.lit("{"), joined, pl.lit("}")))
    return datasets.with_columns(properties=whole).drop(declared.name for declared in present)


def _json_field(declared: Property) -> pl.Expr:
    column = pl.col(declared.name)
    number = column.dt.epoch("us") / 1e6 if declared.kind is PropertyKind.TIME else column.cast(pl.Float64)
    is_known = number.is_finite().fill_null(False)
    return pl.when(is_known).then(pl.format(f'"{declared.name}": {{}}', number))
