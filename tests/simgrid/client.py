"""A minimal FTS client for these tests: written from the contract, sharing nothing with either side."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.patience import PATIENCE_S

_INHERIT_ALL = bytes.fromhex("300c300a06082b06010505071501")
_PROXY_INFO = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")


def signed_proxy(csr_pem: bytes, cert: Path, key: Path, hours: float = 12) -> bytes:
    """An RFC 3820 proxy over the request's key, and the user certificate after it."""
    user = x509.load_pem_x509_certificate(cert.read_bytes())
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    request = x509.load_pem_x509_csr(csr_pem)
    now = datetime.now(UTC)
    proxy = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*user.subject, x509.NameAttribute(x509.NameOID.COMMON_NAME, "4711")]))
        .issuer_name(user.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=hours))
        .add_extension(x509.KeyUsage(True, False, True, False, False, False, False, False, False), critical=True)
        .add_extension(x509.UnrecognizedExtension(_PROXY_INFO, _INHERIT_ALL), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return proxy.public_bytes(pem) + user.public_bytes(pem)


def session(endpoints: dict[str, Any], anonymous: bool = False) -> requests.Session:
    """A session that trusts the grid, whatever bundle the environment names."""
    made = requests.Session()
    made.trust_env = False
    made.verify = endpoints["ca"]
    if not anonymous:
        made.cert = (endpoints["user_cert"], endpoints["user_key"])
    return made


class FtsClient:
    def __init__(self, endpoints: dict[str, Any]) -> None:
        self.endpoints = endpoints
        self.url = endpoints["fts"]
        self.http = session(endpoints)

    def delegate(self, hours: float = 12) -> str:
        identifier: str = self.http.get(f"{self.url}/whoami").json()["delegation_id"]
        csr = self.http.get(f"{self.url}/delegation/{identifier}/request").content
        proxy = signed_proxy(csr, Path(self.endpoints["user_cert"]), Path(self.endpoints["user_key"]), hours)
        assert self.http.put(f"{self.url}/delegation/{identifier}/credential", data=proxy).status_code == 201
        return identifier

    def submit(self, files: list[dict[str, Any]], **params: Any) -> str:
        reply = self.http.post(f"{self.url}/jobs", json={"files": files, "params": params})
        assert reply.status_code == 200, reply.text
        job_id: str = reply.json()["job_id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.http.get(f"{self.url}/jobs/{job_id}").json()
        return document

    def files(self, job_id: str) -> list[dict[str, Any]]:
        documents: list[dict[str, Any]] = self.http.get(f"{self.url}/jobs/{job_id}/files").json()
        return documents

    def wait(self, job_id: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The job once it is terminal."""
        ends = time.monotonic() + timeout_s
        while (job := self.job(job_id))["job_finished"] is None:
            assert time.monotonic() < ends, job
            time.sleep(0.01)
        return job

    def url_of(self, site: str, lfn: str) -> str:
        return f"{self.endpoints['sites'][site]['prefix']}{lfn}"

    def entry(self, source: str, destination: str, file: dict[str, Any]) -> dict[str, Any]:
        """The submission entry that brings a file (a DBS record) from site to site under its LFN."""
        lfn = file["logical_file_name"]
        return {
            "sources": [self.url_of(source, lfn)],
            "destinations": [self.url_of(destination, lfn)],
            "checksum": f"adler32:{file['adler32']}",
            "filesize": file["file_size"],
            "metadata": {"lfn": lfn},
        }

    def dbs_files(self, dataset: str) -> list[dict[str, Any]]:
        reply = self.http.get(f"{self.endpoints['dbs']}/files", params={"dataset": dataset, "detail": "1"})
        rows: list[dict[str, Any]] = reply.json()
        return rows

    def path(self, site: str, lfn: str) -> Path:
        return Path(f"{self.endpoints['sites'][site]['root']}{lfn}")
