"""The DAG of errands: done or refused it is green; what another try may mend is tried again; a fault of ours is red."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.access import grants
from dynamo_ops.access.person import Grant, KnownBy, Person, Role
from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.database.connection import Database
from dynamo_ops.errand import carry, document, store
from dynamo_ops.errand.carry import Deed
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.query.record.errand import errand_card
from tests.dags.house import House, environment
from tests.people import ROOT_USER

OLGA = Person("olga", KnownBy.JWT, (Grant(Role.OPERATOR),))
RETRIES = {"retries": {"count": 2, "delay_s": 0.1, "max_delay_s": 0.2}}


@pytest.fixture
def house(airflow: None, database: Database, tmp_path: Path) -> Iterator[House]:
    """Without a grid: nothing is spoken to."""
    grants.grant(database, "olga", Grant(Role.OPERATOR), by=ROOT_USER, reason="of the test")
    with environment(tmp_path, RETRIES, DYNAMO_DB_URL=database.url) as config:
        grid: Any = None
        yield House(grid, database, config)


def asked(house: House, sent: object) -> int:
    body = json.dumps(sent).encode()
    packer = store.Packer()
    return document.ask_document(
        house.database,
        ErrandKind.INJECTION,
        size_bytes=len(body),
        pieces=[packer.pack(body), packer.flush()],
        dry_run=False,
        by=OLGA,
    )


def test_a_run_does_all_that_wait_and_what_is_refused_is_no_failure(house: House) -> None:
    ids = [asked(house, sent) for sent in ({"datasets": [{"name": "/A/B-v1/AOD"}]}, {"datasets": 7}, {})]
    run = house.run("errands")
    assert run.state == "success"
    cards = [errand_card(house.database, errand_id) for errand_id in ids]
    assert [card["state"] for card in cards] == ["done", "failed", "done"]
    assert {card["run_key"] for card in cards} == {f"errands/{run.run_id}"}
    assert house.rows("SELECT name FROM datasets") == [("/A/B-v1/AOD",)]


def test_a_fault_is_red_and_what_another_try_may_mend_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [RetryableRemoteError("away", service="x")]

    def act(*_: object) -> dict[str, Any]:
        if errors:
            raise errors.pop()
        return {}

    monkeypatch.setattr(carry, "DEEDS", {ErrandKind.INJECTION: Deed(act)})
    mended = asked(house, {})
    assert house.run("errands").state == "success"
    assert errand_card(house.database, mended)["state"] == "done"
    errors.append(ZeroDivisionError())
    failed = asked(house, {})
    run = house.run("errands")
    assert (run.state, run.failed) == ("failed", {"carry_out"})
    assert errand_card(house.database, failed)["problem"]["status"] == 500
