"""Storage over root://, with XRootD's own client.

Its time-outs are the process's. So are the credentials that it finds by itself (``X509_USER_PROXY``,
``BEARER_TOKEN_FILE``); those of ``StorageOptions`` are named to each connection by parameters of its URL instead. The
authorities it trusts are those of ``X509_CERT_DIR`` in either case.
"""

from __future__ import annotations

import atexit
import gc
import logging
import re
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import polars as pl
from pyxrootd import client as binding
from XRootD import client
from XRootD.client.finalize import finalize
from XRootD.client.flags import AccessMode, DirListFlags, OpenFlags, QueryCode, StatInfoFlags

from dynamo_ops.base.errors import (
    CredentialError,
    InventoryError,
    PermanentRemoteError,
    RemoteError,
    RetryableRemoteError,
)
from dynamo_ops.inventory.checksum import told_in_words
from dynamo_ops.inventory.lfn import upload_lfn
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.storage.protocol import (
    UNCONDITIONAL,
    Condition,
    DeletionOutcome,
    StorageOptions,
    StoredFile,
    check_length,
)
from dynamo_ops.storage.proxy import write_proxy
from dynamo_ops.storage.rate import RateLimit
from dynamo_ops.storage.tree import Entry, list_below, moment, remove_upwards

log = logging.getLogger(__name__)

CHUNK_BYTES = 4 << 20
_TIME_OF_DAY = re.compile(rb'<statistics [^>]*\btod="(\d+)"')
_MODE = AccessMode.UR | AccessMode.UW | AccessMode.GR | AccessMode.OR

# What a server says (XProtocol.hh). All numbers that are not here mean that the same call will fail again.
_WRONG_ARGUMENT = 3000
_FILE_LOCKED, _FS_ERROR, _IO_ERROR, _NO_MEMORY, _NO_SPACE = 3003, 3005, 3007, 3008, 3009
_NOT_AUTHORIZED, _NOT_FOUND, _SERVER_ERROR, _UNSUPPORTED, _NO_SERVER = 3010, 3011, 3012, 3013, 3014
_CANCELLED, _EXISTS, _IN_PROGRESS, _OVER_QUOTA, _OVERLOADED = 3017, 3018, 3020, 3021, 3024
_TLS_REQUIRED, _AUTH_FAILED, _IMPOSSIBLE, _TIMER_EXPIRED = 3028, 3030, 3032, 3036
_LATER = frozenset(
    {
        _FS_ERROR,  # whatever the file system said that has no number of its own: a stale handle, a time-out
        _FILE_LOCKED,
        _IO_ERROR,
        _NO_MEMORY,
        _NO_SPACE,
        _SERVER_ERROR,
        _NO_SERVER,
        _CANCELLED,
        _IN_PROGRESS,
        _OVER_QUOTA,
        _OVERLOADED,
        _TIMER_EXPIRED,
    }
)
# What the client itself says (XrdClStatus.hh).
_FROM_SERVER, _LOGIN_REFUSED, _AUTH_REFUSED = 400, 203, 204
_MANAGER_ONLINE, _SERVER_ONLINE = 0, 2  # XrdClXRootDResponses.hh; the others are those that do not answer now
_WHOLE = (0, 4)  # ok codes: done, and already done. "Partial" is not whole.


def _end_threads() -> None:
    """What XRootD does when a process ends, asking each object for its type: XRootD's ``isinstance`` asks proxies of
    modules, too, which are imported then; if one is missing the threads go on, and the process with them."""
    for file in [each for each in gc.get_objects() if type(each) is client.File]:
        if file.is_open():
            file.close()
    binding.__XrdCl_Stop_Threads()


atexit.unregister(finalize)
atexit.register(_end_threads)


