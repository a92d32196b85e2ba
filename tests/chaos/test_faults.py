"""Whole cycles while something is broken, until nothing moves any more: all is done, or held with the reason why.

A minute of the real FTS is 0.12 s here; where production waits, these runs do not (``limits``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from dynamo_ops.alerts.alert import claim
from dynamo_ops.alerts.illness import ill_now
from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.base.patience import Illness
from dynamo_ops.base.settings import FtsSettings, Settings, TransferSettings
from dynamo_ops.fts.job import JobSettings
from dynamo_ops.query.status import why
from dynamo_ops.transfer import observe, recovery
from tests.chaos import cycle
from tests.chaos.conftest import TABLES
from tests.chaos.limits import AT_ONCE, TRANSFERS
from tests.chaos.scene import Scene
from tests.inventory.factory import withdraw
from tests.patience import wait_until

pytestmark = pytest.mark.chaos


@pytest.fixture
def run(request: pytest.FixtureRequest, scene: Scene) -> Iterator[Scene]:
    """A scene whose end goes into the table of fault runs."""
    yield scene
    states = scene.inventory.rows("""
        SELECT s.state || coalesce(' (' || s.hold_reason || ')', ''), count(*) FROM subscriptions s
        GROUP BY 1 ORDER BY 1""")
    attempts = scene.inventory.scalar("SELECT count(*) FROM transfers")
    said = scene.inventory.rows("""
        SELECT coalesce(s.last_error, t.reason) FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id
        WHERE coalesce(s.last_error, t.reason) IS NOT NULL ORDER BY t.id LIMIT 1""")
    text = said[0][0] if said else (scene.errors[0] if scene.errors else "")
    title = "faults"
    TABLES.setdefault(title, [("fault", "subscriptions in the end", "attempts", "what was said")]).append(
        (
            request.node.name.removeprefix("test_").replace("_", " "),
            ", ".join(f"{count} {state}" for state, count in states),
            str(attempts),
            " ".join(text.split())[:100],
        )
    )


def storage_of(scene: Scene, site: str) -> str:
    """How FTS names the storage of a site: scheme and host, no port."""
    return str(scene.grid.endpoints["sites"][site]["prefix"]).rpartition(":")[0]


def last_error(scene: Scene, lfn: str) -> str:
    rows = scene.inventory.rows(
        "SELECT s.last_error FROM subscriptions s JOIN files f ON f.id = s.file_id WHERE f.lfn = :l", l=lfn
    )
    return str(rows[-1][0])


def sources_tried(scene: Scene, lfn: str) -> list[str]:
    """Source sites of the attempts at a file, in order."""
    return [
        row[0]
        for row in scene.inventory.rows(
            """SELECT d.name FROM transfers t JOIN sites d ON d.id = t.source_site_id
            JOIN subscriptions s ON s.id = t.subscription_id JOIN files f ON f.id = s.file_id
            WHERE f.lfn = :l ORDER BY t.id""",
            l=lfn,
        )
    ]


# -- FTS -----------------------------------------------------------------------------------------------------------


def test_one_copy_in_five_fails(run: Scene) -> None:
    run.copy(run.block("disk", "T2_A", "T2_C", num_files=40), "T2_B")
    run.copy(run.block("tape", "T1_TAPE", num_files=10), "T2_B")
    run.grid.fault(fts={"fail_fraction": 0.2})
    run.run_to_the_end()
    assert run.problems() == []
    assert run.inventory.scalar("SELECT count(*) FROM transfers WHERE state = 'failed' AND is_recoverable") > 0


def test_one_link_fails_often(run: Scene) -> None:
    """The other source is taken; nothing but this link suffers."""
    run.copy(run.block("disk", "T2_A", "T2_C", num_files=20), "T2_B")
    link = f"{storage_of(run, 'T2_A')} {storage_of(run, 'T2_B')}"
    run.grid.fault(fts={"links": {link: {"fail_fraction": 1.0}}})
    run.run_to_the_end()
    assert run.problems() == []
    done = run.inventory.rows("""
        SELECT DISTINCT d.name FROM transfers t JOIN sites d ON d.id = t.source_site_id WHERE t.state = 'done'""")
    assert [name for (name,) in done] == ["T2_C"]


def test_all_sources_are_tried_in_one_job_after_failures(run: Scene) -> None:
    """FTS is given both sources at once; when the first has no such file, it takes the other by itself."""
    lfns = run.block("disk", "T2_A", "T2_C")
    run.copy(lfns, "T2_B")
    run.grid.fault(fts={"fail_fraction": 1.0})
    for _ in range(2):
        run.cycle()
    run.grid.heal()
    for lfn in lfns:
        run.path("T2_A", lfn).rename(run.path("T2_A", lfn).with_suffix(".away"))
    run.run_to_the_end()
    for lfn in lfns:
        run.path("T2_A", lfn).with_suffix(".away").rename(run.path("T2_A", lfn))
    assert run.problems() == []
    last = run.own_jobs()[-3:]
    assert [job.job_type for job in last] == ["R", "R", "R"]
    assert all([f.file_state for f in job.files] in (["FAILED", "FINISHED"], ["FINISHED", "NOT_USED"]) for job in last)


def test_some_copies_are_refused_on_the_way(run: Scene) -> None:
    """FTS calls it irrecoverable, and does not say that the source refuses: no source is given up (FTS_CONTRACT §12.3).
    Until then such copies ended as held."""
    run.copy(run.block("disk", "T2_A", "T2_C", num_files=30), "T2_B")
    run.grid.fault(fts={"refuse_fraction": 0.4})
    run.run_to_the_end()
    assert run.problems() == []
    told = run.inventory.rows("SELECT DISTINCT substr(reason, 1, 13), blame, is_recoverable FROM transfers")
    assert sorted(told, key=str) == [("TRANSFER [13]", "link", True), (None, None, None)]


def test_fts_answers_503_for_a_while(run: Scene) -> None:
    """It asks for an hour's patience; GETs are repeated for seconds, then the run fails, and the next goes on."""
    run.copy(run.block("disk", "T2_A", num_files=10), "T2_B")
    run.submit(run.plan())
    run.copy(run.block("more", "T2_A", num_files=10), "T2_B")
    run.plan()
    run.grid.fault(fts={"http_503": True, "retry_after_s": 3600})
    over = threading.Timer(3.5, run.grid.heal)
    over.start()
    run.run_to_the_end(most_cycles=200)
    over.join()
    assert run.problems() == []
    assert "503" in run.errors[0]
    assert "Service Unavailable" in run.errors[0]
    assert len(run.own_jobs()) == 4


