"""PostgreSQL from the wheel: started where it is told, found again, stopped without loss."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connect import connect, create
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a space in its name; whatever runs in it is stopped afterwards.

    Not below pytest's own folder: that is closed to the server's user whenever another pytest begins.
    """
    with tempfile.TemporaryDirectory(prefix="dynamo-test-") as parent:
        folder = Path(parent) / "with a space"
        yield folder
        embedded.stop(folder)


def fetch(url: str, sql: str) -> object:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


@pytest.mark.server
def test_what_was_written_is_there_after_a_stop_and_a_start(folder: Path) -> None:
    server = embedded.start(folder, create=True)
    assert embedded.start(folder) == server == embedded.find(folder)
    assert server.create_database("kept")
    fetch(server.url("kept"), "CREATE TABLE t AS SELECT 7 AS n")
    assert fetch(server.url("kept"), "SHOW fsync") == "on"
    assert fetch(server.url("kept"), "SHOW listen_addresses") == ""
    assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
    assert embedded.stop(folder)
    assert embedded.find(folder) is None
    assert not embedded.stop(folder)
    again = embedded.start(folder)
    assert not again.create_database("kept")
    assert fetch(again.url("kept"), "SELECT n FROM t") == 7


def test_a_folder_in_which_nothing_ever_ran(tmp_path: Path) -> None:
    assert embedded.find(tmp_path / "no") is None
    assert not embedded.stop(tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "content",
    ["", "not a number\n", "999999999\n", "99999999999999999999\n", f"{os.getpid()}\n"],
    ids=["empty", "rubbish", "a process that ended", "no process at all", "another process"],
)
def test_a_pid_file_that_a_crash_left_is_no_server(tmp_path: Path, content: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "postmaster.pid").write_text(content)
    assert embedded.find(tmp_path) is None
    assert not embedded.stop(tmp_path)


def kill(folder: Path) -> None:
    """As a machine or container that dies: nothing is written any more, the pid file stays."""
    server = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a child goes by itself when its parent is gone
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=20)


@pytest.fixture
def bystander() -> Iterator[int]:
    """The number of a process of the server's own user, which PostgreSQL takes for a server."""
    with subprocess.Popen(["sleep", "600"], user=embedded._server_user()) as process:
        yield process.pid
        assert process.poll() is None  # a server that is stopped is not this
        process.kill()


@pytest.mark.server
@pytest.mark.parametrize("names", ["another process of its user", "nothing yet", "the one that was killed"])
def test_what_was_written_is_there_after_a_crash(folder: Path, bystander: int, names: str) -> None:
    server = embedded.start(folder, create=True)
    server.create_database("kept")
    fetch(server.url("kept"), "CREATE TABLE t AS SELECT 7 AS n")
    kill(folder)
    pid_file, lock = folder / "data" / "postmaster.pid", next(server.socket_folder.glob("*.lock"))
    if names == "another process of its user":
        for file in (pid_file, lock):
            file.write_text("\n".join([str(bystander), *file.read_text().splitlines()[1:]]) + "\n")
    elif names == "nothing yet":
        pid_file.write_text("")
    assert embedded.find(folder) is None
    assert not embedded.stop(folder)
    assert embedded.start(folder) == server == embedded.find(folder)
    assert fetch(server.url("kept"), "SELECT n FROM t") == 7


@pytest.mark.server
def test_the_processes_of_a_server_that_was_killed_alone_are_waited_for(folder: Path) -> None:
    server = embedded.start(folder, create=True, durable=False)
    connection = psycopg2.connect(server.url("postgres"))
    pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    with ThreadPoolExecutor() as threads, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = psutil.Process(cursor.fetchone()[0])
        backend.suspend()  # it does not see that its server is gone, and may write
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
        again = threads.submit(embedded.start, folder)
        with pytest.raises(TimeoutError):
            again.result(timeout=2)
        backend.resume()
        assert again.result(timeout=60) == server
    connection.close()


@pytest.mark.server
def test_four_who_begin_at_once_have_one_server(folder: Path) -> None:
    program = f"""if True:
        from pathlib import Path
        from dynamo_ops.database.connect import create
        create(Path({str(folder)!r})).dispose()"""
    everybody = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(4)]
    ends = [(process.communicate()[1].decode(), process.returncode) for process in everybody]
    try:
        assert [code for _, code in ends] == [0] * 4, ends
        database = Database(embedded.start(folder / "postgres").url("dynamo"))
        assert migrate.revision(database) == migrate.head()
        database.dispose()
    finally:
        embedded.stop(folder / "postgres")


@pytest.mark.server
def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    embedded.start(folder, durable=False, create=True)
    embedded.stop(folder)
    with (folder / "data" / "postgresql.conf").open("a") as conf:
        conf.write("max_connections = many\n")
    with pytest.raises(SettingsError, match="pg_ctl failed") as error:
        embedded.start(folder)
    assert "max_connections" in str(error.value)
    assert error.value.key == "db_url"


def test_a_copy_of_a_template_has_its_tables(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("original")
    fetch(postgres.url("original"), "CREATE TABLE t AS SELECT 7 AS n")
    assert postgres.create_database("copy", template="original")
    assert not postgres.create_database("copy", template="original")
    assert fetch(postgres.url("copy"), "SELECT n FROM t") == 7
    for name in ("original", "copy", "copy"):
        postgres.drop_database(name)
    assert (
        fetch(postgres.url("postgres"), "SELECT count(*) FROM pg_database WHERE datname IN ('original', 'copy')") == 0
    )


@pytest.mark.server
def test_without_a_url_the_embedded_server_is_started_and_migrated(folder: Path) -> None:
    home = folder.parent / "home"
    database = create(home)
    try:
        assert migrate.revision(database) == migrate.head()
        fetch(database.url, "CREATE TABLE kept AS SELECT 7 AS n")
        assert embedded.stop(home / "postgres")
        assert connect(Settings(home=home)).url == database.url
        assert create(home).url == database.url
        assert fetch(database.url, "SELECT n FROM kept") == 7
        (server := embedded.start(home / "postgres")).drop_database("dynamo")
        with pytest.raises(SettingsError, match="it has no database 'dynamo'; put it back from a copy"):
            connect(Settings(home=home))
        assert not server.has_database("dynamo")
    finally:
        database.dispose()
        assert embedded.stop(home / "postgres")


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for start in (lambda: embedded.start(tmp_path / "postgres"), lambda: connect(Settings(home=tmp_path))):
        with pytest.raises(SettingsError, match="postgres holds no PostgreSQL; put it back from a copy"):
            start()
    with pytest.raises(SettingsError, match="no installation here"):
        connect(Settings(db_url="postgresql://a/b"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["rubbish", "mysql://dynamo:secret@a/b", "postgresql://dynamo:secret@[::1/b"])
def test_what_is_no_url_of_postgresql_is_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="no URL of PostgreSQL: expected postgresql://user") as error:
        connect(Settings(home=tmp_path, db_url=url))
    assert "secret" not in str(error.value)


def test_a_url_is_used_as_it_is(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    assert connect(Settings(home=tmp_path, db_url=postgres.url("postgres"))).url == postgres.url("postgres")
    assert list(tmp_path.iterdir()) == []


def test_of_several_who_make_a_database_at_once_one_does(postgres: EmbeddedPostgres) -> None:
    with ThreadPoolExecutor() as threads:
        made = list(threads.map(postgres.create_database, ["at_once"] * 6))
    postgres.drop_database("at_once")
    assert made.count(True) == 1
