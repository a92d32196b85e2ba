"""Why a replica was kept or deleted, on a terminal."""

from __future__ import annotations

from dynamo_ops.cli.terminal.cells import moment
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_table

COPIES = {
    "site": "site",
    "num_blocks": "blocks",
    "is_full": "full",
    "size_bytes": "size",
    "owners": "owners",
}
MARK = {True: "yes", False: "no "}


def show(explanation: Record) -> None:
    """Print the reasons first, then the lines as they were tried, the copies, and what would have to change."""
    plan, made_for = explanation["plan"], moment(explanation["now"])
    say(f"{explanation['dataset']} at {explanation['site']}", bold=True)
    say(f"{plan} of {explanation['partition']}, made for {made_for}; seen {explanation['moment']}\n")
    for reason in explanation["reasons"]:
        say(f"  {reason}")
    say("\nLines tried, in order:")
    for line in explanation["lines"]:
        _show_line(line)
    say()
    print_table(explanation["copies"], "Replicas in the image then", COPIES)
    if explanation["hints"]:
        say("What would have to change:")
        for hint in explanation["hints"]:
            say(f"  - {hint}")


def _show_line(line: Record) -> None:
    holds, number = line["holds"], line["number"]
    outcome = "not in force" if not line["in_force"] else "matches" if holds else "no"
    blocks = f": {len(line['blocks'])} block replicas" if holds and number else ""
    say(f"{number:>3}  {line['text']}  [{outcome}{blocks}]", bold=holds)
    for predicate in line["predicates"] if line["in_force"] else ():
        say(f"       {MARK[predicate['holds']]}  {predicate['text']}   (is {predicate['value']})")
