"""Every SQL statement of the code is one that the migrated schema understands; and the check of that finds faults."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.event import queue
from dynamo_ops.inventory.catalogue.injection.document import read_document
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.inventory.subscription import hours
from dynamo_ops.inventory.subscription.operate import ALLOWED
from dynamo_ops.inventory.subscription.selection import _SQL
from dynamo_ops.quality.figures import Before
from dynamo_ops.quality.suites import accesses, listing, metadata
from dynamo_ops.quality.suites.aside import Aside
from dynamo_ops.quality.thresholds import AccessThresholds, DemandThresholds, MetadataThresholds, SiteThresholds
from dynamo_ops.query.contents import BLOCKS, FILES
from dynamo_ops.query.dataset import DATASETS
from dynamo_ops.query.decision.left_out import LEFT_OUT_BY_COMMIT
from dynamo_ops.query.decision.past import PAST
from dynamo_ops.query.decision.plan import PLANS
from dynamo_ops.query.group import OWNED
from dynamo_ops.query.movement.attempt import (
    DELETIONS_ENDED,
    DELETIONS_UNDER_WAY,
    TRANSFERS_ENDED,
    TRANSFERS_UNDER_WAY,
)
from dynamo_ops.query.movement.bad_replica import BAD_REPLICAS
from dynamo_ops.query.movement.series import DELETIONS_BY, TRANSFERS_BY
from dynamo_ops.query.movement.subscription import SUBSCRIPTIONS
from dynamo_ops.query.only_here import ONLY_HERE
from dynamo_ops.query.paging.condition import Conditions
from dynamo_ops.query.record.audit import AUDIT
from dynamo_ops.query.record.consistency import CHECKS, FINDINGS
from dynamo_ops.query.record.errand import ERRANDS
from dynamo_ops.query.record.event import EVENTS, EVENTS_IN_ORDER
from dynamo_ops.query.record.gate import GATE_RESULTS
from dynamo_ops.query.record.invalidation import INVALIDATIONS
from dynamo_ops.query.record.quota import QUOTA_CHANGES, QUOTAS
from dynamo_ops.query.record.request import REQUESTS
from dynamo_ops.query.record.vanished import VANISHED
from dynamo_ops.query.replica import BLOCK_REPLICAS, DATASET_REPLICAS
from tests import ROOT
from tests.database.statements import Code, Examples, Reader, Server, read, read_modules

LEFT_OUT = {
    "dynamo_ops/database/migrations": "they make the schema",
    "dynamo_ops/database/schema": "it has no statements",
    "dynamo_ops/database/embedded.py": "it speaks to the server, not to our database",
    "dynamo_ops/cli/__main__.py": "to import it is to run it",
}
"""Parts of the code that are not read."""

NOT_LOOKED_UP = {
    "dynamo_ops.inventory.request_event:event_rows": "a part of statements, which are looked up whole",
    "dynamo_ops.quality.expectation:_read": "of checks that are looked up as SqlCheck",
    "dynamo_ops.quality.expectation:_datasets_of": "of the wrong rows of such a check",
    "dynamo_ops.quality.suites.aside:_narrow": "of tables of gates: a merge has another of the same name",
}

RUN = "run_key = 'run' AND source = 'source'"
PREPARED = {
    **metadata._prepared(RUN),
    **listing.prepared(RUN, "now()"),
    "of_datasets": accesses._of_datasets("staged_accesses", "num_accesses", RUN),
}
"""Temporary tables that gates have made before they judge."""

LISTINGS = (
    *(DATASETS, BLOCKS, FILES, DATASET_REPLICAS, BLOCK_REPLICAS, ONLY_HERE, OWNED),
    *(
        PLANS,
        LEFT_OUT_BY_COMMIT,
        PAST,
        SUBSCRIPTIONS,
        REQUESTS,
        AUDIT,
        CHECKS,
        ERRANDS,
        EVENTS,
        EVENTS_IN_ORDER,
        FINDINGS,
        GATE_RESULTS,
        INVALIDATIONS,
        VANISHED,
    ),
    BAD_REPLICAS,
    *(QUOTAS, QUOTA_CHANGES, TRANSFERS_UNDER_WAY, TRANSFERS_ENDED, DELETIONS_UNDER_WAY, DELETIONS_ENDED),
)
ANY = Conditions()

EXAMPLES: Examples = {
    "dynamo_ops.event.queue:take": [{"waiting": due} for due in (queue._HEADS, queue._ALL)],
    "dynamo_ops.inventory.catalogue.faults:query": {"sql": "SELECT 'place' AS path, 'fault' AS message"},
    "dynamo_ops.inventory.catalogue.injection.inject:_upload": {"injected": read_document({"sites": []})},
    "dynamo_ops.inventory.freshness:missing_days": {"sources": ["source"]},
    "dynamo_ops.inventory.subscription.selection:take": [
        {"allowed_sql": allowed, "conditions": list(_SQL.values()), "lock": True} for allowed in ALLOWED.values()
    ],
    "dynamo_ops.inventory.subscription.hours:_one_row_a_key": [{"kind": kind} for kind in hours.KINDS],
    "dynamo_ops.inventory.subscription.hours:_what_is_lacking": [{"kind": kind} for kind in hours.KINDS],
    "dynamo_ops.inventory.subscription.hours:prune": [{"kind": kind} for kind in hours.KINDS],
    "dynamo_ops.lock.rows:locked_rows": {"has_blocks": True, "table": "doomed"},
    "dynamo_ops.quality.gate:_analyze": {"tables": ["staged_files"]},
    "dynamo_ops.quality.suites": {
        "run_key": "run",
        "source": "source",
        "day": date(2026, 3, 1),
        "as_of": datetime(2026, 3, 1, tzinfo=UTC),
        "history": Before(7, 100.0),
        "thresholds": MetadataThresholds(),
    },
    "dynamo_ops.quality.suites.aside": {
        "self": Aside("run", "source", MetadataThresholds()),
        "checks": [],
        "warn_only": [],
        "keys": "'file_size'",
        "faults": "('/A/B/C', 'why')",
    },
    "dynamo_ops.quality.suites.accesses": {"thresholds": AccessThresholds()},
    "dynamo_ops.quality.suites.accesses:check_demand_day": {"thresholds": DemandThresholds()},
    "dynamo_ops.quality.suites.sites": {"thresholds": SiteThresholds()},
    "dynamo_ops.quality.validation:_keep_rows": [{"name": name, "query": query} for name, query in PREPARED.items()],
    "dynamo_ops.query.explanation:_is_busy": [
        {"subscription": SimpleNamespace(action=action)} for action in SubscriptionAction
    ],
    "dynamo_ops.query.contents:_explain_nothing": {"condition": "true"},
    "dynamo_ops.query.dataset:check_named": {"condition": "true"},
    "dynamo_ops.query.paging.listing:_count": [{"listing": listing, "conditions": ANY} for listing in LISTINGS],
    "dynamo_ops.query.paging.listing:_select": [
        {"listing": listing, "conditions": ANY, "columns": listing.columns} for listing in LISTINGS
    ],
    "dynamo_ops.query.paging.stream:json_lines": {"statement": "SELECT 1 AS x"},
    "dynamo_ops.query.paging.stream:csv_lines": {"statement": "SELECT 1 AS x", "cells": "line.x", "line": "line.x"},
    "dynamo_ops.query.movement.series:links": {"where": "true"},
    "dynamo_ops.query.movement.series:errors": {"where": "true"},
    "dynamo_ops.query.movement.series:_series": [
        {"hours": "transfer_hours", "known": TRANSFERS_BY, "by": [*TRANSFERS_BY], "step": "day", "where": "true"},
        {"hours": "deletion_hours", "known": DELETIONS_BY, "by": [*DELETIONS_BY], "step": "hour", "where": "true"},
    ],
    "dynamo_ops.query.record.popularity:popularity": {"condition": "true"},
    "dynamo_ops.query.record.request:_dataset_ids": {"condition": "true"},
    "dynamo_ops.query.usage:_grouped": {"where": "true"},
    "dynamo_ops.request.deletable:refuse_what_must_stay": {
        "group": (1, "physics"),
        "allow_tape": False,
        "allow_last": False,
    },
}

TYPES = {
    "max_attempts": "integer",
    "max_refusals": "integer",
    "plan": "bigint",
    "sites": "smallint[]",
    "silent": "interval",
    "until": "timestamptz",
}
"""Of parameters, where the driver's value tells the type and the statement does not."""

