"""Sessions of ``requests`` as all of ours are: verified, timed, repeated a little, careful of where they are sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import SSLError
from urllib3.util.retry import Retry

from dynamo_ops import __version__
from dynamo_ops.base.errors import PermanentRemoteError
from dynamo_ops.base.http import redirect
from dynamo_ops.base.http.remote import kind_of_failure
from dynamo_ops.base.http.tls import Credentials, unusable
from dynamo_ops.base.unpack import PIECE_BYTES, UnpackError, check_ratio, check_whole

USER_AGENT = f"dynamo-ops/{__version__}"
_NO_CERTIFICATE = ""
"""As None, which to requests is that of the session."""
BACKOFF_S = 0.3
"""Before a call is made again at once; doubled with each more. What outlasts that is left to the task's own retries."""


@dataclass(frozen=True)
class Patience:
    """How often a call is made again, at once, by verbs that may be: ``repeats`` times after no answer or one of
    ``statuses``. ``longest_retry_after_s``: so long a Retry-After is waited for; 0: it is not heeded, since it may
    ask for hours, and the task's own retry waits so long, not a sleeping worker."""

    repeats: int = 3
    statuses: tuple[int, ...] = (502, 503, 504)
    verbs: frozenset[str] = frozenset({"GET"})
    longest_retry_after_s: int = 0


class RemoteSession(requests.Session):
    """One service's session. Ask by ``call``.

    ``own_headers``: what no other host may see, besides token and certificate. ``follows``: the verbs that go where
    they are sent; ``own_hosts``: where alone they go, all of ours with them. No cookies are kept, for anybody.
    ``connections``: kept at a time; ``is_bounded``: more wait. ``uses_environment``: the shell's proxies and ``.netrc``
    count. What goes wrong is an error of requests (see ``remote.kind_of_failure``) or, where nobody was asked, ours.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        timeout: float | tuple[float, float],
        headers: Mapping[str, str] | None = None,
        own_headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        follows: Collection[str] = (),
        own_hosts: redirect.Hosts | None = None,
        connections: int = 10,
        is_bounded: bool = False,
        uses_environment: bool = False,
    ) -> None:
        super().__init__()
        self.trust_env = uses_environment
        self.verify = credentials.authorities
        self.cert = credentials.certificate
        self.own_headers = {**credentials.headers, **(own_headers or {})}
        self.headers.update({"User-Agent": USER_AGENT, **(headers or {}), **self.own_headers})
        self._timeout = timeout
        self._follows = frozenset(follows)
        self._own_hosts = own_hosts
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        adapter = HTTPAdapter(
            max_retries=_retry(patience or Patience()), pool_maxsize=connections, pool_block=is_bounded
        )
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def call(self, verb: str, url: str, **arguments: Any) -> requests.Response:
        """The answer, of the last door if this verb follows redirects; its ``history``: those of the doors before.
        ``arguments``: as of requests."""
        headers = dict(arguments.pop("headers", None) or {})
        doors: list[requests.Response] = []
        while len(doors) <= redirect.MOST_REDIRECTS:
            response = self._ask(verb, url, headers, arguments)
            location = self._location(verb, response)
            if location is None:
                response.history = doors
                return response
            response.close()
            doors.append(response)
            arguments.pop("params", None)  # they are in the new address, if they shall be
            came_from, url = url, redirect.next_url(url, location, self._own_hosts)
            if self._own_hosts is None and not redirect.is_same_host(came_from, url):
                headers |= dict.fromkeys(self.own_headers, None)
                arguments["cert"] = _NO_CERTIFICATE
        raise redirect.too_many(url, doors[-1].status_code)

    def _location(self, verb: str, response: requests.Response) -> str | None:
        """Where an answer sends this verb on to, if it goes."""
        is_other_question = verb != "GET" and response.status_code not in redirect.KEEP_THE_VERB
        return None if verb not in self._follows or is_other_question else self.get_redirect_target(response)

    def _ask(self, verb: str, url: str, headers: Mapping[str, Any], arguments: Mapping[str, Any]) -> requests.Response:
        # ``verify`` again: requests prefers the authorities of the environment to those of the session.
        always: dict[str, Any] = {"timeout": self._timeout, "verify": self.verify, "allow_redirects": False}
        try:
            return self.request(verb, url, headers=headers, **always, **arguments)
        except requests.RequestException:
            raise
        except OSError as error:  # requests lets it out for files of TLS only
            raise unusable(error) from error

    def send(self, request: requests.PreparedRequest, **arguments: Any) -> requests.Response:
        """As of requests; no secret goes over plain HTTP, and no answer is unpacked further than is honest. One that
        is too long is a PermanentRemoteError."""
        redirect.check_secrecy(request.url or "", request.headers, self.own_headers)
        if arguments.get("cert") == _NO_CERTIFICATE:
            arguments["cert"] = None
        is_stream = arguments.pop("stream", False)
        response = super().send(request, stream=True, **arguments)
        if not is_stream and response.raw is not None:
            response._content, response._content_consumed = _whole(response), True  # type: ignore[attr-defined]
        return response


def _whole(response: requests.Response) -> bytes:
    """All of an answer. ``raw`` counts what came in, packed; but not where it came in chunks."""
    pieces, num_bytes, is_packed = [], 0, "Content-Encoding" in response.headers
    try:
        for piece in response.iter_content(PIECE_BYTES):
            num_bytes += len(piece)
            num_packed = response.raw.tell()
            check_whole(num_bytes, is_counted=num_packed > 0 or not is_packed)
            if num_packed:
                check_ratio(num_packed, num_bytes)
            pieces.append(piece)
    except UnpackError as error:
        host = urlsplit(response.url).netloc.rpartition("@")[2]
        raise PermanentRemoteError(
            f"{host}: its answer is not read: {error}", service=host, url=host, status=response.status_code
        ) from error
    finally:
        response.close()
    return b"".join(pieces)


class _Repeats(Retry):
    """urllib3 takes a TLS connection that broke off for neither a connection nor a read error; it would make even a
    POST again. Here it counts as broken off in the middle, and only the verbs of ``Patience`` are made again."""

    def _is_read_error(self, err: Exception) -> bool:
        is_cut = isinstance(err, SSLError) and kind_of_failure(err).retryable
        return is_cut or super()._is_read_error(err)


def _retry(patience: Patience) -> Retry:
    return _Repeats(
        total=patience.repeats,
        other=0,
        redirect=False,
        backoff_factor=BACKOFF_S,
        status_forcelist=patience.statuses,
        allowed_methods=patience.verbs,
        raise_on_status=False,
        respect_retry_after_header=patience.longest_retry_after_s > 0,
        retry_after_max=patience.longest_retry_after_s,
    )
