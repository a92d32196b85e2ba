"""Datasets of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.lists import Listed
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.query.contents import FILES, ContentFilter, files_by_name
from dynamo_ops.query.dataset import DATASETS, DatasetFilter
from dynamo_ops.query.dataset_card import dataset_card
from dynamo_ops.query.locate import locate
from dynamo_ops.query.replica import BLOCK_REPLICAS, DATASET_REPLICAS, ReplicaFilter


def found(
    names: Sequence[str],
    *,
    statuses: Sequence[str],
    releases: Sequence[str],
    sites: Sequence[str],
    groups: Sequence[str],
    is_open: bool | None,
    larger: int | None,
    since: str | None,
) -> Listed:
    """Datasets by name. ``larger``: bytes."""
    asked = DatasetFilter(names, statuses, releases, sites, groups, is_open, larger, since)
    return Here(database(), DATASETS, asked)


def card(name: str) -> Record:
    """All about one."""
    return asdict(dataset_card(database(), name))


def replicas(dataset: str, block: str, *, sites: Sequence[str], groups: Sequence[str], complete: bool | None) -> Listed:
    """Where it is; of a ``block`` of it, if that is given."""
    asked = ReplicaFilter([dataset], [block] if block else [], sites, groups, complete)
    return Here(database(), BLOCK_REPLICAS if block else DATASET_REPLICAS, asked)


def files(dataset: str, block: str, *, lfns: Sequence[str]) -> Listed:
    """Its files; of a ``block`` of it, if that is given."""
    return Here(database(), FILES, ContentFilter(dataset, [block] if block else [], lfns))


def is_file(name: str) -> bool:
    """Whether there is a file of this very name."""
    return bool(files_by_name(database(), [name]))


def located(lfns: Sequence[str], dataset: str | None, *, protocols: Sequence[str]) -> Records:
    """Files with sites and PFNs: those named, or those of a dataset (``dataset#block``)."""
    return locate(database(), list(lfns), dataset=dataset, protocols=protocols)
