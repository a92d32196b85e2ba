"""Drops over HTTP: what shows who we are goes to the host that was asked, and to no other."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import DynamoError, PermanentRemoteError
from dynamo_ops.sources.reading.drop import Drop
from tests.base.door import Door

OWN = {"headers": {"X-Api-Key": "top-secret"}}


def read(url: str, options: dict[str, object]) -> bytes:
    drop = Drop("dbs", options)
    (found,) = drop.find(url)
    return drop.read(found)


def test_headers_are_shown_to_who_is_asked() -> None:
    with Door(200, b"{}") as door:
        assert read(f"{door.url}/a.jsonl", OWN) == b"{}"
    assert {asked.headers["X-Api-Key"] for asked in door.asked} == {"top-secret"}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_headers_go_to_nobody_else(status: int) -> None:
    with Door(status) as door, Door(200, b"{}") as other:
        door.headers["Location"] = f"{other.url}/a.jsonl"
        with pytest.raises((DynamoError, ValueError)):
            read(f"{door.url}/a.jsonl", OWN)
        assert other.asked == []
        assert read(f"{door.url}/a.jsonl", {}) == b"{}"


def test_headers_do_not_go_in_the_clear() -> None:
    with pytest.raises(PermanentRemoteError, match="in the clear"):
        read("http://service.example.org/a.jsonl", OWN)
