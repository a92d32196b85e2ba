"""What gfal2 2.21 makes of a tape's answer to XRootD's "query prepare": judged file by file, in its order and words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EAGAIN, ENOENT, ENOMSG
from typing import Any

_MOST_CHARACTERS = 255  # of a text of gfal2's, without the tape's own reason
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judgement:
    """``errno`` 0: the file is where it was asked to be; EAGAIN: not yet; all else: it has failed."""

    errno: int = 0
    text: str = ""


def judge_staging(answer: str, request: str, paths: list[str]) -> list[Judgement]:
    """Whether these files, asked for by ``request``, are online. The n-th entry of an answer is the n-th file's."""
    return [
        _said("gfal_xrootd_bring_online_poll_list", judgement)
        for judgement in _judgements(answer, request, paths, is_staging=True)
    ]


def judge_archiving(answer: str, request: str, paths: list[str]) -> list[Judgement]:
    """Whether these files are on tape."""
    return [
        _said("gfal_xrootd_archive_poll_list", judgement)
        for judgement in _judgements(answer, request, paths, is_staging=False)
    ]


def collapsed(path: str) -> str:
    """The path as gfal2 asks for it and compares it."""
    return re.sub("/+", "/", path)


def _said(function: str, judgement: Judgement) -> Judgement:
    return Judgement(judgement.errno, f"[{function}] {judgement.text}") if judgement.errno else judgement


def _judgements(answer: str, request: str, paths: list[str], *, is_staging: bool) -> Iterator[Judgement]:
    entries = _entries(answer, request, len(paths))
    if isinstance(entries, str):
        yield from (Judgement(ENOMSG, entries) for _ in paths)
        return
    for entry in entries:
        if entry is None:
            yield Judgement(ENOMSG, f"Failed to parse responses JSON from server: {answer}")
        else:
            yield _judged(entry if isinstance(entry, dict) else {}, request, paths, is_staging)


def _entries(answer: str, request: str, num_files: int) -> list[Any] | str:
    """What the answer says of its files, or why gfal2 does not look at them."""
    try:
        document, _ = json.JSONDecoder().raw_decode(answer.lstrip())
    except ValueError:
        document = None
    if document is None:
        return f"Response from server is an invalid JSON: {answer}"
    if not isinstance(document, dict) or _text(document, "request_id") != request:
        return "Request ID mismatch."
    entries = document.get("responses")
    if not isinstance(entries, list) or len(entries) != num_files:
        return "Number of files in the request does not match!"
    return entries


def _judged(entry: Entry, request: str, paths: list[str], is_staging: bool) -> Judgement:
    if entry.get("error_text") is None:
        return Judgement(ENOMSG, "Error attribute missing.")
    path = collapsed(_text(entry, "path"))
    if path not in paths:
        return _failed(entry, ENOMSG, f"Wrong path: {path}")
    if not (_holds(entry, "path_exists") or (is_staging and _holds(entry, "exists"))):
        return _failed(entry, ENOENT, f"File does not exist: {path}")
    if _holds(entry, "online" if is_staging else "on_tape"):
        return Judgement()
    if is_staging:
        if not _holds(entry, "requested"):
            return _failed(entry, ENOMSG, f"File is not being brought online: {path}")
        if not _holds(entry, "has_reqid"):
            return _failed(entry, ENOMSG, f"File ({path}) is not included in the bring online request: {request}")
        if not _text(entry, "req_time"):
            return _failed(entry, ENOMSG, "Bring-online timestamp missing.")
    if error := _text(entry, "error_text"):
        return Judgement(ENOMSG, error)
    return Judgement(EAGAIN, f"File ({path}) is not yet {'online' if is_staging else 'archived'}.")


def _failed(entry: Entry, errno: int, text: str) -> Judgement:
    return Judgement(errno, f"{text[:_MOST_CHARACTERS]} (reason: {_text(entry, 'error_text')})")


def _text(entry: Entry, name: str) -> str:
    field = entry.get(name)
    return "" if field is None else str(field)


def _holds(entry: Entry, name: str) -> bool:
    """As gfal2: what reads "true", quoted or not, whatever its case. 1 does not."""
    return _text(entry, name).lower() == "true"
