"""Setting quotas of partitions as they are defined, at the sites that somebody means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from dynamo_ops.access.person import Person
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.site.quota import read_quotas, set_quotas
from dynamo_ops.policy.files import read_partitions


@dataclass(frozen=True)
class WantedQuota:
    """Of a leaf partition at sites (names or globs). ``quota_bytes`` None: unknown."""

    partition: str
    sites: Sequence[str]
    quota_bytes: int | None

    def find_sites(self, database: Database, settings: Settings) -> list[str]:
        """The sites that are meant, by name. Raises InventoryError, with near names, for what is no leaf, and for a
        name or glob that means no site."""
        read_partitions(settings, datetime.now(UTC)).check_leaf(self.partition)
        with database.begin() as connection:
            return [site.name for site in find_sites(connection, self.sites)]

    def changes(self, database: Database, settings: Settings) -> list[dict[str, Any]]:
        """What would be: site, partition, old_bytes (null: unknown), new_bytes; also where it is so already."""
        names = pl.DataFrame({"site": self.find_sites(database, settings)}, schema={"site": pl.String})
        quotas = read_quotas(database).filter(pl.col("partition") == self.partition)
        now = names.join(quotas, on="site", how="left", maintain_order="left")
        new = pl.lit(self.quota_bytes, dtype=pl.Int64)
        return now.select("site", partition=pl.lit(self.partition), old_bytes="quota_bytes", new_bytes=new).to_dicts()

    def set(self, database: Database, settings: Settings, *, by: Person, reason: str) -> dict[str, Any]:
        """At all of them, or at none: partition, sites, quota_bytes, num_changed. Raises as ``set_quotas``."""
        sites = self.find_sites(database, settings)
        changed = set_quotas(database, sites, self.partition, self.quota_bytes, by=by, reason=reason)
        return {"partition": self.partition, "sites": sites, "quota_bytes": self.quota_bytes, "num_changed": changed}
