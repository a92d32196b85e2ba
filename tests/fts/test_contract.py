"""The client against recorded exchanges with a real FTS 3: what it sends, and how it reads every answer it uses."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import requests

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RetryableRemoteError
from dynamo_ops.base.settings import FtsSettings
from dynamo_ops.fts import watch
from dynamo_ops.fts.client import ARCHIVE_GETS_AT_A_TIME, JobStatus
from dynamo_ops.fts.errors import message_of
from dynamo_ops.fts.identity import predict_job_id
from dynamo_ops.fts.job import FileCopy, JobSettings, VerifyChecksum, choose_sid, staging_job, transfer_job
from dynamo_ops.fts.watch import summarise
from dynamo_ops.transfer.observations import read_observations
from tests.fts.recorded import FOLDER, answer, client, load

pytestmark = pytest.mark.contract

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
JOB = "f5d140b0-e61d-11f1-868e-02fc00000001"
MISSING = "00000000-0000-0000-0000-000000000001"


def job(sid: str = "0aeca80c-487d-4451-ae5d-e591326eaac9", **params: Any) -> dict[str, Any]:
    return {"files": [{"sources": ["davs://a/f"], "destinations": ["davs://b/f"]}], "params": {"sid": sid} | params}


def copy(number: int = 1, **values: Any) -> FileCopy:
    plain: dict[str, Any] = {
        "sources": ("davs://se1.invalid/f",),
        "destination": "davs://se2.invalid/f",
        "size_bytes": 10,
        "adler32": "0a1b2c3d",
    }
    return FileCopy(transfer_id=number, subscription_id=100 + number, **(plain | values))


# -- who we are ----------------------------------------------------------------------------------------------------


def test_whoami() -> None:
    fts, _ = client("02")
    identity = fts.whoami()
    assert (identity.vo, identity.delegation_id, identity.method) == ("cms", "c3a622c34b769920", "certificate")
    assert fts.whoami() is identity  # asked once


@pytest.mark.parametrize("number", ["03", "04", "05"], ids=["anon with 200", "403", "HTML 400 for a bad token"])
def test_stranger(number: str) -> None:
    fts, _ = client(number)
    with pytest.raises(CredentialError):
        fts.whoami()


def test_job_id_is_predicted() -> None:
    exchange = load("23")
    identity = load("02")["response"]["body"]
    sid = exchange["request"]["body"]["params"]["sid"]
    assert str(predict_job_id(identity["base_id"], "cms", sid)) == exchange["response"]["body"]["job_id"]


# -- delegation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("none", [load("06"), answer(200, None)], ids=["empty list", "null"])
def test_no_delegation(none: dict[str, Any]) -> None:
    fts, _ = client("02", none)
    assert fts.delegation_expires_at() is None


def test_delegation_expiry_is_utc() -> None:
    fts, replay = client("02", "11")
    assert fts.delegation_expires_at() == datetime(2026, 11, 22, 14, 39, 37, tzinfo=UTC)
    assert urlsplit(str(replay.requests[1].url)).path == load("11")["request"]["path"]


@pytest.mark.parametrize(
    ("hours_left", "renewed"),
    [(11, False), (4.1, False), (3.9, True), (0.5, True), (-1, True)],
    ids=["fresh", "over a third", "under a third", "under FTS's hour", "expired"],
)
def test_delegation_is_renewed_under_a_third(monkeypatch: pytest.MonkeyPatch, hours_left: float, renewed: bool) -> None:
    fts, _ = client("02", "11")
    monkeypatch.setattr(fts, "delegate", lambda: None)
    now = datetime(2026, 11, 22, 14, 39, 37, tzinfo=UTC) - timedelta(hours=hours_left)
    assert fts.ensure_delegation(now) is renewed


def test_foreign_delegation_is_a_credential_error() -> None:
    fts, _ = client("02", "12")
    with pytest.raises(CredentialError, match="do not match"):
        fts.delegation_expires_at()


def test_delegate_sends_what_the_recorded_client_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo_ops.fts.delegation.sign_proxy", lambda *_: load("10")["request"]["body"])
    fts, replay = client("02", "08", "10")
    fts.delegate()
    assert [(r.method, urlsplit(str(r.url)).path) for r in replay.requests[1:]] == [
        (load(n)["request"]["method"], load(n)["request"]["path"]) for n in ("08", "10")
    ]


def test_malformed_proxy_is_permanent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo_ops.fts.delegation.sign_proxy", lambda *_: "not a pem")
    fts, _ = client("02", "08", "09")
    with pytest.raises(PermanentRemoteError, match="Malformed proxy"):
        fts.delegate()


# -- submit --------------------------------------------------------------------------------------------------------


def test_submit() -> None:
    fts, replay = client("23")
    submitted = fts.submit(job())
    assert (submitted.job_id, submitted.was_found) == (load("23")["response"]["body"]["job_id"], False)
    request, recorded = replay.requests[-1], load("23")["request"]
    assert (request.method, urlsplit(str(request.url)).path) == (recorded["method"], recorded["path"])
    assert request.headers["Content-Type"] == recorded["headers"]["Content-Type"]


def test_repeated_sid_is_looked_up() -> None:
    fts, replay = client(
        "24",
        "02",
        answer(
            200, {"job_id": load("23")["response"]["body"]["job_id"], "job_state": "SUBMITTED", "http_status": "200 Ok"}
        ),
    )
    assert fts.submit(job()).was_found
    assert replay.requests[-1].method == "GET"


def test_found_job_of_another_inventory_is_refused() -> None:
    found = {
        "job_id": "d411810a-a13c-5ba0-8799-2244978cc35c",
        "http_status": "200 Ok",
        "job_metadata": {"batch_id": 4, "auth_method": "certificate"},
    }
    fts, _ = client("24", "02", answer(200, found))
    with pytest.raises(PermanentRemoteError, match="other metadata"):
        fts.submit(job(job_metadata={"batch_id": 3}))


@pytest.mark.parametrize(
    "fate",
    [
        requests.ReadTimeout("slow"),
        requests.ConnectionError("reset"),
        answer(503, "<h1>Service Unavailable</h1>", "text/html"),
        answer(500, {"status": "500 Internal Server Error", "message": "pool"}),
        answer(200, "cut", "text/html"),
    ],
    ids=["time-out", "connection lost", "503 as HTML", "500", "200 without JSON"],
)
@pytest.mark.parametrize("arrived", [True, False], ids=["had arrived", "had not"])
def test_lost_answer_is_looked_up_and_never_sent_again(fate: Any, arrived: bool) -> None:
    there = answer(
        200, {"job_id": "d411810a-a13c-5ba0-8799-2244978cc35c", "job_state": "ACTIVE", "http_status": "200 Ok"}
    )
    fts, replay = client(fate, "02", *([there] if arrived else ["44", "75"]))
    if arrived:
        assert fts.submit(job()).was_found
    else:
        with pytest.raises(RetryableRemoteError):
            fts.submit(job())
    assert [r.method for r in replay.requests].count("POST") == 1


def test_submit_without_delegation_delegates_and_sends_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo_ops.fts.delegation.sign_proxy", lambda *_: "a proxy")
    fts, replay = client("07", "02", "08", "10", "13")
    assert fts.submit(job()).job_id == JOB
    assert [r.method for r in replay.requests] == ["POST", "GET", "GET", "PUT", "POST"]


def test_delegation_that_does_not_help_is_a_credential_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo_ops.fts.delegation.sign_proxy", lambda *_: "a proxy")
    fts, _ = client("07", "02", "08", "10", "07")
    with pytest.raises(CredentialError, match="No delegation found"):
        fts.submit(job())


def test_known_id_spares_the_question_who_we_are() -> None:
    there = answer(200, {"job_id": JOB, "job_state": "ACTIVE", "http_status": "200 Ok"})
    fts, replay = client("24", there)
    assert fts.submit(job(), JOB).job_id == JOB
    assert str(replay.requests[-1].url).endswith(f"/jobs/{JOB}")


@pytest.mark.parametrize(
    "number", ["26", "28", "29", "30", "31", "32", "33", "34", "35", "36", "38", "39", "21", "22", "25"]
)
def test_refused_document_is_permanent_with_its_text(number: str) -> None:
    exchange = load(number)
    assert exchange["response"]["status"] >= 400
    fts, _ = client(exchange)
    with pytest.raises(PermanentRemoteError) as raised:
        fts.submit(job())
    assert not isinstance(raised.value, CredentialError)
    body = exchange["response"]["body"]
    assert (body["message"] if isinstance(body, dict) else "")[:900] in raised.value.message
    assert raised.value.facts["status"] == exchange["response"]["status"]


# -- job documents -------------------------------------------------------------------------------------------------

ACCEPTED_PARAMS = {
    name
    for path in FOLDER.glob("*.json")
    for exchange in [json.loads(path.read_text())]
    if exchange["response"]["status"] == 200 and isinstance(exchange["request"]["body"], dict)
    for name in exchange["request"]["body"].get("params") or {}
}
ACCEPTED_KEYS = {
    name
    for path in FOLDER.glob("*.json")
    for exchange in [json.loads(path.read_text())]
    if exchange["response"]["status"] == 200 and isinstance(exchange["request"]["body"], dict)
    for file in exchange["request"]["body"].get("files") or []
    for name in file
}


@pytest.mark.parametrize("make", [transfer_job, staging_job], ids=["transfer", "staging"])
def test_job_uses_only_what_a_real_fts_accepted(make: Any) -> None:
    document = make([copy(1), copy(2)], "sid", JobSettings(), batch_id=7)
    assert set(document["params"]) <= ACCEPTED_PARAMS
    assert {name for file in document["files"] for name in file} <= ACCEPTED_KEYS
    assert ("bring_online" in document["params"]) == (make is staging_job)
    assert document["params"]["id_generator"] == "deterministic"


@pytest.mark.parametrize("make", [transfer_job, staging_job], ids=["from disk", "from tape"])
def test_a_job_to_tape_is_like_the_recorded_ones_and_overwrites_nothing(make: Any) -> None:
    document = make([copy()], "sid", JobSettings(FtsSettings(archive_timeout_s=600), to_tape=True))
    recorded = load("281")["request"]["body"]["params"]
    assert {name: document["params"][name] for name in recorded} == recorded
    assert recorded["overwrite"] is False
    assert set(document["params"]) <= ACCEPTED_PARAMS
    at_once = make([copy()], "sid", JobSettings(to_tape=True, on_arrival=True))
    assert set(document["params"]) - set(at_once["params"]) == {"archive_timeout"}


def test_without_a_comparison_no_checksum_is_given() -> None:
    """FTS would compare it with the destination's (FTS_CONTRACT §3)."""
    for mode in VerifyChecksum:
        document = transfer_job([copy()], "sid", JobSettings(verify_checksum=mode))
        assert document["params"]["verify_checksum"] == mode
        assert ("checksum" in document["files"][0]) == (mode != VerifyChecksum.NONE)


