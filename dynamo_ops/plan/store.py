"""Plans as data: stored before anything is done, compared, gated, approved, and committed once.

planned ─gate─► approved ─commit─► committed
   └────gate or person────► refused

A plan's rows are Parquet files in an fsspec location, what it was made of (``PlanInputs``) is a JSON file beside them;
the row in ``plans`` names them and guards the state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import fsspec
import polars as pl
from sqlalchemy import Connection, DateTime, Row, bindparam, text

from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import PlanError, UnknownPlanError
from dynamo_ops.base.spans import span
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import moment_text, not_told, tell
from dynamo_ops.plan.inputs import DealerInputs, DetoxInputs, load_inputs
from dynamo_ops.plan.states import COMMITTABLE, PlanState

COLUMNS = """id, kind, partition, run_key, state, policy_version_id, location, summary, planned_for_at, created_at,
             approved_by, approved_at, refused_by, refused_at, refused_because, stored_by"""
INPUTS_FILE = "inputs.json"
INPUTS_DIGEST = "inputs_sha256"
"""In a plan's summary: the digest of its ``INPUTS_FILE``; older plans have neither."""
MOVES = {
    PlanState.APPROVED: (PlanState.PLANNED, PlanState.APPROVED),
    PlanState.REFUSED: (PlanState.PLANNED, PlanState.APPROVED, PlanState.REFUSED),
}
"""From which states a plan may be approved or refused (``verdict``)."""


@dataclass(frozen=True)
class StoredPlan:
    """One row of ``plans``. ``summary``: figures for people; the frames are read from ``location`` when asked for.

    ``created_at``: when it was made; ``planned_for_at``: the moment that it decides for, earlier in a backfill.
    ``stored_by``: who stored it by hand; null for a cycle's.
    """

    id: int
    kind: str
    partition: str
    run_key: str
    state: str
    policy_version_id: int
    location: str
    summary: dict[str, Any]
    planned_for_at: datetime
    created_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    refused_by: str | None
    refused_at: datetime | None
    refused_because: str | None
    stored_by: str | None

    @property
    def etag(self) -> str:
        """What is another one when the plan is another one, or somebody has decided about it since: its state, and when
        it last changed."""
        moments = (self.created_at, self.approved_at, self.refused_at)
        return f"{self.state}-{max(filter(None, moments)).astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"

    def frame(self, name: str) -> pl.DataFrame:
        """One of the plan's frames."""
        with fsspec.open(f"{self.location}/{name}.parquet", "rb") as handle:
            return pl.read_parquet(handle)

    def inputs(self) -> DetoxInputs | DealerInputs | None:
        """What the plan was made of; None for one that was stored without, by an older version.

        Raises PlanError when the file is not there any more, or not the one that was stored.
        """
        if INPUTS_DIGEST not in self.summary:
            return None
        file = f"{self.location}/{INPUTS_FILE}"
        try:
            with fsspec.open(file, "rb") as handle:
                content: bytes = handle.read()
        except OSError as error:
            raise self._no_inputs(f"{file} cannot be read any more: {error}") from error
        if hashlib.sha256(content).hexdigest() != self.summary[INPUTS_DIGEST]:
            raise self._no_inputs(f"{file} was changed after the plan was made of it")
        return load_inputs(content.decode(), file=file)

    def _no_inputs(self, why: str) -> PlanError:
        return PlanError(f"plan {self.id} of {self.partition}: {why}", plan_id=self.id, state=self.state)


@span("plan.store")
def save(
    database: Database,
    inputs: DetoxInputs | DealerInputs,
    *,
    run_key: str,
    frames: Mapping[str, pl.DataFrame],
    summary: Mapping[str, Any],
    location: str,
    by: Person | None = None,
) -> StoredPlan:
    """Store a plan that was made of ``inputs``; files first, so that a row never names what is not there. ``by``: who
    does it by hand.

    A plan of the same ``run_key`` that is planned or approved is replaced; a committed one is returned as it is.
    One that was refused stays for good: it gives up its key (to which its id is added), and a new plan is stored.
    """
    kind, partition = inputs.kind, inputs.partition
    folder = f"{location}/{kind}/{partition}/{uuid4().hex}"
    content = inputs.model_dump_json(indent=1).encode()
    with fsspec.open(f"{folder}/{INPUTS_FILE}", "wb", auto_mkdir=True) as handle:
        handle.write(content)
    for name, frame in frames.items():
        with fsspec.open(f"{folder}/{name}.parquet", "wb", auto_mkdir=True) as handle:
            frame.write_parquet(handle)
    with database.begin() as connection:
        version = _policy_version(connection, kind, partition, inputs.policy.text)
        connection.execute(
            text(f"""
            UPDATE plans SET run_key = run_key || ' (refused ' || id || ')'
            WHERE kind = :kind AND partition = :partition AND run_key = :run_key AND state = '{PlanState.REFUSED}'
        """),
            {"kind": kind, "partition": partition, "run_key": run_key},
        )
        connection.execute(
            text(f"""
            INSERT INTO plans (kind, partition, run_key, policy_version_id, location, summary, planned_for_at,
                               stored_by)
            VALUES (:kind, :partition, :run_key, :version, :location, CAST(:summary AS jsonb), :now, :by)
            ON CONFLICT (kind, partition, run_key) DO UPDATE SET
                state = '{PlanState.PLANNED}', policy_version_id = excluded.policy_version_id,
                location = excluded.location,
                summary = excluded.summary, planned_for_at = excluded.planned_for_at, created_at = now(),
                approved_by = NULL, approved_at = NULL, stored_by = excluded.stored_by
            WHERE plans.state <> '{PlanState.COMMITTED}'
        """),
            {
                "kind": kind,
                "partition": partition,
                "run_key": run_key,
                "version": version,
                "location": folder,
                "summary": json.dumps({**summary, INPUTS_DIGEST: hashlib.sha256(content).hexdigest()}),
                "now": inputs.now,
                "by": by.name if by else None,
            },
        )
        stored = _of_run(connection, kind, partition, run_key)
        assert stored is not None
        if by is not None:
            tell_of(connection, EventKind.PLAN_WAITS, stored.id)
    return stored


