"""Copies to tape: never an overwrite; a copy once it is archived; and what is told of a file that is there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dynamo_ops.base.settings import FtsSettings, Settings
from dynamo_ops.fts import servers
from dynamo_ops.fts.client import JobStatus
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.fts.job import JobSettings
from dynamo_ops.inventory.states import TransferObservation as Seen
from dynamo_ops.query.status import under_way, why
from dynamo_ops.transfer import recovery, tasks
from dynamo_ops.transfer.batches import PlanRules, plan_batches
from dynamo_ops.transfer.observations import judge_existing, read_observations
from dynamo_ops.transfer.observe import apply, observe_and_apply
from dynamo_ops.transfer.source_choice import NO_ROUTE, NOT_ONTO_TAPE, DirectRule
from dynamo_ops.transfer.submission.limits import TransferLimits
from dynamo_ops.transfer.submission.submit import submit_batch
from tests.inventory.factory import SIZE, Inventory
from tests.patience import wait_until
from tests.transfer.test_submit import Fts
from tests.world import World

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ADLER = "0a1b2c3d"
LFN = "/store/b1/f0"
EXISTS = "DESTINATION [17] Destination file exists and overwrite is not enabled"
EVERYWHERE = (DirectRule(),)


# -- what FTS tells -----------------------------------------------------------------------------------------------


def existing(report: dict[str, Any] | None, adler32: str | None = ADLER) -> dict[str, Any]:
    """A row of FTS: the destination has a file by this name, of which this is told."""
    metadata = {"subscription_id": 1, "transfer_id": 7, "size_bytes": SIZE, "adler32": adler32}
    return {
        "file_state": "FAILED",
        "reason": EXISTS,
        "recoverable": False,
        "filesize": 3,
        "file_metadata": metadata | ({} if report is None else {"dst_file": report}),
    }


WHOLE = {
    "file_size": SIZE,
    "checksum_type": "ADLER32",
    "checksum_value": ADLER,
    "file_on_tape": True,
    "file_on_disk": False,
}
IN_BUFFER = WHOLE | {"file_on_tape": False, "file_on_disk": True}


@pytest.mark.parametrize(
    ("report", "archive_timeout", "seen", "words"),
    [
        pytest.param(WHOLE, 600, Seen.FINISHED, "", id="the copy, on tape"),
        pytest.param(WHOLE | {"checksum_value": "A1B2C3D"}, 600, Seen.FINISHED, "", id="checksum in other letters"),
        pytest.param(IN_BUFFER, 600, Seen.FAILED, "not on tape yet", id="the copy, in the buffer"),
        pytest.param(WHOLE | {"file_on_tape": "false"}, 600, Seen.FAILED, "not on tape yet", id="no plain yes"),
        pytest.param(IN_BUFFER, -1, Seen.FINISHED, "", id="the copy, where nobody waits for tape"),
        pytest.param(WHOLE | {"file_size": 5}, 600, Seen.OCCUPIED, "5 bytes.*on tape", id="another size, on tape"),
        pytest.param(IN_BUFFER | {"file_size": 5}, 600, Seen.OCCUPIED, "disk buffer", id="half a file in the buffer"),
        pytest.param(
            IN_BUFFER | {"file_size": 5}, -1, Seen.OCCUPIED, "5 bytes", id="half a file that counts on arrival"
        ),
        pytest.param(WHOLE | {"checksum_value": "1"}, 600, Seen.OCCUPIED, "00000001", id="another checksum"),
        pytest.param(WHOLE | {"checksum_value": ""}, 600, Seen.OCCUPIED, "unknown", id="no checksum"),
        pytest.param(WHOLE | {"checksum_type": "MD5"}, 600, Seen.OCCUPIED, "unknown", id="a checksum of another kind"),
        pytest.param({}, 600, Seen.OCCUPIED, "None bytes", id="an empty report"),
        pytest.param(None, 600, Seen.OCCUPIED, "does not tell", id="no report"),
    ],
)
def test_a_file_that_lies_there(report: dict[str, Any] | None, archive_timeout: int, seen: Seen, words: str) -> None:
    job = JobStatus("x", 200, "FAILED", archive_timeout=archive_timeout)
    judged, because = judge_existing(existing(report), job)
    assert judged == seen
    assert bool(because) == bool(words)
    frame = read_observations([replace(job, files=[existing(report)])], NOW)
    assert frame["observation"].item() == seen
    assert frame["is_recoverable"].item() == (None if seen == Seen.FINISHED else seen == Seen.FAILED)
    assert frame["size_bytes"].item() == (SIZE if seen == Seen.FINISHED else 3)
    assert seen == Seen.FINISHED or frame["reason"].str.contains(rf"(?s)^DESTINATION \[17\].*{words}").item()


def test_where_the_catalogue_knows_no_checksum_the_size_decides() -> None:
    job = JobStatus("x", 200, "FAILED", archive_timeout=600)
    assert judge_existing(existing(WHOLE, adler32=None), job)[0] == Seen.FINISHED
    assert judge_existing(existing(WHOLE | {"file_size": 5}, adler32=None), job)[0] == Seen.OCCUPIED


def test_on_disk_a_file_that_exists_is_a_failure_as_any() -> None:
    file = existing(WHOLE) | {"file_metadata": {"transfer_id": 7, "dst_file": WHOLE}}
    frame = read_observations([JobStatus("x", 200, "FAILED", files=[file])], NOW)
    assert frame.select("observation", "is_recoverable", "blame").rows() == [("failed", True, "destination")]


@pytest.mark.parametrize("recoverable", [False, None])
def test_the_source_is_not_to_blame_for_a_tape_that_is_slow(recoverable: bool | None) -> None:
    file = existing(None) | {
        "reason": "ARCHIVING [2] whatever",
        "recoverable": recoverable,
        "archive_start_time": "2026-11-22T01:00:00",
    }
    frame = read_observations([JobStatus("x", 200, "FAILED", files=[file])], NOW)
    assert frame.select("observation", "is_recoverable").rows() == [("failed", True)]


# -- what becomes of it -------------------------------------------------------------------------------------------


@pytest.fixture
def tape(inventory: Inventory) -> Inventory:
    """A file at T2_A that is to come to T1_MSS."""
    inventory.site("T2_A")
    inventory.site("T1_MSS", "mss")
    inventory.block("b1", 1)
    inventory.rows("UPDATE files SET adler32 = :a", a=ADLER)
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", [LFN], "T1_MSS")
    return inventory


@pytest.fixture
def sent(tape: Inventory, identity: FtsIdentity) -> Callable[..., None]:
    """Its job is at FTS, which says this of the file: a row, on top of that of a file that is being copied."""
    (batch,) = plan_batches(tape.db, identity).all
    assert submit_batch(tape.db, Fts(), batch).outcome == "submitted"  # type: ignore[arg-type]
    ((job_id, transfer_id),) = tape.rows("SELECT b.job_id, t.id FROM transfer_batches b JOIN transfers t ON true")

    def tell(state: str, job_state: str = "ACTIVE", **file: Any) -> None:
        metadata = {"transfer_id": transfer_id, "size_bytes": SIZE, "adler32": ADLER, **file.pop("metadata", {})}
        row = {"file_state": state, "file_metadata": metadata, "reason": "", "recoverable": None, "filesize": SIZE}
        status = JobStatus(str(job_id), 200, job_state, archive_timeout=600, files=[row | file])
        with tape.db.begin() as connection:
            apply(connection, [status], NOW)

    return tell


ARCHIVING = {"archive_start_time": "2026-11-22T01:02:03"}


def because(tape: Inventory) -> str:
    return why(tape.db, tape.scalar("SELECT max(id) FROM subscriptions")).because


def test_a_copy_that_is_not_on_tape_yet_is_none(tape: Inventory, sent: Callable[..., None]) -> None:
    sent("ACTIVE")
    sent("ARCHIVING", "ARCHIVING", **ARCHIVING)
    assert tape.replica_state("b1", "T1_MSS") is None
    assert tape.subscriptions() == {("copy", LFN, "T1_MSS"): "inbatch"}
    assert because(tape).startswith("copied from T2_A, not on tape yet (archiving since 2026-11-22T01:02Z), FTS job ")
    assert under_way(tape.db)["state"].to_list() == ["archiving"]
    before = tape.rows("SELECT * FROM transfers")
    sent("ARCHIVING", "ARCHIVING", archive_start_time="2026-11-22T05:00:00")
    assert tape.rows("SELECT * FROM transfers") == before
    sent("FINISHED", "FINISHED", **ARCHIVING)
    assert tape.replica_state("b1", "T1_MSS") == (True, SIZE, 0)
    assert tape.subscriptions() == {("copy", LFN, "T1_MSS"): "done"}


def test_what_does_not_get_onto_tape_in_time_has_failed(tape: Inventory, sent: Callable[..., None]) -> None:
    sent("ARCHIVING", "ARCHIVING", **ARCHIVING)
    sent("FAILED", "FAILED", reason="ARCHIVING [110] archive timeout has been exceeded", recoverable=False, **ARCHIVING)
    assert tape.replica_state("b1", "T1_MSS") is None
    assert tape.subscriptions() == {("copy", LFN, "T1_MSS"): "retry"}
    assert tape.rows("SELECT state, is_recoverable FROM transfers") == [("failed", True)]


@pytest.mark.parametrize(
    ("report", "state"),
    [(WHOLE, "done"), (IN_BUFFER, "retry"), (IN_BUFFER | {"file_size": 5}, "held/refused"), (None, "held/refused")],
    ids=["on tape", "not on tape yet", "half a file", "not told"],
)
def test_what_lies_there_decides(
    tape: Inventory, sent: Callable[..., None], report: dict[str, Any] | None, state: str
) -> None:
    sent("FAILED", "FAILED", reason=EXISTS, recoverable=False, metadata={"dst_file": report})
    assert tape.subscriptions() == {("copy", LFN, "T1_MSS"): state}
    assert (tape.replica_state("b1", "T1_MSS") is not None) == (state == "done")
    assert tape.rows("SELECT verified_by FROM transfers") == [("destination" if state == "done" else None,)]
    if state == "held/refused":
        assert because(tape).startswith(f"held: refused ({EXISTS}: ")


def test_a_file_in_the_way_holds_nothing_that_a_person_withdrew(tape: Inventory, sent: Callable[..., None]) -> None:
    tape.subscription("delete", [LFN], "T1_MSS")
    sent("FAILED", "FAILED", reason=EXISTS, recoverable=False)
    assert tape.subscriptions()["copy", LFN, "T1_MSS"] == "cancelled"


class Jobs:
    """FTS's ends of jobs: which were cancelled."""

    url = "https://fts.invalid"

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def cancel(self, job_ids: Any) -> dict[str, JobStatus]:
        self.cancelled.extend(job_ids)
        return {}


