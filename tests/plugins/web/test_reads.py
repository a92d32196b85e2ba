"""What can be read: each resource, in pages and streams, as it is in the inventory."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.site import downtime, override
from dynamo_ops.inventory.site.quota import set_quotas
from tests.people import ROOT_USER
from tests.plugins.web.conftest import Ask
from tests.plugins.web.test_login import PAGE_OF_OURS
from tests.query.stock import FIRST, LOWER, SECOND, THIRD, Stock

NDJSON, CSV = "application/x-ndjson", "text/csv"


def names(document: Any, key: str = "name") -> list[str]:
    return [row[key] for row in document["items"]]


def test_datasets_in_pages(ada: Ask) -> None:
    first = ada("/datasets", limit=3, fields="name,size_bytes", count=1)
    assert first["items"][0] == {"name": FIRST, "size_bytes": 4000}
    assert (names(first), first["count"]) == ([FIRST, SECOND, THIRD], 4)
    second = ada("/datasets", limit=3, fields=["name", "id"], cursor=first["next"])
    assert (names(second), second["next"], "count" in second) == ([LOWER], None, False)
    assert "is of another question" in ada("/datasets", code=422, name="/A/*", cursor=first["next"])["detail"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"name": "/A/*"}, [FIRST, SECOND]),
        ({"name": ["*RAW", LOWER]}, [SECOND, LOWER]),
        ({"status": ["production", "invalid"]}, [SECOND, THIRD]),
        ({"release": "CMSSW_*"}, [SECOND]),
        ({"site": "T2_C"}, [LOWER]),
        ({"site": "T2_*", "group": "users"}, [SECOND]),
        ({"open": "true"}, [SECOND]),
        ({"larger": "3 kB"}, [FIRST]),
        ({"updated_since": "1d", "name": THIRD}, [THIRD]),
        ({"name": THIRD, "open": "true"}, []),
    ],
)
def test_datasets_by_what_is_asked(ada: Ask, asked: dict[str, Any], expected: list[str]) -> None:
    assert names(ada("/datasets", **asked)) == expected


def test_a_stream_of_lines(ada: Ask) -> None:
    *rows, end = [json.loads(line) for line in ada("/datasets", accept=NDJSON).splitlines()]
    assert [row["name"] for row in rows] == [FIRST, SECOND, THIRD, LOWER]
    assert end == {"end": {"rows": 4}}
    lines = ada("/datasets", accept=f"{NDJSON};q=0.9, */*", name=SECOND, fields="name").splitlines()
    assert lines == [json.dumps({"name": SECOND}, separators=(",", ":")), '{"end": {"rows": 1}}']
    assert ada("/datasets", accept=NDJSON, name=THIRD, open=True) == '{"end": {"rows": 0}}\n'


def test_a_stream_of_csv(ada: Ask) -> None:
    rows = list(csv.DictReader(io.StringIO(ada("/replicas", accept=CSV, dataset=FIRST, fields="site,groups"))))
    assert [row["site"] for row in rows] == ["T1_Tape", "T2_A", "T2_B"]
    assert len(ada("/datasets", accept=CSV, limit=2).splitlines()) == 3


def test_a_stream_that_cannot_begin_is_an_error_and_not_a_stream(ada: Ask) -> None:
    for _ in range(2):
        assert json.loads(ada("/datasets", code=404, accept=NDJSON, name="/X/*"))["status"] == 404
    assert json.loads(ada("/datasets", code=422, accept=CSV, count=1))["status"] == 422


def test_somebody_has_one_stream_at_a_time(ada: Ask, client: TestClient) -> None:
    from dynamo_web.lists import PLACES, STREAMS

    PLACES.take("ada")
    try:
        assert json.loads(ada("/datasets", code=429, accept=NDJSON))["type"] == "urn:dynamo:error:busy"
        assert ada("/datasets")["next"] is None
        others = [f"other {number}" for number in range(STREAMS - 1)]
        for name in others:
            PLACES.take(name)
        answer = client.get("/datasets", headers={"x-user": "bob:viewer", "accept": NDJSON})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
        for name in others:
            PLACES.give_back(name)
    finally:
        PLACES.give_back("ada")
    for _ in range(STREAMS + 1):
        assert ada("/datasets", accept=NDJSON)


def test_who_goes_away_gives_the_stream_back(ada: Ask, stock: Stock) -> None:
    """The place, and the connection that waits in a transaction."""
    import asyncio

    from dynamo_web.databases import reading
    from dynamo_web.lists import PLACES, Stream, _generator

    from dynamo_ops.query.dataset import DATASETS, DatasetFilter
    from dynamo_ops.query.paging.stream import ndjson

    def in_transaction() -> int:
        sql = "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = $1"
        return int(stock.db.frame(sql, (stock.db.url.rsplit("/", 1)[1].split("?")[0],)).item())

    stock.rows("INSERT INTO datasets (name, status, is_open, last_update_at) "
               "SELECT '/Many/' || n, 'valid', false, now() FROM generate_series(1, 5000) AS n")  # fmt: skip
    PLACES.take("ada")
    stream = Stream(_generator(ndjson(reading(), DATASETS, DatasetFilter())), NDJSON, "ada")

    async def gone(_message: Any) -> None:
        assert in_transaction() == 1
        raise OSError

    async def nothing() -> Any:
        await asyncio.sleep(60)

    with pytest.raises(BaseException):  # noqa: B017, PT011  # how it is told differs by the version of ASGI
        asyncio.run(stream({"type": "http", "asgi": {"spec_version": "2.3"}}, nothing, gone))
    assert in_transaction() == 0
    assert ada("/datasets", accept=NDJSON, name=FIRST)


def test_one_dataset_with_blocks_and_files(ada: Ask, stock: Stock) -> None:
    dataset_id = stock.dataset_ids[FIRST]
    card = ada(f"/datasets/{dataset_id}")
    assert (card["dataset"]["name"], card["locks"], card["requests"]) == (FIRST, [], [])
    assert [site["site"] for site in card["sites"]] == ["T1_Tape", "T2_A", "T2_B"]
    assert names(ada(f"/datasets/{dataset_id}/blocks"), "block") == ["a1", "a2"]
    assert names(ada(f"/datasets/{dataset_id}/blocks", block="*2"), "block") == ["a2"]
    files = ada(f"/datasets/{dataset_id}/files", fields="block,lfn")
    assert [row["block"] for row in files["items"]] == ["a1", "a1", "a2", "a2"]
    lfn = files["items"][3]["lfn"]
    assert ada(f"/datasets/{dataset_id}/files", lfn=lfn, fields="lfn")["items"] == [{"lfn": lfn}]
    of_block = ada(f"/blocks/{stock.block_ids['a2']}/files", fields="block,lfn")
    assert of_block["items"] == files["items"][2:]
    assert names(ada("/files", lfn=[lfn, "/no/such"]), "dataset") == [FIRST]


def test_what_is_where(ada: Ask) -> None:
    assert names(ada("/replicas", dataset=FIRST, complete=True, site="T2_*"), "site") == ["T2_A", "T2_B"]
    assert names(ada("/replicas", group="users"), "dataset") == [SECOND]
    blocks = ada("/replicas", level="block", dataset=FIRST, block="a2", fields="block,site")
    assert blocks["items"] == [{"block": "a2", "site": "T1_Tape"}, {"block": "a2", "site": "T2_A"}]
    assert ada("/replicas", custodial=True)["items"] == []


def test_where_files_are(ada: Ask) -> None:
    files = ada("/replicas/locate", dataset=f"{FIRST}#a1")["items"]
    assert [copy["site"] for copy in files[0]["copies"]] == ["T2_A", "T2_B", "T1_Tape"]
    (one,) = ada("/replicas/locate", lfn=files[1]["lfn"], protocol=["root", "davs"])["items"]
    assert one["lfn"] == files[1]["lfn"]


def test_many_files_are_asked_for_in_a_body(client: TestClient, ada: Ask) -> None:
    """An address of ten thousand names would be refused on its way."""
    lfns = [file["lfn"] for file in ada("/replicas/locate", dataset=FIRST)["items"]]
    reader = {"x-user": "ada:viewer", **PAGE_OF_OURS}

    def post(path: str, **body: object) -> Any:
        return client.post(path, json=body, headers=reader).json()

    assert [file["lfn"] for file in post("/files", lfns=[*lfns[::-1], "/nothing"])["items"]] == lfns[::-1]
    located = post("/replicas/locate", lfns=lfns, protocols=["davs"])
    assert located == ada("/replicas/locate", lfn=lfns, protocol="davs")
    assert post("/files", lfns=["/x"] * 1001)["detail"] == "1,001 LFNs: at most 1,000 at once"
    assert post("/replicas/locate", lfns=["/nothing"])["status"] == 404
    assert post("/replicas/locate", lfn=lfns)["status"] == 422


def test_sites_groups_and_usage(ada: Ask, stock: Stock) -> None:
    assert names(ada("/sites"), "site") == ["T1_Tape", "T2_A", "T2_B", "T2_C"]
    assert ada("/sites/T2_B")["site"]["site"] == "T2_B"
    assert names(ada("/sites/T2_B/only-here"), "dataset") == [SECOND]
    assert ada("/sites/T2_B/only-here", dataset=FIRST)["items"] == []
    assert ada("/groups/users")["group"]["group"] == "users"
    assert "users" in names(ada("/groups"), "group")
    assert names(ada("/groups/users/datasets"), "dataset") == [SECOND]
    (held,) = ada("/usage", by=["site", "group"], group="users")["items"]
    assert (held["site"], held["group"], held["size_bytes"]) == ("T2_B", "users", 3000)
    assert ada("/usage", since="2026-01-01", by="tier")["items"] == []


def test_names_and_what_is_said_of_sites(ada: Ask, stock: Stock) -> None:
    override.set_status(stock.db, "T2_B", "waitroom", by=ROOT_USER, reason="why")
    downtime.drain(stock.db, "T2_B", by=ROOT_USER, reason="why")
    assert names(ada("/names/sites"), "name") == ["T1_Tape", "T2_A", "T2_B", "T2_C"]
    assert names(ada("/names/groups"), "name") == sorted(names(ada("/groups"), "group"))
    assert "physics" in names(ada("/names/partitions"), "name")
    for path in ("/overrides", "/downtimes"):
        assert names(ada(path, site="T2_*"), "site") == ["T2_B"]
        assert ada(path, site="T2_A", over=True)["items"] == []
    assert (ada("/shared-storages")["items"], ada("/doubtful-mappings")["items"]) == ([], [])
    told = ada("/inventory")
    assert (told["num_datasets"], names({"items": told["sites"]}, "site")) == (
        stock.scalar("SELECT count(*) FROM datasets"), ["T1_Tape", "T2_A", "T2_B", "T2_C"]
    )  # fmt: skip


def test_how_full_partitions_are_is_read_for_one_at_a_time(ada: Ask, stock: Stock) -> None:
    from dynamo_web.api.inventory.quotas import READING

    set_quotas(stock.db, ["T2_A"], "physics", 10_000, by=ROOT_USER, reason="why")
    (row,) = ada("/quotas/partitions/use", site="T2_A", partition="physics")["items"]
    assert (row["quota_bytes"], row["changed_by"]) == (10_000, ROOT_USER.name)
    with READING:
        assert "read for somebody else" in ada("/quotas/partitions/use", code=429)["detail"]
    assert names(ada("/quotas/partitions/use", site="T2_C"), "partition") == ["unclaimed"]


def test_what_was_declared_invalid(ada: Ask, stock: Stock) -> None:
    invalidate(stock.db, {"datasets": [FIRST]}, reason="lost", by=ROOT_USER)
    (row,) = ada("/invalidations", name="/A*", kind="dataset")["items"]
    assert (row["kind"], row["name"], row["reason"], row["created_by"]) == ("dataset", FIRST, "lost", ROOT_USER.name)
    assert ada("/invalidations", kind="file")["items"] == []
    assert "kind of things" in ada("/invalidations", kind="site", code=422)["detail"]


def test_what_the_api_can_do(ada: Ask) -> None:
    document = ada("/openapi.json")
    assert document["servers"] == [{"url": "/dynamo"}]
    assert "/v1/datasets/{dataset_id}" in document["paths"]
    assert document["paths"]["/v1/policies/check"].keys() == {"post"}
    assert "dry_run" in {each["name"] for each in document["paths"]["/v1/locks"]["post"]["parameters"]}
    parameters = {parameter["name"] for parameter in document["paths"]["/v1/datasets"]["get"]["parameters"]}
    assert {"name", "cursor", "fields"} <= parameters
