"""The steps of a metadata synchronisation: pull sites, datasets and details into staging, then merge what may pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from difflib import get_close_matches

from dynamo_ops.errors import SettingsError
from dynamo_ops.inventory import merge as merging
from dynamo_ops.inventory import staging
from dynamo_ops.inventory.database import Database
from dynamo_ops.settings import Settings, SourceSettings
from dynamo_ops.sources.loader import metadata_source, site_source


def pull_sites(db: Database, settings: Settings, run_key: str, source: str) -> int:
    """Stage all sites of ``source``; returns their number."""
    sites = site_source(named(settings.site_sources, source), settings.tls).sites()
    staging.stage_sites(db, run_key, source, sites)
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
    """Stage the datasets that ``source`` changed in the run's interval (``full``: all); returns the pages to pull."""
    metadata = metadata_source(named(settings.metadata_sources, source), settings.tls)
    since, until = staging.interval_to_pull(db, source, start, end, full)
    return staging.stage_datasets(
        db,
        run_key,
        source,
        metadata.datasets(since, until),
        page_size,
        since=since,
        num_source_datasets=metadata.count_datasets(),
    )


def pull_details(db: Database, settings: Settings, run_key: str, source: str, page: int) -> dict[str, int]:
    """Stage the blocks and files of one page of datasets; returns how many there are of each."""
    datasets = staging.staged_datasets(db, run_key, source, page)
    parts = metadata_source(named(settings.metadata_sources, source), settings.tls).details(datasets)
    num_blocks, num_files = staging.stage_details(db, run_key, source, page, parts)
    return {"datasets": len(datasets), "blocks": num_blocks, "files": num_files}


def merge(
    db: Database, run_key: str, sources: Sequence[str], site_sources: Sequence[str], until: datetime
) -> dict[str, object]:
    """Merge what the run staged of these sources, sites first; returns the summaries by source.

    The staged rows stay, so that a merge which was killed can be run again; housekeeping removes those of old runs.
    """
    return {
        "sites": {source: asdict(merging.merge_sites(db, run_key, source)) for source in site_sources},
        "metadata": {source: asdict(merging.merge_metadata(db, run_key, source, until)) for source in sources},
    }


def named(sources: Sequence[SourceSettings], name: str) -> SourceSettings:
    """The source of that name. Raises SettingsError with near names."""
    for source in sources:
        if source.name == name:
            return source
    names = [source.name for source in sources]
    near = ", ".join(get_close_matches(name, names, cutoff=0.4) or names) or "none"
    raise SettingsError(
        f"no source named {name!r} in the settings; near: {near}", file="", key=name, reason="unknown source"
    )
