"""The URL that FTS is given for a file: after all that is done to it on the way, it is the file of the storage."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.fts.url import MOST_CHARACTERS, fts_url


@pytest.mark.parametrize(
    "name",
    ["f.root", "with space", " f ", "a%41", "f;x#y", "a+b", "\N{LATIN SMALL LETTER E WITH ACUTE}", "日本", "a:b@c"],
)
def test_a_name_over_root_is_the_same_after_ftss_copier(name: str) -> None:
    url = fts_url(f"root://a.invalid:1094//store/{name}")
    assert unquote(url.split()[0]) == f"root://a.invalid:1094//store/{name}"
    assert url.isascii()


def test_urls_are_left_as_they_are() -> None:
    for url in ("davs://a.invalid/dav/store/a%2520b%26c", "root://a.invalid//store/mc/Run-2026_v1/f.root"):
        assert fts_url(url) == url
    plain = "root://a.invalid//store/f"
    assert fts_url(plain, is_staging=True) == plain


@pytest.mark.parametrize(
    ("pfn", "is_staging", "because"),
    [
        ("root://a.invalid//store/a&b", False, "it has an ampersand"),
        ("s3://bucket/store/f%3FversionId=1", False, "it has a question mark"),
        ("root://a.invalid//store/a b", True, "nobody knows how a name that must be encoded is staged"),
        (
            "davs://a.invalid/" + "x" * MOST_CHARACTERS,
            False,
            "no URL of more than 1,100 characters, and this has 1,117",
        ),
    ],
)
def test_what_ftss_copier_would_take_for_another_file_is_refused(pfn: str, is_staging: bool, because: str) -> None:
    with pytest.raises(InventoryError, match=because) as caught:
        fts_url(pfn, is_staging=is_staging)
    assert caught.value.facts["pfn"] == pfn
