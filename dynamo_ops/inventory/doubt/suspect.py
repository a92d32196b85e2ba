"""Transfers say that a copy is bad: once enough of them have failed by checksum or size, it is suspicious.

It is read only where nothing else gives the file, and counts for nothing; a person says whether it is bad or good.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import tell
from dynamo_ops.inventory.checks import BadState
from dynamo_ops.inventory.checksum import COMPARED_WITH_NONE
from dynamo_ops.inventory.doubt.declare import BAD_BY_DATASET
from dynamo_ops.inventory.doubt.settings import DamageSettings
from dynamo_ops.inventory.replica import present_file
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.states import TransferState

log = logging.getLogger(__name__)

BY_TRANSFERS = "transfers"
"""Who says it."""
RECENT = timedelta(days=1)
"""Only copies from which a transfer failed so lately are looked at: results are taken in within hours."""
WRONG_CONTENT = (
    r"checksums? do(es)? not match|checksum mismatch|has the checksum \S+, not|bytes, the inventory knows"
    r"|gives more than its \d+ bytes"
)
"""What FTS and our own copies say where what came is not the file, whatever its case."""
NOT_THE_SOURCE = r"^DESTINATION it has"
"""The destination has not kept what came."""


def suspect(db: Database, config: DamageSettings, now: datetime) -> int:
    """Call the copies suspicious from which ``config.suspicious_after`` transfers failed by their content, within
    ``config.suspicious_within_days``, since a person last called them good and since one last succeeded; how many."""
    parameters = {
        "wrong": WRONG_CONTENT,
        "not_the_source": NOT_THE_SOURCE,
        "none_told": COMPARED_WITH_NONE,
        "recent": now - RECENT,
        "since": now - timedelta(days=config.suspicious_within_days),
        "most": config.suspicious_after,
    }
    with db.begin() as connection:
        connection.execute(text(_FAILING), parameters)
        reason = (
            f"{config.suspicious_after} or more transfers from it failed by checksum or size within "
            f"{config.suspicious_within_days:g} days"
        )
        words = {"by": BY_TRANSFERS, "reason": reason}
        num_new = present_file.call_bad(
            connection,
            f"SELECT file_id, site_id, '{BadState.SUSPICIOUS}' AS state, :reason AS reason, :by AS created_by"
            " FROM new_words",
            over=f"('{BadState.GOOD}')",
            parameters=words,
        )
        if num_new:
            log.warning("%d copies are suspicious from now on: %s", num_new, reason)
            tell(connection, EventKind.FILE_BAD, BAD_BY_DATASET, words)
        connection.execute(text("DROP TABLE new_words"))
    return num_new


_IS_WRONG = f"""(attempt.state = '{TransferState.FAILED}' AND attempt.reason ~* :wrong
    AND attempt.reason !~ :none_told
    AND attempt.reason !~ :not_the_source AND attempt.other_source_site_ids IS NULL)"""
"""The transfer ``attempt`` failed by its content, and had one source only: it is known which is to blame."""

_FAILING = f"""
    CREATE TEMPORARY TABLE new_words ON COMMIT DROP AS
    WITH recent AS (
        SELECT DISTINCT copy.file_id, attempt.source_site_id AS site_id
        FROM transfers AS attempt JOIN subscriptions AS copy ON copy.id = attempt.subscription_id
        WHERE attempt.finished_at >= :recent AND {_IS_WRONG})
    SELECT recent.file_id, recent.site_id
    FROM recent JOIN files AS file ON file.id = recent.file_id
    JOIN block_replicas AS replica ON replica.block_id = file.block_id AND replica.site_id = recent.site_id
    LEFT JOIN bad_replicas AS called ON called.file_id = recent.file_id AND called.site_id = recent.site_id
    JOIN subscriptions AS copy ON copy.file_id = recent.file_id
    JOIN transfers AS attempt ON attempt.subscription_id = copy.id AND attempt.source_site_id = recent.site_id
    WHERE {is_present("recent.file_id", "replica")} AND attempt.finished_at >= :since AND {_IS_WRONG}
      AND (called.id IS NULL OR called.state = '{BadState.GOOD}' AND attempt.finished_at > called.created_at)
      AND NOT EXISTS (
        SELECT FROM subscriptions AS other JOIN transfers AS success ON success.subscription_id = other.id
        WHERE other.file_id = recent.file_id AND success.source_site_id = recent.site_id
          AND success.state = '{TransferState.DONE}' AND success.finished_at > attempt.finished_at)
    GROUP BY recent.file_id, recent.site_id HAVING count(*) >= :most"""
