"""Why a proposal became a copy, and why at this site and not at that one: told from what the plan has kept.

The sites are put back into the state that they had at the proposal's turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from dynamo_ops.base.errors import UnknownPlanError
from dynamo_ops.base.glob import glob_matches, texts_expr
from dynamo_ops.base.text import near
from dynamo_ops.base.units import size_text
from dynamo_ops.dealer.engine.item import MIXED, NULL_OWNER
from dynamo_ops.dealer.engine.site import TargetSites, limits_of, sites_of_states
from dynamo_ops.dealer.record import DealerRecord
from dynamo_ops.inventory.frames import NULL_GROUP

Row = Mapping[str, Any]

SITE_VERDICTS = {
    "site": pl.String,
    "quota_bytes": pl.Int64,
    "verdict": pl.String,
    "why": pl.String,
    "occupancy_after": pl.Float64,
    "weight": pl.Float64,
}


@dataclass(frozen=True)
class Explanation:
    """One proposal. ``proposal``: its row of ``CopyPlan.proposals``; ``owner``: name of the group; ``priority``: of its
    plugin; ``verdict``: a sentence. ``sites``: one row a site, by name (the one that was named, if one was):
    ``quota_bytes``: null unknown; ``verdict`` (chosen, could have been drawn, free, no), ``why``, ``occupancy_after``:
    projected with this copy, null where the quota is unknown; ``weight``: probability of being drawn, null where it was
    no candidate or a destination was named."""

    proposal: Row
    owner: str
    priority: int
    verdict: str
    sites: pl.DataFrame


def explain_dataset(record: DealerRecord, dataset: str, site: str | None = None) -> list[Explanation]:
    """All proposals of a plan for ``dataset``, by turn. ``site`` (name or glob): only these are looked at in ``sites``.

    Raises PlanError naming near datasets or sites when there is none of the name.
    """
    proposals = record.proposals.filter(pl.col("dataset") == dataset).sort("turn", "number", nulls_last=True)
    if proposals.is_empty():
        dataset_names = record.proposals["dataset"].drop_nulls().unique().to_list()
        raise UnknownPlanError(
            f"{record.name} has no proposal for {dataset!r}.{near(dataset, dataset_names)}", dataset=dataset
        )
    names = record.site_states["site"].to_list()
    if site is not None and not any(glob_matches(name, site) for name in names):
        raise UnknownPlanError(f"{record.name} knows no site {site!r}.{near(site, names)}", site=site)
    return [_explain(record, proposal, site) for proposal in proposals.iter_rows(named=True)]


def _explain(record: DealerRecord, proposal: Row, site: str | None) -> Explanation:
    sites = _sites_at(record, proposal)
    verdicts = _verdicts(record, proposal, sites)
    if site is not None:
        verdicts = verdicts.filter(texts_expr([site], pl.col("site")))
    elif proposal["asked_site_id"] in sites.place_of:
        verdicts = verdicts.filter(pl.col("site") == sites.names[sites.place_of[proposal["asked_site_id"]]])
    plugin_config = record.config.plugins.get(proposal["plugin"])
    return Explanation(
        proposal=proposal,
        owner=_owner(record, proposal["group_id"]),
        priority=plugin_config.priority if plugin_config else 1,
        verdict=_sentence(record, proposal, sites),
        sites=verdicts,
    )


def _sites_at(record: DealerRecord, proposal: Row) -> TargetSites:
    """The sites as they were at the proposal's turn; at the end of the cycle if it never had one."""
    sites = sites_of_states(record.site_states, limits_of(record.config))
    before = record.accepted
    if proposal["turn"] is not None:
        before = before.filter(pl.col("turn") < proposal["turn"])
    for site_id, size in before.group_by("site_id").agg(pl.col("size_bytes").sum()).sort("site_id").iter_rows():
        sites.add(sites.place_of[site_id], size)
    return sites


