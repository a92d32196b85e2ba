"""How copies or deletions stand, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import names_like
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.query import status
from dynamo_ops.query.paging.condition import moment_asked
from dynamo_ops.query.status import DELETION


def standing(
    database: Database, action: SubscriptionAction, sites: Sequence[str], since: str, now: datetime
) -> dict[str, Any]:
    """As a document: subscribed (``status.counts``), under_way (``status.under_way``), ended (``status.ended``, from
    ``since`` on); of copies also servers (``status.servers``, whatever the sites). ``sites``: names or globs, all if
    none is named. Raises UnknownNameError."""
    begin, names = moment_asked(since, now), _names(database, sites)
    is_deletion = pl.col("backend") == DELETION
    subscribed = status.counts(database, names, action=action.value)
    under_way = status.under_way(database, names)
    ended = status.ended(database, begin, names).filter(pl.col("action") == action)
    return {
        "subscribed": subscribed.to_dicts(),
        "under_way": under_way.filter(is_deletion if action == SubscriptionAction.DELETE else ~is_deletion).to_dicts(),
        "ended": ended.to_dicts(),
        "since": begin,
        **({} if action == SubscriptionAction.DELETE else {"servers": status.servers(database).to_dicts()}),
    }


def all_standing(database: Database, sites: Sequence[str], begin: datetime) -> dict[str, Any]:
    """As ``standing``, copies and deletions together: subscriptions, under_way, ended, servers."""
    names = _names(database, sites)
    return {
        "subscriptions": status.counts(database, names).to_dicts(),
        "under_way": status.under_way(database, names).to_dicts(),
        "ended": status.ended(database, begin, names).to_dicts(),
        "servers": status.servers(database).to_dicts(),
    }


def _names(database: Database, sites: Sequence[str]) -> list[str] | None:
    return names_like(database, *sites) if sites else None
