"""What every storage must do, whatever its protocol: the contract of ``dynamo_ops.storage``."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import polars as pl
import pytest

from dynamo_ops.base.errors import InventoryError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.inventory.lfn import upload_lfn
from dynamo_ops.inventory.states import DeletionObservation as Seen
from dynamo_ops.storage.protocol import STORED_FILES, Condition, LooksFirst, Storage, TellsTime, delete_if
from dynamo_ops.storage.registry import plugins
from tests.storage.backends import Backend, Xrootd
from tests.storage.conftest import KINDS
from tests.xrootd.servers import XrootdServer

pytestmark = pytest.mark.usefixtures("no_pauses")

FILES = {"/store/a/f1": b"one", "/store/a/b/f2": b"two!", "/store/a/b/c/f3": b"", "/store/d/f4": b"x" * 5000}
DATA = bytes(range(256)) * 40
ODD = ["a b", "50%", "é–ü", "#1", "%20", "a&b=c;d+e@f", "'q'", "(x)[y]{z}"]
SAME_PLUGIN = {"dav": "davs", "http": "davs", "xroot": "root"}


def filled(backend: Backend) -> Storage:
    for lfn, data in FILES.items():
        backend.put(lfn, data)
    return backend.storage


def listed(storage: Storage, prefix: str = "/store") -> dict[str, int]:
    frames = [pl.DataFrame(schema=STORED_FILES), *storage.list_files(prefix)]
    return dict(pl.concat(frames).drop_nulls("lfn").select("lfn", "size_bytes").iter_rows())


def send(storage: Storage, lfn: str, data: bytes) -> None:
    upload = storage.upload(lfn, len(data))
    for start in range(upload.num_resumed_bytes, len(data), 1000):
        upload.write(data[start : start + 1000])
    upload.finish()
    upload.close()


def unnamed(storage: Storage) -> int:
    return sum(frame["lfn"].null_count() for frame in storage.list_files("/store"))


def read_one(storage: Storage, lfn: str) -> bytes:
    return next(storage.read(lfn), b"")


def test_every_registered_storage_is_tried() -> None:
    assert {SAME_PLUGIN.get(name, name) for name in plugins()} == set(KINDS)


def test_a_name_that_nobody_can_ask_for_costs_itself_and_nothing_else(backend: Backend) -> None:
    storage = filled(backend)
    num_odd = backend.put_odd()
    assert listed(storage) == {lfn: len(data) for lfn, data in FILES.items()}
    assert unnamed(storage) == num_odd
    assert storage.remove_empty_directories(["/store/a"]) == 0


@pytest.mark.parametrize("protocol", ["root", "https"])
def test_what_a_server_lists_by_lines_is_not_believed_where_a_name_has_a_line_end(
    xrootd_server: XrootdServer, protocol: str
) -> None:
    """XRootD: names and sizes of other files are taken for each other then, and files that are there look gone."""
    backend = Xrootd(xrootd_server, protocol)
    storage = filled(backend)
    backend.path("/store/a/line\nend").write_bytes(b"odd")
    with pytest.raises(RemoteError, match=r"list.* /store/a"):
        listed(storage)
    backend.close()


def test_list(backend: Backend) -> None:
    storage = filled(backend)
    assert listed(storage) == {lfn: len(data) for lfn, data in FILES.items()}
    assert listed(storage, "/store/a/b/") == {"/store/a/b/f2": 4, "/store/a/b/c/f3": 0}


def test_list_says_when_files_were_changed(backend: Backend) -> None:
    (frame,) = filled(backend).list_files("/store/d")
    assert dict(frame.schema) == STORED_FILES
    if backend.protocol != "https":  # XRootD 5.5 gives no zone, or none that is a date of HTTP
        assert abs(frame["modified_at"][0] - datetime.now(UTC)) < timedelta(minutes=5)


def test_what_time_it_is_there(backend: Backend) -> None:
    """XRootD 5.5 tells no time over HTTP, neither of a file: nothing goes there because of its age."""
    storage = filled(backend)
    told = storage.clock() if isinstance(storage, TellsTime) else None
    assert (told is None) == (backend.protocol in ("https", "cupboard"))
    assert told is None or abs(told - datetime.now(UTC)) < timedelta(minutes=5)
    assert backend.files() == FILES


def test_list_of_what_is_not_there(backend: Backend) -> None:
    with pytest.raises(PermanentRemoteError, match="not there"):
        list(filled(backend).list_files("/store/nowhere"))


def test_stat(backend: Backend) -> None:
    storage = filled(backend)
    found = storage.stat("/store/d/f4")
    assert found is not None
    assert (found.lfn, found.size_bytes) == ("/store/d/f4", 5000)
    assert storage.stat("/store/d/f5") is None
    assert storage.stat("/store/nowhere/f5") is None


def test_checksum(backend: Backend) -> None:
    checksum = filled(backend).checksum("/store/d/f4")
    assert checksum == (f"{zlib.adler32(FILES['/store/d/f4']):08x}" if backend.has_checksums else None)


def test_checksum_of_what_is_not_there(backend: Backend) -> None:
    if backend.has_checksums:
        with pytest.raises(PermanentRemoteError) as caught:
            backend.storage.checksum("/store/none")
        assert caught.value.facts["status"] == 404


def test_delete(backend: Backend) -> None:
    storage = filled(backend)
    asked = ["/store/a/f1", "/store/none", "/store/nowhere/none", "/store/a/b/c/f3", "/store/a/f1/below"]
    outcomes = storage.delete(asked)
    assert [outcome.lfn for outcome in outcomes] == asked
    assert [outcome.observation for outcome in outcomes[:4]] == [
        Seen.DELETED,
        Seen.NOT_FOUND,
        Seen.NOT_FOUND,
        Seen.DELETED,
    ]
    assert set(backend.files()) == {"/store/a/b/f2", "/store/d/f4"}
    assert [outcome.observation for outcome in storage.delete(asked[:1])] == [Seen.NOT_FOUND]


def test_what_was_changed_is_not_deleted(backend: Backend) -> None:
    """By storages that look first: ours all do."""
    storage = filled(backend)
    if not isinstance(storage, LooksFirst):
        assert backend.protocol == "cupboard"
        return
    now = datetime.now(UTC)
    conditions = {
        "/store/a/f1": Condition(size_bytes=4),
        "/store/a/b/f2": Condition(size_bytes=4, modified_at=now - timedelta(days=30)),
        "/store/a/b/c/f3": Condition(not_after=now - timedelta(days=1)),
        "/store/d/f4": Condition(size_bytes=5000, not_after=now + timedelta(days=1)),
        "/store/none": Condition(size_bytes=1),
    }
    outcomes = {outcome.lfn: outcome for outcome in delete_if(storage, conditions)}
    if backend.protocol != "https":  # XRootD 5.5 tells no time over HTTP: there only the size speaks
        assert [outcome.observation for outcome in outcomes.values()] == [Seen.REFUSED] * 3 + [
            Seen.DELETED,
            Seen.NOT_FOUND,
        ]
        assert "since it was listed" in outcomes["/store/a/b/f2"].reason
        assert "later than its deletion was asked for" in outcomes["/store/a/b/c/f3"].reason
        assert set(backend.files()) == {"/store/a/f1", "/store/a/b/f2", "/store/a/b/c/f3"}
    assert outcomes["/store/a/f1"].reason == "it has 3 bytes now, not 4: it was changed since it was listed"
    assert outcomes["/store/d/f4"].observation == Seen.DELETED
    assert [outcome.observation for outcome in storage.delete(["/store/a/f1"])] == [Seen.DELETED]  # asked once


def test_delete_never_takes_a_directory(backend: Backend) -> None:
    storage = filled(backend)
    asked = ["/store/a"]
    if backend.has_directories:
        backend.make_directory("/store/empty")
        asked.append("/store/empty")
    outcomes = storage.delete(asked)
    assert {outcome.observation for outcome in outcomes} == {Seen.REFUSED}
    assert all(outcome.reason for outcome in outcomes)
    assert backend.files() == FILES
    assert all(backend.is_directory(lfn) for lfn in asked)


def test_what_is_outside_the_managed_prefix_is_refused(backend: Backend) -> None:
    storage = filled(backend)
    calls = (storage.stat, storage.checksum, partial(read_one, storage), partial(storage.upload, size_bytes=1))
    for lfn in ("/store/../etc/f", "/etc/passwd", "/store", "/store/", "store/a", "/storefront/f"):
        (outcome,) = storage.delete([lfn])
        assert outcome.observation == Seen.REFUSED
        for call in calls:
            with pytest.raises(InventoryError):
                call(lfn)
    assert backend.files() == FILES


def test_odd_names(backend: Backend) -> None:
    for name in ODD:
        backend.put(f"/store/{name}/{name}", name.encode())
    storage = backend.storage
    expected = {f"/store/{name}/{name}": len(name.encode()) for name in ODD}
    assert listed(storage) == expected
    for name in ODD:
        lfn = f"/store/{name}/{name}"
        found = storage.stat(lfn)
        assert found is not None
        assert found.size_bytes == expected[lfn]
        assert b"".join(storage.read(lfn)) == name.encode()
        send(storage, f"/store/{name}/new {name}", DATA)
    new = {f"/store/{name}/new {name}": DATA for name in ODD}
    assert {lfn: data for lfn, data in backend.files().items() if lfn not in expected} == new
    assert {outcome.observation for outcome in storage.delete([*expected, *new])} == {Seen.DELETED}
    assert backend.files() == {}


@pytest.mark.parametrize("tail", ["?x", "?versionId=1", "#x", "%3Fx", ";x"])
def test_what_a_url_splits_at_never_means_another_file(backend: Backend, tail: str) -> None:
    backend.put("/store/f", b"keep")
    with suppress(RemoteError, InventoryError):
        send(backend.storage, f"/store/f{tail}", b"odd")
    with suppress(RemoteError, InventoryError):
        stored = backend.storage.stat(f"/store/f{tail}")
        assert stored is None or stored.size_bytes == len(b"odd")
    (outcome,) = backend.storage.delete([f"/store/f{tail}"])
    assert outcome.observation in (Seen.DELETED, Seen.NOT_FOUND, Seen.REFUSED)
    assert backend.files() == {"/store/f": b"keep"}


def test_read_from(backend: Backend) -> None:
    backend.put("/store/f", DATA)
    for start in (0, 1, 10239, 10240, 20000):
        assert b"".join(backend.storage.read("/store/f", start)) == DATA[start:]


def test_read_an_empty_file(backend: Backend) -> None:
    assert b"".join(filled(backend).read("/store/a/b/c/f3")) == b""


def test_read_while_others_are_asked(backend: Backend) -> None:
    data = DATA * 1000
    backend.put("/store/big", data)
    pieces = backend.storage.read("/store/big")
    first = next(pieces)
    assert [backend.storage.stat("/store/big") is not None for _ in range(6)] == [True] * 6
    assert first + b"".join(pieces) == data


def test_read_what_is_not_there(backend: Backend) -> None:
    with pytest.raises(PermanentRemoteError) as caught:
        list(backend.storage.read("/store/none"))
    assert caught.value.facts["status"] == 404


@pytest.mark.parametrize("data", [b"", b"x", DATA * 500], ids=["empty", "one byte", "5 MB"])
def test_upload(backend: Backend, data: bytes) -> None:
    send(backend.storage, "/store/new/deep/f", data)
    assert backend.files() == {"/store/new/deep/f": data}


def test_nobody_sees_a_file_before_its_upload_is_finished(backend: Backend) -> None:
    upload = backend.storage.upload("/store/new/f", len(DATA))
    upload.write(DATA)
    assert "/store/new/f" not in backend.files()
    upload.finish()
    upload.close()
    assert backend.files() == {"/store/new/f": DATA}


def test_upload_replaces(backend: Backend) -> None:
    backend.put("/store/f", b"old and longer than the new one" * 1000)
    send(backend.storage, "/store/f", DATA)
    assert backend.files() == {"/store/f": DATA}


def test_upload_given_up_leaves_what_was_there(backend: Backend) -> None:
    backend.put("/store/f", b"old")
    upload = backend.storage.upload("/store/f", len(DATA))
    upload.write(DATA[:5000])
    upload.close()
    assert backend.files()["/store/f"] == b"old"
    assert set(backend.files()) <= {"/store/f", upload_lfn("/store/f")}


def test_upload_goes_on_after_a_cut(backend: Backend) -> None:
    upload = backend.storage.upload("/store/f", len(DATA))
    upload.write(DATA[:5000])
    upload.close()
    upload = backend.storage.upload("/store/f", len(DATA))
    assert upload.num_resumed_bytes == (5000 if backend.resumes else 0)
    upload.write(DATA[upload.num_resumed_bytes :])
    upload.finish()
    upload.close()
    assert backend.files() == {"/store/f": DATA}


@pytest.mark.parametrize("num_left", [len(DATA), len(DATA) + 1])
def test_what_is_as_long_as_the_file_is_not_taken_up(backend: Backend, num_left: int) -> None:
    backend.put(upload_lfn("/store/f"), b"?" * num_left)
    send(backend.storage, "/store/f", DATA)
    assert backend.files()["/store/f"] == DATA


@pytest.mark.parametrize("num_written", [9, 11])
def test_upload_of_another_size_is_not_finished(backend: Backend, num_written: int) -> None:
    upload = backend.storage.upload("/store/f", 10)
    with pytest.raises(PermanentRemoteError, match="is its source whole"):  # noqa: PT012  either call may say so
        upload.write(b"x" * num_written)
        upload.finish()
    upload.close()
    assert "/store/f" not in backend.files()


def test_empty_directories_go_with_their_parents_up_to_the_managed_prefix(backend: Backend) -> None:
    storage = filled(backend)
    storage.delete(list(FILES)[1:])
    removed = storage.remove_empty_directories(["/store/a/b/c", "/store/a/b", "/store/d", "/store", "/", "/store/none"])
    assert removed == (3 if backend.has_directories else 0)
    assert not backend.is_directory("/store/a/b")
    assert not backend.is_directory("/store/d")
    assert backend.files() == {"/store/a/f1": b"one"}


def test_kept_directories_stay(backend: Backend) -> None:
    storage = filled(backend)
    storage.delete(list(FILES))
    storage.remove_empty_directories(["/store/a/b/c", "/store/d"], keep={"/store/a/b"})
    if backend.has_directories:
        assert backend.is_directory("/store/a/b")
        assert backend.is_directory("/store")
    assert not backend.is_directory("/store/a/b/c")
    assert not backend.is_directory("/store/d")


def test_directory_with_content_stays(backend: Backend) -> None:
    storage = filled(backend)
    assert storage.remove_empty_directories(["/store/a", "/store/a/b/c"]) == 0
    assert backend.files() == FILES


def test_server_away_is_told_to_wait(backend: Backend) -> None:
    filled(backend)
    backend.away()
    storage = backend.storage
    (outcome,) = storage.delete(["/store/a/f1"])
    assert outcome.observation == Seen.UNAVAILABLE
    calls = (
        lambda: list(storage.list_files("/store")),
        lambda: storage.stat("/store/a/f1"),
        lambda: list(storage.read("/store/a/f1")),
        lambda: send(storage, "/store/new", b"x"),
    )
    with ThreadPoolExecutor() as threads:  # they all wait, and try again
        errors = [call.exception() for call in [threads.submit(call) for call in calls]]
    assert [type(error) for error in errors] == [RetryableRemoteError] * len(calls)


def test_permission_refused(backend: Backend) -> None:
    storage = filled(backend)
    with backend.forbidden("/store/a"):
        (outcome,) = storage.delete(["/store/a/f1"])
        with pytest.raises(PermanentRemoteError):
            send(storage, "/store/a/new", b"x")
    assert outcome.observation == Seen.REFUSED
    assert outcome.reason
    assert backend.files() == FILES
