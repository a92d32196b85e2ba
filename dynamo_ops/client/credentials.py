"""The file that remembers servers and one's tokens for them: ``~/.config/dynamo/hosts.json``, read by nobody else.

{"default": "https://dynamo.example.org/dynamo/v1",
 "hosts": {"https://dynamo.example.org/dynamo/v1": {"token": "dyn_…"}}}
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dynamo_ops.client.address import base_address, checked_token
from dynamo_ops.client.errors import UsageError

SERVER, TOKEN = "DYNAMO_SERVER", "DYNAMO_TOKEN"
"""Variables of the environment: they count before the file."""


@dataclass(frozen=True)
class Login:
    """A server, where its API is, and one's token for it. ``allow_plain_http``: as who saved it wanted it."""

    server: str
    token: str = field(repr=False)
    allow_plain_http: bool = False


@dataclass(frozen=True)
class Logins:
    """What the file says. ``default``: the server that is meant where none is named."""

    by_server: dict[str, Login] = field(default_factory=dict)
    default: str | None = None

    def of(self, server: str | None = None) -> Login | None:
        """For a server, or for the default; None: the file has none."""
        if server is None:
            return self.by_server.get(self.default or "")
        return self.by_server.get(base_address(server, allow_plain_http=True))


def credentials_file() -> Path:
    """Where it is, by XDG_CONFIG_HOME; it need not be there."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(folder) if os.path.isabs(folder) else Path.home() / ".config"
    return base / "dynamo" / "hosts.json"


def read_logins() -> Logins:
    """What the file says; nothing, where there is none. Raises UsageError: others can read it, it is not ours, or it is
    no such file."""
    place = credentials_file()
    try:
        handle = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        return Logins()
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror}", file=str(place)) from error
    with os.fdopen(handle, encoding="utf-8") as opened:
        _check_private(place, os.fstat(handle))
        try:
            return _logins(json.load(opened))
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # not with its text, which may be a token's
            message = f"{place} is not as it is written by `save_login` ({type(error).__name__}): remove it, and log in"
            raise UsageError(message, file=str(place)) from None


def save_login(server: str, token: str, *, is_default: bool | None = None, allow_plain_http: bool = False) -> Login:
    """Remember a token for a server, instead of the one that is known. ``is_default``: it is meant where none is named;
    None: if there is no other. Raises UsageError."""
    base = base_address(server, allow_plain_http=allow_plain_http)
    login = Login(base, checked_token(token), allow_plain_http)
    with _alone():
        logins = read_logins()
        takes_over = is_default or (is_default is None and logins.of() is None)
        default = base if takes_over else logins.default
        _write(replace(logins, by_server={**logins.by_server, base: login}, default=default))
    return login


def set_default(server: str) -> Login:
    """The server that is meant from now on. Raises UsageError: there is no token for it."""
    with _alone():
        logins = read_logins()
        login = logins.of(server)
        if login is None:
            raise _unknown(server, logins)
        _write(replace(logins, default=login.server))
        return login


def forget_login(server: str | None = None) -> Login:
    """Its token is not in the file any more; it is good until it is revoked. None: of the default. Raises UsageError:
    there is none."""
    with _alone():
        logins = read_logins()
        login = logins.of(server)
        if login is None:
            raise _unknown(server, logins) if server is not None else _no_server()
        others = {base: other for base, other in logins.by_server.items() if base != login.server}
        default = None if logins.default == login.server else logins.default
        if default is None and len(others) == 1:
            (default,) = others
        _write(Logins(others, default))
        return login


def choose_login(server: str | None = None, *, allow_plain_http: bool = False) -> Login:
    """Which server, with which token: by ``server``, the environment, the file, in this order. A token of the
    environment is for the server that is named with it, and is sent to no other. Raises UsageError."""
    named = server or os.environ.get(SERVER) or None
    token = os.environ.get(TOKEN) or None
    if token is not None and named is None:
        raise UsageError(f"{TOKEN} is set and {SERVER} is not: of which server is it?", variable=SERVER)
    if token is not None and named is not None:
        base = base_address(named, allow_plain_http=allow_plain_http)
        return Login(base, checked_token(token), allow_plain_http)
    logins = read_logins()
    login = logins.of(named)
    if login is None and named is None:
        raise _no_server()
    if login is None:
        raise _unknown(named or "", logins)
    return replace(login, allow_plain_http=login.allow_plain_http or allow_plain_http)


def _logins(document: Any) -> Logins:
    by_server = {
        base: Login(base, checked_token(entry["token"]), bool(entry.get("allow_plain_http", False)))
        for base, entry in document["hosts"].items()
    }
    default = document.get("default")
    return Logins(by_server, default if default in by_server else None)


@contextmanager
def _alone() -> Iterator[None]:
    """Who changes the file waits for who is changing it, and neither's entry gets lost."""
    place = credentials_file()
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.parent.chmod(0o700)
    handle = os.open(place.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(logins: Logins) -> None:
    """Whole or not at all; whoever reads meanwhile reads what was."""
    place = credentials_file()
    hosts = {
        base: {"token": login.token, **({"allow_plain_http": True} if login.allow_plain_http else {})}
        for base, login in logins.by_server.items()
    }
    handle, name = tempfile.mkstemp(prefix=".hosts.", dir=place.parent)  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as written:
            json.dump({"default": logins.default, "hosts": hosts}, written, indent=2)
            written.write("\n")
            written.flush()
            os.fsync(handle)
        os.replace(name, place)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _check_private(place: Path, status: os.stat_result) -> None:
    if status.st_uid != os.getuid():
        raise UsageError(f"{place} belongs to somebody else: its tokens are not used", file=str(place))
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        message = (
            f"{place} can be read by others (mode {mode}): revoke its tokens if they may have been, then chmod 600"
        )
        raise UsageError(message, file=str(place), mode=mode)


def _no_server() -> UsageError:
    return UsageError(f"no server: `dynamo login URL`, or set {SERVER} and {TOKEN} ({credentials_file()} has none)")


def _unknown(server: str, logins: Logins) -> UsageError:
    base = base_address(server, allow_plain_http=True)
    known = ", ".join(logins.by_server) or "no server"
    return UsageError(f"no token for {base}: set {TOKEN}, or log in ({credentials_file()} has {known})", server=base)
