from __future__ import annotations

import time
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from simgrid.grid import Grid
from simgrid.scenario import parse_scenario
from tests.simgrid.client import session, signed_proxy

_DAV = "{DAV:}"


class Storage:
    """One site, over HTTPS and on disk."""

    def __init__(self, grid: Grid, site: str) -> None:
        entry = grid.endpoints["sites"][site]
        self.url = "https" + entry["prefix"].removeprefix("davs")
        self.origin = self.url.removesuffix("/dav")
        self.root = Path(entry["root"])
        self.http = session(grid.endpoints)

    def put(self, lfn: str, content: bytes) -> requests.Response:
        return self.http.put(self.url + lfn, data=content)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    scenario = parse_scenario(
        {
            "time_scale": 0.01,
            "sites": [
                {"name": "Disk"},
                {"name": "Small", "capacity_bytes": 1000},
                {"name": "Tape", "storage_type": "mss", "staging_delay": "20 s"},
            ],
        }
    )
    with Grid(scenario, tmp_path_factory.mktemp("webdav")) as running:
        yield running


@pytest.fixture
def disk(grid: Grid) -> Storage:
    return Storage(grid, "Disk")


@pytest.fixture
def tape(grid: Grid) -> Storage:
    return Storage(grid, "Tape")


def test_write_read_delete(disk: Storage) -> None:
    content = bytes(range(256)) * 5000
    assert disk.put("/store/a/b/file.root", content).status_code == 201
    assert (disk.root / "store/a/b/file.root").read_bytes() == content
    assert disk.put("/store/a/b/file.root", content).status_code == 204
    assert disk.http.get(f"{disk.url}/store/a/b/file.root").content == content
    head = disk.http.head(f"{disk.url}/store/a/b/file.root", headers={"Want-Digest": "adler32"})
    assert head.headers["Content-Length"] == str(len(content))
    assert head.headers["Digest"] == f"adler32={zlib.adler32(content):08x}"
    assert "GMT" in head.headers["Last-Modified"]
    assert "Digest" not in disk.http.head(f"{disk.url}/store/a/b/file.root").headers
    assert disk.http.delete(f"{disk.url}/store/a/b/file.root").status_code == 204
    assert disk.http.delete(f"{disk.url}/store/a/b/file.root").status_code == 404
    assert disk.http.get(f"{disk.url}/store/a/b/file.root").status_code == 404


def test_an_empty_file_and_a_chunked_upload(disk: Storage) -> None:
    assert disk.put("/store/empty", b"").status_code == 201
    assert disk.http.get(f"{disk.url}/store/empty").content == b""
    assert disk.http.put(f"{disk.url}/store/chunked", data=iter([b"one", b"two"])).status_code == 201
    assert (disk.root / "store/chunked").read_bytes() == b"onetwo"


def test_collections(disk: Storage) -> None:
    def mkcol(lfn: str) -> int:
        return disk.http.request("MKCOL", disk.url + lfn).status_code

    assert mkcol("/store/new") == 201
    assert mkcol("/store/new") == 405
    assert mkcol("/store/no/parent") == 409
    disk.put("/store/new/x", b"x")
    assert disk.http.delete(f"{disk.url}/store/new").status_code == 409
    assert (disk.root / "store/new/x").exists()
    disk.http.delete(f"{disk.url}/store/new/x")
    assert disk.http.delete(f"{disk.url}/store/new/").status_code == 204


def test_propfind(disk: Storage) -> None:
    disk.put("/store/list/a file.root", b"12345")
    disk.put("/store/list/deep/er/b.root", b"1")

    def hrefs(lfn: str, depth: str) -> dict[str, str | None]:
        reply = disk.http.request("PROPFIND", disk.url + lfn, headers={"Depth": depth})
        assert reply.status_code == 207
        return {
            str(r.findtext(f"{_DAV}href")): r.findtext(f".//{_DAV}getcontentlength")
            for r in ET.fromstring(reply.content)
        }

    assert hrefs("/store/list", "1") == {
        "/dav/store/list/": None,
        "/dav/store/list/a%20file.root": "5",
        "/dav/store/list/deep/": None,
    }
    assert hrefs("/store/list", "0") == {"/dav/store/list/": None}
    assert hrefs("/store/list/a%20file.root", "0") == {"/dav/store/list/a%20file.root": "5"}
    infinite = disk.http.request("PROPFIND", f"{disk.url}/store", headers={"Depth": "infinity"})
    assert infinite.status_code == 403
    missing = disk.http.request("PROPFIND", f"{disk.url}/store/nothing", headers={"Depth": "1"})
    assert missing.status_code == 404


