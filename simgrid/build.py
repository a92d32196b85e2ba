"""Building a grid's directory: real bytes at the sites, the catalogue, and the placement document `replicas.json`.

<dir>/catalogue.json         what exists and where it was placed
<dir>/replicas.json          the placement as an experiment's production system would hand it over
<dir>/sites/<site>/store/... the storage; the file of LFN /store/x lies at sites/<site>/store/x
<dir>/state, tls, mail, uploads, simgrid.json   made by the running grid
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simgrid.catalogue import Catalogue
from simgrid.population import file_bytes, populate
from simgrid.scenario import Scenario

OURS = ("catalogue.json", "replicas.json", "simgrid.json", "sites", "state", "tls", "mail", "uploads")


def build(scenario: Scenario, directory: Path, fresh: bool = False) -> Catalogue:
    """The catalogue of the grid in `directory`, built there first if it is new or `fresh` is asked.

    An existing grid is otherwise left as it is, with all that happened to its storage since. `fresh` removes what
    grids make (OURS) and nothing else.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if fresh:
        _wipe(directory)
    saved = directory / "catalogue.json"
    if saved.exists():
        return Catalogue.load(saved)
    catalogue = populate(scenario, scenario.built_at or datetime.now(UTC))
    _write_storage(scenario, catalogue, directory)
    document = placement_document(scenario, catalogue)
    (directory / "replicas.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    catalogue.save(saved)
    return catalogue


def site_root(directory: Path, site: str) -> Path:
    return directory / "sites" / site


def placement_document(scenario: Scenario, catalogue: Catalogue) -> dict[str, Any]:
    """Groups, quotas and dataset replicas, the shape described in docs of `replicas.json`."""
    quotas = []
    for quota in scenario.quotas:
        size = quota.quota_bytes
        if quota.fill is not None:
            size = round(catalogue.placed_bytes(quota.site, quota.partition) / quota.fill)
        quotas.append({"site": quota.site, "partition": quota.partition, "quota_bytes": size})
    replicas = [
        {"dataset": r.dataset, "site": r.site, "group": r.group, "growing": r.growing, "blocks": r.blocks}
        for r in catalogue.replicas
    ]
    return {"groups": [group.model_dump() for group in scenario.groups], "quotas": quotas, "dataset_replicas": replicas}


def _wipe(directory: Path) -> None:
    for name in OURS:
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _write_storage(scenario: Scenario, catalogue: Catalogue, directory: Path) -> None:
    """Write every placed file once a site, except the planted missing ones; add the orphans."""
    missing = set(catalogue.missing)
    sites_of_block: dict[str, list[str]] = defaultdict(list)
    for replica in catalogue.replicas:
        for name in replica.blocks:
            sites_of_block[name].append(replica.site)
    for site in scenario.sites:
        site_root(directory, site.name).mkdir(parents=True, exist_ok=True)
    for dataset in catalogue.datasets:
        for block in dataset.blocks:
            for file in block.files:
                content = file_bytes(scenario.seed, file.lfn, file.size)
                for name in sites_of_block[block.name]:
                    if (name, file.lfn) not in missing:
                        _write(site_root(directory, name), file.lfn, content, block.modified_at)
    for number, (name, lfn) in enumerate(catalogue.orphans):
        size = 3000 + 100 * number
        _write(site_root(directory, name), lfn, file_bytes(scenario.seed, lfn, size), catalogue.built_at - 30 * 86400)


def _write(root: Path, lfn: str, content: bytes, modified_at: int) -> None:
    path = f"{root}{lfn}"
    try:
        handle = open(path, "wb")  # noqa: SIM115  thousands of calls: the parent is there in nearly all of them
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle = open(path, "wb")  # noqa: SIM115
    with handle:
        handle.write(content)
    os.utime(path, (modified_at, modified_at))
