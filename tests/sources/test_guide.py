"""The guide to sources says what is so: its settings can be used, and its JSON service works as described."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from dynamo_ops.base.settings import Settings, SourceSettings, Tls
from dynamo_ops.sources.loader import metadata_source, site_source
from dynamo_ops.sources.usage.source import access_source, demand_source
from tests.documented.pages import blocks
from tests.sources.conformance import whole
from tests.sources.server import JsonServer

PAGE = "sources.md"
LOADERS = {
    "metadata_sources": metadata_source,
    "site_sources": site_source,
    "access_sources": access_source,
    "demand_sources": demand_source,
}


def settings() -> list[tuple[str, SourceSettings]]:
    """All sources of the guide, with the key they stand under."""
    found = []
    for block in blocks("yaml dynamo.yaml", page=PAGE):
        given = yaml.safe_load(block.text)
        found += [(key, source) for key in given for source in getattr(Settings(**given), key)]
    return found


@pytest.mark.parametrize(("key", "source"), settings(), ids=lambda value: getattr(value, "name", value))
def test_every_source_of_the_guide_can_be_made(key: str, source: SourceSettings) -> None:
    assert LOADERS[key](source, Tls()).name == source.name


def test_the_json_service_of_the_guide_is_read_as_the_guide_says() -> None:
    answers: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
    for block in blocks("answer", page=PAGE):
        first, _, body = block.text.partition("\n")
        parts = urlsplit(first.removeprefix("GET "))
        answers[parts.path, tuple(sorted(parse_qsl(parts.query)))] = json.loads(body)
    (described,) = [source for _, source in settings() if source.type == "json" and "datasets" in source.options]
    with JsonServer(lambda path, query: answers[path, tuple(sorted(query.items()))]) as server:
        options = {**described.options, "url": f"{server.url}/api"}
        source = metadata_source(described.model_copy(update={"options": options}), Tls())
        datasets = source.datasets(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
        number = source.count_datasets()
        found = whole(list(source.details(["/muons/2026A"])))
        assert len(server.asked) == len(answers)
    assert number == datasets.height == 2
    assert datasets.select("dataset", "status", "is_open", "software_release").rows() == [
        ("/muons/2026A", "valid", False, "7.1"),
        ("/electrons/2026A", "production", True, None),
    ]
    assert found.blocks.select("dataset", "block", "is_open", "size_bytes", "num_files").rows() == [
        ("/muons/2026A", "1", False, 3_000_000_000, 2)
    ]
    assert found.files.select("block", "lfn", "size_bytes", "adler32", "is_valid").rows() == [
        ("1", "/store/muons/1.root", 1_000_000_000, "1a2b3c4d", True),
        ("1", "/store/muons/2.root", 2_000_000_000, None, True),
    ]
