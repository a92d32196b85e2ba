"""The operator's hands on subscriptions: hold, release, retry, cancel. Set-wise: a million are a few statements.

What is under way is not waited for: a subscription held or cancelled while a copy of it runs has its job cancelled by
the next run of transfers once nobody subscribes any file of it; a file that arrives all the same is recorded as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import Act, acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.rows import read_rows
from dynamo_ops.inventory.replica import block_replica
from dynamo_ops.inventory.replica.copies import has_no_file, is_block_awaited
from dynamo_ops.inventory.replica.empty import drop_empty
from dynamo_ops.inventory.states import (
    AUTOMATIC_HOLDS,
    HoldReason,
    SubscriptionAction,
    SubscriptionEvent,
    SubscriptionState,
    sources_of,
)
from dynamo_ops.inventory.subscription.selection import Selection, take
from dynamo_ops.inventory.subscription.subscribe import reopen

Move = Literal["hold", "release", "retry", "cancel"]

# Which subscriptions each move may touch. Only an operator frees what an operator holds, and what was refused.
ALLOWED: Mapping[str, str] = {
    "hold": f"""s.state IN {sources_of(SubscriptionEvent.HOLD)}
                OR s.state = '{SubscriptionState.HELD}' AND s.hold_reason <> '{HoldReason.OPERATOR}'""",
    "release": f"s.state IN {sources_of(SubscriptionEvent.RELEASE)}",
    "retry": f"""s.state = '{SubscriptionState.RETRY}'
                 OR s.state = '{SubscriptionState.HELD}' AND s.hold_reason IN {AUTOMATIC_HOLDS}""",
    "cancel": f"s.state IN {sources_of(SubscriptionEvent.WITHDRAWN)}",
}
ROWS = {
    "action": pl.String,
    "state": pl.String,
    "hold_reason": pl.String,
    "site": pl.String,
    "num_files": pl.Int64,
    "size_bytes": pl.Int64,
}


@dataclass(frozen=True)
class Touched:
    """Subscriptions that a move is about. ``rows``: files and bytes by action, former state, former hold reason, site.

    Of a cancel: ``num_more_files`` of them were not selected themselves, but belong to block replicas that are
    disowned; ``num_disowned`` block replicas lose their group, ``num_removed`` of these had no file and vanish;
    ``num_unowned`` block replicas keep the files of cancelled deletions and belong to nobody.
    """

    rows: pl.DataFrame
    num_more_files: int = 0
    num_disowned: int = 0
    num_removed: int = 0
    num_unowned: int = 0

    @property
    def num_files(self) -> int:
        """In all."""
        return int(self.rows["num_files"].sum())

    @property
    def size_bytes(self) -> int:
        """In all."""
        return int(self.rows["size_bytes"].sum())

    @property
    def document(self) -> dict[str, object]:
        """All of it, plainly."""
        numbers = {name: number for name, number in vars(self).items() if name != "rows"}
        figures = {"num_files": self.num_files, "size_bytes": self.size_bytes}
        return {**figures, **numbers, "rows": self.rows.to_dicts()}


def look(db: Database, move: Move, selection: Selection, *, reason: str | None = None, disown: bool = False) -> Touched:
    """What ``move`` would touch now. Changes nothing; raises what the move itself would raise (of the reason: if one is
    given)."""
    if reason is not None:
        _check_reason(move, reason)
    with db.begin() as connection:
        take(connection, selection, ALLOWED[move], lock=False)
        if move != "cancel":
            return Touched(_rows(connection))
        return _prepare_cancel(connection, disown=disown)


def hold(db: Database, selection: Selection, *, by: Person, reason: str, expected_files: int | None = None) -> Touched:
    """Hold subscriptions, queued or under way, until an operator releases them. InventoryError without a reason.

    ``expected_files``, of all moves: so many a person has seen; InventoryError when it would be others by now.
    """
    note = _note("hold", by.name, reason)
    with _operating(db, by, "hold", reason) as act:
        connection = act.connection
        take(connection, selection, ALLOWED["hold"], lock=True)
        touched = Touched(_rows(connection))
        _check(act, "hold", touched, expected_files)
        connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = '{SubscriptionState.HELD}',
              hold_reason = '{HoldReason.OPERATOR}', note = :note, updated_at = now()
            FROM selected x WHERE s.id = x.id"""),
            {"note": note},
        )
        return touched


def release(
    db: Database, selection: Selection, *, by: Person, reason: str = "", expected_files: int | None = None
) -> Touched:
    """Free held subscriptions, whatever held them: each is closed and made anew: failed sources count as untried.

    They keep their place in the queue. What cannot be served still is held again by the next run of transfers.
    """
    return _reopen(db, "release", selection, by, reason, expected_files)


def retry(
    db: Database, selection: Selection, *, by: Person, reason: str = "", expected_files: int | None = None
) -> Touched:
    """Have subscriptions tried again now, without their pause: failed ones, and those held by no_source, all_failed or
    site_unavailable. As ``release`` otherwise."""
    return _reopen(db, "retry", selection, by, reason, expected_files)


