"""What a copy is, in SQL, on frames and in plain Python written from SEMANTICS §10 alone: the same in random small
worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.replica.copies import (
    DOOMED_FILES,
    DOUBTED_FILES,
    is_doomed,
    is_doubted,
    is_last_copy,
    is_last_source,
    must_stay,
)
from dynamo_ops.inventory.replica.good import (
    awaited_elsewhere,
    blocks_with_good,
    covered_blocks,
    good_replicas,
    without_doomed,
)
from dynamo_ops.inventory.replica.read import read_inventory
from tests.inventory.factory import Inventory

SITES = ("T2_A", "T2_B", "T2_C", "T2_D")
WORLDS_A_SEED = 10_000  # each a file, its block and what the sites have of it; the sites are those of the seed
STATUSES = ("ready", "ready", "ready", "waitroom", "morgue", "unknown")
CHECKS = ("none", "passed", "passed", "refused")
ACTIVE = ("new", "inbatch", "retry", "held")
CALLED = ("suspicious", "bad", "copying", "last_copy", "on_tape", "good", "good")


@dataclass
class Site:
    """``check``: how the last one ended. ``judged`` and ``former``: its newest check that judged files, one before."""

    status: str
    check: str
    judged: int | None = None
    former: int | None = None


@dataclass
class Place:
    """One file at one site. ``presence``: whole (its block is complete), listed, not listed, absent. ``deletion``,
    ``copy``: the state of the subscription; ``suspended_for``: for how many days, of the 90 in which a suspended one
    keeps its source. ``is_claimed``: the deletion is with an executor; ``is_unanswered``: it was, and the answer was
    lost. ``finding``: what the newest check that judged files says of it; ``old_finding``: one before. ``called``: what
    people or transfers call it."""

    presence: str
    copy: str | None = None
    suspended_for: int | None = None
    deletion: str | None = None
    is_claimed: bool = False
    is_unanswered: bool = False
    finding: str | None = None
    old_finding: str | None = None
    called: str | None = None

    @property
    def is_present(self) -> bool:
        return self.presence in ("whole", "listed")


@dataclass
class World:
    places: dict[str, Place] = field(default_factory=dict)


def random_sites(draw: Random) -> dict[str, Site]:
    return {name: Site(draw.choice(STATUSES), draw.choice(CHECKS)) for name in SITES}


def random_world(draw: Random) -> World:
    world = World()
    for site in SITES:
        place = Place(draw.choice(("whole", "whole", "listed", "not listed", "absent")))
        wanted = draw.random()
        if wanted < 0.25:
            place.deletion = draw.choice((*ACTIVE, "done", "cancelled"))
            place.is_claimed = place.deletion in ("inbatch", "cancelled") and draw.random() < 0.5
            place.is_unanswered = place.deletion in ("retry", "cancelled") and draw.random() < 0.3
        elif wanted < 0.4:
            place.copy = draw.choice((*ACTIVE, "held", "done", "cancelled"))
            place.suspended_for = draw.choice((None, 10, 89, 91)) if place.copy == "held" else None
        if draw.random() < 0.2:
            place.finding = draw.choice(("missing", "wrong_size", "repaired", "orphan"))
        if draw.random() < 0.1:
            place.old_finding = "missing"
        if draw.random() < 0.1:
            place.called = draw.choice(CALLED)
        world.places[site] = place
    return world


# --- SEMANTICS §10, in plain words ---


def doomed(place: Place) -> bool:
    """An open deletion; a cancel that came after it was handed over changes nothing, until it is known what became of
    it."""
    return place.deletion in ACTIVE or place.is_claimed or place.is_unanswered


def doubted(place: Place, site: Site) -> bool:
    """By the newest check that judged this file by name, a check that was refused as a whole doubts no file; declared
    bad, or suspicious."""
    is_missed = site.judged is not None and place.finding in ("missing", "wrong_size")
    return is_missed or place.called not in (None, "good")


def good(place: Place, site: Site) -> bool:
    """Present, and neither doomed nor doubtful nor distant. The owner plays no part."""
    is_distant = site.status in ("waitroom", "morgue") or site.check == "refused"
    is_doubtful = site.status == "unknown" or doubted(place, site)
    return place.is_present and not doomed(place) and not is_doubtful and not is_distant


def last_copy(world: World, sites: dict[str, Site], here: str) -> bool:
    """No other site has a good copy of it."""
    return not any(good(place, sites[name]) for name, place in world.places.items() if name != here)


def awaited(place: Place) -> bool:
    """An active copy subscription, held for whatever reason; a suspended one for 90 days."""
    return place.copy in ACTIVE and (place.suspended_for is None or place.suspended_for < PROTECTS_DAYS)


def last_source(world: World, sites: dict[str, Site], here: str) -> bool:
    """And an active copy subscription of it to another site exists that is awaited."""
    others = [place for name, place in world.places.items() if name != here]
    return last_copy(world, sites, here) and any(map(awaited, others))


def whole_block_good(place: Place, site: Site) -> bool:
    """The block has a second file, of which nothing is known but that it is where the block is complete."""
    return place.presence == "whole" and good(place, site)


def left(place: Place) -> int:
    """How many files of the block are there when the open deletions are done."""
    num_present = {"whole": 2, "listed": 1}.get(place.presence, 0)
    return num_present - (place.is_present and doomed(place))


def covered(world: World, sites: dict[str, Site]) -> bool:
    """The files at all sites together make up the block; unknown sites, doomed and doubtful ones are not counted."""
    known = [(place, sites[name]) for name, place in world.places.items() if sites[name].status != "unknown"]
    has_file = any(place.is_present and not doomed(place) and not doubted(place, site) for place, site in known)
    return has_file and any(place.presence == "whole" for place, _ in known)


# --- the same in the database ---


def filled(database: Database, sites: dict[str, Site], worlds: list[World]) -> Inventory:
    stock = Inventory(database)
    for name, site in sites.items():
        make_site(stock, name, site)
    tables: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
    for number, world in enumerate(worlds, start=1):
        tables["blocks"].append((number, 1, f"b{number}", False, 2, 2, MOMENT))
        tables["files"] += [(number, number, f"/store/{number}", 1), (-number, number, f"/store/other/{number}", 1)]
        for name, place in world.places.items():
            add_place(tables, number, stock.site_ids[name], place, sites[name])
    stock.rows("INSERT INTO deletion_batches (id, site_id) VALUES (1, 1)")
    with database.begin() as connection:
        for table, rows in tables.items():
            frame = pl.DataFrame(rows, schema=COLUMNS[table], orient="row", infer_schema_length=None)
            insert_frame(connection, table, frame)
            connection.execute(text(f"ANALYZE {table}"))
    return stock


def make_site(stock: Inventory, name: str, site: Site) -> None:
    stock.site(name, status=site.status)
    if site.check != "none":
        site.former, site.judged = check(stock, name, "compared"), check(stock, name, "repaired")
    if site.check == "refused":
        check(stock, name, "refused")
    check(stock, name, "started")


def add_place(tables: dict[str, list[tuple[Any, ...]]], file: int, site_id: int, place: Place, site: Site) -> None:
    if place.presence != "absent":
        tables["block_replicas"].append((file, site_id, 1, place.presence == "whole", 1, MOMENT))
    if place.presence == "listed":
        tables["block_replica_files"].append((file, site_id, file))
    for action, state in (("copy", place.copy), ("delete", place.deletion)):
        if state:
            held = held_for(place) if action == "copy" else (None, None)
            number = len(tables["subscriptions"]) + 1
            tables["subscriptions"].append((number, file, site_id, action, state, "test", *held))
    if place.called:
        tables["bad_replicas"].append((file, site_id, place.called, "it is so", "ada"))
    number = len(tables["subscriptions"])
    if place.is_claimed:
        tables["deletions"].append((1, number, 1, "planned", MOMENT, True))
    if place.is_unanswered:
        tables["deletions"] += [
            (1, number, 1, "failed", MOMENT, is_newest) for is_newest in (False, not place.is_claimed)
        ]
    for check_id, kind in ((site.judged, place.finding), (site.former, place.old_finding)):
        if check_id and kind:
            kind, state = ("missing", "repaired") if kind == "repaired" else (kind, "seen")
            tables["consistency_findings"].append((check_id, kind, state, f"/store/{file}", 1, file))


def held_for(place: Place) -> tuple[str | None, datetime | None]:
    """Why a copy is held, and until when its source stays."""
    if place.copy != "held":
        return None, None
    if place.suspended_for is None:
        return "refused", None
    return "suspended", datetime.now(UTC) + timedelta(days=PROTECTS_DAYS - place.suspended_for)


PROTECTS_DAYS = 90
MOMENT = datetime(2026, 11, 1, tzinfo=UTC)
COLUMNS = {
    "blocks": ["id", "dataset_id", "name", "is_open", "num_files", "size_bytes", "last_update_at"],
    "files": ["id", "block_id", "lfn", "size_bytes"],
    "block_replicas": ["block_id", "site_id", "dataset_id", "is_complete", "size_bytes", "last_update_at"],
    "block_replica_files": ["block_id", "site_id", "file_id"],
    "subscriptions": ["id", "file_id", "site_id", "action", "state", "origin", "hold_reason", "protects_until"],
    "deletions": ["batch_id", "subscription_id", "size_bytes", "state", "claimed_at", "is_unsettled"],
    "bad_replicas": ["file_id", "site_id", "state", "reason", "created_by"],
    "consistency_findings": ["check_id", "kind", "state", "lfn", "size_bytes", "file_id"],
}


def check(stock: Inventory, site: str, state: str) -> int:
    return int(
        stock.scalar(
            """INSERT INTO consistency_checks (run_key, site_id, state, started_at)
               VALUES (gen_random_uuid()::text, :site, :state, clock_timestamp()) RETURNING id""",
            site=stock.site_ids[site],
            state=state,
        )
    )


QUESTIONS = f"""
    SELECT f.id, s.name, {is_doomed("f.id", "s.id")}, {is_doubted("f.id", "s.id")},
           {is_last_copy("f.id", "s.id")}, {is_last_source("f.id", "s.id")},
           (f.id, s.id) IN {DOOMED_FILES}, (f.id, s.id) IN {DOUBTED_FILES}, {must_stay("forbidden")},
           {must_stay("allowed")}
    FROM files f CROSS JOIN sites s
    CROSS JOIN LATERAL (SELECT f.id AS file_id, s.id AS site_id, false AS is_last_allowed) forbidden
    CROSS JOIN LATERAL (SELECT f.id AS file_id, s.id AS site_id, true AS is_last_allowed) allowed
    WHERE f.id > 0"""


@pytest.mark.parametrize("seed", range(5))
def test_sql_frames_and_words_say_the_same(database: Database, seed: int) -> None:
    draw = Random(seed)
    sites = random_sites(draw)
    worlds = [random_world(draw) for _ in range(WORLDS_A_SEED)]
    stock = filled(database, sites, worlds)
    seen: dict[str, set[bool]] = {}
    for number, name, *answers in stock.rows(QUESTIONS):
        world = worlds[number - 1]
        place, site = world.places[name], sites[name]
        words = {
            "doomed": doomed(place),
            "doubted": doubted(place, site),
            "last copy": last_copy(world, sites, name),
            "last source": last_source(world, sites, name),
        }
        assert answers == [
            *words.values(),
            words["doomed"],
            words["doubted"],
            words["last copy"],
            words["last source"],
        ], (seed, name, place, world, sites)
        for question, answer in words.items():
            seen.setdefault(question, set()).add(answer)
    assert seen["doomed"] == seen["last copy"] == seen["last source"] == {True, False}
    twice = f"SELECT file_id, site_id FROM {DOUBTED_FILES} AS doubted GROUP BY 1, 2 HAVING count(*) > 1"
    assert stock.rows(twice) == []
    check_frames(read_inventory(database), stock, sites, worlds)


def check_frames(frames: InventoryFrames, stock: Inventory, sites: dict[str, Site], worlds: list[World]) -> None:
    """A block has the number of its world."""
    names = {number: name for name, number in stock.site_ids.items()}
    pairs = [(number, name) for number in range(1, len(worlds) + 1) for name in SITES]

    def in_words(holds: Callable[[World, str], bool]) -> set[tuple[int, str]]:
        return {(number, name) for number, name in pairs if holds(worlds[number - 1], name)}

    def on_frames(found: pl.DataFrame) -> set[tuple[int, str]]:
        return {(block, names[site]) for block, site in found.select("block_id", "site_id").iter_rows()}

    def is_good(world: World, name: str) -> bool:
        return whole_block_good(world.places[name], sites[name])

    assert on_frames(good_replicas(frames)) == in_words(is_good)
    seen = without_doomed(frames).block_replicas
    assert on_frames(seen.filter("is_complete")) == in_words(lambda world, name: left(world.places[name]) == 2)
    assert on_frames(frames.block_replicas) - on_frames(seen) == in_words(
        lambda world, name: world.places[name].presence == "listed" and left(world.places[name]) == 0
    )
    every = pl.DataFrame(
        [(number, stock.site_ids[name]) for number, name in pairs if name in ("T2_A", "T2_B")],
        schema={"block_id": pl.Int64, "site_id": pl.Int64},
        orient="row",
    )
    assert {number for number, _ in pairs} - set(blocks_with_good(frames, every)) == {
        number
        for number, world in enumerate(worlds, start=1)
        if not any(is_good(world, name) for name in ("T2_C", "T2_D"))
    }
    assert on_frames(awaited_elsewhere(frames, every)) == in_words(
        lambda world, name: name in ("T2_A", "T2_B") and any(awaited(world.places[other]) for other in ("T2_C", "T2_D"))
    )
    assert set(covered_blocks(frames, frames.blocks["block_id"])) == {
        number for number, world in enumerate(worlds, start=1) if covered(world, sites)
    }
