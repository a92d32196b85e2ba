"""Metrics as a scraper asks for them."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.query.stock import Stock

VERA = {"x-user": "vera:viewer"}


@pytest.fixture(autouse=True)
def read_anew(client: TestClient) -> None:
    from dynamo_web.metrics import BY_NAME, OVERVIEW

    OVERVIEW.forget()
    BY_NAME.forget()


def families(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_anybody_is_told_of_all_sites_together(client: TestClient, stock: Stock) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = families(answer.text)
    assert found["dynamo_pauses"] == [({}, 0.0)]
    assert ({"storage_type": "disk", "status": "ready"}, 3.0) in found["dynamo_sites"]
    assert "T2_A" not in answer.text
    asked = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")


def test_sites_are_told_apart_to_who_may_read(client: TestClient, stock: Stock) -> None:
    assert client.get("/metrics/sites").status_code == 401
    found = families(client.get("/metrics/sites", headers=VERA).text)
    assert {labels["site"] for labels, _ in found["dynamo_site_readable"]} == {"T1_Tape", "T2_A", "T2_B", "T2_C"}


def test_who_asks_often_does_not_make_the_database_work(client: TestClient, stock: Stock) -> None:
    from dynamo_web.databases import reading

    reads: list[object] = []
    snapshot = reading().snapshot

    def counted() -> object:
        reads.append(None)
        return snapshot()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(reading()), "snapshot", lambda _: counted())
        texts = {client.get("/metrics").text for _ in range(20)}
    assert len(reads) == 1
    assert len(texts) == 1
