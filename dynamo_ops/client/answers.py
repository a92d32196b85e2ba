"""What an answer says: a document, rows of a stream, or why it was not done."""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import requests

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.client.errors import (
    BrokenStreamError,
    ProblemError,
    ServerError,
    UnexpectedAnswerError,
    problem_error,
)
from dynamo_ops.client.repeats import retry_after_s

Document = dict[str, Any]
"""JSON: times are ISO 8601 in UTC, sizes are bytes."""

PROBLEM, NDJSON, CSV, JSON = "application/problem+json", "application/x-ndjson", "text/csv", "application/json"
PIECE_BYTES = 1 << 16
LONGEST_END = 100
"""Characters of the line that says how many rows there were, at most."""


def media_type(response: requests.Response) -> str:
    """Without its parameters."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def problem_in(response: requests.Response) -> ProblemError | None:
    """Why it was not done; None where it was. Raises UnexpectedAnswerError where it is nothing that Dynamo says: a
    proxy's or a gateway's 429 and 5xx are believed, whatever their form."""
    if response.ok and not response.is_redirect:
        return None
    after_s = retry_after_s(response.headers)
    if media_type(response) == PROBLEM:
        document = _parsed(response)
        if isinstance(document, dict):
            return problem_error({"status": response.status_code, **document}, after_s)
    if response.status_code == 429 or response.status_code >= 500:
        title = _phrase(response.status_code)
        detail = f"{response.status_code} {title}, of a server before Dynamo or of Airflow"
        return problem_error({"status": response.status_code, "title": title, "detail": detail}, after_s)
    raise unexpected(response, "it answers, but not as Dynamo does")


def document_of(response: requests.Response) -> Document:
    """Raises UnexpectedAnswerError for what is no object in JSON."""
    document = _parsed(response) if media_type(response) == JSON else None
    if not isinstance(document, dict):
        raise unexpected(response, f"it answers {media_type(response) or 'something'} where Dynamo answers JSON")
    return document


def rows_of(response: requests.Response, path: str) -> Iterator[Document]:
    """Rows of NDJSON as they come; the list where it is one that has one page always. Raises BrokenStreamError."""
    if media_type(response) == JSON:
        yield from items_of(document_of(response), path)
        return
    if media_type(response) != NDJSON:
        raise unexpected(response, f"it answers {media_type(response) or 'something'} where Dynamo answers NDJSON")
    num_rows, num_told = 0, None
    try:
        for line in response.iter_lines(PIECE_BYTES):
            if num_told is not None:
                raise BrokenStreamError(f"{path}: rows come after the end", path=path, num_rows=num_rows)
            row = json.loads(line)
            num_told = _end(row)
            if num_told is None:
                num_rows += 1
                yield row
    except (requests.RequestException, ValueError) as error:
        raise _broken(path, num_rows) from error
    if num_told != num_rows:
        raise _broken(path, num_rows) if num_told is None else _miscounted(path, num_rows, num_told)


def lines_of(response: requests.Response, path: str) -> Iterator[str]:
    """NDJSON as it comes, its last line too. Raises BrokenStreamError behind what came, if that is not all."""
    if media_type(response) != NDJSON:
        raise unexpected(response, f"it answers {media_type(response) or 'something'} where Dynamo answers NDJSON")
    num_lines, tail = 0, ""
    try:
        for text in decoded(response.iter_content(PIECE_BYTES)):
            num_lines += text.count("\n")
            tail = (tail + text)[-LONGEST_END:]
            yield text
        num_told = _end(_line(tail.rstrip("\n").rpartition("\n")[2]))
    except (requests.RequestException, UnicodeDecodeError) as error:
        raise _broken(path, num_lines) from error
    if num_told != num_lines - 1:
        raise _broken(path, num_lines) if num_told is None else _miscounted(path, num_lines - 1, num_told)


def decoded(pieces: Iterator[bytes]) -> Iterator[str]:
    """Pieces of UTF-8 as texts, wherever they were cut."""
    decoder = getincrementaldecoder("utf-8")()
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def pieces_of(response: requests.Response, path: str) -> Iterator[bytes]:
    """The text of a stream as it comes. Raises BrokenStreamError where it breaks off before the answer's own end."""
    if media_type(response) != CSV:
        raise unexpected(response, f"it answers {media_type(response) or 'something'} where Dynamo answers CSV")
    try:
        yield from response.iter_content(PIECE_BYTES)
    except requests.RequestException as error:
        raise BrokenStreamError(f"{path}: the stream broke off", path=path) from error


def items_of(document: Document, path: str) -> list[Document]:
    """The rows of a page. Raises UnexpectedAnswerError for what is no list."""
    items = document.get("items")
    if not isinstance(items, list):
        raise UnexpectedAnswerError(f"{path} answers one document, and no rows: read it by get", path=path)
    return items


def unexpected(response: requests.Response, words: str) -> UnexpectedAnswerError:
    """Says where it was and what came; nothing of what was sent."""
    path = (response.request.path_url if response.request is not None else "").partition("?")[0]
    status = response.status_code
    return UnexpectedAnswerError(f"{path}: {words} (status {status})", path=path, status=status)


def failure_in(problem: object, errand: int) -> DynamoError:
    """The problem in which an errand ended."""
    if isinstance(problem, dict):
        return problem_error(problem)
    return ServerError({"status": 500, "detail": f"errand {errand} has failed, and does not say why"})


def _end(row: Any) -> int | None:
    """How many rows there were, if this is the last line."""
    end = row.get("end") if isinstance(row, dict) and len(row) == 1 else None
    num_rows = end.get("rows") if isinstance(end, dict) and len(end) == 1 else None
    return num_rows if isinstance(num_rows, int) else None


def _line(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _broken(path: str, num_rows: int) -> BrokenStreamError:
    return BrokenStreamError(f"{path}: the stream broke off after {num_rows:,} rows", path=path, num_rows=num_rows)


def _miscounted(path: str, num_rows: int, num_told: int) -> BrokenStreamError:
    message = f"{path}: {num_rows:,} rows came, and the end says {num_told:,}"
    return BrokenStreamError(message, path=path, num_rows=num_rows)


def _parsed(response: requests.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown"
