"""Copy requests: asked for, answered by the Dealer's plans, completed when the data are there (SEMANTICS §4)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.settings import RequestSettings
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.database.words import Words
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import in_order
from dynamo_ops.inventory.kinds import DatasetStatus
from dynamo_ops.inventory.names import find_group, item_name
from dynamo_ops.inventory.request_event import closing
from dynamo_ops.inventory.site.lookup import KnownSite, find_sites
from dynamo_ops.request.item import Item, datasets_of, find_items, load_items
from dynamo_ops.request.registry import (
    NewRequest,
    check_open_requests,
    check_size,
    count_again,
    insert_request,
    same_open_request,
)
from dynamo_ops.request.states import OPEN_REQUESTS, ActionState, RequestEvent, RequestKind, RequestState, sources_of
from dynamo_ops.request.unique_quota import check_quotas

NEVER_COPIED = Words((DatasetStatus.INVALID, DatasetStatus.DELETED, DatasetStatus.DEPRECATED, DatasetStatus.IGNORED))
"""Statuses of datasets of which no copy is made. One that is ``unknown`` may become valid again: it is waited for."""


def request_copy(
    database: Database,
    items: str | Sequence[str],
    sites: Sequence[str],
    *,
    num_copies: int,
    group: str,
    by: Person,
    served: Collection[str] | None = None,
    limits: RequestSettings | None = None,
) -> int:
    """Ask for ``num_copies`` of each of ``items`` (a dataset or dataset#block, or several) over ``sites`` (names or
    globs; 0 copies: one at each). Returns the request's id.

    ``served``: the groups that some Dealer places for; ``limits``: what one person may ask for (None: not checked).
    The same open request is not made twice: it is counted, and its id returned. Raises AccessError, and InventoryError
    naming what is unknown, what limit is passed, or whose quota.
    """
    names = [items] if isinstance(items, str) else list(items)
    if served is not None and group not in served:
        raise InventoryError(
            f"no dealer configuration places for group {group!r}; served are {', '.join(sorted(served)) or 'none'}."
            f"{near(group, served)}",
            group=group,
        )
    if num_copies < 0:
        raise InventoryError(
            f"copy request for {_some(names)}: num_copies={num_copies} is negative", num_copies=num_copies
        )
    with acting(database, by, Action.COPY, f"{_some(names)} to {' '.join(sites)} for {group}") as act:
        connection = act.connection
        asked_items = find_items(connection, names)
        act.check(Target(datasets=datasets_of(asked_items), sites=tuple(sites), groups=(group,)))
        _refuse_gone(asked_items)
        group_id = find_group(connection, group)
        matching = find_sites(connection, sites)
        _check_copies(asked_items, matching, num_copies, limits)
        asked = NewRequest(RequestKind.COPY, asked_items, sorted(set(sites)), num_copies, group_id, by.name)
        hold(connection, Lock.REQUESTS)
        same = same_open_request(connection, asked)
        if same is not None:
            count_again(connection, same, by.name)
            act.ids.append(same)
            return same
        check_open_requests(connection, by.name, limits)
        load_items(connection, asked_items)
        _check_volume(connection, asked_items, num_copies or len(matching), limits)
        check_quotas(connection, group_id=group_id, by=by.name)
        act.ids.append(insert_request(connection, asked))
        return act.ids[0]


def _refuse_gone(items: Sequence[Item]) -> None:
    for item in items:
        if item.status in NEVER_COPIED:
            raise InventoryError(f"{item.name}: the dataset is {item.status}, no copy of it is made", item=item.name)


def _check_copies(
    items: Sequence[Item], sites: Sequence[KnownSite], num_copies: int, limits: RequestSettings | None
) -> None:
    if num_copies > len(sites):
        raise InventoryError(
            f"{num_copies} copies of {_some([item.name for item in items])} were asked for, but only {len(sites)} "
            f"sites match: {', '.join(site.name for site in sites)}",
            num_copies=num_copies,
        )
    number = num_copies or len(sites)
    if limits is not None and limits.max_copies is not None and number > limits.max_copies:
        each_site_text = "" if num_copies else " (one at each site)"
        raise InventoryError(
            f"{number} copies{each_site_text} were asked for, and requests.max_copies is {limits.max_copies}",
            num_copies=number,
        )


def _check_volume(
    connection: Connection, items: Sequence[Item], num_copies: int, limits: RequestSettings | None
) -> None:
    size = connection.execute(
        text("SELECT coalesce(sum(b.size_bytes), 0)::bigint FROM asked_blocks a JOIN blocks b ON b.id = a.block_id")
    ).scalar_one()
    noun = "copy" if num_copies == 1 else "copies"
    check_size(int(size) * num_copies, f"{num_copies} {noun} of {_some([item.name for item in items])}", limits)


def _some(names: Sequence[str]) -> str:
    """The first of the names, and how many more."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "") if names else "nothing"


