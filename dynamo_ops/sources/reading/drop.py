"""Drops: files that others leave for us, in JSON lines, CSV or Parquet, at a path or any URL that fsspec knows.

Read in batches, so that a drop may be larger than the memory. Text may be compressed (``.gz``, ``.bz2``, ``.xz``).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset

from dynamo_ops.base.errors import (
    CredentialError,
    DynamoError,
    PermanentRemoteError,
    RetryableRemoteError,
    ServiceIllError,
    SettingsError,
    SourceDataError,
)
from dynamo_ops.base.http.redirect import check_secrecy, origin
from dynamo_ops.base.http.remote import kind_of_failure, kind_of_status
from dynamo_ops.base.unpack import MOST_LINE_BYTES, Unpacked, UnpackError, read_whole
from dynamo_ops.sources.reading.address import discreet, shown
from dynamo_ops.sources.reading.bad_records import BadRecords, sifted
from dynamo_ops.sources.reading.columns import Column, Wrong, typed
from dynamo_ops.sources.reading.illness import HEAD, is_page
from dynamo_ops.sources.reading.records import Fault, Records

CHUNK_BYTES = 8 << 20
ROWS_PER_BATCH = 100_000
COMPRESSED = (".gz", ".bz2", ".xz")
JSON_LINES = (".jsonl", ".ndjson", ".json")
UNFINISHED = (".tmp", ".part", ".crc")
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, UnicodeDecodeError, pa.ArrowInvalid, UnpackError)


@dataclass(frozen=True)
class Found:
    """One file of a drop. ``mark``: size and time or tag of its present content."""

    system: Any
    path: str
    mark: str


class Drop:
    """The drops of one source. ``storage_options``: what fsspec needs for the URL (of S3: ``key``, ``secret``, …)."""

    def __init__(self, source: str, storage_options: dict[str, Any]) -> None:
        self.source = source
        self._options = storage_options

    def find(self, url: str) -> list[Found]:
        """The files of a path, a folder or a glob, by name; none if nothing is there.

        What begins with a dot or an underscore, or ends in ``.tmp`` or ``.part``, is somebody's unfinished business.
        """
        with reading(self.source, url):
            system, path = self._system(url)
            system.invalidate_cache()
            if any(letter in path for letter in "*?["):
                infos = system.glob(path, detail=True)
            elif not system.exists(path):
                return []
            elif system.isdir(path):
                infos = {info["name"]: info for info in system.ls(path, detail=True)}
            else:
                infos = {path: system.info(path)}
            files = [infos[name] for name in sorted(infos) if infos[name]["type"] == "file" and _is_finished(name)]
            return [Found(system, str(info["name"]), _mark(info)) for info in files]

    def frames(
        self,
        found: Found,
        columns: Sequence[Column],
        of: Collection[str] | None = None,
        bad: BadRecords | None = None,
    ) -> Iterator[pl.DataFrame]:
        """The rows of a file in batches. ``of``: only those whose first column is one of these, or null. ``bad``: where
        a record that cannot be read is noted, by the dataset in its first column; None: it is raised.

        Raises SourceDataError naming file, line or row, column and value; RetryableRemoteError if the storage is away,
        ServiceIllError where a drop behind HTTP is a web page.
        """
        try:
            yield from self._frames(found, columns, of, bad)
        except SourceDataError:
            if not _is_page(found):
                raise
            place = shown(found.path)
            raise ServiceIllError(
                f"{self.source}: the service is ill: {place} answered a web page (of a login, or of a frontend)",
                service=self.source,
                url=place,
                status=None,
            ) from None

    def _frames(
        self, found: Found, columns: Sequence[Column], of: Collection[str] | None, bad: BadRecords | None
    ) -> Iterator[pl.DataFrame]:
        with reading(self.source, found.path):
            kind = _kind(found.path)
            if kind == "csv":
                yield from _csv(self.source, found, columns, of, bad)
            elif kind == "parquet":
                yield from _parquet(self.source, found, columns, of, bad)
            elif kind == "json":
                yield from _json_lines(self.source, found, columns, of, bad)
            else:
                raise SourceDataError(
                    f"{self.source}: {found.path}: expected a name in .jsonl, .csv or .parquet (text also in .gz)",
                    source=self.source,
                    file=found.path,
                )

    def read(self, found: Found) -> bytes:
        """The whole file, unpacked: for small ones."""
        with reading(self.source, found.path), _opened(found) as file:
            return read_whole(file)

    def _system(self, url: str) -> tuple[Any, str]:
        try:
            system, path = fsspec.core.url_to_fs(url, **_guarded(url, self._options))
        except (ValueError, ImportError, TypeError) as error:
            raise SettingsError(
                f"source {self.source!r}: {shown(url)} cannot be opened: {discreet(str(error))}",
                file="",
                key=self.source,
                reason=discreet(str(error)),
            ) from error
        return system, str(path)


def _guarded(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Over HTTP, options are what shows who we are: nothing is followed then, for aiohttp takes headers along."""
    if not options or not url.startswith(("http://", "https://")):
        return options
    check_secrecy(url, ["Authorization"])
    client = {**options.get("client_kwargs", {}), "raise_for_status": _not_sent_on}
    return {**options, "client_kwargs": client, "allow_redirects": False}


