"""Quotas: of partitions at sites, of groups, of people; how they changed, and setting them."""

from __future__ import annotations

from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.base.units import LARGEST_QUOTA, quota_bytes_of
from dynamo_ops.database.connection import Database
from dynamo_ops.policy.quota import WantedQuota
from dynamo_ops.query.record.partition_use import check_partitions, partition_use
from dynamo_ops.query.record.quota import QUOTA_CHANGES, QUOTAS, QuotaChangeFilter, QuotaFilter
from dynamo_ops.request.unique_quota import group_usage, set_group_quota, set_user_quota, user_usage
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, ListQuery, Names, rows_answer
from dynamo_web.lists import Query as Parameters
from dynamo_web.problem import BusyError
from dynamo_web.writes import Body, Reason, Write, does

router = APIRouter()
Size = Annotated[int, Field(ge=-1, le=LARGEST_QUOTA)] | Annotated[str, Field(max_length=40)]
"""Bytes, ``500 TB``, or ``unlimited`` (-1)."""
READING = Lock()
"""Held by who reads the whole inventory: one at a time in a process of the API server, for it takes much memory."""


class PartitionQuota(Body):
    """``partition``: a leaf. ``sites``: names or globs. ``quota``: 0: nothing may be there; null: unknown, then nothing
    is deleted or placed."""

    partition: str
    sites: Annotated[list[str], Field(min_length=1, max_length=1_000)]
    quota: Size | None
    reason: Reason


class UniqueQuota(Body):
    """``quota``: of unique data."""

    quota: Size


class QuotaQuery(ListQuery):
    """``site``, ``partition``: names or globs."""

    site: Names
    partition: Names


class ChangeQuery(QuotaQuery):
    """``since``: a date, a time, or how long ago."""

    since: str | None = None


class UseQuery(Parameters):
    """``site``, ``partition``: names or globs."""

    site: Names
    partition: Names


@router.get("/quotas/partitions", dependencies=[needs(Action.READ)])
def list_quotas(query: Annotated[QuotaQuery, Query()], lister: ListerDep) -> Response:
    """Quotas by site and partition."""
    check_partitions(reading(), settings(), query.partition)
    return lister.answer(QUOTAS, QuotaFilter(query.site, query.partition), query)


@router.get("/quotas/partitions/changes", dependencies=[needs(Action.READ)])
def list_changes(query: Annotated[ChangeQuery, Query()], lister: ListerDep) -> Response:
    """Who changed which quota and why, newest first."""
    check_partitions(reading(), settings(), query.partition)
    return lister.answer(QUOTA_CHANGES, QuotaChangeFilter(query.site, query.partition, query.since), query)


@router.get("/quotas/partitions/use", dependencies=[needs(Action.READ)])
def list_use(query: Annotated[UseQuery, Query()], lister: ListerDep) -> Response:
    """Quotas beside what is there now, by site and partition."""
    with lister.heavy():
        if not READING.acquire(blocking=False):
            raise BusyError("the inventory is being read for somebody else")
        try:
            return rows_answer(partition_use(reading(), settings(), QuotaFilter(query.site, query.partition)))
        finally:
            READING.release()


@router.get("/quotas/groups", dependencies=[needs(Action.READ)])
def list_groups() -> Response:
    """What groups may own and ask for, and how much of it they do."""
    return rows_answer(group_usage(reading()).to_dicts())


@router.get("/quotas/users", dependencies=[needs(Action.READ)])
def list_users() -> Response:
    """What people may ask for, and how much of it they do."""
    return rows_answer(user_usage(reading()).to_dicts())


@router.put("/quotas/partitions", dependencies=[does(Action.SET_PARTITION_QUOTA)])
def set_partition_quota(asked: PartitionQuota, write: Write) -> Response:
    """At all these sites, or at none."""

    def act(database: Database) -> dict[str, Any]:
        wanted = WantedQuota(asked.partition, asked.sites, None if asked.quota is None else _bytes(asked.quota))
        return wanted.set(database, settings(), by=write.by, reason=asked.reason)

    return write.do(act)


@router.put("/quotas/groups/{name}", dependencies=[does(Action.SET_GROUP_QUOTA)])
def set_quota_of_group(name: str, asked: UniqueQuota, write: Write) -> Response:
    """So much unique data it may own and ask for."""
    amount = _bytes(asked.quota)

    def act(database: Database) -> dict[str, Any]:
        set_group_quota(database, name, amount, by=write.by)
        return {"group": name, "quota_bytes": amount}

    return write.do(act)


@router.put("/quotas/users/{name}", dependencies=[does(Action.SET_USER_QUOTA)])
def set_quota_of_user(name: Annotated[str, Path(max_length=500)], asked: UniqueQuota, write: Write) -> Response:
    """So much unique data they may ask for."""
    amount = _bytes(asked.quota)

    def act(database: Database) -> dict[str, Any]:
        set_user_quota(database, name, amount, by=write.by)
        return {"user": name, "quota_bytes": amount}

    return write.do(act)


def _bytes(size: int | str) -> int:
    return size if isinstance(size, int) else quota_bytes_of("quota", size)
