"""Which block replicas a person may have deleted, and why not the others. Set-wise, in the transaction of the request.

Table ``doomed``: one row per block replica asked for, with ``left_out``: null, or the first reason that holds. The
checks come in an order: what one refuses counts as staying for those behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from dynamo_ops.database.connection import insert_frame, select_frame
from dynamo_ops.inventory.frames import LOCKABLE
from dynamo_ops.inventory.kinds import StorageType
from dynamo_ops.inventory.replica.copies import is_block_doomed, is_present
from dynamo_ops.inventory.replica.doomed import (
    IS_LAST_SOURCE,
    find_alone,
    find_not_good,
    leave_out,
)
from dynamo_ops.inventory.states import LAST_COPY, LAST_SOURCE, LOCKED
from dynamo_ops.lock.rows import locked_rows
from dynamo_ops.plan.states import STANDING, Decision

NOT_THERE = "it is not there"
BEING_DELETED = "it is being deleted already"
ON_TAPE = "it is on tape"
CUSTODIAL = "it is custodial"


def load_doomed(connection: Connection, site_ids: Sequence[int]) -> None:
    """Make ``doomed`` of the block replicas of ``asked_items`` at these sites; their rows are locked."""
    asked = """
        FROM asked_items i JOIN block_replicas r ON r.dataset_id = i.dataset_id
        WHERE (i.block_id IS NULL OR r.block_id = i.block_id) AND r.site_id = ANY(CAST(:sites AS smallint[]))"""
    parameters = {"sites": list(site_ids)}
    connection.execute(
        text(f"SELECT count(*) FROM (SELECT 1 {asked} ORDER BY r.block_id, r.site_id FOR UPDATE OF r) l"), parameters
    )
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE doomed ON COMMIT DROP AS
        SELECT i.number, r.block_id, r.dataset_id, r.site_id, r.group_id, r.size_bytes, r.is_custodial,
               NULL::text AS left_out {asked}"""),
        parameters,
    )
    connection.execute(text("CREATE UNIQUE INDEX ON doomed (block_id, site_id)"))
    connection.execute(text("ANALYZE doomed"))


def refuse_what_must_stay(
    connection: Connection, *, group: tuple[int, str] | None, allow_tape: bool, allow_last: bool
) -> int:
    """Mark in ``doomed.left_out`` what must not be deleted. ``group``: only replicas of this group (id, name) are
    meant. Returns in how many files it has the last copies, which ``allow_last`` lets go (SEMANTICS §10)."""
    for reason, condition, parameters in _simple_checks(group, allow_tape=allow_tape):
        connection.execute(
            text(f"UPDATE doomed d SET left_out = {reason} WHERE left_out IS NULL AND {condition}"), parameters
        )
    _refuse_locked(connection)
    connection.execute(text(PROTECTED))
    find_not_good(connection)
    find_alone(connection)
    leave_out(connection, LAST_SOURCE, IS_LAST_SOURCE)
    find_alone(connection)
    num_files: int = connection.execute(text(f"SELECT count(*) FROM {LAST_FILES}")).scalar_one()
    if not allow_last:
        leave_out(connection, LAST_COPY, IS_LAST)
    return num_files


IS_LAST = "d.size_bytes > 0 AND d.block_id IN (SELECT block_id FROM alone)"

LAST_FILES = f"""(
    SELECT DISTINCT f.id FROM doomed d JOIN files f ON f.block_id = d.block_id
    JOIN block_replicas r ON r.block_id = d.block_id AND r.site_id = d.site_id
    WHERE d.left_out IS NULL AND {IS_LAST} AND {is_present("f.id", "r")}) AS last_files"""


def _simple_checks(group: tuple[int, str] | None, *, allow_tape: bool) -> list[tuple[str, str, dict[str, object]]]:
    """(reason, condition, their values), both as SQL."""
    checks: list[tuple[str, str, dict[str, object]]] = [
        (f"'{BEING_DELETED}'", f"d.group_id IS NULL AND {is_block_doomed('d.block_id', 'd.site_id')}", {})
    ]
    if group is not None:
        owner = "coalesce((SELECT 'group ' || name FROM groups WHERE id = d.group_id), 'nobody')"
        checks.append(
            (
                f"'it is owned by ' || {owner} || ', not by group ' || CAST(:group AS text)",
                "d.group_id IS DISTINCT FROM CAST(:id AS smallint)",
                {"id": group[0], "group": group[1]},
            )
        )
    if not allow_tape:
        checks.append((f"'{CUSTODIAL}'", "d.is_custodial", {}))
        checks.append(
            (f"'{ON_TAPE}'", f"d.site_id IN (SELECT id FROM sites WHERE storage_type = '{StorageType.MSS}')", {})
        )
    return checks


PROTECTED = f"""
    WITH asked AS (SELECT DISTINCT dataset_id, site_id FROM doomed WHERE left_out IS NULL),
    said AS (
        SELECT h.dataset_id, h.site_id, p.partition, p.policy_version_id, h.plan_id, h.decision, h.line,
               h.decision IN {STANDING} AS stands
        FROM asked JOIN detox_history h USING (dataset_id, site_id) JOIN plans p ON p.id = h.plan_id),
    newest AS (
        SELECT dataset_id, site_id, partition, max(plan_id) AS any_plan, max(plan_id) FILTER (WHERE stands) AS plan_id
        FROM said GROUP BY dataset_id, site_id, partition),
    acted AS (
        SELECT DISTINCT dataset_id, site_id, partition, plan_id FROM said WHERE NOT stands),
    protected AS (
        SELECT s.dataset_id, s.site_id, string_agg(
                   'it is protected by the policy of ' || s.partition
                   || coalesce(', line ' || l.line || ': ' || l.text, ''), '; ' ORDER BY s.partition, s.line) AS reason
        FROM newest n JOIN said s USING (dataset_id, site_id, partition, plan_id)
        LEFT JOIN policy_lines l ON l.policy_version_id = s.policy_version_id AND l.line = s.line
        WHERE s.decision = '{Decision.PROTECT}' AND (n.plan_id = n.any_plan
            OR (s.dataset_id, s.site_id, s.partition, s.plan_id) IN (SELECT * FROM acted))
        GROUP BY s.dataset_id, s.site_id)
    UPDATE doomed d SET left_out = p.reason FROM protected p
    WHERE d.left_out IS NULL AND d.dataset_id = p.dataset_id AND d.site_id = p.site_id"""
"""What a policy said last of a dataset replica holds for all of it. A later plan that only says what it deletes ends
the protection, unless the plan that protected deleted something too: then the two may have been said again and again,
and only the deletion is written each time."""


def _refuse_locked(connection: Connection) -> None:
    """The locks in force now are tried on all that is not refused yet."""
    deletable = select_frame(
        connection,
        f"SELECT {', '.join(LOCKABLE)} FROM doomed WHERE left_out IS NULL",
        LOCKABLE,
    )
    locked_replicas = locked_rows(connection, "doomed", deletable)
    connection.execute(text("CREATE TEMPORARY TABLE now_locked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "now_locked", locked_replicas)
    connection.execute(text("ANALYZE now_locked"))
    leave_out(connection, LOCKED, "(d.block_id, d.site_id) IN (SELECT block_id, site_id FROM now_locked)")
