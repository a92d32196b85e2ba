"""Records of which a value cannot be read: the dataset that each is of is left out and noted, the others are read.

What is good from end to end is read as if there were no such thing. Only what is one record's fault is noted: of an
answer without a good record, about two datasets or more, the first fault is raised; so is that of a record which names
no dataset, of a field that none of several records has, and what shows a service that is ill.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import polars as pl

from dynamo_ops.base.errors import DynamoError, SourceDataError
from dynamo_ops.inventory.frames import Schema
from dynamo_ops.sources.reading.columns import MISSING, Column, Wrong

FAULTS: Schema = {"dataset": pl.String, "fault": pl.String}
"""Of which dataset a bad record is, and what is wrong with it, with its place."""
PIECE = 1000
"""So many records are read again where one of them is bad."""
MOST_DATASETS = 1000
"""With more bad datasets in one answer it is the source that is wrong, whatever ``gates.yaml`` lets pass."""

Fault = Callable[[int, str], DynamoError]
"""Makes the error for the record of that number, given what is wrong with it."""
Read = Callable[[Sequence[int], Wrong], pl.DataFrame]
"""The records of these numbers as columns; ``Wrong`` counts within them."""


class BadRecords:
    """The datasets that have one, each with its first fault in words. ``of``: only these are noted; None: all."""

    def __init__(self, of: Collection[str] | None = None) -> None:
        self._of = of
        self._faults: dict[str, str] = {}
        self._first: DynamoError | None = None

    def __bool__(self) -> bool:
        return bool(self._faults)

    def __contains__(self, dataset: object) -> bool:
        return isinstance(dataset, str) and dataset in self._faults

    def note(self, dataset: object, error: DynamoError) -> None:
        """That a record of the dataset is bad. Raises ``error`` where it is of no dataset, or not of the data; the
        first one of all where there are too many."""
        if not isinstance(dataset, str) or not dataset or not isinstance(error, SourceDataError):
            raise error
        if self._of is not None and dataset not in self._of:
            return
        self._first = self._first or error
        self._faults.setdefault(dataset, error.message)
        if len(self._faults) > MOST_DATASETS:
            raise self._first

    def frame(self) -> pl.DataFrame:
        """One row a dataset, columns FAULTS."""
        return pl.DataFrame(list(self._faults.items()), schema=dict(FAULTS), orient="row")

    def beside(self, datasets: pl.DataFrame) -> pl.DataFrame:
        """A list of datasets with those that have a bad record of their own: of them only ``dataset`` and ``fault``."""
        return pl.concat([datasets, self.frame()], how="diagonal") if self else datasets


class _WrongRecordError(Exception):
    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row, self.what = row, what


def sifted(
    num_records: int,
    read: Read,
    wrong: Fault,
    bad: BadRecords | None,
    dataset_of: Callable[[int], object],
    lacks_field: Callable[[], bool] = lambda: False,
) -> pl.DataFrame:
    """The records as columns, without those of datasets that have a bad one, which are noted in ``bad``; None: the
    first bad one is raised. So it is where ``lacks_field`` says that none of several records has what all must have."""
    every = range(num_records)
    if bad is None:
        return read(every, wrong)
    try:
        return read(every, _WrongRecordError)
    except _WrongRecordError as found:
        if num_records > 1 and lacks_field():
            raise wrong(found.row, found.what) from None
        return _good(every, read, wrong, bad, dataset_of)


def lacks_field(columns: Sequence[Column], values_of: Callable[[Column], Sequence[object]]) -> bool:
    """Whether there is a column that each record must have and that none has."""
    return any(column.is_required and all(cell is MISSING for cell in values_of(column)) for column in columns)


def _good(
    every: Sequence[int], read: Read, wrong: Fault, bad: BadRecords, dataset_of: Callable[[int], object]
) -> pl.DataFrame:
    """Piece by piece, so that a bad record costs no more than a second look at its own."""
    frames: list[pl.DataFrame] = []
    left_out: dict[str, DynamoError] = {}
    for begin in range(0, len(every), PIECE):
        rows = [row for row in every[begin : begin + PIECE] if not _is_in(dataset_of(row), left_out)]
        while True:
            try:
                frames.append(read(rows, _WrongRecordError))
                break
            except _WrongRecordError as found:
                row, dataset = rows[found.row], dataset_of(rows[found.row])
                error = wrong(row, found.what)
                bad.note(dataset, error)
                left_out[str(dataset)] = error
                rows = [row for row in rows if not _is_in(dataset_of(row), left_out)]
    if len(left_out) > 1 and not any(frame.height for frame in frames):
        raise next(iter(left_out.values()))
    return pl.concat(frames)


def _is_in(dataset: object, names: Collection[str]) -> bool:
    return isinstance(dataset, str) and dataset in names
