"""The run of the DAG ``errands``, killed with -9 anywhere, and run again: each errand is done once, and answered."""

from __future__ import annotations

import itertools
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dynamo_ops.access import grants
from dynamo_ops.access.person import Grant, KnownBy, Person, Role
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.detox import tasks as detox
from dynamo_ops.errand import document, store
from dynamo_ops.errand.carry import carry_out
from dynamo_ops.errand.commit import ask_commit
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.query.record.errand import errand_card
from tests.chaos.conftest import TABLES, Worker
from tests.detox.test_tasks import NOW, House
from tests.patience import wait_until
from tests.people import ADA, ROOT_USER

pytestmark = pytest.mark.chaos
OLGA = Person("olga", KnownBy.TOKEN, (Grant(Role.OPERATOR),))
LASTING = re.compile(r"after COMMIT of (?!what was read)|before UPDATE errands|the run has not ended")
"""Where something stays, or is about to."""
_numbers = itertools.count()


@dataclass
class Desk:
    """Where errands wait; ``grid``: as the worker's orders have it."""

    house: House
    errand_id: int
    grid: Any = field(default_factory=SimpleNamespace)

    @property
    def db(self) -> Database:
        return self.house.db


def asked_to_inject(house: House) -> int:
    files = [{"lfn": "/store/n1", "size_bytes": 7, "adler32": "0a1b2c3d"}]
    dataset = {"name": "/New/B-v1/AOD", "blocks": [{"name": "n1", "files": files}]}
    body = json.dumps({"datasets": [dataset]}).encode()
    packer = store.Packer()
    pieces = [packer.pack(body), packer.flush()]
    return document.ask_document(
        house.db, ErrandKind.INJECTION, size_bytes=len(body), pieces=pieces, dry_run=False, by=OLGA
    )


def asked_to_commit(house: House) -> int:
    house.gates(approval_above_bytes=0)
    plan_id = detox.plan_cycle(house.db, house.settings, "all", run_key="hand", now=NOW, by=ADA)
    return ask_commit(house.db, plan_id, etag=None, by=OLGA)


ASKED = {"inject": asked_to_inject, "commit": asked_to_commit}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("runner"), "tests.chaos.errand_worker")
    yield made
    made.close()


LONG = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(
    params=["inject", pytest.param("inject anywhere", marks=LONG), pytest.param("commit", marks=LONG)], ids=str
)
def desk(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Desk:
    grants.grant(database, "olga", Grant(Role.OPERATOR), by=ROOT_USER, reason="of the test")
    house = House(database, tmp_path)
    desk = Desk(house, ASKED[request.param.split()[0]](house))
    desk.grid.endpoints = {"home": str(tmp_path), "run": "first"}
    return desk


def outcome(desk: Desk) -> dict[str, Any]:
    """What is there in the end, whatever happened on the way."""
    card = errand_card(desk.db, desk.errand_id)
    audited = desk.db.frame("SELECT action, object, outcome FROM audit WHERE person = 'olga' ORDER BY id").rows()
    return {
        "state": card["state"],
        "answer": card["answer"],
        "audit": audited,
        "pieces": desk.db.frame("SELECT errand_id FROM errand_pieces").height,
        "datasets": desk.db.frame("SELECT name FROM datasets ORDER BY 1")["name"].to_list(),
        "subscriptions": sorted(desk.house.subscriptions()),
        "plans": desk.db.frame("SELECT state, approved_by FROM plans").rows(),
    }


def _carried(desk: Desk, settings: Settings) -> bool:
    """What a run is at is left to it: as long as PostgreSQL has not noticed that it was killed, the next ones do."""
    carry_out(desk.db, settings, "errands/second")
    return bool(errand_card(desk.db, desk.errand_id)["state"] == "done")


def test_killed_anywhere_and_run_again_it_is_done_once(
    desk: Desk, runner: Worker, postgres: EmbeddedPostgres, request: pytest.FixtureRequest
) -> None:
    source = desk.db
    name = source.url.split("?")[0].rsplit("/", 1)[-1]

    def fresh() -> Desk:
        source.dispose()
        copy = f"errand_{next(_numbers)}"
        postgres.create_database(copy, template=name)
        house = House.__new__(House)
        vars(house).update(vars(desk.house), db=Database(postgres.url(copy)))
        return Desk(house, desk.errand_id, desk.grid)

    def closed(used: Desk) -> None:
        used.db.dispose()
        postgres.drop_database(used.db.url.split("?")[0].rsplit("/", 1)[-1])

    whole = fresh()
    *points, _ = runner.run(whole, "carry").points  # type: ignore[arg-type]
    expected = outcome(whole)
    closed(whole)
    assert expected["state"] == "done"
    done = []
    name_of_case = request.node.callspec.id
    if name_of_case == "inject":
        points = [point for number, point in enumerate(points) if LASTING.match(point) or number % 8 == 0]
    elif name_of_case == "commit":  # each takes a gate and a commit
        points = [point for point in points if LASTING.match(point)]
    assert len(points) > 6
    for point in points:
        tried = fresh()
        killed = runner.run(tried, "carry", kill_at=point)  # type: ignore[arg-type]
        assert killed.signal == signal.SIGKILL, f"{point} was not reached: {killed.text[-2000:]}"
        done.append(errand_card(tried.db, tried.errand_id)["state"] == "done")
        settings = tried.house.settings.model_copy(update={"db_url": tried.db.url})
        wait_until(partial(_carried, tried, settings), partial(errand_card, tried.db, tried.errand_id))
        assert outcome(tried) == expected, point
        closed(tried)
    assert done == sorted(done)
    assert {False, True} == {*done}
    TABLES.setdefault("errands whose run was killed with -9", [("errand", "points", "in the end")]).append(
        (name_of_case, str(len(points)), "done once at each, and answered the same")
    )
