"""What gates found, check by check, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.quality.results import VERDICT
from dynamo_ops.quality.verdicts import GATES, Verdict
from dynamo_ops.query.paging.condition import Conditions, check_words, moment_asked
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class GateFilter:
    """Which results. ``runs``, ``subjects`` (sources or partitions): names or globs."""

    gates: Sequence[str] = ()
    verdicts: Sequence[str] = ()
    subjects: Sequence[str] = ()
    runs: Sequence[str] = ()
    since: str | None = None


_RESULTS = f"""
    SELECT id, checked_at, gate, subject COLLATE "C" AS subject, run_key COLLATE "C" AS run_key,
           split_part(expectation, ':', 1) AS check, {VERDICT} AS verdict, num_unexpected, observed, examples
    FROM gate_results"""


def _narrow(_connection: Connection, asked: GateFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.gates, GATES, "gate")
    check_words(asked.verdicts, Verdict, "verdict")
    conditions.add_any("listed.gate", asked.gates, "gates")
    conditions.add_any("listed.verdict", asked.verdicts, "verdicts")
    conditions.add_names("listed.subject", asked.subjects, "subject")
    conditions.add_names("listed.run_key", asked.runs, "run")
    if asked.since is not None:
        conditions.add("listed.checked_at >= :since", since=moment_asked(asked.since, as_of))
    return conditions


GATE_RESULTS: Listing[GateFilter] = Listing(
    "results",
    _RESULTS,
    (
        "id",
        "checked_at",
        "gate",
        "subject",
        "run_key",
        "check",
        "verdict",
        "num_unexpected",
        "observed",
        "examples",
    ),
    key=("id",),
    narrow=_narrow,
    is_newest_first=True,
)
"""``verdict``: passed, refused, or warned (it failed, and its gate lets that through). ``examples``: rows, some."""
