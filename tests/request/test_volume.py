"""How much a request asks for, and what is there already."""

from __future__ import annotations

from dynamo_ops.database.connection import Database
from dynamo_ops.request.copy_request import request_copy
from dynamo_ops.request.volume import request_volume
from tests.inventory.factory import SIZE
from tests.people import ROOT_USER
from tests.query.stock import FIRST, SECOND, stocked


def test_one_copy_of_all_and_what_each_site_has(database: Database) -> None:
    stock = stocked(database)
    asked = request_copy(database, [FIRST, SECOND], ["T2_*"], num_copies=1, group="users", by=ROOT_USER)
    volume = request_volume(database, asked)
    assert (volume.num_files, volume.size_bytes) == (7, 7 * SIZE)
    assert volume.at == [
        {"site": "T2_A", "there_bytes": 4 * SIZE},
        {"site": "T2_B", "there_bytes": 5 * SIZE},
        {"site": "T2_C", "there_bytes": 0},
    ]
    block = stock.scalar("SELECT name FROM blocks WHERE id = :b", b=stock.block_ids["a1"])
    asked = request_copy(database, f"{FIRST}#{block}", ["T2_B"], num_copies=1, group="users", by=ROOT_USER)
    volume = request_volume(database, asked)
    assert (volume.num_files, volume.size_bytes, volume.at) == (
        2,
        2 * SIZE,
        [{"site": "T2_B", "there_bytes": 2 * SIZE}],
    )
