"""What stays when others go is the same in SQL, on frames, and in plain Python written from the words alone."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.inventory.replica.doomed import IS_LAST_SOURCE, find_alone, find_not_good
from dynamo_ops.inventory.replica.good import awaited_elsewhere, blocks_with_good
from dynamo_ops.inventory.replica.read import read_inventory
from tests.inventory.factory import Inventory

SITES = ("T2_A", "T2_B", "T2_C")
BLOCKS = ("b1", "b2", "b3", "b4")


class Copy(NamedTuple):
    """A block replica of the case."""

    block: str
    site: str
    is_complete: bool
    is_owned: bool
    is_deleted: bool


def random_copies(seed: int) -> list[Copy]:
    draw = Random(seed)
    return [
        Copy(block, site, draw.random() < 0.6, draw.random() < 0.75, draw.random() < 0.5)
        for block in BLOCKS
        for site in SITES
        if draw.random() < 0.8
    ]


def alone_by_words(copies: list[Copy]) -> set[str]:
    """Blocks that lose a replica and of which no complete one stays, whoever owns it."""
    staying = {copy.block for copy in copies if copy.is_complete and not copy.is_deleted}
    return {copy.block for copy in copies if copy.is_deleted} - staying


def last_sources_by_words(copies: list[Copy]) -> set[tuple[str, str]]:
    """Of blocks that are alone, the replicas that go while an owned one at another site waits for files."""
    waiting = [copy for copy in copies if copy.is_owned and not copy.is_complete and not copy.is_deleted]
    return {
        (copy.block, copy.site)
        for copy in copies
        if copy.is_deleted and copy.block in alone_by_words(copies)
        if any(other.block == copy.block and other.site != copy.site for other in waiting)
    }


def filled(database: Database, copies: list[Copy]) -> Inventory:
    stock = Inventory(database)
    for site in SITES:
        stock.site(site)
    for block in BLOCKS:
        stock.block(block)
    for copy in copies:
        present = None if copy.is_complete else [f"/store/{copy.block}/f0"]
        stock.replica(copy.block, copy.site, present=present, owned=copy.is_owned)
    return stock


def deleted_frame(stock: Inventory, copies: list[Copy]) -> pl.DataFrame:
    pairs = [(stock.block_ids[copy.block], stock.site_ids[copy.site]) for copy in copies if copy.is_deleted]
    return pl.DataFrame(pairs, schema={"block_id": pl.Int64, "site_id": pl.Int64}, orient="row")


@pytest.mark.parametrize("seed", range(12))
def test_sql_and_frames_and_words_say_the_same(database: Database, seed: int) -> None:
    copies = random_copies(seed)
    stock = filled(database, copies)
    deleted = deleted_frame(stock, copies)
    names = {number: name for name, number in stock.block_ids.items()}
    sites = {number: name for name, number in stock.site_ids.items()}

    frames = read_inventory(database)
    alone = deleted.filter(~pl.col("block_id").is_in(blocks_with_good(frames, deleted).implode()))
    waiting = alone.join(awaited_elsewhere(frames, deleted), on=["block_id", "site_id"], how="semi")
    assert {names[block] for block in alone["block_id"]} == alone_by_words(copies)
    assert {(names[block], sites[site]) for block, site in waiting.iter_rows()} == last_sources_by_words(copies)

    with database.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE doomed (block_id bigint, site_id smallint, left_out text)"))
        insert_frame(connection, "doomed", deleted)
        find_not_good(connection)
        find_alone(connection)
        in_sql = connection.execute(text("SELECT block_id FROM alone")).scalars()
        assert {names[block] for block in in_sql} == alone_by_words(copies)
        pairs = connection.execute(text(f"SELECT d.block_id, d.site_id FROM doomed AS d WHERE {IS_LAST_SOURCE}"))
        assert {(names[block], sites[site]) for block, site in pairs} == last_sources_by_words(copies)


def test_the_cases_are_not_trivial() -> None:
    cases = [random_copies(seed) for seed in range(12)]
    assert any(alone_by_words(copies) for copies in cases)
    assert sum(bool(last_sources_by_words(copies)) for copies in cases) > 3
