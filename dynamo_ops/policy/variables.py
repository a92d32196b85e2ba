"""The variables of the policy language: one row each, with type, scope, doc line and how it is computed.

A value comes from an attribute of the dataset (produced by plugins, ``Attribute``) or from a column that ``evaluate``
computes (``Column``; the recipes are in ``columns``). Third parties add attribute variables: an entry point of the
group ``dynamo_ops.policy_variables`` names an iterable of :class:`Variable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.metadata import entry_points

from dynamo_ops.errors import PolicyError

ENTRY_POINT_GROUP = "dynamo_ops.policy_variables"


class Type(Enum):
    """What a variable's value is; decides which operators and values are allowed."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ENUM = "enum"
    TIME = "time"
    TEXTS = "set of texts"


class Scope(Enum):
    """Of what a variable speaks; decides where it is allowed and how it is reduced."""

    DATASET = "dataset"
    REPLICA = "replica"
    BLOCK_REPLICA = "blockreplica"
    SITE = "site"
    SITE_STATE = "site state"


@dataclass(frozen=True)
class Attribute:
    """The dataset's attribute of this name. No value for a dataset: 0, or false, or 1970."""

    name: str


@dataclass(frozen=True)
class Column:
    """A column that evaluation computes. ``needs``: attributes it is computed from."""

    name: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """A name that conditions may use. ``is_static``: the value cannot change while a cycle deletes."""

    name: str
    type: Type
    scope: Scope
    doc: str
    source: Attribute | Column
    values: tuple[str, ...] = ()
    is_static: bool = True
    has_blanks: bool = False

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the dataset attributes that the value is computed from."""
        return (self.source.name,) if isinstance(self.source, Attribute) else self.source.needs


DATASET_STATUS = ("UNKNOWN", "DELETED", "DEPRECATED", "INVALID", "PRODUCTION", "VALID", "IGNORED")
SITE_STATUS = ("READY", "WAITROOM", "MORGUE", "UNKNOWN")
STORAGE_TYPE = ("DISK", "MSS", "BUFFER", "UNKNOWN")
ON_TAPE = ("NONE", "PARTIAL", "FULL")


def _dataset(name: str, type_: Type, doc: str, source: Attribute | Column, values: tuple[str, ...] = ()) -> Variable:
    return Variable(f"dataset.{name}", type_, Scope.DATASET, doc, source, values)


def _copies(name: str, type_: Type, doc: str, column: str, values: tuple[str, ...] = ()) -> Variable:
    scope = Scope.REPLICA
    return Variable(name, type_, scope, doc, Column(column), values, is_static=False)


def _replica(name: str, type_: Type, doc: str, column: str) -> Variable:
    return Variable(
        f"replica.{name}", type_, Scope.REPLICA, doc, Column(column), is_static=False, has_blanks=name == "owners"
    )


def _block(name: str, type_: Type, doc: str, column: str, *, is_static: bool = False) -> Variable:
    has_blanks = name == "owner"
    return Variable(f"blockreplica.{name}", type_, Scope.BLOCK_REPLICA, doc, Column(column), (), is_static, has_blanks)


BUILT_IN = (
    _dataset("name", Type.TEXT, "Name of the dataset.", Column("dataset")),
    _dataset("status", Type.ENUM, "Status of the dataset.", Column("dataset_status"), DATASET_STATUS),
    _dataset("size", Type.NUMBER, "Bytes of all blocks of the dataset.", Column("dataset_size_bytes")),
    _dataset("last_update", Type.TIME, "When the dataset was last changed.", Column("dataset_last_update_at")),
    _dataset("release", Type.TEXT, "Software release that made it; empty when not known.", Column("software_release")),
    _dataset(
        "on_protected_site", Type.BOOLEAN, "A replica of the image is at a protected site.", Column("on_protected_site")
    ),
    _dataset("last_access", Type.TIME, "When the dataset was last read.", Attribute("last_access")),
    _dataset("usage_rank", Type.NUMBER, "Days unused, less size; higher is less popular.", Attribute("usage_rank")),
    _dataset("demand_rank", Type.NUMBER, "Rank by demand of queued jobs.", Attribute("demand_rank")),
    _dataset("tape_copy_requested", Type.BOOLEAN, "A copy to tape is requested.", Attribute("tape_copy_requested")),
    _dataset(
        "is_latest_production_release",
        Type.BOOLEAN,
        "Made by the latest production release.",
        Attribute("latest_production_release"),
    ),
    _dataset("unknown_in_all_dbs", Type.BOOLEAN, "No metadata source knows it.", Attribute("unknown_in_all_dbs")),
    _dataset(
        "unhandled_copy_exists", Type.BOOLEAN, "An open copy request names it.", Attribute("unhandled_copy_exists")
    ),
    _copies(
        "dataset.on_tape",
        Type.ENUM,
        "FULL if a tape replica is full, else PARTIAL if there is one.",
        "dataset_on_tape",
        ON_TAPE,
    ),
    _copies(
        "dataset.num_full_disk_copy",
        Type.NUMBER,
        "Full replicas at disk sites with status ready.",
        "num_full_disk_copy",
    ),
    _copies("dataset.num_full_copy", Type.NUMBER, "Full replicas at any site.", "num_full_copy"),
    _replica("size", Type.NUMBER, "Bytes on disk of its block replicas.", "replica_size_bytes"),
    _replica("incomplete", Type.BOOLEAN, "Some block replica is incomplete.", "is_incomplete"),
    _replica("last_block_created", Type.TIME, "Newest update of its block replicas.", "last_block_created_at"),
    _replica("first_block_created", Type.TIME, "Oldest update of its block replicas.", "first_block_created_at"),
    Variable(
        "replica.last_used",
        Type.TIME,
        Scope.REPLICA,
        "Later of the dataset's last access and the newest block replica.",
        Column("last_used_at", needs=("last_access",)),
        is_static=False,
    ),
    Variable("replica.num_access", Type.NUMBER, Scope.DATASET, "Accesses of the dataset.", Attribute("num_access")),
    _copies(
        "replica.num_full_disk_copy_common_owner",
        Type.NUMBER,
        "Full replicas at ready disk sites, this one included, that share an owner with this one.",
        "num_full_disk_copy_common_owner",
    ),
    _copies(
        "replica.num_full_other_copy_common_owner",
        Type.NUMBER,
        "Full replicas on disk or tape, this one excluded, that share an owner with this one.",
        "num_full_other_copy_common_owner",
    ),
    _replica("enforcer_protected", Type.BOOLEAN, "An enforcer rule needs this copy.", "enforcer_protected"),
    _replica("owners", Type.TEXTS, "Groups that own its block replicas; None is the null group.", "owners"),
    _replica("has_locked_block", Type.BOOLEAN, "Some block replica is locked.", "has_locked_block"),
    _block("owner", Type.TEXT, "Group that owns it; None is the null group.", "owner"),
    _block("last_update", Type.TIME, "When the block replica last changed.", "last_update_at", is_static=True),
    _block("is_locked", Type.BOOLEAN, "A lock in force covers it.", "is_locked", is_static=True),
    _block(
        "is_last_transfer_source",
        Type.BOOLEAN,
        "Complete; the block is incomplete elsewhere, and no other complete replica is at a ready disk site.",
        "is_last_transfer_source",
    ),
    _block(
        "num_full_disk_copy", Type.NUMBER, "Complete replicas of the block in the image.", "block_num_full_disk_copy"
    ),
    _block("on_tape", Type.BOOLEAN, "Complete, and a complete replica of the block is on tape.", "block_on_tape"),
    _block(
        "age_relative_to_newest",
        Type.NUMBER,
        "Days behind the newest block replica of the replica.",
        "age_relative_to_newest",
    ),
    Variable("site.name", Type.TEXT, Scope.SITE, "Name of the site.", Column("site")),
    Variable("site.status", Type.ENUM, Scope.SITE, "Status of the site.", Column("site_status"), SITE_STATUS),
    Variable("site.storage_type", Type.ENUM, Scope.SITE, "Kind of storage.", Column("storage_type"), STORAGE_TYPE),
    Variable(
        "site.occupancy", Type.NUMBER, Scope.SITE_STATE, "Bytes on disk of the image / quota.", Column("occupancy")
    ),
    Variable(
        "site.quota", Type.NUMBER, Scope.SITE_STATE, "Quota in bytes; negative is unlimited.", Column("quota_bytes")
    ),
    Variable("always", Type.BOOLEAN, Scope.SITE_STATE, "True.", Column("always")),
    Variable("never", Type.BOOLEAN, Scope.SITE_STATE, "False.", Column("never")),
)

ALIASES = {
    "replica.is_last_transfer_source": "blockreplica.is_last_transfer_source",
    "replica.group_name": "replica.owners",
}


def by_name(variables: Iterable[Variable]) -> Mapping[str, Variable]:
    """Variables by name. PolicyError when two have the same name."""
    known: dict[str, Variable] = {}
    for variable in variables:
        if variable.name in known:
            raise PolicyError(f"two policy variables are called {variable.name}", variable=variable.name)
        known[variable.name] = variable
    return known


@cache
def known_variables() -> Mapping[str, Variable]:
    """All variables: ours and those of entry points."""
    added = [
        variable for point in entry_points(group=ENTRY_POINT_GROUP) for variable in _loaded(point.name, point.load())
    ]
    return by_name((*BUILT_IN, *added))


def _loaded(name: str, variables: Iterable[Variable]) -> tuple[Variable, ...]:
    found = tuple(variables)
    for variable in found:
        if not isinstance(variable, Variable) or not isinstance(variable.source, Attribute):
            raise PolicyError(
                f"entry point {name} must name policy variables with an Attribute source", entry_point=name
            )
    return found