@pytest.mark.parametrize(("state", "num_cancelled"), [("ACTIVE", 1), ("ARCHIVING", 0)])
def test_a_job_that_nobody_wants_goes_on_once_the_buffer_has_its_file(
    tape: Inventory, sent: Callable[..., None], state: str, num_cancelled: int
) -> None:
    """Cancelled, it would leave a file on tape that nobody knows of."""
    sent(state, **ARCHIVING)
    tape.subscription("delete", [LFN], "T1_MSS")
    fts = Jobs()
    recovery.cancel_unwanted(tape.db, fts)  # type: ignore[arg-type]
    assert len(fts.cancelled) == num_cancelled
    if not num_cancelled:
        sent("FINISHED", "FINISHED", **ARCHIVING)
        assert tape.replica_state("b1", "T1_MSS") == (True, SIZE, 0)  # and the deletion finds it


@pytest.mark.parametrize(("hours", "num_cancelled"), [(30, 0), (50, 1)])
def test_a_job_to_tape_is_given_more_time(
    tape: Inventory, sent: Callable[..., None], hours: int, num_cancelled: int
) -> None:
    tape.rows("UPDATE transfer_batches SET submitted_at = now() - :h * interval '1 hour'", h=hours)
    fts, day = Jobs(), timedelta(hours=24)
    recovery.cancel_stuck(tape.db, fts, day, day, day)  # type: ignore[arg-type]
    assert len(fts.cancelled) == num_cancelled


