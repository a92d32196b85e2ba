"""How an HTTP JSON service is described in the settings: where to ask, where the rows are, what their fields mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from string import Formatter
from typing import Annotated, Any, Literal
from urllib.parse import quote

import polars as pl
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from dynamo_ops.base.config_file import Strict
from dynamo_ops.sources.metadata.tables import MAY_LACK, STATUSES, TABLES
from dynamo_ops.sources.reading.columns import MISSING, Column, Times

Table = Literal["datasets", "blocks", "files"]
_PYTHON = {pl.String: str, pl.Int64: int, pl.Boolean: bool}


class FieldRule(Strict):
    """Where a value is, and what it means. Just a text is short for ``{field: text}``.

    ``field``: its key, dots lead into objects. ``value``: the same for all, instead. ``as``: how times are written.
    ``map``: what each value means, others are refused. ``after``: what counts is the part behind this separator.
    """

    model_config = ConfigDict(populate_by_name=True)

    field: str | None = None
    value: str | int | bool | None = None
    times: Times | None = Field(None, alias="as")
    map: dict[str | int | bool, str | int | bool] | None = None
    after: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> FieldRule:
        if (self.field is None) == (self.value is None):
            raise ValueError("give either 'field' or 'value'")
        return self


Rule = Annotated[FieldRule, BeforeValidator(lambda given: {"field": given} if isinstance(given, str) else given)]


class PageRule(Strict):
    """Pages asked for by number or by offset. ``parameter``: gets it, from ``first`` on; ``size_parameter``: gets
    ``size``. The empty page is the last: a service may give fewer rows than it was asked for. ``ends``: ``short`` for a
    service that keeps to ``size`` and refuses the page behind its last: there the first page with fewer is the last."""

    parameter: str
    counts: Literal["rows", "pages"] = "rows"
    first: int = Field(0, ge=0)
    size_parameter: str | None = None
    size: int = Field(1000, ge=1)
    ends: Literal["empty", "short"] = "empty"

    def parameters(self, number: int, num_rows: int) -> dict[str, int]:
        """What to ask for the page of that number, from 0, behind ``num_rows`` rows."""
        asked = {self.parameter: self.first + (num_rows if self.counts == "rows" else number)}
        return asked | ({self.size_parameter: self.size} if self.size_parameter else {})


class Listing(Strict):
    """One table of the service. ``rows``: where in the answer the list of records is; empty: the answer is the list.

    ``next``: where the URL of the next page is, null on the last one. ``page``: pages by number instead.
    ``not_found``: what a 404 means: that the settings are wrong, or that a dataset has nothing.
    """

    url: str
    rows: str = ""
    fields: dict[str, Rule]
    next: str | None = None
    page: PageRule | None = None
    not_found: Literal["error", "empty"] = "error"

    @model_validator(mode="after")
    def _one_kind_of_pages(self) -> Listing:
        if self.next and self.page:
            raise ValueError("give either 'next' or 'page'")
        return self


class Count(Strict):
    """Where the number of all datasets is told."""

    url: str
    field: str = Field(min_length=1)


class JsonOptions(Strict):
    """``url``: what all others begin with. In that of ``datasets``, ``{since}`` and ``{until}`` are times, written as
    ``times`` says; in those of ``blocks`` and ``files``, ``{dataset}`` is the name. Without ``count`` datasets are
    counted by listing them all. ``headers`` go with each request."""

    url: str = Field(pattern=r"^https?://")
    times: Times = "iso"
    datasets: Listing
    blocks: Listing
    files: Listing
    count: Count | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    threads: int = Field(4, ge=1, le=32)
    timeout_s: float = Field(120, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> JsonOptions:
        _check_url("datasets", self.datasets.url, {"since", "until"}, set())
        for table in ("blocks", "files"):
            _check_url(table, getattr(self, table).url, {"dataset"}, {"dataset"})
        if self.count is not None:
            _check_url("count", self.count.url, set(), set())
        for table, columns in TABLES.items():
            _check_fields(table, getattr(self, table).fields, columns)
        return self

    def address(self, template: str, values: Mapping[str, str]) -> str:
        """The URL of ``template`` with its values in place, as an address may hold them."""
        filled = template.format(**{name: quote(text, safe="") for name, text in values.items()})
        return f"{self.url.rstrip('/')}/{filled.lstrip('/')}" if filled else self.url

    def time(self, moment: datetime) -> str:
        """A moment as the service wants it in a URL."""
        if self.times == "iso":
            return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return str(int(moment.timestamp() * (1000 if self.times == "unix_ms" else 1)))


def columns_of(table: str, listing: Listing) -> list[Column]:
    """Our columns of the table as the listing's rules describe them; the dataset of blocks and files is known."""
    names = [name for name in TABLES[table] if table == "datasets" or name != "dataset"]
    return [_column(table, name, listing.fields.get(name)) for name in names]


