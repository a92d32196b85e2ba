"""Whose fault a copy was that failed: one table, for FTS's words and for those of our own copies.

FTS begins what it says with the side (SOURCE, DESTINATION, TRANSFER, STAGING, ARCHIVING, AGENT, …) and an errno. Its
own flag ``recoverable`` says whether *FTS* would try again: a destination that refuses is irrecoverable to it. Here it
counts of a source only. What the table does not know condemns no source: only words that say SOURCE, or that a tape has
no such file, do (FTS_CONTRACT §12).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dynamo_ops.database.words import Words


class Blame(StrEnum):
    """Who is at fault. ``FILE``: the copy at the source, which is not there or is not the file. ``ARRIVAL``: bytes that
    came wrong, wherever that happened. ``CREDENTIAL``: ours. ``SERVICE``: FTS itself. ``NOBODY``: cancelled, too early,
    or words that say nothing."""

    SOURCE = "source"
    DESTINATION = "destination"
    LINK = "link"
    CREDENTIAL = "credential"
    FILE = "file"
    ARRIVAL = "arrival"
    TAPE = "tape"
    SERVICE = "service"
    NOBODY = "nobody"


class Again(StrEnum):
    """Whether the same source is worth another attempt. ``UNLESS_REFUSED``: yes, unless FTS calls it irrecoverable;
    ``IF_SAID``: no, unless FTS calls it recoverable."""

    YES = "yes"
    NO = "no"
    UNLESS_REFUSED = "unless refused"
    IF_SAID = "if said"


@dataclass(frozen=True)
class Verdict:
    """Of one failure. ``is_worth_it``: the same source may serve another time."""

    blame: Blame
    is_worth_it: bool


@dataclass(frozen=True)
class Rule:
    """A line of the table: ``sides`` and ``errnos`` (none: any), and a part of the words, whatever its case."""

    blame: Blame
    again: Again
    sides: frozenset[str] = frozenset()
    errnos: frozenset[int] = frozenset()
    words: str = ""

    def holds(self, side: str, errno: int | None, reason: str) -> bool:
        """Whether a failure is of this line."""
        return (
            (not self.sides or side in self.sides)
            and (not self.errnos or errno in self.errnos)
            and (not self.words or re.search(self.words, reason, re.IGNORECASE) is not None)
        )


def _rule(sides: str, errnos: Sequence[int], words: str, blame: Blame, again: Again = Again.YES) -> Rule:
    return Rule(blame, again, frozenset(sides.split()), frozenset(errnos), words)


FIRST_IS_NONE = "(^|[^0-9a-fA-F])0{8} !="
SECOND_IS_NONE = "!= 0{8}([^0-9a-fA-F]|$)"
COMPARED_WITH_NONE = f"{SECOND_IS_NONE}|{FIRST_IS_NONE}"
"""In FTS's words for a copy that failed (for Python and SQL): a storage told no checksum, and FTS took that for a
wrong one. Nothing is known against the bytes."""
NONE_TOLD = rf"^[A-Z_]+ \[95\] |{COMPARED_WITH_NONE}"
"""The same, and what FTS says over ``root://``: the question is not supported."""

NO_SUCH_FILE = r"HTTP 404|HTTP 410|no such file|file not found|does not exist"
NO_PERMISSION = r"HTTP 403|permission|not authori[sz]ed|authori[sz]ation|access denied"
NO_SPACE = r"HTTP 507|no space left|quota exceeded|SRM_NO_FREE_SPACE"
EXPIRED = (
    r"(proxy|credentials?|token)\b.{0,40}\bexpired|expired (proxy|credential|token)|HTTP 401|authentication fail"
    r"|SRM_AUTHENTICATION_FAILURE|no (valid )?(proxy|credential|delegation)"
)
WRONG_BYTES = r"checksums? do(es)? not match|checksum mismatch|has the checksum \S+, not"
WRONG_LENGTH = r"bytes, the inventory knows|gives more than its \d+ bytes"

AWAY = (4, 11, 16, 62, 70, 100, 101, 102, 103, 104, 107, 108, 110, 111, 112, 113)
"""Interrupted, busy, timed out, the network or the host away: of the storage at that time, not of a file."""

