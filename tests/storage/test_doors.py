"""Doors of storages that send on to servers: what goes along, to whom, and who is believed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from dynamo_ops.base.errors import (
    DynamoError,
    InventoryError,
    PermanentRemoteError,
    RetryableRemoteError,
    SettingsError,
)
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation as Seen
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.webdav import WebDavStorage
from simgrid.tls import Credentials, make_credentials
from tests.base.door import Door

pytestmark = pytest.mark.usefixtures("no_pauses")

LFN = "/store/f"
XROOTD = {"Server": "XrootD/v5.5.3"}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return make_credentials(tmp_path_factory.mktemp("tls"), "/CN=nobody", ["127.0.0.1"])


def at(door: Door, tls: Credentials) -> WebDavStorage:
    mine = StorageOptions(
        ca=str(tls.ca), cert=str(tls.user_cert), key=str(tls.user_key), token="top-secret", threads=1, read_timeout=10
    )
    return WebDavStorage(Endpoint("T2_A", door.url.partition(":")[0], door.url), mine)


def put(storage: WebDavStorage) -> None:
    upload = storage.open_put(LFN, 3)
    upload.send(b"abc")
    upload.answer()


CALLS: dict[str, Callable[[WebDavStorage], object]] = {
    "GET": lambda storage: list(storage.read(LFN)),
    "HEAD": lambda storage: storage.stat(LFN),
    "PROPFIND": lambda storage: list(storage.list_files("/store")),
    "DELETE": lambda storage: storage._call("DELETE", f"{storage.endpoint.prefix}{LFN}"),
    "MKCOL": lambda storage: storage._make_directory("/store/d"),
    "MOVE": lambda storage: storage.move(LFN, "/store/g"),
    "PUT": put,
}


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("status", [302, 307, 308])
def test_each_verb_goes_along_with_all_of_ours_to_hosts_of_the_site(tls: Credentials, verb: str, status: int) -> None:
    context = tls.server_context()
    with Door(status, context=context) as door, Door(404, context=context) as server:
        door.headers["Location"] = f"{server.url}/elsewhere?uuid=1"
        with suppress(DynamoError):
            CALLS[verb](at(door, tls))
    first, asked = door.asked[0], server.asked[0]
    assert first.verb == asked.verb == verb
    assert asked.path == "/elsewhere?uuid=1"
    assert asked.headers["Authorization"] == first.headers["Authorization"] == "Bearer top-secret"
    assert asked.has_certificate
    assert asked.headers.get("Destination") == first.headers.get("Destination")
    if verb != "PUT":  # its body waits to be asked for
        assert asked.body == first.body


def test_a_put_takes_its_body_along(tls: Credentials) -> None:
    context = tls.server_context()
    with Door(307, context=context) as door, Door(201, context=context) as server:
        door.headers["Location"] = f"{server.url}/elsewhere"
        put(at(door, tls))
    assert [(asked.verb, asked.body) for asked in server.asked] == [("PUT", b"abc")]


@pytest.mark.parametrize("verb", CALLS)
def test_no_verb_goes_to_a_host_of_somebody_else(tls: Credentials, verb: str) -> None:
    with Door(307, context=tls.server_context()) as door:
        door.headers["Location"] = "https://elsewhere.invalid/x"
        words = rf"{door.url} sends us on to https://elsewhere\.invalid, .*storages\.https:T2_A\.hosts"
        with pytest.raises(PermanentRemoteError, match=words):
            CALLS[verb](at(door, tls))


@pytest.mark.parametrize("verb", sorted(CALLS.keys() - {"GET"}))
def test_no_verb_becomes_another(tls: Credentials, verb: str) -> None:
    with Door(303, context=tls.server_context()) as door:
        door.headers["Location"] = "/elsewhere"
        with suppress(DynamoError):
            CALLS[verb](at(door, tls))
    assert {asked.path for asked in door.asked}.isdisjoint({"/elsewhere"})


@pytest.mark.parametrize("verb", CALLS)
def test_a_door_that_leads_to_itself(tls: Credentials, verb: str) -> None:
    with Door(307, context=tls.server_context()) as door:
        door.headers["Location"] = "/again"
        with pytest.raises(PermanentRemoteError, match="more than 5 redirects"):
            CALLS[verb](at(door, tls))
    assert len(door.asked) == 6


@pytest.mark.parametrize("verb", CALLS)
def test_over_plain_http_nothing_of_ours_goes_not_even_here(tls: Credentials, verb: str) -> None:
    with Door(404) as door, suppress(DynamoError):
        CALLS[verb](at(door, tls))
    assert not any("Authorization" in asked.headers for asked in door.asked)
    assert door.asked


def test_plain_http_is_not_asked_for_a_protocol_that_is_safe() -> None:
    with Door(200) as door:
        storage = WebDavStorage(Endpoint("T2_A", "davs", door.url), StorageOptions(token="top-secret"))
        for call in (storage.stat, storage.checksum, storage.is_gone, lambda lfn: list(storage.read(lfn))):
            with pytest.raises(InventoryError, match="as davs does"):
                call(LFN)
        with pytest.raises(InventoryError, match="as davs does"):
            storage.clock()
    assert door.asked == []


def test_a_page_that_says_yes_to_everything_has_deleted_nothing(tls: Credentials) -> None:
    context = tls.server_context()
    with Door(302, context=context) as door, Door(200, context=context) as login:
        door.headers["Location"] = f"{login.url}/login"
        storage = at(door, tls)
        door.at = {LFN: 405}  # plain HTTP: it is not looked at by PROPFIND
        storage._call = lambda verb, url, **_: storage._session.call(  # type: ignore[method-assign]
            verb, url if verb == "PROPFIND" else f"{door.url}/any"
        )
        (outcome,) = storage.delete([LFN])
    assert outcome.observation == Seen.REFUSED
    assert "the file is there still" in outcome.reason
    assert [asked.verb for asked in login.asked] == ["DELETE", "HEAD"]


@pytest.mark.parametrize("hosts", ["pool.example.org", [1], ["*"], ["*.*"]])
def test_hosts_are_named(hosts: object) -> None:
    more = {"davs": {"hosts": ["a.org"]}, "davs:T2_A": {"hosts": hosts}}
    with pytest.raises(SettingsError, match=r"storages\.davs:T2_A\.hosts: a list of names"):
        WebDavStorage(Endpoint("T2_A", "davs", "davs://se.org"), StorageOptions(more=more))


# -- managers, which know only what their servers tell -------------------------------------------------------------


def test_a_manager_is_not_listed_since_one_server_would_answer_for_all(tls: Credentials) -> None:
    context = tls.server_context()
    with Door(307, context=context) as manager, Door(207, context=context) as server:
        manager.headers |= XROOTD | {"Location": f"{server.url}/store/"}
        with pytest.raises(PermanentRemoteError, match=r"/store is not listed: .* is an XRootD manager") as caught:
            list(at(manager, tls).list_files("/store"))
        assert server.url in str(caught.value)
        assert at(manager, tls).remove_empty_directories(["/store/d"]) == 0
    assert {asked.verb for asked in server.asked} == {"PROPFIND"}


@pytest.mark.parametrize("root", [307, 404])
def test_what_a_manager_does_not_find_is_not_gone(tls: Credentials, root: int) -> None:
    """307: a server is away. 404: all are."""
    context = tls.server_context()
    with Door(404, context=context) as manager, Door(207, context=context) as server:
        manager.headers |= XROOTD | {"Location": f"{server.url}/store/"}
        manager.at = {"/store/": root}
        storage = at(manager, tls)
        outcomes = storage.delete([LFN, "/store/g"])
        with pytest.raises(RetryableRemoteError, match="none that is up has it"):
            storage.is_gone(LFN)
    assert [outcome.observation for outcome in outcomes] == [Seen.UNAVAILABLE] * 2
    assert "none that is up has it" in outcomes[0].reason
    assert [asked.path for asked in manager.asked].count("/store/") == 1
    assert not any(asked.verb == "DELETE" for asked in manager.asked)


@pytest.mark.parametrize("headers", [XROOTD, {}])
def test_who_has_the_files_itself_is_believed(tls: Credentials, headers: dict[str, str]) -> None:
    with Door(404, context=tls.server_context()) as door:
        door.headers |= headers
        door.at = {"/store/": 207}
        storage = at(door, tls)
        (outcome,) = storage.delete([LFN])
        assert storage.is_gone(LFN)
    assert outcome.observation == Seen.NOT_FOUND


def test_the_server_that_a_manager_names_is_believed(tls: Credentials) -> None:
    context = tls.server_context()
    with Door(307, context=context) as manager, Door(404, context=context) as server:
        manager.headers |= XROOTD | {"Location": f"{server.url}{LFN}"}
        manager.at = {"/store/": 207}
        server.headers |= XROOTD
        (outcome,) = at(manager, tls).delete([LFN])
    assert outcome.observation == Seen.NOT_FOUND