async def _not_sent_on(response: Any) -> None:
    if 300 <= response.status < 400 and response.status != 304:
        raise PermanentRemoteError(
            f"{origin(str(response.url))} sends us on: not followed with headers of ours",
            service="drop",
            url=origin(str(response.url)),
            status=response.status,
        )


def fingerprint(files: Sequence[Found]) -> str:
    """Something short that changes when a file comes, goes or is written anew."""
    text = "\n".join(f"{found.path} {found.mark}" for found in files)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextmanager
def reading(source: str, place: str) -> Iterator[None]:
    """Errors of files and their storages as ours: damaged, away, or not for us."""
    place = shown(place)
    try:
        yield
    except DynamoError:
        raise
    except FileNotFoundError as error:
        raise SourceDataError(f"{source}: {place}: no such file", source=source, file=place) from error
    except DAMAGED as error:
        raise _damaged(source, place, error) from error
    except PermissionError as error:
        raise PermanentRemoteError(
            f"{source}: {place} may not be read: {discreet(str(error))}", service=source, url=place, status=None
        ) from error
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # what Arrow says of broken Parquet
            raise _damaged(source, place, error) from error
        raise RetryableRemoteError(
            f"{source}: {place}: {discreet(str(error))}", service=source, url=place, status=None
        ) from error
    except Exception as error:  # clients of storages have errors of their own
        if not type(error).__module__.startswith(("botocore", "aiohttp", "aiobotocore")):
            raise
        status = getattr(error, "status", None)  # of aiohttp's
        kind = kind_of_status(status) if isinstance(status, int) else kind_of_failure(error)
        kind = CredentialError if "Credentials" in type(error).__name__ else kind or RetryableRemoteError
        raise kind(f"{source}: {place}: {discreet(str(error))}", service=source, url=place, status=status) from error


def _damaged(source: str, place: str, error: Exception) -> SourceDataError:
    return SourceDataError(f"{source}: {place}: cannot be read: {discreet(str(error))}", source=source, file=place)


def _json_lines(
    source: str, found: Found, columns: Sequence[Column], of: Collection[str] | None, bad: BadRecords | None
) -> Iterator[pl.DataFrame]:
    records, fault = Records(columns), _fault(source, found.path)
    with _opened(found) as file:
        piece, line, rest = file.read(CHUNK_BYTES), 1, b""
        if piece.lstrip().startswith(b"["):  # a JSON list after all, or several
            frame, key = records.frame(piece + read_whole(file), fault, 2, bad), pl.col(columns[0].name)
            yield frame if of is None else frame.filter(key.is_in(list(of)) | key.is_null())
            return
        while piece:
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                yield records.lines(whole, line, fault, of, bad)
                line += whole.count(b"\n") + 1
            if len(rest) > MOST_LINE_BYTES:
                raise fault(f"line {line} has more than {MOST_LINE_BYTES:,} bytes")
            piece = file.read(CHUNK_BYTES)
        if rest.strip():
            yield records.lines(rest, line, fault, of, bad)


def _csv(
    source: str, found: Found, columns: Sequence[Column], of: Collection[str] | None, bad: BadRecords | None
) -> Iterator[pl.DataFrame]:
    fault = _fault(source, found.path)
    with _opened(found) as file:
        header = next(csv.reader([_first_line(file, fault).decode("utf-8-sig")]), [])
    present = _present(columns, header, fault)
    bad_rows: list[str] = []

    def refuse(row: Any) -> str:
        bad_rows.append(f"line {row.number}: {row.actual_columns} columns, the header has {row.expected_columns}")
        return "error"

    with _opened(found) as file:
        try:
            reader = pa.csv.open_csv(
                file,
                pa.csv.ReadOptions(use_threads=False, block_size=CHUNK_BYTES),
                pa.csv.ParseOptions(invalid_row_handler=refuse),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(present, pa.string()),
                    include_columns=present,
                    strings_can_be_null=True,
                    null_values=[""],
                    quoted_strings_can_be_null=False,
                ),
            )
            first = 2
            for batch in reader:
                yield _batch(batch, columns, fault, of, first, bad, text=True)
                first += batch.num_rows
        except pa.ArrowInvalid as error:
            raise fault(bad_rows[0] if bad_rows else f"cannot be read as CSV: {error}") from error


