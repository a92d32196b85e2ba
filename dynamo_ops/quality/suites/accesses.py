"""What is expected of the accesses of a day, before they are aggregated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from dynamo_ops.inventory.database import Database
from dynamo_ops.quality.checks import SqlCheck, literal
from dynamo_ops.quality.gate import GateReport, run_gate
from dynamo_ops.quality.thresholds import AccessThresholds, Gates


def check_accesses(db: Database, run_key: str, day: str, sources: Sequence[str], thresholds: Gates) -> list[GateReport]:
    """Judge the accesses of ``day`` (ISO date) of all these sources. Raises the GateError of the first refused one."""
    return [check_day(db, run_key, date.fromisoformat(day), source, thresholds.accesses) for source in sources]


def check_day(db: Database, run_key: str, day: date, source: str, thresholds: AccessThresholds) -> GateReport:
    """Judge the accesses of ``day`` that (run_key, source) staged. Raises GateError; changes nothing.

    Datasets and sites that the inventory does not know are no fault here: monitoring sees more than we manage.
    """
    run = f"run_key = {literal(run_key)} AND source = {literal(source)}"
    checks = [*_row_checks(run, day, thresholds.max_accesses), _emptiness(run, day, source, thresholds.days_before)]
    return run_gate(db, "accesses", f"source {source!r} on {day}", run_key, checks, thresholds.warn_only)


def _row_checks(run: str, day: date, max_accesses: int) -> list[SqlCheck]:
    rows = f"SELECT dataset, site, day, num_accesses FROM staged_accesses WHERE {run}"
    shown = "SELECT dataset, site, day, num_accesses FROM {batch} WHERE "
    return [
        SqlCheck(
            "access_fields",
            "a field is missing",
            "record",
            rows,
            shown + "coalesce(dataset, '') = '' OR coalesce(site, '') = '' OR day IS NULL OR num_accesses IS NULL",
        ),
        SqlCheck("access_count", "num_accesses is not above zero", "record", rows, shown + "num_accesses <= 0"),
        SqlCheck(
            "access_absurd",
            f"num_accesses is above {max_accesses:,}",
            "record",
            rows,
            f"{shown}num_accesses > {max_accesses}",
        ),
        SqlCheck("access_day", "the day is another one", "record", rows, f"{shown}day <> DATE '{day}'"),
    ]


def _emptiness(run: str, day: date, source: str, days_before: int) -> SqlCheck:
    rows = f"""
        SELECT (SELECT count(*) FROM staged_accesses WHERE {run}) AS num_records,
               (SELECT coalesce(max(num_told), 0) FROM aggregated_days
                WHERE kind = 'accesses' AND source = {literal(source)} AND day < DATE '{day}' AND day >= DATE '{day}' - {days_before}) AS most_accesses_before"""
    wrong = f"no access at all, though there were some in the {days_before} days before,"
    return SqlCheck(
        "day_empty",
        wrong,
        "pull",
        rows,
        "SELECT num_records, most_accesses_before FROM {batch} WHERE num_records = 0 AND most_accesses_before > 0",
    )
