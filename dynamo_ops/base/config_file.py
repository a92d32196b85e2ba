"""A file of the configuration: what it may say, how it is read, and each of its faults in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from dynamo_ops.base.errors import Fault, SettingsError
from dynamo_ops.base.installation import MARKER
from dynamo_ops.base.text import near
from dynamo_ops.base.units import TB, parse_size

SECRET = ("url", "header", "secret", "token", "password", "key", "credential", "storage_options", "storages", "webhook")
"""Words in the name of a setting whose value no message repeats: it goes into logs, mails and chats."""

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of all configuration models: an unknown key is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True)


NO_SITE_NAME = frozenset(" \t,;|#")
"""What no name of a site has: a pattern with one of these would match none."""


def _names_sites(glob: str) -> str:
    if not glob or glob.startswith("!") or NO_SITE_NAME & {*glob}:
        raise ValueError(f"{glob!r} matches no site: write one name or glob a key")
    return glob


SiteGlob = Annotated[str, AfterValidator(_names_sites)]
"""A key of ``sites``: a name, or a glob of names."""


def of_site(default: Model, sites: Mapping[str, BaseModel], site: str) -> Model:
    """``default`` with what the entries of ``sites`` (by glob) say of a site: only what they set; later ones win."""
    from dynamo_ops.base.glob import glob_matches  # it needs Polars; who only reads settings does not

    changes: dict[str, Any] = {}
    for glob, own in sites.items():
        if glob_matches(site, glob):
            changes |= {name: getattr(own, name) for name in own.model_fields_set}
    return default.model_copy(update=changes)


def unmatched(file: str, key: str, sites: Iterable[str], site_names: Collection[str]) -> list[Fault]:
    """A fault for each entry of ``sites`` (names and globs, at ``key`` of ``file``) that matches none of the sites."""
    from dynamo_ops.base.glob import glob_matches

    return [
        Fault(
            file,
            f"{key}.{glob}",
            f"matches no site of the inventory; mend the name, or take the entry out.{near(glob, site_names)}",
        )
        for glob in sites
        if not any(glob_matches(name, glob) for name in site_names)
    ]


def read_config(path: Path, model: type[Model]) -> Model:
    """One configuration file as ``model``. Raises SettingsError naming file, key and reason of every fault."""
    try:
        return model.model_validate(read_yaml(path))
    except ValidationError as error:
        raise SettingsError.of(faults_of(error, model, str(path))) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping."""
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: file not found; set DYNAMO_CONFIG_DIR, or config in {MARKER}, to the folder that has it",
            file=str(path),
            key="",
            reason="file not found",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(
            f"{path}: cannot be read as YAML: {error}", file=str(path), key="", reason=str(error)
        ) from error
    if not isinstance(values, dict):
        raise SettingsError(
            f"{path}: expected 'key: value' lines, got a {type(values).__name__}",
            file=str(path),
            key="",
            reason="not a mapping",
        )
    return values


def faults_of(error: ValidationError, model: type[BaseModel], file: str, *, below: str = "") -> list[Fault]:
    """What pydantic has against the settings of ``model``, in words that say what to do; secrets are not repeated.

    ``below``: the key under which they stand in ``file``.
    """
    return [
        Fault(file, ".".join(filter(None, (below, _key(fault["loc"])))), _reason(fault, model))
        for fault in error.errors()
    ]


def read_section(model: type[Model], section: Mapping[str, Any], file: Path, below: str) -> Model:
    """The settings that stand under one key of a file that was read. Raises SettingsError that names each fault."""
    try:
        return model.model_validate(section)
    except ValidationError as error:
        raise SettingsError.of(faults_of(error, model, str(file), below=below)) from None


def _key(place: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in place if part != "[key]")


def _reason(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    if fault["type"] != "extra_forbidden":
        return str(fault["msg"]).removeprefix("Value error, ") + given(fault)
    *place, name = fault["loc"]
    names = sorted({known for one in _models_at(model, place) for known in one.model_fields})
    hint = near(str(name), names) or f" Known: {', '.join(names) or 'none'}"
    return f"there is no such setting.{hint}"


def _models_at(model: type[BaseModel], place: Sequence[int | str]) -> list[type[BaseModel]]:
    """The models that stand at ``place`` below a model; keys of mappings and numbers in lists lead no deeper."""
    models = [model]
    for part in place:
        fields = [one.model_fields[part].annotation for one in models if part in one.model_fields]
        models = [inner for field in fields for inner in _models_in(field)] if fields else models
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def given(fault: Mapping[str, Any]) -> str:
    """The value of a fault of pydantic's, as the end of a message; empty where it may be, or hold, a secret."""
    entry = fault["input"]
    key = ".".join(str(part) for part in fault["loc"]).lower()
    is_plain = isinstance(entry, str | int | float | None) and fault["type"] not in ("missing", "extra_forbidden")
    is_secret = any(word in key for word in SECRET) or (isinstance(entry, str) and "://" in entry)
    return f", got {entry!r}" if is_plain and not is_secret else ""


def bytes_of(size: object) -> object:
    """A size of a setting in bytes: texts are read, everything else is as it was."""
    return parse_size(size) if isinstance(size, str) else size


def terabytes_of(size: object) -> object:
    """A size of a setting in TB: texts with a unit are read; a number is TB, as a text too (from a variable)."""
    return parse_size(size) / TB if isinstance(size, str) and not _is_number(size) else size


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


Bytes = Annotated[int, BeforeValidator(bytes_of)]
"""A setting in bytes: ``500 TB``, or a number of bytes."""
Terabytes = Annotated[float, BeforeValidator(terabytes_of)]
"""A setting in TB (10^12 bytes): ``500 GB``, or a number of TB."""
