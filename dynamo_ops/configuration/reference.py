"""The page of all settings, made from their models: for ``dynamo config settings`` and docs/settings.md."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dynamo_ops.base.config_file import bytes_of, terabytes_of
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.units import written_size
from dynamo_ops.configuration.keep import KeepSettings
from dynamo_ops.configuration.pools import Pool
from dynamo_ops.consistency.settings import ConsistencySettings
from dynamo_ops.dealer.engine.config import DealerConfig, PluginConfig
from dynamo_ops.dealer.engine.placement import PatternSettings, RuleConfig
from dynamo_ops.dealer.plugins.balancer import BalancerSettings
from dynamo_ops.dealer.plugins.enforcer import EnforcerSettings
from dynamo_ops.dealer.plugins.group_reassign import GroupReassignSettings
from dynamo_ops.dealer.plugins.popularity import PopularitySettings
from dynamo_ops.dealer.plugins.requests import RequestsSettings
from dynamo_ops.dealer.plugins.undertaker import UndertakerSettings
from dynamo_ops.event.settings import EventSettings
from dynamo_ops.inventory.doubt.settings import DamageSettings
from dynamo_ops.policy.language.enforcement import RulesFile
from dynamo_ops.quality.thresholds import Gates

INTRODUCTION = """\
# Settings

Made by `dynamo config settings --markdown`; do not edit by hand. What the files are for is in
[operating.md](operating.md#settings); `dynamo config check` says what is wrong in them. A key of `dynamo.yaml` has a
variable too: `fts.url` is `DYNAMO_FTS__URL`. `<name>` in a key stands for a name of your own, `[]` for each entry of a
list. A size is written with its unit, `500 GB` or `1.5 PB`, decimal (1 TB is 10^12 bytes); a number without one is
bytes or TB, as the type says. Options of sources are in [sources.md](sources.md), partitions and policies in
[policy-language.md](policy-language.md).
"""
PLACES = frozenset({"home", "config_dir", "policy_dir", "db_url"})
"""Settings that ``dynamo.toml`` or a variable says: docs/operating.md, The home."""
DEALER_PLUGINS: Mapping[str, type[BaseModel]] = {
    "balancer": BalancerSettings,
    "enforcer": EnforcerSettings,
    "groupreassign": GroupReassignSettings,
    "popularity": PopularitySettings,
    "requests": RequestsSettings,
    "undertaker": UndertakerSettings,
}
"""Ours, by entry point; those of others say their settings themselves."""
FILES: Mapping[str, tuple[tuple[str, type[BaseModel]], ...]] = {
    "dynamo.yaml": (("", Settings), ("events", EventSettings), ("damage", DamageSettings), ("keep", KeepSettings)),
    "gates.yaml": (("", Gates),),
    "consistency.yaml": (("", ConsistencySettings),),
    "dealer/<partition>.yaml": (
        ("", DealerConfig),
        ("placement[]", RuleConfig),
        ("placement[]", PatternSettings),
        ("plugins.<plugin>", PluginConfig),
        *((f"plugins.{name}", model) for name, model in DEALER_PLUGINS.items()),
    ),
    "enforcer/<partition>.yaml": (("", RulesFile),),
    "pools.json": (("<pool>", Pool),),
}
"""By file, the models of what stands at which key."""
UNITS = {
    "_per_s": "1/s",
    "_s": "s",
    "_h": "h",
    "_days": "days",
    "_tb": "TB",
    "_bytes": "bytes",
    "_fraction": "fraction",
}
"""What the end of a name says."""
PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.:@-]*")
"""Texts that need no quotes."""
SIZES: Mapping[object, str] = {bytes_of: "size, or bytes", terabytes_of: "size, or TB"}
COLUMNS = ("key", "type", "default", "unit", "meaning")


@dataclass(frozen=True)
class Setting:
    """One setting. ``default``: as it is written; empty where it must be set, or where its parts are listed."""

    file: str
    key: str
    type: str
    default: str
    unit: str
    meaning: str


def all_settings() -> list[Setting]:
    """Every setting of every file, in the order of files and models."""
    return [
        setting for file, parts in FILES.items() for below, model in parts for setting in _settings(file, below, model)
    ]


def markdown() -> str:
    """The page docs/settings.md."""
    parts = [INTRODUCTION]
    for file in FILES:
        lines = [_line(setting) for setting in all_settings() if setting.file == file]
        parts.append("\n".join([f"## {file}\n", _row(COLUMNS), _row(["---"] * len(COLUMNS)), *lines]))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _line(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else ""
    return _row([f"`{setting.key}`", setting.type, default, setting.unit, setting.meaning])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _settings(file: str, below: str, model: type[BaseModel]) -> Iterator[Setting]:
    """The settings of a model; those of models in it follow the key that has them."""
    meanings = field_docs(model)
    for name, field in model.model_fields.items():
        if model is Settings and name in PLACES:
            continue
        key = f"{below}.{name}" if below else name
        inner = list(_inner(field.annotation))
        listed = {part for _, part in inner if _is_listed(part, model, name)}
        if any(not end for end, _ in inner):
            yield Setting(file, key, "section", "", "", meanings.get(name) or _meaning(inner[0][1]))
        else:
            default = "" if field.is_required() else _default(field)
            keys = "".join(f" with {', '.join(part.model_fields)}" for part in listed)
            yield Setting(file, key, _type(field) + keys, default, _unit(name, field), meanings.get(name, ""))
        for end, part in inner:
            if part not in listed:
                yield from _settings(file, f"{key}{end}", part)


def _is_listed(part: type[BaseModel], model: type[BaseModel], name: str) -> bool:
    """Whether the settings of ``part`` stand elsewhere in ``model``: what differs by site or policy."""
    others = [field.annotation for other, field in model.model_fields.items() if other != name]
    return issubclass(model, part) or any(part is annotation for annotation in others)


def _meaning(model: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").split()).replace("``", "`")


def _inner(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """(what is appended to the key, model) for the models within a type; a mapping is keyed by a name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation is not PluginConfig:
            yield "", annotation
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    end = "[]" if origin in (list, tuple) else ".<name>" if origin in (dict, Mapping) or _is_mapping(origin) else ""
    for argument in arguments:
        for deeper, model in _inner(argument):
            yield f"{end}{deeper}", model


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _type(field: FieldInfo) -> str:
    """The type and its bounds, in words."""
    words = _size_words(field.metadata) or _words(field.annotation)
    bounds = [
        text
        for constraint in field.metadata
        for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if (bound := getattr(constraint, attribute, None)) is not None
        for text in (f"{sign} {bound:g}",)
    ]
    return ", ".join([words, *bounds])


WORDS: Mapping[Any, str] = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    timedelta: "duration (ISO 8601)",
    Any: "anything",
    NoneType: "null",
}


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(argument) for argument in arguments))
    if origin in (list, tuple, frozenset, set):
        return f"list of {_words(arguments[0])}"
    if _is_mapping(origin):
        return f"mapping of {_words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(str(member.value) for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    if hasattr(annotation, "__metadata__"):
        return _size_words(annotation.__metadata__) or _words(arguments[0])
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _size_words(metadata: Iterable[object]) -> str:
    """What a size is called, whose bare numbers are bytes or TB; empty where it is none."""
    readers = [getattr(constraint, "func", None) for constraint in metadata]
    return next((words for reader, words in SIZES.items() if reader in readers), "")


