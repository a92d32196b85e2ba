"""What sources told of once and do not tell any more, as it was noticed; and the datasets that are set aside, since a
source told a bad record of them."""

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


@dataclass(frozen=True)
class SetAsideFilter:
    """Which datasets. ``datasets``: names or globs."""

    sources: Sequence[str] = ()
    datasets: Sequence[str] = ()


_SET_ASIDE = """
    SELECT aside.id, aside.dataset COLLATE "C" AS dataset, aside.source, aside.reason, aside.first_at, aside.last_at,
           aside.until, aside.num_runs, aside.run_key, known.id IS NOT NULL AS is_known
    FROM set_aside_datasets AS aside LEFT JOIN datasets AS known ON known.name = aside.dataset"""


def _narrow_set_aside(_connection: Connection, asked: SetAsideFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    conditions.add_any("listed.source", asked.sources, "sources")
    conditions.add_names("listed.dataset", asked.datasets, "dataset")
    return conditions


SET_ASIDE: Listing[SetAsideFilter] = Listing(
    "datasets",
    _SET_ASIDE,
    ("id", "dataset", "source", "reason", "first_at", "last_at", "until", "num_runs", "run_key", "is_known"),
    key=("id",),
    narrow=_narrow_set_aside,
    is_newest_first=True,
)
"""``until``: the end of the interval of the newest pull that told it so. ``is_known``: the inventory has the dataset,
as it was told before."""
