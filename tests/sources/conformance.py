"""What every source plugin must do, ours and others': checks that take a backend, which lets a source tell a world.

A new plugin gets a backend of its kind (see ``backends.py``) and is held to all of them. They are plain functions,
so that a package of somebody else's can run them too: ``for check in METADATA_CHECKS: check(backend)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, Protocol

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dynamo_ops.base.errors import DynamoError, SettingsError, SourceDataError
from dynamo_ops.sources.source import BLOCKS, FILES, SITES, Details, MetadataSource, SiteSource
from dynamo_ops.sources.usage.source import ACCESSES, DEMAND, AccessSource, DemandSource
from tests.sources.told import (
    EMPTY,
    INVALID,
    MUONS,
    STRANGE,
    WORLD,
    Dataset,
    blocks_frame,
    datasets_frame,
    day,
    files_frame,
)

LATER = datetime(2100, 1, 1, tzinfo=day(1).tzinfo)
SECOND = timedelta(seconds=1)
DAY = date(2026, 3, 1)


class Options(Protocol):
    """What all backends offer. ``faults``: options that are wrong, each with the key that the message must name."""

    name: str
    faults: Sequence[tuple[dict[str, Any], str]]

    def made(self, options: dict[str, Any]) -> object:
        """A source of these options, made from settings and its entry point."""
        ...


class Broken(Protocol):
    """How a source fails. ``place``: what the message must name besides the source and the value."""

    def broken(self) -> tuple[Any, Sequence[str]]:
        """A source with a text where a number belongs, and what the message must name."""
        ...

    def away(self) -> tuple[Any, type[DynamoError]]:
        """A source whose service or files are gone, and the error that says so."""
        ...


class MetadataBackend(Options, Broken, Protocol):
    """A metadata source that can be made to tell any world."""

    def source(self, world: Sequence[Dataset]) -> MetadataSource:
        """A source that tells the world."""
        ...


class SiteBackend(Options, Broken, Protocol):
    """A site source that tells sites as (name, storage type, status, protocol, prefix)."""

    def source(self, sites: Sequence[tuple[str, str, str, str, str]]) -> SiteSource:
        """A source that tells the sites."""
        ...


class AccessBackend(Options, Broken, Protocol):
    """An access source that tells records of (day, dataset or LFN, site, accesses)."""

    level: str
    counts_records: bool  # a record is one access, so numbers cannot be wrong

    def source(self, records: Sequence[tuple[date, str, str | None, int | None]]) -> AccessSource:
        """A source that tells the records."""
        ...


class DemandBackend(Options, Broken, Protocol):
    """A demand source that tells records of (day, dataset, jobs)."""

    def source(self, records: Sequence[tuple[date, str, int]]) -> DemandSource:
        """A source that tells the records."""
        ...


class Whole(NamedTuple):
    """What was told in parts."""

    blocks: pl.DataFrame
    files: pl.DataFrame


def whole(parts: Sequence[Details]) -> Whole:
    no_blocks, no_files = pl.DataFrame(schema=dict(BLOCKS)), pl.DataFrame(schema=dict(FILES))
    assert not any(part.faults.height for part in parts)
    return Whole(
        pl.concat([no_blocks, *(part.blocks for part in parts)]), pl.concat([no_files, *(part.files for part in parts)])
    )


def assert_same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """The same rows, in any order, in exactly the same columns."""
    assert_frame_equal(found.sort(found.columns), expected.sort(expected.columns))


# metadata


def datasets_have_all_their_columns(backend: MetadataBackend) -> None:
    assert_same(backend.source(WORLD).datasets(None, LATER), datasets_frame(WORLD))


def all_datasets_are_counted(backend: MetadataBackend) -> None:
    assert backend.source(WORLD).count_datasets() == len(WORLD)


def no_datasets_are_no_rows(backend: MetadataBackend) -> None:
    source = backend.source([MUONS])
    assert_same(source.datasets(day(10), day(11)), datasets_frame([]))
    assert_same(source.datasets(day(10), day(11)), datasets_frame([]))


def the_ends_of_an_interval_belong_to_it(backend: MetadataBackend) -> None:
    source = backend.source(WORLD)
    for since, until, told in [
        (day(1), day(2), [MUONS, STRANGE]),
        (day(1) + SECOND, day(2), [STRANGE]),
        (day(1), day(2) - SECOND, [MUONS]),
        (day(2), day(2), [STRANGE]),
        (None, day(2), [MUONS, STRANGE]),
        (day(2) + SECOND / 2, day(3) + SECOND / 2, [INVALID]),
    ]:
        assert_same(source.datasets(since, until), datasets_frame(told))


def details_are_whole_in_parts(backend: MetadataBackend) -> None:
    parts = list(backend.source(WORLD).details([dataset.dataset for dataset in WORLD]))
    for part in parts:
        assert dict(part.blocks.schema) == dict(BLOCKS)
        assert dict(part.files.schema) == dict(FILES)
    blocks, files = whole(parts)
    assert_same(blocks, blocks_frame(WORLD))
    assert_same(files, files_frame(WORLD))


def details_are_those_of_the_datasets_asked_for(backend: MetadataBackend) -> None:
    blocks, files = whole(list(backend.source(WORLD).details([STRANGE.dataset, EMPTY.dataset])))
    assert_same(blocks, blocks_frame([STRANGE]))
    assert_same(files, files_frame([STRANGE]))


def details_of_what_nobody_knows_are_no_rows(backend: MetadataBackend) -> None:
    blocks, files = whole(list(backend.source(WORLD).details(["/No/Such-v1/DATASET"])))
    assert_same(blocks, blocks_frame([]))
    assert_same(files, files_frame([]))


def details_of_nothing_are_nothing(backend: MetadataBackend) -> None:
    blocks, files = whole(list(backend.source(WORLD).details([])))
    assert (blocks.height, files.height) == (0, 0)


def the_same_question_has_the_same_answer(backend: MetadataBackend) -> None:
    source = backend.source(WORLD)
    assert_same(source.datasets(day(1), day(2)), source.datasets(day(1), day(2)))
    first, second = (whole(list(source.details([MUONS.dataset]))) for _ in range(2))
    assert first.blocks.equals(second.blocks)
    assert first.files.equals(second.files)


def a_pull_that_is_given_up_leaves_nothing_behind(backend: MetadataBackend) -> None:
    source = backend.source(WORLD)
    parts = iter(source.details([dataset.dataset for dataset in WORLD]))
    next(parts)
    del parts
    assert whole(list(source.details([MUONS.dataset]))).files.height == 8


def a_bad_record_is_named(backend: MetadataBackend) -> None:
    """Raised, or told as a fault of its dataset."""
    source, words = backend.broken()
    try:
        told = pl.concat([part.faults for part in source.details([MUONS.dataset])])
    except SourceDataError as error:
        message = str(error)
    else:
        assert told["dataset"].to_list() == [MUONS.dataset]
        message = told["fault"].item()
    for word in (source.name, "big", *words):
        assert word in message


def what_is_away_is_told_apart(backend: MetadataBackend) -> None:
    source, kind = backend.away()
    for ask in (
        lambda: source.datasets(None, LATER),
        lambda: source.count_datasets(),
        lambda: list(source.details([MUONS.dataset])),
    ):
        with pytest.raises(kind, match=source.name):
            ask()


def a_wrong_option_is_named(backend: Options) -> None:
    assert backend.faults
    for options, key in backend.faults:
        with pytest.raises(SettingsError) as caught:
            backend.made(options)
        assert key in str(caught.value)
        assert "options" in str(caught.value)


METADATA_CHECKS: Sequence[Callable[[Any], None]] = (
    datasets_have_all_their_columns,
    all_datasets_are_counted,
    no_datasets_are_no_rows,
    the_ends_of_an_interval_belong_to_it,
    details_are_whole_in_parts,
    details_are_those_of_the_datasets_asked_for,
    details_of_what_nobody_knows_are_no_rows,
    details_of_nothing_are_nothing,
    the_same_question_has_the_same_answer,
    a_pull_that_is_given_up_leaves_nothing_behind,
    a_bad_record_is_named,
    what_is_away_is_told_apart,
    a_wrong_option_is_named,
)


# sites

SITES_TOLD = (
    ("T1_AA_Disk", "disk", "ready", "davs", "davs://a.example.org:443/dav"),
    ("T1_AA_Tape", "mss", "waitroom", "davs", "davs://t.example.org:443/dav"),
    ('Ünï versity\'s "T3"', "disk", "morgue", "root", "root://b.example.org//data"),
)


def sites_have_all_their_columns(backend: SiteBackend) -> None:
    sites = backend.source(SITES_TOLD).sites()
    assert dict(sites.schema) == dict(SITES)
    assert sites.select("site", "storage_type", "status").rows() == [site[:3] for site in SITES_TOLD]
    told = (
        sites["endpoints"].str.json_decode(pl.List(pl.Struct({"protocol": pl.String, "prefix": pl.String}))).to_list()
    )
    assert told == [[{"protocol": site[3], "prefix": site[4]}] for site in SITES_TOLD]


def the_same_sites_are_told_twice(backend: SiteBackend) -> None:
    source = backend.source(SITES_TOLD)
    assert source.sites().equals(source.sites())


def a_bad_site_is_named(backend: SiteBackend) -> None:
    source, words = backend.broken()
    with pytest.raises(SourceDataError) as caught:
        source.sites()
    for word in (source.name, *words):
        assert word in str(caught.value)


def a_feed_of_sites_that_is_away_is_told_apart(backend: SiteBackend) -> None:
    source, kind = backend.away()
    with pytest.raises(kind, match=source.name):
        source.sites()


SITE_CHECKS: Sequence[Callable[[Any], None]] = (
    sites_have_all_their_columns,
    the_same_sites_are_told_twice,
    a_bad_site_is_named,
    a_feed_of_sites_that_is_away_is_told_apart,
    a_wrong_option_is_named,
)


# accesses and demand

NEXT = DAY + timedelta(days=1)
ACCESSES_TOLD = (
    (DAY, MUONS.dataset, "T1_AA_Disk", 3),
    (DAY, MUONS.dataset, "T1_AA_Disk", 2),
    (DAY, MUONS.dataset, "T2_BB", 1),
    (DAY, STRANGE.dataset, 'Ünï versity\'s "T3"', 4),
    (NEXT, MUONS.dataset, "T1_AA_Disk", 2),
)


def _accesses(backend: AccessBackend, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    def row(day: date, name: str, site: str | None, number: int | None) -> tuple[Any, ...]:
        return (day, name, None, site, number) if backend.level == "dataset" else (day, None, name, site, number)

    return pl.DataFrame([row(*told) for told in rows], schema=dict(ACCESSES), orient="row")


def _summed(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of one key as one, as the aggregation sees them in the end."""
    keys = [name for name in frame.columns if name != "num_accesses"]
    return frame.group_by(keys).agg(pl.col("num_accesses").sum()).select(frame.columns)


