"""What the example of a package with a storage needs to be tested: a backend for the conformance suite, and a world of
two such sites between which the tasks of the DAGs copy, list and delete. ``test_example`` runs both where the package
is installed, in processes of their own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dynamo_ops.base.settings import settings
from dynamo_ops.consistency import tasks as consistency
from dynamo_ops.database.connection import Database
from dynamo_ops.deletion import tasks as deletions
from dynamo_ops.storage.connect import site_storages
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.transfer import tasks as transfers
from tests.inventory.factory import Inventory
from tests.storage.backends import Backend

TABLE = "CREATE TABLE files (lfn TEXT PRIMARY KEY, content BLOB NOT NULL, modified_at REAL NOT NULL)"
REFUSALS = "".join(
    f"CREATE TRIGGER no_{what} BEFORE {what} ON files BEGIN SELECT raise(ABORT, 'refused'); END;"
    for what in ("insert", "delete")
)


class CupboardBackend(Backend):
    """A storage of the example, and the database behind it."""

    has_directories = False

    def __init__(self, folder: Path, site: str = "T2_A") -> None:
        self._file = folder / f"{site}.db"
        self.execute(TABLE)
        self.prefix = f"cupboard://{self._file}"
        super().__init__("cupboard", self.prefix, StorageOptions(read_timeout=1))

    def execute(self, sql: str, *parameters: Any) -> list[Any]:
        with closing(sqlite3.connect(self._file)) as connection, connection:
            return connection.execute(sql, parameters).fetchall()

    def put(self, lfn: str, data: bytes) -> None:
        self.execute("INSERT OR REPLACE INTO files VALUES (?, ?, unixepoch())", lfn, data)

    def files(self) -> dict[str, bytes]:
        return dict(self.execute("SELECT lfn, content FROM files"))

    def away(self) -> None:
        self._file.unlink()

    @contextmanager
    def forbidden(self, directory: str) -> Iterator[None]:
        with closing(sqlite3.connect(self._file)) as connection:
            connection.executescript(REFUSALS)
        yield


def main() -> None:
    """Copy a file from one cupboard to another, check the second, delete the file from the first."""
    installation = settings()
    database = Database(str(installation.db_url))
    inventory = Inventory(database)
    here, there = (CupboardBackend(installation.home, site) for site in ("T3_A", "T3_B"))
    for site, backend in (("T3_A", here), ("T3_B", there)):
        inventory.rows(
            "UPDATE site_endpoints SET protocol = 'cupboard', prefix = :p WHERE site_id = :s",
            p=backend.prefix,
            s=inventory.site(site),
        )
    contents = {"/store/b1/a file": b"0123456789"}
    inventory.block("b1", contents=contents)
    inventory.replica("b1", "T3_A")
    for lfn, content in contents.items():
        here.put(lfn, content)

    inventory.subscription("copy", list(contents), "T3_B")
    transfers.plan_transfer_batches(database, installation)
    copied = transfers.copy_directly(database, installation)

    check = consistency.start_check(database, "run", "T3_B", consistency.check_folder(installation, "run", "T3_B"))
    consistency.list_inventory(database, check)
    rules = consistency.site_rules(database, installation, check)
    consistency.list_storage(database, check, site_storages(database, installation), rules)
    compared = consistency.compare_lists(database, check, rules)

    inventory.subscription("delete", list(contents), "T3_A")
    (lot,) = deletions.plan_deletion_batches(database, installation)
    deleted = deletions.delete(database, installation, lot)
    print(
        json.dumps(
            {
                "copied": copied["files"],
                "listed": [compared.num_stored, compared.num_missing_found, compared.num_orphan],
                "deleted": deleted["num_deleted"],
                "here": sorted(here.files()),
                "there": sorted(there.files()),
            }
        )
    )


if __name__ == "__main__":
    main()
