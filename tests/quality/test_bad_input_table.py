"""Bad input of every kind is stopped and told, and leaves the inventory as it is; what is unusual but right passes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.inventory.catalogue.aside import set_aside
from tests.conftest import TEMPLATE
from tests.quality.bad_input import (
    AREAS,
    JETS,
    MUONS,
    SET_ASIDE,
    Kind,
    Stopped,
    World,
    added,
    assert_let_in,
    block,
    both,
    checksums,
    dataset,
    file,
    in_inventory,
    unchanged,
)
from tests.quality.bad_input_kinds import BAD, GOOD
from tests.quality.bad_input_table import in_document, let_in, row

FILLED = "bad_input_filled"
EXTRA = "/Extras/Run2026A-v1/AOD"
REFUSED = [kind for kind in BAD if kind.stopped_by != SET_ASIDE]
LEFT_OUT = [kind for kind in BAD if kind.stopped_by == SET_ASIDE]
_counter = itertools.count()


@pytest.fixture(scope="module")
def filled(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database in use; only to be copied."""
    postgres.create_database(FILLED, template=TEMPLATE)
    database = Database(postgres.url(FILLED))
    World(database, tmp_path_factory.mktemp("filled")).fill()
    database.dispose()
    yield FILLED
    postgres.drop_database(FILLED)


@pytest.fixture(scope="module")
def shared(filled: str, postgres: EmbeddedPostgres) -> Iterator[Database]:
    """An inventory in use, for tests that must not change it."""
    postgres.create_database("bad_input_shared", template=filled)
    database = Database(postgres.url("bad_input_shared"))
    yield database
    database.dispose()
    postgres.drop_database("bad_input_shared")


@pytest.fixture
def world(filled: str, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[World]:
    """An inventory in use, of one's own."""
    name = f"bad_input_{next(_counter)}"
    postgres.create_database(name, template=filled)
    database = Database(postgres.url(name))
    yield World(database, tmp_path)
    database.dispose()
    postgres.drop_database(name)


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.id)
def test_bad_input_is_stopped_and_told_and_changes_nothing(shared: Database, tmp_path: Path, kind: Kind) -> None:
    with unchanged(shared):
        stopped = World(shared, tmp_path).take(kind, f"run of {kind.id}")
    assert stopped is not None
    assert kind.words in stopped.message
    assert stopped.by == kind.stopped_by
    assert_row_shown(kind, stopped)


def assert_row_shown(kind: Kind, stopped: Stopped) -> None:
    assert row(kind, stopped) in in_document(), "the table of docs/gates.md is an older one"


@pytest.mark.parametrize("kind", LEFT_OUT, ids=lambda kind: kind.id)
def test_of_a_dataset_with_a_bad_record_nothing_is_merged_and_all_else_is(world: World, kind: Kind) -> None:
    before = known_of(world.database, MUONS)
    more = added(
        datasets=[dataset(EXTRA)], blocks=[block("b1", EXTRA)], files=[file(f"/store/e{n}", EXTRA) for n in (1, 2)]
    )
    stopped = world.take(replace(kind, change=both(kind.change, more)), f"run of {kind.id}")
    assert stopped is not None
    assert stopped.by == SET_ASIDE
    assert kind.words in stopped.message
    assert_row_shown(kind, stopped)
    faulty = set_aside(world.database)["dataset"].to_list()
    assert len(faulty) == 1
    there = in_inventory(world.database, "metadata")
    assert {f"{name} valid" for name in (MUONS, JETS, EXTRA)} <= there["datasets"]  # type: ignore[operator]
    assert f"{EXTRA}#b1 /store/e1 100" in there["files"]  # type: ignore[operator]
    assert known_of(world.database, faulty[0]) == (before if faulty == [MUONS] else [])
    assert world.database.frame("SELECT * FROM vanished").is_empty()


def known_of(db: Database, name: str) -> list[tuple[object, ...]]:
    """All that the inventory has of a dataset, and how far it is known."""
    return db.frame(
        """SELECT d::text, o::text, b::text, f::text FROM datasets AS d
           LEFT JOIN dataset_sources AS o ON o.dataset_id = d.id LEFT JOIN blocks AS b ON b.dataset_id = d.id
           LEFT JOIN files AS f ON f.block_id = b.id WHERE d.name = $1 ORDER BY b.id, f.id""",
        (name,),
    ).rows()


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.id)
def test_unusual_input_that_is_right_is_not_stopped(world: World, kind: Kind) -> None:
    assert not kind.query or shown(world, kind) != kind.found
    before = checksums(world.database)
    assert world.take(kind) is None
    assert_let_in(world.database, kind)
    assert shown(world, kind) == kind.found
    after = checksums(world.database)
    different = {name for name in before if before[name] != after[name]}
    assert different - {"source_states"} if kind.query else different <= {"source_states"}


def shown(world: World, kind: Kind) -> tuple[str, ...]:
    """How the input shows in the inventory; a repetition of what is known does not show."""
    return tuple(world.database.frame(kind.query).to_series()) if kind.query else ()


@pytest.mark.parametrize("area", AREAS)
def test_the_first_run_ever_is_not_stopped(database: Database, tmp_path: Path, area: str) -> None:
    kind = Kind(area, "first", lambda _drop: None)
    assert World(database, tmp_path).take(kind) is None
    assert_let_in(database, kind)


def test_the_helper_sees_a_change_of_one_row(world: World) -> None:
    with pytest.raises(AssertionError, match=r"changed: \['files'\]"), unchanged(world.database):
        world.sql("UPDATE files SET size_bytes = size_bytes + 1 WHERE id = (SELECT min(id) FROM files)")


def test_the_table_has_these_kinds_and_no_others() -> None:
    shown = in_document().splitlines()
    assert len([line for line in shown if line.startswith("| ") and not line.startswith("| input")]) == len(BAD)
    assert [line for line in shown if line.startswith("Let in")] == [let_in(area) for area in AREAS]


def test_there_are_kinds_enough_of_each_area() -> None:
    assert len(BAD) >= 30
    assert len({kind.id for kind in [*BAD, *GOOD]}) == len(BAD) + len(GOOD)
    assert {kind.area for kind in BAD} == {kind.area for kind in GOOD} == set(AREAS)
