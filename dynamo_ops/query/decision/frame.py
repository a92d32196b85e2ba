"""What the files of a stored plan hold, as lists: decisions, order of deletion, proposals; and how two plans differ."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from dynamo_ops.base.errors import PlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import record as dealer_record
from dynamo_ops.dealer.report.describe import select_proposals
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report import stored
from dynamo_ops.detox.report.describe import (
    FoundRows,
    decided_datasets,
    in_order,
    json_rows,
    rows_document,
    select_decisions,
)
from dynamo_ops.detox.report.difference import LONG, compare, difference_document, short_document
from dynamo_ops.plan.states import DECISIONS, Decision, PlanKind
from dynamo_ops.plan.story import PlanStory, load_story
from dynamo_ops.query.paging.condition import check_words
from dynamo_ops.query.paging.frame import FrameListing, Groups

DIFFERING = "decisions"
"""Of a difference: each decision that is another one."""


def decisions(
    database: Database,
    plan_id: int,
    *,
    site: str | None = None,
    dataset: str | None = None,
    decision: str | None = None,
    line: int | None = None,
) -> FrameListing:
    """Of a plan of Detox, by dataset, site and block: dataset, site, block (``*``: all that the image has), decision,
    line, size_bytes. ``site``, ``dataset``: a name or glob. ``line`` 0: the default."""
    story, record = _detox(database, plan_id)
    _check_decision(decision)

    def between(first: str, last: str) -> pl.LazyFrame:
        part = record.decisions.filter(pl.col("dataset").is_between(pl.lit(first), pl.lit(last)))
        return select(replace(record, decisions=part))

    select = partial(select_decisions, site=site, dataset=dataset, decision=decision, line=line)
    names = decided_datasets(record, site=site, dataset=dataset, decision=decision, line=line)
    question = (story.stored.location, site, dataset, decision, line)
    return FrameListing("decisions", select(record), question, Groups(names, ("dataset", "site", "block"), between))


def decisions_in_all(
    database: Database,
    plan_id: int,
    *,
    site: str | None = None,
    dataset: str | None = None,
    decision: str | None = None,
    line: int | None = None,
    limit: int,
) -> dict[str, Any]:
    """The same as a document: the first ``rows``; of all num_rows, size_bytes, and ``lines``: what the policy lines say
    (line, text) that decided any."""
    _, record = _detox(database, plan_id)
    _check_decision(decision)
    rows = select_decisions(record, site=site, dataset=dataset, decision=decision, line=line).collect()
    lines = record.policy_lines.filter(pl.col("line").is_in(rows["line"].unique().implode())).sort("line")
    document = rows_document(FoundRows(rows.head(limit), rows.height, int(rows["size_bytes"].sum())))
    return {**document, "lines": lines.select("line", "text").to_dicts()}


def order(database: Database, plan_id: int) -> FrameListing:
    """The deletions of a plan of Detox as they follow one another: delete_order (from 1), dataset, site, line,
    num_block_replicas, size_bytes."""
    story, record = _detox(database, plan_id)
    return FrameListing("deletions", in_order(record), (story.stored.location,))


def proposals(
    database: Database,
    plan_id: int,
    *,
    site: str | None = None,
    dataset: str | None = None,
    plugin: str | None = None,
    rejected: bool = False,
) -> FrameListing:
    """Of a plan of the Dealer: those that were accepted, in the order of acceptance, or those that were ``rejected``,
    by turn (columns ``describe.PROPOSAL``). ``site``, ``dataset``: a name or glob."""
    story, selected = _proposals(database, plan_id, site, dataset, plugin, rejected=rejected)
    return FrameListing("proposals", selected.lazy(), (story.stored.location, site, dataset, plugin, rejected))


def proposals_in_all(
    database: Database,
    plan_id: int,
    *,
    site: str | None = None,
    dataset: str | None = None,
    plugin: str | None = None,
    rejected: bool = False,
    limit: int,
) -> dict[str, Any]:
    """The same as a document: the first ``rows``; of all num_rows, size_bytes."""
    _, selected = _proposals(database, plan_id, site, dataset, plugin, rejected=rejected)
    return rows_document(FoundRows(selected.head(limit), selected.height, int(selected["size_bytes"].sum())))


def plan_difference(database: Database, old_id: int, new_id: int, limit: int) -> dict[str, Any]:
    """What a plan of Detox decides otherwise than an older one, as a document (``short_document``): of each table
    the first ``limit`` rows, and num_rows_of, how many there are. Raises PlanError for plans of two partitions."""
    old, new = (_detox(database, plan_id)[1] for plan_id in (old_id, new_id))
    return short_document(old, new, limit)


def whole_difference(database: Database, old_id: int, new_id: int) -> tuple[dict[str, Any], pl.DataFrame]:
    """The same with all rows of its tables, and each decision that differs (``PlanDifference.rows``)."""
    old, new = (_detox(database, plan_id)[1] for plan_id in (old_id, new_id))
    found = compare(old, new)
    return difference_document(old, new, found), found.rows


def difference_table(database: Database, old_id: int, new_id: int, table: str) -> FrameListing:
    """One of its tables (``LONG``), or each decision that differs (``decisions``), as a list."""
    check_words([table], [*LONG, DIFFERING], "table of a difference")
    (old_story, old), (new_story, new) = (_detox(database, plan_id) for plan_id in (old_id, new_id))
    rows: pl.DataFrame = getattr(compare(old, new), "rows" if table == DIFFERING else table)
    return FrameListing(f"{table} that differ", rows.lazy(), (old_story.stored.location, new_story.stored.location))


def first(listing: FrameListing, limit: int) -> list[dict[str, Any]]:
    """Its first rows."""
    return json_rows(listing.rows.head(limit).collect())


def _check_decision(decision: str | None) -> None:
    if decision is not None:
        check_words([decision], [*DECISIONS, Decision.IGNORE], "decision")


def _proposals(
    database: Database, plan_id: int, site: str | None, dataset: str | None, plugin: str | None, *, rejected: bool
) -> tuple[PlanStory, pl.DataFrame]:
    story = load_story(database, plan_id, PlanKind.DEALER)
    record = dealer_record.read_record(database, story)
    if plugin is not None:
        check_words([plugin], record.config.plugins, "plugin of this plan")
    return story, select_proposals(record, site=site, dataset=dataset, plugin=plugin, rejected=rejected)


def _detox(database: Database, plan_id: int) -> tuple[PlanStory, PlanRecord]:
    story = load_story(database, plan_id, PlanKind.DETOX)
    try:
        return story, stored.read_record(database, story)
    except FileNotFoundError as error:
        raise PlanError(f"the files of plan {plan_id} are not there any more", plan_id=plan_id, state=None) from error