def test_a_submit_gets_a_503(run: Scene) -> None:
    """It is looked up, not sent again; as it is not there, the next run submits it."""
    run.copy(run.block("disk", "T2_A"), "T2_B")
    (batch,) = run.plan()
    run.grid.fault(fts={"http_503": 1})
    with pytest.raises(RetryableRemoteError, match="503"):
        run.submit([batch])
    assert run.own_jobs() == []
    run.run_to_the_end()
    assert run.problems() == []


def test_a_document_that_fts_never_takes(run: Scene) -> None:
    """Its database chokes on one file of a job: 500, for ever. The file is found and held, the others are copied."""
    lfns = run.block("disk", "T2_A", num_files=10)
    run.copy(lfns, "T2_B")
    run.grid.fault(fts={"poisoned": [lfns[3]]})
    run.run_to_the_end(most_cycles=20)
    run.never([lfns[3]], "T2_B", "held/refused")
    assert run.problems() == []
    assert last_error(run, lfns[3]).startswith("refused by FTS, which takes others: FTS answered 500")


def test_a_server_that_takes_nothing_is_ill(run: Scene) -> None:
    """It answers 400 to every document (FTS_CONTRACT §12.9): no file is held, and all go once it is well."""
    run.copy(run.block("disk", "T2_A", num_files=20), "T2_B")
    batches = run.plan()
    run.grid.fault(fts={"refuses_all": True})
    with pytest.raises(RetryableRemoteError, match=r"seems to be ill: it refuses \d+ jobs.*invalid literal for int"):
        run.submit(batches)
    assert run.own_jobs() == []
    run.grid.heal()
    run.run_to_the_end()
    assert run.problems() == []


