"""Datasets, blocks and files from an HTTP JSON service that the settings describe, so that none needs code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import polars as pl

from dynamo_ops.base.errors import DynamoError, RemoteError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.checksum import adler32_digits
from dynamo_ops.sources.loader import parse_options
from dynamo_ops.sources.metadata.json_mapping import JsonOptions, Listing, columns_of, inside, values_of
from dynamo_ops.sources.metadata.parts import fetched, joined
from dynamo_ops.sources.metadata.tables import TABLES, changed_in, with_open
from dynamo_ops.sources.reading.bad_records import BadRecords, lacks_field, sifted
from dynamo_ops.sources.reading.columns import MISSING, Wrong, from_values
from dynamo_ops.sources.reading.http import HttpJson
from dynamo_ops.sources.reading.records import Fault
from dynamo_ops.sources.source import BLOCKS, FILES, Details

FIRST = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(3000, 1, 1, tzinfo=UTC)
NOT_FOUND = 404
LABELS = {"datasets": "dataset", "blocks": "block", "files": "lfn"}


class _Page(NamedTuple):
    """A page to ask for: of a table, at a URL, of that number from 0. ``dataset`` is empty for the list of datasets.

    ``num_rows``: how many rows were before it, ``num_before``: on the page before it. ``before``: the name of the first
    record of that page, so that a service which goes round is seen.
    """

    table: str
    url: str
    number: int
    dataset: str
    num_rows: int = 0
    num_before: int = 0
    before: object = None


class JsonSource:
    """A described JSON service as a MetadataSource."""

    def __init__(self, settings: SourceSettings, tls: Tls) -> None:
        self.name = settings.name
        self._options = options = parse_options(settings, JsonOptions)
        self._http = HttpJson(settings.name, tls, options.timeout_s, options.threads, options.headers)

    def datasets(self, since: datetime | None, until: datetime) -> pl.DataFrame:
        """Datasets changed in [since, until], whatever the service thinks of the interval's ends."""
        bad = BadRecords()
        return bad.beside(with_open(changed_in(self._listed(since, until, bad), since, until)))

    def count_datasets(self) -> int:
        """What the service says under ``count``, or the number of datasets that it lists."""
        count = self._options.count
        if count is None:
            bad = BadRecords()
            return bad.beside(self._listed(None, LAST, bad)).height
        document, fault = self._http.document(self._options.address(count.url, {}))
        number = inside(document, count.field.split("."))
        if type(number) is not int:
            raise fault(f"{count.field} is {'missing' if number is MISSING else repr(number)}, expected a whole number")
        return number

    def details(self, datasets: Sequence[str]) -> Iterator[Details]:
        """Blocks and files of ``datasets``, ``threads`` at a time; what is in many pages comes page by page."""
        return joined(self._details(datasets))

    def _details(self, datasets: Sequence[str]) -> Iterator[Details]:
        ahead = self._options.threads
        with ThreadPoolExecutor(ahead) as threads:
            for first, left in fetched(threads, self._first, datasets, ahead):
                yield first
                for page in left:
                    yield from self._rest(page)

    def _first(self, dataset: str) -> tuple[Details, list[_Page]]:
        """The first page of a dataset's files, and of its blocks if there is no other; and the pages that come next.

        The blocks are asked for after all files: one that production adds meanwhile is then a block with too few files,
        and not files of an unknown block.
        """
        bad = BadRecords()
        files, next_files = self._page(self._start("files", {"dataset": dataset}, dataset), bad)
        first_blocks = self._start("blocks", {"dataset": dataset}, dataset)
        if next_files is not None and not bad:
            return Details(pl.DataFrame(schema=dict(BLOCKS)), files), [next_files, first_blocks]
        blocks, next_blocks = self._page(first_blocks, bad)
        return Details(blocks, files, bad.frame()), [] if bad or next_blocks is None else [next_blocks]

    def _rest(self, page: _Page | None) -> Iterator[Details]:
        no_blocks, no_files = pl.DataFrame(schema=dict(BLOCKS)), pl.DataFrame(schema=dict(FILES))
        bad = BadRecords()
        while page is not None:
            table = page.table
            frame, page = self._page(page, bad)
            yield Details(frame, no_files) if table == "blocks" else Details(no_blocks, frame)
        if bad:
            yield Details(no_blocks, no_files, bad.frame())

    def _listed(self, since: datetime | None, until: datetime, bad: BadRecords) -> pl.DataFrame:
        """All pages of the list of datasets that the service gives for the interval."""
        times = {"since": self._options.time(since or FIRST), "until": self._options.time(until)}
        page: _Page | None = self._start("datasets", times, "")
        frames = [pl.DataFrame(schema=dict(TABLES["datasets"]))]
        while page is not None:
            frame, page = self._page(page, bad)
            frames.append(frame)
        return pl.concat(frames)

    def _start(self, table: str, values: dict[str, str], dataset: str) -> _Page:
        return _Page(table, self._options.address(self._listing(table).url, values), 0, dataset)

    def _listing(self, table: str) -> Listing:
        listing: Listing = getattr(self._options, table)
        return listing

    def _page(self, page: _Page, bad: BadRecords) -> tuple[pl.DataFrame, _Page | None]:
        """The rows of a page as a frame of the table's columns, and the page after it."""
        listing = self._listing(page.table)
        parameters = listing.page.parameters(page.number, page.num_rows) if listing.page else None
        try:
            document, fault = self._http.document(page.url, parameters)
        except RemoteError as error:
            if listing.not_found == "empty" and error.facts["status"] == NOT_FOUND:
                return pl.DataFrame(schema=dict(TABLES[page.table])), None
            if not page.dataset:
                raise
            raise type(error)(f"{error} (dataset {page.dataset})", **error.facts, dataset=page.dataset) from None
        records = inside(document, listing.rows.split(".")) if listing.rows else document
        if not isinstance(records, list):
            raise fault(f"is not a JSON document with a list at {listing.rows or 'its top'}")
        frame = self._frame(page, records, fault, bad)
        if not records:
            return frame, None
        first = values_of(records[:1], listing.fields[LABELS[page.table]])[0]
        if page.number and first == page.before:
            raise fault(f"{first}: comes again at the head of page {page.number + 1}; does the service know of pages?")
        _check_not_cut(page, listing, fault)
        after = self._after(page, listing, document, len(records), fault)
        num_rows = page.num_rows + len(records)
        return frame, after and after._replace(before=first, num_rows=num_rows, num_before=len(records))

    def _frame(self, page: _Page, records: list[Any], fault: Fault, bad: BadRecords) -> pl.DataFrame:
        listing, label = self._listing(page.table), LABELS[page.table]
        for number, record in enumerate(records):
            if not isinstance(record, dict):
                raise fault(f"record {number}: not a JSON object")
        rule = listing.fields[label]
        names = values_of(records, rule)

        def wrong(number: int, problem: str) -> DynamoError:
            name = names[number] if isinstance(names[number], str) else f"record {number}"
            place = f"{page.dataset}: {name}" if page.dataset else name
            return fault(f"{place}: {problem}", dataset=page.dataset or name)

        columns = columns_of(page.table, listing)

        def read(rows: Sequence[int], wrong: Wrong) -> pl.DataFrame:
            chosen = records if len(rows) == len(records) else [records[row] for row in rows]
            return pl.DataFrame([from_values(values_of(chosen, listing.fields.get(c.name)), c, wrong) for c in columns])

        def lacks() -> bool:
            return lacks_field(columns, lambda c: values_of(records, listing.fields.get(c.name)))

        frame = sifted(len(records), read, wrong, bad, lambda row: page.dataset or names[row], lacks)
        if page.table == "datasets":
            return frame
        frame = frame.with_columns(dataset=pl.lit(page.dataset))
        if page.table == "blocks":
            return frame.select(list(BLOCKS))
        return frame.with_columns(adler32_digits()).select(list(FILES))

    def _after(self, page: _Page, listing: Listing, document: Any, num_rows: int, fault: Fault) -> _Page | None:
        if listing.page is not None:
            is_last = listing.page.ends == "short" and num_rows < listing.page.size
            return None if is_last else page._replace(number=page.number + 1)
        following = inside(document, listing.next.split(".")) if listing.next else None
        if following is None or following is MISSING or following == "":
            return None
        url = urljoin(page.url, following) if isinstance(following, str) else ""
        if urlsplit(url)[:2] != urlsplit(page.url)[:2] or url == page.url:
            raise fault(f"{listing.next} is {following!r}, expected another page of the same service")
        return page._replace(url=url, number=page.number + 1)


def _check_not_cut(page: _Page, listing: Listing, fault: Fault) -> None:
    """That a service which was told how long its pages are kept to it: else it may leave rows out between two."""
    rule = listing.page
    if rule is None or rule.counts == "rows" or rule.size_parameter is None or page.number == 0:
        return
    if page.num_before < rule.size:
        place = f"{page.dataset}: " if page.dataset else ""
        raise fault(
            f"{place}{page.table}: page {page.number} has {page.num_before:,} rows of the {rule.size:,} asked for, and "
            f"another page follows: set page.size to what the service gives"
        )