def test_multi_source_is_like_the_recorded_one() -> None:
    document = transfer_job([copy(sources=("davs://a.invalid/f", "davs://b.invalid/f"))], "sid", JobSettings())
    recorded = load("15")["request"]["body"]["files"][0]
    (file,) = document["files"]
    assert file["selection_strategy"] == recorded["selection_strategy"]
    assert len(file["sources"]) == len(recorded["sources"])
    with pytest.raises(PermanentRemoteError, match="one file only"):
        transfer_job([copy(1), copy(2, sources=("davs://a/f", "davs://b/f"))], "sid", JobSettings())
    assert load("16")["response"]["status"] == 400


def test_metadata_stays_under_the_limits() -> None:
    document = transfer_job([copy(2**62)], "s" * 64, JobSettings(to_tape=True), batch_id=2**62)
    assert len(json.dumps(document["params"]["job_metadata"])) < 2048
    assert len(json.dumps(document["files"][0]["metadata"])) < 4096


def test_sid_is_of_files_and_attempts_whatever_their_order() -> None:
    sid = choose_sid([(1, 1), (2, 1)], salt="x")
    assert sid == choose_sid([(2, 1), (1, 1)], salt="x")
    assert (
        len(
            {
                sid,
                choose_sid([(1, 1), (2, 2)], salt="x"),
                choose_sid([(1, 1)], salt="x"),
                choose_sid([(1, 1), (2, 1)], salt="y"),
                choose_sid([(11, 1), (2, 1)], salt="x"),
            }
        )
        == 5
    )