# -- what FTS is asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("archived", "timeout"),
    [({}, 7200), ({"T1_*": "on_arrival"}, None), ({"*": "on_arrival", "T1_MSS": "on_tape"}, 7200)],
    ids=["waited for", "on arrival", "the last one that matches"],
)
def test_a_tape_is_asked_to_keep_what_it_has(
    tape: Inventory,
    identity: FtsIdentity,
    monkeypatch: pytest.MonkeyPatch,
    archived: dict[str, str],
    timeout: int | None,
) -> None:
    fts = Fts()
    monkeypatch.setattr(servers, "_open", lambda _, __: fts)
    settings = Settings(
        fts={"archive_timeout_s": 7200},
        transfers={"sites": {site: {"archived": word} for site, word in archived.items()}},
    )
    jobs = tasks.submit(tape.db, settings, plan_batches(tape.db, identity).all)
    ((_, kind),) = [(job, kind) for kind, ids in jobs.items() for job in ids]
    assert kind == ("archive" if timeout else "disk")
    (job,) = fts.jobs
    assert (job["params"]["overwrite"], job["params"]["dst_file_report"]) == (False, True)
    assert job["params"].get("archive_timeout") == timeout
    assert job["files"][0]["metadata"].keys() == {"subscription_id", "transfer_id", "size_bytes", "adler32"}


def test_a_disk_is_asked_as_ever(tape: Inventory, identity: FtsIdentity) -> None:
    tape.site("T2_B")
    tape.rows("UPDATE subscriptions SET site_id = :s", s=tape.site_ids["T2_B"])
    fts = Fts()
    settings = JobSettings(on_arrival_at=("*",))
    submit_batch(tape.db, fts, plan_batches(tape.db, identity).all[0], settings)  # type: ignore[arg-type]
    (job,) = fts.jobs
    assert job["params"]["overwrite"] is True
    assert {"archive_timeout", "dst_file_report"}.isdisjoint(job["params"])
    assert job["files"][0]["metadata"].keys() == {"subscription_id", "transfer_id"}


