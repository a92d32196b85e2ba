"""Storage in an S3 bucket: ``s3://bucket/prefix``. Needs the extra ``s3``.

``StorageOptions.more["s3"]`` (or ``"s3:SITE"``) takes ``endpoint_url``, ``key``, ``secret``, ``token`` and ``region``;
without keys the usual places are looked at (environment, ``~/.aws``). A file appears when its upload is finished, whole
or not at all, so no other name is needed before; what an upload that was given up has sent is thrown away.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from s3fs import S3FileSystem

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.http.redirect import check_secrecy
from dynamo_ops.base.http.remote import GONE, kind_of_failure, kind_of_status
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.filesystem import FsspecStorage
from dynamo_ops.storage.multistatus import http_date
from dynamo_ops.storage.protocol import StorageOptions, StoredFile, Upload, check_length

_ONE_SHOT_BYTES = 16 << 20
_MOST_PARTS = 9_000  # S3 takes 10,000
_TRIES = 2
_UNAUTHORIZED, _TIMED_OUT, _LOCKED, _UNAVAILABLE = 401, 408, 423, 503
_STATUS_OF_CODE = {
    "ExpiredToken": _UNAUTHORIZED,
    "InvalidAccessKeyId": _UNAUTHORIZED,
    "InvalidToken": _UNAUTHORIZED,
    "RequestTimeTooSkewed": _UNAUTHORIZED,
    "SignatureDoesNotMatch": _UNAUTHORIZED,
    "TokenRefreshRequired": _UNAUTHORIZED,
    "BadDigest": _TIMED_OUT,  # broken on its way
    "IncompleteBody": _TIMED_OUT,
    "RequestTimeout": _TIMED_OUT,
    "OperationAborted": _LOCKED,
    "RestoreAlreadyInProgress": _LOCKED,
    "TemporaryRedirect": _UNAVAILABLE,  # of a bucket whose name is not known everywhere yet
}
"""Where S3 says by the code what other services say by the status: its own is 400, 403 or 409 then. A 403 is of the one
file elsewhere, these keys are refused for all."""


class S3Storage(FsspecStorage):
    """One site in a bucket. There are no directories: what looks like one goes with its last file."""

    def __init__(self, endpoint: Endpoint, options: StorageOptions) -> None:
        super().__init__(endpoint, options, _file_system(options, options.more_for(endpoint)))

    def close(self) -> None:
        with suppress(Exception):  # the connections go with the process
            self.fs.close_session(self.fs.loop, self.fs.s3)

    def upload(self, lfn: str, size_bytes: int) -> Upload:
        path = self.path(self.endpoint.pfn(lfn))
        return S3Upload(self, lfn, size_bytes, path)

    def stat(self, lfn: str) -> StoredFile | None:
        stored = super().stat(lfn)
        if stored is None:
            self.check_is_there()
        return stored

    def check_is_there(self) -> None:
        """A bucket that is not there has lost no file: the settings name a wrong one, or the wrong service."""
        bucket = self.path(self.endpoint.prefix).partition("/")[0]
        try:
            with self.translated("look at", bucket):
                self.fs.info(bucket)
        except CredentialError:
            return  # it is there, and does not like to be looked at
        except PermanentRemoteError as error:
            if error.facts["status"] in GONE:
                raise self.error(f"there is no bucket {bucket}", RetryableRemoteError, bucket, None) from error

    def clock(self) -> datetime | None:
        """As of ``TellsTime``: the date of an answer about the bucket."""
        bucket = self.path(self.endpoint.prefix).partition("/")[0]
        try:
            with self.translated("look at", bucket):
                answer = self.fs.call_s3("head_bucket", Bucket=bucket)
        except (CredentialError, PermanentRemoteError):
            return None  # it does not like to be looked at, or is not there: the listing says so
        return http_date(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))

    def remove_if_empty(self, directory: str) -> bool:
        self.endpoint.directory_pfn(directory)
        return False

    def meaning(self, error: Exception) -> tuple[type[RemoteError] | None, int | None]:
        for cause in (error, error.__cause__, error.__context__):
            if isinstance(cause, ClientError):
                status = _status(cause)
                return kind_of_status(status) or RetryableRemoteError, status
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return CredentialError, None
        if isinstance(error, BotoCoreError):
            return kind_of_failure(error), None
        return super().meaning(error)


class S3Upload:
    """A small file goes in one request; a large one in parts, which become the file together."""

    num_resumed_bytes = 0

    def __init__(self, storage: S3Storage, lfn: str, size_bytes: int, path: str) -> None:
        self._storage = storage
        self._lfn = lfn
        self._size_bytes = size_bytes
        self._path = path
        self._pieces: list[bytes] = []
        self._num_written = 0
        self._file: Any = None
        if size_bytes > _ONE_SHOT_BYTES:
            block_bytes = max(_ONE_SHOT_BYTES, size_bytes // _MOST_PARTS)
            with storage.translated("upload", lfn):
                self._file = storage.fs.open(path, "wb", block_size=block_bytes, autocommit=False)

    def write(self, piece: bytes) -> None:
        self._num_written = check_length(self._lfn, self._num_written + len(piece), self._size_bytes, is_end=False)
        if self._file is None:
            self._pieces.append(piece)
            return
        with self._storage.translated("write", self._lfn):
            self._file.write(piece)

    def finish(self) -> None:
        check_length(self._lfn, self._num_written, self._size_bytes, is_end=True)
        with self._storage.translated("write", self._lfn):
            if self._file is None:
                self._storage.fs.pipe_file(self._path, b"".join(self._pieces))
                return
            self._file.close()
            self._file.commit()
            self._file = None

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        file.closed = True  # else it would send the rest when it is forgotten
        with suppress(Exception), self._storage.translated("discard", self._lfn):
            file.discard()


class _Objects(S3FileSystem):  # type: ignore[misc]
    """A key is a key. s3fs itself takes what follows ``?versionId=`` for a version of another one: a file of that name
    would be deleted, or written, in the other's place."""

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        """Bucket, key, and no version."""
        trail = path[len(path.rstrip("/")) :]
        place = self._strip_protocol(path).lstrip("/")
        if "/" not in place:
            return place, "", None
        bucket, key = self._find_bucket_key(place)
        return bucket, key + trail, None


def _status(error: ClientError) -> int:
    """The status, or the one that says what S3 says by its code; 0 where there was none."""
    code = error.response.get("Error", {}).get("Code", "")
    return _STATUS_OF_CODE.get(code) or int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _file_system(options: StorageOptions, more: dict[str, Any]) -> Any:
    check_secrecy(str(more.get("endpoint_url") or ""), ["Authorization"])
    client: dict[str, Any] = {"verify": options.ca} if options.ca else {}
    if more.get("region"):
        client["region_name"] = more["region"]
    fs = _Objects(
        key=more.get("key"),
        secret=more.get("secret"),
        token=more.get("token"),
        endpoint_url=more.get("endpoint_url"),
        client_kwargs=client,
        config_kwargs={
            "connect_timeout": options.connect_timeout,
            "read_timeout": options.read_timeout,
            "max_pool_connections": max(10, options.threads),
            "retries": {"total_max_attempts": _TRIES},
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    fs.retries = 1  # botocore tries again itself
    return fs
