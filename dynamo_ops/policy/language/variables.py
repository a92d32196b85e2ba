"""The variables of the policy language: one row each, with type, scope, doc line and how it is computed.

A value comes from an attribute of the dataset (produced by plugins, ``Attribute``) or from a column that ``evaluate``
computes (``Column``; the recipes are in ``columns``). Third parties add attribute variables: an entry point of the
group ``dynamo_ops.policy_variables`` names an iterable of :class:`Variable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.metadata import entry_points

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.inventory.properties import PROPERTIES, Property

ENTRY_POINT_GROUP = "dynamo_ops.policy_variables"
NAME = re.compile(r"(?!(?:and|not|until|from|in|notin)$)[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?")
"""As in the grammar."""


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
    """A name that conditions may use. ``doc``: what it says; ``how``: from what it is computed.

    ``is_static``: the value cannot change while a cycle deletes. ``has_blanks``: its values may have blanks in them.
    """

    name: str
    type: Type
    scope: Scope
    doc: str
    source: Attribute | Column
    values: tuple[str, ...] = ()
    is_static: bool = True
    has_blanks: bool = False
    how: str = ""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the dataset attributes that the value is computed from."""
        return (self.source.name,) if isinstance(self.source, Attribute) else self.source.needs


DATASET_STATUS = ("UNKNOWN", "DELETED", "DEPRECATED", "INVALID", "PRODUCTION", "VALID", "IGNORED")
SITE_STATUS = ("READY", "WAITROOM", "MORGUE", "UNKNOWN")
STORAGE_TYPE = ("DISK", "MSS", "BUFFER", "UNKNOWN")
ON_TAPE = ("NONE", "PARTIAL", "FULL")


def _dataset(
    name: str, type_: Type, doc: str, how: str, source: Attribute | Column, values: tuple[str, ...] = ()
) -> Variable:
    return Variable(f"dataset.{name}", type_, Scope.DATASET, doc, source, values, how=how)


def _replica(name: str, type_: Type, doc: str, how: str, column: str, values: tuple[str, ...] = ()) -> Variable:
    """A value that the blocks which remain of a replica enter into: copy counts of the dataset too."""
    has_blanks = name == "replica.owners"
    return Variable(name, type_, Scope.REPLICA, doc, Column(column), values, False, has_blanks, how)


def _block(name: str, type_: Type, doc: str, how: str, column: str, *, is_static: bool = False) -> Variable:
    scope, has_blanks = Scope.BLOCK_REPLICA, name == "owner"
    return Variable(f"blockreplica.{name}", type_, scope, doc, Column(column), (), is_static, has_blanks, how)


def _site(name: str, type_: Type, scope: Scope, doc: str, how: str, column: str, *values: str) -> Variable:
    return Variable(name, type_, scope, doc, Column(column), values, how=how)


DATASETS = (
    _dataset("name", Type.TEXT, "Name of the dataset.", "The inventory's.", Column("dataset")),
    _dataset(
        "status",
        Type.ENUM,
        "Status of the dataset.",
        "As the metadata source told it last.",
        Column("dataset_status"),
        DATASET_STATUS,
    ),
    _dataset(
        "size",
        Type.NUMBER,
        "Bytes of all blocks of the dataset.",
        "Sum of the full sizes of its blocks, wherever they are; 0 without blocks.",
        Column("dataset_size_bytes"),
    ),
    _dataset(
        "last_update",
        Type.TIME,
        "When the dataset was last changed.",
        "As the metadata source told it; 1970 if it did not.",
        Column("dataset_last_update_at"),
    ),
    _dataset(
        "release",
        Type.TEXT,
        "Software release that made it; empty when not known.",
        "As the metadata source told it.",
        Column("software_release"),
    ),
    _dataset(
        "on_protected_site",
        Type.BOOLEAN,
        "A replica of the image is at a protected site.",
        "Some block replica of the dataset in the image is at a site of `detox.protected_sites` in the settings.",
        Column("on_protected_site"),
    ),
    _dataset(
        "last_access",
        Type.TIME,
        "When the dataset was last read.",
        "00:00 of the last aggregated day with an access, at any site; 1970 without any.",
        Attribute("last_access"),
    ),
    _dataset(
        "usage_rank",
        Type.NUMBER,
        "Days unused, less size; higher is less popular.",
        "Mean over its sites of days since the later of last access and last update there, less TB of the replica.",
        Attribute("usage_rank"),
    ),
    _dataset(
        "demand_rank",
        Type.NUMBER,
        "Rank by demand of queued jobs.",
        "No producer comes with Dynamo: a plugin must produce it.",
        Attribute("demand_rank"),
    ),
    _dataset(
        "tape_copy_requested",
        Type.BOOLEAN,
        "A copy to tape is requested.",
        "An open copy request (new or activated) names a site of storage type mss.",
        Attribute("tape_copy_requested"),
    ),
    _dataset(
        "is_latest_production_release",
        Type.BOOLEAN,
        "Made by the latest production release.",
        "Its release has the highest version of its software, among datasets that are valid or in production; "
        "SW_1_2_0_patch3 counts, SW_1_3_0_pre1 does not.",
        Attribute("latest_production_release"),
    ),
    _dataset(
        "unknown_in_all_dbs",
        Type.BOOLEAN,
        "No metadata source knows it.",
        "No producer comes with Dynamo, since a merge forgets nothing: a plugin must produce it.",
        Attribute("unknown_in_all_dbs"),
    ),
    _dataset(
        "unhandled_copy_exists",
        Type.BOOLEAN,
        "A copy request for it waits to be looked at.",
        "A copy request that no Dealer cycle has acted on yet (state new) names it.",
        Attribute("unhandled_copy_exists"),
    ),
    Variable(
        "replica.num_access",
        Type.NUMBER,
        Scope.DATASET,
        "Accesses of the dataset.",
        Attribute("num_access"),
        how="Sum over all aggregated days and all sites.",
    ),
)
"""Variables whose value is the dataset's, the same for all its replicas."""

