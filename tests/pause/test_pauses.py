"""What a person has stopped does nothing, and says why; what is not stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from dynamo_ops.access import audit
from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import InventoryError, PausedError
from dynamo_ops.base.settings import DeletionSettings, Settings
from dynamo_ops.consistency import repair as consistency_repair
from dynamo_ops.consistency import tasks as consistency
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import tasks as dealer
from dynamo_ops.deletion import tasks as deletion
from dynamo_ops.deletion.execute import execute_batch
from dynamo_ops.deletion.queue import plan_deletions
from dynamo_ops.detox import tasks as detox
from dynamo_ops.pause.pauses import PauseKind, in_force, look, pauses, resume, stop
from dynamo_ops.popularity import tasks as popularity
from dynamo_ops.popularity.days import DayOfSource
from dynamo_ops.sources import tasks as sources
from dynamo_ops.storage.protocol import DeletionOutcome
from dynamo_ops.transfer import tasks as transfer
from tests.deletion.test_deletions import Answers
from tests.inventory.factory import Inventory
from tests.people import ADA, BOB

NOW = datetime.now(UTC)
RUN: dict[str, Any] = {"run_key": "run", "now": NOW}
DAY = DayOfSource("2026-03-01", "monit", "accesses")
ACTS: dict[str, tuple[PauseKind, Callable[[Database, Settings], object]]] = {
    "pull sites": (PauseKind.METADATA, lambda db, s: sources.pull_sites(db, s, "run", "cric")),
    "pull datasets": (PauseKind.METADATA, lambda db, s: sources.pull_datasets(db, s, "run", "dbs", NOW, NOW)),
    "pull details": (PauseKind.METADATA, lambda db, s: sources.pull_details(db, s, "run", "dbs", 0)),
    "merge": (PauseKind.METADATA, lambda db, _: sources.merge(db, "run", ["dbs"], ["cric"], NOW)),
    "pull a day": (PauseKind.POPULARITY, lambda db, s: popularity.pull(db, s, "run", DAY)),
    "replace a day": (PauseKind.POPULARITY, lambda db, _: popularity.replace_day(db, "run", DAY)),
    "rank": (PauseKind.POPULARITY, popularity.rank),
    "plan deletions": (PauseKind.DETOX, lambda db, s: detox.plan_cycle(db, s, "P", **RUN)),
    "propose copies": (PauseKind.DEALER, lambda db, s: dealer.propose(db, s, "P", "requests", seed=1, **RUN)),
    "plan transfers": (PauseKind.TRANSFERS, transfer.plan_transfer_batches),
    "plan batches of deletions": (PauseKind.DELETIONS, deletion.plan_deletion_batches),
    "clean directories": (PauseKind.DELETIONS, lambda db, s: deletion.clean_directories(db, s, [])),
    "choose sites": (PauseKind.CONSISTENCY, lambda db, _: consistency.choose_sites(db, [])),
    "repair": (PauseKind.CONSISTENCY, lambda db, _: consistency_repair.repair(db, 1, no_storage)),
}
"""Acts, one by one; those that need a world have tests of their own."""


def no_storage(site_id: int) -> Any:
    raise AssertionError(f"the storage of site {site_id} was asked")


@pytest.mark.parametrize("everything", [True, False], ids=["everything", "its kind"])
@pytest.mark.parametrize("name", ACTS)
def test_an_act_that_is_stopped_does_nothing(database: Database, tmp_path: Path, name: str, everything: bool) -> None:
    kind, act = ACTS[name]
    stop(database, None if everything else kind, by=ADA, reason="the grid burns")
    what = "everything" if everything else kind
    with pytest.raises(
        PausedError, match=rf"nothing is done: {what} stopped by ada until it is resumed: the grid burns"
    ):
        act(database, Settings(config_dir=tmp_path, policy_dir=tmp_path))


def test_what_is_not_stopped_goes_on(database: Database) -> None:
    stop(database, PauseKind.DELETIONS, by=ADA, reason="x")
    stop(database, PauseKind.DETOX, "P", by=ADA, reason="x")
    stop(database, PauseKind.DEALER, by=ADA, reason="x", until=NOW + timedelta(hours=1))
    look(database, PauseKind.TRANSFERS)
    look(database, PauseKind.DETOX, "Q")
    for kind, partition in ((PauseKind.DELETIONS, None), (PauseKind.DETOX, "P"), (PauseKind.DEALER, "Q")):
        with pytest.raises(PausedError):
            look(database, kind, partition)


def test_a_pause_ends_by_itself_or_by_a_person(database: Database) -> None:
    first = stop(database, by=ADA, reason="x", until=NOW + timedelta(hours=1))
    second = stop(database, PauseKind.DETOX, by=ADA, reason="x")
    assert [pause.id for pause in in_force(database)] == [first.id, second.id]
    with database.begin() as connection:
        connection.execute(text("UPDATE pauses SET until = now() WHERE id = 1"))
    assert [pause.id for pause in in_force(database)] == [second.id]
    with pytest.raises(InventoryError, match=r"no pause 1: detox stopped by ada until it is resumed: x \(pause 2\)"):
        resume(database, [1], by=BOB)
    assert resume(database, by=BOB) == [second]
    with pytest.raises(InventoryError, match="there is no pause to end: nothing is stopped"):
        resume(database, by=BOB)
    assert pauses(database)["ended_by"].to_list() == ["bob", None]
    assert audit.records(database)["object"].to_list()[1] == "resume detox"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reason": " "}, "say why"),
        ({"reason": "x", "until": NOW - timedelta(hours=1)}, "is over"),
        (
            {"reason": "x", "kind": PauseKind.TRANSFERS, "partition": "P"},
            "transfers have no partitions",
        ),
    ],
)
def test_a_pause_that_cannot_be_meant_is_refused(database: Database, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        stop(database, by=ADA, **given)
    assert in_force(database) == []


def test_who_may(database: Database) -> None:
    of_p = Person("mia", KnownBy.TOKEN, (Grant(Role.OPERATOR, Scope.parse("partition:P")),))
    stop(database, PauseKind.DETOX, "P", by=of_p, reason="x")
    with pytest.raises(AccessError):
        stop(database, by=of_p, reason="x")
    stop(database, by=ADA, reason="x")
    with pytest.raises(AccessError):
        resume(database, by=of_p)
    resume(database, [1], by=of_p)


class StoppedMeanwhile(Answers):
    """A storage at which a person stops deletions while it works on the first chunk."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self._db = db

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        if not self.asked:
            stop(self._db, PauseKind.DELETIONS, by=ADA, reason="enough")
        return super().delete(lfns)


