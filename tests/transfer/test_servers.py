"""Two FTS servers: who is given what, and who is asked for it, also when one is ill or is not named any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from alembic import command

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.fts import servers as fts_module
from dynamo_ops.fts.client import JobStatus, Submitted
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.fts.servers import FtsLinks, FtsServer, FtsServers
from dynamo_ops.transfer import tasks as steps
from dynamo_ops.transfer.batches import PlannedBatches, plan_batches
from dynamo_ops.transfer.hold import hold_and_release
from dynamo_ops.transfer.observe import observe_and_apply
from dynamo_ops.transfer.recovery import cancel_stuck, readdress, recover
from dynamo_ops.transfer.server.holding import adopt, batches_by_server, jobs_by_server
from dynamo_ops.transfer.server.moving import move_away
from dynamo_ops.transfer.submission.limits import TransferLimits
from tests.inventory.factory import SIZE, Inventory

ONE, TWO = "https://one:8446", "https://two:8446"
TO_C = FtsServer(TWO, ("*",), ("T2_C",))
AWAY = RetryableRemoteError("no answer", service="fts")
SETTINGS = Settings.model_validate({"fts": {"servers": [{"url": TWO, "destinations": ["T2_C"]}, {"url": ONE}]}})
AT_ONCE = timedelta(0)


class Server:
    """An FTS that keeps the jobs it is sent; ``error``: raised whatever it is asked."""

    def __init__(self, url: str, identity: FtsIdentity) -> None:
        self.url = url
        self.identity = identity
        self.error: RemoteError | None = None
        self.jobs: dict[str, Mapping[str, Any]] = {}
        self.asked: set[str] = set()
        self.is_done = False
        self.cancelled: set[str] = set()
        self.refuses = False

    def close(self) -> None:
        """Nothing is open."""

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def ensure_delegation(self) -> None:
        self.check()

    def whoami(self) -> FtsIdentity:
        return self.identity

    def submit(self, job: Mapping[str, Any], job_id: str) -> Submitted:
        self.check()
        if self.refuses:
            raise PermanentRemoteError("FTS answered 400: invalid literal for int()", service="fts", status=400)
        self.jobs[job_id] = job
        return Submitted(job_id, was_found=False)

    def find_job(self, job_id: str) -> JobStatus | None:
        self.check()
        return JobStatus(job_id, 200, "SUBMITTED") if job_id in self.jobs else None

    def job_statuses(self, job_ids: Iterable[str], fields: Sequence[str] = ("all",)) -> dict[str, JobStatus]:
        self.check()
        return {job_id: self.status(job_id, with_files=bool(fields)) for job_id in job_ids}

    def status(self, job_id: str, *, with_files: bool) -> JobStatus:
        self.asked.add(job_id)
        if job_id not in self.jobs:
            return JobStatus(job_id, 404)
        state = "FINISHED" if self.is_done else "CANCELED" if job_id in self.cancelled else "SUBMITTED"
        files = [
            {"file_state": state, "file_metadata": file["metadata"], "filesize": SIZE}
            for file in self.jobs[job_id]["files"]
        ]
        return JobStatus(job_id, 200, state, files=files if with_files else ())

    def cancel(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        self.check()
        job_ids = list(job_ids)
        self.cancelled.update(job_ids)
        return {job_id: JobStatus(job_id, 200 if job_id in self.jobs else 404) for job_id in job_ids}


@pytest.fixture
def two(identity: FtsIdentity, monkeypatch: pytest.MonkeyPatch) -> dict[str, Server]:
    """Both servers, by address, in the place of those that the tasks open."""
    other = FtsIdentity("/CN=test", "7a4c3b1e-0000-4000-8000-000000000001", "cms", "c3a622c34b769920", "certificate")
    servers = {ONE: Server(ONE, identity), TWO: Server(TWO, other)}
    monkeypatch.setattr(fts_module, "_open", lambda _, address: servers[address])
    return servers


@pytest.fixture
def three(inventory: Inventory) -> Inventory:
    """A file at T2_A, to be copied to T2_B and T2_C."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    lfns = inventory.block("b1", 1)
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", lfns, "T2_B")
    inventory.subscription("copy", lfns, "T2_C")
    return inventory


