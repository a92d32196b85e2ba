"""Whether a service is ill, by what it answered: then the data are not at fault, and the same question may be answered
in an hour.

What was seen of services in their bad hours: an error of the database told as 400, or under 200 in the place of the
records, also behind records; the page of a login or of a frontend under 200; a list that was cut; ``null``. Nothing of
such an answer is ever used, and nothing of it is a reason to give up at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from dynamo_ops.sources.reading.documents import documents

ERROR_FIELDS = frozenset(
    {
        *("error", "errors", "exception", "type", "http", "message", "code", "status", "reason", "detail"),
        *("title", "function", "timestamp", "success", "request_id"),
    }
)
"""What errors of services consist of. A record of data has other fields besides, even one with a field ``error``."""
_ERRORS = ("error", "errors", "exception")

ASKED_WRONGLY = frozenset({107, 113, 114, 115, 117, 118, 119, 122, 127})
"""Codes of DBS for a question that it does not take: parsing, validation, patterns, kinds of content, parameters, no
such API. All others of 101 to 199 are its own: the database, its sessions, rows, transactions."""
_DBS = re.compile(rb"DBSError Code:\s*(\d+)")
_DATABASE = re.compile(
    rb"ORA-\d{5}|TNS:|SQLSTATE|deadlock|too many (?:clients|connections)|dbsException-(?:db|failed-connect)"
    rb"|(?:lost|no|could not) connect(?:ion)? (?:to|with) (?:the )?(?:mysql|database|server|db)"
    rb"|database is (?:down|locked)",
    re.IGNORECASE,
)
"""Words of databases and their clients, in the errors of services that give no code."""

DEEPEST = 4
"""So deep lists are looked for in a document."""
HEAD = 4096
"""So many bytes of an answer say what kind of text it is."""


def is_of_its_database(content: bytes) -> bool:
    """Whether an error, as a service wrote it, is of the database behind it and not of the question."""
    code = _DBS.search(content)
    if code is not None:
        return int(code[1]) in range(101, 200) and int(code[1]) not in ASKED_WRONGLY
    return _DATABASE.search(content) is not None


def symptom(content: bytes) -> str | None:
    """What an answer under 200 shows of a service that is ill, in words ("a web page"); None: it is well, and what is
    wrong with the answer is wrong with the data.

    To be asked of an answer that could not be used: it reads all of it once more.
    """
    return _by_its_head(content) or _by_its_documents(content)


def is_page(content: bytes) -> bool:
    """Whether it is HTML, or XML: what a person is shown."""
    return _head(content).startswith(b"<")


def _head(content: bytes) -> bytes:
    return content[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()


def _by_its_head(content: bytes) -> str | None:
    head = _head(content)
    if not head:
        return "nothing"
    if is_page(content):
        return "a web page (of a login, or of a frontend)"
    if head.rstrip() == b"null":
        return "null"
    return None if head.startswith((b"[", b"{")) else "something that is no JSON"


def _by_its_documents(content: bytes) -> str | None:
    try:
        errors = [error for document in documents(content) for error in _errors(document)]
    except UnicodeDecodeError:
        return None
    except msgspec.DecodeError as error:
        if "truncated" in str(error):
            return "a list that was cut"
        return None if content.rstrip().endswith((b"]", b"}")) else "a list that breaks off"
    is_of_its_own = not all(map(_is_asked_wrongly, errors))
    return "an error in the place of records" if is_of_its_own else None


def _errors(document: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The error objects of a document: itself, in its list, or in a list below it."""
    if isinstance(document, dict):
        if document.keys() <= ERROR_FIELDS and any(document.get(name) for name in _ERRORS):
            yield document
        elif depth < DEEPEST:
            for below in document.values():
                if isinstance(below, dict | list):
                    yield from _errors(below, depth + 1)
    elif isinstance(document, list) and depth < DEEPEST:
        for element in document:
            if isinstance(element, dict) and not element.keys().isdisjoint(_ERRORS):
                yield from _errors(element, DEEPEST)


def _is_asked_wrongly(error: dict[str, Any]) -> bool:
    code = _DBS.search(msgspec.json.encode(error))
    return code is not None and int(code[1]) in ASKED_WRONGLY
