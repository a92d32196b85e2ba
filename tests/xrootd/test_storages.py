"""Listing, checksums and deletion at a real XRootD server, in numbers."""

from __future__ import annotations

import zlib

import pytest

from dynamo_ops.inventory.states import DeletionObservation as Seen
from tests.xrootd.conftest import storage_at
from tests.xrootd.servers import MISSING, XrootdServer

NUM_DIRECTORIES, NUM_FILES = 25, 2_000


@pytest.fixture
def filled(servers: dict[str, XrootdServer]) -> XrootdServer:
    server = servers["T2_A"]
    server.put_all({f"/store/mc/d{n % NUM_DIRECTORIES}/f{n}.root": b"%d" % n * (n % 7) for n in range(NUM_FILES)})
    return server


@pytest.mark.parametrize("protocol", ["root", "https"])
def test_listing_is_what_is_on_disk(filled: XrootdServer, protocol: str) -> None:
    storage = storage_at(filled, protocol)
    listed = {lfn: size for frame in storage.list_files("/store") for lfn, size, _ in frame.iter_rows()}
    assert listed == filled.files()
    assert len(listed) == NUM_FILES


@pytest.mark.parametrize("protocol", ["root", "https"])
def test_checksums(filled: XrootdServer, protocol: str) -> None:
    storage = storage_at(filled, protocol)
    lfns = [lfn for lfn, size in filled.files().items() if size][:50]
    expected = {lfn: f"{zlib.adler32(filled.path(lfn).read_bytes()):08x}" for lfn in lfns}
    assert {lfn: storage.checksum(lfn) for lfn in lfns} == expected


@pytest.mark.parametrize("protocol", ["root", "https"])
def test_deletion(filled: XrootdServer, protocol: str) -> None:
    storage = storage_at(filled, protocol)
    before = filled.files()
    doomed = [lfn for lfn in before if int(lfn.split("/")[3][1:]) < 10]
    outcomes = storage.delete([*doomed, "/store/mc/d0/none", "/store/mc/d10"])
    assert {outcome.observation for outcome in outcomes[:-2]} == {Seen.DELETED}
    assert [outcome.observation for outcome in outcomes[-2:]] == [Seen.NOT_FOUND, Seen.REFUSED]
    assert filled.files() == {lfn: size for lfn, size in before.items() if lfn not in set(doomed)}
    directories = [f"/store/mc/d{n}" for n in range(NUM_DIRECTORIES)]
    assert storage.remove_empty_directories(directories) == 10
    assert sorted(path.name for path in filled.path("/store/mc").iterdir()) == sorted(
        f"d{n}" for n in range(10, NUM_DIRECTORIES)
    )


def test_missing_server_is_told_with_what_to_install(
    servers: dict[str, XrootdServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.xrootd.servers.shutil.which", lambda _: None)
    with pytest.raises(AssertionError, match="apt-get install xrootd-server"):
        servers["T2_A"].start()
    assert "apt-get install xrootd-server" in MISSING