def open_requests(database: Database, group: str) -> pl.DataFrame:
    """What the Dealer plugin takes: request_id, dataset (or dataset#block), sites (list of globs), num_copies, group;
    oldest first, one row an item.

    Only requests for ``group``: a request is answered by the one Dealer whose configuration places for that group.
    Datasets of which no copy is made any more are left out.
    """
    return database.frame(
        f"""
        SELECT r.id AS request_id, {item_name("i")} AS dataset, r.sites, r.num_copies::bigint AS num_copies,
               g.name AS "group"
        FROM requests r JOIN groups g ON g.id = r.group_id JOIN request_items i ON i.request_id = r.id
        JOIN datasets d ON d.id = i.dataset_id LEFT JOIN blocks b ON b.id = i.block_id
        WHERE r.kind = '{RequestKind.COPY}' AND r.state IN {OPEN_REQUESTS} AND g.name = $1
          AND d.status NOT IN {NEVER_COPIED}
          AND (i.block_id IS NULL OR b.id IS NOT NULL)
        ORDER BY r.created_at, r.id, i.number""",
        (group,),
    )


def record_plan(connection: Connection, plan_id: int, copies: pl.DataFrame, refused: pl.DataFrame) -> None:
    """What a Dealer plan does for copy requests, in the transaction of its commit or behind it; safe to repeat.

    ``copies``: request_id, dataset_id, block_id (null: the whole dataset), site_id: these become queued actions, their
    requests ``activated``. ``refused``: request_id, reason: what the plugin will never answer; the request is
    ``rejected`` with the reason, unless copies for it are in this plan or on their way. Closed requests stay closed.
    """
    hold(connection, Lock.REQUESTS)
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE planned_copies (request_id bigint, dataset_id bigint, block_id bigint, site_id smallint)
        ON COMMIT DROP""")
    )
    columns = ["request_id", "dataset_id", "block_id", "site_id"]
    insert_frame(connection, "planned_copies", copies.select(columns).drop_nulls("request_id").unique())
    connection.execute(text("ANALYZE planned_copies"))
    for kind, target in (("IS NULL", "dataset_id"), ("IS NOT NULL", "block_id")):
        connection.execute(text(_QUEUE.format(kind=kind, target=target)), {"plan": plan_id})
    connection.execute(
        text(f"""
        UPDATE requests SET state = '{RequestState.ACTIVATED}', updated_at = now()
        WHERE kind = '{RequestKind.COPY}' AND state = '{RequestState.NEW}'
          AND id IN (SELECT request_id FROM planned_copies)""")
    )
    _reject(connection, refused)
    connection.execute(text("DROP TABLE planned_copies"))


_QUEUE = f"""
    INSERT INTO request_actions AS a (request_id, dataset_id, block_id, site_id, size_bytes, plan_id)
    SELECT p.request_id, p.dataset_id, p.block_id, p.site_id, s.size_bytes, :plan
    FROM planned_copies p JOIN requests r ON r.id = p.request_id AND r.kind = '{RequestKind.COPY}'
      AND r.state IN {OPEN_REQUESTS}
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(b.size_bytes), 0)::bigint AS size_bytes FROM blocks b
        WHERE b.dataset_id = p.dataset_id AND (p.block_id IS NULL OR b.id = p.block_id)) s
    WHERE p.block_id {{kind}} ORDER BY p.request_id, p.dataset_id, p.block_id, p.site_id
    ON CONFLICT (request_id, {{target}}, site_id) WHERE block_id {{kind}} DO UPDATE SET
        state = '{ActionState.QUEUED}', reason = NULL, plan_id = excluded.plan_id, size_bytes = excluded.size_bytes,
        updated_at = now()
    WHERE a.plan_id < excluded.plan_id"""


def _reject(connection: Connection, refused: pl.DataFrame) -> None:
    reasons = (
        refused.select("request_id", "reason")
        .drop_nulls("request_id")
        .group_by("request_id")
        .agg(pl.col("reason").unique().sort().str.join("; "))
    )
    connection.execute(text("CREATE TEMPORARY TABLE refused_requests (request_id bigint, reason text) ON COMMIT DROP"))
    insert_frame(connection, "refused_requests", reasons)
    in_order(connection)
    connection.execute(
        text(
            closing(
                EventKind.REQUEST_REJECTED,
                f"""
        UPDATE requests AS r SET state = '{RequestState.REJECTED}', closed_because = f.reason, closed_at = now(),
               updated_at = now()
        FROM refused_requests AS f WHERE f.request_id = r.id AND r.kind = '{RequestKind.COPY}'
          AND r.state IN {sources_of(RequestEvent.REFUSED)}
          AND r.id NOT IN (SELECT request_id FROM planned_copies) AND NOT EXISTS (
              SELECT FROM request_actions AS a WHERE a.request_id = r.id AND a.state = '{ActionState.QUEUED}')""",
            )
        )
    )
    connection.execute(text("DROP TABLE refused_requests"))
