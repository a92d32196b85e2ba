"""What a source tells, in short: frames of datasets, blocks, files and sites, and their way through staging."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.merge import MergeSummary, merge_metadata
from dynamo_ops.inventory.site.status import SiteSummary, merge_sites
from dynamo_ops.inventory.staging import pull as staging
from dynamo_ops.sources.source import BLOCKS, DATASETS, FAULTS, FILES, SITES

T0 = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2026, 2, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 2, tzinfo=UTC)
RUN = "scheduled__2026-02-01T00:00:00+00:00"

Row = dict[str, Any]


def dataset(name: str = "/A/B-v1/C", **changes: Any) -> Row:
    return {
        "dataset": name,
        "status": "valid",
        "is_open": False,
        "software_release": "SW_1",
        "last_update_at": T0,
        **changes,
    }


def block(name: str = "b1", of: str = "/A/B-v1/C", **changes: Any) -> Row:
    return {
        "dataset": of,
        "block": name,
        "is_open": False,
        "size_bytes": None,
        "num_files": None,
        "last_update_at": T0,
        **changes,
    }


def file(lfn: str, of: str = "/A/B-v1/C", in_block: str = "b1", **changes: Any) -> Row:
    return {
        "dataset": of,
        "block": in_block,
        "lfn": lfn,
        "size_bytes": 10,
        "adler32": "0000000a",
        "is_valid": True,
        **changes,
    }


def site(name: str, status: str = "ready", storage_type: str = "disk", prefix: str | None = "davs://host/") -> Row:
    endpoints = [] if prefix is None else [{"protocol": "davs", "prefix": prefix}]
    return {"site": name, "storage_type": storage_type, "status": status, "endpoints": json.dumps(endpoints)}


def stage(
    db: Database,
    datasets: Sequence[Row],
    blocks: Sequence[Row] = (),
    files: Sequence[Row] = (),
    *,
    run_key: str = RUN,
    since: datetime | None = None,
    count: int | None = None,
    source: str = "dbs",
    bad: Mapping[str, str] | None = None,
    bad_records: Mapping[str, str] | None = None,
) -> None:
    """Stage one pull, all details in one page; sizes and numbers of blocks follow their files unless they are given.

    ``bad``: datasets of which a block or file cannot be read, and why; ``bad_records``: whose own record cannot.
    """
    listed = pl.DataFrame(list(datasets), schema=dict(DATASETS))
    staging.stage_datasets(
        db,
        run_key,
        source,
        pl.concat([listed, _faults(bad_records)], how="diagonal") if bad_records else listed,
        1000,
        since=since,
        num_source_datasets=len(datasets) if count is None else count,
    )
    summed = [{**each, **_sums(each, files)} for each in blocks]
    part = (pl.DataFrame(summed, schema=dict(BLOCKS)), pl.DataFrame(list(files), schema=dict(FILES)))
    staging.stage_details(db, run_key, source, 0, [(*part, _faults(bad))])


def _faults(bad: Mapping[str, str] | None) -> pl.DataFrame:
    return pl.DataFrame(list((bad or {}).items()), schema=dict(FAULTS), orient="row")


def _sums(each: Row, files: Sequence[Row]) -> Row:
    mine = [one for one in files if (one["dataset"], one["block"]) == (each["dataset"], each["block"])]
    size = sum(one["size_bytes"] for one in mine if one["size_bytes"] is not None)
    return {
        "size_bytes": size if each["size_bytes"] is None else each["size_bytes"],
        "num_files": len(mine) if each["num_files"] is None else each["num_files"],
    }


def merge(
    db: Database,
    *told: Sequence[Row],
    run_key: str = RUN,
    since: datetime | None = None,
    until: datetime = UNTIL,
    source: str = "dbs",
    bad: Mapping[str, str] | None = None,
    bad_records: Mapping[str, str] | None = None,
) -> MergeSummary:
    stage(db, *told, run_key=run_key, since=since, source=source, bad=bad, bad_records=bad_records)
    accept(db, run_key, source)
    return merge_metadata(db, run_key, source, until)


def stage_sites(db: Database, *sites: Row, run_key: str = RUN, source: str = "cric") -> None:
    staging.stage_sites(db, run_key, source, pl.DataFrame(list(sites), schema=dict(SITES)))


def sync_sites(db: Database, *sites: Row, run_key: str = RUN, source: str = "cric", stable_h: float = 0) -> SiteSummary:
    stage_sites(db, *sites, run_key=run_key, source=source)
    accept(db, run_key, source, "sites")
    return merge_sites(db, run_key, source, stable_h=stable_h)


def accept(db: Database, run_key: str = RUN, source: str = "dbs", kind: str = "metadata") -> None:
    """As a gate that lets in what is staged, whatever it is."""
    staged = staging.staged_now(db, run_key, source, kind)
    with db.begin() as connection:
        staging.note_judgement(connection, run_key, staged, is_accepted=True)
