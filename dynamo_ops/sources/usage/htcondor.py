"""Accesses and demand from HTCondor: what ``condor_history`` and ``condor_q`` write with ``-json`` or ``-jsonl``.

``-json`` gives one list of ClassAds (and nothing at all when there is no job; with ``-global`` a list for each schedd,
one behind the other, as in files that several of them were appended to), ``-jsonl`` an ad a line. Numbers, texts
and booleans are as in JSON, an undefined attribute is null or left out, and what is an expression comes as the text
``/Expr(…)/``: it has no value. Have only the attributes written that are read here (``-attributes``): a whole ad is
20 times larger.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

import polars as pl
from pydantic import BeforeValidator, Field, model_validator

from dynamo_ops.base.config_file import Strict
from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.frames import UTC
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.reading.columns import Column
from dynamo_ops.sources.reading.drop import Drop
from dynamo_ops.sources.usage.day_files import DayPath, DropOptions, files_of, fingerprint_of, summed
from dynamo_ops.sources.usage.source import ACCESSES, DEMAND

NO_VALUE = ("", "undefined", "none", "unknown")
"""Texts that stand for no value in the attributes of real pools, in lower case."""
EXPRESSION = "/Expr("
"""How a value begins that is an expression, and was not evaluated."""


def _list(names: object) -> object:
    return [names] if isinstance(names, str) else names


Names = Annotated[list[str], BeforeValidator(_list)]


class Attributes(Strict):
    """Which attributes of a job tell what; CMS's names as shipped.

    ``dataset``: those that name datasets, each counts; ``dataset_separator``: between several in one value, null where
    it may be part of a name. ``site``: the first that has a value. ``id``: unique for a job; where it is missing,
    cluster and process are.
    """

    dataset: Names = Field(["DESIRED_CMSDataset"], min_length=1)
    dataset_separator: str | None = Field(",", min_length=1)
    site: Names = Field(["MATCH_EXP_JOBGLIDEIN_CMSSite", "MachineAttrGLIDEIN_CMSSite0"], min_length=1)
    completed_at: str = "CompletionDate"
    submitted_at: str = "QDate"
    id: str = "GlobalJobId"
    cluster: str = "ClusterId"
    process: str = "ProcId"


class HtcondorAccessOptions(DropOptions):
    """``history``: files, folders, globs or URLs of ``condor_history``; ``{day}`` may stand in them."""

    history: Annotated[list[DayPath], BeforeValidator(_list), Field(min_length=1)]
    attributes: Attributes = Attributes()


class HtcondorDemandOptions(DropOptions):
    """``queue`` of ``condor_q``, ``history`` of ``condor_history``, as of accesses; at least one. A job of the day may
    have ended on any later one: so let ``history`` span some days."""

    queue: Annotated[list[DayPath], BeforeValidator(_list)] = Field(default_factory=list)
    history: Annotated[list[DayPath], BeforeValidator(_list)] = Field(default_factory=list)
    attributes: Attributes = Attributes()

    @model_validator(mode="after")
    def _something(self) -> HtcondorDemandOptions:
        if not self.queue and not self.history:
            raise ValueError("give 'queue', 'history' or both")
        return self


class HtcondorAccessSource:
    """Ended jobs as an AccessSource: each counts once for each of its datasets, at the site and on the day it ended."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        del tls  # a storage has credentials of its own
        self.name = settings.name
        self._options = parse_options(settings, HtcondorAccessOptions)
        self._drop = Drop(settings.name, self._options.storage_options)

    def accesses(self, day: date) -> pl.DataFrame:
        """Jobs with a dataset that ended on the UTC day; one that was removed has not ended and does not count."""
        jobs = _jobs(self._drop, self._options.history, self._options, self._options.attributes, day, "completed_at")
        site = _first_value(self._options.attributes.site).replace(self._options.sites)
        records = jobs.select(
            "day",
            "dataset",
            pl.lit(None, pl.String).alias("lfn"),
            site.alias("site"),
            pl.lit(1, pl.Int64).alias("num_accesses"),
        )
        return summed(iter([records]), "num_accesses").select(list(ACCESSES))

    def fingerprint(self, day: date) -> str | None:
        """Names, sizes and times of the files of which the day is made."""
        return fingerprint_of(self._drop, self._options.history, day)


