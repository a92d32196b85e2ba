"""Why a proposal became a copy, and why at this site and not at that one: told from what the plan has kept.

The sites are put back into the state that they had at the proposal's turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.text import near
from dynamo_ops.base.units import size_text
from dynamo_ops.dealer.engine.item import MIXED, NULL_OWNER
from dynamo_ops.dealer.engine.site import TargetSites, limits_of, sites_of_states
from dynamo_ops.dealer.record import DealerRecord
from dynamo_ops.inventory.frames import NULL_GROUP

Row = Mapping[str, Any]

SITE_VERDICTS = {
    "site": pl.String,
    "verdict": pl.String,
    "why": pl.String,
    "occupancy_after": pl.Float64,
    "weight": pl.Float64,
}


@dataclass(frozen=True)
class Explanation:
    """One proposal. ``proposal``: its row of ``CopyPlan.proposals``; ``owner``: name of the group; ``priority``: of its
    plugin; ``verdict``: a sentence. ``sites``: one row a site, by name (the one that was named, if one was):
    ``verdict`` (chosen, could have been drawn, free, no), ``why``, ``occupancy_after``: projected with this copy, null
    where the quota is unknown; ``weight``: probability of being drawn, null where it was no candidate or a destination
    was named."""

    proposal: Row
    owner: str
    priority: int
    verdict: str
    sites: pl.DataFrame


def explain_dataset(record: DealerRecord, dataset: str, site: str | None = None) -> list[Explanation]:
    """All proposals of a plan for ``dataset``, by turn. ``site``: only this one is looked at in ``sites``.

    Raises PlanError naming near datasets or sites when there is none of the name.
    """
    rows = record.proposals.filter(pl.col("dataset") == dataset).sort("turn", "number", nulls_last=True)
    if rows.is_empty():
        known = record.proposals["dataset"].drop_nulls().unique().to_list()
        raise PlanError(f"{record.name} has no proposal for {dataset!r}.{near(dataset, known)}", dataset=dataset)
    names = record.site_states["site"].to_list()
    if site is not None and site not in names:
        raise PlanError(f"{record.name} knows no site {site!r}.{near(site, names)}", site=site)
    return [_explain(record, row, site) for row in rows.iter_rows(named=True)]


def _explain(record: DealerRecord, row: Row, site: str | None) -> Explanation:
    sites = _sites_at(record, row)
    verdicts = _verdicts(record, row, sites)
    if site is not None:
        verdicts = verdicts.filter(pl.col("site") == site)
    elif row["asked_site_id"] in sites.place_of:
        verdicts = verdicts.filter(pl.col("site") == sites.names[sites.place_of[row["asked_site_id"]]])
    given = record.config.plugins.get(row["plugin"])
    return Explanation(
        proposal=row,
        owner=_owner(record, row["group_id"]),
        priority=given.priority if given else 1,
        verdict=_sentence(record, row, sites),
        sites=verdicts,
    )


def _sites_at(record: DealerRecord, row: Row) -> TargetSites:
    """The sites as they were at the proposal's turn; at the end of the cycle if it never had one."""
    sites = sites_of_states(record.site_states, limits_of(record.config))
    before = record.accepted
    if row["turn"] is not None:
        before = before.filter(pl.col("turn") < row["turn"])
    for site_id, size in before.group_by("site_id").agg(pl.col("size_bytes").sum()).sort("site_id").iter_rows():
        sites.add(sites.place_of[site_id], size)
    return sites