def test_replies_are_lost(run: Scene) -> None:
    """Of four submits two were taken and never answered, two were cut before they were taken."""
    run.copy(run.block("disk", "T2_A", num_files=20), "T2_B")
    run.grid.fault(fts={"lost_reply": 2, "lost_submit": 2})
    run.run_to_the_end()
    assert run.problems() == []
    assert len(run.own_jobs()) == 4
    assert run.inventory.scalar("SELECT count(*) FROM transfers") == 20


def test_credential_expires_in_the_middle(run: Scene) -> None:
    """FTS answers 419 to a submit between two others: a new credential is left, and the job sent again."""
    run.copy(run.block("disk", "T2_A", num_files=15), "T2_B")
    first, second, third = run.plan()
    run.submit([first])
    run.grid.fault(fts={"credential_expired": True})
    run.submit([second, third])
    assert not run.grid.faults.fts.credential_expired
    run.run_to_the_end()
    assert run.problems() == []


def test_a_job_is_lost(run: Scene) -> None:
    """FTS answers 207: it knows one job of two. The files of the other go into a new one."""
    run.copy(run.block("disk", "T2_A", num_files=10), "T2_B")
    run.grid.fault(fts={"paused": True})
    run.submit(run.plan())
    lost, _ = (job.job_id for job in run.own_jobs())
    run.client.cancel([lost])
    run.grid.heal()
    run.grid.fault(fts={"forgotten": [lost]})
    run.run_to_the_end()
    assert run.inventory.scalar("SELECT count(*) FROM transfers WHERE reason = 'FTS does not know the job'") == 5
    assert run.problems() == []
    assert len(run.own_jobs()) == 3


def test_jobs_are_archived_before_they_were_seen(run: Scene) -> None:
    run.copy(run.block("disk", "T2_A"), "T2_B")
    run.submit(run.plan())
    run.await_fts()
    run.grid.fault(fts={"archived": True})
    run.run_to_the_end()
    assert run.problems() == []
    assert run.inventory.scalar("SELECT count(*) FROM transfers") == 3


def test_copies_hang(run: Scene) -> None:
    """Nothing ends a hanging copy but us: jobs that take too long are cancelled, and their files tried again."""
    run.copy(run.block("disk", "T2_A", num_files=10), "T2_B")
    run.grid.fault(fts={"hang_active": 3})
    run.submit(run.plan())
    wait_until(lambda: [file.file_state for job in run.own_jobs() for file in job.files].count("FINISHED") == 7)
    observe.observe_and_apply(run.db, run.client)
    assert recovery.cancel_stuck(run.db, run.client, timedelta(hours=1), timedelta(hours=1)) == 0
    assert recovery.cancel_stuck(run.db, run.client, AT_ONCE, AT_ONCE) == 1
    run.run_to_the_end()
    assert run.problems() == []
    assert run.inventory.scalar("SELECT count(*) FROM transfers WHERE state = 'cancelled'") == 3


def test_tape_staging_is_given_more_time(run: Scene) -> None:
    run.copy(run.block("tape", "T1_TAPE"), "T2_B")
    run.grid.fault(sites={"T1_TAPE": {"tape_stuck": True}})
    run.submit(run.plan())
    assert recovery.cancel_stuck(run.db, run.client, AT_ONCE, timedelta(hours=1)) == 0
    assert recovery.cancel_stuck(run.db, run.client, AT_ONCE, AT_ONCE) == 1
    run.follow()
    run.grid.heal()
    run.run_to_the_end()
    assert run.problems() == []


