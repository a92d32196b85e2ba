"""Datasets of a run that have a bad record: nothing of them is merged, and later runs ask for them again.

What is seen while a run is on its way is staged beside its rows (``staged_faults``), replaced with them, and by the
gate's own whenever it judges. What a merge leaves out by that is kept in ``set_aside_datasets`` (``inventory.catalogue.
aside``), from where the next pull takes what to ask for again.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.inventory.kinds import FaultStage

NUL, NUL_SHOWN = "\0", r"\x00"

_ASKED_AGAIN = """
    SELECT a.dataset, coalesce(a.listed->>'status', d.status) AS status,
           coalesce((a.listed->>'is_open')::boolean, d.is_open) AS is_open,
           CASE WHEN a.listed IS NULL THEN d.software_release
                ELSE a.listed->>'software_release' END AS software_release,
           coalesce((a.listed->>'last_update_at')::timestamptz, d.last_update_at) AS last_update_at,
           (CASE WHEN a.listed IS NULL THEN d.properties ELSE nullif(a.listed->'properties', 'null') END)::text
               AS properties,
           false AS is_listed, a.listed IS NOT NULL AS is_again
    FROM set_aside_datasets AS a LEFT JOIN datasets AS d ON d.name = a.dataset
    WHERE a.source = $1 AND NOT a.is_of_record AND (a.listed IS NOT NULL OR d.id IS NOT NULL) ORDER BY a.dataset"""


def asked_again(db: Database, source: str) -> pl.DataFrame:
    """Datasets that are set aside for what is in them, as the source listed them then, or as the inventory has them:
    columns as of ``staged_datasets``."""
    return db.frame(_ASKED_AGAIN, (source,))


def to_be_listed(db: Database, source: str) -> list[str]:
    """Datasets that are set aside for their own record: only a new one of the source can let them in."""
    listed = db.frame(
        "SELECT dataset FROM set_aside_datasets WHERE source = $1 AND is_of_record ORDER BY dataset", (source,)
    )
    return listed["dataset"].to_list()


def without_nul(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The frame with ``\\x00`` for each NUL in a text, which PostgreSQL does not store; and the datasets of the rows
    that had one, columns dataset and fault: of them nothing is merged, since no such name exists."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    has_nul = pl.any_horizontal(pl.col(texts).str.contains(NUL, literal=True))
    if not texts or not frame.select(has_nul.any()).item():
        return frame, pl.DataFrame()
    bad = frame.filter(has_nul).with_columns(pl.col(texts).str.replace_all(NUL, NUL_SHOWN, literal=True))
    shown = [
        pl.when(pl.col(name).str.contains(NUL_SHOWN, literal=True)).then(pl.format(f"a NUL in {name} '{{}}'", name))
        for name in texts
    ]
    stored = frame.with_columns(pl.col(texts).str.replace_all(NUL, NUL_SHOWN, literal=True))
    return stored, bad.select("dataset", fault=pl.coalesce(shown)).drop_nulls("dataset")


def stage_faults(
    connection: Connection,
    run_key: str,
    source: str,
    stage: FaultStage,
    faults: pl.DataFrame,
    page: int | None = None,
) -> None:
    """Replace what this stage (of details: of this page) saw: columns dataset, fault, and ``is_of_record`` if it may be
    one of several; each dataset counts once."""
    key = {"run_key": run_key, "source": source, "stage": stage.value, "page": page}
    connection.execute(
        text("""DELETE FROM staged_faults WHERE run_key = :run_key AND source = :source AND stage = :stage
                AND page IS NOT DISTINCT FROM CAST(:page AS bigint)"""),
        key,
    )
    if faults.is_empty():
        return
    if "is_of_record" not in faults.columns:
        faults = faults.with_columns(is_of_record=pl.lit(stage is FaultStage.LISTING))
    chosen = faults.select("dataset", "fault", "is_of_record").unique("dataset", keep="first", maintain_order=True)
    constants = {name: pl.lit(constant) for name, constant in key.items() if constant is not None}
    insert_frame(connection, "staged_faults", chosen.with_columns(**constants))


def drop_details(connection: Connection, run_key: str, source: str, page: int, datasets: Sequence[str]) -> None:
    """Remove the blocks and files of these datasets from what a page staged: it is not all that they have."""
    key = {"run_key": run_key, "source": source, "page": page, "datasets": list(datasets)}
    for table in ("staged_blocks", "staged_files"):
        connection.execute(
            text(f"""DELETE FROM {table} WHERE run_key = :run_key AND source = :source AND page = :page
                     AND dataset = ANY(:datasets)"""),
            key,
        )