def the_accesses_are_those_of_the_day(backend: AccessBackend) -> None:
    source = backend.source(ACCESSES_TOLD)
    for wanted in (DAY, NEXT):
        found = source.accesses(wanted)
        assert dict(found.schema) == dict(ACCESSES)
        assert_same(_summed(found), _summed(_accesses(backend, [told for told in ACCESSES_TOLD if told[0] == wanted])))


def a_day_without_accesses_is_no_rows(backend: AccessBackend) -> None:
    assert_same(backend.source(ACCESSES_TOLD).accesses(DAY - timedelta(days=5)), _accesses(backend, []))


def wrong_numbers_stay_visible(backend: AccessBackend) -> None:
    if backend.counts_records:
        return
    rows = [(DAY, MUONS.dataset, "T2_BB", 5), (DAY, MUONS.dataset, "T2_BB", -5), (DAY, MUONS.dataset, "T2_BB", 0)]
    assert_same(backend.source(rows).accesses(DAY), _accesses(backend, rows))


def the_same_day_is_told_twice(backend: AccessBackend) -> None:
    source = backend.source(ACCESSES_TOLD)
    assert source.accesses(DAY).equals(source.accesses(DAY))
    assert source.fingerprint(DAY) == source.fingerprint(DAY)


def a_fingerprint_follows_the_data(backend: AccessBackend) -> None:
    before = backend.source(ACCESSES_TOLD).fingerprint(DAY)
    after = backend.source([*ACCESSES_TOLD, (DAY, MUONS.dataset, "T2_CC", 1)]).fingerprint(DAY)
    assert before is None or (before != after and len(before) < 100)


