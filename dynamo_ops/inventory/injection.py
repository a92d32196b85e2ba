"""Telling the inventory what is where: groups, quotas and replicas from a document, all of it or nothing.

For the first filling of an inventory, and for production systems that hand over what they have written. The blocks
named are taken to be complete at the site, and to be there since their last update.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import polars as pl
from pydantic import Field, ValidationError
from sqlalchemy import Connection, text

from dynamo_ops.errors import InventoryError
from dynamo_ops.inventory.database import Database, insert_frame
from dynamo_ops.inventory.quota import change_quotas
from dynamo_ops.settings import Strict

MAX_FAULTS = 20
MAX_CANDIDATES = 2_000
ALTERNATIVES = ("list[str]", "literal['*']")

Name = Field(min_length=1)


class InjectedGroup(Strict):
    """An owner; of a known group the level is changed."""

    name: str = Name
    ownership_level: Literal["dataset", "block"]


class InjectedQuota(Strict):
    """Bytes of a leaf partition at a site: 0 nothing may be there, negative unlimited."""

    site: str = Name
    partition: str = Name
    quota_bytes: int = Field(ge=-(2**63), lt=2**63)


class InjectedReplica(Strict):
    """A dataset at a site. ``blocks``: full names ``dataset#block`` of the blocks that are there, or ``*`` for all."""

    dataset: str = Name
    site: str = Name
    group: str | None = None
    growing: bool = False
    blocks: list[str] | Literal["*"] = "*"


class Injection(Strict):
    """The document."""

    groups: list[InjectedGroup] = Field(default_factory=list)
    quotas: list[InjectedQuota] = Field(default_factory=list)
    dataset_replicas: list[InjectedReplica] = Field(default_factory=list)


@dataclass(frozen=True)
class InjectionSummary:
    """What was written (in a dry run: would be): rows that are new or different now. Size of these block replicas."""

    groups: int
    quotas: int
    dataset_replicas: int
    block_replicas: int
    size_bytes: int


def inject(
    db: Database, document: dict[str, Any], *, dry_run: bool = False, partitions: Collection[str] | None = None
) -> InjectionSummary:
    """Write the document into the inventory in one transaction; the same document again changes nothing.

    Raises InventoryError when anything in it is wrong or unknown: each fault by its path in the document, up to
    ``MAX_FAULTS`` of them, unknown names with near ones. ``partitions``: those that quotas may be set for (None: any).
    A dry run does the same and takes it back.
    """
    injection = _parsed(document)
    with db.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('dynamo_ops.inventory.merge'))"))
        _upload(connection, injection)
        _refuse([*_faults(connection, injection), *_unknown_partitions(injection, partitions)])
        groups = connection.execute(text(_UPSERT_GROUPS)).rowcount
        quotas = change_quotas(connection, _WANTED_QUOTAS, by="injection", reason="injected")
        replicas = connection.execute(text(_UPSERT_DATASET_REPLICAS)).rowcount
        blocks, size_bytes = connection.execute(text(_UPSERT_BLOCK_REPLICAS)).one()
        connection.execute(text(_FORGET_PARTIAL_FILES))
        connection.execute(text("DROP TABLE injected_groups, injected_quotas, injected_replicas, injected_blocks"))
        if dry_run:
            connection.rollback()
    return InjectionSummary(groups, quotas, replicas, blocks, size_bytes)


def _parsed(document: dict[str, Any]) -> Injection:
    try:
        return Injection.model_validate(document)
    except ValidationError as error:
        faults = {_path(fault["loc"]): f"{fault['msg']}, got {fault['input']!r:.100}" for fault in error.errors()}
        _refuse([f"{path}: {reason}" for path, reason in faults.items()])
        raise


def _path(location: tuple[int | str, ...]) -> str:
    """``dataset_replicas[3].site`` for ("dataset_replicas", 3, "site"), without pydantic's names of alternatives."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part not in ALTERNATIVES]
    return "".join(parts).removeprefix(".") or "document"


def _refuse(faults: list[str]) -> None:
    if not faults:
        return
    shown = faults[:MAX_FAULTS]
    if len(faults) > len(shown):
        shown.append(f"… and {len(faults) - len(shown)} more")
    raise InventoryError("injection refused, nothing was written:\n" + "\n".join(shown), faults=shown)


def _upload(connection: Connection, injection: Injection) -> None:
    """The document as temporary tables; ``row`` is the place in its list, ``place`` the one in a replica's blocks."""
    replicas = [
        (row, each.dataset, each.site, each.group, each.growing, each.blocks == "*")
        for row, each in enumerate(injection.dataset_replicas)
    ]
    blocks = [
        (row, place, *_split(name))
        for row, each in enumerate(injection.dataset_replicas)
        if each.blocks != "*"
        for place, name in enumerate(each.blocks)
    ]
    _table(
        connection,
        "injected_groups",
        {"row": pl.Int64, "name": pl.String, "ownership_level": pl.String},
        [(row, each.name, each.ownership_level) for row, each in enumerate(injection.groups)],
    )
    _table(
        connection,
        "injected_quotas",
        {"row": pl.Int64, "site": pl.String, "partition": pl.String, "quota_bytes": pl.Int64},
        [(row, each.site, each.partition, each.quota_bytes) for row, each in enumerate(injection.quotas)],
    )
    _table(
        connection,
        "injected_replicas",
        {
            "row": pl.Int64,
            "dataset": pl.String,
            "site": pl.String,
            "group": pl.String,
            "growing": pl.Boolean,
            "all_blocks": pl.Boolean,
        },
        replicas,
    )
    _table(
        connection,
        "injected_blocks",
        {"row": pl.Int64, "place": pl.Int64, "dataset": pl.String, "block": pl.String},
        blocks,
    )


