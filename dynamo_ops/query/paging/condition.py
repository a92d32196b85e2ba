"""Names and globs as conditions on an indexed column: LIKE where it can say it, else a regular expression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import glob_like, glob_regex_sql, is_glob, like_literal, literal_start
from dynamo_ops.base.text import near
from dynamo_ops.base.times import moment_before


@dataclass
class Conditions:
    """What rows must satisfy, joined by AND, with the parameters of all."""

    parts: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)

    def add(self, sql: str, **params: Any) -> None:
        """One more condition. ``sql`` names its parameters as ``:name``; no two conditions share one."""
        assert not self.params.keys() & params.keys(), params
        self.parts.append(sql)
        self.params |= params

    def add_any(self, column: str, values: Iterable[object], name: str) -> None:
        """``column`` is one of ``values``; without any nothing is asked. ``name``: of the parameter."""
        if listed := list(values):
            self.add(f"{column} = ANY(:{name})", **{name: listed})

    def add_names(self, column: str, patterns: Sequence[str], name: str) -> None:
        """``column`` is one of ``patterns``, names or globs (``name_condition``); without any nothing is asked."""
        if patterns:
            condition, params = name_condition(column, patterns, name)
            self.add(condition, **params)

    @property
    def sql(self) -> str:
        """All of them; true without any."""
        return " AND ".join(f"({part})" for part in self.parts) or "true"


def name_condition(column: str, patterns: Sequence[str], name: str = "name") -> tuple[str, dict[str, Any]]:
    """``column`` is one of ``patterns`` (names or globs), with the parameters, which begin with ``name``.

    In collation "C" an index serves names, and the beginning of each glob. The column must be of that collation.
    """
    plain = [pattern for pattern in patterns if not is_glob(pattern)]
    parts: list[str] = [f"{column} = ANY(:{name})"] if plain else []
    params: dict[str, Any] = {name: plain} if plain else {}
    for number, glob in enumerate(pattern for pattern in patterns if is_glob(pattern)):
        like, key = glob_like(glob), f"{name}_{number}"
        if like is not None:
            parts.append(f"{column} LIKE :{key}")
            params[key] = like
        else:
            parts.append(f"{column} LIKE :{key} AND {column} ~ :{key}_regex")
            params |= {key: f"{like_literal(literal_start(glob))}%", f"{key}_regex": glob_regex_sql(glob)}
    return " OR ".join(f"({part})" for part in parts), params


def check_words(words: Iterable[str], known: Iterable[str], noun: str) -> None:
    """Raises InventoryError, with near ones, for the first of ``words`` that is not ``known``; ``noun``: what they
    are, as ``state of a plan``."""
    names = [str(name) for name in known]
    for word in words:
        if word not in names:
            raise InventoryError(
                f"{word!r} is no {noun}: these are {', '.join(names)}.{near(word, names)}", **{noun.split()[0]: word}
            )


def moment_asked(phrase: str, now: datetime, parameter: str = "since") -> datetime:
    """A date, a time, or how long before ``now``. Raises InventoryError, which names the parameter."""
    try:
        return moment_before(phrase, now)
    except ValueError as error:
        raise InventoryError(f"{parameter.replace('_', ' ')}: {error}", **{parameter: phrase}) from error