def a_bad_record_of_accesses_is_named(backend: AccessBackend) -> None:
    source, words = backend.broken()
    with pytest.raises(SourceDataError) as caught:
        source.accesses(DAY)
    for word in (source.name, *words):
        assert word in str(caught.value)


def a_feed_of_accesses_that_is_away_is_told_apart(backend: AccessBackend) -> None:
    source, kind = backend.away()
    with pytest.raises(kind, match=source.name):
        source.accesses(DAY)


ACCESS_CHECKS: Sequence[Callable[[Any], None]] = (
    the_accesses_are_those_of_the_day,
    a_day_without_accesses_is_no_rows,
    wrong_numbers_stay_visible,
    the_same_day_is_told_twice,
    a_fingerprint_follows_the_data,
    a_bad_record_of_accesses_is_named,
    a_feed_of_accesses_that_is_away_is_told_apart,
    a_wrong_option_is_named,
)

DEMAND_TOLD = ((DAY, MUONS.dataset, 2), (DAY, STRANGE.dataset, 1), (NEXT, MUONS.dataset, 3))


def the_demand_is_that_of_the_day(backend: DemandBackend) -> None:
    source = backend.source(DEMAND_TOLD)
    for wanted in (DAY, NEXT):
        found = source.demand(wanted)
        assert dict(found.schema) == dict(DEMAND)
        told = [row for row in DEMAND_TOLD if row[0] == wanted]
        assert_same(
            found.group_by("day", "dataset").agg(pl.col("num_jobs").sum()),
            pl.DataFrame(told, schema=dict(DEMAND), orient="row"),
        )


