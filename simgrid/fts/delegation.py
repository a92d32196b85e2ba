"""Delegated credentials: FTS makes key and request, the client signs a proxy, FTS acts with it."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from simgrid.fts.errors import FtsError, bad_request
from simgrid.fts.journal import Journal
from simgrid.tls import dn_of, key_pem

Credential = dict[str, str]


class Delegations:
    """Keys and proxies by delegation id. The proxies in use also lie as PEM files under `directory`."""

    def __init__(self, journal: Journal, directory: Path, authority: Path) -> None:
        self._journal = journal
        self._directory = directory
        self._authority = x509.load_pem_x509_certificate(authority.read_bytes())
        self._lock = threading.Lock()
        self._credentials: dict[str, Credential] = journal.credentials()
        directory.mkdir(parents=True, exist_ok=True)
        for identifier in self._credentials:
            self._write(identifier)

    def document(self, identifier: str) -> dict[str, Any] | None:
        ends = self.expiry(identifier)
        return None if ends is None else {"termination_time": ends.strftime("%Y-%m-%dT%H:%M:%S"), "voms_attrs": [""]}

    def expiry(self, identifier: str) -> datetime | None:
        """When the proxy ends (the earliest end in its chain); None without proxy."""
        proxy = self._credentials.get(identifier, {}).get("proxy")
        if not proxy:
            return None
        return min(part.not_valid_after_utc for part in x509.load_pem_x509_certificates(proxy.encode()))

    def proxy_path(self, identifier: str) -> Path | None:
        """A PEM file of proxy, key and chain; None without proxy."""
        path = self._path(identifier)
        return path if path.exists() else None

    def request(self, identifier: str) -> str:
        """A PEM signing request; the key behind it stays the same until the proxy is deleted."""
        with self._lock:
            credential = self._credentials.setdefault(identifier, {})
            if "key" not in credential:
                credential["key"] = key_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)).decode()
                self._journal.save_credential(identifier, credential)
            key = _key(credential)
        name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Dummy")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def accept(self, identifier: str, dn: str, pem: bytes) -> None:
        """Keep a signed proxy. Raises FtsError when it is malformed, not ours, expired or not signed by `dn`."""
        try:
            chain = x509.load_pem_x509_certificates(pem)
        except ValueError as error:
            raise _unprocessable("Malformed proxy") from error
        with self._lock:
            credential = self._credentials.get(identifier, {})
            if "key" not in credential:
                raise _unprocessable("No credential request to answer")
            self._verify(chain, dn, credential)
            credential["proxy"] = pem.decode()
            self._journal.save_credential(identifier, credential)
            self._write(identifier)

    def delete(self, identifier: str) -> None:
        with self._lock:
            self._credentials[identifier] = {}
            self._journal.save_credential(identifier, {})
            self._path(identifier).unlink(missing_ok=True)

    def require_hour(self, identifier: str, dn: str, is_expired: bool) -> None:
        """Raise 419 unless a proxy with at least an hour left is there. `is_expired` pretends it ran out."""
        ends = self.expiry(identifier)
        now = datetime.now(UTC)
        if ends is None:
            raise FtsError(419, f'No delegation found for "{dn}"')
        if is_expired or ends < now:
            raise FtsError(
                419, f"The delegated credentials expired {int((now - ends).total_seconds() // 3600)} hours ago"
            )
        if ends < now + timedelta(hours=1):
            raise FtsError(419, "The delegated credentials has less than one hour left")

    def _verify(self, chain: list[x509.Certificate], dn: str, credential: Credential) -> None:
        proxy = chain[0]
        if proxy.public_key() != _key(credential).public_key():
            raise _unprocessable("The proxy's key does not match the key of the request")
        if len(chain) < 2:
            raise _unprocessable("The chain ends with the proxy")
        if not dn_of(proxy.subject).startswith(dn + "/CN="):
            raise _unprocessable(f"The proxy's subject does not extend {dn}")
        if proxy.not_valid_after_utc < datetime.now(UTC):
            raise _unprocessable("The proxy has expired")
        for certificate, issuer in zip(chain, [*chain[1:], self._authority], strict=True):
            try:
                certificate.verify_directly_issued_by(issuer)
            except (ValueError, TypeError, InvalidSignature) as error:
                raise _unprocessable(
                    f"{dn_of(certificate.subject)} is not signed by {dn_of(issuer.subject)}"
                ) from error

    def _write(self, identifier: str) -> None:
        credential = self._credentials[identifier]
        if not credential.get("proxy"):
            return
        first, _, rest = credential["proxy"].partition("-----END CERTIFICATE-----")
        content = f"{first}-----END CERTIFICATE-----\n{credential['key']}{rest.lstrip()}"
        temporary = self._path(identifier).with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(content)
        os.replace(temporary, self._path(identifier))

    def _path(self, identifier: str) -> Path:
        return self._directory / f"proxy-{identifier}.pem"


def _key(credential: Credential) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(credential["key"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _unprocessable(why: str) -> FtsError:
    return bad_request(f"Could not process the proxy: {why}")
