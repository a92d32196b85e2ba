"""The worlds behind our metadata and site sources, for the conformance suite."""

# ruff: noqa: ARG005  answers of servers share one signature

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import fsspec
import polars as pl
import yaml

from dynamo_ops.base.errors import DynamoError, RetryableRemoteError, SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.loader import metadata_source, site_source
from dynamo_ops.sources.source import MetadataSource, SiteSource
from simgrid import catalogue as grid_catalogue
from simgrid.grid import Grid
from tests.sources.server import JsonServer
from tests.sources.told import MUONS, Dataset, blocks_frame, datasets_frame, files_frame

NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens there


def written(place: str, name: str, frame: pl.DataFrame, kind: str, options: dict[str, Any] | None = None) -> str:
    """The frame as a file of that kind (``parquet``, ``csv``, ``jsonl``, or ``….gz``); returns its path."""
    system, folder = fsspec.core.url_to_fs(place, **(options or {}))
    system.makedirs(folder, exist_ok=True)
    path = f"{folder}/{name}.{kind}"
    if kind == "parquet":
        with system.open(path, "wb") as file:
            frame.write_parquet(file)
        return path
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    texts = frame.with_columns(pl.col(times).dt.to_string("%Y-%m-%dT%H:%M:%SZ"))
    if kind.startswith("csv"):
        body = texts.write_csv().encode()
    else:
        body = "".join(json.dumps(row, default=str) + "\n" for row in texts.iter_rows(named=True)).encode()
    with system.open(path, "wb") as file:
        file.write(gzip.compress(body) if kind.endswith(".gz") else body)
    return path


class FilesBackend:
    """Drops of one kind at one place."""

    faults = (
        ({}, "path"),
        ({"path": "/x", "column": {}}, "column"),
        ({"path": "/x", "columns": {"files": {"lfm": "name"}}}, "'lfm'"),
        ({"path": "/x", "columns": {"fles": {}}}, "fles"),
        ({"path": "/x", "times": "stardate"}, "times"),
        ({"path": "/x", "statuses": {"OK": "fine"}}, "statuses"),
    )

    def __init__(
        self, kind: str, place: str, storage_options: dict[str, Any] | None = None, *, renamed: bool = False
    ) -> None:
        self.name = f"files-{kind}-{place.split(':')[0] if '://' in place else 'local'}"
        self._kind, self._place = kind, place
        self._storage = storage_options or {}
        self._renamed = renamed
        self._counter = count()

    def made(self, options: dict[str, Any]) -> MetadataSource:
        return metadata_source(SourceSettings(name="drop", type="files", options=options), Tls())

    def source(self, world: Sequence[Dataset]) -> MetadataSource:
        return self._told(datasets_frame(world), blocks_frame(world), files_frame(world))

    def broken(self) -> tuple[MetadataSource, Sequence[str]]:
        files = files_frame([MUONS]).with_columns(size_bytes=pl.lit("big"))
        words = ["files-", "SIZE_BYTES" if self._renamed else "size_bytes"]
        if self._kind.startswith("jsonl"):
            words.append("line 1")
        if self._kind.startswith("csv"):
            words.append("line 2")
        return self._told(datasets_frame([MUONS]), blocks_frame([MUONS]), files), words

    def away(self) -> tuple[MetadataSource, type[DynamoError]]:
        return self.made({"path": f"{self._place}/nowhere", "storage_options": self._storage}), SourceDataError

    def _told(self, datasets: pl.DataFrame, blocks: pl.DataFrame, files: pl.DataFrame) -> MetadataSource:
        place = f"{self._place}/{next(self._counter)}"
        options: dict[str, Any] = {"path": place, "storage_options": self._storage}
        frames = {"datasets": datasets, "blocks": blocks, "files": files}
        if self._renamed:
            options["columns"] = {table: {name: name.upper() for name in f.columns} for table, f in frames.items()}
            options["statuses"] = {
                status.upper(): status for status in ("valid", "production", "invalid", "deprecated")
            }
            frames = {table: f.rename(str.upper) for table, f in frames.items()}
            frames["datasets"] = frames["datasets"].with_columns(pl.col("STATUS").str.to_uppercase())
        for table, frame in frames.items():
            half = frame.height // 2  # a table may be in several files
            written(place, f"{table}-2", frame[half:], self._kind, self._storage)
            if half:
                written(place, f"{table}-1", frame[:half], self._kind, self._storage)
        return self.made(options)


