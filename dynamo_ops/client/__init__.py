"""Dynamo from afar: the client of the REST API (docs/client.md). Of what is not Python's own it needs ``requests``, and
loads nothing else.

Call: ``dynamo.Dynamo`` (what people do most; below it ``caller.Caller``, any call there is), ``frames`` (rows as
frames), ``errors`` (the tree of what goes wrong), ``credentials`` (the file that remembers servers and tokens),
``password`` (a token for who has one). Within: ``address`` (which server is meant, and may be spoken to),
``exchange`` (one call over HTTP), ``repeats`` (when the same call is sent again), ``answers`` (what an answer says: a
document, rows, a problem).
"""

from dynamo_ops.client.dynamo import Dynamo
from dynamo_ops.client.errors import (
    BrokenStreamError,
    BusyError,
    ChangedError,
    ClientError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    MissingPackageError,
    NotFoundError,
    NotLoggedInError,
    ProblemError,
    ServerError,
    StillRunningError,
    UnexpectedAnswerError,
    UnreachableError,
    UsageError,
)
from dynamo_ops.client.frames import to_pandas, to_polars

__all__ = [
    "BrokenStreamError",
    "BusyError",
    "ChangedError",
    "ClientError",
    "ConflictError",
    "Dynamo",
    "ForbiddenError",
    "InvalidError",
    "MissingPackageError",
    "NotFoundError",
    "NotLoggedInError",
    "ProblemError",
    "ServerError",
    "StillRunningError",
    "UnexpectedAnswerError",
    "UnreachableError",
    "UsageError",
    "to_pandas",
    "to_polars",
]
