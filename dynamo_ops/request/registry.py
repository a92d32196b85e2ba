"""The list of all requests, copies and deletions: made once, counted when asked again, looked up, told."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.settings import RequestSettings
from dynamo_ops.base.units import TB, size_text
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.names import EVER_KNOWN_BLOCKS, EVER_KNOWN_DATASETS, item_name
from dynamo_ops.request.item import Item
from dynamo_ops.request.states import KEPT_ACTIONS, OPEN_REQUESTS, ActionState, RequestKind

SHOWN_ITEMS = 3
AT = "coalesce(CAST(:at AS timestamptz), now())"


@dataclass(frozen=True)
class NewRequest:
    """What a request asks. ``sites``: names or globs, sorted. ``num_copies`` None: a deletion. ``at`` None: now."""

    kind: RequestKind
    items: Sequence[Item]
    sites: Sequence[str]
    num_copies: int | None
    group_id: int | None
    by: str
    at: datetime | None = None
    reason: str | None = None

    @property
    def digest(self) -> str:
        """The same for what asks the same."""
        parts: list[str] = [self.kind]
        parts += [str(number) for number in (self.num_copies, self.group_id) if number is not None]
        parts += [*self.sites, *sorted(item.key for item in self.items)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class RequestDetails:
    """One request. ``request``: its row, names instead of ids, and ``items``: the names of all of them.

    ``actions``: by item and site: ``item``, ``site``, ``state``, ``reason``, ``num_blocks``, ``num_files``,
    ``num_files_done``, ``size_bytes``, ``done_bytes``. Done: what is there, of a copy; what is gone, of a deletion.
    """

    request: dict[str, object]
    actions: pl.DataFrame


def same_open_request(connection: Connection, asked: NewRequest) -> int | None:
    """The id of the open request that asks the same, if there is one."""
    request_id = connection.execute(
        text(f"SELECT id FROM requests WHERE digest = :digest AND state IN {OPEN_REQUESTS}"), {"digest": asked.digest}
    ).scalar()
    return None if request_id is None else int(request_id)


def count_again(connection: Connection, request_id: int, by: str, at: datetime | None = None) -> None:
    """The request was asked for once more, by whom, when (None: now)."""
    connection.execute(
        text(f"""
        UPDATE requests SET num_asked = num_asked + 1, last_asked_by = :by, last_asked_at = {AT}, updated_at = now()
        WHERE id = :id"""),
        {"id": request_id, "by": by, "at": at},
    )


def check_open_requests(connection: Connection, by: str, limits: RequestSettings | None) -> None:
    """Raise InventoryError when this person has as many open requests as ``limits`` allow."""
    if limits is None or limits.max_open_per_user is None:
        return
    number = connection.execute(
        text(f"SELECT count(*) FROM requests WHERE requested_by = :by AND state IN {OPEN_REQUESTS}"), {"by": by}
    ).scalar_one()
    if number >= limits.max_open_per_user:
        raise InventoryError(
            f"{by} has {number:,} open requests, and requests.max_open_per_user is {limits.max_open_per_user:,}; "
            "cancel some, or wait until they are completed",
            user=by,
            num_open=number,
        )


def check_size(size_bytes: int, what: str, limits: RequestSettings | None) -> None:
    """Raise InventoryError when ``what`` (told in the message) is larger than ``limits`` allow."""
    if limits is not None and limits.max_size_tb is not None and size_bytes > limits.max_size_tb * TB:
        raise InventoryError(
            f"{what}: {size_text(size_bytes)} in all, and requests.max_size_tb is {limits.max_size_tb:g} TB; "
            "ask for less at a time",
            size_bytes=size_bytes,
        )


def times_asked(database: Database, request_id: int) -> int:
    """How often somebody has asked for it: 1 when it was just made."""
    with database.begin() as connection:
        return int(
            connection.execute(text("SELECT num_asked FROM requests WHERE id = :id"), {"id": request_id}).scalar_one()
        )


def insert_request(connection: Connection, asked: NewRequest) -> int:
    """A new request with its items, in state ``new``. Returns its id."""
    request_id = int(
        connection.execute(
            text(f"""
            INSERT INTO requests (kind, digest, sites, num_copies, group_id, reason, requested_by, created_at,
                                  last_asked_by, last_asked_at)
            VALUES (:kind, :digest, CAST(:sites AS text[]), :copies, :group, :reason, :by, {AT}, :by, {AT})
            RETURNING id"""),
            {
                "kind": asked.kind,
                "digest": asked.digest,
                "sites": list(asked.sites),
                "copies": asked.num_copies,
                "group": asked.group_id,
                "reason": asked.reason,
                "by": asked.by,
                "at": asked.at,
            },
        ).scalar_one()
    )
    connection.execute(
        text("""
        INSERT INTO request_items (request_id, number, dataset_id, block_id)
        SELECT :id, i.number, i.dataset_id, i.block_id
        FROM unnest(CAST(:datasets AS bigint[]), CAST(:blocks AS bigint[]))
            WITH ORDINALITY AS i (dataset_id, block_id, number)"""),
        {
            "id": request_id,
            "datasets": [item.dataset_id for item in asked.items],
            "blocks": [item.block_id for item in asked.items],
        },
    )
    return request_id


ROW = f"""
    SELECT r.id, r.kind, r.state, x.items, array_to_string(r.sites, ' ') AS sites, r.num_copies::bigint AS num_copies,
           g.name AS "group", r.requested_by, r.created_at, r.num_asked::bigint AS num_asked, r.last_asked_by,
           r.last_asked_at, r.reason, r.updated_at, r.closed_at, r.closed_by, r.closed_because
    FROM requests r LEFT JOIN groups g ON g.id = r.group_id CROSS JOIN LATERAL (
        SELECT string_agg({item_name("i")}, ' ' ORDER BY i.number) FILTER (WHERE i.number <= {{shown}})
               || CASE WHEN count(*) > {{shown}} THEN ' and ' || count(*) - {{shown}} || ' more' ELSE '' END AS items
        FROM request_items i JOIN {EVER_KNOWN_DATASETS} d ON d.id = i.dataset_id
            LEFT JOIN {EVER_KNOWN_BLOCKS} b ON b.id = i.block_id
        WHERE i.request_id = r.id) x"""


def request_details(database: Database, request_id: int) -> RequestDetails:
    """One request, and what happens for it where. Raises InventoryError if there is none."""
    with database.snapshot() as snapshot:
        requests = snapshot.frame(f"{ROW.format(shown=2**31 - 1)} WHERE r.id = $1", (request_id,)).to_dicts()
        if not requests:
            raise UnknownNameError(f"there is no request {request_id}", request_id=request_id)
        items = snapshot.frame(
            f"""
            SELECT {item_name("i")} AS item
            FROM request_items i JOIN {EVER_KNOWN_DATASETS} d ON d.id = i.dataset_id
            LEFT JOIN {EVER_KNOWN_BLOCKS} b ON b.id = i.block_id WHERE i.request_id = $1 ORDER BY i.number""",
            (request_id,),
        )
        actions = snapshot.frame(COPIES if requests[0]["kind"] == RequestKind.COPY else DELETIONS, (request_id,))
    return RequestDetails({**requests[0], "items": items["item"].to_list()}, actions)


COPIES = f"""
    SELECT {item_name("a")} AS item, coalesce(s.name, a.site_id::text) AS site, a.state, a.reason,
           p.num_blocks, p.num_files, p.num_files_done, p.size_bytes, p.done_bytes
    FROM request_actions a JOIN {EVER_KNOWN_DATASETS} d ON d.id = a.dataset_id
    LEFT JOIN {EVER_KNOWN_BLOCKS} b ON b.id = a.block_id LEFT JOIN sites s ON s.id = a.site_id CROSS JOIN LATERAL (
        SELECT count(*) AS num_blocks, coalesce(sum(k.num_files), 0)::bigint AS num_files,
               coalesce(sum(CASE WHEN c.is_complete THEN k.num_files ELSE n.num_files END), 0)::bigint
                   AS num_files_done,
               coalesce(sum(k.size_bytes), 0)::bigint AS size_bytes,
               coalesce(sum(c.size_bytes), 0)::bigint AS done_bytes
        FROM blocks k LEFT JOIN block_replicas c ON c.block_id = k.id AND c.site_id = a.site_id
        LEFT JOIN LATERAL (SELECT count(*) AS num_files FROM block_replica_files f
                           WHERE f.block_id = c.block_id AND f.site_id = c.site_id) n ON NOT c.is_complete
        WHERE k.dataset_id = a.dataset_id AND (a.block_id IS NULL OR k.id = a.block_id)) p
    WHERE a.request_id = $1 ORDER BY 1, 2"""

DELETIONS = f"""
    SELECT coalesce(i.item, d.name) AS item, coalesce(s.name, a.site_id::text) AS site, a.state, a.reason,
           count(a.block_id) AS num_blocks, coalesce(sum(k.num_files), 0)::bigint AS num_files,
           coalesce(sum(k.num_files - CASE WHEN c.block_id IS NULL THEN 0 WHEN c.is_complete THEN k.num_files
                        ELSE n.num_files END) FILTER (WHERE a.state IN {KEPT_ACTIONS}), 0)::bigint
               AS num_files_done,
           sum(a.size_bytes)::bigint AS size_bytes,
           coalesce(sum(greatest(a.size_bytes - coalesce(c.size_bytes, 0), 0))
                    FILTER (WHERE a.state IN {KEPT_ACTIONS}), 0)::bigint AS done_bytes
    FROM request_actions a JOIN {EVER_KNOWN_DATASETS} d ON d.id = a.dataset_id
    LEFT JOIN (SELECT i.block_id, {item_name("i")} AS item FROM request_items i
               JOIN {EVER_KNOWN_DATASETS} d ON d.id = i.dataset_id
               LEFT JOIN {EVER_KNOWN_BLOCKS} b ON b.id = i.block_id
               WHERE i.request_id = $1 AND i.block_id IS NOT NULL) i
        ON i.block_id = a.block_id
    LEFT JOIN sites s ON s.id = a.site_id LEFT JOIN blocks k ON k.id = a.block_id
    LEFT JOIN block_replicas c ON c.block_id = a.block_id AND c.site_id = a.site_id AND a.state = '{ActionState.QUEUED}'
    LEFT JOIN LATERAL (SELECT count(*) AS num_files FROM block_replica_files f
                       WHERE f.block_id = c.block_id AND f.site_id = c.site_id) n ON NOT c.is_complete
    WHERE a.request_id = $1 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"""
