"""A real proxy before the app, configured as docs/access.md says, asks for certificates."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from fastapi.testclient import TestClient

from dynamo_ops.access import identity
from dynamo_ops.access.person import KnownBy
from simgrid.tls import Credentials, make_credentials
from tests.documented.pages import blocks
from tests.patience import wait_until
from tests.people import ROOT_USER
from tests.ports import free_ports
from tests.query.stock import Stock

DN = "/DC=ch/DC=cern/OU=Users, Organic/CN=Zoë Müller"
SECRET = "the secret, 32 characters at least"
AROUND_HAPROXY = "defaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n\n"
AROUND_NGINX = """daemon off; pid {folder}/pid; error_log stderr; events {{}}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
uwsgi_temp_path {folder}; scgi_temp_path {folder};
"""


@pytest.fixture
def access() -> dict[str, Any]:
    return {"proxies": [{"secret": SECRET}]}


@pytest.fixture
def served(client: TestClient) -> Iterator[int]:
    """The port at which the app answers over HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(client.app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def certificates(tmp_path: Path) -> Credentials:
    return make_credentials(tmp_path / "tls", DN, ["127.0.0.1"])


def haproxy(folder: Path, port: int, served: int, tls: Credentials) -> list[str]:
    (block,) = blocks("haproxy")
    both = folder / "host.pem"
    both.write_bytes(tls.host_cert.read_bytes() + tls.host_key.read_bytes())
    text = block.text.replace(":8443", f"127.0.0.1:{port}").replace("127.0.0.1:8080", f"127.0.0.1:{served}")
    text = text.replace("/etc/haproxy/host.pem", str(both)).replace("/etc/grid-security/authorities.pem", str(tls.ca))
    (folder / "haproxy.cfg").write_text(AROUND_HAPROXY + text)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def nginx(folder: Path, port: int, served: int, tls: Credentials) -> list[str]:
    (block,) = blocks("nginx")
    text = block.text.replace("listen 8443", f"listen 127.0.0.1:{port}").replace(
        "127.0.0.1:8080", f"127.0.0.1:{served}"
    )
    text = text.replace("/etc/nginx/host.pem", str(tls.host_cert)).replace("/etc/nginx/host.key", str(tls.host_key))
    text = text.replace("/etc/grid-security/authorities.pem", str(tls.ca))
    (folder / "nginx.conf").write_text(AROUND_NGINX.format(folder=folder) + text + "}\n")
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def status_with(session: requests.Session, url: str, certificates: Credentials) -> int | None:
    """None: the connection was ended."""
    pair = (str(certificates.user_cert), str(certificates.user_key))
    try:
        return session.get(url, cert=pair, timeout=30).status_code
    except requests.ConnectionError:
        return None


@pytest.mark.parametrize("make", [haproxy, pytest.param(nginx, marks=pytest.mark.slow)])
def test_a_certificate_is_its_owner_s_and_no_header_of_a_caller_s_counts(
    make: Callable[..., list[str]], served: int, certificates: Credentials, stock: Stock, tmp_path: Path
) -> None:
    port = free_ports()
    command = make(tmp_path, port, served, certificates)
    if os.geteuid() == 0 and make is nginx:
        command += ["-g", "user root;"]  # its workers must read what is below our temporary folder
    identity.set_identity(stock.db, KnownBy.CERTIFICATE, DN, "zoe", by=ROOT_USER)
    assert shutil.which(command[0]), (
        f"{command[0]} is not installed, and this test needs it: apt-get install {command[0]}"
    )
    proxy = subprocess.Popen(command, env={**os.environ, "DYNAMO_PROXY_SECRET": SECRET})
    try:
        url = f"https://127.0.0.1:{port}/dynamo/v1"
        with requests.Session() as nobody:
            nobody.trust_env = False  # its authorities would count before ours
            nobody.verify = str(certificates.ca)

            def answers() -> bool:
                try:
                    return nobody.get(f"{url}/health", timeout=5).status_code == 200
                except requests.ConnectionError:
                    assert proxy.poll() is None
                    return False

            wait_until(answers)
            ours = {"cert": (str(certificates.user_cert), str(certificates.user_key))}
            zoe = nobody.get(f"{url}/me", **ours, timeout=30)
            assert (zoe.status_code, zoe.json()["name"]) == (200, "zoe"), zoe.text
            forged = {"X-SSL-Client-DN": DN, "X-Dynamo-Proxy": SECRET}
            for headers in ({}, forged, {"x-ssl-client-dn": DN}):
                refused = nobody.get(f"{url}/me", headers=headers, timeout=30)
                assert (refused.status_code, refused.json()["detail"]) == (401, "the proxy has seen no certificate")
            others = make_credentials(tmp_path / "others", DN, ["127.0.0.1"])  # of an authority that nobody trusts
            assert status_with(nobody, f"{url}/me", others) in (None, 400)  # HAProxy hangs up, nginx answers
    finally:
        proxy.terminate()
        proxy.wait()
