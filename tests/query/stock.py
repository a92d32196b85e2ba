"""An inventory with something to find: datasets of several names at sites, one copy of each kind."""

from __future__ import annotations

from dynamo_ops.database.connection import Database
from tests.inventory.factory import Inventory

FIRST, SECOND, THIRD = "/A/B-v1/AOD", "/A/B_v1/RAW", "/Z[1]/Run%-v2/AOD"
LOWER = "/a/b-v1/AOD"


class Stock(Inventory):
    """Datasets by name: two blocks of two files each, named by the letter that is given."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.dataset_ids = {FIRST: self.dataset_id}
        self.users = self.scalar("INSERT INTO groups (name, ownership_level) VALUES ('users', 'block') RETURNING id")

    def dataset(self, name: str, status: str = "valid", *, is_open: bool = False, release: str | None = None) -> int:
        """A dataset that blocks and replicas are made of from now on; the known one of that name, if there is one."""
        if name not in self.dataset_ids:
            self.dataset_ids[name] = self.scalar(
                "INSERT INTO datasets (name, status, is_open, software_release, last_update_at)"
                " VALUES (:n, :s, :o, :r, now()) RETURNING id",
                n=name, s=status, o=is_open, r=release,
            )  # fmt: skip
        self.dataset_id = self.dataset_ids[name]
        return self.dataset_id

    def fill(self, *blocks: str, num_files: int = 2) -> None:
        """Blocks of the present dataset, whose figures follow."""
        for block in blocks:
            self.block(block, num_files)
        self.rows(
            """UPDATE datasets SET num_blocks = n, num_files = f, size_bytes = s FROM (
                   SELECT count(*) AS n, sum(num_files) AS f, sum(size_bytes) AS s FROM blocks WHERE dataset_id = :d) x
               WHERE id = :d""",
            d=self.dataset_id,
        )


def stocked(db: Database) -> Stock:
    """FIRST: complete at T2_A and on tape, one block at T2_B. SECOND: at T2_B alone, of users. THIRD: nowhere. LOWER:
    one file of two at T2_C."""
    stock = Stock(db)
    for name in ("T2_A", "T2_B", "T2_C"):
        stock.site(name)
    stock.site("T1_Tape", "mss")
    stock.dataset(FIRST)
    stock.fill("a1", "a2")
    for block, site in (("a1", "T2_A"), ("a2", "T2_A"), ("a1", "T1_Tape"), ("a2", "T1_Tape"), ("a1", "T2_B")):
        stock.replica(block, site)
    stock.dataset(SECOND, "production", is_open=True, release="CMSSW_9")
    stock.fill("b1", num_files=3)
    stock.replica("b1", "T2_B")
    stock.rows("UPDATE block_replicas SET group_id = :g WHERE block_id = :b", g=stock.users, b=stock.block_ids["b1"])
    stock.dataset(THIRD, "invalid")
    stock.dataset(LOWER)
    stock.fill("c1")
    stock.replica("c1", "T2_C", present=[stock.files_of["c1"][0]], owned=False)
    return stock
