"""Turn a day of accesses into ranks."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task
from dynamo_airflow.assets import POPULARITY
from dynamo_airflow.defaults import FIRST_INTERVAL, dag_defaults, database, interval, run_key

from dynamo_ops.settings import settings

SOURCES = [source.name for source in settings().access_sources]

PARAMS = {
    "day": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Day (UTC)",
        description="Only for a run by hand: the day to aggregate again. Scheduled and backfilled runs own a day.",
    ),
}


@dag(
    **dag_defaults("popularity_aggregation", late=timedelta(hours=6)),
    start_date=FIRST_INTERVAL,
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    max_active_runs=1,
    params=PARAMS,
    doc_md="""
### Popularity aggregation
Replaces the accesses of the run's UTC day, from every access source, and computes `usage_rank`, `num_access` and
`last_access` of all datasets anew. A higher rank means less popular. Days may be aggregated in any order and again:
the result is the same.

*After an outage*: backfill the lost days.
""",
)
def popularity_aggregation() -> None:
    @task
    def choose_day() -> str:
        context = get_current_context()
        start, end = interval(context)
        return context["params"]["day"] or (start if start < end else end - timedelta(days=1)).date().isoformat()

    @task(pool="access_source")
    def pull(source: str, day: str) -> int:
        from dynamo_ops.popularity.steps import pull

        return pull(database(), settings(), run_key(get_current_context()), source, day)

    @task
    def gate(day: str) -> None:
        from dynamo_ops.quality.suites.accesses import check_accesses
        from dynamo_ops.quality.thresholds import read_thresholds

        check_accesses(database(), run_key(get_current_context()), day, SOURCES, read_thresholds(settings()))

    @task
    def replace_day(day: str) -> dict[str, object]:
        from dynamo_ops.popularity.steps import replace_day

        return replace_day(database(), run_key(get_current_context()), SOURCES, day)

    @task(outlets=[POPULARITY])
    def rank(day: str) -> dict[str, int]:
        from dynamo_ops.popularity.attributes import produce_all

        summary = produce_all(database())
        get_current_context()["outlet_events"][POPULARITY].extra = {"day": day, **summary}
        return summary

    day = choose_day()
    pull.partial(day=day).expand(source=SOURCES) >> gate(day) >> replace_day(day) >> rank(day)


popularity_aggregation()
