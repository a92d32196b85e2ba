"""Storages in memory: what is there in truth, and the ``Storage`` by which Dynamo is shown it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import polars as pl

from dynamo_ops.base.errors import PermanentRemoteError, RetryableRemoteError
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.storage.protocol import STORED_FILES, UNCONDITIONAL, Condition, DeletionOutcome, StoredFile
from tests.histories.kills import Point

ROOT = "davs://{}.invalid:443/dav"


class Mode(StrEnum):
    """How a storage behaves to Dynamo."""

    WELL = "well"
    DOWN = "down"
    """It answers nothing."""
    DEAF = "deaf"
    """It deletes, and its answer is lost."""
    REFUSING = "refusing"
    """It deletes nothing."""
    UNMOUNTED = "unmounted"
    """It says that it has nothing."""


@dataclass(frozen=True)
class Content:
    """What a file is."""

    size_bytes: int
    adler32: str


@dataclass(frozen=True)
class Stored:
    """A file that is there. ``written_at``: in truth, whatever the storage's clock says. ``is_on_tape``: of a tape,
    that it is not in the buffer only."""

    content: Content
    written_at: datetime
    is_on_tape: bool = False


@dataclass
class Place:
    """One storage, whatever sites lie on it. ``num_names``: of the host, all lead here; ``clock_is_ahead``: by so much,
    always."""

    name: str
    is_tape: bool = False
    clock_is_ahead: timedelta = timedelta(0)
    files: dict[str, Stored] = field(default_factory=dict)
    mode: Mode = Mode.WELL
    num_names: int = 1

    @property
    def prefix(self) -> str:
        """What PFNs here begin with, by the newest of the host's names."""
        return self.prefixes[-1]

    @property
    def prefixes(self) -> list[str]:
        """What PFNs here may begin with: each leads here."""
        return [ROOT.format(f"{self.name}-{number}") for number in range(self.num_names)]

    def has(self, lfn: str, content: Content) -> bool:
        """Whether the file is here, with these bytes, for good."""
        stored = self.files.get(lfn)
        return stored is not None and stored.content == content and (stored.is_on_tape or not self.is_tape)

    def put(self, lfn: str, content: Content, *, is_on_tape: bool = True, age: timedelta = timedelta(0)) -> None:
        """Write a file, over what is there."""
        self.files[lfn] = Stored(content, datetime.now(UTC) - age, is_on_tape and self.is_tape)

    def grow_older(self, by: timedelta) -> None:
        """Time has passed; after a day a tape has written what was in its buffer."""
        is_written = self.is_tape and by >= timedelta(days=1)
        self.files = {
            lfn: replace(stored, written_at=stored.written_at - by, is_on_tape=stored.is_on_tape or is_written)
            for lfn, stored in self.files.items()
        }


class PlaceStorage:
    """A ``Storage`` onto a place. ``about_to_delete`` is told of each file that goes, before it does; ``meanwhile`` is
    called before each request: others are at work too."""

    def __init__(
        self,
        place: Place,
        site: str,
        site_id: int,
        point: Point,
        about_to_delete: Callable[[str, str], None],
        meanwhile: Callable[[], None],
    ) -> None:
        self.endpoint = Endpoint(site, "davs", place.prefix, (), "/store", site_id)
        self._place, self._point, self._about_to_delete = place, point, about_to_delete
        self._meanwhile = meanwhile
        self._conditions: Mapping[str, Condition] = {}

    def _look(self) -> dict[str, Stored]:
        if self._place.mode == Mode.DOWN:
            raise RetryableRemoteError(f"{self._place.name} does not answer", service="storage")
        return {} if self._place.mode == Mode.UNMOUNTED else self._place.files

    def list_files(self, prefix: str) -> Iterator[pl.DataFrame]:
        self._meanwhile()
        files = self._look()
        if self._place.mode == Mode.UNMOUNTED:
            raise PermanentRemoteError(f"{prefix}: not there", service="storage", status=404)
        yield pl.DataFrame(
            [
                (lfn, stored.content.size_bytes, self._stamp(stored))
                for lfn, stored in files.items()
                if lfn.startswith(f"{prefix}/")
            ],
            schema=STORED_FILES,
            orient="row",
        )

    def expect(self, conditions: Mapping[str, Condition]) -> None:
        self._conditions = conditions

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        outcomes = [self._delete(lfn) for lfn in lfns]
        self._conditions = {}
        return outcomes

    def _delete(self, lfn: str) -> DeletionOutcome:
        self._point()
        self._meanwhile()
        if self._place.mode == Mode.DOWN:
            return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, "no answer")
        stored = self._look().get(lfn)
        if stored is None:
            return DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)
        objection = self._conditions.get(lfn, UNCONDITIONAL).objection(stored.content.size_bytes, self._stamp(stored))
        if objection or self._place.mode == Mode.REFUSING:
            return DeletionOutcome(lfn, DeletionObservation.REFUSED, objection or "forbidden")
        self._about_to_delete(self.endpoint.site, lfn)
        del self._place.files[lfn]
        self._point()
        if self._place.mode == Mode.DEAF:
            return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, "timed out")
        return DeletionOutcome(lfn, DeletionObservation.DELETED)

    def stat(self, lfn: str) -> StoredFile | None:
        stored = self._look().get(lfn)
        return stored and StoredFile(lfn, stored.content.size_bytes, self._stamp(stored))

    def checksum(self, lfn: str) -> str | None:
        stored = self._look().get(lfn)
        return stored and stored.content.adler32

    def read(self, lfn: str, start: int = 0) -> Iterator[bytes]:
        raise NotImplementedError("files are copied by FTS here")

    def upload(self, lfn: str, size_bytes: int) -> Any:
        raise NotImplementedError("files are copied by FTS here")

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:
        del directories, keep
        return 0

    def clock(self) -> datetime:
        return datetime.now(UTC) + self._place.clock_is_ahead

    def _stamp(self, stored: Stored) -> datetime:
        return stored.written_at + self._place.clock_is_ahead

    def close(self) -> None:
        pass
