"""Who we are to a service, and whom we take it for."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field

import certifi

from dynamo_ops.base.errors import CredentialError


@dataclass(frozen=True)
class Credentials:
    """``ca``: a file or folder of trusted authorities, without it certifi's. ``cert``/``key``: PEM files of a
    certificate or proxy (``key``: the same file). ``token``: sent as ``Bearer``, never over plain HTTP."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    token: str | None = field(default=None, repr=False)

    @property
    def authorities(self) -> str:
        """Where the trusted authorities are."""
        return self.ca or certifi.where()

    @property
    def certificate(self) -> tuple[str, str] | None:
        """The files of certificate and key."""
        return (self.cert, self.key or self.cert) if self.cert else None

    @property
    def headers(self) -> dict[str, str]:
        """What shows the token."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def context(self) -> ssl.SSLContext:
        """For those who open their own connections. The files are read now, so a renewed proxy is taken up.

        Raises CredentialError when one is not there or cannot be used.
        """
        is_folder = os.path.isdir(self.authorities)
        try:
            context = ssl.create_default_context(
                cafile=None if is_folder else self.authorities, capath=self.authorities if is_folder else None
            )
            if self.certificate:
                context.load_cert_chain(*self.certificate)
        except OSError as error:  # ssl's own errors are among them
            raise unusable(error) from error
        return context


def unusable(error: Exception) -> CredentialError:
    """The error for files that cannot be read, or are no certificates."""
    return CredentialError(f"TLS files cannot be used: {error}", status=None)
