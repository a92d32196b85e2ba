"""States, kinds and reasons are written by their enums: in SQL, in comparisons, and as the tables' CHECKs have them."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint

from dynamo_ops.access.actions import Outcome
from dynamo_ops.access.once import CallState
from dynamo_ops.access.person import KnownBy, Role
from dynamo_ops.alerts.alert import AlertKind
from dynamo_ops.database.connection import Database
from dynamo_ops.database.schema import Base, file_operations
from dynamo_ops.database.schema import request as requests
from dynamo_ops.database.words import Words
from dynamo_ops.errand.states import ErrandKind, ErrandState
from dynamo_ops.event.states import Channel, DeliveryState, EventScope
from dynamo_ops.fts.job import VerifyChecksum
from dynamo_ops.inventory import states
from dynamo_ops.inventory.checks import BadState, CheckState, FindingKind, FindingState
from dynamo_ops.inventory.kinds import (
    USE_KINDS,
    CatalogueKind,
    DatasetStatus,
    FaultStage,
    OwnershipLevel,
    PullKind,
    SiteStatus,
    StorageType,
)
from dynamo_ops.inventory.site.override import STATUSES
from dynamo_ops.inventory.states import (
    Backend,
    BatchState,
    DeletionState,
    HoldReason,
    ServerIllness,
    SubscriptionAction,
    SubscriptionState,
    TransferState,
    VerifiedBy,
)
from dynamo_ops.inventory.subscription.blame import Blame
from dynamo_ops.pause.pauses import PauseKind
from dynamo_ops.plan.states import Decision, PlanKind, PlanState
from dynamo_ops.request.states import OPEN_REQUESTS, ActionState, RequestKind, RequestState
from tests import ROOT

PACKAGE = ROOT / "dynamo_ops"

CHECKS: dict[tuple[str, str], tuple[str, ...]] = {
    ("access_grants", "role"): tuple(Role),
    ("alerts", "kind"): tuple(AlertKind),
    ("audit", "known_by"): tuple(KnownBy),
    ("audit", "outcome"): tuple(Outcome),
    ("aggregated_days", "kind"): USE_KINDS,
    ("bad_replicas", "state"): tuple(BadState),
    ("consistency_checks", "state"): tuple(CheckState),
    ("event_deliveries", "state"): tuple(DeliveryState),
    ("event_subscriptions", "channel"): tuple(Channel),
    ("event_subscriptions", "scope_kind"): tuple(EventScope),
    ("consistency_findings", "kind"): tuple(FindingKind),
    ("consistency_findings", "state"): tuple(FindingState),
    ("datasets", "status"): tuple(DatasetStatus),
    ("errands", "kind"): tuple(ErrandKind),
    ("errands", "known_by"): tuple(KnownBy),
    ("errands", "state"): tuple(ErrandState),
    ("deletion_batches", "state"): (BatchState.PLANNED, BatchState.FINISHED),
    ("deletions", "state"): tuple(DeletionState),
    ("detox_history", "decision"): tuple(Decision),
    ("groups", "ownership_level"): tuple(OwnershipLevel),
    ("idempotency", "state"): tuple(CallState),
    ("identities", "kind"): (KnownBy.CERTIFICATE, KnownBy.JWT),
    ("invalidations", "kind"): tuple(CatalogueKind),
    ("pauses", "kind"): tuple(PauseKind),
    ("plans", "kind"): tuple(PlanKind),
    ("plans", "state"): tuple(PlanState),
    ("policy_versions", "kind"): tuple(PlanKind),
    ("request_actions", "state"): tuple(ActionState),
    ("requests", "kind"): tuple(RequestKind),
    ("requests", "state"): tuple(RequestState),
    ("site_overrides", "status"): STATUSES,
    ("sites", "status"): tuple(SiteStatus),
    ("sites", "storage_type"): tuple(StorageType),
    ("staged_faults", "stage"): tuple(FaultStage),
    ("staged_pulls", "kind"): tuple(PullKind),
    ("subscriptions", "action"): tuple(SubscriptionAction),
    ("subscriptions", "hold_reason"): tuple(HoldReason),
    ("subscriptions", "state"): tuple(SubscriptionState),
    ("transfer_batches", "backend"): tuple(Backend),
    ("transfer_batches", "state"): tuple(BatchState),
    ("transfers", "blame"): tuple(Blame),
    ("transfer_batches", "verify_checksum"): tuple(VerifyChecksum),
    ("transfers", "state"): tuple(TransferState),
    ("transfers", "verified_by"): tuple(VerifiedBy),
    ("fts_servers", "illness"): tuple(ServerIllness),
    ("unknown_use", "kind"): USE_KINDS,
    ("vanished", "kind"): tuple(CatalogueKind),
}
"""Every column whose CHECK lists words, and the enum (or the part of one) that these are."""


def words(check: str) -> set[str]:
    return set(re.findall(r"'([^']+)'", check))


def test_the_checks_of_the_models_are_the_enums() -> None:
    listed = {
        (table.name, str(check.sqltext).split(" IN ")[0]): words(str(check.sqltext))
        for table in Base.metadata.tables.values()
        for check in table.constraints
        if isinstance(check, CheckConstraint) and " IN (" in str(check.sqltext)
    }
    assert listed == {column: {str(word) for word in enum} for column, enum in CHECKS.items()}


def test_the_checks_of_the_migrated_tables_are_the_enums(database: Database) -> None:
    """Alembic's comparison of models and tables leaves CHECKs out."""
    rows = database.frame("""
        SELECT conrelid::regclass::text, (SELECT attname::text FROM pg_attribute
                                          WHERE attrelid = conrelid AND attnum = conkey[1]),
               pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE contype = 'c' AND conrelid <> 0 AND pg_get_constraintdef(oid) LIKE '%ARRAY[%'""").rows()
    listed = {(table, column): words(check) for table, column, check in rows}
    assert listed == {column: {str(word) for word in enum} for column, enum in CHECKS.items()}


