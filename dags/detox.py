"""A Detox DAG for each policy: what is deleted, decided by the policy's text, gated, approved where it is much,
committed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from dynamo_airflow.approval import ANSWER, RecordedApproval
from dynamo_airflow.assets import METADATA, POPULARITY, SUBSCRIPTIONS, detox_cycle
from dynamo_airflow.defaults import dag_defaults, database, interval, run_key
from dynamo_airflow.pauses import skipped_when_stopped

from dynamo_ops.base.settings import settings

APPROVAL_TIMEOUT = timedelta(hours=24)

PARAMS = {
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Plan and gate, but commit nothing. The plan can be read with `dynamo plan show`.",
    ),
}

DOC = """
### Detox of *{partition}*
Policy: `{policy}`. Deletes the least popular block replicas at sites above their high watermark, until the low one, and
never what the policy protects.

`plan` stores a plan (one decision a block replica, with the policy line that made it) → `gate` refuses it when it
deletes too much, a last copy, locked data, what an enforcer rule needs or the only source of a pending copy → a person
approves it when it deletes more than the approval threshold (`gates.yaml`; no answer within {timeout} means *no*; the
yes of who may not decide about plans of *{partition}* turns `commit` red: clear `approval`, and others are asked) →
`commit` re-checks and makes deletion subscriptions. Nothing is deleted before the `deletions` DAG asks the storages.

After a *no* the run is green, `commit` is skipped and `refused` has run: the plan is refused, with who said so and when
(`dynamo history cycles {partition}`), and can never be committed.
"""


def answer() -> dict[str, Any] | None:
    """What the person who was asked has said, by ``dynamo_airflow.approval``; None where nobody was asked."""
    found: dict[str, Any] | None = get_current_context()["ti"].xcom_pull(task_ids="approval", key=ANSWER)
    return found


@task
@skipped_when_stopped
def plan(partition: str) -> int:
    """Decide and store. Returns the plan's id."""
    from dynamo_ops.detox.tasks import plan_cycle

    context = get_current_context()
    return plan_cycle(database(), settings(), partition, run_key=run_key(context), now=interval(context)[1])


@task
def gate(plan_id: int) -> int:
    """Refuse what must not be committed."""
    from dynamo_ops.detox.tasks import gate_plan

    gate_plan(database(), settings(), plan_id, run_key=run_key(get_current_context()))
    return plan_id


@task
def describe(plan_id: int) -> str:
    """The plan in words, for who has to approve it."""
    from dynamo_ops.detox.tasks import describe_plan

    return describe_plan(database(), plan_id)


@task.branch
def choose_way(plan_id: int) -> str:
    """A dry run ends here; much to delete goes to a person first; else straight to the commit."""
    from dynamo_ops.detox.tasks import needs_approval

    if get_current_context()["params"]["dry_run"]:
        return "dry_run_ends"
    return "approval" if needs_approval(database(), settings(), plan_id) else "commit"


@task
def dry_run_ends() -> None:
    """The plan stays planned."""


@task(trigger_rule="none_failed_min_one_success")
@skipped_when_stopped
def commit(partition: str, plan_id: int) -> dict[str, object]:
    """Make deletion subscriptions of what the plan deletes and nothing speaks against by now."""
    from dynamo_ops.detox.tasks import accept_yes, commit_plan
    from dynamo_ops.plan.verdict import GATE

    context = get_current_context()
    said = answer()
    if said and said["is_yes"] and said["by"]:
        accept_yes(database(), plan_id, name=said["by"], at=said["at"])
    summary = commit_plan(database(), settings(), plan_id, by=GATE)
    for asset in (SUBSCRIPTIONS, detox_cycle(partition)):
        context["outlet_events"][asset].extra = {"plan_id": plan_id}
    return summary


@task(trigger_rule="none_failed")
def refused(plan_id: int) -> str:
    """After a no, or no answer: the plan is refused, with who and when. Skipped where nobody said no."""
    from dynamo_ops.detox.tasks import reject_plan

    said = answer()
    if not said or said["is_yes"]:
        raise AirflowSkipException("nobody said no")
    return reject_plan(database(), plan_id, name=said["by"], at=said["at"])


def build(policy: Path) -> DAG:
    """The DAG of one policy file; its name is the partition's."""
    partition = policy.stem

    @dag(
        **dag_defaults(f"detox_{partition}", late=timedelta(hours=30)),
        schedule=METADATA & POPULARITY,
        max_active_runs=1,
        params=PARAMS,
        doc_md=DOC.format(partition=partition, policy=policy.name, timeout=APPROVAL_TIMEOUT),
    )
    def detox() -> None:
        approval = RecordedApproval(
            task_id="approval",
            subject=f"Detox of {partition}: much is to be deleted",
            body="{{ ti.xcom_pull(task_ids='describe') }}",
            defaults=[RecordedApproval.REJECT],
            response_timeout=APPROVAL_TIMEOUT,
        )
        gated = gate(plan(partition))
        way = choose_way(gated)
        committed = commit.override(outlets=[SUBSCRIPTIONS, detox_cycle(partition)])(partition, gated)
        describe(gated) >> way >> [dry_run_ends(), approval, committed]
        approval >> committed >> refused(gated)

    return detox()


for file in sorted(settings().policy_dir.glob("*.txt")):
    globals()[f"detox_{file.stem}"] = build(file)