@contextmanager
def bucket(url: str) -> Iterator[FilesBackend]:
    """Parquet in a bucket of an HTTP server that speaks S3."""
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="drops")
    options = {"key": "key", "secret": "secret", "endpoint_url": url, "client_kwargs": {"region_name": "us-east-1"}}
    yield FilesBackend("parquet", "s3://drops", options)


class DbsBackend:
    """The pocket grid's DBS, whose catalogue is made what the world is."""

    name = "dbs"
    faults = (
        ({}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"url": "https://x", "thread": 3}, "thread"),
        ({"url": "https://x", "threads": 0}, "threads"),
    )

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def made(self, options: dict[str, Any]) -> MetadataSource:
        tls = Tls(ca=Path(self._grid.endpoints["ca"]))
        return metadata_source(SourceSettings(name="dbs", type="dbs", options=options), tls)

    def source(self, world: Sequence[Dataset]) -> MetadataSource:
        self._grid.heal()
        self._grid.catalogue.datasets = [_as_in_dbs(number, dataset) for number, dataset in enumerate(world, 1)]
        return self.made({"url": self._grid.endpoints["dbs"], "with_release": True, "threads": 2})

    def broken(self) -> tuple[MetadataSource, Sequence[str]]:
        source = self.source([MUONS])
        self._grid.catalogue.datasets[0].blocks[0].files[1].size = "big"  # type: ignore[assignment]
        self._grid.catalogue.datasets[0].blocks[0].__class__ = _Sized
        return source, [MUONS.blocks[0].files[1].lfn, "file_size"]

    def away(self) -> tuple[MetadataSource, type[DynamoError]]:
        source = self.source([MUONS])
        self._grid.fault(dbs={"down": True})
        return source, RetryableRemoteError


class _Sized(grid_catalogue.Block):
    """A block whose size is known, though not that of its files."""

    __slots__ = ()

    @property
    def size(self) -> int:
        return 1


def _as_in_dbs(number: int, told: Dataset) -> grid_catalogue.Dataset:
    at = int(told.last_update_at.timestamp())
    dataset = grid_catalogue.Dataset(
        told.dataset, number, told.status.upper(), told.software_release, "group", at, at, "/store"
    )
    for place, block in enumerate(told.blocks):
        moment = int(block.last_update_at.timestamp())
        files = [
            grid_catalogue.File(
                file.lfn, file.size_bytes, file.adler32 or "", 100 * number + n, moment, 1, file.is_valid
            )
            for n, file in enumerate(block.files)
        ]
        name = f"{told.dataset}#{block.block}"
        dataset.blocks.append(
            grid_catalogue.Block(name, 10 * number + place, block.is_open, "T2_BB", moment, moment, files)
        )
    return dataset


