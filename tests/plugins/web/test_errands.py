"""Heavy work over REST: asked for, answered by 202, shown until it has ended; and a large document is taken in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access import audit
from dynamo_ops.base.settings import settings
from dynamo_ops.errand.carry import carry_out
from dynamo_ops.query.record.errand import errand_card
from tests.people import ADA
from tests.plugins.web.callers import Call, headers_of, olga, passed_plan
from tests.plugins.web.test_roles import POLICY
from tests.query.stock import Stock

__all__ = ["olga"]

DATASET = {"datasets": [{"name": "/New/B-v1/AOD"}]}
JSON = {"content-type": "application/json"}


def large(document: Any = DATASET) -> bytes:
    """More than a request does."""
    from dynamo_web.body import MOST_BYTES

    return json.dumps(document).encode() + b" " * MOST_BYTES


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Airflow has the DAG: what was started there, and by whom."""
    from dynamo_web.run import start as module

    begun: list[tuple[str, str]] = []

    def start(run_id: str, by: str) -> bool:
        begun.append((run_id, by))
        return False

    monkeypatch.setattr(module, "_start", start)
    return begun


def carry(stock: Stock) -> dict[str, int]:
    """As the DAG does."""
    return carry_out(stock.db, settings(), "errands/of_a_test")


def names(stock: Stock) -> list[str]:
    return [name for (name,) in stock.rows("SELECT name FROM datasets WHERE name LIKE '/New/%'")]


def test_a_commit_is_asked_for_and_shown_until_it_has_ended(
    olga: Call, stock: Stock, tmp_path: Path, runs: list[Any]
) -> None:
    passed_plan(stock, tmp_path, by=ADA)
    assert olga("POST", "/plans/1/commit", code=428).json()["type"] == "urn:dynamo:error:unseen"
    tried = olga("POST", "/plans/1/commit", dry_run=True).json()
    assert (tried["state"], tried["dry_run"], runs) == ("planned", True, [])
    assert stock.rows("SELECT * FROM errands") == []
    olga("POST", "/plans/1/commit", code=412, seen="planned-other")

    asked = olga("POST", "/plans/1/commit", code=202, seen=tried["etag"], key="c1")
    number = asked.json()["errand"]
    run_id, path = f"errand__{number}", f"/errands/{number}"
    page = f"/dags/errands/runs/{run_id}"
    assert asked.json() == {"errand": number, "state": "waiting", "dry_run": False, "run": page}
    assert asked.headers["location"] == f"/dynamo/v1{path}"
    again = olga("POST", "/plans/1/commit", code=202, seen=tried["etag"], key="c1")
    assert (again.content, again.headers["idempotent-replay"]) == (asked.content, "true")
    assert runs == [(run_id, "olga")] * 2  # whose start was lost is started; the run has one name

    shown = olga("GET", path)
    assert (shown.json()["state"], shown.json()["run"], shown.headers["retry-after"]) == ("waiting", None, "5")
    assert shown.json()["arguments"]["plan_id"] == 1
    olga("POST", "/plans/1/refuse", {"reason": "no"}, seen=tried["etag"])
    assert carry(stock) == {"done": 0, "refused": 1}
    ended = olga("GET", path)
    assert "retry-after" not in ended.headers
    assert (ended.json()["state"], ended.json()["run"]) == ("failed", "/dags/errands/runs/of_a_test")
    problem = ended.json()["problem"]
    assert {*problem} == {"type", "title", "status", "detail", "facts", "next_step"}
    assert (problem["status"], problem["type"]) == (409, "urn:dynamo:error:plan")