def test_the_conditions_of_the_schema_are_the_lists_of_the_enums() -> None:
    assert f"state IN {states.ACTIVE}" == file_operations.ACTIVE_STATES
    assert f"state IN {states.LIVE_TRANSFERS}" == file_operations.LIVE_TRANSFERS
    assert f"verified_by IN {states.NOT_READ_BACK}" == file_operations.NOT_READ_BACK
    assert f"state IN {OPEN_REQUESTS}" == requests.OPEN_REQUESTS
    assert f"state = '{RequestState.NEW}'" == requests.NEW_REQUESTS
    assert f"kind = '{RequestKind.COPY}'" == requests.COPY_REQUESTS
    assert f"state = '{ActionState.QUEUED}'" == requests.QUEUED_ACTIONS
    assert requests.CANCELLED == f"state = '{RequestState.CANCELLED}'" == f"state = '{ActionState.CANCELLED}'"


def test_words_are_a_tuple_that_formats_as_sql() -> None:
    assert f"state IN {Words((RequestState.NEW, RequestState.ACTIVATED))}" == "state IN ('new', 'activated')"
    assert Words((RequestState.NEW,)) == (RequestState.NEW,)


ENUM_MODULES = ("inventory.states", "inventory.kinds", "request.states", "plan.states", "inventory.checks",
                "quality.results", "alerts.alert")  # fmt: skip


def enums() -> Iterator[type[StrEnum]]:
    """Of states, kinds and reasons; events and observations are no columns of a table."""
    for name in ENUM_MODULES:
        module = importlib.import_module(f"dynamo_ops.{name}")
        for thing in vars(module).values():
            is_enum = isinstance(thing, type) and issubclass(thing, StrEnum) and thing.__module__ == module.__name__
            if is_enum and not thing.__name__.endswith(("Event", "Observation")):
                yield thing


MEMBERS = {word.value for enum in enums() for word in enum}

