"""Storage over HTTPS with WebDAV: PROPFIND to list, HEAD to stat, DELETE to delete; ``Want-Digest`` for checksums."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import polars as pl
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from dynamo_ops import __version__
from dynamo_ops.errors import CredentialError, InventoryError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.fileops.states import DeletionObservation
from dynamo_ops.fileops.storage import STORED_FILES, DeletionOutcome, StorageOptions, StoredFile
from dynamo_ops.fileops.storage.mapping import Endpoint
from dynamo_ops.fileops.storage.multistatus import Entry, http_date, parse_multistatus
from dynamo_ops.fileops.storage.rate import RateLimit
from dynamo_ops.fileops.tls import is_cut

log = logging.getLogger(__name__)

ROWS_PER_FRAME = 50_000
GONE = frozenset({404, 410})
BUSY = frozenset({401, 408, 423, 425, 429})
_PROPFIND_BODY = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop>'
    b"<D:resourcetype/><D:getcontentlength/><D:getlastmodified/></D:prop></D:propfind>"
)


class WebDavStorage:
    """One site over WebDAV. ``davs://`` means ``https://``. Safe for use by one task; its threads share one pool."""

    def __init__(self, endpoint: Endpoint, options: StorageOptions) -> None:
        self.endpoint = endpoint
        self._timeout = (options.connect_timeout, options.read_timeout)
        self._rate = RateLimit(options.calls_per_second)
        self._threads = options.threads
        self._session = _session(options)

    def close(self) -> None:
        self._session.close()

    # -- list ------------------------------------------------------------------------------------------------------

    def list_files(self, prefix: str) -> Iterator[pl.DataFrame]:
        rows: list[tuple[str, int, Any]] = []
        for directory, entries in self._walk(prefix.rstrip("/")):
            rows.extend(
                (self._lfn(directory, entry), entry.size_bytes, entry.modified_at)
                for entry in entries
                if not entry.is_directory
            )
            if len(rows) >= ROWS_PER_FRAME:
                yield pl.DataFrame(rows, schema=STORED_FILES, orient="row")
                rows = []
        if rows:
            yield pl.DataFrame(rows, schema=STORED_FILES, orient="row")

    def _walk(self, root: str) -> Iterator[tuple[str, list[Entry]]]:
        """(LFN directory, its entries) for every directory below ``root``; several are read at the same time."""
        top = self._children(root)
        if top is None:
            raise PermanentRemoteError(
                f"site {self.endpoint.site}: {root} is not there",
                service="storage",
                site=self.endpoint.site,
                url=self.endpoint.directory_pfn(root),
                status=404,
            )
        yield root, top
        waiting = [f"{root}/{entry.name}" for entry in top if entry.is_directory]
        running: dict[Future[list[Entry] | None], str] = {}
        with ThreadPoolExecutor(self._threads) as threads:
            try:
                while waiting or running:
                    while waiting and len(running) < 2 * self._threads:
                        directory = waiting.pop()  # depth first: few directories wait
                        running[threads.submit(self._children, directory)] = directory
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        directory = running.pop(future)
                        entries = future.result() or []  # removed since its parent was listed: empty
                        waiting.extend(f"{directory}/{entry.name}" for entry in entries if entry.is_directory)
                        yield directory, entries
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def _children(self, lfn_directory: str) -> list[Entry] | None:
        """The entries of a directory, itself left out; None when it is not there."""
        url = _http(self.endpoint.directory_pfn(lfn_directory))
        headers = {"Depth": "1", "Content-Type": "application/xml"}
        response = self._call("PROPFIND", url, headers=headers, data=_PROPFIND_BODY)
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
        return parse_multistatus(response.content, unquote(urlsplit(url).path))

    def _lfn(self, directory: str, entry: Entry) -> str:
        lfn = f"{directory}/{entry.name}"
        if self.endpoint.chains and self.endpoint.pfn(lfn).rsplit("/", 1)[-1] != quote(entry.name):
            raise InventoryError(
                f"site {self.endpoint.site}: the mapping of {lfn!r} cannot be turned round",
                site=self.endpoint.site,
                lfn=lfn,
            )
        return lfn

    # -- one file --------------------------------------------------------------------------------------------------

    def stat(self, lfn: str) -> StoredFile | None:
        response = self._call("HEAD", _http(self.endpoint.pfn(lfn)))
        if response.status_code in GONE:
            return None
        self._raise_for(response)
        size = int(response.headers.get("Content-Length", -1))
        return StoredFile(lfn, size, http_date(response.headers.get("Last-Modified")))

    def checksum(self, lfn: str) -> str | None:
        response = self._call("HEAD", _http(self.endpoint.pfn(lfn)), headers={"Want-Digest": "adler32"})
        self._raise_for(response)
        for digest in response.headers.get("Digest", "").split(","):
            name, _, value = digest.strip().partition("=")
            if name.lower() == "adler32" and value:
                return value.lower().rjust(8, "0")
        return None

    # -- delete ----------------------------------------------------------------------------------------------------

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        with ThreadPoolExecutor(self._threads) as threads:
            return list(threads.map(self._delete_one, lfns))

    def _delete_one(self, lfn: str) -> DeletionOutcome:
        try:
            response = self._call("DELETE", _http(self.endpoint.pfn(lfn)))
        except InventoryError as error:
            return DeletionOutcome(lfn, DeletionObservation.REFUSED, error.message)
        except RetryableRemoteError as error:
            return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, error.message)
        return deletion_outcome(lfn, response.status_code, response.reason, response.text)

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:
        root = self.endpoint.managed_prefix.rstrip("/")
        removed = 0
        waiting = {name.rstrip("/") for name in directories}
        while waiting:  # deepest first, so that a parent is looked at after all its children
            directory = max(waiting, key=lambda name: (name.count("/"), name))
            waiting.remove(directory)
            if directory.startswith(root + "/") and directory not in keep and self._remove_if_empty(directory):
                removed += 1
                waiting.add(directory.rsplit("/", 1)[0])
        return removed

    def _remove_if_empty(self, directory: str) -> bool:
        """Whether the directory was empty and is gone now. A WebDAV DELETE is recursive, so it is looked at first."""
        entries = self._children(directory)
        if entries is None or entries:
            return False
        response = self._call("DELETE", _http(self.endpoint.directory_pfn(directory)))
        if response.status_code >= 300 and response.status_code not in GONE:
            log.info("site %s: empty directory %s stays: %s", self.endpoint.site, directory, response.status_code)
        return response.status_code < 300

    # -- transport -------------------------------------------------------------------------------------------------

    def _call(self, method: str, url: str, **arguments: Any) -> requests.Response:
        self._rate.wait()
        try:
            # requests turns a redirected DELETE into a GET, whose 200 would pass for a deletion: only HEAD follows.
            return self._session.request(
                method, url, timeout=self._timeout, allow_redirects=method == "HEAD", **arguments
            )
        except requests.RequestException as error:
            refused = isinstance(error, requests.exceptions.SSLError) and not is_cut(error)
            kind = CredentialError if refused else RetryableRemoteError
            what = "TLS refused" if refused else "no answer"
            raise kind(
                f"site {self.endpoint.site}: {what} at {url}: {error}",
                service="storage",
                site=self.endpoint.site,
                url=url,
                status=None,
            ) from error

    def _raise_for(self, response: requests.Response) -> None:
        status = response.status_code
        if status < 400:
            return
        kind: type[RemoteError] = PermanentRemoteError
        if status in (401, 403):
            kind = CredentialError
        elif status >= 500 or status in BUSY:
            kind = RetryableRemoteError
        raise kind(
            f"site {self.endpoint.site}: {response.request.method} {response.url} answered {status} {response.reason}",
            service="storage",
            site=self.endpoint.site,
            url=response.url,
            status=status,
        )