class JsonBackend:
    """A service of an experiment with words of its own, in pages of two."""

    name = "json"

    def __init__(self, server: JsonServer) -> None:
        self._server = server
        self._world: Sequence[Dataset] = ()
        self._size: Any = None
        self._status = 200
        server.answer = self._answer
        good = self._options()
        self.faults = (
            ({}, "url"),
            ({**good, "datasets": {"url": "/d", "fields": {}}}, "datasets.fields.dataset"),
            ({**good, "files": {**good["files"], "url": "/f"}}, "files.url: {dataset}"),
            ({**good, "blocks": {**good["blocks"], "url": "/b/{block}"}}, "blocks.url: {block}"),
            ({**good, "times": "stardate"}, "times"),
            (_with_field(good, "files", "lfm", "name"), "files.fields.lfm"),
            (_with_field(good, "datasets", "status", {"field": "s", "map": {"UP": "fine"}}), "'fine' is no status"),
            (_with_field(good, "datasets", "is_open", {"field": "s", "map": {"UP": "yes"}}), "'yes' is not bool"),
            (_with_field(good, "files", "is_valid", {"field": "a", "value": True}), "either 'field' or 'value'"),
            ({**good, "files": {**good["files"], "next": "n", "page": {"parameter": "p"}}}, "either 'next' or 'page'"),
        )

    def made(self, options: dict[str, Any]) -> MetadataSource:
        return metadata_source(SourceSettings(name="catalogue", type="json", options=options), Tls())

    def source(self, world: Sequence[Dataset]) -> MetadataSource:
        self._world, self._size, self._status = world, None, 200
        return self.made(self._options())

    def broken(self) -> tuple[MetadataSource, Sequence[str]]:
        source = self.source([MUONS])
        self._size = "big"
        return source, [MUONS.dataset, MUONS.blocks[0].files[0].lfn, "meta.bytes"]

    def away(self) -> tuple[MetadataSource, type[DynamoError]]:
        source = self.source([MUONS])
        self._status = 500
        return source, RetryableRemoteError

    def _options(self) -> dict[str, Any]:
        moment = {"field": "modified", "as": "unix_ms"}
        words = {"GOOD": "valid", "RUNNING": "production", "BAD": "invalid", "OLD": "deprecated"}
        return {
            "url": self._server.url,
            "times": "unix",
            "threads": 2,
            "headers": {"Authorization": "Bearer none"},
            "datasets": {
                "url": "/sets?from={since}&to={until}",
                "rows": "result.items",
                "next": "result.next",
                "fields": {
                    "dataset": "name",
                    "status": {"field": "state", "map": words},
                    "is_open": {"field": "closed", "map": {"no": True, "yes": False}},
                    "software_release": "software.release",
                    "last_update_at": moment,
                },
            },
            "blocks": {
                "url": "/sets/{dataset}/blocks",
                "page": {"parameter": "offset", "size_parameter": "limit", "size": 2},
                "fields": {
                    "block": {"field": "name", "after": "#"},
                    "is_open": "open",
                    "size_bytes": "bytes",
                    "num_files": "files",
                    "last_update_at": moment,
                },
            },
            "files": {
                "url": "/sets/{dataset}/files",
                "page": {"parameter": "page", "counts": "pages", "first": 1, "size": 2},
                "fields": {
                    "block": {"field": "in", "after": "#"},
                    "lfn": "path",
                    "size_bytes": "meta.bytes",
                    "adler32": "meta.adler",
                    "is_valid": "good",
                },
            },
            "count": {"url": "/number", "field": "sets.all"},
        }

    def _answer(self, path: str, query: dict[str, str]) -> Any:
        if self._status != 200:
            return self._status, {"error": "on fire"}
        if path == "/number":
            return {"sets": {"all": len(self._world)}}
        if path == "/sets":
            return self._sets(query)
        _, _, name, table = unquote(path).replace(self._named(path), "%").split("/")
        assert name == "%"
        told = [dataset for dataset in self._world if dataset.dataset == self._named(path)]
        rows = self._blocks(told) if table == "blocks" else self._files(told)
        start = int(query["offset"]) if table == "blocks" else 2 * (int(query["page"]) - 1)
        assert table == "files" or query["limit"] == "2"
        return rows[start : start + 2]

    def _named(self, path: str) -> str:
        return unquote(path.removeprefix("/sets/").rpartition("/")[0])

    def _sets(self, query: dict[str, str]) -> Any:
        words = {"valid": "GOOD", "production": "RUNNING", "invalid": "BAD", "deprecated": "OLD"}
        times = (int(query["from"]) - 1, int(query["to"]) + 1)  # this service does not take the ends seriously
        rows = [
            {
                "name": dataset.dataset,
                "state": words[dataset.status],
                "closed": "no" if dataset.is_open else "yes",
                "software": {"release": dataset.software_release},
                "modified": int(dataset.last_update_at.timestamp() * 1000),
            }
            for dataset in self._world
            if times[0] <= dataset.last_update_at.timestamp() <= times[1]
        ]
        start = int(query.get("start", 0))
        more = f"/sets?from={query['from']}&to={query['to']}&start={start + 2}" if len(rows) > start + 2 else None
        return {"result": {"items": rows[start : start + 2], "next": more}}

    def _blocks(self, told: Sequence[Dataset]) -> list[dict[str, Any]]:
        return [
            {
                "name": f"{row['dataset']}#{row['block']}",
                "open": row["is_open"],
                "bytes": row["size_bytes"],
                "files": row["num_files"],
                "modified": row["last_update_at"].timestamp() * 1000,
            }
            for row in blocks_frame(told).iter_rows(named=True)
        ]

    def _files(self, told: Sequence[Dataset]) -> list[dict[str, Any]]:
        return [
            {
                "in": f"{row['dataset']}#{row['block']}",
                "path": row["lfn"],
                "meta": {"bytes": self._size or row["size_bytes"], "adler": f"0x{row['adler32'].upper()}"},
                "good": row["is_valid"],
            }
            for row in files_frame(told).iter_rows(named=True)
        ]


