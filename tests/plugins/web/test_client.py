"""The Python client over HTTP, against the app: what it reads is what there is, and what it writes is done once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access import audit
from dynamo_ops.base.settings import settings
from dynamo_ops.client import (
    BusyError,
    ChangedError,
    ConflictError,
    Dynamo,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    NotLoggedInError,
    to_polars,
)
from dynamo_ops.client.repeats import Repeats
from dynamo_ops.errand.carry import carry_out
from tests.patience import instead_of_sleep
from tests.plugins.web.callers import headers_of, passed_plan
from tests.plugins.web.listening import Lossy, listening
from tests.plugins.web.test_roles import POLICY
from tests.query.stock import FIRST, LOWER, SECOND, THIRD, Stock

NAMES = sorted([FIRST, SECOND, THIRD, LOWER])


def token_of(stock: Stock, name: str, *held: str) -> str:
    return headers_of(stock, name, *held)["authorization"].removeprefix("Bearer ")


@pytest.fixture
def network(client: TestClient) -> Lossy:
    return Lossy(client.app)


@pytest.fixture
def server(network: Lossy) -> Iterator[str]:
    with listening(network) as url:
        yield url


@pytest.fixture
def olga(server: str, stock: Stock) -> Iterator[Dynamo]:
    """An operator's client."""
    stock.rows("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset')")
    with Dynamo(server, token_of(stock, "olga", "operator"), repeats=Repeats(first_s=0.05)) as client:
        yield client


def test_pages_streams_and_files_have_the_same_rows(olga: Dynamo, tmp_path: Path) -> None:
    by_pages = list(olga.pages("/datasets", limit=1))
    assert [row["name"] for row in by_pages] == NAMES
    assert list(olga.stream("/datasets")) == [*olga.stream("/datasets", limit=10)]
    streamed = to_polars(olga.stream("/datasets"))  # has no num_copies, if it is not asked for
    assert streamed.equals(to_polars(by_pages).select(streamed.columns))
    csv = olga.download("/datasets", tmp_path / "datasets.csv", fields=["name", "size_bytes"])
    assert csv.read_text().splitlines()[0] == "name,size_bytes"
    assert len(csv.read_text().splitlines()) == 1 + len(NAMES)
    assert len(olga.download("/datasets", tmp_path / "d", "ndjson").read_text().splitlines()) == len(NAMES)


def test_what_is_read_has_the_fields_that_its_words_say(olga: Dynamo, stock: Stock) -> None:
    (first,) = olga.find_datasets(FIRST)
    assert {"id", "name", "status", "size_bytes", "num_sites", "last_update_at"} <= set(first)
    assert [row["name"] for row in olga.find_datasets(["/A/*"], site="T2_B", fields="name")] == [FIRST, SECOND]
    assert [row["name"] for row in olga.find_datasets(open=True, larger=1)] == [SECOND]
    assert list(olga.find_datasets(larger="2 PB")) == []

    for name in NAMES:  # some of which are globs
        assert olga.dataset(name)["dataset"]["id"] == stock.dataset_ids[name]
    assert set(olga.dataset(stock.dataset_ids[FIRST])) == {"dataset", "sites", "locks", "requests", "set_aside"}

    assert {(row["site"], row["is_full"]) for row in olga.where(FIRST)} == {
        ("T1_Tape", True),
        ("T2_A", True),
        ("T2_B", False),
    }
    assert [row["block"] for row in olga.where(FIRST, site="T2_B", blocks=True)] == ["a1"]
    assert [row["block"] for row in olga.where(FIRST, site="T2_A", block="a2")] == ["a2"]
    assert [row["dataset"] for row in olga.where(group="users", complete=True)] == [SECOND]

    (lfn, *_) = [row["lfn"] for row in olga.locate(f"{FIRST}#a1")]
    assert {copy["site"] for copy in next(olga.locate([lfn]))["copies"]} == {"T2_A", "T2_B", "T1_Tape"}
    many = [row["lfn"] for name in (FIRST, SECOND, LOWER) for row in olga.locate(name)]
    assert [row["lfn"] for row in olga.locate(many * 2)] == sorted(many)
    assert list(olga.locate([])) == []

    assert {"site", "partitions", "groups", "largest", "downtimes", "check", "checksums"} == set(olga.site("T2_A"))
    assert {"group", "sites", "largest"} == set(olga.group("users"))
    usage = list(olga.usage(["site", "group"], site="T2_*"))
    assert {"site", "group", "num_blocks", "num_complete", "size_bytes", "projected_bytes"} == set(usage[0])
    stock.subscription("copy", stock.files_of["c1"], "T2_A", origin="dealer")
    assert {row["origin"] for row in olga.subscriptions(site="T2_A", action="copy")} == {"dealer"}
    assert set(olga.why(FIRST, "T2_A")) >= {"detox", "dealer", "detox_because", "dealer_because"}
    assert (list(olga.plans()), list(olga.pauses())) == ([], [])