def _parquet(
    source: str, found: Found, columns: Sequence[Column], of: Collection[str] | None, bad: BadRecords | None
) -> Iterator[pl.DataFrame]:
    fault = _fault(source, found.path)
    scan = pa.dataset.ParquetFragmentScanOptions(pre_buffer=False)  # which would hold the whole file in the end
    form = pa.dataset.ParquetFileFormat(default_fragment_scan_options=scan)
    dataset = pa.dataset.dataset(found.path, filesystem=found.system, format=form)
    present = _present(columns, dataset.schema.names, fault)
    chosen, key = None, pa.dataset.field(columns[0].field)
    if of is not None:
        chosen = key.isin(pa.array(list(of), pa.string())) | key.is_null()
    batches = dataset.to_batches(
        columns={name: pa.dataset.field(name) for name in present},
        filter=chosen,
        batch_size=ROWS_PER_BATCH,
        batch_readahead=1,
        fragment_readahead=1,
        use_threads=False,
    )
    for batch in batches:
        yield _batch(batch, columns, fault, None, None, bad)


def _batch(
    batch: pa.RecordBatch,
    columns: Sequence[Column],
    fault: Fault,
    of: Collection[str] | None,
    first_line: int | None,
    bad: BadRecords | None,
    *,
    text: bool = False,
) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(batch)).with_row_index("row number")
    if of is not None:
        key = pl.col(columns[0].field)
        frame = frame.filter(key.is_in(list(of)) | key.is_null())
    lines = frame["row number"]

    def wrong(row: int, what: str) -> DynamoError:
        return fault(what if first_line is None else f"line {first_line + lines[row]}: {what}")

    def read(rows: Sequence[int], wrong: Wrong) -> pl.DataFrame:
        chosen = frame if len(rows) == frame.height else frame[list(rows)]
        return pl.DataFrame([_column(chosen, column, wrong, text) for column in columns])

    names = frame[columns[0].field] if columns[0].field in frame.columns else None
    return sifted(frame.height, read, wrong, bad, lambda row: None if names is None else names[row])


def _column(frame: pl.DataFrame, column: Column, wrong: Any, text: bool) -> pl.Series:
    if column.field in frame.columns:
        return typed(frame[column.field], column, wrong, text=text)
    return pl.Series(column.name, [column.default] * frame.height, dtype=column.dtype)


def _present(columns: Sequence[Column], names: Sequence[str], fault: Fault) -> list[str]:
    """The wanted columns that the file has. SourceDataError for one that it lacks and must have."""
    for column in columns:
        if column.field not in names and column.is_required:
            raise fault(f"column {column.field!r} is missing; there are {', '.join(names) or 'none'}")
    return list(dict.fromkeys(column.field for column in columns if column.field in names))


def _first_line(file: Any, fault: Fault) -> bytes:
    """Read by pieces: a file of fsspec cannot be told how long a line may be."""
    line = b""
    while (piece := file.read(CHUNK_BYTES)) and b"\n" not in line:
        line += piece
        if len(line) > MOST_LINE_BYTES and b"\n" not in line:
            raise fault(f"line 1 has more than {MOST_LINE_BYTES:,} bytes")
    return line.partition(b"\n")[0]


def _fault(source: str, path: str) -> Fault:
    path = shown(path)

    def fault(what: str, **facts: object) -> SourceDataError:
        return SourceDataError(f"{source}: {path}: {what}", **{"source": source, "file": path, **facts})

    return fault


def _is_page(found: Found) -> bool:
    """Whether a file behind HTTP, which could not be read, is what a person is shown there: mostly a login."""
    if not found.path.startswith(("http://", "https://")):
        return False
    try:
        with found.system.open(found.path, "rb") as file:
            return is_page(bytes(file.read(HEAD)))
    except Exception:  # then the fault that was found says more
        return False


def _opened(found: Found) -> Any:
    """The file, unpacked while it is read."""
    file = found.system.open(found.path, "rb", compression="infer")
    if not found.path.lower().endswith(COMPRESSED):
        return file
    return io.BufferedReader(Unpacked(file, int(found.system.size(found.path) or 0)))


def _kind(path: str) -> str | None:
    name = path.rsplit("/", 1)[-1].lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    if name.endswith(JSON_LINES):
        return "json"
    return "csv" if name.endswith(".csv") else "parquet" if name.endswith((".parquet", ".pq")) else None


def _is_finished(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return not name.startswith((".", "_")) and not name.endswith(UNFINISHED)


def _mark(info: dict[str, Any]) -> str:
    """What changes with a file's content, as far as its storage says."""
    for key in ("ETag", "etag", "mtime", "LastModified", "modified", "created"):
        if info.get(key):
            return f"{info.get('size')} {info[key]}"
    return str(info.get("size"))
