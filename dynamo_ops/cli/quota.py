"""``dynamo quota``: bytes that a partition may take at a site."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import text

from dynamo_ops.cli.output import JsonOption, database, show, size
from dynamo_ops.errors import InventoryError
from dynamo_ops.policy.files import known_partitions
from dynamo_ops.settings import settings

app = typer.Typer(no_args_is_help=True, help="Quotas of partitions at sites.")


@app.command("show")
def show_(as_json: bool = JsonOption) -> None:
    """All quotas: 0 nothing may be there, unlimited, no row: unknown (nothing is deleted or placed)."""
    frame = database().frame("""
        SELECT s.name AS site, q.partition, q.quota_bytes, q.changed_by, q.changed_at
        FROM quotas q JOIN sites s ON s.id = q.site_id ORDER BY s.name, q.partition""")
    show(frame, title="Quotas", as_json=as_json)


@app.command("set", context_settings={"ignore_unknown_options": True})  # -1 is a quota, no option
def set_(
    site: str,
    partition: str,
    quota_bytes: Annotated[int, typer.Argument(min=-(2**63), max=2**63 - 1)],
) -> None:
    """Set a quota in bytes (negative: unlimited)."""
    known = known_partitions(settings(), datetime.now(UTC))
    if partition not in known:
        raise InventoryError(f"unknown partition {partition!r}; known: {', '.join(known)}", partition=partition)
    with database().begin() as connection:
        changed = connection.execute(
            text("""
            INSERT INTO quotas (site_id, partition, quota_bytes, changed_by)
            SELECT id, :partition, :quota, :by FROM sites WHERE name = :site
            ON CONFLICT (site_id, partition) DO UPDATE SET quota_bytes = excluded.quota_bytes,
                changed_by = excluded.changed_by, changed_at = now()"""),
            {"site": site, "partition": partition, "quota": quota_bytes, "by": getpass.getuser()},
        ).rowcount
    if not changed:
        raise InventoryError(f"unknown site {site!r}", site=site)
    typer.echo(f"{partition} at {site}: {size(quota_bytes)}")
