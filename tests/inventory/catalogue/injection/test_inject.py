"""Injection: all of a document or nothing, and the same document twice is once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.inventory.catalogue.injection.inject import InjectionSummary
from dynamo_ops.inventory.catalogue.injection.writes import Count
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.site.override import set_status
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.inventory.subscription.subscribe import resubscribe_incomplete, subscribe_blocks
from dynamo_ops.sources.tasks import merge as merge_all
from simgrid.grid import Grid
from tests.conftest import TEMPLATE
from tests.documented.pages import blocks
from tests.inventory.told import UNTIL, accept, block, dataset, file, merge, site, sync_sites
from tests.people import ADA, inject
from tests.sources.pocket import NOW, TINY, inventory_counts, pull_all, settings_for

DOCUMENT: dict[str, Any] = {
    "groups": [{"name": "phys", "ownership_level": "dataset"}],
    "quotas": [{"site": "T2_A", "partition": "Physics", "quota_bytes": 100}],
    "dataset_replicas": [
        {"dataset": "/A/B-v1/C", "site": "T2_A", "group": "phys", "growing": True, "blocks": "*"},
        {"dataset": "/A/B-v1/C", "site": "T2_B", "group": None, "growing": False, "blocks": ["/A/B-v1/C#b2"]},
    ],
}
NEW: dict[str, Any] = {
    "sites": [
        {
            "name": "T3_X",
            "storage_type": "disk",
            "status": "ready",
            "endpoints": [
                {"protocol": "davs", "prefix": "davs://x/"},
                {"protocol": "root", "prefix": "", "mapping": []},
            ],
        }
    ],
    "datasets": [
        {
            "name": "/N/E-v1/W",
            "status": "production",
            "software_release": "SW_9",
            "last_update_at": "2026-03-01T12:00:00Z",
            "blocks": [
                {
                    "name": "b1",
                    "files": [
                        {"lfn": "/n/1", "size_bytes": 5, "adler32": "0000000a"},
                        {"lfn": "/n/2", "size_bytes": 7},
                        {"lfn": "/n/3", "size_bytes": 0, "adler32": None},
                    ],
                },
                {"name": "b2", "is_open": True, "last_update_at": "2026-03-02T13:00:00+01:00", "files": []},
            ],
        }
    ],
    "groups": [{"name": "phys", "ownership_level": "block"}, {"name": "ops", "ownership_level": "block"}],
    "dataset_replicas": [
        {
            "dataset": "/N/E-v1/W",
            "site": "T3_X",
            "group": "phys",
            "blocks": [{"name": "/N/E-v1/W#b1", "group": "ops", "is_custodial": True, "files": ["/n/1", "/n/3"]}],
        },
        {"dataset": "/N/E-v1/W", "site": "T2_A", "group": "phys", "is_custodial": True, "blocks": "*"},
    ],
}
NEW["sites"][0]["endpoints"][1].update(prefix="root://x//", mapping=[[["^/(.*)", "/pnfs/\\1"]]])
NOTHING = Count(0, 0, 0)


@pytest.fixture
def filled(database: Database) -> Database:
    return fill(database)


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """The same, for tests that leave it as it is."""
    postgres.create_database("injection", template=TEMPLATE)
    database = Database(postgres.url("injection"))
    fill(database)
    before = inventory_counts(database)
    yield database
    assert inventory_counts(database) == before
    database.dispose()
    postgres.drop_database("injection")


def fill(database: Database) -> Database:
    sync_sites(database, site("T2_A"), site("T2_B"))
    merge(
        database,
        [dataset()],
        [block("b1"), block("b2")],
        [file("/a/1"), file("/a/2"), file("/a/3", in_block="b2", size_bytes=7)],
    )
    return database


def replicas(db: Database) -> list[tuple[object, ...]]:
    return db.frame("""
        SELECT b.name AS block, s.name AS site, g.name AS owner, r.is_complete, r.size_bytes FROM block_replicas AS r
        JOIN blocks AS b ON b.id = r.block_id JOIN sites AS s ON s.id = r.site_id
        LEFT JOIN groups AS g ON g.id = r.group_id ORDER BY 1, 2""").rows()


def written(summary: InjectionSummary) -> dict[str, tuple[int, int]]:
    """New and changed, of what is not all the same."""
    return {name: (count.new, count.changed) for name, count in summary.counts().items() if count.written}


FIRST = {"groups": (1, 0), "quotas": (1, 0), "dataset_replicas": (2, 0), "block_replicas": (3, 0)}


def test_replicas_quotas_and_groups_are_written(filled: Database) -> None:
    summary = inject(filled, DOCUMENT)
    assert (written(summary), summary.replica_bytes) == (FIRST, 34)
    assert replicas(filled) == [
        ("b1", "T2_A", "phys", True, 20),
        ("b2", "T2_A", "phys", True, 7),
        ("b2", "T2_B", None, True, 7),
    ]
    growing = filled.frame("SELECT is_growing, group_id IS NULL AS is_null FROM dataset_replicas ORDER BY site_id")
    assert growing.rows() == [(True, False), (False, True)]
    quotas = filled.frame("SELECT partition, quota_bytes, changed_by FROM quotas")
    assert quotas.rows() == [("Physics", 100, "test")]


def test_what_no_source_told_is_written(filled: Database) -> None:
    summary = inject(filled, NEW)
    assert written(summary) == {
        "sites": (1, 0),
        "groups": (2, 0),
        "datasets": (1, 0),
        "blocks": (2, 0),
        "files": (3, 0),
        "dataset_replicas": (2, 0),
        "block_replicas": (3, 0),
    }
    assert (summary.new_bytes, summary.replica_bytes) == (12, 5 + 12)
    told = filled.frame("SELECT * FROM datasets WHERE name = '/N/E-v1/W'").to_dicts()[0]
    assert (told["status"], told["is_open"], told["software_release"]) == ("production", True, "SW_9")
    assert (told["size_bytes"], told["num_blocks"], told["num_files"]) == (12, 2, 3)
    blocks = filled.frame(
        "SELECT name, is_open, size_bytes, num_files, last_update_at::text AS at FROM blocks WHERE dataset_id = $1"
        " ORDER BY 1",
        (told["id"],),
    )
    assert blocks.rows() == [
        ("b1", False, 12, 3, "2026-03-01 12:00:00+00"),
        ("b2", True, 0, 0, "2026-03-02 12:00:00+00"),
    ]
    copies = filled.frame("""
        SELECT b.name AS block, s.name AS site, g.name AS owner, r.is_complete, r.is_custodial, r.size_bytes,
               (SELECT string_agg(f.lfn, ' ' ORDER BY f.lfn) FROM block_replica_files AS p
                JOIN files AS f ON f.id = p.file_id WHERE p.block_id = r.block_id AND p.site_id = r.site_id) AS files
        FROM block_replicas AS r JOIN blocks AS b ON b.id = r.block_id JOIN sites AS s ON s.id = r.site_id
        JOIN groups AS g ON g.id = r.group_id ORDER BY 2, 1""")
    assert copies.rows() == [
        ("b1", "T2_A", "phys", True, True, 12, None),
        ("b2", "T2_A", "phys", True, True, 0, None),
        ("b1", "T3_X", "ops", False, True, 5, "/n/1 /n/3"),
    ]
    endpoints = filled.frame("""
        SELECT e.protocol, e.prefix, e.mapping::text AS mapping FROM site_endpoints AS e JOIN sites AS s
        ON s.id = e.site_id WHERE s.name = 'T3_X' ORDER BY 1""")
    mapping = '[[["^/(.*)", "/pnfs/\\\\1"]]]'
    assert endpoints.rows() == [("davs", "davs://x/", None), ("root", "root://x//", mapping)]


@pytest.mark.parametrize("document", [DOCUMENT, NEW], ids=["replicas", "all kinds"])
def test_the_same_document_again_changes_nothing(filled: Database, document: dict[str, Any]) -> None:
    first = inject(filled, document)
    before = replicas(filled), inventory_counts(filled)
    again = inject(filled, document)
    assert again.is_nothing
    assert (again.new_bytes, again.replica_bytes) == (0, 0)
    assert {name: sum(count) for name, count in again.counts().items()} == {
        name: sum(count) for name, count in first.counts().items()
    }
    assert (replicas(filled), inventory_counts(filled)) == before


def test_a_dry_run_tells_and_writes_nothing(shared: Database) -> None:
    before = inventory_counts(shared)
    assert written(inject(shared, DOCUMENT, dry_run=True)) == FIRST
    assert inject(shared, NEW, dry_run=True).files == Count(3, 0, 0)
    assert inventory_counts(shared) == before


def test_changes_are_taken_over(filled: Database) -> None:
    inject(filled, DOCUMENT)
    changed = deepcopy(DOCUMENT)
    changed["groups"].append({"name": "top", "ownership_level": "block"})
    changed["quotas"][0]["quota_bytes"] = -1
    changed["dataset_replicas"][0].update(group="top", growing=False)
    summary = inject(filled, changed)
    assert written(summary) == {
        "groups": (1, 0),
        "quotas": (0, 1),
        "dataset_replicas": (0, 1),
        "block_replicas": (0, 2),
    }
    assert summary.replica_bytes == 27
    assert replicas(filled)[0] == ("b1", "T2_A", "top", True, 20)


def test_changed_datasets_and_blocks_are_taken_over_and_the_rest_stays(filled: Database) -> None:
    inject(filled, NEW)
    told: dict[str, Any] = {
        "name": "/N/E-v1/W",
        "status": "valid",
        "blocks": [{"name": "b2", "last_update_at": "2026-04-01"}],
    }
    assert written(inject(filled, {"datasets": [told]})) == {"datasets": (0, 1), "blocks": (0, 1)}
    columns = "SELECT status, is_open, software_release FROM datasets WHERE name = '/N/E-v1/W'"
    assert filled.frame(columns).row(0) == ("valid", True, "SW_9")
    told["is_open"], told["blocks"] = False, [{"name": "b2", "is_open": False}]
    inject(filled, {"datasets": [told]})
    assert filled.frame(columns).row(0) == ("valid", False, "SW_9")


def test_an_incomplete_block_replica_becomes_complete(filled: Database) -> None:
    inject(filled, DOCUMENT)
    merge(
        filled,
        [dataset()],
        [block("b2")],
        [file("/a/3", in_block="b2", size_bytes=7), file("/a/4", in_block="b2")],
        run_key="next",
    )
    assert filled.frame("SELECT count(*) AS n FROM block_replica_files").item() == 2
    assert inject(filled, DOCUMENT).block_replicas == Count(0, 2, 1)
    assert filled.frame("SELECT count(*) AS n FROM block_replica_files").item() == 0
    assert ("b2", "T2_A", "phys", True, 17) in replicas(filled)


def test_a_file_that_comes_into_a_block_on_its_way_out_is_not_copied_there(filled: Database) -> None:
    """The rest of the replica stays, and grows."""
    inject(filled, {**DOCUMENT, "dataset_replicas": DOCUMENT["dataset_replicas"][:1]})
    here = "SELECT r.block_id, r.site_id FROM block_replicas r JOIN blocks b ON b.id = r.block_id WHERE b.name = 'b1'"
    with filled.begin() as connection:
        subscribe_blocks(connection, SubscriptionAction.DELETE, here, origin="detox")
        connection.execute(text(f"UPDATE block_replicas SET group_id = NULL WHERE (block_id, site_id) IN ({here})"))
    inject(filled, files(lfn("/a/new"), of="/A/B-v1/C"))
    inject(filled, files(lfn("/a/other"), of="/A/B-v1/C", block="b3"))
    resubscribe_incomplete(filled)
    copies = filled.frame("""
        SELECT f.lfn FROM subscriptions s JOIN files f ON f.id = s.file_id WHERE s.action = 'copy' ORDER BY 1""")
    assert copies["lfn"].to_list() == ["/a/other"]


def test_new_files_of_a_known_block_make_its_replicas_incomplete(filled: Database) -> None:
    inject(filled, DOCUMENT)
    more = {
        "name": "/A/B-v1/C",
        "blocks": [{"name": "b1", "files": [{"lfn": "/a/9", "size_bytes": 3}]}, {"name": "b3"}],
    }
    summary = inject(filled, {"datasets": [more]})
    assert (summary.replicas_made_incomplete, summary.replicas_grown, summary.new_bytes) == (1, 1, 3)
    assert replicas(filled)[0] == ("b1", "T2_A", "phys", False, 20)
    assert replicas(filled)[-1] == ("b3", "T2_A", "phys", False, 0)
    assert filled.frame("SELECT count(*) AS n FROM block_replica_files").item() == 2
    assert filled.frame("SELECT size_bytes, num_blocks, num_files FROM datasets").row(0) == (30, 3, 4)


def copy_of(*files: str, block: str = "b1") -> dict[str, Any]:
    named = {"name": f"/A/B-v1/C#{block}", "files": list(files)}
    return {"dataset_replicas": [{"dataset": "/A/B-v1/C", "site": "T2_A", "blocks": [named]}]}


LISTED = "SELECT f.lfn FROM block_replica_files AS p JOIN files AS f ON f.id = p.file_id ORDER BY 1"


def test_files_are_added_to_a_replica_and_none_is_taken_away(filled: Database) -> None:
    steps: list[tuple[tuple[str, ...], tuple[bool, int], list[str]]] = [
        (("/a/1",), (False, 10), ["/a/1"]),
        ((), (False, 10), ["/a/1"]),
        (("/a/2",), (True, 20), []),
        (("/a/2",), (True, 20), []),
        ((), (True, 20), []),
    ]
    before = None
    for files, state, there in steps:
        assert inject(filled, copy_of(*files)).block_replicas.written == int(before != state)
        assert inject(filled, copy_of(*files)).is_nothing
        assert replicas(filled)[0][3:] == state
        assert filled.frame(LISTED)["lfn"].to_list() == there
        before = state


def test_a_new_replica_can_be_empty(filled: Database) -> None:
    assert inject(filled, copy_of()).block_replicas == Count(1, 0, 0)
    assert replicas(filled) == [("b1", "T2_A", None, False, 0)]


def test_new_files_of_a_document_that_are_there_too_complete_the_replica_again(filled: Database) -> None:
    inject(filled, DOCUMENT)
    more = files(lfn("/a/9", 3), of="/A/B-v1/C")
    summary = inject(filled, {**more, **copy_of("/a/9")})
    assert (summary.replicas_made_incomplete, summary.block_replicas) == (1, Count(0, 1, 0))
    assert replicas(filled)[0] == ("b1", "T2_A", "phys", True, 23)
    assert filled.frame(LISTED).is_empty()


def test_the_owner_and_the_growth_of_a_known_replica_stay_unless_they_are_named(filled: Database) -> None:
    inject(filled, DOCUMENT)
    assert inject(filled, replica()).is_nothing
    assert inject(filled, replica(blocks=["/A/B-v1/C#b1"])).is_nothing
    grows = "SELECT r.is_growing, g.name FROM dataset_replicas AS r JOIN groups AS g ON g.id = r.group_id"
    assert filled.frame(grows).rows() == [(True, "phys")]
    top = {"groups": [{"name": "top", "ownership_level": "block"}]}
    assert written(inject(filled, {**top, **replica(group="top", blocks=["/A/B-v1/C#b1"])})) == {
        "groups": (1, 0),
        "dataset_replicas": (0, 1),
        "block_replicas": (0, 1),
    }
    assert filled.frame(grows).rows() == [(True, "top")]
    assert [row[2] for row in replicas(filled)] == ["top", "phys", None]
    blocks = [{"name": "/A/B-v1/C#b2", "group": None}]
    assert inject(filled, replica(blocks=blocks)).block_replicas == Count(0, 1, 0)
    assert [row[2] for row in replicas(filled)] == ["top", None, None]


@pytest.mark.parametrize(
    ("named", "is_refused"),
    [("*", True), ([{"name": "/A/B-v1/C#b2", "files": ["/a/3"]}], True), (["/A/B-v1/C#b1"], False)],
)
def test_what_is_being_copied_there_is_refused(filled: Database, named: Any, is_refused: bool) -> None:
    """FTS writes over what is there, and may leave half of it."""
    inject(filled, DOCUMENT | {"dataset_replicas": []})
    with filled.begin() as connection:
        connection.execute(
            text("""WITH wish AS (
                      INSERT INTO subscriptions (file_id, site_id, action, origin, state)
                      SELECT f.id, s.id, 'copy', 'dealer', 'inbatch' FROM files AS f, sites AS s
                      WHERE f.lfn = '/a/3' AND s.name = 'T2_A' RETURNING id, site_id),
                    batch AS (
                      INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
                      SELECT 's', gen_random_uuid(), site_id, false, 'submitted' FROM wish RETURNING id)
                    INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes, state)
                    SELECT batch.id, wish.id, 0, wish.site_id, 1, 'submitted' FROM batch, wish""")
        )
    told = replica(group="phys", blocks=named)
    if not is_refused:
        assert inject(filled, told).block_replicas.new
        return
    with pytest.raises(InventoryError, match="1 files of block '/A/B-v1/C#b2' are being copied to 'T2_A', over what"):
        inject(filled, told)


@pytest.mark.parametrize("named", ["*", ["/A/B-v1/C#b2"], [{"name": "/A/B-v1/C#b2", "files": ["/a/3"]}]])
@pytest.mark.parametrize("state", ["new", "held", "done", "cancelled"])
def test_a_replica_that_is_being_deleted_is_refused(filled: Database, named: Any, state: str) -> None:
    inject(filled, DOCUMENT)
    with filled.begin() as connection:
        connection.execute(text("UPDATE block_replicas SET group_id = NULL"))
        connection.execute(
            text("""INSERT INTO subscriptions (file_id, site_id, action, origin, state)
                    SELECT f.id, s.id, 'delete', 'detox', :state FROM files AS f, sites AS s
                    WHERE f.lfn = '/a/3' AND s.name = 'T2_A'"""),
            {"state": state},
        )
    told = replica(group="phys", blocks=named)
    if state in ("done", "cancelled"):
        assert inject(filled, told).block_replicas.changed
        return
    before = inventory_counts(filled)
    with pytest.raises(InventoryError) as caught:
        inject(filled, told)
    path = "dataset_replicas[0]" if named == "*" else "dataset_replicas[0].blocks[0]"
    assert f"\n{path}: block '/A/B-v1/C#b2' at 'T2_A' is being deleted (1 files" in str(caught.value)
    assert inventory_counts(filled) == before
    assert inject(filled, replica(group="phys", blocks=["/A/B-v1/C#b1"])).block_replicas == Count(0, 1, 0)


def test_what_a_source_tells_counts_more_than_an_injection_without_times(database: Database) -> None:
    named = {"name": "/A/B-v1/C", "software_release": "SW_9", "blocks": [{"name": "b1"}, {"name": "b2"}]}
    inject(database, {"datasets": [named]})
    told = dataset(status="invalid", is_open=True), [block("b1", is_open=True), block("b2")], [file("/a/1")]
    summary = merge(database, [told[0]], told[1], told[2])
    assert (summary.changed_datasets, summary.changed_blocks) == (1, 2)
    shown = "SELECT status, is_open, software_release, last_update_at::date::text AS day FROM datasets"
    assert database.frame(shown).rows() == [("invalid", True, "SW_1", "2026-01-01")]
    assert database.frame("SELECT is_open FROM blocks ORDER BY name").rows() == [(True,), (False,)]
    assert merge(database, [told[0]], told[1], told[2], run_key="again").changed_blocks == 0
    inject(database, {"datasets": [named]})
    assert database.frame("SELECT last_update_at::date::text AS day FROM datasets").item() == "2026-01-01"


def test_a_source_that_first_tells_only_what_is_in_it_is_heard_when_it_lists_it(database: Database) -> None:
    inject(database, {"datasets": [{"name": "/A/B-v1/C", "is_open": True, "blocks": [{"name": "b1"}]}]})
    merge(database, [], [block("b1", is_open=True)], [file("/a/1")], since=UNTIL)
    assert database.frame("SELECT is_open FROM blocks").item()
    merge(database, [dataset(status="invalid")], [block("b1")], [file("/a/1")], run_key="full")
    assert database.frame("SELECT status FROM datasets").item() == "invalid"


def test_a_missing_checksum_is_filled_in(filled: Database) -> None:
    inject(filled, NEW)
    told = deepcopy(NEW)
    told["datasets"][0]["blocks"][0]["files"][1]["adler32"] = "0000000b"
    assert inject(filled, told).files == Count(0, 1, 2)
    assert filled.frame("SELECT adler32 FROM files WHERE lfn = '/n/2'").item() == "0000000b"


def test_a_site_of_a_document_is_lost_by_no_feed(filled: Database) -> None:
    inject(filled, NEW)
    sync_sites(filled, site("T2_A"), site("T2_B"))
    status = "SELECT status FROM sites WHERE name = 'T3_X'"
    assert filled.frame(status).item() == "ready"
    told = deepcopy(NEW["sites"])
    told[0]["status"] = "morgue"
    assert inject(filled, {"sites": told}).sites == Count(0, 1, 0)
    assert filled.frame(status).item() == "morgue"
    told[0]["endpoints"].pop()
    assert inject(filled, {"sites": told}).sites == Count(0, 1, 0)
    assert inject(filled, {"sites": told}).is_nothing
    del told[0]["endpoints"]
    assert inject(filled, {"sites": told}).is_nothing, "what is not told stays"
    sync_sites(filled, site("T3_X"), site("T2_A"), site("T2_B"))
    assert filled.frame(status).item() == "ready", "from now on the feed has it"


def test_what_a_person_said_of_a_site_stands(filled: Database) -> None:
    inject(filled, NEW)
    set_status(filled, "T3_X", "waitroom", by=ADA, reason="x")
    told = deepcopy(NEW["sites"])
    told[0]["status"] = "morgue"
    inject(filled, {"sites": told})
    assert filled.frame("SELECT status FROM sites WHERE name = 'T3_X'").item() == "waitroom"


def test_an_empty_document_is_fine(shared: Database) -> None:
    assert inject(shared, {}).is_nothing


def replica(**changes: Any) -> dict[str, Any]:
    return {"dataset_replicas": [{"dataset": "/A/B-v1/C", "site": "T2_A", "blocks": "*", **changes}]}


def files(*rows: Any, of: str = "/X/Y-v1/Z", block: str = "b1") -> dict[str, Any]:
    return {"datasets": [{"name": of, "blocks": [{"name": block, "files": list(rows)}]}]}


def lfn(name: Any = "/x/1", size_bytes: Any = 1, **changes: Any) -> dict[str, Any]:
    return {"lfn": name, "size_bytes": size_bytes, **changes}


FILE = "datasets[0].blocks[0].files[0]"
SITE = {"name": "T3_Y", "storage_type": "disk", "status": "ready"}
BAD: dict[str, tuple[Any, list[str]]] = {
    "a list": ([1], ["document: must be an object, got [1]"]),
    "no list": ({"datasets": {}}, ["datasets: must be a list, got {}"]),
    "no object": ({"datasets": [1]}, ["datasets[0]: must be an object, got 1"]),
    "unknown part": ({"grups": []}, ["grups: unknown key; known: sites, groups, quotas, datasets, dataset_replicas"]),
    "unknown site": (replica(site="T2_AA"), ["dataset_replicas[0].site: unknown site 'T2_AA'. Did you mean T2_A"]),
    "unknown dataset": (
        replica(dataset="/A/B-v2/C"),
        ["dataset_replicas[0].dataset: unknown dataset '/A/B-v2/C'. Did you mean /A/B-v1/C"],
    ),
    "unknown group": (
        {"groups": [{"name": "phys", "ownership_level": "block"}], **replica(group="fys")},
        ["dataset_replicas[0].group: unknown group 'fys'. Did you mean phys"],
    ),
    "unknown group of a block": (
        replica(blocks=[{"name": "/A/B-v1/C#b1", "group": "fys"}]),
        ["dataset_replicas[0].blocks[0].group: unknown group 'fys'"],
    ),
    "unknown block": (
        replica(blocks=["/A/B-v1/C#b1", "/A/B-v1/C#b3"]),
        ["dataset_replicas[0].blocks[1]: unknown block '/A/B-v1/C#b3'. Did you mean /A/B-v1/C#b"],
    ),
    "block of another dataset": (
        replica(blocks=["/D/E/F#b1"]),
        ["dataset_replicas[0].blocks[0]: block '/D/E/F#b1' is not one of dataset '/A/B-v1/C'"],
    ),
    "no block name": (
        replica(blocks=["/A/B-v1/C"]),
        ["dataset_replicas[0].blocks[0]: '/A/B-v1/C' is not of the form dataset#block"],
    ),
    "block twice": (
        replica(blocks=["/A/B-v1/C#b1", {"name": "/A/B-v1/C#b1"}]),
        ["dataset_replicas[0].blocks[1]: the same name as dataset_replicas[0].blocks[0]: '/A/B-v1/C#b1'"],
    ),
    "file of another block": (
        copy_of("/a/1", "/a/3", "/a/7"),
        [
            "dataset_replicas[0].blocks[0].files[1]: '/a/3' is not a file of block '/A/B-v1/C#b1'",
            "dataset_replicas[0].blocks[0].files[2]: '/a/7' is not a file of block '/A/B-v1/C#b1'",
        ],
    ),
    "file twice in a replica": (
        copy_of("/a/1", "/a/1"),
        ["blocks[0].files[1]: the same lfn as dataset_replicas[0].blocks[0].files[0]: '/a/1'"],
    ),
    "file of a replica is no name": (copy_of(3), ["dataset_replicas[0].blocks[0].files[0]: must be a text, got 3"]),  # type: ignore[arg-type]
    "the same twice": (
        {"dataset_replicas": replica()["dataset_replicas"] * 2},
        ["dataset_replicas[1]: the same dataset and site as dataset_replicas[0]: '/A/B-v1/C' 'T2_A'"],
    ),
    "quota at an unknown site": (
        {"quotas": [{"site": "T3_X", "partition": "Physics", "quota_bytes": 1}]},
        ["quotas[0].site: unknown site 'T3_X'"],
    ),
    "quota too large": (
        {"quotas": [{"site": "T2_A", "partition": "Physics", "quota_bytes": 2**63}]},
        ["quotas[0].quota_bytes: is too large: 9223372036854775808"],
    ),
    "wrong level": (
        {"groups": [{"name": "phys", "ownership_level": "file"}]},
        ["groups[0].ownership_level: must be one of dataset, block, got 'file'"],
    ),
    "group twice": (
        {"groups": [{"name": "phys", "ownership_level": "block"}] * 2},
        ["groups[1]: the same name as groups[0]: 'phys'"],
    ),
    "unknown key": (replica(sight="T2_A"), ["dataset_replicas[0].sight: unknown key; known: blocks, dataset, group"]),
    "blocks of a wrong kind": (
        replica(blocks="all"),
        ["dataset_replicas[0].blocks: must be a list, or '*', got 'all'"],
    ),
    "null for nothing": (replica(growing=None), ["dataset_replicas[0].growing: must be true or false, got None"]),
    "site without a status": (
        {"sites": [{"name": "T3_Y", "storage_type": "disc"}]},
        ["sites[0].storage_type: must be one of disk, mss, buffer, unknown, got 'disc'", "sites[0].status: is missing"],
    ),
    "bad mapping": (
        {"sites": [{**SITE, "endpoints": [{"protocol": "davs", "prefix": "davs://d", "mapping": [["a", "b"]]}]}]},
        ["sites[0].endpoints[0].mapping: must be a list of chains of [regex, replacement], got [['a', 'b']]"],
    ),
    "address of another protocol": (
        {"sites": [{**SITE, "endpoints": [{"protocol": "davs", "prefix": "http://d"}]}]},
        ["sites[0].endpoints[0]: the prefix 'http://d': it does not begin with davs:// or https://, as davs does"],
    ),
    "password in an address": (
        {"sites": [{**SITE, "endpoints": [{"protocol": "root", "prefix": "root://me:pw@d//x"}]}]},
        ["sites[0].endpoints[0]: the prefix 'root://…@d//x': it has a user or password in it"],
    ),
    "endpoint twice": (
        {"sites": [{**SITE, "endpoints": [{"protocol": "davs", "prefix": "davs://d"}] * 2}]},
        ["sites[0].endpoints[1]: the same protocol as sites[0].endpoints[0]: 'davs'"],
    ),
    "site of a feed": (
        {"sites": [{**SITE, "name": "T2_A", "status": "morgue"}]},
        ["sites[0]: 'T2_A' is told by source 'cric', as storage_type disk, status ready: what it is belongs there"],
    ),
    "site of a feed, elsewhere": (
        {"sites": [{**SITE, "name": "T2_A", "endpoints": []}]},
        ["sites[0]: 'T2_A' is told by source 'cric', as storage_type disk, status ready, with other endpoints"],
    ),
    "dataset with #": (files(of="/X#Y"), ["datasets[0].name: '/X#Y' must not contain blanks, #, * or ?"]),
    "block with #": (files(block="a#b"), ["datasets[0].blocks[0].name: 'a#b' must not contain blanks, #,"]),
    "dataset that is a glob": (files(of="/A/*/C"), ["datasets[0].name: '/A/*/C' must not contain blanks, #, * or ?"]),
    "site with a blank": (
        {"sites": [{**SITE, "name": "T2 A"}]},
        ["sites[0].name: 'T2 A' must not contain blanks, #, * or ?"],
    ),
    "long name": (files(of="/" + "a" * 500), [" is longer than 500 bytes"]),
    "long lfn": (files(lfn("/" + "a" * 1000)), [f"{FILE}.lfn: '/aaaa", " is longer than 1000 bytes"]),
    "a file of a day's bytes": (files(lfn(size_bytes=10**17)), [f"{FILE}.size_bytes: is too large: 1000000000000"]),
    "times to come": (
        {
            "datasets": [
                {
                    "name": "/X/Y/Z",
                    "last_update_at": "2162-01-01",
                    "blocks": [{"name": "b", "last_update_at": "2162-01-02"}],
                }
            ]
        },
        [
            "datasets[0].last_update_at: is more than 24 h ahead: 2162-01-01 00:00:00, and it is 2",
            "datasets[0].blocks[0].last_update_at: is more than 24 h ahead: 2162-01-02 00:00:00, and it is 2",
        ],
    ),
    "wrong status": (
        {"datasets": [{"name": "/X/Y/Z", "status": "VALID", "last_update_at": "yesterday"}]},
        [
            "datasets[0].status: must be one of unknown, deleted,",
            "datasets[0].last_update_at: must be a time, got 'yesterday'; as in 2026-03-01T12:00:00Z",
        ],
    ),
    "empty name": ({"datasets": [{"name": ""}]}, ["datasets[0].name: is empty"]),
    "control character": ({"datasets": [{"name": "/a\n"}]}, ["datasets[0].name: has control characters: '/a\\n'"]),
    "no text": ({"datasets": [{"name": "/a\ud800"}]}, ["datasets[0].name: is no text: '/a\\ud800'"]),
    "negative size": (files(lfn(size_bytes=-1)), [f"{FILE}.size_bytes: must not be below 0, got -1"]),
    "size as text": (files(lfn(size_bytes="1")), [f"{FILE}.size_bytes: must be a whole number, got '1'"]),
    "size as truth": (files(lfn(size_bytes=True)), [f"{FILE}.size_bytes: must be a whole number, got True"]),
    "huge size": (files(lfn(size_bytes=2**70)), [f"{FILE}.size_bytes: is too large: 1180591620717411303424"]),
    "no size": (files({"lfn": "/x/1"}), [f"{FILE}.size_bytes: is missing"]),
    "no lfn": (files({"size_bytes": 1}), [f"{FILE}.lfn: is missing"]),
    "relative lfn": (files(lfn("x/1")), [f"{FILE}.lfn: 'x/1' is not a clean absolute path"]),
    "lfn with dots": (files(lfn("/x/../1")), [f"{FILE}.lfn: '/x/../1' is not a clean absolute path"]),
    "lfn of a folder": (files(lfn("/x/")), [f"{FILE}.lfn: '/x/' is not a clean absolute path"]),
    "lfn with a backslash": (files(lfn("/x/a\\b")), [f"{FILE}.lfn: '/x/a\\\\b' is not a clean absolute path"]),
    "lfn of an upload": (
        files(lfn("/x/.1.dynamo-part")),
        [f"{FILE}.lfn: '/x/.1.dynamo-part' is what an unfinished upload of Dynamo is called"],
    ),
    "adler32": (files(lfn(adler32="0xABG")), [f"{FILE}.adler32: '0xABG' is not eight hex digits"]),
    "a longer adler32": (files(lfn(adler32="123456789")), [f"{FILE}.adler32: '123456789' is not eight hex digits"]),
    "file twice": (
        files(lfn(), lfn("/x/2"), lfn()),
        ["datasets[0].blocks[0].files[2]: the same lfn as datasets[0].blocks[0].files[0]: '/x/1'"],
    ),
    "block told twice": (
        {"datasets": [{"name": "/X/Y/Z", "blocks": [{"name": "b"}, {"name": "b"}]}]},
        ["datasets[0].blocks[1]: the same name as datasets[0].blocks[0]: 'b'"],
    ),
    "file moved": (
        files(lfn("/a/1", 10)),
        [f"{FILE}.lfn: '/a/1' is in block '/A/B-v1/C#b1' of the inventory, told in '/X/Y-v1/Z#b1'"],
    ),
    "name that a protocol does not carry": (
        {
            **files(lfn("/x/a?b")),
            "sites": [
                {
                    "name": "T3_Y",
                    "storage_type": "disk",
                    "status": "ready",
                    "endpoints": [
                        {"protocol": "file", "prefix": "file:///y"},
                        {"protocol": "root", "prefix": "root://y//"},
                    ],
                },
            ],
            **replica(dataset="/X/Y-v1/Z", site="T3_Y"),
        },
        [
            "dataset_replicas[0]: '/x/a?b' at 'T3_Y' could be neither copied nor deleted: its name has a ",
            "question mark, which is not safe over root",
        ],
    ),
    "file changed": (
        files(lfn("/a/1", 11, adler32="0000000b"), of="/A/B-v1/C"),
        [
            f"{FILE}.size_bytes: the size of '/a/1' is known to be 10, told 11",
            f"{FILE}.adler32: the adler32 of '/a/1' is known to be 0000000a, told 0000000b",
        ],
    ),
    "several faults": (
        {
            "quotas": [{"site": "T3_X", "partition": "P", "quota_bytes": 1}],
            **replica(site="T2_C", dataset="/X/Y/Z"),
            **files(lfn("/a/1", 11), of="/A/B-v1/C"),
        },
        [
            f"{FILE}.size_bytes: ",
            "quotas[0].site",
            "dataset_replicas[0].site: unknown site 'T2_C'. Did you mean T2_",
            "dataset_replicas[0].dataset",
        ],
    ),
    "very many": (
        {"dataset_replicas": [{"dataset": f"/X/Y/{n}", "site": "T2_A"} for n in range(50)]},
        ["dataset_replicas[19].dataset: ", "\n… and 30 more"],
    ),
    "very many of one kind": (
        files(*({"lfn": 1, "size_bytes": 1} for _ in range(50))),
        ["files[19]", "\n… and 30 more"],
    ),
}


@pytest.mark.parametrize(("document", "told"), BAD.values(), ids=BAD.keys())
def test_faults_are_named_by_their_path(shared: Database, document: Any, told: list[str]) -> None:
    with pytest.raises(InventoryError, match="injection refused, nothing was written:\n") as caught:
        inject(shared, document)
    for words in told:
        assert words in str(caught.value)


def test_what_was_declared_invalid_is_refused(filled: Database) -> None:
    inject(filled, NEW)
    named = {"datasets": ["/N/E-v1/W"], "blocks": ["/A/B-v1/C#b1"], "files": ["/a/3"]}
    invalidate(filled, named, reason="lost", by=ADA)
    more = [
        NEW["datasets"][0],
        {"name": "/A/B-v1/C", "blocks": [{"name": "b1"}, {"name": "b2", "files": [lfn("/a/3", 7)]}]},
    ]
    asked = {**DOCUMENT, "datasets": more}
    asked["dataset_replicas"] = [
        {"dataset": "/A/B-v1/C", "site": "T2_A", "blocks": ["/A/B-v1/C#b1"]},
        {"dataset": "/N/E-v1/W", "site": "T2_A"},
    ]
    before = inventory_counts(filled)
    with pytest.raises(InventoryError) as caught:
        inject(filled, asked)
    said = r"was declared invalid by ada on "
    for words in (
        f"datasets[0]: '/N/E-v1/W' {said}",
        f"datasets[1].blocks[0]: '/A/B-v1/C#b1' {said}",
        f"datasets[1].blocks[1].files[0].lfn: '/a/3' {said}",
    ):
        assert words in str(caught.value)
    with pytest.raises(InventoryError) as caught:
        inject(filled, {"dataset_replicas": asked["dataset_replicas"]})
    assert f"dataset_replicas[0].blocks[0]: unknown block '/A/B-v1/C#b1': it {said}" in str(caught.value)
    assert f"dataset_replicas[1].dataset: unknown dataset '/N/E-v1/W': it {said}" in str(caught.value)
    assert inventory_counts(filled) == before


def test_progress_is_told(shared: Database) -> None:
    told: list[str] = []
    inject(shared, NEW, dry_run=True, tell=told.append)
    assert told == [
        "checking the document",
        "uploading 3 files in 2 blocks",
        "checking against the inventory",
        "writing",
    ]


def test_the_summary_is_json(shared: Database) -> None:
    summary = json.loads(json.dumps(inject(shared, NEW, dry_run=True).document()))
    assert summary["files"] == {"new": 3, "changed": 0, "unchanged": 0}
    assert summary["new_bytes"] == 12


def documented() -> list[Any]:
    """The JSON documents of docs/injection.md."""
    return [json.loads(block.text) for block in blocks("json inject", "json invalidate", page="injection.md")]


def test_the_documents_of_the_docs_can_be_used(database: Database) -> None:
    injected, invalidated = documented()
    sync_sites(database, site("T1_XX_MSS", storage_type="mss"), site("T2_YY"))
    injected["groups"].append({"name": "ops", "ownership_level": "block"})
    summary = inject(database, injected)
    assert (summary.files.new, summary.block_replicas.new, summary.sites.new) == (1, 3, 1)
    known = {"datasets": invalidated["datasets"]}
    assert invalidate(database, known, reason="x", by=ADA).num_files == 1
    assert set(invalidated) == {"datasets", "blocks", "files"}


def test_the_grids_own_document(database: Database, tmp_path: Path) -> None:
    with Grid(TINY, tmp_path / "grid") as grid:
        pull_all(database, settings_for(grid), "run")
        accept(database, "run")
        accept(database, "run", "cric", "sites")
        merge_all(database, "run", ["dbs"], ["cric"], NOW)
        document = json.loads(Path(grid.endpoints["replicas"]).read_text())
        summary = inject(database, document)
        assert summary.dataset_replicas.new == len(grid.catalogue.replicas)
        assert summary.block_replicas.new == sum(len(replica.blocks) for replica in grid.catalogue.replicas)


def test_a_hundred_thousand_block_replicas_take_a_handful_of_statements(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO sites (name, storage_type, status)
            SELECT 'T2_' || n, 'disk', 'ready' FROM generate_series(1, 10) n""")
        )
        connection.execute(
            text("""
            INSERT INTO datasets (name, status, is_open, last_update_at)
            SELECT '/A/' || n || '/C', 'valid', false, now() FROM generate_series(1, 1000) n""")
        )
        connection.execute(
            text("""
            INSERT INTO blocks (dataset_id, name, is_open, size_bytes, last_update_at)
            SELECT d.id, 'b' || n, false, 10, now() FROM datasets d, generate_series(1, 10) n""")
        )
    blocks = {n: [f"/A/{n}/C#b{b}" for b in range(1, 11)] for n in range(1, 1001)}
    document = {
        "dataset_replicas": [
            {"dataset": f"/A/{n}/C", "site": f"T2_{s}", "blocks": blocks[n] if s % 2 else "*"}
            for n in blocks
            for s in range(1, 11)
        ]
    }
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert inject(database, document).block_replicas.new == 100_000
    assert len(statements) < 100
