"""How events go to whom: which of them, by which way, and what becomes of each."""

from __future__ import annotations

from enum import StrEnum


class EventScope(StrEnum):
    """Which events a subscription is about: one's own; all; or those of groups, sites or datasets, by a glob."""

    OWN = "own"
    ALL = "all"
    GROUP = "group"
    SITE = "site"
    DATASET = "dataset"


class Channel(StrEnum):
    """The way to whoever subscribed."""

    MAIL = "mail"
    WEBHOOK = "webhook"


class DeliveryState(StrEnum):
    """``WAITING``: not sent yet, or not taken. ``GIVEN_UP``: nobody took it for too long."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