OF_PROPERTIES = tuple(
    _dataset(
        declared.name,
        Type(declared.kind.value),
        declared.doc,
        "As the metadata source reported it.",
        Attribute(declared.name),
    )
    for declared in PROPERTIES
)
"""Variables of what ``inventory.properties`` declares."""

REPLICAS = (
    _replica(
        "dataset.on_tape",
        Type.ENUM,
        "FULL if a tape replica is full, else PARTIAL if there is one.",
        "From the replicas in the image: if the policy has no tape site in On it is always NONE.",
        "dataset_on_tape",
        ON_TAPE,
    ),
    _replica(
        "dataset.num_full_disk_copy",
        Type.NUMBER,
        "Full replicas at disk sites with status ready.",
        "Counted in the image; full: it has every block of the dataset, each complete.",
        "num_full_disk_copy",
    ),
    _replica(
        "dataset.num_full_copy",
        Type.NUMBER,
        "Full replicas at any site.",
        "Counted in the image, tape included if On has tape sites.",
        "num_full_copy",
    ),
    _replica(
        "replica.size",
        Type.NUMBER,
        "Bytes on disk of its block replicas.",
        "Sum over the block replicas that remain of the replica.",
        "replica_size_bytes",
    ),
    _replica(
        "replica.incomplete",
        Type.BOOLEAN,
        "Some block replica is incomplete.",
        "Of the block replicas that remain, one lacks files.",
        "is_incomplete",
    ),
    _replica(
        "replica.last_block_created",
        Type.TIME,
        "Newest update of its block replicas.",
        "Over the block replicas that remain.",
        "last_block_created_at",
    ),
    _replica(
        "replica.first_block_created",
        Type.TIME,
        "Oldest update of its block replicas.",
        "Over the block replicas that remain.",
        "first_block_created_at",
    ),
    Variable(
        "replica.last_used",
        Type.TIME,
        Scope.REPLICA,
        "Later of the dataset's last access and the newest block replica.",
        Column("last_used_at", needs=("last_access",)),
        is_static=False,
        how="The access may have been at any site.",
    ),
    _replica(
        "replica.num_full_disk_copy_common_owner",
        Type.NUMBER,
        "Full replicas at ready disk sites, this one included, that share an owner with this one.",
        "Counted in the image; an owner of any one block replica counts.",
        "num_full_disk_copy_common_owner",
    ),
    _replica(
        "replica.num_full_other_copy_common_owner",
        Type.NUMBER,
        "Full replicas on disk or tape, this one excluded, that share an owner with this one.",
        "Counted in the image; an owner of any one block replica counts.",
        "num_full_other_copy_common_owner",
    ),
    _replica(
        "replica.enforcer_protected",
        Type.BOOLEAN,
        "An enforcer rule needs this copy.",
        "A rule with protect: true takes it, and no more copies are left at its destinations than it asks for.",
        "enforcer_protected",
    ),
    _replica(
        "replica.owners",
        Type.TEXTS,
        "Groups that own its block replicas; None is the null group.",
        "Of the block replicas that remain. == and in: one of them is; != and notin: one of them is not.",
        "owners",
    ),
    _replica(
        "replica.has_locked_block",
        Type.BOOLEAN,
        "Some block replica is locked.",
        "An older way to write blockreplica.is_locked.",
        "has_locked_block",
    ),
)
"""Variables of a dataset replica, and counts of the dataset's copies in the image."""

