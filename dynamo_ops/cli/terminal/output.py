"""How the CLI shows frames and sizes: tables for people, ``--json`` for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import settings
from dynamo_ops.base.units import size_text
from dynamo_ops.database import migrate
from dynamo_ops.database.connect import connect
from dynamo_ops.database.connection import Database

WIDTH = 160
JsonOption = typer.Option(False, "--json", help="Print JSON instead of a table.")


def database() -> Database:
    """The inventory of this installation. Raises SettingsError if its schema is not the one of this version."""
    db = connect(settings())
    revision, head = migrate.revision(db), migrate.head()
    if revision != head:
        raise SettingsError(
            f"{db.safe_url}: its schema is {revision or 'none'}, this version of Dynamo knows {head}; "
            "bring it up to date by `dynamo db upgrade`",
            file="",
            key="db_url",
            reason="another schema",
        )
    return db


def show(frame: pl.DataFrame, *, title: str, as_json: bool) -> None:
    """Print ``frame``; columns of bytes are shown in decimal units."""
    if as_json:
        typer.echo(json.dumps(frame.to_dicts(), default=str, indent=1))
        return
    table = Table(title=title, title_justify="left")
    for name, kind in frame.schema.items():
        numeric = kind.is_numeric()
        table.add_column(
            name.removesuffix("_bytes").replace("_", " "), justify="right" if numeric else "left", no_wrap=True
        )
    for row in frame.iter_rows(named=True):
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def size(value: int | None) -> str:
    """Bytes in decimal units: 1 TB is 10^12 bytes."""
    if value is None:
        return "unknown"
    if value < 0:
        return "unlimited"
    return size_text(value)


def _cell(name: str, value: Any) -> str:
    if "bytes" in name.split("_"):
        return size(value)
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