def test_what_is_refused_is_an_error_of_its_kind(olga: Dynamo, server: str, stock: Stock) -> None:
    with pytest.raises(NotFoundError, match="Did you mean physics") as unknown:
        olga.group("physic")
    assert unknown.value.type == "urn:dynamo:error:unknown-name"
    with pytest.raises(NotFoundError, match=FIRST):
        olga.dataset("/A/B-v1/AODD")
    with pytest.raises(NotFoundError, match=r"there is no dataset|no dataset matches"):
        olga.dataset("/A/*")
    with pytest.raises(InvalidError, match="sise"):
        list(olga.pages("/datasets", sise=1))
    with pytest.raises(NotLoggedInError):
        Dynamo(server, "dyn_guessed").get("/me")
    with pytest.raises(NotLoggedInError):
        Dynamo(server).get("/me")
    vera = Dynamo(server, token_of(stock, "vera"))
    with pytest.raises(ForbiddenError) as refused:
        vera.lock(FIRST, "thesis")
    assert "operator" in refused.value.needs
    olga.lock(FIRST, "thesis", key="k")
    with pytest.raises(ConflictError, match="another call"):
        olga.lock(SECOND, "thesis", key="k")


@pytest.mark.parametrize("status", [None, 502, 503, 504])
def test_a_write_whose_answer_is_lost_is_done_once(
    olga: Dynamo, network: Lossy, stock: Stock, status: int | None
) -> None:
    network.lose, network.status = 3, status
    made = olga.lock(FIRST, "thesis")
    assert (network.lose, len(network.keys), len(set(network.keys))) == (0, 4, 1)
    assert [lock["id"] for lock in olga.locks()] == [made["id"]]
    noted = [row for row in audit.records(stock.db).to_dicts() if row["action"] == "lock"]
    assert [(row["person"], row["key"]) for row in noted] == [("olga", network.keys[0])]


def test_a_program_that_was_started_again_does_nothing_twice(olga: Dynamo, server: str, network: Lossy) -> None:
    first = olga.request_copy(FIRST, "T2_C", "physics", key="production-7")
    assert olga.request_copy(FIRST, "T2_C", "physics", key="production-7") == first
    assert [row["num_asked"] for row in olga.requests()] == [1]
    assert olga.request_copy([FIRST], ["T2_C"], "physics")["num_asked"] == 2


def test_a_request_is_tried_made_looked_at_and_taken_back(olga: Dynamo) -> None:
    tried = olga.request_copy(FIRST, "T2_C", "physics", dry_run=True)
    assert ("id" in tried, tried["dry_run"], list(olga.requests())) == (False, True, [])
    number = olga.request_copy(FIRST, "T2_C", "physics")["id"]
    assert [row["id"] for row in olga.requests(state="open", dataset="/A/*", user="olga")] == [number]
    assert olga.request(number)["items"] == [FIRST]
    assert olga.cancel_request(number, "no room", dry_run=True)["dry_run"]
    olga.cancel_request(number, "no room")
    assert list(olga.requests(state="open")) == []
    gone = olga.request_deletion(SECOND, "T2_B", "old", dry_run=True, allow_last=10)
    assert {"state", "accepted_bytes", "num_last_files", "verdicts"} <= set(gone)


