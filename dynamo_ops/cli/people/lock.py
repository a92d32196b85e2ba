"""``dynamo lock``: what must not be deleted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.cells import cell, count, size
from dynamo_ops.cli.terminal.completion import complete_groups
from dynamo_ops.cli.terminal.confirm import ask
from dynamo_ops.cli.terminal.options import AsJson, By, Reason, Site, Until, Yes, future
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import lock as locks
else:
    locks = Way("lock")

app = typer.Typer(no_args_is_help=True, help="Locks: what must not be deleted, where, until when.")

LISTED = {
    "id": "lock",
    "item": "item",
    "sites": "sites",
    "groups": "groups",
    "expires_at": "until",
    "created_by": "by",
    "reason": "reason",
}
LISTED_WHEN_OVER = {
    **LISTED,
    "removed_at": "removed",
    "removed_by": "removed by",
    "removed_because": "removed because",
}
COVERED = {"site": "site", "num_block_replicas": "block\nreplicas", "size_bytes": "size"}

LockId = Annotated[int, typer.Argument(metavar="LOCK", help="Number of a lock (`dynamo lock list`).")]


@app.command()
def add(
    item: Annotated[str, typer.Argument(help="Dataset, dataset#block, or globs of these.")],
    reason: Reason,
    site: Site = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            help="Name of a group, or glob; None: what nobody owns; without it all owners.",
            autocompletion=complete_groups,
        ),
    ] = None,
    until: Until = None,
    by: By = None,
    force: Annotated[bool, typer.Option("--force", help="Also a dataset that is not known yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lock ITEM: Detox deletes nothing of it, whatever a policy says. Without --site: at all sites."""
    added = locks.add(
        item, site=site or "", group=group or "", until=future("--until", until), reason=reason, by=by, force=force
    )
    if not as_json:
        _warn(added["warnings"])
    covered, given_back = locks.coverage(added["id"]), added["given_back"]
    if as_json:
        amounts = {name: covered[name] for name in ("num_block_replicas", "size_bytes")}
        print_json({**covered["lock"], "warnings": added["warnings"], **amounts, "given_back": given_back})
        return
    say(f"lock {added['id']}: {_coverage(covered)} now")
    if given_back["num_files"]:
        again = count(given_back["num_block_replicas"], "block replica")
        say(f"deletions taken back: {count(given_back['num_files'], 'file')}; {again} with the former owner again")
    if given_back["num_too_late"]:
        say(f"too late for {count(given_back['num_too_late'], 'file')}: the storage has been asked to delete them")


@app.command("list")
def list_(
    item: Annotated[
        str | None, typer.Option(help="Only locks of this item, or of items that the glob matches.")
    ] = None,
    expired: Annotated[bool, typer.Option("--expired", help="Those that are over, expired or removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """The locks in force, newest first."""
    listed = locks.listed(item, over=expired)
    if as_json:
        print_json(listed)
        return
    title, headings = ("Locks that are over", LISTED_WHEN_OVER) if expired else ("Locks in force", LISTED)
    print_table(listed, title, headings, wrap=["item", "reason", "removed_because"])


@app.command()
def remove(lock_id: LockId, reason: Reason, by: By = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Take a lock back: it shows what no lock protects any more, and asks. The lock stays in the list of those that are
    over."""
    unprotected = locks.unprotected(lock_id)
    if not as_json:
        _print_unprotected(unprotected)
    ask(f"Remove lock {lock_id}? Nothing protects then {_amount(unprotected)}", yes=yes)
    removed = locks.remove(lock_id, reason=reason, by=by)
    if as_json:
        print_json(removed)
    else:
        say(f"lock {lock_id} is removed")


@app.command("show")
def show_(lock_id: LockId, as_json: AsJson = False) -> None:
    """One lock, and what it covers now by site."""
    coverage = locks.coverage(lock_id)
    if as_json:
        print_json(coverage)
        return
    for name, field in coverage["lock"].items():
        if field not in (None, ""):
            say(f"{name.replace('_', ' ')}: {cell(name, field)}")
    _warn(coverage["warnings"])
    print_table(coverage["sites"], "Covered now", COVERED)
    say(f"in all: {_coverage(coverage)}")


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        warn(warning)


def _coverage(covered: Record) -> str:
    return f"{count(covered['num_block_replicas'], 'block replica')}, {size(covered['size_bytes'])}"


def _print_unprotected(unprotected: Record) -> None:
    row = unprotected["lock"]
    end = f" until {cell('expires_at', row['expires_at'])}" if row["expires_at"] else ""
    say(f"lock {row['id']} of {row['item']}, by {row['created_by']}{end}: {row['reason']}")
    print_table(unprotected["sites"], "Protected by no other lock", COVERED)
    if unprotected["num_still_locked"]:
        say(f"{count(unprotected['num_still_locked'], 'block replica')} of it stay under other locks")


def _amount(unprotected: Record) -> str:
    """What it is in all, in a line."""
    if not unprotected["sites"]:
        return "what is still to come; it covers nothing now that others do not"
    datasets, blocks = count(unprotected["num_datasets"], "dataset"), count(unprotected["num_blocks"], "block")
    return f"{blocks} of {datasets} at {count(len(unprotected['sites']), 'site')}, {size(unprotected['size_bytes'])}"
