"""Names, quickly: for a shell that completes them."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.query.names import group_names, partition_names, site_names
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import rows_answer

router = APIRouter(dependencies=[needs(Action.READ)])


@router.get("/names/sites")
def list_sites() -> Response:
    """Of all sites."""
    return _answer(site_names(reading()))


@router.get("/names/groups")
def list_groups() -> Response:
    """Of all groups."""
    return _answer(group_names(reading()))


@router.get("/names/partitions")
def list_partitions() -> Response:
    """Of partitions that are defined, or of which there are plans."""
    return _answer(partition_names(reading(), settings()))


def _answer(names: Iterable[str]) -> Response:
    return rows_answer([{"name": name} for name in names])
