"""A Dealer DAG for each configuration: what is copied where."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, get_current_context, task
from dynamo_airflow.assets import MADE_SUBSCRIPTIONS, SUBSCRIPTIONS, detox_cycle
from dynamo_airflow.defaults import DECIDES, dag_defaults, database, interval, run_key
from dynamo_airflow.links import GateLink, PlanLink, task_with
from dynamo_airflow.pages import explained
from dynamo_airflow.pauses import skipped_when_stopped

from dynamo_ops.base.settings import settings

PARAMS = {
    "seed": Param(
        None,
        type=["null", "integer"],
        title="Seed of the draws",
        description="Give the seed of an earlier plan to replay its draws; empty: taken from the run's time.",
    ),
}

DOC = """
### Dealer of *{partition}*
Decides which copies of *{partition}* are made and where: for requests, for popular data, for rules that say how many
copies there must be, for data of sites that are given up. After each Detox cycle, and every two hours for new requests.

**Reads** the inventory, requests, popularity, quotas, the configuration `dealer/{config}`. **Changes** the
subscriptions: copies are queued; the DAG `transfers` makes them. **Skipped (pink)** means that a person has stopped the
Dealer (`dynamo pauses`).

#### Step by step
Each plugin proposes copies (a task a plugin); `decide` draws among the proposals by
priority and places them at sites that are ready and have room; `gate` refuses a plan that fills a site over its quota,
exceeds the cycle's volume or uses a site that is not ready; `commit` looks once more and makes replicas and copy
subscriptions. Why a dataset was copied where it was, or not at all: `dynamo dealer explain DATASET`.

#### What may be red
`decide`: configuration, partitions, rules or settings were edited meanwhile. `gate`: a site would go over its quota or
is not ready any more, the volume is too large, the plan too old; the next run makes a new plan.
"""

PLAN = PlanLink("decide")


@task(task_display_name="Which plugins?")
def plugins(partition: str) -> list[str]:
    """The plugins that the configuration names."""
    from dynamo_ops.dealer.tasks import plugin_names

    return plugin_names(settings(), partition)


@task(map_index_template="{{ task.op_kwargs['plugin'] }}", task_display_name="Propose copies")
@skipped_when_stopped
def propose(partition: str, plugin: str) -> str:
    """One plugin's proposals. Returns where they are stored."""
    from dynamo_ops.dealer.tasks import propose

    return propose(database(), settings(), partition, plugin, **_cycle())


@task_with(PLAN, task_display_name="Decide")
@skipped_when_stopped
def decide(partition: str, proposals: list[str]) -> int:
    """Accept or reject each proposal, and store the plan. Returns its id."""
    from dynamo_ops.dealer.tasks import plan_cycle

    return plan_cycle(database(), settings(), partition, list(proposals), **_cycle())


def gate(plan_id: int) -> int:
    """Refuse what must not be committed: a task, whose buttons know the partition (``build``)."""
    from dynamo_ops.dealer.tasks import gate_plan

    gate_plan(database(), settings(), plan_id, run_key=run_key(get_current_context()))
    return plan_id


@task_with(PLAN, outlets=[MADE_SUBSCRIPTIONS], task_display_name="Commit")
@skipped_when_stopped
def commit(plan_id: int) -> dict[str, object]:
    """Make replicas-to-be and copy subscriptions."""
    from dynamo_ops.dealer.tasks import commit_plan
    from dynamo_ops.plan.verdict import GATE

    summary = commit_plan(database(), plan_id, by=GATE)
    if summary["num_files"]:
        get_current_context()["outlet_events"][MADE_SUBSCRIPTIONS].add(SUBSCRIPTIONS, extra={"plan_id": plan_id})
    return summary


def _cycle() -> dict[str, Any]:
    """What makes the run's cycle what it is: its key, its time, its seed."""
    context = get_current_context()
    return {"run_key": run_key(context), "now": interval(context)[1], "seed": context["params"]["seed"]}


def build(config: Path) -> DAG:
    """The DAG of one configuration file; its name is the partition's."""
    partition = config.stem

    @dag(
        **dag_defaults(
            f"dealer_{partition}",
            f"Dealer {partition}: what is copied where",
            DECIDES,
            partition,
            late=timedelta(hours=6),
        ),
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable("15 */2 * * *", timezone="UTC"), assets=detox_cycle(partition)
        ),
        max_active_runs=1,
        params=PARAMS,
        doc_md=explained(
            DOC.format(partition=partition, config=config.name),
            {"Plans, and why each copy": "plans", "Requests": "requests", "What gates said": "gates"},
        ),
    )
    def dealer() -> None:
        results = GateLink("dealer", "freshness", subject=f"*'{partition}'*")
        gated = task_with(PLAN, results, task_display_name="Gate: may it be done?")(gate)
        proposals = propose.partial(partition=partition).expand(plugin=plugins(partition))
        commit(gated(decide(partition, proposals)))

    return dealer()


for file in sorted((settings().config_dir / "dealer").glob("*.yaml")):
    globals()[f"dealer_{file.stem}"] = build(file)
