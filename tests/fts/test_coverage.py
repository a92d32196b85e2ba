"""Each of the 177 recorded exchanges: our client reads its answer as it must, or never makes that call, and why.

What the client does with answers in sequence is in ``test_fts_contract``; here every single file is asserted on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.fts.client import FILE_FIELDS, JobStatus
from dynamo_ops.fts.watch import summarise
from dynamo_ops.transfer.observations import read_observations
from tests.fts.recorded import FOLDER, answer, client, load

pytestmark = pytest.mark.contract

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
NO_FILE = "SOURCE [2] Failed to stat file (No such file or directory)"
EXISTS = "DESTINATION [17] Destination file exists and overwrite is not enabled"
COPY_FAILED = "TRANSFER [112] TRANSFER ERROR: Copy failed (3rd pull). Last attempt: copy HTTP 400 : Server Error "
WRONG_SUM = "SOURCE [5] Source and user-defined adler32 checksum do not match (aa09779b != 00000001)"
UNREACHABLE = "DESTINATION [112] Result Could not connect to server after 1 attempts"
NOT_ON_TAPE = (
    "STAGING [2] [gfal_xrootd_bring_online_poll_list] File does not exist: /store/t77.root (reason: no such file)"
)
CANCELLED = "Job canceled by the user"
NO_JOB = "No job with the id"

# -- who we are, and what we left with FTS -------------------------------------------------------------------------

WHOAMI = ("02", "102", "103", "107", "110", "118")
STRANGERS = {"03": "it sees 'anon'", "05": "Unsupported authentication method"}
EXPIRES_AT = {
    "06": None,
    "11": "2026-11-22T14:39:37",
    "104": "2026-11-22T14:41:33",
    "108": "2026-11-22T14:42:45",
    "111": "2026-11-22T14:42:45",
    "119": "2026-11-22T14:42:45",
}
FOREIGN_DELEGATION = {"12": "do not match"}
CERTIFICATE_REQUESTS = ("08", "105")
CREDENTIALS_TAKEN = ("10", "106")
CREDENTIALS_REFUSED = {"09": "Malformed proxy"}

# -- submit --------------------------------------------------------------------------------------------------------

SUBMITTED = (
    *("13", "14", "15", "17", "18", "19", "20", "23", "37", "109", "112", "201", "211", "214", "217", "221", "224"),
    *("227", "230", "233", "241", "251", "261", "266", "271", "272", "277", "281", "284", "287", "301", "302", "321"),
)
REFUSED = {
    "16": "Multiple replica jobs must only have one unique file",
    "21": "Deletion jobs are no longer supported",
    "22": "Deletion jobs are no longer supported",
    "25": "Need sid for deterministic job id generation",
    "26": "No transfers operations specified",
    "28": "Missing parameter: 'destinations'",
    "29": "Missing scheme (/a/b)",
    "30": "Can not transfer local files",
    "31": "Incompatible overwrite flags",
    "32": "'overwrite-hop' requires multihop job submission",
    "33": "'overwrite-when-only-on-disk' requires 'archive-timeout' to be set",
    "34": "Job Submission Refused",
    "35": "invalid literal for int()",
    "36": "bogus algorithm is not supported",
    "38": "Badly formatted JSON request",
    "39": "Expecting application/json",
    "120": "Deletion jobs are no longer supported",
}
WITHOUT_CREDENTIAL = {"07": "No delegation found"}
SID_TAKEN = {"24": "sid"}

# -- jobs: the state of each entry, 404 where FTS does not know it -------------------------------------------------

JOBS: Mapping[str, tuple[str | int, ...]] = {
    "40": ("SUBMITTED",),
    "41": ("SUBMITTED",),
    "42": ("SUBMITTED", "SUBMITTED"),
    "43": ("SUBMITTED", 404),
    "44": (404,),
    "73": ("CANCELED",),
    "113": ("SUBMITTED",),
    "116": ("SUBMITTED", "STAGING"),
    "123": (404,),
    "202": ("FINISHED",),
    "212": ("FAILED",),
    "215": ("FINISHEDDIRTY",),
    "218": ("FAILED",),
    "222": ("FAILED",),
    "225": ("FINISHED",),
    "228": ("FINISHED",),
    "231": ("FINISHED",),
    "235": ("CANCELED",),
    "242": ("FAILED",),
    "252": ("FAILED",),
    "262": ("FINISHED",),
    "267": ("FINISHED",),
    "273": ("STAGING",),
    "275": ("STAGING",),
    "278": ("FAILED",),
    "282": ("FAILED",),
    "285": ("FINISHED",),
    "288": ("ACTIVE",),
    "290": ("CANCELED",),
    "291": ("CANCELED",),
    "303": ("FINISHED",),
    "305": ("FINISHED",),
    "311": ("STAGING",),
    "312": ("STAGING",),
    "322": ("FINISHED",),
}
ENDED = frozenset({"FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED"})

# -- files: what is observed of each file index: (observation, bytes, recoverable, reason) -------------------------

Seen = tuple[str, int | None, bool | None, str | None]
QUEUED: Seen = ("queued", None, None, None)
STAGING: Seen = ("staging", None, None, None)
FILES: Mapping[str, list[Seen]] = {
    "45": [QUEUED] * 3,
    "46": [QUEUED],  # two sources of one file, the second not tried yet
    "47": [QUEUED],  # two hops of one file
    "48": [STAGING] * 2,
    "114": [QUEUED],
    "203": [("finished", 200000, None, None), ("finished", 201000, None, None)],
    "213": [("failed", 200000, True, EXISTS)],
    "216": [("failed", 0, False, NO_FILE), ("finished", 202000, None, None)],
    "219": [("failed", 0, False, NO_FILE)],
    "223": [("failed", 203000, False, WRONG_SUM)],
    "226": [("finished", 203000, None, None)],  # the size we told it was 1: we compare, FTS does not
    "229": [("finished", 200000, None, None)],  # the first source failed, the second gave it
    "232": [("finished", 204000, None, None), ("finished", 204000, None, None)],
    "236": [("cancelled", None, True, CANCELLED)] * 12,
    "243": [("failed", 200000, True, COPY_FAILED), ("failed", 201000, True, COPY_FAILED)],
    "253": [("failed", 205000, True, UNREACHABLE)],
    "263": [("finished", 200000, None, None), ("finished", 201000, None, None)],
    "268": [("finished", 200000, None, None), ("finished", 201000, None, None)],
    "274": [STAGING],
    "276": [STAGING],
    "279": [("failed", None, False, NOT_ON_TAPE)],  # FTS leaves "recoverable" null for failures of staging
    "283": [("failed", 200000, True, EXISTS)],
    "286": [("finished", 1, None, None)],
    "304": [("finished", None, None, None)],  # staged only: nothing was copied
    "306": [("finished", 15, None, None)],
    "323": [("finished", 200000, None, None), ("finished", 201000, None, None)],
}
# Files that came inside a job's answer, asked for with ``files=``: how many of each observation.
FILES_INSIDE: Mapping[str, dict[str, int]] = {
    "41": {"queued": 3},
    "42": {"queued": 4},
    "73": {"cancelled": 1},
    "116": {"queued": 1, "staging": 1},
    "288": {"running": 20, "queued": 40},
    "290": {"cancelled": 60},
    "291": {"cancelled": 60},
    "311": {"staging": 1},
    "312": {"staging": 1},
}
NO_FILES = {"49": NO_JOB}

# -- cancel, archive, and what any call can be answered ------------------------------------------------------------

CANCELS: Mapping[str, tuple[int, ...]] = {
    "67": (200,),
    "68": (304,),
    "69": (200, 200, 200),
    "70": (304, 404, 200),
    "71": (404,),
    "121": (200,),
    "122": (200,),
    "234": (200,),
    "289": (200,),
}
NOT_IN_THE_ARCHIVE = {"75": "in the archive"}
ANSWERS_TO_ANYTHING: Mapping[str, tuple[type[RemoteError], str]] = {
    "04": (CredentialError, "Not enough permissions"),
    "62": (RetryableRemoteError, "encountered an internal error"),
    "82": (PermanentRemoteError, "not found on the server"),
    "83": (PermanentRemoteError, "not allowed for the requested URL"),
}

# -- calls that Dynamo never makes ---------------------------------------------------------------------------------

_LISTS = "jobs are asked for by the ids that we stored before we submitted them, never listed"
_FILE_LISTS = "files are asked for with their job"
_PARTS = "the job's answer holds this"
_RETRIES = "attempts inside FTS are FTS's own affair; ours are in our own tables"
_ADMIN = "for the administrators of FTS"
NEVER_CALLED: Mapping[str, str] = {
    "01": "the welcome page",
    "101": "the welcome page",
    "50": _PARTS,
    "51": _PARTS,
    "52": _PARTS,
    "115": _PARTS,
    "53": _RETRIES,
    "220": _RETRIES,
    "254": _RETRIES,
    "54": _LISTS,
    "55": _LISTS,
    "56": _LISTS,
    "57": _LISTS,
    "58": _LISTS,
    "59": _LISTS,
    "117": _LISTS,
    "60": _FILE_LISTS,
    "61": _FILE_LISTS,
    "63": "priorities are set at the submit",
    "74": "priorities are set at the submit",
    "64": "whole jobs are cancelled",
    "65": "whole jobs are cancelled",
    "66": "whole jobs are cancelled",
    "72": _ADMIN,
    "76": _ADMIN,
    "77": _ADMIN,
    "79": _ADMIN,
    "80": _ADMIN,
    "81": "FTS's own schema is older than its code (FTS_CONTRACT §3)",
}
COVERED: tuple[Any, ...] = (
    *(WHOAMI, STRANGERS, EXPIRES_AT, FOREIGN_DELEGATION, CERTIFICATE_REQUESTS, CREDENTIALS_TAKEN, CREDENTIALS_REFUSED),
    *(SUBMITTED, REFUSED, WITHOUT_CREDENTIAL, SID_TAKEN, JOBS, FILES, NO_FILES, CANCELS, NOT_IN_THE_ARCHIVE),
    ANSWERS_TO_ANYTHING,
)


def job(sid: str = "0aeca80c-487d-4451-ae5d-e591326eaac9") -> dict[str, Any]:
    return {"files": [{"sources": ["davs://a/f"], "destinations": ["davs://b/f"]}], "params": {"sid": sid}}


def ids_of(number: str) -> list[str]:
    return urlsplit(load(number)["request"]["path"].replace("//", "/")).path.split("/")[2].split(",")


def same_call(number: str, method: str, path: str) -> bool:
    """Whether the recorded request was the one that our client made. Some clients of the field write ``//jobs``."""
    recorded = load(number)["request"]
    return (recorded["method"], urlsplit(recorded["path"].replace("//", "/")).path) == (method, path)


