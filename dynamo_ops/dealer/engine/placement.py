"""Placement rules: which copies may go to which sites. The type of a rule is a plugin.

A rule is a class named by an entry point of the group ``dynamo_ops.placement_rules``. It is asked once a cycle, about
all proposed (dataset, owner) pairs; a site is allowed where no rule forbids it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.glob import texts_expr
from dynamo_ops.base.text import near
from dynamo_ops.dealer.engine.config import DealerConfig, checked_settings
from dynamo_ops.dealer.engine.site import Flags, Ints, matches_patterns
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.policy.evaluation.dataset import matching_datasets
from dynamo_ops.quality.thresholds import ATTRIBUTE_MAX_AGE

ENTRY_POINT_GROUP = "dynamo_ops.placement_rules"
FORBIDDEN: Schema = {"placement": pl.Int64, "site_id": pl.Int64, "rule": pl.String}


@dataclass(frozen=True)
class Restriction:
    """These copies may only go to these sites. ``applies``: one boolean per row of the pairs that were asked about;
    ``site_ids``: where they may go; ``text``: what people are told."""

    applies: pl.Series
    site_ids: pl.Series
    text: str


class PlacementRule(Protocol):
    """Restricts copies. Made with its own settings; ``key`` names it in errors. Raises SettingsError."""

    def __init__(self, settings: Mapping[str, Any], *, key: str) -> None: ...

    def restrict(
        self, frames: InventoryFrames, pairs: pl.DataFrame, *, now: datetime, attribute_max_age: timedelta
    ) -> Sequence[Restriction]:
        """What the rule forbids to ``pairs`` (dataset_id, group_id: the owner of the copy, null the null group).

        Attributes of datasets that are older than ``attribute_max_age`` are no ground: PlanError.
        """
        ...


class PatternSettings(BaseModel):
    """Copies of some datasets, for some groups, only at some sites."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    condition: str | None = None
    """On `dataset` variables; without it all datasets."""
    groups: tuple[str, ...] = ()
    """Names or globs of owners; empty: all."""
    sites: tuple[str, ...] = ()
    """Names or globs of sites where they may go; `!glob` excludes, the last that matches wins; empty: all."""
    storage_types: tuple[str, ...] = ()
    """Types of storage where they may go (disk, mss, …); empty: all."""

    @model_validator(mode="after")
    def _forbids_something(self) -> PatternSettings:
        if not self.sites and not self.storage_types:
            raise ValueError("expected sites or storage_types: a rule without both forbids nothing")
        return self


class PatternRule:
    """Type ``patterns``: copies of some datasets, for some groups, only at some sites."""

    def __init__(self, settings: Mapping[str, Any], *, key: str) -> None:
        self.key = key
        self.settings = checked_settings(PatternSettings, settings, file="", below=key)

    def restrict(
        self, frames: InventoryFrames, pairs: pl.DataFrame, *, now: datetime, attribute_max_age: timedelta
    ) -> Sequence[Restriction]:
        """One restriction: of the pairs that the rule is for, to the sites that it names."""
        settings = self.settings
        applies = pl.lit(True)
        if settings.condition:
            datasets = matching_datasets(
                frames, settings.condition, now=now, max_age=attribute_max_age, file=f"{self.key}.condition"
            )
            applies &= pl.col("dataset_id").is_in(datasets.implode())
        if settings.groups:
            groups = frames.groups.filter(texts_expr(list(settings.groups), pl.col("group")))["group_id"]
            applies &= pl.col("group_id").is_in(groups.implode()).fill_null(False)
        sites = frames.sites
        if settings.sites:
            named = [matches_patterns(name, settings.sites) for name in sites["site"]]
            sites = sites.filter(pl.Series(named, dtype=pl.Boolean))
        if settings.storage_types:
            sites = sites.filter(
                pl.col("storage_type").str.to_lowercase().is_in([t.lower() for t in settings.storage_types])
            )
        flags = pairs.select(pl.repeat(True, pl.len()) & applies).to_series()
        return [Restriction(flags, sites["site_id"], f"{self.key}: {self._text()}")]

    def _text(self) -> str:
        settings = self.settings
        who = [settings.condition or "", f"for {' '.join(settings.groups)}" if settings.groups else ""]
        where = [" ".join(settings.sites), " ".join(settings.storage_types)]
        return f"{' '.join(filter(None, who)) or 'all'} only at {', '.join(filter(None, where))}"