def asked(two: dict[str, Server], *named: FtsServer) -> FtsServers:
    return FtsServers(named or (TO_C, FtsServer(ONE)), lambda address: two[address])  # type: ignore[arg-type,return-value]


def plan(three: Inventory, two: dict[str, Server], **limits: Any) -> PlannedBatches:
    return plan_batches(three.db, asked(two).links(), TransferLimits(**limits))


def submitted(three: Inventory, two: dict[str, Server]) -> dict[str, str]:
    """Both jobs, by their server."""
    batch_ids = plan(three, two).all
    steps.submit(three.db, SETTINGS, batch_ids)
    three.rows("UPDATE transfer_batches SET submitted_at = now() - interval '1 hour'")
    return {address: next(iter(server.jobs)) for address, server in two.items()}


def places(three: Inventory) -> dict[str, str]:
    """The subscriptions by destination."""
    return {site: state for (_, _, site), state in three.subscriptions().items()}


def test_a_batch_keeps_the_server_of_its_link_and_the_id_that_this_one_will_give(
    three: Inventory, two: dict[str, Server]
) -> None:
    plan(three, two)
    rows = three.rows(
        "SELECT d.name, b.server, b.sid, b.job_id FROM transfer_batches b JOIN sites d ON d.id = b.site_id ORDER BY 1"
    )
    assert [(site, server) for site, server, *_ in rows] == [("T2_B", ONE), ("T2_C", TWO)]
    assert [job_id for *_, job_id in rows] == [two[server].identity.job_id(sid) for _, server, sid, _ in rows]
    assert steps.plan_transfer_batches(three.db, SETTINGS, [1, 2]) == [[1], [2]], "a lot is for one server"


def test_the_links_of_an_ill_server_go_to_the_next_that_takes_them(three: Inventory, two: dict[str, Server]) -> None:
    two[TWO].error = AWAY
    assert plan(three, two).num_files == 2
    assert three.rows("SELECT DISTINCT server FROM transfer_batches") == [(ONE,)]


def test_links_that_only_an_ill_server_takes_wait_and_their_files_are_not_held(
    three: Inventory, two: dict[str, Server]
) -> None:
    two[TWO].error = AWAY
    not_to_c = FtsServer(ONE, ("*",), ("*", "!T2_C"))
    assert plan_batches(three.db, asked(two, TO_C, not_to_c).links()).num_files == 1
    hold_and_release(three.db)
    assert places(three) == {"T2_B": "inbatch", "T2_C": "new"}
    two[TWO].error = None
    assert plan_batches(three.db, asked(two, TO_C, not_to_c).links()).num_files == 1


def test_a_link_that_no_server_takes_needs_a_person(three: Inventory, two: dict[str, Server]) -> None:
    plan_batches(three.db, asked(two, TO_C).links())
    assert places(three) == {"T2_B": "held/refused", "T2_C": "inbatch"}
    assert "no FTS server takes the link" in three.scalar("SELECT last_error FROM subscriptions WHERE state = 'held'")


def test_another_source_is_taken_when_its_server_is_well(three: Inventory, two: dict[str, Server]) -> None:
    three.site("T2_D")
    three.replica("b1", "T2_D")
    two[TWO].error = AWAY
    links = asked(two, FtsServer(TWO, ("T2_A",)), FtsServer(ONE, ("*", "!T2_A"))).links()
    assert plan_batches(three.db, links).num_files == 2
    assert three.rows("SELECT DISTINCT source_site_id FROM transfers") == [(three.site_ids["T2_D"],)]


def test_the_sources_of_a_job_are_of_one_server(three: Inventory, two: dict[str, Server]) -> None:
    for site in ("T2_D", "T2_E", "T2_F"):
        three.site(site)
        three.replica("b1", site)
    three.rows("UPDATE subscriptions SET state = 'retry', num_attempts = 2, updated_at = now() - interval '1 day'")
    links = asked(two, FtsServer(TWO, ("T2_A", "T2_D")), FtsServer(ONE)).links()
    assert plan_batches(three.db, links).num_files == 2
    of_one = {three.site_ids[site] for site in ("T2_E", "T2_F")}
    of_two = {three.site_ids[site] for site in ("T2_A", "T2_D")}
    for server, first, others in three.rows(
        """SELECT b.server, t.source_site_id, t.other_source_site_ids
           FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id"""
    ):
        assert {first, *others} == {ONE: of_one, TWO: of_two}[server]


