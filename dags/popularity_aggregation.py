"""Turn a day of accesses into ranks."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from airflow.sdk import (
    CronDataIntervalTimetable,
    Param,
    PokeReturnValue,
    dag,
    get_current_context,
    task,
    task_group,
    timezone,
)
from dynamo_airflow.assets import POPULARITY
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

PARAMS = {
    "day": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Day (UTC)",
        description="Only for a run by hand: the day to aggregate again. Scheduled and backfilled runs own a day.",
    ),
    "missing_days": Param(
        False,
        type="boolean",
        title="Missing days, too",
        description="Only for a run by hand: pull days that were never taken in. Scheduled runs do, backfills never.",
    ),
}
LABEL = "{{ task.op_kwargs['what'][:2] | join(' ') or 'none' }}"
NO_DAY: list[Any] = []
"""In the place of a day of a source, where no late day is pulled again."""

DOC = """
### Popularity aggregation
Takes in what was read on a UTC day and what is asked for, from every source, and ranks all datasets anew: `usage_rank`,
`num_access`, `last_access`, `request_weight`. A higher rank means less popular. Daily, `popularity.wait_h` hours after
the end of the day, so that sources can be complete.

**Reads** the sources of accesses and demand. **Changes** the use of that day and the ranks, which Detox and Dealer
decide by; never a file. Days may be aggregated in any order and again: the result is the same. **Skipped (pink)** means
that a person has stopped popularity (`dynamo pauses`).

Earlier days whose data have changed since, as far as their source can tell, and the last day of sources that cannot,
are pulled again (`…_late`); so are days that are *missing*, since a source was ill that night or a gate refused what it
said, some in each run. If that fails a person is told, and the run goes on: those days stay as they were. *What is
still missing?* says what has healed.

*After an outage*: wait for the next run, or have a run by hand pull *missing days, too*, or backfill. Until then Detox
and Dealer refuse plans that would use their ranks.

#### What may be red
`pull`: the source did not answer, or answered nonsense. `gate`: what it answered was refused, and **nothing was
changed**: have the source mended and clear the failed pull, or widen the limit in `gates.yaml` if it is right.
"""


def aggregation(suffix: str = "") -> Any:
    """Pull, gate, replace: for one day of one source. ``suffix``: tells the tasks of one group from another's."""
    words = " (late days)" if suffix else ""

    @task(
        task_id=f"pull{suffix}",
        pool="access_source",
        map_index_template=LABEL,
        task_display_name=f"Ask the source{words}",
    )
    @skipped_when_stopped
    def pull(what: list[Any]) -> Any:
        if not what:
            return nothing_to_do("no late day is to be pulled again")
        from dynamo_ops.popularity.days import DayOfSource
        from dynamo_ops.popularity.tasks import pull

        return pull(database(), settings(), run_key(get_current_context()), DayOfSource(*what))

    @task_with(
        GateLink("accesses", "demand"),
        task_id=f"gate{suffix}",
        map_index_template=LABEL,
        task_display_name=f"Gate: can it be right?{words}",
    )
    def gate(what: list[Any]) -> None:
        if not what:
            return
        from dynamo_ops.popularity.days import DayOfSource
        from dynamo_ops.popularity.tasks import staging_key
        from dynamo_ops.quality.suites import accesses as suites
        from dynamo_ops.quality.thresholds import read_thresholds

        asked = DayOfSource(*what)
        check = suites.check_demand if asked.kind == "demand" else suites.check_accesses
        key = staging_key(run_key(get_current_context()), asked.day)
        check(database(), key, asked.day, [asked.source], read_thresholds(settings()))

    @task(task_id=f"replace_day{suffix}", map_index_template=LABEL, task_display_name=f"Replace the day{words}")
    @skipped_when_stopped
    def replace_day(what: list[Any]) -> dict[str, object]:
        if not what:
            return nothing_to_do("no late day is to be replaced")
        from dynamo_ops.popularity.days import DayOfSource
        from dynamo_ops.popularity.tasks import replace_day

        return replace_day(database(), run_key(get_current_context()), DayOfSource(*what))

    @task_group(group_id=f"aggregate{suffix}", prefix_group_id=False)
    def aggregate(what: list[Any]) -> None:
        pull(what=what) >> gate(what=what) >> replace_day(what=what)  # type: ignore[operator]

    return aggregate


