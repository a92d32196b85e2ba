"""``dynamo policy``: check, lint and test policies; look variables up. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say, write
from dynamo_ops.cli.terminal.tables import Record, Records, print_json
from dynamo_ops.cli.terminal.way import Way, check_core

if TYPE_CHECKING:
    from dynamo_ops.cli.here import policy as policies
else:
    policies = Way("policy")

app = typer.Typer(no_args_is_help=True, help="Policies: check, lint, test; which variables there are.")
Files = Annotated[list[str] | None, typer.Argument(help="Policy files, or names of policies; all, if left out.")]
TestFiles = Annotated[
    list[str] | None, typer.Argument(help="Files NAME.test.yaml, or names of policies; all, if left out.")
]
COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@app.command()
def check(files: Files = None, as_json: AsJson = False) -> None:
    """Whether FILEs are policies: every error of all of them, with its place. Exit code 2 if there is one."""
    read = policies.checked(files or [])
    errors = _notices(read)
    if as_json:
        print_json([{fact: error[fact] for fact in error if fact != "code"} for error in errors])
    else:
        for policy in read:
            _tell(policy["notices"])
            if policy["num_lines"] is not None:
                partition = policy["partition"] or "not named"
                say(f"{policy['file']}: OK, {policy['num_lines']} policy lines, partition {partition}")
    if errors:
        raise typer.Exit(2)


@app.command("lint")
def lint_(
    files: Files = None,
    inventory: Annotated[
        Path | None, typer.Option(help="Folder in the golden format, instead of the inventory database.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What FILEs say and probably do not mean. Exit code 1 if there are warnings, 2 if there are errors."""
    linted = policies.linted(files or [], inventory)
    notices = _notices(linted["policies"])
    if as_json:
        print_json(notices)
    else:
        for text in linted["unchecked"]:
            say(text, colour="cyan")
        _tell(notices)
        say(f"{len(linted['policies'])} policies: {_count(notices)}")
    severities = {notice["severity"] for notice in notices}
    if severities & {"error", "warning"}:
        raise typer.Exit(2 if "error" in severities else 1)


@app.command()
def variables(
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/policy-variables.md.")] = False,
) -> None:
    """All variables: type, operators, values, needed attributes, and how they are computed."""
    if as_markdown:
        write(policies.variables_page())
        return
    descriptions = policies.variables()
    if as_json:
        print_json(descriptions)
        return
    for description in descriptions:
        allowed = f": {' '.join(description['values'])}" if description["values"] else ""
        needs = f"; needs the attribute {', '.join(description['attributes'])}" if description["attributes"] else ""
        say(f"{description['name']}  ({description['type']}{allowed}; of a {description['scope']}{needs})", bold=True)
        say(f"    {description['doc']} {description['how']}")


@app.command("test")
def run_tests(
    files: TestFiles = None,
    as_json: AsJson = False,
) -> None:
    """Run the tests of policies: given facts, expected decision and line. Exit code 1 if one fails."""
    check_core()
    from dynamo_ops.cli.here.policy import tested  # files of this machine, whatever server is meant

    ran = tested(files or [])
    if as_json:
        print_json([_outcome(file["file"], test) for file in ran for test in file["tests"]])
    else:
        for file in ran:
            _tell_tests(file)
    if any(test["failures"] for file in ran for test in file["tests"]):
        raise typer.Exit(1)


def _notices(read: Records) -> list[Record]:
    """Errors first, then what else is to be said, each in the order of the files."""
    notices = [notice for policy in read for notice in policy["notices"]]
    return sorted(notices, key=lambda notice: notice["severity"] != "error")


def _tell(notices: Iterable[Record]) -> None:
    for notice in notices:
        say(notice["message"], colour=COLOURS[notice["severity"]])


def _count(notices: Iterable[Record]) -> str:
    said = [notice["severity"] for notice in notices]
    numbers = {kind: said.count(kind) for kind in COLOURS}
    return ", ".join(f"{number} {kind}{'' if number == 1 else 's'}" for kind, number in numbers.items())


def _outcome(file: str, test: Record) -> Record:
    return {"file": file, "test": test["name"], "passed": not test["failures"], "failures": test["failures"]}


def _tell_tests(file: Record) -> None:
    failed = [test for test in file["tests"] if test["failures"]]
    for test in failed:
        say(f"{file['file']}: FAILED: {test['name']}", colour="red")
        for failure in test["failures"]:
            say(f"    {failure}")
    say(f"{file['file']}: {len(file['tests']) - len(failed)} of {len(file['tests'])} tests pass")
    for line in file["untested"]:
        say(f"    no test for: {line}", colour="yellow")
