"""The WebDAV storage, against a site of the pocket grid and against odd answers."""

from __future__ import annotations

import os
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import certifi
import polars as pl
import pytest

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RetryableRemoteError
from dynamo_ops.inventory.states import DeletionObservation as Seen
from dynamo_ops.storage.multistatus import http_date, is_literal, parse_multistatus, parse_one, strong_etag
from dynamo_ops.storage.rate import RateLimit
from dynamo_ops.storage.webdav import WebDavStorage, deletion_outcome
from tests.world import PocketGrid

FILES = {"/store/a/f1": b"one", "/store/a/b/f2": b"two!", "/store/a/b/c/f 3%#": b"", "/store/d/f4": b"x" * 5000}


@pytest.fixture
def storage(pocket: PocketGrid) -> WebDavStorage:
    for lfn, data in FILES.items():
        pocket.put("T2_A", lfn, data)
    return pocket.storage("T2_A")


def test_list(pocket: PocketGrid, storage: WebDavStorage) -> None:
    os.utime(pocket.path("T2_A", "/store/a/f1"), (1_700_000_000, 1_700_000_000))
    listed = pl.concat(storage.list_files("/store"))
    assert dict(listed.select("lfn", "size_bytes").iter_rows()) == {lfn: len(data) for lfn, data in FILES.items()}
    modified = dict(listed.select("lfn", "modified_at").iter_rows())
    assert modified["/store/a/f1"] == datetime.fromtimestamp(1_700_000_000, UTC)


def test_list_below_a_prefix(storage: WebDavStorage) -> None:
    assert set(pl.concat(storage.list_files("/store/a/b/"))["lfn"]) == {"/store/a/b/f2", "/store/a/b/c/f 3%#"}


def test_list_of_what_is_not_there(storage: WebDavStorage) -> None:
    with pytest.raises(PermanentRemoteError, match="not there"):
        list(storage.list_files("/store/nowhere"))


def test_half_a_listing_is_an_error(pocket: PocketGrid, storage: WebDavStorage) -> None:
    pocket.grid.fault(sites={"T2_A": {"http_500": True}})
    with pytest.raises(RetryableRemoteError, match="500"):
        list(storage.list_files("/store"))


def test_site_down(pocket: PocketGrid) -> None:
    storage = pocket.storage("T2_A")
    pocket.grid.fault(sites={"T2_A": {"down": True}})
    (outcome,) = storage.delete(["/store/a/f1"])
    assert outcome.observation == Seen.UNAVAILABLE


def test_unknown_ca_is_a_credential_error_and_refuses_no_file(pocket: PocketGrid) -> None:
    mine = replace(pocket.options, ca=certifi.where())
    storage = WebDavStorage(pocket.storage("T2_A").endpoint, mine)
    with pytest.raises(CredentialError, match="TLS refused"):
        storage.delete(["/store/a/f1"])


def test_stat_and_checksum(storage: WebDavStorage) -> None:
    found = storage.stat("/store/d/f4")
    assert found is not None
    assert found.size_bytes == 5000
    assert storage.stat("/store/d/f5") is None
    assert storage.checksum("/store/d/f4") == f"{zlib.adler32(FILES['/store/d/f4']):08x}"


@pytest.mark.parametrize("how", ["no header", "405"])
def test_a_storage_that_tells_no_checksum(pocket: PocketGrid, storage: WebDavStorage, how: str) -> None:
    pocket.grid.fault(sites={"T2_A": {"no_checksums": how}})
    assert storage.checksum("/store/d/f4") is None
    assert storage.stat("/store/d/f4") is not None


def test_delete(pocket: PocketGrid, storage: WebDavStorage) -> None:
    outcomes = storage.delete(
        ["/store/a/f1", "/store/none", "/store/../etc/passwd", "/etc/passwd", "/store/a/b/c/f 3%#"]
    )
    assert [outcome.observation for outcome in outcomes] == [
        Seen.DELETED,
        Seen.NOT_FOUND,
        Seen.REFUSED,
        Seen.REFUSED,
        Seen.DELETED,
    ]
    assert not pocket.path("T2_A", "/store/a/f1").exists()
    assert pocket.path("T2_A", "/store/a/b/f2").exists()


