"""One storage of each protocol, with a way to look behind it: what the conformance suite runs on."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import requests
from moto.server import ThreadedMotoServer

from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.protocol import Storage, StorageOptions
from dynamo_ops.storage.registry import load_plugin, plugins
from tests.world import PocketGrid
from tests.xrootd.servers import XrootdServer, make_parent

SITE = "T2_A"


class Backend(ABC):
    """A storage and what is behind it."""

    has_directories = True
    has_checksums = True
    resumes = False

    def __init__(self, protocol: str, prefix: str, options: StorageOptions) -> None:
        self.protocol = protocol
        self.endpoint = Endpoint(SITE, protocol, prefix)
        self.storage: Storage = load_plugin(plugins()[protocol])(self.endpoint, options)

    @abstractmethod
    def put(self, lfn: str, data: bytes) -> None: ...

    def put_odd(self) -> int:
        """Files and a directory whose names nobody can ask for, in ``/store/a``; how many of them a listing shows."""
        return 0

    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """LFN → content of what lies there, parts of uploads included."""

    @abstractmethod
    def away(self) -> None:
        """The server goes away."""

    @abstractmethod
    @contextmanager
    def forbidden(self, directory: str) -> Iterator[None]:
        """Nothing may be changed in the directory meanwhile."""

    def make_directory(self, lfn: str) -> None:
        raise NotImplementedError

    def is_directory(self, lfn: str) -> bool:
        return any(name.startswith(lfn + "/") for name in self.files())

    def close(self) -> None:
        self.storage.close()


class OnDisk(Backend):
    """Behind the storage is a directory of this machine."""

    root: Path
    odd: tuple[bytes, ...] = (b"bad\xff\xfename", b"half\xed\xa0\x80", b"line\nend", b"tab\tbed", b"bell\x07")

    def put_odd(self) -> int:
        parent = os.fsencode(self.path("/store/a"))
        for name in self.odd:
            Path(os.fsdecode(parent + b"/" + name)).write_bytes(b"odd")
        directory = Path(os.fsdecode(parent + b"/dir" + self.odd[0]))
        directory.mkdir()
        (directory / "inside").write_bytes(b"odd")
        return len(self.odd) + 1

    def path(self, lfn: str) -> Path:
        return self.root / lfn.lstrip("/")

    def put(self, lfn: str, data: bytes) -> None:
        self.path(lfn).parent.mkdir(parents=True, exist_ok=True)
        self.path(lfn).write_bytes(data)

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {f"/{path.relative_to(self.root)}": path.read_bytes() for path in found}

    def make_directory(self, lfn: str) -> None:
        self.path(lfn).mkdir(parents=True)

    def is_directory(self, lfn: str) -> bool:
        return self.path(lfn).is_dir()


class Pocket(OnDisk):
    """WebDAV of the pocket grid."""

    def __init__(self, pocket: PocketGrid) -> None:
        self._grid = pocket.grid
        site = pocket.grid.endpoints["sites"][SITE]
        self.root = Path(site["root"])
        super().__init__("davs", site["prefix"], pocket.options)

    def away(self) -> None:
        self._grid.fault(sites={SITE: {"down": True}})

    @contextmanager
    def forbidden(self, directory: str) -> Iterator[None]:
        self._grid.fault(sites={SITE: {"read_only": True}})
        yield
        self._grid.heal()


class Xrootd(OnDisk):
    """A real XRootD server, by root:// or by https://."""

    def __init__(self, server: XrootdServer, protocol: str) -> None:
        self._server = server
        # lists names by line; and the client takes no others than text
        self.odd = tuple(name for name in self.odd if b"\n" not in name and (protocol != "root" or name.isascii()))
        self.root = server.root
        self.resumes = protocol == "root"
        server.clear()
        options = StorageOptions(ca=str(server.credentials.ca), threads=4, connect_timeout=1, read_timeout=10)
        super().__init__(protocol, server.prefix(protocol), options)

    def put(self, lfn: str, data: bytes) -> None:
        self._server.put(lfn, data)

    def make_directory(self, lfn: str) -> None:
        super().make_directory(lfn)
        self._server.own()

    def away(self) -> None:
        self._server.stop()

    @contextmanager
    def forbidden(self, directory: str) -> Iterator[None]:
        self.path(directory).chmod(0o555)
        yield
        self.path(directory).chmod(0o755)

    def close(self) -> None:
        super().close()
        if self._server.process is None:
            self._server.start()


class Folder(OnDisk):
    """A directory that is taken for a mounted file system."""

    resumes = True

    def __init__(self) -> None:
        self._parent = make_parent()
        self.root = self._parent / "mnt"
        (self.root / "store").mkdir(parents=True)
        super().__init__("file", f"file://{self.root}", StorageOptions(threads=4))

    def away(self) -> None:
        self.root.rename(self._parent / "elsewhere")

    @contextmanager
    def forbidden(self, directory: str) -> Iterator[None]:
        mode = 0o555
        self.path(directory).chmod(mode)
        nobody = pwd.getpwnam("nobody").pw_uid
        if is_root := os.geteuid() == 0:
            os.seteuid(nobody)  # to root everything is allowed
        try:
            yield
        finally:
            if is_root:
                os.seteuid(0)
            self.path(directory).chmod(0o755)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._parent)


class Bucket(Backend):
    """A bucket of a real HTTP server that speaks S3."""

    has_directories = False
    has_checksums = False

    def __init__(self, url: str) -> None:
        self._url = url
        requests.post(f"{self._url}/moto-api/reset", timeout=10)
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self._client: Any = boto3.client("s3", endpoint_url=self._url, **keys)
        self._client.create_bucket(Bucket="bucket")
        super().__init__("s3", "s3://bucket/some/prefix", s3_options(url))

    def put(self, lfn: str, data: bytes) -> None:
        self._client.put_object(Bucket="bucket", Key=f"some/prefix{lfn}", Body=data)

    def put_odd(self) -> int:
        for name in ("tab\tbed", "bell\x07", "dir\tbed/inside"):
            self.put(f"/store/a/{name}", b"odd")
        return 3

    def files(self) -> dict[str, bytes]:
        names = [each["Key"] for each in self._client.list_objects_v2(Bucket="bucket").get("Contents", [])]
        return {
            name.removeprefix("some/prefix"): self._client.get_object(Bucket="bucket", Key=name)["Body"].read()
            for name in names
        }

    def unfinished_uploads(self) -> int:
        return len(self._client.list_multipart_uploads(Bucket="bucket").get("Uploads", []))

    def away(self) -> None:
        with socket.socket() as nobody:  # bound and not listening: what a server that is down looks like
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
        self.storage.close()
        self.storage = load_plugin(plugins()["s3"])(self.endpoint, s3_options(f"http://127.0.0.1:{port}"))

    @contextmanager
    def forbidden(self, directory: str) -> Iterator[None]:
        requests.post(f"{self._url}/moto-api/reset-auth", data=b"0", timeout=10)
        yield
        requests.post(f"{self._url}/moto-api/reset-auth", data=b"inf", timeout=10)


def s3_options(url: str) -> StorageOptions:
    more = {"s3": {"endpoint_url": url, "key": "key", "secret": "secret", "region": "us-east-1"}}
    return StorageOptions(threads=4, connect_timeout=1, read_timeout=10, more=more)


@contextmanager
def running_s3() -> Iterator[str]:
    """The URL of an HTTP server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