def load(database: Database, plan_id: int) -> StoredPlan:
    """The plan of this id. Raises PlanError if there is none."""
    with database.begin() as connection:
        return read(connection, plan_id)


def read(connection: Connection, plan_id: int) -> StoredPlan:
    """As ``load``, in a transaction."""
    return _one(connection, plan_id)


def age_h(database: Database, plan: StoredPlan) -> float:
    """Hours since the plan was made, by the clock of the database, not below 0."""
    return max(database.clock() - plan.created_at, timedelta(0)) / timedelta(hours=1)


def check_partition(database: Database, partition: str) -> None:
    """Raise UnknownPlanError, with near names, when no plan of the partition was ever stored."""
    partitions = database.frame("SELECT DISTINCT partition FROM plans ORDER BY partition")["partition"].to_list()
    if partition not in partitions:
        raise UnknownPlanError(no_partition(partition, partitions), partition=partition, state=None)


def no_partition(partition: str, partitions: Sequence[str]) -> str:
    """What is said where there are plans of these partitions, and none of that."""
    known = f"; there are plans of {', '.join(partitions)}" if partitions else ""
    return f"there is no plan of partition {partition!r}{known}.{near(partition, partitions)}"


def policy_text(database: Database, plan: StoredPlan) -> str:
    """The policy or Dealer configuration that the plan was made under."""
    with database.begin() as connection:
        version_text = connection.execute(
            text("SELECT text FROM policy_versions WHERE id = :id"), {"id": plan.policy_version_id}
        ).scalar_one()
    return str(version_text)


def lock_for_commit(connection: Connection, plan_id: int) -> StoredPlan:
    """The plan, and until the end of the transaction the only right to commit anything in its partition.

    The advisory lock is the partition's, whatever the kind: Detox and Dealer never commit at the same time.
    Raises PlanError unless the plan is approved or committed already (the caller returns then).
    """
    plan = _one(connection, plan_id)
    hold(connection, Lock.PARTITION, plan.partition)
    plan = _one(connection, plan_id, "FOR UPDATE")
    if plan.state not in COMMITTABLE:
        because = f": {plan.refused_because}" if plan.refused_because else ""
        raise PlanError(
            f"plan {plan.id} ({plan.kind} of {plan.partition}) is {plan.state}{because}; "
            "only an approved plan can be committed",
            plan_id=plan.id,
            state=plan.state,
        )
    return plan


def previous_committed(connection: Connection, plan: StoredPlan) -> StoredPlan | None:
    """The plan of the same kind and partition that was committed last, this one aside; None if there is none."""
    plan_row = connection.execute(
        text(f"""
        SELECT {COLUMNS} FROM plans WHERE kind = :kind AND partition = :partition
          AND state = '{PlanState.COMMITTED}' AND id <> :id
        ORDER BY committed_at DESC, id DESC LIMIT 1"""),
        {"kind": plan.kind, "partition": plan.partition, "id": plan.id},
    ).one_or_none()
    return None if plan_row is None else _plan(plan_row)


def of_run(database: Database, kind: str, partition: str, run_key: str) -> StoredPlan | None:
    """The plan that this cycle has stored last, whatever its state; None if it has stored none."""
    with database.begin() as connection:
        return _of_run(connection, kind, partition, run_key)


def last_committed(database: Database, kind: str, partition: str) -> StoredPlan | None:
    """The plan of this kind and partition that was committed last; None if there is none."""
    with database.begin() as connection:
        plan_row = connection.execute(
            text(f"""
            SELECT {COLUMNS} FROM plans WHERE kind = :kind AND partition = :partition
              AND state = '{PlanState.COMMITTED}'
            ORDER BY committed_at DESC, id DESC LIMIT 1"""),
            {"kind": kind, "partition": partition},
        ).one_or_none()
    return None if plan_row is None else _plan(plan_row)


