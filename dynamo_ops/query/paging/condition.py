"""Names and globs as conditions on an indexed column: LIKE where it can say it, else a regular expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamo_ops.base.glob import glob_like, glob_regex_sql, is_glob, like_literal, literal_start


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
