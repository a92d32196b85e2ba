"""Where a site's files are, by protocol, as sources report it; as a person says it: ``catalogue.injection``.

What a source reports of a place that is known is believed at once only where nothing is under way: a job that reads by
one address must not end by another, and what is asked for at a wrong one is "not found", which would count as deleted
(SEMANTICS §10). Until then the old endpoint stays in force, and no new batch is made for the site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import find_site
from dynamo_ops.inventory.states import ACTIVE, LIVE_TRANSFERS, OPEN_BATCHES, BatchState, SubscriptionAction

MOVING = "(SELECT site_id FROM site_endpoints WHERE proposed_at IS NOT NULL)"
"""Ids of sites whose source reports another endpoint than the one in force: no new batch is made for them."""

_IN_FORCE = "prefix = old.proposed_prefix, mapping = old.proposed_mapping"
_NO_PROPOSAL = "proposed_prefix = NULL, proposed_mapping = NULL, proposed_at = NULL"

_INSERT = """
    INSERT INTO site_endpoints (site_id, protocol, prefix, mapping)
    SELECT site_id, protocol, prefix, mapping FROM reported_endpoints ORDER BY 1, 2 ON CONFLICT DO NOTHING"""

_FORGET = f"""
    UPDATE site_endpoints AS old SET {_NO_PROPOSAL} FROM reported_endpoints AS new
    WHERE new.site_id = old.site_id AND new.protocol = old.protocol AND old.proposed_at IS NOT NULL
      AND (old.prefix, old.mapping) IS NOT DISTINCT FROM (new.prefix, new.mapping)"""

_PROPOSE = """
    UPDATE site_endpoints AS old SET proposed_prefix = new.prefix, proposed_mapping = new.mapping, proposed_at = now()
    FROM reported_endpoints AS new
    WHERE new.site_id = old.site_id AND new.protocol = old.protocol
      AND (old.prefix, old.mapping) IS DISTINCT FROM (new.prefix, new.mapping)
      AND (old.proposed_at IS NULL
           OR (old.proposed_prefix, old.proposed_mapping) IS DISTINCT FROM (new.prefix, new.mapping))"""

_IS_PENDING = f"""(
    EXISTS (SELECT FROM deletion_batches AS batch WHERE batch.site_id = old.site_id
            AND batch.state = '{BatchState.PLANNED}')
    OR EXISTS (SELECT FROM subscriptions AS deletion WHERE deletion.site_id = old.site_id
               AND deletion.action = '{SubscriptionAction.DELETE}' AND deletion.state IN {ACTIVE})
    OR EXISTS (SELECT FROM transfer_batches AS batch WHERE batch.state IN {OPEN_BATCHES} AND (
        batch.site_id = old.site_id OR EXISTS (
            SELECT FROM transfers AS transfer WHERE transfer.batch_id = batch.id AND transfer.state IN {LIVE_TRANSFERS}
              AND (transfer.source_site_id = old.site_id OR old.site_id = ANY(transfer.other_source_site_ids))))))"""
"""Files are being copied to or from the site, or are to be deleted there."""

_ACCEPT = f"UPDATE site_endpoints AS old SET {_IN_FORCE}, {_NO_PROPOSAL} WHERE old.proposed_at IS NOT NULL"

# A site that is reported without any keeps those that it has: they were more likely forgotten than taken away.
_DROP = """
    DELETE FROM site_endpoints AS old
    WHERE old.site_id IN (SELECT site_id FROM reported_endpoints)
      AND NOT EXISTS (SELECT FROM reported_endpoints AS new
                      WHERE new.site_id = old.site_id AND new.protocol = old.protocol)"""


def follow(connection: Connection, reported: str, params: Mapping[str, Any] | None = None) -> None:
    """A source reports ``reported`` (site_id, protocol, prefix, mapping; a SELECT): all endpoints of its sites."""
    connection.execute(text("DROP TABLE IF EXISTS reported_endpoints"))
    connection.execute(
        text(f"CREATE TEMPORARY TABLE reported_endpoints ON COMMIT DROP AS {reported}"), dict(params or {})
    )
    for statement in (_INSERT, _FORGET, _PROPOSE, f"{_ACCEPT} AND NOT {_IS_PENDING}", _DROP):
        connection.execute(text(statement))


def proposed(database: Database, site: str) -> pl.DataFrame:
    """What ``accept`` would put in force: site, protocol, prefix (in force now), proposed_prefix, proposed_at.
    InventoryError when the site is unknown, or nothing is proposed."""
    with database.begin() as connection:
        find_site(connection, site)
    endpoints = database.frame(PROPOSED).filter(pl.col("site") == site)
    if endpoints.is_empty():
        raise _nothing_proposed(site)
    return endpoints


def accept(database: Database, site: str) -> int:
    """A person says that what the source reports is right, whatever is under way: it is in force now. How many
    protocols changed. InventoryError when the site is unknown, or nothing is proposed."""
    with database.begin() as connection:
        site_id = find_site(connection, site).id
        changed = connection.execute(text(f"{_ACCEPT} AND old.site_id = :site"), {"site": site_id}).rowcount
    if not changed:
        raise _nothing_proposed(site)
    return changed


def _nothing_proposed(site: str) -> InventoryError:
    return InventoryError(f"{site}: its source reports no other endpoint than the one in force", site=site)


PROPOSED = """
    SELECT site.name AS site, endpoint.protocol, endpoint.prefix, endpoint.proposed_prefix, endpoint.proposed_at
    FROM site_endpoints AS endpoint JOIN sites AS site ON site.id = endpoint.site_id
    WHERE endpoint.proposed_at IS NOT NULL ORDER BY 1, 2"""
"""Endpoints that are reported and not in force: site, protocol, prefix (in force), proposed_prefix, proposed_at."""
