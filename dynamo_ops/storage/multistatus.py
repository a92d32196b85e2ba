"""WebDAV's multi-status answer to a PROPFIND, read into entries. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from defusedxml import DefusedXmlException, ElementTree

from dynamo_ops.base.errors import PermanentRemoteError, RetryableRemoteError
from dynamo_ops.storage.tree import Entry

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_DAV = "{DAV:}"
_NEVER_IN_URLS = re.compile(r"""[^!-~]|[#?"<>]|%(?![0-9A-Fa-f]{2})""")
_NOT_XML = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
    "|&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));"
)
"""What no document may have, written out or not."""
_HOST = re.compile(r"^https?://[^/]*")


def parse_multistatus(document: bytes, own_path: str) -> list[Entry]:
    """The members named in the answer for the directory ``own_path`` (decoded), the directory itself left out.

    ``RetryableRemoteError`` for XML cut short or of another kind: half a listing must not pass for a whole one.
    """
    root = _root(document, own_path)
    own = own_path.rstrip("/")
    entries = []
    for path, response in _paths(root, own):
        if path == own:
            continue
        parent, _, name = path.rpartition("/")
        if parent != own or name in ("", ".", ".."):  # a server behind a rewriting proxy: the walk would never end
            raise PermanentRemoteError(
                f"listing of {own_path} names {path}, which is not in it", service="storage", url=own_path
            )
        entries.append(_entry(response, name))
    return entries


def parse_one(document: bytes, own_path: str) -> Entry | None:
    """What the answer of depth 0 for ``own_path`` says of it; None when it says nothing."""
    for path, response in _paths(_root(document, own_path), own_path.rstrip("/")):
        return _entry(response, path.rpartition("/")[2])
    return None


def strong_etag(document: bytes) -> str | None:
    """The entity tag of an answer of depth 0, for ``If-Match``; None when there is none, or a weak one, which matches
    nothing (RFC 9110 §13.1.1)."""
    tag = _root(document, "a file").findtext(f".//{_DAV}getetag", "").strip()
    return tag if re.fullmatch('"[!-~]+"', tag) else None


def _root(document: bytes, own_path: str) -> Element:
    try:
        root: Element = ElementTree.fromstring(document, forbid_dtd=True)
    except DefusedXmlException as error:
        raise PermanentRemoteError(
            f"listing of {own_path} is XML that is not read: {error}", service="storage", url=own_path
        ) from error
    except ElementTree.ParseError as error:
        readable = _NOT_XML.sub("\ufffd", document.decode("utf-8", "replace")).encode()
        if readable != document:  # a name as it lies on the disk: that alone cannot be read
            return _root(readable, own_path)
        raise RetryableRemoteError(
            f"listing of {own_path} is not XML: {error}", service="storage", url=own_path
        ) from error
    if root.tag != f"{_DAV}multistatus":
        raise RetryableRemoteError(
            f"listing of {own_path} is a {root.tag}, no multistatus", service="storage", url=own_path
        )
    return root


def is_literal(document: bytes, own_path: str) -> bool:
    """Whether the answer for ``own_path`` (decoded) gives names as they are, not encoded, as XRootD 5.5 does."""
    return _is_literal([name for name, _ in _names(_root(document, own_path))], own_path.rstrip("/"))


def _is_literal(names: list[str], own: str) -> bool:
    """One name that cannot be an encoded one, or our own as it is though it must be encoded, shows it for all."""
    plain = {_HOST.sub("", name).rstrip("/") for name in names}
    return (own in plain and unquote(own) != own) or any(_NEVER_IN_URLS.search(name) for name in names)


def _names(root: Element) -> list[tuple[str, Element]]:
    return [(each.findtext(f"{_DAV}href", "").strip(), each) for each in root.iter(f"{_DAV}response")]


def _paths(root: Element, own: str) -> list[tuple[str, Element]]:
    """(Decoded path without trailing slash, response)."""
    named = _names(root)
    as_it_is = _is_literal([name for name, _ in named], own)
    return [
        ((_HOST.sub("", name) if as_it_is else _decoded(urlsplit(name).path)).rstrip("/"), response)
        for name, response in named
    ]


def _decoded(path: str) -> str:
    """Bytes that are no UTF-8 stay apart from all that is text."""
    return unquote(path, errors="surrogateescape")


def _entry(response: Element, name: str) -> Entry:
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
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
