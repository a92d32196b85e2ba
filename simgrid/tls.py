"""Certificates: a small authority, one host certificate for all loopback servers, one user certificate.

Made once per grid directory and kept, so that a restarted grid is still trusted by running clients.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_ATTRIBUTES = {
    "DC": NameOID.DOMAIN_COMPONENT,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "CN": NameOID.COMMON_NAME,
}
_LETTERS = {
    "domainComponent": "DC",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "commonName": "CN",
}
_LIFETIME = timedelta(days=365)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Credentials:
    """Paths of PEM files."""

    ca: Path
    host_cert: Path
    host_key: Path
    user_cert: Path
    user_key: Path

    def server_context(self) -> ssl.SSLContext:
        """TLS for a server that asks for, but does not require, a client certificate or RFC 3820 proxy."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.host_cert, self.host_key)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VerifyFlags.VERIFY_ALLOW_PROXY_CERTS
        return context


def make_credentials(directory: Path, user_dn: str, addresses: list[str]) -> Credentials:
    """The credentials in `directory`, made there if any is lacking."""
    credentials = Credentials(
        ca=directory / "ca.pem",
        host_cert=directory / "hostcert.pem",
        host_key=directory / "hostkey.pem",
        user_cert=directory / "usercert.pem",
        user_key=directory / "userkey.pem",
    )
    paths = [credentials.ca, credentials.host_cert, credentials.host_key, credentials.user_cert, credentials.user_key]
    if all(path.exists() for path in paths):
        return credentials
    directory.mkdir(parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key)
    _write_pem(credentials.ca, authority.public_bytes(serialization.Encoding.PEM))
    host_key = ec.generate_private_key(ec.SECP256R1())
    host = _host_certificate(host_key, authority, authority_key, addresses)
    _write_pem(credentials.host_cert, host.public_bytes(serialization.Encoding.PEM))
    _write_pem(credentials.host_key, key_pem(host_key))
    user_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    user = _user_certificate(user_key, authority, authority_key, user_dn)
    _write_pem(credentials.user_cert, user.public_bytes(serialization.Encoding.PEM))
    _write_pem(credentials.user_key, key_pem(user_key))
    return credentials


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def name_of(dn: str) -> x509.Name:
    """An X.509 name from its slash form, /DC=test/O=Pocket/CN=Data Manager."""
    parts = [part.partition("=") for part in dn.strip("/").split("/")]
    return x509.Name([x509.NameAttribute(_ATTRIBUTES[letter], value) for letter, _, value in parts])


def dn_of(name: x509.Name) -> str:
    letters = {oid: letter for letter, oid in _ATTRIBUTES.items()}
    return "".join(f"/{letters.get(a.oid, a.oid.dotted_string)}={a.value!s}" for a in name)


def peer_dn(certificate: dict[str, object] | None) -> str | None:
    """The user behind a verified TLS peer, in slash form; proxies are followed back to their owner."""
    if not certificate:
        return None
    subject, issuer = _flat(certificate["subject"]), _flat(certificate["issuer"])
    if subject[:-1] == issuer:  # a proxy: its issuer is the user, or a proxy again
        subject = issuer
        while subject[-1][0] == "CN" and subject[-1][1].isdecimal():
            subject = subject[:-1]
    return "".join(f"/{letter}={value}" for letter, value in subject)


def _flat(name: object) -> list[tuple[str, str]]:
    assert isinstance(name, tuple)
    return [(_LETTERS.get(key, key), value) for relative in name for key, value in relative]


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = name_of("/DC=test/O=Pocket/CN=Pocket Grid CA")
    return (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _host_certificate(
    key: PrivateKey, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, addresses: list[str]
) -> x509.Certificate:
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    return (
        _builder(name_of("/DC=test/O=Pocket/CN=localhost"), authority.subject, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_issuer_key(authority), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _user_certificate(
    key: PrivateKey, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, dn: str
) -> x509.Certificate:
    return (
        _builder(name_of(dn), authority.subject, key)
        .add_extension(_issuer_key(authority), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _issuer_key(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _usage(signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pem(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