@pytest.mark.parametrize("path", ["/dav/%2e%2e/%2e%2e/etc/passwd", "/dav/store/..%2f..%2f..%2fetc/passwd", "/dav/%00"])
def test_no_way_out_of_the_storage(disk: Storage, path: str) -> None:
    prepared = requests.Request("GET", disk.origin + "/dav/x").prepare()
    prepared.url = disk.origin + path
    assert disk.http.send(prepared).status_code in (403, 404)


def test_writing_needs_a_certificate(grid: Grid, disk: Storage) -> None:
    anonymous = session(grid.endpoints, anonymous=True)
    assert anonymous.put(f"{disk.url}/store/y", data=b"y").status_code == 403
    disk.put("/store/y", b"y")
    assert anonymous.delete(f"{disk.url}/store/y").status_code == 403
    assert anonymous.get(f"{disk.url}/store/y").content == b"y"


def test_a_proxy_acts_for_its_owner(grid: Grid, disk: Storage, tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    proxy = signed_proxy(csr.public_bytes(pem), Path(grid.endpoints["user_cert"]), Path(grid.endpoints["user_key"]))
    bundle, secret = tmp_path / "proxy.pem", tmp_path / "key.pem"
    bundle.write_bytes(proxy)
    secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    http = session(grid.endpoints, anonymous=True)
    http.cert = (str(bundle), str(secret))
    assert http.put(f"{disk.url}/store/proxied", data=b"z").status_code == 201
    assert http.get(f"{grid.endpoints['fts']}/whoami").json()["user_dn"] == "/DC=test/O=Pocket/CN=Data Manager"


def test_a_full_site(grid: Grid) -> None:
    small = Storage(grid, "Small")
    assert small.put("/store/a", b"x" * 900).status_code == 201
    assert small.put("/store/b", b"x" * 200).status_code == 507
    assert not (small.root / "store/b").exists()
    assert small.put("/store/a", b"x" * 1000).status_code == 204
    small.http.delete(f"{small.url}/store/a")
    assert small.put("/store/b", b"x" * 200).status_code == 201


def test_tape_files_are_staged_read_and_released(tape: Storage) -> None:
    tape.put("/store/t1", b"tape")
    url, path = f"{tape.url}/store/t1", "/dav/store/t1"
    assert tape.http.get(url).status_code == 423
    assert tape.http.head(url).headers["X-Locality"] == "NEARLINE"
    api = tape.http.get(f"{tape.origin}/.well-known/wlcg-tape-rest-api").json()["endpoints"][0]["uri"]
    reply = tape.http.post(f"{api}/stage", json={"files": [{"path": path}, {"path": "/dav/store/none"}]})
    assert reply.status_code == 201
    request = f"{api}/stage/{reply.json()['requestId']}"

    def state() -> dict[str, tuple[str, bool]]:
        return {f["path"]: (f["state"], f["onDisk"]) for f in tape.http.get(request).json()["files"]}

    assert state() == {path: ("STARTED", False), "/dav/store/none": ("FAILED", False)}
    time.sleep(0.25)
    assert state()[path] == ("COMPLETED", True)
    assert tape.http.get(url).content == b"tape"
    info = tape.http.post(f"{api}/archiveinfo", json={"paths": [path, "/dav/store/none"]}).json()
    assert [entry["locality"] for entry in info] == ["DISK_AND_TAPE", "NONE"]
    assert tape.http.post(request.replace("/stage/", "/release/"), json={"paths": [path]}).status_code == 200
    assert tape.http.get(url).status_code == 423
    assert tape.http.get(f"{api}/stage/nonsense").status_code == 404
    assert tape.http.post(f"{api}/stage", data=b"nonsense").status_code == 400


def test_an_upload_cut_short_leaves_nothing(grid: Grid, disk: Storage) -> None:
    import socket
    import ssl

    host, port = disk.origin.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=grid.endpoints["ca"])
    context.load_cert_chain(grid.endpoints["user_cert"], grid.endpoints["user_key"])
    with context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host) as connection:
        connection.sendall(b"PUT /dav/store/cut HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this")
    time.sleep(0.1)
    assert not (disk.root / "store/cut").exists()
    assert list((grid.directory / "uploads/Disk").iterdir()) == []
