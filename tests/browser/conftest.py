"""A browser, and an api-server of Airflow with an installation of which pages have something to show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, sync_playwright

from dynamo_ops.database.embedded import EmbeddedPostgres
from tests import ROOT
from tests.api_server import ApiServer, api_server
from tests.browser.content import (
    COUNTING_DAG,
    DELETING_DAG,
    FAILED_DAG,
    MANAGER,
    PEOPLE,
    RUN,
    SIDES,
    Content,
    filled,
)
from tests.browser.looker import Looker, chromium, looking
from tests.dags.house import fresh_database
from tests.plugins.conftest import airflow

__all__ = ["airflow"]

BUNDLE = "dynamo-test"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module: while one is open, its loop is the running one of this thread."""
    with sync_playwright() as playwright:
        opened = chromium(playwright)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def installation(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Content]:
    """With a database of its own."""
    with fresh_database(postgres, "browsed") as database:
        yield filled(tmp_path_factory.mktemp("browsed"), database)


@pytest.fixture(scope="module")
def runs(airflow: None) -> Iterator[None]:
    """Runs of our DAGs as Airflow's database has them, of today."""
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    _told_to_airflow("detox", "daily_digest", "popularity_aggregation", "errands")
    now = datetime.now(UTC)
    with create_session() as session:
        for dag_id, run_id, state, age_h in (
            (DELETING_DAG, RUN, DagRunState.SUCCESS, 9),
            (FAILED_DAG, "scheduled__1", DagRunState.FAILED, 5),
            (COUNTING_DAG, "scheduled__1", DagRunState.SUCCESS, 3),
        ):
            began = now - timedelta(hours=age_h)
            made = DagRun(
                dag_id=dag_id,
                run_id=run_id,
                run_type=DagRunType.SCHEDULED,
                state=state,
                start_date=began,
                run_after=began,
                triggered_by=DagRunTriggeredByType.TIMETABLE,
            )
            made.end_date = began + timedelta(hours=1)
            session.add(made)
    yield
    with create_session() as session:
        session.query(DagRun).filter(DagRun.dag_id.in_(["errands", DELETING_DAG, FAILED_DAG, COUNTING_DAG])).delete()


def _told_to_airflow(*files: str) -> None:
    """As the processor of DAGs tells it."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    folder = ROOT / "dags"
    with create_session() as session:
        session.merge(DagBundleModel(name=BUNDLE))
    for file in files:
        sync_bag_to_db(DagBag(folder / f"{file}.py", bundle_path=folder, bundle_name=BUNDLE), BUNDLE, None)


@pytest.fixture(scope="module")
def server(installation: Content, runs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Airflow, with the pages in it."""
    folder, airflow_url = tmp_path_factory.mktemp("server"), os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    database_url = installation.database.url
    with api_server(
        folder, installation.home, airflow_url, people=PEOPLE, is_migrated=True, DYNAMO_DB_URL=database_url
    ) as served:
        yield served


@pytest.fixture(params=list(SIDES))
def way(request: pytest.FixtureRequest) -> str:
    """How somebody looks: at the pages alone, or at them in Airflow."""
    return str(request.param)


@pytest.fixture
def somebody(browser: Browser, server: ApiServer, way: str) -> Iterator[Looker]:
    """The operator, logged in, with *Today* before them."""
    with looking(browser, server, MANAGER, is_framed=way == "framed") as looker:
        yield looker
