"""Compare each storage with the inventory, and repair it."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow.sdk import Context, CronTriggerTimetable, Param, dag, get_current_context, task, task_group
from dynamo_airflow.assets import SUBSCRIPTIONS
from dynamo_airflow.defaults import ACTS, READS, dag_defaults, database, run_key
from dynamo_airflow.pages import explained
from dynamo_airflow.pauses import skipped_when_stopped

from dynamo_ops.base.settings import settings

log = logging.getLogger(__name__)

PARAMS = {
    "sites": Param(
        [],
        type="array",
        items={"type": "string"},
        title="Sites",
        description="Names or globs of the sites to check; empty: all that are ready. None that is in a downtime.",
    ),
    "repair": Param(
        False,
        type="boolean",
        title="Repair",
        description="Off: findings are recorded, nothing is deleted or transferred. Runs by schedule always repair.",
    ),
}


def repairs(context: Context) -> bool:
    """Whether this run does: one by schedule, and another where its person said so."""
    return context["dag_run"].run_type == "scheduled" or bool(context["params"]["repair"])


@task_group
def check(site: str) -> None:
    """The check of one site, from its lists to its repair."""

    @task(map_index_template="{{ site }}", task_display_name="List the inventory")
    def list_inventory(site: str) -> int:
        from dynamo_ops.consistency.tasks import check_folder, list_inventory, start_check

        context = get_current_context()
        context["site"] = site
        run = run_key(context)
        check_id = start_check(database(), run, site, check_folder(settings(), run, site))
        list_inventory(database(), check_id)
        return check_id

    @task(pool="storage", task_display_name="List the storage")
    def list_storage(check_id: int) -> int:
        from dynamo_ops.consistency.tasks import list_storage, site_rules
        from dynamo_ops.storage.connect import site_storages

        rules = site_rules(database(), settings(), check_id)
        list_storage(database(), check_id, site_storages(database(), settings()), rules)
        return check_id

    @task(task_display_name="Compare")
    def compare(check_id: int) -> int:
        from dynamo_ops.consistency.freshness import metadata_sources
        from dynamo_ops.consistency.tasks import compare_lists, site_rules

        rules = site_rules(database(), settings(), check_id)
        compare_lists(database(), check_id, rules, metadata_sources(settings()))
        return check_id

    @task(task_display_name="Gate: can it be true?")
    def gate(check_id: int) -> int:
        from dynamo_ops.consistency.tasks import gate

        gate(database(), check_id)
        return check_id

    @task(pool="storage", task_display_name="Repair")
    @skipped_when_stopped
    def repair(check_id: int) -> dict[str, object]:
        from dataclasses import asdict

        from dynamo_ops.base.text import counts_text
        from dynamo_ops.consistency.freshness import metadata_sources
        from dynamo_ops.consistency.repair import repair
        from dynamo_ops.consistency.tasks import site_rules
        from dynamo_ops.storage.connect import site_storages

        if not repairs(get_current_context()):
            log.info("nothing is repaired: this run was started by hand, without its parameter 'repair'")
            return {}
        rules = site_rules(database(), settings(), check_id)
        done = repair(
            database(),
            check_id,
            site_storages(database(), settings()),
            rules,
            sources=metadata_sources(settings()),
        )
        log.info("check %d: %s", check_id, counts_text(asdict(done)))
        return asdict(done)

    repair(gate(compare(list_storage(list_inventory(site)))))


DOC = """
### Site consistency
Compares what lies at each storage with what the inventory says, and repairs it. Saturdays at 03:00 UTC; and by hand:
then nothing is repaired unless `repair` is switched on.

**Reads** the lists of the storages and the inventory. **Changes** files that nobody knows (they are deleted) and copies
that are missing or wrong (they are fetched again). **Skipped (pink)** means that a person has stopped consistency
(`dynamo pauses`).

#### What it does
For each site that is ready and in no downtime: read the inventory's list **first**, then list the storage, then
compare. A file that is missing, of another size, or too much counts only when the previous check saw the same. More
of them than the limits of `consistency.yaml` allow, a list that is empty or has shrunk, a directory that has lost all:
nothing is done at that site and the run turns red, and until a check passes no copy elsewhere is deleted because of
what is there. Otherwise orphans are deleted, if metadata are fresh and clocks agree, and missing and wrong files
copied again; one without another copy is reported as lost. Unmanaged areas are reported only, unless
`delete_unmanaged` is set. A check older than `max_age`, or during which a downtime began, repairs nothing: to clear
an old task is safe.

#### What may be red
`choose_sites`: an entry of `consistency.yaml` matches no site, or a named site is in a downtime. `gate`: too much
differs to be true, and nothing was deleted or copied at that site. `repair`: the check is too old, or a downtime made
it void; run it anew. `conclude` is red when any site was, although the others were repaired.
"""


@dag(
    **dag_defaults(
        "site_consistency", "Consistency: storages against the inventory", READS, ACTS, late=timedelta(days=5)
    ),
    max_active_runs=1,
    params=PARAMS,
    schedule=CronTriggerTimetable("0 3 * * 6", timezone="UTC"),
    doc_md=explained(DOC, {"Sites, with their last check": "sites", "Copies under way": "transfers"}),
)
def site_consistency() -> None:
    @task(task_display_name="Which sites?")
    @skipped_when_stopped
    def choose_sites() -> list[str]:
        from dynamo_ops.consistency.tasks import choose_sites, known_settings

        known_settings(database(), settings())  # what is wrong in them is said once, not at each site
        return choose_sites(database(), get_current_context()["params"]["sites"])

    @task(outlets=[SUBSCRIPTIONS], trigger_rule="all_done_min_one_success", task_display_name="Sum up")
    def summarise() -> dict[str, object]:
        from dynamo_ops.consistency.tasks import summarise

        return summarise(database(), run_key(get_current_context()))

    @task(task_display_name="Was every site right?")
    def conclude() -> None:
        """Red when the check of any site was refused or failed, although the other sites were repaired."""

    check.expand(site=choose_sites()) >> [summarise(), conclude()]


site_consistency()
