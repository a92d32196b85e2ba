"""The errand of committing a plan of Detox or the Dealer: one that was stored by hand, or approved."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import ChangedError, PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import tasks as dealer
from dynamo_ops.detox import tasks as detox
from dynamo_ops.errand import store
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.errand.store import Errand
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.states import PlanKind, PlanState
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.plan.verdict import approve, as_seen, deciding, may_decide, words
from dynamo_ops.quality.thresholds import detox_limits


def ask_commit(database: Database, plan_id: int, *, etag: str | None, by: Person) -> int:
    """Ask for the commit of a plan as they have seen it (``etag``; None: it need not have been looked at). Its gate is
    asked when it is done; where a person must say yes, this is it. Returns the errand's id.

    Raises UnknownPlanError, AccessError, ChangedError, PausedError; PlanError where it can never be committed, or is a
    cycle's that nobody has approved yet.
    """
    with deciding(database, plan_id, by, "asked to be committed") as connection:
        plan = as_seen(connection, plan_id, etag)
        if plan.state in (PlanState.COMMITTED, PlanState.REFUSED):
            raise PlanError(f"{words(plan)} is {plan.state}: it cannot be committed", plan_id=plan_id, state=plan.state)
        if plan.state == PlanState.PLANNED and plan.stored_by is None:
            raise PlanError(
                f"{words(plan)} is a cycle's: its run commits it once it is approved",
                plan_id=plan_id,
                state=plan.state,
            )
        look(database, PauseKind(plan.kind), plan.partition)
        arguments = {"plan_id": plan_id, "made_at": plan.created_at}
        return store.add(connection, ErrandKind.COMMIT, words(plan), arguments, by=by)


def needs_yes(database: Database, settings: Settings, plan_id: int) -> bool:
    """Whether its gate alone would not let it through: who asks for its commit says yes to it."""
    plan = plan_store.load(database, plan_id)
    return plan.kind == PlanKind.DETOX and detox.needs_approval(database, settings, plan_id)


def prepare(database: Database, settings: Settings, errand: Errand, by: Person) -> None:
    """The gate looks at a plan that it has not seen yet, and the asker says yes where a person must: each for good, and
    each once. Raises GateError, PausedError, PlanError."""
    plan = _asked(database, errand)
    if plan.state not in (PlanState.PLANNED, PlanState.APPROVED) or not may_decide(by, plan):
        return  # the commit says so, and the audit has it
    look(database, PauseKind(plan.kind), plan.partition)
    if plan.state == PlanState.PLANNED:
        (detox if plan.kind == PlanKind.DETOX else dealer).gate_plan(database, settings, plan.id, run_key=plan.run_key)
        if plan_store.load(database, plan.id).state == PlanState.PLANNED:
            approve(database, plan.id, by, needs_gate=True)
    if plan.kind == PlanKind.DETOX:
        detox.refuse_if_old(database, plan, detox_limits(settings, plan.partition).max_plan_age_h)


def commit_asked(
    database: Database, settings: Settings, errand: Errand, by: Person, _prepared: object
) -> dict[str, Any]:
    """Commit it, in one transaction. Raises AccessError, ChangedError, PausedError, PlanError."""
    plan = _asked(database, errand)
    if plan.kind == PlanKind.DETOX:
        summary = detox.commit_plan(database, settings, plan.id, by=by)
    else:
        summary = dealer.commit_plan(database, plan.id, by=by)
    _asked(database, errand)  # nobody can change it any more: it is the one that was asked about
    return {
        "id": plan.id,
        "kind": plan.kind,
        "partition": plan.partition,
        "was_committed_before": plan.state == PlanState.COMMITTED,
        "commit": summary,
    }


def _asked(database: Database, errand: Errand) -> StoredPlan:
    """ChangedError: it was made anew since; nobody has asked for that one."""
    plan = plan_store.load(database, int(errand.arguments["plan_id"]))
    if plan.created_at != datetime.fromisoformat(errand.arguments["made_at"]):
        raise ChangedError(
            f"{words(plan)} was made anew since its commit was asked for", plan_id=plan.id, etag=plan.etag
        )
    return plan
