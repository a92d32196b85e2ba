"""What an XRootD server may answer beyond what Debian's does: told by a stand-in for the client's FileSystem."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from XRootD.client.flags import StatInfoFlags

from dynamo_ops.base.errors import (
    CredentialError,
    InventoryError,
    PermanentRemoteError,
    RemoteError,
    RetryableRemoteError,
)
from dynamo_ops.inventory.site.mapping import Endpoint, parse_chains
from dynamo_ops.inventory.states import DeletionObservation as Seen
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.xrootd import XrootdStorage
from tests.patience import PATIENCE_S

DONE = SimpleNamespace(ok=True, code=0, errno=0, message="[SUCCESS]")
FILE = SimpleNamespace(flags=0, size=5, modtime=1_700_000_000)
FOLDER = SimpleNamespace(flags=int(StatInfoFlags.IS_DIR), size=4096, modtime=1_700_000_000)


def refused(errno: int = 0, code: int = 400) -> SimpleNamespace:
    return SimpleNamespace(ok=False, code=code, errno=errno, message=f"[ERROR] [{errno}] secret-token no")


class Fake:
    """A server whose calls are given by name; each returns (status, value). Keeps what was asked."""

    def __init__(self, **calls: Callable[..., tuple[Any, Any]]) -> None:
        self._calls = calls
        self.asked: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, Any]]:
        def call(path: Any, *more: Any, timeout: int) -> tuple[Any, Any]:
            assert timeout > 0
            if name == "query" and name not in self._calls:
                return refused(3013), None  # whoever does not say that it is a manager is none
            self.asked.append((name, str(path)))
            return self._calls[name](path, *more)

        return call


def storage_of(server: Fake, endpoint: Endpoint | None = None, **options: Any) -> XrootdStorage:
    endpoint = endpoint or Endpoint("T2_A", "root", "root://a.invalid//eos")
    storage = XrootdStorage(endpoint, StorageOptions(threads=1, **options))
    storage._servers["a.invalid"] = server
    return storage


@pytest.mark.parametrize(
    ("status", "kind", "seen"),
    [
        (refused(3010), CredentialError, Seen.REFUSED),
        (refused(3016), PermanentRemoteError, Seen.REFUSED),
        (refused(3025), PermanentRemoteError, Seen.REFUSED),
        (refused(3005), RetryableRemoteError, Seen.UNAVAILABLE),
        (refused(3007), RetryableRemoteError, Seen.UNAVAILABLE),
        (refused(3012), RetryableRemoteError, Seen.UNAVAILABLE),
        (refused(3024), RetryableRemoteError, Seen.UNAVAILABLE),
        (refused(code=206), RetryableRemoteError, Seen.UNAVAILABLE),
        (refused(code=108), RetryableRemoteError, Seen.UNAVAILABLE),
    ],
    ids=["permission", "directory", "read-only", "file system", "I/O", "server", "overload", "time-out", "connection"],
)
def test_what_a_refusal_means(status: Any, kind: type[RemoteError], seen: Seen) -> None:
    storage = storage_of(Fake(stat=lambda _: (status, None)), token="secret-token")
    with pytest.raises(RemoteError) as caught:
        storage.stat("/store/f")
    assert type(caught.value) is kind
    assert "secret" not in caught.value.message
    storage = storage_of(Fake(stat=lambda _: (DONE, FILE), rm=lambda _: (status, None)))
    assert [outcome.observation for outcome in storage.delete(["/store/f"])] == [seen]


@pytest.mark.parametrize("code", [203, 204])
def test_refused_login_fails_the_whole_deletion(code: int) -> None:
    storage = storage_of(Fake(stat=lambda _: (refused(code=code), None)))
    with pytest.raises(CredentialError):
        storage.delete(["/store/f"])


def test_gone_between_look_and_delete() -> None:
    storage = storage_of(Fake(stat=lambda _: (DONE, FILE), rm=lambda _: (refused(3011), None)))
    assert [outcome.observation for outcome in storage.delete(["/store/f"])] == [Seen.NOT_FOUND]


def test_listing_in_part_is_an_error() -> None:
    partial = SimpleNamespace(ok=True, code=3, errno=0, message="[SUCCESS] partial")
    storage = storage_of(Fake(dirlist=lambda *_: (partial, [])))
    with pytest.raises(RetryableRemoteError, match="in part only"):
        list(storage.list_files("/store"))


def test_names_without_sizes_are_asked_for_one_by_one() -> None:
    about = {"f": (DONE, FILE), "d": (DONE, FOLDER), "gone": (refused(3011), None)}
    top = [SimpleNamespace(name=name, statinfo=None) for name in about]
    server = Fake(
        dirlist=lambda path, _: (DONE, [] if path.endswith("/d/") else top),
        stat=lambda path: about[path.rpartition("/")[2]],
    )
    (frame,) = storage_of(server).list_files("/store")
    assert frame.select("lfn", "size_bytes").rows() == [("/store/f", 5)]


def test_name_that_is_not_utf8_is_an_error() -> None:
    def dirlist(*_: Any) -> tuple[Any, Any]:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    with pytest.raises(PermanentRemoteError, match="UTF-8"):
        list(storage_of(Fake(dirlist=dirlist)).list_files("/store"))


def test_mapping_that_cannot_be_turned_round() -> None:
    chains = parse_chains([[["/store/(.*)", "root://a.invalid//x/$1.gz"]]])
    endpoint = Endpoint("T2_A", "root", "", chains)
    top = [SimpleNamespace(name="f.gz", statinfo=FILE)]
    with pytest.raises(InventoryError):
        list(storage_of(Fake(dirlist=lambda *_: (DONE, top)), endpoint).list_files("/store"))


@pytest.mark.parametrize(
    ("status", "answer", "checksum"),
    [
        (DONE, b"adler32 62C0215\x00", "062c0215"),
        (DONE, b"md5 abcdef\x00", None),
        (refused(3013), None, None),
    ],
    ids=["short, in capitals", "another kind", "not supported"],
)
def test_checksum(status: Any, answer: bytes | None, checksum: str | None) -> None:
    assert storage_of(Fake(query=lambda *_: (status, answer))).checksum("/store/f") == checksum


def test_server_that_renames_to_free_names_only() -> None:
    answers = iter([refused(3018), DONE])
    server = Fake(stat=lambda _: (DONE, FILE), mv=lambda *_: (next(answers), None), rm=lambda _: (DONE, None))
    closed = SimpleNamespace(close=lambda **_: (DONE, None))
    storage_of(server).finish(closed, "/store/f", 5)
    assert [name for name, _ in server.asked] == ["stat", "mv", "rm", "mv"]
    assert server.asked[2] == ("rm", "/eos/store/f")


def test_upload_that_is_short_at_the_storage_is_not_finished() -> None:
    server = Fake(stat=lambda _: (DONE, FILE))
    closed = SimpleNamespace(close=lambda **_: (DONE, None))
    with pytest.raises(RetryableRemoteError, match="6 bytes sent, 5 bytes there"):
        storage_of(server).finish(closed, "/store/f", 6)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"cert": "/p.pem"}, "xrd.gsiusrpxy=/p.pem"),
        ({"cert": "/p.pem", "key": "/p.pem"}, "xrd.gsiusrpxy=/p.pem"),
        ({"token": "t"}, "xrd.ztn=t&authz=Bearer%20t"),
        ({}, ""),
    ],
    ids=["proxy", "proxy named twice", "token", "none"],
)
def test_credentials_are_named_to_the_connection(options: dict[str, str], parameters: str) -> None:
    url = storage_of(Fake(), **options)._url("root://a.invalid//f")
    assert url == "root://a.invalid//f" + (f"?{parameters}" if parameters else "")


def test_the_end_of_a_process_asks_no_proxy_for_its_class() -> None:
    """XRootD's own handler does, and what is imported then may be missing."""
    lines = (
        "import dynamo_ops.storage.xrootd",
        "class Proxy:",
        "    @property",
        "    def __class__(self):",
        "        raise ModuleNotFoundError('not installed')",
        "kept = Proxy()",
    )
    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (ended.returncode, ended.stderr) == (0, "")