# -- status --------------------------------------------------------------------------------------------------------


def test_one_id_gives_an_object() -> None:
    fts, replay = client("41")
    wanted = "f5e3c848-e61d-11f1-868e-02fc00000001"
    status = fts.job_statuses([wanted], fields=["file_state", "reason"])[wanted]
    assert (status.state, status.is_ended, len(status.files)) == ("SUBMITTED", False, 3)
    assert parse_qs(urlsplit(str(replay.requests[0].url)).query) == {"files": ["file_state,reason"]}


def test_many_ids_give_an_array() -> None:
    exchange = load("42")
    ids = [entry["job_id"] for entry in exchange["response"]["body"]]
    fts, replay = client(exchange)
    assert list(fts.job_statuses(ids)) == ids
    assert urlsplit(str(replay.requests[0].url)).path == urlsplit(exchange["request"]["path"]).path


def test_207_is_read_entry_by_entry() -> None:
    fts, _ = client("43", "75")
    statuses = fts.job_statuses([JOB, MISSING])
    assert (statuses[JOB].is_known, statuses[MISSING].http_status) == (True, 404)
    assert "archive" in statuses[MISSING].text


def test_404_is_looked_up_in_the_archive() -> None:
    archived = load("40")["response"]["body"] | {"job_state": "FINISHED", "files": []}
    archived.pop("http_status", None)
    fts, replay = client("44", answer(200, archived | {"job_id": MISSING}))
    assert fts.job_statuses([MISSING])[MISSING].state == "FINISHED"
    assert str(replay.requests[1].url).endswith(f"/archive/{MISSING}")


