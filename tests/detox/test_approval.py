"""What a person is shown who may say no to a plan."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import polars as pl

from dynamo_ops.detox.approval import LARGEST, approval_text

LINES = pl.DataFrame(
    {"line": [3, 7], "text": ["Delete dataset.name == /A|B/*/*", "Dismiss"]}, schema_overrides={"line": pl.Int32}
)


def plan(number: int, deletions: pl.DataFrame, **more: Any) -> Any:
    return SimpleNamespace(
        id=number,
        partition="physics",
        created_at=datetime(2026, 11, number, tzinfo=UTC),
        summary={
            "num_deletions": deletions.height,
            "deleted_bytes": int(deletions["size_bytes"].sum()),
            "warnings": [],
            **more,
        },
    )


def deletions(number: int, *, num_last: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "dataset": [f"/D{n:02}/x/AOD" for n in range(number)],
            "site": ["T2_A" if n % 2 else "T2_B" for n in range(number)],
            "line": pl.Series([3 if n < num_last else 7 for n in range(number)], dtype=pl.Int32),
            "size_bytes": [1000 * (n + 1) for n in range(number)],
            "is_last_copy": [n < num_last for n in range(number)],
        }
    )


def test_all_of_it() -> None:
    gone = deletions(3, num_last=1)
    aside = {"site": "T2_C", "set_aside": "it is the last copy", "num_block_replicas": 1200, "size_bytes": 5_000_000}
    now = plan(12, gone, set_aside=[aside], warnings=["line 4 matches nothing"])
    text = approval_text(now, gone, LINES, plan(11, deletions(5)))
    assert (
        text
        == """\
Plan 12 of *physics*: 3 block replicas, 6.00 kB, of 3 dataset replicas, at 2 sites.

| site | block replicas | size |
| --- | --- | --- |
| T2_A | 1 | 2.00 kB |
| T2_B | 2 | 4.00 kB |

| line | policy | block replicas | size |
| --- | --- | --- | --- |
| 3 | `Delete dataset.name == /A\\|B/*/*` | 1 | 1.00 kB |
| 7 | `Dismiss` | 2 | 5.00 kB |

| dataset | site | block replicas | size |
| --- | --- | --- | --- |
| `/D02/x/AOD` | T2_B | 1 | 3.00 kB |
| `/D01/x/AOD` | T2_A | 1 | 2.00 kB |
| `/D00/x/AOD` | T2_B | 1 | 1.00 kB |

- Last copies: **1 block replicas, 1.00 kB**.
- Set aside at T2_C: 1,200 block replicas, 5.00 MB: it is the last copy
- Against plan 11, made at 2026-11-11T00:00Z, the last that was committed: -2 block replicas, -9.00 kB.
- line 4 matches nothing
- All of it: `dynamo plan show 12`; why: `dynamo detox explain DATASET SITE --plan 12`"""
    )


def test_of_many_the_largest_are_named() -> None:
    many = deletions(40)
    text = approval_text(plan(12, many), many, LINES)
    assert f"The {LARGEST} largest of 40:" in text
    assert text.count("/AOD`") == LARGEST
    assert "`/D39/x/AOD`" in text
    assert "- Last copies: none." in text
    assert "- No plan of this partition was committed before." in text