def _column(table: str, name: str, rule: FieldRule | None) -> Column:
    dtype, default = TABLES[table][name], MAY_LACK[table].get(name, MISSING)
    if rule is None:
        return Column(name, dtype, name, default=default)
    meanings: Mapping[Any, Any] | None = rule.map
    if name == "status" and meanings is None:
        meanings = {status: status for status in STATUSES}
    return Column(name, dtype, rule.field or name, rule.times or "iso", default, meanings)


def values_of(records: Sequence[Any], rule: FieldRule | None) -> list[Any]:
    """What the records have there; MISSING where they have nothing."""
    if rule is None:
        return [MISSING] * len(records)
    if rule.field is None:
        return [rule.value] * len(records)
    path = rule.field.split(".")
    cells = [inside(record, path) for record in records]
    if rule.after is None:
        return cells
    # a text without the separator becomes a list, which is no text: it is refused by name
    return [_behind(cell, rule.after) if isinstance(cell, str) else cell for cell in cells]


def inside(document: Any, path: Sequence[str]) -> Any:
    """What is in a JSON document under a path of keys; MISSING if there is no such key."""
    for key in path:
        if not isinstance(document, dict) or key not in document:
            return MISSING
        document = document[key]
    return document


def _behind(text: str, separator: str) -> str | list[str]:
    _, seen, rest = text.partition(separator)
    return rest if seen and rest else [text, f"without {separator}"]


def _check_url(table: str, template: str, placeholders: set[str], needed: set[str]) -> None:
    try:
        names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ValueError(f"{table}.url: {error}") from None
    if names - placeholders:
        allowed = ", ".join(f"{{{name}}}" for name in sorted(placeholders)) or "nothing"
        raise ValueError(f"{table}.url: {{{min(names - placeholders)}}} means nothing here; there is {allowed}")
    if needed - names:
        raise ValueError(f"{table}.url: {{{min(needed - names)}}} is missing")


def _check_fields(table: str, fields: Mapping[str, FieldRule], columns: Mapping[str, Any]) -> None:
    wanted = {name for name in columns if table == "datasets" or name != "dataset"}
    for name, rule in fields.items():
        if name not in wanted:
            raise ValueError(f"{table}.fields.{name}: no such column; there are {', '.join(sorted(wanted))}")
        _check_meanings(f"{table}.fields.{name}", name, columns[name], rule)
    for name in sorted(wanted - fields.keys() - MAY_LACK[table].keys()):
        raise ValueError(f"{table}.fields.{name}: is missing")


def _check_meanings(key: str, name: str, dtype: Any, rule: FieldRule) -> None:
    """That what the settings themselves say of a column is of its type."""
    meanings = [*(rule.map or {}).values(), *([] if rule.value is None else [rule.value])]
    for meaning in meanings:
        if dtype in _PYTHON and type(meaning) is not _PYTHON[dtype]:
            raise ValueError(f"{key}: {meaning!r} is not {_PYTHON[dtype].__name__}")
        if dtype not in _PYTHON:
            raise ValueError(f"{key}: a time is read from a field")
        if name == "status" and meaning not in STATUSES:
            raise ValueError(f"{key}: {meaning!r} is no status; there are {', '.join(STATUSES)}")
