"""Real XRootD servers: root:// and https:// on free ports, of an ordinary user, gone with the test session."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from simgrid.tls import Credentials, make_credentials
from tests.patience import PATIENCE_S
from tests.ports import free_ports

MISSING = "XRootD's server is not installed, and these tests need it: apt-get install xrootd-server"
USER_DN = "/DC=test/O=Pocket/CN=Data Manager"

CONFIG = """
all.export /store
oss.localroot {root}
all.adminpath {folder}/admin
all.pidpath {folder}/admin
xrd.port {port}
xrd.protocol XrdHttp:{https_port} libXrdHttp.so
http.cert {cert}
http.key {key}
http.cafile {ca}
http.listingdeny no
xrootd.chksum max 64 adler32
xrd.timeout idle 60m
{more}
"""
TAPE = "ofs.preplib libXrdOfsPrepGPI.so -admit all -maxfiles 1024 -maxreq 64 -run {script}"


@dataclass
class XrootdServer:
    """One running server. ``root`` holds its files by LFN; ``name`` is its site."""

    name: str
    folder: Path
    host: str
    port: int
    https_port: int
    credentials: Credentials
    is_tape: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return self.folder / "data"

    def prefix(self, protocol: str) -> str:
        """The endpoint of the server in the inventory; PFN = prefix + LFN."""
        if protocol in ("root", "xroot"):
            return f"{protocol}://{self.host}:{self.port}/"
        return f"{protocol}://{self.host}:{self.https_port}"

    def path(self, lfn: str) -> Path:
        return self.root / lfn.lstrip("/")

    def put(self, lfn: str, data: bytes) -> None:
        """A file straight into the directory, as the server's user; at the tape server it is on tape only."""
        self.put_all({lfn: data})

    def put_all(self, contents: dict[str, bytes]) -> None:
        for lfn, data in contents.items():
            path = self.path(lfn)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if self.is_tape:
                path.chmod(0)
        self.own()

    def is_nearline(self, lfn: str) -> bool:
        """Whether a file is on tape only."""
        return not self.path(lfn).stat().st_mode & 0o777

    def own(self) -> None:
        """Give what tests have made below /store to the server."""
        give(self.root / "store")

    def files(self) -> dict[str, int]:
        """LFN → bytes of all files that lie there."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {f"/{path.relative_to(self.root)}": path.stat().st_size for path in found}

    def clear(self) -> None:
        """An empty /store that is the server's."""
        shutil.rmtree(self.root / "store", ignore_errors=True)
        (self.root / "store").mkdir(parents=True)
        give(self.root / "store")

    def tape_log(self) -> list[str]:
        """What the tape was asked: verb and files, one request a line."""
        log = self.folder / "tape" / "log"
        return log.read_text().splitlines() if log.exists() else []

    def start(self) -> None:
        """Start the server and wait until it answers on both ports. Fails with a hint where it is not installed.

        It is started again when it crashes, as a site's would be: now and then XRootD 5.5's HTTPS dies inside OpenSSL.
        """
        self.process = self._launch()
        threading.Thread(target=self._keep, args=(self.process,), daemon=True).start()
        deadline = time.monotonic() + PATIENCE_S
        while not (answers(self.host, self.port) and answers(self.host, self.https_port)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"xrootd did not start; see its log:\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def _launch(self) -> subprocess.Popen[bytes]:
        binary = shutil.which("xrootd")
        assert binary is not None, MISSING
        command = [binary, "-c", str(self.folder / "xrootd.cf"), "-l", str(self.folder / "log"), "-n", self.name]
        if os.geteuid() == 0:
            command += ["-R", "nobody"]  # it refuses to serve as root
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _keep(self, process: subprocess.Popen[bytes]) -> None:
        while process.wait() == -signal.SIGSEGV and self.process is process:
            self.process = process = self._launch()

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.folder.rglob("log") if path.is_file())


def make_server(
    parent: Path, name: str, host: str, credentials: Credentials, tape_delay_s: float | None = None, more: str = ""
) -> XrootdServer:
    """A server's folder and configuration, not started yet. ``tape_delay_s``: it stands before a tape."""
    folder = parent / name
    for part in ("data/store", "admin", "tape"):
        (folder / part).mkdir(parents=True)
    port = free_ports(2)
    server = XrootdServer(name, folder, host, port, port + 1, credentials, tape_delay_s is not None)
    if tape_delay_s is not None:
        script = write_tape(folder, server.root, tape_delay_s)
        more += TAPE.format(script=script)
    (folder / "xrootd.cf").write_text(
        CONFIG.format(
            root=server.root,
            folder=folder,
            port=server.port,
            https_port=server.https_port,
            cert=credentials.host_cert,
            key=credentials.host_key,
            ca=credentials.ca,
            more=more,
        )
    )
    give(folder)
    return server


def write_tape(folder: Path, root: Path, delay_s: float) -> Path:
    """The tape's script in this folder, for files below ``root``. Its state lies in ``tape`` beside it."""
    filled_in = {"@ROOT@": root, "@STATE@": folder / "tape", "@DELAY_MS@": int(delay_s * 1000)}
    text = Path(__file__).with_name("tape.sh").read_text()
    for blank, value in filled_in.items():
        text = text.replace(blank, str(value))
    script = folder / "tape.sh"
    script.write_text(text)
    script.chmod(0o755)
    return script


@contextmanager
def running_servers(tape_delays_s: dict[str, float | None]) -> Iterator[dict[str, XrootdServer]]:
    """Servers by name, each on an address of its own; those with a delay stand before a tape."""
    parent = make_parent()
    process = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")  # two must not find the same port free
    hosts = {name: f"127.0.{process}.{41 + number}" for number, name in enumerate(tape_delays_s)}
    credentials = server_credentials(parent, ["127.0.0.1", "127.0.0.11", *hosts.values()])
    servers = {
        name: make_server(parent, name, hosts[name], credentials, delay) for name, delay in tape_delays_s.items()
    }
    try:
        for server in servers.values():
            server.start()
        yield servers
    finally:
        for server in servers.values():
            server.stop()
        remove(parent)


def remove(parent: Path) -> None:
    shutil.rmtree(parent, ignore_errors=True)


def make_parent() -> Path:
    """A folder that the server's user can reach, whoever runs the tests."""
    parent = Path(tempfile.mkdtemp(prefix="dynamo-xrootd-"))
    parent.chmod(0o755)
    return parent


def server_credentials(parent: Path, hosts: list[str]) -> Credentials:
    credentials = make_credentials(parent / "tls", USER_DN, hosts)
    give(parent / "tls")
    return credentials


def give(path: Path) -> None:
    """Make a tree the server's: that of ``nobody`` when the tests run as root, else it is ours already."""
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam("nobody")
    for top, folders, files in os.walk(path):
        for name in (top, *(os.path.join(top, each) for each in (*folders, *files))):
            os.chown(name, user.pw_uid, user.pw_gid, follow_symlinks=False)


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
