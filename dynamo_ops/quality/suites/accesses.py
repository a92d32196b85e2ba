"""What is expected of the accesses and of the demand of a day, before they are aggregated.

Datasets and sites that the inventory does not know are no fault by themselves: monitoring sees more than we manage.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.inventory.staging.pull import staged_now
from dynamo_ops.quality.checks import SqlCheck, literal
from dynamo_ops.quality.figures import Before, Figures, before
from dynamo_ops.quality.gate import GateReport, run_gate
from dynamo_ops.quality.suites.rows import empty, null, of_run
from dynamo_ops.quality.thresholds import AccessThresholds, DataDocs, DayThresholds, DemandThresholds, Gates


def check_accesses(db: Database, run_key: str, day: str, sources: Sequence[str], thresholds: Gates) -> list[GateReport]:
    """Judge the accesses of ``day`` (ISO date) of all these sources. Raises the GateError of the first refused one."""
    asked, docs = date.fromisoformat(day), thresholds.data_docs
    return [check_day(db, run_key, asked, source, thresholds.accesses, docs) for source in sources]


def check_demand(db: Database, run_key: str, day: str, sources: Sequence[str], thresholds: Gates) -> list[GateReport]:
    """Judge the demand of ``day`` (ISO date) of all these sources. Raises the GateError of the first refused one."""
    asked, docs = date.fromisoformat(day), thresholds.data_docs
    return [check_demand_day(db, run_key, asked, source, thresholds.demand, docs) for source in sources]


def check_day(
    db: Database, run_key: str, day: date, source: str, thresholds: AccessThresholds, docs: DataDocs | None = None
) -> GateReport:
    """Judge the accesses of ``day`` that (run_key, source) staged. Raises GateError; changes nothing."""
    staged = staged_now(db, run_key, source, "accesses")
    run, as_of = of_run(run_key, source), _end(day)
    history = before(db, "accesses", source, "accesses", as_of, thresholds.days_before)
    checks = [
        *_access_checks(run, day, thresholds.max_accesses),
        *_day_checks("accesses", day, history, thresholds),
        _shrunken_check("accesses", source, day, thresholds.max_day_lost_fraction),
        _unknown_check("accesses", thresholds.max_unknown_fraction),
    ]
    return run_gate(
        db,
        "accesses",
        f"source {source!r} on {day}",
        run_key,
        checks,
        thresholds.warn_only,
        staged=staged,
        prepare={"of_datasets": _of_datasets("staged_accesses", "num_accesses", run)},
        figures=Figures(source, as_of, _access_figures(run)),
        docs=docs,
    )


def check_demand_day(
    db: Database, run_key: str, day: date, source: str, thresholds: DemandThresholds, docs: DataDocs | None = None
) -> GateReport:
    """Judge the demand of ``day`` that (run_key, source) staged. Raises GateError; changes nothing."""
    staged = staged_now(db, run_key, source, "demand")
    run, as_of = of_run(run_key, source), _end(day)
    history = before(db, "demand", source, "jobs", as_of, thresholds.days_before)
    checks = [
        *_demand_checks(run, day, thresholds.max_jobs),
        *_day_checks("demand", day, history, thresholds),
        _shrunken_check("demand", source, day, thresholds.max_day_lost_fraction),
        _unknown_check("demand", thresholds.max_unknown_fraction),
    ]
    figures = """SELECT coalesce(sum(num_records), 0) AS records, coalesce(sum(number), 0) AS jobs,
                        count(dataset) AS datasets_wanted FROM of_datasets"""
    return run_gate(
        db,
        "demand",
        f"source {source!r} on {day}",
        run_key,
        checks,
        thresholds.warn_only,
        staged=staged,
        prepare={"of_datasets": _of_datasets("staged_demand", "num_jobs", run)},
        figures=Figures(source, as_of, figures),
        docs=docs,
    )


def _end(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _of_datasets(table: str, number: str, run: str) -> str:
    """One row a dataset (null: what is told by file): how many records, and the sum of their numbers."""
    return f"""SELECT dataset, count(*) AS num_records, coalesce(sum({number}), 0) AS number
               FROM {table} WHERE {run} GROUP BY dataset"""


def _access_figures(run: str) -> str:
    return f"""
        SELECT d.records, d.accesses, d.datasets_accessed,
               (SELECT count(*) FROM (SELECT DISTINCT site FROM staged_accesses WHERE {run}) AS s) AS sites_accessed,
               (SELECT count(*) FROM (SELECT DISTINCT hashtextextended(lfn, 0) FROM staged_accesses
                                      WHERE {run} AND lfn IS NOT NULL) AS f) AS files_accessed
        FROM (SELECT coalesce(sum(num_records), 0) AS records, coalesce(sum(number), 0) AS accesses,
                     count(dataset) AS datasets_accessed FROM of_datasets) AS d"""


def _access_checks(run: str, day: date, max_accesses: int) -> list[SqlCheck]:
    accesses_query = f"""SELECT dataset, lfn, coalesce(dataset, lfn) AS name, site, day, num_accesses
               FROM staged_accesses WHERE {run}"""
    shown = "name, site, day, num_accesses"
    both = "(coalesce(dataset, '') = '') = (coalesce(lfn, '') = '')"
    return [
        SqlCheck(
            "access_fields",
            "site, day or number is missing, or not exactly one of dataset and lfn is given,",
            "record",
            accesses_query,
            f"{both} OR {empty('site')} OR {null('day', 'num_accesses')}",
            "dataset, lfn, site, day, num_accesses",
        ),
        SqlCheck(
            "access_count", "num_accesses is not above zero", "record", accesses_query, "num_accesses <= 0", shown
        ),
        SqlCheck(
            "access_absurd",
            f"num_accesses is above {max_accesses:,}",
            "record",
            accesses_query,
            f"num_accesses > {max_accesses}",
            shown,
        ),
        SqlCheck("access_day", "the day is another one", "record", accesses_query, f"day <> DATE '{day}'", shown),
    ]


def _demand_checks(run: str, day: date, max_jobs: int) -> list[SqlCheck]:
    demand_query = f"SELECT dataset, day, num_jobs FROM staged_demand WHERE {run}"
    shown = "dataset, day, num_jobs"
    return [
        SqlCheck(
            "demand_fields",
            "a field is missing",
            "record",
            demand_query,
            f"{empty('dataset')} OR {null('day', 'num_jobs')}",
            shown,
        ),
        SqlCheck("demand_count", "num_jobs is not above zero", "record", demand_query, "num_jobs <= 0", shown),
        SqlCheck(
            "demand_absurd", f"num_jobs is above {max_jobs:,}", "record", demand_query, f"num_jobs > {max_jobs}", shown
        ),
        SqlCheck("demand_day", "the day is another one", "record", demand_query, f"day <> DATE '{day}'", shown),
    ]


def _day_checks(kind: str, day: date, history: Before, thresholds: DayThresholds) -> list[SqlCheck]:
    """The day as a whole. Where too few days before are known, or these are too small, the note says so."""
    typical = history.typical or 0
    day_query = f"""SELECT coalesce(sum(number), 0) AS told, {typical} AS typical, {history.num_days} AS num_days_before
               FROM of_datasets"""
    note = _not_compared(history, thresholds)
    compared = "false" if note else "true"
    noun = "accesses" if kind == PullKind.ACCESSES else "jobs"
    return [
        SqlCheck(
            "day_future",
            "the day is still to come",
            "day",
            f"SELECT DATE '{day}' AS day",
            "day > (now() AT TIME ZONE 'UTC')::date",
            "day",
        ),
        SqlCheck(
            "day_empty",
            f"no {noun} at all, though there were some in the {thresholds.days_before} days before,",
            "day",
            day_query,
            "told = 0 AND typical > 0",
            "told, typical, num_days_before",
        ),
        SqlCheck(
            f"{kind}_dropped",
            f"fewer {noun} than {thresholds.min_fraction:.0%} of the median of the days before",
            "day",
            day_query,
            f"{compared} AND told < {thresholds.min_fraction} * typical",
            "told, typical, num_days_before",
            note=note,
        ),
        SqlCheck(
            f"{kind}_surged",
            f"more {noun} than {thresholds.max_factor:g} times the median of the days before",
            "day",
            day_query,
            f"{compared} AND told > {thresholds.max_factor} * typical",
            "told, typical, num_days_before",
            note=note,
        ),
    ]


def _shrunken_check(kind: str, source: str, day: date, max_lost: float) -> SqlCheck:
    """A day that is pulled again against the most that was ever told of it: a source that forgets, little by little,
    must not make us forget."""
    noun = "accesses" if kind == PullKind.ACCESSES else "jobs"
    day_query = f"""
        SELECT (SELECT coalesce(sum(number), 0) FROM of_datasets) AS told, most_told FROM aggregated_days
        WHERE day = DATE '{day}' AND source = {literal(source)} AND kind = '{kind}'"""
    return SqlCheck(
        "day_shrunken",
        f"pulled again, and more than {max_lost:.0%} of its {noun} are gone,",
        "day",
        day_query,
        f"told < {1 - max_lost} * most_told",
        "told, most_told",
    )


def _not_compared(history: Before, thresholds: DayThresholds) -> str:
    if history.num_days < thresholds.least_days:
        return (
            f"not compared: {history.num_days} of the {thresholds.days_before} days before"
            f" were accepted, {thresholds.least_days} are needed"
        )
    if (history.typical or 0) < thresholds.least_compared:
        return (
            f"not compared: the median of {history.num_days} days before is {history.typical:g},"
            f" {thresholds.least_compared} is needed"
        )
    return ""


def _unknown_check(kind: str, max_unknown: float) -> SqlCheck:
    """What is told by file is left out: to look up millions of files twice is not worth it."""
    noun = "accesses" if kind == PullKind.ACCESSES else "jobs"
    datasets_query = """SELECT o.dataset, o.number, d.id IS NULL AS is_unknown, sum(o.number) OVER () AS all_told,
                     sum(CASE WHEN d.id IS NULL THEN o.number ELSE 0 END) OVER () AS all_unknown
              FROM of_datasets AS o LEFT JOIN datasets AS d ON d.name = o.dataset WHERE o.dataset IS NOT NULL"""
    return SqlCheck(
        f"{kind}_unknown",
        f"more than {max_unknown:.0%} of the {noun} are of datasets that the inventory does not know,",
        "dataset",
        datasets_query,
        f"is_unknown AND all_unknown > {max_unknown} * all_told",
        f"dataset, number AS num_{noun}",
    )
