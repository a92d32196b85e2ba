"""From settings to sources: the entry point named by ``type``, built with its own checked options."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError

from dynamo_ops.base.config_file import faults_of
from dynamo_ops.base.errors import Fault, SettingsError
from dynamo_ops.base.settings import SourceSettings, Tls
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
        reason = f"no plugin of type {source.type!r} in {group}; there are {types}.{near(source.type, plugins)}"
        raise SettingsError(
            f"source {source.name!r}: {reason}",
            file="",
            key=f"{source.name}.type",
            reason="unknown type",
            faults=(Fault("", "type", reason),),
        )
    plugin = cast(Callable[[SourceSettings, Tls], object], plugins[source.type].load())
    return plugin(source, tls)


def parse_options(source: SourceSettings, model: type[Options]) -> Options:
    """The options of ``source`` as ``model``. Raises SettingsError naming source, key and reason of each fault."""
    try:
        return model.model_validate(source.options)
    except ValidationError as error:
        faults = tuple(faults_of(error, model, "", below="options"))
        raise SettingsError(
            "\n".join(f"source {source.name!r}: {fault}" for fault in faults),
            file="",
            source=source.name,
            key=faults[0].key,
            reason=faults[0].reason,
            faults=faults,
        ) from None  # it repeats the options whole, secrets too