def test_all_recordings_are_accounted_for(capsys: pytest.CaptureFixture[str]) -> None:
    covered = [number for group in COVERED for number in group]
    numbers = {path.name.split("_")[0] for path in FOLDER.glob("*.json")}
    with capsys.disabled():
        print(f"\nthe client: {len(covered)} of {len(numbers)} recorded exchanges covered; never called:")
        for reason, count in Counter(NEVER_CALLED.values()).items():
            print(f"  {count:3} {reason}: {', '.join(n for n, why in NEVER_CALLED.items() if why == reason)}")
    assert max(Counter([*covered, *NEVER_CALLED]).values()) == 1
    assert {*covered, *NEVER_CALLED} == numbers
    assert len(numbers) == 177


@pytest.mark.parametrize("number", WHOAMI)
def test_whoami(number: str) -> None:
    fts, replay = client(number)
    identity = fts.whoami()
    assert (identity.user_dn, identity.vo, identity.delegation_id, identity.method) == (
        "/DC=test/O=Spike/CN=Alice Operator",
        "cms",
        "c3a622c34b769920",
        "certificate",
    )
    assert identity.base_id == "01874efb-4735-4595-bc9c-591aef8240c9"
    assert same_call(number, str(replay.requests[0].method), "/whoami")


@pytest.mark.parametrize(("number", "words"), STRANGERS.items())
def test_strangers(number: str, words: str) -> None:
    with pytest.raises(CredentialError, match=words):
        client(number)[0].whoami()