OTHER_WORDS: dict[tuple[str, str], str] = {
    ("client/caller.py", "done"): "an errand's, as REST says it: the client knows nothing of the database",
    ("client/caller.py", "failed"): "the same",
    ("base/config_file.py", "missing"): "pydantic's word for a fault",
    ("sources/reading/http.py", "missing"): "pydantic's word for a fault",
    ("database/embedded.py", "ready"): "PostgreSQL's word in its pid file",
    ("inventory/folder.py", "dataset"): "a column",
    ("query/movement/series.py", "source"): "what a series is told apart by",
    ("sources/metadata/json_mapping.py", "dataset"): "a column",
    ("quality/checks.py", "dataset"): "a column",
    ("quality/checks.py", "block"): "a column",
    ("inventory/subscription/selection.py", "sites"): "a field of a selection",
    ("inventory/catalogue/invalidation.py", "deleted"): "a message",
    ("inventory/site/downtime.py", "planned"): "when a downtime is",
    ("query/explanation.py", "deletion"): "what stands for the backend of a deletion",
    ("cli/transfers_view.py", "deletion"): "what stands for the backend of a deletion",
    ("lock/ending.py", "sites"): "a fact of an event",
    ("transfer/observe.py", "unknown"): "a message",
    ("transfer/submission/lot.py", "submitted"): "what came of a submit",
    ("transfer/submission/lot.py", "found"): "what came of a submit",
    ("transfer/submission/lot.py", "refused"): "what came of a submit",
    ("dealer/history.py", "rejected"): "a key of a plan's summary",
    ("dealer/history.py", "left_out"): "a key of a plan's summary",
    ("detox/history.py", "left_out"): "a key of a plan's summary",
    ("sources/reading/drop.py", "file"): "fsspec's word for no folder",
    ("storage/posix.py", "file"): "fsspec's word for no folder",
    ("inventory/site/place.py", "file"): "a protocol",
    ("inventory/site/chains.py", "file"): "a protocol",
    ("sources/usage/files.py", "file"): "by what a source tells of accesses",
    ("sources/usage/http_json.py", "file"): "by what a source tells of accesses",
    ("cli/decision/dealer_view.py", "missing"): "how a rule of the enforcer stands",
    ("cli/decision/detox_view.py", "dataset"): "by what a table is summed up",
}
"""By module and word: what means something else there."""


def docstrings(tree: ast.AST) -> set[int]:
    """The constants that are statements of their own: docstrings, and those of constants."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def compared(node: ast.AST) -> Iterator[ast.expr]:
    """What stands on either side of a comparison, in an ``is_in`` or behind a ``case``."""
    if isinstance(node, ast.Compare):
        yield from [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "is_in":
        yield from node.args
    elif isinstance(node, ast.MatchValue):
        yield node.value


def literals(source: str) -> Iterator[tuple[int, str]]:
    """Line and word of each bare member: quoted in a string (SQL), or compared with."""
    tree = ast.parse(source)
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield from ((node.lineno, word) for word in re.findall(r"'(\w+)'", node.value) if word in MEMBERS)
        for side in compared(node):
            parts = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
            for part in parts:
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value in MEMBERS:
                    yield part.lineno, part.value


def modules() -> list[Path]:
    """All but those that have the words of the tables themselves."""
    mine = {PACKAGE / (name.replace(".", "/") + ".py") for name in ENUM_MODULES if name.endswith(("states", "kinds"))}
    theirs = {PACKAGE / "database" / "schema", PACKAGE / "database" / "migrations"}
    return sorted(path for path in PACKAGE.rglob("*.py") if path not in mine and not theirs & set(path.parents))


def bare() -> dict[tuple[str, str], list[int]]:
    """By module and word, the lines where a member is written as a bare literal."""
    places: dict[tuple[str, str], list[int]] = {}
    for path in modules():
        for line, word in literals(path.read_text()):
            places.setdefault((str(path.relative_to(PACKAGE)), word), []).append(line)
    return places


def test_no_state_is_written_as_a_bare_literal() -> None:
    assert {place: lines for place, lines in bare().items() if place not in OTHER_WORDS} == {}


def test_every_other_word_still_stands_there() -> None:
    assert set(OTHER_WORDS) <= set(bare())


@pytest.mark.parametrize(
    "source",
    [
        "sql = \"SELECT id FROM transfers WHERE state = 'done'\"",
        'sql = f"""\n    UPDATE requests SET {x},\n      state = \'new\'"""',
        "is_held = subscription.state == 'held'",
        "is_open = state not in ('new', other)",
        "pl.col('state').is_in(['held', 'x'])",
        "match kind:\n    case 'copy':\n        pass",
    ],
    ids=["SQL", "an f-string", "compared", "one of", "is_in", "case"],
)
def test_a_bare_literal_is_found(source: str) -> None:
    assert len(list(literals(source))) == 1


def test_an_enum_is_no_bare_literal() -> None:
    source = "sql = f\"state = '{TransferState.DONE}'\"\n\"A state: 'done'.\"\nis_new = state == RequestState.NEW"
    assert list(literals(source)) == []
