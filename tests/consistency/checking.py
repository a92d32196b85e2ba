"""Whole checks of a site of the pocket grid, for the tests of this room."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from dynamo_ops.consistency.freshness import ALL_MERGED, MetadataSources
from dynamo_ops.consistency.matching.file_list import FileList, open_list
from dynamo_ops.consistency.matching.key import POLARS_KEY, KeyFunction
from dynamo_ops.consistency.matching.writer import ListWriter
from dynamo_ops.consistency.repair import RepairSummary, repair
from dynamo_ops.consistency.settings import SiteRules, UnmanagedArea
from dynamo_ops.consistency.tasks import CompareSummary, compare_lists, list_inventory, list_storage, start_check
from tests.world import World

RULES = SiteRules(
    max_missing=10, max_orphan=10, unmanaged=(UnmanagedArea(prefix="/store/unmerged", max_age=timedelta(days=7)),)
)
LONG_AGO = time.time() - 40 * 86400


def check(
    world: World,
    run: str,
    folder: Path,
    rules: SiteRules = RULES,
    site: str = "T2_A",
    sources: MetadataSources = ALL_MERGED,
) -> CompareSummary:
    check_id = start_check(world.inventory.db, run, site, folder / run)
    list_inventory(world.inventory.db, check_id)
    list_storage(world.inventory.db, check_id, world.open_storage, rules)
    return compare_lists(world.inventory.db, check_id, rules, sources)


def check_twice(world: World, folder: Path, rules: SiteRules = RULES) -> CompareSummary:
    """The second check: what the first saw for the first time is found."""
    check(world, "the week before", folder, rules)
    return check(world, "this week", folder, rules)


def mend(world: World, summary: CompareSummary, **options: Any) -> RepairSummary:
    return repair(world.inventory.db, summary.check_id, world.open_storage, SiteRules(**options))


def plant(world: World, lfn: str, data: bytes = b"loose") -> Path:
    world.pocket.put("T2_A", lfn, data)
    path = world.pocket.path("T2_A", lfn)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def findings(world: World, check_id: int) -> dict[str, str]:
    return dict(
        world.inventory.rows(
            "SELECT lfn, kind || '/' || state FROM consistency_findings WHERE check_id = :c", c=check_id
        )
    )


def broken(world: World, site: str, lfn: str, data: bytes) -> None:
    path = world.pocket.path(site, lfn)
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))


def written_list(
    path: Path, schema: dict[str, Any], lines: Sequence[Any], key: KeyFunction = POLARS_KEY, a_frame: int = 1000
) -> FileList:
    """A list on disk, written some lines at a time."""
    with ListWriter(path, schema, key) as writer:
        for begin in range(0, len(lines), a_frame):
            writer.write(pl.DataFrame(lines[begin : begin + a_frame], schema=schema, orient="row"))
    return open_list(path)