def a_day_without_demand_is_no_rows(backend: DemandBackend) -> None:
    assert_same(backend.source(DEMAND_TOLD).demand(DAY - timedelta(days=5)), pl.DataFrame(schema=dict(DEMAND)))


def the_same_demand_is_told_twice(backend: DemandBackend) -> None:
    source = backend.source(DEMAND_TOLD)
    assert source.demand(DAY).equals(source.demand(DAY))
    assert source.fingerprint(DAY) == source.fingerprint(DAY)


def a_bad_record_of_demand_is_named(backend: DemandBackend) -> None:
    source, words = backend.broken()
    with pytest.raises(SourceDataError) as caught:
        source.demand(DAY)
    for word in (source.name, *words):
        assert word in str(caught.value)


def a_queue_that_is_away_is_told_apart(backend: DemandBackend) -> None:
    source, kind = backend.away()
    with pytest.raises(kind, match=source.name):
        source.demand(DAY)


DEMAND_CHECKS: Sequence[Callable[[Any], None]] = (
    the_demand_is_that_of_the_day,
    a_day_without_demand_is_no_rows,
    the_same_demand_is_told_twice,
    a_bad_record_of_demand_is_named,
    a_queue_that_is_away_is_told_apart,
    a_wrong_option_is_named,
)
