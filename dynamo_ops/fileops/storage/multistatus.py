"""WebDAV's multi-status answer to a PROPFIND, read into entries. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from dynamo_ops.errors import PermanentRemoteError, RetryableRemoteError

_DAV = "{DAV:}"


@dataclass(frozen=True)
class Entry:
    """One member of a directory. ``size_bytes`` is 0 for directories."""

    name: str
    is_directory: bool
    size_bytes: int
    modified_at: datetime | None


def parse_multistatus(document: bytes, own_path: str) -> list[Entry]:
    """The members named in the answer for the directory ``own_path`` (decoded), the directory itself left out.

    ``RetryableRemoteError`` for XML cut short or of another kind: half a listing must not pass for a whole one.
    """
    try:
        root = ElementTree.fromstring(document)  # noqa: S314  expat bounds expansion; sites are ours, over TLS
    except ElementTree.ParseError as error:
        raise RetryableRemoteError(
            f"listing of {own_path} is not XML: {error}", service="storage", url=own_path
        ) from error
    if root.tag != f"{_DAV}multistatus":
        raise RetryableRemoteError(
            f"listing of {own_path} is a {root.tag}, no multistatus", service="storage", url=own_path
        )
    own = own_path.rstrip("/")
    entries = []
    for response in root.iter(f"{_DAV}response"):
        path = unquote(urlsplit(response.findtext(f"{_DAV}href", "")).path).rstrip("/")
        if path == own:
            continue
        parent, _, name = path.rpartition("/")
        if parent != own or name in ("", ".", ".."):  # a server behind a rewriting proxy: the walk would never end
            raise PermanentRemoteError(
                f"listing of {own_path} names {path}, which is not in it", service="storage", url=own_path
            )
        entries.append(_entry(response, name))
    return entries


def _entry(response: ElementTree.Element, name: str) -> Entry:
    properties = [
        propstat.find(f"{_DAV}prop")
        for propstat in response.findall(f"{_DAV}propstat")
        if " 200" in propstat.findtext(f"{_DAV}status", " 200")
    ]
    found = {child.tag: child for prop in properties if prop is not None for child in prop}
    kind = found.get(f"{_DAV}resourcetype")
    is_directory = kind is not None and kind.find(f"{_DAV}collection") is not None
    size = found.get(f"{_DAV}getcontentlength")
    modified = found.get(f"{_DAV}getlastmodified")
    return Entry(
        name=name,
        is_directory=is_directory,
        size_bytes=int(size.text) if size is not None and size.text and not is_directory else 0,
        modified_at=http_date(modified.text if modified is not None else None),
    )


def http_date(value: str | None) -> datetime | None:
    """The time in an HTTP date, in UTC; None when absent or unreadable."""
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
