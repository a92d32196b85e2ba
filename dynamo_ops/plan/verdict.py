"""Who lets a plan through, or stops it: the gate, which is nobody; or a person who may, which is in the audit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, text

from dynamo_ops.access.actions import AccessError, Action, Target, may
from dynamo_ops.access.audit import Act, acting
from dynamo_ops.access.grants import is_granted, person_of
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, task_person
from dynamo_ops.base.errors import ChangedError, InventoryError, PlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.states import PlanState
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.quality.results import has_passed

log = logging.getLogger(__name__)

GATE = task_person("gate")
NOBODY = task_person("nobody")
"""Who says no by not answering in time."""


def approve(
    database: Database, plan_id: int, by: Person, *, at: datetime | None = None, needs_gate: bool = False
) -> None:
    """The gate or a person lets the plan through; ``at``: when they said so, now if not given.

    ``needs_gate``: only a plan that its gate has looked at and let pass: a plan that is stored by hand has none until
    it is about to be committed. Raises AccessError, and PlanError unless the plan is planned (or approved already: the
    first approval stands).
    """
    with deciding(database, plan_id, by, "approved") as connection:
        if needs_gate:
            _check_gate(connection, plan_store.read(connection, plan_id))
        plan_store.move(
            connection,
            plan_id,
            PlanState.APPROVED,
            "approved_by = coalesce(approved_by, :by), approved_at = coalesce(approved_at, :at, now())",
            {"by": signature(by)},
            at,
        )


def refuse(
    database: Database,
    plan_id: int,
    reason: str,
    *,
    by: Person = GATE,
    at: datetime | None = None,
    is_asked: bool = False,
) -> None:
    """The gate or a person stops the plan: it can never be committed. The newest refusal is the one that is told.

    ``is_asked``: they were asked, by Airflow's form; the no of who may not decide counts too then, since it deletes
    nothing. Raises AccessError, PlanError if it was committed, and InventoryError where no reason is given.
    """
    if not reason.strip():
        raise InventoryError(f"plan {plan_id}: say why it is refused (reason is empty)", plan_id=plan_id)
    with deciding(database, plan_id, by, "refused", reason, is_no_enough=is_asked) as connection:
        plan_store.move(
            connection,
            plan_id,
            PlanState.REFUSED,
            "refused_because = :reason, refused_by = :by, refused_at = coalesce(:at, now())",
            {"reason": reason, "by": signature(by)},
            at,
        )


def as_seen(connection: Connection, plan_id: int, etag: str | None) -> StoredPlan:
    """The plan, which nobody else changes until the end of the transaction. Raises UnknownPlanError, and ChangedError
    where it is another one than that of ``etag`` (None: it need not have been looked at)."""
    connection.execute(text("SELECT FROM plans WHERE id = :id FOR UPDATE"), {"id": plan_id})
    plan = plan_store.read(connection, plan_id)
    if etag not in (None, plan.etag):
        raise ChangedError(
            f"{words(plan)} is {plan.state}, and was changed since it was looked at", plan_id=plan_id, etag=plan.etag
        )
    return plan


def _check_gate(connection: Connection, plan: StoredPlan) -> None:
    subject = f"partition {plan.partition!r}"
    if not has_passed(connection, plan.kind, plan.run_key, subject, plan.created_at):
        raise PlanError(
            f"{words(plan)}: its gate has not let it pass, so nobody can approve it. The gate looks at it in its run, "
            f"or when it is committed: dynamo {plan.kind} commit {plan.id}",
            plan_id=plan.id,
            state=plan.state,
        )


@contextmanager
def deciding(
    database: Database,
    plan_id: int,
    by: Person,
    decision: str,
    reason: str | None = None,
    *,
    is_no_enough: bool = False,
) -> Iterator[Connection]:
    """The transaction in which ``by`` decides about a plan: approved, refused, committed.

    What a person decides is in the audit, what a task decides by itself is not: the plan says it. Raises AccessError
    before anything has an effect.
    """
    if by.known_by is KnownBy.DAG:
        with database.begin() as connection:
            yield connection
        return
    with acting(database, by, Action.DECIDE_PLAN, f"plan {plan_id}: {decision}", reason) as act:
        plan = plan_store.read(act.connection, plan_id)
        act.what = f"{words(plan)}: {decision}"
        try:
            _check(act, plan)
        except AccessError:
            if not is_no_enough:
                raise
            act.what += ", without the right to decide: a no counts from anybody who is asked"
        act.ids.append(plan_id)
        yield act.connection


def may_decide(by: Person, plan: StoredPlan) -> bool:
    """Whether they may decide about the plan: for who does something before that cannot be taken back."""
    try:
        may(by, Action.DECIDE_PLAN, _target(by, plan))
    except AccessError:
        return False
    return True


def _target(by: Person, plan: StoredPlan) -> Target:
    """Not who stored it by hand, but in a shell: who is there can say to be another, and may be the only one."""
    return Target(partitions=(plan.partition,), owner=None if by.known_by is KnownBy.SHELL else plan.stored_by)


def _check(act: Act, plan: StoredPlan) -> None:
    is_own = plan.stored_by == act.by.name
    if is_own and act.by.known_by is KnownBy.SHELL:
        act.what += ", by who stored it"
    try:
        act.check(_target(act.by, plan))
    except AccessError as error:
        stored = f"; {plan.stored_by} stored it by hand: somebody else decides about it" if is_own else ""
        raise AccessError(f"{words(plan)}: {error.message}{stored}", **error.facts) from error


def words(plan: StoredPlan) -> str:
    """What messages call it."""
    return f"plan {plan.id} ({plan.kind} of {plan.partition})"


def signature(by: Person) -> str:
    """What a plan's row says of who decided."""
    return f"{by.name} in Airflow" if by.known_by is KnownBy.AIRFLOW else by.name


def who_answered(database: Database, name: str) -> Person:
    """Who answered Airflow's form, with what was granted to their name: the form tells no roles of Airflow.

    As long as nobody was granted ``operator`` (a new installation), whoever Airflow lets answer may decide; the log
    says how that ends.
    """
    with database.begin() as connection:
        if is_granted(connection, Role.OPERATOR):
            return person_of(connection, name, KnownBy.AIRFLOW, default=None)
    log.warning(
        "nobody was granted operator yet: whoever Airflow lets answer may decide about plans, now %s. "
        "To have it asked: dynamo access grant NAME operator --reason …",
        name,
    )
    return Person(name, KnownBy.AIRFLOW, (Grant(Role.OPERATOR),))
