"""``dynamo init``: a new installation."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.installation import VARIABLE
from dynamo_ops.cli.terminal.confirm import choose
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import is_terminal, say, warn
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.configuration.new_installation import mark, new_files, write_files

WINS = (VARIABLE, "DYNAMO_CONFIG_DIR", "DYNAMO_POLICY_DIR")
"""Variables that would name something else than the new installation has."""
LAST_COPIES = {"never": "never deleted", "always": "may be deleted, unless a policy protects them"}
QUESTION = """\
Are these storages the only home of the data?
  yes: the last copy of a block is never deleted (last_copies: never)
  no:  they are a cache, everything can be had again: it may be (last_copies: always)
Only home"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Home of the new installation.")],
    only_home: Annotated[
        bool | None,
        typer.Option(
            "--only-home/--cache",
            help="Whether these storages are the only home of the data, or a cache of what is elsewhere too: then even "
            "last copies may be deleted.",
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="DYNAMO_DB_URL",
            help="PostgreSQL to use (postgresql://…), brought to the present schema; without it, one from the wheel is "
            "made in DIR/postgres.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an installation in DIR: settings, policies, database. Nothing that is there is overwritten."""
    home = folder.expanduser().absolute()
    files = new_files(home)
    last_copies = "never" if _is_only_home(only_home) else "always"
    try:
        home.mkdir(parents=True, exist_ok=True)
        place = _prepare_database(home, database)
        write_files(files, last_copies=last_copies)
        mark(home, database=database)
    except OSError as error:
        raise SettingsError(
            f"{error.filename or home}: {error.strerror}; choose a folder that you may write in",
            file=str(home),
            key="home",
            reason=str(error),
        ) from error
    if as_json:
        print_json({"home": str(home), "database": place, "last_copies": last_copies})
    else:
        _tell(home, place, last_copies)


def _is_only_home(answer: bool | None) -> bool:
    """The answer by flag, or asked for. It has no default: the wrong one costs data, or a full disk."""
    if answer is not None:
        return answer
    if not is_terminal(sys.stdin):
        raise SettingsError(
            "nobody is there to be asked whether these storages are the only home of the data: say --only-home (the "
            "last copy of a block is never deleted) or --cache (it may be)",
            file="",
            key="last_copies",
            reason="not said",
        )
    return choose(QUESTION)


def _prepare_database(home: Path, url: str | None) -> str:
    """The database with the present schema; returns its URL as it may be shown."""
    from dynamo_ops.database import connect, migrate

    if url is None:
        return connect.create(home).safe_url
    database = connect.named(url)
    migrate.upgrade(database)
    return database.safe_url


def _tell(home: Path, database: str, last_copies: str) -> None:
    for variable in WINS:
        if os.environ.get(variable, str(home)) != str(home):
            warn(f"{variable} is set and wins over what {home} says: unset it")
    say(
        f"{home} is an installation now, with the shipped configuration.\n"
        f"Database: {database}\n"
        f"Last copies: {LAST_COPIES[last_copies]} (last_copies: {last_copies} in config/gates.yaml)\n"
        "Next: name sources, FTS and credentials in config/dynamo.yaml, and your data in config/partitions.txt and "
        f"policies.\nCommands find it in this folder and below, or anywhere by\n"
        f"    export {VARIABLE}={shlex.quote(str(home))}"
    )
