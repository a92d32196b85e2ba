"""A Dealer DAG for each configuration: what is copied where."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, get_current_context, task
from dynamo_airflow.assets import SUBSCRIPTIONS, detox_cycle
from dynamo_airflow.defaults import dag_defaults, database, interval, run_key
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
Configuration: `dealer/{config}`. Each plugin proposes copies (a task a plugin); `decide` draws among the proposals by
priority and places them at sites that are ready and have room; `gate` refuses a plan that fills a site over its quota,
exceeds the cycle's volume or uses a site that is not ready; `commit` looks once more and makes replicas and copy
subscriptions. Why a dataset was copied where it was, or not at all: `dynamo dealer explain DATASET`.

Runs after each Detox cycle, and every two hours for new copy requests.
"""


@task
def plugins(partition: str) -> list[str]:
    """The plugins that the configuration names."""
    from dynamo_ops.dealer.tasks import plugin_names

    return plugin_names(settings(), partition)


@task(map_index_template="{{ task.op_kwargs['plugin'] }}")
@skipped_when_stopped
def propose(partition: str, plugin: str) -> str:
    """One plugin's proposals. Returns where they are stored."""
    from dynamo_ops.dealer.tasks import propose

    return propose(database(), settings(), partition, plugin, **_cycle())


@task
@skipped_when_stopped
def decide(partition: str, proposals: list[str]) -> int:
    """Accept or reject each proposal, and store the plan. Returns its id."""
    from dynamo_ops.dealer.tasks import plan_cycle

    return plan_cycle(database(), settings(), partition, list(proposals), **_cycle())


@task
def gate(plan_id: int) -> int:
    """Refuse what must not be committed."""
    from dynamo_ops.dealer.tasks import gate_plan

    gate_plan(database(), settings(), plan_id, run_key=run_key(get_current_context()))
    return plan_id


@task(outlets=[SUBSCRIPTIONS])
@skipped_when_stopped
def commit(plan_id: int) -> dict[str, object]:
    """Make replicas-to-be and copy subscriptions."""
    from dynamo_ops.dealer.tasks import commit_plan
    from dynamo_ops.plan.verdict import GATE

    get_current_context()["outlet_events"][SUBSCRIPTIONS].extra = {"plan_id": plan_id}
    return commit_plan(database(), plan_id, by=GATE)


def _cycle() -> dict[str, Any]:
    """What makes the run's cycle what it is: its key, its time, its seed."""
    context = get_current_context()
    return {"run_key": run_key(context), "now": interval(context)[1], "seed": context["params"]["seed"]}


def build(config: Path) -> DAG:
    """The DAG of one configuration file; its name is the partition's."""
    partition = config.stem

    @dag(
        **dag_defaults(f"dealer_{partition}", late=timedelta(hours=6)),
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable("15 */2 * * *", timezone="UTC"), assets=detox_cycle(partition)
        ),
        max_active_runs=1,
        params=PARAMS,
        doc_md=DOC.format(partition=partition, config=config.name),
    )
    def dealer() -> None:
        proposals = propose.partial(partition=partition).expand(plugin=plugins(partition))
        commit(gate(decide(partition, proposals)))

    return dealer()


for file in sorted((settings().config_dir / "dealer").glob("*.yaml")):
    globals()[f"dealer_{file.stem}"] = build(file)
