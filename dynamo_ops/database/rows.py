"""Rows of a running transaction as a frame. Outside a transaction ``Database.frame`` is the faster way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from sqlalchemy import Connection, text


def read_rows(
    connection: Connection, sql: str, schema: Mapping[str, Any], params: Mapping[str, Any] | None = None
) -> pl.DataFrame:
    """The rows of ``sql``, whose columns must come in the order of ``schema``."""
    rows = connection.execute(text(sql), dict(params or {})).all()
    return pl.DataFrame([tuple(row) for row in rows], schema=dict(schema), orient="row")
