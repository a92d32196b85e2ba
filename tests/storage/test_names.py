"""One name, one file: whatever a file is called, what is done to it is done to no other, or it is refused.

Each name has neighbours: what a server, a client or a header would make of it that cuts off, strips or decodes.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest

from dynamo_ops.base.errors import InventoryError, PermanentRemoteError
from dynamo_ops.inventory.lfn import upload_lfn
from dynamo_ops.inventory.states import DeletionObservation as Seen
from dynamo_ops.storage.protocol import Storage
from tests.storage.backends import Backend
from tests.storage.test_conformance import listed, send

pytestmark = pytest.mark.usefixtures("no_pauses")

NAMES = [
    *("f?versionId=1", "f?x", "f#x", "f;v=1", "f&x=1", "f,x", "f|x", "f:x", "f=x", "f@x"),
    *("f%3Fx", "f%2Fx", "f%20", "f%00", "f%", "f%41", "f%2541", "%2e%2e", "f+x"),
    *("f ", " f", "f\N{NO-BREAK SPACE}", "f\N{LINE SEPARATOR}x", "f\N{NEXT LINE}x"),
    *("[f]", "{f}", "f^", "f`", 'f"x', "f'x", "f<x>", "f*", "~f", "$f", "$(f)", "..f", "..."),
    *("e\N{COMBINING ACUTE ACCENT}", "\N{LATIN SMALL LETTER E WITH ACUTE}", "F", ".f.dynamo-part"),
]


def neighbours(name: str) -> set[str]:
    """What is not ``name``, and could be taken for it."""
    ways = {name.strip(), unquote(name), unquote(unquote(name)), quote(name), name.replace("+", " "), name.casefold()}
    ways |= {name.partition(mark)[0] for mark in "?#;&,|:=@%"}
    return {way for way in ways if way and way not in (name, ".", "..") and not set(way) & set("/\0")}


def exists_as(storage: Storage, lfn: str, content: bytes) -> bool:
    """Whether the file is there for whoever asks by its name, whole and with this content."""
    about = storage.stat(lfn)
    return about is not None and about.size_bytes == len(content) and b"".join(storage.read(lfn)) == content


def test_what_is_done_to_one_file_is_done_to_no_other(backend: Backend) -> None:
    storage = backend.storage
    # Each name in a directory of its own, so that no neighbour of another shows how a server writes names.
    files = {
        f"/store/{number}/{neighbour}": f"neighbour {neighbour}".encode()
        for number, name in enumerate(NAMES)
        for neighbour in {*neighbours(name), "other"}
    }
    for lfn, content in files.items():
        backend.put(lfn, content)
    written = {}
    for number, name in enumerate(NAMES):
        lfn, content = f"/store/{number}/{name}", f"content of {name}, and of no other".encode()
        try:
            send(storage, lfn, content)
        except (InventoryError, PermanentRemoteError):
            assert storage.delete([lfn])[0].observation == Seen.REFUSED
            assert "?" in name, f"{name} is refused over {backend.protocol}"
            continue
        written[lfn] = content
    assert backend.files() == files | written
    assert [lfn for lfn, content in written.items() if not exists_as(storage, lfn, content)] == []
    assert listed(storage) == {lfn: len(content) for lfn, content in (files | written).items()}
    outcomes = storage.delete(list(written))
    assert {outcome.observation for outcome in outcomes} == {Seen.DELETED}
    assert backend.files() == files
    assert {outcome.observation for outcome in storage.delete(list(written))} == {Seen.NOT_FOUND}
    assert backend.files() == files


@pytest.mark.parametrize("name", ["f%41", "f%20", "%25", "50%25"])
def test_an_escape_alone_in_a_directory_is_no_other_name(backend: Backend, name: str) -> None:
    backend.put(f"/store/a/{name}", b"odd")
    assert listed(backend.storage) == {f"/store/a/{name}": 3}


def test_a_file_called_as_uploads_were_is_not_touched_by_one(backend: Backend) -> None:
    backend.put("/store/.f.dynamo-part", b"precious")
    storage = backend.storage
    upload = storage.upload("/store/f", 3)
    upload.write(b"ne")
    upload.close()
    storage.delete([upload_lfn("/store/f")])
    send(storage, "/store/f", b"new")
    assert backend.files() == {"/store/.f.dynamo-part": b"precious", "/store/f": b"new"}
