"""Attributes that follow from the inventory's own tables: releases, and what copy requests ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

import polars as pl

from dynamo_ops.database.reading import Snapshot
from dynamo_ops.database.schema.request import COPY_REQUESTS, NEW_REQUESTS, OPEN_REQUESTS
from dynamo_ops.inventory.kinds import USABLE_DATASETS, StorageType
from dynamo_ops.popularity.attributes import Produced

RELEASE = re.compile(r"(?P<software>[A-Za-z]*)[_-]?(?P<version>[0-9]+(?:[._][0-9]+)*)(?:[._]patch(?P<patch>[0-9]+))?")
"""``SW_15_0_1`` and ``SW_15_0_1_patch2``; what has another ending (``_pre3``) is no production release."""


def latest_releases(releases: Iterable[str]) -> frozenset[str]:
    """Of each software the production releases with the highest version; what is no such release is left out."""
    newest: dict[str, tuple[tuple[int, ...], set[str]]] = {}
    for name in releases:
        match = RELEASE.fullmatch(name)
        if not match:
            continue
        version = (*map(int, re.split(r"[._]", match["version"])), int(match["patch"] or 0))
        highest, names = newest.get(match["software"], (version, set()))
        if version >= highest:
            newest[match["software"]] = (version, names | {name} if version == highest else {name})
    return frozenset(name for _, names in newest.values() for name in names)


class CatalogueProducer:
    """Produces latest_production_release, tape_copy_requested and unhandled_copy_exists: 1 where true, else no row."""

    name = "catalogue"
    attributes = ("latest_production_release", "tape_copy_requested", "unhandled_copy_exists")

    def produce(self, snapshot: Snapshot) -> Produced:
        """The attributes as of now. A request names a tape site by its name or by a glob."""
        datasets, requests = snapshot.frame(_RELEASES), snapshot.frame(_REQUESTS)
        tape = snapshot.frame(f"SELECT name FROM sites WHERE storage_type = '{StorageType.MSS}'")["name"].to_list()
        latest = latest_releases(datasets["software_release"].unique().to_list())
        to_tape = requests.filter(pl.Series([_names_one(sites, tape) for sites in requests["sites"]], dtype=pl.Boolean))
        return Produced(
            snapshot.frame("SELECT now() AS now")["now"].item(),
            {
                "latest_production_release": _true(datasets.filter(pl.col("software_release").is_in(list(latest)))),
                "tape_copy_requested": _true(to_tape),
                "unhandled_copy_exists": _true(requests.filter("is_new")),
            },
        )


def _names_one(patterns: Iterable[str], sites: Iterable[str]) -> bool:
    return any(fnmatchcase(site, pattern) for pattern in patterns for site in sites)


def _true(datasets: pl.DataFrame) -> pl.DataFrame:
    return datasets.select(pl.col("dataset_id").unique(), value=pl.lit(1.0))


_RELEASES = f"""
    SELECT id AS dataset_id, software_release FROM datasets
    WHERE software_release IS NOT NULL AND status IN {USABLE_DATASETS}"""

_REQUESTS = f"""
    SELECT DISTINCT i.dataset_id, r.sites, r.{NEW_REQUESTS} AS is_new
    FROM requests r JOIN request_items i ON i.request_id = r.id
    WHERE r.{COPY_REQUESTS} AND r.{OPEN_REQUESTS}"""
