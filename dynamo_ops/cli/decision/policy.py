"""``dynamo policy``: check, lint and test policies; look variables up. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamo_ops.base.errors import DynamoError, PolicyError, SettingsError
from dynamo_ops.base.settings import Settings, settings
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say, write
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.database.connect import running
from dynamo_ops.detox.testing.run import (
    SUFFIX,
    Outcome,
    PolicyTest,
    lines_without_test,
    read_policy_test,
    run_policy_test,
)
from dynamo_ops.inventory.folder import read_folder
from dynamo_ops.policy.files import PARTITIONS_FILE
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy
from dynamo_ops.policy.language.reference import describe, markdown
from dynamo_ops.policy.language.source import SourceText, read_source
from dynamo_ops.policy.language.variables import known_variables
from dynamo_ops.policy.notice import Names, Notice, check_policy, error_notices, known_sites, lint_policy, names_of
from dynamo_ops.policy.partition import load_partitions

app = typer.Typer(no_args_is_help=True, help="Policies: check, lint, test; which variables there are.")
Files = Annotated[list[str] | None, typer.Argument(help="Policy files, or names of policies; all, if left out.")]
TestFiles = Annotated[
    list[str] | None, typer.Argument(help=f"Files NAME{SUFFIX}, or names of policies; all, if left out.")
]
COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@app.command()
def check(files: Files = None, as_json: AsJson = False) -> None:
    """Whether FILEs are policies: every error of all of them, with its place. Exit code 2 if there is one."""
    read = [_checked(file) for file in _policies(files)]
    errors = [error for _, faults in read for error in faults]
    if as_json:
        print_json([_record(error, "code") for error in errors])
    else:
        for policy, faults in read:
            for error in faults:
                say(error.message, colour=COLOURS[error.severity])
            if policy:
                partition = policy.partition or "not named"
                say(f"{policy.source.file}: OK, {len(policy.lines)} policy lines, partition {partition}")
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
    read = [_checked(file) for file in _policies(files)]
    names = _known_names(settings(), inventory)
    notices = [error for _, errors in read for error in errors]
    for policy, _ in read:
        if policy:
            notices += lint_policy(policy, names)
    if as_json:
        print_json([_record(notice) for notice in notices])
    else:
        for text in names.unchecked:
            say(text, colour="cyan")
        for notice in notices:
            say(notice.message, colour=COLOURS[notice.severity])
        say(f"{len(read)} policies: {_count(notices)}")
    severities = {notice.severity for notice in notices}
    if severities & {"error", "warning"}:
        raise typer.Exit(2 if "error" in severities else 1)


@app.command()
def variables(
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/policy-variables.md.")] = False,
) -> None:
    """All variables: type, operators, values, needed attributes, and how they are computed."""
    all_variables = known_variables().values()
    if as_markdown:
        write(markdown(all_variables))
        return
    descriptions = [describe(variable) for variable in all_variables]
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
    tests = [read_policy_test(file, _partitions(settings())) for file in _files(files, SUFFIX)]
    runs = [(test, run_policy_test(test)) for test in tests]
    if as_json:
        print_json([_outcome(test, outcome) for test, outcomes in runs for outcome in outcomes])
    else:
        for test, outcomes in runs:
            _tell(test, outcomes)
    if any(outcome.failures for _, outcomes in runs for outcome in outcomes):
        raise typer.Exit(1)


def _policies(names: Sequence[str] | None) -> list[Path]:
    return _files(names, ".txt")


def _files(names: Sequence[str] | None, suffix: str) -> list[Path]:
    """The named files (a name alone is a policy of the installation), or all of the installation."""
    folder = settings().policy_dir
    if names:
        named = [Path(name) for name in names]
        return [file if file.suffix or file.exists() else folder / f"{file}{suffix}" for file in named]
    files = sorted(folder.glob(f"*{suffix}"))
    if not files:
        reason = f"there is no *{suffix} in it"
        raise SettingsError(f"{folder}: {reason}", file=str(folder), key="policy_dir", reason=reason)
    return files


def _checked(file: Path) -> tuple[CheckedPolicy | None, list[Notice]]:
    """The policy, or all its errors."""
    try:
        return check_policy(read_source(file), datetime.now(UTC))
    except PolicyError as error:
        return None, error_notices(str(file), error)


def _record(notice: Notice, *without: str) -> dict[str, Any]:
    return {name: fact for name, fact in asdict(notice).items() if name not in without}


def _count(notices: Sequence[Notice]) -> str:
    numbers = {kind: sum(notice.severity == kind for notice in notices) for kind in COLOURS}
    return ", ".join(f"{number} {kind}{'' if number == 1 else 's'}" for kind, number in numbers.items())


def _known_names(of: Settings, folder: Path | None) -> Names:
    """From the folder, or from the inventory's database if it answers; one that is not running is not started."""
    partitions, why = _partition_names(of)
    if folder is not None:
        read = read_folder(folder)
        if read.partitions_text:
            defined = load_partitions(read.partitions_text, now=read.now, file=str(folder / PARTITIONS_FILE))
            partitions, why = [*defined.conditions, *defined.unions], ()
        sites = known_sites(read.frames.sites.select("site", "storage_type", "status"))
        return Names(sites, read.frames.groups["group"].to_list(), partitions, why)
    try:
        database = running(of)
        if database is None:
            return Names(None, None, partitions, (*why, "sites and groups are not checked: no database is running"))
        return names_of(database, partitions, why)
    except DynamoError as error:
        return Names(None, None, partitions, (*why, f"sites and groups are not checked: {error}"))


def _partitions(of: Settings) -> SourceText | None:
    file = of.config_dir / PARTITIONS_FILE
    return read_source(file) if file.exists() else None


def _partition_names(of: Settings) -> tuple[list[str] | None, tuple[str, ...]]:
    source = _partitions(of)
    if source is None:
        return None, (f"partitions are not checked: {of.config_dir / PARTITIONS_FILE} is not there",)
    defined = load_partitions(source.text, now=datetime.now(UTC), file=source.file)
    return [*defined.conditions, *defined.unions], ()


def _outcome(test: PolicyTest, outcome: Outcome) -> dict[str, Any]:
    return {
        "file": str(test.file),
        "test": outcome.name,
        "passed": not outcome.failures,
        "failures": list(outcome.failures),
    }


def _tell(test: PolicyTest, outcomes: Sequence[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.failures]
    for outcome in failed:
        say(f"{test.file}: FAILED: {outcome.name}", colour="red")
        for failure in outcome.failures:
            say(f"    {failure}")
    say(f"{test.file}: {len(outcomes) - len(failed)} of {len(outcomes)} tests pass")
    policy = load_policy(test.policy.text, now=test.examples.now, file=test.policy.file)
    for line in lines_without_test(policy, outcomes):
        say(f"    no test for: {line}", colour="yellow")