def _with_field(options: dict[str, Any], table: str, name: str, rule: object) -> dict[str, Any]:
    return {**options, table: {**options[table], "fields": {**options[table]["fields"], name: rule}}}


class JsonSiteBackend:
    """Sites behind a URL."""

    name = "json"
    faults = (
        ({}, "url"),
        ({"url": "sites.json"}, "url"),
        ({"url": NOBODY, "max_age_h": 0}, "max_age_h"),
        ({"url": NOBODY, "statuses": {"UP": "fine"}}, "statuses"),
    )

    def __init__(self, server: JsonServer) -> None:
        self._server = server

    def made(self, options: dict[str, Any]) -> SiteSource:
        return site_source(SourceSettings(name="cric", type="json", options=options), Tls())

    def source(self, sites: Sequence[tuple[str, str, str, str, str]]) -> SiteSource:
        self._server.answer = lambda path, query: _sites(sites)
        return self.made({"url": f"{self._server.url}/sites"})

    def broken(self) -> tuple[SiteSource, Sequence[str]]:
        self._server.answer = lambda path, query: [
            {"name": "T2_BB", "storage_type": 7, "status": "up", "endpoints": []}
        ]
        return self.made({"url": f"{self._server.url}/sites"}), ["T2_BB", "storage_type", "7"]

    def away(self) -> tuple[SiteSource, type[DynamoError]]:
        return self.made({"url": f"{NOBODY}/sites"}), RetryableRemoteError


class FileSiteBackend:
    """Sites in a file."""

    faults = (
        ({}, "path"),
        ({"path": "/x/sites.xml"}, "path"),
        ({"path": "/x/sites.json", "storage_types": {"DISC": "disc"}}, "storage_types"),
    )

    def __init__(self, kind: str, folder: Path) -> None:
        self.name = f"file-{kind}"
        self._kind, self._folder = kind, folder
        self._counter = count()

    def made(self, options: dict[str, Any]) -> SiteSource:
        return site_source(SourceSettings(name="sites", type="file", options=options), Tls())

    def source(self, sites: Sequence[tuple[str, str, str, str, str]]) -> SiteSource:
        if self._kind == "csv":
            frame = pl.DataFrame(sites, schema=["name", "storage_type", "status", "protocol", "prefix"], orient="row")
            return self._told(frame.write_csv())
        return self._told((json.dumps if self._kind == "json" else yaml.safe_dump)(_sites(sites)))

    def broken(self) -> tuple[SiteSource, Sequence[str]]:
        if self._kind == "csv":
            return self._told("name,storage_type,status\nT2_BB,disk,\n"), ["0.status", "sites.csv"]
        return self._told(json.dumps([{"name": "T2_BB", "storage_type": "disk", "status": 7, "endpoints": []}])), [
            "0.status",
            "7",
        ]

    def away(self) -> tuple[SiteSource, type[DynamoError]]:
        return self.made({"path": f"{self._folder}/nowhere.{self._kind}"}), SourceDataError

    def _told(self, text: str) -> SiteSource:
        path = self._folder / str(next(self._counter)) / f"sites.{self._kind}"
        path.parent.mkdir()
        path.write_text(text)
        return self.made({"path": str(path)})


def _sites(sites: Sequence[tuple[str, str, str, str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "storage_type": kind.upper(),
            "status": status,
            "endpoints": [{"protocol": protocol, "prefix": prefix}],
        }
        for name, kind, status, protocol, prefix in sites
    ]