def is_healing() -> bool:
    """Whether the run looks for missing days: a scheduled one does; a backfill owns its day and nothing else."""
    context = get_current_context()
    return context["dag_run"].run_type == "scheduled" or bool(context["params"]["missing_days"])


def given_up_before() -> date | None:
    """Days before it may lack."""
    from dynamo_ops.quality.thresholds import read_thresholds

    return read_thresholds(settings()).freshness.gaps_accepted_before


def own_day() -> date:
    """The day that the run owns; for a run by hand the one asked for, or yesterday."""
    context = get_current_context()
    start, end = interval(context)
    asked: str | None = context["params"]["day"]
    return date.fromisoformat(asked) if asked else (start if start < end else end - timedelta(days=1)).date()


@dag(
    **dag_defaults("popularity_aggregation", "Popularity: what was read, day by day", READS, late=timedelta(hours=6)),
    start_date=FIRST_INTERVAL,
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    max_active_runs=1,
    params=PARAMS,
    doc_md=explained(
        DOC,
        {"Accesses and ranks of a dataset": "data", "What gates said": "gates", "How fresh popularity is": "today"},
    ),
)
def popularity_aggregation() -> None:
    @task.sensor(
        mode="reschedule",
        poke_interval=300,
        timeout=timedelta(days=1).total_seconds(),
        task_display_name="Wait until the day is complete",
    )
    def choose_day() -> PokeReturnValue:
        """The run's day of every source, once their drops can be there."""
        from dynamo_ops.inventory.freshness import refuse_day_to_come
        from dynamo_ops.popularity.days import own_days

        refuse_day_to_come(database(), own_day())  # else the run would wait for it
        ready_at = interval(get_current_context())[1] + timedelta(hours=settings().popularity.wait_h)
        return PokeReturnValue(timezone.utcnow() >= ready_at, [list(what) for what in own_days(settings(), own_day())])

    @task(pool="access_source", task_display_name="Which late days again?")
    def choose_late_days() -> list[list[Any]]:
        from dynamo_ops.popularity.days import days_to_heal, reopened_days

        late = reopened_days(database(), settings(), own_day())
        if is_healing():
            late += days_to_heal(database(), settings(), own_day(), given_up_before())
        return or_nothing([list(what) for what in late], NO_DAY)

    @task(trigger_rule="all_done", task_display_name="What is still missing?")
    def after_late_days() -> dict[str, list[str]]:
        """Late days that failed have been told of; what can be ranked is ranked, also where none could be chosen."""
        from dynamo_ops.popularity.days import DayOfSource
        from dynamo_ops.popularity.tasks import tell_missing

        chosen = get_current_context()["ti"].xcom_pull(task_ids="choose_late_days")
        pulled = [DayOfSource(*what) for what in chosen or () if what]
        return tell_missing(database(), settings(), own_day(), pulled, given_up_before())

    @task(outlets=[POPULARITY], trigger_rule="none_failed", task_display_name="Rank all datasets")
    @skipped_when_stopped
    def rank() -> dict[str, int]:
        from dynamo_ops.popularity.tasks import rank

        summary = rank(database(), settings())
        get_current_context()["outlet_events"][POPULARITY].extra = {"day": own_day().isoformat(), **summary}
        return summary

    own = aggregation().expand(what=choose_day())
    late = aggregation("_late").expand(what=choose_late_days())
    done = after_late_days()
    late >> done
    [own, done] >> rank()


popularity_aggregation()
