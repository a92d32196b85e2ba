"""``dynamo inject``: telling the inventory what there is and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.cli.terminal.options import AsJson, By, DryRun
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.progress import steps
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import catalogue as documents
else:
    documents = Way("catalogue")

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
        summary = documents.inject(file, dry_run=dry_run, by=by, tell=tell_step)
    if as_json:
        print_json({**summary, "dry_run": dry_run})
        return
    counts = [
        {"kind": name.replace("_", " "), **count}
        for name, count in summary.items()
        if isinstance(count, dict) and any(count.values())
    ]
    print_table(counts, "Would be written" if dry_run else "Written", HEADINGS)
    say(f"new files: {size(summary['new_bytes'])}; new or changed block replicas: {size(summary['replica_bytes'])}")
    if summary["replicas_made_incomplete"]:
        say(f"{summary['replicas_made_incomplete']:,} block replicas are incomplete: their blocks gained files")
    if summary["replicas_grown"]:
        say(f"{summary['replicas_grown']:,} empty block replicas where datasets grow")
    if not any(count["new"] or count["changed"] for count in counts):
        say("the inventory says so already")
