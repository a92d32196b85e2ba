"""``dynamo audit``: who did what."""

from __future__ import annotations

from typing import Annotated

import typer

from dynamo_ops.access.audit import Outcome, records
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import SINCE, AsJson, Limit, past_or_none
from dynamo_ops.cli.terminal.tables import print_json, print_table, tell_cut

SHOWN = {
    "at": "at",
    "person": "person",
    "known_by": "known by",
    "action": "action",
    "object": "to what",
    "outcome": "outcome",
    "reason": "reason",
}


def audit(
    person: Annotated[str | None, typer.Option("--person", help="Of whom: a part of the name.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="A part of it, such as lock.")] = None,
    outcome: Annotated[Outcome | None, typer.Option("--outcome", help=f"One of {', '.join(Outcome)}.")] = None,
    since: Annotated[str | None, SINCE] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Who did what, newest first: what people did with rights, locks, requests, plans and sites, refusals included."""
    frame = records(
        database(),
        person=person,
        action=action,
        outcome=outcome.value if outcome else None,
        since=past_or_none("--since", since),
        limit=limit,
    )
    if as_json:
        print_json(frame.to_dicts())
        return
    print_table(frame, "Audit", SHOWN, wrap=("object", "reason"))
    tell_cut(frame.height, limit)