def deletion_outcome(lfn: str, status: int, reason: str, body: str = "") -> DeletionOutcome:
    """What an HTTP status says of a DELETE.

    A 207 means that something inside could not be deleted. A 401 is the credential's fault, which passes.
    """
    text = f"{status} {reason} {' '.join(body.split())[:200]}".strip()
    if status in GONE:
        return DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)
    if status < 300 and status != 207:
        return DeletionOutcome(lfn, DeletionObservation.DELETED)
    if (status >= 500 and status not in (501, 505)) or status in BUSY:
        return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, text)
    return DeletionOutcome(lfn, DeletionObservation.REFUSED, text)


def _http(pfn: str) -> str:
    scheme, _, rest = pfn.partition("://")
    return {"davs": "https", "dav": "http"}.get(scheme, scheme) + "://" + rest


def _session(options: StorageOptions) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = options.ca or True
    if options.cert:
        session.cert = (options.cert, options.key or options.cert)
    session.headers.update({"User-Agent": f"dynamo-ops/{__version__}", "Accept-Encoding": "identity"})
    if options.token:
        session.headers["Authorization"] = f"Bearer {options.token}"
    # All these methods are idempotent: DELETE of what is gone is a 404, which is a success.
    retry = Retry(
        total=3,
        backoff_factor=0.3,
        status_forcelist=(502, 503, 504),
        allowed_methods=frozenset({"GET", "HEAD", "PROPFIND", "DELETE"}),
        raise_on_status=False,
    )
    adapter = HTTPAdapter(max_retries=retry, pool_connections=4, pool_maxsize=options.threads, pool_block=True)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
