"""What ran of late, as Airflow knows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dynamo_web.run.start import page_of

TAG = "dynamo"
"""Of all our DAGs."""
MOST = 2_000


def recent_runs(since: datetime) -> list[dict[str, Any]]:
    """Runs of our DAGs that began since then or have not ended, newest first: dag, run, state, started_at, ended_at
    (now, of one that runs), page (its address in Airflow). ``MOST`` at most."""
    from airflow.models import DagRun  # slow to import
    from airflow.models.dag import DagTag
    from airflow.utils.session import create_session
    from sqlalchemy import or_, select

    ours = select(DagTag.dag_id).where(DagTag.name == TAG)
    asked = (
        select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date)
        .where(DagRun.dag_id.in_(ours), DagRun.start_date.is_not(None))
        .where(or_(DagRun.start_date >= since, DagRun.end_date.is_(None)))
        .order_by(DagRun.start_date.desc())
        .limit(MOST)
    )
    now = datetime.now(UTC)
    with create_session() as session:
        return [
            {
                "dag": run.dag_id,
                "run": run.run_id,
                "state": str(run.state),
                "started_at": run.start_date,
                "ended_at": run.end_date or now,
                "page": page_of(f"{run.dag_id}/{run.run_id}"),
            }
            for run in session.execute(asked)
        ]
