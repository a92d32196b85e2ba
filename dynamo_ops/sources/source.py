"""What a source of metadata or of sites must offer, and the columns of the frames it gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from dynamo_ops.inventory.frames import UTC, Schema
from dynamo_ops.inventory.properties import reported
from dynamo_ops.sources.reading.bad_records import FAULTS

DATASETS: Schema = {
    "dataset": pl.String,
    "status": pl.String,
    "is_open": pl.Boolean,
    "software_release": pl.String,
    "last_update_at": UTC,
}
"""A source may give more: a column for each of ``inventory.properties.PROPERTIES`` that it knows."""
BLOCKS: Schema = {
    "dataset": pl.String,
    "block": pl.String,
    "is_open": pl.Boolean,
    "size_bytes": pl.Int64,
    "num_files": pl.Int64,
    "last_update_at": UTC,
}
FILES: Schema = {
    "dataset": pl.String,
    "block": pl.String,
    "lfn": pl.String,
    "size_bytes": pl.Int64,
    "adler32": pl.String,
    "is_valid": pl.Boolean,
}
SITES: Schema = {"site": pl.String, "storage_type": pl.String, "status": pl.String, "endpoints": pl.String}


def dataset_columns(frame: pl.DataFrame) -> list[str]:
    """The columns DATASETS, and those of the properties that the frame has."""
    return [*DATASETS, *(declared.name for declared in reported(frame.columns))]


def no_faults() -> pl.DataFrame:
    """Columns FAULTS, no row."""
    return pl.DataFrame(schema=dict(FAULTS))


class Details(NamedTuple):
    """What is in some datasets. ``blocks``: one row a block, ``files``: one row a file, columns BLOCKS and FILES.

    ``block`` is the part of the block's name behind ``#``. ``adler32`` is eight lower-case hex digits where the source
    gave something that can be read so, null where it gave none, and else what it gave. ``faults``: datasets asked for
    of which a record cannot be read (columns FAULTS): they are set aside, and what else is told of them is not used.
    """

    blocks: pl.DataFrame
    files: pl.DataFrame
    faults: pl.DataFrame = no_faults()


class MetadataSource(Protocol):
    """Knows datasets, blocks and files. Sizes and times may be wrong or null: the gate judges them.

    A record that cannot be read may be raised (SourceDataError): then nothing of the source is merged. Or it is told:
    in ``fault``, one more column of ``datasets``, null for good ones, or in ``Details.faults``. Then its dataset is set
    aside, within the limits of the gate, and the others are merged.
    """

    name: str

    def datasets(self, since: datetime | None, until: datetime) -> pl.DataFrame:
        """Datasets changed in [since, until], all up to ``until`` if ``since`` is None (``dataset_columns``)."""
        ...

    def count_datasets(self) -> int:
        """How many datasets the source has in all, whatever their age and status."""
        ...

    def details(self, datasets: Sequence[str]) -> Iterator[Details]:
        """Blocks and files of ``datasets``, in parts as they come in: what is in memory at a time stays small.

        A dataset is told whole, in one part or several; one that the source does not know has no rows.
        """
        ...


class SiteSource(Protocol):
    """Knows the sites, their status and their endpoints."""

    name: str

    def sites(self) -> pl.DataFrame:
        """One row a site (columns SITES); ``endpoints`` is JSON text, a list of {protocol, prefix, mapping}."""
        ...
