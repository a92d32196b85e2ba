"""Plans of Detox and Dealer, newest first, and all about one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import record as dealer_record
from dynamo_ops.dealer.report import describe as dealer_describe
from dynamo_ops.detox.report import describe, stored
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.record import scan
from dynamo_ops.plan.states import PlanKind, PlanState
from dynamo_ops.plan.story import PlanStory, load_story
from dynamo_ops.query.paging.condition import Conditions, check_words, moment_asked
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class PlanFilter:
    """Which plans. ``partitions``, ``runs``: names or globs. ``since``: made from then on. ``before``: of lower ids."""

    kinds: Sequence[str] = ()
    partitions: Sequence[str] = ()
    states: Sequence[str] = ()
    runs: Sequence[str] = ()
    since: str | None = None
    before: int | None = None


_COLUMNS = (
    "id",
    "kind",
    "partition",
    "state",
    "run_key",
    "planned_for_at",
    "created_at",
    "stored_by",
    "approved_by",
    "approved_at",
    "refused_by",
    "refused_at",
    "refused_because",
    "committed_at",
    "size_bytes",
)
_PLANS = """
    SELECT id, kind, partition COLLATE "C" AS partition, state, run_key COLLATE "C" AS run_key, planned_for_at,
           created_at, stored_by, approved_by, approved_at, refused_by, refused_at, refused_because, committed_at,
           CAST(coalesce(summary ->> 'deleted_bytes', summary ->> 'copied_bytes') AS bigint) AS size_bytes
    FROM plans"""


def story_of(database: Database, plan_id: int, kind: str | None = None) -> PlanStory:
    """What became of a plan, whichever engine made it, or of one of ``kind``. Raises UnknownPlanError, PlanError."""
    return load_story(database, plan_id, kind or plan_store.load(database, plan_id).kind)


def plan_story(database: Database, plan_id: int, kind: str | None = None) -> dict[str, Any]:
    """What became of one as a document, without a look at its files: who stored, approved, refused it and why; the
    figures that were stored with it; ``etag``, for who decides about it. Raises UnknownPlanError, and PlanError where
    it is none of ``kind``."""
    return _story_document(story_of(database, plan_id, kind))


def plan_card(database: Database, plan_id: int, kind: str | None = None) -> dict[str, Any]:
    """All about one as a document: as ``plan_story``; its figures; its sites before and after; by policy line (Detox)
    or by plugin (Dealer). Raises UnknownPlanError, and PlanError where its files are gone, or it is none of ``kind``.
    """
    story = story_of(database, plan_id, kind)
    document = _story_document(story)
    if story.stored.kind == PlanKind.DETOX:
        record = stored.read_record(database, story)
        return {**document, **describe.plan_document(record, describe.overview(record))}
    return {**document, **dealer_describe.plan_document(dealer_record.read_record(database, story))}


def plan_sites(database: Database, plan_id: int) -> list[dict[str, Any]]:
    """Its sites before and after, all that its file has of them; an infinite occupancy (quota 0) is null. Raises
    UnknownPlanError, and PlanError where the file is gone."""
    return describe.json_rows(scan(plan_store.load(database, plan_id).location, "site_states").collect())


def plan_texts(database: Database, plan_id: int) -> dict[str, Any]:
    """What a plan was made by, as a document: policy_sha256, policy_text, and inputs (policy, partitions and rules as
    they were then; null for one that was stored without, by an older version)."""
    story = story_of(database, plan_id)
    return {
        "id": plan_id,
        "policy_sha256": story.policy_sha256,
        "policy_text": story.policy_text,
        "inputs": story.inputs_document(),
    }


def _story_document(story: PlanStory) -> dict[str, Any]:
    plan = story.stored
    return {"kind": plan.kind, **story.document(), "planned_for_at": plan.planned_for_at, "etag": plan.etag}


def _narrow(_connection: Connection, asked: PlanFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.kinds, PlanKind, "kind of a plan")
    check_words(asked.states, PlanState, "state of a plan")
    conditions.add_any("listed.kind", asked.kinds, "kinds")
    conditions.add_any("listed.state", asked.states, "states")
    conditions.add_names("listed.partition", asked.partitions, "partition")
    conditions.add_names("listed.run_key", asked.runs, "run")
    if asked.since is not None:
        conditions.add("listed.created_at >= :since", since=moment_asked(asked.since, as_of))
    if asked.before is not None:
        conditions.add("listed.id < :before", before=asked.before)
    return conditions


def _explain_nothing(connection: Connection, asked: PlanFilter) -> None:
    for pattern in asked.partitions:
        conditions = Conditions()
        conditions.add_names("listed.partition", [pattern], "partition")
        known = f"SELECT EXISTS (SELECT FROM ({_PLANS}) AS listed WHERE {conditions.sql})"
        if not connection.execute(text(known), conditions.params).scalar():
            names = list(connection.execute(text("SELECT DISTINCT partition FROM plans ORDER BY 1")).scalars())
            raise UnknownNameError(plan_store.no_partition(pattern, names), partition=pattern)


PLANS: Listing[PlanFilter] = Listing(
    "plans",
    _PLANS,
    _COLUMNS,
    key=("id",),
    narrow=_narrow,
    explain_nothing=_explain_nothing,
    is_newest_first=True,
)
"""``planned_for_at``: the moment that it decides for. ``stored_by``: who stored it by hand; null: a cycle's."""
