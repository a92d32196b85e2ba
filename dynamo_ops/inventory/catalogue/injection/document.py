"""The document of an injection, as columns: read without an object a row, each fault named by its place.

A document can hold millions of files. What is checked here needs no database: keys, types, values, what is named twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, cast

import numpy as np
import polars as pl

from dynamo_ops.inventory.catalogue.faults import CONTROL, Faults, shown, text_fault
from dynamo_ops.inventory.checksum import adler32_digits
from dynamo_ops.inventory.kinds import DatasetStatus, OwnershipLevel, SiteStatus, StorageType
from dynamo_ops.inventory.lfn import CANONICAL, DOTS, OURS
from dynamo_ops.inventory.properties import PROPERTIES, PropertyKind
from dynamo_ops.inventory.site.mapping import endpoint_fault, link_fault

Path = Callable[[int], str]
"""The place in the document of the n-th row of a list, or of lists one after the other."""

ADLER32 = "^[0-9a-f]{8}$"
UNUSABLE = r"[\x00-\x20\x7f#*?]"
MAX_NAME_BYTES, MAX_LFN_BYTES, MAX_FILE_BYTES = 500, 1000, 10**13
"""What the metadata gate asks of names and sizes, as it stands without thresholds of the installation."""
MAX_TEXT_BYTES = MAX_LFN_BYTES
"""Of any text: longer ones are in no index of PostgreSQL."""
MIN_BIGINT, MAX_BIGINT = -(2**63), 2**63 - 1
MAX_NUMBER = 1e300
"""Of a property. What is no number at all is not below it either."""


@dataclass(frozen=True)
class Field:
    """A key of a JSON object. ``one_of``: its values, if these are few. ``least``, ``most``: of a number.

    ``is_bare``: there is no object, the list has the values themselves.
    """

    name: str
    kind: Any = str
    is_needed: bool = True
    can_be_null: bool = False
    one_of: Sequence[str] = ()
    least: int = MIN_BIGINT
    most: int = MAX_BIGINT
    is_bare: bool = False

    @property
    def json_kinds(self) -> set[type]:
        """The types of Python that JSON gives for it."""
        if self.kind is float:
            return {float, int}
        return {str if self.kind is datetime else self.kind}

    @property
    def wanted(self) -> str:
        """What it must be, in words."""
        words = {
            str: "a text",
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            datetime: "a time",
            list: "a list",
        }
        return f"one of {', '.join(self.one_of)}" if self.one_of else words[self.kind]


NAME = Field("name")
STATUS = Field("status", is_needed=False, one_of=tuple(DatasetStatus))
IS_OPEN = Field("is_open", bool, is_needed=False)
UPDATED = Field("last_update_at", datetime, is_needed=False)
CUSTODIAL = Field("is_custodial", bool, is_needed=False)
OWNER = Field("group", is_needed=False, can_be_null=True)

SITES = (NAME, Field("storage_type", one_of=tuple(StorageType)), Field("status", one_of=tuple(SiteStatus)))
ENDPOINTS = (Field("protocol"), Field("prefix"))
GROUPS = (NAME, Field("ownership_level", one_of=tuple(OwnershipLevel)))
QUOTAS = (Field("site"), Field("partition"), Field("quota_bytes", int))
KINDS = {PropertyKind.NUMBER: float, PropertyKind.BOOLEAN: bool, PropertyKind.TIME: datetime}
DATASETS = (
    NAME,
    STATUS,
    IS_OPEN,
    Field("software_release", is_needed=False, can_be_null=True),
    UPDATED,
    *(Field(declared.name, KINDS[declared.kind], is_needed=False) for declared in PROPERTIES),
)
BLOCKS = (NAME, IS_OPEN, UPDATED)
FILES = (
    Field("lfn"),
    Field("size_bytes", int, least=0, most=MAX_FILE_BYTES),
    Field("adler32", is_needed=False, can_be_null=True),
)
REPLICAS = (Field("dataset"), Field("site"), OWNER, Field("growing", bool, is_needed=False), CUSTODIAL)
COPIES = (NAME, OWNER, CUSTODIAL)
COPY_FILES = (Field("lfn", is_bare=True),)
DTYPES: Mapping[Any, Any] = {
    str: pl.String,
    int: pl.Int64,
    float: pl.Float64,
    bool: pl.Boolean,
    datetime: pl.Datetime("us", "UTC"),
}
PARTS = ("sites", "groups", "quotas", "datasets", "dataset_replicas")


@dataclass(frozen=True)
class Injected:
    """The document. Frames have the columns of their fields, and ``row``: the place in the list, from 0.

    ``endpoints``: also ``site`` (its row) and ``mapping`` (JSON text); ``site_has_endpoints``: rows of the sites that
    tell any. ``blocks``: ``dataset`` (its row) and ``place`` in it. ``files``: ``block`` (its row) and ``place``.
    ``replicas``: also ``all_blocks``, ``has_group`` (it is named, or null). ``copies``, the blocks that replicas name:
    ``replica`` (its row), ``place``, ``has_group``, ``all_files``. ``copy_files``: ``copy`` (its row), ``place``,
    ``lfn``.
    """

    sites: pl.DataFrame
    endpoints: pl.DataFrame
    site_has_endpoints: list[int]
    groups: pl.DataFrame
    quotas: pl.DataFrame
    datasets: pl.DataFrame
    blocks: pl.DataFrame
    files: pl.DataFrame
    replicas: pl.DataFrame
    copies: pl.DataFrame
    copy_files: pl.DataFrame


def read_document(document: object) -> Injected:
    """The document as columns. Raises InventoryError with the faults, by their paths."""
    faults = Faults()
    if not isinstance(document, dict):
        faults.add("", f"must be an object, got {shown(document)}")
        document = {}
    faults.add_all((str(key), f"unknown key; known: {', '.join(PARTS)}") for key in document if key not in PARTS)
    parts = {part: _list(document.get(part, []), part, faults) for part in PARTS}
    sites, endpoints, site_has_endpoints = _sites(parts["sites"], faults)
    groups = _rows(parts["groups"], GROUPS, _in("groups"), faults)
    quotas = _rows(parts["quotas"], QUOTAS, _in("quotas"), faults)
    datasets, blocks, files = _datasets(parts["datasets"], faults)
    replicas, copies, copy_files = _replicas(parts["dataset_replicas"], faults)
    _repeated(groups, ["name"], _in("groups"), faults)
    _repeated(quotas, ["site", "partition"], _in("quotas"), faults)
    faults.refuse("injection")
    return Injected(
        sites, endpoints, site_has_endpoints, groups, quotas, datasets, blocks, files, replicas, copies, copy_files
    )


def _sites(rows: list[Any], faults: Faults) -> tuple[pl.DataFrame, pl.DataFrame, list[int]]:
    path = _in("sites")
    sites = _rows(rows, SITES, path, faults, also=("endpoints",))
    _check_names(sites, path, faults)
    _repeated(sites, ["name"], path, faults)
    nested = _Nested(rows, "endpoints", path, faults)
    endpoints = _rows(nested.rows, ENDPOINTS, nested.path, faults, also=("mapping",))
    mappings = [entry.get("mapping") if isinstance(entry, dict) else None for entry in nested.rows]
    for n, mapping in enumerate(mappings):
        faults.add_all(_mapping_faults(f"{nested.path(n)}.mapping", mapping))
        faults.add_all(_address_faults(nested.path(n), nested.rows[n], mapping))
    mapping_texts = [json.dumps(mapping) if _is_mapping(mapping) else None for mapping in mappings]
    endpoints = endpoints.with_columns(site=nested.parent, mapping=pl.Series(mapping_texts, dtype=pl.String))
    _repeated(endpoints, ["site", "protocol"], nested.path, faults, shown="protocol")
    return sites, endpoints, [n for n, entry in enumerate(rows) if isinstance(entry, dict) and "endpoints" in entry]


def _datasets(rows: list[Any], faults: Faults) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    path = _in("datasets")
    datasets = _rows(rows, DATASETS, path, faults, also=("blocks",))
    _check_names(datasets, path, faults)
    _repeated(datasets, ["name"], path, faults)
    in_dataset = _Nested(rows, "blocks", path, faults)
    blocks = _rows(in_dataset.rows, BLOCKS, in_dataset.path, faults, also=("files",))
    blocks = blocks.with_columns(dataset=in_dataset.parent, place=in_dataset.place)
    _check_names(blocks, in_dataset.path, faults)
    _repeated(blocks, ["dataset", "name"], in_dataset.path, faults, shown="name")
    in_block = _Nested(in_dataset.rows, "files", in_dataset.path, faults)
    files = _rows(in_block.rows, FILES, in_block.path, faults)
    files = files.with_columns(adler32_digits(), block=in_block.parent, place=in_block.place)
    _check_files(files, in_block.path, faults)
    return datasets, blocks, files


def _check_files(files: pl.DataFrame, path: Path, faults: Faults) -> None:
    clean = pl.col("lfn").str.contains(CANONICAL) & ~pl.col("lfn").str.contains(DOTS)
    _unless(files, clean, "lfn", "is not a clean absolute path", path, faults)
    is_own = pl.col("lfn").str.contains(OURS)
    _unless(files, ~is_own, "lfn", "is what an unfinished upload of Dynamo is called", path, faults)
    is_short = pl.col("lfn").str.len_bytes() <= MAX_LFN_BYTES
    _unless(files, is_short, "lfn", f"is longer than {MAX_LFN_BYTES} bytes", path, faults)
    _unless(files, pl.col("adler32").str.contains(ADLER32), "adler32", "is not eight hex digits", path, faults)
    _repeated(files, ["lfn"], path, faults)


def _replicas(rows: list[Any], faults: Faults) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    path = _in("dataset_replicas")
    replicas = _rows(rows, REPLICAS, path, faults, also=("blocks",))
    _repeated(replicas, ["dataset", "site"], path, faults)
    is_whole = [not isinstance(entry, dict) or entry.get("blocks", "*") == "*" for entry in rows]
    in_replica = _Nested(rows, "blocks", path, faults, all_of_it="*")
    objects = [entry if isinstance(entry, dict) else {"name": entry} for entry in in_replica.rows]
    copies = _rows(objects, COPIES, in_replica.path, faults, also=("files",))
    copies = copies.with_columns(
        replica=in_replica.parent,
        place=in_replica.place,
        has_group=pl.Series(["group" in entry for entry in objects], dtype=pl.Boolean),
        all_files=pl.Series([entry.get("files", "*") == "*" for entry in objects], dtype=pl.Boolean),
    )
    whole = pl.col("name").str.contains("^[^#]+#[^#]+$")
    _unless(copies, whole, "", "is not of the form dataset#block", in_replica.path, faults)
    _repeated(copies, ["replica", "name"], in_replica.path, faults, shown="name")
    in_copy = _Nested(objects, "files", in_replica.path, faults, all_of_it="*")
    lfns = [{"lfn": lfn} for lfn in in_copy.rows]
    copy_files = _rows(lfns, COPY_FILES, in_copy.path, faults)
    copy_files = copy_files.with_columns(copy=in_copy.parent, place=in_copy.place)
    _repeated(copy_files, ["copy", "lfn"], in_copy.path, faults, shown="lfn")
    replicas = replicas.with_columns(
        all_blocks=pl.Series(is_whole, dtype=pl.Boolean),
        has_group=pl.Series([isinstance(entry, dict) and "group" in entry for entry in rows], dtype=pl.Boolean),
    )
    return replicas, copies, copy_files


class _Nested:
    """The lists under one key of ``rows``, one after the other. ``all_of_it``: a text that stands for a list."""

    def __init__(self, rows: Sequence[Any], key: str, path: Path, faults: Faults, all_of_it: str | None = None) -> None:
        lists = [entry.get(key, ()) if isinstance(entry, dict) else () for entry in rows]
        wanted = "a list" if all_of_it is None else f"a list, or {all_of_it!r}"
        for n, inner in enumerate(lists):
            if not isinstance(inner, list):
                if inner != () and (all_of_it is None or inner != all_of_it):
                    faults.add(f"{path(n)}.{key}", f"must be {wanted}, got {shown(inner)}")
                lists[n] = ()
        lengths = np.array([len(inner) for inner in lists], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        self.rows: list[Any] = list(chain.from_iterable(lists))
        self.parent = pl.Series("parent", np.repeat(np.arange(len(lists), dtype=np.int64), lengths))
        self.place = pl.Series("place", np.arange(len(self.rows), dtype=np.int64) - np.repeat(starts, lengths))
        self._outer, self._key = path, key

    def path(self, n: int) -> str:
        """The place of the n-th of ``rows``."""
        return f"{self._outer(self.parent[n])}.{self._key}[{self.place[n]}]"


def _in(part: str) -> Path:
    return lambda n: f"{part}[{n}]"


def _list(value: object, path: str, faults: Faults) -> list[Any]:
    if isinstance(value, list):
        return value
    faults.add(path, f"must be a list, got {shown(value)}")
    return []


def _rows(
    rows: Sequence[Any], fields: Sequence[Field], path: Path, faults: Faults, also: Iterable[str] = ()
) -> pl.DataFrame:
    """``rows`` as a frame; where a value is wrong there is a fault, and null in its place."""
    if set(map(type, rows)) - {dict}:
        faults.add_all(
            (path(n), f"must be an object, got {shown(entry)}")
            for n, entry in enumerate(rows)
            if not isinstance(entry, dict)
        )
        rows = [entry if isinstance(entry, dict) else {field.name: None for field in fields} for entry in rows]
        faults = Faults()  # what such a row lacks is no further fault
    known_keys = {field.name for field in fields}.union(also)
    for n, entry in enumerate(rows):
        if not entry.keys() <= known_keys:
            strange = sorted(map(str, entry.keys() - known_keys))
            faults.add_all(
                (f"{path(n)}.{key}", f"unknown key; known: {', '.join(sorted(known_keys))}") for key in strange
            )
    columns = {"row": pl.int_range(len(rows), dtype=pl.Int64, eager=True)}
    return pl.DataFrame(columns | {field.name: _column(rows, field, path, faults) for field in fields})


def _column(rows: Sequence[Mapping[str, Any]], wanted: Field, path: Path, faults: Faults) -> pl.Series:
    """The values under one key, checked; all at once where they are right."""
    name = wanted.name
    cells = [entry.get(name) for entry in rows]
    dtype = DTYPES[wanted.kind]
    right = wanted.json_kinds if wanted.is_needed and not wanted.can_be_null else {*wanted.json_kinds, type(None)}
    if set(map(type, cells)) <= right and (wanted.can_be_null or wanted.is_needed or _absent_only(rows, name, cells)):
        try:
            series = _series(cells, wanted, dtype)
        except (ValueError, OverflowError, TypeError):
            pass
        else:
            if not _has_odd_value(series, wanted):
                return series
    number = faults.number
    for n, entry in enumerate(rows):
        if message := _fault(entry, wanted):
            faults.add(path(n) if wanted.is_bare else f"{path(n)}.{name}", message)
    assert faults.number > number, f"{name}: no fault found in what is not right"
    return pl.Series([None] * len(rows), dtype=dtype)


def _absent_only(rows: Sequence[Mapping[str, Any]], name: str, cells: list[Any]) -> bool:
    """Where there is no value the key is not there either: null says nothing, so it is refused."""
    return None not in cells or not any(cell is None and name in entry for entry, cell in zip(rows, cells, strict=True))


def _series(cells: list[Any], wanted: Field, dtype: Any) -> pl.Series:
    if wanted.kind is datetime:
        cells = [None if cell is None else _time(cell) for cell in cells]
    if wanted.kind is float:
        cells = [None if cell is None else float(cell) for cell in cells]
    return pl.Series(cells, dtype=dtype, strict=True)


def _has_odd_value(series: pl.Series, wanted: Field) -> bool:
    if wanted.kind is float:
        return not bool((series.is_null() | (series.abs() <= MAX_NUMBER)).all())
    if wanted.one_of:
        return bool((~series.is_in(list(wanted.one_of))).any())
    if wanted.kind is str:
        is_odd = series.str.contains(CONTROL) | (series == "") | (series.str.len_bytes() > MAX_TEXT_BYTES)
        return bool(is_odd.any())
    return wanted.kind is int and bool(((series < wanted.least) | (series > wanted.most)).any())


def _fault(entry: Mapping[str, Any], wanted: Field) -> str | None:
    """What is wrong with one value, or None."""
    name = wanted.name
    if name not in entry:
        return "is missing" if wanted.is_needed else None
    cell = entry[name]
    if cell is None and wanted.can_be_null:
        return None
    got = f"must be {wanted.wanted}, got {shown(cell, 100)}"
    if wanted.kind is datetime:
        return None if isinstance(cell, str) and _is_time(cell) else f"{got}; as in 2026-03-01T12:00:00Z"
    if type(cell) not in wanted.json_kinds or (wanted.one_of and cell not in wanted.one_of):
        return got
    if isinstance(cell, str):
        return text_fault(cell, MAX_TEXT_BYTES)
    if wanted.kind is float and not abs(cell) <= MAX_NUMBER:
        return f"is no number that can be kept: {shown(cell)}"
    if wanted.kind is int and not wanted.least <= cell <= wanted.most:
        how = f"must not be below {wanted.least}, got" if cell < wanted.least else "is too large:"
        return f"{how} {shown(cell)}"
    return None


def _time(value: str) -> datetime:
    """Raises ValueError, also for what is before or after all years in UTC."""
    moment = datetime.fromisoformat(value)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _is_time(value: str) -> bool:
    try:
        _time(value)
    except ValueError:
        return False
    return True


def _mapping_faults(path: str, mapping: object) -> Iterator[tuple[str, str]]:
    """None for no mapping."""
    if mapping is None:
        return
    if not _is_mapping(mapping):
        yield path, f"must be a list of chains of [regex, replacement], got {shown(mapping)}"
        return
    for outer, links in enumerate(cast(list[list[list[str]]], mapping)):
        for inner, (pattern, replacement) in enumerate(links):
            place = f"{path}[{outer}][{inner}]"
            texts = [(f"{place}[{n}]", text_fault(text)) for n, text in enumerate((pattern, replacement)) if text]
            wrong = [(where, fault) for where, fault in texts if fault]
            yield from wrong
            if not wrong and (fault := link_fault(pattern, replacement)):
                yield place, f"{shown(pattern, 200)}: {fault}"


def _address_faults(path: str, endpoint: object, mapping: object) -> Iterator[tuple[str, str]]:
    """Where files would be asked for at another scheme than the protocol's, or with a password or query."""
    fields = endpoint if isinstance(endpoint, dict) else {}
    protocol, prefix = fields.get("protocol"), fields.get("prefix")
    if isinstance(protocol, str) and isinstance(prefix, str):
        chains = cast(list[list[list[str]]], mapping) if _is_mapping(mapping) else None
        if fault := endpoint_fault(protocol, prefix, chains):
            yield path, fault


