"""What a subscription, a transfer, a deletion and their batches can be, and which moves are legal (SEMANTICS §6).

Each machine is a table: (state, observation) → state. A pair that is not in the table is not legal. Observations that
change nothing are written out, so that a repeated observation is harmless: applying one twice gives the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.words import Words


class SubscriptionState(StrEnum):
    """A subscription. Active, and so in the way of an opposite subscription: new, inbatch, retry, held."""

    NEW = "new"
    INBATCH = "inbatch"
    DONE = "done"
    RETRY = "retry"
    HELD = "held"
    CANCELLED = "cancelled"


class SubscriptionAction(StrEnum):
    """What is subscribed: the file shall be at the site, or vanish from it."""

    COPY = "copy"
    DELETE = "delete"


class HoldReason(StrEnum):
    """Why nothing is tried for a subscription. ``refused``, ``operator`` and ``suspended`` (a copy that failed at every
    attempt, for days) are released by a person only."""

    NO_SOURCE = "no_source"
    ALL_FAILED = "all_failed"
    SITE_UNAVAILABLE = "site_unavailable"
    REFUSED = "refused"
    OPERATOR = "operator"
    SUSPENDED = "suspended"


LOCKED = "it is locked"
NEEDED = "an enforcer rule needs it"
LAST_SOURCE = "it is the only source of a copy that is still pending"
LAST_COPY = "it is the last copy"
SHARED = "its storage is that of another site too"
"""Why a block replica that was to be deleted stays after all: what people read, and the database keeps."""


class SubscriptionEvent(StrEnum):
    """What can happen to a subscription."""

    BATCHED = "batched"
    FULFILLED = "fulfilled"
    ATTEMPT_FAILED = "attempt_failed"
    HOLD = "hold"
    RELEASE = "release"
    WITHDRAWN = "withdrawn"


class TransferState(StrEnum):
    """One attempt to copy one file. Live: planned, submitted, staging, active."""

    PLANNED = "planned"
    SUBMITTED = "submitted"
    STAGING = "staging"
    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TransferObservation(StrEnum):
    """What FTS says of one file of a job. ``WRONG_SIZE``: finished, but not with the bytes the inventory knows.

    ``ARCHIVING``: the destination is tape, and has it in its disk buffer only. ``OCCUPIED``: the destination has
    something else by its name, which is not overwritten. ``LOST``: FTS does not know the job, live or archived.
    """

    QUEUED = "queued"
    STAGING = "staging"
    RUNNING = "running"
    ARCHIVING = "archiving"
    FINISHED = "finished"
    WRONG_SIZE = "wrong_size"
    OCCUPIED = "occupied"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


class DeletionState(StrEnum):
    """One attempt to delete one file. ``gone``: it was not there any more, which is as good."""

    PLANNED = "planned"
    DONE = "done"
    GONE = "gone"
    FAILED = "failed"


class DeletionObservation(StrEnum):
    """What the storage answered."""

    DELETED = "deleted"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class BatchState(StrEnum):
    """A transfer batch is planned, submitted, finished (or cancelled unsubmitted); a deletion batch has no submit."""

    PLANNED = "planned"
    SUBMITTED = "submitted"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class ServerIllness(StrEnum):
    """How an FTS server is ill. ``AWAY``: it does not answer. ``REFUSES``: it takes no job. ``STILL``: what it has
    neither starts nor ends."""

    AWAY = "away"
    REFUSES = "refuses"
    STILL = "still"

    @property
    def words(self) -> str:
        """What such a server does, as people are told."""
        return {"away": "does not answer", "refuses": "takes no job", "still": "starts nothing"}[self]


class Backend(StrEnum):
    """Who makes the copies of a transfer batch: FTS, or a task of ours."""

    FTS = "fts"
    DIRECT = "direct"


class VerifiedBy(StrEnum):
    """How a copy that is done was compared with the catalogue, the size besides. ``SIZE``: by nothing else.
    ``READ_BACK``: Dynamo read what the destination has. ``WRONG``: it did so later, and it is not the file."""

    BOTH_ENDS = "both_ends"
    SOURCE = "source"
    DESTINATION = "destination"
    READ_BACK = "read_back"
    SIZE = "size"
    WRONG = "wrong"


class BatchEvent(StrEnum):
    """What can happen to a batch. ``ABANDONED``: never submitted, and never will be."""

    SUBMITTED = "submitted"
    ENDED = "ended"
    ABANDONED = "abandoned"


_S, _E = SubscriptionState, SubscriptionEvent
_T, _O = TransferState, TransferObservation
_D, _R = DeletionState, DeletionObservation

SUBSCRIPTION_MOVES: Mapping[tuple[SubscriptionState, SubscriptionEvent], SubscriptionState] = {
    (_S.NEW, _E.BATCHED): _S.INBATCH,
    (_S.RETRY, _E.BATCHED): _S.INBATCH,
    # Found to be fulfilled already (the file is there) without an attempt of ours.
    (_S.NEW, _E.FULFILLED): _S.DONE,
    (_S.RETRY, _E.FULFILLED): _S.DONE,
    (_S.HELD, _E.FULFILLED): _S.DONE,
    (_S.INBATCH, _E.FULFILLED): _S.DONE,
    (_S.INBATCH, _E.ATTEMPT_FAILED): _S.RETRY,
    (_S.INBATCH, _E.HOLD): _S.HELD,
    (_S.NEW, _E.HOLD): _S.HELD,
    (_S.RETRY, _E.HOLD): _S.HELD,
    (_S.HELD, _E.HOLD): _S.HELD,
    # Held by a person while its batch was out.
    (_S.HELD, _E.ATTEMPT_FAILED): _S.HELD,
    (_S.HELD, _E.RELEASE): _S.RETRY,
    (_S.NEW, _E.WITHDRAWN): _S.CANCELLED,
    (_S.INBATCH, _E.WITHDRAWN): _S.CANCELLED,
    (_S.RETRY, _E.WITHDRAWN): _S.CANCELLED,
    (_S.HELD, _E.WITHDRAWN): _S.CANCELLED,
    # A subscription withdrawn while its batch was out stays withdrawn, whatever the batch brings.
    (_S.CANCELLED, _E.FULFILLED): _S.CANCELLED,
    (_S.CANCELLED, _E.ATTEMPT_FAILED): _S.CANCELLED,
    (_S.CANCELLED, _E.HOLD): _S.CANCELLED,
    (_S.CANCELLED, _E.WITHDRAWN): _S.CANCELLED,
    (_S.DONE, _E.FULFILLED): _S.DONE,
}

_OUTCOMES = {
    _O.QUEUED: _T.SUBMITTED,
    _O.STAGING: _T.STAGING,
    _O.RUNNING: _T.ACTIVE,
    _O.ARCHIVING: _T.ACTIVE,
    _O.FINISHED: _T.DONE,
    _O.WRONG_SIZE: _T.FAILED,
    _O.OCCUPIED: _T.FAILED,
    _O.FAILED: _T.FAILED,
    _O.CANCELLED: _T.CANCELLED,
    _O.LOST: _T.FAILED,
}
LIVE_TRANSFERS = Words((_T.PLANNED, _T.SUBMITTED, _T.STAGING, _T.ACTIVE))
ENDED_TRANSFERS = Words((_T.DONE, _T.FAILED, _T.CANCELLED))

# A live transfer follows FTS wherever it goes: polling may miss any state between, and a retry inside FTS takes a file
# from active back to submitted. A transfer that ended stays as it ended.
TRANSFER_MOVES: Mapping[tuple[TransferState, TransferObservation], TransferState] = {
    (state, seen): outcome for state in LIVE_TRANSFERS for seen, outcome in _OUTCOMES.items()
} | {(state, seen): state for state in ENDED_TRANSFERS for seen in _OUTCOMES}

DELETION_MOVES: Mapping[tuple[DeletionState, DeletionObservation], DeletionState] = {
    (_D.PLANNED, _R.DELETED): _D.DONE,
    (_D.PLANNED, _R.NOT_FOUND): _D.GONE,
    (_D.PLANNED, _R.REFUSED): _D.FAILED,
    (_D.PLANNED, _R.UNAVAILABLE): _D.FAILED,
}

_B, _X = BatchState, BatchEvent
# A batch that Dynamo copies itself, or a deletion batch, ends without a submit.
BATCH_MOVES: Mapping[tuple[BatchState, BatchEvent], BatchState] = {
    (_B.PLANNED, _X.SUBMITTED): _B.SUBMITTED,
    (_B.PLANNED, _X.ENDED): _B.FINISHED,
    (_B.PLANNED, _X.ABANDONED): _B.CANCELLED,
    (_B.SUBMITTED, _X.SUBMITTED): _B.SUBMITTED,
    (_B.SUBMITTED, _X.ENDED): _B.FINISHED,
    (_B.FINISHED, _X.ENDED): _B.FINISHED,
    (_B.FINISHED, _X.SUBMITTED): _B.FINISHED,
    (_B.CANCELLED, _X.ABANDONED): _B.CANCELLED,
}

# What the end of an attempt means for the subscription behind it. After too many failed deletions it is HOLD.
TRANSFER_OUTCOMES: Mapping[TransferState, SubscriptionEvent] = {
    _T.DONE: _E.FULFILLED,
    _T.FAILED: _E.ATTEMPT_FAILED,
    _T.CANCELLED: _E.ATTEMPT_FAILED,
}
# No source is to blame, and none can help: a person must look at the destination first.
HOLDING_OBSERVATIONS: Mapping[TransferObservation, HoldReason] = {_O.OCCUPIED: HoldReason.REFUSED}
DELETION_OUTCOMES: Mapping[DeletionObservation, SubscriptionEvent] = {
    _R.DELETED: _E.FULFILLED,
    _R.NOT_FOUND: _E.FULFILLED,
    _R.UNAVAILABLE: _E.ATTEMPT_FAILED,
    _R.REFUSED: _E.ATTEMPT_FAILED,
}

State = TypeVar("State", SubscriptionState, TransferState, DeletionState, BatchState)

_MACHINES: Mapping[type[StrEnum], Mapping[Any, Any]] = {
    SubscriptionState: SUBSCRIPTION_MOVES,
    TransferState: TRANSFER_MOVES,
    DeletionState: DELETION_MOVES,
    BatchState: BATCH_MOVES,
}


def next_state(state: State, observation: StrEnum) -> State:
    """The state after ``observation``; ``InventoryError`` when the move is not in the table of this kind of state."""
    found: State = moved(_MACHINES[type(state)], state, observation)
    return found


def moved(moves: Mapping[tuple[Any, Any], Any], state: Any, event: StrEnum) -> Any:
    """The state after ``event`` by a table of moves; ``InventoryError`` when it has no such move."""
    try:
        return moves[(state, event)]
    except KeyError:
        raise InventoryError(
            f"{type(state).__name__} {state.value!r} does not allow {event.value!r}",
            state=state.value,
            event=event.value,
        ) from None


def sources_of(event: SubscriptionEvent) -> Words[SubscriptionState]:
    """The states that ``event`` moves to another state: what an UPDATE for this event may touch."""
    return moved_by(SUBSCRIPTION_MOVES, event)


def moved_by(moves: Mapping[tuple[Any, Any], Any], event: StrEnum) -> Words[Any]:
    """The states that ``event`` moves to another state, by a table of moves."""
    return Words(state for (state, seen), after in moves.items() if seen == event and after != state)


# Of subscriptions.
ACTIVE = Words((_S.NEW, _S.INBATCH, _S.RETRY, _S.HELD))
QUEUED = Words((_S.NEW, _S.RETRY))
CLOSED = Words((_S.DONE, _S.CANCELLED))
AUTOMATIC_HOLDS = Words((HoldReason.NO_SOURCE, HoldReason.SITE_UNAVAILABLE, HoldReason.ALL_FAILED))

NOT_READ_BACK = Words((VerifiedBy.SOURCE, VerifiedBy.SIZE))
"""Verified without the destination: a sample of these is read back."""
UNSTARTED_TRANSFERS = Words((_T.PLANNED, _T.SUBMITTED, _T.STAGING))
DONE_DELETIONS = Words((_D.DONE, _D.GONE))
OPEN_BATCHES = Words((_B.PLANNED, _B.SUBMITTED))