class XrootdStorage:
    """One site over root://. Safe for use by one task; its threads share the client's connections."""

    def __init__(self, endpoint: Endpoint, options: StorageOptions) -> None:
        self.endpoint = endpoint
        self._threads = options.threads
        self._conditions: Mapping[str, Condition] = {}
        self._timeout_s = max(1, int(options.read_timeout))
        self._rate = RateLimit(options.calls_per_second)
        proxy = options.cert or ""
        self._forget_proxy: Callable[[], Any] = lambda: None
        if options.cert and options.key not in (None, options.cert):
            made = write_proxy(options.cert, options.key or "")
            proxy = str(made)
            self._forget_proxy = weakref.finalize(self, made.unlink, missing_ok=True)
        self._parameters = _credentials(proxy, options.token)
        self._token = options.token or ""
        self._servers: dict[str, Any] = {}
        more = options.more_for(endpoint)
        self.least_data_servers = int(more.get("servers", 0))
        self._has_own_names = bool(more.get("own_names", False))
        self._clusters: dict[str, tuple[str, ...]] = {}
        self._clusters_lock = Lock()
        _bound_waiting(options)

    def close(self) -> None:
        self._servers.clear()  # the client keeps its connections, and closes those that idle
        self._forget_proxy()

    # -- list ------------------------------------------------------------------------------------------------------

    def list_files(self, prefix: str) -> Iterator[pl.DataFrame]:
        """As of ``Storage``. Behind a manager the data servers are listed, all of them: what one has the others lack.
        RetryableRemoteError where there are others at the end than there were when the first listing began."""
        root = prefix.rstrip("/")
        if self._children(root) is None:
            raise self._error("list", root, 404, "it is not there", PermanentRemoteError)
        yield from list_below(self.endpoint, root, self._children, self._threads)
        for host, servers in self._clusters.items():
            if servers and (now := self._data_servers(host)) != servers:
                changed = f"the data servers were {', '.join(servers)}, and are {', '.join(now)}"
                raise self._error("list", root, None, changed, RetryableRemoteError)

    def data_servers(self) -> tuple[str, ...]:
        """As of ``TellsServers``."""
        return tuple(sorted(server for servers in self._clusters.values() for server in servers))

    def _children(self, directory: str) -> list[Entry] | None:
        """The entries of a directory, behind a manager those of all servers together; None when it is not there."""
        pfn = self.endpoint.directory_pfn(directory)
        server, path = self._at(pfn)
        cluster = self._cluster(_host(pfn))
        if not cluster:
            return self._children_at(server, directory, path)
        entries: dict[str, Entry] = {}
        is_there = False
        for address in cluster:
            server, _ = self._at(f"{self.endpoint.protocol}://{address}/")
            of_server = self._children_at(server, directory, path)
            is_there = is_there or of_server is not None
            for entry in of_server or ():
                entries.setdefault(entry.name, entry)
        return list(entries.values()) if is_there else None

    def _cluster(self, host: str) -> tuple[str, ...]:
        """The data servers behind a manager, as they were when it was first asked; none where the host has the files.
        A manager's own name space is mostly empty, whatever its servers have."""
        with self._clusters_lock:
            if host not in self._clusters:
                server, _ = self._at(f"{self.endpoint.protocol}://{host}/")
                status, role = self._ask(server.query, QueryCode.CONFIG, "role")
                if status.code != _FROM_SERVER or status.errno in _LATER:  # no answer does not say that it is none
                    self._raise_for("find out the role of", "*", status)
                is_manager = status.ok and b"manager" in bytes(role or b"") and not self._has_own_names
                self._clusters[host] = self._data_servers(host) if is_manager else ()
            return self._clusters[host]

    def _data_servers(self, host: str) -> tuple[str, ...]:
        """The addresses of the data servers that the manager knows, all of which answer."""
        server, _ = self._at(f"{self.endpoint.protocol}://{host}/")
        status, places = self._ask(server.deeplocate, "*", OpenFlags.REFRESH)
        self._raise_for("find the data servers of", "*", status)
        places = places or ()
        away = sorted(place.address for place in places if place.type not in (_MANAGER_ONLINE, _SERVER_ONLINE))
        servers = tuple(sorted({place.address for place in places if place.type == _SERVER_ONLINE}))
        fault = ""
        if away:
            fault = f"data servers are away: {', '.join(away)}"
        elif len(servers) < max(1, self.least_data_servers):
            wanted = self.least_data_servers or "some"
            fault = f"{len(servers)} data servers answer, and there are {wanted} (storages: root:{self.endpoint.site})"
        if fault:
            raise self._error("list", "*", None, fault, RetryableRemoteError)
        return servers

    def _children_at(self, server: Any, directory: str, path: str) -> list[Entry] | None:
        """The entries of a directory at one server; None when it is not there."""
        try:
            status, listing = self._ask(server.dirlist, path, DirListFlags.STAT)
        except UnicodeDecodeError as error:
            raise self._error("list", directory, None, f"a name is not UTF-8: {error}", PermanentRemoteError) from error
        if status.errno == _NOT_FOUND:
            return None
        self._raise_for("list", directory, status)
        if status.code not in _WHOLE or listing is None:
            raise self._error("list", directory, None, f"listed in part only: {status.message}", RetryableRemoteError)
        entries = [self._entry(server, directory, path, member) for member in listing]
        return [entry for entry in entries if entry is not None]

    def _entry(self, server: Any, directory: str, path: str, member: Any) -> Entry | None:
        about = member.statinfo
        if about is None:  # an old server, or one of several, that lists names only
            status, about = self._ask(server.stat, path + member.name)
            if status.errno == _NOT_FOUND:
                return None
            self._raise_for("stat", f"{directory}/{member.name}", status)
        is_directory = bool(about.flags & StatInfoFlags.IS_DIR)
        size = 0 if is_directory else about.size
        return Entry(member.name, is_directory, size, moment(about.modtime))

    # -- one file --------------------------------------------------------------------------------------------------

    def stat(self, lfn: str) -> StoredFile | None:
        about = self._about(lfn)
        if about is None or about.flags & StatInfoFlags.IS_DIR:
            return None
        return StoredFile(lfn, about.size, moment(about.modtime))

    def _about(self, lfn: str) -> Any:
        """The client's StatInfo, None when nothing is there. RetryableRemoteError where a data server is away, that may
        have it."""
        pfn = self.endpoint.pfn(lfn)
        server, path = self._at(pfn)
        status, about = self._ask(server.stat, path)
        if status.errno == _NOT_FOUND:
            if self._cluster(host := _host(pfn)):
                self._data_servers(host)
            return None
        self._raise_for("stat", lfn, status)
        return about

    def clock(self) -> datetime | None:
        """As of ``TellsTime``: what the server's statistics say; None where they are not given to us."""
        server, _ = self._at(self.endpoint.directory_pfn(self.endpoint.managed_prefix))
        status, answer = self._ask(server.query, QueryCode.STATS, "i")
        time_of_day = _TIME_OF_DAY.search(bytes(answer or b"")) if status.ok else None
        return datetime.fromtimestamp(int(time_of_day[1]), UTC) if time_of_day else None

    def checksum(self, lfn: str) -> str | None:
        server, path = self._at(self.endpoint.pfn(lfn))
        status, answer = self._ask(server.query, QueryCode.CHECKSUM, f"{path}?cks.type=adler32")
        if not status.ok and status.errno in (_UNSUPPORTED, _WRONG_ARGUMENT):
            return None  # no checksums at all, or not this one
        self._raise_for("checksum of", lfn, status)
        return told_in_words(bytes(answer or b""))

    # -- bytes -----------------------------------------------------------------------------------------------------

    def read(self, lfn: str, start: int = 0) -> Iterator[bytes]:
        file = self._open(lfn, OpenFlags.READ)
        try:
            while True:
                status, piece = self._ask(file.read, start, CHUNK_BYTES)
                self._raise_for("read", lfn, status)
                if not piece:
                    return
                yield piece
                start += len(piece)
        finally:
            self.give_up(file)

    def upload(self, lfn: str, size_bytes: int) -> XrootdUpload:
        self.endpoint.pfn(lfn)  # refused before anything is made
        name = upload_lfn(lfn)
        earlier = self._about(name)
        num_there = earlier.size if earlier is not None else 0
        if 0 < num_there < size_bytes:
            return XrootdUpload(self, self._open(name, OpenFlags.UPDATE), lfn, size_bytes, num_there)
        file = self._open(name, OpenFlags.DELETE | OpenFlags.UPDATE | OpenFlags.MAKEPATH)
        return XrootdUpload(self, file, lfn, size_bytes, 0)

    def _open(self, lfn: str, flags: int) -> Any:
        file = client.File()
        status, _ = self._ask(file.open, self._url(self.endpoint.pfn(lfn)), flags, _MODE)
        self._raise_for("open", lfn, status)
        return file

    def write(self, file: Any, lfn: str, piece: bytes, offset: int) -> None:
        """Write into an open file."""
        status, _ = self._ask(file.write, piece, offset)
        self._raise_for("write", lfn, status)

    def give_up(self, file: Any) -> None:
        """Close a file if it is open, whatever comes of it."""
        if file.is_open():
            file.close(timeout=self._timeout_s)

    def finish(self, file: Any, lfn: str, size_bytes: int) -> None:
        """Close the file that was uploaded for ``lfn``, see that it is whole, and give it its name."""
        name = upload_lfn(lfn)
        status, _ = self._ask(file.close)
        self._raise_for("close", name, status)
        about = self._about(name)
        if about is None or about.size != size_bytes:
            seen = "nothing" if about is None else f"{about.size} bytes"
            raise self._error("upload", lfn, None, f"{size_bytes} bytes sent, {seen} there", RetryableRemoteError)
        server, path = self._at(self.endpoint.pfn(name))
        _, to_path = self._at(self.endpoint.pfn(lfn))
        status, _ = self._ask(server.mv, path, to_path)
        if status.errno == _EXISTS:  # some servers rename only to names that are free
            self._raise_for("replace", lfn, self._ask(server.rm, to_path)[0])
            status, _ = self._ask(server.mv, path, to_path)
        self._raise_for("rename to", lfn, status)

    # -- delete ----------------------------------------------------------------------------------------------------

    def expect(self, conditions: Mapping[str, Condition]) -> None:
        """As of ``LooksFirst``."""
        self._conditions = conditions

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        conditions, self._conditions = self._conditions, {}
        with ThreadPoolExecutor(self._threads) as threads:
            return list(threads.map(lambda lfn: self._delete_one(lfn, conditions.get(lfn, UNCONDITIONAL)), lfns))

    def _delete_one(self, lfn: str, condition: Condition) -> DeletionOutcome:
        """A server's ``rm`` removes an empty directory too, so what is there is looked at first."""
        try:
            about = self._about(lfn)
            if about is None:
                return DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)
            if about.flags & StatInfoFlags.IS_DIR:
                return DeletionOutcome(lfn, DeletionObservation.REFUSED, "it is a directory")
            if objection := condition.objection(about.size, moment(about.modtime)):
                return DeletionOutcome(lfn, DeletionObservation.REFUSED, objection)
            server, path = self._at(self.endpoint.pfn(lfn))
            status, _ = self._ask(server.rm, path)
            if status.errno == _NOT_FOUND:
                return DeletionOutcome(lfn, DeletionObservation.NOT_FOUND)
            self._raise_for("delete", lfn, status)
        except RetryableRemoteError as error:
            return DeletionOutcome(lfn, DeletionObservation.UNAVAILABLE, error.message)
        except CredentialError as error:
            if error.facts["status"] == _NOT_AUTHORIZED:
                return DeletionOutcome(lfn, DeletionObservation.REFUSED, error.message)
            raise
        except (InventoryError, PermanentRemoteError) as error:
            return DeletionOutcome(lfn, DeletionObservation.REFUSED, error.message)
        return DeletionOutcome(lfn, DeletionObservation.DELETED)

    def remove_empty_directories(self, directories: Iterable[str], keep: Collection[str] = ()) -> int:
        return remove_upwards(directories, keep, self.endpoint.managed_prefix, self._remove_if_empty)

    def _remove_if_empty(self, directory: str) -> bool:
        """Whether the directory was empty and is gone now. To some servers ``rmdir`` of nothing is a success. Behind a
        manager it stays: each server has its own."""
        pfn = self.endpoint.directory_pfn(directory)
        server, path = self._at(pfn)
        if self._cluster(_host(pfn)) or self._children(directory) != []:
            return False
        status, _ = self._ask(server.rmdir, path.rstrip("/"))
        if not status.ok:
            log.info("site %s: empty directory %s stays: %s", self.endpoint.site, directory, status.message.strip())
        return bool(status.ok)

    # -- transport -------------------------------------------------------------------------------------------------

    def _at(self, pfn: str) -> tuple[Any, str]:
        """The server of a PFN, and the path there."""
        scheme, _, rest = pfn.partition("://")
        host, _, path = rest.partition("/")
        if host not in self._servers:
            self._servers[host] = client.FileSystem(self._url(f"{scheme}://{host}/"))
        return self._servers[host], path

    def _url(self, url: str) -> str:
        return f"{url}?{self._parameters}" if self._parameters else url

    def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        self._rate.wait()
        return call(*arguments, timeout=self._timeout_s)

    def _raise_for(self, what: str, lfn: str, status: Any) -> None:
        if status.ok:
            return
        kind: type[RemoteError] = RetryableRemoteError
        number = status.errno if status.code == _FROM_SERVER else 0
        if status.code in (_LOGIN_REFUSED, _AUTH_REFUSED) or number in (_NOT_AUTHORIZED, _AUTH_FAILED, _TLS_REQUIRED):
            kind = CredentialError
        elif number and number not in _LATER:
            kind = PermanentRemoteError
        raise self._error(what, lfn, 404 if number == _NOT_FOUND else number or None, status.message.strip(), kind)

    def _error(self, what: str, lfn: str, status: int | None, text: str, kind: type[RemoteError]) -> RemoteError:
        url = self.endpoint.prefix
        text = text.replace(self._token, "…") if self._token else text
        return kind(
            f"site {self.endpoint.site}: {what} {lfn} at {url}: {text}",
            service="storage",
            site=self.endpoint.site,
            url=url,
            lfn=lfn,
            status=status,
        )


