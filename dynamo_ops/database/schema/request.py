"""What people ask for: copies and deletions, item by item, and what became of each where (SEMANTICS §4); their quotas.

No foreign keys from actions to datasets, blocks and sites: one request can have a hundred thousand of them. None from
items either: they stay to be read when what they name was declared invalid (``invalidations`` has its name).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created, one_of

REQUEST_KINDS = ("copy", "deletion")
REQUEST_STATES = ("new", "activated", "completed", "rejected", "cancelled")
ACTION_STATES = ("queued", "done", "failed", "refused", "cancelled")
# For rooms below that of requests. A test holds that the words are those of its enums.
OPEN_REQUESTS = "state IN ('new', 'activated')"
NEW_REQUESTS = "state = 'new'"
COPY_REQUESTS = "kind = 'copy'"
QUEUED_ACTIONS = "state = 'queued'"
CANCELLED = "state = 'cancelled'"


class Request(Base):
    """What a person asks for: copies of items over ``sites`` (names or globs), or for their deletion there.

    ``num_copies``: 0 one at each of the sites; null for a deletion. ``group_id``: who will own the copies; for a
    deletion, whose replicas are meant (null: anybody's). ``digest``: the same for the same items, sites, copies and
    group; only one such request of a kind is open, and ``num_asked`` counts how often it was asked for. ``reason``:
    why it is asked (deletions). ``closed_because``: why it was rejected or cancelled, or completed without an item.
    """

    __tablename__ = "requests"
    __table_args__ = (
        one_of("kind", *REQUEST_KINDS),
        one_of("state", *REQUEST_STATES),
        Index("uq_requests_open", "digest", unique=True, postgresql_where=text(OPEN_REQUESTS)),
        Index("ix_requests_requested_by", "requested_by"),
    )

    id: Mapped[bigint_key]
    kind: Mapped[str]
    digest: Mapped[str]
    sites: Mapped[list[str]] = mapped_column(ARRAY(Text))
    num_copies: Mapped[int | None] = mapped_column(Integer)
    group_id: Mapped[int | None] = mapped_column(SmallInteger, ForeignKey("groups.id"))
    state: Mapped[str] = mapped_column(Text, server_default="new")
    reason: Mapped[str | None]
    requested_by: Mapped[str]
    created_at: Mapped[created]
    num_asked: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    last_asked_by: Mapped[str]
    last_asked_at: Mapped[created]
    updated_at: Mapped[created]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    closed_because: Mapped[str | None]


class RequestItem(Base):
    """One dataset (``block_id`` null) or block of a request, numbered from 1 by name."""

    __tablename__ = "request_items"
    __table_args__ = (Index("ix_request_items_dataset_id", "dataset_id"),)

    request_id: Mapped[int] = mapped_column(ForeignKey("requests.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    dataset_id: Mapped[int]
    block_id: Mapped[int | None]


class RequestAction(Base):
    """What is done for a request at one site: a copy of a dataset (``block_id`` null) or block, or a block replica's
    deletion.

    ``reason``: why it was refused or failed. ``from_group_id`` and ``was_growing``: of a deletion, the owner before and
    whether the dataset replica grew: what it gets back when the request is cancelled. ``size_bytes``: full size of a
    copy, bytes on disk of a deletion, when it was decided. ``plan_id``: the Dealer's plan.
    """

    __tablename__ = "request_actions"
    __table_args__ = (
        one_of("state", *ACTION_STATES),
        Index(
            "uq_request_actions_dataset",
            "request_id",
            "dataset_id",
            "site_id",
            unique=True,
            postgresql_where=text("block_id IS NULL"),
        ),
        Index(
            "uq_request_actions_block",
            "request_id",
            "block_id",
            "site_id",
            unique=True,
            postgresql_where=text("block_id IS NOT NULL"),
        ),
        Index("ix_request_actions_queued", "dataset_id", "site_id", postgresql_where=text(QUEUED_ACTIONS)),
    )

    id: Mapped[bigint_key]
    request_id: Mapped[int] = mapped_column(ForeignKey("requests.id"))
    dataset_id: Mapped[int]
    block_id: Mapped[int | None]
    site_id: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(Text, server_default="queued")
    reason: Mapped[str | None]
    from_group_id: Mapped[int | None] = mapped_column(SmallInteger)
    was_growing: Mapped[bool] = mapped_column(server_default=text("false"))
    size_bytes: Mapped[int]
    plan_id: Mapped[int | None]
    created_at: Mapped[created]
    updated_at: Mapped[created]


class GroupQuota(Base):
    """Bytes of unique data that a group may own or have asked for. Negative, or no row: unlimited."""

    __tablename__ = "group_quotas"

    group_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("groups.id"), primary_key=True, autoincrement=False)
    quota_bytes: Mapped[int]
    changed_by: Mapped[str]
    changed_at: Mapped[created]


class UserQuota(Base):
    """Bytes of unique data that a person may have asked for. Negative, or no row: unlimited."""

    __tablename__ = "user_quotas"

    user_name: Mapped[str] = mapped_column(Text, primary_key=True)
    quota_bytes: Mapped[int]
    changed_by: Mapped[str]
    changed_at: Mapped[created]
