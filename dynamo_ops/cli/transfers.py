"""``dynamo transfers``: how the subscriptions for copies and deletions stand, why, and the operator's hands on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.cli import series
from dynamo_ops.cli import transfers_view as view
from dynamo_ops.cli.terminal.cells import count
from dynamo_ops.cli.terminal.confirm import ask
from dynamo_ops.cli.terminal.options import AsJson, By, DryRun, Reason, Since, Site, Sites, Yes, past
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_json
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import transfers
else:
    transfers = Way("transfers")

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
    """Files and bytes that are subscribed, what is under way, what ended lately with an example of the errors; and how
    the FTS servers are."""
    now, begin = datetime.now(UTC), past("--since", since)
    standing = transfers.standing(sites or (), begin)
    if as_json:
        print_json(standing)
    else:
        view.print_status(standing, now=now, since=begin)


@app.command("why")
def why_(
    what: Annotated[str, typer.Argument(metavar="LFN|ID", help="A file, or the number of a subscription.")],
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """Where a file or subscription stands and why, every attempt with its error, and where the file can be read."""
    if what.startswith("/"):
        file = transfers.why_file_is_there(what, site)
        if as_json:
            print_json(file)
        else:
            view.print_file(file)
        return
    if not what.isdecimal():
        raise InventoryError(f"{what!r} is neither an LFN, which begins with a slash, nor the number of a subscription")
    explained = transfers.why_it_stands(int(what))
    if as_json:
        print_json(explained)
    else:
        view.print_subscription(explained)


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
    act = partial(transfers.hold, chosen, reason=reason, by=by)
    _act("hold", act, yes=yes, dry_run=dry_run, as_json=as_json)


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
    act = partial(transfers.release, chosen, reason=reason, by=by)
    _act("release", act, yes=yes, dry_run=dry_run, as_json=as_json)


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
    act = partial(transfers.retry, chosen, reason=reason, by=by)
    _act("retry", act, yes=yes, dry_run=dry_run, as_json=as_json)


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
    act = partial(transfers.cancel, chosen, reason=reason, by=by, disown=disown)
    _act("cancel", act, yes=yes, dry_run=dry_run, as_json=as_json)


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
    transfers.check_servers(former, address)
    ask(f"Ask {address} for all jobs that are open at {former}?", yes=yes)
    num_jobs = transfers.readdress(former, address)
    if as_json:
        print_json({"former": former, "address": address, "num_jobs": num_jobs})
        return
    say(f"{count(num_jobs, 'job')}: asked for at {address} from the next run on")


app.command("series")(series.transfer_series)
app.command("links")(series.links)
app.command("errors")(series.errors)


def _selection(
    ids: list[int] | None,
    files: list[str] | None,
    datasets: list[str] | None,
    blocks: list[str] | None,
    sites: list[str] | None,
    actions: list[str] | None,
    states: list[str] | None,
    hold_reasons: list[str] | None,
    origins: list[str] | None,
) -> Mapping[str, Sequence[Any]]:
    """Those that were given, by their names."""
    parts: dict[str, Sequence[Any] | None] = {
        "ids": ids,
        "files": files,
        "datasets": datasets,
        "blocks": blocks,
        "sites": sites,
        "actions": actions,
        "states": states,
        "hold_reasons": hold_reasons,
        "origins": origins,
    }
    return {name: part for name, part in parts.items() if part}


def _act(move: str, act: Callable[..., Record], *, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Show what would be touched, ask, do it, tell."""
    touched = act(dry_run=True)
    if not as_json:
        view.print_touched(move, touched)
    if not dry_run and touched["num_files"]:
        ask(view.question(move, touched), yes=yes)
        touched = act(dry_run=False)
    if as_json:
        print_json({"move": move, "dry_run": dry_run, **touched})
    else:
        view.print_moved(move, touched, dry_run=dry_run)