def test_each_server_is_asked_for_its_own_jobs_only(three: Inventory, two: dict[str, Server]) -> None:
    jobs = submitted(three, two)
    three.rows("UPDATE transfer_batches SET state = 'planned'")  # killed before that was recorded
    three.rows("UPDATE transfers SET state = 'planned'")
    assert recover(three.db, asked(two)).num_found == 2
    assert cancel_stuck(three.db, asked(two), AT_ONCE, AT_ONCE) == 2
    for server in two.values():
        server.is_done = True
    assert observe_and_apply(three.db, asked(two)).num_done == 2
    assert {address: server.asked for address, server in two.items()} == {url: {job} for url, job in jobs.items()}


@pytest.mark.parametrize("error", [AWAY, CredentialError("TLS refused", service="fts")], ids=["away", "refuses"])
def test_an_ill_server_keeps_the_work_of_the_other_back_nowhere(
    three: Inventory, two: dict[str, Server], error: RemoteError
) -> None:
    submitted(three, two)
    two[ONE].is_done, two[TWO].error = True, error
    found = steps.recover(three.db, SETTINGS)
    assert (found["observed"]["num_done"], found["observed"]["num_lost_jobs"]) == (1, 0)
    assert found["observed"]["ill"] == {TWO: error.message}
    assert places(three) == {"T2_B": "done", "T2_C": "inbatch"}
    two[TWO].error, two[TWO].is_done = None, True
    assert steps.apply_transfers(three.db, SETTINGS)["num_done"] == 1
    two[ONE].error = two[TWO].error = AWAY
    with pytest.raises(RetryableRemoteError, match="no answer"):
        steps.plan_transfer_batches(three.db, SETTINGS)


def test_what_an_ill_server_may_have_is_not_submitted_blindly(three: Inventory, two: dict[str, Server]) -> None:
    batch_ids = plan(three, two).all
    two[TWO].error = AWAY
    (at_one,) = recover(three.db, asked(two)).unsubmitted
    assert batches_by_server(three.db, batch_ids)[ONE] == [at_one]


@pytest.mark.parametrize(
    ("error", "is_raised"),
    [(AWAY, False), (CredentialError("FTS answered 403: the storage is banned", service="fts"), True)],
    ids=["away", "refuses"],
)
def test_jobs_for_a_server_that_is_away_wait_for_a_later_run(
    three: Inventory, two: dict[str, Server], error: RemoteError, is_raised: bool
) -> None:
    batch_ids = plan(three, two).all
    two[TWO].error = error
    if is_raised:
        with pytest.raises(CredentialError, match="1 of 2 batches are not submitted"):
            steps.submit(three.db, SETTINGS, batch_ids)
    else:
        assert len(steps.submit(three.db, SETTINGS, batch_ids)["disk"]) == 1
    states = three.rows("SELECT server, state FROM transfer_batches ORDER BY 1")
    assert states == [(ONE, "submitted"), (TWO, "planned")]


def test_a_server_that_the_settings_name_no_longer_is_asked_for_what_it_has(
    three: Inventory, two: dict[str, Server]
) -> None:
    jobs = submitted(three, two)
    two[TWO].is_done = True
    only_one = Settings.model_validate({"fts": {"url": ONE}})
    found = steps.recover(three.db, only_one)["observed"]
    assert (found["num_done"], found["num_lost_jobs"], found["num_open_jobs"]) == (1, 0, 1)
    assert two[TWO].asked == {jobs[TWO]}


