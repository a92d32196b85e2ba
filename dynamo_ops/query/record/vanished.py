"""What sources told of once and do not tell any more, as it was noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.inventory.catalogue.vanished import KINDS
from dynamo_ops.query.paging.condition import Conditions, check_words
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class VanishedFilter:
    """Which things. ``names``: or globs, of datasets, ``dataset#block`` or LFNs."""

    kinds: Sequence[str] = ()
    sources: Sequence[str] = ()
    names: Sequence[str] = ()


_VANISHED = 'SELECT id, kind, name COLLATE "C" AS name, source, size_bytes, vanished_at FROM vanished'


def _narrow(_connection: Connection, asked: VanishedFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.kinds, KINDS, "kind of things")
    conditions.add_any("listed.kind", asked.kinds, "kinds")
    conditions.add_any("listed.source", asked.sources, "sources")
    conditions.add_names("listed.name", asked.names, "name")
    return conditions


VANISHED: Listing[VanishedFilter] = Listing(
    "things",
    _VANISHED,
    ("id", "kind", "name", "source", "size_bytes", "vanished_at"),
    key=("id",),
    narrow=_narrow,
    is_newest_first=True,
)
"""``size_bytes``: of all that the inventory has in it. ``vanished_at``: when the merge noticed."""