@pytest.mark.parametrize(("number", "expires_at"), EXPIRES_AT.items())
def test_delegation(number: str, expires_at: str | None) -> None:
    fts, replay = client("02", number)
    expected = datetime.fromisoformat(expires_at).replace(tzinfo=UTC) if expires_at else None
    assert fts.delegation_expires_at() == expected
    assert same_call(number, "GET", urlsplit(str(replay.requests[1].url)).path)


@pytest.mark.parametrize(("number", "words"), FOREIGN_DELEGATION.items())
def test_foreign_delegation(number: str, words: str) -> None:
    with pytest.raises(CredentialError, match=words):
        client("02", number)[0].delegation_expires_at()


@pytest.mark.parametrize("request_number", CERTIFICATE_REQUESTS)
@pytest.mark.parametrize("number", CREDENTIALS_TAKEN)
def test_delegate(monkeypatch: pytest.MonkeyPatch, request_number: str, number: str) -> None:
    signed: list[str] = []
    monkeypatch.setattr("dynamo_ops.fts.delegation.sign_proxy", lambda csr, *_: signed.append(csr) or "a proxy")
    fts, replay = client("02", request_number, number)
    fts.delegate()
    assert signed == [load(request_number)["response"]["body"]]
    assert same_call(request_number, "GET", urlsplit(str(replay.requests[1].url)).path)
    assert same_call(number, "PUT", urlsplit(str(replay.requests[2].url)).path)
    assert replay.requests[2].body == b"a proxy"


