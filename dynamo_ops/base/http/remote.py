"""What another service's answer means, or that none came: the one table from HTTP to our errors.

Everybody who speaks HTTP asks here: FTS, the sources, WebDAV and its uploads, webhooks; S3 by the status of its codes.
Where these differed before there was one table, that was taken which loses no data: what is not known passes by itself
(retryable), nothing is ever *gone* but by 404 and 410, and what a person must mend is not tried for ever.

- 401, 403, 419 (FTS has no credential of ours) are the credential's, from whomever: webhooks and S3 only gave up, and
  S3 refused file after file for a key that had expired.
- 408, 423, 425, 429 pass, for everybody: a lock (423) was final but over WebDAV, the others but for a webhook or S3.
- A redirect that is not followed is the answer of a wrong door: final. WebDAV's MOVE and PUT, and a delegation to FTS,
  took it for a success.
- 501 and 505 pass, but a DELETE that a server does not know is final; so is its 207, which kept a part.
- A certificate that is not trusted, on either side, is the credential's. Any other failure of TLS passes, as a cut
  connection does: a handshake broken off says nothing of credentials. FTS and WebDAV blamed the credential for all but
  cuts; webhooks, S3 and the triggerer waited for whatever it was.
- An address that nobody can be asked at is final: uploads, WebDAV and webhooks tried it for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError

Kind = type[RemoteError]

GONE = frozenset({404, 410})
"""The only statuses that say of a file, a job or a record that it is not there."""

_BY_HUNDREDS: Mapping[int, Kind | None] = {
    2: None,
    3: PermanentRemoteError,
    4: PermanentRemoteError,
    5: RetryableRemoteError,
}
_BY_STATUS: Mapping[int, Kind] = {
    401: CredentialError,
    403: CredentialError,
    408: RetryableRemoteError,
    419: CredentialError,
    423: RetryableRemoteError,
    425: RetryableRemoteError,
    429: RetryableRemoteError,
}
_BY_VERB: Mapping[tuple[str, int], Kind] = {
    ("DELETE", 207): PermanentRemoteError,
    ("DELETE", 501): PermanentRemoteError,
    ("DELETE", 505): PermanentRemoteError,
}

_NOT_TRUSTED = ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed")
_CREDENTIAL_REFUSED = ("ALERT_CERTIFICATE", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "CERTIFICATE_REQUIRED")
"""OpenSSL's words for what the other side said of our certificate."""

_NO_ADDRESS = ("InvalidURL", "UnsupportedProtocol", "LocalProtocolError")
"""Of httpx and h11, by name: nobody shall import one library for the errors of another."""


def kind_of_status(status: int, verb: str = "") -> Kind | None:
    """The error that a status is; None: it is none. ``verb``: what was asked, where that makes a difference."""
    kind = _BY_VERB.get((verb, status)) or _BY_STATUS.get(status)
    return kind or _BY_HUNDREDS.get(status // 100, RetryableRemoteError)


def kind_of_failure(error: BaseException) -> Kind:
    """The error that a call without an answer is, whichever library made it."""
    words = " ".join(str(cause) for cause in causes(error))
    if any(word in words for word in (*_NOT_TRUSTED, *_CREDENTIAL_REFUSED)):
        return CredentialError
    # requests says ValueError of addresses and headers only; so does ssl of certificates, which are settled above.
    if isinstance(error, ValueError) or type(error).__name__ in _NO_ADDRESS:
        return PermanentRemoteError
    return RetryableRemoteError


def failure_words(error: BaseException) -> str:
    """What a message says before the library's own text."""
    words: dict[Kind, str] = {CredentialError: "TLS refused", PermanentRemoteError: "cannot be asked"}
    return words.get(kind_of_failure(error), "no answer")


def tls_setting(error: BaseException) -> str:
    """The key below ``tls`` that a refusal of TLS points to; empty for any other failure."""
    words = str(innermost(error))
    if any(word in words for word in _NOT_TRUSTED):
        return "ca"
    return "cert" if any(word in words for word in _CREDENTIAL_REFUSED) else ""


def innermost(error: BaseException) -> BaseException:
    """The cause of all causes: what is around it, in requests and urllib3, only repeats the address."""
    *_, last = _reasons(error)
    return last


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it wraps, and what it was raised from."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is not None and not any(cause is other for other in seen):
            seen.append(cause)
            waiting += [*_reasons(cause), cause.__cause__]
            yield cause


def _reasons(error: BaseException) -> Iterator[BaseException]:
    """The error, and what requests and urllib3 carry inside of it."""
    yield error
    while isinstance(below := getattr(error, "reason", None) or next(iter(error.args), None), BaseException):
        error = below
        yield error
