"""``dynamo inventory`` and ``dynamo inject``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dynamo_ops.cli.output import JsonOption, database, show, size
from dynamo_ops.errors import InventoryError
from dynamo_ops.inventory import injection, read
from dynamo_ops.policy.files import known_partitions
from dynamo_ops.settings import settings

app = typer.Typer(no_args_is_help=True, help="What the inventory knows.")


@app.command()
def summary(as_json: bool = JsonOption) -> None:
    """How much there is, in all and by site."""
    found = read.summary(database())
    if as_json:
        typer.echo(json.dumps({**asdict(found), "sites": found.sites.to_dicts()}, indent=1, default=str))
        return
    for name, value in asdict(found).items():
        if isinstance(value, int):
            shown = size(value) if name.startswith("bytes") or name.endswith("bytes") else f"{value:,}"
            typer.echo(f"{name.replace('_', ' '):28} {shown:>14}")
    show(found.sites, title="Sites", as_json=False)


def inject(
    file: Annotated[str, typer.Argument(help="JSON document, or - for standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
) -> None:
    """Write groups, quotas and replicas of a JSON document into the inventory: all of it or nothing."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        document = json.loads(text)
    except (OSError, ValueError) as error:
        raise InventoryError(f"{file}: cannot be read as JSON: {error}", file=file) from error
    found = injection.inject(
        database(), document, dry_run=dry_run, partitions=known_partitions(settings(), datetime.now(UTC))
    )
    typer.echo(
        f"{'would write' if dry_run else 'written'}: {found.groups:,} groups, {found.quotas:,} quotas, "
        f"{found.dataset_replicas:,} dataset replicas, {found.block_replicas:,} block replicas "
        f"({size(found.size_bytes)})"
    )