def test_where_no_run_can_be_started_it_waits_and_the_answer_says_so(
    olga: Call, stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynamo_web.run import start as module

    monkeypatch.setattr(module, "DAG_ID", "errandz")  # Airflow of this test knows none of this name
    plan = passed_plan(stock, tmp_path, by=ADA)
    answer = olga("POST", "/plans/1/commit", code=202, seen=plan.etag).json()
    assert answer["run"] is None
    assert "the next of the DAG errandz does it" in answer["note"]
    assert errand_card(stock.db, 1)["state"] == "waiting"
    monkeypatch.setattr(module, "_start", lambda *_: True)
    answer = olga("POST", "/plans/1/commit", code=202, seen=plan.etag).json()
    assert (answer["run"], "is paused" in answer["note"]) == ("/dags/errandz/runs/errand__2", True)


def test_airflow_is_asked_for_a_run_once(airflow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is faked here: the DAG is in Airflow's database as its processor writes it."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models import DagModel, DagRun
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from dynamo_web.run.start import started

    from tests import ROOT

    with create_session() as session:
        session.merge(DagBundleModel(name="dynamo-test"))
    bag = DagBag(ROOT / "dags" / "errands.py", bundle_path=ROOT / "dags", bundle_name="dynamo-test")
    sync_bag_to_db(bag, "dynamo-test", None)
    try:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.org/af")
        for _ in range(2):
            assert started(17, "olga") == {"run": "/af/dags/errands/runs/errand__17"}
        with create_session() as session:
            (run,) = session.query(DagRun).filter(DagRun.run_id.like("errand__%")).all()
            assert (run.run_id, str(run.state), run.triggering_user_name) == ("errand__17", "queued", "olga")
            session.query(DagModel).filter(DagModel.dag_id == "errands").update({"is_paused": True})
        assert "paused" in started(18, "olga")["note"]
    finally:
        with create_session() as session:
            session.query(DagRun).filter(DagRun.run_id.like("errand__%")).delete()
            session.query(DagModel).filter(DagModel.dag_id == "errands").update({"is_paused": False})


def test_errands_are_read_by_who_asked_and_by_operators_and_admins(
    olga: Call, client: TestClient, stock: Stock, tmp_path: Path, runs: list[Any]
) -> None:
    plan = passed_plan(stock, tmp_path, by=ADA)
    for number in range(3):
        olga("POST", "/plans/1/commit", code=202, seen=plan.etag, key=f"k{number}")
    stock.rows("UPDATE errands SET person = 'petra' WHERE id = 2")
    petra = headers_of(stock, "petra", "producer@namespace:/A/*")

    def listed(headers: dict[str, str], **params: Any) -> list[int]:
        answer = client.get("/errands", params=params, headers=headers)
        assert answer.status_code == 200, answer.text
        return [errand["id"] for errand in answer.json()["items"]]

    assert listed(petra) == [2]
    assert listed(headers_of(stock, "adam", "admin")) == [3, 2, 1]
    assert [errand["id"] for errand in olga("GET", "/errands", state="waiting", kind="commit").json()["items"]] == [
        3,
        2,
        1,
    ]
    first = olga("GET", "/errands", limit=2).json()
    assert [errand["id"] for errand in olga("GET", "/errands", limit=2, cursor=first["next"]).json()["items"]] == [1]
    assert client.get("/errands/2", headers=petra).status_code == 200
    assert client.get("/errands/1", headers=petra).json()["facts"]["needs"][0] == "operator"
    assert olga("GET", "/errands/2").json()["person"] == "petra"
    assert olga("GET", "/errands/9", code=404).json()["detail"] == "there is no errand 9"
    assert "Did you mean waiting" in olga("GET", "/errands", code=422, state="waitin").json()["detail"]


def test_a_large_document_is_an_errand_and_a_small_one_is_done_at_once(
    olga: Call, stock: Stock, runs: list[Any]
) -> None:
    body = large()
    answer = olga("POST", "/injections", body, code=202, key="i1").json()
    assert (answer["errand"], answer["dry_run"], names(stock)) == (1, False, [])
    assert olga("POST", "/injections", body, code=202, key="i1").headers["idempotent-replay"] == "true"
    assert olga("POST", "/injections", body + b" ", code=409, key="i1").json()["type"] == "urn:dynamo:error:used-key"
    assert carry(stock) == {"done": 1, "refused": 0}
    assert names(stock) == ["/New/B-v1/AOD"]
    assert olga("GET", "/errands/1").json()["answer"]["datasets"]["new"] == 1
    assert olga("POST", "/injections", DATASET).json()["datasets"]["unchanged"] == 1

    lost = {"document": {"datasets": ["/New/B-v1/AOD"]}, "reason": "lost", "expected_files": 0}
    tried = olga("POST", "/invalidations?dry_run=true", large(lost), code=202).json()
    assert (tried["errand"], tried["dry_run"]) == (2, True)
    carry(stock)
    assert olga("GET", "/errands/2").json()["answer"]["num_datasets"] == 1
    assert names(stock) == ["/New/B-v1/AOD"]
    olga("POST", "/invalidations", large(lost), code=202)
    carry(stock)
    assert names(stock) == []
    noted = audit.records(stock.db, action="in").reverse()["object"].to_list()
    assert noted[:2] == ["asked for an injection: 5.00 MB of JSON", "1 datasets, 0 blocks, 0 files"]


def test_what_comes_with_a_large_document_is_looked_at_before_it_is_read(
    olga: Call, client: TestClient, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynamo_web import body as module

    read: list[int] = []

    def parts() -> Iterator[bytes]:
        for _ in range(60):
            read.append(1)
            yield b" " * 100_000

    def status(headers: dict[str, str], path: str = "/injections", length: int = 6_000_000) -> Any:
        sent = JSON | {"content-length": str(length)} | headers
        answer = client.post(path, content=parts(), headers=sent)
        return answer.status_code

    token = headers_of(stock, "otto", "operator")
    monkeypatch.setattr(module, "sent", lambda _: pytest.fail("it was read"))
    assert status({}) == 403  # no origin
    assert status({"authorization": "Bearer dyn_forged"}) == 401
    assert status(token | {"origin": "http://evil.example"}) == 403
    assert status(token | {"content-type": "text/plain"}) == 415
    assert status(token, length=256_000_001) == 413
    assert status(token, path="/locks") == 413
    assert status(token, path="/injections/1") == 413
    assert status(token | {"content-length": "many"}) == 400
    assert status(headers_of(stock, "vera", "viewer")) == 403
    newest = audit.records(stock.db, limit=1).row(0, named=True)
    assert (newest["person"], newest["outcome"], newest["object"]) == ("vera", "refused", "a large injection")
    assert stock.rows("SELECT * FROM errands") == []


def test_a_large_document_that_breaks_off_or_is_larger_than_it_said_is_nothing(
    olga: Call, client: TestClient, stock: Stock
) -> None:
    from dynamo_web.lists import PLACES

    token = headers_of(stock, "otto", "operator")
    answer = client.post(
        "/injections", content=iter([large(), b" " * 1000]), headers=token | JSON | {"content-length": "5000100"}
    )
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:dynamo:error:body")
    assert stock.rows("SELECT * FROM errands") == []
    PLACES.take("otto")
    assert client.post("/injections", content=large(), headers=token | JSON).status_code == 429
    PLACES.give_back("otto")
    assert client.post("/injections", content=large(), headers=token | JSON).status_code == 202


def test_a_policy_is_tried(olga: Call, stock: Stock, tmp_path: Path, runs: list[Any]) -> None:
    plan = passed_plan(stock, tmp_path, by=ADA)
    tried = {"partition": "physics", "policy": POLICY}
    assert olga("POST", "/trials", tried, dry_run=True).json() == {
        "partition": "physics",
        "against": None,
        "dry_run": True,
    }
    number = olga("POST", "/trials", tried, code=202).json()["errand"]
    assert carry(stock) == {"done": 1, "refused": 0}
    answer = olga("GET", f"/trials/{number}").json()["answer"]
    assert (answer["partition"], answer["deleted"]["num_block_replicas"]) == ("physics", 0)
    for wrong, code, words in (
        (tried | {"policy": "Partition physics\nDismis\n"}, 422, "Dismiss"),
        (tried | {"partition": "physic"}, 422, "physics"),
        (tried | {"against": 9}, 404, "there is no plan 9"),
        (tried | {"text": ""}, 422, "text"),
        ({"partition": "physics"}, 422, "policy, dealer: expected one of them"),
        ({"partition": "physics", "dealer": "partition: [1"}, 422, "dealer: not YAML"),
        ({"partition": "physics", "dealer": "partition: physics\n"}, 422, "dealer: group: Field required"),
    ):
        assert words in olga("POST", "/trials", wrong, code=code).json()["detail"]
    other = olga("POST", "/plans/1/commit", code=202, seen=plan.etag).json()["errand"]
    assert olga("GET", f"/trials/{other}", code=404).json()["detail"] == f"there is no trial {other}"