@pytest.mark.parametrize(
    ("minutes", "states"),
    [(None, {"T2_B": "inbatch", "T2_C": "retry"}), (1, {"T2_B": "inbatch", "T2_C": "inbatch"})],
    ids=["never submitted", "a submit may be on its way"],
)
def test_a_server_that_the_settings_name_no_longer_gets_no_new_job(
    three: Inventory, two: dict[str, Server], minutes: int | None, states: dict[str, str]
) -> None:
    plan(three, two)
    three.rows("UPDATE transfer_batches SET submitted_at = now() - :m * interval '1 minute'", m=minutes)
    only_one = Settings.model_validate({"fts": {"url": ONE}})
    steps.submit(three.db, only_one, recover(three.db, asked(two, FtsServer(ONE))).unsubmitted)
    assert (len(two[ONE].jobs), len(two[TWO].jobs)) == (1, 0)
    assert places(three) == states


def test_a_server_that_is_gone_for_good(three: Inventory, two: dict[str, Server]) -> None:
    """While nobody says so its files wait: nothing is known of them."""
    submitted(three, two)
    lfns = three.block("b2", 1)
    three.replica("b2", "T2_A")
    three.subscription("copy", lfns, "T2_C")
    assert plan(three, two).num_files == 1
    two[TWO].error = AWAY
    only_one = Settings.model_validate({"fts": {"url": ONE}})
    steps.recover(three.db, only_one)
    assert set(three.subscriptions().values()) == {"inbatch"}
    assert readdress(three.db, TWO, ONE) == 1
    found = steps.recover(three.db, only_one)["observed"]
    assert (found["num_lost_jobs"], found["ill"]) == (1, {})
    of_c = {state for (_, _, site), state in three.subscriptions().items() if site == "T2_C"}
    assert of_c == {"retry"}


def test_jobs_by_their_server(three: Inventory, two: dict[str, Server]) -> None:
    jobs, unknown = submitted(three, two), "00000000-0000-0000-0000-000000000001"
    asked_for = [jobs[TWO], unknown, jobs[ONE]]
    assert jobs_by_server(three.db, asked_for) == {TWO: [jobs[TWO]], None: [unknown], ONE: [jobs[ONE]]}


def test_batches_from_before_the_upgrade_are_given_to_the_first_server(
    postgres: EmbeddedPostgres, two: dict[str, Server]
) -> None:
    postgres.create_database("servers_upgraded")
    database = Database(postgres.url("servers_upgraded"))
    with database.engine.connect() as connection:
        command.upgrade(migrate._config(database, connection), "0009")
    before = Inventory(database)
    before.site("T2_B")
    for number, (state, backend) in enumerate(
        [("submitted", "fts"), ("planned", "fts"), ("finished", "fts"), ("planned", "direct")], 1
    ):
        before.rows(
            """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, backend)
               VALUES (:sid, gen_random_uuid(), :site, false, :state, :backend)""",
            sid=str(number),
            site=before.site_ids["T2_B"],
            state=state,
            backend=backend,
        )
    migrate.upgrade(database)
    assert before.rows("SELECT DISTINCT server FROM transfer_batches") == [(None,)]
    first_is_one = Settings.model_validate({"fts": {"servers": [{"url": ONE}, {"url": TWO}]}})
    steps.recover(database, first_is_one)
    assert before.rows("SELECT sid, server FROM transfer_batches ORDER BY id") == [
        ("1", ONE),
        ("2", ONE),
        ("3", None),
        ("4", None),
    ]
    assert (len(two[ONE].asked), two[TWO].asked) == (2, set())
    assert adopt(database, TWO) == 0, "a batch that knows its server keeps it"
    with database.engine.connect() as connection:
        command.downgrade(migrate._config(database, connection), "0009")
    database.dispose()
    postgres.drop_database("servers_upgraded")


def test_links_need_an_identity_to_be_used(three: Inventory, identity: FtsIdentity) -> None:
    links = FtsLinks((FtsServer(ONE),), {})
    assert plan_batches(three.db, links).num_files == 0
    assert places(three) == {"T2_B": "new", "T2_C": "new"}
    assert plan_batches(three.db, FtsLinks((FtsServer(ONE),), {ONE: identity})).num_files == 2


def to_c(three: Inventory, number: int) -> None:
    """So many files more, to be copied to T2_C."""
    lfns = three.block("more", number)
    three.replica("more", "T2_A")
    three.subscription("copy", lfns, "T2_C")


def ill(three: Inventory) -> list[tuple[Any, ...]]:
    return three.rows("SELECT address, illness, reason FROM fts_servers WHERE illness IS NOT NULL ORDER BY 1")


