"""Where files are, for who wants to read them: sites and PFNs, what can be read best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.settings import PROTOCOLS
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.inventory.replica.copies import Standing, is_present_by_join, listed_join, standing
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.site.usable import READABLE
from dynamo_ops.query.dataset import find_dataset
from dynamo_ops.storage.registry import read_endpoints

MOST_FILES = 10_000
"""Files that are located at once."""

_ASKED = {
    "lfns": """SELECT file.id, file.block_id, file.lfn, file.size_bytes, file.adler32
        FROM unnest(CAST(:lfns AS text[])) AS asked (lfn)
        JOIN files AS file ON md5(file.lfn)::uuid = md5(asked.lfn)::uuid AND file.lfn = asked.lfn""",
    "dataset": """SELECT file.id, file.block_id, file.lfn, file.size_bytes, file.adler32
        FROM blocks AS block JOIN files AS file ON file.block_id = block.id
        WHERE block.dataset_id = :dataset AND (CAST(:block AS text) IS NULL OR block.name = :block)
        LIMIT :most""",
}


def _located(asked: str) -> str:
    return f"""
        SELECT file.id AS file_id, file.lfn, file.size_bytes, file.adler32, present.*
        FROM ({asked}) AS file LEFT JOIN LATERAL (
            SELECT site.id AS site_id, site.name AS site, site.storage_type, site.id IN {READABLE} AS is_readable,
                   {standing("file.id", "site")} AS standing
            FROM block_replicas AS replica JOIN sites AS site ON site.id = replica.site_id
            {listed_join("file.id", "replica", "listed")}
            WHERE replica.block_id = file.block_id AND {is_present_by_join("replica", "listed")}) AS present ON true"""


def locate(
    database: Database,
    lfns: Sequence[str] = (),
    *,
    dataset: str | None = None,
    protocols: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """One record a file, by LFN: lfn, size_bytes, adler32, copies. Each copy: site, storage_type, standing
    (``copies.Standing``), is_readable (by status and downtime, now), protocol, pfn (null: none of the protocols serves
    the site). Copies that can be read come first, of these good ones, of these disk.

    ``lfns``, or all files of ``dataset`` (``dataset#block``: of that block). ``protocols``: the first that a site has
    is taken; none: as Dynamo itself reads. Raises InventoryError for an LFN or a dataset that is not known, and for
    more than ``MOST_FILES``.
    """
    with database.begin() as connection:
        located = _of_dataset(connection, dataset) if dataset is not None else _of_names(connection, lfns)
        endpoints = read_endpoints(connection)
    files: dict[str, dict[str, Any]] = {}
    for row in located:
        file = files.setdefault(
            row["lfn"],
            {"lfn": row["lfn"], "size_bytes": row["size_bytes"], "adler32": row["adler32"], "copies": []},
        )
        if row["site_id"] is not None:
            served = endpoints.get(row["site_id"], {})
            file["copies"].append(_copy(row, served, protocols or PROTOCOLS.own))
    for file in files.values():
        file["copies"].sort(key=_preference)
    return [files[lfn] for lfn in sorted(files)]


def _of_names(connection: Connection, lfns: Sequence[str]) -> list[Mapping[str, Any]]:
    if len(lfns) > MOST_FILES:
        raise _too_many(f"{len(lfns):,} LFNs")
    located = list(connection.execute(text(_located(_ASKED["lfns"])), {"lfns": list(dict.fromkeys(lfns))}).mappings())
    known = {row["lfn"] for row in located}
    unknown = [lfn for lfn in lfns if lfn not in known]
    if unknown:
        raise UnknownNameError(
            f"there is no file {unknown[0]!r}" + (f", nor {len(unknown) - 1:,} more of them" if unknown[1:] else ""),
            lfns=unknown,
        )
    return located  # type: ignore[return-value]


def _of_dataset(connection: Connection, dataset: str) -> list[Mapping[str, Any]]:
    name, _, block = dataset.partition("#")
    params = {"dataset": find_dataset(connection, name), "block": block or None}
    if block:
        _check_block(connection, name, params)
    located = list(connection.execute(text(_located(_ASKED["dataset"])), {**params, "most": MOST_FILES + 1}).mappings())
    if len({row["file_id"] for row in located}) > MOST_FILES:
        raise _too_many(dataset)
    return located  # type: ignore[return-value]


def _check_block(connection: Connection, dataset: str, params: Mapping[str, Any]) -> None:
    is_there = "SELECT EXISTS (SELECT FROM blocks WHERE dataset_id = :dataset AND name = :block)"
    if not connection.execute(text(is_there), params).scalar():
        names = connection.execute(text("SELECT name FROM blocks WHERE dataset_id = :dataset LIMIT 2000"), params)
        raise UnknownNameError(
            f"{dataset}: there is no block {params['block']!r}.{near(params['block'], names.scalars())}",
            block=params["block"],
        )


def _too_many(what: str) -> InventoryError:
    return InventoryError(f"{what}: at most {MOST_FILES:,} files are located at once; ask block by block")


def _copy(row: Mapping[str, Any], served: Mapping[str, Endpoint], protocols: Sequence[str]) -> dict[str, Any]:
    protocol = next((name for name in protocols if name in served), None)
    return {
        "site": row["site"],
        "storage_type": row["storage_type"],
        "standing": row["standing"],
        "is_readable": row["is_readable"],
        "protocol": protocol,
        "pfn": _pfn(served[protocol], row["lfn"]) if protocol is not None else None,
    }


def _pfn(endpoint: Endpoint, lfn: str) -> str | None:
    """Null where the site's mapping has no place for the file: it is not readable there, and others may be."""
    try:
        return endpoint.pfn(lfn)
    except InventoryError:
        return None


def _preference(copy: Mapping[str, Any]) -> tuple[bool, int, bool, str]:
    order = [Standing.GOOD, Standing.DISTANT, Standing.DOOMED, Standing.DOUBTFUL]
    is_tape = copy["storage_type"] == StorageType.MSS
    return not copy["is_readable"], order.index(copy["standing"]), is_tape, copy["site"]
