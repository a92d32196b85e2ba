"""What became of a stored plan, of either engine, and what it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.inputs import DealerInputs, DetoxInputs, read_dealer_inputs, read_detox_inputs
from dynamo_ops.plan.states import PlanKind, check_kind
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.policy.language.source import SourceText


@dataclass(frozen=True)
class PlanStory:
    """What became of a plan. ``stored``: its row; ``committed_at``: null until it is committed; ``policy_sha256`` and
    ``policy_text``: the policy, or the Dealer's configuration, that it was made under."""

    stored: StoredPlan
    committed_at: datetime | None
    policy_sha256: str
    policy_text: str

    def document(self) -> dict[str, Any]:
        """The story as a JSON document: who stored, approved or refused it, when and why, and all stored figures."""
        plan = self.stored
        return {
            "id": plan.id,
            "partition": plan.partition,
            "state": plan.state,
            "run_key": plan.run_key,
            "created_at": plan.created_at,
            "stored_by": plan.stored_by,
            "approved_by": plan.approved_by,
            "approved_at": plan.approved_at,
            "refused_by": plan.refused_by,
            "refused_at": plan.refused_at,
            "refused_because": plan.refused_because,
            "committed_at": self.committed_at,
            "policy_version": plan.policy_version_id,
            "policy_sha256": self.policy_sha256,
            "summary": plan.summary,
        }

    def inputs_document(self) -> dict[str, Any] | None:
        """What the plan was made of, as a JSON document; null for one that was stored without, by an older version."""
        inputs = self.stored.inputs()
        return inputs.document() if inputs else None


def load_story(database: Database, plan_id: int, kind: str) -> PlanStory:
    """The story of a plan of this kind. Raises PlanError when there is no such plan, or it is one of the other kind."""
    stored = plan_store.load(database, plan_id)
    check_kind(plan_id, stored.kind, stored.state, kind)
    with database.begin() as connection:
        plan_row = connection.execute(
            text("""
            SELECT p.committed_at, v.sha256, v.text FROM plans p JOIN policy_versions v ON v.id = p.policy_version_id
            WHERE p.id = :id"""),
            {"id": plan_id},
        ).one()
    return PlanStory(stored, plan_row.committed_at, plan_row.sha256, plan_row.text)


def inputs_of(database: Database, settings: Settings, plan: StoredPlan) -> DetoxInputs | DealerInputs:
    """What the plan was made of; of one that was stored without, its policy, and beside it what the files say now."""
    stored = plan.inputs()
    if stored is not None:
        return stored
    policy = SourceText(f"policy of plan {plan.id}", plan_store.policy_text(database, plan))
    if plan.kind == PlanKind.DETOX:
        return read_detox_inputs(settings, plan.partition, plan.planned_for_at, policy=policy)
    seed = int(plan.summary["seed"])
    return read_dealer_inputs(settings, plan.partition, plan.planned_for_at, seed=seed, config=policy)
