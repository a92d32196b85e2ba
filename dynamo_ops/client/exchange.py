"""One call over HTTP, sent again while that may help; who calls is never named in a message."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import requests

from dynamo_ops.base.errors import CredentialError
from dynamo_ops.base.http.redirect import origin
from dynamo_ops.base.http.remote import failure_words, innermost, kind_of_failure, tls_setting
from dynamo_ops.base.http.session import Patience, RemoteSession
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.client.answers import problem_in, unexpected
from dynamo_ops.client.errors import ClientError, ConflictError, ProblemError, UnreachableError, UsageError
from dynamo_ops.client.repeats import STATUSES, UNDER_WAY, Repeats, Tries

CONNECT_S = 10
KEY = "Idempotency-Key"

log = logging.getLogger(__name__)


class _Session(RemoteSession):
    """``is_plain``: plain http is what was asked for. Proxies of the environment count for https alone: through one, a
    token for this very machine would leave it in the clear."""

    def __init__(self, token: str | None, *, timeout_s: float, ca: str | None, uses_proxies: bool, is_plain: bool):
        super().__init__(
            Credentials(ca=ca, token=token),
            timeout=(CONNECT_S, timeout_s),
            patience=Patience(repeats=0),
            uses_environment=uses_proxies,
        )
        self.auth = _as_it_is  # else a line of .netrc would take the place of the token
        self._is_plain = is_plain

    def send(self, request: requests.PreparedRequest, **arguments: Any) -> requests.Response:
        if self._is_plain:
            return requests.Session.send(self, request, **arguments)
        return super().send(request, **arguments)


class Exchange:
    """Calls of one server, below ``base``, as who has ``token``."""

    def __init__(
        self,
        base: str,
        token: str | None,
        *,
        timeout_s: float,
        ca: str | None = None,
        allow_plain_http: bool = False,
        repeats: Repeats | None = None,
    ) -> None:
        self.base = base
        self._repeats = repeats or Repeats()
        self._session = _Session(
            token,
            timeout_s=timeout_s,
            ca=ca,
            uses_proxies=base.startswith("https:"),
            is_plain=allow_plain_http,
        )

    def close(self) -> None:
        """Its connections."""
        self._session.close()

    def call(
        self,
        verb: str,
        path: str,
        *,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        body: bytes | None = None,
        is_streamed: bool = False,
    ) -> requests.Response:
        """The answer to what was done. Raises ClientError; what is sent again is the same to the letter, so that a
        write with a key is done once."""
        arguments = {"params": params, "headers": headers, "data": body, "stream": is_streamed}
        place = f"/{path.lstrip('/')}"
        tries = self._repeats.begin()
        while True:
            try:
                response = self._session.call(verb, self.base + place, **arguments)
                problem = self._problem(response)
                if problem is None:
                    return response
                again = problem.status in STATUSES or _is_under_way(problem)
                failure: ClientError = problem
                after_s, words = problem.retry_after_s, f"{problem.status} {problem.title}"
            except CredentialError as error:  # files of TLS that cannot be read
                raise UsageError(error.message) from error
            except requests.RequestException as error:
                again = kind_of_failure(error).retryable
                failure = self._unreachable(error, tries)
                after_s, words = None, failure_words(error)
            pause_s = tries.pause_s(after_s) if again else None
            if pause_s is None:
                if again and KEY in headers:
                    failure.facts.setdefault("key", headers[KEY])
                raise failure
            log.info("%s %s: %s; sent again in %.1f s", verb, place, words, pause_s)
            tries.wait(pause_s)

    def _problem(self, response: requests.Response) -> ProblemError | None:
        try:
            if response.is_redirect:
                sent_to = origin(response.headers.get("Location", ""))
                to = f" to {sent_to}" if sent_to != "://" else ""
                raise unexpected(response, f"it sends us on{to}: not followed, a token is for one server")
            return problem_in(response)
        finally:
            if not response.ok or response.is_redirect:
                response.close()

    def _unreachable(self, error: requests.RequestException, tries: Tries) -> ClientError:
        server = origin(self.base)
        if isinstance(error, ValueError):  # of addresses and headers: nobody was asked
            return UsageError(f"{server} cannot be asked: {type(error).__name__}", server=server)
        message = f"{server}: {failure_words(error)} (tries: {tries.number}): {innermost(error)}"
        made = UnreachableError(message, server=server, tries=tries.number)
        if tls_setting(error) == "ca":
            made.next_step = "Its certificate is of no authority that is known everywhere: give ``ca``."
        made.add_note(made.next_step)
        made.__cause__ = error
        return made


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _is_under_way(problem: ProblemError) -> bool:
    return isinstance(problem, ConflictError) and problem.type == UNDER_WAY
