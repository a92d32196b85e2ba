"""What a site, a storage, a dataset, a row of the catalogue or a pull can be. No table of moves: sources say it.

What moves by rules of ours (subscriptions, transfers, deletions, batches) is in ``states``.
"""

from __future__ import annotations

from enum import StrEnum

from dynamo_ops.database.words import Words


class SiteStatus(StrEnum):
    """Whether Dynamo may use a site. ``morgue``: for reading only. ``unknown``: no source lists it any more."""

    READY = "ready"
    WAITROOM = "waitroom"
    MORGUE = "morgue"
    UNKNOWN = "unknown"


class StorageType(StrEnum):
    """What a site keeps its files on. ``mss``: tape, whose files are staged before they can be read."""

    DISK = "disk"
    MSS = "mss"
    BUFFER = "buffer"
    UNKNOWN = "unknown"


class DatasetStatus(StrEnum):
    """What the metadata source says of a dataset. ``production``: still being written."""

    UNKNOWN = "unknown"
    DELETED = "deleted"
    DEPRECATED = "deprecated"
    INVALID = "invalid"
    PRODUCTION = "production"
    VALID = "valid"
    IGNORED = "ignored"


class OwnershipLevel(StrEnum):
    """What a group owns: whole dataset replicas, or single block replicas."""

    DATASET = "dataset"
    BLOCK = "block"


class CatalogueKind(StrEnum):
    """What a name of the catalogue stands for: of what was declared invalid, and of what has vanished."""

    DATASET = "dataset"
    BLOCK = "block"
    FILE = "file"


class PullKind(StrEnum):
    """What was asked of a source."""

    METADATA = "metadata"
    SITES = "sites"
    ACCESSES = "accesses"
    DEMAND = "demand"


class FaultStage(StrEnum):
    """What saw a bad record of a dataset: the reading of the list of datasets, that of their details, or the gate."""

    LISTING = "listing"
    DETAILS = "details"
    GATE = "gate"


READABLE_STATUSES = Words((SiteStatus.READY, SiteStatus.MORGUE))
USABLE_DATASETS = Words((DatasetStatus.VALID, DatasetStatus.PRODUCTION))
LOST_DATASETS = Words((DatasetStatus.INVALID, DatasetStatus.DELETED))
USE_KINDS = Words((PullKind.ACCESSES, PullKind.DEMAND))