def mark_committed(connection: Connection, plan: StoredPlan, result: Mapping[str, Any]) -> None:
    """The end of a commit, in its transaction: the plan is committed, and says what was done."""
    connection.execute(
        text(f"""
        UPDATE plans SET state = '{PlanState.COMMITTED}', committed_at = now(),
               summary = summary || CAST(:result AS jsonb) WHERE id = :id
    """),
        {"id": plan.id, "result": json.dumps({"commit": dict(result)})},
    )
    tell_of(connection, EventKind.PLAN_COMMITTED, plan.id)


def move(
    connection: Connection, plan_id: int, state: PlanState, change: str, values: Mapping[str, Any], at: datetime | None
) -> None:
    """Bring a plan into another state by an arrow of ``MOVES``; ``change``: what else is set, with ``values`` and
    ``:at``, the moment (null: now). Raises PlanError where there is no such arrow."""
    plan = _one(connection, plan_id, "FOR UPDATE")
    if plan.state not in MOVES[state]:
        raise PlanError(f"plan {plan_id} is {plan.state}: it cannot become {state}", plan_id=plan_id, state=plan.state)
    typed = text(f"UPDATE plans SET state = :state, {change} WHERE id = :id").bindparams(
        bindparam("at", type_=DateTime(timezone=True))
    )
    connection.execute(typed, {"id": plan_id, "state": state, "at": at, **values})
    if state is PlanState.REFUSED:
        tell_of(connection, EventKind.PLAN_REFUSED, plan_id)


_EVENT = f"""
    SELECT plan.id::text AS object_name, plan.stored_by AS person, CAST('{{}}' AS text[]) AS groups,
           ARRAY(SELECT jsonb_array_elements_text(plan.summary->'triggered_sites')) AS sites,
           CAST('{{}}' AS text[]) AS datasets,
           jsonb_build_object(
               'plan', plan.id, 'plan_kind', plan.kind, 'partition', plan.partition,
               'created_at', {moment_text("plan.created_at")},
               'deleted_bytes', plan.summary->'deleted_bytes', 'copied_bytes', plan.summary->'copied_bytes',
               'num_block_replicas', plan.summary->'commit'->'num_block_replicas',
               'num_files', plan.summary->'commit'->'num_files', 'size_bytes', plan.summary->'commit'->'size_bytes',
               'approved_by', plan.approved_by, 'refused_by', plan.refused_by, 'reason', plan.refused_because) AS facts
    FROM plans AS plan WHERE plan.id = :plan"""
"""Sites: of a plan of Detox, those that are above their watermark."""


def tell_of(connection: Connection, kind: EventKind, plan_id: int) -> None:
    """Write an event about the plan, at the end of the transaction of what became of it."""
    tell(connection, kind, _EVENT, {"plan": plan_id})


def tell_that_it_waits(database: Database, plan_id: int) -> None:
    """Write that a person must decide, once for each plan that was made; its gate may look at it several times."""
    untold = not_told(EventKind.PLAN_WAITS, "plan.id::text", "plan.created_at")
    with database.begin() as connection:
        connection.execute(text("SELECT FROM plans WHERE id = :id FOR UPDATE"), {"id": plan_id})
        waiting = f"{_EVENT} AND plan.state = '{PlanState.PLANNED}' AND {untold}"
        tell(connection, EventKind.PLAN_WAITS, waiting, {"plan": plan_id})


def _policy_version(connection: Connection, kind: str, partition: str, policy_text: str) -> int:
    digest = hashlib.sha256(policy_text.encode()).hexdigest()
    parameters = {"kind": kind, "partition": partition, "sha256": digest, "text": policy_text}
    connection.execute(
        text("""
        INSERT INTO policy_versions (kind, partition, sha256, text) VALUES (:kind, :partition, :sha256, :text)
        ON CONFLICT DO NOTHING
    """),
        parameters,
    )
    version_id = connection.execute(
        text("""
        SELECT id FROM policy_versions WHERE kind = :kind AND partition = :partition AND sha256 = :sha256
    """),
        parameters,
    ).scalar_one()
    return int(version_id)


def _one(connection: Connection, plan_id: int, lock: str = "") -> StoredPlan:
    plan_row = connection.execute(
        text(f"SELECT {COLUMNS} FROM plans WHERE id = :id {lock}"), {"id": plan_id}
    ).one_or_none()
    if plan_row is None:
        raise UnknownPlanError(f"there is no plan {plan_id}", plan_id=plan_id, state=None)
    return _plan(plan_row)


def _of_run(connection: Connection, kind: str, partition: str, run_key: str) -> StoredPlan | None:
    plan_row = connection.execute(
        text(f"SELECT {COLUMNS} FROM plans WHERE kind = :kind AND partition = :partition AND run_key = :run_key"),
        {"kind": kind, "partition": partition, "run_key": run_key},
    ).one_or_none()
    return None if plan_row is None else _plan(plan_row)


def _plan(plan_row: Row[Any]) -> StoredPlan:
    return StoredPlan(**plan_row._mapping)
