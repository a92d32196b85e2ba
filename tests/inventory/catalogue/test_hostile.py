"""Documents that nobody in their senses hands in are taken or refused by the place of what is wrong; nothing breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.cli.terminal.document import read_document
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.inventory.catalogue.injection import document as injection
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.properties import Property, PropertyKind
from tests.conftest import TEMPLATE
from tests.inventory.catalogue.hostile import KINDS, places, put
from tests.people import TESTER, inject

INJECTED: dict[str, Any] = {
    "sites": [
        {
            "name": "T3_X",
            "storage_type": "disk",
            "status": "ready",
            "endpoints": [{"protocol": "davs", "prefix": "davs://x/", "mapping": [[["/(.*)", "davs://x/$1"]]]}],
        }
    ],
    "groups": [{"name": "phys", "ownership_level": "block"}],
    "quotas": [{"site": "T3_X", "partition": "Physics", "quota_bytes": 100}],
    "datasets": [
        {
            "name": "/N/E-v1/W",
            "status": "production",
            "software_release": "SW_9",
            "last_update_at": "2026-03-01T12:00:00Z",
            "num_lumis": 7,
            "blocks": [
                {
                    "name": "b1",
                    "is_open": False,
                    "files": [{"lfn": "/n/1", "size_bytes": 5, "adler32": "0000000a"}],
                }
            ],
        }
    ],
    "dataset_replicas": [
        {
            "dataset": "/N/E-v1/W",
            "site": "T3_X",
            "group": "phys",
            "growing": False,
            "blocks": [{"name": "/N/E-v1/W#b1", "group": "phys", "is_custodial": True, "files": ["/n/1"]}],
        }
    ],
}
INVALIDATED: dict[str, Any] = {"datasets": ["/A/B-v1/C"], "blocks": ["/A/B-v1/C#b"], "files": ["/a/1"]}
READ = injection.read_document
TRIED = {"a backslash and N", "placeholders", "truth"}
"""Of those that are taken for texts, what could mean something on the way into tables."""


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """For dry runs and refusals alone."""
    postgres.create_database("hostile", template=TEMPLATE)
    database = Database(postgres.url("hostile"))
    yield database
    assert database.frame("SELECT count(*) FROM sites").item() == 0
    database.dispose()
    postgres.drop_database("hostile")


@pytest.fixture(autouse=True)
def _numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset may have one property, a number."""
    number = injection.Field("num_lumis", float, is_needed=False)
    declared = (Property("num_lumis", PropertyKind.NUMBER, ""),)
    monkeypatch.setattr("dynamo_ops.inventory.properties.PROPERTIES", declared)
    monkeypatch.setattr(injection, "DATASETS", (*injection.DATASETS, number))


def refusal(call: Callable[[Any], object], document: Any) -> str | None:
    """None: it is taken. Whatever else happens is a fault of ours."""
    try:
        call(document)
    except InventoryError as error:
        return str(error)
    return None


def check(refused: str, path: str) -> None:
    """By its place or that of what it is in, in words that a terminal and UTF-8 take."""
    lines = refused.splitlines()[1:]
    assert all(line.isprintable() for line in lines), lines
    named = [line.partition(": ")[0].replace("document", "") for line in lines]
    assert any(path.startswith(place) or place.startswith(path) for place in named), lines
    assert len(refused) < 5_000


@pytest.mark.parametrize("kind", KINDS)
def test_an_injection_is_refused_by_the_place_of_what_is_hostile(shared: Database, kind: str) -> None:
    refused = {path: refusal(READ, put(INJECTED, path, KINDS[kind])) for path in places(INJECTED)}
    for path, words in refused.items():
        if words is not None:
            check(words, path)
        elif kind in TRIED and (
            inventory_says := refusal(
                lambda document: inject(shared, document, dry_run=True), put(INJECTED, path, KINDS[kind])
            )
        ):
            assert "injection refused, nothing was written:\n" in inventory_says


@pytest.mark.parametrize("kind", KINDS)
def test_so_is_an_invalidation(shared: Database, kind: str) -> None:
    def call(document: Any) -> None:
        invalidate(shared, document, reason="lost", by=TESTER)

    for path in places(INVALIDATED):
        check(refusal(call, put(INVALIDATED, path, KINDS[kind])) or "", path)


def test_what_is_not_hostile_is_taken() -> None:
    assert refusal(READ, INJECTED) is None


@pytest.mark.parametrize(
    ("pattern", "replacement", "why"),
    [
        ("(/?[a-z]+)+!", "x", "steps without end on one name"),
        ("/(.*", "x", "unterminated subpattern"),
        ("/store", "davs://x/$9", "invalid group reference 9"),
        ("/a\0", "x", "has control characters"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused(pattern: str, replacement: str, why: str) -> None:
    path = "sites[0].endpoints[0].mapping[0][0]"
    document = put(INJECTED, path, [pattern, replacement])
    with pytest.raises(InventoryError) as caught:
        READ(document)
    assert path in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"\xff\xfe", b'{"a": 1' + b"0" * 5_000 + b"}", b'{"a": "\n"}', b"", b'{"a": "\\ud8"}'],
    ids=["deep", "no UTF-8", "thousands of digits", "a line end in a text", "nothing", "half an escape"],
)
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "document.json"
    file.write_bytes(content)
    with pytest.raises(InventoryError, match=r"document.json: cannot be read as JSON"):
        read_document(str(file))