def place(address: str, kind: int = 2) -> SimpleNamespace:
    """Where files are: 2 a server that answers, 3 one that does not now, 0 a manager."""
    return SimpleNamespace(address=address, type=kind)


def listed(**members: Any) -> tuple[Any, Any]:
    return DONE, [SimpleNamespace(name=name, statinfo=about) for name, about in members.items()]


def cluster_of(places: Callable[[], tuple[Any, Any]], more: dict[str, Any], **servers: Fake) -> XrootdStorage:
    """A manager without files, and data servers by name."""
    nothing = lambda *_: (refused(3011), None)  # noqa: E731
    manager = Fake(query=lambda *_: (DONE, b"manager\n"), deeplocate=lambda *_: places(), dirlist=nothing)
    storage = storage_of(manager, more={"root:T2_A": more})
    storage._servers |= {f"{name}:1094": server for name, server in servers.items()}
    return storage


def lfns(storage: XrootdStorage) -> list[str]:
    return sorted(lfn for frame in storage.list_files("/store") for lfn in frame["lfn"])


def directories(tree: dict[str, dict[str, Any]]) -> Fake:
    """A server with these directories, by their path without the prefix of the site."""

    def dirlist(path: str, _: Any) -> tuple[Any, Any]:
        of = path.removeprefix("/eos").rstrip("/")
        return listed(**tree[of]) if of in tree else (refused(3011), None)

    return Fake(dirlist=dirlist)


