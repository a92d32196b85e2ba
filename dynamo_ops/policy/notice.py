"""What is to be said about the text of a policy: its errors, and what it says and probably does not mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.read import known_names
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy
from dynamo_ops.policy.language.source import SourceText, each_error
from dynamo_ops.policy.linter.lint import Finding, KnownSite, lint


@dataclass(frozen=True)
class Notice:
    """Something about a policy, at a place in its file; ``line`` None: about the file. ``severity``: error, warning or
    note."""

    file: str
    line: int | None
    column: int | None
    message: str
    severity: str
    code: str = ""


@dataclass(frozen=True)
class Names:
    """What names there are. None: not known, and why is among ``unchecked``."""

    sites: list[KnownSite] | None
    groups: list[str] | None
    partitions: list[str] | None
    unchecked: tuple[str, ...] = ()


def check_policy(source: SourceText, now: datetime) -> tuple[CheckedPolicy | None, list[Notice]]:
    """The policy, or all its errors."""
    try:
        return load_policy(source.text, now=now, file=source.file), []
    except PolicyError as error:
        return None, error_notices(source.file, error)


def error_notices(file: str, error: PolicyError) -> list[Notice]:
    """A notice for each error that ``error`` stands for."""
    return [_of_error(file, single) for single in each_error(error)]


def lint_policy(policy: CheckedPolicy, names: Names) -> list[Notice]:
    """What a policy says and probably does not mean."""
    findings = lint(policy, sites=names.sites, groups=names.groups, partitions=names.partitions)
    return [_of_finding(policy, finding) for finding in findings]


def names_of(database: Database, partitions: Sequence[str] | None, unchecked: tuple[str, ...] = ()) -> Names:
    """The names of an inventory, beside the partitions that are defined."""
    sites, groups = known_names(database)
    return Names(known_sites(sites), groups, None if partitions is None else list(partitions), unchecked)


def known_sites(frame: pl.DataFrame) -> list[KnownSite]:
    """Rows of site, storage_type, status, as the linter takes them."""
    return [KnownSite(name, kind.upper(), status.upper()) for name, kind, status in frame.iter_rows()]


def _of_error(file: str, error: PolicyError) -> Notice:
    line, column = error.facts.get("line"), error.facts.get("column")
    assert line is None or isinstance(line, int)
    assert column is None or isinstance(column, int)
    return Notice(file, line, column, error.message, "error")


def _of_finding(policy: CheckedPolicy, finding: Finding) -> Notice:
    file = policy.source.file
    message = f"{file}:{finding.line}:{finding.column}: {finding.severity}: {finding.message} [{finding.code}]"
    return Notice(file, finding.line, finding.column, message, finding.severity, finding.code)