class RuleConfig(BaseModel):
    """One rule: its type, and its own settings, which it checks itself."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(default="patterns")
    """An entry point of `dynamo_ops.placement_rules`."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is the rule's own."""
        return dict(self.model_extra or {})


def load_rule_type(name: str, key: str) -> type[PlacementRule]:
    """The rule class that the entry point ``name`` names. SettingsError when none is installed."""
    installed = entry_points(group=ENTRY_POINT_GROUP)
    for point in installed:
        if point.name == name:
            return cast(type[PlacementRule], point.load())
    reason = f"no placement rule type is called {name!r}.{near(name, [point.name for point in installed])}"
    raise SettingsError(f"{key}.type: {reason}", file="", key=f"{key}.type", reason=reason)


def make_rules(config: DealerConfig) -> list[PlacementRule]:
    """The rules of a configuration. SettingsError names the key of what is wrong."""
    with config.named():
        return [make_rule(number, rule_settings) for number, rule_settings in enumerate(config.placement)]


def make_rule(number: int, settings: Mapping[str, Any]) -> PlacementRule:
    """One rule, by its place in ``placement``. SettingsError names the key of what is wrong."""
    key = f"placement.{number}"
    rule = checked_settings(RuleConfig, settings, file="", below=key)
    return load_rule_type(rule.type, key)(rule.settings, key=key)


@dataclass(frozen=True)
class Placement:
    """Where copies may go. ``class_of``: one class a pair asked about; ``allowed``: class × site (by name);
    ``forbidden``: by class and site that is not allowed, the first rule that forbids it (``FORBIDDEN``)."""

    class_of: pl.Series
    allowed: Flags
    forbidden: pl.DataFrame


def load_placement(
    frames: InventoryFrames,
    config: DealerConfig,
    pairs: pl.DataFrame,
    site_ids: Ints,
    *,
    now: datetime,
    attribute_max_age: timedelta = ATTRIBUTE_MAX_AGE,
) -> Placement:
    """What the rules of ``config`` say of ``pairs`` (dataset_id, group_id) and the sites, in this order."""
    restrictions = [
        restriction
        for rule in make_rules(config)
        for restriction in rule.restrict(frames, pairs, now=now, attribute_max_age=attribute_max_age)
    ]
    if not restrictions or pairs.is_empty():
        none = pl.Series("placement", np.zeros(pairs.height, dtype=np.int64))
        return Placement(none, np.ones((1, len(site_ids)), dtype=np.bool_), pl.DataFrame(schema=dict(FORBIDDEN)))
    applies = np.array([r.applies.to_numpy() for r in restrictions], dtype=np.bool_).T
    classes, class_of = np.unique(applies, axis=0, return_inverse=True)
    named = np.array([np.isin(site_ids, r.site_ids.to_numpy()) for r in restrictions])
    allowed = np.array([named[restricted].all(axis=0) for restricted in classes], dtype=np.bool_)
    barred_places = [
        (number, int(site_ids[at_site]), _first_that_forbids(restrictions, of, named[:, at_site]))
        for number, of in enumerate(classes)
        for at_site in np.flatnonzero(~allowed[number])
    ]
    forbidden = pl.DataFrame(barred_places, schema=dict(FORBIDDEN), orient="row")
    return Placement(pl.Series("placement", class_of.astype(np.int64).ravel()), allowed, forbidden)


def _first_that_forbids(restrictions: Sequence[Restriction], applies: Flags, names_site: Flags) -> str:
    return restrictions[int(np.flatnonzero(applies & ~names_site)[0])].text