# -- copies of our own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has_fts", "on_arrival", "backend"),
    [(True, (), "fts"), (False, (), None), (True, ("T1_*",), "direct"), (False, ("T1_*",), "direct")],
    ids=["FTS takes it", "no FTS", "on arrival", "on arrival, no FTS"],
)
def test_dynamo_copies_onto_tape_itself_only_where_a_copy_counts_on_arrival(
    tape: Inventory, identity: FtsIdentity, has_fts: bool, on_arrival: tuple[str, ...], backend: str | None
) -> None:
    rules = PlanRules(direct=EVERYWHERE, direct_protocols=("davs",), on_arrival=on_arrival)
    plan_batches(tape.db, identity if has_fts else None, rules=rules)
    assert tape.rows("SELECT backend FROM transfer_batches") == ([(backend,)] if backend else [])
    if backend is None:
        assert tape.subscriptions() == {("copy", LFN, "T1_MSS"): "held/refused"}
        assert NOT_ONTO_TAPE in because(tape)


def test_a_tape_without_a_protocol_in_common_is_told_as_such(tape: Inventory, identity: FtsIdentity) -> None:
    tape.rows("UPDATE site_endpoints SET protocol = 'root' WHERE site_id = :s", s=tape.site_ids["T1_MSS"])
    plan_batches(tape.db, identity)
    assert NO_ROUTE in because(tape)


# -- whole ways ---------------------------------------------------------------------------------------------------


@pytest.fixture
def to_tape(world: World) -> World:
    """One file at T2_A that is to come to T1_TAPE."""
    world.inventory.subscription("copy", list(world.block("b1", "T2_A", num_files=1)), "T1_TAPE")
    return world


def until(world: World, holds: Callable[[], bool]) -> None:
    def holds_now() -> bool:
        observe_and_apply(world.inventory.db, world.client)
        return holds()

    wait_until(holds_now, lambda: world.inventory.rows("SELECT * FROM transfers"))


def attempt(world: World, archive_timeout_s: int = 86_400) -> None:
    """The next attempt, up to where nothing happens by itself any more."""
    world.inventory.rows("UPDATE subscriptions SET updated_at = now() - interval '1 day'")
    (batch,) = plan_batches(world.inventory.db, world.client.whoami(), TransferLimits()).all
    settings = JobSettings(FtsSettings(archive_timeout_s=archive_timeout_s))
    assert submit_batch(world.inventory.db, world.client, batch, settings).outcome == "submitted"


def state(world: World) -> str:
    (state,) = world.inventory.subscriptions().values()
    return state


def is_archiving(world: World) -> bool:
    return under_way(world.inventory.db)["state"].to_list() == ["archiving"]


def test_archived_then_there(to_tape: World) -> None:
    to_tape.pocket.grid.fault(sites={"T1_TAPE": {"archive_stuck": True}})
    attempt(to_tape)
    until(to_tape, lambda: is_archiving(to_tape))
    assert to_tape.pocket.path("T1_TAPE", LFN).exists()
    assert to_tape.inventory.replica_state("b1", "T1_TAPE") is None
    to_tape.pocket.grid.heal()
    until(to_tape, lambda: state(to_tape) == "done")
    assert to_tape.inventory.replica_state("b1", "T1_TAPE") is not None


def test_a_tape_that_is_late_is_asked_again_and_nothing_is_written_twice(to_tape: World) -> None:
    to_tape.pocket.grid.fault(sites={"T1_TAPE": {"archive_stuck": True}})
    attempt(to_tape, archive_timeout_s=1)
    until(to_tape, lambda: state(to_tape) == "retry")
    written = to_tape.pocket.path("T1_TAPE", LFN).stat()
    attempt(to_tape)
    until(to_tape, lambda: state(to_tape) == "retry")
    assert "not on tape yet" in to_tape.inventory.scalar("SELECT last_error FROM subscriptions")
    assert to_tape.inventory.replica_state("b1", "T1_TAPE") is None
    to_tape.pocket.grid.heal()
    attempt(to_tape)
    until(to_tape, lambda: state(to_tape) == "done")
    assert to_tape.pocket.path("T1_TAPE", LFN).stat() == written
    assert to_tape.inventory.rows("SELECT state FROM transfers ORDER BY id") == [("failed",), ("failed",), ("done",)]


def test_what_a_tape_has_by_the_name_is_kept(to_tape: World) -> None:
    to_tape.pocket.put("T1_TAPE", LFN, b"something else")
    attempt(to_tape)
    until(to_tape, lambda: state(to_tape) == "held/refused")
    assert to_tape.pocket.path("T1_TAPE", LFN).read_bytes() == b"something else"
    assert "14 bytes" in to_tape.inventory.scalar("SELECT last_error FROM subscriptions")
