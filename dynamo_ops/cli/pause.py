"""``dynamo stop``, ``resume`` and ``pauses``: let everything, a kind of act, a partition or a site stand still."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.cells import moment
from dynamo_ops.cli.terminal.options import AsJson, By, Limit, Partition, Reason, Site, Until, future
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table, tell_cut
from dynamo_ops.cli.terminal.way import Way
from dynamo_ops.pause.pause import Pause, PauseKind, words

if TYPE_CHECKING:
    from dynamo_ops.cli.here import pause as pausing
else:
    pausing = Way("pause")

SHOWN = {
    "id": "pause",
    "what": "stopped",
    "is_in_force": "still",
    "until": "until",
    "created_by": "by",
    "created_at": "since",
    "ended_by": "resumed by",
    "reason": "reason",
}


def stop(
    reason: Reason,
    kind: Annotated[
        PauseKind | None, typer.Argument(metavar="KIND", help=f"One of {', '.join(PauseKind)}; without it everything.")
    ] = None,
    partition: Partition = None,
    site: Site = None,
    until: Until = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Let everything stand still, a KIND of act, or a site. What a task is in the middle of ends with its part; FTS
    goes on with the jobs that it has."""
    ends_at = future("--until", until)
    if site is not None:
        if kind is not None or partition is not None:
            raise typer.BadParameter("--site stops all that goes to or from a site: leave KIND and --partition out")
        down = pausing.stop_sites(site, reason=reason, until=ends_at, by=by)
        if as_json:
            print_json(down)
            return
        for downtime in down:
            say(_downtime(downtime))
        return
    stopped = pausing.stop(kind, partition=partition, reason=reason, until=ends_at, by=by)
    if as_json:
        print_json(stopped)
        return
    going_on = stopped["at_fts"]
    say(str(Pause(**{name: field for name, field in stopped.items() if name != "at_fts"})))
    if going_on and going_on["num_files"]:
        files, jobs = going_on["num_files"], going_on["num_jobs"]
        say(f"FTS goes on with {files:,} files in {jobs:,} jobs; what arrives is taken in when transfers are resumed.")
        say("To have that cancelled: dynamo transfers hold --state inbatch --action copy --reason …, once they go on.")


def resume(
    pause: Annotated[
        list[int] | None, typer.Argument(metavar="PAUSE", help="Numbers of pauses (`dynamo pauses`); without: all.")
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End pauses: what stood still goes on with the next runs."""
    ended = pausing.resume(pause or (), by=by)
    if as_json:
        print_json(ended)
        return
    for each in ended:
        say(f"{words(each['kind'], each['partition'])} may go on; stopped since {moment(each['created_at'])}")


def pauses(limit: Limit = 20, as_json: AsJson = False) -> None:
    """What stands still, and what stood still; newest first. Sites: `dynamo site downtime`."""
    listed = pausing.listed(limit)
    if as_json:
        print_json(listed)
        return
    shown = [{**row, "what": words(row["kind"], row["partition"])} for row in listed]
    print_table(shown, "Pauses", SHOWN, wrap=("reason",))
    tell_cut(len(listed), limit)


def _downtime(down: Record) -> str:
    end = f"until {moment(down['ends_at'])}" if down["ends_at"] else "until resumed"
    return f"downtime {down['id']} of {down['site']} from {moment(down['begins_at'])} {end} ({down['reason']})"
