"""Plots: drawn by a script from the rows of a table that stands on the page too, so that each can be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dynamo_web.pages.part.table import Table


class PlotKind(StrEnum):
    """``BARS``: beside one another; ``STACK``: on one another. ``MATRIX``: ``x`` by the first of ``y``, coloured by the
    second. ``TREE``: areas by the first of ``y``. ``SPANS``: from the first of ``y`` to the second, a row of bars for
    each ``x``."""

    BARS = "bars"
    STACK = "stack"
    LINES = "lines"
    MATRIX = "matrix"
    TREE = "tree"
    SPANS = "spans"


class Unit(StrEnum):
    """Of what is drawn."""

    BYTES = "B"
    BYTES_AN_HOUR = "B/h"
    NUMBER = ""
    SHARE = "%"
    TIME = "time"


@dataclass(frozen=True)
class Plot:
    """``table``: what it is drawn from, as the page calls it. ``x``, ``y``: its columns. ``parts``: the column that
    tells lines or bars apart. ``rest``: where the rows are, below /v1, where they are too many for a page.
    ``divided_by``: what the last of ``y`` is divided by."""

    kind: PlotKind
    title: str
    table: str
    x: str
    y: Sequence[str]
    unit: Unit = Unit.BYTES
    parts: str = ""
    rest: str = ""
    divided_by: float = 1

    @property
    def columns(self) -> list[str]:
        """What it is drawn from."""
        return [self.x, *self.y, *([self.parts] if self.parts else [])]

    def data(self, table: Table) -> str:
        """The rows of these columns, as JSON; none where they are read from REST."""
        if self.rest:
            return "[]"
        return json.dumps([[_plain(row[name]) for name in self.columns] for row in table.rows])


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value


SCRIPT = "plotly.min.js"


@cache
def script() -> Path:
    """Plotly, of its wheel; it is not imported."""
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "package_data" / SCRIPT


@cache
def script_address() -> str:
    """Another one when its version changes."""
    return f"plotly/{SCRIPT}?{version('plotly')}"
