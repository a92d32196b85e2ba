"""PgBouncer before a PostgreSQL of Debian's, as large installations have it; both must be installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from dynamo_ops.database import embedded
from dynamo_ops.database.embedded import SERVER_USER, EmbeddedPostgres
from tests.patience import PATIENCE_S

DEBIAN = Path("/usr/lib/postgresql")
MISSING = "this test needs PgBouncer and a PostgreSQL of Debian's: apt-get install pgbouncer postgresql"
PORT = 6432
"""Of the socket's name only."""
CONFIG = """
[databases]
* = host={server}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
logfile = {folder}/log
pidfile = {folder}/pid
pool_mode = {mode}
default_pool_size = {pool_size}
server_round_robin = 1
"""
"""By turns: no two transactions of a client are in the same session if they need not be."""


def programs() -> Path:
    """Those of the newest PostgreSQL of Debian's."""
    found = sorted(DEBIAN.glob("*/bin/pg_ctl"), key=lambda path: int(path.parents[1].name))
    assert found, MISSING
    return found[-1].parent


@contextmanager
def debian_postgres() -> Iterator[EmbeddedPostgres]:
    """A server of its own, empty."""
    folder = Path(tempfile.mkdtemp(prefix="dynamo-debian-"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embedded, "PROGRAMS", programs())
        try:
            yield embedded.start(folder, durable=False, create=True)
        finally:
            embedded.stop(folder)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pgbouncer(server: EmbeddedPostgres, mode: str, pool_size: int = 8) -> Iterator[str]:
    """One before ``server``; what comes before the name of a database in its URL, and what comes after."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, MISSING
    folder = Path(tempfile.mkdtemp(prefix="dynamo-bouncer-"))
    user = SERVER_USER if os.geteuid() == 0 else None  # it refuses root
    config = CONFIG.format(server=server.socket_folder, port=PORT, folder=folder, mode=mode, pool_size=pool_size)
    (folder / "pgbouncer.ini").write_text(config)
    (folder / "users").write_text('"postgres" ""\n')
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    process = subprocess.Popen(
        [program, "--quiet", str(folder / "pgbouncer.ini")],
        user=user,
        extra_groups=[] if user else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, folder)
        yield f"postgresql://postgres@/{{}}?host={folder}&port={PORT}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not _answers(folder):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, "PgBouncer does not answer"
        time.sleep(0.05)


def _answers(folder: Path) -> bool:
    try:
        psycopg2.connect(host=str(folder), port=PORT, user="postgres", dbname="postgres").close()
    except psycopg2.OperationalError:
        return False
    return True
