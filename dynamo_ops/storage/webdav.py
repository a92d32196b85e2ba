"""Storage over HTTPS with WebDAV: PROPFIND to list, HEAD to stat, DELETE to delete; ``Want-Digest`` for checksums.

Files are read by GET with a range, and written by PUT under another name and MOVE. HTTP cannot append: an upload that
was cut begins anew.

Doors send on to servers. Each verb goes along, with our credentials, to hosts of the site only: those of its endpoints,
and what ``StorageOptions.more`` names as ``hosts`` (globs). Who sends a PROPFIND on (an XRootD manager) does not know
what is there but by asking servers that are up: what it calls not there is not gone, and its directories are not
listed, since one server alone would answer.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import polars as pl
import requests

from dynamo_ops.base.errors import (
    CredentialError,
    InventoryError,
    PermanentRemoteError,
    RemoteError,
    RetryableRemoteError,
    SettingsError,
)
from dynamo_ops.base.http.redirect import Hosts, origin
from dynamo_ops.base.http.remote import GONE, failure_words, kind_of_failure, kind_of_status
from dynamo_ops.base.http.session import Patience, RemoteSession
from dynamo_ops.inventory.checksum import NOT_TOLD, WANTED, told_in_headers
from dynamo_ops.inventory.lfn import SAFE, upload_lfn
from dynamo_ops.inventory.site.mapping import PLAIN, Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.storage.http_put import HttpPut
from dynamo_ops.storage.multistatus import http_date, is_literal, parse_multistatus, parse_one, strong_etag
from dynamo_ops.storage.protocol import (
    UNCONDITIONAL,
    Condition,
    DeletionOutcome,
    StorageOptions,
    StoredFile,
    check_length,
)
from dynamo_ops.storage.rate import RateLimit
from dynamo_ops.storage.tree import Entry, list_below, remove_upwards

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
DIRECTORY_LACKS = frozenset({404, 409})
NO_PROPFIND = frozenset({405, 501})  # plain HTTP, which has no directories
# All these verbs are idempotent: DELETE of what is gone is a 404, which is a success.
PATIENCE = Patience(verbs=frozenset({"GET", "HEAD", "PROPFIND", "DELETE"}))
FOLLOWS = ("GET", "HEAD", "PROPFIND", "DELETE", "MKCOL", "MOVE")
_PROPFIND_BODY = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop>'
    b"<D:resourcetype/><D:getcontentlength/><D:getlastmodified/></D:prop></D:propfind>"
)
_LOOK_BODY = _PROPFIND_BODY.replace(b"</D:prop>", b"<D:getetag/></D:prop>")
CHANGED = 412


class OneServerError(PermanentRemoteError):
    """A directory cannot be listed: its door would show that of one of its servers."""


class WebDavStorage:
    """One site over WebDAV. ``davs://`` means ``https://``. Safe for use by one task; its threads share one pool.
    Over plain ``http`` and ``dav`` nothing shows who we are."""

    def __init__(self, endpoint: Endpoint, options: StorageOptions) -> None:
        if endpoint.protocol in PLAIN:
            options = replace(options, cert=None, key=None, token=None)
        self.endpoint = endpoint
        self._rate = RateLimit(options.calls_per_second)
        self._threads = options.threads
        self._conditions: Mapping[str, Condition] = {}
        self._options = options
        self._hosts = _hosts(endpoint, options)
        self._knows: dict[str, bool] = {}
        """By door: whether it knows by itself what is there."""
        self._session = _session(options, self._hosts)
        # A file that is being read holds its connection: one pool for both would end in waiting for ourselves.
        self._reading = _session(options, self._hosts, is_bounded=False)

    def close(self) -> None:
        self._session.close()
        self._reading.close()

    # -- list ------------------------------------------------------------------------------------------------------

    def list_files(self, prefix: str) -> Iterator[pl.DataFrame]:
        root = prefix.rstrip("/")
        if self._children(root) is None:
            raise PermanentRemoteError(
                f"site {self.endpoint.site}: {root} is not there",
                service="storage",
                site=self.endpoint.site,
                url=self.endpoint.directory_pfn(root),
                status=404,
            )
        yield from list_below(self.endpoint, root, self._children, self._threads)

    def _children(self, lfn_directory: str) -> list[Entry] | None:
        """The entries of a directory, itself left out; None when it is not there."""
        url = _http(self.endpoint.directory_pfn(lfn_directory))
        response = self._propfind(url, "1")
        if server := _one_server(response):
            raise OneServerError(
                f"site {self.endpoint.site}: {lfn_directory} is not listed: {origin(url)} is an XRootD manager, and "
                f"sends us on to {server}, which has its own files only; list the site by root:// (protocols.own)",
                service="storage",
                site=self.endpoint.site,
                url=url,
                status=None,
            )
        if response.status_code in GONE:
            return None
        self._raise_for(response)
        if response.status_code != 207:
            raise PermanentRemoteError(
                f"site {self.endpoint.site}: PROPFIND {url} answered {response.status_code}, not 207: no WebDAV there?",
                service="storage",
                url=url,
                status=response.status_code,
            )
        return parse_multistatus(response.content, unquote(urlsplit(url).path), partial(self._is_at, url))

    def _is_at(self, url: str, path: str) -> bool:
        """Whether something of this path, which is not encoded, is at the server of a URL."""
        response = self._propfind(urlsplit(url)._replace(path=quote(path, safe=SAFE)).geturl(), "0")
        if response.status_code in GONE:
            return False
        self._raise_for(response)
        return True

    def _propfind(self, url: str, depth: str, body: bytes = _PROPFIND_BODY) -> requests.Response:
        headers = {"Depth": depth, "Content-Type": "application/xml"}
        response = self._call("PROPFIND", url, headers=headers, data=body)
        self._knows |= dict.fromkeys((origin(door.url) for door in response.history), False)
        return response

    def _is_believed(self, response: requests.Response) -> bool:
        """Whether who says that something is not there knows it. XRootD's managers are told by the directory that is
        always there: a look at it is sent on."""
        door = origin(response.url)
        if door not in self._knows and _is_xrootd(response):
            root = self._propfind(_http(self.endpoint.directory_pfn(self.endpoint.managed_prefix)), "0")
            self._knows.setdefault(door, root.status_code not in GONE)
        return self._knows.get(door, True)

    # -- one file --------------------------------------------------------------------------------------------------

    def stat(self, lfn: str) -> StoredFile | None:
        response = self._call("HEAD", _http(self.endpoint.pfn(lfn)))
        if response.status_code in GONE:
            return None
        self._raise_for(response)
        size = int(response.headers.get("Content-Length", -1))
        return StoredFile(lfn, size, http_date(response.headers.get("Last-Modified")))

    def is_gone(self, lfn: str) -> bool:
        """As of ``KnowsGone``."""
        response = self._call("HEAD", _http(self.endpoint.pfn(lfn)))
        if response.status_code not in GONE:
            self._raise_for(response)
            return False
        if self._is_believed(response):
            return True
        raise RetryableRemoteError(
            f"site {self.endpoint.site}: {_nobody_has_it(response)}",
            service="storage",
            site=self.endpoint.site,
            url=response.url,
            status=None,
        )

    def clock(self) -> datetime | None:
        """As of ``TellsTime``: the date of an answer, whatever else it says."""
        self.endpoint.check()
        return http_date(self._call("HEAD", _http(self.endpoint.prefix)).headers.get("Date"))

    def checksum(self, lfn: str) -> str | None:
        response = self._call("HEAD", _http(self.endpoint.pfn(lfn)), headers=WANTED)
        if response.status_code in NOT_TOLD:
            return None
        self._raise_for(response)
        return told_in_headers(response.headers)

    # -- bytes -----------------------------------------------------------------------------------------------------

    def read(self, lfn: str, start: int = 0) -> Iterator[bytes]:
        url = _http(self.endpoint.pfn(lfn))
        headers = {}
        if start:  # with both ends: XRootD 5.5 answers a range without an end with nothing
            found = self.stat(lfn)
            if found is not None and start >= found.size_bytes:
                return
            headers["Range"] = f"bytes={start}-{found.size_bytes - 1 if found else ''}"
        with self._call("GET", url, self._reading, headers=headers, stream=True) as response:
            self._raise_for(response)
            to_skip = start if response.status_code != 206 else 0  # a server need not know ranges
            try:
                for piece in response.iter_content(CHUNK_BYTES):
                    if to_skip < len(piece):
                        yield piece[to_skip:]
                    to_skip = max(0, to_skip - len(piece))
            except requests.RequestException as error:
                raise self._no_answer(error, url) from error

    def upload(self, lfn: str, size_bytes: int) -> WebDavUpload:
        self.endpoint.pfn(lfn)  # refused before anything is made
        upload = WebDavUpload(self, lfn, size_bytes)
        upload.begin()
        return upload

    def open_put(self, lfn: str, size_bytes: int) -> HttpPut:
        """A PUT of a file of this size, ready for its bytes. Directories are made where the storage makes none."""
        self._rate.wait()
        url = _http(self.endpoint.pfn(lfn))
        put = HttpPut(self._options, self._session.own_headers, self._hosts)
        answer = put.begin(url, size_bytes)
        if answer is not None and answer.status in DIRECTORY_LACKS:
            self._make_directory(lfn.rsplit("/", 1)[0])
            answer = put.begin(url, size_bytes)
        if answer is not None:
            self.raise_for_status("PUT", url, answer.status, f"{answer.reason} {answer.text}".strip())
            raise PermanentRemoteError(
                f"site {self.endpoint.site}: PUT {url} answered {answer.status} without taking the file",
                service="storage",
                site=self.endpoint.site,
                url=url,
                status=answer.status,
            )
        return put

    def _make_directory(self, directory: str) -> None:
        """Make an LFN directory, after its parents where they lack; fine if it is there by now."""
        url = _http(self.endpoint.directory_pfn(directory))
        response = self._call("MKCOL", url)
        if response.status_code in DIRECTORY_LACKS and directory != self.endpoint.managed_prefix.rstrip("/"):
            self._make_directory(directory.rsplit("/", 1)[0])
            response = self._call("MKCOL", url)
        if response.status_code != 405:
            self._raise_for(response)

    def move(self, lfn: str, to_lfn: str) -> None:
        """Rename a file; what was under the new name is replaced."""
        source, destination = _http(self.endpoint.pfn(lfn)), _http(self.endpoint.pfn(to_lfn))
        header = destination.encode()
        if unquote(destination) != destination and self._speaks_literally(source):
            # Behind the question mark nothing counts there; without it, bytes that are not ASCII are cut off the end.
            header = f"{unquote(destination)}?literal".encode()
        self._raise_for(self._call("MOVE", source, headers={"Destination": header, "Overwrite": "T"}))

    def _speaks_literally(self, url: str) -> bool:
        """Whether the server writes, and so reads, paths in headers and documents as they are: XRootD 5.5. What is at
        ``url`` has a percent sign in its name, as an upload has whose name needs to be encoded."""
        response = self._propfind(url, "0")
        return response.status_code == 207 and is_literal(response.content, unquote(urlsplit(url).path))

    # -- delete ----------------------------------------------------------------------------------------------------

    def expect(self, conditions: Mapping[str, Condition]) -> None:
        """As of ``LooksFirst``."""
        self._conditions = conditions

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        conditions, self._conditions = self._conditions, {}
        with ThreadPoolExecutor(self._threads) as threads:
            return list(threads.map(lambda lfn: self._delete_one(lfn, conditions.get(lfn, UNCONDITIONAL)), lfns))

    def _delete_one(self, lfn: str, condition: Condition) -> DeletionOutcome:
        """A DELETE takes a directory too, and with some servers all that is in it: what is there is looked at first.
        Where the server gives what it shows a tag, nothing else is deleted."""
        try:
            url = _http(self.endpoint.pfn(lfn))
            response = self._propfind(url, "0", _LOOK_BODY)
            if reason := self._why_not(lfn, url, response, condition):
                return DeletionOutcome(lfn, DeletionObservation.REFUSED, reason)
            if response.status_code in (207, *NO_PROPFIND):
                tag = strong_etag(response.content) if response.status_code == 207 else None
                response = self._call("DELETE", url, headers={"If-Match": tag} if tag else {})
                if tag and response.status_code == CHANGED:
                    return DeletionOutcome(lfn, DeletionObservation.REFUSED, "it was changed since it was looked at")
                if response.history and self._is_there_still(url, response):
                    words = f"{origin(response.url)} answered {response.status_code}, and the file is there still"
                    return DeletionOutcome(lfn, DeletionObservation.REFUSED, words)
            outcome = deletion_outcome(lfn, response.status_code, response.reason, response.text)
            if outcome.observation == DeletionObservation.NOT_FOUND and not self._is_believed(response):
                return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, _nobody_has_it(response))
            return outcome
        except InventoryError as error:
            return DeletionOutcome(lfn, DeletionObservation.REFUSED, error.message)
        except RetryableRemoteError as error:
            return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, error.message)
        except CredentialError:
            raise
        except PermanentRemoteError as error:  # there is no such address
            return DeletionOutcome(lfn, DeletionObservation.REFUSED, error.message)

    def _is_there_still(self, url: str, response: requests.Response) -> bool:
        """Whether what somebody to whom we were sent calls deleted is not: any page of a login says yes."""
        if kind_of_status(response.status_code, "DELETE") is not None:
            return False
        looked_at = self._call("HEAD", url)
        if looked_at.status_code not in GONE:
            self._raise_for(looked_at)
        return looked_at.status_code not in GONE

    def _why_not(self, lfn: str, url: str, looked_at: requests.Response, condition: Condition) -> str | None:
        """Why what was looked at is not to be deleted. Plain HTTP, which knows no PROPFIND, has no directories."""
        found: Entry | StoredFile | None = None
        if looked_at.status_code == 207:
            found = parse_one(looked_at.content, unquote(urlsplit(url).path))
            if found is not None and found.is_directory:
                return "it is a directory"
        elif looked_at.status_code in NO_PROPFIND and condition != UNCONDITIONAL:
            found = self.stat(lfn)
        return condition.objection(found.size_bytes, found.modified_at) if found else None

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:
        return remove_upwards(directories, keep, self.endpoint.managed_prefix, self._remove_if_empty)

    def _remove_if_empty(self, directory: str) -> bool:
        """Whether the directory was empty and is gone now. A WebDAV DELETE is recursive, so it is looked at first."""
        try:
            entries = self._children(directory)
        except OneServerError as error:
            log.info("%s; it stays", error)
            return False
        if entries is None or entries:
            return False
        response = self._call("DELETE", _http(self.endpoint.directory_pfn(directory)))
        kind = kind_of_status(response.status_code, "DELETE")
        if kind and response.status_code not in GONE:
            log.info("site %s: empty directory %s stays: %s", self.endpoint.site, directory, response.status_code)
        return kind is None

    # -- transport -------------------------------------------------------------------------------------------------

    def _call(self, method: str, url: str, session: RemoteSession | None = None, **arguments: Any) -> requests.Response:
        self._rate.wait()
        try:
            return (session or self._session).call(method, url, **arguments)
        except requests.RequestException as error:
            raise self._no_answer(error, url) from error

    def _no_answer(self, error: requests.RequestException, url: str) -> RemoteError:
        return kind_of_failure(error)(
            f"site {self.endpoint.site}: {failure_words(error)}: {url}: {error}",
            service="storage",
            site=self.endpoint.site,
            url=url,
            status=None,
        )

    def _raise_for(self, response: requests.Response) -> None:
        method = response.request.method or ""
        self.raise_for_status(method, response.url, response.status_code, response.reason)

    def raise_for_status(self, method: str, url: str, status: int, reason: str) -> None:
        """The error that an HTTP status means; nothing for one of success."""
        kind = kind_of_status(status, method)
        if kind is None:
            return
        raise kind(
            f"site {self.endpoint.site}: {method} {url} answered {status} {reason}",
            service="storage",
            site=self.endpoint.site,
            url=url,
            status=status,
        )


class WebDavUpload:
    """A file on its way: one PUT under another name, then a MOVE over the LFN. The whole file or nothing."""

    num_resumed_bytes = 0

    def __init__(self, storage: WebDavStorage, lfn: str, size_bytes: int) -> None:
        self._storage = storage
        self._lfn = lfn
        self._size_bytes = size_bytes
        self._num_written = 0
        self._put: HttpPut | None = None

    def begin(self) -> None:
        """Ask the storage to take the file."""
        self._put = self._storage.open_put(upload_lfn(self._lfn), self._size_bytes)

    def write(self, piece: bytes) -> None:
        self._num_written = check_length(self._lfn, self._num_written + len(piece), self._size_bytes, is_end=False)
        assert self._put is not None
        self._put.send(piece)

    def finish(self) -> None:
        check_length(self._lfn, self._num_written, self._size_bytes, is_end=True)
        assert self._put is not None
        answer = self._put.answer()
        self.close()
        name = upload_lfn(self._lfn)
        url = _http(self._storage.endpoint.pfn(name))
        self._storage.raise_for_status("PUT", url, answer.status, f"{answer.reason} {answer.text}".strip())
        self._storage.move(name, self._lfn)

    def close(self) -> None:
        if self._put is not None:
            self._put.close()


def deletion_outcome(lfn: str, status: int, reason: str, body: str = "") -> DeletionOutcome:
    """What an HTTP status says of a DELETE.

    A credential that is not taken (401) is renewed by somebody; one that may not do this (403) is of the file.
    """
    text = f"{status} {reason} {' '.join(body.split())[:200]}".strip()
    if status in GONE:
        return DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)
    kind = kind_of_status(status, "DELETE")
    if kind is None:
        return DeletionOutcome(lfn, DeletionObservation.DELETED)
    if kind.retryable or (kind is CredentialError and status != 403):
        return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, text)
    return DeletionOutcome(lfn, DeletionObservation.REFUSED, text)


def _one_server(response: requests.Response) -> str | None:
    """The server that answered in the place of the XRootD manager that was asked; None: there is no such."""
    is_sent_on = any(_is_xrootd(door) and door.status_code == 307 for door in response.history)
    return origin(response.url) if is_sent_on else None


def _is_xrootd(response: requests.Response) -> bool:
    return "xrootd" in response.headers.get("Server", "").lower()


def _nobody_has_it(response: requests.Response) -> str:
    return f"{origin(response.url)} sends on to other servers, and none that is up has it: that does not say it is gone"


def _http(pfn: str) -> str:
    scheme, _, rest = pfn.partition("://")
    return {"davs": "https", "dav": "http"}.get(scheme.lower(), scheme) + "://" + rest


def _hosts(endpoint: Endpoint, options: StorageOptions) -> Hosts:
    """Where the site's doors may send us."""
    key = f"storages.{endpoint.protocol}:{endpoint.site}.hosts"
    more = options.more_for(endpoint).get("hosts", [])
    if not isinstance(more, list | tuple) or not all(isinstance(name, str) and name.strip("*?.") for name in more):
        reason = "a list of names of hosts, or of globs such as '*.example.org', is expected"
        raise SettingsError(f"{key}: {reason}, not {more!r}", key=key, reason=reason)
    return Hosts({*options.site_hosts, *endpoint.hosts, *(name.lower() for name in more)}, key)


def _session(options: StorageOptions, hosts: Hosts, is_bounded: bool = True) -> RemoteSession:
    return RemoteSession(
        options.credentials,
        timeout=(options.connect_timeout, options.read_timeout),
        headers={"Accept-Encoding": "identity"},
        patience=PATIENCE,
        follows=FOLLOWS,
        own_hosts=hosts,
        connections=options.threads,
        is_bounded=is_bounded,
    )
