"""File and job states, the legal moves between file states, and the job state that follows from the files'."""

from __future__ import annotations

from collections import Counter

FILE_TERMINAL = frozenset({"FINISHED", "FAILED", "CANCELED"})
JOB_TERMINAL = frozenset({"FINISHED", "FAILED", "FINISHEDDIRTY", "CANCELED"})

FILE_MOVES: dict[str, frozenset[str]] = {
    "STAGING": frozenset({"STARTED", "FAILED", "CANCELED"}),
    "STARTED": frozenset({"STAGING", "SUBMITTED", "FINISHED", "FAILED", "CANCELED"}),
    "SUBMITTED": frozenset({"READY", "CANCELED"}),
    "READY": frozenset({"ACTIVE", "SUBMITTED", "CANCELED"}),
    "ACTIVE": frozenset({"FINISHED", "FAILED", "SUBMITTED", "ARCHIVING", "CANCELED"}),
    "ARCHIVING": frozenset({"FINISHED", "FAILED", "CANCELED"}),
    "NOT_USED": frozenset({"SUBMITTED", "STAGING", "CANCELED"}),
    "FINISHED": frozenset(),
    "FAILED": frozenset(),
    "CANCELED": frozenset(),
}


class IllegalMoveError(RuntimeError):
    """A defect of the engine: a file was sent from one state to another it cannot reach."""


def settled_state(job_type: str, counts: Counter[str]) -> str | None:
    """The terminal state of a job whose files stand like `counts`, None while it runs.

    R: one finished source is enough, and the sources not tried do not matter. H: one failed hop ends the job, and the
    hops after it stay NOT_USED. Otherwise every file must be terminal.
    """
    total = sum(counts.values())
    finished, failed, canceled = counts["FINISHED"], counts["FAILED"], counts["CANCELED"]
    if job_type == "R":
        if finished:
            return "FINISHED"
        return _all_ended(total, failed, canceled)
    if job_type == "H" and failed:
        return "FAILED"
    if finished + failed + canceled < total:
        return None
    if finished == total:
        return "FINISHED"
    if finished and failed:
        return "FINISHEDDIRTY"
    return "FAILED" if failed else "CANCELED"


def _all_ended(total: int, failed: int, canceled: int) -> str | None:
    if failed + canceled < total:
        return None
    return "FAILED" if failed else "CANCELED"