def of_servers(three: Inventory, state: str = "planned") -> dict[str, int]:
    """Files of the batches in this state, by server."""
    return dict(
        three.rows(
            """SELECT b.server, count(*) FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id
               WHERE b.state = :state AND t.state NOT IN ('cancelled', 'failed') GROUP BY 1""",
            state=state,
        )
    )


def hours_pass(three: Inventory, hours: float) -> None:
    for table, column in (
        ("transfer_batches", "created_at"),
        ("transfer_batches", "submitted_at"),
        ("transfer_batches", "finished_at"),
        ("transfers", "started_at"),
        ("transfers", "finished_at"),
        ("fts_servers", "ill_since"),
        ("subscriptions", "updated_at"),
    ):
        three.rows(f"UPDATE {table} SET {column} = {column} - :h * interval '1 hour'", h=hours)


def test_a_server_that_nobody_names_is_forgotten_once_it_has_nothing(three: Inventory, two: dict[str, Server]) -> None:
    submitted(three, two)
    two[TWO].error = AWAY
    steps.recover(three.db, SETTINGS)
    only_one = Settings.model_validate({"fts": {"url": ONE}})
    steps.recover(three.db, only_one)
    assert [row[0] for row in ill(three)] == [TWO], "it has a job of ours"
    three.rows("UPDATE transfer_batches SET state = 'finished' WHERE server = :two", two=TWO)
    steps.recover(three.db, only_one)
    assert ill(three) == []


def test_a_server_has_limits_of_its_own(three: Inventory, two: dict[str, Server]) -> None:
    to_c(three, 9)
    small = FtsServer(TWO, ("*",), ("T2_C",), files_in_flight=5, files_per_job=2)
    servers = asked(two, small, FtsServer(ONE))
    assert plan_batches(three.db, servers.links()).num_files == 1 + 5
    sizes = three.rows("""
        SELECT b.server, count(*) FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id
        GROUP BY b.server, b.id ORDER BY b.id""")
    assert sorted(sizes) == [(ONE, 1), (TWO, 1), (TWO, 2), (TWO, 2)]
    assert plan_batches(three.db, servers.links()).num_files == 0, "five are under way"
    (first,) = three.rows("SELECT min(id) FROM transfer_batches WHERE server = :two", two=TWO)
    three.rows("UPDATE transfers SET state = 'done' WHERE batch_id = :id", id=first[0])
    three.rows("UPDATE transfer_batches SET state = 'finished' WHERE id = :id", id=first[0])
    assert plan_batches(three.db, servers.links()).num_files in {1, 2}, "as many as have ended"


def test_what_a_server_that_is_away_never_got_goes_to_another(three: Inventory, two: dict[str, Server]) -> None:
    """What it was sent, or may have been sent, stays with it: it may be copying."""
    to_c(three, 2)
    never, sent = (batch for batch, _ in three_batches(three, two))
    three.rows("UPDATE transfer_batches SET submitted_at = now() WHERE id = :id", id=sent)
    two[TWO].error = AWAY
    assert steps.recover(three.db, SETTINGS)["moved"] == {"num_unsent": 0, "num_cancelled": 0}, "it may be back at once"
    assert ill(three) == [(TWO, "away", "no answer")]
    hours_pass(three, 1)
    assert steps.recover(three.db, SETTINGS)["moved"] == {"num_unsent": 1, "num_cancelled": 0}
    states = dict(three.rows("SELECT id, state FROM transfer_batches"))
    assert (states[never], states[sent]) == ("cancelled", "planned")
    hours_pass(three, 1)
    plan(three, two)
    assert of_servers(three) == {ONE: 1 + 2, TWO: 1}
    assert three.rows("SELECT DISTINCT num_attempts - num_excused FROM subscriptions") == [(1,)], "no attempt was made"
    two[TWO].error = None
    steps.recover(three.db, SETTINGS)
    assert ill(three) == []


