"""Parts of sections of ``settings``: how long what fails is tried, what is looked for again by itself, and what a
single storage or server is like."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from dynamo_ops.base.config_file import Bytes, Strict


class Suspension(Strict):
    """When a copy that fails at every attempt is left to a person (docs/transfers.md)."""

    suspend_after_attempts: int = Field(30, ge=1)
    """A copy is suspended, until a person releases it, after so many attempts that failed, …"""
    suspend_after_days: float = Field(14, gt=0)
    """… or when the first of them failed so long ago, whichever comes first."""
    suspended_protects_days: float = Field(90, ge=0)
    """So long its last source stays where it is; then a person is asked by the digest."""


class Checksums(StrEnum):
    """Whether a storage tells the checksums of its files. ``AUTO``: Dynamo finds out."""

    TOLD = "told"
    NOT_TOLD = "not_told"
    AUTO = "auto"


class SiteChecksums(Strict):
    """What the storage of a site can say of its files (docs/transfers.md)."""

    checksums: Checksums = Checksums.AUTO
    """Whether it tells their checksums: `told`, `not_told`, or `auto`: Dynamo asks it once copies fail for lack of one.
    Where it tells none, FTS is not to compare them there."""


class Verification(Strict):
    """How copies are looked at whose destination tells no checksum (docs/transfers.md)."""

    checksums_asked_after_days: float = Field(7, gt=0)
    """A storage that told no checksum (`checksums: auto`) is asked again after so long."""
    read_back_fraction: float = Field(0.1, ge=0, le=1)
    """This part of the copies by FTS to storages that tell no checksum is read back by Dynamo, and compared; …"""
    read_back_bytes_per_run: Bytes = Field(20_000_000_000, ge=0)
    """… so many bytes at most in a run of `transfers`."""


class Healing(Strict):
    """Which missing days of accesses and demand are pulled by themselves (docs/popularity.md)."""

    missing_days_per_run: int = Field(10, ge=0, le=366)
    """Missing days, of all sources together, that a run pulls besides its own."""


class Illness(Strict):
    """When a whole site, a link or our credential is taken to be ill, and how it is tried (docs/transfers.md)."""

    ill_after_copies: int = Field(20, ge=1)
    """So many copies to a site, the last begun of those that ended, are looked at; with fewer nothing is said, …"""
    ill_fraction: float = Field(0.9, gt=0, le=1)
    """… and the site is ill when this part of them failed at the destination (over a link: at the source or on it)."""
    ill_window_h: float = Field(24, gt=0)
    """What ended longer ago is not looked at."""
    probe_files: int = Field(5, ge=1)
    """To what is ill only so many files go at a time, …"""
    probe_every_min: float = Field(30, ge=0)
    """… so long after the last began; when they arrive, all goes on."""
    credential_after_sites: int = Field(2, ge=1)
    """When so many sites refuse us at once, our credential is named, and not the sites."""


class ServerLimits(Strict):
    """What one FTS server is given, where it is another number than for all (docs/transfers.md)."""

    files_in_flight: int | None = Field(None, ge=1)
    """Files under way at this server; what exceeds it stays queued. Null: as many as all together may be."""
    files_per_job: int | None = Field(None, ge=1, le=5000)
    """Files of a job that reads from disk. Null: that of `fts`."""


class Moving(Strict):
    """When what waits at an FTS server that is ill goes to another (docs/transfers.md)."""

    move_after_h: float = Field(6, gt=0)
    """Where nothing has started or ended at a server for so long, jobs that waited there so long are cancelled, and
    their files go to another server that takes the link."""
