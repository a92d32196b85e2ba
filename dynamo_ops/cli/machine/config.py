"""``dynamo config``: whether the configuration can be used, and which settings there are. Changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.base.errors import DynamoError, SettingsError
from dynamo_ops.base.installation import find_installation
from dynamo_ops.base.settings import config_folder
from dynamo_ops.base.text import near
from dynamo_ops.cli.terminal.cells import count
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say, write
from dynamo_ops.cli.terminal.tables import print_json

if TYPE_CHECKING:
    from dynamo_ops.configuration.check import Checked

app = typer.Typer(no_args_is_help=True, help="The configuration: check it, look settings up.")


@app.command()
def check(
    against_inventory: Annotated[
        bool | None,
        typer.Option(
            "--against-inventory/--no-inventory",
            help="Whether names of sites and groups are looked up in the inventory; left out: if its database runs.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Every fault of every file of the configuration, with file, key and reason. Exit code 2 if there is one.

    Policies have a check of their own: `dynamo policy check`.
    """
    from dynamo_ops.configuration.check import check_configuration

    installation = find_installation()
    folder = config_folder(installation)
    checked = check_configuration(folder, installation, datetime.now(UTC))
    unchecked = None
    if against_inventory is not False:
        unchecked = _check_names(checked, folder, is_asked_for=against_inventory is True)
    if as_json:
        print_json(
            {"files": checked.files, "faults": [asdict(fault) for fault in checked.faults], "unchecked": unchecked}
        )
    else:
        _tell(checked, unchecked)
    if checked.faults:
        raise typer.Exit(2)


@app.command()
def settings(
    names: Annotated[list[str] | None, typer.Argument(help="Parts of keys, such as fts.url; all, if left out.")] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/settings.md.")] = False,
) -> None:
    """All settings of all files: type, default, unit, meaning."""
    from dynamo_ops.configuration.reference import all_settings, markdown

    if as_markdown:
        write(markdown())
        return
    chosen = [setting for setting in all_settings() if not names or any(name in setting.key for name in names)]
    if not chosen:
        keys = [setting.key for setting in all_settings()]
        raise typer.BadParameter(f"no key has {' or '.join(names or ())} in it.{near((names or [''])[0], keys)}")
    if as_json:
        print_json([asdict(setting) for setting in chosen])
        return
    for setting in chosen:
        facts = [setting.type, setting.unit, f"default {setting.default}" if setting.default else ""]
        say(f"{setting.file}: {setting.key}  ({'; '.join(filter(None, facts))})", bold=True)
        say(f"    {setting.meaning}")


def _check_names(checked: Checked, folder: Path, *, is_asked_for: bool) -> str | None:
    """Add the names that the inventory does not know to the faults; why that was not done, if it was not."""
    from dynamo_ops.configuration.inventory import check_names
    from dynamo_ops.database.connect import running
    from dynamo_ops.inventory.replica.read import known_names

    reason = f"{folder}/dynamo.yaml cannot be read, which says where the database is"
    try:
        database = running(checked.settings) if checked.settings else None
        if checked.settings:
            reason = "no database is running (`dynamo db status` starts it)"
        if database:
            sites, groups = known_names(database)
            if not sites.is_empty():
                checked.faults += check_names(checked, folder, sites["name"].to_list(), groups)
                return None
            reason = "the inventory has no sites yet"
    except DynamoError as error:
        reason = error.message
    if is_asked_for:
        raise SettingsError(f"names of sites and groups cannot be looked up: {reason}", file="", key="", reason=reason)
    return f"names of sites and groups are not looked up: {reason}"


def _tell(checked: Checked, unchecked: str | None) -> None:
    for fault in checked.faults:
        say(str(fault), colour="red")
    if unchecked:
        say(unchecked, colour="cyan")
    say(f"{count(len(checked.files), 'file')} read, {count(len(checked.faults), 'fault')}")
