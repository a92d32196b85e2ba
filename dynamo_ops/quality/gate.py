"""Running a gate: all its checks by Great Expectations, results and figures kept, a page published, pass or refuse."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl
from sqlalchemy import text

from dynamo_ops.base.errors import GateError
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.inventory.staging.pull import TABLES_OF, Staged, note_judgement
from dynamo_ops.quality.checks import Check, Outcome, SqlCheck
from dynamo_ops.quality.data_docs import publish
from dynamo_ops.quality.figures import Figures, keep_figures
from dynamo_ops.quality.thresholds import DataDocs
from dynamo_ops.quality.validation import Sieve, validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GateReport:
    """A gate that let its subject pass. ``outcomes``: one a check, in the order of the suite.

    ``figures``: what was measured. ``page``: where its page is; null if none was published.
    """

    gate: str
    subject: str
    outcomes: tuple[Outcome, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
    page: str | None = None

    @property
    def warnings(self) -> list[str]:
        """What was found but only warned of, in plain words."""
        return [str(outcome) for outcome in self.outcomes if not outcome.is_success]

    @property
    def notes(self) -> list[str]:
        """What is to be said although nothing is wrong."""
        return [f"{outcome.key}: {outcome.note}" for outcome in self.outcomes if outcome.is_success and outcome.note]


def run_gate(
    db: Database,
    gate: str,
    subject: str,
    run_key: str,
    checks: Sequence[Check],
    warn_only: Collection[str],
    *,
    staged: Staged | None = None,
    prepare: Mapping[str, str] | None = None,
    figures: Figures | None = None,
    docs: DataDocs | None = None,
    sieve: Sieve | None = None,
) -> GateReport:
    """Run all checks, keep their results and the figures (a repeat replaces them), publish a page, and pass.

    ``subject``: what is judged, as a message shall call it. ``staged``: the pull that is judged, asked for before any
    of its rows was read; to pass lets it be merged, as long as nothing of it is staged again. ``prepare``: temporary
    tables by name, as queries, that checks and figures may read. ``sieve``: sets aside what wrong rows are of, so that
    they need not refuse. Raises GateError naming the gate, the subject and, for
    each failed check that is not in ``warn_only``, what is wrong, how often, and up to three examples.
    """
    if any(isinstance(check, SqlCheck) for check in checks):
        _analyze(db, TABLES_OF[staged.kind] if staged else ())
    measured = figures.query if figures else None
    validation = validate(db, gate, checks, prepare or {}, measured, sieve, warn_only)
    let_through = {*warn_only, *validation.spared}
    outcomes = tuple(replace(outcome, is_blocking=outcome.key not in let_through) for outcome in validation.outcomes)
    failures = [outcome for outcome in outcomes if outcome.is_blocking and not outcome.is_success]
    _keep(db, gate, subject, run_key, outcomes, figures, validation.figures, staged, sieve, is_accepted=not failures)
    page = publish(db, docs, gate, subject, run_key, outcomes, validation.results, validation.figures) if docs else None
    if failures:
        raise _refusal(gate, subject, run_key, failures, page)
    report = GateReport(gate, subject, outcomes, validation.figures, page)
    log.info("%s gate: %s passed %d checks%s", gate, subject, len(outcomes), f"; page: {page}" if page else "")
    for warning in report.warnings:
        log.warning("%s gate, %s: %s", gate, subject, warning)
    for note in report.notes:
        log.info("%s gate, %s: %s", gate, subject, note)
    return report


def page_line(page: str) -> str:
    """The line of a refusal that says where Data Docs have its page."""
    return f"Page: {page}"


def _refusal(gate: str, subject: str, run_key: str, failures: Sequence[Outcome], page: str | None) -> GateError:
    """The error. As text it says where to read on, too; its ``message`` is what is kept with a refused plan.

    The facts name no run: the same fault has the same facts in every run.
    """
    hints = [f"All results: dynamo gate results --run '{run_key}'"]
    if page:
        hints.append(page_line(page))
    refused = f"{gate} gate refused {subject}: "
    message = refused + "; and ".join(map(str, failures))
    error = GateError(message, gate=gate, subject=subject, failures=[failure.key for failure in failures])
    error.page = page
    error.args = ("\n".join([refused + "\nand ".join(map(str, failures)), *hints]),)
    return error


def _analyze(db: Database, tables: Sequence[str]) -> None:
    """Statistics of rows that were staged a moment ago: without them the planner compares each file with each block.

    A database that is away is found here, before Great Expectations words it in its own way.
    """
    with db.begin() as connection:
        for table in tables:
            connection.execute(text(f"ANALYZE {table}"))


def _keep(
    db: Database,
    gate: str,
    subject: str,
    run_key: str,
    outcomes: Sequence[Outcome],
    figures: Figures | None,
    values: Mapping[str, float],
    staged: Staged | None,
    sieve: Sieve | None,
    *,
    is_accepted: bool,
) -> None:
    gate_results = pl.DataFrame(
        [
            {
                "gate": gate,
                "run_key": run_key,
                "subject": subject,
                "expectation": f"{outcome.key}: {outcome.wrong}",
                "is_success": outcome.is_success,
                "is_blocking": outcome.is_blocking,
                "observed": str(outcome),
                "num_unexpected": outcome.num_unexpected,
                "examples": json.dumps(outcome.examples),
            }
            for outcome in outcomes
        ]
    )
    with db.begin() as connection:
        now = connection.execute(text("SELECT now()")).scalar_one()
        connection.execute(
            text("DELETE FROM gate_results WHERE gate = :gate AND run_key = :run_key AND subject = :subject"),
            {"gate": gate, "run_key": run_key, "subject": subject},
        )
        insert_frame(connection, "gate_results", gate_results.with_columns(checked_at=pl.lit(now)))
        if figures is not None:
            keep_figures(connection, gate, run_key, figures, values, now, is_accepted=is_accepted)
        if staged is not None:
            note_judgement(connection, run_key, staged, is_accepted=is_accepted)
        if sieve is not None:
            sieve.keep(connection)
