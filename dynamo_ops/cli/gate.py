"""``dynamo gate``: what the gates found, and how their figures go."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated

import polars as pl
import typer

from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson, Limit
from dynamo_ops.cli.terminal.tables import print_json, print_table, tell_cut
from dynamo_ops.quality import results as gate_results

app = typer.Typer(no_args_is_help=True, help="Gates: what they found, and the figures that they measured over time.")

RESULTS = {
    "checked_at": "checked",
    "gate": "gate",
    "subject": "subject",
    "check": "check",
    "verdict": "verdict",
    "num_unexpected": "wrong\nrows",
    "observed": "what was seen",
}
TREND = {"as_of": "as of", "shown": "value", "bar": "", "change": "change", "accepted": "accepted"}
BARS = "▁▂▃▄▅▆▇█"
BAR_WIDTH = 24


@app.command("results")
def results(
    gate: Annotated[
        str | None, typer.Option(help=f"{', '.join(gate_results.GATES[:-1])} or {gate_results.GATES[-1]}.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Run, or a part of its name.")] = None,
    subject: Annotated[str | None, typer.Option(help="Source or partition, or a part of its name.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what was refused or warned of.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """What single checks found, newest first."""
    frame = gate_results.results(database(), gate=gate, run_key=run, subject=subject, failed=failed, limit=limit)
    if as_json:
        print_json([{**check, "examples": json.loads(check["examples"])} for check in frame.to_dicts()])
        return
    shown = pl.when(pl.col("verdict") == gate_results.Verdict.PASSED).then(_note()).otherwise(pl.col("observed"))
    print_table(frame.with_columns(observed=shown), "Checks of gates", RESULTS, wrap=["observed"])
    tell_cut(frame.height, limit)


@app.command("trend")
def trend(
    gate: Annotated[str, typer.Argument(help="metadata, sites, accesses or demand.")],
    subject: Annotated[str, typer.Argument(help="Name of the source.")],
    metric: Annotated[str, typer.Argument(help="Name of the figure, for example files.")],
    days: Annotated[int, typer.Option(min=1, help="So many days back from the newest.")] = 30,
    as_json: AsJson = False,
) -> None:
    """One figure of a source over time. What a gate refused is shown, but nothing is compared with it."""
    frame = gate_results.trend(database(), gate, subject, metric, days)
    if as_json:
        print_json(frame.to_dicts())
        return
    figures, unit = frame["value"].to_list(), frame["unit"][-1]
    shown = frame.with_columns(
        shown=pl.Series([_figure(figure, unit) for figure in figures]),
        bar=pl.Series([_bar(figure, max(figures)) for figure in figures]),
        change=pl.Series(["", *(_change(old, new) for old, new in pairwise(figures))]),
        accepted=pl.col("is_accepted"),
    )
    print_table(shown, f"{metric} of {subject} ({gate} gate): {sparkline(figures)}", TREND)


def sparkline(figures: list[float]) -> str:
    """The course of ``figures`` in one line; the lowest bar is the smallest value."""
    low, high = min(figures), max(figures)
    if high == low:
        return BARS[3] * len(figures)
    return "".join(BARS[round((figure - low) / (high - low) * (len(BARS) - 1))] for figure in figures)


def _note() -> pl.Expr:
    """Of what passed only the note is worth a line."""
    return pl.col("observed").str.extract(r"\((not compared: .*)\)$").fill_null("")


def _figure(value: float, unit: str) -> str:
    return size(int(value)) if unit == "bytes" else f"{value:,.0f}"


def _bar(value: float, highest: float) -> str:
    return "█" * round(value / highest * BAR_WIDTH) if highest > 0 else ""


def _change(old: float, new: float) -> str:
    return "" if old == 0 else f"{(new - old) / old:+.1%}"
