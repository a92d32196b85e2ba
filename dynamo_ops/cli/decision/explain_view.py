"""Why a replica was kept or deleted, on a terminal."""

from __future__ import annotations

from dynamo_ops.cli.terminal.cells import moment
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_table
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report.explain import Explanation, LineTrial

COPIES = {
    "site": "site",
    "num_blocks": "blocks",
    "is_full": "full",
    "size_bytes": "size",
    "owners": "owners",
}
MARK = {True: "yes", False: "no "}


def show(plan: PlanRecord, explanation: Explanation) -> None:
    """Print the reasons first, then the lines as they were tried, the copies, and what would have to change."""
    say(f"{explanation.dataset} at {explanation.site}", bold=True)
    say(f"{plan.name} of {plan.partition}, made for {moment(plan.now)}; seen {explanation.moment}\n")
    for reason in explanation.reasons:
        say(f"  {reason}")
    say("\nLines tried, in order:")
    for trial in explanation.trials:
        _show_line(trial)
    say()
    print_table(explanation.copies, "Replicas in the image then", COPIES)
    if explanation.hints:
        say("What would have to change:")
        for hint in explanation.hints:
            say(f"  - {hint}")


def _show_line(trial: LineTrial) -> None:
    outcome = "not in force" if not trial.in_force else "matches" if trial.holds else "no"
    blocks = f": {len(trial.blocks)} block replicas" if trial.holds and trial.number else ""
    say(f"{trial.number:>3}  {trial.text}  [{outcome}{blocks}]", bold=trial.holds)
    for predicate in trial.predicates if trial.in_force else ():
        say(f"       {MARK[predicate.holds]}  {predicate.text}   (is {predicate.value})")
