"""Transfers that fail by what they bring make their source suspicious; those that fail otherwise do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.doubt.declare import call_good, judge_again
from dynamo_ops.inventory.doubt.settings import DamageSettings, damage_settings
from dynamo_ops.inventory.doubt.suspect import suspect
from dynamo_ops.inventory.subscription.blame import judge
from dynamo_ops.transfer.tasks import recover
from tests.inventory.factory import Inventory
from tests.people import ADA

NOW = datetime.now(UTC)
CONFIG = DamageSettings()
LFN = "/store/b1/f0"
WRONG = "SOURCE [5] Source and destination checksums do not match"


@pytest.fixture
def stock(database: Database) -> Inventory:
    """b1 at T2_A and T2_C; f0 of it is to come to T2_B."""
    inventory = Inventory(database)
    for site in ("T2_A", "T2_B", "T2_C"):
        inventory.site(site)
    inventory.block("b1", 2)
    inventory.replica("b1", "T2_A")
    inventory.replica("b1", "T2_C")
    inventory.subscription("copy", [LFN], "T2_B")
    return inventory


def attempts(
    stock: Inventory,
    *reasons: str,
    state: str = "failed",
    source: str = "T2_A",
    hours_ago: float = 1,
    others: list[int] | None = None,
) -> None:
    for reason in reasons:
        stock.rows(
            """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, reason, blame,
                                      size_bytes, finished_at, other_source_site_ids)
               SELECT 1, (SELECT id FROM subscriptions), count(*), :source, :state, :reason, :blame, 1, :at, :others
               FROM transfers""",
            blame=judge(reason).blame if state == "failed" else None,
            source=stock.site_ids[source],
            state=state,
            reason=reason,
            at=NOW - timedelta(hours=hours_ago),
            others=others,
        )


def suspicious(stock: Inventory) -> set[str]:
    rows = stock.rows("""SELECT s.name, f.lfn, c.created_by FROM bad_replicas c JOIN sites s ON s.id = c.site_id
                         JOIN files f ON f.id = c.file_id WHERE c.state = 'suspicious'""")
    assert {row[1:] for row in rows} <= {(LFN, "transfers")}
    return {name for name, *_ in rows}


@pytest.mark.parametrize(
    "reason",
    [
        WRONG,
        "DESTINATION [5] Source and destination checksum do not match: 00000001, not 00000002",
        "TRANSFER [5] User-defined and source CHECKSUM MISMATCH",
        "SOURCE [5] /store/b1/f0 at T2_A has the checksum 00000001, not 00000002",
        "SOURCE /store/b1/f0 at T2_A has 7 bytes, the inventory knows 1000",
        "SOURCE /store/b1/f0 gives more than its 1000 bytes",
        "FTS copied unknown bytes, the inventory knows 1000",
        "SOURCE [2] /store/b1/f0 is not at T2_A",  # it is not there, its storage says
        "SOURCE [2] Result HTTP 404 : File not found  after 1 attempts",
    ],
)
def test_so_many_make_it_suspicious(stock: Inventory, reason: str) -> None:
    attempts(stock, reason, reason)
    assert suspect(stock.db, CONFIG, NOW) == 0
    attempts(stock, reason)
    assert (suspect(stock.db, CONFIG, NOW), suspicious(stock)) == (1, {"T2_A"})
    assert stock.rows("SELECT kind, facts->>'by', facts->>'num_suspicious' FROM events") == [
        ("file.bad", "transfers", "1")
    ]
    assert suspect(stock.db, CONFIG, NOW) == 0


@pytest.mark.parametrize(
    "reason",
    [
        "SOURCE [110] Connection timed out",
        "SOURCE [1] HTTP 403 : Permission refused",
        "SOURCE [5] Source and user-defined adler32 checksum do not match (00000000 != aa09779b)",
        "DESTINATION [5] Source and destination adler32 checksum do not match (aa09779b != 00000000)",
        "DESTINATION [14] Could not get the checksum",
        "SOURCE /store/b1/f0 at T2_A ended after 7 of 1000 bytes",
        "SOURCE [70] checksum: timeout",
        "DESTINATION it has 7 bytes, the inventory knows 1000 (/store/b1/f0, removed)",
        "DESTINATION [17] T1_T has another file by this name: 7 bytes, adler32 unknown; on tape nothing is overwritten",
    ],
)
def test_what_says_nothing_of_the_content_counts_for_nothing(stock: Inventory, reason: str) -> None:
    attempts(stock, *[reason] * 9)
    assert (suspect(stock.db, CONFIG, NOW), suspicious(stock)) == (0, set())


def test_only_those_of_late_and_only_from_one_source(stock: Inventory) -> None:
    attempts(stock, WRONG, WRONG, WRONG, hours_ago=24 * 8)
    attempts(stock, WRONG, WRONG, source="T2_C", hours_ago=24 * 3)
    attempts(stock, WRONG, WRONG, source="T2_C", others=[stock.site_ids["T2_A"]])
    attempts(stock, WRONG)
    assert suspect(stock.db, CONFIG, NOW) == 0
    attempts(stock, WRONG, source="T2_C")
    assert (suspect(stock.db, CONFIG, NOW), suspicious(stock)) == (1, {"T2_C"})


def test_a_copy_that_came_whole_clears_what_was_before(stock: Inventory) -> None:
    attempts(stock, WRONG, WRONG, WRONG, hours_ago=3)
    attempts(stock, "", state="done", hours_ago=2)
    attempts(stock, WRONG, WRONG)
    assert suspect(stock.db, CONFIG, NOW) == 0
    attempts(stock, WRONG)
    assert suspect(stock.db, CONFIG, NOW) == 1


def test_what_a_person_called_good_is_suspicious_for_what_came_after(stock: Inventory) -> None:
    attempts(stock, WRONG, WRONG, WRONG)
    assert suspect(stock.db, CONFIG, NOW) == 1
    call_good(stock.db, "T2_A", [LFN], reason="read it whole", by=ADA)
    assert (suspect(stock.db, CONFIG, NOW), suspicious(stock)) == (0, set())
    attempts(stock, WRONG, WRONG, WRONG, hours_ago=-1)
    assert (suspect(stock.db, CONFIG, NOW), suspicious(stock)) == (1, {"T2_A"})


def test_what_was_called_good_long_ago_is_forgotten(stock: Inventory) -> None:
    attempts(stock, WRONG, WRONG, WRONG)
    suspect(stock.db, CONFIG, NOW)
    call_good(stock.db, "T2_A", [LFN], reason="read it whole", by=ADA)
    assert judge_again(stock.db)["num_forgotten"] == 0
    stock.rows("UPDATE bad_replicas SET created_at = now() - interval '91 days'")
    assert judge_again(stock.db)["num_forgotten"] == 1


def test_a_copy_that_is_not_there_is_not_suspicious(stock: Inventory) -> None:
    attempts(stock, WRONG, WRONG, WRONG)
    stock.rows("DELETE FROM block_replicas WHERE site_id = :s", s=stock.site_ids["T2_A"])
    assert suspect(stock.db, CONFIG, NOW) == 0


def test_a_setting_that_is_wrong_is_named() -> None:
    with pytest.raises(SettingsError, match=r"damage\.suspicious_after"):
        damage_settings(Settings(damage={"suspicious_after": 0}))


def test_each_run_of_transfers_looks(stock: Inventory) -> None:
    attempts(stock, WRONG, WRONG)
    settings = Settings(fts={"url": None}, damage={"suspicious_after": 2})
    assert recover(stock.db, settings)["num_suspicious"] == 1
    assert suspicious(stock) == {"T2_A"}
