"""Plans, what they hold and did, policies: of an installation in which commands made them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from dynamo_ops.cli import main
from tests.cli.seeded import DATASET, LIKE_MARKUP, LONG, POLICY, seeded, seeded_home
from tests.plugins.web.conftest import Ask, asking, served
from tests.plugins.web.test_login import PAGE_OF_OURS

__all__ = ["seeded", "seeded_home"]
NDJSON, CSV = "application/x-ndjson", "text/csv"
ADA = {"x-user": "ada:viewer", **PAGE_OF_OURS}


@pytest.fixture
def installation(airflow: None, seeded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with served(monkeypatch) as called:
        yield called


@pytest.fixture
def reader(installation: TestClient) -> Ask:
    return asking(installation)


def run(*words: str) -> None:
    ended = CliRunner().invoke(main.app, list(words))
    assert ended.exit_code == 0, (ended.output, ended.exception)


def test_plans_newest_first_in_pages(reader: Ask) -> None:
    first = reader("/plans", limit=2, fields="id,kind", count=1)
    assert first["items"] == [{"id": 3, "kind": "dealer"}, {"id": 2, "kind": "detox"}]
    assert first["count"] == 3
    assert [row["id"] for row in reader("/plans", limit=2, cursor=first["next"])["items"]] == [1]
    assert [row["id"] for row in reader("/plans", kind="detox", partition="a*", state="planned")["items"]] == [2, 1]
    assert reader("/plans", run="scheduled*")["items"] == []
    assert len(reader("/plans", since="1d", run="cli-*")["items"]) == 3
    assert "Did you mean all" in reader("/plans", code=404, partition="alll")["detail"]
    assert "Did you mean planned" in reader("/plans", code=422, state="planed")["detail"]


def test_one_plan_of_either_engine(reader: Ask, installation: TestClient) -> None:
    detox = reader("/plans/1")
    assert detox["etag"].startswith("planned-2")
    assert installation.get("/plans/1", headers=ADA).headers["etag"] == f'"{detox["etag"]}"'
    assert (detox["kind"], detox["state"], detox["deleted"]["num_block_replicas"]) == ("detox", "planned", 3)
    assert {site["site"] for site in detox["sites"]} == {"T2_A", "T2_B", "T2_C_With_A_Long_Name"}
    assert {line["decision"] for line in detox["lines"]} >= {"delete", "protect"}
    dealer = reader("/plans/3")
    assert (dealer["kind"], {row["plugin"] for row in dealer["plugins"]}) == ("dealer", {"requests", "enforcer"})
    assert reader("/plans/1/policy")["policy_text"] == POLICY
    assert reader("/plans/3/policy")["inputs"]["seed"] == 5
    for path in (
        "/plans/99",
        "/plans/99/policy",
        "/plans/99/decisions",
        "/plans/99/left-out",
        "/plans/1/diff?against=99",
    ):
        assert reader(path, code=404)["type"] == "urn:dynamo:error:unknown-plan"
    assert "is a plan of the Dealer" in reader("/plans/3/decisions", code=409)["detail"]


def test_decisions_in_pages_and_streams(reader: Ask) -> None:
    all_rows = reader("/plans/1/decisions")["items"]
    assert [(row["dataset"], row["site"]) for row in all_rows] == sorted(
        (row["dataset"], row["site"]) for row in all_rows
    )
    paged: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while cursor is not None:
        page = reader("/plans/1/decisions", limit=2, count=1, **cursor)
        assert page["count"] == len(all_rows)
        paged += page["items"]
        cursor = {"cursor": page["next"]} if page["next"] else None  # type: ignore[assignment]
    assert paged == all_rows
    lines = reader("/plans/1/decisions", accept=NDJSON).splitlines()
    assert [json.loads(line) for line in lines] == [*all_rows, {"end": {"rows": len(all_rows)}}]
    rows = list(csv.DictReader(io.StringIO(reader("/plans/1/decisions", accept=CSV, fields="site,decision", limit=2))))
    assert rows == [{name: row[name] for name in ("site", "decision")} for row in all_rows[:2]]
    protected = reader("/plans/1/decisions", decision="protect", site="T2_A")["items"]
    assert [(row["dataset"], row["site"], row["block"], row["line"]) for row in protected] == [(LONG, "T2_A", "*", 1)]
    assert reader("/plans/1/decisions", dataset=DATASET, line=1)["items"] == []
    first = reader("/plans/1/decisions", limit=1)["next"]
    for changed in ({"site": "T2_A"}, {"decision": "delete"}):
        assert "of another question" in reader("/plans/1/decisions", code=422, cursor=first, **changed)["detail"]
    assert "of another question" in reader("/plans/2/decisions", code=422, cursor=first)["detail"]
    assert "Did you mean site" in reader("/plans/1/decisions", code=422, fields="sit")["detail"]
    assert "expected" in reader("/plans/1/decisions", code=422, limit=1001)["detail"]
    assert "knows no site" in reader("/plans/1/decisions", code=404, site="T2_X")["detail"]
    assert "Did you mean delete" in reader("/plans/1/decisions", code=422, decision="delet")["detail"]


def test_who_has_a_stream_reads_no_plan_beside_it(reader: Ask) -> None:
    from dynamo_web.lists import PLACES

    PLACES.take("ada")
    try:
        for path in ("1/decisions", "1/order", "2/diff?against=1"):
            assert reader(f"/plans/{path}", code=429)["type"] == "urn:dynamo:error:busy"
        assert json.loads(reader("/plans/1/decisions", code=429, accept=NDJSON))["status"] == 429
        assert reader("/plans/1")["id"] == 1
    finally:
        PLACES.give_back("ada")
    for _ in range(3):
        reader("/plans/1/decisions", code=404, site="T2_X")
    assert reader("/plans/1/decisions")["items"]


def test_the_order_of_deletion_and_proposals(reader: Ask) -> None:
    order = reader("/plans/1/order", fields="delete_order,site")["items"]
    assert [row["delete_order"] for row in order] == sorted(row["delete_order"] for row in order)
    assert {row["site"] for row in order} == {"T2_A"}
    both = [reader("/plans/3/proposals", rejected=rejected)["items"] for rejected in (False, True)]
    assert {row["outcome"] is None for row in both[0]} <= {True}
    assert both[0] or both[1]
    assert {row["dataset"] for rows in both for row in rows} >= {LONG}
    assert "Did you mean requests" in reader("/plans/3/proposals", code=422, plugin="request")["detail"]


def test_what_two_plans_decide_otherwise(reader: Ask) -> None:
    same = reader("/plans/2/diff", against=1)
    assert (same["old"], same["new"], same["num_rows"], same["policy"]) == ("plan 1", "plan 2", 0, "")
    run("quota", "set", "T2_A", "all", "1000 TB", "--reason", "more", "--yes")
    run("detox", "plan", "all", "--store")
    other = reader("/plans/4/diff", against=1, limit=1)
    assert (len(other["datasets"]), other["num_rows_of"]["datasets"]) == (1, 2)
    assert other["newly_kept"]["num_block_replicas"] == 3
    assert reader("/plans/4/diff", code=409, against=3)["type"] == "urn:dynamo:error:plan"


def test_a_plan_without_its_files(reader: Ask, installation: TestClient) -> None:
    whole, story = reader("/plans/1"), reader("/plans/1/story")
    assert story.items() <= whole.items()
    assert installation.get("/plans/1/story", headers=ADA).headers["etag"] == f'"{story["etag"]}"'
    assert story["summary"]["num_deletions"] == 3
    assert [row["id"] for row in reader("/plans", before=3, limit=1)["items"]] == [2]
    sites = reader("/plans/1/sites")["items"]
    assert [site["site"] for site in sites] == [site["site"] for site in whole["sites"]]
    assert {"site_id", "bytes_before", "protected_bytes"} <= sites[0].keys()


def test_how_many_are_decided_and_proposed(reader: Ask) -> None:
    rows = reader("/plans/1/decisions", site="T2_A")["items"]
    found = reader("/plans/1/decisions/sum", site="T2_A", limit=1)
    assert (found["num_rows"], found["rows"]) == (len(rows), rows[:1])
    assert found["size_bytes"] == sum(row["size_bytes"] for row in rows)
    assert {line["line"] for line in found["lines"]} == {row["line"] for row in rows}
    assert reader("/plans/1/decisions/sum")["rows"] == []
    proposed = reader("/plans/3/proposals", rejected=True)["items"]
    assert reader("/plans/3/proposals/sum", rejected=True)["num_rows"] == len(proposed)
    assert "Did you mean delete" in reader("/plans/1/decisions/sum", code=422, decision="delet")["detail"]
    assert "Did you mean requests" in reader("/plans/3/proposals/sum", code=422, plugin="request")["detail"]


def test_tables_of_a_difference(reader: Ask) -> None:
    run("quota", "set", "T2_A", "all", "1000 TB", "--reason", "more", "--yes")
    run("detox", "plan", "all", "--store")
    found = reader("/plans/4/diff", against=1)
    for table in ("sites", "lines", "datasets", "last_copies", "handovers"):
        assert reader(f"/plans/4/diff/{table}", against=1)["items"] == found[table]
    rows = [json.loads(line) for line in reader("/plans/4/diff/decisions", accept=NDJSON, against=1).splitlines()]
    assert rows[-1] == {"end": {"rows": found["num_rows"]}}
    assert "keep" in {row["new_decision"] for row in rows[:-1]}
    assert "Did you mean sites" in reader("/plans/4/diff/site", code=422, against=1)["detail"]


def test_why_an_engine_decided_so(reader: Ask) -> None:
    detox = reader("/explain", dataset=LONG, site="T2_A", engine="detox")
    assert (detox["plan"], detox["site"]) == ("plan 2", "T2_A")
    dealer = reader("/explain", dataset=LONG, engine="dealer", site="T2_*")
    assert len(dealer["proposals"][0]["sites"]) > 1
    assert dealer["seed"] == 5
    assert "name one" in reader("/explain", code=422, dataset=LONG, engine="detox")["detail"]
    assert "Did you mean detox" in reader("/explain", code=422, dataset=LONG, engine="detx")["detail"]
    assert "is a plan of Detox" in reader("/explain", code=409, dataset=LONG, engine="dealer", plan=1)["detail"]


def test_what_was_done_to_a_dataset_and_why_it_is_where_it_is(reader: Ask) -> None:
    ids = {row["name"]: row["id"] for row in reader("/datasets")["items"]}
    run("detox", "commit", "1", "--yes")
    past = reader(f"/datasets/{ids[DATASET]}/history")["items"]
    moments = [datetime.fromisoformat(row["at"]) for row in past]
    assert moments == sorted(moments, reverse=True)
    assert {row["by"] for row in past} == {"detox", "request"}
    gone = next(row for row in past if row["decision"] == "delete")
    assert (gone["site"], gone["why"], gone["num_blocks"], gone["plan_id"]) == ("T2_A", "Dismiss", 1, 1)
    asked = next(row for row in past if row["by"] == "request")
    assert (asked["request_id"], asked["site"]) == (2, None)
    assert asked["decision"].startswith("deletion asked for by ")
    page = reader(f"/datasets/{ids[DATASET]}/history", limit=1, site="T2_*")
    assert page["next"] is not None
    following = reader(f"/datasets/{ids[DATASET]}/history", limit=9, site="T2_*", cursor=page["next"])["items"]
    assert [*page["items"], *following] == [row for row in past if row["site"]]
    assert reader(f"/datasets/{ids[DATASET]}/history", since="1s", site="T2_C*")["items"] == []

    why = reader(f"/datasets/{ids[LONG]}/explain", site="T2_A")
    assert why["detox"]["lines"][0]["holds"] is True
    assert why["dealer"]["proposals"][0]["dataset"] == LONG
    older = reader(f"/datasets/{ids[LONG]}/explain", site="T2_A", plan=1)
    assert (older["detox"]["plan"], older["dealer"]) == ("plan 1", None)
    assert "is a plan of Detox" in older["dealer_because"]
    nowhere = reader(f"/datasets/{ids[LIKE_MARKUP]}/explain", site="T2_C_With_A_Long_Name")
    assert (nowhere["detox"], nowhere["dealer"]) == (None, None)
    assert "no plan has" in nowhere["detox_because"]
    assert reader(f"/datasets/{ids[LONG]}/explain", code=404, site="T2_X")["facts"] == {"site": "T2_X"}
    reader("/datasets/99/explain", code=404, site="T2_A")
    reader("/datasets/99/history", code=404)


def test_what_a_commit_kept(reader: Ask) -> None:
    run("lock", "add", f"{DATASET}#b1", "--reason", "looked at")
    run("detox", "commit", "1", "--yes")
    (kept,) = reader("/plans/1/left-out", dataset="/A/*")["items"]
    assert (kept["block"], kept["site"]) == ("b1", "T2_A")
    assert "lock" in kept["reason"]
    assert reader("/plans/1/left-out", site="T2_B")["items"] == []


def test_policies(reader: Ask, installation: TestClient) -> None:
    installed = reader("/policies/all")
    assert (installed["text"], installed["num_lines"], installed["notices"]) == (POLICY, 1, [])
    assert reader("/policies")["items"] == [{fact: installed[fact] for fact in ("partition", "sha256", "num_lines")}]
    assert "'al' is no partition" in reader("/policies/al", code=404)["detail"]
    reader("/policies/..%2Fwrong", code=404)
    variables = {row["name"] for row in reader("/policy-variables")["items"]}
    assert "replica.size" in variables

    def post(path: str, code: int = 200, **document: Any) -> Any:
        answer = installation.post(path, json=document, headers=ADA)
        assert answer.status_code == code, answer.text
        return answer.json()

    wrong = post("/policies/check", text="Partition all\nDeleet dataset.name == /A/*\n", name="new")
    assert (wrong["is_policy"], wrong["notices"][0]["line"], wrong["notices"][0]["severity"]) == (False, 2, "error")
    assert wrong["notices"][0]["message"].startswith("new:2:")
    right = post("/policies/check", text=POLICY)
    assert right == {"partition": "all", "num_lines": 1, "is_policy": True, "notices": []}
    noted = post("/policies/lint", text=POLICY.replace("Protect", "Protect site.name == T9_None and"))
    assert noted["is_policy"]
    assert any("T9_None" in notice["message"] for notice in noted["notices"])
    assert not post("/policies/lint", text="nothing")["is_policy"]
    post("/policies/check", code=422, text=POLICY, partition="all")
    assert installation.post("/policies/check", content=POLICY, headers=ADA).status_code == 415


def test_requests_and_why_they_wait(reader: Ask) -> None:
    assert [(row["id"], row["kind"]) for row in reader("/requests")["items"]] == [(2, "deletion"), (1, "copy")]
    assert [row["id"] for row in reader("/requests", dataset="/Very*", group="op*")["items"]] == [1]
    assert [row["id"] for row in reader("/requests", site="T2_B", state="open")["items"]] == [2]
    assert [row["id"] for row in reader("/requests", site="T2_C*")["items"]] == [1]
    assert reader("/requests", user="nobody")["items"] == []
    assert reader("/requests", since="1s", kind="copy", state=["completed", "cancelled"])["items"] == []
    request = reader("/requests/2")
    (part,) = request["actions"]
    assert (request["items"], part["site"], part["state"]) == ([f"{DATASET}#b1"], "T2_B", "queued")
    assert part["waits"].startswith("queued: number 1 of 2 deletions at T2_B")
    assert reader("/requests/99", code=404)["facts"] == {"request_id": 99}
    assert "no dataset matches" in reader("/requests", code=404, dataset="/Q*")["detail"]


def test_the_audit_is_for_admins(installation: TestClient, reader: Ask) -> None:
    assert reader("/audit", code=403)["facts"]["needs"] == ["admin"]
    admin = asking(installation, "root:admin")
    first = admin("/audit", limit=1)["items"][0]
    assert (first["action"], first["outcome"], first["known_by"]) == ("set a partition's quota", "done", "shell")
    pages = [admin("/audit", limit=2, fields="at,object")]
    while pages[-1]["next"]:
        pages.append(admin("/audit", limit=2, fields="at,object", cursor=pages[-1]["next"]))
    records = [row for page in pages for row in page["items"]]
    assert len(records) == len({row["object"] + row["at"] for row in records}) == admin("/audit", count=1)["count"]
    assert [row["at"] for row in records] == sorted((row["at"] for row in records), reverse=True)
    (lock,) = admin("/audit", action="lock", about="Zero", outcome="done", since="1d")["items"]
    assert "thesis" in lock["reason"]
    assert admin("/audit", person="ad*")["items"] == []
    assert "Did you mean" in admin("/audit", code=422, action="locks")["detail"]


def test_quotas(reader: Ask) -> None:
    quotas = reader("/quotas/partitions", site="T2_?")["items"]
    assert [(row["site"], row["quota_bytes"]) for row in quotas] == [("T2_A", 9_000), ("T2_B", -1)]
    assert "no partition matches 'b*'" in reader("/quotas/partitions", code=404, partition="b*")["detail"]
    (change,) = reader("/quotas/partitions/changes", site="T2_A", since="1d")["items"]
    assert (change["old_bytes"], change["new_bytes"]) == (10_000, 9_000)
    assert [row["group"] for row in reader("/quotas/groups")["items"]] == ["ops"]
    assert reader("/quotas/users")["items"][0]["unique_bytes"] == 2_000


def test_what_gates_found_and_what_is_known(reader: Ask) -> None:
    results = reader("/gates/results", gate="sites", verdict="passed", run="metadata_sync/*")["items"]
    assert [row["id"] for row in results] == sorted((row["id"] for row in results), reverse=True)
    assert {row["subject"] for row in results} == {"source 'cric'"}
    assert reader("/gates/results", subject="cric")["items"] == []
    assert "Did you mean sites" in reader("/gates/results", code=422, gate="site")["detail"]
    trend = reader("/gates/trend", gate="sites", subject="cric", metric="sites")["items"]
    assert [row["value"] for row in trend] == [4, 4]
    assert "no gate measured" in reader("/gates/trend", code=404, gate="sites", subject="cric", metric="x")["detail"]
    assert {*reader("/freshness")} == {"metadata", "accesses", "missing_days"}
    (gone,) = reader("/vanished", kind="dataset", name="/Very*")["items"]
    assert gone["name"] == LONG
    assert reader("/vanished", source="cric")["items"] == []
    assert reader("/vanished", document=1) == {"datasets": [LONG]}
    assert reader("/vanished", document=1, kind="file") == {}
    digest = reader("/digest")
    assert datetime.fromisoformat(digest["until"]) > datetime.fromisoformat(digest["since"])
    assert reader("/digest", day="2026-03-01")["until"] == datetime(2026, 3, 1, 6, tzinfo=UTC).isoformat()
