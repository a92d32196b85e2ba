"""One status, one meaning: each of our clients, against a real server, raises what the table says."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import certifi
import pytest
from pydantic import TypeAdapter

from dynamo_ops.alerts import webhook
from dynamo_ops.base.errors import (
    CredentialError,
    DynamoError,
    PermanentRemoteError,
    RemoteError,
    RetryableRemoteError,
)
from dynamo_ops.base.http import session
from dynamo_ops.base.http.redirect import Hosts, is_same_host, next_url, origin
from dynamo_ops.base.http.remote import Kind, kind_of_failure, kind_of_status
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.base.settings import Tls, WebhookSettings
from dynamo_ops.fts import watch
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.sources.reading.http import HttpJson
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.s3 import S3Storage
from dynamo_ops.storage.webdav import WebDavStorage, deletion_outcome
from simgrid.tls import Credentials as GridCredentials
from simgrid.tls import make_credentials
from tests.base.door import Asked, Door

pytestmark = pytest.mark.usefixtures("no_pauses")

WAIT, GIVE_UP, CREDENTIAL = RetryableRemoteError, PermanentRemoteError, CredentialError
MEANING: Mapping[int, Kind | None] = {
    **dict.fromkeys((200, 204), None),
    **dict.fromkeys((301, 302, 307, 308), GIVE_UP),
    **dict.fromkeys((401, 403, 419), CREDENTIAL),
    **dict.fromkeys((400, 404, 405, 409, 410, 412, 413), GIVE_UP),
    **dict.fromkeys((408, 423, 425, 429), WAIT),
    **dict.fromkeys((500, 501, 502, 503, 504, 505, 507, 511), WAIT),
}
FAILURES = {status: kind for status, kind in MEANING.items() if kind is not None}


@dataclass
class Timeout:
    """How long a call waits for its answer. Long, so that a busy machine is not taken for a server that is away."""

    seconds: float = 30.0


TIMEOUT = Timeout()
LFN = "/store/f"
Ask = Callable[[str, str], object]
"""From a server's URL and the authorities it is trusted by, one call."""


def ask_fts(url: str, ca: str) -> object:
    with FtsClient(url, ca=ca, timeout=(TIMEOUT.seconds, TIMEOUT.seconds)) as client:
        return client.files("a-job")


def ask_fts_without_blocking(url: str, ca: str) -> object:
    return asyncio.run(watch.poll(url, ca=ca, cert=None, key=None, job_ids=["a-job"], timeout=TIMEOUT.seconds))


def ask_source(url: str, ca: str) -> object:
    return HttpJson("dbs", Tls(ca=Path(ca)), TIMEOUT.seconds).rows(url, TypeAdapter(list[int]), "name")


def webdav(url: str, ca: str, token: str | None = None) -> WebDavStorage:
    protocol = url.partition(":")[0]
    options = StorageOptions(ca=ca, token=token, connect_timeout=TIMEOUT.seconds, read_timeout=TIMEOUT.seconds)
    return WebDavStorage(Endpoint("T2_A", protocol, url), options)


def list_webdav(url: str, ca: str) -> object:
    return list(webdav(url, ca).list_files("/store"))


def read_webdav(url: str, ca: str) -> object:
    return list(webdav(url, ca).read(LFN))


def put_webdav(url: str, ca: str) -> object:
    upload = webdav(url, ca).upload(LFN, 3)
    upload.write(b"abc")
    upload.finish()
    return None


def post_webhook(url: str, ca: str) -> object:
    return webhook.post(WebhookSettings(url=f"{url}/hook", ca=Path(ca), timeout_s=TIMEOUT.seconds), "text")


def stat_s3(url: str, ca: str) -> object:
    keys = {"endpoint_url": url, "key": "k", "secret": "s", "region": "us-east-1"}
    options = StorageOptions(ca=ca, connect_timeout=TIMEOUT.seconds, read_timeout=TIMEOUT.seconds, more={"s3": keys})
    storage = S3Storage(Endpoint("T2_A", "s3", "s3://bucket"), options)
    try:
        return storage.stat(LFN)
    finally:
        storage.close()


