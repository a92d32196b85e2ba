"""``dynamo token``: credentials of programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.access.person import Grant, Role, Scope
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.base.times import time_text
from dynamo_ops.cli.terminal.options import AsJson, By
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import access
else:
    access = Way("access")

app = typer.Typer(no_args_is_help=True, help="Tokens: credentials of programs, for some time.")

DAYS = 90
LISTED = {
    "id": "token",
    "person": "person",
    "name": "name",
    "prefix": "begins",
    "grants": "no more than",
    "until": "until",
    "last_used_at": "last used",
    "revoked_at": "revoked",
}


@app.command()
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    person: Annotated[str | None, typer.Option("--person", help="Whose it is; without it yours.")] = None,
    days: Annotated[float, typer.Option("--days", min=0, help="For how long.")] = DAYS,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="No more than this role of its owner's, as ROLE or ROLE@SCOPE; may be repeated."),
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and show it: once. It may what its owner may at the moment that it is used, and no more."""
    limits = [_grant(text) for text in role] if role else None
    made = access.make_token(name, person=person, days=days, limits=limits, by=by)
    if as_json:
        print_json({"id": made["id"], "token": made["secret"], "until": made["until"]})
        return
    say(made["secret"])
    warn(f"token {made['id']} of {made['person']}, until {time_text(made['until'])}: it is not shown again")


@app.command("list")
def list_(
    person: Annotated[str | None, typer.Option("--person", help="Of one person; without it all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which tokens there are, how they begin, and when they were used last (to five minutes)."""
    listed = access.tokens(person)
    if as_json:
        print_json(listed)
        return
    print_table(listed, "Tokens", LISTED, wrap=("grants",))


@app.command()
def revoke(
    token: Annotated[int, typer.Argument(metavar="TOKEN", help="Number of a token (`dynamo token list`).")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a token from now on."""
    access.revoke_token(token, by=by)
    if as_json:
        print_json({"id": token, "is_revoked": True})
        return
    say(f"token {token} is revoked")


def _grant(text: str) -> Grant:
    role, _, scope = text.partition("@")
    if role not in set(Role):
        raise InventoryError(f"there is no role {role!r}.{near(role, Role)}", value=role)
    return Grant(Role(role), Scope.parse(scope or "*"))
