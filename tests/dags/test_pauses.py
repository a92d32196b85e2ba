"""A DAG that a person has stopped ends well and does nothing; resumed, its next run does what there is to do."""

from __future__ import annotations

import pytest

from dynamo_ops.pause.pauses import PauseKind, resume, stop
from tests.dags.house import House
from tests.dags.test_transfers import subscription_for
from tests.people import ADA

ACTING = {
    "metadata_sync": {"pull_sites", "pull_datasets", "gate", "merge"},
    "popularity_aggregation": {"rank"},
    "transfers": {"plan_batches"},
    "deletions": {"plan_batches"},
    "site_consistency": {"choose_sites"},
    "detox_physics": {"plan"},
    "dealer_physics": {"decide"},
}
COUNTS = """SELECT (SELECT count(*) FROM transfer_batches), (SELECT count(*) FROM deletion_batches),
                   (SELECT count(*) FROM plans), (SELECT count(*) FROM consistency_checks),
                   (SELECT count(*) FROM staged_pulls), (SELECT count(*) FROM subscriptions)"""


@pytest.mark.slow  # that each act looks is tried in tests/pause
def test_everything_stands_still_and_goes_on(house: House) -> None:
    wanted = subscription_for(house, "T2_CC")
    before = house.rows(COUNTS)
    stop(house.database, by=ADA, reason="the grid burns")
    for dag_id, tasks in ACTING.items():
        run = house.run(dag_id)
        assert (dag_id, run.state) == (dag_id, "success"), house.last_mail_text()
        assert {state for task in tasks for state in run.states(task)} == {"skipped"}, (dag_id, run.tasks)
    assert house.rows(COUNTS) == before
    resume(house.database, by=ADA)
    stop(house.database, PauseKind.DELETIONS, by=ADA, reason="only these")
    house.runs("transfers")
    assert house.rows("SELECT state, count(*) FROM subscriptions GROUP BY 1") == [("done", wanted)]