def _unit(name: str, field: FieldInfo) -> str:
    if not any(kind in (int, float) for kind in (field.annotation, *get_args(field.annotation))):
        return ""
    if name.startswith("bytes_") or "_bytes_" in name:
        return UNITS["_bytes"]
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if bytes_of in [getattr(constraint, "func", None) for constraint in field.metadata]:
        return written_size(default)
    return _written(default)


def _written(default: Any) -> str:
    """A default as it is written in YAML."""
    if default is None:
        return "null"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, timedelta):
        return _duration(default)
    if isinstance(default, int):
        return str(default)
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, BaseModel):
        own = ((name, getattr(default, name)) for name in default.model_fields_set)
        return "{" + ", ".join(f"{name}: {_written(part)}" for name, part in sorted(own)) + "}"
    if isinstance(default, Mapping):
        return "{" + ", ".join(f"{name}: {_written(part)}" for name, part in default.items()) + "}"
    if isinstance(default, list | tuple | set | frozenset):
        entries = sorted(default) if isinstance(default, set | frozenset) else default
        return f"[{', '.join(map(_written, entries))}]"
    text = str(default)
    return text if PLAIN.fullmatch(text) else json.dumps(text)


def _duration(span: timedelta) -> str:
    """``P2D``, ``PT5M``."""
    minutes = (span - timedelta(days=span.days)) // timedelta(minutes=1)
    return (f"P{span.days}D" if span.days else "P") + (f"T{minutes}M" if minutes else "")


@cache
def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstring below each field of a model, those of its bases among them, on one line."""
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.__module__.startswith("dynamo_ops."):
            docs |= _docs_in(textwrap.dedent(inspect.getsource(base)))
    return docs


def _docs_in(source: str) -> dict[str, str]:
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        is_doc = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_doc:
            docs[field.target.id] = " ".join(str(below.value.value).split())  # type: ignore[attr-defined]
    return docs
