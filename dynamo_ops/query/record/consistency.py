"""Checks of storages against the inventory, newest first, and what each found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.checks import CheckState, FindingKind, FindingState
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.query.paging.condition import Conditions, check_words, moment_asked
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class CheckFilter:
    """Which checks. ``sites``: names or globs. ``since``: begun from then on."""

    sites: Sequence[str] = ()
    states: Sequence[str] = ()
    since: str | None = None


@dataclass(frozen=True)
class FindingFilter:
    """What one check found. ``lfns``: names or globs."""

    check_id: int
    kinds: Sequence[str] = ()
    states: Sequence[str] = ()
    lfns: Sequence[str] = ()


_CHECKS = """
    SELECT performed.id, site.name AS site, performed.site_id, performed.state, performed.refused_because,
           performed.run_key, performed.num_inventory_files, performed.num_storage_files, performed.num_unnamed,
           performed.started_at,
           performed.inventory_read_at, performed.storage_listed_at, performed.finished_at
    FROM consistency_checks AS performed JOIN sites AS site ON site.id = performed.site_id"""
_FINDINGS = """
    SELECT id, check_id, kind, state, lfn COLLATE "C" AS lfn, size_bytes, modified_at, file_id, reason, claimed_at
    FROM consistency_findings"""
_SUMS = """
    SELECT kind, state, count(*) AS num_files, sum(size_bytes)::bigint AS size_bytes
    FROM consistency_findings WHERE check_id = :check GROUP BY kind, state ORDER BY kind, state"""
_LOST = f"""
    SELECT lfn FROM consistency_findings WHERE check_id = :check AND state = '{FindingState.LOST}' ORDER BY lfn"""


def check_card(database: Database, check_id: int) -> dict[str, Any]:
    """One check as of ``CHECKS``, with findings: by kind and state num_files and size_bytes. UnknownNameError."""
    with database.begin() as connection:
        check = connection.execute(text(f"{_CHECKS} WHERE performed.id = :check"), {"check": check_id}).mappings()
        row = check.one_or_none()
        if row is None:
            raise UnknownNameError(f"there is no check {check_id}", check_id=check_id)
        sums = [dict(part) for part in connection.execute(text(_SUMS), {"check": check_id}).mappings()]
    return {**{name: value for name, value in row.items() if name != "site_id"}, "findings": sums}


def lost_document(database: Database, check_id: int) -> dict[str, list[str]]:
    """What the check found lost, as a document for `dynamo invalidate`: to be looked through first."""
    check_card(database, check_id)
    with database.begin() as connection:
        return {"files": list(connection.execute(text(_LOST), {"check": check_id}).scalars())}


def _narrow_checks(connection: Connection, asked: CheckFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.states, CheckState, "state of a check")
    conditions.add_any("listed.state", asked.states, "states")
    if asked.sites:
        site_ids = [site.id for site in find_sites(connection, asked.sites)]
        conditions.add("listed.site_id = ANY(CAST(:site_ids AS smallint[]))", site_ids=site_ids)
    if asked.since is not None:
        conditions.add("listed.started_at >= :since", since=moment_asked(asked.since, as_of))
    return conditions


def _narrow_findings(_connection: Connection, asked: FindingFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.kinds, FindingKind, "kind of a finding")
    check_words(asked.states, FindingState, "state of a finding")
    conditions.add("listed.check_id = :check", check=asked.check_id)
    conditions.add_any("listed.kind", asked.kinds, "kinds")
    conditions.add_any("listed.state", asked.states, "states")
    conditions.add_names("listed.lfn", asked.lfns, "lfn")
    return conditions


def _explain_no_findings(connection: Connection, asked: FindingFilter) -> None:
    known = "SELECT EXISTS (SELECT FROM consistency_checks WHERE id = :check)"
    if not connection.execute(text(known), {"check": asked.check_id}).scalar():
        raise UnknownNameError(f"there is no check {asked.check_id}", check_id=asked.check_id)


CHECKS: Listing[CheckFilter] = Listing(
    "checks",
    _CHECKS,
    (
        "id",
        "site",
        "state",
        "refused_because",
        "run_key",
        "num_inventory_files",
        "num_storage_files",
        "num_unnamed",
        "started_at",
        "inventory_read_at",
        "storage_listed_at",
        "finished_at",
    ),
    key=("id",),
    narrow=_narrow_checks,
    is_newest_first=True,
)
"""``num_unnamed``: files and directories there that cannot be named; they stay. ``storage_listed_at``: what the storage
had then is what was compared."""

FINDINGS: Listing[FindingFilter] = Listing(
    "findings",
    _FINDINGS,
    ("id", "kind", "state", "lfn", "size_bytes", "modified_at", "file_id", "reason", "claimed_at"),
    key=("kind", "id"),
    narrow=_narrow_findings,
    explain_nothing=_explain_no_findings,
)
"""By kind. ``size_bytes``: as it should be, or as the storage has it if the inventory does not. ``claimed_at``: from
then on the storage may have been asked to delete it."""