def three_batches(three: Inventory, two: dict[str, Server]) -> list[tuple[int, int]]:
    """Of the files for T2_C: one batch of the two more files, and one of the first, with their numbers of files."""
    servers = asked(two, FtsServer(TWO, ("*",), ("T2_C",), files_per_job=2), FtsServer(ONE))
    plan_batches(three.db, servers.links())
    return three.rows(
        """SELECT b.id, count(*) FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id WHERE b.server = :two
           GROUP BY 1 ORDER BY 2 DESC""",
        two=TWO,
    )


def test_a_server_that_takes_nothing_is_tried_with_a_few_files(three: Inventory, two: dict[str, Server]) -> None:
    to_c(three, 9)
    two[TWO].refuses = True
    assert len(steps.submit(three.db, SETTINGS, plan(three, two).all)["disk"]) == 1, "the other one takes its own"
    assert [row[:2] for row in ill(three)] == [(TWO, "refuses")]
    hours_pass(three, 1)
    steps.recover(three.db, SETTINGS)
    assert of_servers(three) == {}, "nothing waits there any more"
    hours_pass(three, 1)
    batches = plan(three, two).all
    assert of_servers(three) == {ONE: 5, TWO: 5}, "five are tried, the others go elsewhere"
    two[TWO].refuses = False
    steps.submit(three.db, SETTINGS, batches)
    assert ill(three) == []
    assert three.rows("SELECT count(*) FROM subscriptions WHERE state = 'held'") == [(0,)]


def test_what_waits_where_nothing_moves_is_cancelled_and_goes_to_another(
    three: Inventory, two: dict[str, Server]
) -> None:
    jobs = submitted(three, two)
    two[ONE].is_done = True
    hours_pass(three, 4)
    assert steps.recover(three.db, SETTINGS)["moved"] == {"num_unsent": 0, "num_cancelled": 0}
    assert ill(three) == []
    hours_pass(three, 2)
    assert steps.recover(three.db, SETTINGS)["moved"] == {"num_unsent": 0, "num_cancelled": 1}
    ((address, illness, reason),) = ill(three)
    assert (address, illness) == (TWO, "still")
    assert reason.startswith("it has 1 jobs of which no file has started since ")
    assert two[TWO].cancelled == {jobs[TWO]}
    assert places(three)["T2_C"] == "inbatch", "not before the server says that it is cancelled"
    assert steps.recover(three.db, SETTINGS)["observed"]["num_cancelled"] == 1
    assert places(three)["T2_C"] == "retry"
    hours_pass(three, 1)
    to_c(three, 7)
    batches = plan(three, two).all
    assert of_servers(three) == {ONE: 3, TWO: 5}
    of_c = """SELECT b.server, s.num_attempts FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id
              JOIN subscriptions s ON s.id = t.subscription_id WHERE b.state = 'planned' AND s.num_attempts > 1"""
    assert three.rows(of_c) == [(ONE, 2)], "it is tried with files that did not wait there yet"
    steps.submit(three.db, SETTINGS, batches)
    two[TWO].is_done = True
    hours_pass(three, 1)
    steps.recover(three.db, SETTINGS)
    assert ill(three) == [], "what it was tried with came"


def test_nothing_is_cancelled_that_no_other_server_takes(three: Inventory, two: dict[str, Server]) -> None:
    submitted(three, two)
    hours_pass(three, 10)
    servers = asked(two, FtsServer(TWO, ("*",), ("T2_C",)), FtsServer(ONE, ("*",), ("*", "!T2_C")))
    observe_and_apply(three.db, servers)
    assert move_away(three.db, servers, timedelta(hours=6)).num_cancelled == 0
    assert {address for address, *_ in ill(three)} == {ONE, TWO}


@pytest.mark.parametrize("moved", ["started_at = now()", "finished_at = now(), state = 'failed'"])
def test_a_server_at_which_one_file_moves_does_not_stand_still(
    three: Inventory, two: dict[str, Server], moved: str
) -> None:
    to_c(three, 1)
    submitted(three, two)
    hours_pass(three, 10)
    three.rows(f"UPDATE transfers SET {moved} WHERE id = (SELECT max(id) FROM transfers)")
    three.rows("UPDATE transfer_batches SET server = :two", two=TWO)
    servers = asked(two)
    servers.answered.add(TWO)
    move_away(three.db, servers, timedelta(hours=6))
    assert ill(three) == []