ONE = {"/store": {"b": FOLDER, "one": FOLDER}, "/store/b": {"f1": FILE, "both": FILE}, "/store/one": {"g": FILE}}
TWO = {"/store": {"b": FOLDER}, "/store/b": {"f2": FILE, "both": FILE}}
BOTH = ["/store/b/both", "/store/b/f1", "/store/b/f2", "/store/one/g"]


def test_behind_a_manager_all_data_servers_are_listed_and_each_file_once() -> None:
    places = lambda: (DONE, [place("two:1094"), place("one:1094"), place("other:1094", 0)])  # noqa: E731
    storage = cluster_of(places, {}, one=directories(ONE), two=directories(TWO))
    assert lfns(storage) == BOTH
    assert storage.data_servers() == ("one:1094", "two:1094")
    assert not storage._remove_if_empty("/store/one"), "each server has its own"


@pytest.mark.parametrize(
    ("places", "more", "words"),
    [
        ([place("one:1094"), place("two:1094", 3)], {}, "data servers are away: two:1094"),
        ([place("one:1094")], {"servers": 2}, "1 data servers answer, and there are 2 .storages: root:T2_A"),
        ([], {}, "0 data servers answer"),
    ],
    ids=["away", "fewer than there are", "none"],
)
def test_without_all_its_data_servers_nothing_is_listed(places: list[Any], more: dict[str, Any], words: str) -> None:
    storage = cluster_of(lambda: (DONE, places), more, one=directories(ONE))
    with pytest.raises(RetryableRemoteError, match=words):
        lfns(storage)


def test_what_a_manager_does_not_find_while_a_data_server_is_away_may_be_there() -> None:
    there = [place("one:1094"), place("two:1094")]
    storage = cluster_of(lambda: (DONE, there), {}, one=directories(ONE), two=directories(TWO))
    storage._servers["a.invalid"]._calls["stat"] = lambda *_: (refused(3011), None)
    assert storage.stat("/store/none") is None
    assert [outcome.observation for outcome in storage.delete(["/store/none"])] == [Seen.NOT_FOUND]
    there[1] = place("two:1094", 3)
    with pytest.raises(RetryableRemoteError, match="data servers are away: two:1094"):
        storage.stat("/store/none")
    assert [outcome.observation for outcome in storage.delete(["/store/none"])] == [Seen.UNAVAILABLE]


def test_a_data_server_that_goes_while_it_is_listed_voids_the_list() -> None:
    looks = [[place("one:1094"), place("two:1094")], [place("one:1094")]]
    storage = cluster_of(lambda: (DONE, looks.pop(0)), {}, one=directories(ONE), two=directories(TWO))
    with pytest.raises(RetryableRemoteError, match="the data servers were one:1094, two:1094, and are one:1094"):
        lfns(storage)
    broken = Fake(dirlist=lambda *_: (refused(3012), None))
    storage = cluster_of(lambda: (DONE, [place("one:1094"), place("two:1094")]), {}, one=directories(ONE), two=broken)
    with pytest.raises(RetryableRemoteError, match="3012"):
        lfns(storage)


@pytest.mark.parametrize("status", [refused(code=206), refused(3012)], ids=["no answer", "not now"])
def test_who_does_not_say_what_it_is_is_not_listed(status: Any) -> None:
    door = directories(ONE)
    door._calls["query"] = lambda *_: (status, None)
    with pytest.raises(RetryableRemoteError, match="find out the role of"):
        lfns(storage_of(door))


def test_a_manager_with_a_name_space_of_its_own_is_listed_itself() -> None:
    door = directories(ONE)
    door._calls["query"] = lambda *_: (DONE, b"manager")
    assert len(lfns(storage_of(door, more={"root:T2_A": {"own_names": True}}))) == 3
