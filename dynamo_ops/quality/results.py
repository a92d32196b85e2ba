"""What gates found, to be read: results of single checks, and figures over time."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.text import close_names
from dynamo_ops.database.connection import Database
from dynamo_ops.quality.verdicts import Verdict, check_gate

VERDICT = f"""CASE WHEN is_success THEN '{Verdict.PASSED}' WHEN is_blocking THEN '{Verdict.REFUSED}'
                    ELSE '{Verdict.WARNED}' END"""
"""SQL: of a row of ``gate_results``."""


def results(
    db: Database,
    *,
    gate: str | None = None,
    run_key: str | None = None,
    subject: str | None = None,
    failed: bool = False,
    limit: int = 200,
) -> pl.DataFrame:
    """The newest ``limit`` results, newest judgement first, each in the order of its suite.

    Columns: checked_at, gate, subject, run_key, check, verdict (passed, refused, warned), num_unexpected, observed,
    examples (JSON). ``run_key`` and ``subject`` may be a part of the name. ``failed``: only what was refused or warned
    of. Raises InventoryError, with near names, for a gate that there is not.
    """
    if gate is not None:
        check_gate(gate)
    return db.frame(
        f"""SELECT checked_at, gate, subject, run_key, split_part(expectation, ':', 1) AS "check",
                  {VERDICT} AS verdict,
                  num_unexpected, observed, examples::text AS examples
           FROM gate_results
           WHERE ($1::text IS NULL OR gate = $1) AND ($2::text IS NULL OR strpos(run_key, $2) > 0)
             AND ($3::text IS NULL OR strpos(subject, $3) > 0) AND (NOT $4::boolean OR NOT is_success)
           ORDER BY checked_at DESC, gate, subject, id LIMIT $5""",
        (gate, run_key, subject, failed, limit),
    )


def has_passed(connection: Connection, gate: str, run_key: str, subject: str, since: datetime) -> bool:
    """Whether a gate has judged this from then on, and nothing that it judged would stop it."""
    passed = connection.execute(
        text("""SELECT bool_and(is_success OR NOT is_blocking) FROM gate_results
                WHERE gate = :gate AND run_key = :run_key AND subject = :subject AND checked_at >= :since"""),
        {"gate": gate, "run_key": run_key, "subject": subject, "since": since},
    ).scalar_one()
    return bool(passed)


def trend(db: Database, gate: str, subject: str, metric: str, days: int) -> pl.DataFrame:
    """A figure of a source over the last ``days`` that it describes, oldest first: each moment by its last run.

    Columns: as_of, value, unit, is_accepted, run_key. Raises InventoryError, with what there is, where nothing was
    measured under this name.
    """
    figures = db.frame(
        """SELECT as_of, value, unit, is_accepted, run_key
           FROM (SELECT DISTINCT ON (as_of) * FROM gate_metrics WHERE gate = $1 AND subject = $2 AND metric = $3
                 ORDER BY as_of, measured_at DESC) AS newest ORDER BY as_of""",
        (gate, subject, metric),
    )
    if figures.is_empty():
        raise _unknown(db, gate, subject, metric)
    newest = figures["as_of"][-1]
    return figures.filter(pl.col("as_of") > newest - timedelta(days=days))


def prune(db: Database, *, before: datetime) -> int:
    """Forget results and figures that were taken down before then; returns how many."""
    with db.begin() as connection:
        deletions = (
            text("DELETE FROM gate_results WHERE checked_at < :before"),
            text("DELETE FROM gate_metrics WHERE measured_at < :before"),
        )
        return sum(connection.execute(deletion, {"before": before}).rowcount for deletion in deletions)


def _unknown(db: Database, gate: str, subject: str, metric: str) -> UnknownNameError:
    asked = f"{gate} {subject} {metric}"
    measured = db.frame("SELECT DISTINCT gate, subject, metric FROM gate_metrics ORDER BY 1, 2, 3").iter_rows()
    names = [" ".join(parts) for parts in measured]
    shown = close_names(asked, names, 5) or names
    return UnknownNameError(
        f"no gate measured {asked!r}; measured were: {', '.join(shown) or 'none'}", gate=gate, value=metric
    )
