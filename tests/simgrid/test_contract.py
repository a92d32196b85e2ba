"""Every recorded exchange with a real FTS 3 that can be replayed, replayed in sequence against the grid's FTS.

Three acts, as they were recorded: the REST service alone (nothing is scheduled), the field's own client, and whole
transfers. The copies ran over root:// and dav:// too; here all run over davs://, so those URLs are translated.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simgrid.grid import Grid
from simgrid.scenario import parse_scenario
from tests.patience import wait_until
from tests.simgrid.client import FtsClient, session, signed_proxy
from tests.simgrid.contract import Translation, differences, exchanges, send

pytestmark = pytest.mark.contract
EXCHANGES = exchanges()
NOT_REPLAYED: dict[int, str] = {}
REST = [n for n in EXCHANGES if n < 100]
CLIENT = [n for n in EXCHANGES if 100 < n < 200]
# 311 and 312 asked again, minutes later, for the jobs of 271 and 272
TRANSFERS = sorted((n for n in EXCHANGES if n > 200), key=lambda n: {311: 276.1, 312: 276.2}.get(n, n))
# Fields that a busy moment decides: which of sixty files are READY and which ACTIVE; which of three jobs submitted
# within one second counts as the newest but two.
UNDECIDED = {288: r"\.file_state:", 55: r"body\[2\]"}
_DN = "/DC=test/O=Spike/CN=Alice Operator"
_SITES = [{"name": "A"}, {"name": "B"}, {"name": "Tape", "storage_type": "mss", "staging_delay": "0 s"}]
_COPIES = {"time_scale": 0.05, "user_dn": _DN, "fts": {"vo": "cms", "workers": 20, "per_link": 20}, "sites": _SITES}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    scenario = parse_scenario({**_COPIES, "faults": {"fts": {"paused": True}}})
    with Grid(scenario, tmp_path_factory.mktemp("contract")) as grid:
        yield grid


class Replay:
    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.client = FtsClient(grid.endpoints)
        self.anonymous = session(grid.endpoints, anonymous=True)
        self.translation = Translation()
        self.csr = b""

    def play(self, number: int) -> list[str]:
        """Send one recorded request; how the answer differs."""
        exchange = EXCHANGES[number]
        request = exchange["request"]
        is_anonymous = exchange["name"] in ("whoami_no_credentials", "jobs_no_credentials", "whoami_bad_bearer")
        body = self.proxy() if "(base64)" in str(request["body"]) else None
        http = self.anonymous if is_anonymous else self.client.http
        answer = send(exchange, self.client.url, http, self.translation, body)
        if request["path"].endswith("/request"):
            self.csr = answer.content
        found = differences(exchange["response"], answer, self.translation)
        undecided = re.compile(UNDECIDED.get(number, "(?!)"))
        return [f"{number} {exchange['name']}: {line}" for line in found if not undecided.search(line)]

    def proxy(self) -> bytes:
        ends = self.grid.endpoints
        return signed_proxy(self.csr, Path(ends["user_cert"]), Path(ends["user_key"]))


def test_the_rest_service_answers_as_recorded(stage: Grid) -> None:
    replay = Replay(stage)
    assert [line for number in REST for line in replay.play(number)] == []


def test_the_fields_own_client_is_answered_as_recorded(tmp_path: Path) -> None:
    scenario = parse_scenario({**_COPIES, "faults": {"fts": {"paused": True}}})
    with Grid(scenario, tmp_path) as grid:
        replay = Replay(grid)
        replay.client.delegate()
        earlier = EXCHANGES[109]["request"]["body"]  # the recording had one job from an earlier, unrecorded call
        replay.client.submit(earlier["files"], **earlier["params"])
        replay.csr = replay.client.http.get(f"{replay.client.url}/delegation/c3a622c34b769920/request").content
        assert [line for number in CLIENT for line in replay.play(number)] == []


class Transfers:
    """The third act: plants the files the recording had, and waits where the recording waited."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.replay = Replay(grid)
        self.replay.client.delegate()
        self._sums = {f"f{n}": self._plant("A", f"/store/src/f{n}.bin", 200000 + 1000 * n) for n in range(60)}
        for n in (3, 4, 5, 6):
            self._plant("Tape", f"/store/t{n}.root", 15)

    def act(self, number: int) -> list[str]:
        self._translate(number)
        self._prepare(number)
        self._await(number)
        return self.replay.play(number)

    def _plant(self, site: str, lfn: str, size: int) -> str:
        path = Path(f"{self.grid.endpoints['sites'][site]['root']}{lfn}")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = (lfn.encode() * (size // len(lfn) + 1))[:size]
        path.write_bytes(content)
        return f"{zlib.adler32(content):08x}"

    def _translate(self, number: int) -> None:
        """Recorded hosts to sites. The recorded tape was the same host as the first disk: here it is a site."""
        words = self.replay.translation
        words.patterns.clear()
        first = "Tape" if number in range(271, 280) or number in range(301, 313) else "A"
        for host, site in (("localhost", first), (r"127\.0\.0\.1", "B")):
            prefix = self.grid.endpoints["sites"][site]["prefix"]
            words.pattern(rf"(root|davs?)://{host}:18499/", f"{prefix.rpartition(':')[0]}:1/")
            words.pattern(rf"(root|davs?)://{host}:\d+/+", f"{prefix}/")
            words.pattern(rf"(root|davs?)://{host}\"", f'{prefix.rpartition(":")[0]}"')
        words.pattern(r"\?activity=default", "")
        words.pattern(
            r"\[gfal_xrootd_bring_online_poll_list\] File does not exist: /store/t77.root "
            r"\(reason: no such file\)",
            "[Tape REST API] File does not exist: no such file: /dav/store/t77.root",
        )
        for recorded, name in (("bed20d9d", "f0"), ("a1f7391a", "f1"), ("599eb412", "f2"), ("aa09779b", "f3")):
            words.learn(recorded, self._sums[name])

    def _prepare(self, number: int) -> None:
        """What made the recorded outcome come about."""
        grid = self.grid
        if number == 233:  # cancelled before anything started
            grid.fault(fts={"paused": True})
        if number in (235, 291):
            grid.fault(fts={"paused": False})
        if number == 241:  # the recorded storages could not copy from each other yet
            grid.fault(fts={"fail_fraction": 1.0})
        if number == 251:
            grid.fault(fts={"fail_fraction": 0.0})
        if number in (261, 266):
            grid.heal()
        if number == 271:  # the recorded tape took minutes
            grid.fault(sites={"Tape": {"tape_stuck": True}})
        if number == 277:
            self._await_started(*self._ours(271, 272))
        if number == 281:
            grid.fault(sites={"Tape": {"tape_stuck": False}})
        if number == 287:
            grid.fault(fts={"hang_active": 20})

    def _ours(self, *submissions: int) -> list[str]:
        return [self.replay.translation.words[EXCHANGES[n]["response"]["body"]["job_id"]] for n in submissions]

    def _await(self, number: int) -> None:
        """Let the job come as far as it was when the recorded question was asked."""
        exchange = EXCHANGES[number]
        job_id = exchange["request"]["path"].split("/")[2:3]
        body = exchange["response"]["body"]
        if exchange["request"]["method"] != "GET" or not job_id:
            return
        ours = self.replay.translation.text(job_id[0].split("?")[0])
        if number == 288:
            self._until(lambda: sum(f["file_state"] == "ACTIVE" for f in self.replay.client.files(ours)) == 20)
        if number == 291:
            self._until(lambda: all(f["finish_time"] for f in self.replay.client.files(ours)))
        job = body if isinstance(body, dict) else {}
        states = {file.get("file_state") for file in body} if isinstance(body, list) else set()
        if job.get("job_finished") or states & {"FINISHED", "FAILED"}:
            self.replay.client.wait(ours)
        elif job.get("job_state") == "STAGING" or "STARTED" in states:
            self._await_started(ours)

    def _await_started(self, *job_ids: str) -> None:
        files = self.replay.client.files
        self._until(lambda: all(file["file_state"] == "STARTED" for job_id in job_ids for file in files(job_id)))

    def _until(self, holds: Callable[[], bool]) -> None:
        wait_until(holds)


def test_transfers_run_as_recorded(tmp_path: Path) -> None:
    with Grid(parse_scenario(_COPIES), tmp_path) as grid:
        transfers = Transfers(grid)
        found = [line for number in TRANSFERS for line in transfers.act(number)]
        assert found == []


def test_all_recordings_are_accounted_for(capsys: pytest.CaptureFixture[str]) -> None:
    replayed = {*REST, *CLIENT, *TRANSFERS} - NOT_REPLAYED.keys()
    with capsys.disabled():
        print(f"\n{len(replayed)} of {len(EXCHANGES)} recorded exchanges replayed", *NOT_REPLAYED.items(), sep="\n")
    assert len(EXCHANGES) == 177
    assert replayed | NOT_REPLAYED.keys() == EXCHANGES.keys()
