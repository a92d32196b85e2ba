"""What goes wrong for who calls Dynamo from afar, grouped by what they do next. No message holds a token.

ClientError
├── UsageError              call otherwise: no server, no token, or one that would go over the network in the clear
├── MissingPackageError     install the package that it names
├── UnreachableError        nobody answers, through all tries: look at the address, or wait
├── UnexpectedAnswerError   what answers is no Dynamo (HTML, a page to log in), or not what was asked for (no list)
├── BrokenStreamError       rows are missing at the end of a stream: ask again
├── StillRunningError       an errand has not ended in the time that it was waited for; it goes on
└── ProblemError            Dynamo refuses, and says why
    ├── NotLoggedInError    401: no token, or one that is over, revoked, not known
    ├── ForbiddenError      403: you may not; ``needs`` has the roles that may
    ├── NotFoundError       404: a name or id means nothing; the message has near ones
    ├── ConflictError       409: a plan, a gate, a pause or the key of another call does not allow it now
    ├── ChangedError        412, 428: it is not what you have seen any more, or you do not say what you have seen
    ├── InvalidError        422: a parameter or a field is wrong
    ├── BusyError           429: too much, too often, through all tries; ``retry_after_s``
    └── ServerError         5xx: the fault is there; its log says more
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynamo_ops.base.errors import DynamoError


class ClientError(DynamoError):
    """Base of all that the client raises."""

    next_step = ""


class UsageError(ClientError):
    """The client is not called as it can be. Facts: what is wrong."""


class MissingPackageError(ClientError, ImportError):
    """A package is not installed that this needs. Facts: ``package``."""


class UnreachableError(ClientError):
    """Nobody has answered. Facts: ``server``, ``tries``. Of a write it is not known whether it was done: send the same
    again, with the same ``key`` (a fact too; also of BusyError and ServerError), and it is done once."""

    retryable = True
    next_step = "Look at the address and at the network, or wait."


class UnexpectedAnswerError(ClientError):
    """An answer that Dynamo does not give. Facts: ``server``, ``path``, ``status``."""

    next_step = "Is this the address of Dynamo, and is nothing before it that wants its own login?"


class BrokenStreamError(ClientError):
    """A stream broke off, or its rows are not as many as it says. Facts: ``path``, and of NDJSON ``num_rows``: so many
    came."""

    retryable = True
    next_step = "Ask again: what has come is not all."


class StillRunningError(ClientError):
    """An errand has not ended yet. Facts: ``errand``, ``state``."""

    retryable = True
    next_step = "It goes on. Wait for it again."


class ProblemError(ClientError):
    """What Dynamo answers to what it does not do, as ``application/problem+json`` says it."""

    def __init__(self, document: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self._document = dict(document)
        super().__init__(str(document.get("detail") or document.get("title") or "it says no more"))
        self.status = int(document.get("status") or 0)
        self.type = str(document.get("type") or "about:blank")
        self.title = str(document.get("title") or "")
        self.detail = self.message
        facts = document.get("facts")
        self.facts = dict(facts) if isinstance(facts, Mapping) else {}
        self.next_step = str(document.get("next_step") or "")
        self.retry_after_s = retry_after_s
        if self.next_step:
            self.add_note(self.next_step)

    def __reduce__(self) -> tuple[type[ProblemError], tuple[dict[str, Any], float | None], dict[str, Any]]:
        """Else it could not come back from another process: what it is made of is no message."""
        return type(self), (self._document, self.retry_after_s), {"facts": self.facts}

    @property
    def needs(self) -> Sequence[str]:
        """Of a refusal: the roles that may; empty where that is not said."""
        roles = self.facts.get("needs")
        return tuple(map(str, roles)) if isinstance(roles, list | tuple) else ()


class NotLoggedInError(ProblemError):
    """No token, or one that is over, revoked or not known."""


class ForbiddenError(ProblemError):
    """They may not. ``needs``: the roles that may."""


class NotFoundError(ProblemError):
    """A name, glob or id means nothing; the message has near ones."""


class ConflictError(ProblemError):
    """It is not allowed now."""


class ChangedError(ProblemError):
    """It is not as it was looked at, or nobody says what was looked at."""


class InvalidError(ProblemError):
    """A parameter or a field is wrong; the message says which."""


class BusyError(ProblemError):
    """Too much at once, or too often."""

    retryable = True


class ServerError(ProblemError):
    """The fault is Dynamo's, or of what stands before it."""

    retryable = True


_KINDS: Mapping[int, type[ProblemError]] = {
    401: NotLoggedInError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: ChangedError,
    422: InvalidError,
    428: ChangedError,
    429: BusyError,
}


def problem_error(document: Mapping[str, Any], retry_after_s: float | None = None) -> ProblemError:
    """The error that a problem is, by its status."""
    status = int(document.get("status") or 0)
    kind = ServerError if status >= 500 else _KINDS.get(status, ProblemError)
    return kind(document, retry_after_s)