BLOCK_REPLICAS = (
    _block("owner", Type.TEXT, "Group that owns it; None is the null group.", "The inventory's.", "owner"),
    _block(
        "last_update",
        Type.TIME,
        "When the block replica last changed.",
        "The inventory's; 1970 if it is not known.",
        "last_update_at",
        is_static=True,
    ),
    _block(
        "is_locked",
        Type.BOOLEAN,
        "A lock in force covers it.",
        "A lock's item matches dataset or block, its sites the site, its groups the owner at the start of the cycle.",
        "is_locked",
        is_static=True,
    ),
    _block(
        "is_last_transfer_source",
        Type.BOOLEAN,
        "Complete; the block is incomplete elsewhere, and no other complete replica is at a ready disk site.",
        "From the replicas in the image.",
        "is_last_transfer_source",
    ),
    _block(
        "num_full_disk_copy",
        Type.NUMBER,
        "Complete replicas of the block in the image.",
        "Tape sites and sites that are not ready count too, whatever the name says.",
        "block_num_full_disk_copy",
    ),
    _block(
        "on_tape",
        Type.BOOLEAN,
        "Complete, and a complete replica of the block is on tape.",
        "From the replicas in the image.",
        "block_on_tape",
    ),
    _block(
        "age_relative_to_newest",
        Type.NUMBER,
        "Days behind the newest block replica of the replica.",
        "Among the block replicas that remain of the replica.",
        "age_relative_to_newest",
    ),
)
"""Variables of a block replica; tried on a dataset replica, one of its blocks must fulfil the predicate."""

SITES = (
    _site("site.name", Type.TEXT, Scope.SITE, "Name of the site.", "The inventory's.", "site"),
    _site(
        "site.status",
        Type.ENUM,
        Scope.SITE,
        "Status of the site.",
        "As the site source told it.",
        "site_status",
        *SITE_STATUS,
    ),
    _site(
        "site.storage_type",
        Type.ENUM,
        Scope.SITE,
        "Kind of storage.",
        "As the site source told it; MSS is tape.",
        "storage_type",
        *STORAGE_TYPE,
    ),
    _site(
        "site.occupancy",
        Type.NUMBER,
        Scope.SITE_STATE,
        "Bytes on disk of the image / quota.",
        "Quota 0: infinite; negative: 0; no quota: unknown, and the condition false.",
        "occupancy",
    ),
    _site(
        "site.quota",
        Type.NUMBER,
        Scope.SITE_STATE,
        "Quota in bytes; negative is unlimited.",
        "Of the partition at the site: the sum over its leaves. Without a quota the condition is false.",
        "quota_bytes",
    ),
    _site("always", Type.BOOLEAN, Scope.SITE_STATE, "True.", "At any site.", "always"),
    _site("never", Type.BOOLEAN, Scope.SITE_STATE, "False.", "At any site.", "never"),
)
"""Variables of a site, and its state in a cycle."""

BUILT_IN = (*DATASETS, *OF_PROPERTIES, *REPLICAS, *BLOCK_REPLICAS, *SITES)

ALIASES = {
    "replica.is_last_transfer_source": "blockreplica.is_last_transfer_source",
    "replica.group_name": "replica.owners",
}
"""Old name → the variable it stands for."""

OLD_NAMES = {"replica.has_locked_block": "blockreplica.is_locked"}
"""Variable that only old policies use → what to write instead. (They differ under ``not``, and in Block lines.)"""


def by_name(variables: Iterable[Variable]) -> Mapping[str, Variable]:
    """Variables by name. PolicyError when two have the same name."""
    named: dict[str, Variable] = {}
    for variable in variables:
        if variable.name in named:
            raise PolicyError(f"two policy variables are called {variable.name}", variable=variable.name)
        named[variable.name] = variable
    return named


def check_properties(properties: Iterable[Property], variables: Iterable[Variable]) -> None:
    """PolicyError when a property has the name of an attribute that is computed: both would be read as one."""
    computed = {name for variable in variables for name in variable.attributes}
    if twice := sorted(computed.intersection(declared.name for declared in properties)):
        raise PolicyError(
            f"inventory/properties.py declares {', '.join(twice)}, which is an attribute that Dynamo computes: give it "
            "another name",
            names=twice,
        )


@cache
def known_variables() -> Mapping[str, Variable]:
    """All variables: ours and those of entry points."""
    check_properties(PROPERTIES, (*DATASETS, *REPLICAS, *BLOCK_REPLICAS, *SITES))
    added = [
        variable for point in entry_points(group=ENTRY_POINT_GROUP) for variable in _loaded(point.name, point.load())
    ]
    return by_name((*BUILT_IN, *added))


def _loaded(entry_point: str, variables: Iterable[Variable]) -> tuple[Variable, ...]:
    """What an entry point names, if it can be used. PolicyError says why not."""
    declared = tuple(variables)
    for variable in declared:
        wrong = _wrong(variable)
        if wrong:
            raise PolicyError(f"entry point {entry_point} of {ENTRY_POINT_GROUP}: {wrong}", entry_point=entry_point)
    return declared


def _wrong(variable: object) -> str | None:
    """Why a plugin's variable cannot be used; None if it can. Attributes of datasets are numbers, times or flags."""
    if not isinstance(variable, Variable):
        return f"{variable!r} is no Variable"
    if not NAME.fullmatch(variable.name) or variable.name in ALIASES:
        return f"{variable.name!r} cannot be the name of a variable"
    if not isinstance(variable.source, Attribute) or variable.scope is not Scope.DATASET:
        return f"{variable.name}: its source must be an Attribute and its scope Scope.DATASET"
    if variable.type not in (Type.NUMBER, Type.BOOLEAN, Type.TIME):
        return f"{variable.name}: an attribute is a number, a boolean or a time, not {variable.type.value}"
    return None
