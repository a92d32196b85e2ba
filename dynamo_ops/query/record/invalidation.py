"""What was declared invalid, by whom, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.inventory.kinds import CatalogueKind
from dynamo_ops.query.paging.condition import Conditions, check_words
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class InvalidationFilter:
    """Which things. ``names``: or globs, of datasets, ``dataset#block`` or LFNs."""

    names: Sequence[str] = ()
    kinds: Sequence[str] = ()


_INVALIDATIONS = """
    SELECT id, kind, name COLLATE "C" AS name, size_bytes, num_files, reason, created_by, created_at, undone_at,
           undone_by, undone_because
    FROM invalidations"""


def _narrow(_connection: Connection, asked: InvalidationFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.kinds, CatalogueKind, "kind of things")
    conditions.add_any("listed.kind", asked.kinds, "kinds")
    conditions.add_names("listed.name", asked.names, "name")
    return conditions


INVALIDATIONS: Listing[InvalidationFilter] = Listing(
    "invalidations",
    _INVALIDATIONS,
    (
        "id",
        "kind",
        "name",
        "size_bytes",
        "num_files",
        "reason",
        "created_by",
        "created_at",
        "undone_at",
        "undone_by",
        "undone_because",
    ),
    key=("id",),
    narrow=_narrow,
    is_newest_first=True,
)
"""``size_bytes``, ``num_files``: of it, with all below, as it was when it went. ``undone_at``: since then it may come
in again; null: it may not."""
