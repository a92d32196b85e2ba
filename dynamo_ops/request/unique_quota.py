"""Quotas of groups and of users, in bytes of unique data: every block counts once, in however many copies it is.

A group uses the blocks that it owns anywhere and those of its open copy requests. A user uses the blocks of the copy
requests that they made: while these are open, and after they are completed as long as the request's group still owns
the block somewhere. A negative quota is unlimited, and so is one that nobody has set.
"""

from __future__ import annotations

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.grants import groups_of
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.units import size_text
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.names import find_group
from dynamo_ops.inventory.replica.usage import UNIQUE
from dynamo_ops.request.states import OPEN_REQUESTS, RequestKind, RequestState

UNLIMITED = -1

_BLOCKS_OF_ITEM = "blocks b ON b.dataset_id = i.dataset_id AND (i.block_id IS NULL OR b.id = i.block_id)"

_AWAITED = f"""
    SELECT DISTINCT q.group_id, b.id AS block_id, b.size_bytes
    FROM requests q JOIN request_items i ON i.request_id = q.id JOIN {_BLOCKS_OF_ITEM}
    WHERE q.kind = '{RequestKind.COPY}' AND q.state IN {OPEN_REQUESTS}
      AND NOT EXISTS (SELECT FROM block_replicas r WHERE r.block_id = b.id AND r.group_id = q.group_id)"""
"""Blocks of a group's open copy requests that it owns nowhere yet."""

GROUP_BYTES = f"""(
    SELECT group_id, sum(size_bytes)::bigint AS unique_bytes
    FROM (SELECT group_id, size_bytes FROM {UNIQUE} AS owned
          UNION ALL SELECT group_id, size_bytes FROM ({_AWAITED}) AS awaited) AS counted
    GROUP BY group_id)"""
"""(group_id, unique_bytes) of the groups that have some: what they own is kept, not counted."""

USER_BLOCKS = f"""
    SELECT q.requested_by, b.id AS block_id
    FROM requests q JOIN request_items i ON i.request_id = q.id JOIN {_BLOCKS_OF_ITEM}
    WHERE q.kind = '{RequestKind.COPY}' AND (
      q.state IN {OPEN_REQUESTS} OR q.state = '{RequestState.COMPLETED}' AND EXISTS (
        SELECT FROM block_replicas r WHERE r.block_id = b.id AND r.group_id = q.group_id))
    GROUP BY q.requested_by, b.id"""


def set_group_quota(database: Database, group: str, quota_bytes: int, *, by: Person) -> None:
    """Let ``group`` own and ask for so many bytes of unique data; negative: unlimited. InventoryError if unknown."""
    with acting(database, by, Action.SET_GROUP_QUOTA, f"{group}: {_quota_text(quota_bytes)}") as act:
        act.check(Target(groups=(group,)))
        connection = act.connection
        connection.execute(
            text("""
            INSERT INTO group_quotas AS q (group_id, quota_bytes, changed_by) VALUES (:group, :quota, :by)
            ON CONFLICT (group_id) DO UPDATE SET quota_bytes = excluded.quota_bytes,
                changed_by = excluded.changed_by, changed_at = now()"""),
            {"group": find_group(connection, group), "quota": quota_bytes, "by": by.name},
        )


def _quota_text(quota_bytes: int) -> str:
    return "unlimited" if quota_bytes < 0 else size_text(quota_bytes)


def set_user_quota(database: Database, user: str, quota_bytes: int, *, by: Person) -> None:
    """Let the person ``user`` ask for so many bytes of unique data; negative: unlimited.

    Anybody can have a quota, also before their first request. InventoryError when the name is empty.
    """
    if not user.strip():
        raise InventoryError("quota of a user: say whose (the name is empty)", user=user)
    with acting(database, by, Action.SET_USER_QUOTA, f"{user.strip()}: {_quota_text(quota_bytes)}") as act:
        act.check(Target(users=(user.strip(),), groups=groups_of(act.connection, user.strip())))
        act.connection.execute(
            text("""
            INSERT INTO user_quotas AS q (user_name, quota_bytes, changed_by) VALUES (:user, :quota, :by)
            ON CONFLICT (user_name) DO UPDATE SET quota_bytes = excluded.quota_bytes,
                changed_by = excluded.changed_by, changed_at = now()"""),
            {"user": user.strip(), "quota": quota_bytes, "by": by.name},
        )


