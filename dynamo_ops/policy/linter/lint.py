"""What a policy may say and yet probably does not mean: from the checked policy and what the inventory knows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dynamo_ops.base.glob import glob_matches
from dynamo_ops.base.regex import bounded
from dynamo_ops.base.text import near
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.policy.language.check import CheckedCondition, CheckedLine, CheckedPolicy, CheckedPredicate
from dynamo_ops.policy.language.regex import rust_regex
from dynamo_ops.policy.language.source import Position
from dynamo_ops.policy.language.variables import BUILT_IN, Scope, Type
from dynamo_ops.policy.linter.cover import Covers
from dynamo_ops.policy.linter.implication import POSITIVE, exclude_each_other, holds, is_always_true

Severity = Literal["warning", "note"]

CODES: dict[str, tuple[Severity, str]] = {
    "after-default": ("note", "A line stands below the default decision, but is tried before it."),
    "covered": ("warning", "A line can never match: an earlier line takes whatever it would match."),
    "contradiction": ("warning", "The conditions of a line exclude each other."),
    "expired": ("warning", "A line whose `until` has passed never matches again."),
    "never-triggered": ("note", "No When line can hold: dismissed data are always kept."),
    "no-disk": ("warning", "No On line takes a disk site."),
    "no-gap": ("warning", "When and Until have the same watermark: a site is triggered again at once."),
    "no-order": ("warning", "Without Order candidates are deleted by name."),
    "no-target": ("warning", "A line speaks of sites that no On line takes."),
    "not-yet": ("note", "A line whose `from` has not come does not match yet."),
    "old-name": ("note", "A variable is written by an old name."),
    "percent": ("warning", "An occupancy is a fraction of the quota: 90 % is 0.9."),
    "slow-regex": ("note", "A regular expression uses what only Python's engine knows; it may take long."),
    "tape-exposed": ("warning", "On takes tape sites, and no line sets them aside by the site alone."),
    "tape-not-ready": ("warning", "A line asks for copies on tape, and On takes tape sites that are not ready."),
    "tape-unseen": ("note", "A line asks for copies on tape, but On takes no tape site: they are not seen."),
    "unguarded-delete": ("warning", "A Delete line asks neither for a status nor for another copy."),
    "unknown-group": ("warning", "The inventory has no such group."),
    "unknown-partition": ("warning", "There is no such partition."),
    "unknown-site": ("warning", "The inventory has no such site."),
    "watermarks": ("warning", "Until may hold where When does: deletion would stop before it began."),
}
"""Every kind of finding: how serious it is, and what it says."""

ON_TAPE = frozenset({"dataset.on_tape", "blockreplica.on_tape"})
WITH_TAPE = ON_TAPE | {"dataset.num_full_copy", "replica.num_full_other_copy_common_owner"}
COPY_COUNTS = frozenset(
    {
        "dataset.num_full_disk_copy",
        "dataset.num_full_copy",
        "replica.num_full_disk_copy_common_owner",
        "replica.num_full_other_copy_common_owner",
        "blockreplica.num_full_disk_copy",
    }
)
STATES = ON_TAPE | {"dataset.status", "dataset.unknown_in_all_dbs", "site.status"}
OWNERS = frozenset({"blockreplica.owner", "replica.owners"})
OCCUPANCY = "site.occupancy"
NULL_GROUP = "None"
TOP_FRACTION = 2.0
"""An occupancy above this is taken for per cent: sites are never twice as full as they may be."""


class KnownSite(NamedTuple):
    """A site of the inventory: storage type and status in capitals."""

    name: str
    storage_type: str
    status: str


@dataclass(frozen=True, order=True)
class Finding:
    """One thing to look at, and where it stands."""

    line: int
    column: int
    code: str
    message: str

    @property
    def severity(self) -> Severity:
        """``warning``: probably a mistake. ``note``: worth knowing."""
        return CODES[self.code][0]


def lint(
    policy: CheckedPolicy,
    *,
    sites: Collection[KnownSite] | None = None,
    groups: Collection[str] | None = None,
    partitions: Collection[str] | None = None,
) -> tuple[Finding, ...]:
    """All findings, by line and column. What is None is not known, and names of its kind are not checked."""
    linter = _Linter(policy, sites)
    owners = None if groups is None else [*groups, NULL_GROUP]
    names = {"site.name": None if sites is None else [site.name for site in sites], **dict.fromkeys(OWNERS, owners)}
    findings = [Finding(remark.at.line, remark.at.column, remark.code, remark.message) for remark in policy.remarks]
    findings += linter.lines()
    findings += linter.targets()
    findings += linter.watermarks()
    findings += linter.tape()
    for predicate in _predicates(policy):
        findings += _unknown_names(predicate, names.get(predicate.variable.name))
    if partitions is not None and policy.partition is not None and policy.partition not in partitions:
        message = f"there is no partition {policy.partition!r}.{near(policy.partition, partitions)}"
        findings.append(Finding(*_partition_at(policy), "unknown-partition", message))
    return tuple(sorted(set(findings)))


class _Linter:
    """What is asked of one policy."""

    def __init__(self, policy: CheckedPolicy, sites: Collection[KnownSite] | None) -> None:
        self.policy = policy
        self.now = policy.now
        self.sites = sites

    def lines(self) -> Iterator[Finding]:
        covers = Covers(self.policy)
        for index, line in enumerate(self.policy.lines):
            assert line.condition is not None
            at = line.condition.predicates[0].at
            yield from self.line(line, line.condition, at)
            earlier = covers.covering(index)
            if self.excludes_itself(line, line.condition):
                yield _finding("contradiction", at, "no block replica can fulfil all of these conditions")
            elif self.is_off_target(line.condition):
                yield _finding("no-target", at, "no site that an On line takes can fulfil this")
            elif earlier is not None:
                message = f"can never match: line {earlier.source_line} of the file takes all of it ({earlier.text})"
                yield _finding("covered", at, message)

    def line(self, line: CheckedLine, condition: CheckedCondition, at: Position) -> Iterator[Finding]:
        window = condition.window
        if window and not condition.in_force:
            when = f"{window.moment:%Y-%m-%d %H:%M}"
            if window.kind == "until":
                yield _finding("expired", window.at, f"it ended at {when} and never matches again")
            else:
                yield _finding("not-yet", window.at, f"it matches nothing before {when}")
        if line.verb == "Delete" and not any(map(_is_guard, condition.predicates)):
            yield _finding("unguarded-delete", at, "deletes whatever the status is, and the last copy too")
        if self.policy.default.source_line < line.source_line:
            default = f"the default decision in line {self.policy.default.source_line} of the file"
            yield _finding("after-default", at, f"stands below {default}, but is tried before it")
        for predicate in condition.predicates:
            if predicate.operator in ("=~", "!=~") and rust_regex(str(predicate.values[0])) is None:
                yield _finding("slow-regex", predicate.at, "matched by Python's engine, one name after the other")

    def excludes_itself(self, line: CheckedLine, condition: CheckedCondition) -> bool:
        """In a line without Block each predicate may be fulfilled by another block; a replica may have many owners."""
        alone: list[CheckedPredicate] = []
        shared: list[CheckedPredicate] = []
        for predicate in condition.predicates:
            of_one_block = predicate.variable.scope is Scope.BLOCK_REPLICA and not line.is_block
            (alone if of_one_block or predicate.variable.type is Type.TEXTS else shared).append(predicate)
        return any(exclude_each_other(predicates, self.now) for predicates in (shared, *([p] for p in alone)))

    def is_off_target(self, condition: CheckedCondition) -> bool:
        here = [p for p in condition.predicates if p.variable.scope is Scope.SITE]
        return bool(here) and all(
            exclude_each_other([*on.predicates, *here], self.now)
            for on in self.policy.targets
            if not exclude_each_other(on.predicates, self.now)
        )

    def targets(self) -> Iterator[Finding]:
        for condition in self.policy.targets:
            if exclude_each_other(condition.predicates, self.now):
                yield _finding(
                    "contradiction", condition.predicates[0].at, "no site can fulfil all of these conditions"
                )
        at = self.policy.targets[0].predicates[0].at
        if self.sites is None and not self.may_take("DISK"):
            yield _finding("no-disk", at, "no On line takes a disk site")
        if self.sites is not None and not any(site.storage_type == "DISK" for site in self.taken(self.sites)):
            yield _finding("no-disk", at, "the On lines take no disk site of the inventory")

    def taken(self, sites: Collection[KnownSite]) -> list[KnownSite]:
        """Sites that an On line takes, or may take in another state of theirs."""
        conditions = [on.predicates for on in self.policy.targets if not exclude_each_other(on.predicates, self.now)]
        return [site for site in sites if any(all(_fulfils(site, p) for p in predicates) for predicates in conditions)]

    def may_take(self, storage_type: str) -> bool:
        """Whether an On line may take a site of this type, as far as the text says."""
        asked = _site_is("site.storage_type", storage_type)
        return any(not exclude_each_other([*on.predicates, asked], self.now) for on in self.policy.targets)

    def tape(self) -> Iterator[Finding]:
        sees_tape, takes_tape = self.may_take("MSS"), any(map(_names_tape, self.policy.targets))
        if self.sites is not None:
            sees_tape = takes_tape = any(site.storage_type == "MSS" for site in self.taken(self.sites))
        for predicate in _predicates(self.policy):
            name = predicate.variable.name
            if name in WITH_TAPE and not sees_tape:
                effect = "finds nothing there" if name in ON_TAPE else "counts no copy there"
                yield _finding("tape-unseen", predicate.at, f"no On line takes a tape site: {name} {effect}")
            elif name in ON_TAPE and self.takes_tape_that_is_not_ready():
                message = f"On takes tape sites that are not ready: {name} counts what nobody can read there"
                yield _finding("tape-not-ready", predicate.at, message)
        if takes_tape and not any(map(_sets_sites_aside, self.policy.lines)) and self.policy.default.verb != "Ignore":
            at = self.policy.targets[0].predicates[0].at
            message = "tape sites are targets; a line like 'Ignore site.storage_type == MSS' is missing"
            yield _finding("tape-exposed", at, message)

    def takes_tape_that_is_not_ready(self) -> bool:
        """An On line that names tape sites may take one in the waitroom, say."""
        others = [status.value.upper() for status in SiteStatus if status != SiteStatus.READY]
        not_ready = [_site_is("site.status", status) for status in others]
        on_tape = [on for on in self.policy.targets if _names_tape(on)]
        return any(not exclude_each_other([*on.predicates, asked], self.now) for on in on_tape for asked in not_ready)

    def watermarks(self) -> Iterator[Finding]:
        for condition in (*self.policy.triggers, *self.policy.stops):
            for predicate in _occupancies(condition):
                if any(isinstance(fraction, float) and fraction > TOP_FRACTION for fraction in predicate.values):
                    yield _finding("percent", predicate.at, "an occupancy is a fraction: 0.9 is 90 % of the quota")
        triggers = [c for c in self.policy.triggers if not exclude_each_other(c.predicates, self.now)]
        if not triggers:
            at = self.policy.triggers[0].predicates[0].at
            yield _finding("never-triggered", at, "no When line can hold: dismissed data are always kept")
        for stop in self.policy.stops:
            if all(map(is_always_true, stop.predicates)):
                yield _finding("watermarks", stop.predicates[0].at, "it always holds: dismissed data are always kept")
                continue
            for trigger in triggers:
                yield from self.pair(trigger, stop)

    def pair(self, trigger: CheckedCondition, stop: CheckedCondition) -> Iterator[Finding]:
        """One When and one Until that speak of the occupancy."""
        high, low = _occupancies(trigger), _occupancies(stop)
        if not high or not low:
            return
        other_predicates = [p for c in (trigger, stop) for p in c.predicates if p.variable.name != OCCUPANCY]
        if exclude_each_other(other_predicates, self.now):
            return
        if not exclude_each_other([*high, *low], self.now):
            message = f"it may hold where 'When {trigger.text}' does: deletion would stop before it began"
            yield _finding("watermarks", low[0].at, message)
        elif _limits(high, ">") & _limits(low, "<"):
            message = f"no gap to 'When {trigger.text}': the site is triggered again at once"
            yield _finding("no-gap", low[0].at, message)


def _finding(code: str, at: Position, message: str) -> Finding:
    return Finding(at.line, at.column, code, message)


def _predicates(policy: CheckedPolicy) -> Iterator[CheckedPredicate]:
    """Those of all conditions."""
    lines = (line.condition for line in policy.lines if line.condition)
    for condition in (*policy.targets, *policy.triggers, *policy.stops, *lines):
        yield from condition.predicates


def _unknown_names(predicate: CheckedPredicate, known_names: Collection[str] | None) -> Iterator[Finding]:
    """Names and globs that nothing known answers to; ``known_names`` None: not asked."""
    if known_names is None or predicate.operator in ("=~", "!=~"):
        return
    noun = "site" if predicate.variable.name == "site.name" else "group"
    for pattern in map(str, predicate.values):
        if not any(glob_matches(name, pattern) for name in known_names):
            message = f"the inventory has no {noun} {pattern!r}.{near(pattern, known_names)}"
            yield _finding(f"unknown-{noun}", predicate.at, message)


def _partition_at(policy: CheckedPolicy) -> tuple[int, int]:
    numbers = (n for n, line in enumerate(policy.source.lines, start=1) if line.split()[:1] == ["Partition"])
    number = next(numbers, 1)
    return number, 1


def _occupancies(condition: CheckedCondition) -> list[CheckedPredicate]:
    return [p for p in condition.predicates if p.variable.name == OCCUPANCY]


def _limits(predicates: Collection[CheckedPredicate], operator: str) -> set[object]:
    return {limit for p in predicates if p.operator == operator for limit in p.values}


def _names_tape(on: CheckedCondition) -> bool:
    """It asks for a storage type, and tape is one it takes."""
    return any(p.variable.name == "site.storage_type" and holds(p, "MSS") for p in on.predicates)


def _sets_sites_aside(line: CheckedLine) -> bool:
    """A line that keeps whole sites."""
    if line.verb not in ("Ignore", "Protect") or line.condition is None or line.condition.window is not None:
        return False
    return all(p.variable.scope is Scope.SITE for p in line.condition.predicates)


def _is_guard(predicate: CheckedPredicate) -> bool:
    """It asks for a state of the data, or for copies left."""
    if predicate.variable.name in COPY_COUNTS:
        return predicate.operator in (">", "==", "in")
    return predicate.variable.name in STATES and predicate.operator != "not"


def _site_is(name: str, value: str) -> CheckedPredicate:
    variable = next(variable for variable in BUILT_IN if variable.name == name)
    return CheckedPredicate(variable, "==", (value,), Position(1, 1), (value,))


def _fulfils(site: KnownSite, predicate: CheckedPredicate) -> bool:
    """Whether the site does, or may do so in another state of its occupancy."""
    name, operator = predicate.variable.name, predicate.operator
    if predicate.variable.scope is Scope.SITE_STATE:
        return True
    if name != "site.name":
        return holds(predicate, site.storage_type if name == "site.storage_type" else site.status)
    if operator in ("=~", "!=~"):
        try:
            return bool(bounded(str(predicate.values[0])).match(site.name)) is (operator == "=~")
        except ValueError:  # nothing for Python's engine
            return True
    return any(glob_matches(site.name, str(value)) for value in predicate.values) is (operator in POSITIVE)
