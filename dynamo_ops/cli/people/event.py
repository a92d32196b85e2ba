"""``dynamo event``: what happened, and who is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.options import AsJson, By, Dataset, Group, Limit, Since, Site
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table, tell_cut
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import record
else:
    record = Way("record")

app = typer.Typer(no_args_is_help=True, help="Events: what happened, and who is told of it.")

KINDS = "name or glob (request.*); docs/events.md lists them"
SHOWN = {"id": "event", "at": "at", "kind": "kind", "about": "about", "person": "person", "facts": "facts"}
SUBSCRIBED = {
    "id": "number",
    "kinds": "kinds",
    "scope": "of",
    "channel": "by",
    "address": "to",
    "num_waiting": "waiting",
    "num_given_up": "given\nup",
    "failing_since": "failing since",
    "last_error": "last error",
}


@app.command("list")
def list_(
    kind: Annotated[list[str] | None, typer.Option("--kind", help=f"Kind of events: {KINDS}; may be repeated.")] = None,
    about: Annotated[
        list[str] | None, typer.Option("--about", help="An object, as 'request 17' or 'site T2_A'; may be repeated.")
    ] = None,
    person: Annotated[str | None, typer.Option("--person", help="Whom it concerns: a name or glob.")] = None,
    group: Group = None,
    site: Site = None,
    dataset: Dataset = None,
    since: Since = "30d",
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What happened, newest first: to requests, plans, sites, locks, files."""
    found = record.events(
        kinds=kind or (),
        objects=about or (),
        person=person,
        group=group,
        site=site,
        dataset=dataset,
        since=since,
        limit=limit,
    )
    if as_json:
        print_json(found)
        return
    shown = [{**row, "about": f"{row['object_kind']} {row['object_name']}", "facts": _facts(row)} for row in found]
    print_table(shown, "Events", SHOWN, wrap=("about", "facts"))
    tell_cut(len(found), limit)


@app.command()
def subscribe(
    kinds: Annotated[list[str], typer.Argument(metavar="KIND…", help=f"Which events: {KINDS}.")],
    mail: Annotated[str | None, typer.Option("--mail", help="Send them to this address.")] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", help="POST them to this https URL, signed.")] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope", help="own, *, or group:, site:, dataset: and a name or glob; without it own, or of the group."
        ),
    ] = None,
    group: Group = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Have events sent from now on, to oneself or to a group. The secret that signs a webhook is shown once."""
    made = record.subscribe_events(kinds, mail=mail, webhook=webhook, scope=scope, group=group, by=by)
    if as_json:
        print_json(made)
        return
    if made["secret"]:
        say(made["secret"])
        warn(f"event subscription {made['id']} ({made['scope']}): its secret is not shown again")
        return
    say(f"event subscription {made['id']}: {', '.join(made['kinds'])} ({made['scope']}) by {made['channel']}")


@app.command()
def unsubscribe(
    number: Annotated[
        int, typer.Argument(metavar="NUMBER", help="Number of an event subscription (`dynamo event subscriptions`).")
    ],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Send nothing more by a subscription; what waits is not sent."""
    record.unsubscribe_events(number, by=by)
    if as_json:
        print_json({"id": number, "is_ended": True})
        return
    say(f"event subscription {number} is ended")


@app.command()
def subscriptions(group: Group = None, as_json: AsJson = False) -> None:
    """Which events are sent to oneself, or to a group; what waits, and what was given up."""
    listed = record.event_subscriptions(group)
    if as_json:
        print_json(listed)
        return
    print_table(listed, "Event subscriptions", SUBSCRIBED, wrap=("kinds", "address", "last_error"))


def _facts(row: Record) -> str:
    """``size_bytes 17, reason not needed``."""
    return ", ".join(f"{name} {_plain(fact)}" for name, fact in row["facts"].items())


def _plain(fact: object) -> str:
    return " ".join(map(str, fact)) if isinstance(fact, list) else str(fact)
