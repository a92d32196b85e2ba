"""A Dealer DAG for each configuration: what is copied where."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, get_current_context, task
from dynamo_airflow.assets import SUBSCRIPTIONS, detox_cycle
from dynamo_airflow.defaults import dag_defaults, database, interval, run_key

from dynamo_ops.settings import settings

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
exceeds the cycle's volume or uses a site that is not ready; `commit` makes replicas and copy subscriptions.

Runs after each Detox cycle, and every two hours for new copy requests.
"""


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
        @task
        def plugins() -> list[str]:
            from dynamo_ops.dealer.steps import plugin_names

            return plugin_names(settings(), partition)

        @task(map_index_template="{{ task.op_kwargs['plugin'] }}")
        def propose(plugin: str) -> str:
            from dynamo_ops.dealer.steps import propose

            context = get_current_context()
            return propose(
                database(),
                settings(),
                partition,
                plugin,
                run_key=run_key(context),
                now=interval(context)[1],
                seed=context["params"]["seed"],
            )

        @task
        def decide(proposals: list[str]) -> int:
            from dynamo_ops.dealer.steps import plan_cycle

            context = get_current_context()
            return plan_cycle(
                database(),
                settings(),
                partition,
                list(proposals),
                run_key=run_key(context),
                now=interval(context)[1],
                seed=context["params"]["seed"],
            )

        @task
        def gate(plan_id: int) -> int:
            from dynamo_ops.dealer.steps import gate_plan

            gate_plan(database(), settings(), plan_id, run_key=run_key(get_current_context()))
            return plan_id

        @task(outlets=[SUBSCRIPTIONS])
        def commit(plan_id: int) -> dict[str, object]:
            from dynamo_ops.dealer.steps import commit_plan

            get_current_context()["outlet_events"][SUBSCRIPTIONS].extra = {"plan_id": plan_id}
            return commit_plan(database(), plan_id)

        commit(gate(decide(propose.expand(plugin=plugins()))))

    return dealer()


for file in sorted((settings().config_dir / "dealer").glob("*.yaml")):
    globals()[f"dealer_{file.stem}"] = build(file)
