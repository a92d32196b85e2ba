"""Compressed data of others: all that is honest is read, and no bomb further than its first megabytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.base import unpack
from dynamo_ops.base.errors import InventoryError, PermanentRemoteError, SourceDataError
from dynamo_ops.base.settings import Tls
from dynamo_ops.base.unpack import Unpacked, UnpackError, gunzip, read_whole
from dynamo_ops.inventory.folder import read_folder
from dynamo_ops.sources.reading.columns import Column
from dynamo_ops.sources.reading.drop import Drop
from dynamo_ops.sources.reading.http import HttpJson
from tests.base.door import Door

SMALL = 1 << 20
BOMB = b"[" + b" " * (40 * SMALL) + b"]"
HONEST = json.dumps([{"name": f"/Muons/Run2026A-v{n}/AOD", "size": n * 7919} for n in range(30_000)]).encode()
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),
}
COLUMNS = [Column("name", pl.String, "name"), Column("size", pl.Int64, "size")]


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a bomb is one already when it has unpacked to a megabyte."""
    monkeypatch.setattr(unpack, "SMALL_BYTES", SMALL)


@pytest.fixture
def door() -> Iterator[Door]:
    with Door() as door:
        yield door


def test_what_is_honest_is_unpacked() -> None:
    assert len(HONEST) > SMALL
    assert gunzip(gzip.compress(HONEST)) == HONEST


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_read_to_its_first_megabytes(kind: str) -> None:
    packed = PACK[kind](BOMB)
    source = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}[kind](io.BytesIO(packed))
    file = io.BufferedReader(Unpacked(source, len(packed)))
    with pytest.raises(UnpackError, match="more than 250 times its length"):
        file.read()
    assert source.tell() < len(BOMB)


def test_the_whole_of_a_file_has_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MOST_WHOLE_BYTES", 2 * SMALL)
    assert len(read_whole(io.BytesIO(bytes(2 * SMALL)))) == 2 * SMALL
    with pytest.raises(UnpackError, match="more than 2,097,152 bytes"):
        read_whole(io.BytesIO(bytes(2 * SMALL + 1)))


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("name", ["files.json", "files.jsonl", "files.csv"])
def test_a_drop_that_is_a_bomb_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / f"{name}.{kind}").write_bytes(PACK[kind](BOMB))
    drop = Drop("drops", {})
    (found,) = drop.find(str(tmp_path))
    with pytest.raises(SourceDataError, match=rf"{name}.{kind}: cannot be read: it unpacks to more than 250 times"):
        list(drop.frames(found, COLUMNS))
    with pytest.raises(SourceDataError, match="it unpacks to more than 250 times"):
        drop.read(found)


@pytest.mark.parametrize("kind", PACK)
def test_an_honest_drop_is_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"files.json.{kind}").write_bytes(PACK[kind](HONEST))
    drop = Drop("drops", {})
    (found,) = drop.find(str(tmp_path))
    assert sum(frame.height for frame in drop.frames(found, COLUMNS)) == 30_000


@pytest.mark.parametrize("name", ["files.jsonl", "files.csv"])
def test_a_line_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("dynamo_ops.sources.reading.drop.MOST_LINE_BYTES", SMALL)
    (tmp_path / name).write_bytes(b"x" * (9 * SMALL) + b"\n")
    drop = Drop("drops", {})
    (found,) = drop.find(str(tmp_path))
    with pytest.raises(SourceDataError, match="line 1 has more than 1,048,576 bytes"):
        list(drop.frames(found, COLUMNS))


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_an_answer_that_is_a_bomb_is_refused_and_an_honest_one_read(
    door: Door, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    source = HttpJson("service", Tls())
    door.headers, door.body = {"Content-Encoding": coding}, pack(HONEST)
    assert len(source.document(door.url)[0]) == 30_000
    door.body = pack(BOMB)
    with pytest.raises(PermanentRemoteError, match=r"its answer is not read: it unpacks to more than 250 times"):
        source.document(door.url)
    source.close()


def test_an_answer_in_chunks_has_a_limit_of_its_own(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    source = HttpJson("service", Tls())
    door.headers = {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}
    packed = gzip.compress(HONEST)
    door.body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    assert len(source.document(door.url)[0]) == 30_000
    monkeypatch.setattr(unpack, "MOST_UNCOUNTED_BYTES", SMALL)
    with pytest.raises(PermanentRemoteError, match=r"its answer is not read: it has more than 1,048,576 bytes"):
        source.document(door.url)
    source.close()


def test_a_dump_that_is_a_bomb_or_cut_is_refused(tmp_path: Path) -> None:
    for content, why in ((gzip.compress(BOMB), "more than 250 times"), (gzip.compress(HONEST)[:100], "cannot be read")):
        (tmp_path / "case.json.gz").write_bytes(content)
        with pytest.raises(InventoryError, match=why):
            read_folder(tmp_path)
