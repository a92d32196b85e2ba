"""``dynamo audit``: who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.access.actions import Outcome
from dynamo_ops.cli.terminal.options import SINCE, AsJson, Limit, past_or_none
from dynamo_ops.cli.terminal.tables import print_json, print_table, tell_cut
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import access
else:
    access = Way("access")

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
    records = access.audited(
        person=person,
        action=action,
        outcome=outcome.value if outcome else None,
        since=past_or_none("--since", since),
        limit=limit,
    )
    if as_json:
        print_json(records)
        return
    print_table(records, "Audit", SHOWN, wrap=("object", "reason"))
    tell_cut(len(records), limit)
