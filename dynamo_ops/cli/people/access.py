"""``dynamo access``: who may do what."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.access.person import Grant, Role, Scope
from dynamo_ops.cli.terminal.options import AsJson, By, Reason, Until, future
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import access
else:
    access = Way("access")

app = typer.Typer(no_args_is_help=True, help="Rights: who may do what, where, until when.")

Subject = Annotated[str, typer.Argument(metavar="WHO", help="A person, or @role of Airflow's auth manager.")]
PersonName = Annotated[str, typer.Argument(metavar="PERSON", help="A person, as Airflow's auth manager calls them.")]
RoleName = Annotated[Role, typer.Argument(metavar="ROLE", help=f"One of {', '.join(Role)}.")]
ScopeText = Annotated[
    str, typer.Option("--scope", help="Where: *, site:GLOB, group:GLOB, partition:GLOB, namespace:GLOB.")
]
GroupName = Annotated[str, typer.Argument(metavar="GROUP", help="Name of a group.")]

GRANTED = {
    "subject": "who",
    "role": "role",
    "scope": "scope",
    "until": "until",
    "granted_by": "by",
    "created_at": "since",
    "reason": "reason",
}


class IdentityKind(StrEnum):
    """What a trusted proxy can tell of somebody."""

    CERTIFICATE = "certificate"
    JWT = "jwt"


@app.command()
def grant(
    subject: Subject,
    role: RoleName,
    reason: Reason,
    scope: ScopeText = "*",
    until: Until = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Give WHO a role; again, to change its end (docs/access.md: what each role may)."""
    given = Grant(role, Scope.parse(scope))
    ends_at = future("--until", until)
    access.grant(subject, given, reason=reason, until=ends_at, by=by)
    if as_json:
        print_json({"subject": subject, "role": role, "scope": scope, "until": ends_at})
        return
    say(f"{subject} is {given} now")


@app.command()
def revoke(
    subject: Subject,
    role: RoleName,
    reason: Reason,
    scope: ScopeText = "*",
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Take a role back from WHO, at once; their tokens lose it too."""
    taken = Grant(role, Scope.parse(scope))
    access.revoke(subject, taken, reason=reason, by=by)
    if as_json:
        print_json({"subject": subject, "role": role, "scope": scope, "is_revoked": True})
        return
    say(f"{subject} is not {taken} any more")


@app.command("list")
def list_(
    subject: Annotated[str | None, typer.Argument(metavar="WHO", help="A person, or @role; without it all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Who was given which role, where, until when, by whom and why."""
    listed = access.granted(subject)
    if as_json:
        print_json(listed)
        return
    print_table(listed, "Grants", GRANTED, wrap=("reason",))


@app.command()
def member(
    group: GroupName,
    person: PersonName,
    by: By = None,
    gone: Annotated[bool, typer.Option("--gone", help="They are no longer a member.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make PERSON a member of GROUP: a user asks for copies and locks for the groups that they are a member of."""
    access.set_member(group, person, is_member=not gone, by=by)
    if as_json:
        print_json({"group": group, "person": person, "is_member": not gone})
        return
    say(f"{person} is {'no longer' if gone else 'now'} a member of {group}")


@app.command()
def members(
    group: Annotated[str | None, typer.Argument(metavar="GROUP", help="Name of a group; without it all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Who is a member of which group."""
    listed = access.members(group)
    if as_json:
        print_json(listed)
        return
    print_table(
        listed, "Members", {"group": "group", "person": "person", "created_by": "made so by", "created_at": "since"}
    )


@app.command()
def identity(
    kind: Annotated[IdentityKind, typer.Argument(metavar="KIND", help="certificate or jwt.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="DN of a certificate; of a JWT issuer|subject.")],
    person: Annotated[str | None, typer.Argument(metavar="PERSON", help="Whose it is; without it nobody's.")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say whose a certificate or JWT is that a trusted proxy verified."""
    kept = access.set_identity(kind, value, person, by=by)
    if as_json:
        print_json({"kind": kind, "value": kept, "person": person})
        return
    say(f"{kind} {kept} is {person or 'nobody'}'s now")


@app.command()
def identities(
    person: Annotated[str | None, typer.Argument(metavar="PERSON", help="Whose; without it all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which certificates and JWTs are whose."""
    listed = access.identities(person)
    if as_json:
        print_json(listed)
        return
    names = {
        "person": "person",
        "kind": "kind",
        "value": "DN, or issuer|subject",
        "created_by": "by",
        "created_at": "since",
    }
    print_table(listed, "Identities", names, wrap=("value",))
