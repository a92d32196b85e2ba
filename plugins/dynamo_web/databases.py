"""The inventory's database as this process uses it: one that cannot write for reads, one for who logs in, one for
writes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from dynamo_ops.base.settings import settings
from dynamo_ops.database.connect import connect
from dynamo_ops.database.connection import Database

STATEMENT_TIMEOUT_S = 60
"""Of one statement; of a stream, of its first piece and of each other one."""
ONE_PROCESSOR = "SET LOCAL max_parallel_workers_per_gather = 0"
"""Of a read: many are answered at once, and to start helpers takes longer than most."""
IDLE_TIMEOUT_S = 60
"""Between two statements of a write: whoever stands still for longer has died, and holds what it had locked."""


@dataclass(frozen=True)
class Databases:
    """``reads``: PostgreSQL itself refuses what would write. ``logins``: notes when a token was used. ``writes``: the
    acts."""

    reads: Database
    logins: Database
    writes: Database

    def dispose(self) -> None:
        """Close the pooled connections."""
        for database in (self.reads, self.logins, self.writes):
            database.dispose()


@cache
def databases() -> Databases:
    """Those of this process. ``databases.cache_clear()`` reads the settings again."""
    url = connect(settings()).url
    timeout = f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"
    idle_timeout = f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_S}s'"
    return Databases(
        Database(url, ("SET TRANSACTION READ ONLY", timeout, ONE_PROCESSOR)),
        Database(url, (timeout,)),
        Database(url, (timeout, idle_timeout)),
    )


def reading() -> Database:
    """For routes that read."""
    return databases().reads


def writing() -> Database:
    """For acts."""
    return databases().writes
