"""Configuration of one Dealer cycle, read from YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from dynamo_ops.base.config_file import Terabytes, faults_of
from dynamo_ops.base.errors import SettingsError
from dynamo_ops.policy.language.source import SourceText

M = TypeVar("M", bound=BaseModel)


class PluginConfig(BaseModel):
    """One plugin: its priority and its own settings, which it checks itself."""

    model_config = ConfigDict(extra="allow", frozen=True)

    priority: int = Field(default=1, ge=0)
    """Small goes first; 0 excludes all above 0."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is the plugin's own."""
        return dict(self.model_extra or {})


class DealerConfig(BaseModel):
    """What a cycle of the Dealer may do (docs/dealer.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str = Field(validation_alias=AliasChoices("partition", "partition_name"))
    """The partition whose quotas count; the file is named after it."""
    group: str = Field(validation_alias=AliasChoices("group", "group_name"))
    """Owner of copies whose plugin names none."""
    target_sites: tuple[str, ...] = Field(min_length=1)
    """Names or globs of sites; `!glob` excludes, the last that matches wins."""
    target_site_occupancy: float = Field(gt=0)
    """A site above this share of its quota (projected) gets nothing."""
    max_site_pending_fraction: float = Field(ge=0)
    """Nor one that still waits for more than this share of its quota."""
    max_total_cycle_volume: Terabytes = Field(gt=0)
    """Of the copies that one cycle accepts; the one that passes it is the last."""
    placement: tuple[Mapping[str, Any], ...] = ()
    """Rules where copies may go, each with its type and settings."""
    plugins: Mapping[str, PluginConfig] = Field(min_length=1)
    """Which plugins propose copies, each with its priority and its own settings."""
    detox_policy: str | None = None
    """The partition whose last Detox cycle plugins work on; without it, the own one."""
    _source: SourceText = PrivateAttr(SourceText("<dealer>", ""))

    @property
    def source(self) -> SourceText:
        """The text that it was read from, with the file that errors name."""
        return self._source

    def check_partition(self, partition: str) -> None:
        """Raises SettingsError when it is the configuration of another partition."""
        if self.partition != partition:
            reason = f"{self.source.file} is for partition {self.partition!r}, not for {partition!r}"
            raise SettingsError(reason, file=self.source.file, key="partition", reason=reason)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Within, an error of the settings of plugins and rules, which do not know their file, names it."""
        try:
            yield
        except SettingsError as error:
            if error.facts.get("file"):
                raise
            raise SettingsError.of([replace(fault, file=self.source.file) for fault in error.all_faults()]) from error


def load_config(text: str, *, file: str = "<dealer>") -> DealerConfig:
    """The configuration of a YAML (or JSON) text. SettingsError names file, key and reason."""
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not YAML: {error}", file=file, key="", reason=str(error)) from error
    if not isinstance(settings, dict):
        raise SettingsError(f"{file}: expected a mapping", file=file, key="", reason="expected a mapping")
    config = checked_settings(DealerConfig, settings, file=file)
    config._source = SourceText(file, text)
    return config


def checked_settings(model: type[M], settings: Mapping[str, Any], *, file: str, below: str = "") -> M:
    """``settings`` as a model; all that is wrong in one SettingsError, whose facts are those of the first.

    ``below``: the key under which they stand. ``file`` empty: not known here, see ``DealerConfig.named``.
    """
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        raise SettingsError.of(faults_of(error, model, file, below=below)) from error
