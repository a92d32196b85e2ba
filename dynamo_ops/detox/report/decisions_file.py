"""Decisions as rows that a person or another program reads: one a dataset replica where its blocks agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from dynamo_ops.base.errors import PlanError

ALL_BLOCKS = "*"
REPLICA = ["dataset", "site"]


def decision_rows(decisions: pl.LazyFrame) -> pl.LazyFrame:
    """dataset, site, block, decision, line, size_bytes; by dataset, site, block.

    ``decisions``: those of a ``DeletionPlan``, or all rows of some of its dataset replicas. ``block`` is ``*`` where
    one (decision, line) covers every block replica of the dataset replica in the image; else one row per block replica.
    ``decision`` delete, keep, protect, ignored, reowned. ``size_bytes``: on disk, 0 for empty tape replicas.
    """
    named = decisions.with_columns(decision=spelt("decision"))
    return collapsed(named, ["decision", "line"])


def spelt(column: str) -> pl.Expr:
    """A decision as the file spells it: ``ignored`` for ignore."""
    return pl.col(column).replace({"ignore": "ignored"})


def collapsed(rows: pl.LazyFrame, verdict: Sequence[str]) -> pl.LazyFrame:
    """``rows`` (dataset, site, block, size_bytes and the columns of ``verdict``; one per block replica), with a single
    row and block ``*`` for each dataset replica whose block replicas have the same ``verdict``; nulls are equal."""
    is_one = pl.all_horizontal(_is_one_value(name) for name in verdict)
    replicas = rows.group_by(REPLICA).agg(
        *(pl.col(name).first() for name in verdict), pl.col("size_bytes").sum(), is_one=is_one
    )
    whole = replicas.filter("is_one").with_columns(block=pl.lit(ALL_BLOCKS))
    single = rows.join(replicas.filter(~pl.col("is_one")).select(REPLICA), on=REPLICA, how="semi")
    columns = [*REPLICA, "block", *verdict, "size_bytes"]
    return pl.concat([whole.select(columns), single.select(columns)]).sort(*REPLICA, "block")


def _is_one_value(name: str) -> pl.Expr:
    """Whether all values of a group are equal, or all null."""
    column = pl.col(name)
    nulls = column.null_count()
    return (nulls == pl.len()) | ((nulls == 0) & (column.min() == column.max()))


def write_rows(rows: pl.LazyFrame, file: Path) -> int:
    """Write rows as CSV, their ``size_bytes`` as ``size``; returns how many. Raises PlanError when it cannot be."""
    frame = rows.collect().rename({"size_bytes": "size"})
    try:
        frame.write_csv(file)
    except OSError as error:
        raise PlanError(f"{file}: cannot be written: {error.strerror or error}", state=None) from error
    return frame.height