def test_what_is_written_between_the_look_and_the_delete_stays(
    pocket: PocketGrid, storage: WebDavStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, path = storage._call, pocket.path("T2_A", "/store/a/f1")

    def changed_before(method: str, url: str, **arguments: Any) -> Any:
        if method == "DELETE" and url.endswith("/f1"):
            path.write_bytes(b"new")
        return call(method, url, **arguments)

    monkeypatch.setattr(storage, "_call", changed_before)
    changed, same = storage.delete(["/store/a/f1", "/store/d/f4"])
    assert (changed.observation, changed.reason) == (Seen.REFUSED, "it was changed since it was looked at")
    assert same.observation == Seen.DELETED
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("tag", "strong"),
    [('"a-1"', '"a-1"'), ("&quot;x&quot;", '"x"'), ('W/"a-1"', None), ("a-1", None), ("", None), ('"a" "b"', None)],
)
def test_only_strong_tags_are_conditions(tag: str, strong: str | None) -> None:
    answer = f'<d:multistatus xmlns:d="DAV:"><d:response><d:getetag>{tag}</d:getetag></d:response></d:multistatus>'
    assert strong_etag(answer.encode()) == strong
    assert strong_etag(b'<d:multistatus xmlns:d="DAV:"/>') is None


def test_delete_on_a_read_only_site(pocket: PocketGrid, storage: WebDavStorage) -> None:
    pocket.grid.fault(sites={"T2_A": {"read_only": True}})
    (outcome,) = storage.delete(["/store/a/f1"])
    assert outcome.observation == Seen.REFUSED
    assert "read-only" in outcome.reason


def test_empty_directories_go_with_their_parents_up_to_the_managed_prefix(
    pocket: PocketGrid, storage: WebDavStorage
) -> None:
    storage.delete(list(FILES)[1:])
    removed = storage.remove_empty_directories(["/store/a/b/c", "/store/a/b", "/store/d", "/store", "/", "/store/none"])
    assert removed == 3
    assert sorted(p.name for p in pocket.path("T2_A", "/store").iterdir()) == ["a"]
    assert pocket.path("T2_A", "/store/a/f1").exists()


def test_kept_directory_stays(pocket: PocketGrid, storage: WebDavStorage) -> None:
    storage.delete(list(FILES))
    storage.remove_empty_directories(["/store/a/b/c", "/store/d"], keep={"/store/a/b"})
    assert pocket.path("T2_A", "/store/a/b").is_dir()
    assert not pocket.path("T2_A", "/store/a/b/c").exists()
    assert not pocket.path("T2_A", "/store/d").exists()
    assert pocket.path("T2_A", "/store").is_dir()


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        (200, Seen.DELETED),
        (202, Seen.DELETED),
        (204, Seen.DELETED),
        (404, Seen.NOT_FOUND),
        (410, Seen.NOT_FOUND),
        (207, Seen.REFUSED),
        (302, Seen.REFUSED),
        (400, Seen.REFUSED),
        (401, Seen.UNAVAILABLE),
        (403, Seen.REFUSED),
        (405, Seen.REFUSED),
        (409, Seen.REFUSED),
        (423, Seen.UNAVAILABLE),
        (429, Seen.UNAVAILABLE),
        (500, Seen.UNAVAILABLE),
        (501, Seen.REFUSED),
        (503, Seen.UNAVAILABLE),
        (507, Seen.UNAVAILABLE),
    ],
)
def test_what_a_status_says_of_a_delete(status: int, seen: Seen) -> None:
    outcome = deletion_outcome("/store/f", status, "Why", " because\n of ")
    assert outcome.observation == seen
    assert outcome.reason == ("" if seen in (Seen.DELETED, Seen.NOT_FOUND) else f"{status} Why because of")


def multistatus(*paths: str) -> bytes:
    rows = "".join(f"<response><href>{path}</href></response>" for path in paths)
    return f'<?xml version="1.0"?><multistatus xmlns="DAV:">{rows}</multistatus>'.encode()


def test_multistatus_leaves_out_the_directory_itself_however_it_is_written() -> None:
    for own in ("/dav/x", "/dav/x/", "https://h/dav/x/", "/dav/%78/"):
        assert [e.name for e in parse_multistatus(multistatus(own, "/dav/x/f%201"), "/dav/x/")] == ["f 1"]