TABLE = (
    _rule("", (), EXPIRED, Blame.CREDENTIAL),
    # 00000000 is the checksum of no file: who tells it, tells none.
    _rule("SOURCE", (), COMPARED_WITH_NONE, Blame.SOURCE),
    _rule("", (), SECOND_IS_NONE, Blame.DESTINATION),
    _rule("", (), FIRST_IS_NONE, Blame.SOURCE),
    _rule("SOURCE", (95,), "", Blame.SOURCE),
    # The copy at the source.
    _rule("SOURCE", (), f"{WRONG_BYTES}|{WRONG_LENGTH}|file size mismatch", Blame.FILE, Again.NO),
    _rule("STAGING", (2,), "", Blame.FILE, Again.IF_SAID),
    _rule("SOURCE", (2, 20, 21, 36), "", Blame.FILE, Again.IF_SAID),
    _rule("SOURCE", (1, 13), "", Blame.SOURCE),
    _rule("SOURCE", (), NO_PERMISSION, Blame.SOURCE),
    _rule("SOURCE", AWAY, "", Blame.SOURCE),
    _rule("SOURCE", (), NO_SUCH_FILE, Blame.FILE, Again.IF_SAID),
    _rule("SOURCE", (), "", Blame.SOURCE, Again.UNLESS_REFUSED),
    # What arrived.
    _rule("DESTINATION", (), rf"^DESTINATION it has|{WRONG_LENGTH}|file size mismatch", Blame.DESTINATION),
    _rule("DESTINATION TRANSFER", (), WRONG_BYTES, Blame.ARRIVAL),
    _rule("DESTINATION", (), "", Blame.DESTINATION),
    # Tapes.
    _rule("STAGING", (1, 13), "", Blame.SOURCE),
    _rule("STAGING ARCHIVING", (), "", Blame.TAPE),
    # Between the two.
    _rule("TRANSFER", (35,), "", Blame.NOBODY),
    _rule("", (), "already opened by", Blame.NOBODY),
    _rule("TRANSFER", (17, 28, 122), "", Blame.DESTINATION),
    _rule("TRANSFER", (), NO_SPACE, Blame.DESTINATION),
    _rule("TRANSFER", (), "", Blame.LINK),
    # FTS, and what we say ourselves.
    _rule("AGENT GENERAL", (), "", Blame.SERVICE),
    _rule("", (), "^FTS does not know the job|^FTS's job has ended", Blame.SERVICE),
    _rule("", (), rf"^FTS copied .* {WRONG_LENGTH}", Blame.FILE, Again.NO),
    _rule("", (), "archive timeout", Blame.TAPE),
    _rule("", (), "", Blame.NOBODY),
)
"""The first line that holds decides."""

PRECEDENCE = (
    Blame.CREDENTIAL,
    Blame.DESTINATION,
    Blame.ARRIVAL,
    Blame.SERVICE,
    Blame.TAPE,
    Blame.LINK,
    Blame.SOURCE,
    Blame.NOBODY,
    Blame.FILE,
)
"""Of several failures of one file the first of these speaks: what all sources share before what is of one."""

SUSPICION = Words((Blame.FILE, Blame.ARRIVAL))
"""What says, once it has been said often enough, that the copy at the source is bad."""

OF_OTHERS = Words((Blame.DESTINATION, Blame.CREDENTIAL, Blame.SERVICE))
"""What would have failed from any source."""

WHOSE = {
    Blame.SOURCE: "the source",
    Blame.DESTINATION: "the destination",
    Blame.LINK: "the link",
    Blame.CREDENTIAL: "our credential",
    Blame.FILE: "the copy at the source",
    Blame.ARRIVAL: "what arrived",
    Blame.TAPE: "the tape",
    Blame.SERVICE: "FTS",
    Blame.NOBODY: "not known",
}
"""As people are told."""

WHAT_NEXT = {
    Blame.SOURCE: "the same source is asked again after a pause; others that have the file go first",
    Blame.DESTINATION: "no source is to blame; tried again after a pause, and counted only while the site is well",
    Blame.LINK: "tried again after a pause; another source goes first",
    Blame.CREDENTIAL: "tried again after a pause, and not counted; the credential must be renewed",
    Blame.FILE: "this source is not asked for the file again; often enough, its copy becomes suspicious",
    Blame.ARRIVAL: "tried again; the third time the source is taken for bad",
    Blame.TAPE: "tried again after a pause",
    Blame.SERVICE: "tried again after a pause",
    Blame.NOBODY: "tried again after a pause",
}
"""What becomes of the copy."""

_FORM = re.compile(r"^([A-Z_]+)\b(?: \[(\d+)\])?")


def errno_of(reason: str) -> int | None:
    """The errno in what FTS says; None where it names none."""
    form = _FORM.match(reason)
    return int(form[2]) if form and form[2] else None


def judge(reason: str, flag: bool | None = None) -> Verdict:
    """Whose fault a failure was, by its words and FTS's ``recoverable``."""
    form = _FORM.match(reason)
    side, errno = (form[1], errno_of(reason)) if form else ("", None)
    rule = next(line for line in TABLE if line.holds(side, errno, reason))
    is_worth_it = {
        Again.YES: True,
        Again.NO: False,
        Again.UNLESS_REFUSED: flag is not False,
        Again.IF_SAID: flag is True,
    }[rule.again]
    return Verdict(rule.blame, is_worth_it)


def judge_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Of several sources that were tried in one job. If one may serve again, none is refused: which of them failed for
    good shows when each is tried alone."""
    blames = {verdict.blame for verdict in verdicts}
    blame = next((blame for blame in PRECEDENCE if blame in blames), Blame.NOBODY)
    return Verdict(blame, any(verdict.is_worth_it for verdict in verdicts))
