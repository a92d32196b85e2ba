"""What a pause is, and how it is told. Light to load: who only talks of it needs no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dynamo_ops.base.times import time_text


class PauseKind(StrEnum):
    """Acts that can be paused, by the DAG that does them. Those of a partition: ``DETOX`` and ``DEALER``."""

    METADATA = "metadata"
    POPULARITY = "popularity"
    DETOX = "detox"
    DEALER = "dealer"
    TRANSFERS = "transfers"
    DELETIONS = "deletions"
    CONSISTENCY = "consistency"


OF_PARTITION = (PauseKind.DETOX, PauseKind.DEALER)


@dataclass(frozen=True)
class Pause:
    """One pause. ``kind`` None: of everything. ``partition``: of Detox and Dealer, of one only."""

    id: int
    kind: PauseKind | None
    partition: str | None
    reason: str
    created_by: str
    created_at: datetime
    until: datetime | None

    def __str__(self) -> str:
        end = f"until {time_text(self.until)}" if self.until else "until it is resumed"
        return f"{words(self.kind, self.partition)} stopped by {self.created_by} {end}: {self.reason} (pause {self.id})"


def words(kind: PauseKind | None, partition: str | None) -> str:
    """What stands still, in words."""
    return f"{kind or 'everything'}{f' of {partition}' if partition else ''}"
