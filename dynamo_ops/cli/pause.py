"""``dynamo stop``, ``resume`` and ``pauses``: let everything, a kind of act, a partition or a site stand still."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson, By, Limit, Partition, Reason, Site, Until, future, who
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json, print_table, tell_cut
from dynamo_ops.inventory.site import downtime
from dynamo_ops.inventory.site.lookup import names_like
from dynamo_ops.inventory.subscription.under_way import at_fts
from dynamo_ops.pause import pauses as pausing
from dynamo_ops.pause.pauses import PauseKind

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
    db, ends_at = database(), future("--until", until)
    if site is not None:
        if kind is not None or partition is not None:
            raise typer.BadParameter("--site stops all that goes to or from a site: leave KIND and --partition out")
        down = [downtime.drain(db, name, by=who(by), reason=reason, ends_at=ends_at) for name in names_like(db, site)]
        if as_json:
            print_json([asdict(each) for each in down])
            return
        for each in down:
            say(str(each))
        return
    pause = pausing.stop(db, kind, partition, by=who(by), reason=reason, until=ends_at)
    going_on = at_fts(db) if kind in (None, PauseKind.TRANSFERS) else None
    if as_json:
        print_json(asdict(pause) | {"at_fts": going_on})
        return
    say(str(pause))
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
    ended = pausing.resume(database(), pause or None, by=who(by))
    if as_json:
        print_json([asdict(each) for each in ended])
        return
    for each in ended:
        say(f"{pausing.words(each.kind, each.partition)} may go on; stopped since {each.created_at:%Y-%m-%dT%H:%MZ}")


def pauses(limit: Limit = 20, as_json: AsJson = False) -> None:
    """What stands still, and what stood still; newest first. Sites: `dynamo site downtime`."""
    import polars as pl

    frame = pausing.pauses(database(), limit=limit)
    if as_json:
        print_json(frame.to_dicts())
        return
    named = [pausing.words(*row) for row in frame.select("kind", "partition").iter_rows()]
    print_table(frame.with_columns(what=pl.Series(named, dtype=pl.String)), "Pauses", SHOWN, wrap=("reason",))
    tell_cut(frame.height, limit)
