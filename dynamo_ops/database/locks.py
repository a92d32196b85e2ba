"""Every advisory lock of Dynamo, named, in the order in which one transaction may take several of them.

Who takes them in another order could wait for somebody who waits for him; ``hold`` refuses that. Rows are locked in an
order too: blocks before replicas, dataset replicas before block replicas (these by block and site), replicas before
subscriptions, and the registry of requests (``REQUESTS``) after rows of replicas, never before; ``EVENTS`` last of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Transaction, text
from sqlalchemy.exc import InterfaceError, OperationalError

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.database.connection import Database


class Lock(Enum):
    """What is locked until the end of a transaction, in the order of taking. ``{}``: there is one for each name."""

    MIGRATION = "migration"
    """The schema is brought up to date."""
    STAGED_RUN = "staged run {}"
    """Rows staged of a source in a run are replaced; shared by those who replace one page each."""
    STAGED_PAGE = "staged page {}"
    """One page of these."""
    PARTITION = "partition {}"
    """A plan is committed in the partition, be it of Detox or of the Dealer."""
    DAYS = "days of use"
    """A day of accesses or demand is replaced: what two of them do not know must be counted once."""
    INVENTORY = "inventory"
    """A merge, an injection or an invalidation: two that insert the same names in another order would wait for each
    other. Shared by those who must not see blocks gain files meanwhile."""
    DELETIONS = "deletions"
    """Somebody decides over deletions: two at once would each see the other's copy of a block, and both would let
    theirs go."""
    TRANSFER_PLAN = "transfer plan"
    """Queued copies are taken into batches: one plans at a time, so that the limits hold."""
    QUOTAS = "quotas"
    """Quotas are changed, each change noted with the value before."""
    ATTRIBUTES = "attributes"
    """A producer reads and writes: who reads later writes later."""
    REQUESTS = "requests"
    """Requests are made, advanced or closed."""
    EVENTS = "events"
    """Events are written, at the end of what they tell of: so the order of their numbers is that of their commits."""


_PLACE = {lock: place for place, lock in enumerate(Lock)}
_last_taken: WeakKeyDictionary[Transaction, Lock] = WeakKeyDictionary()


def hold(connection: Connection, lock: Lock, *names: object, shared: bool = False) -> None:
    """Take the lock until the end of the transaction; waits for who has it. ``names``: which one, of a lock with
    ``{}``. ``shared``: others may hold it shared as well."""
    _keep_order(connection, lock)
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    connection.execute(text(f"SELECT {function}({_KEY})"), {"key": _key(lock, names)})


@contextmanager
def alone(db: Database, what: str) -> Iterator[Connection | None]:
    """A connection that holds ``what`` (any name) for us until the end of the block, or None when another task has it:
    one task at a time at one batch, though runs overlap and a killed run's batches are taken up by the next.

    Never waits, so it has no place in the order. A killed task holds nothing once PostgreSQL has noticed. Ask the
    connection something now and then: it raises RetryableRemoteError, out of the block, when it broke and somebody else
    may be at work.

    The lock is one of a transaction, which stays open, idle and without a snapshot, so that it keeps nothing from being
    vacuumed: one of a session is nobody's, or somebody else's, behind a pooler that gives sessions to each transaction.
    """
    try:
        with db.engine.connect() as connection, connection.begin():
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            key = {"key": f"dynamo {what}"}
            is_ours = connection.execute(text(f"SELECT pg_try_advisory_xact_lock({_KEY})"), key).scalar()
            yield connection if is_ours else None
    except (OperationalError, InterfaceError) as error:
        raise RetryableRemoteError(f"database {db.safe_url}: {error.orig}", service="postgresql") from error


_KEY = "hashtextextended(:key, 0)"


def _key(lock: Lock, names: tuple[object, ...]) -> str:
    return f"dynamo {lock.value}".replace("{}", " ".join(map(str, names)))


def _keep_order(connection: Connection, lock: Lock) -> None:
    transaction = connection.get_transaction()
    assert transaction is not None, f"{lock} is held until the end of a transaction, and there is none"
    last = _last_taken.get(transaction, lock)
    assert _PLACE[last] <= _PLACE[lock], f"{lock} is taken before {last}, not after it: see the order of Lock"
    _last_taken[transaction] = lock