def group_usage(database: Database, group: str | None = None) -> pl.DataFrame:
    """``group``, ``quota_bytes``, ``unique_bytes``, ``free_bytes``; one row a group, by name, or that of one.

    ``quota_bytes`` negative: unlimited, set so or not set at all; ``free_bytes`` is null then, and 0 when more is used
    than the quota allows.
    """
    if group is None:
        return database.frame(f"""
            SELECT g.name AS "group", {_figures("u.unique_bytes")}
            FROM groups g LEFT JOIN {GROUP_BYTES} u ON u.group_id = g.id LEFT JOIN group_quotas q ON q.group_id = g.id
            ORDER BY g.name""")
    return database.frame(
        f"""
        SELECT g.name AS "group", {_figures("u.unique_bytes")}
        FROM groups g LEFT JOIN (
            SELECT * FROM {GROUP_BYTES} AS counted WHERE counted.group_id = (SELECT id FROM groups WHERE name = $1)
        ) u ON u.group_id = g.id LEFT JOIN group_quotas q ON q.group_id = g.id WHERE g.name = $1""",
        [group],
    )


def user_usage(database: Database) -> pl.DataFrame:
    """``user``, ``quota_bytes``, ``unique_bytes``, ``free_bytes``; one row for each who has a quota or uses some, by
    name.

    Figures as in :func:`group_usage`.
    """
    return database.frame(f"""
        WITH used AS (
            SELECT u.requested_by, sum(b.size_bytes)::bigint AS unique_bytes
            FROM ({USER_BLOCKS}) u JOIN blocks b ON b.id = u.block_id GROUP BY u.requested_by)
        SELECT coalesce(q.user_name, u.requested_by) AS "user", {_figures("u.unique_bytes")}
        FROM used u FULL JOIN user_quotas q ON q.user_name = u.requested_by ORDER BY 1""")


def check_quotas(connection: Connection, *, group_id: int, by: str) -> None:
    """Raise InventoryError, with the figures, when the blocks of the transaction's table ``asked_blocks`` would take
    the group or the person above their quota.

    Blocks that count already are free; so is asking for nothing else by who is above it.
    """
    group = connection.execute(
        text("""
        SELECT g.name, q.quota_bytes FROM group_quotas q JOIN groups g ON g.id = q.group_id
        WHERE q.group_id = :group AND q.quota_bytes >= 0"""),
        {"group": group_id},
    ).one_or_none()
    if group is not None:
        used = f"SELECT coalesce(sum(unique_bytes), 0)::bigint FROM {GROUP_BYTES} u WHERE u.group_id = :owner"
        is_counted = f"""EXISTS (SELECT FROM block_replicas r WHERE r.block_id = a.block_id AND r.group_id = :owner)
            OR a.block_id IN (SELECT block_id FROM ({_AWAITED}) w WHERE w.group_id = :owner)"""
        _refuse_above(connection, f"group {group[0]}", used, is_counted, group_id, group[1])
    quota = connection.execute(
        text("SELECT quota_bytes FROM user_quotas WHERE user_name = :user AND quota_bytes >= 0"), {"user": by}
    ).scalar()
    if quota is not None:
        blocks = f"SELECT block_id FROM ({USER_BLOCKS}) u WHERE u.requested_by = :owner"
        used = f"SELECT coalesce(sum(b.size_bytes), 0)::bigint FROM ({blocks}) c JOIN blocks b ON b.id = c.block_id"
        _refuse_above(connection, f"user {by}", used, f"a.block_id IN ({blocks})", by, quota)


def _refuse_above(
    connection: Connection, whose: str, used: str, is_counted: str, owner: object, quota_bytes: int
) -> None:
    """``used``: a SELECT of the bytes that are used. ``is_counted``: whether the asked block ``a`` is among them."""
    used_bytes, added_bytes = connection.execute(
        text(f"""
        SELECT ({used}), (SELECT coalesce(sum(b.size_bytes), 0)::bigint
                          FROM asked_blocks a JOIN blocks b ON b.id = a.block_id WHERE NOT ({is_counted}))"""),
        {"owner": owner},
    ).one()
    if added_bytes and used_bytes + added_bytes > quota_bytes:
        raise InventoryError(
            f"{size_text(added_bytes)} more are above the quota of {whose}: {size_text(quota_bytes)} of unique data, "
            f"of which {size_text(used_bytes)} are used",
            quota_bytes=quota_bytes,
            unique_bytes=used_bytes,
            asked_bytes=added_bytes,
        )


def _figures(used: str) -> str:
    quota, used = f"coalesce(q.quota_bytes, {UNLIMITED})", f"coalesce({used}, 0)"
    return f"""{quota} AS quota_bytes, {used} AS unique_bytes,
               CASE WHEN {quota} >= 0 THEN greatest({quota} - {used}, 0) END AS free_bytes"""
