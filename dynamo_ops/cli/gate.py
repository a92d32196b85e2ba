"""``dynamo gate``: what the gates found, and how their figures go."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.cli.terminal.options import AsJson, Limit
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table, tell_cut
from dynamo_ops.cli.terminal.way import Way
from dynamo_ops.quality.verdicts import GATES, Verdict, check_gate

if TYPE_CHECKING:
    from dynamo_ops.cli.here import record
else:
    record = Way("record")

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
NOTE = re.compile(r"\((not compared: .*)\)$")
"""Of what passed only the note is worth a line."""


@app.command("results")
def results(
    gate: Annotated[str | None, typer.Option(help=f"{', '.join(GATES[:-1])} or {GATES[-1]}.")] = None,
    run: Annotated[str | None, typer.Option(help="Run, or a part of its name.")] = None,
    subject: Annotated[str | None, typer.Option(help="Source or partition, or a part of its name.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what was refused or warned of.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """What single checks found, newest first."""
    if gate is not None:
        check_gate(gate)
    checks = record.found(gate=gate, run=run, subject=subject, failed=failed, limit=limit)
    if as_json:
        print_json(checks)
        return
    print_table(list(map(_with_note, checks)), "Checks of gates", RESULTS, wrap=["observed"])
    tell_cut(len(checks), limit)


@app.command("trend")
def trend(
    gate: Annotated[str, typer.Argument(help="metadata, sites, accesses or demand.")],
    subject: Annotated[str, typer.Argument(help="Name of the source.")],
    metric: Annotated[str, typer.Argument(help="Name of the figure, for example files.")],
    days: Annotated[int, typer.Option(min=1, help="So many days back from the newest.")] = 30,
    as_json: AsJson = False,
) -> None:
    """One figure of a source over time. What a gate refused is shown, but nothing is compared with it."""
    measured = record.trend(gate, subject, metric, days)
    if as_json:
        print_json(measured)
        return
    figures, unit = [row["value"] for row in measured], measured[-1]["unit"]
    changes = ["", *(_change(old, new) for old, new in pairwise(figures))]
    shown = [
        {
            **row,
            "shown": _figure(row["value"], unit),
            "bar": _bar(row["value"], max(figures)),
            "change": change,
            "accepted": row["is_accepted"],
        }
        for row, change in zip(measured, changes, strict=True)
    ]
    print_table(shown, f"{metric} of {subject} ({gate} gate): {sparkline(figures)}", TREND)


def sparkline(figures: list[float]) -> str:
    """The course of ``figures`` in one line; the lowest bar is the smallest value."""
    low, high = min(figures), max(figures)
    if high == low:
        return BARS[3] * len(figures)
    return "".join(BARS[round((figure - low) / (high - low) * (len(BARS) - 1))] for figure in figures)


def _with_note(check: Record) -> dict[str, Any]:
    note = NOTE.search(check["observed"] or "")
    return {**check, "observed": note[1] if note else ""} if check["verdict"] == Verdict.PASSED else {**check}


def _figure(value: float, unit: str) -> str:
    return size(int(value)) if unit == "bytes" else f"{value:,.0f}"


def _bar(value: float, highest: float) -> str:
    return "█" * round(value / highest * BAR_WIDTH) if highest > 0 else ""


def _change(old: float, new: float) -> str:
    return "" if old == 0 else f"{(new - old) / old:+.1%}"