FEWEST = 950
"""As many statements, at least, are found: more than stand in the code, since one is made in several ways."""


def everything() -> Code:
    left_out = [ROOT / place for place in LEFT_OUT]
    paths = sorted((ROOT / "dynamo_ops").rglob("*.py"))
    return read_modules([path for path in paths if not {path, *path.parents} & {*left_out}], ROOT, EXAMPLES)


@contextmanager
def served(database: Database, code: Code) -> Iterator[Server]:
    with database.engine.connect() as connection, closing(connection.connection.cursor()) as cursor:
        yield Server(cursor, code.statements, TYPES)


def faults(database: Database, code: Code) -> dict[str, str]:
    """By place, what PostgreSQL says; nothing of what is right."""
    with served(database, code) as server:
        found = [
            (statement.place, server.fault(statement), statement.sql)
            for statement in code.statements
            if statement.key not in NOT_LOOKED_UP
        ]
    return {place: f"{fault}: {' '.join(sql.split())}" for place, fault, sql in found if fault}


def test_every_statement_is_understood(database: Database) -> None:
    code = everything()
    unknown = {place: why for place, why in code.unknown.items() if not any(key in place for key in NOT_LOOKED_UP)}
    assert unknown == {}, "what they are made of is told neither by the code nor by EXAMPLES"
    assert code.templates - code.filled == set(), "nobody formats them"
    assert faults(database, code) == {}
    print(f"{len(code.statements)} statements of {len({statement.place for statement in code.statements})} places")
    assert len(code.statements) >= FEWEST
    keys = {*code.keys, *(key.split(":")[0] for key in code.keys), "dynamo_ops.quality.suites"}
    assert {*EXAMPLES, *NOT_LOOKED_UP} <= keys, "of functions that there are not"


