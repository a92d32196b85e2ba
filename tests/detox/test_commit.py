"""From an approved Detox plan to subscriptions, on a real database: once, all or nothing, and only what is still as
planned."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from sqlalchemy import event, text

from dynamo_ops.base.errors import PlanError, RetryableRemoteError
from dynamo_ops.database.connection import Database
from dynamo_ops.detox import commit as module
from dynamo_ops.detox import history
from dynamo_ops.detox.commit import CommitSummary, commit
from dynamo_ops.detox.enforced import ENFORCED
from dynamo_ops.detox.engine.plan import POLICY_LINES, SITE_STATES
from dynamo_ops.inventory.replica import block_replica, dataset_replica
from dynamo_ops.inventory.subscription import let_go
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.verdict import GATE, approve, refuse
from dynamo_ops.quality.thresholds import LastCopies
from tests.detox.small import NOW
from tests.inventory.factory import SIZE, Inventory
from tests.plan.made_of import made_of

Planned = tuple[str, str]
"""Block and site of a deletion."""
STATES = {
    name: SITE_STATES[name]
    for name in (
        "site_id",
        "site",
        "quota_bytes",
        "is_triggered",
        "bytes_before",
        "bytes_after",
        "occupancy_before",
        "occupancy_after",
        "protected_bytes",
    )
}
SAID = {
    "dataset_id": pl.Int64,
    "site_id": pl.Int64,
    "decision": pl.String,
    "line": pl.Int32,
    "num_blocks": pl.Int64,
    "size_bytes": pl.Int64,
}


class Stock(Inventory):
    """Blocks b1, b2 of three files each, complete at T2_A and T2_B; T2_C is there too. ``ops`` owns everything."""

    def __init__(self, db: Database, folder: Path) -> None:
        super().__init__(db)
        self.folder = folder
        for site in ("T2_A", "T2_B", "T2_C"):
            self.site(site)
        for block in ("b1", "b2"):
            self.block(block, 3)
            for site in ("T2_A", "T2_B"):
                self.replica(block, site)
        self.users = self.scalar("INSERT INTO groups (name, ownership_level) VALUES ('users', 'block') RETURNING id")

    def plan(
        self,
        *deletions: Planned,
        whole: bool = False,
        last: bool = False,
        reowned: dict[Planned, int] | None = None,
        needed: dict[str, int] | None = None,
        kept: Sequence[tuple[str, str, int]] = (),
        lines: Sequence[str] = ("Dismiss", "Delete dataset.status == INVALID"),
        approved: bool = True,
        partition: str = "physics",
        run_key: str = "run",
    ) -> int:
        """A stored plan that deletes these replicas as they are now, by line 1.

        ``whole``: as whole dataset replicas. ``needed``: of the copies at these sites a rule needs so many. ``kept``:
        site, decision and line of what is said of the dataset's other replicas.
        """
        rows = [(*self._replica(block, site), 1, whole, last, "valid") for block, site in deletions]
        numbers = dict.fromkeys(["block_id", "dataset_id", "site_id", "group_id", "size_bytes", "line"], pl.Int64)
        flags = dict.fromkeys(["whole_dataset", "is_last_copy_allowed"], pl.Boolean)
        frame = pl.DataFrame(rows, orient="row", schema={**numbers, **flags, "dataset_status": pl.String})
        handed = [
            (self.block_ids[b], self.dataset_id, self.site_ids[s], group, self._replica(b, s)[3], 2, 3 * SIZE)
            for (b, s), group in (reowned or {}).items()
        ]
        keys = ["block_id", "dataset_id", "site_id", "group_id", "from_group_id", "line", "size_bytes"]
        going = {site for _, site in deletions}
        counted = [
            ("a rule", number, self.dataset_id, self.site_ids[site], site not in going)
            for site, number in (needed or {}).items()
        ]
        said = [(self.dataset_id, self.site_ids[site], decision, line, 2, 6 * SIZE) for site, decision, line in kept]
        said += [(self.dataset_id, self.site_ids[site], "delete", 1, 1, 3 * SIZE) for site in sorted(going)]
        states = [(self.site_ids["T2_A"], "T2_A", 10 * SIZE, True, 6 * SIZE, 3 * SIZE, 0.6, 0.3, SIZE)]
        stored = plan_store.save(
            self.db,
            made_of(partition=partition, policy="\n".join(lines), now=NOW),
            run_key=run_key,
            frames={
                "deletions": frame,
                "reowned": pl.DataFrame(handed, orient="row", schema=dict.fromkeys(keys, pl.Int64)),
                "enforced": pl.DataFrame(counted, orient="row", schema=dict(ENFORCED)),
                "replica_decisions": pl.DataFrame(said, orient="row", schema=SAID),
                "site_states": pl.DataFrame(states, orient="row", schema=STATES),
                "policy_lines": pl.DataFrame(
                    [(number, line, number, line.split()[0]) for number, line in enumerate(lines)],
                    orient="row",
                    schema=POLICY_LINES,
                ),
            },
            summary={"triggered_sites": ["T2_A"]},
            location=str(self.folder),
        )
        if approved:
            approve(self.db, stored.id, GATE)
        return stored.id

    def _replica(self, block: str, site: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self.rows(
            "SELECT block_id, dataset_id, site_id, group_id, size_bytes FROM block_replicas "
            "WHERE block_id = :b AND site_id = :s",
            b=self.block_ids[block],
            s=self.site_ids[site],
        )[0]
        return found

    def change(self, sql: str, block: str = "b1", site: str = "T2_A", **values: Any) -> None:
        self.rows(sql, b=self.block_ids[block], s=self.site_ids[site], **values)

    def owner(self, block: str, site: str) -> str | None:
        found = self.rows(
            """SELECT g.name FROM block_replicas r LEFT JOIN groups g ON g.id = r.group_id
            WHERE r.block_id = :b AND r.site_id = :s""",
            b=self.block_ids[block],
            s=self.site_ids[site],
        )
        return found[0][0] if found else "no replica"

    def is_growing(self, site: str) -> bool | None:
        found = self.rows("SELECT is_growing FROM dataset_replicas WHERE site_id = :s", s=self.site_ids[site])
        return found[0][0] if found else None

    def everything(self) -> dict[str, list[Any]]:
        """All rows of the tables that a commit could touch."""
        tables = ("block_replicas", "block_replica_files", "dataset_replicas", "subscriptions", "plans")
        tables += ("detox_history", "detox_left_out", "detox_site_states", "policy_lines")
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


@pytest.fixture
def stock(database: Database, tmp_path: Path) -> Iterator[Stock]:
    return Stock(database, tmp_path)


def done(stock: Stock, plan_id: int, **options: Any) -> CommitSummary:
    summary = commit(stock.db, plan_id, **options)
    assert summary is not None
    return summary


def test_what_is_deleted_goes_to_the_null_group_and_its_files_get_subscriptions(stock: Stock) -> None:
    summary = done(stock, stock.plan(("b1", "T2_A")))
    assert summary == CommitSummary(1, 0, 3, 3 * SIZE, 0, {})
    assert stock.owner("b1", "T2_A") is None
    assert (stock.owner("b1", "T2_B"), stock.owner("b2", "T2_A")) == ("ops", "ops")
    assert stock.subscriptions() == {("delete", lfn, "T2_A"): "new" for lfn in stock.files_of["b1"]}
    assert stock.replica_state("b1", "T2_A") == (True, 3 * SIZE, 0)  # nothing is gone before the storage was asked


def test_a_second_commit_does_nothing(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"))
    done(stock, plan)
    before = stock.everything()
    assert commit(stock.db, plan) is None
    assert stock.everything() == before


def test_the_plan_tells_afterwards_what_was_done(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"))
    done(stock, plan)
    stored = plan_store.load(stock.db, plan)
    assert stored.state == "committed"
    assert stored.summary["commit"] == {
        "num_block_replicas": 1,
        "num_dataset_replicas": 0,
        "num_files": 3,
        "size_bytes": 3 * SIZE,
        "num_reowned": 0,
        "left_out": {},
    }


def test_a_plan_that_was_not_approved_is_not_committed(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"), approved=False)
    with pytest.raises(PlanError, match="is planned; only an approved plan") as error:
        commit(stock.db, plan)
    assert error.value.facts == {"plan_id": plan, "state": "planned"}
    assert stock.subscriptions() == {}


def test_a_refused_plan_is_not_committed_and_the_reason_is_told(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"))
    refuse(stock.db, plan, "too much")
    with pytest.raises(PlanError, match="is refused: too much"):
        commit(stock.db, plan)
    assert stock.subscriptions() == {}


def test_a_plan_that_does_not_exist_is_told(stock: Stock) -> None:
    with pytest.raises(PlanError, match="there is no plan 4711"):
        commit(stock.db, 4711)


def vanishes(stock: Stock) -> None:
    stock.change("DELETE FROM block_replicas WHERE block_id = :b AND site_id = :s")


def changes_its_owner(stock: Stock) -> None:
    stock.change("UPDATE block_replicas SET group_id = :g WHERE block_id = :b AND site_id = :s", g=stock.users)


def loses_its_owner(stock: Stock) -> None:
    stock.change("UPDATE block_replicas SET group_id = NULL WHERE block_id = :b AND site_id = :s")


def grows(stock: Stock) -> None:
    stock.change("UPDATE block_replicas SET size_bytes = size_bytes + 1 WHERE block_id = :b AND site_id = :s")


def is_locked(stock: Stock) -> None:
    stock.rows("INSERT INTO locks (item, reason, created_by) VALUES ('/A/B-v1/AOD#b1', 'in use', 'test')")


def is_locked_here_for_its_owner(stock: Stock) -> None:
    stock.rows("""INSERT INTO locks (item, sites, groups, reason, created_by)
                  VALUES ('/A/B-v1/AOD#b1', 'T2_A', 'o*', 'in use', 'test')""")


def loses_the_other_copy(stock: Stock) -> None:
    stock.change("DELETE FROM block_replicas WHERE block_id = :b AND site_id = :s", site="T2_B")


def loses_a_file_of_the_other_copy(stock: Stock) -> None:
    stock.change("UPDATE block_replicas SET is_complete = false WHERE block_id = :b AND site_id = :s", site="T2_B")


def sees_the_other_copy_condemned(stock: Stock) -> None:
    stock.change("UPDATE block_replicas SET group_id = NULL WHERE block_id = :b AND site_id = :s", site="T2_B")
    stock.subscription("delete", stock.files_of["b1"][:1], "T2_B")


def is_declared_anew(stock: Stock) -> None:
    stock.rows("UPDATE datasets SET status = 'production'")


def loses_a_copy_that_a_rule_counts(stock: Stock) -> None:
    stock.change("DELETE FROM block_replicas WHERE site_id = :s", site="T2_B")
    for block in ("b1", "b2"):
        stock.replica(block, "T2_C")  # not last copies, but the rule does not count this site


def sees_a_copy_that_a_rule_counts_condemned(stock: Stock) -> None:
    stock.change("UPDATE block_replicas SET group_id = NULL WHERE site_id = :s", site="T2_B")
    for block in ("b1", "b2"):
        stock.subscription("delete", stock.files_of[block], "T2_B")
        stock.replica(block, "T2_C")


def becomes_the_only_source(stock: Stock) -> None:
    loses_a_file_of_the_other_copy(stock)
    stock.subscription("copy", stock.files_of["b1"][:1], "T2_B")


def becomes_the_only_source_that_stays(stock: Stock) -> None:
    sees_the_other_copy_condemned(stock)
    stock.subscription("copy", stock.files_of["b1"], "T2_C")


def test_of_a_dataset_that_is_set_aside_nothing_goes(stock: Stock) -> None:
    """What has changed in it since the source told a bad record of it, nobody knows."""
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"))
    stock.rows("""INSERT INTO set_aside_datasets (source, dataset, reason, is_of_record, until, run_key)
                  VALUES ('dbs', '/A/B-v1/AOD', 'why', false, now(), 'run')""")
    assert done(stock, plan).left_out == {"it is locked": 2}
    assert [key for key in stock.subscriptions() if key[0] == "delete"] == []


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (vanishes, "the replica is no longer there"),
        (changes_its_owner, "the replica has changed since it was planned"),
        (loses_its_owner, "the replica has changed since it was planned"),
        (grows, "the replica has changed since it was planned"),
        (is_locked, "it is locked"),
        (is_locked_here_for_its_owner, "it is locked"),
        (loses_the_other_copy, "it is the last copy"),
        (loses_a_file_of_the_other_copy, "it is the only source of a copy that is still pending"),
        (sees_the_other_copy_condemned, "it is the last copy"),
        (becomes_the_only_source, "it is the only source of a copy that is still pending"),
        (becomes_the_only_source_that_stays, "it is the only source of a copy that is still pending"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "stays",
)
def test_what_is_no_longer_as_planned_stays_and_the_rest_goes(
    stock: Stock, event: Callable[[Stock], None], reason: str
) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"))
    event(stock)
    owner = stock.owner("b1", "T2_A")
    summary = done(stock, plan)
    assert summary.left_out == {reason: 1}
    assert (summary.num_block_replicas, summary.num_files) == (1, 3)
    assert stock.owner("b1", "T2_A") == owner
    assert [key for key in stock.subscriptions() if key[0] == "delete" and "b1" in key[1] and key[2] == "T2_A"] == []
    assert len([key for key in stock.subscriptions() if key[0] == "delete" and "b2" in key[1]]) == 3


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (is_declared_anew, "the dataset's status has changed since it was planned"),
        (loses_a_copy_that_a_rule_counts, "an enforcer rule needs it"),
        (sees_a_copy_that_a_rule_counts_condemned, "an enforcer rule needs it"),
    ],
    ids=["status", "copy gone", "copy condemned"],
)
def test_what_concerns_the_whole_dataset_keeps_all_of_it(
    stock: Stock, event: Callable[[Stock], None], reason: str
) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"), needed={"T2_A": 1, "T2_B": 1})
    event(stock)
    assert done(stock, plan).left_out == {reason: 2}
    assert stock.owner("b1", "T2_A") == "ops"
    assert [key for key in stock.subscriptions() if key[2] == "T2_A"] == []


def test_a_copy_goes_that_a_rule_can_spare(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"), needed={"T2_A": 1, "T2_B": 1})
    stock.change("DELETE FROM block_replicas WHERE block_id = :b AND site_id = :s", block="b2", site="T2_B")
    stock.replica("b2", "T2_C")
    assert done(stock, plan).left_out == {}  # the dataset replica at T2_B is still there


def test_what_was_left_out_is_kept_with_its_reason(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"))
    is_locked(stock)
    done(stock, plan)
    assert history.left_out(stock.db, plan).rows() == [("/A/B-v1/AOD", "b1", "T2_A", 3 * SIZE, "it is locked")]


def an_old_lock(stock: Stock) -> None:
    stock.rows("""INSERT INTO locks (item, reason, created_by, expires_at)
                  VALUES ('/A/B-v1/AOD', 'was in use', 'test', now() - interval '1 minute')""")


def a_lock_that_was_removed(stock: Stock) -> None:
    stock.rows("""INSERT INTO locks (item, reason, created_by, removed_at)
                  VALUES ('/A/B-v1/AOD', 'was in use', 'test', now())""")


def a_lock_elsewhere(stock: Stock) -> None:
    stock.rows("INSERT INTO locks (item, sites, reason, created_by) VALUES ('/A/B-v1/AOD', 'T2_B', 'in use', 'test')")


def a_copy_that_has_another_source(stock: Stock) -> None:
    stock.subscription("copy", stock.files_of["b1"], "T2_C")


@pytest.mark.parametrize(
    "event",
    [an_old_lock, a_lock_that_was_removed, a_lock_elsewhere, a_copy_that_has_another_source],
    ids=lambda event: event.__name__,
)
def test_what_does_not_concern_it_does_not_keep_it(stock: Stock, event: Callable[[Stock], None]) -> None:
    plan = stock.plan(("b1", "T2_A"))
    event(stock)
    assert done(stock, plan).left_out == {}


def test_both_copies_of_a_block_in_one_plan_are_both_kept(stock: Stock) -> None:
    summary = done(stock, stock.plan(("b1", "T2_A"), ("b1", "T2_B")))
    assert summary.left_out == {"it is the last copy": 2}
    assert stock.subscriptions() == {}


def test_a_copy_that_stays_for_another_reason_lets_the_other_go(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b1", "T2_B"))
    a_lock_elsewhere(stock)
    assert done(stock, plan).left_out == {"it is locked": 1}
    assert (stock.owner("b1", "T2_A"), stock.owner("b1", "T2_B")) == (None, "ops")


@pytest.mark.parametrize("how", ["a Delete line wants it", "last copies are allowed"])
def test_a_last_copy_goes_when_it_may(stock: Stock, how: str) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b1", "T2_B"), last=how == "a Delete line wants it")
    assert done(stock, plan, last_copies="delete_lines" if "Delete" in how else "always").num_block_replicas == 2
    assert stock.owner("b1", "T2_A") is None


@pytest.mark.parametrize("last_copies", ["never", "delete_lines"])
def test_a_last_copy_stays_where_it_may_not_go(stock: Stock, last_copies: LastCopies) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b1", "T2_B"), last=last_copies == "never")
    assert done(stock, plan, last_copies=last_copies).left_out == {"it is the last copy": 2}


def test_only_the_files_that_are_there_are_deleted(stock: Stock) -> None:
    here = stock.block("b3", 3)
    stock.replica("b3", "T2_B")
    stock.replica("b3", "T2_A", present=here[:2])
    assert done(stock, stock.plan(("b3", "T2_A"))).num_files == 2
    assert set(stock.subscriptions()) == {("delete", lfn, "T2_A") for lfn in here[:2]}


def test_copies_to_what_is_deleted_are_called_off(stock: Stock) -> None:
    here = stock.block("b3", 3)
    stock.replica("b3", "T2_B")
    stock.replica("b3", "T2_A", present=here[:2])
    stock.subscription("copy", here[2:], "T2_A")
    done(stock, stock.plan(("b3", "T2_A")))
    assert stock.subscriptions()["copy", here[2], "T2_A"] == "cancelled"
    assert stock.subscriptions()["delete", here[2], "T2_A"] == "new"  # it may have arrived by now


def test_a_replica_without_any_file_vanishes_at_once_and_its_dataset_replica_with_it(stock: Stock) -> None:
    stock.block("b3", 2)
    stock.replica("b3", "T2_B")
    stock.replica("b3", "T2_C", present=[], growing=True)
    stock.rows("UPDATE block_replicas SET size_bytes = 0 WHERE site_id = :s", s=stock.site_ids["T2_C"])
    done(stock, stock.plan(("b3", "T2_C"), whole=True))
    assert stock.replica_state("b3", "T2_C") is None
    assert stock.is_growing("T2_C") is None
    assert stock.subscriptions() == {}


def test_a_dataset_replica_deleted_whole_stops_growing(stock: Stock) -> None:
    stock.rows("UPDATE dataset_replicas SET is_growing = true")
    summary = done(stock, stock.plan(("b1", "T2_A"), ("b2", "T2_A"), whole=True))
    assert summary.num_dataset_replicas == 1
    assert (stock.is_growing("T2_A"), stock.is_growing("T2_B")) == (False, True)


def test_it_goes_on_growing_when_something_was_left_out(stock: Stock) -> None:
    stock.rows("UPDATE dataset_replicas SET is_growing = true")
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"), whole=True)
    is_locked(stock)
    assert done(stock, plan).num_dataset_replicas == 0
    assert stock.is_growing("T2_A") is True


def test_blocks_handed_over_change_their_owner_and_stay(stock: Stock) -> None:
    summary = done(stock, stock.plan(("b1", "T2_A"), reowned={("b2", "T2_A"): stock.users}))
    assert summary.num_reowned == 1
    assert stock.owner("b2", "T2_A") == "users"
    assert [key for key in stock.subscriptions() if "b2" in key[1]] == []


def test_a_block_that_has_lost_its_owner_meanwhile_is_not_handed_over(stock: Stock) -> None:
    plan = stock.plan(reowned={("b2", "T2_A"): stock.users})
    stock.change("UPDATE block_replicas SET group_id = NULL WHERE block_id = :b AND site_id = :s", block="b2")
    assert done(stock, plan).num_reowned == 0
    assert stock.owner("b2", "T2_A") is None


def test_a_block_that_has_another_owner_meanwhile_keeps_it(stock: Stock) -> None:
    plan = stock.plan(reowned={("b2", "T2_A"): stock.users})
    other = stock.scalar("INSERT INTO groups (name, ownership_level) VALUES ('others', 'block') RETURNING id")
    stock.change(f"UPDATE block_replicas SET group_id = {other} WHERE block_id = :b AND site_id = :s", block="b2")
    assert done(stock, plan).num_reowned == 0
    assert stock.owner("b2", "T2_A") == "others"


@pytest.mark.parametrize(
    ("place", "step"),
    [
        (module, "recheck"),
        (block_replica, "condemn"),
        (let_go, "subscribe_blocks"),
        (dataset_replica, "stop_growing"),
        (let_go, "drop_empty"),
        (module, "_reown"),
        (module, "record_plan"),
        (module, "mark_committed"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_that_is_killed_leaves_everything_as_it_was_and_can_be_done_again(
    stock: Stock, monkeypatch: pytest.MonkeyPatch, place: ModuleType, step: str, when: str
) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"), whole=True, reowned={("b2", "T2_B"): stock.users})
    before = stock.everything()
    real = getattr(place, step)

    def killed(*args: Any, **kwargs: Any) -> None:
        if when == "after":
            real(*args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, step, killed)
        with pytest.raises(KeyboardInterrupt):
            commit(stock.db, plan)
    assert stock.everything() == before
    assert done(stock, plan).num_block_replicas == 2


STATEMENTS = 80
"""More than a commit makes."""


def test_a_commit_whose_connection_dies_at_any_statement_is_undone_and_gives_the_same_again(stock: Stock) -> None:
    """The server's end of the connection goes, at the first statement, the second, …, the COMMIT."""
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"), whole=True, reowned={("b2", "T2_B"): stock.users})
    is_locked(stock)
    before, killed = stock.everything(), []
    for number in range(STATEMENTS):
        victim = Database(stock.db.url)
        count = itertools.count()

        def end(connection: Any, *cursor_and_statement: Any, at: int = number, count: Any = count) -> None:
            if next(count) == at:
                pid = connection.connection.dbapi_connection.get_backend_pid()
                stock.rows("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
                killed.append(cursor_and_statement[1] if cursor_and_statement else "COMMIT")

        event.listen(victim.engine, "before_cursor_execute", end)
        event.listen(victim.engine, "commit", end)
        try:
            commit(victim, plan)
        except RetryableRemoteError:
            assert stock.everything() == before
        else:
            break
        finally:
            victim.dispose()
    assert len(killed) == number > 20  # at each of its statements; then it went through
    assert killed[-1] == "COMMIT"
    assert (stock.owner("b2", "T2_A"), stock.owner("b1", "T2_A"), stock.owner("b2", "T2_B")) == (None, "ops", "users")
    assert len(stock.subscriptions()) == 3
    assert stock.rows("SELECT decision, num_blocks FROM detox_history ORDER BY 1") == [
        ("delete", 1),
        ("left_out", 1),
        ("reowned", 1),
    ]
    assert commit(stock.db, plan) is None


def test_two_partitions_at_once_leave_a_copy(stock: Stock) -> None:
    """Each plan deletes the copy that the other counts on."""
    from concurrent.futures import ThreadPoolExecutor

    plans = [
        stock.plan(("b1", site), partition=partition, run_key=partition)
        for site, partition in (("T2_A", "physics"), ("T2_B", "express"))
    ]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda plan: commit(Database(stock.db.url), plan), plans))
    assert sorted(summary.num_block_replicas for summary in found if summary) == [0, 1]


def test_two_commits_at_once_commit_once(stock: Stock) -> None:
    from concurrent.futures import ThreadPoolExecutor

    plan = stock.plan(("b1", "T2_A"))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: commit(Database(stock.db.url), plan), range(4)))
    assert len([summary for summary in found if summary]) == 1
    assert len(stock.subscriptions()) == 3


def test_a_partition_is_committed_by_one_at_a_time(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"))
    with stock.db.begin() as first:
        plan_store.lock_for_commit(first, plan)
        with stock.db.begin() as second:
            second.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                plan_store.lock_for_commit(second, plan)
            second.rollback()
