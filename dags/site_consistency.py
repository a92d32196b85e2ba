"""Compare each storage with the inventory, and repair it."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task, task_group
from dynamo_airflow.assets import SUBSCRIPTIONS
from dynamo_airflow.defaults import dag_defaults, database, run_key

from dynamo_ops.base.settings import settings

PARAMS = {
    "sites": Param(
        [],
        type="array",
        items={"type": "string"},
        title="Sites",
        description="Names or globs of the sites to check; empty: all that are ready.",
    ),
    "repair": Param(
        True,
        type="boolean",
        title="Repair",
        description="Off: findings are recorded, nothing is deleted or transferred.",
    ),
}


@task_group
def check(site: str) -> None:
    """The check of one site, from its lists to its repair."""

    @task(map_index_template="{{ site }}")
    def list_inventory(site: str) -> int:
        from dynamo_ops.consistency.tasks import check_folder, list_inventory, start_check

        context = get_current_context()
        context["site"] = site
        run = run_key(context)
        check_id = start_check(database(), run, site, check_folder(settings(), run, site))
        list_inventory(database(), check_id)
        return check_id

    @task(pool="storage")
    def list_storage(check_id: int) -> int:
        from dynamo_ops.consistency.tasks import list_storage, site_rules
        from dynamo_ops.storage.connect import site_storages

        rules = site_rules(database(), settings(), check_id)
        list_storage(database(), check_id, site_storages(database(), settings()), rules)
        return check_id

    @task
    def compare(check_id: int) -> int:
        from dynamo_ops.consistency.tasks import compare_lists, site_rules

        compare_lists(database(), check_id, site_rules(database(), settings(), check_id))
        return check_id

    @task
    def gate(check_id: int) -> int:
        from dynamo_ops.consistency.tasks import gate

        gate(database(), check_id)
        return check_id

    @task(pool="storage")
    def repair(check_id: int) -> dict[str, object]:
        from dataclasses import asdict

        from dynamo_ops.consistency.repair import repair
        from dynamo_ops.consistency.tasks import site_rules
        from dynamo_ops.storage.connect import site_storages

        if not get_current_context()["params"]["repair"]:
            return {}
        rules = site_rules(database(), settings(), check_id)
        done = repair(
            database(),
            check_id,
            site_storages(database(), settings()),
            max_age=rules.max_age,
            repair_missing=rules.repair_missing,
            delete_orphans=rules.delete_orphans,
            clean_directories=rules.clean_directories,
        )
        return asdict(done)

    repair(gate(compare(list_storage(list_inventory(site)))))


@dag(
    **dag_defaults("site_consistency", late=timedelta(days=5)),
    max_active_runs=1,
    params=PARAMS,
    schedule=CronTriggerTimetable("0 3 * * 6", timezone="UTC"),
    doc_md="""
### Site consistency
For each site: read the inventory's list **first**, then list the storage, then compare. A file missing on storage
counts
only when it was missing in the previous check too, one of another size likewise. More missing or orphan files than the
limits of `consistency.yaml`: nothing is done at that site and the run turns red, and until a check passes no copy
elsewhere is deleted because of what is there. Otherwise orphans are deleted and missing and wrong files copied again;
one without another copy is reported as lost. Unmanaged areas are cleaned by age only. A check older than `max_age`
repairs nothing: to clear an old task is safe.
""",
)
def site_consistency() -> None:
    @task
    def choose_sites() -> list[str]:
        from dynamo_ops.consistency.tasks import choose_sites

        return choose_sites(database(), get_current_context()["params"]["sites"])

    @task(outlets=[SUBSCRIPTIONS], trigger_rule="all_done_min_one_success")
    def summarise() -> dict[str, object]:
        from dynamo_ops.consistency.tasks import summarise

        return summarise(database(), run_key(get_current_context()))

    @task
    def conclude() -> None:
        """Red when the check of any site was refused or failed, although the other sites were repaired."""

    check.expand(site=choose_sites()) >> [summarise(), conclude()]


site_consistency()
