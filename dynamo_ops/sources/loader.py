"""From settings to sources: the entry point named by ``type``, built with its own checked options."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import SourceSettings, Tls, given
from dynamo_ops.base.text import near
from dynamo_ops.sources.source import MetadataSource, SiteSource

METADATA_GROUP = "dynamo_ops.metadata_sources"
SITE_GROUP = "dynamo_ops.site_sources"

Options = TypeVar("Options", bound=BaseModel)


def metadata_source(source: SourceSettings, tls: Tls) -> MetadataSource:
    """The metadata source of these settings. Raises SettingsError for an unknown type or a wrong option."""
    return cast(MetadataSource, load(METADATA_GROUP, source, tls))


def site_source(source: SourceSettings, tls: Tls) -> SiteSource:
    """The site source of these settings. Raises SettingsError for an unknown type or a wrong option."""
    return cast(SiteSource, load(SITE_GROUP, source, tls))


def load(group: str, source: SourceSettings, tls: Tls) -> object:
    """The plugin ``source.type`` of an entry point group, called with (settings, tls)."""
    plugins = {point.name: point for point in entry_points(group=group)}
    if source.type not in plugins:
        types = ", ".join(sorted(plugins)) or "none"
        raise SettingsError(
            f"source {source.name!r}: no plugin of type {source.type!r} in {group}; there are {types}."
            f"{near(source.type, plugins)}",
            file="",
            key=f"{source.name}.type",
            reason="unknown type",
        )
    plugin = cast(Callable[[SourceSettings, Tls], object], plugins[source.type].load())
    return plugin(source, tls)


def parse_options(source: SourceSettings, model: type[Options]) -> Options:
    """The options of ``source`` as ``model``. Raises SettingsError naming source, key and reason of each fault."""
    try:
        return model.model_validate(source.options)
    except ValidationError as error:
        faults = error.errors()
        lines = [f"source {source.name!r}: options.{_key(fault)}: {fault['msg']}{given(fault)}" for fault in faults]
        raise SettingsError(
            "\n".join(lines), file="", source=source.name, key=f"options.{_key(faults[0])}", reason=faults[0]["msg"]
        ) from None  # it repeats the options whole, secrets too


def _key(fault: Any) -> str:
    return ".".join(str(part) for part in fault["loc"])
