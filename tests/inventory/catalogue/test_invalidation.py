"""Invalidation: what is declared invalid is gone with all below, nothing else is touched, nothing brings it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import pytest
from sqlalchemy import event, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.detox.history import dataset_history, left_out
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.query.paging.listing import stream
from dynamo_ops.query.record.invalidation import INVALIDATIONS, InvalidationFilter
from dynamo_ops.request.registry import request_details
from tests.conftest import TEMPLATE
from tests.inventory.factory import SIZE, Inventory
from tests.inventory.told import T0, block, dataset, file, merge
from tests.people import ADA
from tests.request.stock import list_requests
from tests.sources.pocket import inventory_counts

DATASET = "/A/B-v1/AOD"
MORE = (
    "accesses_daily",
    "demand_daily",
    "dataset_attributes",
    "vanished",
    "subscriptions",
    "deletions",
    "transfers",
)


@pytest.fixture
def stock(database: Database) -> Inventory:
    """Blocks b1 (2 files; T2_A, T1_M custodial), b2 (2 files; T2_A, half of it at T2_B) of one dataset."""
    return filled(database)


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres) -> Iterator[Inventory]:
    """The same, for tests that leave it as it is."""
    postgres.create_database("invalidation", template=TEMPLATE)
    database = Database(postgres.url("invalidation"))
    stock = filled(database)
    before = inventory_counts(database)
    yield stock
    assert inventory_counts(database) == before
    database.dispose()
    postgres.drop_database("invalidation")


def filled(database: Database) -> Inventory:
    stock = Inventory(database)
    for name, kind in (("T2_A", "disk"), ("T2_B", "disk"), ("T1_M", "mss")):
        stock.site(name, kind)
    stock.block("b1", 2)
    stock.block("b2", 2)
    for name, at in (("b1", "T2_A"), ("b1", "T1_M"), ("b2", "T2_A")):
        stock.replica(name, at)
    stock.replica("b2", "T2_B", present=["/store/b2/f0"])
    stock.rows("UPDATE block_replicas SET is_custodial = true WHERE site_id = :s", s=stock.site_ids["T1_M"])
    stock.rows("""UPDATE datasets d SET size_bytes = x.s, num_blocks = x.n, num_files = x.f FROM (
        SELECT sum(size_bytes)::bigint AS s, count(*) AS n, sum(num_files)::bigint AS f FROM blocks) x""")
    return stock


def do(stock: Inventory, **document: Any) -> Any:
    return invalidate(stock.db, document, reason="lost", by=ADA)


def sums(stock: Inventory) -> Any:
    return stock.rows("SELECT size_bytes, num_blocks, num_files FROM datasets")


def test_a_file_goes_and_what_held_it_is_counted_again(stock: Inventory) -> None:
    summary = do(stock, files=["/store/b2/f1"])
    assert (summary.num_datasets, summary.num_blocks, summary.num_files, summary.size_bytes) == (0, 0, 1, SIZE)
    assert sums(stock) == [(3 * SIZE, 2, 3)]
    assert stock.rows("SELECT size_bytes, num_files FROM blocks ORDER BY name") == [(2 * SIZE, 2), (SIZE, 1)]
    assert stock.replica_state("b2", "T2_A") == (True, SIZE, 0)
    assert stock.replica_state("b2", "T2_B") == (True, SIZE, 0), "what it lacked is gone"
    assert stock.rows("SELECT lfn FROM files ORDER BY 1") == [("/store/b1/f0",), ("/store/b1/f1",), ("/store/b2/f0",)]


def test_more_than_a_person_confirmed_does_not_go(stock: Inventory) -> None:
    before = sums(stock)
    with pytest.raises(InventoryError, match="1 files would go by now, not 3; look again"):
        invalidate(stock.db, {"files": ["/store/b2/f1"]}, reason="lost", by=ADA, expected_files=3)
    assert sums(stock) == before
    assert invalidate(stock.db, {"files": ["/store/b2/f1"]}, reason="lost", by=ADA, expected_files=1).num_files == 1


def test_an_incomplete_replica_can_stay_incomplete_or_lose_all_it_has(stock: Inventory) -> None:
    stock.block("b3", 3)
    stock.replica("b3", "T2_A", present=["/store/b3/f0", "/store/b3/f1"])
    stock.replica("b3", "T2_B", present=["/store/b3/f0"], owned=False)
    stock.replica("b3", "T1_M", present=["/store/b3/f0"])
    do(stock, files=["/store/b3/f0"])
    assert stock.replica_state("b3", "T2_A") == (False, SIZE, 1)
    assert stock.replica_state("b3", "T2_B") is None, "nobody owned it and nothing is there"
    assert stock.replica_state("b3", "T1_M") == (False, 0, 0), "a group still waits for the rest"


def test_a_block_without_files_has_replicas_only_where_the_dataset_grows(stock: Inventory) -> None:
    stock.rows("UPDATE dataset_replicas SET is_growing = true WHERE site_id = :s", s=stock.site_ids["T1_M"])
    do(stock, files=["/store/b1/f0", "/store/b1/f1"])
    assert stock.replica_state("b1", "T2_A") is None
    assert stock.replica_state("b1", "T1_M") == (True, 0, 0)
    assert sums(stock) == [(2 * SIZE, 2, 2)]


def test_a_block_goes_with_its_files_and_replicas(stock: Inventory) -> None:
    summary = do(stock, blocks=[f"{DATASET}#b1"])
    assert (summary.num_blocks, summary.num_files, summary.size_bytes) == (1, 2, 2 * SIZE)
    assert (stock.replica_state("b1", "T2_A"), stock.replica_state("b1", "T1_M")) == (None, None)
    assert stock.rows("SELECT name FROM blocks") == [("b2",)]
    assert stock.scalar("SELECT count(*) FROM files") == 2
    assert sums(stock) == [(2 * SIZE, 1, 2)]
    sites = stock.rows("SELECT d.name FROM dataset_replicas r JOIN sites d ON d.id = r.site_id ORDER BY 1")
    assert sites == [("T2_A",), ("T2_B",)], "nothing of the dataset is at T1_M any more"


def fill_all(stock: Inventory) -> None:
    """A row of everything that can name the dataset, its blocks or files."""
    stock.subscription("delete", ["/store/b1/f0"], "T2_A")
    stock.subscription("copy", ["/store/b2/f1"], "T2_B")
    done = stock.scalar("SELECT id FROM subscriptions WHERE action = 'delete'")
    stock.rows("UPDATE subscriptions SET state = 'done' WHERE id = :id", id=done)
    site = stock.site_ids["T2_A"]
    batch = stock.scalar("INSERT INTO deletion_batches (site_id, state) VALUES (:s, 'finished') RETURNING id", s=site)
    stock.rows(
        "INSERT INTO deletions (batch_id, subscription_id, state, size_bytes) VALUES (:b, :w, 'done', 1)",
        b=batch,
        w=done,
    )
    stock.rows(
        """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, size_bytes)
        SELECT 1, id, 0, :s, 'failed', 1 FROM subscriptions WHERE action = 'copy'""",
        s=site,
    )
    stock.rows("INSERT INTO attributes (name, producer, produced_at) VALUES ('a', 'p', now())")
    for sql in (
        "INSERT INTO dataset_attributes (name, dataset_id, value) SELECT 'a', id, 1 FROM datasets",
        "INSERT INTO demand_daily (day, source, dataset_id, num_jobs) SELECT '2026-01-01', 's', id, 1 FROM datasets",
        """INSERT INTO accesses_daily (day, source, dataset_id, site_id, num_accesses)
           SELECT '2026-01-01', 's', d.id, s.id, 1 FROM datasets d, sites s""",
        """INSERT INTO vanished (source, kind, name, size_bytes)
           SELECT 'dbs', 'dataset', name, 0 FROM datasets UNION ALL SELECT 'dbs', 'file', lfn, 0 FROM files
           UNION ALL SELECT 'dbs', 'block', d.name || '#' || b.name, 0 FROM blocks b JOIN datasets d
               ON d.id = b.dataset_id""",
    ):
        stock.rows(sql)


def test_a_dataset_goes_with_everything_that_names_it(stock: Inventory) -> None:
    fill_all(stock)
    summary = do(stock, datasets=[DATASET])
    assert (summary.num_datasets, summary.num_blocks, summary.num_files) == (1, 2, 4)
    counts = inventory_counts(stock.db)
    left = {name: number for name, number in counts.items() if number}
    assert left == {"sites": 3, "site_endpoints": 3, "groups": 1, "attributes": 1}
    assert [table for table in MORE if stock.scalar(f"SELECT count(*) FROM {table}")] == []


def invalidations(stock: Inventory, *names: str) -> list[tuple[Any, ...]]:
    """Newest first."""
    fields = ("id", "kind", "name", "size_bytes", "num_files", "reason", "created_by")
    _, pieces = stream(stock.db, INVALIDATIONS, InvalidationFilter(names), fields)
    return [tuple(row) for piece in pieces for row in piece]


def test_what_it_would_orphan_is_told_by_site(stock: Inventory) -> None:
    stock.subscription("delete", ["/store/b1/f0"], "T2_A")
    stock.subscription("copy", ["/store/b2/f1"], "T2_B")
    before = inventory_counts(stock.db)
    summary = invalidate(stock.db, {"datasets": [DATASET]}, reason="lost", by=ADA, dry_run=True)
    assert inventory_counts(stock.db) == before
    assert invalidations(stock) == []
    columns = ("site", "num_block_replicas", "num_files", "size_bytes", "custodial_bytes", "num_only_files")
    assert summary.sites.select(*columns, "num_copies", "num_deletions").rows() == [
        ("T1_M", 1, 2, 2 * SIZE, 2 * SIZE, 0, 0, 0),
        ("T2_A", 2, 4, 4 * SIZE, 0, 1, 0, 1),
        ("T2_B", 1, 1, SIZE, 0, 0, 1, 0),
    ]
    assert json.loads(json.dumps(summary.document()))["sites"][0]["storage_type"] == "mss"


def test_names_stay_with_who_when_and_why(stock: Inventory) -> None:
    do(stock, datasets=[DATASET], blocks=[f"{DATASET}#b1"], files=["/store/b1/f0"])
    assert sorted(row[1:] for row in invalidations(stock)) == [
        ("block", f"{DATASET}#b1", 2 * SIZE, 2, "lost", "ada"),
        ("dataset", DATASET, 4 * SIZE, 4, "lost", "ada"),
        ("file", "/store/b1/f0", SIZE, 1, "lost", "ada"),
    ]
    assert [row[1] for row in invalidations(stock, "/store/*")] == ["file"]
    assert [row[0] for row in invalidations(stock)] == [3, 2, 1]


@pytest.mark.parametrize(
    "document",
    [
        {"datasets": [DATASET]},
        {"blocks": [f"{DATASET}#b2"]},
        {"files": ["/store/b2/f0", "/store/b2/f0"]},
        {"datasets": [DATASET], "files": ["/store/b2/f0"]},
    ],
    ids=["dataset", "block", "file twice", "file below"],
)
def test_the_same_document_again_is_nothing(stock: Inventory, document: dict[str, Any]) -> None:
    assert not do(stock, **document).is_nothing
    before, notes = inventory_counts(stock.db), invalidations(stock)
    again = do(stock, **document)
    assert again.is_nothing
    assert again.num_known == sum(len(set(names)) for names in document.values())
    assert inventory_counts(stock.db) == before
    assert invalidations(stock) == notes


BAD: dict[str, tuple[Any, list[str]]] = {
    "a list": ([1], ["document: must be an object with datasets, blocks, files, got [1]"]),
    "unknown key": ({"dataset": []}, ["dataset: unknown key; known: datasets, blocks, files"]),
    "no list": ({"files": "/a"}, ["files: must be a list of names, got '/a'"]),
    "no name": ({"files": ["", 3]}, ["files[0]: must be a name, got ''", "files[1]: must be a name, got 3"]),
    "no block": ({"blocks": [DATASET]}, [f"blocks[0]: '{DATASET}' is not of the form dataset#block"]),
    "unknown": (
        {"datasets": [DATASET, "/A/B-v2/AOD"], "blocks": [f"{DATASET}#b9"], "files": ["/store/b9/f0"]},
        [
            f"datasets[1]: unknown dataset '/A/B-v2/AOD'. Did you mean {DATASET}",
            f"blocks[0]: unknown block '{DATASET}#b9'. Did you mean {DATASET}#b",
            "files[0]: unknown file '/store/b9/f0'",
        ],
    ),
    "a glob": ({"datasets": ["/A/*"]}, ["datasets[0]: unknown dataset '/A/*'"]),
    "many": ({"files": [f"/x/{n}" for n in range(50)]}, ["files[19]: ", "… and 30 more"]),
}


@pytest.mark.parametrize(("document", "told"), BAD.values(), ids=BAD.keys())
def test_faults_are_named_by_their_path(shared: Inventory, document: Any, told: list[str]) -> None:
    with pytest.raises(InventoryError, match="invalidation refused, nothing was written:\n") as caught:
        invalidate(shared.db, document, reason="lost", by=ADA)
    for words in told:
        assert words in str(caught.value)


def test_a_reason_is_needed(shared: Inventory) -> None:
    with pytest.raises(InventoryError, match="say why"):
        invalidate(shared.db, {"datasets": [DATASET]}, reason=" ", by=ADA)


B1 = {"datasets": [DATASET]}, {"blocks": [f"{DATASET}#b1"]}, {"files": ["/store/b1/f1"]}


@pytest.mark.parametrize("document", B1, ids=["dataset", "block", "file"])
@pytest.mark.parametrize("item", [DATASET, "/A/*", f"{DATASET}#b1", f"{DATASET}#b[12]*", "/?/*#b1*", f"{DATASET}#*"])
def test_what_is_locked_is_refused(shared: Inventory, item: str, document: dict[str, Any]) -> None:
    lock = shared.scalar(
        "INSERT INTO locks (item, sites, reason, created_by) VALUES (:i, 'T9_X', 'thesis', 'bob') RETURNING id", i=item
    )
    with pytest.raises(InventoryError) as caught:
        do(shared, **document)
    assert f"{next(iter(document))}[0]: " in str(caught.value)
    assert f"is locked: lock {lock} of '{item}' by bob: thesis; have the lock removed" in str(caught.value)
    shared.rows("UPDATE locks SET removed_at = now()")
    assert not invalidate(shared.db, document, reason="lost", by=ADA, dry_run=True).is_nothing


@pytest.mark.parametrize("item", ["/A/B-v1/RAW", f"{DATASET}#b2", "/B/*", f"{DATASET}#b2*"])
def test_a_lock_on_something_else_is_no_hindrance(shared: Inventory, item: str) -> None:
    shared.rows("INSERT INTO locks (item, reason, created_by) VALUES (:i, 'thesis', 'bob')", i=item)
    assert invalidate(shared.db, B1[1], reason="lost", by=ADA, dry_run=True).num_blocks == 1
    shared.rows("UPDATE locks SET removed_at = now()")


UNDER_WAY = {
    "being copied": ("copy", "inbatch", "2 of its files are being copied at T2_B; cancel that"),
    "withdrawn, but its job runs": ("copy", "cancelled", "2 of its files are being copied at T2_B"),
    "being deleted": ("delete", "inbatch", "1 of its files are being deleted at T2_B"),
}


@pytest.mark.parametrize(("action", "state", "told"), UNDER_WAY.values(), ids=UNDER_WAY.keys())
def test_what_is_under_way_is_waited_for(shared: Inventory, action: Any, state: str, told: str) -> None:
    lfns = ["/store/b1/f0", "/store/b1/f1"] if action == "copy" else ["/store/b2/f0"]
    shared.subscription(action, lfns, "T2_B")
    shared.rows("UPDATE subscriptions SET state = :s", s=state)
    if action == "copy":
        shared.rows(
            """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, size_bytes)
            SELECT 1, id, id, 1, 'active', 1 FROM subscriptions"""
        )
    for dry_run in (True, False):
        with pytest.raises(InventoryError) as caught:
            invalidate(shared.db, {"datasets": [DATASET]}, reason="lost", by=ADA, dry_run=dry_run)
        assert f"datasets[0]: {told}" in str(caught.value)
    shared.rows("UPDATE transfers SET state = 'cancelled'")
    shared.rows("UPDATE subscriptions SET state = 'retry'")
    assert invalidate(shared.db, {"datasets": [DATASET]}, reason="lost", by=ADA, dry_run=True).num_datasets == 1
    shared.rows("DELETE FROM transfers")
    shared.rows("DELETE FROM subscriptions")


def ask(stock: Inventory, request_id: int, *items: tuple[int, int | None], kind: str = "copy") -> None:
    stock.rows(
        """INSERT INTO requests (id, kind, digest, sites, num_copies, state, requested_by, last_asked_by)
        VALUES (:id, :kind, :id, ARRAY['T2_B'], 1, 'activated', 'eve', 'eve')""",
        id=request_id,
        kind=kind,
    )
    for number, (dataset_id, block_id) in enumerate(items, start=1):
        keys = {"r": request_id, "n": number, "d": dataset_id, "b": block_id}
        stock.rows(
            "INSERT INTO request_items (request_id, number, dataset_id, block_id) VALUES (:r, :n, :d, :b)", **keys
        )
        stock.rows(
            """INSERT INTO request_actions (request_id, dataset_id, block_id, site_id, size_bytes)
            SELECT :r, :d, CAST(:b AS bigint), id, 1 FROM sites WHERE name = 'T2_B'""",
            **{name: keys[name] for name in "rdb"},
        )


def test_requests_that_named_it_are_closed_or_shortened(stock: Inventory) -> None:
    whole, b1, b2 = stock.dataset_id, stock.block_ids["b1"], stock.block_ids["b2"]
    ask(stock, 1, (whole, None))
    ask(stock, 2, (whole, b1))
    ask(stock, 3, (whole, b1), (whole, b2), kind="deletion")
    ask(stock, 4, (whole, b2))
    summary = do(stock, blocks=[f"{DATASET}#b1"])
    assert summary.requests.select("id", "kind", "requested_by", "is_closed").rows() == [
        (2, "copy", "eve", True),
        (3, "deletion", "eve", False),
    ]
    states = stock.rows("SELECT id, state, closed_by, closed_because FROM requests ORDER BY id")
    assert states == [
        (1, "activated", None, None),
        (2, "cancelled", "ada", "declared invalid by ada: lost"),
        (3, "activated", None, None),
        (4, "activated", None, None),
    ]
    actions = stock.rows("SELECT request_id, block_id, state, reason FROM request_actions ORDER BY id")
    assert actions == [
        (1, None, "queued", None),
        (2, b1, "cancelled", "declared invalid by ada: lost"),
        (3, b1, "cancelled", "declared invalid by ada: lost"),
        (3, b2, "queued", None),
        (4, b2, "queued", None),
    ]
    items = stock.rows("SELECT request_id, block_id FROM request_items ORDER BY 1, 2")
    assert items == [(1, None), (2, b1), (3, b2), (4, b2)]
    assert do(stock, blocks=[f"{DATASET}#b2"]).requests.select("id", "is_closed").rows() == [(3, True), (4, True)]
    assert stock.rows("SELECT id, state FROM requests ORDER BY id")[2] == (3, "cancelled")


def test_histories_and_closed_requests_keep_its_name(stock: Inventory) -> None:
    b1 = stock.block_ids["b1"]
    ask(stock, 1, (stock.dataset_id, None))
    ask(stock, 2, (stock.dataset_id, b1), kind="deletion")
    version = stock.scalar(
        "INSERT INTO policy_versions (kind, partition, sha256, text) VALUES ('detox', 'p', 'x', 'D') RETURNING id"
    )
    plan = stock.scalar(
        """INSERT INTO plans (kind, partition, run_key, state, policy_version_id, location, summary, planned_for_at,
                              committed_at)
        VALUES ('detox', 'p', 'r', 'committed', :v, '', '{}', now(), now()) RETURNING id""",
        v=version,
    )
    keys = {"d": stock.dataset_id, "p": plan, "b": b1}
    stock.rows(
        "INSERT INTO detox_history SELECT :d, id, :p, 'left_out', 1, 1, 5 FROM sites WHERE name = 'T2_A'", **keys
    )
    stock.rows("INSERT INTO detox_left_out SELECT :p, :b, id, :d, 5, 'x' FROM sites WHERE name = 'T2_A'", **keys)
    do(stock, blocks=[f"{DATASET}#b1"])
    do(stock, datasets=[DATASET])
    assert dataset_history(stock.db, DATASET, since=T0)["dataset"].to_list() == [DATASET]
    assert left_out(stock.db, plan).select("dataset", "block").rows() == [(DATASET, "b1")]
    shown = {row["id"]: (row["items"], row["state"]) for row in list_requests(stock.db, datasets=["/A/*"]).to_dicts()}
    assert shown == {1: (DATASET, "cancelled"), 2: (f"{DATASET}#b1", "cancelled")}
    for number, item in ((1, DATASET), (2, f"{DATASET}#b1")):
        details = request_details(stock.db, number)
        assert details.request["items"] == [item]
        assert details.actions.select("item", "state", "reason").rows() == [
            (item, "cancelled", "declared invalid by ada: lost")
        ]


def test_no_source_brings_it_back(database: Database) -> None:
    told = (
        [dataset(), dataset("/D/E-v1/F")],
        [block("b1"), block("b2"), block("b1", of="/D/E-v1/F")],
        [file("/a/1"), file("/a/2"), file("/a/3", in_block="b2"), file("/d/1", of="/D/E-v1/F")],
    )
    merge(database, *told)
    named = {"datasets": ["/D/E-v1/F"], "blocks": ["/A/B-v1/C#b2"], "files": ["/a/2"]}
    invalidate(database, named, reason="lost", by=ADA)
    query = """
        SELECT d.name AS dataset, d.num_files, d.size_bytes, b.name AS block, f.lfn FROM datasets AS d
        JOIN blocks AS b ON b.dataset_id = d.id JOIN files AS f ON f.block_id = b.id"""
    left = [("/A/B-v1/C", 1, 10, "b1", "/a/1")]
    assert database.frame(query).rows() == left
    merge(database, *told, run_key="again")
    assert database.frame(query).rows() == left
    assert database.frame("SELECT count(*) AS n FROM vanished").item() == 0


def test_a_subscription_that_is_being_made_meanwhile_goes_too(stock: Inventory) -> None:
    with ThreadPoolExecutor(1) as thread:
        with stock.db.begin() as connection:
            connection.execute(
                text("""INSERT INTO subscriptions (file_id, site_id, action, origin)
                        SELECT f.id, s.id, 'copy', 'x' FROM files f, sites s WHERE f.lfn = '/store/b2/f1'
                        AND s.name = 'T2_B'""")
            )
            doing = thread.submit(do, stock, datasets=[DATASET])
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'"
            while not stock.scalar(waits):
                assert not doing.done()
                sleep(0.02)
        assert doing.result().sites.filter(site="T2_B")["num_copies"].item() == 1
    assert stock.scalar("SELECT count(*) FROM subscriptions") == 0


def test_a_thousand_files_take_a_handful_of_statements(stock: Inventory) -> None:
    lfns = stock.block("big", 2)
    stock.rows(
        """INSERT INTO files (block_id, lfn, size_bytes) SELECT :b, '/store/many/' || n, 1
        FROM generate_series(1, 1000) n""",
        b=stock.block_ids["big"],
    )
    statements: list[str] = []
    event.listen(stock.db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    do(stock, files=[*lfns, *(f"/store/many/{n}" for n in range(1, 1001))])
    assert len(statements) < 70
