"""The steps of a metadata synchronisation: pull sites, datasets and details into staging, then merge what may pass."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import polars as pl

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import Settings, SiteStatusSettings, SourceSettings
from dynamo_ops.base.text import counts_text, near
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue import merge as merging
from dynamo_ops.inventory.freshness import refuse_future
from dynamo_ops.inventory.replica import usage
from dynamo_ops.inventory.site.status import merge_sites
from dynamo_ops.inventory.staging import pull as staging
from dynamo_ops.inventory.staging.faults import to_be_listed
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.sources.loader import metadata_source, site_source
from dynamo_ops.sources.source import Details, MetadataSource

log = logging.getLogger(__name__)

TELL_EVERY_S = 30
STANDING = ("damped", "overridden", "left_out", "num_set_aside")
"""Counts of a merge that say how things are, not what it changed."""
PAGES_AT_MOST = 400
"""Of all sources together. A page is a mapped task: Airflow takes 1,024 of them, and each costs it a second."""


def pull_sites(db: Database, settings: Settings, run_key: str, source: str) -> int:
    """Stage all sites of ``source``; returns their number."""
    look(db, PauseKind.METADATA)
    sites = site_source(named(settings.site_sources, source), settings.tls).sites()
    staging.stage_sites(db, run_key, source, sites)
    log.info("%s: %d sites staged", source, sites.height)
    return sites.height


def pull_datasets(
    db: Database,
    settings: Settings,
    run_key: str,
    source: str,
    start: datetime,
    end: datetime,
    *,
    full: bool = False,
    page_size: int = 50,
) -> list[int]:
    """Stage the datasets that ``source`` changed in the run's interval (``full``: all); returns the pages to pull.

    ``page_size``: datasets a page, more when there would be too many pages. Raises InventoryError for an interval that
    ends in the future.
    """
    look(db, PauseKind.METADATA)
    refuse_future(db, end, "the interval of the run ends at")
    metadata = metadata_source(named(settings.metadata_sources, source), settings.tls)
    since, until = staging.interval_to_pull(db, source, start, end, full)
    return staging.stage_datasets(
        db,
        run_key,
        source,
        _listed(db, metadata, source, since, until),
        getattr(metadata, "datasets_per_page", page_size),
        max_pages=max(1, PAGES_AT_MOST // max(1, len(settings.metadata_sources))),
        since=since,
        num_source_datasets=metadata.count_datasets(),
    )


def _listed(
    db: Database, metadata: MetadataSource, source: str, since: datetime | None, until: datetime
) -> pl.DataFrame:
    """The datasets that changed; with them those that are set aside for their own record, however old it is: a source
    may mend it without changing its time, so all are asked for."""
    changed = metadata.datasets(since, until)
    wanted = [] if since is None else to_be_listed(db, source)
    if not wanted:
        return changed
    listed = metadata.datasets(None, until).filter(pl.col("dataset").is_in(wanted))
    return pl.concat([changed, listed.join(changed, on="dataset", how="anti")], how="diagonal")


def pull_details(db: Database, settings: Settings, run_key: str, source: str, page: int) -> dict[str, int]:
    """Stage the blocks and files of one page of datasets; returns how many there are of each."""
    look(db, PauseKind.METADATA)
    datasets = staging.staged_datasets(db, run_key, source, page)
    parts = metadata_source(named(settings.metadata_sources, source), settings.tls).details(datasets)
    details = _with_progress(parts, f"{source}, page {page} ({len(datasets):,} datasets)")
    num_blocks, num_files = staging.stage_details(db, run_key, source, page, details)
    return {"datasets": len(datasets), "blocks": num_blocks, "files": num_files}


def _with_progress(parts: Iterable[Details], label: str) -> Iterator[Details]:
    """The parts as they are; the log says now and then how far it is."""
    started = logged_at = time.monotonic()
    num_datasets = num_blocks = num_files = 0

    def log_progress() -> None:
        rate = num_files / max(time.monotonic() - started, 1e-6)
        log.info(
            "%s: %s datasets, %s blocks, %s files so far, %s files/s",
            label,
            *(f"{number:,.0f}" for number in (num_datasets, num_blocks, num_files, rate)),
        )

    for part in parts:
        num_datasets += part.blocks["dataset"].n_unique()
        num_blocks, num_files = num_blocks + part.blocks.height, num_files + part.files.height
        yield part
        if time.monotonic() - logged_at > TELL_EVERY_S:
            logged_at = time.monotonic()
            log_progress()
    log_progress()


def merge(
    db: Database,
    run_key: str,
    sources: Sequence[str],
    site_sources: Sequence[str],
    until: datetime,
    *,
    stable_h: float = SiteStatusSettings().stable_h,
    every: timedelta = timedelta(0),
) -> dict[str, object]:
    """Merge what the run staged of these sources, sites first; returns the summaries by source.

    ``is_changed``: anything at all is different now; without it those who wait for metadata still have to be told, for
    the time up to which it is known moved on.
    ``stable_h``: the patience with the status of sites (``site_status.stable_h`` of the settings). ``every``: the time
    between two runs. Raises InventoryError for what no gate accepted; sources merged before it stay merged.
    The staged rows stay, so that a merge which was killed can be run again; housekeeping removes those of old runs.
    """
    look(db, PauseKind.METADATA)
    sites = {
        source: asdict(merge_sites(db, run_key, source, stable_h=stable_h, every=every)) for source in site_sources
    }
    metadata = {source: asdict(merging.merge_metadata(db, run_key, source, until)) for source in sources}
    usage.fold(db)
    merged = [*sites.items(), *metadata.items()]
    for source, counts in merged:
        log.info("merged %s: %s", source, counts_text(counts))
    is_changed = any(number for _, counts in merged for name, number in counts.items() if name not in STANDING)
    return {"is_changed": is_changed, "sites": sites, "metadata": metadata}


def named(sources: Sequence[SourceSettings], name: str) -> SourceSettings:
    """The source of that name. Raises SettingsError with near names."""
    for source in sources:
        if source.name == name:
            return source
    names = [source.name for source in sources]
    raise SettingsError(
        f"no source named {name!r} in the settings; there are {', '.join(names) or 'none'}.{near(name, names)}",
        file="",
        key=name,
        reason="unknown source",
    )
