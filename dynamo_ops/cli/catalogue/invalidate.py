"""``dynamo invalidate`` and ``dynamo invalidated``: what is lost or bad beyond repair leaves the inventory; its name
may come in again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.cells import count, size
from dynamo_ops.cli.terminal.confirm import ask, type_number
from dynamo_ops.cli.terminal.document import read_document
from dynamo_ops.cli.terminal.options import AsJson, By, DryRun, Limit, Reason, Yes
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table, tell_cut
from dynamo_ops.cli.terminal.way import Way
from dynamo_ops.inventory.kinds import StorageType

if TYPE_CHECKING:
    from dynamo_ops.cli.here import catalogue as documents
else:
    documents = Way("catalogue")

ORPHANED = {
    "site": "site",
    "storage_type": "storage",
    "num_block_replicas": "block\nreplicas",
    "num_files": "files",
    "size_bytes": "size",
    "custodial_bytes": "of this\ncustodial",
    "num_only_files": "files no other\nsite has",
    "only_bytes": "size\nof these",
    "num_copies": "copies\nto it",
    "num_deletions": "deletions",
}
REQUESTS = {"id": "request", "kind": "of", "requested_by": "by", "is_closed": "is closed"}
NAMES = {
    "kind": "kind",
    "name": "name",
    "num_files": "files",
    "size_bytes": "size",
    "created_at": "at",
    "created_by": "by",
    "reason": "reason",
    "undone_at": "taken back",
}
FIELDS = (
    "kind",
    "name",
    "size_bytes",
    "num_files",
    "reason",
    "created_by",
    "created_at",
    "undone_at",
    "undone_by",
    "undone_because",
)


def invalidate(
    file: Annotated[
        str,
        typer.Argument(
            help="JSON document, or - for standard input (then with --yes); with --undo a name or glob, as of "
            "`dynamo invalidated`."
        ),
    ],
    reason: Reason,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take it back: what is called so may come in again, since it is made anew.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Take the datasets, blocks and files that a JSON document names out of the inventory; or take that back.

    No source and no injection brings back what is named (name the files of bad data themselves, or they can come in
    another block). It says what stays on the storages as orphans, and asks. With --undo, within damage.undo_days, a
    name may come in again; what was known of it does not come back by itself."""
    if undo:
        _undo(file, reason=reason, dry_run=dry_run, yes=yes, by=by, as_json=as_json)
        return
    if not yes and not dry_run and (file == "-" or as_json):
        raise typer.BadParameter("nobody can be asked with - or --json: say --yes, or --dry-run")
    document, expected = read_document(file), None
    if not yes:
        planned = documents.invalidate(document, reason=reason, by=by, dry_run=True)
        if dry_run and as_json:
            print_json({**planned, "dry_run": True})
            return
        _print(planned)
        if dry_run or _is_nothing(planned):
            return
        expected = planned["num_files"]
        type_number(f"What goes does not come back. Type {expected} (the files that go) to do it", expected)
    summary = documents.invalidate(document, reason=reason, by=by, expected_files=expected)
    if as_json:
        print_json({**summary, "dry_run": False})
        return
    if yes:
        _print(summary)
    say(
        f"gone from the inventory: {_counts(summary)}; their files stay on the storages until consistency checks "
        "remove them as orphans"
    )


def _undo(name: str, *, reason: str, dry_run: bool, yes: bool, by: str | None, as_json: bool) -> None:
    if not yes and not dry_run and as_json:
        raise typer.BadParameter("nobody can be asked with --json: say --yes, or --dry-run")
    expected = None
    if not yes:
        planned = documents.undo([name], reason=reason, by=by, dry_run=True)
        if as_json:
            print_json({**planned, "dry_run": True})
            return
        expected = planned["num_names"]
        _say_undone(planned, "may come in again")
        if dry_run:
            return
        ask(f"Take back that {count(expected, 'name')} may not come in?", yes=yes)
    taken = documents.undo([name], reason=reason, by=by, expected_names=expected)
    if as_json:
        print_json({**taken, "dry_run": False})
        return
    _say_undone(taken, "may come in again, from its source or by an injection")


def _say_undone(summary: Record, what: str) -> None:
    names = summary["names"]
    more = f", … ({summary['num_names']:,} in all)" if summary["num_names"] > len(names) else ""
    say(f"{what}: {', '.join(names)}{more}")


def invalidated(
    name: Annotated[str | None, typer.Argument(help="A dataset, dataset#block or LFN, or a glob.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """What was declared invalid, by whom, when and why; newest first."""
    invalidations = documents.invalidated(name, limit=limit, fields=FIELDS)
    if as_json:
        print_json(invalidations)
    else:
        print_table(invalidations, "Declared invalid", NAMES, wrap=["name", "reason"])
        tell_cut(len(invalidations), limit)


def _is_nothing(summary: Record) -> bool:
    """All of it was done before."""
    return not (summary["num_datasets"] or summary["num_blocks"] or summary["num_files"])


def _print(summary: Record) -> None:
    if summary["num_known"]:
        say(f"{count(summary['num_known'], 'name')} of the document went before")
    if _is_nothing(summary):
        say("nothing to do")
        return
    say(f"leaves the inventory: {_counts(summary)}")
    sites = summary["sites"]
    print_table(sites, "Left on the storages as orphans; subscriptions withdrawn", ORPHANED)
    tape = sum(site["size_bytes"] for site in sites if site["storage_type"] == StorageType.MSS)
    custodial = sum(site["custodial_bytes"] for site in sites)
    if tape or custodial:
        warn(f"{size(tape)} of it are on tape, {size(custodial)} are custodial")
    if summary["requests"]:
        print_table(summary["requests"], "Open requests that name any of it", REQUESTS)


def _counts(summary: Record) -> str:
    return (
        f"{count(summary['num_datasets'], 'dataset')}, {count(summary['num_blocks'], 'block')}, "
        f"{count(summary['num_files'], 'file')}, {size(summary['size_bytes'])}"
    )