@pytest.mark.parametrize(("number", "words"), CREDENTIALS_REFUSED.items())
def test_refused_credential(monkeypatch: pytest.MonkeyPatch, number: str, words: str) -> None:
    monkeypatch.setattr("dynamo_ops.fts.delegation.sign_proxy", lambda *_: "no proxy")
    with pytest.raises(PermanentRemoteError, match=words):
        client("02", "08", number)[0].delegate()


@pytest.mark.parametrize("number", SUBMITTED)
def test_submitted(number: str) -> None:
    fts, replay = client(number)
    submitted = fts.submit(job())
    assert (submitted.job_id, submitted.was_found) == (load(number)["response"]["body"]["job_id"], False)
    assert [request.method for request in replay.requests] == ["POST"]
    assert same_call(number, load(number)["request"]["method"], "/jobs")


@pytest.mark.parametrize(("number", "words"), REFUSED.items())
def test_refused(number: str, words: str) -> None:
    fts, replay = client(number)
    with pytest.raises(PermanentRemoteError, match=re.escape(words)) as raised:
        fts.submit(job())
    assert not isinstance(raised.value, CredentialError)
    assert raised.value.facts["status"] == load(number)["response"]["status"]
    assert len(replay.requests) == 1


@pytest.mark.parametrize(("number", "words"), WITHOUT_CREDENTIAL.items())
def test_submit_without_credential(monkeypatch: pytest.MonkeyPatch, number: str, words: str) -> None:
    monkeypatch.setattr("dynamo_ops.fts.delegation.sign_proxy", lambda *_: "a proxy")
    with pytest.raises(CredentialError, match=words):
        client(number, "02", "08", "10", number)[0].submit(job())


@pytest.mark.parametrize(("number", "words"), SID_TAKEN.items())
def test_sid_is_taken(number: str, words: str) -> None:
    """By a job that FTS does not show us: an error, since there is nothing to wait for."""
    with pytest.raises(PermanentRemoteError, match=words):
        client(number, "02", "44", "75")[0].submit(job())


