"""Deletion requests: decided at once, block replica by block replica; what may go is let go as by Detox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.settings import RequestSettings
from dynamo_ops.database.connection import Database, select_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import tell
from dynamo_ops.inventory.names import find_group
from dynamo_ops.inventory.request_event import event_rows
from dynamo_ops.inventory.site.lookup import KnownSite, find_sites
from dynamo_ops.inventory.subscription.let_go import let_go
from dynamo_ops.request.deletable import NOT_THERE, load_doomed, refuse_what_must_stay
from dynamo_ops.request.item import Item, datasets_of, find_items, load_items
from dynamo_ops.request.registry import (
    NewRequest,
    check_open_requests,
    check_size,
    count_again,
    insert_request,
    same_open_request,
)
from dynamo_ops.request.states import ActionState, RequestKind, RequestState

GOING = "(SELECT block_id, dataset_id, site_id FROM doomed WHERE left_out IS NULL)"
MAY_BE_LAST = "let_go.block_id IN (SELECT block_id FROM alone)"
NOTHING = "nothing may be deleted: "
SHOWN_REASONS = 3
VERDICTS = {
    "number": pl.Int64,
    "site_id": pl.Int64,
    "reason": pl.String,
    "num_blocks": pl.Int64,
    "size_bytes": pl.Int64,
}


@dataclass(frozen=True)
class DeletionAnswer:
    """What a deletion request was answered. ``request_id`` None: it was only tried. ``state``: activated or rejected.

    ``verdicts``: one row for each item, site and reason: ``item``, ``site``, ``state`` (queued or refused),
    ``reason`` (null: accepted), ``num_blocks`` (block replicas; 0: it is not there), ``size_bytes`` (on disk); by
    item, site, state and reason. What an open request asked before, and got, is not repeated. ``num_last_files``: of
    so many files the last good copies are asked for.
    """

    request_id: int | None
    state: str
    verdicts: pl.DataFrame
    num_last_files: int = 0

    @property
    def accepted(self) -> pl.DataFrame:
        """The verdicts by which something is deleted."""
        return self.verdicts.filter(pl.col("reason").is_null())

    @property
    def refused(self) -> pl.DataFrame:
        """The others."""
        return self.verdicts.filter(pl.col("reason").is_not_null())

    @property
    def accepted_bytes(self) -> int:
        """On disk, of what is deleted."""
        return int(self.accepted["size_bytes"].sum())

    @property
    def document(self) -> dict[str, object]:
        """All of it but its number, plainly."""
        return {
            "state": self.state,
            "accepted_bytes": self.accepted_bytes,
            "num_last_files": self.num_last_files,
            "verdicts": self.verdicts.to_dicts(),
        }


def request_deletion(
    database: Database,
    items: str | Sequence[str],
    sites: Sequence[str],
    *,
    reason: str,
    by: Person,
    now: datetime,
    group: str | None = None,
    allow_tape: bool = False,
    allow_last: int = 0,
    limits: RequestSettings | None = None,
    dry_run: bool = False,
) -> DeletionAnswer:
    """Have ``items`` (a dataset or dataset#block, or several) deleted at ``sites`` (names or globs).

    ``group``: only block replicas of this owner. ``allow_tape``: also at tape sites, and custodial replicas.
    ``allow_last``: so many files may lose their last copy (SEMANTICS §10); InventoryError if it would be more. What may
    go does so as by a Detox commit; what must stay is refused, each with its reason; if that is all, the request is
    rejected. The same open request asked again is counted, and what it did not get is looked at once more.
    ``dry_run``: only say what would happen. Which copies are somebody's own cannot be told yet (one that they asked for
    may have been there before), so who may delete these only is refused. Raises AccessError, and InventoryError when
    something is unknown, no reason is given, or a limit is passed.
    """
    names = [items] if isinstance(items, str) else list(items)
    if not reason.strip():
        raise InventoryError(f"deletion of {' '.join(names[:3])}: say why (reason is empty)", items=names)
    what = f"{' '.join(names[:3])}{' …' if len(names) > 3 else ''} at {' '.join(sites)}"
    with acting(database, by, Action.DELETE, what, reason.strip()) as act:
        connection = act.connection
        asked_items, matching = find_items(connection, names), find_sites(connection, sites)
        owner = None if group is None else (find_group(connection, group), group)
        asked = NewRequest(
            RequestKind.DELETION,
            asked_items,
            sorted(set(sites)),
            None,
            owner and owner[0],
            by.name,
            now,
            reason.strip(),
        )
        hold(connection, Lock.DELETIONS)
        load_items(connection, asked_items)
        load_doomed(connection, [site.id for site in matching])
        hold(connection, Lock.REQUESTS)
        same = same_open_request(connection, asked)
        _leave_out_what_is_under_way(connection, same)
        num_last = refuse_what_must_stay(connection, group=owner, allow_tape=allow_tape, allow_last=allow_last > 0)
        act.check(
            Target(
                datasets=datasets_of(asked_items),
                sites=tuple(sites),
                groups=() if group is None else (group,),
                has_tape=allow_tape,
                has_last_copies=num_last > 0,
            )
        )
        _check_last(num_last, allow_last, names)
        verdicts = _verdicts(connection, asked_items, matching)
        accepted = int(verdicts.filter(pl.col("reason").is_null())["size_bytes"].sum())
        check_size(accepted, f"deletion of {' '.join(names[:3])}", limits)
        is_any = same is not None or verdicts["reason"].has_nulls()
        state = RequestState.ACTIVATED if is_any else RequestState.REJECTED
        if dry_run:
            act.is_dry_run = True
            return DeletionAnswer(None, str(state), _named(verdicts, asked_items, matching), num_last)
        if same is None:
            check_open_requests(connection, by.name, limits)
            request_id = insert_request(connection, asked)
        else:
            request_id = same
            count_again(connection, same, by.name, now)
        act.ids.append(request_id)
        _record(connection, request_id, verdicts, asked_items)
        _set_state(connection, request_id, state, verdicts)
        let_go(connection, GOING, origin=f"request {request_id}", last_allowed=MAY_BE_LAST if allow_last else "false")
        if state is RequestState.REJECTED:
            rejected = event_rows("(SELECT * FROM requests WHERE id = :id)")
            tell(connection, EventKind.REQUEST_REJECTED, rejected, {"id": request_id})
        return DeletionAnswer(request_id, str(state), _named(verdicts, asked_items, matching), num_last)


def _check_last(number: int, allowed: int, names: Sequence[str]) -> None:
    if allowed and number > allowed:
        raise InventoryError(
            f"deletion of {' '.join(names[:3])}: {number:,} files would lose their last copy, not {allowed:,}. "
            f"If that is meant, say --allow-last {number}",
            items=list(names),
        )


def _leave_out_what_is_under_way(connection: Connection, request_id: int | None) -> None:
    """What this request deletes already is not asked of again."""
    connection.execute(
        text(f"""
        DELETE FROM doomed d USING request_actions a
        WHERE a.request_id = :id AND a.block_id = d.block_id AND a.site_id = d.site_id
          AND a.state = '{ActionState.QUEUED}'"""),
        {"id": request_id},
    )


def _verdicts(connection: Connection, items: Sequence[Item], sites: Sequence[KnownSite]) -> pl.DataFrame:
    """Rows of ``doomed`` by item, site and reason; and what is not there: at a site that was named, or anywhere."""
    verdicts = select_frame(
        connection,
        """SELECT number, site_id, left_out, count(*), sum(size_bytes)::bigint FROM doomed
           GROUP BY number, site_id, left_out""",
        VERDICTS,
    )
    there = select_frame(
        connection,
        """SELECT DISTINCT i.number, r.site_id FROM asked_items i JOIN block_replicas r USING (dataset_id)
           WHERE i.block_id IS NULL OR i.block_id = r.block_id""",
        {"number": pl.Int64, "site_id": pl.Int64},
    )
    asked = pl.DataFrame({"number": range(1, len(items) + 1)}, schema={"number": pl.Int64}).join(
        pl.DataFrame(
            {"site_id": [site.id for site in sites], "is_glob": [site.is_glob for site in sites]},
            schema={"site_id": pl.Int64, "is_glob": pl.Boolean},
        ),
        how="cross",
    )
    here = asked.join(there, on=["number", "site_id"], how="semi")["number"].unique()
    absent = asked.join(there, on=["number", "site_id"], how="anti").filter(
        ~pl.col("is_glob") | ~pl.col("number").is_in(here.implode())
    )
    nothing = absent.select(
        "number",
        "site_id",
        reason=pl.lit(NOT_THERE),
        num_blocks=pl.lit(0, dtype=pl.Int64),
        size_bytes=pl.lit(0, dtype=pl.Int64),
    )
    return pl.concat([verdicts, nothing])


def _named(verdicts: pl.DataFrame, items: Sequence[Item], sites: Sequence[KnownSite]) -> pl.DataFrame:
    numbered = pl.DataFrame({"number": range(1, len(items) + 1), "item": [item.name for item in items]})
    named = pl.DataFrame({"site_id": [site.id for site in sites], "site": [site.name for site in sites]})
    state = pl.when(pl.col("reason").is_null()).then(pl.lit("queued")).otherwise(pl.lit("refused"))
    return (
        verdicts.join(numbered, on="number")
        .join(named, on="site_id")
        .select("item", "site", "reason", "num_blocks", "size_bytes", state=state)
        .select("item", "site", "state", "reason", "num_blocks", "size_bytes")
        .sort("item", "site", "state", "reason", nulls_last=True)
    )


def _record(connection: Connection, request_id: int, verdicts: pl.DataFrame, items: Sequence[Item]) -> None:
    """One action for each block replica, accepted or refused, and one for each item that is not at a site."""
    connection.execute(
        text(f"""
        INSERT INTO request_actions AS a (request_id, dataset_id, block_id, site_id, state, reason, from_group_id,
                                          was_growing, size_bytes)
        SELECT :id, d.dataset_id, d.block_id, d.site_id,
               CASE WHEN d.left_out IS NULL THEN '{ActionState.QUEUED}' ELSE '{ActionState.REFUSED}' END, d.left_out,
               d.group_id, coalesce(r.is_growing, false), d.size_bytes
        FROM doomed d LEFT JOIN dataset_replicas r USING (dataset_id, site_id) ORDER BY d.block_id, d.site_id
        ON CONFLICT (request_id, block_id, site_id) WHERE block_id IS NOT NULL DO UPDATE SET
            state = excluded.state, reason = excluded.reason, from_group_id = excluded.from_group_id,
            was_growing = excluded.was_growing, size_bytes = excluded.size_bytes, updated_at = now()"""),
        {"id": request_id},
    )
    absent = [
        (items[number - 1], site) for number, site in verdicts.filter(num_blocks=0).select("number", "site_id").rows()
    ]
    connection.execute(
        text(f"""
        INSERT INTO request_actions (request_id, dataset_id, block_id, site_id, state, reason, size_bytes)
        SELECT :id, w.dataset_id, w.block_id, w.site_id, '{ActionState.REFUSED}', '{NOT_THERE}', 0
        FROM unnest(CAST(:datasets AS bigint[]), CAST(:blocks AS bigint[]), CAST(:sites AS smallint[]))
            AS w (dataset_id, block_id, site_id)
        ON CONFLICT DO NOTHING"""),
        {
            "id": request_id,
            "datasets": [item.dataset_id for item, _ in absent],
            "blocks": [item.block_id for item, _ in absent],
            "sites": [site for _, site in absent],
        },
    )


def _set_state(connection: Connection, request_id: int, state: RequestState, verdicts: pl.DataFrame) -> None:
    is_rejected = state is RequestState.REJECTED
    reasons = sorted(verdicts["reason"].drop_nulls().unique())
    rest_text = f"; and {len(reasons) - SHOWN_REASONS} more reasons" if len(reasons) > SHOWN_REASONS else ""
    connection.execute(
        text("""
        UPDATE requests SET state = :state, updated_at = now(), closed_because = CAST(:because AS text),
               closed_at = CASE WHEN :closed THEN now() END
        WHERE id = :id"""),
        {
            "id": request_id,
            "state": str(state),
            "closed": is_rejected,
            "because": NOTHING + "; ".join(reasons[:SHOWN_REASONS]) + rest_text if is_rejected else None,
        },
    )