def code_of(source: str, **names: object) -> Code:
    return read([Reader("example", textwrap.dedent(source), names, {})])


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        pytest.param("sql = 'SELECT nmae FROM sites'", 'column "nmae" does not exist', id="a misspelled column"),
        pytest.param("sql = 'SELECT id FROM stes'", 'relation "stes" does not exist', id="a misspelled table"),
        pytest.param(
            "sql = 'UPDATE sites SET status = :status WHERE id = :id AND nmae = :name'",
            'column "nmae" does not exist',
            id="with parameters",
        ),
        pytest.param(
            """
            make = "CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS SELECT id, name FROM sites WHERE name = :name"
            sql = "DELETE FROM sites AS s USING wanted AS w WHERE w.site_id = s.id"
            """,
            "column w.site_id does not exist",
            id="of a temporary table",
        ),
        pytest.param(
            """
            def read(connection, wanted):
                return connection.execute(f"SELECT name FROM sites JOIN ({wanted}) AS w ON w.site_id = sites.id")

            def call(connection):
                return read(connection, "SELECT id FROM sites")
            """,
            "column w.site_id does not exist",
            id="a caller's select lacks a column",
        ),
        pytest.param(
            """
            def read(connection):
                for table in ("sites", "groups"):
                    connection.execute(f"SELECT status FROM {table}")
            """,
            'column "status" does not exist',
            id="the second of a loop",
        ),
    ],
)
def test_a_fault_is_found(database: Database, source: str, fault: str) -> None:
    names: dict[str, object] = {}
    exec(textwrap.dedent(source), names)
    code = code_of(source, **names)
    assert code.unknown == {}
    (message,) = faults(database, code).values()
    assert fault in message


def test_what_cannot_be_put_together_is_told() -> None:
    code = code_of("def read(connection, table):\n    return connection.execute(f'SELECT 1 FROM {table}')")
    assert code.unknown == {"example:2 (example:read)": "table: nothing in the code tells what it is"}


def test_messages_and_fragments_are_no_statements() -> None:
    assert code_of("'''SELECT of a docstring'''\nname = 'selected'\nhave = '(SELECT id FROM sites)'").statements == []
