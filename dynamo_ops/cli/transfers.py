"""``dynamo transfers``: how the subscriptions for copies and deletions stand, why, and the operator's hands on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from dynamo_ops.base.errors import InventoryError, SettingsError
from dynamo_ops.base.settings import settings
from dynamo_ops.cli import series
from dynamo_ops.cli import transfers_view as view
from dynamo_ops.cli.terminal.cells import count
from dynamo_ops.cli.terminal.confirm import ask
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson, By, DryRun, Reason, Since, Site, Sites, Yes, past, who
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.database.connection import Database
from dynamo_ops.fts.servers import job_page
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.operate import Move, Touched
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.query import status
from dynamo_ops.query.explanation import why, why_file
from dynamo_ops.query.movement.subscription import file_document, queue_rules, subscription_document
from dynamo_ops.transfer import recovery

app = typer.Typer(no_args_is_help=True, help="Copies and deletions under way: status, why, hold, release, cancel.")

Ids = Annotated[list[int] | None, typer.Option("--id", help="Number of a subscription.")]
Files = Annotated[list[str] | None, typer.Option("--file", help="LFN or glob; may be given several times.")]
Datasets = Annotated[
    list[str] | None, typer.Option("--dataset", help="Dataset name or glob; may be given several times.")
]
Blocks = Annotated[list[str] | None, typer.Option("--block", help="dataset#block, or a glob of these.")]
Actions = Annotated[list[str] | None, typer.Option("--action", help="copy or delete.")]
States = Annotated[list[str] | None, typer.Option("--state", help="new, inbatch, retry or held.")]
HoldReasons = Annotated[list[str] | None, typer.Option("--hold-reason", help="As `dynamo transfers status` has it.")]
Origins = Annotated[
    list[str] | None, typer.Option("--origin", help="Who subscribed: dealer, detox, 'request 7', …; glob.")
]
Disown = Annotated[
    bool,
    typer.Option(
        "--disown", help="Cancel all copies of the blocks concerned, and take their block replicas from their groups."
    ),
]


@app.command("status")
def status_(
    sites: Sites = None,
    since: Since = "24h",
    as_json: AsJson = False,
) -> None:
    """Files and bytes that are subscribed, what is under way, and what ended lately with an example of the errors."""
    db, now, begin = database(), datetime.now(UTC), past("--since", since)
    site_names = _site_names(db, sites) if sites else None
    subscriptions, batches = status.counts(db, site_names), status.under_way(db, site_names)
    ended = status.ended(db, begin, site_names)
    if as_json:
        print_json(
            {"subscriptions": subscriptions.to_dicts(), "under_way": batches.to_dicts(), "ended": ended.to_dicts()}
        )
    else:
        view.print_status(subscriptions, batches, ended, now=now, since=begin)


@app.command("why")
def why_(
    what: Annotated[str, typer.Argument(metavar="LFN|ID", help="A file, or the number of a subscription.")],
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """Where a file or subscription stands and why, every attempt with its error, and where the file can be read."""
    db, rules, page = database(), queue_rules(settings()), partial(job_page, settings().fts)
    if what.startswith("/"):
        file = why_file(db, what, site, rules)
        if as_json:
            print_json(file_document(file, page))
        else:
            view.print_file(file, page)
        return
    if not what.isdecimal():
        raise InventoryError(f"{what!r} is neither an LFN, which begins with a slash, nor the number of a subscription")
    explained = why(db, int(what), rules)
    if as_json:
        print_json(subscription_document(explained, page))
    else:
        view.print_subscription(explained, page)


@app.command()
def hold(
    reason: Reason,
    ids: Ids = None,
    files: Files = None,
    datasets: Datasets = None,
    blocks: Blocks = None,
    sites: Sites = None,
    actions: Actions = None,
    states: States = None,
    hold_reasons: HoldReasons = None,
    origins: Origins = None,
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Hold subscriptions until `dynamo transfers release` frees them; what runs at FTS is cancelled by the next run."""
    chosen = _selection(ids, files, datasets, blocks, sites, actions, states, hold_reasons, origins)
    _act("hold", chosen, lambda db: operate.hold(db, chosen, by=who(by), reason=reason), yes, dry_run, as_json)