def cancel(
    db: Database,
    selection: Selection,
    *,
    by: Person,
    reason: str,
    disown: bool = False,
    expected_files: int | None = None,
) -> Touched:
    """Withdraw subscriptions. InventoryError without a reason.

    A copy that an incomplete block replica of some group lacks would be subscribed again (``resubscribe_incomplete``).
    Such a cancel is refused, unless ``disown``: then all copies of the block to that site are withdrawn, and the block
    replica belongs to nobody; without a file it vanishes. A deletion cancelled keeps its file; the block replica goes
    on belonging to nobody.
    """
    note = _note("cancel", by.name, reason)
    with _operating(db, by, "cancel", reason) as act:
        connection = act.connection
        take(connection, selection, ALLOWED["cancel"], lock=True)
        touched = _prepare_cancel(connection, disown=disown)
        _check(act, "cancel", touched, expected_files)
        connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = '{SubscriptionState.CANCELLED}', hold_reason = NULL,
              note = :note, updated_at = now()
            FROM selected x WHERE s.id = x.id AND ({ALLOWED["cancel"]})"""),
            {"note": note},
        )
        # Subscribed for by somebody else since it was looked at: then it stays theirs.
        forsaken = (
            f"SELECT block_id, site_id FROM wanted WHERE NOT {is_block_awaited('wanted.block_id', 'wanted.site_id')}"
        )
        disowned = block_replica.disown(connection, forsaken, only_incomplete=True)
        dropped = drop_empty(connection, "SELECT block_id, site_id FROM wanted")
        return Touched(touched.rows, touched.num_more_files, disowned, dropped.num_block_replicas, touched.num_unowned)


def _reopen(
    db: Database, move: Move, selection: Selection, by: Person, reason: str, expected_files: int | None
) -> Touched:
    note = _note(move, by.name, reason)
    with _operating(db, by, move, reason) as act:
        take(act.connection, selection, ALLOWED[move], lock=True)
        touched = Touched(_rows(act.connection))
        _check(act, move, touched, expected_files)
        reopen(act.connection, "selected", note)
        return touched


def _operating(db: Database, by: Person, move: Move, reason: str) -> AbstractContextManager[Act]:
    return acting(db, by, Action.OPERATE_SUBSCRIPTIONS, f"{move} subscriptions", reason.strip())


def _check(act: Act, move: Move, touched: Touched, expected_files: int | None) -> None:
    """Whether they may, at the destinations of what was selected; and the figures for the audit. InventoryError: it is
    not what they have seen."""
    sites = touched.rows["site"].unique().sort().to_list()
    act.check(Target(sites=sites or ("*",)))
    named = f"{', '.join(sites[:3])}{' …' if len(sites) > 3 else ''}"
    act.what = f"{move} {touched.num_files:,} subscriptions at {named or 'no site'}"
    if expected_files not in (None, touched.num_files):
        raise InventoryError(
            f"{move}: it would be {touched.num_files:,} files by now, not {expected_files:,}; look again and confirm",
            num_files=touched.num_files,
        )


def _note(move: Move, by: str, reason: str) -> str:
    _check_reason(move, reason)
    return f"{by}: {reason.strip()}" if reason.strip() else by


def _check_reason(move: Move, reason: str) -> None:
    if move in ("hold", "cancel") and not reason.strip():
        raise InventoryError(f"{move}: say why (reason is empty); it is kept with every subscription")


def _rows(connection: Connection) -> pl.DataFrame:
    return read_rows(
        connection,
        """
        SELECT x.action, x.state, x.hold_reason, d.name, count(*), sum(x.size_bytes)::bigint
        FROM selected x JOIN sites d ON d.id = x.site_id GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4""",
        ROWS,
    )


def _prepare_cancel(connection: Connection, *, disown: bool) -> Touched:
    """``wanted``: the owned incomplete block replicas that the selected copies are for. Refuses, or widens to them."""
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS
        SELECT r.block_id, r.site_id, r.dataset_id, count(*) AS num_files FROM selected x
        JOIN block_replicas r ON r.block_id = x.block_id AND r.site_id = x.site_id
        WHERE x.action = '{SubscriptionAction.COPY}' AND NOT r.is_complete AND r.group_id IS NOT NULL
          GROUP BY 1, 2, 3""")
    )
    connection.execute(text("ANALYZE wanted"))
    replicas, files = connection.execute(text("SELECT count(*), coalesce(sum(num_files), 0) FROM wanted")).one()
    if replicas and not disown:
        raise InventoryError(
            f"{files} of these copies are wanted by {replicas} incomplete block replicas that a group owns: they would "
            "be subscribed again. Cancel the request or the rule that asks for them, hold them, or disown the block "
            "replicas as well (--disown)",
            num_files=int(files),
            num_block_replicas=int(replicas),
        )
    more = connection.execute(text(_WIDEN)).rowcount if replicas else 0
    removed = connection.execute(text(f"SELECT count(*) FROM wanted WHERE {has_no_file('wanted')}")).scalar_one()
    unowned = connection.execute(
        text(f"""
        SELECT count(DISTINCT (r.block_id, r.site_id)) FROM selected x
        JOIN block_replicas r ON r.block_id = x.block_id AND r.site_id = x.site_id
        WHERE x.action = '{SubscriptionAction.DELETE}' AND r.group_id IS NULL""")
    ).scalar_one()
    return Touched(_rows(connection), more, int(replicas), int(removed), int(unowned))


# A block replica is wanted or it is not: a copy of half a block for nobody helps nobody.
_WIDEN = f"""
    INSERT INTO selected
    SELECT s.id, s.file_id, s.site_id, f.block_id, s.action, s.state, s.hold_reason, f.size_bytes
    FROM wanted w JOIN files f ON f.block_id = w.block_id
    JOIN subscriptions s ON s.file_id = f.id AND s.site_id = w.site_id
    WHERE s.action = '{SubscriptionAction.COPY}' AND ({ALLOWED["cancel"]})
      AND NOT EXISTS (SELECT FROM selected x WHERE x.id = s.id)"""