ASK: Mapping[str, Ask] = {
    "fts": ask_fts,
    "fts-watch": ask_fts_without_blocking,
    "source": ask_source,
    "webdav-list": list_webdav,
    "webdav-read": read_webdav,
    "webdav-put": put_webdav,
    "webhook": post_webhook,
    "s3": stat_s3,
}
HAS_ITS_OWN_WORD = {("fts-watch", 404), ("s3", 404), ("s3", 301), ("s3", 302), ("s3", 307)}
"""Where "not there" is an answer, not an error; and S3's client looks for another region before it says anything."""
DOES_NOT_SAY_200 = {"webdav-list", "fts-watch", "fts", "source"}
"""Where success needs more than a status: tested with its own room."""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> GridCredentials:
    return make_credentials(tmp_path_factory.mktemp("tls"), "/CN=nobody", ["127.0.0.1"])


def server_context(tls: GridCredentials, *, wants_certificate: bool = False) -> ssl.SSLContext:
    context = tls.server_context()
    context.verify_mode = ssl.CERT_REQUIRED if wants_certificate else ssl.CERT_NONE
    return context


@contextmanager
def hanging_up() -> Iterator[str]:
    """The https URL of somebody who ends each connection before TLS has begun."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.recv(1 << 16)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def raised(ask: Ask, url: str, ca: str | None = None) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        ask(url, ca or certifi.where())
    return caught.value


@pytest.mark.parametrize("status", MEANING)
def test_the_table(status: int) -> None:
    assert kind_of_status(status) is MEANING[status]


@pytest.mark.parametrize("name", ASK)
@pytest.mark.parametrize("status", FAILURES)
def test_a_status_means_the_same_to_everybody(name: str, status: int) -> None:
    if (name, status) in HAS_ITS_OWN_WORD:
        return
    with Door(status) as door:
        error = raised(ASK[name], door.url)
    assert type(error) is FAILURES[status]
    assert error.facts["status"] == (404 if status == 410 and name == "webdav-list" else status)


@pytest.mark.parametrize("name", sorted(ASK.keys() - DOES_NOT_SAY_200))
@pytest.mark.parametrize("status", [200, 204])
def test_success_is_no_error(name: str, status: int) -> None:
    with Door(status) as door:
        ASK[name](door.url, certifi.where())


@pytest.mark.parametrize("status", [*MEANING, 207])
def test_a_delete_is_done_gone_or_neither(status: int) -> None:
    usual = {None: "deleted", WAIT: "unavailable", GIVE_UP: "refused", CREDENTIAL: "unavailable"}
    odd = {404: "not_found", 410: "not_found", 403: "refused", 501: "refused", 505: "refused", 207: "refused"}
    outcome = deletion_outcome(LFN, status, "")
    assert outcome.observation == odd.get(status, usual[MEANING.get(status)])


@pytest.mark.parametrize("status", [401, 404, 405, 423, 503])
def test_a_storage_deletes_by_the_table(status: int) -> None:
    with Door(status, b"") as door:
        (outcome,) = webdav(door.url, certifi.where()).delete([LFN])
    assert outcome.observation == deletion_outcome(LFN, status, "").observation


def test_nothing_but_404_and_410_says_gone() -> None:
    gone = [n for n in range(100, 600) if deletion_outcome(LFN, n, "").observation == DeletionObservation.NOT_FOUND]
    assert gone == [404, 410]


def test_a_bucket_that_is_not_there_has_lost_no_file() -> None:
    with Door(404, b"") as door:
        error = raised(stat_s3, door.url)
    assert type(error) is RetryableRemoteError
    assert "no bucket" in str(error)


@pytest.mark.parametrize("name", ASK)
def test_nobody_listens(name: str) -> None:
    with socket.socket() as nobody:  # bound and not listening
        nobody.bind(("127.0.0.1", 0))
        error = raised(ASK[name], f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert type(error) is RetryableRemoteError
    assert error.facts["status"] is None


@pytest.mark.parametrize("name", ASK)
def test_a_cut_connection(name: str) -> None:
    with Door(0) as door:
        assert type(raised(ASK[name], door.url)) is RetryableRemoteError


@pytest.mark.parametrize("name", ASK)
def test_no_answer_in_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TIMEOUT, "seconds", 0.5)
    with Door() as door:
        door.delay = threading.Event()
        assert type(raised(ASK[name], door.url)) is RetryableRemoteError


@pytest.mark.parametrize("name", ASK)
def test_a_server_that_is_not_trusted(name: str, tls: GridCredentials) -> None:
    with Door(context=server_context(tls)) as door:
        assert type(raised(ASK[name], door.url)) is CredentialError
        assert door.asked == []


@pytest.mark.parametrize("name", sorted(ASK.keys() - {"s3"}))  # who has keys, and no certificate
def test_a_server_that_wants_another_certificate(name: str, tls: GridCredentials) -> None:
    with Door(context=server_context(tls, wants_certificate=True)) as door:
        assert type(raised(ASK[name], door.url, str(tls.ca))) is CredentialError
        assert door.asked == []


@pytest.mark.parametrize("name", ASK)
def test_tls_that_breaks_off_says_nothing_of_credentials(name: str, tls: GridCredentials) -> None:
    with hanging_up() as url:
        assert type(raised(ASK[name], url, str(tls.ca))) is RetryableRemoteError


@pytest.mark.parametrize("name", sorted(ASK.keys() - {"s3", "webhook"}))
def test_an_address_that_nobody_can_be_asked_at(name: str) -> None:
    assert type(raised(ASK[name], "http://127.0.0.1:port")) is PermanentRemoteError


# -- redirects, and what goes with them ----------------------------------------------------------------------------

TOKEN = "Bearer top-secret"
OWN = {"X-Token": "top-secret", "Authorization": TOKEN}


def follow_source(url: str, ca: str) -> object:
    return HttpJson("dbs", Tls(ca=Path(ca)), 5, headers=OWN).rows(url, TypeAdapter(list[int]), "name", {"detail": 1})


def secrets_in(asked: Asked) -> list[str]:
    return [name for name, text in asked.headers.items() if "top-secret" in text]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_another_host_sees_nothing_of_ours(status: int) -> None:
    with Door(status) as door, Door(200) as other:
        door.headers["Location"] = f"{other.url}/elsewhere?uuid=1"
        follow_source(door.url, certifi.where())
    assert secrets_in(door.asked[0])
    (asked,) = other.asked
    assert secrets_in(asked) == []
    assert (asked.verb, asked.path) == ("GET", "/elsewhere?uuid=1")


def test_another_host_sees_neither_certificate_nor_cookie(tls: GridCredentials) -> None:
    context = server_context(tls)
    context.verify_mode = ssl.CERT_OPTIONAL
    mine = Tls(ca=tls.ca, cert=tls.user_cert, key=tls.user_key)
    with Door(307, context=context) as door, Door(200, context=context) as other:
        door.headers |= {"Location": f"{other.url}/elsewhere", "Set-Cookie": "sid=1; Path=/"}
        source = HttpJson("dbs", mine, 5, headers=OWN)
        for _ in range(2):
            source.rows(door.url, TypeAdapter(list[int]), "name")
    assert [asked.has_certificate for asked in door.asked] == [True, True]
    assert [asked.has_certificate for asked in other.asked] == [False, False]
    assert not any("Cookie" in asked.headers for asked in (*door.asked, *other.asked))


def test_the_same_host_sees_it_again() -> None:
    with Door(307) as door:
        door.headers["Location"] = "/again"
        assert type(raised(follow_source, door.url)) is PermanentRemoteError
    assert len(door.asked) == 6
    assert all(secrets_in(asked) for asked in door.asked)


def test_nobody_is_followed_out_of_https(tls: GridCredentials) -> None:
    with Door(307, context=server_context(tls)) as door, Door(200) as other:
        door.headers["Location"] = f"{other.url}/elsewhere"
        for ask in (follow_source, read_webdav, put_webdav):
            error = raised(ask, door.url, str(tls.ca))
            assert type(error) is PermanentRemoteError
            assert "out of https" in str(error)
        assert other.asked == []


@pytest.mark.parametrize("name", ["fts", "fts-watch", "webhook"])
def test_who_does_not_follow_says_so(name: str) -> None:
    with Door(302) as door, Door(200) as other:
        door.headers["Location"] = other.url
        assert type(raised(ASK[name], door.url)) is PermanentRemoteError
        assert other.asked == []


SEND_A_TOKEN: Mapping[str, Ask] = {
    "source": follow_source,
    "source, whatever its header is called": lambda url, ca: HttpJson(
        "dbs", Tls(ca=Path(ca)), 5, headers={"X-Me": "1"}
    ).rows(url, TypeAdapter(list[int]), "name"),
    "fts": lambda url, ca: FtsClient(url, ca=ca, token="top-secret").files("a-job"),
    "fts-watch": lambda url, ca: asyncio.run(
        watch.poll(url, ca=ca, cert=None, key=None, token="top-secret", job_ids=["a-job"])
    ),
    "webhook": lambda url, ca: webhook.post(WebhookSettings(url=url, ca=Path(ca), headers=OWN), "text"),
    "s3": stat_s3,
}


@pytest.mark.parametrize("name", SEND_A_TOKEN)
def test_no_token_goes_in_the_clear(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("nobody is to be asked"))
    error = raised(SEND_A_TOKEN[name], "http://service.example.org/x")
    assert type(error) is PermanentRemoteError
    assert "in the clear" in str(error)
    assert "top-secret" not in str(error)


def test_no_password_of_an_address_goes_in_the_clear() -> None:
    with pytest.raises(PermanentRemoteError, match="in the clear"):
        ask_source("http://user:pass@service.example.org/x", certifi.where())


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("https://a/x/y", "z?q=1", "https://a/x/z?q=1"),
        ("https://a/x", "https://b:8443/y z", "https://b:8443/y%20z"),
        ("http://a/x", "https://a/x", "https://a/x"),
        ("http://a/x", "http://b/x", "http://b/x"),
        ("https://a/x%20y%2541", "https://b:1/x y%41?o=1", "https://b:1/x%20y%2541?o=1"),  # as XRootD 5.5 writes it
        ("https://a/f%2B%23", "https://b/f+#", "https://b/f%2B%23"),
        ("https://a/f%2541", "https://b/f%2541", "https://b/f%2541"),
        ("https://a/f%2541", "https://b/other", "https://b/other"),
    ],
)
def test_where_a_redirect_leads(url: str, location: str, expected: str) -> None:
    assert next_url(url, location) == expected


@pytest.mark.parametrize(
    ("url", "location"),
    [("https://a/x", "http://a/x"), ("https://a/x", "file:///etc/passwd"), ("http://a/x", "ftp://a/x")],
)
def test_where_no_redirect_leads(url: str, location: str) -> None:
    with pytest.raises(PermanentRemoteError, match="not followed"):
        next_url(url, location)


@pytest.mark.parametrize(
    ("to", "is_followed"),
    [
        ("https://door.a.org:8443/x", True),
        ("https://DOOR.a.org./x", True),
        ("https://pool.b.org/x", True),
        ("https://n1.c.org:2880/x", True),
        ("https://n1.c.org.evil.org/x", False),
        ("https://c.org/x", False),
        ("https://127.0.0.1/x", False),
    ],
)
def test_who_has_hosts_of_his_own_goes_nowhere_else(to: str, is_followed: bool) -> None:
    own = Hosts(("pool.b.org", "*.c.org"), "storages.davs:T2_A.hosts")
    if is_followed:
        assert next_url("https://door.a.org/x", to, own) == to
        return
    with pytest.raises(PermanentRemoteError, match=r"door\.a\.org sends us on to https://.*storages\.davs:T2_A\.hosts"):
        next_url("https://door.a.org/x", to, own)


def test_a_host_is_scheme_name_and_port() -> None:
    assert is_same_host("https://a/x", "https://A:443/y")
    assert not is_same_host("https://a/x", "https://a:8443/x")
    assert not is_same_host("http://a/x", "https://a/x")
    assert origin("https://user:pass@[::1]:8443/x?token=1") == "https://[::1]:8443"


# -- what is made again --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "times"), [("fts", 4), ("source", 3), ("webdav-list", 4), ("webhook", 3)])
def test_what_passes_is_asked_for_again_at_once(name: str, times: int) -> None:
    with Door(503) as door:
        raised(ASK[name], door.url)
    assert len(door.asked) == times


def test_a_submit_is_never_made_again_by_itself() -> None:
    for status in (0, 503):
        with Door(status) as door:
            raised(lambda url, ca: FtsClient(url, ca=ca)._call("POST", "/jobs", json={}), door.url)
        assert len(door.asked) == 1


def test_files_of_tls_that_are_not_there_are_named() -> None:
    missing = Credentials(cert="/nowhere/proxy.pem")
    with pytest.raises(CredentialError, match="TLS files cannot be used"):
        missing.context()
    with pytest.raises(CredentialError, match=r"/nowhere/ca\.pem"):
        session.RemoteSession(Credentials("/nowhere/ca.pem"), timeout=1).call("GET", "https://127.0.0.1:1/")


def test_an_error_of_a_library_that_nobody_knows_passes() -> None:
    assert kind_of_failure(RuntimeError("what?")) is RetryableRemoteError
    assert kind_of_status(999) is RetryableRemoteError
    assert kind_of_status(0) is RetryableRemoteError
    assert kind_of_status(418) is PermanentRemoteError
    assert issubclass(RemoteError, DynamoError)