@pytest.mark.parametrize(("number", "states"), JOBS.items())
def test_jobs(number: str, states: tuple[str | int, ...]) -> None:
    ids = ids_of(number)
    fts, replay = client(number, *["75"] * states.count(404))
    statuses = fts.job_statuses(ids)
    assert list(statuses) == ids
    assert [s.state if s.is_known else s.http_status for s in statuses.values()] == list(states)
    assert [s.is_ended for s in statuses.values()] == [state in ENDED for state in states]
    assert [summarise(s)["is_ended"] for s in statuses.values()] == [state in (*ENDED, 404) for state in states]
    assert all(NO_JOB in s.text for s in statuses.values() if not s.is_known)
    assert same_call(number, "GET", urlsplit(str(replay.requests[0].url)).path)


@pytest.mark.parametrize(("number", "expected"), FILES.items())
def test_files(number: str, expected: list[Seen]) -> None:
    fts, replay = client(number)
    job_id = ids_of(number)[0]
    files = [file | {"file_metadata": {"transfer_id": file["file_index"]}} for file in fts.files(job_id)]
    assert set(FILE_FIELDS) <= files[0].keys()
    frame = read_observations([JobStatus(job_id, 200, state="ACTIVE", files=files)], NOW).sort("transfer_id")
    assert frame.select("observation", "size_bytes", "is_recoverable", "reason").rows() == expected
    ended = [seen in ("finished", "failed", "cancelled") for seen, *_ in expected]
    assert [at is not None for at in frame["finished_at"]] == ended
    assert same_call(number, "GET", urlsplit(str(replay.requests[0].url)).path)


@pytest.mark.parametrize(("number", "expected"), FILES_INSIDE.items())
def test_files_inside_a_job(number: str, expected: dict[str, int]) -> None:
    exchange = load(number)
    body = exchange["response"]["body"]
    jobs = [
        entry | {"files": [f | {"file_metadata": {"transfer_id": n}} for n, f in enumerate(entry.get("files") or [])]}
        for entry in (body if isinstance(body, list) else [body])
    ]
    fts, _ = client(answer(exchange["response"]["status"], jobs if isinstance(body, list) else jobs[0]))
    seen = read_observations(fts.job_statuses(ids_of(number)).values(), NOW)["observation"]
    assert Counter(seen) == expected


@pytest.mark.parametrize(("number", "words"), NO_FILES.items())
def test_files_of_no_job(number: str, words: str) -> None:
    with pytest.raises(PermanentRemoteError, match=words):
        client(number)[0].files(ids_of(number)[0])


@pytest.mark.parametrize(("number", "expected"), CANCELS.items())
def test_cancel(number: str, expected: tuple[int, ...]) -> None:
    fts, replay = client(number)
    answers = fts.cancel(ids_of(number))
    assert [entry.http_status for entry in answers.values()] == list(expected)
    assert all(NO_JOB in entry.text for entry in answers.values() if entry.http_status == 404)
    assert same_call(number, "DELETE", urlsplit(str(replay.requests[0].url)).path)


@pytest.mark.parametrize(("number", "words"), NOT_IN_THE_ARCHIVE.items())
def test_not_in_the_archive(number: str, words: str) -> None:
    job_id = ids_of(number)[0]
    fts, replay = client("44", number)
    status = fts.job_statuses([job_id])[job_id]
    assert status.http_status == 404
    assert words in status.text
    assert same_call(number, "GET", urlsplit(str(replay.requests[1].url)).path)


@pytest.mark.parametrize(("number", "expected"), ANSWERS_TO_ANYTHING.items())
def test_errors_of_any_call(number: str, expected: tuple[type[RemoteError], str]) -> None:
    kind, words = expected
    for ask in ("whoami", "files", "cancel", "submit"):
        fts, _ = client(number, "02", "44", "75")
        calls = {
            "whoami": fts.whoami,
            "files": lambda fts=fts: fts.files("x"),
            "cancel": lambda fts=fts: fts.cancel(["x", "y"]),
            "submit": lambda fts=fts: fts.submit(job()),
        }
        if ask == "cancel" and load(number)["response"]["status"] == 404:
            continue  # there a 404 is an answer
        with pytest.raises(kind, match=words):
            calls[ask]()
