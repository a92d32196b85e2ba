"""Bring the inventory's datasets, blocks, files and sites to what their sources say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task
from dynamo_airflow.assets import METADATA
from dynamo_airflow.defaults import (
    FIRST_INTERVAL,
    READS,
    dag_defaults,
    database,
    interval,
    nothing_to_do,
    or_nothing,
    run_key,
)
from dynamo_airflow.links import GateLink, task_with
from dynamo_airflow.pages import explained
from dynamo_airflow.pauses import skipped_when_stopped

from dynamo_ops.base.settings import settings

SOURCES = [source.name for source in settings().metadata_sources]
SITE_SOURCES = [source.name for source in settings().site_sources]
DATASETS_PER_PAGE = 50
"""At least: pages get larger rather than many."""

PARAMS = {
    "full": Param(
        False,
        type="boolean",
        title="Pull everything",
        description="Ask the sources for all they know, not only for what changed in the run's interval. "
        "Needed after a change made by hand at a source; the first run of a source is always full.",
    ),
}


NO_PAGE: dict[str, object] = {}

DOC = """
### Metadata sync
Brings datasets, blocks, files and sites to what their sources say. Hourly (`metadata_schedule`); each run owns its
interval.

**Reads** the metadata and site sources. **Changes** the catalogue and the states of sites; never a file. **Skipped
(pink)** means that a person has stopped metadata (`dynamo pauses`).

#### Step by step
Pulls what changed in the run's interval from every metadata source (DBS, or any plugin) and all sites from the site
sources, stages it, and merges it in one transaction **if the gate lets it in**: schema, sizes, unique LFNs, no mass
disappearance, sane sites. Of a dataset with a bad record nothing is merged, and each run asks for it again
(`dynamo inventory set-aside`), as long as they are few. A run that the gate stops has changed nothing; its message
names source, dataset and value.

The merge returns what is new, changed, vanished or left out, by source; `is_changed` false: nothing. The asset event is
there all the same, since metadata are now known up to a later time, which Detox and Dealer wait for.

*After an outage*: nothing to do, the next run starts where the last one ended. A backfill of the lost intervals, in any
order, gives the same inventory. *After a change by hand at a source*: trigger with **Pull everything**. More:
docs/metadata.md.

#### What may be red
`pull_…`: the source did not answer, or answered nonsense. `gate`: what it answered was refused, and **nothing was
changed**: have the source mended and clear the failed pull, or widen the limit in `gates.yaml` if it is right.
"""


@dag(
    **dag_defaults("metadata_sync", "Metadata: what data and sites there are", READS, late=timedelta(hours=3)),
    start_date=FIRST_INTERVAL,
    schedule=CronDataIntervalTimetable(settings().metadata_schedule, timezone="UTC"),
    max_active_runs=1,
    params=PARAMS,
    doc_md=explained(
        DOC, {"What gates said": "gates", "How fresh metadata are": "today", "Data": "data", "Sites": "sites"}
    ),
)
def metadata_sync() -> None:
    @task(
        pool="metadata_source",
        map_index_template="{{ task.op_kwargs['source'] }}",
        task_display_name="Ask for sites",
    )
    @skipped_when_stopped
    def pull_sites(source: str) -> int:
        from dynamo_ops.sources.tasks import pull_sites

        return pull_sites(database(), settings(), run_key(get_current_context()), source)

    @task(
        pool="metadata_source",
        map_index_template="{{ task.op_kwargs['source'] }}",
        task_display_name="Ask which datasets changed",
    )
    @skipped_when_stopped
    def pull_datasets(source: str) -> list[dict[str, object]]:
        from dynamo_ops.sources.tasks import pull_datasets

        context = get_current_context()
        pages = pull_datasets(
            database(),
            settings(),
            run_key(context),
            source,
            *interval(context),
            full=context["params"]["full"],
            page_size=DATASETS_PER_PAGE,
        )
        return [{"source": source, "page": page} for page in pages]

    @task(task_display_name="Share them out")
    def list_pages(pages: list[list[dict[str, object]]]) -> list[dict[str, object]]:
        return or_nothing([page for of_source in pages for page in of_source], NO_PAGE)

    @task(
        pool="metadata_source",
        map_index_template="{{ task.op_kwargs['page'].values() | join(' ') or 'none changed' }}",
        task_display_name="Ask for their blocks and files",
    )
    @skipped_when_stopped
    def pull_details(page: dict[str, object]) -> dict[str, Any]:
        from dynamo_ops.sources.tasks import pull_details

        if not page:
            return nothing_to_do("no dataset has changed")
        return pull_details(
            database(), settings(), run_key(get_current_context()), str(page["source"]), int(str(page["page"]))
        )

    @task_with(GateLink("metadata"), trigger_rule="none_failed", task_display_name="Gate: can it be right?")
    @skipped_when_stopped
    def gate() -> None:
        from dynamo_ops.pause.pauses import PauseKind, look
        from dynamo_ops.quality.suites.metadata import check_metadata
        from dynamo_ops.quality.thresholds import read_thresholds

        context = get_current_context()
        look(database(), PauseKind.METADATA)  # what stood still has pulled nothing
        check_metadata(
            database(),
            run_key(context),
            SOURCES,
            SITE_SOURCES,
            read_thresholds(settings()),
            as_of=interval(context)[1],
        )

    @task(outlets=[METADATA], task_display_name="Into the inventory")
    @skipped_when_stopped
    def merge() -> dict[str, object]:
        from dynamo_ops.sources.tasks import merge

        context = get_current_context()
        start, end = interval(context)
        summary = merge(
            database(),
            run_key(context),
            SOURCES,
            SITE_SOURCES,
            end,
            stable_h=settings().site_status.stable_h,
            every=end - start,
        )
        context["outlet_events"][METADATA].extra = summary
        return summary

    pages = list_pages(pull_datasets.expand(source=SOURCES))
    [pull_sites.expand(source=SITE_SOURCES), pull_details.expand(page=pages)] >> gate() >> merge()


metadata_sync()
