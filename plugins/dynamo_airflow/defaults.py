"""What all DAGs of Dynamo have in common: retries by the class of the error, alerts, dates, pools, keys of runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule, timezone

from dynamo_airflow.alerts import failure_callbacks, late_after
from dynamo_ops.base.settings import settings

if TYPE_CHECKING:
    from dynamo_ops.database.connection import Database

FIRST_INTERVAL: datetime = timezone.datetime(2026, 1, 1)
"""Start of the DAGs that own data intervals; how far back a backfill can go. The others have no start: the first run of
one that was unpaused is at its next time, not at the one that has passed."""

T = TypeVar("T")

log = logging.getLogger(__name__)

TAG = "dynamo"
READS, DECIDES, ACTS, TELLS = "reads", "decides", "acts", "tells"
"""What a DAG does to the world, as a tag: it asks sources; it makes plans; it moves, removes or tidies; it tells
people."""

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            "dynamo_ops.base.errors.RetryableRemoteError", RetryAction.DEFAULT, reason="the service may come back"
        ),
        RetryRule("dynamo_ops.base.errors.DynamoError", RetryAction.FAIL, reason="the same call would fail again"),
    ]
)


def task_defaults() -> dict[str, Any]:
    """``default_args`` of every DAG: our retryable errors are tried again with growing delays, permanent ones are
    not."""
    retries = settings().retries
    return {
        "owner": "dynamo",
        "retries": retries.count,
        "retry_delay": timedelta(seconds=retries.delay_s),
        "max_retry_delay": timedelta(seconds=retries.max_delay_s),
        "retry_exponential_backoff": 2.0,
        "retry_policy": RETRY_POLICY,
        "on_failure_callback": failure_callbacks(),
    }


def dag_defaults(dag_id: str, shown_as: str, *tags: str, late: timedelta | None = None) -> dict[str, Any]:
    """Arguments of every DAG. ``shown_as``: its name in Airflow's UI. ``late``: a person is told when a run has not
    ended that long after it was queued."""
    return {
        "dag_id": dag_id,
        "dag_display_name": shown_as,
        "catchup": False,
        "default_args": task_defaults(),
        "tags": [TAG, *tags],
        "deadline": late_after(dag_id, late) if late else None,
    }


def or_nothing(shares: Sequence[T], nothing: T) -> list[T]:
    """``shares``, for a mapped task; where there are none ``nothing``, of which it makes a green task: Airflow shows
    one that is mapped over an empty list as skipped (docs/decisions/0030)."""
    return list(shares) or [nothing]


def nothing_to_do(why: str) -> dict[str, object]:
    """The answer of a task that had nothing to do: it is green, and its log says why."""
    log.info("nothing to do: %s", why)
    return {}


def database() -> Database:
    """The inventory of this installation."""
    from dynamo_ops.database.connect import connect

    return connect(settings())


def run_key(context: Any) -> str:
    """The name of a run in our own tables: the same for every try of every task of the run."""
    return f"{context['dag'].dag_id}/{context['dag_run'].run_id}"


def interval(context: Any) -> tuple[datetime, datetime]:
    """The run's data interval; for a run without one (by hand, by an asset) it is empty and ends at the run's start.

    As plain datetimes in UTC: Airflow's are of pendulum, which cannot be subtracted from all others.
    """
    end = context.get("data_interval_end") or context["dag_run"].start_date
    start = context.get("data_interval_start") or end
    return _plain(start), _plain(end)


def _plain(moment: datetime) -> datetime:
    utc = moment.astimezone(UTC)
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, tzinfo=UTC)
