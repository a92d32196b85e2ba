"""Figures for Prometheus are what the tables say, and the open ones name nobody. Page and dashboard name no others."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.quota import set_quotas
from dynamo_ops.metrics.metric import Metric
from dynamo_ops.metrics.named import by_name
from dynamo_ops.metrics.overview import overview
from dynamo_ops.pause.pauses import stop
from tests import ROOT
from tests.documented.pages import blocks
from tests.inventory.factory import SIZE
from tests.people import ROOT_USER
from tests.query.stock import FIRST, Stock, stocked

METRIC = re.compile(r"\bdynamo_[a-z0-9_]+\b")
PAGE = (ROOT / "docs" / "metrics.md").read_text()


@pytest.fixture
def stock(database: Database) -> Stock:
    return stocked(database)


def samples(metrics: list[Metric]) -> dict[str, dict[tuple[str, ...], float]]:
    assert len({metric.name for metric in metrics}) == len(metrics)
    return {metric.name: dict(metric.samples) for metric in metrics}


def test_what_waits_and_what_is_there(stock: Stock) -> None:
    stock.subscription("copy", stock.files_of["b1"][:2], "T2_A")
    stock.subscription("delete", stock.files_of["a1"][:1], "T2_A")
    stock.rows("UPDATE subscriptions SET created_at = now() - interval '1 hour' WHERE action = 'copy'")
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'operator' WHERE action = 'delete'")
    found = samples(overview(stock.db))
    assert found["dynamo_subscriptions_files"] == {("copy", "new", ""): 2, ("delete", "held", "operator"): 1}
    assert 3600 <= found["dynamo_subscriptions_oldest_seconds"]["copy", "new", ""] < 3700
    stored = stock.rows(
        """SELECT s.storage_type, sum(r.size_bytes) FROM block_replicas r JOIN sites s ON s.id = r.site_id GROUP BY 1"""
    )
    assert found["dynamo_stored_bytes"] == {(kind,): float(size) for kind, size in stored}
    assert found["dynamo_sites"] == {("disk", "ready"): 3, ("mss", "ready"): 1}
    assert found["dynamo_sites_writable"] == {("disk", "ready"): 3, ("mss", "ready"): 1}
    assert found["dynamo_pauses"] == {(): 0}
    assert found["dynamo_metadata_age_seconds"] == {}, "nothing was ever merged"
    stop(stock.db, by=ROOT_USER, reason="of the test")
    assert samples(overview(stock.db))["dynamo_pauses"] == {(): 1}


def test_by_site_and_partition(stock: Stock) -> None:
    stock.subscription("copy", stock.files_of["b1"][:2], "T2_A")
    for site, quota in (("T2_A", 9 * SIZE), ("T2_B", -1), ("T2_C", 0)):
        set_quotas(stock.db, [site], "physics", quota, by=ROOT_USER, reason="of the test")
    found = samples(by_name(stock.db))
    assert found["dynamo_site_quota_bytes"] == {("T2_A", "physics"): 9 * SIZE, ("T2_C", "physics"): 0}
    assert found["dynamo_site_copies_to_files"][("T2_A",)] == 2
    assert found["dynamo_site_copies_to_bytes"][("T2_A",)] == 2 * SIZE
    assert found["dynamo_site_stored_bytes"]["T2_B", "disk"] == stock.scalar(
        "SELECT sum(size_bytes) FROM block_replicas WHERE site_id = :s", s=stock.site_ids["T2_B"]
    )
    assert set(found["dynamo_site_readable"].values()) == {1.0}


def test_an_empty_installation_has_figures_too(database: Database) -> None:
    assert samples(overview(database))["dynamo_pauses"] == {(): 0}
    assert samples(by_name(database))["dynamo_site_stored_bytes"] == {}


def test_the_open_ones_name_nobody(stock: Stock) -> None:
    """No label is a name of anything that there is in the inventory, or could be made by somebody."""
    stock.rows("INSERT INTO source_states (source, merged_until, updated_at) VALUES ('secret_source', now(), now())")
    set_quotas(stock.db, ["T2_A"], "secret_partition", 5, by=ROOT_USER, reason="of the test")
    stock.subscription("copy", stock.files_of["b1"][:2], "T2_A")
    words = {word for metric in overview(stock.db) for labels, _ in metric.samples for word in labels}
    assert words <= {"copy", "delete", "new", "", "disk", "mss", "ready"}
    assert FIRST not in words


def test_page_rules_and_dashboard_name_what_there_is_and_the_page_all_of_it(database: Database) -> None:
    there = {metric.name for metric in (*overview(database), *by_name(database))}
    assert {name for line in PAGE.splitlines() if line.startswith("| `") for name in METRIC.findall(line)} == there
    (rules,) = blocks("yaml prometheus-rules.yml")
    expressions = [rule["expr"] for group in yaml.safe_load(rules.text)["groups"] for rule in group["rules"]]
    dashboard = json.loads((ROOT / "include" / "grafana" / "dynamo.json").read_text())
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) > 20
    assert {name for expression in expressions for name in METRIC.findall(expression)} <= there


def test_the_scraper_asks_what_there_is() -> None:
    from dynamo_web.app import METRICS, make_app

    (scraped,) = blocks("yaml prometheus.yml")
    paths = [job["metrics_path"] for job in yaml.safe_load(scraped.text)["scrape_configs"]]
    routes = {f"/dynamo{route.path}" for route in make_app().routes if hasattr(route, "path")}
    assert paths == [f"/dynamo{METRICS}", f"/dynamo{METRICS}/sites"]
    assert f"/dynamo{METRICS}" in routes