def _split(name: str) -> tuple[str, str]:
    dataset, _, block = name.partition("#")
    return dataset, block


def _table(connection: Connection, name: str, schema: dict[str, Any], rows: list[tuple[Any, ...]]) -> None:
    kinds = {pl.Int64: "bigint", pl.String: "text", pl.Boolean: "boolean"}
    columns = ", ".join(f'"{column}" {kinds[kind]}' for column, kind in schema.items())
    connection.execute(text(f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP"))
    insert_frame(connection, name, pl.DataFrame(rows, schema=schema, orient="row"))
    connection.execute(text(f"ANALYZE {name}"))


def _unknown_partitions(injection: Injection, partitions: Collection[str] | None) -> list[str]:
    """Quotas for partitions that are not defined; nothing is checked where the caller knows of none."""
    if partitions is None:
        return []
    return [
        f"quotas[{row}].partition: unknown partition {quota.partition!r}; known: {', '.join(sorted(partitions))}"
        for row, quota in enumerate(injection.quotas)
        if quota.partition not in partitions
    ]


def _faults(connection: Connection, injection: Injection) -> list[str]:
    """All that the document names and that is not there, or names twice."""
    return [
        *_repeated("groups", "name", [each.name for each in injection.groups]),
        *_repeated("quotas", "site and partition", [(each.site, each.partition) for each in injection.quotas]),
        *_repeated(
            "dataset_replicas", "dataset and site", [(each.dataset, each.site) for each in injection.dataset_replicas]
        ),
        *_unknown(
            connection,
            "quotas",
            "site",
            "SELECT q.row, q.site FROM injected_quotas AS q LEFT JOIN sites AS s ON s.name = q.site WHERE s.id IS NULL",
            _SITE_NAMES,
        ),
        *_unknown(
            connection,
            "dataset_replicas",
            "site",
            "SELECT r.row, r.site FROM injected_replicas AS r"
            " LEFT JOIN sites AS s ON s.name = r.site WHERE s.id IS NULL",
            _SITE_NAMES,
        ),
        *_unknown(connection, "dataset_replicas", "group", _UNKNOWN_GROUPS, _GROUP_NAMES),
        *_unknown(
            connection,
            "dataset_replicas",
            "dataset",
            "SELECT r.row, r.dataset FROM injected_replicas AS r"
            " LEFT JOIN datasets AS d ON d.name = r.dataset WHERE d.id IS NULL",
            _DATASET_NAMES,
        ),
        *_unknown_blocks(connection),
    ]


def _repeated(path: str, what: str, keys: list[Any]) -> list[str]:
    counts = Counter(keys)
    first: dict[Any, int] = {}
    faults = []
    for row, key in enumerate(keys):
        if counts[key] > 1 and first.setdefault(key, row) != row:
            named = " ".join(map(repr, key)) if isinstance(key, tuple) else repr(key)
            faults.append(f"{path}[{row}]: the same {what} as {path}[{first[key]}]: {named}")
    return faults


def _unknown(connection: Connection, path: str, field: str, query: str, names: str) -> list[str]:
    """A fault for each row of ``query`` (row, unknown name); near ones are searched in what ``names`` finds."""
    found = connection.execute(text(f"{query} ORDER BY 1")).all()
    near = [_near(connection, name, names) for _, name in found[:MAX_FAULTS]]
    return [
        f"{path}[{row}].{field}: unknown {field} {name!r}{near[n] if n < MAX_FAULTS else ''}"
        for n, (row, name) in enumerate(found)
    ]


def _unknown_blocks(connection: Connection) -> list[str]:
    rows = connection.execute(text(_UNKNOWN_BLOCKS)).all()
    return [
        f"dataset_replicas[{row}].blocks[{place}]: "
        + (
            f"{block!r} is not of the form dataset#block"
            if not name
            else f"block {block!r} is not one of dataset {dataset!r}"
            if owner != dataset
            else f"unknown block {block!r}{_near(connection, block, _BLOCK_NAMES) if n < MAX_FAULTS else ''}"
        )
        for n, (row, place, dataset, owner, name, block) in enumerate(rows)
    ]


def _near(connection: Connection, name: str, names: str) -> str:
    start = "/".join(name.split("/")[:2])
    candidates = connection.execute(
        text(f"{names} LIMIT {MAX_CANDIDATES}"), {"start": start, "dataset": name.partition("#")[0]}
    ).scalars()
    near = get_close_matches(name, list(candidates), n=3, cutoff=0.5)
    return f"; near: {', '.join(near)}" if near else ""


_SITE_NAMES = "SELECT name FROM sites"
_GROUP_NAMES = "SELECT name FROM groups UNION SELECT name FROM injected_groups"
_DATASET_NAMES = "SELECT name FROM datasets WHERE starts_with(name, :start)"
_BLOCK_NAMES = """
    SELECT d.name || '#' || b.name FROM datasets AS d JOIN blocks AS b ON b.dataset_id = d.id WHERE d.name = :dataset"""

_UNKNOWN_GROUPS = """
    SELECT r.row, r."group" FROM injected_replicas AS r
    LEFT JOIN groups AS g ON g.name = r."group" LEFT JOIN injected_groups AS i ON i.name = r."group"
    WHERE r."group" IS NOT NULL AND g.id IS NULL AND i.name IS NULL"""

_UNKNOWN_BLOCKS = """
    SELECT n.row, n.place, r.dataset, n.dataset AS owner, n.block,
           n.dataset || CASE WHEN n.block = '' THEN '' ELSE '#' || n.block END
    FROM injected_blocks AS n JOIN injected_replicas AS r ON r.row = n.row
    LEFT JOIN datasets AS d ON d.name = r.dataset
    LEFT JOIN blocks AS b ON b.dataset_id = d.id AND b.name = n.block
    WHERE n.dataset <> r.dataset OR (d.id IS NOT NULL AND b.id IS NULL)
    ORDER BY n.row, n.place"""

_UPSERT_GROUPS = """
    INSERT INTO groups AS old (name, ownership_level) SELECT name, ownership_level FROM injected_groups ORDER BY row
    ON CONFLICT (name) DO UPDATE SET ownership_level = excluded.ownership_level
    WHERE old.ownership_level <> excluded.ownership_level"""

_WANTED_QUOTAS = """
    SELECT s.id AS site_id, q.partition, q.quota_bytes FROM injected_quotas AS q JOIN sites AS s ON s.name = q.site"""

_UPSERT_DATASET_REPLICAS = """
    INSERT INTO dataset_replicas AS old (dataset_id, site_id, is_growing, group_id)
    SELECT d.id, s.id, r.growing, CASE WHEN r.growing THEN g.id END
    FROM injected_replicas AS r JOIN datasets AS d ON d.name = r.dataset JOIN sites AS s ON s.name = r.site
    LEFT JOIN groups AS g ON g.name = r."group"
    ON CONFLICT (dataset_id, site_id) DO UPDATE SET is_growing = excluded.is_growing, group_id = excluded.group_id
    WHERE (old.is_growing, old.group_id) IS DISTINCT FROM (excluded.is_growing, excluded.group_id)"""

_UPSERT_BLOCK_REPLICAS = """
    WITH replicas AS (
        SELECT r.row, r.all_blocks, s.id AS site_id, d.id AS dataset_id, g.id AS group_id
        FROM injected_replicas AS r JOIN datasets AS d ON d.name = r.dataset JOIN sites AS s ON s.name = r.site
        LEFT JOIN groups AS g ON g.name = r."group"),
    wanted AS (
        SELECT b.id AS block_id, r.site_id, r.dataset_id, r.group_id, b.size_bytes, b.last_update_at
        FROM replicas AS r JOIN blocks AS b ON b.dataset_id = r.dataset_id
        WHERE r.all_blocks
        UNION
        SELECT b.id, r.site_id, r.dataset_id, r.group_id, b.size_bytes, b.last_update_at
        FROM replicas AS r JOIN injected_blocks AS n ON n.row = r.row
        JOIN blocks AS b ON b.dataset_id = r.dataset_id AND b.name = n.block),
    done AS (
        INSERT INTO block_replicas AS old
            (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
        SELECT block_id, site_id, dataset_id, group_id, true, size_bytes, last_update_at FROM wanted
        ON CONFLICT (block_id, site_id) DO UPDATE
        SET group_id = excluded.group_id, is_complete = true, size_bytes = excluded.size_bytes
        WHERE (old.group_id, old.is_complete, old.size_bytes)
              IS DISTINCT FROM (excluded.group_id, true, excluded.size_bytes)
        RETURNING size_bytes)
    SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM done"""

_FORGET_PARTIAL_FILES = """
    DELETE FROM block_replica_files AS f USING block_replicas AS r
    WHERE r.block_id = f.block_id AND r.site_id = f.site_id AND r.is_complete
      AND r.dataset_id IN (SELECT d.id FROM injected_replicas AS i JOIN datasets AS d ON d.name = i.dataset)"""
