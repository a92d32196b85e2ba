"""Names of groups and sites in the settings of plugins, as ids of the inventory."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.text import near
from dynamo_ops.inventory.frames import NULL_GROUP, InventoryFrames


def site_ids(frames: InventoryFrames, names: Sequence[str], *, key: str) -> list[int]:
    """Ids of these sites. SettingsError that names ``key``, the unknown site and near names."""
    ids = dict(frames.sites.select("site", "site_id").iter_rows())
    return [ids[_known(name, ids, "site", key)] for name in names]


def group_ids(frames: InventoryFrames, names: Sequence[str], *, key: str) -> list[int | None]:
    """Ids of these groups, null for ``None``: the null group. SettingsError as in ``site_ids``."""
    ids: dict[str, int | None] = dict(frames.groups.select("group", "group_id").iter_rows())
    ids[NULL_GROUP] = None
    return [ids[_known(name, ids, "group", key)] for name in names]


def owned_by(ids: Sequence[int | None]) -> pl.Expr:
    """True for block replicas whose ``group_id`` is one of ``ids``; never null."""
    named = [group_id for group_id in ids if group_id is not None]
    return pl.col("group_id").is_in(named).fill_null(None in ids)


def _known(name: str, known: dict[str, int] | dict[str, int | None], what: str, key: str) -> str:
    if name not in known:
        reason = f"no {what} is called {name!r}.{near(name, known)}"
        raise SettingsError(f"{key}: {reason}", file="", key=key, reason=reason)
    return name
