"""``dynamo login``, ``logout``, ``whoami``, ``server``: of which server one is, as whom."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from dynamo_ops.cli.terminal.confirm import type_secret
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.cli.terminal.way import is_afar

Url = Annotated[str, typer.Argument(metavar="URL", help="Address of a server: https://dynamo.example.org.")]
SERVERS = {"server": "server", "is_default": "meant where none is named", "allow_plain_http": "in the clear"}

server_app = typer.Typer(no_args_is_help=True, help="Servers that one has logged in to: which is meant.")


def login(
    url: Url,
    user: Annotated[
        str | None,
        typer.Option("--user", help="Make a token by a name and a password of Airflow, which is asked for."),
    ] = None,
    days: Annotated[float, typer.Option("--days", min=0, help="For how long that token is good.")] = 30,
    with_token: Annotated[
        bool, typer.Option("--with-token", "--password-stdin", help="Read it from standard input: do not ask.")
    ] = False,
    is_default: Annotated[
        bool | None,
        typer.Option("--default/--no-default", help="Whether it is meant where none is named; without: the first is."),
    ] = None,
    allow_plain_http: Annotated[
        bool,
        typer.Option("--allow-plain-http", help="Also without https to another machine: the token is read on its way."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give commands to the server at URL from now on: a token is asked for, tried, and kept where nobody else reads.
    With --user it is made."""
    from dynamo_ops.client import Dynamo
    from dynamo_ops.client.credentials import credentials_file, save_login

    if user is None:
        token = _typed("Token", is_piped=with_token)
    else:
        from dynamo_ops.client.password import token_by_password

        password = _typed(f"Password of {user}", is_piped=with_token)
        token = token_by_password(url, user, password, days=days, allow_plain_http=allow_plain_http)
    with Dynamo(url, token, allow_plain_http=allow_plain_http) as server:
        me = server.get("/me")
    saved = save_login(url, token, is_default=is_default, allow_plain_http=allow_plain_http)
    if as_json:
        print_json({"server": saved.server, "name": me["name"]})
        return
    say(f"{me['name']} at {saved.server}: {_roles(me)}")
    say(f"kept in {credentials_file()}; `dynamo logout` removes it")


def logout(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="Address of a server; without it the one that is meant.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forget the token for a server. It stays good until it is over: `dynamo token revoke` ends it before."""
    from dynamo_ops.client.credentials import forget_login

    forgotten = forget_login(url)
    if as_json:
        print_json({"server": forgotten.server})
    else:
        say(f"no token for {forgotten.server} any more")


def whoami(as_json: AsJson = False) -> None:
    """Who one is, where, and what one may."""
    if is_afar():
        from dynamo_ops.cli.afar.server import server

        me = {"server": server().server, **server().get("/me")}
    else:
        me = {"server": None, **_in_a_shell()}
    if as_json:
        print_json(me)
        return
    where = f"at {me['server']}" if me["server"] else "in a shell of the installation"
    say(f"{me['name']} {where}: {_roles(me)}")
    if me["groups"]:
        say(f"member of {', '.join(me['groups'])}")


@server_app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The servers that one has a token for."""
    from dynamo_ops.client.credentials import read_logins

    logins = read_logins()
    rows = [
        {"server": base, "is_default": base == logins.default, "allow_plain_http": one.allow_plain_http}
        for base, one in sorted(logins.by_server.items())
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, "Servers", SERVERS)


@server_app.command("use")
def use(url: Url, as_json: AsJson = False) -> None:
    """Mean the server at URL where none is named."""
    from dynamo_ops.client.credentials import set_default

    meant = set_default(url)
    if as_json:
        print_json({"server": meant.server})
    else:
        say(f"commands go to {meant.server}")


def _typed(what: str, *, is_piped: bool) -> str:
    if is_piped:
        return sys.stdin.readline().rstrip("\n")
    return type_secret(what, otherwise="give it on standard input, with --with-token")


def _in_a_shell() -> dict[str, Any]:
    """As ``GET /me`` says it of others."""
    from dynamo_ops.access.person import shell_person

    person = shell_person()
    grants = [{"role": grant.role, "scope": str(grant.scope)} for grant in person.grants]
    return {"name": person.name, "known_by": person.known_by, "token_id": None, "grants": grants, "groups": []}


def _roles(me: dict[str, Any]) -> str:
    grants = me["grants"]
    held = [grant["role"] if grant["scope"] == "*" else f"{grant['role']} of {grant['scope']}" for grant in grants]
    return ", ".join(held) or "no role: reads, where everybody may"
