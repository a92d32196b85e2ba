"""Small daily chores: requests are closed, what is long over goes, Airflow's own history is trimmed."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task, timezone
from dynamo_airflow.defaults import ACTS, dag_defaults, database
from dynamo_airflow.pages import explained
from dynamo_airflow.pauses import skipped_when_stopped

from dynamo_ops.base.settings import settings

PARAMS = {
    "keep_days": Param(
        90,
        type="integer",
        minimum=7,
        title="Days of Airflow history to keep",
        description="Older runs, logs and XComs are removed from Airflow's database (not Dynamo's history).",
    ),
    "keep_logs_days": Param(
        30,
        type="integer",
        minimum=7,
        title="Days of log files to keep",
        description="Older files below Airflow's base_log_folder are removed, on the machine that runs the task.",
    ),
}


@task(task_display_name="Close requests that are done")
def advance_requests() -> dict[str, int]:
    from dataclasses import asdict

    from dynamo_ops.request.advance import advance

    return asdict(advance(database()))


@task(task_display_name="Old locks and refused pulls go")
def expire() -> dict[str, int]:
    from dynamo_ops.inventory.staging.expiry import expire

    return expire(database())


@task(task_display_name="Bad copies are fetched again")
@skipped_when_stopped
def fetch_bad_copies() -> dict[str, int]:
    from dynamo_ops.inventory.doubt.declare import judge_again

    return judge_again(database())


@task(task_display_name="Sites have their own status again")
def refresh_site_statuses() -> int:
    from dynamo_ops.inventory.site.status import refresh_statuses

    return refresh_statuses(database(), stable_h=settings().site_status.stable_h)


@task(task_display_name="Recount and record usage")
def keep_usage() -> dict[str, int]:
    from dynamo_ops.inventory.replica import usage
    from dynamo_ops.inventory.subscription import hours

    now = timezone.utcnow()
    return {**usage.keep(database(), now.date()), **hours.keep(database(), now)}


@task(task_display_name="Old history goes")
def prune_histories() -> dict[str, int]:
    from dynamo_ops.access import once
    from dynamo_ops.alerts import alert
    from dynamo_ops.configuration.keep import keep_settings
    from dynamo_ops.consistency import retention as consistency
    from dynamo_ops.dealer import history as dealer_history
    from dynamo_ops.detox import history as detox_history
    from dynamo_ops.inventory.replica import usage
    from dynamo_ops.inventory.subscription import hours
    from dynamo_ops.plan import retention as plans
    from dynamo_ops.popularity import fold
    from dynamo_ops.quality import results

    now = timezone.utcnow()
    before = now - timedelta(days=settings().history_keep_days)
    keep = keep_settings(settings())
    return {
        "detox": detox_history.prune_history(database(), before=before),
        "dealer": dealer_history.prune_history(database(), before=before),
        "gates": results.prune(database(), before=before),
        "usage": usage.prune(database(), before=before.date()),
        "hours": hours.prune(database(), before=before),
        "checks": consistency.forget_checks(database(), before=now - timedelta(days=keep.findings_days)),
        "lists": consistency.remove_lists(database(), before=now - timedelta(days=keep.lists_days)),
        "days": fold.fold_old(database(), max(keep.accesses_days, settings().popularity.demand_days)),
        "alerts": alert.forget(database(), now - timedelta(days=alert.KEEP_DAYS)),
        "calls": once.forget(database()),
        # last: one that lies where no plan's files should is an error, which keeps nothing else from going
        "plans": plans.remove_files(database(), before=now - timedelta(days=keep.plan_files_days)),
    }


@task(task_display_name="Do errands wait?")
def look_at_errands() -> dict[str, int]:
    from dynamo_ops.errand import store, trial

    return {"forgotten": trial.forget_old(database(), settings()), "waiting": store.tell_waiting(database())}


@task(task_display_name="What is stuck, or ends soon?")
def look_for_events() -> dict[str, int]:
    from dynamo_ops.event import fan_out, tokens
    from dynamo_ops.event.settings import event_settings
    from dynamo_ops.lock import ending
    from dynamo_ops.request.stuck import tell_stuck

    config = event_settings(settings())
    return {
        "stuck": tell_stuck(database(), config.stuck_after_days),
        "locks": ending.tell_ending(database(), config.ending_within_days),
        "tokens": tokens.tell_ending(database(), config.ending_within_days),
        "forgotten": fan_out.forget(database(), config.keep_days),
    }


@task(task_display_name="Trim Airflow's history")
def trim_airflow_history() -> str:
    import os
    import subprocess
    import sys

    url = settings().airflow_db_url
    if not url:
        return "nothing to do: airflow_db_url is not set, and tasks have no other way to Airflow's database"
    before = timezone.utcnow() - timedelta(days=get_current_context()["params"]["keep_days"])
    command = [
        sys.executable,
        "-m",
        "airflow",
        "db",
        "clean",
        "--clean-before-timestamp",
        before.isoformat(),
        "--skip-archive",
        "--yes",
    ]
    subprocess.run(command, check=True, env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url})
    return f"what is older than {before:%Y-%m-%d} was removed from Airflow's database"


@task(task_display_name="Old log files go")
def remove_old_logs() -> dict[str, int]:
    from pathlib import Path

    from airflow.sdk.configuration import conf
    from dynamo_airflow.logs import remove_logs

    before = timezone.utcnow() - timedelta(days=get_current_context()["params"]["keep_logs_days"])
    return remove_logs(Path(conf.get("logging", "base_log_folder")), before)


DOC = """
### Housekeeping
Small chores, daily at 02:30 UTC, side by side. **Reads and changes** Dynamo's own tables, Airflow's history and log
files; never a file of anybody's data.