@app.command()
def release(
    ids: Ids = None,
    files: Files = None,
    datasets: Datasets = None,
    blocks: Blocks = None,
    sites: Sites = None,
    actions: Actions = None,
    hold_reasons: HoldReasons = None,
    origins: Origins = None,
    reason: Reason = "",
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Free held subscriptions, whatever held them; sources that failed count as untried."""
    chosen = _selection(ids, files, datasets, blocks, sites, actions, None, hold_reasons, origins)
    _act("release", chosen, lambda db: operate.release(db, chosen, by=who(by), reason=reason), yes, dry_run, as_json)


@app.command()
def retry(
    ids: Ids = None,
    files: Files = None,
    datasets: Datasets = None,
    blocks: Blocks = None,
    sites: Sites = None,
    actions: Actions = None,
    hold_reasons: HoldReasons = None,
    origins: Origins = None,
    reason: Reason = "",
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Try now, without the pause: what failed, and what is held but for `refused` and `operator`."""
    chosen = _selection(ids, files, datasets, blocks, sites, actions, None, hold_reasons, origins)
    _act("retry", chosen, lambda db: operate.retry(db, chosen, by=who(by), reason=reason), yes, dry_run, as_json)


@app.command()
def cancel(
    reason: Reason,
    ids: Ids = None,
    files: Files = None,
    datasets: Datasets = None,
    blocks: Blocks = None,
    sites: Sites = None,
    actions: Actions = None,
    states: States = None,
    hold_reasons: HoldReasons = None,
    origins: Origins = None,
    disown: Disown = False,
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw subscriptions. Copies that a group's replica lacks only with --disown: they would come again."""
    chosen = _selection(ids, files, datasets, blocks, sites, actions, states, hold_reasons, origins)

    def act(db: Database) -> Touched:
        return operate.cancel(db, chosen, by=who(by), reason=reason, disown=disown)

    _act("cancel", chosen, act, yes, dry_run, as_json, disown=disown)


@app.command()
def readdress(
    former: Annotated[str, typer.Argument(help="Address of an FTS server that dynamo.yaml names no longer.")],
    address: Annotated[str, typer.Argument(help="Address of one that it names.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Ask another FTS server for the open jobs of one that has moved, or is gone for good. What the other does not know
    is lost, and copied again."""
    former, address = former.rstrip("/"), address.rstrip("/")
    named = [server.url for server in settings().fts.named_servers]
    if former in named or address not in named:
        wrong = f"{former} is still" if former in named else f"{address} is not"
        raise SettingsError(
            f"{wrong} a server of dynamo.yaml ({', '.join(named) or 'it names none'}): name there those that shall be "
            "asked from now on, then readdress",
            key="fts.servers",
            reason="former and new server",
        )
    db = database()
    ask(f"Ask {address} for all jobs that are open at {former}?", yes=yes)
    num_jobs = recovery.readdress(db, former, address)
    if as_json:
        print_json({"former": former, "address": address, "num_jobs": num_jobs})
        return
    say(f"{count(num_jobs, 'job')}: asked for at {address} from the next run on")


app.command("series")(series.transfer_series)
app.command("links")(series.links)
app.command("errors")(series.errors)


def _selection(*parts: list[int] | list[str] | None) -> Selection:
    """The parts in the order of ``Selection``; those that were not given are empty."""
    return Selection(*(tuple(part or ()) for part in parts))  # type: ignore[arg-type]


def _act(
    move: Move,
    selection: Selection,
    act: Callable[[Database], Touched],
    yes: bool,
    dry_run: bool,
    as_json: bool,
    *,
    disown: bool = False,
) -> None:
    """Show what would be touched, ask, do it, tell."""
    db = database()
    touched = operate.look(db, move, selection, disown=disown)
    if not as_json:
        view.print_touched(move, touched)
    if not dry_run and touched.num_files:
        ask(view.question(move, touched), yes=yes)
        touched = act(db)
    if as_json:
        print_json(view.touched_document(move, touched, dry_run=dry_run))
    else:
        view.print_moved(move, touched, dry_run=dry_run)


def _site_names(db: Database, patterns: list[str]) -> list[str]:
    with db.begin() as connection:
        return [site.name for site in find_sites(connection, patterns)]
