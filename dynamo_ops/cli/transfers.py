"""``dynamo transfers``: how the subscriptions for copies and deletions stand, why, and the operator's hands on them."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

import typer

from dynamo_ops.base.errors import InventoryError, SettingsError
from dynamo_ops.base.settings import settings
from dynamo_ops.cli import transfers_view as view
from dynamo_ops.cli.terminal.output import JsonOption, database
from dynamo_ops.cli.terminal.tables import count, print_json
from dynamo_ops.database.connection import Database
from dynamo_ops.fts.servers import job_page
from dynamo_ops.inventory.site.lookup import find_site
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.operate import Move, Touched
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.query import status
from dynamo_ops.query.explanation import QueueRules, why, why_file
from dynamo_ops.transfer import recovery
from dynamo_ops.transfer.limits import transfer_limits
from dynamo_ops.transfer.tasks import plan_rules

app = typer.Typer(no_args_is_help=True, help="Copies and deletions under way: status, why, hold, release, cancel.")

SiteOption = Annotated[str | None, typer.Option("--site", help="Only this site.")]
Ids = Annotated[list[int] | None, typer.Option("--id", help="Number of a subscription.")]
Files = Annotated[list[str] | None, typer.Option("--file", help="LFN or glob.")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="Dataset or glob.")]
Blocks = Annotated[list[str] | None, typer.Option("--block", help="dataset#block, or a glob of these.")]
Sites = Annotated[list[str] | None, typer.Option("--site", help="Where the file is to come, or to go from; or glob.")]
Actions = Annotated[list[str] | None, typer.Option("--action", help="copy or delete.")]
States = Annotated[list[str] | None, typer.Option("--state", help="new, inbatch, retry or held.")]
HoldReasons = Annotated[list[str] | None, typer.Option("--hold-reason", help="As `dynamo transfers status` has it.")]
Origins = Annotated[
    list[str] | None, typer.Option("--origin", help="Who subscribed: dealer, detox, 'request 7', …; glob.")
]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept with the subscriptions.")]
By = Annotated[str | None, typer.Option("--by", help="Who; without it your login name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be touched.")]
Disown = Annotated[
    bool,
    typer.Option(
        "--disown", help="Cancel all copies of the blocks concerned, and take their block replicas from their groups."
    ),
]


@app.command("status")
def status_(
    site: SiteOption = None,
    hours: Annotated[int, typer.Option(min=0, help="How far back to look for ended attempts.")] = 24,
    as_json: bool = JsonOption,
) -> None:
    """Files and bytes that are subscribed, what is under way, and what ended lately with an example of the errors."""
    db, now = database(), datetime.now(UTC)
    if site is not None:
        _check_site(db, site)
    subscriptions, batches = status.counts(db, site), status.under_way(db, site)
    ended = status.ended(db, now - timedelta(hours=hours), site)
    if as_json:
        print_json(
            {"subscriptions": subscriptions.to_dicts(), "under_way": batches.to_dicts(), "ended": ended.to_dicts()}
        )
    else:
        view.print_status(subscriptions, batches, ended, now=now, hours=hours)


@app.command("why")
def why_(
    what: Annotated[str, typer.Argument(metavar="LFN|ID", help="A file, or the number of a subscription.")],
    site: SiteOption = None,
    as_json: bool = JsonOption,
) -> None:
    """Where a file or subscription stands and why, every attempt with its error, and where the file can be read."""
    db, rules, page = database(), _rules(), partial(job_page, settings().fts)
    if what.startswith("/"):
        file = why_file(db, what, site, rules)
        if as_json:
            print_json(view.file_document(file, page))
        else:
            view.print_file(file, page)
        return
    if not what.isdecimal():
        raise InventoryError(f"{what!r} is neither an LFN, which begins with a slash, nor the number of a subscription")
    explained = why(db, int(what), rules)
    if as_json:
        print_json(view.subscription_document(explained, page))
    else:
        view.print_subscription(explained, page)


@app.command()
def hold(
    reason: Why,
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
    as_json: bool = JsonOption,
) -> None:
    """Hold subscriptions until `dynamo transfers release` frees them; what runs at FTS is cancelled by the next run."""
    chosen = _selection(ids, files, datasets, blocks, sites, actions, states, hold_reasons, origins)
    _act("hold", chosen, lambda db: operate.hold(db, chosen, by=_by(by), reason=reason), yes, dry_run, as_json)


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
    reason: Why = "",
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: bool = JsonOption,
) -> None:
    """Free held subscriptions, whatever held them; sources that failed count as untried."""
    chosen = _selection(ids, files, datasets, blocks, sites, actions, None, hold_reasons, origins)
    _act("release", chosen, lambda db: operate.release(db, chosen, by=_by(by), reason=reason), yes, dry_run, as_json)


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
    reason: Why = "",
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: bool = JsonOption,
) -> None:
    """Try now, without the pause: what failed, and what is held but for `refused` and `operator`."""
    chosen = _selection(ids, files, datasets, blocks, sites, actions, None, hold_reasons, origins)
    _act("retry", chosen, lambda db: operate.retry(db, chosen, by=_by(by), reason=reason), yes, dry_run, as_json)


@app.command()
def cancel(
    reason: Why,
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
    as_json: bool = JsonOption,
) -> None:
    """Withdraw subscriptions. Copies that a group's replica lacks only with --disown: they would come again."""
    chosen = _selection(ids, files, datasets, blocks, sites, actions, states, hold_reasons, origins)

    def act(db: Database) -> Touched:
        return operate.cancel(db, chosen, by=_by(by), reason=reason, disown=disown)

    _act("cancel", chosen, act, yes, dry_run, as_json, disown=disown)


@app.command()
def readdress(
    former: Annotated[str, typer.Argument(help="Address of an FTS server that dynamo.yaml names no longer.")],
    address: Annotated[str, typer.Argument(help="Address of one that it names.")],
    yes: Yes = False,
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
    if not yes:
        typer.confirm(f"Ask {address} for all jobs that are open at {former}?", abort=True, err=True)
    num_jobs = recovery.readdress(db, former, address)
    typer.echo(f"{count(num_jobs, 'job')}: asked for at {address} from the next run on")


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
        if not yes:
            typer.confirm(view.question(move, touched), abort=True, err=True)
        touched = act(db)
    if as_json:
        print_json(view.touched_document(move, touched, dry_run=dry_run))
    else:
        view.print_moved(move, touched, dry_run=dry_run)


def _by(name: str | None) -> str:
    return name or getpass.getuser()


def _check_site(db: Database, site: str) -> None:
    with db.begin() as connection:
        find_site(connection, site)


def _rules() -> QueueRules:
    config = settings()
    return QueueRules(transfer_limits(config), config.deletion, dict(plan_rules(config).head_starts))
