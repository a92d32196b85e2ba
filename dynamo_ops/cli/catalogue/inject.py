"""``dynamo inject``: telling the inventory what there is and where."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import polars as pl
import typer

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.cli.terminal.document import read_document
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson, By, DryRun, who
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.progress import steps
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.inventory.catalogue.injection import inject as injection
from dynamo_ops.policy.files import known_partitions

HEADINGS = {"kind": "", "new": "new", "changed": "changed", "unchanged": "unchanged"}


def inject(
    file: Annotated[str, typer.Argument(help="JSON document, or - for standard input.")],
    dry_run: DryRun = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Write sites, groups, quotas, datasets with blocks and files, and replicas of a JSON document into the inventory:
    all of it or nothing. With --dry-run everything is checked, and nothing changed."""
    with steps(quiet=as_json) as tell_step:
        summary = _inject(file, dry_run, by, tell_step)
    if as_json:
        print_json({**summary.document(), "dry_run": dry_run})
        return
    counts = [
        {"kind": name.replace("_", " "), **count._asdict()} for name, count in summary.counts().items() if any(count)
    ]
    schema = {name: pl.String if name == "kind" else pl.Int64 for name in HEADINGS}
    print_table(pl.DataFrame(counts, schema=schema), "Would be written" if dry_run else "Written", HEADINGS)
    say(f"new files: {size(summary.new_bytes)}; new or changed block replicas: {size(summary.replica_bytes)}")
    if summary.replicas_made_incomplete:
        say(f"{summary.replicas_made_incomplete:,} block replicas are incomplete: their blocks gained files")
    if summary.replicas_grown:
        say(f"{summary.replicas_grown:,} empty block replicas where datasets grow")
    if summary.is_nothing:
        say("the inventory says so already")


def _inject(file: str, dry_run: bool, by: str | None, tell_step: Callable[[str], None]) -> injection.InjectionSummary:
    db = database()
    partitions = known_partitions(settings(), datetime.now(UTC))
    tell_step(f"reading {file}")
    # The document is handed on without a name, so that it can go when it has been read.
    return injection.inject(db, read_document(file), dry_run=dry_run, partitions=partitions, by=who(by), tell=tell_step)