def test_find_job_that_is_nowhere() -> None:
    fts, _ = client("44", "75")
    assert fts.find_job(MISSING) is None


def test_at_most_200_ids_a_get() -> None:
    def entries(ids: list[str]) -> dict[str, Any]:
        return answer(200, [{"job_id": one, "job_state": "ACTIVE", "http_status": "200 Ok"} for one in ids])

    ids = [f"{n:036d}" for n in range(250)]
    fts, replay = client(entries(ids[:200]), entries(ids[200:]))
    assert len(fts.job_statuses(ids)) == 250
    assert all(len(str(r.url)) < 8190 for r in replay.requests)


class Gone(requests.adapters.BaseAdapter):
    """An FTS that knows no job, live or archived; it keeps count of the calls, and of those at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.most = self._now = 0
        self._lock = threading.Lock()

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        path = urlsplit(str(request.url)).path
        with self._lock:
            self.asked[path] += 1
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.002)
        with self._lock:
            self._now -= 1
        response = requests.Response()
        ids = path.split("/")[-1].split(",")
        missing = [{"job_id": one, "http_status": "404 Not Found", "http_message": "No job"} for one in ids]
        response.status_code = 207 if len(ids) > 1 else 404
        response._content = json.dumps(missing if len(ids) > 1 else missing[0]).encode()
        response.url, response.request = str(request.url), request
        return response

    def close(self) -> None:
        """Nothing is open."""


def test_archive_is_asked_once_a_job_and_several_at_a_time() -> None:
    fts, gone = client()[0], Gone()
    fts._session.mount("https://", gone)
    ids = [f"{n:036d}" for n in range(300)]
    assert {status.http_status for status in fts.job_statuses(ids).values()} == {404}
    assert {path: count for path, count in gone.asked.items() if "/archive/" in path} == {
        f"/archive/{one}": 1 for one in ids
    }
    assert 1 < gone.most <= ARCHIVE_GETS_AT_A_TIME


def test_triggerer_asks_the_archive_several_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = most = 0

    async def answer_nothing(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        ids = request.url.path.split("/")[-1].split(",")
        if "/archive/" in request.url.path:
            return httpx.Response(404, json={"status": "404 Not Found", "message": "No job"})
        return httpx.Response(207, json=[{"job_id": one, "http_status": "404 Not Found"} for one in ids])

    transport = httpx.MockTransport(answer_nothing)
    monkeypatch.setattr(
        watch, "_client", lambda url, *_: httpx.AsyncClient(base_url=url, transport=transport, timeout=5)
    )
    ids = [f"{n:036d}" for n in range(300)]
    summaries = asyncio.run(watch.poll("https://fts.invalid", ca="", cert=None, key=None, job_ids=ids))
    assert watch.all_ended(summaries)
    assert len(summaries) == 300
    assert 1 < most <= watch.ARCHIVE_GETS_AT_A_TIME


def test_a_page_of_a_proxy_is_no_answer_to_the_triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, html="<h1>Back soon</h1>"))
    monkeypatch.setattr(watch, "_client", lambda url, *_: httpx.AsyncClient(base_url=url, transport=transport))
    with pytest.raises(RetryableRemoteError, match="answered no JSON: Back soon"):
        asyncio.run(watch.poll("https://fts.invalid", ca="", cert=None, key=None, job_ids=[MISSING]))


def test_files() -> None:
    fts, _ = client("45")
    assert [file["file_index"] for file in fts.files("x")] == [0, 1, 2]


def test_files_of_a_missing_job() -> None:
    fts, _ = client("49")
    with pytest.raises(PermanentRemoteError, match="No job with the id"):
        fts.files(MISSING)


# -- cancel --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "expected"),
    [("67", [200]), ("68", [304]), ("69", [200, 200, 200]), ("70", [304, 404, 200]), ("71", [404])],
    ids=["one", "ended before", "several", "mixed", "unknown"],
)
def test_cancel(number: str, expected: list[int]) -> None:
    exchange = load(number)
    ids = exchange["request"]["path"].removeprefix("/jobs/").split(",")
    fts, replay = client(exchange)
    answers = fts.cancel(ids)
    assert [entry.http_status for entry in answers.values()] == expected
    assert (replay.requests[0].method, urlsplit(str(replay.requests[0].url)).path) == (
        "DELETE",
        exchange["request"]["path"],
    )


# -- observations --------------------------------------------------------------------------------------------------


def observed(
    job_number: str, files_number: str, **metadata: Any
) -> list[tuple[str, int | None, bool | None, str | None]]:
    """Observations of a recorded job, as if each file index had been a transfer of ours, with this metadata."""
    files = [
        file | {"file_metadata": {"transfer_id": file["file_index"], **metadata}}
        for file in load(files_number)["response"]["body"]
    ]
    body = load(job_number)["response"]["body"] | {"files": files}
    fts, _ = client(answer(200, body))
    statuses = fts.job_statuses([body["job_id"]])
    frame = read_observations(statuses.values(), NOW).sort("transfer_id")
    return frame.select("observation", "size_bytes", "is_recoverable", "reason").rows()


def test_finished() -> None:
    assert observed("202", "203")[0] == ("finished", 200000, None, None)


def test_destination_exists() -> None:
    assert observed("212", "213") == [
        ("failed", 200000, True, "DESTINATION [17] Destination file exists and overwrite is not enabled")
    ]


EXISTING = {"file_size": 200000, "checksum_type": "ADLER32", "checksum_value": "bed20d9d", "file_on_disk": True}


@pytest.mark.parametrize(
    ("report", "seen"),
    [
        ({}, "occupied"),
        ({"dst_file": EXISTING | {"file_on_tape": False}}, "failed"),
        ({"dst_file": EXISTING | {"file_on_tape": True}}, "finished"),
    ],
    ids=["as recorded: nothing is told of it", "in the buffer", "on tape"],
)
def test_destination_exists_on_a_tape(report: dict[str, Any], seen: str) -> None:
    """The recorded storage told nothing of the file. The other reports are in the words of FTS_CONTRACT §3."""
    ((observation, size_bytes, _, reason),) = observed("282", "283", size_bytes=200000, adler32="bed20d9d", **report)
    assert (observation, size_bytes) == (seen, 200000)
    assert seen == "finished" or str(reason).startswith("DESTINATION [17] Destination file exists")


def test_whether_a_job_waits_for_tape_is_told_by_fts() -> None:
    timeouts = {}
    for number in ("282", "212"):
        fts, _ = client(number)
        (status,) = fts.job_statuses([load(number)["response"]["body"]["job_id"]]).values()
        timeouts[number] = status.archive_timeout
    assert timeouts == {"282": 600, "212": -1}


def test_good_and_bad_file() -> None:
    assert sorted(row[0] for row in observed("215", "216")) == ["failed", "finished"]


def test_recoverable_failure() -> None:
    ((state, _, recoverable, reason),) = observed("252", "253")
    assert (state, recoverable) == ("failed", True)
    assert reason


def test_wrong_size_is_reported_as_finished_with_the_real_size() -> None:
    assert observed("225", "226") == [("finished", 203000, None, None)]
    assert load("226")["response"]["body"][0]["user_filesize"] == 1


def test_multi_source_counts_once_and_as_its_best() -> None:
    assert observed("228", "229") == [("finished", 200000, None, None)]


SLOW = {"file_state": "FAILED", "recoverable": True, "reason": "TRANSFER [110] slow"}
GONE = {"file_state": "FAILED", "recoverable": False, "reason": "SOURCE [2] not there"}
UNUSED = {"file_state": "NOT_USED", "recoverable": None, "reason": None}


@pytest.mark.parametrize(
    ("job_state", "sources", "seen"),
    [
        ("FAILED", [SLOW, GONE], ("failed", True, "TRANSFER [110] slow; then SOURCE [2] not there")),
        ("FAILED", [GONE, SLOW], ("failed", True, "SOURCE [2] not there; then TRANSFER [110] slow")),
        ("FAILED", [GONE, GONE], ("failed", False, "SOURCE [2] not there; then SOURCE [2] not there")),
        ("CANCELED", [GONE, UNUSED], ("failed", True, "SOURCE [2] not there")),
        ("ACTIVE", [GONE, UNUSED], None),
    ],
    ids=["the first may serve again", "the second", "none", "one was not tried", "the next one's turn"],
)
def test_multi_source_fails_for_good_if_all_do(
    job_state: str, sources: list[dict[str, Any]], seen: tuple[Any, ...] | None
) -> None:
    files = [file | {"file_metadata": {"transfer_id": 7}} for file in sources]
    frame = read_observations([JobStatus(JOB, 200, state=job_state, files=files)], NOW)
    assert frame.select("observation", "is_recoverable", "reason").rows() == ([seen] if seen else [])


def test_staged_and_copied() -> None:
    assert observed("305", "306") == [("finished", 15, None, None)]


def test_what_fts_calls_irrecoverable_condemns_a_source_only_by_words_of_a_source() -> None:
    """All of these are irrecoverable to FTS (FTS_CONTRACT §12.3); only the first is about the source."""
    assert observed("222", "223")[0][2] is False
    recorded = [("212", "213"), ("282", "283")]
    assert [observed(*exchange)[0][2] for exchange in recorded] == [True, True]
    flags = {file["recoverable"] for _, files in recorded for file in load(files)["response"]["body"]}
    assert flags == {False}


def test_staging_failure_of_a_missing_file_is_permanent_though_fts_does_not_say() -> None:
    ((state, _, recoverable, reason),) = observed("278", "279")
    assert load("279")["response"]["body"][0]["recoverable"] is None
    assert (state, recoverable) == ("failed", False)
    assert str(reason).startswith("STAGING [2]")


@pytest.mark.parametrize(("number", "states"), [("290", {"running", "cancelled"}), ("291", {"running", "cancelled"})])
def test_cancelled_copy_runs_until_it_is_stamped(number: str, states: set[str]) -> None:
    body = load(number)["response"]["body"]
    files = [
        file | {"start_time": "2026-11-22T02:56:20" if file["pid"] else None, "file_metadata": {"transfer_id": n}}
        for n, file in enumerate(body["files"])
    ]
    fts, _ = client(answer(200, body | {"files": files}))
    frame = read_observations(fts.job_statuses([body["job_id"]]).values(), datetime(2026, 11, 22, 2, 57, tzinfo=UTC))
    stamped = {n for n, file in enumerate(files) if file["finish_time"]}
    seen = dict(frame.select("transfer_id", "observation").iter_rows())
    assert all(seen[n] == "cancelled" for n in stamped)
    assert set(seen.values()) <= states
    later = read_observations(
        client(answer(200, body | {"files": files}))[0].job_statuses([body["job_id"]]).values(), NOW
    )
    assert set(later["observation"]) == {"cancelled"}


def test_job_still_says_staging_while_its_file_waits_for_tape() -> None:
    fts, _ = client("311")
    (status,) = fts.job_statuses([load("311")["response"]["body"]["job_id"]]).values()
    summary = summarise(status)
    assert (summary["job_state"], summary["is_staging"], summary["is_ended"]) == ("STAGING", True, False)


@pytest.mark.parametrize(
    ("states", "is_archiving"),
    [
        (["ARCHIVING", "ARCHIVING"], True),
        (["ARCHIVING", "FINISHED", "FAILED", "NOT_USED"], True),
        (["ARCHIVING", "ACTIVE"], False),
        (["ARCHIVING", "STARTED"], False),
        (["FINISHED", "SUBMITTED"], False),
    ],
)
def test_only_tape_is_waited_for_when_all_files_have_arrived(states: list[str], is_archiving: bool) -> None:
    files = [{"file_state": state} for state in states]
    assert summarise(JobStatus("x", 200, "ACTIVE", files=files))["is_archiving"] == is_archiving
    assert not summarise(JobStatus("x", 200, "CANCELED", files=files))["is_archiving"]


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("04", "Not enough permissions"),
        ("05", "Unsupported authentication method"),
        ("44", "No job with the id"),
        ("24", "duplicated"),
        ("82", ""),
        ("83", ""),
    ],
    ids=["status/message", "HTML", "http_message", "409", "404 page", "405"],
)
def test_errors_keep_the_words_of_fts(number: str, words: str) -> None:
    fts, replay = client(number)
    response = fts._session.get("https://fts.invalid:8446/x")
    assert words in message_of(response)
    assert "<" not in message_of(response)
    assert replay.requests
