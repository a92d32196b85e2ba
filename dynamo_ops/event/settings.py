"""The section ``events`` of ``dynamo.yaml``."""

from __future__ import annotations

from pydantic import Field

from dynamo_ops.base.config_file import Strict, read_section
from dynamo_ops.base.settings import MAIN_FILE, Settings


class EventSettings(Strict):
    """What people and services are told of when it happens: docs/events.md."""

    hosts: list[str] = Field(default_factory=list)
    """Hosts that webhooks of subscriptions may be at, names or globs, with a port where it is not 443; those of
    `alerts.webhooks` may be called without it. Behind a glob only public addresses are called."""
    stuck_after_days: float = Field(7, gt=0)
    """A request is stuck of which nothing has moved for so long."""
    ending_within_days: float = Field(7, gt=0)
    """So long before a lock or token ends it is told."""
    keep_days: float = Field(90, ge=7)
    """How long events are kept, and what became of sending them."""
    per_owner: int = Field(20, ge=1)
    """Subscriptions that a person or group may have."""
    give_up_after_days: float = Field(3, gt=0)
    """What nobody has taken for so long is sent no more."""
    backoff_s: float = Field(60, gt=0)
    """Pause after a call that failed; doubled with each more in a row."""
    max_backoff_s: float = Field(3600, gt=0)
    """The longest pause."""
    timeout_s: float = Field(10, gt=0)
    """A webhook must connect, and must answer, within that long."""
    at_once: int = Field(6, ge=1, le=6)
    """Webhooks that are called at the same time."""
    run_s: float = Field(45, gt=0)
    """After so long a run begins no more calls; the next goes on."""
    webhook_s: float = Field(20, gt=0)
    """After so long a run goes on with others than a webhook that has more to take."""


def event_settings(settings: Settings) -> EventSettings:
    """Raises SettingsError that names each fault."""
    return read_section(EventSettings, settings.events, settings.config_dir / MAIN_FILE, "events")