@pytest.mark.parametrize(
    ("own", "names", "found"),
    [
        ("/x", ["/x/", "/x/a b", "/x/f%20y"], ["a b", "f%20y"]),
        ("/x", ["/x/", "/x/50%", "/x/f%20y"], ["50%", "f%20y"]),
        (
            "/x",
            ["/x/", "/x/\N{LATIN SMALL LETTER E WITH ACUTE}", "/x/f%20y"],
            ["\N{LATIN SMALL LETTER E WITH ACUTE}", "f%20y"],
        ),
        ("/x/f%20y", ["/x/f%20y/", "/x/f%20y/g%20"], ["g%20"]),
        ("/x", ["/x/", "/x/f%20y"], ["f y"]),
        ("/x y", ["/x%20y/", "/x%20y/f%2520"], ["f%20"]),
        ("/x", ["/x/", "\n  /x/f%20y \n  "], ["f%20y "]),
        ("/x", ["/x/", '/x/a"b', "/x/f%20y"], ['a"b', "f y"]),
    ],
    ids=[
        "blank",
        "lone percent",
        "not ASCII",
        "own name as it is",
        "encoded",
        "all encoded",
        "blank at the end, indented",
        "not all encoded",
    ],
)
def test_names_that_a_server_does_not_encode_are_told_by_the_document(
    own: str, names: list[str], found: list[str]
) -> None:
    document = multistatus(*names)
    assert [entry.name for entry in parse_multistatus(document, own)] == found
    assert is_literal(document, own) is ("%20" in "".join(found) and "%2520" not in "".join(names))


@pytest.mark.parametrize(("is_literal_there", "names"), [(True, ["f%41", "f%2541"]), (False, ["fA", "f%41"])])
def test_where_names_may_be_either_the_server_is_asked_for_the_longest(
    is_literal_there: bool, names: list[str]
) -> None:
    asked = []

    def is_there(path: str) -> bool:
        asked.append(path)
        return is_literal_there

    document = multistatus("/x/", "/x/f%41", "/x/f%2541")
    assert [entry.name for entry in parse_multistatus(document, "/x", is_there)] == names
    assert asked == ["/x/f%2541"]
    parse_multistatus(multistatus("/x/", "/x/f", "/x/g"), "/x", is_there)
    assert len(asked) == 1


def test_one_entry_of_depth_zero() -> None:
    kind = "<propstat><prop><resourcetype><collection/></resourcetype></prop></propstat>"
    document = multistatus("/x/d%20e/").replace(b"</href>", f"</href>{kind}".encode())
    found = parse_one(document, "/x/d e")
    assert found is not None
    assert (found.name, found.is_directory) == ("d e", True)
    assert parse_one(multistatus(), "/x") is None


@pytest.mark.parametrize("answered", ["/x/f", "/x/a/f", "https://h/x/fA", "/x/f%2541g"])
def test_an_answer_about_another_file_says_nothing_of_this(answered: str) -> None:
    """From a server that decodes names twice, or cuts them off."""
    with pytest.raises(PermanentRemoteError, match="the storage answered about"):
        parse_one(multistatus(answered), "/x/f%41")
    for own in ("/x/f%41", "/x/f%2541", "https://h/x/f%2541"):
        assert parse_one(multistatus(own), "/x/f%41") is not None


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (multistatus("/other/x/f"), PermanentRemoteError),
        (multistatus("/dav/x/../secret"), PermanentRemoteError),
        (multistatus("/dav/x/f")[:-20], RetryableRemoteError),
        (b"<html/>", RetryableRemoteError),
        (multistatus("/dav/x/&f;").replace(b"?>", b'?><!DOCTYPE d [<!ENTITY f "ffff">]>'), PermanentRemoteError),
        (multistatus("/dav/x/f").replace(b"?>", b'?><!DOCTYPE d SYSTEM "file:///etc/passwd">'), PermanentRemoteError),
    ],
    ids=["path rewritten by a proxy", "traversal", "cut short", "no multistatus", "entities", "document type"],
)
def test_odd_listing_is_refused(document: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_multistatus(document, "/dav/x/")


@pytest.mark.parametrize(
    ("text", "moment"),
    [("Sun, 22 Nov 2026 04:00:00 GMT", datetime(2026, 11, 22, 4, tzinfo=UTC)), ("yesterday", None), (None, None)],
)
def test_http_date(text: str | None, moment: datetime | None) -> None:
    assert http_date(text) == moment


def test_rate_limit_spaces_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 100.0, sleep=slept.append)
    monkeypatch.setattr("dynamo_ops.storage.rate.time", clock)
    limit = RateLimit(10)
    for _ in range(4):
        limit.wait()
    assert slept == pytest.approx([0.1, 0.2, 0.3])