def test_deletions_stop_between_two_chunks(inventory: Inventory) -> None:
    """What was claimed is done and recorded, and nothing more claimed; resumed, it goes on where it was."""
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    inventory.block("b1", 4)
    for site in ("T2_A", "T2_B"):
        inventory.replica("b1", site)
    inventory.subscription("delete", inventory.files_of["b1"], "T2_A", is_last_allowed=False)
    limits = DeletionSettings(files_per_chunk=2)
    (batch,) = plan_deletions(inventory.db)
    storage = StoppedMeanwhile(inventory.db)
    with pytest.raises(PausedError, match="enough"):
        execute_batch(inventory.db, batch, storage, limits)  # type: ignore[arg-type]
    assert sorted(inventory.subscriptions().values()) == ["done", "done", "inbatch", "inbatch"]
    with pytest.raises(PausedError, match="enough"):
        execute_batch(inventory.db, batch, storage, limits)  # type: ignore[arg-type]
    assert len(storage.asked) == 1
    resume(inventory.db, by=ADA)
    execute_batch(inventory.db, batch, storage, limits)  # type: ignore[arg-type]
    assert sorted(lfn for chunk in storage.asked for lfn in chunk) == sorted(inventory.files_of["b1"])
    assert set(inventory.subscriptions().values()) == {"done"}
