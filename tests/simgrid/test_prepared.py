"""A tape's answers over root:// are read as strictly as gfal2 reads them: what it would refuse fails the file here."""

from __future__ import annotations

import json
from errno import ENOENT, ENOMSG
from typing import Any

import pytest

from simgrid.fts.copier import xroot
from simgrid.fts.copier.outcome import StorageError
from simgrid.fts.copier.xroot import RootTape

REQUEST = "7f000001:5eed9481.6b0258f1:3"
PATH = "/store/a.root"
URL = f"root://tape.invalid:1094/{PATH}"
ASKED = {
    "path": PATH,
    "path_exists": True,
    "on_tape": True,
    "online": False,
    "requested": True,
    "has_reqid": True,
    "req_time": "1685643952",
    "error_text": "",
}
POLL = "[gfal_xrootd_bring_online_poll_list] "


class Status:
    ok = True


class Server:
    """Answers queries with this text and what XRootD leaves behind it, and keeps them."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.queries: list[list[str]] = []

    def query(self, _: object, asked: str, timeout: int) -> tuple[Status, bytes]:
        request, *paths = asked.split("\n")
        self.queries.append(paths)
        answer = self.answer(request, paths) if callable(self.answer) else self.answer
        return Status(), answer.encode() + b'\0xx"}]}'


@pytest.fixture
def tape_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(answer: Any) -> tuple[RootTape, Server]:
        server, at = Server(answer), xroot._at
        monkeypatch.setattr(xroot, "_at", lambda url: (server, at(url)[1]))
        return RootTape(URL), server

    return make


def document(*entries: Any, request: str = REQUEST) -> str:
    return json.dumps({"request_id": request, "responses": entries})


def without(*names: str) -> str:
    return document({name: value for name, value in ASKED.items() if name not in names})


def but(**changes: Any) -> str:
    return document(ASKED | changes)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (but(), "STARTED"),
        (but(online=True), "COMPLETED"),
        (but(online="TRUE", requested=False, has_reqid=False, req_time=""), "COMPLETED"),  # gfal2 asks no more of it
        (but(path="//store//a.root"), "STARTED"),
        (document(ASKED | {"exists": True, "path_exists": None}), "STARTED"),  # as CTA said once
        (but() + "trailing", "STARTED"),
    ],
)
def test_what_gfal2_takes(tape_of: Any, answer: str, state: str) -> None:
    tape, _ = tape_of(answer)
    progress = tape.progress(REQUEST, [URL])
    assert progress == {f"/{PATH}": {"state": state, "onDisk": state == "COMPLETED"}}


@pytest.mark.parametrize(
    ("answer", "errno", "text"),
    [
        (without("requested"), ENOMSG, f"File is not being brought online: {PATH} (reason: )"),
        (but(requested=1), ENOMSG, f"File is not being brought online: {PATH} (reason: )"),
        (
            without("has_reqid"),
            ENOMSG,
            f"File ({PATH}) is not included in the bring online request: {REQUEST} (reason: )",
        ),
        (without("req_time"), ENOMSG, "Bring-online timestamp missing. (reason: )"),
        (but(req_time=""), ENOMSG, "Bring-online timestamp missing. (reason: )"),
        (but(req_time=None), ENOMSG, "Bring-online timestamp missing. (reason: )"),
        (without("error_text"), ENOMSG, "Error attribute missing."),
        (document("no object"), ENOMSG, "Error attribute missing."),
        (document(None), ENOMSG, f"Failed to parse responses JSON from server: {document(None)}"),
        (but(error_text="drive is down"), ENOMSG, "drive is down"),
        (but(path="/store/b.root"), ENOMSG, "Wrong path: /store/b.root (reason: )"),
        (
            but(path_exists=False, error_text="no such file"),
            ENOENT,
            f"File does not exist: {PATH} (reason: no such file)",
        ),
        (document(ASKED, request="another"), ENOMSG, "Request ID mismatch."),
        (document(), ENOMSG, "Number of files in the request does not match!"),
        (document(ASKED, ASKED), ENOMSG, "Number of files in the request does not match!"),
        (json.dumps({"request_id": REQUEST}), ENOMSG, "Number of files in the request does not match!"),
        ("No information available.", ENOMSG, "Response from server is an invalid JSON: No information available."),
        (but()[:-9], ENOMSG, f"Response from server is an invalid JSON: {but()[:-9]}"),
        ("", ENOMSG, "Response from server is an invalid JSON: "),
    ],
)
def test_what_gfal2_does_not_take(tape_of: Any, answer: str, errno: int, text: str) -> None:
    tape, _ = tape_of(answer)
    state = {"state": "FAILED", "onDisk": False, "errno": errno, "error": POLL + text}
    assert tape.progress(REQUEST, [URL]) == {f"/{PATH}": state}


def test_files_are_judged_by_their_place_in_the_answer(tape_of: Any) -> None:
    """As gfal2 does: its errors are by number."""
    tape, _ = tape_of(document(ASKED | {"path": "/store/b.root", "requested": False}, ASKED))
    states = tape.progress(REQUEST, [URL, URL.replace("a.root", "b.root")])
    assert [state["state"] for state in states.values()] == ["FAILED", "STARTED"]


@pytest.mark.parametrize(("length", "num_queries"), [(10, 4), (700, 17), (3_000, 33)])
def test_what_is_asked_at_once_has_an_answer_that_the_plugin_holds(tape_of: Any, length: int, num_queries: int) -> None:
    paths = [f"/store/{n:0{length}}" for n in range(33)]

    def answer(request: str, asked: list[str]) -> str:
        gone = ASKED | {"path_exists": False, "online": False, "error_text": "no such file"}
        text = json.dumps({"request_id": request, "responses": [gone | {"path": path} for path in asked]})
        assert len(asked) == 1 or len(text) <= 2_008
        return text

    tape, server = tape_of(answer)
    states = tape.progress(REQUEST, [f"root://tape.invalid:1094/{path}?activity=x" for path in [*paths, paths[0]]])
    assert list(states) == [f"/{path}" for path in paths]
    assert [path for asked in server.queries for path in asked] == paths
    assert len(server.queries) == num_queries


def test_archiving_ends_with_what_is_on_tape(tape_of: Any) -> None:
    def answer(**changes: Any) -> Any:
        return lambda request, _: document(ASKED | changes, request=request)

    assert tape_of(answer(online=True))[0].locality(URL) == "TAPE"
    assert tape_of(answer(online=True, on_tape=False))[0].locality(URL) == "DISK"
    for changes, errno in (({"path_exists": False}, ENOENT), ({"on_tape": False, "error_text": "full"}, ENOMSG)):
        with pytest.raises(StorageError, match="gfal_xrootd_archive_poll_list") as refusal:
            tape_of(answer(**changes))[0].locality(URL)
        assert refusal.value.errno == errno