class XrootdUpload:
    """A file on its way, appended to what an earlier attempt left."""

    def __init__(self, storage: XrootdStorage, file: Any, lfn: str, size_bytes: int, num_resumed_bytes: int) -> None:
        self.num_resumed_bytes = num_resumed_bytes
        self._storage = storage
        self._file = file
        self._lfn = lfn
        self._size_bytes = size_bytes
        self._num_written = num_resumed_bytes

    def write(self, piece: bytes) -> None:
        num_after = check_length(self._lfn, self._num_written + len(piece), self._size_bytes, is_end=False)
        if piece:
            self._storage.write(self._file, self._lfn, piece, self._num_written)
        self._num_written = num_after

    def finish(self) -> None:
        check_length(self._lfn, self._num_written, self._size_bytes, is_end=True)
        self._storage.finish(self._file, self._lfn, self._size_bytes)

    def close(self) -> None:
        self._storage.give_up(self._file)


def _host(pfn: str) -> str:
    return pfn.partition("://")[2].partition("/")[0]


def _credentials(proxy: str, token: str | None) -> str:
    """URL parameters that name our credentials to the client's security plugins."""
    parameters = [f"xrd.gsiusrpxy={proxy}"] if proxy else []
    if token:
        parameters += [f"xrd.ztn={token}", f"authz=Bearer%20{token}"]
    return "&".join(parameters)


def _bound_waiting(options: StorageOptions) -> None:
    """The client would try for ten minutes to connect, and then refuse to for half an hour.

    These settings are the process's; what ``XRD_…`` variables of the environment say goes before.
    """
    wait_s = max(1, int(options.connect_timeout))
    for name, value in {
        "ConnectionWindow": wait_s,
        "ConnectionRetry": 1,
        "StreamErrorWindow": wait_s,
        "TimeoutResolution": 1,
    }.items():
        client.EnvPutInt(name, value)
