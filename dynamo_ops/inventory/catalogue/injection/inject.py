"""Telling the inventory what there is and where, from a document: all of it, or nothing.

For the first filling of an inventory, and for production systems that hand over what they have written. A document adds
and changes; what it does not name stays as it is, and of what is at a site nothing is taken away. It is not a source:
what a metadata source tells of the same things later counts as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.inventory.catalogue.faults import Faults
from dynamo_ops.inventory.catalogue.injection import checks as checks
from dynamo_ops.inventory.catalogue.injection import writes as writes
from dynamo_ops.inventory.catalogue.injection.document import Injected, read_document
from dynamo_ops.inventory.catalogue.injection.writes import Count
from dynamo_ops.inventory.properties import with_properties


@dataclass(frozen=True)
class InjectionSummary:
    """What was written (in a dry run: would be), by kind. ``new_bytes``: of new files. ``replica_bytes``: bytes on disk
    of the block replicas that are new or changed. A known block replica changes when files are added, or its owner.

    ``replicas_made_incomplete``: complete block replicas whose block gained files that they do not have.
    ``replicas_grown``: new, empty block replicas of new blocks, at sites with a growing replica of the dataset.
    """

    sites: Count
    groups: Count
    quotas: Count
    datasets: Count
    blocks: Count
    files: Count
    dataset_replicas: Count
    block_replicas: Count
    new_bytes: int
    replica_bytes: int
    replicas_made_incomplete: int
    replicas_grown: int

    @property
    def is_nothing(self) -> bool:
        """The inventory is as the document says already."""
        return not any(count.written for count in self.counts().values())

    def counts(self) -> dict[str, Count]:
        """By kind, in the order of the document."""
        return {name: count for name, count in vars(self).items() if isinstance(count, Count)}

    def document(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return {**vars(self), **{name: count._asdict() for name, count in self.counts().items()}}


def inject(
    db: Database,
    document: object,
    *,
    dry_run: bool = False,
    partitions: Collection[str] | None = None,
    by: Person,
    tell: Callable[[str], None] | None = None,
) -> InjectionSummary:
    """Write ``document`` (JSON, parsed) into the inventory in one transaction; the same again changes nothing.

    Raises InventoryError when anything in it is wrong or unknown: each fault by its path in the document, up to
    ``MAX_FAULTS`` of them, unknown names with near ones. Rules for datasets, blocks and files are those of the metadata
    gate; what was declared invalid is refused, and replicas that are being deleted. ``partitions``: those that quotas
    may be set for (None: any). Raises AccessError, too. ``tell`` is called with what is done next. A dry
    run does the same and takes it back.
    """
    say = tell or _say_nothing
    say("checking the document")
    injected = read_document(document)
    del document
    what = f"{injected.datasets.height:,} datasets, {injected.blocks.height:,} blocks, {injected.files.height:,} files"
    with acting(db, by, Action.INJECT, what) as act:
        act.check(_target(injected))
        act.is_dry_run = dry_run
        connection = act.connection
        hold(connection, Lock.INVENTORY)
        connection.execute(text("SET LOCAL work_mem = '128MB'"))
        say(f"uploading {injected.files.height:,} files in {injected.blocks.height:,} blocks")
        _upload(connection, injected)
        say("checking against the inventory")
        faults = Faults()
        checks.check_catalogue(connection, faults)
        say("writing")
        summary = _write(connection, faults, partitions, by.name)
        faults.refuse("injection")
        connection.execute(text(f"DROP TABLE {', '.join((*TABLES, *writes.TABLES))}"))
    return summary


def _target(injected: Injected) -> Target:
    """The datasets and sites that the document names, also to say only where they are, or something of a site itself;
    what it says of groups and quotas is for all."""
    is_for_all = injected.groups.height or injected.quotas.height
    blocks = injected.copies["name"].str.split("#").list.first()
    datasets = {*injected.datasets["name"], *injected.replicas["dataset"], *blocks}
    sites = {*injected.sites["name"], *injected.replicas["site"]}
    return Target(datasets=() if is_for_all else tuple(sorted(datasets)), sites=tuple(sorted(sites)))


def _write(connection: Connection, faults: Faults, partitions: Collection[str] | None, by: str) -> InjectionSummary:
    """Sites, datasets and all below go in even if there are faults: what else is wrong is found out against them."""
    sites = writes.write_sites(connection)
    groups = writes.write_groups(connection)
    catalogue = writes.write_catalogue(connection)
    checks.check_replicas(connection, faults)
    checks.check_quotas(connection, faults, partitions)
    faults.refuse("injection")
    quotas = writes.write_quotas(connection, by)
    dataset_replicas = writes.write_dataset_replicas(connection)
    block_replicas, replica_bytes = writes.write_block_replicas(connection)
    return InjectionSummary(
        sites,
        groups,
        quotas,
        catalogue.datasets,
        catalogue.blocks,
        catalogue.files,
        dataset_replicas,
        block_replicas,
        catalogue.new_bytes,
        replica_bytes,
        catalogue.replicas_made_incomplete,
        catalogue.replicas_grown,
    )


def _say_nothing(_: str) -> None:
    pass


TABLES = (
    "injected_sites",
    "injected_endpoints",
    "injected_groups",
    "injected_quotas",
    "injected_datasets",
    "injected_blocks",
    "injected_files",
    "injected_replicas",
    "injected_copies",
    "injected_copy_files",
)


def _upload(connection: Connection, injected: Injected) -> None:
    """The document as temporary tables, with its frames' columns; ids of what is known already beside them."""
    names = pl.col("name").str.splitn("#", 2).struct
    copies = injected.copies.with_columns(dataset=names.field("field_0"), block=names.field("field_1"))
    has_endpoints = pl.col("row").is_in(injected.site_has_endpoints)
    frames = (
        injected.sites.with_columns(has_endpoints=has_endpoints),
        injected.endpoints,
        injected.groups,
        injected.quotas,
        with_properties(injected.datasets),
        injected.blocks,
        injected.files,
        injected.replicas,
        copies,
        injected.copy_files,
    )
    for table, frame in zip(TABLES, frames, strict=True):
        columns = ", ".join(f'"{name}" {KINDS[kind]}' for name, kind in frame.schema.items())
        connection.execute(text(f"CREATE TEMPORARY TABLE {table} ({columns}) ON COMMIT DROP"))
        insert_frame(connection, table, frame)
        connection.execute(text(f"ANALYZE {table}"))
    writes.identify(connection)


KINDS: dict[Any, str] = {
    pl.Int64: "bigint",
    pl.String: "text",
    pl.Boolean: "boolean",
    pl.Datetime("us", "UTC"): "timestamptz",
}
