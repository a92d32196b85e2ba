"""Whose fault a failure was: every text of the contract, those that were recorded, and those of our own copies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.subscription.blame import (
    COMPARED_WITH_NONE,
    NONE_TOLD,
    PRECEDENCE,
    TABLE,
    WHAT_NEXT,
    WHOSE,
    Again,
    Blame,
    Verdict,
    errno_of,
    judge,
    judge_all,
)
from tests.fts.recorded import FOLDER

S, D, L, C, F, A, T, V, N = (
    Blame.SOURCE, Blame.DESTINATION, Blame.LINK, Blame.CREDENTIAL, Blame.FILE, Blame.ARRIVAL, Blame.TAPE,
    Blame.SERVICE, Blame.NOBODY,
)  # fmt: skip

PULL = "TRANSFER ERROR: Copy failed (3rd pull). Last attempt: copy "
CONTRACT = [
    # FTS_CONTRACT §12, with FTS's flag where it is told.
    ("DESTINATION [1] HTTP 403 : Permission refused", False, D, True),
    ("DESTINATION [13] Failed to create directory davs://se.org/store/x", False, D, True),
    ("DESTINATION [14] Could not get the checksum", False, D, True),
    ("SOURCE [1] HTTP 403 : Permission refused", False, S, True),
    ("SOURCE [13] Permission denied", False, S, True),
    ("DESTINATION [5] Source and destination adler32 checksum do not match (aa09779b != 00000000)", True, D, True),
    ("DESTINATION [5] User-defined and destination adler32 checksum do not match (1 != 00000000)", False, D, True),
    ("SOURCE [5] Source and user-defined adler32 checksum do not match (00000000 != aa09779b)", False, S, True),
    ("TRANSFER [5] Source and destination adler32 checksum do not match (aa09779b != 00000000)", True, D, True),
    ("TRANSFER [5] Source and destination adler32 checksum do not match (00000000 != aa09779b)", True, S, True),
    ("TRANSFER [95] Operation not supported", True, L, True),
    ("SOURCE [95] Operation not supported", False, S, True),
    ("DESTINATION [95] Operation not supported", True, D, True),
    ("SOURCE [2] Result HTTP 404 : File not found  after 1 attempts", False, F, False),
    ("SOURCE [112] Result Could not connect to server after 1 attempts", True, S, True),
    ("SOURCE [110] Operation timed out", False, S, True),
    ("SOURCE [16] Device or resource busy", False, S, True),
    ("TRANSFER [35] Resource deadlock avoided: already opened by 1 writer", True, N, True),
    ("DESTINATION [22] Source and destination file size mismatch", False, D, True),
    ("SOURCE [22] User-defined and source file size mismatch", False, F, False),
    # §4, and what was recorded.
    ("DESTINATION [112] Result Could not connect to server after 1 attempts", True, D, True),
    ("DESTINATION [17] Destination file exists and overwrite is not enabled", False, D, True),
    ("SOURCE [2] Failed to stat file (No such file or directory)", False, F, False),
    ("SOURCE [5] Source and user-defined adler32 checksum do not match (aa09779b != 00000001)", False, F, False),
    ("DESTINATION [5] User-defined and destination adler32 checksum do not match (aa0977 != 01)", False, A, True),
    (
        "STAGING [2] [gfal_xrootd_bring_online_poll_list] File does not exist: /store/t77.root (reason: no such file)",
        None, F, False,
    ),
    (f"TRANSFER [112] {PULL}HTTP 400 : Server Error ", True, L, True),
    ("Job canceled by the user", None, N, True),
    ("Job has been canceled because it stayed in the queue for too long", None, N, True),
    # A credential that ran out tells so at some storages, and looks like a refusal at others.
    ("SOURCE [13] the proxy has expired", False, C, True),
    ("DESTINATION [1] Error with credential: The proxy credential: /tmp/x has expired", False, C, True),
    ("TRANSFER [13] HTTP 401 : Authentication Error", False, C, True),
    # Tapes.
    ("STAGING [110] bring-online timeout has been exceeded", None, T, True),
    ("STAGING [13] Permission denied", None, S, True),
    # What gfal2 does not take of a tape's answer says nothing about the copy.
    (
        "STAGING [42] [gfal_xrootd_bring_online_poll_list] File is not being brought online: /store/a (reason: )",
        None, T, True,
    ),
    (
        "STAGING [42] [gfal_xrootd_bring_online_poll_list] Response from server is an invalid JSON: No information",
        None, T, True,
    ),
    ("ARCHIVING [110] archive timeout has been exceeded", False, T, True),
    # FTS itself.
    ("AGENT [70] fts_url_copy was killed", None, V, True),
    ("GENERAL [70] copy process crashed", False, V, True),
    ("FTS does not know the job", True, V, True),
    ("FTS's job has ended, and does not list the file", True, V, True),
    # Between the two sides: neither is condemned, whatever FTS calls it.
    (f"TRANSFER [13] {PULL}HTTP 403 : Permission denied", False, L, True),
    ("TRANSFER [2] Copy failed: No such file or directory", False, L, True),
    ("TRANSFER [110] Operation timed out", False, L, True),
    ("TRANSFER [28] No space left on device", True, D, True),
    ("TRANSFER [5] copy HTTP 507 : No space left on device", True, D, True),
    ("TRANSFER [5] User-defined and source CHECKSUM MISMATCH", True, A, True),
    # Our own copies.
    ("SOURCE [2] /store/b1/f0 is not at T2_A", False, F, False),
    ("SOURCE [5] /store/b1/f0 at T2_A has the checksum 00000001, not 00000002", False, F, False),
    ("SOURCE /store/b1/f0 at T2_A has 7 bytes, the inventory knows 1000", False, F, False),
    ("SOURCE /store/b1/f0 gives more than its 1000 bytes", False, F, False),
    ("SOURCE /store/b1/f0 at T2_A ended after 7 of 1000 bytes", True, S, True),
    ("SOURCE [13] 403 Forbidden", False, S, True),
    ("DESTINATION [13] 3010 permission denied", False, D, True),
    ("DESTINATION it has 7 bytes, the inventory knows 1000 (/store/b1/f0, removed)", True, D, True),
    ("DESTINATION [5] Source and destination checksum do not match: 00000001, not 00000002", True, A, True),
    ("FTS copied 7 bytes, the inventory knows 1000", False, F, False),
    # What nobody has seen yet: of a source FTS is believed, of anything else no source is condemned.
    ("SOURCE [71] Protocol error", False, S, False),
    ("SOURCE [71] Protocol error", None, S, True),
    ("SOURCE [36] File name too long", False, F, False),
    ("SOURCE [2] No such file", True, F, True),
    ("DESTINATION [999] something new", False, D, True),
    ("WHATEVER [2] something new", False, N, True),
    ("no such file", False, N, True),
    ("", None, N, True),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "flag", "blame", "again"), CONTRACT, ids=lambda value: str(value)[:50])
def test_whose_fault_it_was(reason: str, flag: bool | None, blame: Blame, again: bool) -> None:
    assert judge(reason, flag) == Verdict(blame, again)


def _failed_files(document: Any) -> Iterator[tuple[str, bool | None]]:
    if isinstance(document, dict):
        if document.get("file_state") == "FAILED" and document.get("reason"):
            yield document["reason"], document.get("recoverable")
        for part in document.values():
            yield from _failed_files(part)
    elif isinstance(document, list):
        for part in document:
            yield from _failed_files(part)


def test_every_failure_that_was_recorded_is_in_the_table() -> None:
    """None of them is left to the last lines; and where FTS's flag condemns what is no source, we do not."""
    recorded = {
        found for path in sorted(FOLDER.glob("*.json")) for found in _failed_files(json.loads(path.read_text()))
    }
    assert len(recorded) >= 6
    assert recorded <= {(reason, flag) for reason, flag, *_ in CONTRACT}
    assert {reason for reason, flag in recorded if not judge(reason, flag).is_worth_it} == {
        reason for reason, _ in recorded if reason.startswith(("SOURCE [2]", "SOURCE [5]", "STAGING [2]"))
    }


