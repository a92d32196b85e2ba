"""The catalogue in the database: its datasets, what documents tell it, how much it knows in all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.document import read_document
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.lists import Listed
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.inventory.catalogue import aside as faulty
from dynamo_ops.inventory.catalogue import invalidation
from dynamo_ops.inventory.catalogue import vanished as gone
from dynamo_ops.inventory.catalogue.injection import inject as injection
from dynamo_ops.inventory.catalogue.undo import undo_invalidation
from dynamo_ops.inventory.doubt.declare import BadSummary, GoodSummary, call_good, declare_bad, report_suspicious
from dynamo_ops.inventory.doubt.settings import damage_settings
from dynamo_ops.inventory.replica import read
from dynamo_ops.policy.files import known_partitions
from dynamo_ops.query.contents import FILES, ContentFilter, files_by_name
from dynamo_ops.query.dataset import DATASETS, DatasetFilter
from dynamo_ops.query.dataset_card import dataset_card
from dynamo_ops.query.locate import locate
from dynamo_ops.query.movement.bad_replica import BAD_REPLICAS, BadReplicaFilter
from dynamo_ops.query.record.invalidation import INVALIDATIONS, InvalidationFilter
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


def inject(file: str, *, dry_run: bool, by: str | None, tell: Callable[[str], None]) -> Record:
    """All of what is in a file, or nothing. ``tell`` is called with what is done next."""
    db, partitions = database(), known_partitions(settings(), datetime.now(UTC))
    tell(f"reading {file}")
    # The document is handed on without a name, so that it can go when it has been read.
    summary = injection.inject(db, read_document(file), dry_run=dry_run, partitions=partitions, by=who(by), tell=tell)
    return summary.document()


def invalidate(
    document: object, *, reason: str, by: str | None, dry_run: bool = False, expected_files: int | None = None
) -> Record:
    """What it names leaves the inventory for good."""
    return invalidation.invalidate(
        database(), document, reason=reason, by=who(by), dry_run=dry_run, expected_files=expected_files
    ).document()


def undo(
    names: Sequence[str], *, reason: str, by: str | None, dry_run: bool = False, expected_names: int | None = None
) -> Record:
    """What was declared invalid by these names or globs may come in again."""
    keep = timedelta(days=damage_settings(settings()).undo_days)
    return undo_invalidation(
        database(), names, reason=reason, by=who(by), keep=keep, dry_run=dry_run, expected_names=expected_names
    ).document()


def call(state: str, site: str, lfns: Sequence[str], *, reason: str, by: str | None, dry_run: bool = False) -> Record:
    """The copies of these files at a site are ``bad``, ``suspicious`` or ``good``."""
    acts: dict[str, Callable[..., BadSummary | GoodSummary]]
    acts = {"bad": declare_bad, "suspicious": report_suspicious, "good": call_good}
    return acts[state](database(), site, lfns, reason=reason, by=who(by), dry_run=dry_run).document()


def called_bad(*, sites: Sequence[str], datasets: Sequence[str], lfns: Sequence[str], states: Sequence[str]) -> Listed:
    """Copies that are called bad or suspicious, newest first."""
    return Here(database(), BAD_REPLICAS, BadReplicaFilter(sites, datasets, lfns, states))


def invalidated(name: str | None, *, limit: int, fields: tuple[str, ...]) -> Records:
    """What was declared invalid, newest first. ``name``: or a glob."""
    return Here(database(), INVALIDATIONS, InvalidationFilter([name] if name else [])).rows(fields, limit)


def summary() -> Record:
    """How much there is, in all and by site."""
    return read.summary(database()).document


def vanished(kind: str | None, source: str | None) -> Records:
    """What sources do not tell any more, by kind, then name."""
    return gone.vanished(database(), kind, source).to_dicts()


def set_aside(source: str | None) -> Records:
    """Datasets of which a source told a bad record, the longest first."""
    return faulty.set_aside(database(), source).to_dicts()


def vanished_document(kind: str | None, source: str | None) -> Record:
    """The same as ``invalidate`` takes it."""
    return gone.vanished_document(database(), [kind] if kind else [], [source] if source else [])