def test_a_copy_is_cancelled_and_leaves_half_a_file(run: Scene) -> None:
    """Nobody wants it any more, so that nothing is written over it: it is removed."""
    lfns = run.block("disk", "T2_A", num_files=3)
    run.copy(lfns, "T2_B")
    run.grid.fault(fts={"hang_active": 3})
    run.submit(run.plan())
    wait_until(lambda: [file.file_state for job in run.own_jobs() for file in job.files] == ["ACTIVE"] * 3)
    withdraw(run.db, [row[0] for row in run.inventory.rows("SELECT id FROM subscriptions")])
    assert recovery.recover(run.db, run.client).num_cancelled_jobs == 1
    wait_until(lambda: all(run.path("T2_B", lfn).exists() for lfn in lfns))
    run.never(lfns, "T2_B", "cancelled")
    run.follow()
    run.run_to_the_end()
    assert not any(run.path("T2_B", lfn).exists() for lfn in lfns)
    reasons = run.inventory.rows("SELECT reason FROM transfers")
    assert all("were left at the destination, and are to go; removed" in reason for (reason,) in reasons)
    assert run.problems() == []


def test_what_is_cancelled_in_the_buffer_of_a_tape_is_found_there(run: Scene) -> None:
    """Not written again, not overwritten, and a copy only once it is on tape."""
    run.copy(run.block("archive", "T2_A"), "T1_TAPE")
    run.grid.fault(sites={"T1_TAPE": {"archive_stuck": True}})
    run.submit(run.plan())
    wait_until(lambda: {job.job_state for job in run.own_jobs()} == {"ARCHIVING"})
    assert recovery.cancel_stuck(run.db, run.client, AT_ONCE, AT_ONCE, timedelta(hours=1)) == 0
    assert recovery.cancel_stuck(run.db, run.client, AT_ONCE, AT_ONCE) == 1
    run.follow()
    run.cycle()
    assert set(run.inventory.subscriptions().values()) == {"retry"}
    assert run.inventory.replica_state(next(iter(run.inventory.block_ids)), "T1_TAPE") is None
    run.grid.heal()
    run.run_to_the_end()
    assert run.problems() == []
    outcomes = run.inventory.rows("SELECT DISTINCT state, reason LIKE '%not on tape yet' FROM transfers ORDER BY 1")
    assert outcomes == [("cancelled", False), ("done", None), ("failed", True)]


