from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from simgrid.grid import Grid
from tests.simgrid.client import FtsClient, signed_proxy

JOB = {"files": [{"sources": ["davs://a.example.org/x"], "destinations": ["davs://b.example.org/x"]}]}


def test_a_proxy_on_a_foreign_key_is_refused(grid: Grid) -> None:
    client = FtsClient(grid.endpoints)
    identifier = client.http.get(f"{client.url}/whoami").json()["delegation_id"]
    client.http.get(f"{client.url}/delegation/{identifier}/request")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    ends = grid.endpoints
    proxy = signed_proxy(csr.public_bytes(serialization.Encoding.PEM), Path(ends["user_cert"]), Path(ends["user_key"]))
    reply = client.http.put(f"{client.url}/delegation/{identifier}/credential", data=proxy)
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("Could not process the proxy: The proxy's key does not match")


def test_less_than_an_hour_left_is_refused_and_renewal_helps(grid: Grid) -> None:
    client = FtsClient(grid.endpoints)
    client.delegate(hours=0.5)
    reply = client.http.post(f"{client.url}/jobs", json=JOB)
    assert reply.status_code == 419
    assert reply.json()["message"] == "The delegated credentials has less than one hour left"
    client.delegate(hours=2)
    assert client.http.post(f"{client.url}/jobs", json=JOB).status_code == 200


def test_the_request_keeps_its_key_and_deletion_ends_the_delegation(grid: Grid) -> None:
    client = FtsClient(grid.endpoints)
    identifier = client.delegate()
    url = f"{client.url}/delegation/{identifier}"
    keys = {
        x509.load_pem_x509_csr(client.http.get(f"{url}/request").content).public_key().public_numbers()  # type: ignore[union-attr]
        for _ in range(2)
    }
    assert len(keys) == 1
    assert client.http.delete(url).status_code == 204
    assert client.http.get(url).json() is None
    assert client.http.post(f"{client.url}/jobs", json=JOB).status_code == 419
