"""RFC 3820 proxies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from dynamo_ops.base.errors import CredentialError
from dynamo_ops.fts.delegation import PROXY_CERT_INFO, sign_proxy

NOW = datetime.now(UTC).replace(microsecond=0)


def name(*common_names: str) -> x509.Name:
    return x509.Name(
        [x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, cn)]) for cn in common_names]
    )


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def files(tmp_path: Path, key: rsa.RSAPrivateKey) -> tuple[str, str]:
    """A certificate valid ten hours from now, and its key."""
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name("Test", "Alice"))
        .issuer_name(name("CA"))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(hours=10))
        .sign(key, hashes.SHA256())
    )
    cert, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert), str(key_file)


@pytest.fixture(scope="module")
def request_pem(key: rsa.RSAPrivateKey) -> str:
    csr = x509.CertificateSigningRequestBuilder().subject_name(name("fts")).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def test_proxy(files: tuple[str, str], request_pem: str, key: rsa.RSAPrivateKey) -> None:
    chain = x509.load_pem_x509_certificates(sign_proxy(request_pem, *files, timedelta(hours=4), NOW).encode())
    proxy, own = chain
    proxy.verify_directly_issued_by(own)
    assert proxy.subject.rdns[:-1] == own.subject.rdns
    assert len(proxy.subject.rdns[-1]) == 1
    assert proxy.subject.rdns[-1].get_attributes_for_oid(NameOID.COMMON_NAME)
    extensions = {e.oid: e.critical for e in proxy.extensions}
    assert extensions[PROXY_CERT_INFO]
    assert extensions[x509.KeyUsage.oid]
    assert proxy.not_valid_after_utc == NOW + timedelta(hours=4)


def test_proxy_does_not_outlive_its_issuer(files: tuple[str, str], request_pem: str) -> None:
    proxy = x509.load_pem_x509_certificates(sign_proxy(request_pem, *files, timedelta(hours=40), NOW).encode())[0]
    assert proxy.not_valid_after_utc == NOW + timedelta(hours=10)


def test_expired_certificate(files: tuple[str, str], request_pem: str) -> None:
    with pytest.raises(CredentialError, match="expired"):
        sign_proxy(request_pem, *files, timedelta(hours=4), NOW + timedelta(days=1))


def test_unreadable_files(tmp_path: Path, files: tuple[str, str], request_pem: str) -> None:
    (tmp_path / "bad.pem").write_text("no PEM")
    for cert, key in (
        (str(tmp_path / "none.pem"), files[1]),
        (str(tmp_path / "bad.pem"), files[1]),
        (files[0], str(tmp_path / "bad.pem")),
    ):
        with pytest.raises(CredentialError, match="cannot be read"):
            sign_proxy(request_pem, cert, key, timedelta(hours=4), NOW)
