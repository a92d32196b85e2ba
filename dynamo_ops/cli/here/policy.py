"""The installation's policies: checked, linted, tested; the variables that they may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dynamo_ops.base.errors import DynamoError, PolicyError, SettingsError
from dynamo_ops.base.settings import Settings, settings
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.database.connect import running
from dynamo_ops.inventory.folder import read_folder
from dynamo_ops.policy.files import PARTITIONS_FILE
from dynamo_ops.policy.language import reference
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy
from dynamo_ops.policy.language.source import SourceText, read_source
from dynamo_ops.policy.language.variables import known_variables
from dynamo_ops.policy.notice import Names, Notice, check_policy, error_notices, known_sites, lint_policy, names_of
from dynamo_ops.policy.partition import load_partitions


def checked(names: Sequence[str]) -> Records:
    """Each policy: ``file``, ``partition``, ``num_lines`` (None where it is none), ``notices``: all its errors.
    ``names``: of files, or of policies; all, if there are none."""
    return [_record(*one) for one in _read(names)]


def linted(names: Sequence[str], inventory: Path | None) -> Record:
    """``policies`` as of ``checked``, with what they say and probably do not mean; ``unchecked``: what is not known to
    say more. ``inventory``: a folder in the golden format, instead of the database."""
    read = _read(names)
    known = _known_names(settings(), inventory)
    said = [_record(file, policy, lint_policy(policy, known) if policy else errors) for file, policy, errors in read]
    return {"policies": said, "unchecked": list(known.unchecked)}


def variables() -> Records:
    """All variables, as they are explained."""
    return [reference.describe(variable) for variable in known_variables().values()]


def variables_page() -> str:
    """The same in Markdown."""
    return reference.markdown(known_variables().values())


def tested(names: Sequence[str]) -> Records:
    """Each file of tests: ``file``, ``tests`` (``name``, ``failures``), ``untested``: lines of the policy that no test
    reaches."""
    from dynamo_ops.detox.testing.run import SUFFIX, lines_without_test, read_policy_test, run_policy_test

    tests = [read_policy_test(file, _partitions(settings())) for file in _files(names, SUFFIX)]
    answer = []
    for test in tests:
        outcomes = run_policy_test(test)
        policy = load_policy(test.policy.text, now=test.examples.now, file=test.policy.file)
        ran = [{"name": outcome.name, "failures": list(outcome.failures)} for outcome in outcomes]
        untested = [str(line) for line in lines_without_test(policy, outcomes)]
        answer.append({"file": str(test.file), "tests": ran, "untested": untested})
    return answer


def _files(names: Sequence[str], suffix: str) -> list[Path]:
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


def _read(names: Sequence[str]) -> list[tuple[str, CheckedPolicy | None, list[Notice]]]:
    return [(str(file), *_checked(file)) for file in _files(names, ".txt")]


def _checked(file: Path) -> tuple[CheckedPolicy | None, list[Notice]]:
    """The policy, or all its errors."""
    try:
        return check_policy(read_source(file), datetime.now(UTC))
    except PolicyError as error:
        return None, error_notices(str(file), error)


def _record(file: str, policy: CheckedPolicy | None, notices: Sequence[Notice]) -> dict[str, Any]:
    return {
        "file": file,
        "partition": policy.partition if policy else None,
        "num_lines": len(policy.lines) if policy else None,
        "notices": [asdict(notice) for notice in notices],
    }


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
