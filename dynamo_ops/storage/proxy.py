"""A proxy file made of a certificate and its key: XRootD's client takes no other, and asks a terminal to make one."""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dynamo_ops.fts.delegation import sign_proxy

LIFETIME = timedelta(hours=24)


def write_proxy(cert_file: str, key_file: str) -> Path:
    """A new file, for us alone: proxy of ``LIFETIME``, key, chain. ``CredentialError``: the certificate has ended."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = sign_proxy(request.public_bytes(serialization.Encoding.PEM).decode(), cert_file, key_file, LIFETIME)
    proxy, *chain = x509.load_pem_x509_certificates(pem.encode())
    parts = [
        proxy.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ),
        *(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain),
    ]
    descriptor, name = tempfile.mkstemp(prefix="dynamo-proxy-", suffix=".pem")  # 0600
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(parts)
    return Path(name)
