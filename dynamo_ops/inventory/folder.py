"""An inventory read from a folder of CSV files (the golden format): for tests, for trying policies, for simulations."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.unpack import UnpackError, gunzip
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.kinds import DatasetStatus, OwnershipLevel, SiteStatus, StorageType

ATTRIBUTES = ("last_access", "latest_production_release", "num_access", "request_weight", "usage_rank")
"""Dataset attributes that every folder carries: they count as produced at its ``now``, also those without any value."""
MORE_ATTRIBUTES = ("demand_rank", "tape_copy_requested", "unhandled_copy_exists", "unknown_in_all_dbs")
"""Those that count as produced only where ``dataset_attrs.csv`` has a column for them."""


@dataclass(frozen=True)
class InventoryFolder:
    """What a folder holds. Ids in ``frames`` are row numbers of its files. Texts are empty when their file is
    absent."""

    path: Path
    frames: InventoryFrames
    now: datetime
    partitions_text: str
    enforcer_text: str
    protected_sites: tuple[str, ...]


def read_folder(path: Path | str) -> InventoryFolder:
    """Read a folder; files may end in ``.gz`` and may be absent. InventoryError names file and value of a wrong record.

    A leaf partition without a row in ``quotas.csv`` has quota 0 at that site (in the inventory it would be unknown).
    """
    reader = _Reader(Path(path))
    now = datetime.fromtimestamp(int(json.loads(reader.text("case.json"))["now"]), tz=UTC)
    partitions_text = reader.text("partitions.txt")
    return InventoryFolder(
        path=Path(path),
        frames=reader.frames(now, _leaf_names(partitions_text)),
        now=now,
        partitions_text=partitions_text,
        enforcer_text=reader.text("enforcer.json"),
        protected_sites=tuple(reader.text("protected_sites.txt").split()),
    )


def _leaf_names(partitions_text: str) -> list[str]:
    lines = [
        line.split(":", 1) for line in partitions_text.splitlines() if ":" in line and not line.lstrip().startswith("#")
    ]
    return [name.strip() for name, value in lines if not value.strip().startswith("[")]


class _Reader:
    """Reads the files of one folder and joins names to ids."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise InventoryError(f"{path} is not a folder", path=str(path))

    def content(self, name: str) -> bytes:
        plain, zipped = self.path / name, self.path / f"{name}.gz"
        if plain.is_file():
            return plain.read_bytes()
        try:
            return gunzip(zipped.read_bytes()) if zipped.is_file() else b""
        except (EOFError, OSError, zlib.error, UnpackError) as error:
            raise InventoryError(f"{zipped} cannot be read: {error}", file=name) from error

    def text(self, name: str) -> str:
        try:
            return self.content(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InventoryError(f"{self.path / name} is not UTF-8: {error}", file=name) from error

    def csv(self, name: str, columns: tuple[str, ...]) -> pl.DataFrame:
        content = self.content(name)
        if not content or content.isspace():
            return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        try:
            frame = pl.read_csv(content, infer_schema=False)
        except pl.exceptions.ComputeError as error:
            raise InventoryError(f"{self.path / name} cannot be read as CSV: {error}", file=name) from error
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise InventoryError(
                f"{self.path / name} lacks the columns {', '.join(missing)}", file=name, missing=missing
            )
        return frame

    def frames(self, now: datetime, leaves: list[str]) -> InventoryFrames:
        sites, groups = self.sites(), self.groups()
        datasets, software = self.datasets()
        blocks = self.blocks(datasets)
        block_replicas, partial_files = self.block_replicas(datasets, blocks, sites, groups)
        return InventoryFrames(
            sites=sites,
            groups=groups,
            datasets=datasets.with_columns(software_release=software),
            blocks=blocks,
            dataset_replicas=self.dataset_replicas(datasets, sites, groups),
            block_replicas=block_replicas,
            quotas=self.quotas(sites, leaves),
            locks=self.locks(),
            attribute_values=self.attribute_values(datasets),
            attributes=self.attributes(now),
            partial_files=partial_files,
        )

    def sites(self) -> pl.DataFrame:
        frame = self.csv("sites.csv", ("site", "storage_type", "status")).with_row_index("site_id")
        frame = frame.with_columns(pl.col("storage_type", "status").str.to_lowercase())
        self.known("sites.csv", frame, "storage_type", StorageType)
        self.known("sites.csv", frame, "status", SiteStatus)
        return _as(frame, f.SITES)

    def groups(self) -> pl.DataFrame:
        frame = self.csv("groups.csv", ("group", "olevel")).with_row_index("group_id")
        frame = frame.with_columns(ownership_level=pl.col("olevel").str.to_lowercase())
        self.known("groups.csv", frame, "ownership_level", OwnershipLevel)
        return _as(frame, f.GROUPS)

    def datasets(self) -> tuple[pl.DataFrame, pl.Series]:
        columns = ("dataset", "status", "last_update", "is_open", "software_version")
        frame = self.csv("datasets.csv", columns).with_row_index("dataset_id")
        frame = frame.with_columns(
            pl.col("status").str.to_lowercase(),
            _flag("is_open"),
            _time("last_update"),
            software_release=pl.col("software_version"),
        )
        self.known("datasets.csv", frame, "status", DatasetStatus)
        found = _as(frame, f.DATASETS)
        return found, found["software_release"]

    def blocks(self, datasets: pl.DataFrame) -> pl.DataFrame:
        columns = ("dataset", "block", "size", "num_files", "last_update")
        frame = self.csv("blocks.csv", columns).with_row_index("block_id")
        frame = self.joined("blocks.csv", frame, datasets, "dataset", "dataset_id")
        return _as(frame.with_columns(_time("last_update"), size_bytes=pl.col("size")), f.BLOCKS)

    def dataset_replicas(self, datasets: pl.DataFrame, sites: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
        frame = self.csv("dataset_replicas.csv", ("dataset", "site", "growing", "group"))
        frame = self.joined("dataset_replicas.csv", frame, datasets, "dataset", "dataset_id")
        frame = self.joined("dataset_replicas.csv", frame, sites, "site", "site_id")
        frame = self.owned("dataset_replicas.csv", frame, groups)
        return _as(frame.with_columns(is_growing=_flag("growing")), f.DATASET_REPLICAS)

    def block_replicas(
        self, datasets: pl.DataFrame, blocks: pl.DataFrame, sites: pl.DataFrame, groups: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        name = "block_replicas.csv"
        columns = ("dataset", "block", "site", "group", "size", "complete", "files", "last_update", "is_custodial")
        frame = self.csv(name, columns)
        frame = self.joined(name, frame, datasets, "dataset", "dataset_id")
        before = frame.height
        frame = frame.join(
            blocks.select("dataset_id", "block", "block_id"), on=["dataset_id", "block"], maintain_order="left"
        )
        if frame.height != before:
            raise InventoryError(f"{self.path / name}: {before - frame.height} rows name an unknown block", file=name)
        frame = self.owned(name, self.joined(name, frame, sites, "site", "site_id"), groups)
        frame = frame.with_columns(
            _flag("is_custodial"), _time("last_update"), is_complete=_flag("complete"), size_bytes=pl.col("size")
        )
        return _as(frame, f.BLOCK_REPLICAS), _partial_files(frame)

    def quotas(self, sites: pl.DataFrame, leaves: list[str]) -> pl.DataFrame:
        given = self.csv("quotas.csv", ("site", "partition", "quota_bytes")).with_columns(
            pl.col("quota_bytes").cast(pl.Int64)
        )
        given = self.joined("quotas.csv", given, sites, "site", "site_id")
        pairs = sites.select("site_id").join(
            pl.DataFrame({"partition": leaves}, schema={"partition": pl.String}), how="cross"
        )
        rows = pairs.join(given, on=["site_id", "partition"], how="left").with_columns(
            pl.col("quota_bytes").fill_null(0)
        )
        return _as(rows, f.QUOTAS)

    def locks(self) -> pl.DataFrame:
        """Columns are known by how they begin: ``item``, ``site…``, ``group…``; the latter two may be absent."""
        frame = self.csv("locks.csv", ())
        if frame.is_empty():
            return f.empty(f.LOCKS)
        parts = {name: [c for c in frame.columns if c.startswith(name)] for name in ("item", "site", "group")}
        if not parts["item"]:
            raise InventoryError(f"{self.path / 'locks.csv'} lacks the column item", file="locks.csv")
        found = {name: pl.col(columns[0]) if columns else pl.lit("") for name, columns in parts.items()}
        named = frame.select(item=found["item"], sites=found["site"], groups=found["group"])
        return _as(named.with_columns(pl.col("sites", "groups").fill_null("")).drop_nulls("item"), f.LOCKS)

    def attributes(self, now: datetime) -> pl.DataFrame:
        given = self.csv("dataset_attrs.csv", ("dataset",)).columns
        names = [*ATTRIBUTES, *(name for name in MORE_ATTRIBUTES if name in given)]
        return pl.DataFrame({"name": names, "produced_at": [now] * len(names)}, schema=f.ATTRIBUTES)

    def attribute_values(self, datasets: pl.DataFrame) -> pl.DataFrame:
        frame = self.csv("dataset_attrs.csv", ("dataset",))
        names = [name for name in frame.columns if name != "dataset"]
        unknown = [name for name in names if name not in (*ATTRIBUTES, *MORE_ATTRIBUTES)]
        if unknown:
            raise InventoryError(
                f"{self.path / 'dataset_attrs.csv'}: unknown attributes {', '.join(unknown)}", unknown=unknown
            )
        if not names:
            return f.empty(f.ATTRIBUTE_VALUES)
        frame = self.joined("dataset_attrs.csv", frame, datasets, "dataset", "dataset_id")
        long = frame.unpivot(names, index="dataset_id", variable_name="name").drop_nulls("value")
        numbers = long.with_columns(_number("value"))
        wrong = long.filter(numbers["value"].is_null())
        if wrong.height:
            name, value = wrong.select("name", "value").row(0)
            raise InventoryError(f"{self.path / 'dataset_attrs.csv'}: {name} {value!r} is not a number", value=value)
        return _as(numbers, f.ATTRIBUTE_VALUES)

    def known(self, file: str, frame: pl.DataFrame, column: str, values: Iterable[str]) -> None:
        wrong = frame.filter(~pl.col(column).is_in(list(values)).fill_null(False))[column]
        if len(wrong):
            raise InventoryError(
                f"{self.path / file}: {column} {wrong[0]!r} is none of {', '.join(values)}",
                file=file,
                column=column,
                value=wrong[0],
            )

    def joined(self, file: str, frame: pl.DataFrame, table: pl.DataFrame, name: str, key: str) -> pl.DataFrame:
        found = frame.join(table.select(name, key), on=name, how="left", maintain_order="left")
        lost = found.filter(pl.col(key).is_null())[name]
        if len(lost):
            raise InventoryError(f"{self.path / file}: unknown {name} {lost[0]!r}", file=file, value=lost[0])
        return found

    def owned(self, file: str, frame: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
        frame = frame.with_columns(pl.when(pl.col("group") != "").then(pl.col("group")).alias("group"))
        found = frame.join(groups.select("group", "group_id"), on="group", how="left", maintain_order="left")
        lost = found.filter(pl.col("group_id").is_null() & pl.col("group").is_not_null())["group"]
        if len(lost):
            raise InventoryError(f"{self.path / file}: unknown group {lost[0]!r}", file=file, value=lost[0])
        return found


def _partial_files(frame: pl.DataFrame) -> pl.DataFrame:
    """Files present of incomplete block replicas (``a-b;c``). A folder numbers files by block, so the number is the
    id."""
    pieces = (
        frame.filter(~pl.col("is_complete"))
        .select("block_id", "site_id", pl.col("files").str.split(";"))
        .explode("files")
        .filter(pl.col("files").str.strip_chars() != "")
    )
    ends = pl.col("files").str.splitn("-", 2).struct
    first = ends.field("field_0").str.strip_chars().cast(pl.Int64)
    last = ends.field("field_1").str.strip_chars().cast(pl.Int64).fill_null(first)
    numbers = pieces.select("block_id", "site_id", file_id=pl.int_ranges(first, last + 1)).explode("file_id")
    return _as(numbers.drop_nulls("file_id"), f.PARTIAL_FILES)


def _flag(column: str) -> pl.Expr:
    return pl.col(column).str.to_lowercase().is_in(["1", "true"]).alias(column)


def _number(column: str) -> pl.Expr:
    lower = pl.col(column).str.to_lowercase()
    return (
        pl.when(lower == "true")
        .then(1.0)
        .when(lower == "false")
        .then(0.0)
        .otherwise(lower.cast(pl.Float64, strict=False))
        .alias(column)
    )


def _time(column: str) -> pl.Expr:
    return (pl.col(column).cast(pl.Float64).fill_null(0) * 1e6).cast(pl.Int64).cast(f.UTC).alias(f"{column}_at")


def _as(frame: pl.DataFrame, schema: f.Schema) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
