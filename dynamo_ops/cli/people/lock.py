"""``dynamo lock``: what must not be deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from dynamo_ops.cli.terminal.cells import cell, count, size
from dynamo_ops.cli.terminal.completion import complete_groups
from dynamo_ops.cli.terminal.confirm import ask
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson, By, Reason, Site, Until, Yes, future, who
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.lock import store as lock
from dynamo_ops.lock.covered import Unprotected, lock_coverage, unprotected_without

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

UNPROTECTED = ("num_datasets", "num_blocks", "num_block_replicas", "size_bytes", "num_still_locked")

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
    ends_at = future("--until", until)
    new_lock = lock.add_lock(
        database(),
        item,
        sites=site or "",
        groups=group or "",
        until=ends_at.isoformat() if ends_at else None,
        reason=reason,
        by=who(by),
        now=datetime.now(UTC),
        force=force,
    )
    if not as_json:
        _warn(new_lock.warnings)
    covered = lock_coverage(database(), new_lock.id)
    if as_json:
        print_json(
            {
                **covered.lock,
                "warnings": new_lock.warnings,
                "num_block_replicas": covered.num_block_replicas,
                "size_bytes": covered.size_bytes,
                "given_back": vars(new_lock.given_back),
            }
        )
        return
    say(f"lock {new_lock.id}: {covered.num_block_replicas:,} block replicas, {size(covered.size_bytes)} now")
    given_back = new_lock.given_back
    if given_back.num_files:
        again = count(given_back.num_block_replicas, "block replica")
        say(f"deletions taken back: {count(given_back.num_files, 'file')}; {again} with the former owner again")
    if given_back.num_too_late:
        say(f"too late for {count(given_back.num_too_late, 'file')}: the storage has been asked to delete them")


@app.command("list")
def list_(
    item: Annotated[
        str | None, typer.Option(help="Only locks of this item, or of items that the glob matches.")
    ] = None,
    expired: Annotated[bool, typer.Option("--expired", help="Those that are over, expired or removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """The locks in force, newest first."""
    locks = lock.list_locks(database(), item=item, expired=expired)
    if as_json:
        print_json(locks.to_dicts())
        return
    title, headings = ("Locks that are over", LISTED_WHEN_OVER) if expired else ("Locks in force", LISTED)
    print_table(locks, title, headings, wrap=["item", "reason", "removed_because"])


@app.command()
def remove(lock_id: LockId, reason: Reason, by: By = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Take a lock back: it shows what no lock protects any more, and asks. The lock stays in the list of those that are
    over."""
    db = database()
    unprotected = unprotected_without(db, lock_id)
    if not as_json:
        _print_unprotected(unprotected)
    ask(f"Remove lock {lock_id}? Nothing protects then {_amount(unprotected)}", yes=yes)
    lock.remove_lock(db, lock_id, reason=reason, by=who(by))
    if as_json:
        counts = {name: getattr(unprotected, name) for name in UNPROTECTED}
        print_json({"id": lock_id, "state": "removed", **counts, "sites": unprotected.sites.to_dicts()})
    else:
        say(f"lock {lock_id} is removed")


@app.command("show")
def show_(lock_id: LockId, as_json: AsJson = False) -> None:
    """One lock, and what it covers now by site."""
    coverage = lock_coverage(database(), lock_id)
    if as_json:
        document = {
            **asdict(coverage),
            "sites": coverage.sites.to_dicts(),
            "num_block_replicas": coverage.num_block_replicas,
        }
        print_json({**document, "size_bytes": coverage.size_bytes})
        return
    for name, field in coverage.lock.items():
        if field not in (None, ""):
            say(f"{name.replace('_', ' ')}: {cell(name, field)}")
    _warn(coverage.warnings)
    print_table(coverage.sites, "Covered now", COVERED)
    say(f"in all: {coverage.num_block_replicas:,} block replicas, {size(coverage.size_bytes)}")


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        warn(warning)


def _print_unprotected(unprotected: Unprotected) -> None:
    row = unprotected.lock
    end = f" until {cell('expires_at', row['expires_at'])}" if row["expires_at"] else ""
    say(f"lock {row['id']} of {row['item']}, by {row['created_by']}{end}: {row['reason']}")
    print_table(unprotected.sites, "Protected by no other lock", COVERED)
    if unprotected.num_still_locked:
        say(f"{count(unprotected.num_still_locked, 'block replica')} of it stay under other locks")


def _amount(unprotected: Unprotected) -> str:
    """What it is in all, in a line."""
    if unprotected.sites.is_empty():
        return "what is still to come; it covers nothing now that others do not"
    datasets, blocks = count(unprotected.num_datasets, "dataset"), count(unprotected.num_blocks, "block")
    return f"{blocks} of {datasets} at {count(unprotected.sites.height, 'site')}, {size(unprotected.size_bytes)}"
