"""The file of tokens: nobody else reads it, it is whole, and no token goes to another server than its own."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path

import pytest

from dynamo_ops.client import Dynamo, UsageError
from dynamo_ops.client.credentials import (
    choose_login,
    credentials_file,
    forget_login,
    read_logins,
    save_login,
    set_default,
)

ONE, OTHER = "https://one.example.org", "https://other.example.org"
BASE = f"{ONE}/dynamo/v1"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DYNAMO_SERVER", "DYNAMO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "dynamo" / "hosts.json"


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"


def test_what_is_saved_is_read_by_nobody_else(place: Path) -> None:
    umask = os.umask(0)
    try:
        save_login(ONE, " dyn_1\n")
        save_login(OTHER, "dyn_2")
    finally:
        os.umask(umask)
    assert (mode(place), mode(place.parent)) == ("600", "700")
    assert json.loads(place.read_text()) == {
        "default": BASE,
        "hosts": {BASE: {"token": "dyn_1"}, f"{OTHER}/dynamo/v1": {"token": "dyn_2"}},
    }
    logins = read_logins()
    assert (logins.of(), logins.of("one.example.org")) == (logins.by_server[BASE],) * 2
    assert "dyn_" not in repr(logins)
    assert [file.name for file in place.parent.iterdir()] == ["hosts.json"]


def test_it_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, place: Path, tmp_path: Path) -> None:
    assert credentials_file() == place
    monkeypatch.setenv("HOME", str(tmp_path))
    for none in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CONFIG_HOME", none)
        assert credentials_file() == tmp_path / ".config" / "dynamo" / "hosts.json"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert credentials_file() == tmp_path / ".config" / "dynamo" / "hosts.json"


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_can_read_is_refused(place: Path, bits: int) -> None:
    save_login(ONE, "dyn_1")
    place.chmod(bits)
    for use in (read_logins, choose_login, lambda: save_login(OTHER, "dyn_2")):
        with pytest.raises(UsageError, match=f"can be read by others .mode {bits:04o}"):
            use()


def test_a_file_of_somebody_else_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_login(ONE, "dyn_1")
    monkeypatch.setattr("os.getuid", lambda: 1 + place.stat().st_uid)
    with pytest.raises(UsageError, match="somebody else"):
        read_logins()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"hosts": []}', '{"hosts": {"https://a": "dyn_1"}}', "dyn_1"])
def test_what_is_no_such_file_is_told_without_its_text(place: Path, text: str) -> None:
    save_login(ONE, "dyn_1")
    place.write_text(text)
    with pytest.raises(UsageError, match="is not as it is written") as caught:
        read_logins()
    assert "dyn_1" not in "".join(traceback.format_exception(caught.value))


def test_a_write_that_breaks_off_leaves_what_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_login(ONE, "dyn_1")
    before = place.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_login(ONE, "dyn_2")
    assert place.read_text() == before
    assert [file.name for file in place.parent.iterdir()] == ["hosts.json"]


def test_one_of_several_is_the_default() -> None:
    with pytest.raises(UsageError, match="no server: `dynamo login URL`, or set DYNAMO_SERVER"):
        choose_login()
    save_login(ONE, "dyn_1")
    save_login(OTHER, "dyn_2")
    assert choose_login().token == "dyn_1"
    assert set_default(OTHER).token == choose_login().token == "dyn_2"
    save_login(ONE, "dyn_3", is_default=True)
    assert choose_login().token == "dyn_3"
    forget_login(ONE)
    assert choose_login().token == "dyn_2"
    for act in (forget_login, set_default):
        with pytest.raises(UsageError, match="no token for"):
            act(ONE)
    forget_login(OTHER)
    assert read_logins().by_server == {}


def test_the_environment_counts_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    save_login(ONE, "dyn_1")
    save_login(OTHER, "dyn_2")
    monkeypatch.setenv("DYNAMO_SERVER", OTHER)
    assert choose_login().token == "dyn_2"
    assert choose_login(ONE).token == "dyn_1"
    monkeypatch.setenv("DYNAMO_TOKEN", "dyn_9")
    assert (choose_login().server, choose_login().token) == (f"{OTHER}/dynamo/v1", "dyn_9")
    assert Dynamo.from_environment().server == f"{OTHER}/dynamo/v1"
    monkeypatch.delenv("DYNAMO_SERVER")
    with pytest.raises(UsageError, match="of which server is it"):
        choose_login()
    monkeypatch.delenv("DYNAMO_TOKEN")
    monkeypatch.setenv("DYNAMO_SERVER", "third.example.org")
    with pytest.raises(UsageError, match=r"no token for https://third\.example\.org/dynamo/v1"):
        Dynamo.from_environment()


def test_plain_http_is_spoken_where_it_was_asked_for() -> None:
    with pytest.raises(UsageError, match="in the clear"):
        save_login("http://dynamo.lan", "dyn_1")
    save_login("http://dynamo.lan", "dyn_1", allow_plain_http=True)
    assert Dynamo.from_environment().server == "http://dynamo.lan/dynamo/v1"
