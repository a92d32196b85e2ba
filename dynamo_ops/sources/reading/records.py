"""JSON records as columns: lists of objects, or one object a line; only the fields that are asked for are decoded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Any, Protocol

import msgspec
import polars as pl

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.sources.reading.bad_records import BadRecords, lacks_field, sifted
from dynamo_ops.sources.reading.columns import MISSING, Column, Wrong, from_values
from dynamo_ops.sources.reading.documents import documents

HEAD = 4096
"""So many bytes say whether it begins with a list or an object."""


class Fault(Protocol):
    """Makes the error from what is wrong ("record 5: size is missing"); ``facts`` name the record."""

    def __call__(self, what: str, **facts: object) -> DynamoError:
        """The error, with the source and the place in front."""
        ...


class Records:
    """Reads records of which the fields of ``columns`` count. ``label``: the column that names a record in messages.

    Where ``bad`` is given, a record that cannot be read is noted there, by the dataset in its first column.
    """

    def __init__(self, columns: Sequence[Column], label: str | None = None) -> None:
        self.columns = tuple(columns)
        self._label = label
        fields = [(f"f{number}", Any, MISSING) for number in range(len(self.columns))]
        names = {f"f{number}": column.field for number, column in enumerate(self.columns)}
        record = msgspec.defstruct("Record", fields, rename=names, gc=False)
        self._list = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
        self._one = msgspec.json.Decoder(record)

    def frame(
        self,
        document: bytes,
        fault: Fault,
        fewest_lines: int | None = None,
        bad: BadRecords | None = None,
        dataset: str | None = None,
    ) -> pl.DataFrame:
        """The JSON list of records as a frame of our columns; several lists, one behind the other, are one.

        ``fewest_lines``: so many JSON lines are read as well as a list; None: none, and only one list, since nothing
        shows whether more should follow. ``dataset``: which all records are of.
        """
        try:
            records = self._lines_of(document, fewest_lines) or (
                self._list.decode(document) if fewest_lines is None else self._lists_of(document)
            )
        except msgspec.ValidationError as error:
            raise fault(f"is not a JSON list of records ({error})") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise fault(f"is not JSON ({error})") from None
        return self._frame(records, lambda row: f"record {row}", fault, bad, dataset)

    def _lists_of(self, content: bytes) -> list[Any]:
        records: list[Any] = []
        num_lists = 0
        try:
            for one in documents(content, self._list):
                records += one
                num_lists += 1
        except msgspec.ValidationError as error:
            if not num_lists:
                raise
            raise msgspec.DecodeError(f"behind a whole list: {error}") from error
        return records

    def _lines_of(self, content: bytes, fewest_lines: int | None) -> list[Any]:
        """The records of JSON lines; none where it is something else."""
        if fewest_lines is None or not content[:HEAD].lstrip().startswith(b"{"):
            return []
        try:
            records: list[Any] = self._one.decode_lines(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []
        return records if len(records) >= fewest_lines else []

    def lines(
        self,
        chunk: bytes,
        first_line: int,
        fault: Fault,
        of: Collection[str] | None = None,
        bad: BadRecords | None = None,
    ) -> pl.DataFrame:
        """JSON lines (whole ones, the first of number ``first_line``) as a frame of our columns.

        ``of``: only records whose first column is one of these, or no text at all.
        """
        try:
            records: list[Any] = self._one.decode_lines(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._bad_line(chunk, first_line, fault) from None
        rows: Sequence[int] = range(len(records))
        if of is not None:
            rows = [row for row in rows if not isinstance(records[row].f0, str) or records[row].f0 in of]
            records = [records[row] for row in rows]
        return self._frame(records, lambda row: f"line {self._line(chunk, first_line, rows[row])}", fault, bad)

    def _frame(
        self,
        records: Sequence[Any],
        place: Callable[[int], str],
        fault: Fault,
        bad: BadRecords | None = None,
        dataset: str | None = None,
    ) -> pl.DataFrame:
        def wrong(row: int, what: str) -> DynamoError:
            name = self._name(records[row])
            return fault(f"{name or place(row)}: {what}", **({str(self._label): name} if name else {}))

        def read(rows: Sequence[int], wrong: Wrong) -> pl.DataFrame:
            chosen = records if len(rows) == len(records) else [records[row] for row in rows]
            values = (list(map(attrgetter(f"f{number}"), chosen)) for number in range(len(self.columns)))
            return pl.DataFrame(
                [from_values(found, column, wrong) for found, column in zip(values, self.columns, strict=True)]
            )

        def values(column: Column) -> list[Any]:
            return list(map(attrgetter(f"f{self.columns.index(column)}"), records))

        return sifted(
            len(records),
            read,
            wrong,
            bad,
            lambda row: dataset or records[row].f0,
            lambda: lacks_field(self.columns, values),
        )

    def _name(self, record: Any) -> str:
        for number, column in enumerate(self.columns):
            value = getattr(record, f"f{number}")
            if column.name == self._label and isinstance(value, str):
                return value
        return ""

    def _line(self, chunk: bytes, first_line: int, row: int) -> int:
        """The number of the line that holds record ``row``: blank lines hold none."""
        full = [number for number, line in enumerate(chunk.split(b"\n"), first_line) if line.strip()]
        return full[row]

    def _bad_line(self, chunk: bytes, first_line: int, fault: Fault) -> DynamoError:
        for number, line in enumerate(chunk.split(b"\n"), first_line):
            if line.strip():
                try:
                    self._one.decode(line)
                except msgspec.ValidationError as error:
                    return fault(f"line {number}: not a JSON object ({error})")
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    return fault(f"line {number}: not JSON ({error})")
        return fault(f"line {first_line}: not JSON")
