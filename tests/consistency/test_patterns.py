"""What is left out: entries that could match nothing are refused when they are read."""

from __future__ import annotations

import re

import polars as pl
import pytest

from dynamo_ops.consistency.patterns import check_directory, check_ignored, is_ignored, reaches


@pytest.mark.parametrize(
    ("entry", "ignored"),
    [
        ("/store/user", ["/store/user/a"]),
        ("/store/user/", ["/store/user/a"]),
        ("/store/a.b", ["/store/a.b/c"]),
        ("^/store/.*[.]tmp$", ["/store/x.tmp"]),
        ("^/store/user/|/store/users/", ["/store/user/a", "/store/users/a"]),
        ("^(/store/user|/store/a[.]b)/", ["/store/user/a", "/store/a.b/c"]),
        ("^(?i)/STORE/user/", ["/store/user/a"]),
        ("^.*/c$", ["/store/a.b/c", "/store/axb/c"]),
    ],
)
def test_an_entry_leaves_out(entry: str, ignored: list[str]) -> None:
    lfns = ["/store/user/a", "/store/users/a", "/store/a.b/c", "/store/axb/c", "/store/x.tmp", "/store/x/store/users/b"]
    frame = pl.DataFrame({"lfn": lfns})
    assert frame.filter(is_ignored(pl.col("lfn"), check_ignored(entry)))["lfn"].to_list() == ignored


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("store/user", "it must begin with '/'"),
        ("/store/user/*", "write a regular expression that begins with '^/'"),
        ("/store//user", "'//'"),
        ("/store/user$", "sign of a pattern"),
        ("/store/user/.+", "sign of a pattern"),
        ("/store/[u]ser", "write a regular expression that begins with '^/'"),
        ("/store/{user,group}", "sign of a pattern"),
        ("/store/user|/store/group", "sign of a pattern"),
        (" /store/user", "blank"),
        ("/store/user\n", "blank"),
        ("/store/../user", "'..'"),
        ("^/store/(?!big)", "look-ahead"),
        ("^/store/(", "unclosed group"),
        ("^store/user", "'store/user' does not"),
        ("^/store/user|store/group", "'store/group' does not"),
        ("^(user|group)/", "begin with '/'"),
        ("^\\.tmp$", "begin with '/'"),
    ],
)
def test_an_entry_that_can_match_nothing_is_refused(entry: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(entry))) as raised:
        check_ignored(entry)
    assert reason in str(raised.value)


def test_a_directory_has_no_slash_at_its_end() -> None:
    assert check_directory("/store/unmerged/") == "/store/unmerged"


@pytest.mark.parametrize(
    ("entry", "prefix", "expected"),
    [
        ("/store/user", "/store", True),
        ("/store", "/store/data", True),
        ("/store/user", "/store/data", False),
        ("/store/database", "/store/data", False),
        ("^/store/user", "/store", True),
        ("^/store/user", "/store/data", False),
        ("^/store/dat.*", "/store/data", True),
        ("^/store/datas?/x", "/store/data", True),
        ("^/store/user/|/store/data/x", "/store/data", True),
        ("^.*tmp$", "/store/data", True),
    ],
)
def test_an_entry_reaches_what_is_listed(entry: str, prefix: str, expected: bool) -> None:
    assert reaches(check_ignored(entry), prefix) == expected
