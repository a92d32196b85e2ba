"""WebDAV's multi-status answer to a PROPFIND, read into entries. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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
_NEVER_IN_URLS = re.compile(r"[^!-~]|[#?]|%(?![0-9A-Fa-f]{2})")
_NOT_XML = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
    "|&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));"
)
"""What no document may have, written out or not."""
_HOST = re.compile(r"^https?://[^/]*")
_INDENT = re.compile(r"\A[ \t]*[\r\n][ \t\r\n]*|[\r\n][ \t\r\n]*\Z")

IsThere = Callable[[str], bool]
"""Whether the server has something of this path, which is taken as it is."""


def _nothing_is_there(_: str) -> bool:
    return False


def parse_multistatus(document: bytes, own_path: str, is_there: IsThere = _nothing_is_there) -> list[Entry]:
    """The members named in the answer for the directory ``own_path`` (decoded), the directory itself left out.

    Servers write names encoded, as they must, or as they are (XRootD 5.5). ``is_there`` is asked once where the names
    could be either: ``f%41`` is the file ``fA``, or another.

    ``RetryableRemoteError`` for XML cut short or of another kind: half a listing must not pass for a whole one.
    """
    root = _root(document, own_path)
    own = own_path.rstrip("/")
    entries = []
    for path, response in _paths(root, own, is_there):
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
    """What the answer of depth 0 for ``own_path`` says of it; None when it says nothing.

    ``PermanentRemoteError`` when the answer is about something of another name: what decodes names twice, or cuts them
    off, would do to that what is meant for this.
    """
    own = own_path.rstrip("/").rpartition("/")[2]
    for written, response in _names(_root(document, own_path)):
        name = _HOST.sub("", written).rstrip("/").rpartition("/")[2]
        if own not in (name, unquote(name)):
            raise PermanentRemoteError(
                f"asked for {own_path}, the storage answered about {written}", service="storage", url=own_path
            )
        return _entry(response, own)
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
    """Whether the answer of depth 0 for ``own_path`` (decoded; with a percent sign, which tells) gives names as they
    are, not encoded, as XRootD 5.5 does."""
    return _is_literal([name for name, _ in _names(_root(document, own_path))], own_path.rstrip("/"), _nothing_is_there)


def _is_literal(names: Iterable[str], own: str, is_there: IsThere) -> bool:
    """One name that cannot be an encoded one, or our own as it is though it must be encoded, shows it for all.

    Else nobody knows where a name has an escape. Of all those names taken as they are the longest decides: encoded, a
    file of that name would have a longer one in the same answer.
    """
    plain = [_HOST.sub("", name).rstrip("/") for name in names]
    if "%" in own and own in plain:
        return True
    if any(_NEVER_IN_URLS.search(path) for path in plain):
        return True
    if "%" in own:
        return False
    longest = max((path for path in plain if "%" in path), key=len, default=None)
    return longest is not None and is_there(longest)


def _names(root: Element) -> list[tuple[str, Element]]:
    """What ``href`` says, without what only indents it: a file's own name may end in blanks."""
    return [(_INDENT.sub("", each.findtext(f"{_DAV}href", "")), each) for each in root.iter(f"{_DAV}response")]


def _paths(root: Element, own: str, is_there: IsThere) -> list[tuple[str, Element]]:
    """(Decoded path without trailing slash, response)."""
    named = _names(root)
    as_it_is = _is_literal([name for name, _ in named], own, is_there)
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