def test_a_tape_does_not_archive_what_arrives(run: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in its buffer is no copy, is not written again, and counts as soon as it is on tape."""
    in_five_minutes = FtsSettings(retries=0, retry_delay_s=1, archive_timeout_s=300)
    monkeypatch.setattr(cycle, "JOBS", JobSettings(in_five_minutes))
    run.copy(run.block("archive", "T2_A"), "T1_TAPE")
    run.grid.fault(sites={"T1_TAPE": {"archive_stuck": True}})
    for _ in range(2):
        run.cycle()
        assert set(run.inventory.subscriptions().values()) == {"retry"}
        assert run.inventory.replica_state(next(iter(run.inventory.block_ids)), "T1_TAPE") is None
    outcomes = run.inventory.rows("SELECT DISTINCT blame, is_recoverable, split_part(reason, ']', 1) FROM transfers")
    assert ("tape", True, "ARCHIVING [110") in outcomes
    assert not [outcome for outcome in outcomes if outcome[1] is False]
    run.grid.heal()
    run.run_to_the_end()
    assert run.problems() == []
    assert set(run.inventory.subscriptions().values()) == {"done"}


def test_a_slow_link_does_not_hold_up_others(run: Scene) -> None:
    slow, fast = run.block("slow", "T2_A"), run.block("fast", "T2_A")
    run.copy(slow, "T2_B")
    run.copy(fast, "T2_C")
    size = sum(len(run.expected["T2_A", lfn]) for lfn in slow) / len(slow)
    link = f"{storage_of(run, 'T2_A')} {storage_of(run, 'T2_B')}"
    run.grid.fault(fts={"links": {link: {"bytes_per_s": size}}})
    run.submit(run.plan())

    def fast_ones_are_done() -> bool:
        observe.observe_and_apply(run.db, run.client)
        return all(run.inventory.subscriptions()["copy", lfn, "T2_C"] == "done" for lfn in fast)

    wait_until(fast_ones_are_done)
    assert {run.inventory.subscriptions()["copy", lfn, "T2_B"] for lfn in slow} == {"inbatch"}
    run.run_to_the_end()
    assert run.problems() == []


# -- what is ill as a whole ------------------------------------------------------------------------------------------


def told(scene: Scene) -> list[str]:
    """What people are told of now: each alert is claimed, as by a task."""
    limits = TransferSettings(**{name: getattr(TRANSFERS, name) for name in Illness.model_fields})
    known = Settings(transfers=limits, tls={"cert": scene.grid.endpoints["user_cert"]})
    alerts = [illness.alert for illness in ill_now(scene.db, known)]
    return [alert.message for alert in alerts if claim(scene.db, alert, repeat_after_h=24).is_mine]


def unharmed(scene: Scene) -> bool:
    """No source was given up, nothing is held, and no attempt is counted once it shows (the first ones may be)."""
    given_up = scene.inventory.scalar("SELECT count(*) FROM transfers WHERE is_recoverable IS FALSE")
    held = scene.inventory.scalar("SELECT count(*) FROM subscriptions WHERE state = 'held'")
    counted = scene.inventory.scalar("SELECT max(num_attempts - num_excused) FROM subscriptions WHERE state = 'retry'")
    return (given_up, held) == (0, 0) and counted <= 1


@pytest.mark.parametrize(
    ("refuses", "words"),
    [
        ("permission", "DESTINATION [1] HTTP 403 : Permission"),
        ("directory", "DESTINATION [13] Failed to create directory"),
    ],
)
def test_a_destination_refuses(run: Scene, refuses: str, words: str) -> None:
    """For three rounds: few files are tried, no source pays, one alert. Then it takes them, and nobody lifts a hand."""
    run.copy(run.block("disk", "T2_A", "T2_C", num_files=30), "T2_B")
    run.copy(run.block("other", "T2_A", num_files=3), "T2_C")
    run.grid.fault(sites={"T2_B": {"refuses": refuses}})
    alerts = []
    for _ in range(3):
        run.cycle()
        alerts += told(run)
        assert unharmed(run)
    (alert,) = alerts
    assert alert.startswith("copies to T2_B fail at the destination: 30 files wait, since ")
    assert words in alert
    assert run.inventory.scalar("SELECT count(*) FROM transfers WHERE blame = 'destination'") == 30 + 2 + 2
    assert {run.inventory.subscriptions()["copy", lfn, "T2_C"] for lfn in run.files_of("other")} == {"done"}
    run.grid.heal()
    run.run_to_the_end()
    assert run.problems() == []
    assert told(run) == []


def test_a_credential_runs_out_in_the_queue(run: Scene) -> None:
    """Every storage refuses what is written with it. One alert names the credential, no site; renewed, all goes on."""
    run.copy(run.block("disk", "T2_A", num_files=15), "T2_B")
    run.copy(run.block("more", "T2_A", num_files=15), "T2_C")
    run.grid.fault(fts={"paused": True})
    run.submit(run.plan())
    run.grid.fault(fts={"paused": False, "proxy_expired": True})
    run.follow()
    alerts = told(run)
    for _ in range(2):
        run.cycle()
        alerts += told(run)
        assert unharmed(run)
    (alert,) = alerts
    assert alert.startswith("T2_B, T2_C refuse us, so it is our credential (proxy of CN=Data Manager")
    assert "30 files wait" in alert
    run.client.delegate()
    run.run_to_the_end()
    assert run.problems() == []
    assert told(run) == []


# -- storages ------------------------------------------------------------------------------------------------------


def test_the_destination_is_full(run: Scene) -> None:
    """Tried again and again, until there is room."""
    lfns = run.block("disk", "T2_A")
    run.copy(lfns, "T2_B")
    run.grid.fault(sites={"T2_B": {"full": True}})
    for _ in range(3):
        run.cycle()
    assert set(run.inventory.subscriptions().values()) == {"retry"}
    assert all("507" in last_error(run, lfn) and "No space left" in last_error(run, lfn) for lfn in lfns)
    run.grid.heal()
    run.run_to_the_end()
    assert run.problems() == []


def test_one_of_two_sources_has_vanished(run: Scene) -> None:
    lfns = run.block("disk", "T2_A", "T2_C", num_files=10)
    for lfn in lfns:
        run.path("T2_A", lfn).unlink()
        del run.expected["T2_A", lfn]
    run.copy(lfns, "T2_B")
    run.run_to_the_end()
    assert {problem.split(": ")[-1] for problem in run.problems()} == {"in the inventory, not on disk"}  # at T2_A
    assert all(sources_tried(run, lfn) in (["T2_C"], ["T2_A", "T2_C"]) for lfn in lfns)
    assert set(run.inventory.subscriptions().values()) == {"done"}


def test_the_only_source_has_vanished(run: Scene) -> None:
    lfns = run.block("disk", "T2_A")
    run.path("T2_A", lfns[0]).unlink()
    del run.expected["T2_A", lfns[0]]
    run.copy(lfns, "T2_B")
    run.never(lfns[:1], "T2_B", "held/all_failed")
    run.run_to_the_end()
    assert {problem.split(": ")[-1] for problem in run.problems()} == {"in the inventory, not on disk"}
    assert "SOURCE [2]" in last_error(run, lfns[0])
    number = run.inventory.scalar("SELECT id FROM subscriptions WHERE state = 'held'")
    assert "SOURCE [2]" in why(run.db, number).attempts[0]["reason"]


def test_a_source_is_corrupt(run: Scene) -> None:
    """Not asked twice; the other source is taken, or the subscription held with the two checksums."""
    both, one = run.block("both", "T2_A", "T2_C"), run.block("one", "T2_A", num_files=1)
    for lfn in (*both, *one):
        run.path("T2_A", lfn).write_bytes(run.expected["T2_A", lfn][::-1])
        del run.expected["T2_A", lfn]
    run.copy([*both, *one], "T2_B")
    run.never(one, "T2_B", "held/all_failed")
    run.run_to_the_end()
    assert run.problems() == []
    assert sources_tried(run, one[0]) == ["T2_A"]
    assert "checksum do not match" in last_error(run, one[0])
    assert all(sources_tried(run, lfn) in (["T2_C"], ["T2_A", "T2_C"]) for lfn in both)


def test_bytes_arrive_wrong(run: Scene) -> None:
    """The source is not to blame when the destination wrote something else: the same one is asked again."""
    lfns = run.block("disk", "T2_A")
    run.copy(lfns, "T2_B")
    run.grid.fault(sites={"T2_B": {"corrupt_writes": 2}})
    run.run_to_the_end()
    assert run.problems() == []
    assert run.inventory.scalar("SELECT count(*) FROM transfers") == 5


def test_bytes_never_arrive_right(run: Scene) -> None:
    """After three bad arrivals the source is taken for bad after all: not every storage has checksums."""
    lfns = run.block("disk", "T2_A", num_files=1)
    run.copy(lfns, "T2_B")
    run.never(lfns, "T2_B", "held/all_failed")
    run.grid.fault(sites={"T2_B": {"corrupt_writes": 1000}})
    run.run_to_the_end()
    assert run.problems() == []
    assert len(sources_tried(run, lfns[0])) == 3
    assert "checksum do not match" in last_error(run, lfns[0])


def test_a_storage_is_down(run: Scene) -> None:
    """Deletions and copies wait for it; what needs it not goes on."""
    run.copy(run.block("disk", "T2_A"), "T2_B")
    run.delete(run.block("gone", "T2_A", "T2_C"), "T2_C")
    run.grid.fault(sites={"T2_C": {"down": True}})
    run.cycle()
    states = {(action, site): state for (action, _, site), state in run.inventory.subscriptions().items()}
    assert states == {("copy", "T2_B"): "done", ("delete", "T2_C"): "retry"}
    run.grid.heal()
    run.run_to_the_end()
    assert run.problems() == []
