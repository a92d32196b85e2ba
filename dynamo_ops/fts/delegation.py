"""RFC 3820 proxies: sign the request that FTS made for its own key, with our certificate or proxy (FTS_CONTRACT §2)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier

from dynamo_ops.base.errors import CredentialError

PROXY_CERT_INFO = ObjectIdentifier("1.3.6.1.5.5.7.1.14")
# ProxyCertInfo ::= SEQUENCE { ProxyPolicy ::= SEQUENCE { id-ppl-inheritAll } }, DER. No limit on further delegation.
INHERIT_ALL = bytes.fromhex("300c300a06082b06010505071501")
CLOCK_SKEW = timedelta(minutes=5)


def sign_proxy(csr_pem: str, cert_file: str, key_file: str, lifetime: timedelta, now: datetime | None = None) -> str:
    """PEM of a proxy for the key in ``csr_pem``, followed by our own chain. Valid ``lifetime``, never beyond ours."""
    now = now or datetime.now(UTC)
    chain = _load_chain(cert_file)
    issuer = chain[0]
    request = x509.load_pem_x509_csr(csr_pem.encode())
    if not request.is_signature_valid:
        raise CredentialError("FTS's certificate request has a wrong signature", service="fts")
    expires = min(now + lifetime, issuer.not_valid_after_utc)
    if expires <= now:
        raise CredentialError(
            f"certificate {cert_file} expired at {issuer.not_valid_after_utc:%F %T} UTC", service="fts"
        )
    serial = secrets.randbits(31)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_proxy_subject(issuer, serial))
        .issuer_name(issuer.subject)
        .public_key(request.public_key())
        .serial_number(serial + 1)
        .not_valid_before(max(now - CLOCK_SKEW, issuer.not_valid_before_utc))
        .not_valid_after(expires)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.UnrecognizedExtension(PROXY_CERT_INFO, INHERIT_ALL), critical=True)
    )
    proxy = builder.sign(_load_key(key_file), hashes.SHA256())
    return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in [proxy, *chain])


def _proxy_subject(issuer: x509.Certificate, serial: int) -> x509.Name:
    """Subject of the issuer plus one CN, as RFC 3820 asks."""
    common_name = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, str(serial))])
    return x509.Name([*issuer.subject.rdns, common_name])


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _load_chain(cert_file: str) -> list[x509.Certificate]:
    """The certificates of a file, ours first. A root (self-signed CA) is left out: nobody needs it sent."""
    try:
        certificates = x509.load_pem_x509_certificates(Path(cert_file).read_bytes())
    except (OSError, ValueError) as error:
        raise CredentialError(f"certificate {cert_file} cannot be read: {error}", file=cert_file) from error
    return [certificates[0], *(c for c in certificates[1:] if not (_is_ca(c) and c.issuer == c.subject))]


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS).value
    except x509.ExtensionNotFound:
        return False
    return isinstance(constraints, x509.BasicConstraints) and constraints.ca


def _load_key(key_file: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(Path(key_file).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CredentialError(f"key {key_file} cannot be read: {error}", file=key_file) from error
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise CredentialError(f"key {key_file} is neither RSA nor elliptic", file=key_file)
    return key
