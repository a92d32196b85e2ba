"""Who we are to an FTS server, and the job ids that follow from it (FTS_CONTRACT §2, §5)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamo_ops.base.errors import CredentialError


@dataclass(frozen=True)
class FtsIdentity:
    """The answer of ``/whoami`` that matters: with it the id of a deterministic job is known before the submit."""

    user_dn: str
    base_id: str
    vo: str
    delegation_id: str
    method: str

    def job_id(self, sid: str) -> uuid.UUID:
        """The id that FTS will give to a job with this ``sid``."""
        return predict_job_id(self.base_id, self.vo, sid)


def predict_job_id(base_id: str, vo: str, sid: str) -> uuid.UUID:
    """FTS's id for a deterministic job: uuid5(uuid5(base_id, vo), sid)."""
    return uuid.uuid5(uuid.uuid5(uuid.UUID(base_id), vo), sid)


def read_identity(answer: Mapping[str, Any], url: str) -> FtsIdentity:
    """The identity in a ``/whoami`` answer. FTS answers 200 to strangers too: ``CredentialError`` for those."""
    vos = answer.get("vos") or []
    if answer.get("method") in (None, "unauthenticated") or answer.get("user_dn") == "anon":
        raise CredentialError(
            f"FTS {url} took no credential from us: it sees 'anon'", service="fts", url=url, status=200
        )
    if not vos or not answer.get("delegation_id"):
        raise CredentialError(
            f"FTS {url} knows {answer.get('user_dn')!r} but no VO for it", service="fts", url=url, status=200
        )
    return FtsIdentity(
        user_dn=str(answer["user_dn"]),
        base_id=str(answer["base_id"]),
        vo=str(vos[0]),
        delegation_id=str(answer["delegation_id"]),
        method=str(answer["method"]),
    )
