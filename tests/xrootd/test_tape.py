"""The emulated tape gives the answers that gfal2 demands; what the plugin before it makes of long ones."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from XRootD import client
from XRootD.client.flags import PrepareFlags, QueryCode

from simgrid.fts.copier.prepared import judge_staging
from tests.xrootd.servers import XrootdServer, write_tape

REQUEST, OTHER = "7f000001:5eed9481.6b0258f1:3", "7f000001:5eed9481.6b0258f1:4"
NAMES = [f"/store/{'long' * 20}/{n}.root" for n in range(200)]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Any]:
    """The tape's script, with 200 files that are on tape only, and stay there for long. Gives what queries say."""
    root = tmp_path / "data"
    for path in (root / name.lstrip("/") for name in NAMES):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0)
    (tmp_path / "tape").mkdir()
    script = write_tape(tmp_path, root, 1_000)

    def run(verb: str, request: str, names: list[str]) -> Any:
        answer = subprocess.run([script, "-p", "0", "--", request, verb, *names], capture_output=True, check=True)
        assert not answer.stderr
        return json.loads(answer.stdout) if verb == "query" else None

    return run


def asked_for(document: Any) -> list[str]:
    """Whom the request that was looked at still asks for."""
    return [entry["path"] for entry in document["responses"] if entry["has_reqid"]]


@pytest.mark.parametrize("num_files", [33, 200])
def test_many_files_are_told_of_as_gfal2_wants_it(ask: Callable[..., Any], num_files: int) -> None:
    ask("stage", REQUEST, NAMES)
    document = ask("query", REQUEST, NAMES[:num_files])
    assert document["request_id"] == REQUEST
    assert [entry["path"] for entry in document["responses"]] == NAMES[:num_files]
    assert {judgement.errno for judgement in judge_staging(json.dumps(document), REQUEST, NAMES[:num_files])} == {11}
    assert {entry["req_time"].isdigit() for entry in document["responses"]} == {True}


def test_a_request_asks_for_its_own_files_until_they_are_cancelled(ask: Callable[..., Any]) -> None:
    ask("stage", REQUEST, [*NAMES[:3], "/store/none"])
    ask("stage", OTHER, NAMES[2:4])
    ask("cancel", REQUEST, ["/store/none", NAMES[0]])
    document = ask("query", REQUEST, [*NAMES[:5], "/store/none"])
    assert asked_for(document) == NAMES[1:3]
    assert [entry["requested"] for entry in document["responses"]] == [False, True, True, True, False, False]
    assert [bool(entry["req_time"]) for entry in document["responses"]] == [False, True, True, False, False, False]
    assert [entry["path_exists"] for entry in document["responses"]] == [True] * 5 + [False]
    assert asked_for(ask("query", OTHER, NAMES[:5])) == NAMES[2:4]
    assert asked_for(ask("query", "b9a7e4d2-no-request", NAMES[:5])) == []


def test_the_plugin_keeps_long_answers_to_itself(servers: dict[str, XrootdServer]) -> None:
    """XRootD 5.5 tells 2 kB at most, later ones more only if they are configured for it: gfal2 fails all 33."""
    server = servers["T1_TAPE"]
    names = NAMES[:33]
    server.put_all(dict.fromkeys(names, b"tape"))
    tape = client.FileSystem(f"root://{server.host}:{server.port}")
    _, answer = tape.prepare(names, PrepareFlags.STAGE)
    request = bytes(answer).decode().strip("\0 \n")
    for num_files, errno, words in ((4, 11, "is not yet online"), (33, 42, "Response from server is an invalid JSON")):
        _, answer = tape.query(QueryCode.PREPARE, "\n".join([request, *names[:num_files]]))
        text = bytes(answer).partition(b"\0")[0].decode()
        judgements = judge_staging(text, request, names[:num_files])
        assert {(judgement.errno, words in judgement.text) for judgement in judgements} == {(errno, True)}
