"""An installation of which each page has something to show, and each of the questions of a data manager an answer.

What is changed by a test is there twice, once for each way of looking: neither sees what the other did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_ops.access.person import shell_person
from dynamo_ops.base.settings import Settings, settings
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import tasks as dealing
from dynamo_ops.detox import tasks as deleting
from dynamo_ops.inventory.replica import usage
from dynamo_ops.inventory.site.quota import set_quotas
from dynamo_ops.lock.store import add_lock
from dynamo_ops.plan import verdict
from dynamo_ops.plan.verdict import GATE
from dynamo_ops.request.copy_request import request_copy
from tests.cli.seeded import DATASET, FTS, LONG, make_home
from tests.inventory.factory import SIZE
from tests.people import ADA, ROOT_USER
from tests.query.stock import Stock

MANAGER = "olga"
"""An operator, who looks and acts."""
ADMIN = "adam"
PEOPLE = {MANAGER: "op", ADMIN: "admin", "vera": "viewer"}
PARTITION = "all"
DELETING_DAG, FAILED_DAG, COUNTING_DAG = "detox_physics", "daily_digest", "popularity_aggregation"
RUN = "scheduled__2026-11-29T03:00:00+00:00"
"""Of ``DELETING_DAG``: it made the plan that was committed."""
LATER_RUN = f"{DELETING_DAG}/manual__2"
CLEANED, FILLING, CHECKED = "T2_A", "T2_H", "T2_B"
"""A site where the plan deleted; one that becomes fuller each day; one whose storage was checked."""
GROUP = "ops"
SOURCE_OF_ACCESSES = "jobs"
LOST_DAYS = 3
HELD_BECAUSE = "SOURCE [70] gsiftp: no such user"
TRIED_DATASET = "/Tried/Run-v1/AOD"


@dataclass(frozen=True)
class Side:
    """What one way of looking may change. ``given_up``: a site with files that no other has; ``held_at``: a site to
    which copies are held."""

    given_up: str
    held_at: str


SIDES = {"alone": Side("T2_D", "T2_F"), "framed": Side("T2_E", "T2_G")}


@dataclass(frozen=True)
class Content:
    """The installation, and what tests ask about it."""

    home: Path
    database: Database
    settings: Settings
    stock: Stock
    committed: int
    waiting: int
    copying: int

    def rows(self, sql: str, **params: Any) -> list[Any]:
        return self.stock.rows(sql, **params)

    def dataset_id(self, name: str) -> int:
        return int(self.stock.scalar("SELECT id FROM datasets WHERE name = :n", n=name))


def filled(home: Path, database: Database) -> Content:
    """Fill ``home`` and an empty ``database``."""
    make_home(home)
    _configure(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMO_HOME", str(home))
        patch.setenv("DYNAMO_CONFIG_DIR", str(home / "config"))
        patch.setenv("DYNAMO_POLICY_DIR", str(home / "policies"))
        patch.setenv("DYNAMO_DB_URL", database.url)
        settings.cache_clear()
        stock = _stocked(database)
        here = settings()
        committed = _deleted(database, here)
        _filled_again(stock)
        _stuck(stock)
        waiting = deleting.plan_cycle(database, here, PARTITION, run_key=LATER_RUN, now=datetime.now(UTC))
        deleting.gate_plan(database, here, waiting, run_key=LATER_RUN)
        copying = _asked_for(database, here)
        _recorded(stock)
    settings.cache_clear()
    return Content(home, database, here, stock, committed, waiting, copying)


def _configure(home: Path) -> None:
    """A source of accesses, and each plan waits for a person."""
    file = home / "config" / "dynamo.yaml"
    accesses = {"name": SOURCE_OF_ACCESSES, "type": "files", "options": {"path": str(home / "accesses")}}
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "access_sources": [accesses]}))
    gates = home / "config" / "gates.yaml"
    limits = yaml.safe_load(gates.read_text())
    limits["detox"] |= {"approval_above_bytes": 0}
    gates.write_text(yaml.safe_dump(limits))


def _stocked(database: Database) -> Stock:
    """Sites with room and without, datasets at them, a dataset that only a site has which will be given up."""
    stock = Stock(database)
    for name in (CLEANED, CHECKED, FILLING, *(name for side in SIDES.values() for name in vars(side).values())):
        stock.site(name)
    quotas = {CLEANED: 10 * SIZE, CHECKED: -1, FILLING: 12 * SIZE}
    for name in stock.site_ids:
        limit = quotas.get(name, 50 * SIZE)
        set_quotas(database, [name], PARTITION, limit, by=ROOT_USER, reason="as agreed")
    stock.fill("b1", "b2")
    stock.dataset(LONG)
    stock.fill("c1")
    for block in ("b1", "b2", "c1"):
        stock.dataset(LONG if block == "c1" else DATASET)
        for name in (CLEANED, CHECKED):
            stock.replica(block, name)
    stock.dataset("/Filling/Run-v1/AOD")
    stock.fill("h1", "h2")
    for block in ("h1", "h2"):
        stock.replica(block, FILLING)
    for way, side in SIDES.items():
        stock.dataset(f"/Alone/{way}-v1/AOD")
        stock.fill(f"alone-{way}")
        stock.replica(f"alone-{way}", side.given_up)
    stock.rows("UPDATE block_replicas SET last_update_at = :t", t=datetime.now(UTC) - timedelta(days=100))
    return stock


def _deleted(database: Database, here: Settings) -> int:
    """A plan that ada approved, and a run committed: it deletes at ``CLEANED``."""
    run_key = f"{DELETING_DAG}/{RUN}"
    plan_id = deleting.plan_cycle(database, here, PARTITION, run_key=run_key, now=datetime.now(UTC))
    deleting.gate_plan(database, here, plan_id, run_key=run_key)
    verdict.approve(database, plan_id, ADA)
    deleting.commit_plan(database, here, plan_id, by=GATE)
    return plan_id


def _filled_again(stock: Stock) -> None:
    """More at ``CLEANED`` than it may have: the next plan deletes there."""
    stock.dataset(TRIED_DATASET)
    stock.fill("t1", "t2", num_files=3)
    for block in ("t1", "t2"):
        for name in (CLEANED, CHECKED):
            stock.replica(block, name)
    stock.rows(
        "UPDATE block_replicas SET last_update_at = :t WHERE block_id = ANY(:b)",
        t=datetime.now(UTC) - timedelta(days=100),
        b=[stock.block_ids["t1"], stock.block_ids["t2"]],
    )


def _stuck(stock: Stock) -> None:
    """Copies that are held since all sources failed, each with an attempt; one that is under way."""
    for side in SIDES.values():
        stock.subscription("copy", stock.files_of["c1"], side.held_at, origin="request 1")
    stock.rows(
        """UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed', num_attempts = 1
           WHERE action = 'copy' AND site_id = ANY(:sites)""",
        sites=[stock.site_ids[side.held_at] for side in SIDES.values()],
    )
    for number, side in enumerate(SIDES.values()):
        stock.rows(
            """WITH batch AS (
                   INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, server, activity)
                   VALUES (:sid, CAST(:job AS uuid), :to, false, 'submitted', :server, 'express') RETURNING id)
               INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable,
                                      reason, size_bytes, started_at, finished_at)
               SELECT batch.id, held.id, row_number() OVER (ORDER BY held.id), :source, 'failed', true, :reason, 1000,
                      now() - interval '1 hour', now() - interval '30 minutes'
               FROM batch, subscriptions AS held WHERE held.action = 'copy' AND held.site_id = :to""",
            sid=f"s{number}",
            job=f"00000000-0000-0000-0000-00000000000{number}",
            to=stock.site_ids[side.held_at],
            source=stock.site_ids[CLEANED],
            server=FTS,
            reason=HELD_BECAUSE,
        )
    stock.subscription("copy", stock.files_of["b1"], SIDES["alone"].held_at, origin="dealer")


def _asked_for(database: Database, here: Settings) -> int:
    """A request, a lock, and a plan of the Dealer, whose number is returned."""
    request_copy(database, LONG, ["T2_D"], num_copies=1, group="ops", by=shell_person(MANAGER))
    add_lock(database, LONG, reason="thesis of somebody", by=ADA, now=datetime.now(UTC))
    return dealing.plan_now(
        database, here, PARTITION, run_key="dealer_physics/manual__1", now=datetime.now(UTC), seed=5, by=ROOT_USER
    )


def _recorded(stock: Stock) -> None:
    """What is written down day by day, and by checks: how full sites were, who read what, days that are missing."""
    today = datetime.now(UTC).date()
    usage.keep(stock.db, today)
    for age in range(20, 0, -1):
        usage.record_day(stock.db, today - timedelta(days=age))
        stock.rows(
            """UPDATE usage_daily SET size_bytes = greatest(0, size_bytes - CAST(:less AS bigint))
               WHERE day = :day AND site_id = :site""",
            day=today - timedelta(days=age),
            site=stock.site_ids[FILLING],
            less=100 * age,
        )
    known = [age for age in range(1, 12) if not 3 <= age < 3 + LOST_DAYS]
    stock.rows(
        """INSERT INTO aggregated_days (day, source, kind, num_told, most_told, aggregated_at)
           SELECT CAST(:today AS date) - age, :source, 'accesses', 1, 1, now()
           FROM unnest(CAST(:known AS int[])) AS age""",
        today=today,
        source=SOURCE_OF_ACCESSES,
        known=known,
    )
    stock.rows(
        """INSERT INTO accesses_daily (day, source, dataset_id, site_id, num_accesses)
           SELECT CAST(:today AS date) - age, :source, :dataset, :site, 3 + age
           FROM unnest(CAST(:known AS int[])) AS age""",
        today=today,
        source=SOURCE_OF_ACCESSES,
        known=known,
        dataset=stock.dataset_ids[DATASET],
        site=stock.site_ids[CHECKED],
    )
    stock.rows(
        """WITH checked AS (
               INSERT INTO consistency_checks (run_key, site_id, state, started_at, finished_at, storage_listed_at,
                                               num_inventory_files, num_storage_files)
               VALUES ('site_consistency/manual__1', :site, 'compared', now(), now(), now(), 10, 11) RETURNING id)
           INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes)
           SELECT checked.id, wrong.kind, 'seen', wrong.lfn, 10
           FROM checked, (VALUES ('orphan', '/x'), ('missing', '/y'), ('missing', '/z')) AS wrong (kind, lfn)""",
        site=stock.site_ids[CHECKED],
    )
