"""The facts and expectations of a policy test, as they stand in ``NAME.test.yaml``. Unknown keys are errors.

A fact that is left out is the usual thing: a ready disk site of 100 TB, a valid dataset of one block of 1 TB, a
complete replica that is 30 days old.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dynamo_ops.base.config_file import Bytes, Strict, read_config
from dynamo_ops.base.times import parse_time
from dynamo_ops.base.units import TB
from dynamo_ops.policy.language.variables import known_variables

EXPECTED = re.compile(
    r"(?P<decision>delete|keep|protect|ignore|reowned)"
    r"(?: of (?P<dataset>[^\s#]+)(?:#(?P<block>\S+))?)?(?: at (?P<site>\S+))? by (?P<line>\S.*)"
)
NOWHERE = re.compile(r"outside(?: of (?P<dataset>[^\s#]+)(?:#(?P<block>\S+))?)?(?: at (?P<site>\S+))?")

Decision = Literal["delete", "keep", "protect", "ignore", "reowned", "outside"]


def _quota(given: object) -> object:
    return {"unlimited": -1, "unknown": None}.get(given, given) if isinstance(given, str) else given


def _time(given: object) -> object:
    """A date of YAML, or a phrase of the policy language."""
    text = given.isoformat() if isinstance(given, date) else given
    if not isinstance(text, str):
        raise ValueError("expected a time like '40 days ago' or 2026-03-01")
    parse_time(text)
    return text


def _age(given: object) -> object:
    if not isinstance(given, str):
        raise ValueError("expected an age like '10 days'")
    parse_time(f"{given} ago")
    return given


def _moment(moment: object) -> object:
    """A moment in UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return datetime(moment.year, moment.month, moment.day, tzinfo=UTC) if isinstance(moment, date) else moment


def _owner(given: object) -> object:
    return None if given == "None" else given


Quota = Annotated[Bytes | None, BeforeValidator(_quota)]
Time = Annotated[str, BeforeValidator(_time)]
Age = Annotated[str, BeforeValidator(_age)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Owner = Annotated[str | None, BeforeValidator(_owner)]


class SiteFacts(Strict):
    """A site. ``quota`` of the policy's partition: a size, ``unlimited`` or ``unknown``; ``occupancy`` instead of it:
    the quota is chosen so that the site is so full."""

    storage_type: Literal["disk", "mss", "buffer", "unknown"] = "disk"
    status: Literal["ready", "waitroom", "morgue", "unknown"] = "ready"
    quota: Quota = 100 * TB
    occupancy: float | None = Field(None, gt=0)


class BlockReplicaFacts(Strict):
    """What differs, for one block, from the replica that it is part of. A null owner is the null group."""

    owner: Owner = None
    age: Age | None = None
    incomplete: bool | None = None
    locked: bool | None = None


class ReplicaFacts(Strict):
    """A dataset replica. ``owner``: the file's ``owner`` if left out, the null group if null. ``age``: since its blocks
    were last updated. ``blocks``: those that are there (all if left out), or what differs for some of them."""

    owner: Owner = None
    age: Age = "30 days"
    incomplete: bool = False
    locked: bool = False
    growing: bool = False
    blocks: list[str] | dict[str, BlockReplicaFacts] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {} if given is None else {"age": given} if isinstance(given, str) else given

    def facts_of(self, block: str) -> Mapping[str, Any]:
        """Of one block: owner (only if given), age, incomplete, locked."""
        own = self.model_dump(include={"age", "incomplete", "locked"})
        own |= {"owner": self.owner} if "owner" in self.model_fields_set else {}
        special = self.blocks.get(block) if isinstance(self.blocks, dict) else None
        return own | (special.model_dump(include=special.model_fields_set) if special else {})

    def has(self, block: str) -> bool:
        """Whether the block is there."""
        return not isinstance(self.blocks, list) or block in self.blocks


class DatasetFacts(Strict):
    """A dataset. ``blocks``: how many (named b1, b2, …), or their names and sizes. ``size``: of each numbered block.

    Attributes of datasets stand beside the other keys under their own names: usage_rank, last_access, …
    """

    status: str = "valid"
    release: str = ""
    updated: Time = "100 days ago"
    open: bool = False
    blocks: Annotated[int, Field(ge=0, le=10_000)] | dict[str, Bytes] = 1
    size: Bytes = TB
    attributes: dict[str, bool | float | Time] = Field(default_factory=dict)
    replicas: dict[str, ReplicaFacts] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        named = {key: fact for key, fact in given.items() if key in known_attributes()}
        rest = {key: fact for key, fact in given.items() if key not in named}
        if isinstance(rest.get("replicas"), list):
            rest["replicas"] = {site: {} for site in rest["replicas"]}
        return {**rest, "attributes": {**rest.get("attributes", {}), **named}} if named else rest

    @property
    def block_sizes(self) -> Mapping[str, int]:
        """Full size in bytes by name of block."""
        if isinstance(self.blocks, dict):
            return self.blocks
        return {f"b{number}": self.size for number in range(1, self.blocks + 1)}


class Expectation(Strict):
    """What is expected of some block replicas: those of the dataset, block and site that are named, or of all.

    Written ``protect of /A/B/C at T2_X by Protect blockreplica.is_locked``: the line is a policy line's text, or its
    beginning as far as no other line begins so. ``outside``: not a block replica that the policy decides on.
    """

    decision: Decision
    dataset: str | None = None
    block: str | None = None
    site: str | None = None
    line: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        decided = EXPECTED.fullmatch(given) if isinstance(given, str) else None
        nowhere = NOWHERE.fullmatch(given) if isinstance(given, str) else None
        if not decided and not nowhere:
            raise ValueError("expected text like 'protect of /A/B/C at T2_X by Protect blockreplica.is_locked'")
        return decided.groupdict() if decided else {"decision": "outside", **(nowhere.groupdict() if nowhere else {})}


class Example(Strict):
    """One test. Its ``sites`` and ``groups`` come on top of the file's."""

    name: str
    now: Moment | None = None
    sites: dict[str, SiteFacts] = Field(default_factory=dict)
    datasets: dict[str, DatasetFacts] = Field(min_length=1)
    expect: list[Expectation] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("expect"), str):
            return {**given, "expect": [given["expect"]]}
        return given


class Examples(Strict):
    """A file of tests of one policy.

    ``policy``: its file, beside this one; left out, ``NAME.test.yaml`` tests ``NAME.txt``. ``partition``: for a policy
    that names none. ``partitions``: name → definition; left out, those of the installation. ``owner``: of replicas that
    name none; ``groups``: ownership level by name. ``enforcer``: rules as in ``enforcer/<partition>.yaml``.
    """

    policy: str | None = None
    partition: str | None = None
    partitions: dict[str, str] | None = None
    now: Moment = datetime(2026, 1, 15, tzinfo=UTC)
    owner: Owner = None
    groups: dict[str, Literal["dataset", "block"]] = Field(default_factory=dict)
    sites: dict[str, SiteFacts] = Field(default_factory=dict)
    protected_sites: list[str] = Field(default_factory=list)
    enforcer: dict[str, Any] = Field(default_factory=dict)
    tests: list[Example] = Field(min_length=1)


def read_examples(file: Path) -> Examples:
    """The tests of a file. SettingsError names file, key and reason of every fault."""
    return read_config(file, Examples)


def known_attributes() -> dict[str, str]:
    """Attribute of datasets → the variable that asks for it first, by name of the variables."""
    variable_of: dict[str, str] = {}
    for name, variable in sorted(known_variables().items()):
        for attribute in variable.attributes:
            variable_of.setdefault(attribute, name)
    return variable_of