def _is_mapping(mapping: object) -> bool:
    """A list of chains, each a list of [regex, replacement]."""
    return isinstance(mapping, list) and all(
        isinstance(links, list) and links and all(_is_link(link) for link in links) for links in mapping
    )


def _is_link(link: object) -> bool:
    return isinstance(link, list) and len(link) == 2 and all(isinstance(part, str) for part in link)


def _check_names(rows: pl.DataFrame, path: Path, faults: Faults) -> None:
    """A name is no glob: else a lock on it would be on others too."""
    name = pl.col("name")
    _unless(rows, ~name.str.contains(UNUSABLE), "name", "must not contain blanks, #, * or ?", path, faults)
    is_short = name.str.len_bytes() <= MAX_NAME_BYTES
    _unless(rows, is_short, "name", f"is longer than {MAX_NAME_BYTES} bytes", path, faults)


def _unless(rows: pl.DataFrame, is_right: pl.Expr, key: str, message: str, path: Path, faults: Faults) -> None:
    """A fault for each row that is not right; null is."""
    column = key or "name"
    for n, cell in rows.filter(~is_right).select("row", column).iter_rows():
        place = path(n) + (f".{key}" if key else "")
        faults.add(place, f"{shown(cell, 200)} {message}")


def _repeated(rows: pl.DataFrame, keys: list[str], path: Path, faults: Faults, *, shown: str | None = None) -> None:
    """A fault for each row that has the same as one before."""
    is_again = pl.col(keys[0]).is_duplicated() if len(keys) == 1 else pl.struct(keys).is_duplicated()
    twice = rows.drop_nulls(keys).filter(is_again)
    columns = [shown] if shown else keys
    first: dict[tuple[Any, ...], int] = {}
    for numbered_key in twice.select("row", *keys).iter_rows():
        n, key = numbered_key[0], numbered_key[1:]
        before = first.setdefault(key, n)
        if before != n:
            words = " ".join(repr(cell) for name, cell in zip(keys, key, strict=True) if name in columns)
            faults.add(path(n), f"the same {' and '.join(columns)} as {path(before)}: {words}")