@pytest.mark.parametrize("side", ["DESTINATION", "TRANSFER", "ARCHIVING", "AGENT", "GENERAL", "CANCELLED", ""])
def test_no_words_but_those_of_a_source_condemn_one(side: str) -> None:
    told = ["", "HTTP 403 : no", "No such file", "file size mismatch", "checksum do not match (1 != 2)", "gone"]
    for reason in (f"{side} [{errno}] {words}" for errno in range(130) for words in told):
        assert judge(reason, flag=False).is_worth_it, reason


def test_of_several_sources_what_they_share_speaks() -> None:
    gone, slow, full = (judge(f"{side} x") for side in ("SOURCE [2]", "TRANSFER [110]", "DESTINATION [28]"))
    assert judge_all([gone, gone]) == Verdict(F, is_worth_it=False)
    assert judge_all([gone, slow]) == Verdict(L, is_worth_it=True)
    assert judge_all([gone, slow, full]) == Verdict(D, is_worth_it=True)


def test_the_table_is_whole() -> None:
    assert {rule.blame for rule in TABLE} == set(Blame) == set(PRECEDENCE) == set(WHOSE) == set(WHAT_NEXT)
    condemning = {frozenset(rule.sides) for rule in TABLE if rule.again != Again.YES}
    assert condemning == {frozenset({"SOURCE"}), frozenset({"STAGING"}), frozenset()}
    assert (errno_of("SOURCE [2] x"), errno_of("SOURCE x"), errno_of("x [2]")) == (2, None, None)


FAILED = {
    "TRANSFER [5] Source checksum and destination checksum do not match: 0a1b2c3d != 00000000": True,
    "DESTINATION [5] User-defined and destination ADLER32 checksum do not match (0a1b2c3d != 00000000)": True,
    "SOURCE [5] Source and user-defined ADLER32 checksum do not match (00000000 != 0a1b2c3d)": True,
    "DESTINATION [5] User-defined and destination ADLER32 checksum do not match (0a1b2c3d != 000000001)": False,
    "DESTINATION [5] User-defined and destination ADLER32 checksum do not match (0a1b2c3d != 0a1b2c3e)": False,
    "TRANSFER [5] path /store/00000000/f != x": False,
}


@pytest.mark.parametrize(("words", "is_none_told"), FAILED.items())
def test_python_and_the_database_see_alike_that_none_was_told(
    database: Database, words: str, is_none_told: bool
) -> None:
    sql = "SELECT $1 ~ $2 AS compared, $1 ~ $3 AS told"
    assert database.frame(sql, [words, COMPARED_WITH_NONE, NONE_TOLD]).row(0) == (is_none_told, is_none_told)
    assert bool(re.search(COMPARED_WITH_NONE, words)) == is_none_told


def test_over_root_the_question_is_not_supported() -> None:
    assert re.search(NONE_TOLD, "TRANSFER [95] Operation not supported")
