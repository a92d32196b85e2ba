"""X.509 at a real XRootD server that lets nobody in without: the credentials of the settings, in one process each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dynamo_ops.storage.proxy import write_proxy
from simgrid import tls
from tests import ROOT
from tests.xrootd import servers

HOST = "127.0.0.51"
GSI = """
xrootd.seclib libXrdSec.so
sec.protocol gsi -certdir:{authorities} -cert:{cert} -key:{key} -crl:0 -gmapopt:10 -vomsat:0
sec.protbind * only gsi
"""
LOOK = """
import sys
from dynamo_ops.base.errors import DynamoError
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.xrootd import XrootdStorage

prefix, *files = sys.argv[1:]
options = StorageOptions(cert=(files or [None])[0], key=(files + [None, None])[1], connect_timeout=5, read_timeout=20)
storage = XrootdStorage(Endpoint("T2_A", "root", prefix), options)
try:
    print(storage.delete(["/store/none"])[0].observation.value, b"".join(storage.read("/store/f")).decode())
except DynamoError as error:
    print(type(error).__name__)
storage.close()
"""


def rsa_credentials(folder: Path) -> tls.Credentials:
    """As the pocket grid's, but of RSA keys throughout: the GSI protocol knows no other."""
    names = ("ca", "hostcert", "hostkey", "usercert", "userkey")
    made = tls.Credentials(*(folder / f"{name}.pem" for name in names))
    folder.mkdir()
    authority_key, host_key, user_key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in "abc")
    authority = tls._authority(authority_key)  # type: ignore[arg-type]
    host = tls._host_certificate(host_key, authority, authority_key, [HOST])  # type: ignore[arg-type]
    user = tls._user_certificate(user_key, authority, authority_key, servers.USER_DN)  # type: ignore[arg-type]
    for path, certificate in ((made.ca, authority), (made.host_cert, host), (made.user_cert, user)):
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    for path, key in ((made.host_key, host_key), (made.user_key, user_key)):
        path.write_bytes(tls.key_pem(key))
        path.chmod(0o600)
    return made


@pytest.fixture(scope="module")
def guarded() -> Iterator[servers.XrootdServer]:
    parent = servers.make_parent()
    credentials = rsa_credentials(parent / "tls")
    authorities = parent / "authorities"
    authorities.mkdir()
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(credentials.ca)]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (authorities / f"{name}.0").write_bytes(credentials.ca.read_bytes())
    (authorities / f"{name}.signing_policy").write_text(
        "access_id_CA X509 '/DC=test/O=Pocket/CN=Pocket Grid CA'\npos_rights globus CA:sign\n"
        "cond_subjects globus '\"/*\"'\n"
    )
    more = GSI.format(authorities=authorities, cert=credentials.host_cert, key=credentials.host_key)
    server = servers.make_server(parent, "T2_A", HOST, credentials, more=more)
    servers.give(parent)
    server.put("/store/f", b"content")
    server.start()
    yield server
    server.stop()
    servers.remove(parent)


def look(server: servers.XrootdServer, *files: Path) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(server.folder),
        "X509_CERT_DIR": str(server.folder.parent / "authorities"),
        "XrdSecGSISRVNAMES": "*",  # the host certificate is for an address, not for a name
    }
    command = [sys.executable, "-c", LOOK, server.prefix("root"), *map(str, files)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_nobody_is_let_in_without_credentials(guarded: servers.XrootdServer) -> None:
    assert look(guarded) == "CredentialError"


def test_proxy(guarded: servers.XrootdServer) -> None:
    credentials = guarded.credentials
    proxy = write_proxy(str(credentials.user_cert), str(credentials.user_key))
    try:
        assert look(guarded, proxy) == "not_found content"
    finally:
        proxy.unlink()


def test_certificate_and_key(guarded: servers.XrootdServer) -> None:
    assert look(guarded, guarded.credentials.user_cert, guarded.credentials.user_key) == "not_found content"
    assert f"login as {servers.USER_DN}" in guarded.log()


def test_proxy_file_is_ours_alone_and_short_lived(tmp_path: Path) -> None:
    credentials = tls.make_credentials(tmp_path, servers.USER_DN, [HOST])
    proxy = write_proxy(str(credentials.user_cert), str(credentials.user_key))
    try:
        assert proxy.stat().st_mode & 0o777 == 0o600
        certificate, owner = x509.load_pem_x509_certificates(proxy.read_bytes())
        assert certificate.issuer == owner.subject
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(hours=25)
        assert serialization.load_pem_private_key(proxy.read_bytes(), None).public_key() == certificate.public_key()
    finally:
        proxy.unlink()