class HtcondorDemandSource:
    """Submitted jobs as a DemandSource, from the queue and from the history, each job once."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        del tls  # a storage has credentials of its own
        self.name = settings.name
        self._options = parse_options(settings, HtcondorDemandOptions)
        self._drop = Drop(settings.name, self._options.storage_options)

    def demand(self, day: date) -> pl.DataFrame:
        """Jobs submitted on the UTC day by dataset, whether they wait, run or have ended."""
        paths = [*self._options.queue, *self._options.history]
        jobs = _jobs(self._drop, paths, self._options, self._options.attributes, day, "submitted_at")
        records = jobs.select("day", "dataset", pl.lit(1, pl.Int64).alias("num_jobs"))
        return summed(iter([records]), "num_jobs").select(list(DEMAND))

    def fingerprint(self, day: date) -> str | None:
        """None: the queue is another one each time, which says nothing about a past day."""
        del day
        return None


def _jobs(
    drop: Drop, paths: list[str], options: DropOptions, attributes: Attributes, day: date, moment: str
) -> pl.DataFrame:
    """The jobs whose ``moment`` is in the day: one row a job and dataset, with the attributes of its site.

    A moment of 0 has not come, so it lies in no day that anybody asks for.
    """
    columns = _columns(attributes, moment)
    frames: list[pl.DataFrame] = [pl.DataFrame(schema={column.name: column.dtype for column in columns})]
    seen = {"moment": False, "dataset": False}
    num_records, datasets = 0, [f"dataset{number}" for number in range(len(attributes.dataset))]
    for file in files_of(drop, paths, day, options):
        for frame in drop.frames(file, columns):
            num_records += frame.height
            seen["moment"] |= frame["moment"].null_count() < frame.height
            seen["dataset"] |= any(frame[name].null_count() < frame.height for name in datasets)
            frames.append(frame.filter(pl.col("moment").dt.date() == day))
    if num_records:
        wanted = {"moment": [getattr(attributes, moment)], "dataset": attributes.dataset}
        _require(drop, day, [wanted[name] for name, is_seen in seen.items() if not is_seen])
    named = pl.concat(frames).with_columns(_identity()).unique("job", keep="first", maintain_order=True)
    texts = [_value(f"dataset{number}") for number in range(len(attributes.dataset))]
    names = pl.concat_list(_parts(text, attributes.dataset_separator) for text in texts)
    names = names.list.eval(pl.element().str.strip_chars()).list.unique()
    jobs = named.with_columns(pl.lit(day).alias("day"), names.alias("dataset"))
    return jobs.explode("dataset").filter(pl.col("dataset").is_not_null() & (pl.col("dataset") != ""))


def _columns(attributes: Attributes, moment: str) -> list[Column]:
    texts = [(f"dataset{n}", field) for n, field in enumerate(attributes.dataset)]
    texts += [(f"site{n}", field) for n, field in enumerate(attributes.site)]
    return [
        *(Column(name, pl.String, field, default=None) for name, field in [*texts, ("id", attributes.id)]),
        Column("cluster", pl.Int64, attributes.cluster, default=None, no_value=EXPRESSION),
        Column("process", pl.Int64, attributes.process, default=None, no_value=EXPRESSION),
        Column("moment", UTC, getattr(attributes, moment), "unix", default=None, no_value=EXPRESSION),
    ]


def _require(drop: Drop, day: date, missing: list[list[str]]) -> None:
    """SourceDataError if no record at all has an attribute: that is a wrong name, or a drop made without it."""
    if not missing:
        return
    names = " nor ".join(missing[0])
    raise SourceDataError(
        f"{drop.source}: no record for day {day} has the attribute {names}: mend options.attributes, or write the drop"
        " with it",
        source=drop.source,
        day=day,
    )


def _identity() -> pl.Expr:
    """What makes a job one: its global id, else its numbers, else only itself."""
    numbers = pl.concat_str("cluster", "process", separator=".")
    return pl.coalesce("id", numbers, pl.int_range(pl.len()).cast(pl.String)).alias("job")


def _parts(text: pl.Expr, separator: str | None) -> pl.Expr:
    """The values as lists, empty for none."""
    several = text.str.split(separator) if separator else pl.concat_list(text)
    return pl.when(text.is_not_null()).then(several).otherwise(pl.lit([], pl.List(pl.String)))


def _value(name: str) -> pl.Expr:
    """The text of an attribute; null where it has none."""
    text = pl.col(name).str.strip_chars()
    nothing = text.str.to_lowercase().is_in(NO_VALUE) | text.str.starts_with(EXPRESSION)
    return pl.when(~nothing).then(text)


def _first_value(fields: list[str]) -> pl.Expr:
    return pl.coalesce(_value(f"site{number}") for number in range(len(fields)))
