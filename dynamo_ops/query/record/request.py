"""Requests for copies and deletions, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from dynamo_ops.inventory.names import EVER_KNOWN_DATASETS
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.query.dataset import check_named
from dynamo_ops.query.group import find_groups
from dynamo_ops.query.paging.condition import Conditions, check_words, moment_asked, name_condition
from dynamo_ops.query.paging.listing import Listing
from dynamo_ops.request.registry import ROW, SHOWN_ITEMS
from dynamo_ops.request.states import OPEN_REQUESTS, RequestKind, RequestState

OPEN = "open"
"""A state to ask for: any of ``OPEN_REQUESTS``."""


@dataclass(frozen=True)
class RequestFilter:
    """Which requests. ``users``: who made them. ``datasets``, ``sites``, ``groups``: names or globs; of sites those
    that it named, or where something is done for it. ``since``: made from then on."""

    kinds: Sequence[str] = ()
    states: Sequence[str] = ()
    users: Sequence[str] = ()
    datasets: Sequence[str] = ()
    sites: Sequence[str] = ()
    groups: Sequence[str] = ()
    since: str | None = None


_COLUMNS = (
    "id",
    "kind",
    "state",
    "items",
    "sites",
    "num_copies",
    "group",
    "requested_by",
    "created_at",
    "num_asked",
    "last_asked_by",
    "last_asked_at",
    "reason",
    "updated_at",
    "closed_at",
    "closed_by",
    "closed_because",
)


def _narrow(connection: Connection, asked: RequestFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.kinds, RequestKind, "kind of a request")
    check_words(asked.states, [*RequestState, OPEN], "state of a request")
    states = [state for state in asked.states if state != OPEN]
    conditions.add_any("listed.kind", asked.kinds, "kinds")
    conditions.add_any("listed.state", [*states, *(OPEN_REQUESTS if OPEN in asked.states else ())], "states")
    conditions.add_any("listed.requested_by", asked.users, "users")
    if asked.groups:
        conditions.add_any('listed."group"', find_groups(connection, asked.groups).values(), "groups")
    if asked.since is not None:
        conditions.add("listed.created_at >= :since", since=moment_asked(asked.since, as_of))
    if asked.datasets:
        conditions.add(
            "listed.id IN (SELECT request_id FROM request_items WHERE dataset_id = ANY(:dataset_ids))",
            dataset_ids=_dataset_ids(connection, asked.datasets),
        )
    if asked.sites:
        sites = find_sites(connection, asked.sites)
        conditions.add(
            """string_to_array(listed.sites, ' ') && CAST(:site_names AS text[]) OR EXISTS (
                SELECT FROM request_actions AS action
                WHERE action.request_id = listed.id AND action.site_id = ANY(CAST(:site_ids AS smallint[])))""",
            site_names=[*asked.sites, *(site.name for site in sites)],
            site_ids=[site.id for site in sites],
        )
    return conditions


def _dataset_ids(connection: Connection, names: Sequence[str]) -> list[int]:
    """Of the datasets that somebody asked something of, also those that were declared invalid since."""
    condition, params = name_condition('known.name COLLATE "C"', names, "dataset")
    known = f"""
        SELECT known.id FROM {EVER_KNOWN_DATASETS} AS known
        WHERE known.id IN (SELECT dataset_id FROM request_items) AND ({condition})"""
    return list(connection.execute(text(known), params).scalars())


REQUESTS: Listing[RequestFilter] = Listing(
    "requests",
    ROW.format(shown=SHOWN_ITEMS),
    _COLUMNS,
    key=("id",),
    narrow=_narrow,
    explain_nothing=lambda connection, asked: check_named(connection, asked.datasets),
    is_newest_first=True,
)
"""``items``: the first three, and how many more. ``num_copies`` null: a deletion."""