def test_a_lock_is_set_and_taken_back(olga: Dynamo) -> None:
    made = olga.lock("/A/*", "thesis", site="T2_*", until="90 days")
    assert {"id", "warnings", "given_back"} <= set(made)
    olga.unlock(made["id"], "handed in")
    assert list(olga.locks()) == []
    (over,) = olga.locks(over=True)
    assert (over["removed_by"], over["removed_because"]) == ("olga", "handed in")


def test_documents_are_told_and_taken_back(olga: Dynamo, stock: Stock) -> None:
    document = {"datasets": [{"name": "/New/B-v1/AOD"}]}
    olga.inject(document, dry_run=True)
    assert "/New/B-v1/AOD" not in [row["name"] for row in olga.find_datasets()]
    assert olga.inject(document)["datasets"]["new"] == 1
    lost = {"datasets": [FIRST]}
    number = olga.invalidate(lost, "lost", dry_run=True)["num_files"]
    with pytest.raises(InvalidError, match="look again"):
        olga.invalidate(lost, "lost", expected_files=number + 1)
    assert olga.invalidate(lost, "lost", expected_files=number)["num_files"] == number


def test_a_plan_is_decided_about_as_it_was_seen(olga: Dynamo, stock: Stock, tmp_path: Path) -> None:
    number = passed_plan(stock, tmp_path).id
    with pytest.raises(ChangedError, match="If-Match is missing"):
        olga.post(f"/plans/{number}/refuse", {"reason": "no"})
    with pytest.raises(ChangedError):
        olga.post(f"/plans/{number}/refuse", {"reason": "no"}, seen="other")
    etag = olga.post(f"/plans/{number}/refuse", {"reason": "no"}, dry_run=True)["etag"]
    olga.post(f"/plans/{number}/refuse", {"reason": "no"}, seen=etag)
    assert [row["state"] for row in olga.plans(kind="detox")] == ["refused"]


def test_a_policy_is_tried_by_a_run(
    olga: Dynamo, stock: Stock, monkeypatch: pytest.MonkeyPatch, slept: list[float]
) -> None:
    from dynamo_web.run import start

    monkeypatch.setattr(start, "_start", lambda *_: False)
    errand = olga.try_policy("physics", POLICY)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        carry_out(stock.db, settings(), "errands/of_a_test")

    instead_of_sleep(monkeypatch, sleep)
    assert olga.wait(errand)["answer"]
    assert slept == [5]


@pytest.fixture
def slept() -> list[float]:
    return []


def test_who_writes_often_is_slowed_down_and_loses_nothing(olga: Dynamo) -> None:
    for number in range(13):
        olga.lock(FIRST, f"thesis {number}")
    assert len(list(olga.locks())) == 13


def test_one_stream_at_a_time(olga: Dynamo, server: str, stock: Stock) -> None:
    hasty = Dynamo(server, token_of(stock, "ada"), repeats=Repeats(tries=1))
    stock.rows(
        """INSERT INTO datasets (name, status, is_open, last_update_at)
           SELECT '/Many/' || repeat('x', 200) || n, 'valid', false, now() FROM generate_series(1, 40000) AS n"""
    )
    first = hasty.stream("/datasets")
    next(first)
    with pytest.raises(BusyError, match="one at a time") as busy:
        next(hasty.stream("/datasets"))
    assert busy.value.retry_after_s == 10
    first.close()  # type: ignore[attr-defined]


def test_who_asks_is_whose_the_token_is(
    olga: Dynamo, stock: Stock, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setenv("DYNAMO_SERVER", server)
    monkeypatch.setenv("DYNAMO_TOKEN", token_of(stock, "ada"))
    me: dict[str, Any] = Dynamo.from_environment().get("/me")
    assert me["name"] == "ada"
