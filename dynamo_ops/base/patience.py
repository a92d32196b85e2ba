"""How long what fails is tried, and what is looked for again by itself: parts of sections of ``settings``."""

from __future__ import annotations

from pydantic import Field

from dynamo_ops.base.config_file import Strict


class Suspension(Strict):
    """When a copy that fails at every attempt is left to a person (docs/transfers.md)."""

    suspend_after_attempts: int = Field(30, ge=1)
    """A copy is suspended, until a person releases it, after so many attempts that failed, …"""
    suspend_after_days: float = Field(14, gt=0)
    """… or when the first of them failed so long ago, whichever comes first."""
    suspended_protects_days: float = Field(90, ge=0)
    """So long its last source stays where it is; then a person is asked by the digest."""


class Healing(Strict):
    """Which missing days of accesses and demand are pulled by themselves (docs/popularity.md)."""

    missing_days_per_run: int = Field(10, ge=0, le=366)
    """Missing days, of all sources together, that a run pulls besides its own."""
