"""The process of one DAG run that gets killed: ``python -m tests.chaos.dag_worker <dag> <logical date> <point>``.

Airflow's and Dynamo's settings come by the environment. Ends with SIGKILL at the point, or after the last task.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime

from tests.chaos.worker import Points, watch_database, watch_requests


def main() -> None:
    dag_id, logical_date, point = sys.argv[1:]
    given = dict(os.environ)
    from tests.dags.house import dag  # takes all settings out of the environment, as behoves tests

    os.environ.update(given)
    points = Points(point)
    watch_database(points)
    watch_requests(points)
    dag(dag_id).test(logical_date=datetime.fromisoformat(logical_date))


if __name__ == "__main__":
    main()
