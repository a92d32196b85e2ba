"""A real manager with two data servers behind it: all files are listed, once each, or nothing is."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.xrootd import XrootdStorage
from tests.xrootd.cluster import Cluster, await_servers, running_cluster

pytestmark = pytest.mark.slow

ONE = ("/store/b/f1", "/store/b/both", "/store/one/g")
TWO = ("/store/b/f2", "/store/b/both", "/store/two/h")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        running.put("one", *ONE)
        running.put("two", *TWO)
        await_servers(running, 2)
        yield running


def storage_of(cluster: Cluster) -> XrootdStorage:
    options = StorageOptions(threads=4, connect_timeout=3, read_timeout=3)
    return XrootdStorage(Endpoint("T2_MANY", "root", cluster.prefix), options)


def lfns(storage: XrootdStorage) -> list[str]:
    return sorted(lfn for frame in storage.list_files("/store") for lfn in frame["lfn"])


def test_all_are_listed_once(cluster: Cluster) -> None:
    storage = storage_of(cluster)
    assert lfns(storage) == sorted({*ONE, *TWO})
    assert len(storage.data_servers()) == 2


def test_a_server_that_does_not_answer_is_no_shorter_list(cluster: Cluster) -> None:
    cluster.send("two", signal.SIGSTOP)
    try:
        with pytest.raises(RetryableRemoteError):
            lfns(storage_of(cluster))
    finally:
        cluster.send("two", signal.SIGCONT)
    await_servers(cluster, 2)
    assert lfns(storage_of(cluster)) == sorted({*ONE, *TWO})


def test_a_server_that_was_killed_is_no_shorter_list(cluster: Cluster) -> None:
    """The manager tells of it for a while; later only the check remembers (``consistency.previous.servers_lost``)."""
    cluster.stop("two")
    try:
        await_servers(cluster, 1)
        with pytest.raises(RetryableRemoteError, match="data servers are away: "):
            lfns(storage_of(cluster))
        (outcome,) = storage_of(cluster).delete(["/store/two/h"])
        assert outcome.observation == DeletionObservation.UNAVAILABLE, "it is there when the server is back"
    finally:
        cluster.start("two")
        await_servers(cluster, 2)