def _verdicts(record: DealerRecord, row: Row, sites: TargetSites) -> pl.DataFrame:
    size = row["size_bytes"]
    weights = sites.weights(size)
    barred = [_why_not(record, row, sites, place) for place in range(len(sites.names))]
    is_drawn = row["asked_site_id"] is None and row["turn"] is not None
    open_ = np.array([why is None for why in barred]) & (weights > 0)
    total = float(weights[open_].sum())
    rows = []
    for place, name in enumerate(sites.names):
        is_chosen = row["copy"] is not None and row["site_id"] == sites.ids[place]
        why = barred[place]
        if why is None and (weights[place] <= 0 if is_drawn else _is_full(record, row, sites, place)):
            why = "it would be more than full with it"
        after = None if not sites.is_known[place] else sites.occupancy_with(place, size)
        drawn = float(weights[place] / total) if is_drawn and open_[place] else None
        verdict = "chosen" if is_chosen else "no" if why else "could have been drawn" if is_drawn else "free"
        rows.append((name, verdict, "" if is_chosen or why is None else why, after, drawn))
    return pl.DataFrame(rows, schema=SITE_VERDICTS, orient="row")


def _why_not(record: DealerRecord, row: Row, sites: TargetSites, place: int) -> str | None:
    """Why the site could not be the destination at that turn; None if it could."""
    site_id = int(sites.ids[place])
    asked, candidates = row["asked_site_id"], row["candidate_site_ids"]
    if asked is not None and asked != site_id:
        return "another destination was named"
    if isinstance(candidates, list) and site_id not in candidates:
        return "it is not among the sites asked for"
    reason = sites.why_no_target(place)
    if reason:
        return reason
    rule = record.forbidden.filter((pl.col("placement") == row["placement"]) & (pl.col("site_id") == site_id))["rule"]
    if len(rule):
        return f"forbidden by placement rule {rule[0]}"
    return _already_there(record, row, site_id) or _promised(record, row, site_id)


def _is_full(record: DealerRecord, row: Row, sites: TargetSites, place: int) -> bool:
    """A named destination that lacks the item would go above its quota."""
    there = (pl.col("item") == row["item"]) & (pl.col("site_id") == int(sites.ids[place]))
    return record.present.filter(there).is_empty() and sites.is_full_with(place, row["size_bytes"])


def _already_there(record: DealerRecord, row: Row, site_id: int) -> str | None:
    there = record.present.filter((pl.col("item") == row["item"]) & (pl.col("site_id") == site_id))["owner"]
    if not len(there):
        return None
    owner = int(there[0])
    if owner == row["group_id"]:
        return f"it has it already, owned by {_owner(record, owner)}"
    if row["asked_site_id"] is not None:
        return None
    return f"it has it already, owned by {'several groups' if owner == MIXED else _owner(record, owner)}"


def _promised(record: DealerRecord, row: Row, site_id: int) -> str | None:
    """It was promised the same in this cycle before."""
    same = pl.col("item") == row["item"] if row["block_ids"] else pl.col("dataset_id") == row["dataset_id"]
    whole = pl.col("block_ids").is_null() & (pl.col("dataset_id") == row["dataset_id"])
    earlier = record.accepted.filter(
        (same | whole) & (pl.col("site_id") == site_id) & (pl.col("turn") < (row["turn"] or 0))
    )
    if row["block_ids"] is None:
        earlier = earlier.filter(pl.col("block_ids").is_null())
    return f"copy {earlier['copy'][0]} of this plan brings it there" if earlier.height else None


def _sentence(record: DealerRecord, row: Row, sites: TargetSites) -> str:
    size = size_text(row["size_bytes"])
    if row["copy"] is None:
        return f"no copy ({size}): {row['outcome']}" + (f": {row['detail']}" if row["detail"] else "")
    name = sites.names[sites.place_of[row["site_id"]]]
    how = "the destination was named"
    if row["weight"] is not None:
        how = f"drawn with probability {row['weight']:.1%} among {row['num_candidates']} sites"
        if row["num_candidates"] == 1:
            how = "the only site that could take it"
    return f"copy {row['copy']} ({size}) to {name}: {how}; turn {row['turn']} of {record.proposals['turn'].count()}"


def _owner(record: DealerRecord, group: int | None) -> str:
    if group is None or group == NULL_OWNER:
        return NULL_GROUP
    return record.groups.get(group, f"group {group}")
