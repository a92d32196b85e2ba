"""What is broken on purpose: one typed record a service, set by the scenario or at run time over the control port.

A switch is off when false, zero, null or empty. A counter (`lost_reply`, `hang_active` ...) loses one at each use.
"""

from __future__ import annotations

import random
import threading
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

NoChecksums = Literal["", "no header", "405"]


class _Faults(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    down: bool = Field(False, description="connections are cut without an answer")
    slow_s: float = Field(0.0, ge=0, description="wait before each answer")
    http_500: int | bool = Field(False, description="answer 500: for ever, or this many times")


class LinkFaults(BaseModel):
    """What is wrong between two storages. Faults of the link add to those of FTS as a whole."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(0.0, ge=0, description="each copy takes at least this long")
    bytes_per_s: float = Field(0.0, ge=0, description="copies are no faster than this")
    fail_fraction: float = Field(0.0, ge=0, le=1, description="this part of the copies fails, recoverably")
    refuse_fraction: float = Field(0.0, ge=0, le=1, description="this part of the copies fails for good")

    def least_s(self, size: int) -> float:
        """The shortest time in which so many bytes come over."""
        return max(self.seconds, size / self.bytes_per_s if self.bytes_per_s else 0.0)


class FtsFaults(_Faults):
    http_503: int | bool = Field(False, description="answer 503: for ever, or this many times")
    retry_after_s: int | None = Field(None, ge=0, description="what a 503 asks for in Retry-After")
    fail_fraction: float = Field(0.0, ge=0, le=1, description="this part of the copies fails, recoverably")
    refuse_fraction: float = Field(0.0, ge=0, le=1, description="this part of the copies fails for good")
    lost_reply: int = Field(0, ge=0, description="this many submissions are accepted but never answered")
    lost_submit: int = Field(0, ge=0, description="this many submissions are cut off before they are accepted")
    hang_active: int = Field(0, ge=0, description="this many copies stay ACTIVE until cancelled or faults are set anew")
    paused: bool = Field(False, description="nothing is scheduled: jobs stay SUBMITTED or STAGING")
    archived: bool = Field(False, description="finished jobs are gone from /jobs, and under /archive instead")
    no_delegation: bool = Field(False, description="the delegated credential counts as expired: 419")
    credential_expired: bool = Field(False, description="419, until a new credential has been delegated")
    proxy_expired: bool = Field(
        False, description="storages refuse the delegated proxy of queued jobs, until a new one has been delegated"
    )
    forgotten: list[str] = Field(default_factory=list, description="these jobs are unknown, and not archived either")
    poisoned: list[str] = Field(
        default_factory=list, description="documents with one of these in a URL are answered 500, for ever"
    )
    refuses_all: bool = Field(False, description="every submission is answered 400, whatever it says")
    banned: list[str] = Field(default_factory=list, description="storages (davs://host) refused at submission")
    links: dict[str, LinkFaults] = Field(
        default_factory=dict, description="by 'davs://from davs://to'; * stands for any storage"
    )

    @field_validator("links")
    @classmethod
    def _two_storages(cls, links: dict[str, LinkFaults]) -> dict[str, LinkFaults]:
        for name in links:
            if len(name.split()) != 2:
                raise ValueError(f"{name!r} is not of the form 'davs://from davs://to'")
        return links

    def link(self, source: str, destination: str) -> LinkFaults:
        """The faults of the link: the most closely named entry alone."""
        for name in (f"{source} {destination}", f"{source} *", f"* {destination}", "* *"):
            if name in self.links:
                return self.links[name]
        return _NO_LINK_FAULTS


_NO_LINK_FAULTS = LinkFaults()


class DbsFaults(_Faults):
    negative_size: bool = Field(False, description="the first file and block of each dataset have a negative size")
    vanished_half: bool = Field(False, description="every second dataset is gone from all answers")
    duplicate_lfn: bool = Field(False, description="each dataset's first LFN also appears in its second block")
    unknown_status: bool = Field(False, description="all datasets have a status nobody defined")
    broken_json: bool = Field(False, description="bodies are cut in the middle")


class FeedFaults(_Faults):
    broken_json: bool = Field(False, description="bodies are cut in the middle")
    vanished: list[str] = Field(default_factory=list, description="these sites are left out")
    unknown_status: list[str] = Field(default_factory=list, description="these sites have a status nobody defined")
    stale_s: float = Field(0.0, ge=0, description="updated_at lies this far in the past")


class SiteFaults(_Faults):
    read_only: bool = Field(False, description="writes and deletions are refused with 403")
    full: bool = Field(False, description="writes are refused with 507")
    refuses: Literal["", "permission", "directory", "checksum"] = Field(
        "", description="copies to it fail: with 403, since no directory can be made, since it tells no checksum"
    )
    corrupt_writes: int = Field(0, ge=0, description="this many uploads are stored with a wrong byte")
    fail_fraction: float = Field(0.0, ge=0, le=1, description="this part of the requests gets 503")
    no_checksums: NoChecksums = Field("", description="checksums are not told: 'no header', or '405' to who asks")
    tape_stuck: bool = Field(False, description="staging requests are taken but never served")
    archive_stuck: bool = Field(False, description="uploads stay in the buffer of the tape until this ends")


class FaultsRecord(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fts: FtsFaults = Field(default_factory=FtsFaults)
    dbs: DbsFaults = Field(default_factory=DbsFaults)
    site_status: FeedFaults = Field(default_factory=FeedFaults)
    accesses: FeedFaults = Field(default_factory=FeedFaults)
    sites: dict[str, SiteFaults] = Field(default_factory=dict)


class UnknownFaultError(ValueError):
    """The request names a service, site or fault that does not exist, or gives it an impossible value."""


class Faults:
    """The faults now in force; safe to read and set from any thread."""

    def __init__(self, initial: FaultsRecord, site_names: list[str], seed: int) -> None:
        self._lock = threading.RLock()
        self._site_names = site_names
        self._record = initial.model_copy(deep=True)
        self._random = random.Random(f"faults:{seed}")
        self.version = 0  # counts the calls of set and clear; hung copies go on when it changes
        self._check_sites(self._record)

    @property
    def fts(self) -> FtsFaults:
        return self._record.fts

    @property
    def dbs(self) -> DbsFaults:
        return self._record.dbs

    @property
    def site_status(self) -> FeedFaults:
        return self._record.site_status

    @property
    def accesses(self) -> FeedFaults:
        return self._record.accesses

    def site(self, name: str) -> SiteFaults:
        return self._record.sites.get(name) or _NO_SITE_FAULTS

    def as_document(self) -> dict[str, Any]:
        with self._lock:
            return self._record.model_dump()

    def set(self, change: dict[str, Any]) -> None:
        """Lay `change` over what is in force: {"fts": {"down": true}, "sites": {"T2_CC": {"read_only": true}}}.

        Named faults take the new value, unnamed ones keep theirs. A service given as null is healthy again.
        Raises UnknownFaultError, and then changes nothing.
        """
        with self._lock:
            document = self._record.model_dump()
            _lay_over(document, change)
            try:
                record = FaultsRecord.model_validate(document)
            except ValidationError as error:
                raise UnknownFaultError(_first_error(error)) from error
            self._check_sites(record)
            self._record = record
            self.version += 1

    def clear(self) -> None:
        with self._lock:
            self._record = FaultsRecord()
            self.version += 1

    def end(self, faults: BaseModel, name: str) -> None:
        """Switch one fault off: what it stood for has been mended."""
        with self._lock:
            setattr(faults, name, type(faults).model_fields[name].get_default(call_default_factory=True))

    def spend(self, faults: BaseModel, name: str) -> bool:
        """True if the fault is on; a counter loses one, a plain switch stays."""
        with self._lock:
            value = getattr(faults, name)
            if value is True or not value:
                return bool(value)
            setattr(faults, name, value - 1)
            return True

    def strikes(self, fraction: float) -> bool:
        """True for about `fraction` of the calls, in an order fixed by the scenario's seed."""
        if fraction <= 0:
            return False
        with self._lock:
            return self._random.random() < fraction

    def _check_sites(self, record: FaultsRecord) -> None:
        for name in record.sites:
            if name not in self._site_names:
                raise UnknownFaultError(f"sites.{name}: no such site; there are {', '.join(self._site_names)}")


_NO_SITE_FAULTS = SiteFaults()


def _lay_over(document: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict):
            _lay_over(document[key], value)
        elif value is None and key in document:
            del document[key]
        else:
            document[key] = value


def _first_error(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
