"""Plan records of a few rows, told in a line each; for what reads and compares plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from dynamo_ops.detox.engine.plan import DECISIONS, POLICY_LINES, SITE_STATES
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.policy.language.enforcement import rules_text

NOW = datetime(2018, 1, 15, 12, tzinfo=UTC)
SIZE = 100
LINES = {0: "Dismiss", 1: "Protect dataset.name == /A", 2: "Delete dataset.name == /B"}


def told(
    *rows: str,
    lines: Mapping[int, str] = LINES,
    last_copies: Sequence[str] = (),
    now: datetime = NOW,
    **changes: Any,
) -> PlanRecord:
    """The record of rows ``dataset site block decision line [owner]``; a block has 100 bytes, ``empty``: a placeholder.

    ``owner``: the group it is handed over to. ``last_copies``: blocks whose deletion is that of a last copy.
    """
    split = [[*row.split(), ""][:6] for row in rows]
    sites = {name: number for number, name in enumerate(sorted({row[1] for row in split}))}
    datasets = {name: number for number, name in enumerate(sorted({row[0] for row in split}))}
    owners = {name: number for number, name in enumerate(sorted({row[5] for row in split} - {""}))}
    decisions = pl.DataFrame(
        [
            {
                "dataset_id": datasets[dataset],
                "dataset": dataset,
                "site_id": sites[site],
                "site": site,
                "block_id": number,
                "block": block,
                "new_group_id": owners.get(owner),
                "decision": decision,
                "line": int(line),
                "size_bytes": 0 if block == "empty" else SIZE,
                "delete_order": number + 1 if decision == "delete" else None,
                "is_placeholder": block == "empty",
            }
            for number, (dataset, site, block, decision, line, owner) in enumerate(split)
        ],
        schema=DECISIONS,
    )
    states = [{"site_id": n, "site": site, "quota_bytes": 1000, "occupancy_after": 0.5} for site, n in sites.items()]
    deleted = decisions.filter(pl.col("decision") == "delete")
    values: dict[str, Any] = {
        "name": "told",
        "partition": "Disk",
        "now": now,
        "policy_text": "\n".join(lines.values()),
        "decisions": decisions.lazy(),
        "site_states": pl.DataFrame(states, schema=SITE_STATES),
        "policy_lines": pl.DataFrame(
            [(n, t, n, t.split()[0]) for n, t in lines.items()], schema=POLICY_LINES, orient="row"
        ),
        "deletions": deleted.with_columns(is_last_copy=pl.col("block").is_in(list(last_copies))).lazy(),
        "groups": pl.DataFrame(
            [(number, name) for name, number in owners.items()],
            schema={"group_id": pl.Int64, "group": pl.String},
            orient="row",
        ),
        "warnings": (),
        "evidence": {},
        "rules_text": rules_text(()),
    }
    return PlanRecord(**{**values, **changes})