def _verdicts(record: DealerRecord, proposal: Row, sites: TargetSites) -> pl.DataFrame:
    size = proposal["size_bytes"]
    weights = sites.weights(size)
    barred = [_why_not(record, proposal, sites, place) for place in range(len(sites.names))]
    is_drawn = proposal["asked_site_id"] is None and proposal["turn"] is not None
    open_ = np.array([why is None for why in barred]) & (weights > 0)
    total = float(weights[open_].sum())
    verdicts = []
    for place, name in enumerate(sites.names):
        is_chosen = proposal["copy"] is not None and proposal["site_id"] == sites.ids[place]
        why = barred[place]
        if why is None and (weights[place] <= 0 if is_drawn else _is_full(record, proposal, sites, place)):
            why = "it would be more than full with it"
        after = None if not sites.is_known[place] else sites.occupancy_with(place, size)
        drawn = float(weights[place] / total) if is_drawn and open_[place] else None
        verdict = "chosen" if is_chosen else "no" if why else "could have been drawn" if is_drawn else "free"
        quota = int(sites.quota[place]) if sites.is_known[place] else None
        verdicts.append((name, quota, verdict, "" if is_chosen or why is None else why, after, drawn))
    return pl.DataFrame(verdicts, schema=SITE_VERDICTS, orient="row")


def _why_not(record: DealerRecord, proposal: Row, sites: TargetSites, place: int) -> str | None:
    """Why the site could not be the destination at that turn; None if it could."""
    site_id = int(sites.ids[place])
    asked, candidates = proposal["asked_site_id"], proposal["candidate_site_ids"]
    if asked is not None and asked != site_id:
        return "another destination was named"
    if isinstance(candidates, list) and site_id not in candidates:
        return _already_there(record, proposal, site_id) or "it is not among the sites asked for"
    reason = sites.why_no_target(place)
    if reason:
        return reason
    rule = record.forbidden.filter((pl.col("placement") == proposal["placement"]) & (pl.col("site_id") == site_id))[
        "rule"
    ]
    if len(rule):
        return f"forbidden by placement rule {rule[0]}"
    return _already_there(record, proposal, site_id) or _promised(record, proposal, site_id)


def _is_full(record: DealerRecord, proposal: Row, sites: TargetSites, place: int) -> bool:
    """A named destination that lacks the item would go above its quota."""
    there = (pl.col("item") == proposal["item"]) & (pl.col("site_id") == int(sites.ids[place]))
    return record.present.filter(there).is_empty() and sites.is_full_with(place, proposal["size_bytes"])


def _already_there(record: DealerRecord, proposal: Row, site_id: int) -> str | None:
    there = record.present.filter((pl.col("item") == proposal["item"]) & (pl.col("site_id") == site_id))["owner"]
    if not len(there):
        return None
    owner = int(there[0])
    if owner == proposal["group_id"]:
        return f"it has it already, owned by {_owner(record, owner)}"
    if proposal["asked_site_id"] is not None:
        return None
    return f"it has it already, owned by {'several groups' if owner == MIXED else _owner(record, owner)}"


def _promised(record: DealerRecord, proposal: Row, site_id: int) -> str | None:
    """It was promised the same in this cycle before."""
    same = (
        pl.col("item") == proposal["item"] if proposal["block_ids"] else pl.col("dataset_id") == proposal["dataset_id"]
    )
    whole = pl.col("block_ids").is_null() & (pl.col("dataset_id") == proposal["dataset_id"])
    earlier = record.accepted.filter(
        (same | whole) & (pl.col("site_id") == site_id) & (pl.col("turn") < (proposal["turn"] or 0))
    )
    if proposal["block_ids"] is None:
        earlier = earlier.filter(pl.col("block_ids").is_null())
    return f"copy {earlier['copy'][0]} of this plan brings it there" if earlier.height else None


def _sentence(record: DealerRecord, proposal: Row, sites: TargetSites) -> str:
    size = size_text(proposal["size_bytes"])
    if proposal["copy"] is None:
        return f"no copy ({size}): {proposal['outcome']}" + (f": {proposal['detail']}" if proposal["detail"] else "")
    name = sites.names[sites.place_of[proposal["site_id"]]]
    how = "the destination was named"
    if proposal["weight"] is not None:
        how = f"drawn with probability {proposal['weight']:.1%} among {proposal['num_candidates']} sites"
        if proposal["num_candidates"] == 1:
            how = "the only site that could take it"
    turn = f"turn {proposal['turn']} of {record.proposals['turn'].count()}"
    return f"copy {proposal['copy']} ({size}) to {name}: {how}; {turn}"


def _owner(record: DealerRecord, group: int | None) -> str:
    if group is None or group == NULL_OWNER:
        return NULL_GROUP
    return record.groups.get(group, f"group {group}")
