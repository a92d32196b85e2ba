"""Bring the inventory's datasets, blocks, files and sites to what their sources say."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task
from dynamo_airflow.assets import METADATA
from dynamo_airflow.defaults import FIRST_INTERVAL, dag_defaults, database, interval, run_key

from dynamo_ops.settings import settings

SOURCES = [source.name for source in settings().metadata_sources]
SITE_SOURCES = [source.name for source in settings().site_sources]
DATASETS_PER_PAGE = 50

PARAMS = {
    "full": Param(
        False,
        type="boolean",
        title="Pull everything",
        description="Ask the sources for all they know, not only for what changed in the run's interval. "
        "Needed after a change made by hand at a source; the first run of a source is always full.",
    ),
}


@dag(
    **dag_defaults("metadata_sync", late=timedelta(hours=3)),
    start_date=FIRST_INTERVAL,
    schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"),
    max_active_runs=1,
    params=PARAMS,
    doc_md="""
### Metadata sync
Pulls what changed in the run's hour from every metadata source (DBS, or any plugin) and all sites from the site
sources, stages it, and merges it in one transaction **if the gate lets it in**: schema, sizes, unique LFNs, no mass
disappearance, sane sites. A run that the gate stops has changed nothing; its message names source, dataset and value.

*After an outage*: backfill the lost hours, or trigger by hand with **Pull everything**.
""",
)
def metadata_sync() -> None:
    @task(pool="metadata_source")
    def pull_sites(source: str) -> int:
        from dynamo_ops.sources.steps import pull_sites

        return pull_sites(database(), settings(), run_key(get_current_context()), source)

    @task(pool="metadata_source")
    def pull_datasets(source: str) -> list[dict[str, object]]:
        from dynamo_ops.sources.steps import pull_datasets

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

    @task
    def list_pages(pages: list[list[dict[str, object]]]) -> list[dict[str, object]]:
        return [page for of_source in pages for page in of_source]

    @task(
        pool="metadata_source",
        map_index_template="{{ task.op_kwargs['page']['source'] }} {{ task.op_kwargs['page']['page'] }}",
    )
    def pull_details(page: dict[str, object]) -> dict[str, int]:
        from dynamo_ops.sources.steps import pull_details

        return pull_details(
            database(), settings(), run_key(get_current_context()), str(page["source"]), int(str(page["page"]))
        )

    @task(trigger_rule="none_failed")
    def gate() -> None:
        from dynamo_ops.quality.suites.metadata import check_metadata
        from dynamo_ops.quality.thresholds import read_thresholds

        check_metadata(database(), run_key(get_current_context()), SOURCES, SITE_SOURCES, read_thresholds(settings()))

    @task(outlets=[METADATA])
    def merge() -> dict[str, object]:
        from dynamo_ops.sources.steps import merge

        context = get_current_context()
        summary = merge(database(), run_key(context), SOURCES, SITE_SOURCES, interval(context)[1])
        context["outlet_events"][METADATA].extra = summary
        return summary

    pages = list_pages(pull_datasets.expand(source=SOURCES))
    [pull_sites.expand(source=SITE_SOURCES), pull_details.expand(page=pages)] >> gate() >> merge()


metadata_sync()
