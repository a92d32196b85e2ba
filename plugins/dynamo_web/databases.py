"""The inventory's database as this process uses it: one that cannot write for reads, one for who logs in, one for
writes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, unquote

from dynamo_ops.base.settings import settings
from dynamo_ops.database.connect import connect
from dynamo_ops.database.connection import Database

STATEMENT_TIMEOUT_S = 60
"""Of one statement; of a stream, of its first piece and of each other one."""
ONE_PROCESSOR = "-c max_parallel_workers_per_gather=0"
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
    timeout = f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000}"
    return Databases(
        Database(_with_options(url, f"{timeout} -c default_transaction_read_only=on {ONE_PROCESSOR}")),
        Database(_with_options(url, timeout)),
        Database(_with_options(url, f"{timeout} -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_S * 1000}")),
    )


def reading() -> Database:
    """For routes that read."""
    return databases().reads


def writing() -> Database:
    """For acts."""
    return databases().writes


def _with_options(url: str, options: str) -> str:
    """A URL of libpq with more options of the session; all else of it as it is written."""
    place, _, query = url.partition("?")
    parts = [part for part in query.split("&") if part]
    given = [unquote(part.removeprefix("options=")) for part in parts if part.startswith("options=")]
    others = [part for part in parts if not part.startswith("options=")]
    return f"{place}?{'&'.join([*others, 'options=' + quote(' '.join([*given, options]))])}"