#### What it does
Closes requests for copies whose data are there and for deletions that are done (the transfers and deletions do so after
each run already), removes locks that have been over for a year and rows that refused pulls left in the staging tables,
has bad copies fetched again of which somebody has a good one by now (docs/bad-copies.md), tells of requests that are
stuck and of locks and tokens that end soon (docs/events.md), gives sites their own status again where what a person
said of them is over, compares the sums of usage, and of copies and deletions by hour, with a recount (they are mended
if wrong; the log says so) and records usage for the day, and trims Airflow's own history
(where `airflow_db_url` is set) and log files. Dynamo's own: what Detox and Dealer did, usage by day, and copies and
deletions by hour, are kept for `history_keep_days` (two years, never less than one), failures that people were told of
for 90 days, events for `events.keep_days`, errands for 30, answers of calls that may be sent twice for seven. The files
of plans, consistency checks with their findings, the lists that they compared, and accesses by day are kept as long as
the section `keep` of `dynamo.yaml` says, and what is still asked longer; transfers are kept. The log of
`look_at_errands` warns where errands have waited for six hours.

**Skipped (pink)** is `fetch_bad_copies` while a person has stopped consistency (`dynamo pauses`).

#### What may be red
Nothing of it is urgent, and none of the chores waits for another.
"""


@dag(
    **dag_defaults("housekeeping", "Housekeeping: daily chores", ACTS, late=timedelta(hours=6)),
    schedule=CronTriggerTimetable("30 2 * * *", timezone="UTC"),
    max_active_runs=1,
    params=PARAMS,
    doc_md=explained(DOC, {"Requests": "requests", "Locks": "locks", "Use of the sites": "inventory"}),
)
def housekeeping() -> None:
    [
        advance_requests(),
        expire(),
        fetch_bad_copies(),
        refresh_site_statuses(),
        keep_usage(),
        prune_histories(),
        look_at_errands(),
        look_for_events(),
        trim_airflow_history(),
        remove_old_logs(),
    ]


housekeeping()
