"""A Detox DAG for each policy: what is deleted, decided by the policy's text, gated, approved where it is much,
committed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from dynamo_airflow.approval import ANSWER, RecordedApproval
from dynamo_airflow.assets import MADE_SUBSCRIPTIONS, METADATA, POPULARITY, SUBSCRIPTIONS, detox_cycle
from dynamo_airflow.defaults import DECIDES, dag_defaults, database, interval, run_key
from dynamo_airflow.links import GateLink, PlanLink, task_with
from dynamo_airflow.pages import address_of, explained, path_of
from dynamo_airflow.pauses import skipped_when_stopped

from dynamo_ops.base.settings import settings

APPROVAL_TIMEOUT = timedelta(hours=24)
DRY_RUN = "dry_run_ends"

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
Decides which data of *{partition}* go: at sites above their high watermark the least popular block replicas, until the
low one, and never what the policy (`{policy}`) protects. Once a day, when metadata *and* popularity are in.

**Reads** the inventory, the policy, popularity, locks. **Changes** the subscriptions: what the plan deletes is queued;
the storages are asked by the DAG `deletions`. A run **by hand** may be a dry run, which plans and changes nothing.

#### Step by step
`plan` stores a plan (one decision a block replica, with the policy line that made it) → `gate` refuses it when it
deletes too much, a last copy, locked data, what an enforcer rule needs or the only source of a pending copy → a person
approves it when it deletes more than the approval threshold (`gates.yaml`; no answer within {timeout} means *no*; the
yes of who may not decide about plans of *{partition}* turns `commit` red: clear `approval`, and others are asked) →
`commit` re-checks and makes deletion subscriptions. Nothing is deleted before the `deletions` DAG asks the storages.

In a run that goes well every task is green, also `approval` where nobody had to be asked. `commit` is **skipped
(pink)** where something or somebody kept it from happening: a dry run, a pause (`dynamo pauses`), a *no*. After a *no*
the plan is refused, with who said so and when (`dynamo history cycles {partition}`), and can never be committed.

#### What may be red
`plan`: the policy has a mistake (file, line, column), or an attribute is missing or stale. `gate`: the plan deletes too
much, a last copy, locked data; it is refused for good, and the next run makes a new one. `commit`: the plan is too old
by now, or who approved it may not.
"""


PLAN = PlanLink("plan")


def answer() -> dict[str, Any] | None:
    """What the person who was asked has said, by ``dynamo_airflow.approval``; None where nobody was asked."""
    found: dict[str, Any] | None = get_current_context()["ti"].xcom_pull(task_ids="approval", key=ANSWER)
    return found


@task_with(PLAN, task_display_name="Decide")
@skipped_when_stopped
def plan(partition: str) -> int:
    """Decide and store. Returns the plan's id."""
    from dynamo_ops.detox.tasks import plan_cycle

    context = get_current_context()
    return plan_cycle(database(), settings(), partition, run_key=run_key(context), now=interval(context)[1])


def gate(plan_id: int) -> int:
    """Refuse what must not be committed: a task, whose buttons know the partition (``build``)."""
    from dynamo_ops.detox.tasks import gate_plan

    gate_plan(database(), settings(), plan_id, run_key=run_key(get_current_context()))
    return plan_id


@task(task_display_name="Describe the plan")
def describe(plan_id: int) -> str:
    """The plan in words, for who has to approve it, and where its page is."""
    from dynamo_ops.detox.tasks import describe_plan

    page = f"plans/{plan_id}"
    return f"{describe_plan(database(), plan_id)}\n\n[The plan in Dynamo]({address_of(page) or path_of(page)})\n"


@task(task_display_name="Dry run, approval, or commit?")
def choose_way(plan_id: int) -> str:
    """A dry run ends here; much to delete goes to a person first; else straight to the commit: the id of the task."""
    from dynamo_ops.detox.tasks import needs_approval

    if get_current_context()["params"]["dry_run"]:
        return DRY_RUN
    return "approval" if needs_approval(database(), settings(), plan_id) else "commit"


@task_with(PLAN, task_display_name="Commit", trigger_rule="none_failed_min_one_success")
@skipped_when_stopped
def commit(partition: str, plan_id: int) -> dict[str, object]:
    """Make deletion subscriptions of what the plan deletes and nothing speaks against by now."""
    from dynamo_ops.detox.tasks import accept_yes, commit_plan
    from dynamo_ops.plan.verdict import GATE

    context = get_current_context()
    if context["params"]["dry_run"]:
        raise AirflowSkipException(f"a dry run: plan {plan_id} is not committed")
    said = answer()
    if said and said["is_yes"] and said["by"]:
        accept_yes(database(), plan_id, name=said["by"], at=said["at"])
    summary = commit_plan(database(), settings(), plan_id, by=GATE)
    context["outlet_events"][detox_cycle(partition)].extra = {"plan_id": plan_id}
    if summary["num_files"]:
        context["outlet_events"][MADE_SUBSCRIPTIONS].add(SUBSCRIPTIONS, extra={"plan_id": plan_id})
    return summary


@task_with(PLAN, task_display_name="If they say no: refuse it", trigger_rule="none_failed")
def refused(plan_id: int) -> str:
    """After a no, or no answer: the plan is refused, with who and when. Returns why, or that nobody said no."""
    from dynamo_ops.detox.tasks import reject_plan

    said = answer()
    if not said or said["is_yes"]:
        return "nothing to do: nobody said no"
    return reject_plan(database(), plan_id, name=said["by"], at=said["at"])


def build(policy: Path) -> DAG:
    """The DAG of one policy file; its name is the partition's."""
    partition = policy.stem

    @dag(
        **dag_defaults(
            f"detox_{partition}",
            f"Detox {partition}: the least popular data go",
            DECIDES,
            partition,
            late=timedelta(hours=30),
        ),
        schedule=METADATA & POPULARITY,
        max_active_runs=1,
        params=PARAMS,
        doc_md=explained(
            DOC.format(partition=partition, policy=policy.name, timeout=APPROVAL_TIMEOUT),
            {"Plans, and why each decision": "plans", "What gates said": "gates", "Deletions under way": "deletions"},
        ),
    )
    def detox() -> None:
        approval = RecordedApproval(
            task_id="approval",
            task_display_name="If it is much: ask a person",
            asks_after="choose_way",
            subject=f"Detox of {partition}: much is to be deleted",
            body="{{ ti.xcom_pull(task_ids='describe') }}",
            defaults=[RecordedApproval.REJECT],
            response_timeout=APPROVAL_TIMEOUT,
        )
        results = GateLink("detox", "freshness", subject=f"*'{partition}'*")
        gated = task_with(PLAN, results, task_display_name="Gate: may it be done?")(gate)
        dry_run_ends = EmptyOperator(task_id=DRY_RUN, task_display_name="If it is a dry run: end here")
        plan_id = gated(plan(partition))
        way = choose_way(plan_id)
        committed = commit.override(outlets=[MADE_SUBSCRIPTIONS, detox_cycle(partition)])(partition, plan_id)
        describe(plan_id) >> way >> [dry_run_ends, approval, committed]
        approval >> committed >> refused(plan_id)

    return detox()


for file in sorted(settings().policy_dir.glob("*.txt")):
    globals()[f"detox_{file.stem}"] = build(file)
